/* SPDX-License-Identifier: BSD-3-Clause
 * Elementwise operations and reductions. */
#include "core/ops.h"

#define OPS_FLOATS (OPS_TYPE(QTK_F32) | OPS_TYPE(QTK_F16) | OPS_TYPE(QTK_BF16))

/* y has the shape of x; so has `other` unless it is NULL. */
static int ops_same(const char *op, const struct qtk_tensor *x, const struct qtk_tensor *y,
                    const struct qtk_tensor *other)
{
  int rc;

  if ((rc = qtk_ops_matrix(op, "x", x, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix(op, "y", y, qtk_tensor_rows(x), qtk_tensor_cols(x))))
    return rc;
  if (other == NULL)
    return QTK_OK;
  return qtk_ops_matrix(op, "b", other, qtk_tensor_rows(x), qtk_tensor_cols(x));
}

int qtk_op_add(struct qtk_context *ctx, const struct qtk_tensor *a, const struct qtk_tensor *b,
               struct qtk_tensor *y)
{
  int rc = ops_same("add", a, y, b);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, add, a, b, y);
}

int qtk_op_axpy(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                struct qtk_tensor *y)
{
  int rc = ops_same("axpy", x, y, NULL);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, axpy, alpha, x, y);
}

int qtk_op_scale(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                 struct qtk_tensor *y)
{
  int rc = ops_same("scale", x, y, NULL);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, scale, alpha, x, y);
}

int qtk_op_multiply(struct qtk_context *ctx, const struct qtk_tensor *a, const struct qtk_tensor *b,
                    struct qtk_tensor *y)
{
  int rc = ops_same("multiply", a, y, b);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, multiply, a, b, y);
}

/* x and y of one shape, v a value a column. */
static int ops_columns(const char *op, const struct qtk_tensor *x, const struct qtk_tensor *v,
                       const struct qtk_tensor *y)
{
  int rc = ops_same(op, x, y, NULL);

  return rc != QTK_OK ? rc : qtk_ops_vector(op, "v", v, qtk_tensor_cols(x));
}

int qtk_op_multiply_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                            const struct qtk_tensor *v, struct qtk_tensor *y)
{
  int rc = ops_columns("multiply_columns", x, v, y);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, multiply_columns, x, v, y);
}

int qtk_op_add_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                       const struct qtk_tensor *v, struct qtk_tensor *y)
{
  int rc = ops_columns("add_columns", x, v, y);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, add_columns, x, v, y);
}

int qtk_op_sum_rows(struct qtk_context *ctx, const struct qtk_tensor *x, struct qtk_tensor *v)
{
  int rc = ops_columns("sum_rows", x, v, x);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, sum_rows, x, v);
}

int qtk_op_dot_columns(struct qtk_context *ctx, const struct qtk_tensor *x,
                       const struct qtk_tensor *y, struct qtk_tensor *v)
{
  int rc = ops_columns("dot_columns", x, v, y);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, dot_columns, x, y, v);
}

int qtk_op_dot(struct qtk_context *ctx, const struct qtk_tensor *x, const struct qtk_tensor *y,
               double *sum)
{
  int rc = ops_same("dot", x, y, NULL);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, dot, x, y, sum);
}

int qtk_op_gather(struct qtk_context *ctx, const struct qtk_tensor *x, const int32_t *rows,
                  struct qtk_tensor *y)
{
  int rc;

  if ((rc = qtk_ops_typed("gather", "x", x, OPS_FLOATS, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_typed("gather", "y", y, OPS_FLOATS, OPS_ANY, qtk_tensor_cols(x))) ||
      (rc = qtk_ops_range("gather", "rows", rows, qtk_tensor_rows(y), 0, qtk_tensor_rows(x))))
    return rc;
  return OPS_RUN(ctx, gather, x, rows, y);
}

int qtk_op_copy(struct qtk_context *ctx, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  int rc;

  if ((rc = qtk_ops_typed("copy", "x", x, OPS_FLOATS, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_typed("copy", "y", y, OPS_FLOATS, qtk_tensor_rows(x), qtk_tensor_cols(x))))
    return rc;
  return OPS_RUN(ctx, copy, x, y);
}

static int ops_pool(const char *op, int64_t width, const struct qtk_tensor *wide,
                    const struct qtk_tensor *narrow)
{
  int rc = qtk_ops_matrix(op, "the wide operand", wide, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  if (width < 1 || qtk_tensor_cols(wide) % width != 0)
    return qtk_error(QTK_EINTERNAL, "%s: windows of %lld in %lld columns", op, (long long)width,
                     (long long)qtk_tensor_cols(wide));
  return qtk_ops_matrix(op, "the narrow operand", narrow, qtk_tensor_rows(wide),
                        qtk_tensor_cols(wide) / width);
}

int qtk_op_pool(struct qtk_context *ctx, enum qtk_pool kind, int64_t width,
                const struct qtk_tensor *x, struct qtk_tensor *y)
{
  int rc = ops_pool("pool", width, x, y);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, pool, kind, width, x, y);
}

int qtk_op_pool_backward(struct qtk_context *ctx, enum qtk_pool kind, int64_t width,
                         const struct qtk_tensor *x, const struct qtk_tensor *dy,
                         struct qtk_tensor *dx)
{
  int rc;

  if ((rc = ops_pool("pool_backward", width, x, dy)) ||
      (rc = ops_same("pool_backward", x, dx, NULL)))
    return rc;
  return OPS_RUN(ctx, pool_backward, kind, width, x, dy, dx);
}

int qtk_op_dropout(struct qtk_context *ctx, float p, uint64_t seed, const struct qtk_tensor *x,
                   struct qtk_tensor *y)
{
  int rc = ops_same("dropout", x, y, NULL);

  if (rc != QTK_OK)
    return rc;
  if (!(p >= 0 && p < 1))
    return qtk_error(QTK_EINTERNAL, "dropout: p = %g: allowed is 0 to below 1", (double)p);
  return OPS_RUN(ctx, dropout, p, seed, x, y);
}
