/* SPDX-License-Identifier: BSD-3-Clause
 * Element types and views of matrices. */
#include <string.h>

#include "core/tensor.h"

static const struct {
  const char *name;
  size_t size;
} tensor_types[] = {
    [QTK_F32] = {"f32", 4}, [QTK_F16] = {"f16", 2}, [QTK_BF16] = {"bf16", 2},
    [QTK_F64] = {"f64", 8}, [QTK_I8] = {"i8", 1},   [QTK_U8] = {"u8", 1},
    [QTK_I16] = {"i16", 2}, [QTK_I32] = {"i32", 4}, [QTK_I64] = {"i64", 8},
};

#define TENSOR_TYPES (int)(sizeof tensor_types / sizeof *tensor_types)

size_t qtk_dtype_size(enum qtk_dtype dtype)
{
  return (int)dtype >= 0 && (int)dtype < TENSOR_TYPES ? tensor_types[dtype].size : 0;
}

const char *qtk_dtype_name(enum qtk_dtype dtype)
{
  return (int)dtype >= 0 && (int)dtype < TENSOR_TYPES ? tensor_types[dtype].name : "unknown";
}

int qtk_dtype_find(const char *name)
{
  for (int i = 0; i < TENSOR_TYPES; i++)
    if (strcmp(tensor_types[i].name, name) == 0)
      return i;
  return -1;
}

struct qtk_tensor qtk_matrix(enum qtk_dtype dtype, void *data, int64_t rows, int64_t cols)
{
  struct qtk_tensor t = {
      .data = data, .dtype = dtype, .ndim = 2, .shape = {rows, cols}, .stride = cols};

  return t;
}

struct qtk_tensor qtk_vector(enum qtk_dtype dtype, void *data, int64_t n)
{
  struct qtk_tensor t = {.data = data, .dtype = dtype, .ndim = 1, .shape = {n}, .stride = n};

  return t;
}

int64_t qtk_tensor_rows(const struct qtk_tensor *t)
{
  int64_t rows = 1;

  for (int i = 0; i + 1 < t->ndim; i++)
    rows *= t->shape[i];
  return rows;
}

int64_t qtk_tensor_cols(const struct qtk_tensor *t)
{
  return t->ndim > 0 ? t->shape[t->ndim - 1] : 1;
}

/* The part of t from `element` on, [rows, cols] with t's stride. */
static struct qtk_tensor tensor_part(const struct qtk_tensor *t, int64_t element, int64_t rows,
                                     int64_t cols)
{
  struct qtk_tensor part = qtk_matrix(t->dtype, t->data, rows, cols);

  if (t->data != NULL)
    part.data = (char *)t->data + (size_t)element * qtk_dtype_size(t->dtype);
  part.stride = t->stride;
  return part;
}

struct qtk_tensor qtk_rows_of(const struct qtk_tensor *t, int64_t row, int64_t n)
{
  return tensor_part(t, row * t->stride, n, qtk_tensor_cols(t));
}

struct qtk_tensor qtk_cols_of(const struct qtk_tensor *t, int64_t col, int64_t n)
{
  return tensor_part(t, col, qtk_tensor_rows(t), n);
}
