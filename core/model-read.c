/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of a model's tensors as floats, from the file or from what lies on top. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/model-inner.h"
#include "core/tensor.h"

/* Rows of a transposed file that are read at once where it cannot be mapped. */
#define READ_TILE 16

int qtk_model_at(const struct model_tensor *t, int code)
{
  return qtk_error_at(code, "%s: %s", t->m->source->path, t->t.name);
}

int64_t qtk_model_file_row(const struct model_tensor *t, int64_t row)
{
  return t->start + qtk_arch_file_row(t->m->arch, t->index, t->rows, row);
}

int64_t qtk_model_run(const struct model_tensor *t, int64_t row, int64_t n)
{
  int64_t run = 1, first = qtk_model_file_row(t, row);

  if (t->rows == QTK_ROWS_SAME)
    return n;
  while (run < n && qtk_model_file_row(t, row + run) == first + run)
    run++;
  return run;
}

static int read_rows(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                     int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  int rc = QTK_OK;

  for (int64_t r = 0; rc == QTK_OK && r < n;) {
    int64_t run = qtk_model_run(t, row + r, n - r);
    rc = s->ops->read(s->h, t->file, qtk_model_file_row(t, row + r), run, out + r * stride, stride);
    r += run;
  }
  return rc;
}

/* A vector is one row of the file (or a column), however many rows we count. */
static int read_vector(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                       int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  int64_t rows = qtk_source_rows_of(s, t->file), cols = qtk_source_cols_of(s, t->file);
  float *values = malloc((size_t)(rows * cols) * sizeof *values);
  int rc;

  if (values == NULL)
    return qtk_error_memory((size_t)(rows * cols) * sizeof *values, "a vector");
  rc = s->ops->read(s->h, t->file, 0, rows, values, cols);
  for (int64_t r = 0; rc == QTK_OK && r < n; r++)
    out[r * stride] = values[qtk_model_file_row(t, row + r)];
  free(values);
  return rc;
}

/* ---- files that hold [in, out] ------------------------------------------------------ */

/* Rows [j, j + n) of the file's tensor, float or not, with columns that are our rows. */
struct read_tile {
  const char *data; /* of row j, or NULL: `floats` */
  size_t size;      /* bytes of an element */
  enum qtk_dtype dtype;
  const float *floats;
  int64_t cols;
};

static int read_scatter(const struct model_tensor *t, const struct read_tile *tile, int64_t j,
                        int64_t row, int64_t n, float *out, int64_t stride)
{
  int rc = QTK_OK;

  for (int64_t r = 0; rc == QTK_OK && r < n; r++) {
    int64_t c = qtk_model_file_row(t, row + r);
    if (tile->data != NULL)
      rc = qtk_convert(QTK_F32, &out[r * stride + j], tile->dtype,
                       tile->data + (size_t)c * tile->size, 1);
    else
      out[r * stride + j] = tile->floats[c];
  }
  return rc;
}

static int read_transposed_map(const struct model_tensor *t, const void *data, int64_t row,
                               int64_t n, float *out, int64_t stride)
{
  const struct qtk_tensor_info *info = &t->m->source->tensors[t->file];
  struct read_tile tile = {.dtype = info->dtype, .size = qtk_dtype_size(info->dtype)};
  int rc = QTK_OK;

  for (int64_t j = 0; rc == QTK_OK && j < t->t.cols; j++) {
    tile.data = (const char *)data + (size_t)(j * t->within) * tile.size;
    rc = read_scatter(t, &tile, j, row, n, out, stride);
  }
  return rc;
}

static int read_transposed_rows(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                                int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  size_t bytes = (size_t)(READ_TILE * t->within) * sizeof(float);
  float *floats = malloc(bytes);
  int rc = floats == NULL ? qtk_error_memory(bytes, "a transposed tensor") : QTK_OK;

  for (int64_t j = 0; rc == QTK_OK && j < t->t.cols; j += READ_TILE) {
    int64_t rows = t->t.cols - j < READ_TILE ? t->t.cols - j : READ_TILE;
    rc = s->ops->read(s->h, t->file, j, rows, floats, t->within);
    for (int64_t i = 0; rc == QTK_OK && i < rows; i++) {
      struct read_tile tile = {.floats = floats + i * t->within};
      rc = read_scatter(t, &tile, j + i, row, n, out, stride);
    }
  }
  free(floats);
  return rc;
}

static int read_transposed(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                           int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  const void *data;
  uint64_t bytes;
  int rc;

  if (!s->tensors[t->file].dense || s->ops->map == NULL)
    return read_transposed_rows(t, row, n, out, stride);
  rc = s->ops->map(s->h, t->file, &data, &bytes);
  return rc == QTK_OK ? read_transposed_map(t, data, row, n, out, stride) : rc;
}

int qtk_model_read_file(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                    int64_t stride)
{
  int rc;

  if (t->file < 0)
    return qtk_error(QTK_EINPUT, "%s: %s: the model has no weights", t->m->source->path,
                     t->t.name);
  if (t->t.ndim == 1)
    rc = read_vector(t, row, n, out, stride);
  else if (t->transpose)
    rc = read_transposed(t, row, n, out, stride);
  else
    rc = read_rows(t, row, n, out, stride);
  return rc == QTK_OK ? rc : qtk_model_at(t, rc);
}

int qtk_model_read(const struct qtk_model *m, int i, int64_t row, int64_t n, float *out,
                   int64_t stride)
{
  const struct model_tensor *t = &m->tensors[i];

  if (row < 0 || n < 0 || row > t->t.rows || n > t->t.rows - row || stride < t->t.cols)
    return qtk_error(QTK_EINTERNAL, "%s: rows %lld .. %lld of %lld, %lld apart", t->t.name,
                     (long long)row, (long long)(row + n), (long long)t->t.rows,
                     (long long)stride);
  if (t->replaced)
    return qtk_dequantize_rows(&t->view, NULL, row, n, out, stride);
  if (t->scales != NULL)
    return qtk_model_read_rescaled(t, row, n, out, stride);
  return qtk_model_read_file(t, row, n, out, stride);
}

/* ---- for adapters ------------------------------------------------------------------- */

int qtk_base_tensor(const struct qtk_model_info *model, int i, struct qtk_tensor_role *tensor)
{
  const struct qtk_model *m = qtk_model_of(model);
  const struct qtk_model_tensor *t;

  if (i < 0 || i >= m->n)
    return 0;
  t = &m->tensors[i].t;
  *tensor = (struct qtk_tensor_role){.name = t->name,
                                     .role = t->role,
                                     .layer = t->layer,
                                     .linear = t->linear,
                                     .rows = t->rows,
                                     .cols = t->cols};
  return 1;
}

/* What an adapter reads once, it starts from: pages of the file do not stay beside what trains. */
int qtk_base_rows(struct qtk_context *ctx, const struct qtk_model_info *model, int i, int64_t row,
                  int64_t n, float *out)
{
  struct qtk_model *m = qtk_model_of(model);
  int rc;

  (void)ctx;
  if (i < 0 || i >= m->n)
    return qtk_error(QTK_EINTERNAL, "%s: it has no tensor %d", m->source->path, i);
  rc = qtk_model_read(m, i, row, n, out, m->tensors[i].t.cols);
  qtk_model_drop(m, i);
  return rc;
}
