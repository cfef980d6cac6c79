/* SPDX-License-Identifier: BSD-3-Clause
 * Norms, positions, attention, activations. */
#include <stdio.h>

#include "core/ops.h"

int qtk_op_norm(struct qtk_context *ctx, enum qtk_norm kind, const struct qtk_tensor *x,
                const struct qtk_tensor *weight, const struct qtk_tensor *bias, float eps,
                struct qtk_tensor *y, struct qtk_tensor *stats)
{
  int64_t rows, cols;
  int rc = qtk_ops_matrix("norm", "x", x, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(x);
  cols = qtk_tensor_cols(x);
  if ((rc = qtk_ops_matrix("norm", "y", y, rows, cols)) ||
      (rc = qtk_ops_optional("norm", "weight", weight, cols)) ||
      (rc = qtk_ops_optional("norm", "bias", bias, cols)))
    return rc;
  if (stats != NULL && (rc = qtk_ops_matrix("norm", "stats", stats, rows, 2)))
    return rc;
  return OPS_RUN(ctx, norm, kind, x, weight, bias, eps, y, stats);
}

int qtk_op_norm_backward(struct qtk_context *ctx, enum qtk_norm kind, const struct qtk_tensor *x,
                         const struct qtk_tensor *weight, const struct qtk_tensor *stats,
                         const struct qtk_tensor *dy, struct qtk_tensor *dx,
                         struct qtk_tensor *dweight, struct qtk_tensor *dbias)
{
  const char *op = "norm_backward";
  int64_t rows, cols;
  int rc = qtk_ops_matrix(op, "x", x, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(x);
  cols = qtk_tensor_cols(x);
  if ((rc = qtk_ops_matrix(op, "stats", stats, rows, 2)) ||
      (rc = qtk_ops_matrix(op, "dy", dy, rows, cols)) ||
      (rc = qtk_ops_matrix(op, "dx", dx, rows, cols)) ||
      (rc = qtk_ops_optional(op, "weight", weight, cols)) ||
      (rc = qtk_ops_optional(op, "dweight", dweight, cols)) ||
      (rc = qtk_ops_optional(op, "dbias", dbias, cols)))
    return rc;
  return OPS_RUN(ctx, norm_backward, kind, x, weight, stats, dy, dx, dweight, dbias);
}

int qtk_op_rope(struct qtk_context *ctx, const struct qtk_rope *rope, const int32_t *positions,
                struct qtk_tensor *x, int inverse)
{
  int rc;

