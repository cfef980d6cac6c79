/* SPDX-License-Identifier: BSD-3-Clause
 * A block forward. */
#include "core/block.h"

/* One pass: the block, where it runs, its activations. */
struct forward {
  const struct qtk_block *b;
  struct qtk_session *s;
  struct block_frame *f;
  enum block_tape tape;
  struct qtk_tensor values[BLOCK_VALUES]; /* where they are; N1 and N2 may be others */
  const struct qtk_tensor *x;
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

/* att from n. */
static int forward_attention(const struct forward *w, const struct qtk_tensor *n,
                             struct qtk_tensor *att)
{
  struct qtk_attention a = qtk_block_attention(w->b, w->s);
  struct session_cache keys;
  int rc = forward_qkv(w, n);

  if (rc == QTK_OK)
    rc = forward_rotary(w);
  if (rc == QTK_OK)
    rc = forward_keys(w, &keys);
  if (rc != QTK_OK)
    return rc;
  return qtk_op_attention(w->s->ctx, &a, &w->f->q, &keys.k, &keys.v, att, block_some(&w->f->lse));
}

/* ---- MLP -------------------------------------------------------------------------------- */

/* act from gate and up. */
static int forward_gate(const struct forward *w, struct qtk_tensor *act)
{
  const struct qtk_arch_model *m = &w->b->model;
  enum qtk_activation kind = (enum qtk_activation)m->activation;
  struct block_frame *f = w->f;

  return m->gated ? qtk_op_gated(w->s->ctx, kind, &f->gate, &f->up, act)
                  : qtk_op_activation(w->s->ctx, kind, &f->up, act);
}

/* act from n. */
static int forward_mlp(const struct forward *w, const struct qtk_tensor *n, struct qtk_tensor *act)
{
  const struct qtk_arch_model *m = &w->b->model;
  struct block_frame *f = w->f;
  int rc;

  if (m->mlp_fused) {
    rc = forward_linear(w, QTK_ROLE_GATE_UP, n, &f->gate_up);
  } else {
    rc = m->gated ? forward_linear(w, QTK_ROLE_GATE, n, &f->gate) : QTK_OK;
    if (rc == QTK_OK)
      rc = forward_linear(w, QTK_ROLE_UP, n, &f->up);
  }
  return rc == QTK_OK ? forward_gate(w, act) : rc;
}

/* ---- the values of a block, in three shapes ------------------------------------------------
 *
 * before:   n1 = norm1 (x)  mid = x + o (att)          n2 = norm2 (mid)       y = mid + down (act)
 * after:    n1 = x          mid = norm1 (x + o (att))  n2 = mid               y = norm2 (mid + ...)
 * parallel: n1 = norm1 (x)  mid = o (att)              n2 = norm1 or 2 (x)    y = x + (mid + ...)
 */

static int forward_n1(struct forward *w)
{
  if (w->b->model.norm_place == QTK_NORM_AFTER) {
    w->values[BLOCK_N1] = *w->x;
    return QTK_OK;
  }
  return forward_norm(w, QTK_ROLE_NORM1, w->x, &w->values[BLOCK_N1], &w->f->stats1);
}

static int forward_att(struct forward *w)
{
  return forward_attention(w, &w->values[BLOCK_N1], &w->values[BLOCK_ATT]);
}

static int forward_mid(struct forward *w)
{
  int after = w->b->model.norm_place == QTK_NORM_AFTER;
  struct qtk_tensor *mid = &w->values[BLOCK_MID];
  int parallel = w->b->model.residual == QTK_RESIDUAL_PARALLEL;
  int rc = forward_linear(w, QTK_ROLE_O, &w->values[BLOCK_ATT], parallel ? mid : &w->f->branch);

  if (rc == QTK_OK && !parallel)
    rc = qtk_op_add(w->s->ctx, w->x, &w->f->branch, after ? &w->f->sum1 : mid);
  return rc == QTK_OK && after ? forward_norm(w, QTK_ROLE_NORM1, &w->f->sum1, mid, &w->f->stats1)
                               : rc;
}

static int forward_n2(struct forward *w)
{
  const struct qtk_arch_model *m = &w->b->model;
  int parallel = m->residual == QTK_RESIDUAL_PARALLEL;
  int same = parallel ? m->norms == 1 : m->norm_place == QTK_NORM_AFTER;

  if (same) {
    w->values[BLOCK_N2] = w->values[parallel ? BLOCK_N1 : BLOCK_MID];
    return QTK_OK;
  }
  return forward_norm(w, QTK_ROLE_NORM2, parallel ? w->x : &w->values[BLOCK_MID],
                      &w->values[BLOCK_N2], &w->f->stats2);
}

static int forward_act(struct forward *w)
{
  return forward_mlp(w, &w->values[BLOCK_N2], &w->values[BLOCK_ACT]);
}

static int forward_y(struct forward *w)
{
  struct block_frame *f = w->f;
  struct qtk_context *ctx = w->s->ctx;
  struct qtk_tensor *mid = &w->values[BLOCK_MID], *y = &w->values[BLOCK_Y];
  int parallel = w->b->model.residual == QTK_RESIDUAL_PARALLEL;
  struct qtk_tensor *branch = parallel ? &f->branch2 : &f->branch;
  int rc = forward_linear(w, QTK_ROLE_DOWN, &w->values[BLOCK_ACT], branch);

  if (rc != QTK_OK)
    return rc;
  if (parallel) {
    rc = qtk_op_add(ctx, mid, branch, branch);
    return rc == QTK_OK ? qtk_op_add(ctx, w->x, branch, y) : rc;
  }
  if (w->b->model.norm_place == QTK_NORM_BEFORE)
    return qtk_op_add(ctx, mid, branch, y);
  rc = qtk_op_add(ctx, mid, branch, &f->sum2);
  return rc == QTK_OK ? forward_norm(w, QTK_ROLE_NORM2, &f->sum2, y, &f->stats2) : rc;
}

static int (*const forward_steps[BLOCK_VALUES])(struct forward *w) = {
    [BLOCK_N1] = forward_n1, [BLOCK_ATT] = forward_att, [BLOCK_MID] = forward_mid,
    [BLOCK_N2] = forward_n2, [BLOCK_ACT] = forward_act, [BLOCK_Y] = forward_y};

/* ---- what needs what --------------------------------------------------------------------------- */

enum block_value qtk_block_input(const struct qtk_arch_model *m, enum qtk_role role)
{
  int shared = m->residual == QTK_RESIDUAL_PARALLEL && m->norms == 1;

