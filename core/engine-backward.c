/* SPDX-License-Identifier: BSD-3-Clause
 * Gradients of a pass: from the loss to the adapters. Where one mixes into the hidden
 * states, all below is its own work; else the blocks run backward to the sites. */
#include "core/engine-inner.h"
#include "core/error.h"

static const struct engine_adapter *backward_mixer(const struct qtk_engine *e)
{
  for (int i = 0; i < e->n_adapters; i++)
    if (e->adapters[i].ops->mix != NULL)
      return &e->adapters[i];
  return NULL;
}

int qtk_engine_tapes(const struct qtk_engine *e, const struct qtk_session *s)
{
  if (!s->training || backward_mixer(e) != NULL)
    return 0;
  for (int i = 0; i < e->n_adapters; i++)
    if (e->adapters[i].n_sites > 0)
      return 1;
  return 0;
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
    if (a->ops->mix == NULL)
      continue;
    if (a->ops->mix_backward == NULL)
      return qtk_error(QTK_EPLUGIN, "adapter %s has mix and no mix_backward", a->name);
    rc = a->ops->mix_backward(p->e->ctx, a->h, p->s, &p->dhidden);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "adapter %s", a->name);
  }
  return rc;
}

/* *dstream = gradient of what the last block gave. */
static int backward_final(struct backward_pass *p, struct qtk_tensor *dstream)
{
  const struct qtk_engine *e = p->e;
  struct qtk_tensor dnormed = p->dhidden, hidden, stats;
  int64_t width = e->arch->dims.hidden;
  int rc = QTK_OK;

  if (e->project_out.tensor >= 0) {
    rc = backward_matrix(p, ENGINE_DOTHER, width, &dnormed);
    if (rc == QTK_OK)
      rc = qtk_op_linear_dx(e->ctx, &p->dhidden, &e->project_out.device, NULL, &dnormed, 0);
  }
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
                              block_given(&e->final_norm.weight), &stats, &dnormed, dstream, NULL,
                              NULL);
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

/* No gradient goes further than the first block: nothing before it trains. */
static int backward_blocks(struct backward_pass *p)
{
  struct qtk_tensor dy;
  int rc = backward_final(p, &dy);

  for (int64_t i = p->e->arch->layers - 1; rc == QTK_OK && i >= 0; i--) {
    rc = backward_block(p, i, &dy);
    if (rc != QTK_OK && rc != QTK_EINTERRUPTED)
      return qtk_error_at(rc, "block %lld", (long long)i);
  }
  return rc;
}

int qtk_session_backward(struct qtk_session *s, const struct qtk_batch *batch,
                         const struct qtk_tensor *hidden, double scale, double *sum, double *weight)
{
  struct backward_pass p = {.e = s->engine, .s = s};
  int rc = QTK_OK;

  if (!s->training)
    return qtk_error(QTK_EINTERNAL, "a session that does not train has no gradients");
  rc = backward_matrix(&p, ENGINE_DHIDDEN, qtk_tensor_cols(hidden), &p.dhidden);
  if (rc == QTK_OK)
    rc = qtk_engine_loss(s, batch, hidden, &p.dhidden, NULL, sum, weight);
  if (rc == QTK_OK)
    rc = qtk_op_scale(s->ctx, (float)scale, &p.dhidden, &p.dhidden);
  if (rc != QTK_OK)
    return rc;
  if (backward_mixer(p.e) != NULL)
    return backward_mix(&p);
  return qtk_engine_tapes(p.e, s) ? backward_blocks(&p) : QTK_OK;
}
