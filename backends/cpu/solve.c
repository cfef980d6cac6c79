/* SPDX-License-Identifier: BSD-3-Clause
 * Cholesky factors, inverses and triangular solves, by blocks on the pool. Each
 * block is the work of one thread, with sums over the blocks before it in one piece,
 * so results do not depend on the number of threads. */
#include <string.h>

#include "cpu.h"
#include "solver.h"

#define SOLVE_BLOCK 96
#define SOLVE_COLUMNS 64 /* of right-hand sides a task */

struct solve {
  struct cpu *cpu;
  const struct cpu_solver *ops;
  size_t size; /* of an element */
  char *a;     /* (n, n) */
  int64_t n, ld;
  int64_t j, nj; /* the block column at hand */
  char *copy;    /* shared memory */
  /* Of solve_triangular. */
  char *b;
  int64_t m, ldb;
  int upper, transpose;
};

static struct solve solve_of(struct cpu *cpu, const struct qtk_tensor *t)
{
  int wide = t->dtype == QTK_F64, plain = cpu->k.name[0] == 'g';
  struct solve s = {.cpu = cpu,
                    .size = qtk_dtype_size(t->dtype),
                    .a = t->data,
                    .n = qtk_tensor_rows(t),
                    .ld = t->stride};

  if (plain)
    s.ops = wide ? &cpu_generic_solver_f64 : &cpu_generic_solver_f32;
  else
    s.ops = wide ? &cpu_openblas_solver_f64 : &cpu_openblas_solver_f32;
  return s;
}

static void *solve_at(const struct solve *s, int64_t i, int64_t j)
{
  return s->a + (size_t)(i * s->ld + j) * s->size;
}

static int64_t solve_rows(const struct solve *s, int64_t i)
{
  return cpu_min(SOLVE_BLOCK, s->n - i);
}

/* ---- halves ------------------------------------------------------------------------------ */

/* Copies the half below the diagonal above it (`up`), or the other way; or zeroes it. */
struct solve_half {
  const struct solve *s;
  int up, zero;
};

static int solve_half_block(void *arg, size_t task)
{
  const struct solve_half *h = arg;
  const struct solve *s = h->s;
  int64_t i0 = (int64_t)task * SOLVE_BLOCK;

  for (int64_t j0 = 0; j0 <= i0; j0 += SOLVE_BLOCK)
    for (int64_t i = i0; i < s->n && i < i0 + SOLVE_BLOCK; i++)
      for (int64_t j = j0; j < i && j < j0 + SOLVE_BLOCK; j++) {
        void *low = solve_at(s, i, j), *high = solve_at(s, j, i);
        if (h->zero)
          memset(h->up ? high : low, 0, s->size);
        else
          memcpy(h->up ? high : low, h->up ? low : high, s->size);
      }
  return QTK_OK;
}

static int solve_half(const struct solve *s, int up, int zero)
{
  struct solve_half h = {s, up, zero};

  return cpu_parallel(s->cpu, cpu_ceil(s->n, SOLVE_BLOCK), solve_half_block, &h);
}

/* ---- Cholesky ----------------------------------------------------------------------------- */

/* Block (i, j) of the column at hand less the products of what stands left of it. */
static int solve_update(void *arg, size_t task)
{
  const struct solve *s = arg;
  int64_t i = s->j + (int64_t)task * SOLVE_BLOCK;

  if (s->j > 0)
    s->ops->multiply(0, 1, solve_rows(s, i), s->nj, s->j, -1, solve_at(s, i, 0), s->ld,
                     solve_at(s, s->j, 0), s->ld, solve_at(s, i, s->j), s->ld);
  return QTK_OK;
}

static int solve_panel(void *arg, size_t task)
{
  const struct solve *s = arg;
  int64_t i = s->j + ((int64_t)task + 1) * SOLVE_BLOCK;

  s->ops->solve_right(solve_rows(s, i), s->nj, solve_at(s, s->j, s->j), s->ld, solve_at(s, i, s->j),
                      s->ld);
  return QTK_OK;
}

