/* SPDX-License-Identifier: BSD-3-Clause
 * Attention, backward: the probabilities are made again from lse, twice, so that
 * dq belongs to a task by queries, and dk and dv to a task by keys. */
#include <math.h>
#include <string.h>

#include "attention.h"

/* Heads of a tensor, packed tile by tile of rows: panels of rows (head size, mr), and
 * panels of columns (rows of the tile, mr). */
struct backward_operand {
  const struct qtk_tensor *t;
  float *rows, *cols; /* cols NULL: not wanted */
};

/* The heads of a span that share keys are worked on at a time. */
struct backward {
  struct cpu *cpu;
  const struct qtk_attention *a;
  const struct qtk_tensor *out, *lse;
  struct qtk_tensor *dq, *dk, *dv;
  struct qtk_span span;
  int64_t kv_head, group; /* heads */
  int64_t padded;         /* head size in whole panels */
  struct backward_operand q, k, v, dout;
  float *delta, *log_sums; /* (group, nq) */
};

/* Own memory of a task. */
struct backward_tile {
  float *b1, *b2;        /* (head size, nr): the tile's columns as panels */
  float *sum1, *sum2;    /* (head size, nr) */
  float *s, *dp, *p, *c; /* (ATTENTION_TILE, nr) */
  float *lse, *delta;    /* (nr) */
};

static int64_t backward_own_floats(const struct backward *b)
{
  return (4 * b->a->head_size + 4 * ATTENTION_TILE + 2) * b->cpu->nr;
}

static struct backward_tile backward_own(const struct backward *b)
{
  int64_t nr = b->cpu->nr, wide = b->a->head_size * nr, tall = ATTENTION_TILE * nr;
  struct backward_tile w;

  w.b1 = cpu_own(b->cpu);
  w.b2 = w.b1 + wide;
  w.sum1 = w.b2 + wide;
  w.sum2 = w.sum1 + wide;
  w.s = w.sum2 + wide;
  w.dp = w.s + tall;
  w.p = w.dp + tall;
  w.c = w.p + tall;
  w.lse = w.c + tall;
  w.delta = w.lse + nr;
  return w;
}

/* ---- packing ---------------------------------------------------------------------------- */

static int64_t backward_tiles(int64_t rows)
{
  return cpu_ceil(rows, ATTENTION_TILE);
}

/* `place`: number of the tile among those packed for this operand. */
static void backward_pack_tile(const struct backward *b, const struct backward_operand *o,
                               int64_t first, int64_t rows, int64_t head, int64_t tile,
                               int64_t place)
{
  const struct cpu_kernels *k = &b->cpu->k;
  int64_t d = b->a->head_size, mr = b->cpu->mr, from = tile * ATTENTION_TILE;
  int64_t n = cpu_min(ATTENTION_TILE, rows - from), ld = o->t->stride;
  const float *x = cpu_row(o->t, first + from) + head * d;
  float *out = o->rows + place * ATTENTION_TILE * d;

  for (int64_t i = 0; i < n; i += mr)
    k->pack_rows(d, cpu_min(mr, n - i), mr, mr, 1, x + i * ld, ld, out + i * d);
  if (o->cols == NULL)
    return;
  out = o->cols + place * ATTENTION_TILE * b->padded;
  for (int64_t j = 0; j < d; j += mr)
    k->pack_cols(n, cpu_min(mr, d - j), mr, mr, 1, x + j, ld, out + j * n);
}

static int backward_pack_keys(void *arg, size_t task)
{
  const struct backward *b = arg;
  int64_t tile = (int64_t)task;

  backward_pack_tile(b, &b->k, b->span.k0, b->span.nk, b->kv_head, tile, tile);
  backward_pack_tile(b, &b->v, b->span.k0, b->span.nk, b->kv_head, tile, tile);
  return QTK_OK;
}

