/* SPDX-License-Identifier: BSD-3-Clause
 * Gradients of a pass: from the loss to the adapters. Where one mixes into the hidden
 * states, all below is its own work; else the blocks run backward, down to the last place
 * that wants a gradient. */
#include "core/engine-inner.h"
#include "core/error.h"

static int backward_mixers(const struct qtk_engine *e)
{
  int n = 0;

  for (int i = 0; i < e->n_adapters; i++)
    n += e->adapters[i].on && e->adapters[i].ops->mix != NULL;
  return n;
}

int qtk_engine_tapes(const struct qtk_engine *e, const struct qtk_session *s, int64_t place)
{
  return s->training && backward_mixers(e) == 0 && place >= e->lowest;
}

int qtk_engine_stream_ends(const struct qtk_engine *e)
{
  return backward_mixers(e) == 1 && (e->arch->final_norm || e->project_out.tensor >= 0);
}

int qtk_engine_checkpoint(const struct qtk_engine *e, struct qtk_session *s, int64_t layer,
                          struct qtk_tensor *x)
{
  int64_t width = e->arch->dims.hidden;
  void *memory;
  int rc = qtk_session_bytes(s, &e->layers[layer], 1, (size_t)(s->tokens * width) * sizeof(float),
                             "checkpoints", &memory);

  *x = qtk_matrix(QTK_F32, memory, s->tokens, width);
  return rc;
}

/* A pass backward. */
struct backward_pass {
  struct qtk_engine *e;
  struct qtk_session *s;
  const int32_t *ids;        /* [tokens] */
  struct qtk_tensor dhidden; /* [tokens, embedding width] */
};

static int backward_matrix(const struct backward_pass *p, enum engine_slot slot, int64_t cols,
                           struct qtk_tensor *t)
{
  return qtk_session_matrix(p->s, p->e, (int)slot, p->s->tokens, cols, t);
}

static int backward_mix(struct backward_pass *p)
{
  int rc = QTK_OK;

  for (int i = p->e->n_adapters - 1; rc == QTK_OK && i >= 0; i--) {
    const struct engine_adapter *a = &p->e->adapters[i];
    if (!a->on || a->ops->mix == NULL)
      continue;
    if (a->ops->mix_backward == NULL)
      return qtk_error(QTK_EPLUGIN, "adapter %s has mix and no mix_backward", a->name);
    rc = a->ops->mix_backward(p->e->ctx, a->h, p->s, &p->dhidden);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "adapter %s", a->name);
  }
  return rc;
}

/* A matrix outside the blocks that read x: dx = dy w, and its own gradient. */
static int backward_matmul(const struct backward_pass *p, const struct engine_weight *w,
                           const struct qtk_tensor *x, const struct qtk_tensor *dy,
                           struct qtk_tensor *dx)
{
  struct qtk_tensor dw = w->gradient;
  int rc = dw.data != NULL ? qtk_op_linear_dw(p->e->ctx, dy, x, &dw) : QTK_OK;

  return rc == QTK_OK ? qtk_op_linear_dx(p->e->ctx, dy, &w->device, NULL, dx, 0) : rc;
}

/* *dnormed = gradient of what the projection behind the blocks read, where there is one. */
static int backward_project_out(const struct backward_pass *p, struct qtk_tensor *dnormed)
{
  const struct qtk_engine *e = p->e;
  enum engine_slot from = e->arch->final_norm ? ENGINE_OTHER : ENGINE_HIDDEN;
  struct qtk_tensor normed;
  int rc;

  *dnormed = p->dhidden;
  if (e->project_out.tensor < 0)
    return QTK_OK;
  rc = backward_matrix(p, from, e->arch->dims.hidden, &normed);
  if (rc == QTK_OK)
    rc = backward_matrix(p, ENGINE_DOTHER, e->arch->dims.hidden, dnormed);
  return rc == QTK_OK ? backward_matmul(p, &e->project_out, &normed, &p->dhidden, dnormed) : rc;
}

/* *dstream = gradient of what the last block gave. */
static int backward_final(const struct backward_pass *p, struct qtk_tensor *dstream)
{
  const struct qtk_engine *e = p->e;
  struct qtk_tensor dnormed, hidden, stats;
  struct qtk_tensor dweight = e->final_norm.dweight, dbias = e->final_norm.dbias;
  int64_t width = e->arch->dims.hidden;
  int rc = backward_project_out(p, &dnormed);

  *dstream = dnormed;
  if (rc != QTK_OK || !e->arch->final_norm)
    return rc;
  rc = backward_matrix(p, ENGINE_DSTREAM, width, dstream);
  if (rc == QTK_OK)
    rc = backward_matrix(p, ENGINE_HIDDEN, width, &hidden);
  if (rc == QTK_OK)
    rc = backward_matrix(p, ENGINE_STATS, 2, &stats);
  if (rc == QTK_OK)
    rc = qtk_op_norm_backward(e->ctx, (enum qtk_norm)e->arch->norm, &hidden,
                              block_given(&e->final_norm.weight), &stats, &dnormed, dstream,
                              block_some(&dweight), block_some(&dbias));
  return rc;
}

