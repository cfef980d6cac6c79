/* SPDX-License-Identifier: BSD-3-Clause
 * Float rows into the type of a file, value by value checked. */
#include "safetensors.h"

#include <math.h>

/* The first value that the type cannot hold: 65520 rounds up past the largest f16. */
static int values_check(enum qtk_dtype dtype, const char *name, const float *rows, size_t n)
{
  float limit = dtype == QTK_F32 ? INFINITY : dtype == QTK_F16 ? 65520.0f : 0x1.ffp127f;
  for (size_t i = 0; i < n; i++)
    if (!(fabsf(rows[i]) < limit))
      return qtk_error(QTK_ENUMERIC, "tensor '%s': the value %g cannot be written as %s", name,
                       (double)rows[i], qtk_dtype_name(dtype));
  return QTK_OK;
}

/* Counts the values that are not read back as they are. */
static int values_compare(struct safetensors_values *v, enum qtk_dtype dtype, const float *rows,
                          size_t n)
{
  int rc = qtk_convert(QTK_F32, v->again, dtype, v->buffer, n);
  for (size_t i = 0; i < n && dtype != QTK_F32; i++)
    v->rounded += v->again[i] != rows[i];
  return rc;
}

int safetensors_values_put(struct safetensors_values *v, struct safetensors_folder *f,
                           enum qtk_dtype dtype, const char *name, const float *rows, size_t n)
{
  size_t size = qtk_dtype_size(dtype);
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK; i += SAFETENSORS_PIECE) {
    size_t piece = n - i < SAFETENSORS_PIECE ? n - i : SAFETENSORS_PIECE;
    rc = values_check(dtype, name, rows + i, piece);
    if (rc == QTK_OK)
      rc = qtk_convert(dtype, v->buffer, QTK_F32, rows + i, piece);
    if (rc == QTK_OK)
      rc = values_compare(v, dtype, rows + i, piece);
    if (rc == QTK_OK)
      rc = safetensors_folder_data(f, v->buffer, piece * size);
  }
  return rc;
}

void safetensors_entry_dense(struct safetensors_entry *entry, const struct qtk_export_tensor *t,
                             enum qtk_dtype dtype)
{
  *entry = (struct safetensors_entry){
      .name = t->name, .type = safetensors_type_of(dtype), .ndim = t->ndim};
  for (int k = 0; k < t->ndim; k++)
    entry->shape[k] = t->shape[k];
}
