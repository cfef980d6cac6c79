/* SPDX-License-Identifier: BSD-3-Clause
 * Calibration sums and solvers. */
#include "core/ops.h"

#define OPS_REALS (OPS_TYPE(QTK_F32) | OPS_TYPE(QTK_F64))

int qtk_op_gram(struct qtk_context *ctx, float alpha, const struct qtk_tensor *x,
                struct qtk_tensor *H)
{
  int rc;

  if ((rc = qtk_ops_matrix("gram", "x", x, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("gram", "H", H, qtk_tensor_cols(x), qtk_tensor_cols(x))))
    return rc;
  return OPS_RUN(ctx, gram, alpha, x, H);
}

int qtk_op_cross(struct qtk_context *ctx, float alpha, const struct qtk_tensor *a,
                 const struct qtk_tensor *b, struct qtk_tensor *C)
{
  int rc;

  if ((rc = qtk_ops_matrix("cross", "a", a, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("cross", "b", b, qtk_tensor_rows(a), OPS_ANY)) ||
      (rc = qtk_ops_matrix("cross", "C", C, qtk_tensor_cols(a), qtk_tensor_cols(b))))
    return rc;
  return OPS_RUN(ctx, cross, alpha, a, b, C);
}

static int ops_square(const char *op, const struct qtk_tensor *a)
{
  int rc = qtk_ops_typed(op, "the matrix", a, OPS_REALS, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  return qtk_ops_typed(op, "the matrix", a, OPS_REALS, qtk_tensor_rows(a), qtk_tensor_rows(a));
}

int qtk_op_cholesky(struct qtk_context *ctx, int upper, struct qtk_tensor *a)
{
  int rc = ops_square("cholesky", a);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, cholesky, upper, a);
}

int qtk_op_cholesky_inverse(struct qtk_context *ctx, struct qtk_tensor *a)
{
  int rc = ops_square("cholesky_inverse", a);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, cholesky_inverse, a);
}

int qtk_op_triangular_inverse(struct qtk_context *ctx, struct qtk_tensor *a)
{
  int rc = ops_square("triangular_inverse", a);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, triangular_inverse, a);
}

int qtk_op_solve_triangular(struct qtk_context *ctx, int upper, int transpose,
                            const struct qtk_tensor *t, struct qtk_tensor *b)
{
  int rc;

  if ((rc = ops_square("solve_triangular", t)) ||
      (rc = qtk_ops_typed("solve_triangular", "b", b, OPS_TYPE(t->dtype), qtk_tensor_rows(t),
                          OPS_ANY)))
    return rc;
  return OPS_RUN(ctx, solve_triangular, upper, transpose, t, b);
}
