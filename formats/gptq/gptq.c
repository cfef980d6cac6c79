/* SPDX-License-Identifier: BSD-3-Clause
 * The format of GPTQ checkpoints: model folders whose linears are packed integers. */
#include "write.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- probe -------------------------------------------------------------------- */

static int gptq_has_weights(const char *folder)
{
  struct gptq_config config = {0};
  struct stat st;
  static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
  for (int i = 0; i < 2; i++) {
    char *path = safetensors_path(folder, names[i]);
    int exists = path && stat(path, &st) == 0;
    free(path);
    if (exists)
      return 1;
  }
  char name[64] = "model";
  if (gptq_config_read(folder, &config) == QTK_OK)
    gptq_config_weights(folder, &config, name);
  gptq_config_free(&config);
  return strcmp(name, "model") != 0;
}

/* Above a plain folder's bid. A folder that is packed by another method gets a bid too, so
 * that open says by which: the plain reader would miss tensors. */
static int gptq_probe_folder(const char *path)
{
  int method = gptq_config_probe(path), weights = method && gptq_has_weights(path);
  if (method < 0)
    return weights ? 91 : 0;
  return method ? weights ? 95 : 65 : 0;
}

static int gptq_probe(const char *path, const void *head, size_t n)
{
  if (!head)
    return gptq_probe_folder(path);
  const char *suffix = ".safetensors", *slash = strrchr(path, '/');
  size_t length = strlen(path), end = strlen(suffix);
  if (n < 9 || ((const char *)head)[8] != '{' || length <= end ||
      strcmp(path + length - end, suffix) != 0)
    return 0;
  char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
  int method = folder ? gptq_config_probe(folder) : 0;
  free(folder);
  return method > 0 ? 85 : 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static int gptq_open(struct qtk_context *ctx, const char *path, void **h)
{
  (void)ctx;
  struct gptq_model *model;
  int rc = gptq_model_open(path, &model);
  *h = model;
  return rc;
}

static void gptq_close(void *h)
{
  gptq_model_close(h);
}

static const char *gptq_config(void *h)
{
  const struct gptq_model *m = h;
  return safetensors_config(m->files);
}

static const char *gptq_tokenizer(void *h)
{
  const struct gptq_model *m = h;
  return safetensors_tokenizer(m->files);
}

static const char *gptq_text(void *h, const char *name)
{
  const struct gptq_model *m = h;
  return safetensors_text(m->files, name);
}

/* ---- the plugin ------------------------------------------------------------------------ */

static const struct qtk_format_ops gptq_ops = {
    .size = sizeof(struct qtk_format_ops),
    .schema = "hf",
    .probe = gptq_probe,
    .open = gptq_open,
    .close = gptq_close,
    .tensor = gptq_tensor,
    .read = gptq_read,
    .map = gptq_map,
    .quantized = gptq_quantized,
    .read_quantized = gptq_read_quantized,
    .drop = gptq_drop,
    .config = gptq_config,
    .tokenizer = gptq_tokenizer,
    .text = gptq_text,
    .accepts = gptq_accepts,
    .create = gptq_create,
    .write = gptq_write,
    .finish = gptq_finish,
    .abort = gptq_abort,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "gptq", .version = QTK_VERSION,
           .summary = "GPTQ checkpoints, versions 1 and 2", .options = gptq_options,
           .options_size = sizeof(struct gptq_options), .format = &gptq_ops);
