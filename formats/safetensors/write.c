/* SPDX-License-Identifier: BSD-3-Clause
 * Writing a model as floats of one type. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

const struct qtk_option safetensors_options[] = {
    QTK_OPT_TEXT(struct safetensors_options, dtype, "f16", "f32 f16 bf16",
                 "Type of the numbers that are written."),
    QTK_OPT_INT(struct safetensors_options, shard, 0, 0, 1000000000,
                "Largest size of a file in MB (10^6 bytes); 0 writes one file."),
    QTK_OPT_END,
};

struct writer {
  const struct qtk_export *model;
  enum qtk_dtype dtype;
  struct safetensors_entry *entries; /* [n_tensors] */
  struct safetensors_folder folder;
  struct safetensors_values values;
  int tensor;  /* the next to come */
  int64_t row; /* its next row */
};

static enum qtk_dtype writer_dtype(const struct safetensors_options *options)
{
  return strcmp(options->dtype, "f32") == 0   ? QTK_F32
         : strcmp(options->dtype, "f16") == 0 ? QTK_F16
                                              : QTK_BF16;
}

/* Every value of a type lies in itself and in f32; those of f16 and bf16 not in each other. */
enum qtk_export_how safetensors_accepts(const void *options, const struct qtk_export_tensor *t)
{
  enum qtk_dtype dtype = writer_dtype(options);
  if (t->layout.encoding == QTK_DENSE)
    return t->layout.dtype == dtype || (dtype == QTK_F32 && t->layout.dtype != QTK_F64)
               ? QTK_EXPORT_HELD
               : QTK_EXPORT_ROUNDED;
  return dtype == QTK_F32 ? QTK_EXPORT_ROWS : QTK_EXPORT_ROUNDED;
}

/* ---- beginning ---------------------------------------------------------------- */

static int writer_entries(struct writer *w)
{
  w->entries = calloc((size_t)w->model->n_tensors + 1, sizeof *w->entries);
  if (!w->entries)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of tensors");
  for (int i = 0; i < w->model->n_tensors; i++)
    safetensors_entry_dense(&w->entries[i], &w->model->tensors[i], w->dtype);
  return QTK_OK;
}

static int writer_texts(struct writer *w)
{
  char *config = safetensors_layout_config(w->model->config, w->dtype, NULL, NULL);
  int rc = config ? safetensors_folder_text(&w->folder, "config.json", config) : QTK_EINPUT;
  free(config);
  return rc ? rc : safetensors_folder_texts(&w->folder, w->model);
}

static int writer_begin(struct writer *w, const char *path,
                        const struct safetensors_options *options)
{
  w->dtype = writer_dtype(options);
  int rc = writer_entries(w);
  if (rc == QTK_OK)
    rc = safetensors_folder_begin(&w->folder, path, w->entries, w->model->n_tensors,
                                  (uint64_t)options->shard * 1000000);
  return rc ? rc : writer_texts(w);
}

int safetensors_create(struct qtk_context *ctx, const void *options, const char *path,
                       const struct qtk_export *model, void **out)
{
  (void)ctx;
  *out = NULL;
  struct writer *w = calloc(1, sizeof *w);
  if (!w)
    return qtk_error(QTK_ENOMEM, "out of memory for a writer");
  w->model = model;
  w->folder = (struct safetensors_folder){.folder = -1, .fd = -1};
  int rc = writer_begin(w, path, options);
  if (rc)
    safetensors_abort(w);
  else
    *out = w;
  return rc;
}

int safetensors_measure(const void *options, const struct qtk_export *model, uint64_t *bytes)
{
  const struct safetensors_options *o = options;
  struct writer w = {.model = model, .dtype = writer_dtype(o)};
  char *config = safetensors_layout_config(model->config, w.dtype, NULL, NULL);
  int rc = config ? writer_entries(&w) : QTK_EINPUT;
  *bytes = config ? strlen(config) : 0;
  if (rc == QTK_OK)
    rc = safetensors_folder_measure(w.entries, model->n_tensors, (uint64_t)o->shard * 1000000,
                                    model, bytes);
  free(config);
  free(w.entries);
  return rc;
}

/* ---- tensors --------------------------------------------------------------------- */

int safetensors_write(void *out, int i, int64_t row, int64_t n, const float *rows,
                      const struct qtk_qtensor *quantized)
{
  struct writer *w = out;
  if (i < 0 || i >= w->model->n_tensors)
    return qtk_error(QTK_EUSAGE, "tensor %d: the export has %d", i, w->model->n_tensors);
  const struct qtk_export_tensor *t = &w->model->tensors[i];
  int64_t cols = t->ndim ? t->shape[t->ndim - 1] : 1, total = 1;
  for (int k = 0; k < t->ndim - 1; k++)
    total *= t->shape[k];
  if (quantized || !rows)
    return qtk_error(QTK_EUSAGE, "tensor '%s': only float rows can be written", t->name);
  if (i != w->tensor || row != w->row || n < 0 || n > total - row)
    return qtk_error(QTK_EUSAGE,
                     "%lld rows from %lld on of tensor %d: tensor %d, row %lld is the next to be "
                     "written",
                     (long long)n, (long long)row, i, w->tensor, (long long)w->row);
  int rc = safetensors_values_put(&w->values, &w->folder, w->dtype, t->name, rows,
                                  (size_t)(n * cols));
  w->row += n;
  if (w->row == total) {
    w->row = 0;
    w->tensor++;
  }
  return rc;
}

/* ---- ending ------------------------------------------------------------------------- */

void safetensors_abort(void *out)
{
  struct writer *w = out;
  if (!w)
    return;
  safetensors_folder_end(&w->folder);
  free(w->entries);
  free(w);
}

int safetensors_finish(void *out, struct qtk_export_result *result)
{
  struct writer *w = out;
  int rc = QTK_OK;
  if (w->tensor < w->model->n_tensors)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': only %lld of its rows were written",
                   w->model->tensors[w->tensor].name, (long long)w->row);
  if (rc == QTK_OK)
    rc = safetensors_folder_finish(&w->folder, result);
  result->rounded = w->values.rounded;
  safetensors_abort(w);
  return rc;
}