/* Also delta, the dot of out and dout of each query, and lse next to each other. */
static int backward_pack_queries(void *arg, size_t task)
{
  const struct backward *b = arg;
  int64_t tiles = backward_tiles(b->span.nq), tile = (int64_t)task % tiles;
  int64_t g = (int64_t)task / tiles, head = b->kv_head * b->group + g, d = b->a->head_size;
  int64_t from = tile * ATTENTION_TILE, to = cpu_min(from + ATTENTION_TILE, b->span.nq);

  backward_pack_tile(b, &b->q, b->span.q0, b->span.nq, head, tile, (int64_t)task);
  backward_pack_tile(b, &b->dout, b->span.q0, b->span.nq, head, tile, (int64_t)task);
  for (int64_t i = from; i < to; i++) {
    int64_t row = b->span.q0 + i;
    b->delta[g * b->span.nq + i] = (float)b->cpu->k.dot(d, cpu_row(b->out, row) + head * d,
                                                        cpu_row(b->dout.t, row) + head * d);
    b->log_sums[g * b->span.nq + i] = cpu_row(b->lse, row)[head];
  }
  return QTK_OK;
}

/* ---- a tile of scores --------------------------------------------------------------------- */

/* Hides what is not seen: rows [row, row + rows) are keys, columns queries, or
 * (by_row) the other way round. */
static void backward_mask(const struct backward *b, float *s, int64_t row, int64_t rows,
                          int64_t col, int64_t cols, int by_row)
{
  int64_t nr = b->cpu->nr;
  int64_t q0 = by_row ? row : col, q1 = by_row ? row + rows - 1 : col + cols - 1;
  int64_t k0 = by_row ? col : row, k1 = by_row ? col + cols - 1 : row + rows - 1;

  if (cols == nr && k0 >= attention_from(b->a, &b->span, q1) && k1 < attention_to(&b->span, q0))
    return;
  attention_hide(b->a, &b->span, by_row, row, rows, col, cols, nr, s);
}

/* Scores in w->s and the products of dout and v in w->dp become ds in w->s and the
 * probabilities in w->p. */
static void backward_scores(const struct backward *b, const struct backward_tile *w, int64_t row,
                            int64_t rows, int64_t col, int64_t cols, int by_row, const float *lse,
                            const float *delta)
{
  int64_t n = rows * b->cpu->nr;

  if (b->a->softcap != 0) {
    attention_cap(b->a, w->s, n);
    memcpy(w->c, w->s, (size_t)n * sizeof(float));
  }
  backward_mask(b, w->s, row, rows, col, cols, by_row);
  b->cpu->k.softmax_gradient(rows, b->cpu->nr, w->s, w->dp, lse, delta, by_row, w->p);
  attention_cap_slope(b->a, w->c, w->s, n);
}

/* ---- dq: columns are queries ----------------------------------------------------------------- */

static void backward_query_tile(const struct backward *b, const struct backward_tile *w, int64_t i0,
                                int64_t queries, int64_t tile, int first)
{
  const struct cpu_kernels *k = &b->cpu->k;
  int64_t d = b->a->head_size, nr = b->cpu->nr, key = tile * ATTENTION_TILE;
  int64_t n = cpu_min(ATTENTION_TILE, b->span.nk - key), at = tile * ATTENTION_TILE;

  k->gemm(d, n, nr, b->k.rows + at * d, w->b1, w->s, nr, 0);
  k->gemm(d, n, nr, b->v.rows + at * d, w->b2, w->dp, nr, 0);
  backward_scores(b, w, key, n, i0, queries, 0, w->lse, w->delta);
  k->gemm(n, d, nr, b->k.cols + at * b->padded, w->s, w->sum1, nr, !first);
}

static void backward_columns(const struct backward *b, const struct qtk_tensor *t, int64_t row,
                             int64_t n, int64_t head, float alpha, float *panel)
{
  int64_t d = b->a->head_size, nr = b->cpu->nr;

  b->cpu->k.pack_rows(d, n, nr, nr, alpha, cpu_row(t, row) + head * d, t->stride, panel);
}