  switch (role) {
  case QTK_ROLE_O:
    return BLOCK_ATT;
  case QTK_ROLE_DOWN:
    return BLOCK_ACT;
  case QTK_ROLE_GATE:
  case QTK_ROLE_UP:
  case QTK_ROLE_GATE_UP:
    return shared ? BLOCK_N1 : BLOCK_N2;
  default:
    return BLOCK_N1;
  }
}

int64_t qtk_block_width(const struct qtk_arch_model *m, enum block_value value)
{
  return value == BLOCK_ATT   ? m->dims.heads * m->dims.head_size
         : value == BLOCK_ACT ? m->dims.ffn
                              : m->dims.hidden;
}

/* What a value is made from, besides x. */
static unsigned block_from(const struct qtk_arch_model *m, enum block_value value)
{
  int parallel = m->residual == QTK_RESIDUAL_PARALLEL;

  switch (value) {
  case BLOCK_ATT:
    return BLOCK_BIT(BLOCK_N1);
  case BLOCK_MID:
    return BLOCK_BIT(BLOCK_ATT);
  case BLOCK_N2:
    return parallel ? m->norms == 1 ? BLOCK_BIT(BLOCK_N1) : 0 : BLOCK_BIT(BLOCK_MID);
  case BLOCK_ACT:
    return BLOCK_BIT(BLOCK_N2);
  case BLOCK_Y:
    return BLOCK_BIT(BLOCK_MID) | BLOCK_BIT(BLOCK_ACT);
  default:
    return 0;
  }
}

unsigned qtk_block_needs(const struct qtk_arch_model *m, unsigned want, unsigned have)
{
  unsigned need = want;

  for (int v = BLOCK_VALUES - 1; v >= 0; v--)
    if ((need & BLOCK_BIT(v)) && !(have & BLOCK_BIT(v)))
      need |= block_from(m, (enum block_value)v);
  return need;
}

/* ---- a run ------------------------------------------------------------------------------------- */

#define FORWARD_BRIEF 16 /* slot of the session's memory: a tape that blocks share */

#define FORWARD_ADAPTER 64 /* slots from here on are of blocks that adapters made */

int qtk_block_bytes(const struct qtk_block *b, struct qtk_session *s, int slot, size_t bytes,
                    void **memory)
{
  return b->adapter ? qtk_session_bytes(s, s, FORWARD_ADAPTER + slot, bytes, "adapter", memory)
                    : qtk_session_bytes(s, s, slot, bytes, "activations", memory);
}

static int forward_tape(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                        size_t bytes, void **memory)
{
  return tape == BLOCK_TAPE
             ? qtk_session_bytes(s, b, 0, bytes, b->adapter ? "adapter" : "tape", memory)
             : qtk_block_bytes(b, s, FORWARD_BRIEF, bytes, memory);
}

int qtk_block_frame(const struct qtk_block *b, struct qtk_session *s, enum block_use use,
                    enum block_tape tape, struct block_frame *f)
{
  int rc;
  struct block_room room = {0};
  void *own = NULL, *shared;

