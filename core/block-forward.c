/* SPDX-License-Identifier: BSD-3-Clause
 * A block forward. */
#include "core/block.h"

/* One pass: the block, where it runs, its activations. */
struct forward {
  const struct qtk_block *b;
  struct qtk_session *s;
  struct block_frame *f;
  enum block_tape tape;
};

static int forward_linear(const struct forward *w, enum qtk_role role, const struct qtk_tensor *x,
                          struct qtk_tensor *y)
{
  return qtk_block_linear(&w->b->linears[role], w->s, x, y,
                          w->tape != BLOCK_NO_TAPE ? w->f->keeps[role] : NULL);
}

static int forward_norm(const struct forward *w, enum qtk_role role, const struct qtk_tensor *x,
                        struct qtk_tensor *y, struct qtk_tensor *stats)
{
  const struct block_norm *n = &w->b->norms[role - QTK_ROLE_NORM1];

  return qtk_op_norm(w->s->ctx, (enum qtk_norm)w->b->model.norm, x, block_given(&n->weight),
                     block_given(&n->bias), (float)w->b->model.epsilon, y, block_some(stats));
}

/* ---- attention ------------------------------------------------------------------------ */

/* The heads of x [tokens, heads * head_size] as rows [tokens * heads, head_size]. */
static struct qtk_tensor forward_heads(const struct forward *w, const struct qtk_tensor *x)
{
  int64_t size = w->b->model.dims.head_size, n = qtk_tensor_rows(x) * qtk_tensor_cols(x);

  return qtk_matrix(QTK_F32, x->data, n / size, size);
}

static int forward_head_norm(const struct forward *w, enum qtk_role role,
                             const struct qtk_tensor *x0, const struct qtk_tensor *x,
                             const struct qtk_tensor *stats0)
{
  const struct block_norm *n = &w->b->norms[role - QTK_ROLE_NORM1];
  struct qtk_tensor from = forward_heads(w, x0), to = forward_heads(w, x);
  struct qtk_tensor stats = qtk_matrix(QTK_F32, stats0->data, qtk_tensor_rows(&from), 2);

  return qtk_op_norm(w->s->ctx, QTK_NORM_RMS, &from, block_given(&n->weight), NULL,
                     (float)w->b->model.epsilon, &to, block_some(&stats));
}

/* q, k and v of n, q and k with their norms. */
static int forward_qkv(const struct forward *w, const struct qtk_tensor *n)
{
  struct block_frame *f = w->f;
  int norm = w->b->model.query_norm, rc;

  if (w->b->model.attention_fused)
    return forward_linear(w, QTK_ROLE_QKV, n, &f->qkv);
  rc = forward_linear(w, QTK_ROLE_Q, n, norm ? &f->q0 : &f->q);
  if (rc == QTK_OK)
    rc = forward_linear(w, QTK_ROLE_K, n, norm ? &f->k0 : &f->k);
  if (rc == QTK_OK)
    rc = forward_linear(w, QTK_ROLE_V, n, &f->v);
  if (rc == QTK_OK && norm)
    rc = forward_head_norm(w, QTK_ROLE_Q_NORM, &f->q0, &f->q, &f->stats_q);
  if (rc == QTK_OK && norm)
    rc = forward_head_norm(w, QTK_ROLE_K_NORM, &f->k0, &f->k, &f->stats_k);
  return rc;
}

static int forward_rotary(const struct forward *w)
{
  const struct qtk_arch_model *m = &w->b->model;
  struct qtk_rope rope = {.style = (enum qtk_rope_style)m->rotary.style,
                          .heads = m->dims.heads,
                          .head_size = m->dims.head_size,
                          .dims = w->b->rotary_dims,
                          .inverse_frequency = w->b->frequencies,
                          .factor = (float)m->rotary.attention_factor};
  int rc;

  if (m->positions != QTK_POSITIONS_ROTARY)
    return QTK_OK;
  rc = qtk_op_rope(w->s->ctx, &rope, w->s->positions, &w->f->q, 0);
  rope.heads = m->dims.kv_heads;
  return rc == QTK_OK ? qtk_op_rope(w->s->ctx, &rope, w->s->positions, &w->f->k, 0) : rc;
}