static int backward_query_task(void *arg, size_t task)
{
  const struct backward *b = arg;
  struct backward_tile w = backward_own(b);
  int64_t d = b->a->head_size, nr = b->cpu->nr, g = (int64_t)task % b->group;
  int64_t head = b->kv_head * b->group + g, i0 = (int64_t)task / b->group * nr;
  int64_t queries = cpu_min(nr, b->span.nq - i0), row = b->span.q0 + i0;
  int64_t first = attention_from(b->a, &b->span, i0) / ATTENTION_TILE;
  int64_t last = (attention_to(&b->span, i0 + queries - 1) - 1) / ATTENTION_TILE;

  backward_columns(b, b->q.t, row, queries, head, b->a->scale, w.b1);
  backward_columns(b, b->dout.t, row, queries, head, 1, w.b2);
  for (int64_t j = 0; j < nr; j++) {
    w.lse[j] = j < queries ? b->log_sums[g * b->span.nq + i0 + j] : 0;
    w.delta[j] = j < queries ? b->delta[g * b->span.nq + i0 + j] : 0;
  }
  for (int64_t tile = first; tile <= last; tile++)
    backward_query_tile(b, &w, i0, queries, tile, tile == first);
  for (int64_t j = 0; j < queries; j++)
    for (int64_t i = 0; i < d; i++)
      cpu_row(b->dq, row + j)[head * d + i] = b->a->scale * w.sum1[i * nr + j];
  return QTK_OK;
}

/* ---- dk, dv: columns are keys ------------------------------------------------------------------
 */

static void backward_key_tile(const struct backward *b, const struct backward_tile *w, int64_t g,
                              int64_t key, int64_t keys, int64_t tile, int first)
{
  const struct cpu_kernels *k = &b->cpu->k;
  int64_t d = b->a->head_size, nr = b->cpu->nr, i0 = tile * ATTENTION_TILE;
  int64_t n = cpu_min(ATTENTION_TILE, b->span.nq - i0);
  int64_t at = (g * backward_tiles(b->span.nq) + tile) * ATTENTION_TILE;

  k->gemm(d, n, nr, b->q.rows + at * d, w->b1, w->s, nr, 0);
  k->gemm(d, n, nr, b->dout.rows + at * d, w->b2, w->dp, nr, 0);
  backward_scores(b, w, i0, n, key, keys, 1, b->log_sums + g * b->span.nq + i0,
                  b->delta + g * b->span.nq + i0);
  k->gemm(n, d, nr, b->q.cols + at * b->padded, w->s, w->sum1, nr, !first);
  k->gemm(n, d, nr, b->dout.cols + at * b->padded, w->p, w->sum2, nr, !first);
}

/* The queries [*from, *to) that see any of the keys [key, key + keys). */
static void backward_queries(const struct backward *b, int64_t key, int64_t keys, int64_t *from,
                             int64_t *to)
{
  int64_t ahead = b->span.nk - b->span.nq;

  *from = key - ahead > 0 ? key - ahead : 0;
  *to = b->span.nq;
  if (b->a->window > 0)
    *to = cpu_min(b->span.nq, key + keys - 1 - ahead + b->a->window);
}

static int backward_key_task(void *arg, size_t task)
{
  const struct backward *b = arg;
  struct backward_tile w = backward_own(b);
  int64_t d = b->a->head_size, nr = b->cpu->nr, key = (int64_t)task * nr;
  int64_t keys = cpu_min(nr, b->span.nk - key), row = b->span.k0 + key, from, to;
  int first = 1;

  backward_columns(b, b->k.t, row, keys, b->kv_head, b->a->scale, w.b1);
  backward_columns(b, b->v.t, row, keys, b->kv_head, 1, w.b2);
  backward_queries(b, key, keys, &from, &to);
  for (int64_t g = 0; g < b->group && from < to; g++)
    for (int64_t tile = from / ATTENTION_TILE; tile <= (to - 1) / ATTENTION_TILE; tile++) {
      backward_key_tile(b, &w, g, key, keys, tile, first);
      first = 0;
    }
  for (int64_t j = 0; j < keys && !first; j++)
    for (int64_t i = 0; i < d; i++) {
      cpu_row(b->dk, row + j)[b->kv_head * d + i] = b->a->scale * w.sum1[i * nr + j];
      cpu_row(b->dv, row + j)[b->kv_head * d + i] = w.sum2[i * nr + j];
    }
  return QTK_OK;
}

/* ---- the slot
 * --------------------------------------------------------------------------------------- */

static float *backward_take(float **memory, int64_t floats)
{
  float *taken = *memory;

  *memory += floats;
  return taken;
}

