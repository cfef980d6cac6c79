/* SPDX-License-Identifier: BSD-3-Clause
 * Checked sizes, for lengths that come from files. */
#ifndef QTK_CORE_TENSOR_H
#define QTK_CORE_TENSOR_H

#include <qtk/tensor.h>

/* a * b or a + b in *out; 1 if it fits in 63 bits, else 0. */
static inline int qtk_size_multiply(uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_mul_overflow(a, b, out) && *out <= INT64_MAX;
}

static inline int qtk_size_add(uint64_t a, uint64_t b, uint64_t *out)
{
  return !__builtin_add_overflow(a, b, out) && *out <= INT64_MAX;
}

/* The dtype of that name ("f16"), or -1. */
QTK_PUBLIC int qtk_dtype_find(const char *name);

#endif