  if (rope->heads < 1 || rope->dims < 0 || rope->dims % 2 != 0 || rope->dims > rope->head_size)
    return qtk_error(QTK_EINTERNAL, "rope: %lld heads of %lld with %lld turned",
                     (long long)rope->heads, (long long)rope->head_size, (long long)rope->dims);
  if ((rc = qtk_ops_matrix("rope", "x", x, OPS_ANY, rope->heads * rope->head_size)))
    return rc;
  if (positions == NULL && qtk_tensor_rows(x) > 0)
    return qtk_error(QTK_EINTERNAL, "rope: positions is missing");
  return OPS_RUN(ctx, rope, rope, positions, x, inverse);
}

static int ops_spans(const struct qtk_attention *a, int64_t rows_q, int64_t rows_k)
{
  for (int64_t i = 0; i < a->n_spans; i++) {
    const struct qtk_span *s = &a->spans[i];
    if (s->q0 < 0 || s->nq < 0 || s->q0 > rows_q - s->nq || s->k0 < 0 || s->nk < s->nq ||
        s->k0 > rows_k - s->nk)
      return qtk_error(QTK_EINTERNAL,
                       "attention: span %lld has queries %lld + %lld of %lld and keys "
                       "%lld + %lld of %lld",
                       (long long)i, (long long)s->q0, (long long)s->nq, (long long)rows_q,
                       (long long)s->k0, (long long)s->nk, (long long)rows_k);
  }
  return QTK_OK;
}

static int ops_attention(const struct qtk_attention *a, const struct qtk_tensor *q,
                         const struct qtk_tensor *k, const struct qtk_tensor *v, unsigned types)
{
  int rc;

  if (a->heads < 1 || a->kv_heads < 1 || a->heads % a->kv_heads != 0 || a->head_size < 1 ||
      a->window < 0)
    return qtk_error(QTK_EINTERNAL, "attention: %lld heads on %lld of %lld, window %lld",
                     (long long)a->heads, (long long)a->kv_heads, (long long)a->head_size,
                     (long long)a->window);
  if ((rc = qtk_ops_matrix("attention", "q", q, OPS_ANY, a->heads * a->head_size)) ||
      (rc = qtk_ops_typed("attention", "k", k, types, OPS_ANY, a->kv_heads * a->head_size)) ||
      (rc = qtk_ops_typed("attention", "v", v, OPS_TYPE(k->dtype), qtk_tensor_rows(k),
                          a->kv_heads * a->head_size)))
    return rc;
  return ops_spans(a, qtk_tensor_rows(q), qtk_tensor_rows(k));
}

int qtk_op_attention(struct qtk_context *ctx, const struct qtk_attention *a,
                     const struct qtk_tensor *q, const struct qtk_tensor *k,
                     const struct qtk_tensor *v, struct qtk_tensor *out, struct qtk_tensor *lse)
{
  int rc;

  if ((rc = ops_attention(a, q, k, v, OPS_TYPE(QTK_F32) | OPS_TYPE(QTK_F16))) ||
      (rc = qtk_ops_matrix("attention", "out", out, qtk_tensor_rows(q), qtk_tensor_cols(q))))
    return rc;
  if (lse != NULL && (rc = qtk_ops_matrix("attention", "lse", lse, qtk_tensor_rows(q), a->heads)))
    return rc;
  return OPS_RUN(ctx, attention, a, q, k, v, out, lse);
}

int qtk_op_attention_backward(struct qtk_context *ctx, const struct qtk_attention *a,
                              const struct qtk_tensor *q, const struct qtk_tensor *k,
                              const struct qtk_tensor *v, const struct qtk_tensor *out,
                              const struct qtk_tensor *lse, const struct qtk_tensor *dout,
                              struct qtk_tensor *dq, struct qtk_tensor *dk, struct qtk_tensor *dv)
{
  const char *op = "attention_backward";
  int64_t rows, cols;
  int rc = ops_attention(a, q, k, v, OPS_TYPE(QTK_F32));

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(q);
  cols = qtk_tensor_cols(q);
  if ((rc = qtk_ops_matrix(op, "out", out, rows, cols)) ||
      (rc = qtk_ops_matrix(op, "lse", lse, rows, a->heads)) ||
      (rc = qtk_ops_matrix(op, "dout", dout, rows, cols)) ||
      (rc = qtk_ops_matrix(op, "dq", dq, rows, cols)) ||
      (rc = qtk_ops_matrix(op, "dk", dk, qtk_tensor_rows(k), qtk_tensor_cols(k))) ||
      (rc = qtk_ops_matrix(op, "dv", dv, qtk_tensor_rows(k), qtk_tensor_cols(k))))
    return rc;
  return OPS_RUN(ctx, attention_backward, a, q, k, v, out, lse, dout, dq, dk, dv);
}

/* Two to five matrices of the shape of the first. */
static int ops_alike(const char *op, const struct qtk_tensor *const *t, int n)
{
  int rc = qtk_ops_matrix(op, "operand 1", t[0], OPS_ANY, OPS_ANY);

  for (int i = 1; rc == QTK_OK && i < n; i++) {
    char name[16];
    snprintf(name, sizeof name, "operand %d", i + 1);
    rc = qtk_ops_matrix(op, name, t[i], qtk_tensor_rows(t[0]), qtk_tensor_cols(t[0]));
  }
  return rc;
}

int qtk_op_activation(struct qtk_context *ctx, enum qtk_activation kind, const struct qtk_tensor *x,
                      struct qtk_tensor *y)
{
  int rc = ops_alike("activation", (const struct qtk_tensor *const[]){x, y}, 2);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, activation, kind, x, y);
}

int qtk_op_activation_backward(struct qtk_context *ctx, enum qtk_activation kind,
                               const struct qtk_tensor *x, const struct qtk_tensor *dy,
                               struct qtk_tensor *dx)
{
  int rc = ops_alike("activation_backward", (const struct qtk_tensor *const[]){x, dy, dx}, 3);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, activation_backward, kind, x, dy, dx);
}

int qtk_op_gated(struct qtk_context *ctx, enum qtk_activation kind, const struct qtk_tensor *gate,
                 const struct qtk_tensor *up, struct qtk_tensor *y)
{
  int rc = ops_alike("gated", (const struct qtk_tensor *const[]){gate, up, y}, 3);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, gated, kind, gate, up, y);
}

int qtk_op_gated_backward(struct qtk_context *ctx, enum qtk_activation kind,
                          const struct qtk_tensor *gate, const struct qtk_tensor *up,
                          const struct qtk_tensor *dy, struct qtk_tensor *dgate,
                          struct qtk_tensor *dup)
{
  int rc =
      ops_alike("gated_backward", (const struct qtk_tensor *const[]){gate, up, dy, dgate, dup}, 5);

  return rc != QTK_OK ? rc : OPS_RUN(ctx, gated_backward, kind, gate, up, dy, dgate, dup);
}
