/* SPDX-License-Identifier: BSD-3-Clause
 * Products of matrices from packed panels.
 *
 * Rows of a are taken in blocks of at most PRODUCT_M and the inner dimension in stretches
 * of PRODUCT_K, whose panels of a are packed once, by all threads, into shared
 * memory. A task then owns some columns of c: it packs (or dequantizes) its panel
 * of b for one step of k into its own memory, where it stays in the caches, and
 * runs over the rows of the block. Each element of c is a chain of products for each
 * step of k, and the steps are added in order: what they are depends on k alone,
 * neither on the other rows nor on the threads. */
#include <string.h>

#include "cpu.h"

#define PRODUCT_M CPU_PRODUCT_ROWS
#define PRODUCT_K 4096
#define PRODUCT_STEP 320   /* of k: what a panel of b may hold */
#define PRODUCT_COLUMNS 96 /* chunks of codes and panels of every row of kernels fit in */
#define PRODUCT_PACK 64    /* rows of a to pack as a task */
#define PRODUCT_TASKS 16   /* fewer, and blocks of rows are halved, down to */
#define PRODUCT_SPLIT 256

struct product_run {
  const struct cpu_product *p;
  struct cpu *cpu;
  int64_t i0, m;    /* block of rows */
  int64_t k0, k;    /* stretch of k */
  int64_t step;     /* of k */
  int64_t columns;  /* a task */
  int64_t split;    /* rows a task */
  int64_t m_padded; /* m in whole panels */
  /* Where a thread's memory holds the tile for a sink, and what making panels and the
   * sink work with; b's panels come first. */
  int64_t tile_at, work_at;
};

/* ---- panels of a -------------------------------------------------------------------- */

static float *product_a(const struct product_run *r, int64_t k0, int64_t kc, int64_t i)
{
  return (float *)r->cpu->shared.memory + r->m_padded * k0 + i * kc;
}

static int product_pack_a(void *arg, size_t task)
{
  const struct product_run *r = arg;
  const struct cpu_product *p = r->p;
  const struct cpu_kernels *k = &r->cpu->k;
  int mr = r->cpu->mr;
  int64_t first = (int64_t)task * PRODUCT_PACK;

  for (int64_t k0 = 0; k0 < r->k; k0 += r->step) {
    int64_t kc = cpu_min(r->step, r->k - k0), from = r->k0 + k0;
    for (int64_t i = first; i < r->m && i < first + PRODUCT_PACK; i += mr) {
      int64_t n = cpu_min(mr, r->m - i), row = r->i0 + i;
      float *out = product_a(r, k0, kc, i);
      if (p->a_cols)
        k->pack_cols(kc, n, mr, mr, p->alpha, p->a + from * p->lda + row, p->lda, out);
      else
        k->pack_rows(kc, n, mr, mr, p->alpha, p->a + row * p->lda + from, p->lda, out);
    }
  }
  return QTK_OK;
}

/* ---- panels of b: columns [j, j + n) and steps [k0, k0 + kc) ------------------------- */

static void product_dense_b(const struct product_run *r, int64_t j, int64_t n, int64_t k0,
                            int64_t kc, float *out)
{
  const struct cpu_product *p = r->p;
  int nr = r->cpu->nr;

  for (int64_t i = 0; i < n; i += nr, out += nr * kc) {
    int64_t width = cpu_min(nr, n - i);
    if (p->b_rows)
      r->cpu->k.pack_rows(kc, width, nr, nr, 1, p->b + (j + i) * p->ldb + k0, p->ldb, out);
    else
      r->cpu->k.pack_cols(kc, width, nr, nr, 1, p->b + k0 * p->ldb + j + i, p->ldb, out);
  }
}

static void product_b(const struct product_run *r, int64_t j, int64_t n, int64_t k0, int64_t kc,
                      float *own)
{
  const struct cpu_weights *w = r->p->w;
  float *work = own + r->work_at;
  int nr = r->cpu->nr;

  if (w == NULL)
    product_dense_b(r, j, n, k0, kc, own);
  else if (r->p->b_rows)
    r->cpu->k.panel_rows(w, j, n, k0, kc, nr, work, own);
  else
    r->cpu->k.panel_cols(w, k0, kc, j, n, nr, work, own);
}

/* ---- tiles of c ------------------------------------------------------------------------ */

/* Rows [i, i + m) of the block and the columns of b's panels at `b`. */
static void product_step(const struct product_run *r, int64_t i, int64_t m, int64_t j, int64_t n,
                         int64_t k0, int64_t kc, const float *b, float *c, int64_t ldc,
                         int accumulate)
{
  int mr = r->cpu->mr, nr = r->cpu->nr;

  for (int64_t s = 0; s < n; s += nr, b += nr * kc) {
    int64_t skip = 0;
    if (r->p->lower && j + s > r->i0 + i)
      skip = (j + s - r->i0 - i) / mr * mr;
    if (skip < m)
      r->cpu->k.gemm(kc, m - skip, cpu_min(nr, n - s), product_a(r, k0, kc, i + skip), b,
                     c + skip * ldc + s, ldc, accumulate);
  }
}

