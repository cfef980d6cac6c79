/* SPDX-License-Identifier: BSD-3-Clause
 * A block backward, over the frame that forward left. */
#include <stdlib.h>
#include <string.h>

#include "core/block.h"

/* Gradients on the way, [tokens, width] each, in memory that all blocks of a session
 * share. */
struct backward {
  const struct qtk_block *b;
  struct qtk_session *s;
  struct block_frame *f;
  struct qtk_tensor dn;          /* of a branch's input */
  struct qtk_tensor dpart;       /* one linear's share of it */
  struct qtk_tensor dmid;
  struct qtk_tensor dqkv, dq, dk, dv, datt;
  struct qtk_tensor dgate_up, dgate, dup, dact;
};

enum backward_slot {
  BACKWARD_DN = 1,
  BACKWARD_DPART,
  BACKWARD_DMID,
  BACKWARD_DQKV,
  BACKWARD_DATT,
  BACKWARD_DHEADS,
  BACKWARD_DGATE_UP,
  BACKWARD_DACT
};

static int backward_take(struct backward *w, enum backward_slot slot, int64_t cols,
                         struct qtk_tensor *t)
{
  void *memory;
  int rc = qtk_block_bytes(w->b, w->s, (int)slot, (size_t)(w->s->tokens * cols) * sizeof(float),
                           &memory);

  *t = qtk_matrix(QTK_F32, memory, w->s->tokens, cols);
  return rc;
}

size_t qtk_block_back(const struct qtk_block *b, int64_t tokens)
{
  const struct qtk_arch_model *m = &b->model;
  int64_t q = m->dims.heads * m->dims.head_size, kv = m->dims.kv_heads * m->dims.head_size;
  int64_t floats = 3 * m->dims.hidden + (q + 2 * kv) + q + (m->query_norm ? q : 0) +
                   3 * m->dims.ffn;

  return (size_t)(floats * tokens) * sizeof(float);
}

/* Parts of one matrix: as columns where the linear is fused, else one behind the other. */
static struct qtk_tensor backward_part(const struct backward *w, const struct qtk_tensor *all,
                                       int fused, int64_t col, int64_t cols)
{
  if (fused)
    return qtk_cols_of(all, col, cols);
  return qtk_matrix(QTK_F32, (float *)all->data + w->s->tokens * col, w->s->tokens, cols);
}

static int backward_memory(struct backward *w)
{
  const struct qtk_arch_model *m = &w->b->model;
  int64_t q = m->dims.heads * m->dims.head_size, kv = m->dims.kv_heads * m->dims.head_size;
  int64_t hidden = m->dims.hidden, ffn = m->dims.ffn;
  int rc = backward_take(w, BACKWARD_DN, hidden, &w->dn);

  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DPART, hidden, &w->dpart);
  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DMID, hidden, &w->dmid);
  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DQKV, q + 2 * kv, &w->dqkv);
  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DATT, q, &w->datt);
  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DGATE_UP, 2 * ffn, &w->dgate_up);
  if (rc == QTK_OK)
    rc = backward_take(w, BACKWARD_DACT, ffn, &w->dact);
  if (rc != QTK_OK)
    return rc;
  w->dq = backward_part(w, &w->dqkv, m->attention_fused, 0, q);
  w->dk = backward_part(w, &w->dqkv, m->attention_fused, q, kv);
  w->dv = backward_part(w, &w->dqkv, m->attention_fused, q + kv, kv);
  w->dgate = backward_part(w, &w->dgate_up, m->mlp_fused, 0, ffn);
  w->dup = backward_part(w, &w->dgate_up, m->mlp_fused, ffn, ffn);
  return QTK_OK;
}

static int backward_linear(const struct backward *w, enum qtk_role role,
                           const struct qtk_tensor *x, const struct qtk_tensor *dy,
                           struct qtk_tensor *dx)
{
  return qtk_block_linear_back(&w->b->linears[role], w->s, x, dy, dx, w->f->keeps[role]);
}

/* dn += the share of one more linear that reads n. */
static int backward_add_linear(struct backward *w, enum qtk_role role, const struct qtk_tensor *x,
                               const struct qtk_tensor *dy)
{
  int rc = backward_linear(w, role, x, dy, &w->dpart);

  return rc == QTK_OK ? qtk_op_add(w->s->ctx, &w->dn, &w->dpart, &w->dn) : rc;
}

static int backward_norm(const struct backward *w, enum qtk_role role, const struct qtk_tensor *x,
                         const struct qtk_tensor *stats, const struct qtk_tensor *dy,
                         struct qtk_tensor *dx)
{
  const struct block_norm *n = &w->b->norms[role - QTK_ROLE_NORM1];
  struct qtk_tensor dweight = n->dweight, dbias = n->dbias;

