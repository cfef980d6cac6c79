/* SPDX-License-Identifier: BSD-3-Clause
 * The format of Hugging Face model folders: config.json and safetensors files. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- probe -------------------------------------------------------------------- */

static int safetensors_exists(const char *folder, const char *name)
{
  struct stat st;
  char *path = safetensors_path(folder, name);
  int exists = path && stat(path, &st) == 0;
  free(path);
  return exists;
}

static int safetensors_probe_folder(const char *path)
{
  int config = safetensors_exists(path, "config.json");
  int weights = safetensors_exists(path, "model.safetensors") ||
                safetensors_exists(path, "model.safetensors.index.json");
  if (config)
    return weights ? 90 : 60;
  return weights ? 30 : 0;
}

static int safetensors_probe(const char *path, const void *head, size_t n)
{
  if (!head)
    return safetensors_probe_folder(path);
  uint64_t length = 0;
  if (n >= 9)
    memcpy(&length, head, 8);
  int plausible =
      n >= 9 && length >= 2 && length <= SAFETENSORS_HEADER_MAX && ((const char *)head)[8] == '{';
  const char *suffix = ".safetensors";
  int named =
      strlen(path) > strlen(suffix) && strcmp(path + strlen(path) - strlen(suffix), suffix) == 0;
  if (named)
    return plausible ? 80 : 20; /* 20: so that open says what is wrong */
  return plausible ? 40 : 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static int safetensors_open(struct qtk_context *ctx, const char *path, void **h)
{
  (void)ctx;
  struct safetensors_model *model;
  int rc = safetensors_model_open(path, "model", &model);
  *h = model;
  return rc;
}

static void safetensors_close(void *h)
{
  safetensors_model_close(h);
}

/* ---- the plugin ------------------------------------------------------------------------ */

static const struct qtk_format_ops safetensors_ops = {
    .size = sizeof(struct qtk_format_ops),
    .schema = "hf",
    .probe = safetensors_probe,
    .open = safetensors_open,
    .close = safetensors_close,
    .tensor = safetensors_tensor,
    .read = safetensors_read,
    .map = safetensors_map,
    .drop = safetensors_drop,
    .config = safetensors_config,
    .tokenizer = safetensors_tokenizer,
    .text = safetensors_text,
    .accepts = safetensors_accepts,
    .create = safetensors_create,
    .write = safetensors_write,
    .finish = safetensors_finish,
    .abort = safetensors_abort,
    .measure = safetensors_measure,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "safetensors", .version = QTK_VERSION,
           .summary = "model folders with config.json and safetensors files",
           .options = safetensors_options, .options_size = sizeof(struct safetensors_options),
           .format = &safetensors_ops);
