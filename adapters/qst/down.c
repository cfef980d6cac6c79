/* SPDX-License-Identifier: BSD-3-Clause
 * Downsamplers: from the base's hidden state to the width of the side network.
 *
 *   linear   y = first x (+ bias)
 *   lora     y = second first x
 *   adapter  y = layer norm (second silu (first x))
 *   pools    the largest or the mean of each `reduction` neighbours
 *
 * x is rounded to 16 bits where it is multiplied, in every pass: so training may keep it in as
 * many, and its gradients are those of what every other pass computes. */
#define QTK_API 1
#include "qst.h"

#define DOWN_EPSILON 1e-5f

/* Rows [row, ...) of the hidden state in 16 bits, and those as floats in QST_WIDE. */
static int down_round(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                      int layer, int64_t row, const struct qtk_tensor *hidden,
                      struct qtk_tensor *x)
{
  struct qtk_tensor kept, from;
  int rc = qst_hidden(ctx, q, s, layer, row, &kept);

  if (rc == QTK_OK)
    rc = qst_wide(ctx, q, s, q->wide, x);
  if (rc != QTK_OK)
    return rc;
  from = qtk_rows_of(hidden, row, qtk_tensor_rows(&kept));
  *x = qtk_rows_of(x, 0, qtk_tensor_rows(&kept));
  rc = qtk_op_copy(ctx, &from, &kept);
  return rc == QTK_OK ? qtk_op_copy(ctx, &kept, x) : rc;
}

/* y = first x. */
static int down_read(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                     int layer, const struct qtk_tensor *hidden, struct qtk_tensor *y)
{
  int64_t tokens = qtk_tensor_rows(y);
  int rc = QTK_OK;

  for (int64_t row = 0; rc == QTK_OK && row < tokens; row += QST_PIECE) {
    struct qtk_tensor x, part = qtk_rows_of(y, row, qst_piece(tokens, row));
    rc = down_round(ctx, q, s, layer, row, hidden, &x);
    if (rc == QTK_OK)
      rc = qtk_op_matmul(ctx, 0, 1, 1, &x, &q->layer[layer].down->first.value, 0, &part);
  }
  return rc;
}

/* z = second act, act = silu (low) in QST_ACT; of lora act is low. */
static int down_second(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                       const struct qst_down *d, const struct qtk_tensor *low,
                       struct qtk_tensor *act, struct qtk_tensor *z)
{
  int rc = QTK_OK;

  *act = *low;
  if (q->kind == QST_ADAPTER) {
    rc = qst_matrix(ctx, q, s, QST_ACT, q->options->rank, act);
    if (rc == QTK_OK)
      rc = qtk_op_activation(ctx, QTK_ACT_SILU, low, act);
  }
  return rc == QTK_OK ? qtk_op_matmul(ctx, 0, 1, 1, act, &d->second.value, 0, z) : rc;
}

/* y from the first product. */
static int down_behind(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                       const struct qst_down *d, const struct qtk_tensor *low,
                       struct qtk_tensor *y)
{
  struct qtk_tensor act, z = *y;
  int rc = QTK_OK;

  if (q->kind == QST_ADAPTER)
    rc = qst_matrix(ctx, q, s, QST_Z, q->narrow, &z);
  if (rc == QTK_OK)
    rc = down_second(ctx, q, s, d, low, &act, &z);
  if (rc != QTK_OK || q->kind != QST_ADAPTER)
    return rc;
  return qtk_op_norm(ctx, QTK_NORM_LAYER, &z, &d->norm_weight.value, &d->norm_bias.value,
                     DOWN_EPSILON, y, NULL);
}

int qst_down_forward(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                     int layer, const struct qtk_tensor *hidden, struct qtk_tensor *y)
{
  const struct qst_down *d = q->layer[layer].down;
  struct qtk_tensor low = *y;
  int rc = QTK_OK;

  if (!qst_reads(q))
    return qtk_op_pool(ctx, q->kind == QST_MAX ? QTK_POOL_MAX : QTK_POOL_AVERAGE,
                       q->options->reduction, hidden, y);
  if (q->kind != QST_LINEAR)
    rc = qst_kept(ctx, q, s, layer, QST_LOW, &low);
  if (rc == QTK_OK)
    rc = down_read(ctx, q, s, layer, hidden, &low);
  if (rc == QTK_OK && d->bias.value.data != NULL)
    rc = qtk_op_add_columns(ctx, &low, &d->bias.value, &low);
  return rc == QTK_OK && q->kind != QST_LINEAR ? down_behind(ctx, q, s, d, &low, y) : rc;
}

/* ---- backward ------------------------------------------------------------------------------ */

/* dz from the gradient of the norm's output. */
static int down_norm_back(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                          struct qst_down *d, const struct qtk_tensor *z,
                          const struct qtk_tensor *dy, struct qtk_tensor *dz)
{
  struct qtk_tensor stats;
  int rc = qst_matrix(ctx, q, s, QST_STATS, 2, &stats);

  if (rc == QTK_OK)
    rc = qtk_op_norm(ctx, QTK_NORM_LAYER, z, &d->norm_weight.value, &d->norm_bias.value,
                     DOWN_EPSILON, dz, &stats);
  if (rc == QTK_OK)
    rc = qtk_op_norm_backward(ctx, QTK_NORM_LAYER, z, &d->norm_weight.value, &stats, dy, dz,
                              &d->norm_weight.gradient, &d->norm_bias.gradient);
  return rc;
}

