/* SPDX-License-Identifier: BSD-3-Clause
 * Slots that read an open model: its tensors as they lie in the files, its texts. */
#include "safetensors.h"

#include <string.h>

static const struct safetensors_tensor *safetensors_get(void *h, int i)
{
  const struct safetensors_model *m = h;
  return i >= 0 && (size_t)i < m->tensors.n ? &m->tensors.items[i] : NULL;
}

int safetensors_tensor(void *h, int i, struct qtk_tensor_info *info)
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

int safetensors_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
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

int safetensors_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (!t)
    return qtk_error(QTK_EUSAGE, "tensor %d: there is none", i);
  *data = t->data;
  *bytes = t->bytes;
  return QTK_OK;
}

void safetensors_drop(void *h, int i)
{
  const struct safetensors_tensor *t = safetensors_get(h, i);
  if (t)
    safetensors_file_drop(t);
}

const char *safetensors_config(void *h)
{
  const struct safetensors_model *m = h;
  if (!m->config)
    qtk_error(QTK_EINPUT,
              "%s/config.json is missing: the weights alone do not say what model they are",
              m->folder);
  return m->config;
}

const char *safetensors_tokenizer(void *h)
{
  return safetensors_model_text(h, SAFETENSORS_TOKENIZER);
}

const char *safetensors_text(void *h, const char *name)
{
  static const char *const names[SAFETENSORS_TEXTS] = {
      [SAFETENSORS_GENERATION] = "generation_config",
      [SAFETENSORS_TEMPLATE] = "chat_template",
      [SAFETENSORS_LICENCE] = "licence",
  };
  if (strcmp(name, "tokenizer_files") == 0)
    return "tokenizer.json, tokenizer.model, vocab.json with merges.txt";
  for (int i = 0; i < SAFETENSORS_TEXTS; i++)
    if (names[i] && strcmp(names[i], name) == 0)
      return safetensors_model_text(h, (enum safetensors_text)i);
  return NULL;
}