/* Rows of each sequence behind what its part of the cache holds. */
static int forward_append(const struct forward *w, const struct qtk_tensor *rows,
                          const struct qtk_tensor *cache)
{
  const struct qtk_session *s = w->s;
  int rc = QTK_OK;

  for (int64_t i = 0; rc == QTK_OK && i < s->n; i++) {
    struct qtk_tensor from = qtk_rows_of(rows, s->spans[i].q0, s->spans[i].nq);
    struct qtk_tensor to = qtk_rows_of(cache, i * s->capacity + s->past[i], s->spans[i].nq);
    if (s->spans[i].nq > 0)
      rc = qtk_op_copy(s->ctx, &from, &to);
  }
  return rc;
}

/* Keys and values to attend to: those at hand, or the cache with them in it. */
static int forward_keys(const struct forward *w, struct session_cache *cache)
{
  int rc;

  *cache = (struct session_cache){.k = w->f->k, .v = w->f->v};
  if (w->s->capacity == 0)
    return QTK_OK;
  rc = qtk_session_cached(w->s, w->b, qtk_tensor_cols(&w->f->k), cache);
  if (rc == QTK_OK)
    rc = forward_append(w, &w->f->k, &cache->k);
  return rc == QTK_OK ? forward_append(w, &w->f->v, &cache->v) : rc;
}

/* out = the attention branch of n. */
static int forward_attention(const struct forward *w, const struct qtk_tensor *n,
                             struct qtk_tensor *out)
{
  const struct qtk_dims *d = &w->b->model.dims;
  struct qtk_attention a = {.heads = d->heads,
                            .kv_heads = d->kv_heads,
                            .head_size = d->head_size,
                            .scale = (float)w->b->scale,
                            .softcap = (float)w->b->model.softcap,
                            .window = w->b->window,
                            .spans = w->s->spans,
                            .n_spans = w->s->n};
  struct session_cache keys;
  int rc = forward_qkv(w, n);

  if (rc == QTK_OK)
    rc = forward_rotary(w);
  if (rc == QTK_OK)
    rc = forward_keys(w, &keys);
  if (rc == QTK_OK)
    rc = qtk_op_attention(w->s->ctx, &a, &w->f->q, &keys.k, &keys.v, &w->f->att,
                          block_some(&w->f->lse));
  return rc == QTK_OK ? forward_linear(w, QTK_ROLE_O, &w->f->att, out) : rc;
}

/* ---- MLP -------------------------------------------------------------------------------- */

/* out = the MLP branch of n. */
static int forward_mlp(const struct forward *w, const struct qtk_tensor *n, struct qtk_tensor *out)
{
  const struct qtk_arch_model *m = &w->b->model;
  enum qtk_activation act = (enum qtk_activation)m->activation;
  struct block_frame *f = w->f;
  int rc;

  if (m->mlp_fused) {
    rc = forward_linear(w, QTK_ROLE_GATE_UP, n, &f->gate_up);
  } else {
    rc = m->gated ? forward_linear(w, QTK_ROLE_GATE, n, &f->gate) : QTK_OK;
    if (rc == QTK_OK)
      rc = forward_linear(w, QTK_ROLE_UP, n, &f->up);
  }
  if (rc == QTK_OK)
    rc = m->gated ? qtk_op_gated(w->s->ctx, act, &f->gate, &f->up, &f->act)
                  : qtk_op_activation(w->s->ctx, act, &f->up, &f->act);
  return rc == QTK_OK ? forward_linear(w, QTK_ROLE_DOWN, &f->act, out) : rc;
}

/* ---- the three shapes of a block ------------------------------------------------------------ */

/* mid = x + attention (norm1 (x)); y = mid + mlp (norm2 (mid)) */
static int forward_before(const struct forward *w, const struct qtk_tensor *x,
                          struct qtk_tensor *y)
{
  struct block_frame *f = w->f;
  struct qtk_tensor *mid = f->mid.data != NULL ? &f->mid : y;
  int rc = forward_norm(w, QTK_ROLE_NORM1, x, &f->n1, &f->stats1);