/* From dz to the second matrix and to low, whose place its gradient takes. */
static int down_second_back(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                            struct qst_down *d, const struct qtk_tensor *act,
                            const struct qtk_tensor *dz, struct qtk_tensor *low)
{
  struct qtk_tensor dact;
  int rc = qtk_op_matmul(ctx, 1, 0, 1, dz, act, 1, &d->second.gradient);

  if (rc == QTK_OK && q->kind == QST_LORA)
    return qtk_op_matmul(ctx, 0, 0, 1, dz, &d->second.value, 0, low);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_DACT, q->options->rank, &dact);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, dz, &d->second.value, 0, &dact);
  return rc == QTK_OK ? qtk_op_activation_backward(ctx, QTK_ACT_SILU, low, &dact, low) : rc;
}

/* act and z are made again: they cost little beside the base. */
static int down_pair_back(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                          int layer, const struct qtk_tensor *dy)
{
  struct qst_down *d = q->layer[layer].down;
  struct qtk_tensor low, act, z, dz = *dy;
  int rc = qst_kept(ctx, q, s, layer, QST_LOW, &low);

  if (rc == QTK_OK && q->kind == QST_LORA)
    return down_second_back(ctx, q, s, d, &low, dy, &low);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_Z, q->narrow, &z);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_Y, q->narrow, &dz);
  if (rc == QTK_OK)
    rc = down_second(ctx, q, s, d, &low, &act, &z);
  if (rc == QTK_OK)
    rc = down_norm_back(ctx, q, s, d, &z, dy, &dz);
  return rc == QTK_OK ? down_second_back(ctx, q, s, d, &act, &dz, &low) : rc;
}

int qst_down_backward(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                      int layer)
{
  struct qst_down *d = q->layer[layer].down;
  struct qtk_tensor dy;
  int rc;

  if (!qst_reads(q))
    return QTK_OK;
  rc = qst_kept(ctx, q, s, layer, QST_DIFF, &dy);
  if (rc == QTK_OK && q->kind != QST_LINEAR)
    return down_pair_back(ctx, q, s, layer, &dy);
  return rc == QTK_OK && d->bias.value.data != NULL
             ? qtk_op_sum_rows(ctx, &dy, &d->bias.gradient)
             : rc;
}

/* ---- the matrix that reads hidden states ------------------------------------------------------ */

/* dfirst += (gradient of what it gives)T x, for the rows of x from `row` on. */
static int down_first(struct qtk_context *ctx, struct qst *q, struct qtk_session *s, int layer,
                      int64_t row, const struct qtk_tensor *x)
{
  struct qtk_tensor dlow;
  int rc = qst_kept(ctx, q, s, layer, q->kind == QST_LINEAR ? QST_DIFF : QST_LOW, &dlow);

  if (rc != QTK_OK)
    return rc;
  dlow = qtk_rows_of(&dlow, row, qtk_tensor_rows(x));
  return qtk_op_matmul(ctx, 1, 0, 1, &dlow, x, 1, &q->layer[layer].down->first.gradient);
}

/* A pass that is run again. */
struct down_pass {
  struct qst *q;
  struct qtk_session *s;
};

static int down_see(struct qtk_context *ctx, void *arg, int layer, const struct qtk_tensor *hidden)
{
  const struct down_pass *p = arg;
  struct qtk_tensor x;
  int rc = QTK_OK;

  for (int64_t row = 0; rc == QTK_OK && row < qtk_tensor_rows(hidden); row += QST_PIECE) {
    rc = down_round(ctx, p->q, p->s, layer, row, hidden, &x);
    if (rc == QTK_OK)
      rc = down_first(ctx, p->q, p->s, layer, row, &x);
  }
  return rc;
}

static int down_kept(struct qtk_context *ctx, struct qst *q, struct qtk_session *s, int layer,
                     int64_t row)
{
  struct qtk_tensor kept, x;
  int rc = qst_hidden(ctx, q, s, layer, row, &kept);

  if (rc == QTK_OK)
    rc = qst_wide(ctx, q, s, q->wide, &x);
  if (rc != QTK_OK)
    return rc;
  x = qtk_rows_of(&x, 0, qtk_tensor_rows(&kept));
  rc = qtk_op_copy(ctx, &kept, &x);
  return rc == QTK_OK ? down_first(ctx, q, s, layer, row, &x) : rc;
}

int qst_down_finish(struct qtk_context *ctx, struct qst *q, struct qtk_session *s)
{
  struct down_pass p = {q, s};
  int rc = QTK_OK;

  if (!qst_reads(q))
    return QTK_OK;
  if (q->again)
    return qtk_session_again(ctx, s, down_see, &p);
  for (int i = 0; rc == QTK_OK && i <= q->layers; i++)
    for (int64_t row = 0; rc == QTK_OK && row < qtk_session_tokens(s); row += QST_PIECE)
      rc = down_kept(ctx, q, s, i, row);
  return rc;
}
