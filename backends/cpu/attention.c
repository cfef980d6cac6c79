/* SPDX-License-Identifier: BSD-3-Clause
 * Attention, forward. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention.h"

#define ATTENTION_SHORT 4 /* queries of a span that are better taken one by one */

struct attention {
  struct cpu *cpu;
  const struct qtk_attention *a;
  const struct qtk_tensor *q, *k, *v;
  struct qtk_tensor *out, *lse;
  struct attention_unit *units; /* being worked on */
  int64_t n_units;
  int64_t padded; /* head size in whole panels */
};

void attention_cap(const struct qtk_attention *a, float *s, int64_t n)
{
  if (a->softcap == 0)
    return;
  for (int64_t i = 0; i < n; i++)
    s[i] = a->softcap * tanhf(s[i] / a->softcap);
}

void attention_cap_slope(const struct qtk_attention *a, const float *capped, float *ds, int64_t n)
{
  if (a->softcap == 0)
    return;
  for (int64_t i = 0; i < n; i++)
    ds[i] *= 1 - capped[i] / a->softcap * (capped[i] / a->softcap);
}

/* Of a row of scores only columns [from, to) are seen. */
static void attention_hide_row(int64_t from, int64_t to, int64_t nr, float *s)
{
  for (int64_t j = 0; j < nr && j < from; j++)
    s[j] = -INFINITY;
  for (int64_t j = to > 0 ? to : 0; j < nr; j++)
    s[j] = -INFINITY;
}

void attention_hide(const struct qtk_attention *a, const struct qtk_span *span, int by_row,
                    int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t nr, float *s)
{
  int64_t ahead = span->nk - span->nq, most = col + cols;

  for (int64_t i = row; i < row + rows; i++, s += nr) {
    /* Key k is seen by query k - ahead and those behind it, `window` in all. */
    int64_t from = by_row ? attention_from(a, span, i) : i - ahead;
    int64_t to = by_row ? attention_to(span, i) : a->window > 0 ? i - ahead + a->window : most;
    attention_hide_row(from - col, cpu_min(to, most) - col, nr, s);
  }
}

/* ---- packing keys and values ---------------------------------------------------------- */

/* Tile by tile of keys: panels of keys (head size, mr), then panels of values
 * (keys of the tile, mr). */
static int64_t attention_tile_floats(const struct attention *t)
{
  return ATTENTION_TILE * (t->a->head_size + t->padded);
}

static int64_t attention_tiles(const struct attention_unit *u)
{
  return cpu_ceil(u->span.nk - u->first_key, ATTENTION_TILE);
}

/* Rows of k or v as floats: where they are, or made so in `room`. */
static const float *attention_rows(const struct attention *t, const struct qtk_tensor *x,
                                   int64_t row, int64_t head, int64_t n, float *room, int64_t *ld)
{
  int64_t d = t->a->head_size;

  if (x->dtype == QTK_F32) {
    *ld = x->stride;
    return cpu_row(x, row) + head * d;
  }
  for (int64_t i = 0; i < n; i++)
    t->cpu->k.from_half(x->dtype, d, (const uint16_t *)x->data + (row + i) * x->stride + head * d,
                        room + i * d);
  *ld = d;
  return room;
}

static void attention_pack(const struct attention *t, const struct attention_unit *u, int64_t tile)
{
  const struct cpu_kernels *kernels = &t->cpu->k;
  int64_t d = t->a->head_size, mr = t->cpu->mr, key = u->first_key + tile * ATTENTION_TILE, ld;
  int64_t n = cpu_min(ATTENTION_TILE, u->span.nk - key);
  float *keys = u->packed + tile * attention_tile_floats(t), *values = keys + ATTENTION_TILE * d;
  const float *x;

  x = attention_rows(t, t->k, u->span.k0 + key, u->kv_head, n, cpu_own(t->cpu), &ld);
  for (int64_t i = 0; i < n; i += mr)
    kernels->pack_rows(d, cpu_min(mr, n - i), mr, mr, 1, x + i * ld, ld, keys + i * d);
  x = attention_rows(t, t->v, u->span.k0 + key, u->kv_head, n, cpu_own(t->cpu), &ld);
  for (int64_t j = 0; j < d; j += mr)
    kernels->pack_cols(n, cpu_min(mr, d - j), mr, mr, 1, x + j, ld, values + j * n);
}