/* dy becomes the gradient of what entered the block. */
static int backward_block(const struct backward_pass *p, int64_t layer, struct qtk_tensor *dy)
{
  const struct qtk_block *block = &p->e->layers[layer].block;
  struct qtk_tensor x;
  int rc = qtk_check_stop(p->e->ctx);

  if (rc != QTK_OK)
    return rc;
  if (!p->s->checkpoint)
    return qtk_block_run_back(block, p->s, BLOCK_TAPE, dy, dy);
  rc = qtk_engine_checkpoint(p->e, p->s, layer, &x);
  if (rc == QTK_OK)
    rc = qtk_block_run(block, p->s, BLOCK_TAPE_BRIEF, &x, &x);
  return rc == QTK_OK ? qtk_block_run_back(block, p->s, BLOCK_TAPE_BRIEF, dy, dy) : rc;
}

/* ---- before the blocks ---- */

static int backward_positions(const struct backward_pass *p, const struct qtk_tensor *dy)
{
  int64_t offset = p->e->arch->position_offset;
  struct qtk_tensor dw = p->e->positions.gradient;
  int rc;

  if (dw.data == NULL)
    return QTK_OK;
  qtk_engine_shift(p->s, offset);
  rc = qtk_op_embedding_backward(p->e->ctx, p->s->positions, dy, &dw);
  qtk_engine_shift(p->s, -offset);
  return rc;
}

/* *dnarrow = gradient of the tokens' rows, before a projection where there is one. */
static int backward_project_in(const struct backward_pass *p, const struct qtk_tensor *dy,
                               struct qtk_tensor *dnarrow)
{
  const struct qtk_engine *e = p->e;
  struct qtk_tensor narrow;
  int rc;

  *dnarrow = *dy;
  if (e->project_in.tensor < 0)
    return QTK_OK;
  rc = backward_matrix(p, ENGINE_NARROW, e->arch->embedding_width, &narrow);
  if (rc == QTK_OK)
    rc = backward_matrix(p, ENGINE_DNARROW, e->arch->embedding_width, dnarrow);
  if (rc == QTK_OK)
    rc = qtk_engine_embed(e, p->ids, &narrow);
  return rc == QTK_OK ? backward_matmul(p, &e->project_in, &narrow, dy, dnarrow) : rc;
}

/* A tied head has added its share already. */
static int backward_before(const struct backward_pass *p, const struct qtk_tensor *dy)
{
  const struct qtk_engine *e = p->e;
  struct qtk_tensor dw = e->embedding.gradient, drows;
  int rc = backward_positions(p, dy);

  if (rc == QTK_OK)
    rc = backward_project_in(p, dy, &drows);
  if (rc == QTK_OK && dw.data != NULL && e->arch->embedding_scale != 1.0)
    rc = qtk_op_scale(e->ctx, (float)e->arch->embedding_scale, &drows, &drows);
  return rc == QTK_OK && dw.data != NULL ? qtk_op_embedding_backward(e->ctx, p->ids, &drows, &dw)
                                         : rc;
}

/* No gradient goes further down than one is wanted. */
static int backward_all(const struct backward_pass *p)
{
  struct qtk_tensor dy;
  int rc = backward_final(p, &dy);

  for (int64_t i = p->e->arch->layers - 1; rc == QTK_OK && i >= 0 && i >= p->e->lowest; i--) {
    rc = backward_block(p, i, &dy);
    if (rc != QTK_OK && rc != QTK_EINTERRUPTED)
      return qtk_error_at(rc, "block %lld", (long long)i);
  }
  return rc == QTK_OK && p->e->lowest == ENGINE_BEFORE ? backward_before(p, &dy) : rc;
}

int qtk_session_backward(struct qtk_session *s, const struct qtk_batch *batch,
                         const struct qtk_tensor *hidden, double scale, double *sum, double *weight)
{
  struct backward_pass p = {.e = s->engine, .s = s, .ids = batch->ids};
  int rc = QTK_OK;

  if (!s->training)
    return qtk_error(QTK_EINTERNAL, "a session that does not train has no gradients");
  rc = backward_matrix(&p, qtk_engine_stream_ends(p.e) ? ENGINE_HIDDEN : ENGINE_DHIDDEN,
                       qtk_tensor_cols(hidden), &p.dhidden);
  if (rc == QTK_OK)
    rc = qtk_engine_loss(s, batch, hidden, &p.dhidden, scale, NULL, sum, weight);
  if (rc != QTK_OK)
    return rc;
  if (backward_mixers(p.e) > 0)
    return backward_mix(&p);
  return p.e->lowest < p.e->arch->layers + ENGINE_HEAD ? backward_all(&p) : QTK_OK;
}