  qtk_block_lay_out(b, s->tokens, use, &room, f);
  rc = qtk_block_bytes(b, s, 0, room.shared_bytes, &shared);
  if (rc == QTK_OK && use == BLOCK_TRAINING)
    rc = forward_tape(b, s, tape, room.tape_bytes, &own);
  room.tape = own;
  room.shared = shared;
  if (rc == QTK_OK)
    qtk_block_lay_out(b, s->tokens, use, &room, f);
  return rc;
}

/* Where a full run has its values. Without norms behind, mid lies where y does. */
static void forward_places(struct forward *w, const struct qtk_tensor *y)
{
  struct block_frame *f = w->f;
  int parallel = w->b->model.residual == QTK_RESIDUAL_PARALLEL;

  w->values[BLOCK_N1] = f->n1;
  w->values[BLOCK_ATT] = f->att;
  w->values[BLOCK_MID] = parallel ? f->branch : f->mid.data != NULL ? f->mid : *y;
  w->values[BLOCK_N2] = f->n2;
  w->values[BLOCK_ACT] = f->act;
  w->values[BLOCK_Y] = *y;
}

static struct qtk_tensor forward_piece(const struct qtk_tensor *t, int64_t row, int64_t n)
{
  return t->data != NULL ? qtk_rows_of(t, row, n) : *t;
}

/* The MLP over n tokens from `row` on. */
static int forward_some(const struct forward *whole, int64_t row, int64_t n)
{
  struct block_frame f = *whole->f;
  struct forward w = *whole;
  struct qtk_tensor x = qtk_rows_of(whole->x, row, n);
  int rc = QTK_OK;

  w.f = &f;
  w.x = &x;
  f.branch = forward_piece(&f.branch, row, n);
  f.branch2 = forward_piece(&f.branch2, row, n);
  f.sum2 = forward_piece(&f.sum2, row, n);
  f.gate_up = forward_piece(&f.gate_up, 0, n);
  f.gate = forward_piece(&f.gate, 0, n);
  f.up = forward_piece(&f.up, 0, n);
  for (int v = 0; v < BLOCK_VALUES; v++)
    w.values[v] = forward_piece(&w.values[v], v == BLOCK_ACT ? 0 : row, n);
  for (int v = BLOCK_N2; rc == QTK_OK && v < BLOCK_VALUES; v++)
    rc = forward_steps[v](&w);
  return rc;
}

int qtk_block_run(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                  const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct block_frame f;
  struct forward w = {.b = b, .s = s, .f = &f, .tape = tape, .x = x};
  int rc = qtk_block_frame(b, s, tape != BLOCK_NO_TAPE ? BLOCK_TRAINING : BLOCK_RUN, tape, &f);

  if (rc == QTK_OK)
    forward_places(&w, y);
  if (rc == QTK_OK && tape != BLOCK_NO_TAPE) {
    w.x = &f.x;
    rc = qtk_op_copy(s->ctx, x, &f.x);
  }
  for (int v = 0; rc == QTK_OK && v < BLOCK_N2; v++)
    rc = forward_steps[v](&w);
  for (int64_t row = 0; rc == QTK_OK && row < s->tokens; row += f.mlp_rows)
    rc = forward_some(&w, row, s->tokens - row < f.mlp_rows ? s->tokens - row : f.mlp_rows);
  return rc;
}

int qtk_block_again(const struct qtk_block *b, struct qtk_session *s, struct block_frame *f)
{
  struct forward w = {.b = b, .s = s, .f = f, .x = &f->x};
  int rc;

  forward_places(&w, &f->x);
  rc = forward_n1(&w);
  if (rc == QTK_OK)
    rc = forward_n2(&w);
  return rc == QTK_OK ? forward_gate(&w, &f->act) : rc;
}

/* ---- a walk ------------------------------------------------------------------------------------ */

#define WALK_SLOT 1 /* of the session's memory: a mid that has no other place */

static int walk_places(struct forward *w, const struct block_walk *walk)
{
  int parallel = w->b->model.residual == QTK_RESIDUAL_PARALLEL;
  struct qtk_tensor y = walk->at[BLOCK_Y];
  int rc = QTK_OK;

  if (!parallel && w->f->mid.data == NULL && walk->at[BLOCK_MID].data == NULL && y.data == NULL)
    rc = qtk_session_matrix(w->s, w->s, WALK_SLOT, w->s->tokens, w->b->model.dims.hidden, &y);
  forward_places(w, &y);
  for (int v = 0; v < BLOCK_VALUES; v++)
    if (walk->at[v].data != NULL)
      w->values[v] = walk->at[v];
  return rc;
}

int qtk_block_walk(const struct qtk_block *b, struct qtk_session *s, struct block_walk *walk)
{
  struct block_frame f;
  struct forward w = {.b = b, .s = s, .f = &f, .x = walk->x};
  unsigned need = qtk_block_needs(&b->model, walk->want, walk->have) & ~walk->have;
  int rc = qtk_block_frame(b, s, BLOCK_WALK, BLOCK_NO_TAPE, &f);

  if (rc == QTK_OK)
    rc = walk_places(&w, walk);
  for (int v = 0; rc == QTK_OK && v < BLOCK_VALUES; v++) {
    if (need & BLOCK_BIT(v))
      rc = forward_steps[v](&w);
    if (rc == QTK_OK && walk->see != NULL && (walk->want & BLOCK_BIT(v)))
      rc = walk->see(walk->arg, (enum block_value)v, &w.values[v]);
  }
  return rc;
}