static int attention_pack_task(void *arg, size_t task)
{
  const struct attention *t = arg;
  int64_t i = (int64_t)task;

  for (int64_t u = 0; u < t->n_units; u++) {
    int64_t tiles = attention_tiles(&t->units[u]);
    if (i < tiles) {
      attention_pack(t, &t->units[u], i);
      break;
    }
    i -= tiles;
  }
  return QTK_OK;
}

/* ---- a tile of queries -------------------------------------------------------------------- */

/* Own memory of a task; nr queries side by side. */
struct attention_tile {
  float *q;      /* (head size, nr) */
  float *scores; /* (ATTENTION_TILE, nr) */
  float *out;    /* (head size, nr) */
  float *max, *sum, *factor;
};

static struct attention_tile attention_own(const struct attention *t)
{
  struct attention_tile w;
  int64_t nr = t->cpu->nr;

  w.q = cpu_own(t->cpu);
  w.scores = w.q + t->a->head_size * nr;
  w.out = w.scores + ATTENTION_TILE * nr;
  w.max = w.out + t->a->head_size * nr;
  w.sum = w.max + nr;
  w.factor = w.sum + nr;
  return w;
}

static void attention_rescale(int64_t rows, int64_t width, const float *factor, float *x)
{
  for (int64_t r = 0; r < rows; r++, x += width)
    for (int64_t j = 0; j < width; j++)
      x[j] *= factor[j];
}

static void attention_key_tile(const struct attention *t, const struct attention_unit *u,
                               const struct attention_tile *w, int64_t i0, int64_t queries,
                               int64_t tile, int first)
{
  int64_t d = t->a->head_size, nr = t->cpu->nr, key = u->first_key + tile * ATTENTION_TILE;
  int64_t n = cpu_min(cpu_min(ATTENTION_TILE, u->span.nk - key),
                      attention_to(&u->span, i0 + queries - 1) - key);
  const float *keys = u->packed + tile * attention_tile_floats(t);
  const float *values = keys + ATTENTION_TILE * d;
  int64_t packed = cpu_min(ATTENTION_TILE, u->span.nk - key);

  t->cpu->k.gemm(d, n, nr, keys, w->q, w->scores, nr, 0);
  attention_cap(t->a, w->scores, n * nr);
  if (key + n > attention_to(&u->span, i0) ||
      key < attention_from(t->a, &u->span, i0 + queries - 1))
    attention_hide(t->a, &u->span, 0, key, n, i0, queries, nr, w->scores);
  if (t->cpu->k.softmax_step(n, nr, w->scores, w->max, w->sum, w->factor) && !first)
    attention_rescale(d, nr, w->factor, w->out);
  if (n < packed)
    memset(w->scores + n * nr, 0, (size_t)((packed - n) * nr) * sizeof(float));
  t->cpu->k.gemm(packed, d, nr, values, w->scores, w->out, nr, !first);
}

static void attention_finish(const struct attention *t, const struct attention_unit *u,
                             const struct attention_tile *w, int64_t head, int64_t i0,
                             int64_t queries)
{
  int64_t d = t->a->head_size, nr = t->cpu->nr;

  for (int64_t j = 0; j < queries; j++) {
    int64_t row = u->span.q0 + i0 + j;
    float *out = cpu_row(t->out, row) + head * d, inverse = 1 / w->sum[j];
    for (int64_t i = 0; i < d; i++)
      out[i] = w->out[i * nr + j] * inverse;
    if (t->lse != NULL)
      cpu_row(t->lse, row)[head] = w->max[j] + logf(w->sum[j]);
  }
}

