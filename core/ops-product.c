/* SPDX-License-Identifier: BSD-3-Clause
 * Products, embedding. */
#include "core/ops.h"

int qtk_op_linear(struct qtk_context *ctx, const struct qtk_tensor *x, const struct qtk_qtensor *w,
                  const struct qtk_tensor *scales, const struct qtk_tensor *bias,
                  struct qtk_tensor *y, int accumulate)
{
  int rc;

  if ((rc = qtk_ops_matrix("linear", "x", x, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear", "y", y, qtk_tensor_rows(x), OPS_ANY)) ||
      (rc = qtk_ops_weights("linear", w, scales, qtk_tensor_cols(y), qtk_tensor_cols(x))) ||
      (rc = qtk_ops_optional("linear", "bias", bias, w->layout.rows)))
    return rc;
  return OPS_RUN(ctx, linear, x, w, scales, bias, y, accumulate);
}

int qtk_op_linear_dx(struct qtk_context *ctx, const struct qtk_tensor *dy,
                     const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                     struct qtk_tensor *dx, int accumulate)
{
  int rc;

  if ((rc = qtk_ops_matrix("linear_dx", "dy", dy, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear_dx", "dx", dx, qtk_tensor_rows(dy), OPS_ANY)) ||
      (rc = qtk_ops_weights("linear_dx", w, scales, qtk_tensor_cols(dy), qtk_tensor_cols(dx))))
    return rc;
  return OPS_RUN(ctx, linear_dx, dy, w, scales, dx, accumulate);
}

int qtk_op_linear_dw(struct qtk_context *ctx, const struct qtk_tensor *dy,
                     const struct qtk_tensor *x, struct qtk_tensor *dw)
{
  int rc;

  if ((rc = qtk_ops_matrix("linear_dw", "dy", dy, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear_dw", "x", x, qtk_tensor_rows(dy), OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear_dw", "dw", dw, qtk_tensor_cols(dy), qtk_tensor_cols(x))))
    return rc;
  return OPS_RUN(ctx, linear_dw, dy, x, dw);
}

int qtk_op_linear_dscale(struct qtk_context *ctx, const struct qtk_tensor *dy,
                         const struct qtk_tensor *x, const struct qtk_qtensor *w,
                         struct qtk_tensor *ds)
{
  int rc;

  if ((rc = qtk_ops_matrix("linear_dscale", "dy", dy, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear_dscale", "x", x, qtk_tensor_rows(dy), OPS_ANY)) ||
      (rc = qtk_ops_matrix("linear_dscale", "ds", ds, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_weights("linear_dscale", w, ds, qtk_tensor_cols(dy), qtk_tensor_cols(x))))
    return rc;
  return OPS_RUN(ctx, linear_dscale, dy, x, w, ds);
}

int qtk_op_matmul(struct qtk_context *ctx, int ta, int tb, float alpha, const struct qtk_tensor *a,
                  const struct qtk_tensor *b, float beta, struct qtk_tensor *y)
{
  int64_t m, n, k;
  int rc;

  if ((rc = qtk_ops_matrix("matmul", "a", a, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("matmul", "b", b, OPS_ANY, OPS_ANY)))
    return rc;
  m = ta ? qtk_tensor_cols(a) : qtk_tensor_rows(a);
  k = ta ? qtk_tensor_rows(a) : qtk_tensor_cols(a);
  n = tb ? qtk_tensor_rows(b) : qtk_tensor_cols(b);
  if ((rc = qtk_ops_matrix("matmul", "b", b, tb ? n : k, tb ? k : n)) ||
      (rc = qtk_ops_matrix("matmul", "y", y, m, n)))
    return rc;
  return OPS_RUN(ctx, matmul, ta, tb, alpha, a, b, beta, y);
}

int qtk_op_dequantize(struct qtk_context *ctx, const struct qtk_qtensor *w,
                      const struct qtk_tensor *scales, int64_t row, struct qtk_tensor *out)
{
  int rc;

  if ((rc = qtk_ops_matrix("dequantize", "out", out, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_weights("dequantize", w, scales, OPS_ANY, qtk_tensor_cols(out))))
    return rc;
  if (row < 0 || row > w->layout.rows - qtk_tensor_rows(out))
    return qtk_error(QTK_EINTERNAL, "dequantize: rows %lld + %lld of %lld", (long long)row,
                     (long long)qtk_tensor_rows(out), (long long)w->layout.rows);
  return OPS_RUN(ctx, dequantize, w, scales, row, out);
}

int qtk_op_embedding(struct qtk_context *ctx, const struct qtk_qtensor *w, const int32_t *ids,
                     struct qtk_tensor *y)
{
  int rc;

  if ((rc = qtk_ops_matrix("embedding", "y", y, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_weights("embedding", w, NULL, OPS_ANY, qtk_tensor_cols(y))) ||
      (rc = qtk_ops_range("embedding", "ids", ids, qtk_tensor_rows(y), 0, w->layout.rows)))
    return rc;
  return OPS_RUN(ctx, embedding, w, ids, y);
}

int qtk_op_embedding_backward(struct qtk_context *ctx, const int32_t *ids,
                              const struct qtk_tensor *dy, struct qtk_tensor *dw)
{
  int rc;

  if ((rc = qtk_ops_matrix("embedding_backward", "dy", dy, OPS_ANY, OPS_ANY)) ||
      (rc = qtk_ops_matrix("embedding_backward", "dw", dw, OPS_ANY, qtk_tensor_cols(dy))) ||
      (rc = qtk_ops_range("embedding_backward", "ids", ids, qtk_tensor_rows(dy), 0,
                          qtk_tensor_rows(dw))))
    return rc;
  return OPS_RUN(ctx, embedding_backward, ids, dy, dw);
}