  if (rc == QTK_OK)
    rc = forward_attention(w, &f->n1, &f->branch);
  if (rc == QTK_OK)
    rc = qtk_op_add(w->s->ctx, x, &f->branch, mid);
  if (rc == QTK_OK)
    rc = forward_norm(w, QTK_ROLE_NORM2, mid, &f->n2, &f->stats2);
  if (rc == QTK_OK)
    rc = forward_mlp(w, &f->n2, &f->branch);
  return rc == QTK_OK ? qtk_op_add(w->s->ctx, mid, &f->branch, y) : rc;
}

/* mid = norm1 (x + attention (x)); y = norm2 (mid + mlp (mid)) */
static int forward_after(const struct forward *w, const struct qtk_tensor *x,
                         struct qtk_tensor *y)
{
  struct block_frame *f = w->f;
  int rc = forward_attention(w, x, &f->branch);

  if (rc == QTK_OK)
    rc = qtk_op_add(w->s->ctx, x, &f->branch, &f->sum1);
  if (rc == QTK_OK)
    rc = forward_norm(w, QTK_ROLE_NORM1, &f->sum1, &f->mid, &f->stats1);
  if (rc == QTK_OK)
    rc = forward_mlp(w, &f->mid, &f->branch);
  if (rc == QTK_OK)
    rc = qtk_op_add(w->s->ctx, &f->mid, &f->branch, &f->sum2);
  return rc == QTK_OK ? forward_norm(w, QTK_ROLE_NORM2, &f->sum2, y, &f->stats2) : rc;
}

/* y = x + attention (norm1 (x)) + mlp (norm1 or norm2 (x)) */
static int forward_parallel(const struct forward *w, const struct qtk_tensor *x,
                            struct qtk_tensor *y)
{
  struct block_frame *f = w->f;
  int rc = forward_norm(w, QTK_ROLE_NORM1, x, &f->n1, &f->stats1);

  if (rc == QTK_OK)
    rc = forward_attention(w, &f->n1, &f->branch);
  if (rc == QTK_OK && w->b->model.norms == 2)
    rc = forward_norm(w, QTK_ROLE_NORM2, x, &f->n2, &f->stats2);
  if (rc == QTK_OK)
    rc = forward_mlp(w, &f->n2, &f->branch2);
  if (rc == QTK_OK)
    rc = qtk_op_add(w->s->ctx, &f->branch, &f->branch2, &f->branch);
  return rc == QTK_OK ? qtk_op_add(w->s->ctx, x, &f->branch, y) : rc;
}

static int forward_run(const struct forward *w, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  const struct qtk_arch_model *m = &w->b->model;

  if (m->residual == QTK_RESIDUAL_PARALLEL)
    return forward_parallel(w, x, y);
  return m->norm_place == QTK_NORM_AFTER ? forward_after(w, x, y) : forward_before(w, x, y);
}

/* ---- a run ------------------------------------------------------------------------------------- */

int qtk_block_frame(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                    struct block_frame *f)
{
  int training = tape != BLOCK_NO_TAPE;
  size_t bytes = qtk_block_lay_out(b, s->tokens, training, NULL, f);
  const void *owner = tape == BLOCK_TAPE ? (const void *)b : s;
  void *memory;
  int rc = qtk_session_bytes(s, owner, 0, bytes, tape == BLOCK_TAPE ? "tape" : "activations",
                             &memory);

  if (rc == QTK_OK)
    qtk_block_lay_out(b, s->tokens, training, memory, f);
  return rc;
}

int qtk_block_run(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                  const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct block_frame f;
  struct forward w = {b, s, &f, tape};
  int rc = qtk_block_frame(b, s, tape, &f);

  if (rc != QTK_OK || tape == BLOCK_NO_TAPE)
    return rc == QTK_OK ? forward_run(&w, x, y) : rc;
  rc = qtk_op_copy(s->ctx, x, &f.x);
  return rc == QTK_OK ? forward_run(&w, &f.x, y) : rc;
}