static void attention_query_tile(const struct attention *t, const struct attention_unit *u,
                                 int64_t head, int64_t i0)
{
  struct attention_tile w = attention_own(t);
  int64_t d = t->a->head_size, nr = t->cpu->nr, queries = cpu_min(nr, u->span.nq - i0);
  int64_t first = (attention_from(t->a, &u->span, i0) - u->first_key) / ATTENTION_TILE;
  int64_t last = (attention_to(&u->span, i0 + queries - 1) - 1 - u->first_key) / ATTENTION_TILE;

  t->cpu->k.pack_rows(d, queries, nr, nr, t->a->scale, cpu_row(t->q, u->span.q0 + i0) + head * d,
                      t->q->stride, w.q);
  for (int64_t j = 0; j < nr; j++) {
    w.max[j] = -INFINITY;
    w.sum[j] = 0;
  }
  for (int64_t tile = first; tile <= last; tile++)
    attention_key_tile(t, u, &w, i0, queries, tile, tile == first);
  attention_finish(t, u, &w, head, i0, queries);
}

/* Tasks: units, in them the heads of the group, in them tiles of queries, the last and
 * longest ones first. */
static int64_t attention_tasks(const struct attention *t, const struct attention_unit *u)
{
  return t->a->heads / t->a->kv_heads * cpu_ceil(u->span.nq, t->cpu->nr);
}

static int attention_task(void *arg, size_t task)
{
  const struct attention *t = arg;
  int64_t i = (int64_t)task, group = t->a->heads / t->a->kv_heads;

  for (int64_t n = 0; n < t->n_units; n++) {
    const struct attention_unit *u = &t->units[n];
    int64_t tasks = attention_tasks(t, u), tiles = tasks / group;
    if (i < tasks) {
      attention_query_tile(t, u, u->kv_head * group + i % group,
                           (tiles - 1 - i / group) * t->cpu->nr);
      break;
    }
    i -= tasks;
  }
  return QTK_OK;
}

static int attention_run_units(struct attention *t)
{
  int64_t packs = 0, tasks = 0;
  int rc;

  for (int64_t i = 0; i < t->n_units; i++) {
    packs += attention_tiles(&t->units[i]);
    tasks += attention_tasks(t, &t->units[i]);
  }
  rc = cpu_parallel(t->cpu, packs, attention_pack_task, t);
  return rc != QTK_OK ? rc : cpu_parallel(t->cpu, tasks, attention_task, t);
}

/* ---- the units, as many at a time as there is room for --------------------------------------- */

static int64_t attention_unit_floats(const struct attention *t, const struct qtk_span *s)
{
  int64_t tiles = cpu_ceil(s->nk - attention_first_key(t->a, s), ATTENTION_TILE);

  return tiles * attention_tile_floats(t);
}

/* Units from number `next` on (spans outside, kv heads inside) that fit; short spans
 * are left out. Returns the number after the last. */
static int64_t attention_fill(struct attention *t, int64_t next, int64_t room)
{
  int64_t used = 0, total = t->a->n_spans * t->a->kv_heads;

  t->n_units = 0;
  for (; next < total; next++) {
    const struct qtk_span *s = &t->a->spans[next / t->a->kv_heads];
    int64_t floats = attention_unit_floats(t, s);
    if (s->nq <= ATTENTION_SHORT)
      continue;
    if (used + floats > room)
      break;
    t->units[t->n_units++] =
        (struct attention_unit){*s, next % t->a->kv_heads, attention_first_key(t->a, s),
                                (float *)t->cpu->shared.memory + used};
    used += floats;
  }
  return next;
}

/* Floats that all units want, but not more than the room, unless one wants more. */
static int64_t attention_room(const struct attention *t, int64_t times, int64_t *longest)
{
  int64_t all = 0, most = 0;

  *longest = 0;
  for (int64_t i = 0; i < t->a->n_spans; i++) {
    const struct qtk_span *s = &t->a->spans[i];
    int64_t floats = attention_unit_floats(t, s);
    *longest = s->nk > *longest ? s->nk : *longest;
    if (s->nq <= ATTENTION_SHORT)
      continue;
    all += times * floats * t->a->kv_heads;
    most = floats > most ? floats : most;
  }
  return most > ATTENTION_ROOM ? most : cpu_min(all, ATTENTION_ROOM);
}

/* ---- short spans: one query at a time, straight from the cache ---------------------------------
 */

