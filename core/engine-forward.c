/* SPDX-License-Identifier: BSD-3-Clause
 * A pass through the model: embedding, blocks, final norm, and the adapters that see
 * the stream of hidden states. */
#include <string.h>

#include "core/engine-inner.h"
#include "core/error.h"

/* One pass. */
struct pass {
  struct qtk_engine *e;
  struct qtk_session *s;
  struct qtk_tensor hidden; /* [tokens, hidden] */
  /* A pass once more: sees the stream in the place of the adapters; or NULL. */
  int (*see)(struct qtk_context *ctx, void *arg, int layer, const struct qtk_tensor *hidden);
  void *arg;
};

static int pass_matrix(const struct pass *p, enum engine_slot slot, int64_t cols,
                       struct qtk_tensor *t)
{
  return qtk_session_matrix(p->s, p->e, (int)slot, p->s->tokens, cols, t);
}

static int pass_linear(const struct pass *p, const struct engine_weight *w,
                       const struct qtk_tensor *x, struct qtk_tensor *y)
{
  return qtk_op_linear(p->e->ctx, x, &w->device, NULL, NULL, y, 0);
}

/* ---- embedding ------------------------------------------------------------------------- */

static int pass_check_ids(const struct pass *p, const int32_t *ids)
{
  if (p->s->tokens == 0)
    return qtk_error(QTK_EINTERNAL, "a pass over no tokens");
  for (int64_t i = 0; i < p->s->tokens; i++)
    if (ids[i] < 0 || ids[i] >= p->e->arch->vocabulary)
      return qtk_error(QTK_EINPUT, "token %d: the vocabulary has %lld", ids[i],
                       (long long)p->e->arch->vocabulary);
  return QTK_OK;
}

int qtk_engine_embed(const struct qtk_engine *e, const int32_t *ids, struct qtk_tensor *out)
{
  int rc = qtk_op_embedding(e->ctx, &e->embedding.device, ids, out);

  if (rc == QTK_OK && e->arch->embedding_scale != 1.0)
    rc = qtk_op_scale(e->ctx, (float)e->arch->embedding_scale, out, out);
  return rc;
}

static int pass_tokens(struct pass *p, const int32_t *ids)
{
  struct qtk_tensor narrow;
  int rc;

  if (p->e->project_in.tensor < 0)
    return qtk_engine_embed(p->e, ids, &p->hidden);
  rc = pass_matrix(p, ENGINE_OUT, p->e->arch->embedding_width, &narrow);
  if (rc == QTK_OK)
    rc = qtk_engine_embed(p->e, ids, &narrow);
  return rc == QTK_OK ? pass_linear(p, &p->e->project_in, &narrow, &p->hidden) : rc;
}

void qtk_engine_shift(struct qtk_session *s, int64_t by)
{
  for (int64_t i = 0; i < s->tokens; i++)
    s->positions[i] += (int32_t)by;
}

static int pass_positions(struct pass *p)
{
  const struct qtk_arch_model *m = p->e->arch;
  struct qtk_tensor learned;
  int rc;

  if (m->positions != QTK_POSITIONS_LEARNED)
    return QTK_OK;
  for (int64_t i = 0; i < p->s->tokens; i++)
    if (p->s->positions[i] >= m->position_rows - m->position_offset)
      return qtk_error(QTK_EINPUT, "position %d: the model has learned 0 .. %lld",
                       p->s->positions[i], (long long)(m->position_rows - m->position_offset - 1));
  rc = pass_matrix(p, ENGINE_OTHER, m->dims.hidden, &learned);
  if (rc != QTK_OK)
    return rc;
  qtk_engine_shift(p->s, m->position_offset);
  rc = qtk_op_embedding(p->e->ctx, &p->e->positions.device, p->s->positions, &learned);
  qtk_engine_shift(p->s, -m->position_offset);
  return rc == QTK_OK ? qtk_op_add(p->e->ctx, &p->hidden, &learned, &p->hidden) : rc;
}

/* ---- blocks --------------------------------------------------------------------------------- */

static int pass_stream(const struct pass *p, int layer)
{
  int rc = QTK_OK;

  if (p->see != NULL)
    return p->see(p->e->ctx, p->arg, layer, &p->hidden);
  for (int i = 0; rc == QTK_OK && i < p->e->n_adapters; i++) {
    const struct engine_adapter *a = &p->e->adapters[i];
    if (!a->on || a->ops->stream == NULL)
      continue;
    rc = a->ops->stream(p->e->ctx, a->h, p->s, layer, &p->hidden);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "adapter %s: after block %d", a->name, layer);
  }
  return rc;
}

static int pass_run_block(struct pass *p, int64_t layer)
{
  int keep = p->see == NULL && qtk_engine_tapes(p->e, p->s, layer), rc = QTK_OK;
  enum block_tape tape = BLOCK_NO_TAPE;
  struct qtk_tensor x;

  if (keep && !p->s->checkpoint)
    tape = BLOCK_TAPE;
  else if (keep) {
    rc = qtk_engine_checkpoint(p->e, p->s, layer, &x);
    if (rc == QTK_OK)
      rc = qtk_op_copy(p->e->ctx, &p->hidden, &x);
  }
  if (rc != QTK_OK)
    return rc;
  return qtk_block_run(&p->e->layers[layer].block, p->s, tape, &p->hidden, &p->hidden);
}

