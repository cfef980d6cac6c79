/* SPDX-License-Identifier: BSD-3-Clause
 * The format of single-file models: GGUF. */
#include "write.h"

#include <string.h>

/* ---- probe and open ---------------------------------------------------------------- */

static int gguf_probe(const char *path, const void *head, size_t n)
{
  static const char suffix[] = ".gguf";
  size_t length = strlen(path);
  if (!head)
    return 0;
  if (n >= 4 && (memcmp(head, "GGUF", 4) == 0 || memcmp(head, "FUGG", 4) == 0))
    return 100;
  /* So that open says what is wrong with it. */
  return length > strlen(suffix) && strcmp(path + length - strlen(suffix), suffix) == 0 ? 20 : 0;
}

static int gguf_open(struct qtk_context *ctx, const char *path, void **h)
{
  (void)ctx;
  struct gguf_model *model;
  int rc = gguf_model_open(path, &model);
  *h = model;
  return rc;
}

static void gguf_close(void *h)
{
  gguf_model_close(h);
}

/* ---- tensors --------------------------------------------------------------------------- */

static const struct gguf_tensor *gguf_get(void *h, int i)
{
  const struct gguf_model *m = h;
  if (i >= 0 && (size_t)i < m->tensors.n)
    return &m->tensors.items[i];
  qtk_error(QTK_EUSAGE, "tensor %d: the file has %zu", i, m->tensors.n);
  return NULL;
}

static int gguf_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  const struct gguf_model *m = h;
  if (i < 0 || (size_t)i >= m->tensors.n)
    return 0;
  const struct gguf_tensor *t = &m->tensors.items[i];
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

static int gguf_check_rows(const struct gguf_tensor *t, int64_t row, int64_t n)
{
  if (row >= 0 && n >= 0 && row <= t->rows && n <= t->rows - row)
    return QTK_OK;
  return qtk_error(QTK_EUSAGE, "tensor '%s': %lld rows from %lld on, but it has %lld", t->name,
                   (long long)n, (long long)row, (long long)t->rows);
}

static int gguf_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  const struct gguf_tensor *t = gguf_get(h, i);
  int rc = t ? gguf_check_rows(t, row, n) : QTK_EUSAGE;
  if (rc)
    return rc;
  if (stride < t->cols)
    return qtk_error(QTK_EUSAGE, "tensor '%s': rows %lld apart, but they have %lld columns",
                     t->name, (long long)stride, (long long)t->cols);
  if (!t->type->floats)
    return qtk_error(QTK_EINPUT, "tensor '%s': values of type %s cannot be read", t->name,
                     t->type->name);
  int64_t blocks = t->cols / t->type->block;
  size_t row_bytes = (size_t)blocks * (size_t)t->type->bytes;
  for (int64_t r = 0; r < n; r++)
    t->type->floats(t->data + (size_t)(row + r) * row_bytes, out + r * stride, blocks);
  return QTK_OK;
}

static int gguf_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct gguf_tensor *t = gguf_get(h, i);
  if (!t)
    return QTK_EUSAGE;
  *data = t->data;
  *bytes = t->bytes;
  return QTK_OK;
}

static int gguf_quantized(void *h, int i, struct qtk_qlayout *layout)
{
  const struct gguf_tensor *t = gguf_get(h, i);
  return t ? gguf_packed_layout(t, layout) : 0;
}

static int gguf_read_quantized(void *h, int i, int64_t row, int64_t n, struct qtk_qtensor *out)
{
  const struct gguf_tensor *t = gguf_get(h, i);
  int rc = t ? gguf_check_rows(t, row, n) : QTK_EUSAGE;
  if (rc == QTK_OK && t->type->packing == GGUF_PACK_NONE)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': %s cannot be handed out as it is", t->name,
                   t->type->name);
  return rc ? rc : gguf_packed_read(t, row, n, out);
}

static void gguf_drop(void *h, int i)
{
  const struct gguf_tensor *t = gguf_get(h, i);
  if (t)
    gguf_part_drop(t);
}

/* ---- texts -------------------------------------------------------------------------------- */

static const char *gguf_config(void *h)
{
  const struct gguf_model *m = h;
  return m->config;
}

static const char *gguf_tokenizer(void *h)
{
  struct gguf_model *m = h;
  pthread_mutex_lock(&m->lock);
  if (!m->tokenizer_known)
    m->tokenizer_known = gguf_tokenizer_make(&m->parts[0].meta, &m->tokenizer) == QTK_OK;
  const char *text = m->tokenizer;
  pthread_mutex_unlock(&m->lock);
  return text;
}

static const char *gguf_text(void *h, const char *name)
{
  const struct gguf_model *m = h;
  if (strcmp(name, "chat_template") == 0)
    return m->template;
  if (strcmp(name, "generation_config") == 0)
    return m->generation;
  return strcmp(name, "licence") == 0 ? m->licence : NULL;
}

static const struct qtk_format_ops gguf_ops = {
    .size = sizeof(struct qtk_format_ops),
    .schema = "gguf",
    .probe = gguf_probe,
    .open = gguf_open,
    .close = gguf_close,
    .tensor = gguf_tensor,
    .read = gguf_read,
    .map = gguf_map,
    .quantized = gguf_quantized,
    .read_quantized = gguf_read_quantized,
    .drop = gguf_drop,
    .config = gguf_config,
    .tokenizer = gguf_tokenizer,
    .text = gguf_text,
    .accepts = gguf_accepts,
    .create = gguf_create,
    .write = gguf_write,
    .finish = gguf_finish,
    .abort = gguf_abort,
    .measure = gguf_measure,
};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "gguf", .version = QTK_VERSION,
           .summary = "single-file models in GGUF, versions 2 and 3", .options = gguf_options,
           .options_size = sizeof(struct gguf_options), .format = &gguf_ops);