static int solve_factor(struct solve *s)
{
  int rc = QTK_OK;

  for (s->j = 0; s->j < s->n && rc == QTK_OK; s->j += SOLVE_BLOCK) {
    int64_t below = cpu_ceil(s->n - s->j, SOLVE_BLOCK);
    s->nj = solve_rows(s, s->j);
    if ((rc = qtk_check_stop(s->cpu->ctx)) || (rc = cpu_parallel(s->cpu, below, solve_update, s)))
      return rc;
    if (s->ops->factor(s->nj, solve_at(s, s->j, s->j), s->ld) != 0)
      return qtk_error(QTK_ENUMERIC, "a matrix of %lld rows is not positive definite",
                       (long long)s->n);
    rc = cpu_parallel(s->cpu, below - 1, solve_panel, s);
  }
  return rc;
}

int cpu_cholesky(void *h, int upper, struct qtk_tensor *a)
{
  struct solve s = solve_of(h, a);
  int rc = upper ? solve_half(&s, 0, 0) : QTK_OK;

  if (rc == QTK_OK)
    rc = solve_factor(&s);
  if (rc == QTK_OK && upper)
    rc = solve_half(&s, 1, 0);
  return rc != QTK_OK ? rc : solve_half(&s, !upper, 1);
}

/* ---- the inverse: first of L, then of L LT --------------------------------------------------- */

static void solve_copy(const struct solve *s, int64_t i, int64_t j, int64_t rows, int64_t cols,
                       char *to)
{
  for (int64_t r = 0; r < rows; r++)
    memcpy(to + (size_t)(r * SOLVE_BLOCK) * s->size, solve_at(s, i + r, j), (size_t)cols * s->size);
}

static void solve_zero(const struct solve *s, int64_t i, int64_t j, int64_t rows, int64_t cols)
{
  for (int64_t r = 0; r < rows; r++)
    memset(solve_at(s, i + r, j), 0, (size_t)cols * s->size);
}

/* Block (i, j) of the inverse of L: -(inverse of what lies right of column j) (column j)
 * (inverse of the diagonal block). The column, and the diagonal's inverse, lie in
 * s->copy. */
static int solve_invert_block(void *arg, size_t task)
{
  const struct solve *s = arg;
  int64_t i = s->j + ((int64_t)task + 1) * SOLVE_BLOCK, ni = solve_rows(s, i);
  int64_t right = s->j + SOLVE_BLOCK;
  char *product = cpu_own(s->cpu);
  const char *column = s->copy + (size_t)(SOLVE_BLOCK * SOLVE_BLOCK) * s->size;

  memset(product, 0, (size_t)(SOLVE_BLOCK * SOLVE_BLOCK) * s->size);
  s->ops->multiply(0, 0, ni, s->nj, i + ni - right, 1, solve_at(s, i, right), s->ld, column,
                   SOLVE_BLOCK, product, SOLVE_BLOCK);
  solve_zero(s, i, s->j, ni, s->nj);
  s->ops->multiply(0, 0, ni, s->nj, s->nj, -1, product, SOLVE_BLOCK, s->copy, SOLVE_BLOCK,
                   solve_at(s, i, s->j), s->ld);
  return QTK_OK;
}

/* Leaves zeros above the diagonal. */
static int solve_invert(struct solve *s)
{
  int64_t blocks = cpu_ceil(s->n, SOLVE_BLOCK);
  int rc = cpu_reserve(s->cpu, (size_t)((s->n + SOLVE_BLOCK) * SOLVE_BLOCK) * s->size,
                       (size_t)(SOLVE_BLOCK * SOLVE_BLOCK) * s->size);

  if (rc != QTK_OK)
    return rc;
  s->copy = s->cpu->shared.memory;
  rc = solve_half(s, 1, 1);
  for (int64_t b = blocks - 1; b >= 0 && rc == QTK_OK; b--) {
    s->j = b * SOLVE_BLOCK;
    s->nj = solve_rows(s, s->j);
    s->ops->invert(s->nj, solve_at(s, s->j, s->j), s->ld);
    solve_copy(s, s->j, s->j, s->n - s->j, s->nj, s->copy);
    rc = qtk_check_stop(s->cpu->ctx);
    if (rc == QTK_OK)
      rc = cpu_parallel(s->cpu, blocks - 1 - b, solve_invert_block, s);
  }
  return rc;
}

/* Block (j, k) of XT X, k <= j, X the inverse of L: the sum over the rows from j on.
 * Block row j becomes the result; rows below are still X. Its own rows of X lie in
 * s->copy as (SOLVE_BLOCK, n). */
