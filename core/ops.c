/* SPDX-License-Identifier: BSD-3-Clause
 * Checks that the operations share. */
#include <stdio.h>

#include "core/ops.h"

static int ops_rows_fit(const struct qtk_tensor *t)
{
  int64_t cols = qtk_tensor_cols(t);

  return t->ndim >= 1 && t->ndim <= QTK_MAX_DIMS && cols >= 0 && qtk_tensor_rows(t) >= 0 &&
         (t->stride >= cols || qtk_tensor_rows(t) <= 1);
}

static void ops_wanted(char *text, size_t size, int64_t n)
{
  if (n == OPS_ANY)
    snprintf(text, size, "any");
  else
    snprintf(text, size, "%lld", (long long)n);
}

static int ops_refuse(const char *op, const char *name, const struct qtk_tensor *t, int64_t rows,
                      int64_t cols)
{
  char want_rows[24], want_cols[24];

  ops_wanted(want_rows, sizeof want_rows, rows);
  ops_wanted(want_cols, sizeof want_cols, cols);
  return qtk_error(QTK_EINTERNAL, "%s: %s is [%lld, %lld] with a stride of %lld, wanted [%s, %s]",
                   op, name, (long long)qtk_tensor_rows(t), (long long)qtk_tensor_cols(t),
                   (long long)t->stride, want_rows, want_cols);
}

int qtk_ops_typed(const char *op, const char *name, const struct qtk_tensor *t, unsigned types,
                  int64_t rows, int64_t cols)
{
  if (t == NULL)
    return qtk_error(QTK_EINTERNAL, "%s: %s is missing", op, name);
  if ((unsigned)t->dtype > QTK_I64 || (types & OPS_TYPE(t->dtype)) == 0)
    return qtk_error(QTK_EINTERNAL, "%s: %s may not be %s", op, name, qtk_dtype_name(t->dtype));
  if (!ops_rows_fit(t) || (rows != OPS_ANY && rows != qtk_tensor_rows(t)) ||
      (cols != OPS_ANY && cols != qtk_tensor_cols(t)))
    return ops_refuse(op, name, t, rows, cols);
  if (t->data == NULL && qtk_tensor_rows(t) > 0 && qtk_tensor_cols(t) > 0)
    return qtk_error(QTK_EINTERNAL, "%s: %s has no memory", op, name);
  return QTK_OK;
}

int qtk_ops_matrix(const char *op, const char *name, const struct qtk_tensor *t, int64_t rows,
                   int64_t cols)
{
  return qtk_ops_typed(op, name, t, OPS_TYPE(QTK_F32), rows, cols);
}

int qtk_ops_vector(const char *op, const char *name, const struct qtk_tensor *t, int64_t n)
{
  int rc = qtk_ops_typed(op, name, t, OPS_TYPE(QTK_F32), OPS_ANY, OPS_ANY);

  if (rc != QTK_OK)
    return rc;
  if (qtk_tensor_rows(t) != 1 || qtk_tensor_cols(t) != n)
    return ops_refuse(op, name, t, 1, n);
  return QTK_OK;
}

int qtk_ops_optional(const char *op, const char *name, const struct qtk_tensor *t, int64_t n)
{
  return t == NULL ? QTK_OK : qtk_ops_vector(op, name, t, n);
}

int qtk_ops_weights(const char *op, const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                    int64_t rows, int64_t cols)
{
  const struct qtk_qlayout *l;

  if (w == NULL)
    return qtk_error(QTK_EINTERNAL, "%s: the weights are missing", op);
  l = &w->layout;
  if ((rows != OPS_ANY && l->rows != rows) || (cols != OPS_ANY && l->cols != cols))
    return qtk_error(QTK_EINTERNAL, "%s: weights [%lld, %lld] against [%lld, %lld]", op,
                     (long long)l->rows, (long long)l->cols, (long long)rows, (long long)cols);
  if (scales == NULL)
    return QTK_OK;
  if (l->encoding != QTK_AFFINE && l->encoding != QTK_CODEBOOK)
    return qtk_error(QTK_EINTERNAL, "%s: scales for weights that have none", op);
  return qtk_ops_typed(op, "scales", scales, OPS_TYPE(QTK_F32) | OPS_TYPE(QTK_F16), l->rows,
                       l->groups);
}

int qtk_ops_range(const char *op, const char *name, const int32_t *values, int64_t n, int64_t low,
                  int64_t high)
{
  if (values == NULL && n > 0)
    return qtk_error(QTK_EINTERNAL, "%s: %s is missing", op, name);
  for (int64_t i = 0; i < n; i++)
    if (values[i] < low || values[i] >= high)
      return qtk_error(QTK_EINTERNAL, "%s: %s[%lld] = %d: allowed are %lld .. %lld", op, name,
                       (long long)i, (int)values[i], (long long)low, (long long)high - 1);
  return QTK_OK;
}

int qtk_ops_missing(struct qtk_context *ctx, const char *op)
{
  if (ctx->device == NULL)
    return qtk_error(QTK_EINTERNAL, "%s: no backend is open", op);
  return qtk_error(QTK_EPLUGIN, "backend %s has no operation %s", ctx->device->name, op);
}