  return qtk_op_norm_backward(w->s->ctx, (enum qtk_norm)w->b->model.norm, x,
                              block_given(&n->weight), stats, dy, dx, block_some(&dweight),
                              block_some(&dbias));
}

/* ---- attention ------------------------------------------------------------------------ */

/* d of the heads before their norm, in place of d of those after it. */
static int backward_head_norm(struct backward *w, enum qtk_role role, const struct qtk_tensor *x0,
                              const struct qtk_tensor *stats0, struct qtk_tensor *d)
{
  const struct block_norm *n = &w->b->norms[role - QTK_ROLE_NORM1];
  int64_t size = w->b->model.dims.head_size;
  int64_t rows = qtk_tensor_rows(d) * qtk_tensor_cols(d) / size;
  struct qtk_tensor x = qtk_matrix(QTK_F32, x0->data, rows, size);
  struct qtk_tensor stats = qtk_matrix(QTK_F32, stats0->data, rows, 2);
  struct qtk_tensor dy = qtk_matrix(QTK_F32, d->data, rows, size), dx;
  struct qtk_tensor dweight = n->dweight;
  int rc = backward_take(w, BACKWARD_DHEADS, qtk_tensor_cols(d), &dx);

  dx = qtk_matrix(QTK_F32, dx.data, rows, size);
  if (rc == QTK_OK)
    rc = qtk_op_norm_backward(w->s->ctx, QTK_NORM_RMS, &x, block_given(&n->weight), &stats, &dy,
                              &dx, block_some(&dweight), NULL);
  return rc == QTK_OK ? qtk_op_copy(w->s->ctx, &dx, &dy) : rc;
}

/* From the turned q and k back to what the linears gave. */
static int backward_rotary(struct backward *w)
{
  const struct qtk_arch_model *m = &w->b->model;
  struct qtk_rope rope = {.style = (enum qtk_rope_style)m->rotary.style,
                          .heads = m->dims.heads,
                          .head_size = m->dims.head_size,
                          .dims = w->b->rotary_dims,
                          .inverse_frequency = w->b->frequencies,
                          .factor = (float)m->rotary.attention_factor};
  int rc = QTK_OK;

  if (m->positions == QTK_POSITIONS_ROTARY) {
    rc = qtk_op_rope(w->s->ctx, &rope, w->s->positions, &w->dq, 1);
    rope.heads = m->dims.kv_heads;
    if (rc == QTK_OK)
      rc = qtk_op_rope(w->s->ctx, &rope, w->s->positions, &w->dk, 1);
  }
  if (rc == QTK_OK && m->query_norm)
    rc = backward_head_norm(w, QTK_ROLE_Q_NORM, &w->f->q0, &w->f->stats_q, &w->dq);
  if (rc == QTK_OK && m->query_norm)
    rc = backward_head_norm(w, QTK_ROLE_K_NORM, &w->f->k0, &w->f->stats_k, &w->dk);
  return rc;
}

static int backward_scores(struct backward *w)
{
  const struct block_frame *f = w->f;
  struct qtk_attention a = qtk_block_attention(w->b, w->s);

  return qtk_op_attention_backward(w->s->ctx, &a, &f->q, &f->k, &f->v, &f->att, &f->lse, &w->datt,
                                   &w->dq, &w->dk, &w->dv);
}

/* dn = gradient of the attention branch's input n from dy of its output. */
static int backward_attention(struct backward *w, const struct qtk_tensor *n,
                              const struct qtk_tensor *dy)
{
  int rc = backward_linear(w, QTK_ROLE_O, &w->f->att, dy, &w->datt);

  if (rc == QTK_OK)
    rc = backward_scores(w);
  if (rc == QTK_OK)
    rc = backward_rotary(w);
  if (rc == QTK_OK && w->b->model.attention_fused)
    return backward_linear(w, QTK_ROLE_QKV, n, &w->dqkv, &w->dn);
  if (rc == QTK_OK)
    rc = backward_linear(w, QTK_ROLE_Q, n, &w->dq, &w->dn);
  if (rc == QTK_OK)
    rc = backward_add_linear(w, QTK_ROLE_K, n, &w->dk);
  return rc == QTK_OK ? backward_add_linear(w, QTK_ROLE_V, n, &w->dv) : rc;
}

/* ---- MLP -------------------------------------------------------------------------------- */

/* dn = gradient of the MLP branch's input n from dy of its output. */
static int backward_mlp(struct backward *w, const struct qtk_tensor *n,
                        const struct qtk_tensor *dy)
{
  const struct qtk_arch_model *m = &w->b->model;
  enum qtk_activation act = (enum qtk_activation)m->activation;
  const struct block_frame *f = w->f;
  int rc = backward_linear(w, QTK_ROLE_DOWN, &f->act, dy, &w->dact);

  if (rc == QTK_OK)
    rc = m->gated ? qtk_op_gated_backward(w->s->ctx, act, &f->gate, &f->up, &w->dact, &w->dgate,
                                          &w->dup)
                  : qtk_op_activation_backward(w->s->ctx, act, &f->up, &w->dact, &w->dup);
  if (rc == QTK_OK && m->mlp_fused)
    return backward_linear(w, QTK_ROLE_GATE_UP, n, &w->dgate_up, &w->dn);
  if (rc == QTK_OK)
    rc = backward_linear(w, QTK_ROLE_UP, n, &w->dup, &w->dn);
  return rc == QTK_OK && m->gated ? backward_add_linear(w, QTK_ROLE_GATE, n, &w->dgate) : rc;
}