static int solve_square_block(void *arg, size_t task)
{
  const struct solve *s = arg;
  int64_t k = (int64_t)task * SOLVE_BLOCK, nk = cpu_min(SOLVE_BLOCK, s->j + s->nj - k);
  int64_t below = s->j + s->nj;
  char *own = s->copy + (size_t)(s->j) * s->size;

  solve_zero(s, s->j, k, s->nj, nk);
  s->ops->multiply(1, 0, s->nj, nk, s->nj, 1, own, s->n, s->copy + (size_t)k * s->size, s->n,
                   solve_at(s, s->j, k), s->ld);
  if (below < s->n)
    s->ops->multiply(1, 0, s->nj, nk, s->n - below, 1, solve_at(s, below, s->j), s->ld,
                     solve_at(s, below, k), s->ld, solve_at(s, s->j, k), s->ld);
  return QTK_OK;
}

static int solve_square(struct solve *s)
{
  int rc = QTK_OK;

  for (s->j = 0; s->j < s->n && rc == QTK_OK; s->j += SOLVE_BLOCK) {
    s->nj = solve_rows(s, s->j);
    for (int64_t r = 0; r < s->nj; r++)
      memcpy(s->copy + (size_t)(r * s->n) * s->size, solve_at(s, s->j + r, 0),
             (size_t)(s->j + s->nj) * s->size);
    rc = qtk_check_stop(s->cpu->ctx);
    if (rc == QTK_OK)
      rc = cpu_parallel(s->cpu, s->j / SOLVE_BLOCK + 1, solve_square_block, s);
  }
  return rc;
}

int cpu_cholesky_inverse(void *h, struct qtk_tensor *a)
{
  struct solve s = solve_of(h, a);
  int rc = solve_invert(&s);

  if (rc == QTK_OK)
    rc = solve_square(&s);
  return rc != QTK_OK ? rc : solve_half(&s, 1, 0);
}

int cpu_triangular_inverse(void *h, struct qtk_tensor *a)
{
  struct solve s = solve_of(h, a);

  return solve_invert(&s);
}

/* ---- triangular systems ------------------------------------------------------------------------
 */

static void *solve_b(const struct solve *s, int64_t i, int64_t j)
{
  return s->b + (size_t)(i * s->ldb + j) * s->size;
}

/* Rows [i, i + ni) of X for the columns [col, col + cols), given those that op(T) has
 * left of the diagonal (lower) or right of it. */
static void solve_step(const struct solve *s, int lower, int64_t i, int64_t col, int64_t cols)
{
  int64_t ni = solve_rows(s, i), from = lower ? 0 : i + ni, k = lower ? i : s->n - from;

  if (k > 0)
    s->ops->multiply(s->transpose, 0, ni, cols, k, -1,
                     s->transpose ? solve_at(s, from, i) : solve_at(s, i, from), s->ld,
                     solve_b(s, from, col), s->ldb, solve_b(s, i, col), s->ldb);
  s->ops->solve(s->upper, s->transpose, ni, cols, solve_at(s, i, i), s->ld, solve_b(s, i, col),
                s->ldb);
}

static int solve_columns(void *arg, size_t task)
{
  const struct solve *s = arg;
  int lower = s->upper == s->transpose;
  int64_t col = (int64_t)task * SOLVE_COLUMNS, cols = cpu_min(SOLVE_COLUMNS, s->m - col);
  int64_t blocks = cpu_ceil(s->n, SOLVE_BLOCK);

  for (int64_t b = 0; b < blocks; b++)
    solve_step(s, lower, (lower ? b : blocks - 1 - b) * SOLVE_BLOCK, col, cols);
  return QTK_OK;
}

int cpu_solve_triangular(void *h, int upper, int transpose, const struct qtk_tensor *t,
                         struct qtk_tensor *b)
{
  struct solve s = solve_of(h, t);

  s.b = b->data;
  s.m = qtk_tensor_cols(b);
  s.ldb = b->stride;
  s.upper = upper != 0;
  s.transpose = transpose != 0;
  return cpu_parallel(s.cpu, cpu_ceil(s.m, SOLVE_COLUMNS), solve_columns, &s);
}
