/* SPDX-License-Identifier: BSD-3-Clause
 * Losses and the optimizer's step. */
#include "core/ops.h"

int qtk_op_cross_entropy(struct qtk_context *ctx, const struct qtk_tensor *logits,
                         const int32_t *targets, struct qtk_tensor *loss, const float *scale,
                         struct qtk_tensor *dlogits)
{
  const char *op = "cross_entropy";
  int64_t rows, cols;
  int rc = qtk_ops_matrix(op, "logits", logits, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(logits);
  cols = qtk_tensor_cols(logits);
  if ((rc = qtk_ops_vector(op, "loss", loss, rows)) ||
      (rc = qtk_ops_range(op, "targets", targets, rows, INT32_MIN, cols)))
    return rc;
  if (dlogits != NULL && (rc = qtk_ops_matrix(op, "dlogits", dlogits, rows, cols)))
    return rc;
  if (dlogits != NULL && scale == NULL && rows > 0)
    return qtk_error(QTK_EINTERNAL, "%s: dlogits without scale", op);
  return OPS_RUN(ctx, cross_entropy, logits, targets, loss, scale, dlogits);
}

int qtk_op_divergence(struct qtk_context *ctx, const struct qtk_tensor *teacher,
                      const struct qtk_tensor *student, struct qtk_tensor *kl, const float *scale,
                      struct qtk_tensor *dstudent)
{
  const char *op = "divergence";
  int64_t rows, cols;
  int rc = qtk_ops_matrix(op, "teacher", teacher, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(teacher);
  cols = qtk_tensor_cols(teacher);
  if ((rc = qtk_ops_matrix(op, "student", student, rows, cols)) ||
      (rc = qtk_ops_vector(op, "kl", kl, rows)))
    return rc;
  if (dstudent != NULL && (rc = qtk_ops_matrix(op, "dstudent", dstudent, rows, cols)))
    return rc;
  if (dstudent != NULL && scale == NULL && rows > 0)
    return qtk_error(QTK_EINTERNAL, "%s: dstudent without scale", op);
  return OPS_RUN(ctx, divergence, teacher, student, kl, scale, dstudent);
}

int qtk_op_adamw(struct qtk_context *ctx, const struct qtk_adamw *a,
                 const struct qtk_tensor *gradient, struct qtk_tensor *m, struct qtk_tensor *v,
                 struct qtk_tensor *value)
{
  int64_t rows, cols;
  int rc = qtk_ops_matrix("adamw", "value", value, OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  rows = qtk_tensor_rows(value);
  cols = qtk_tensor_cols(value);
  if ((rc = qtk_ops_matrix("adamw", "gradient", gradient, rows, cols)) ||
      (rc = qtk_ops_matrix("adamw", "m", m, rows, cols)) ||
      (rc = qtk_ops_matrix("adamw", "v", v, rows, cols)))
    return rc;
  if (a->step < 1)
    return qtk_error(QTK_EINTERNAL, "adamw: step %lld: they count from 1", (long long)a->step);
  return OPS_RUN(ctx, adamw, a, gradient, m, v, value);
}
