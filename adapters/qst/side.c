/* SPDX-License-Identifier: BSD-3-Clause
 * The side network, forward and backward.
 *
 *   g0 = down (h0)
 *   gi = block ((1 - share) down (hi) + share g(i-1))     for each block i of the base
 *   h  = alpha h + (1 - alpha) up (norm (gL))             before the head
 *
 * No gradient goes to hi, so that of the base nothing runs backward. */
#define QTK_API 1
#include "qst.h"

int qst_stream(struct qtk_context *ctx, void *h, struct qtk_session *s, int layer,
               const struct qtk_tensor *hidden)
{
  struct qst *q = h;
  struct qst_layer *l = &q->layer[layer];
  struct qtk_tensor side, down, work;
  int rc = qst_matrix(ctx, q, s, QST_SIDE, q->narrow, &side);

  if (rc == QTK_OK && layer == 0)
    return qst_down_forward(ctx, q, s, layer, hidden, &side);
  if (rc == QTK_OK)
    rc = qst_kept(ctx, q, s, layer, QST_DIFF, &down);
  if (rc == QTK_OK)
    rc = qst_down_forward(ctx, q, s, layer, hidden, &down);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_Z, q->narrow, &work);
  if (rc == QTK_OK)
    rc = qst_gate_mix(ctx, &l->gate, &side, &down, &work);
  return rc == QTK_OK ? qtk_block_forward(ctx, l->block, s, &side, &side) : rc;
}

/* *y is the side state, normed where there is a norm behind it. */
static int side_norm(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
                     struct qtk_tensor *y, struct qtk_tensor *stats)
{
  struct qtk_tensor side;
  int rc = qst_matrix(ctx, q, s, QST_SIDE, q->narrow, &side);

  *y = side;
  if (rc != QTK_OK || q->final_weight.value.data == NULL)
    return rc;
  rc = qst_matrix(ctx, q, s, QST_Y, q->narrow, y);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_STATS, 2, stats);
  if (rc == QTK_OK)
    rc = qtk_op_norm(ctx, q->norm, &side, &q->final_weight.value,
                     q->final_bias.value.data != NULL ? &q->final_bias.value : NULL, q->epsilon, y,
                     stats);
  return rc;
}

int qst_mix(struct qtk_context *ctx, void *h, struct qtk_session *s, struct qtk_tensor *hidden)
{
  struct qst *q = h;
  struct qtk_tensor normed, stats, up, work;
  int rc = side_norm(ctx, q, s, &normed, &stats);

  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_DELTA, q->out, &up);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 1, 1, &normed, &q->up.value, 0, &up);
  if (rc == QTK_OK)
    rc = qtk_op_add_columns(ctx, &up, &q->up_bias.value, &up);
  if (rc == QTK_OK && q->form == QST_LST)
    return qtk_op_copy(ctx, &up, hidden);
  if (rc == QTK_OK)
    rc = qst_wide(ctx, q, s, q->out, &work);
  return rc == QTK_OK ? qst_gate_mix(ctx, &q->mix, hidden, &up, &work) : rc;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* dside from the gradient of what was upsampled. */
static int side_up_back(struct qtk_context *ctx, struct qst *q, struct qtk_session *s,
                        const struct qtk_tensor *dup, struct qtk_tensor *dside)
{
  struct qtk_tensor normed, stats, side, dnormed;
  int rc = side_norm(ctx, q, s, &normed, &stats);

  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 1, 0, 1, dup, &normed, 1, &q->up.gradient);
  if (rc == QTK_OK)
    rc = qtk_op_sum_rows(ctx, dup, &q->up_bias.gradient);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, dup, &q->up.value, 0, dside);
  if (rc != QTK_OK || q->final_weight.value.data == NULL)
    return rc;
  rc = qst_matrix(ctx, q, s, QST_SIDE, q->narrow, &side);
  if (rc == QTK_OK)
    rc = qst_matrix(ctx, q, s, QST_Z, q->narrow, &dnormed);
  if (rc == QTK_OK)
    rc = qtk_op_copy(ctx, dside, &dnormed);
  if (rc == QTK_OK)
    rc = qtk_op_norm_backward(ctx, q->norm, &side, &q->final_weight.value, &stats, &dnormed, dside,
                              &q->final_weight.gradient,
                              q->final_bias.value.data != NULL ? &q->final_bias.gradient : NULL);
  return rc;
}

static int side_mix_back(struct qtk_context *ctx, struct qst *q, struct qtk_session *s,
                         const struct qtk_tensor *dhidden, struct qtk_tensor *dside)
{
  struct qtk_tensor delta;
  int rc = qst_matrix(ctx, q, s, QST_DELTA, q->out, &delta);

  if (rc == QTK_OK && q->form == QST_LST)
    return side_up_back(ctx, q, s, dhidden, dside);
  if (rc == QTK_OK)
    rc = qst_gate_gradient(ctx, &q->mix, dhidden, &delta);
  if (rc == QTK_OK)
    rc = qst_gate_back(ctx, &q->mix, 0, dhidden, &delta);
  return rc == QTK_OK ? side_up_back(ctx, q, s, &delta, dside) : rc;
}

/* dside becomes the gradient of the state below. */
static int side_layer_back(struct qtk_context *ctx, struct qst *q, struct qtk_session *s, int layer,
                           struct qtk_tensor *dside)
{
  struct qst_layer *l = &q->layer[layer];
  struct qtk_tensor diff;
  int rc = qtk_block_backward(ctx, l->block, s, dside, dside);

  if (rc == QTK_OK)
    rc = qst_kept(ctx, q, s, layer, QST_DIFF, &diff);
  if (rc == QTK_OK)
    rc = qst_gate_gradient(ctx, &l->gate, dside, &diff);
  if (rc == QTK_OK)
    rc = qst_gate_back(ctx, &l->gate, 0, dside, &diff);
  if (rc == QTK_OK)
    rc = qst_gate_back(ctx, &l->gate, 1, dside, dside);
  return rc == QTK_OK ? qst_down_backward(ctx, q, s, layer) : rc;
}

int qst_mix_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                     const struct qtk_tensor *dhidden)
{
  struct qst *q = h;
  struct qtk_tensor dside, down;
  int rc;

  if (!qst_trains(q, s))
    return QTK_OK;
  rc = qst_matrix(ctx, q, s, QST_DSIDE, q->narrow, &dside);
  if (rc == QTK_OK)
    rc = side_mix_back(ctx, q, s, dhidden, &dside);
  for (int i = q->layers; rc == QTK_OK && i > 0; i--)
    rc = side_layer_back(ctx, q, s, i, &dside);
  if (rc == QTK_OK)
    rc = qst_kept(ctx, q, s, 0, QST_DIFF, &down);
  if (rc == QTK_OK)
    rc = qtk_op_copy(ctx, &dside, &down);
  if (rc == QTK_OK)
    rc = qst_down_backward(ctx, q, s, 0);
  return rc == QTK_OK ? qst_down_finish(ctx, q, s) : rc;
}
