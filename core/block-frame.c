/* SPDX-License-Identifier: BSD-3-Clause
 * Where the activations of a block lie during a pass. */
#include "core/block.h"

#define FRAME_ALIGN 64
#define FRAME_PIECE 512 /* tokens, as many as products take at a time */

/* Memory that is given out piece by piece; base NULL: counted. */
struct frame_room {
  char *base;
  size_t used;
  int64_t tokens;
};

static struct qtk_tensor frame_take(struct frame_room *room, int64_t cols)
{
  size_t bytes = (size_t)(room->tokens * cols) * sizeof(float);
  void *data = room->base != NULL ? room->base + room->used : NULL;

  room->used += (bytes + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
  return qtk_matrix(QTK_F32, data, room->tokens, cols);
}

/* In a run without a tape attention's output may lie where its input did, unless the MLP reads
 * that too. */
static struct qtk_tensor frame_att(const struct qtk_block *b, struct frame_room *room,
                                   enum block_use use, const struct block_frame *f)
{
  const struct qtk_arch_model *m = &b->model;
  int64_t q = m->dims.heads * m->dims.head_size;

  if (use != BLOCK_RUN || m->norm_place != QTK_NORM_BEFORE || q > m->dims.hidden ||
      m->residual == QTK_RESIDUAL_PARALLEL)
    return frame_take(room, q);
  return qtk_matrix(QTK_F32, f->n1.data, room->tokens, q);
}

static void frame_attention(const struct qtk_block *b, struct frame_room *room, enum block_use use,
                            struct block_frame *f)
{
  const struct qtk_dims *d = &b->model.dims;
  int64_t q = d->heads * d->head_size, kv = d->kv_heads * d->head_size;

  if (b->model.attention_fused) {
    f->qkv = frame_take(room, q + 2 * kv);
    f->q = qtk_cols_of(&f->qkv, 0, q);
    f->k = qtk_cols_of(&f->qkv, q, kv);
    f->v = qtk_cols_of(&f->qkv, q + kv, kv);
  } else {
    f->q = frame_take(room, q);
    f->k = frame_take(room, kv);
    f->v = frame_take(room, kv);
  }
  if (b->model.query_norm) {
    f->q0 = frame_take(room, q);
    f->k0 = frame_take(room, kv);
  }
  f->att = frame_att(b, room, use, f);
  if (use != BLOCK_TRAINING)
    return;
  f->lse = frame_take(room, d->heads);
  if (b->model.query_norm) {
    f->stats_q = frame_take(room, 2 * d->heads);
    f->stats_k = frame_take(room, 2 * d->kv_heads);
  }
}

static void frame_mlp(const struct qtk_block *b, struct frame_room *room, struct block_frame *f)
{
  int64_t ffn = b->model.dims.ffn, tokens = room->tokens;

  room->tokens = f->mlp_rows;
  if (b->model.mlp_fused) {
    f->gate_up = frame_take(room, 2 * ffn);
    f->gate = qtk_cols_of(&f->gate_up, 0, ffn);
    f->up = qtk_cols_of(&f->gate_up, ffn, ffn);
  } else {
    if (b->model.gated)
      f->gate = frame_take(room, ffn);
    f->up = frame_take(room, ffn);
  }
  room->tokens = tokens;
}

/* Adapters at linears see all tokens of a pass. */
static int frame_mlp_sites(const struct qtk_block *b)
{
  return b->linears[QTK_ROLE_GATE_UP].n_sites + b->linears[QTK_ROLE_GATE].n_sites +
         b->linears[QTK_ROLE_UP].n_sites + b->linears[QTK_ROLE_DOWN].n_sites;
}

/* Pieces are about as long as each other: the number of rows of a product is never small. */
static int64_t frame_mlp_rows(const struct qtk_block *b, int64_t tokens, enum block_use use)
{
  int64_t pieces = (tokens + FRAME_PIECE - 1) / FRAME_PIECE;

  return use != BLOCK_RUN || pieces < 2 || frame_mlp_sites(b) > 0 ? tokens
                                                                  : (tokens + pieces - 1) / pieces;
}

/* What the adapters at a linear that reads `input` and gives `cols` keep. */
static void frame_keep(const struct qtk_block *b, struct frame_room *room, enum qtk_role role,
                       const struct qtk_tensor *input, struct block_frame *f)
{
  const struct block_linear *l = &b->linears[role];

  for (int i = 0; i < l->n_sites; i++) {
    const struct qtk_keep_spec *spec = &l->sites[i].keep;
    struct qtk_keep *keep = &f->keeps[role][i];
    if (spec->mask & QTK_KEEP_INPUT)
      keep->input = *input;
    if (spec->mask & QTK_KEEP_OUTPUT)
      keep->output = frame_take(room, l->w.layout.rows);
    if (spec->bytes_per_token > 0)
      keep->own = frame_take(room, (int64_t)(spec->bytes_per_token + 3) / 4).data;
  }
}

static void frame_keeps(const struct qtk_block *b, struct frame_room *room, struct block_frame *f)
{
  int after = b->model.norm_place == QTK_NORM_AFTER;
  const struct qtk_tensor *n1 = after ? &f->x : &f->n1, *n2 = after ? &f->mid : &f->n2;

  for (int role = 0; role < QTK_ROLE_LINEARS; role++)
    frame_keep(b, room, (enum qtk_role)role,
               role == QTK_ROLE_O      ? &f->att
               : role == QTK_ROLE_DOWN ? &f->act
               : role < QTK_ROLE_O     ? n1
                                       : n2,
               f);
}

/* What is cheap to make again from the tape, and what backward does not read. */
static void frame_shared(const struct qtk_block *b, struct frame_room *room,
                         struct block_frame *f)
{
  int64_t hidden = b->model.dims.hidden;