/* Places the packed operands of a span in shared memory, or (memory NULL) only counts
 * their floats. */
static int64_t backward_place(struct backward *b, float *memory)
{
  int64_t tall_q = b->group * backward_tiles(b->span.nq) * ATTENTION_TILE;
  int64_t tall_k = backward_tiles(b->span.nk) * ATTENTION_TILE, d = b->a->head_size;

  if (memory != NULL) {
    b->q.rows = backward_take(&memory, tall_q * d);
    b->q.cols = backward_take(&memory, tall_q * b->padded);
    b->dout.rows = backward_take(&memory, tall_q * d);
    b->dout.cols = backward_take(&memory, tall_q * b->padded);
    b->k.rows = backward_take(&memory, tall_k * d);
    b->k.cols = backward_take(&memory, tall_k * b->padded);
    b->v.rows = backward_take(&memory, tall_k * d);
    b->v.cols = NULL;
    b->delta = backward_take(&memory, b->group * b->span.nq);
    b->log_sums = backward_take(&memory, b->group * b->span.nq);
  }
  return 2 * tall_q * (d + b->padded) + tall_k * (2 * d + b->padded) + 2 * b->group * b->span.nq;
}

static int backward_unit(struct backward *b)
{
  struct cpu *cpu = b->cpu;
  int rc;

  backward_place(b, cpu->shared.memory);
  if ((rc = cpu_parallel(cpu, backward_tiles(b->span.nk), backward_pack_keys, b)) ||
      (rc = cpu_parallel(cpu, b->group * backward_tiles(b->span.nq), backward_pack_queries, b)) ||
      (rc = cpu_parallel(cpu, b->group * cpu_ceil(b->span.nq, cpu->nr), backward_query_task, b)))
    return rc;
  return cpu_parallel(cpu, cpu_ceil(b->span.nk, cpu->nr), backward_key_task, b);
}

static void backward_room(struct backward *b, struct cpu_room *room)
{
  int64_t most = 0;

  for (int64_t i = 0; i < b->a->n_spans; i++) {
    int64_t floats;
    b->span = b->a->spans[i];
    floats = backward_place(b, NULL);
    most = floats > most ? floats : most;
  }
  cpu_room_for(room, (size_t)most * sizeof(float), (size_t)backward_own_floats(b) * sizeof(float));
}

static int backward_reserve(struct backward *b)
{
  struct cpu_room room = {0};

  backward_room(b, &room);
  return cpu_reserve(b->cpu, room.shared, room.own);
}

void cpu_attention_backward_room(struct cpu *cpu, const struct qtk_attention *a,
                                 struct cpu_room *room)
{
  struct backward b = {.cpu = cpu,
                       .a = a,
                       .group = a->heads / a->kv_heads,
                       .padded = cpu_round_up(a->head_size, cpu->mr)};

  backward_room(&b, room);
}

int cpu_attention_backward(void *h, const struct qtk_attention *a, const struct qtk_tensor *q,
                           const struct qtk_tensor *k, const struct qtk_tensor *v,
                           const struct qtk_tensor *out, const struct qtk_tensor *lse,
                           const struct qtk_tensor *dout, struct qtk_tensor *dq,
                           struct qtk_tensor *dk, struct qtk_tensor *dv)
{
  struct backward b = {.cpu = h,
                       .a = a,
                       .out = out,
                       .lse = lse,
                       .dq = dq,
                       .dk = dk,
                       .dv = dv,
                       .group = a->heads / a->kv_heads,
                       .q = {.t = q},
                       .k = {.t = k},
                       .v = {.t = v},
                       .dout = {.t = dout}};
  int rc;

  b.padded = cpu_round_up(a->head_size, b.cpu->mr);
  if ((rc = backward_reserve(&b)) || (rc = cpu_clear(h, dk)) || (rc = cpu_clear(h, dv)))
    return rc;
  for (int64_t i = 0; i < a->n_spans; i++)
    for (b.kv_head = 0; b.kv_head < a->kv_heads; b.kv_head++) {
      b.span = a->spans[i];
      if (b.span.nq > 0 && (rc = backward_unit(&b)) != QTK_OK)
        return rc;
    }
  return QTK_OK;
}