static int product_task(void *arg, size_t task)
{
  const struct product_run *r = arg;
  const struct cpu_product *p = r->p;
  int64_t splits = cpu_ceil(r->m, r->split);
  int64_t i = (int64_t)task % splits * r->split, j = (int64_t)task / splits * r->columns;
  int64_t m = cpu_min(r->split, r->m - i), n = cpu_min(r->columns, p->n - j);
  int64_t ldc = p->sink != NULL ? r->columns : p->ldc;
  float *own = cpu_own(r->cpu), *tile = own + r->tile_at;
  float *c = p->sink != NULL ? tile : p->c + (r->i0 + i) * p->ldc + j;

  if (p->lower && j > r->i0 + i + m - 1)
    return QTK_OK;
  for (int64_t k0 = 0; k0 < r->k; k0 += r->step) {
    int64_t kc = cpu_min(r->step, r->k - k0);
    int more = k0 > 0 || (p->sink == NULL && (r->k0 > 0 || p->accumulate));
    product_b(r, j, n, r->k0 + k0, kc, own);
    product_step(r, i, m, j, n, k0, kc, own, c, ldc, more);
  }
  if (p->sink != NULL)
    p->sink(p, r->cpu, r->i0 + i, m, j, n, tile, ldc, own + r->work_at);
  return QTK_OK;
}

/* ---- the whole -------------------------------------------------------------------------- */

static void product_sizes(struct product_run *r, size_t *shared, size_t *own)
{
  const struct cpu_product *p = r->p;
  int64_t m = cpu_round_up(cpu_min(p->m, PRODUCT_M), r->cpu->mr);
  size_t work = p->sink_bytes;

  if (p->w != NULL)
    work += (size_t)cpu_panel_work(&p->w->t->layout, PRODUCT_STEP) * sizeof(float);
  r->columns = p->b_rows || p->sink != NULL ? PRODUCT_COLUMNS / 2 : PRODUCT_COLUMNS;
  r->tile_at = r->columns * PRODUCT_STEP;
  r->work_at = r->tile_at + (p->sink == NULL ? 0 : PRODUCT_M * r->columns);
  *shared = (size_t)(m * cpu_min(p->k, PRODUCT_K)) * sizeof(float);
  *own = (size_t)r->work_at * sizeof(float) + work;
}

void cpu_product_room(struct cpu *cpu, const struct cpu_product *p, struct cpu_room *room)
{
  struct product_run r = {.p = p, .cpu = cpu};
  size_t shared, own;

  if (p->m <= 0 || p->n <= 0 || p->k <= 0)
    return;
  product_sizes(&r, &shared, &own);
  cpu_room_for(room, shared, own);
}

static int product_block(struct product_run *r)
{
  int64_t steps = cpu_ceil(r->k, PRODUCT_STEP), tasks = cpu_ceil(r->p->n, r->columns);
  int rc;

  r->step = cpu_round_up(cpu_ceil(r->k, steps), 32);
  r->m_padded = cpu_round_up(r->m, r->cpu->mr);
  r->split = r->m;
  if (r->p->sink == NULL && tasks < PRODUCT_TASKS && r->m > PRODUCT_SPLIT)
    r->split = PRODUCT_SPLIT;
  rc = cpu_parallel(r->cpu, cpu_ceil(r->m, PRODUCT_PACK), product_pack_a, r);
  if (rc != QTK_OK)
    return rc;
  return cpu_parallel(r->cpu, tasks * cpu_ceil(r->m, r->split), product_task, r);
}

/* Rows of a block, so that none is much shorter than the others. */
static int64_t product_rows(int64_t m)
{
  return cpu_round_up(cpu_ceil(m, cpu_ceil(m, PRODUCT_M)), 32);
}

static void product_nothing(const struct cpu_product *p)
{
  for (int64_t i = 0; !p->accumulate && p->sink == NULL && i < p->m; i++)
    memset(p->c + i * p->ldc, 0, (size_t)p->n * sizeof(float));
}

int cpu_product(struct cpu *cpu, const struct cpu_product *p)
{
  struct product_run r = {.p = p, .cpu = cpu};
  size_t shared, own;
  int rc;

  if (p->m <= 0 || p->n <= 0)
    return QTK_OK;
  if (p->k <= 0) {
    product_nothing(p);
    return QTK_OK;
  }
  product_sizes(&r, &shared, &own);
  rc = cpu_reserve(cpu, shared, own);
  for (r.i0 = 0; rc == QTK_OK && r.i0 < p->m; r.i0 += r.m) {
    r.m = cpu_min(product_rows(p->m), p->m - r.i0);
    for (r.k0 = 0; rc == QTK_OK && r.k0 < p->k; r.k0 += PRODUCT_K) {
      r.k = cpu_min(PRODUCT_K, p->k - r.k0);
      rc = product_block(&r);
    }
  }
  return rc;
}