static int pass_block(struct pass *p, int64_t layer)
{
  struct qtk_engine *e = p->e;
  int rc = qtk_check_stop(e->ctx);

  if (rc == QTK_OK && e->streaming)
    rc = qtk_engine_hold(e, layer);
  if (rc == QTK_OK)
    rc = pass_run_block(p, layer);
  if (e->streaming)
    qtk_engine_drop(e, layer);
  if (rc != QTK_OK)
    return rc == QTK_EINTERRUPTED ? rc : qtk_error_at(rc, "block %lld", (long long)layer);
  return pass_stream(p, (int)layer + 1);
}

/* ---- behind the blocks ------------------------------------------------------------------------ */

/* *out is the final norm's output, projected where the embedding is narrower. */
static int pass_final(struct pass *p, struct qtk_tensor *out)
{
  const struct qtk_engine *e = p->e;
  struct qtk_tensor normed = p->hidden, stats = {0};
  int rc = QTK_OK;

  if (e->arch->final_norm) {
    rc = pass_matrix(p, ENGINE_OTHER, e->arch->dims.hidden, &normed);
    if (rc == QTK_OK && qtk_engine_tapes(e, p->s, e->arch->layers + ENGINE_BEHIND))
      rc = pass_matrix(p, ENGINE_STATS, 2, &stats);
    if (rc == QTK_OK)
      rc = qtk_op_norm(e->ctx, (enum qtk_norm)e->arch->norm, &p->hidden,
                       block_given(&e->final_norm.weight), block_given(&e->final_norm.bias),
                       (float)e->arch->epsilon, &normed, block_some(&stats));
  }
  *out = normed;
  if (rc != QTK_OK || e->project_out.tensor < 0)
    return rc;
  rc = pass_matrix(p, ENGINE_OUT, e->arch->embedding_width, out);
  return rc == QTK_OK ? pass_linear(p, &e->project_out, &normed, out) : rc;
}

static int pass_mix(const struct pass *p, struct qtk_tensor *out)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < p->e->n_adapters; i++) {
    const struct engine_adapter *a = &p->e->adapters[i];
    if (!a->on || a->ops->mix == NULL)
      continue;
    rc = a->ops->mix(p->e->ctx, a->h, p->s, out);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "adapter %s", a->name);
  }
  return rc;
}

static int pass_embed(struct pass *p, const int32_t *ids)
{
  int rc = pass_check_ids(p, ids);

  if (rc == QTK_OK)
    rc = pass_matrix(p, ENGINE_HIDDEN, p->e->arch->dims.hidden, &p->hidden);
  if (rc == QTK_OK)
    rc = pass_tokens(p, ids);
  return rc == QTK_OK ? pass_positions(p) : rc;
}

static int pass_blocks(struct pass *p, const int32_t *ids)
{
  int rc = pass_embed(p, ids);

  if (rc == QTK_OK)
    rc = pass_stream(p, 0);
  for (int64_t i = 0; rc == QTK_OK && i < p->e->arch->layers; i++)
    rc = pass_block(p, i);
  return rc;
}

static int pass_run(struct pass *p, const int32_t *ids, struct qtk_tensor *out)
{
  int rc = pass_blocks(p, ids);

  if (rc == QTK_OK)
    rc = pass_final(p, out);
  return rc == QTK_OK ? pass_mix(p, out) : rc;
}

int qtk_session_forward(struct qtk_session *s, const int32_t *ids, const int64_t *lengths,
                        struct qtk_tensor *hidden)
{
  struct pass p = {.e = s->engine, .s = s};
  int rc = qtk_session_begin(s, lengths);

  if (rc == QTK_OK && s->training)
    memcpy(s->ids, ids, (size_t)s->tokens * sizeof *ids);
  if (rc == QTK_OK)
    rc = pass_run(&p, ids, hidden);
  /* Weights give way to activations; the caches are not yet longer. */
  if (rc == QTK_ENOMEM && qtk_engine_stream(s->engine))
    rc = pass_run(&p, ids, hidden);
  if (rc == QTK_OK)
    qtk_session_commit(s);
  return rc;
}

int qtk_session_again(struct qtk_context *ctx, struct qtk_session *s,
                      int (*see)(struct qtk_context *ctx, void *arg, int layer,
                                 const struct qtk_tensor *hidden),
                      void *arg)
{
  struct pass p = {.e = s->engine, .s = s, .see = see, .arg = arg};

  (void)ctx;
  if (!s->training || s->capacity > 0)
    return qtk_error(QTK_EINTERNAL, "a pass that %s cannot be run again",
                     s->training ? "has filled a cache" : "was not in training");
  return pass_blocks(&p, s->ids);
}

/* ---- block by block ---------------------------------------------------------------------------- */

int qtk_session_embed(struct qtk_session *s, const int32_t *ids, const int64_t *lengths,
                      struct qtk_tensor *hidden)
{
  struct pass p = {.e = s->engine, .s = s};
  int rc = qtk_session_begin(s, lengths);

  if (rc == QTK_OK)
    rc = pass_embed(&p, ids);
  *hidden = p.hidden;
  return rc;
}

int qtk_session_pass(struct qtk_session *s, const int64_t *lengths)
{
  return qtk_session_begin(s, lengths);
}

int qtk_session_walk(struct qtk_session *s, int64_t layer, struct block_walk *walk)
{
  int rc = qtk_check_stop(s->ctx);

  if (rc == QTK_OK)
    rc = qtk_block_walk(&s->engine->layers[layer].block, s, walk);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED ? rc
                                                : qtk_error_at(rc, "block %lld", (long long)layer);
}