static const void *attention_at(const struct qtk_tensor *x, int64_t row, int64_t col)
{
  return (const char *)x->data + (size_t)(row * x->stride + col) * qtk_dtype_size(x->dtype);
}

static void attention_query(const struct attention *t, const struct qtk_span *s, int64_t head,
                            int64_t i)
{
  const struct cpu_kernels *k = &t->cpu->k;
  int64_t d = t->a->head_size, kv = head / (t->a->heads / t->a->kv_heads) * d;
  int64_t from = attention_from(t->a, s, i), n = attention_to(s, i) - from;
  float *scores = cpu_own(t->cpu), *out = cpu_row(t->out, s->q0 + i) + head * d, max;
  double sum;

  k->row_dots(n, d, t->a->scale, cpu_row(t->q, s->q0 + i) + head * d,
              attention_at(t->k, s->k0 + from, kv), t->k->dtype, t->k->stride, scores);
  attention_cap(t->a, scores, n);
  max = k->max(n, scores);
  sum = k->exp_sum(n, scores, max, 1, scores);
  memset(out, 0, (size_t)d * sizeof *out);
  k->row_sums(n, d, scores, attention_at(t->v, s->k0 + from, kv), t->v->dtype, t->v->stride, out);
  k->scale(d, (float)(1 / sum), out, out);
  if (t->lse != NULL)
    cpu_row(t->lse, s->q0 + i)[head] = (float)((double)max + log(sum));
}

static int attention_short_task(void *arg, size_t task)
{
  const struct attention *t = arg;
  const struct qtk_span *s = &t->a->spans[(int64_t)task / t->a->heads];

  for (int64_t i = 0; s->nq <= ATTENTION_SHORT && i < s->nq; i++)
    attention_query(t, s, (int64_t)task % t->a->heads, i);
  return QTK_OK;
}

/* ---- the slot
 * ------------------------------------------------------------------------------------ */

static int attention_run(struct attention *t, int64_t room)
{
  int64_t next = 0, total = t->a->n_spans * t->a->kv_heads;
  int rc = QTK_OK;

  t->units = calloc((size_t)(total > 0 ? total : 1), sizeof *t->units);
  if (t->units == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for %lld spans", (long long)t->a->n_spans);
  while (rc == QTK_OK && next < total) {
    next = attention_fill(t, next, room);
    rc = attention_run_units(t);
  }
  free(t->units);
  return rc;
}

/* *room floats for all; those of a thread. */
static int64_t attention_rooms(const struct attention *t, int64_t times, int64_t *room)
{
  int64_t longest, own;

  *room = attention_room(t, times, &longest);
  own = (2 * t->a->head_size + ATTENTION_TILE + 3) * t->cpu->nr;
  if (own < ATTENTION_TILE * t->a->head_size)
    own = ATTENTION_TILE * t->a->head_size;
  return own < longest ? longest : own;
}

void cpu_attention_room(struct cpu *cpu, const struct qtk_attention *a, int64_t times,
                        struct cpu_room *room)
{
  struct attention t = {.cpu = cpu, .a = a, .padded = cpu_round_up(a->head_size, cpu->mr)};
  int64_t shared, own = attention_rooms(&t, times, &shared);

  cpu_room_for(room, (size_t)shared * sizeof(float), (size_t)own * sizeof(float));
}

int cpu_attention(void *h, const struct qtk_attention *a, const struct qtk_tensor *q,
                  const struct qtk_tensor *k, const struct qtk_tensor *v, struct qtk_tensor *out,
                  struct qtk_tensor *lse)
{
  struct cpu *cpu = h;
  struct attention t = {.cpu = cpu, .a = a, .q = q, .k = k, .v = v, .out = out, .lse = lse};
  int64_t room, own;
  int rc;

  t.padded = cpu_round_up(a->head_size, cpu->mr);
  own = attention_rooms(&t, 1, &room);
  rc = cpu_reserve(cpu, (size_t)room * sizeof(float), (size_t)own * sizeof(float));
  if (rc == QTK_OK)
    rc = cpu_parallel(cpu, a->n_spans * a->heads, attention_short_task, &t);
  return rc != QTK_OK || room == 0 ? rc : attention_run(&t, room);
}