  if (b->model.norm_place == QTK_NORM_BEFORE) {
    f->n1 = frame_take(room, hidden);
    f->n2 = b->model.norms == 2 ? frame_take(room, hidden) : f->n1;
  }
  f->branch = frame_take(room, hidden);
  if (b->model.residual == QTK_RESIDUAL_PARALLEL)
    f->branch2 = frame_take(room, hidden);
  f->act = frame_take(room, b->model.dims.ffn);
}

/* Everything in its own place. */
static void frame_training(const struct qtk_block *b, struct frame_room *tape,
                           struct frame_room *shared, struct block_frame *f)
{
  int64_t hidden = b->model.dims.hidden;

  f->x = frame_take(tape, hidden);
  f->stats1 = frame_take(tape, 2);
  f->stats2 = frame_take(tape, 2);
  if (b->model.norm_place == QTK_NORM_AFTER) {
    f->sum1 = frame_take(tape, hidden);
    f->sum2 = frame_take(tape, hidden);
  }
  if (b->model.residual != QTK_RESIDUAL_PARALLEL)
    f->mid = frame_take(tape, hidden);
  frame_shared(b, shared, f);
  frame_attention(b, tape, BLOCK_TRAINING, f);
  frame_mlp(b, tape, f);
  frame_keeps(b, tape, f);
}

/* One normed input at a time; attention and MLP one after the other in the same place.
 * Without norms behind, `mid` is the output itself. */
static void frame_inference(const struct qtk_block *b, struct frame_room *room, enum block_use use,
                            struct block_frame *f)
{
  int64_t hidden = b->model.dims.hidden;
  size_t begin, end;

  f->branch = frame_take(room, hidden);
  if (b->model.norm_place == QTK_NORM_AFTER) {
    f->sum1 = f->sum2 = f->branch;
    f->mid = frame_take(room, hidden);
  } else {
    f->n1 = f->n2 = frame_take(room, hidden);
  }
  if (b->model.residual == QTK_RESIDUAL_PARALLEL)
    f->branch2 = frame_take(room, hidden);
  begin = room->used;
  frame_attention(b, room, use, f);
  end = room->used;
  room->used = begin;
  frame_mlp(b, room, f);
  f->act = b->model.gated ? f->gate : f->up;
  if (room->used < end)
    room->used = end;
}

void qtk_block_lay_out(const struct qtk_block *b, int64_t tokens, enum block_use use,
                       struct block_room *room, struct block_frame *f)
{
  struct frame_room tape = {.base = room->tape, .tokens = tokens};
  struct frame_room shared = {.base = room->shared, .tokens = tokens};

  *f = (struct block_frame){.mlp_rows = frame_mlp_rows(b, tokens, use)};
  if (use == BLOCK_TRAINING)
    frame_training(b, &tape, &shared, f);
  else
    frame_inference(b, &shared, use, f);
  room->tape_bytes = tape.used;
  room->shared_bytes = shared.used;
}