/* ---- the three shapes of a block ------------------------------------------------------------ */

static int backward_before(struct backward *w, const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  struct block_frame *f = w->f;
  struct qtk_context *ctx = w->s->ctx;
  int rc = backward_mlp(w, &f->n2, dy);

  if (rc == QTK_OK)
    rc = backward_norm(w, QTK_ROLE_NORM2, &f->mid, &f->stats2, &w->dn, &w->dmid);
  if (rc == QTK_OK)
    rc = qtk_op_add(ctx, dy, &w->dmid, &w->dmid);
  if (rc == QTK_OK)
    rc = backward_attention(w, &f->n1, &w->dmid);
  if (rc == QTK_OK)
    rc = backward_norm(w, QTK_ROLE_NORM1, &f->x, &f->stats1, &w->dn, &w->dpart);
  return rc == QTK_OK ? qtk_op_add(ctx, &w->dmid, &w->dpart, dx) : rc;
}

/* dsum = d of what a norm behind a branch read; from there to the branch and past it. */
static int backward_after(struct backward *w, const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  struct block_frame *f = w->f;
  struct qtk_context *ctx = w->s->ctx;
  struct qtk_tensor dsum = w->dmid;
  int rc = backward_norm(w, QTK_ROLE_NORM2, &f->sum2, &f->stats2, dy, &dsum);

  if (rc == QTK_OK)
    rc = backward_mlp(w, &f->mid, &dsum);
  if (rc == QTK_OK)
    rc = qtk_op_add(ctx, &dsum, &w->dn, &w->dn);
  if (rc == QTK_OK)
    rc = backward_norm(w, QTK_ROLE_NORM1, &f->sum1, &f->stats1, &w->dn, &dsum);
  if (rc == QTK_OK)
    rc = backward_attention(w, &f->x, &dsum);
  return rc == QTK_OK ? qtk_op_add(ctx, &dsum, &w->dn, dx) : rc;
}

static int backward_parallel(struct backward *w, const struct qtk_tensor *dy,
                             struct qtk_tensor *dx)
{
  struct block_frame *f = w->f;
  struct qtk_context *ctx = w->s->ctx;
  int two = w->b->model.norms == 2, rc = backward_mlp(w, &f->n2, dy);

  /* dmid collects what flows past; with one norm both branches share its input. */
  if (rc == QTK_OK && two)
    rc = backward_norm(w, QTK_ROLE_NORM2, &f->x, &f->stats2, &w->dn, &w->dmid);
  if (rc == QTK_OK && !two)
    rc = qtk_op_copy(ctx, &w->dn, &w->dmid);
  if (rc == QTK_OK)
    rc = backward_attention(w, &f->n1, dy);
  if (rc == QTK_OK && !two)
    rc = qtk_op_add(ctx, &w->dn, &w->dmid, &w->dn);
  if (rc == QTK_OK)
    rc = backward_norm(w, QTK_ROLE_NORM1, &f->x, &f->stats1, &w->dn, &w->dpart);
  if (rc == QTK_OK && two)
    rc = qtk_op_add(ctx, &w->dpart, &w->dmid, &w->dpart);
  return rc == QTK_OK ? qtk_op_add(ctx, dy, &w->dpart, dx) : rc;
}

int qtk_block_run_back(const struct qtk_block *b, struct qtk_session *s, enum block_tape tape,
                       const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  struct block_frame f;
  struct backward w = {.b = b, .s = s, .f = &f};
  int rc = s->training ? qtk_block_frame(b, s, BLOCK_TRAINING, tape, &f)
                       : qtk_error(QTK_EINTERNAL, "a session that does not train has no tape");

  if (rc == QTK_OK && s->capacity > 0)
    rc = qtk_error(QTK_EINTERNAL, "a session with a cache cannot train");
  if (rc == QTK_OK)
    rc = backward_memory(&w);
  if (rc == QTK_OK && tape == BLOCK_TAPE)
    rc = qtk_block_again(b, s, &f);
  if (rc != QTK_OK)
    return rc;
  if (b->model.residual == QTK_RESIDUAL_PARALLEL)
    return backward_parallel(&w, dy, dx);
  return b->model.norm_place == QTK_NORM_AFTER ? backward_after(&w, dy, dx)
                                               : backward_before(&w, dy, dx);
}
