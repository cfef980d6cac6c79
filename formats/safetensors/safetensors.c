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
  int rc = safetensors_model_open(path, &model);
  *h = model;
  return rc;
}

static void safetensors_close(void *h)
{
  safetensors_model_close(h);
}

static const struct safetensors_tensor *safetensors_get(void *h, int i)
{
  const struct safetensors_model *m = h;
  return i >= 0 && (size_t)i < m->tensors.n ? &m->tensors.items[i] : NULL;
}

static int safetensors_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (!t)
    return 0;
  *info = (struct qtk_tensor_info){
      .name = t->name,
      .ndim = t->ndim,
      .type = t->type->name,
      .bytes = t->bytes,
      .dense = t->type->dense,
      .dtype = t->type->dtype,
  };
  memcpy(info->shape, t->shape, sizeof info->shape);
  return 1;
}

static int safetensors_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (!t)
    return qtk_error(QTK_EUSAGE, "tensor %d: there is none", i);
  if (row < 0 || n < 0 || row > t->rows || n > t->rows - row || stride < t->cols)
    return qtk_error(
        QTK_EUSAGE, "tensor '%s': %lld rows from %lld on, stride %lld: it has %lld x %lld", t->name,
        (long long)n, (long long)row, (long long)stride, (long long)t->rows, (long long)t->cols);
  if (!t->type->floats)
    return qtk_error(QTK_EINPUT, "tensor '%s': values of dtype %s cannot be read", t->name,
                     t->type->name);
  size_t row_bytes = (size_t)t->cols * (size_t)t->type->bits / 8;
  const unsigned char *src = t->data + (size_t)row * row_bytes;
  if (stride == t->cols)
    t->type->floats(src, out, n * t->cols);
  else
    for (int64_t r = 0; r < n; r++)
      t->type->floats(src + (size_t)r * row_bytes, out + r * stride, t->cols);
  return QTK_OK;
}

static int safetensors_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (!t)
    return qtk_error(QTK_EUSAGE, "tensor %d: there is none", i);
  *data = t->data;
  *bytes = t->bytes;
  return QTK_OK;
}

static void safetensors_drop(void *h, int i)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (t)
    safetensors_file_drop(t);
}

static const char *safetensors_config(void *h)
{
  const struct safetensors_model *m = h;
  if (!m->config)
    qtk_error(QTK_EINPUT,
              "%s/config.json is missing: the weights alone do not say what model they are",
              m->folder);
  return m->config;
}

static const char *safetensors_tokenizer(void *h)
{
  return safetensors_model_text(h, SAFETENSORS_TOKENIZER);
}

static const char *safetensors_text(void *h, const char *name)
{
  static const char *const names[SAFETENSORS_TEXTS] = {
      [SAFETENSORS_GENERATION] = "generation_config",
      [SAFETENSORS_TEMPLATE] = "chat_template",
      [SAFETENSORS_LICENCE] = "licence",
  };
  for (int i = 0; i < SAFETENSORS_TEXTS; i++)
    if (names[i] && strcmp(names[i], name) == 0)
      return safetensors_model_text(h, (enum safetensors_text)i);
  return NULL;
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
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "safetensors", .version = QTK_VERSION,
           .summary = "model folders with config.json and safetensors files",
           .options = safetensors_options, .options_size = sizeof(struct safetensors_options),
           .format = &safetensors_ops);
