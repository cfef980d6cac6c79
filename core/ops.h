/* SPDX-License-Identifier: BSD-3-Clause
 * How the functions of <qtk/ops.h> check what they are given and call the
 * backend. Checks return QTK_EINTERNAL with operation, operand, found, wanted. */
#ifndef QTK_CORE_OPS_H
#define QTK_CORE_OPS_H

#include <qtk/ops.h>

#include "core/device.h"

#define OPS_ANY (-1) /* any number of rows or columns */
#define OPS_TYPE(dtype) (1u << (dtype))

/* A matrix of one of the types; of float32. */
int qtk_ops_typed(const char *op, const char *name, const struct qtk_tensor *t, unsigned types,
                  int64_t rows, int64_t cols);
int qtk_ops_matrix(const char *op, const char *name, const struct qtk_tensor *t, int64_t rows,
                   int64_t cols);
/* n floats next to each other, [n] or [1, n]; `optional`: or NULL. */
int qtk_ops_vector(const char *op, const char *name, const struct qtk_tensor *t, int64_t n);
int qtk_ops_optional(const char *op, const char *name, const struct qtk_tensor *t, int64_t n);
/* A weight matrix, and the scales that may replace its own. */
int qtk_ops_weights(const char *op, const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                    int64_t rows, int64_t cols);
/* n host numbers, each within [low, high). */
int qtk_ops_range(const char *op, const char *name, const int32_t *values, int64_t n, int64_t low,
                  int64_t high);
/* "backend x has no operation y" or "no backend is open". */
int qtk_ops_missing(struct qtk_context *ctx, const char *op);

/* Calls a slot of the context's backend. */
#define OPS_RUN(ctx, slot, ...)                        \
  ({                                                   \
    struct qtk_device *run_d = (ctx)->device;          \
    int run_rc;                                        \
    if (run_d == NULL || run_d->ops.slot == NULL) {    \
      run_rc = qtk_ops_missing(ctx, #slot);            \
    } else {                                           \
      qtk_device_lock(run_d);                          \
      run_rc = run_d->ops.slot(run_d->h, __VA_ARGS__); \
      qtk_device_unlock(run_d);                        \
    }                                                  \
    run_rc;                                            \
  })

#endif
