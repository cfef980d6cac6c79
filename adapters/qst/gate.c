/* SPDX-License-Identifier: BSD-3-Clause
 * Learned shares of two matrices, one share or one a column. */
#define QTK_API 1
#include <math.h>

#include "qst.h"

void qst_gate_free(struct qtk_context *ctx, struct qst_gate *g)
{
  qtk_device_free(ctx, g->shares.data);
  qtk_device_free(ctx, g->rests.data);
  qtk_device_free(ctx, g->slopes.data);
  qtk_device_free(ctx, g->work.data);
}

/* The share of a value, and its slope. */
static double gate_share(const struct qst_gate *g, float value, double *slope)
{
  double share;

  *slope = 1;
  if (g->squash == QST_RAW)
    return (double)value;
  share = 1 / (1 + exp(-g->sharpness * (double)value));
  *slope = g->sharpness * share * (1 - share);
  return share;
}

static int gate_vector(struct qtk_context *ctx, const struct qst_gate *g, struct qtk_tensor *t)
{
  if (t->data != NULL)
    return QTK_OK;
  *t = qtk_vector(QTK_F32, NULL, g->n);
  return qtk_device_alloc(ctx, (size_t)g->n * sizeof(float), "adapter", &t->data);
}

/* values [n], host memory; `part` takes as many. */
static int gate_put(struct qtk_context *ctx, struct qst_gate *g, const float *values, float *part)
{
  struct qtk_tensor *const to[] = {&g->shares, &g->rests, &g->slopes};
  double slope, share;
  int rc = gate_vector(ctx, g, &g->work);

  for (int k = 0; k < 3 && rc == QTK_OK; k++) {
    rc = gate_vector(ctx, g, to[k]);
    for (int64_t j = 0; j < g->n; j++) {
      share = gate_share(g, values[j], &slope);
      part[j] = (float)(k == 0 ? share : k == 1 ? 1 - share : slope);
    }
    if (rc == QTK_OK)
      rc = qtk_device_upload(ctx, to[k]->data, part, (size_t)g->n * sizeof *part);
  }
  return rc;
}

int qst_gate_changed(struct qtk_context *ctx, struct qst_gate *g)
{
  size_t bytes = (size_t)g->n * sizeof(float);
  float *host, one = 0;
  int rc;

  if (g->n == 1) {
    rc = qtk_device_download(ctx, &one, g->value.value.data, sizeof one);
    g->share = gate_share(g, one, &g->slope);
    return rc;
  }
  host = qtk_alloc(ctx, 2 * bytes, "scratch");
  if (host == NULL)
    return QTK_ENOMEM;
  rc = qtk_device_download(ctx, host, g->value.value.data, bytes);
  if (rc == QTK_OK)
    rc = gate_put(ctx, g, host, host + g->n);
  qtk_free(ctx, host);
  return rc;
}

/* first - (1 - share) (first - second), so that a share of 1 takes nothing away. */
int qst_gate_mix(struct qtk_context *ctx, const struct qst_gate *g, struct qtk_tensor *first,
                 struct qtk_tensor *second, struct qtk_tensor *work)
{
  int64_t rows = qtk_tensor_rows(first);
  int rc = qtk_op_scale(ctx, -1, second, second);

  if (rc == QTK_OK)
    rc = qtk_op_add(ctx, first, second, second);
  if (rc != QTK_OK)
    return rc;
  if (g->n == 1)
    return qtk_op_axpy(ctx, (float)(g->share - 1), second, first);
  for (int64_t row = 0; rc == QTK_OK && row < rows; row += qtk_tensor_rows(work)) {
    int64_t n = rows - row < qtk_tensor_rows(work) ? rows - row : qtk_tensor_rows(work);
    struct qtk_tensor to = qtk_rows_of(first, row, n), from = qtk_rows_of(second, row, n);
    struct qtk_tensor rest = qtk_rows_of(work, 0, n);
    rc = qtk_op_multiply_columns(ctx, &from, &g->rests, &rest);
    if (rc == QTK_OK)
      rc = qtk_op_axpy(ctx, -1, &rest, &to);
  }
  return rc;
}

static int gate_add_one(struct qtk_context *ctx, struct qst_gate *g, double gradient)
{
  float sum;
  int rc = qtk_device_download(ctx, &sum, g->value.gradient.data, sizeof sum);

  sum = (float)((double)sum + gradient);
  return rc == QTK_OK ? qtk_device_upload(ctx, g->value.gradient.data, &sum, sizeof sum) : rc;
}

int qst_gate_gradient(struct qtk_context *ctx, struct qst_gate *g, const struct qtk_tensor *dy,
                      const struct qtk_tensor *difference)
{
  double sum;
  int rc;

  if (g->n == 1) {
    rc = qtk_op_dot(ctx, dy, difference, &sum);
    return rc == QTK_OK ? gate_add_one(ctx, g, g->slope * sum) : rc;
  }
  rc = qtk_device_zero(ctx, g->work.data, (size_t)g->n * sizeof(float));
  if (rc == QTK_OK)
    rc = qtk_op_dot_columns(ctx, dy, difference, &g->work);
  if (rc == QTK_OK)
    rc = qtk_op_multiply(ctx, &g->work, &g->slopes, &g->work);
  return rc == QTK_OK ? qtk_op_add(ctx, &g->value.gradient, &g->work, &g->value.gradient) : rc;
}

int qst_gate_back(struct qtk_context *ctx, const struct qst_gate *g, int first,
                  const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  if (g->n == 1)
    return qtk_op_scale(ctx, (float)(first ? g->share : 1 - g->share), dy, dx);
  return qtk_op_multiply_columns(ctx, dy, first ? &g->shares : &g->rests, dx);
}
