/* SPDX-License-Identifier: BSD-3-Clause
 * Copies between float types, gathered rows, pooled columns. */
#include <string.h>

#include "cpu.h"

struct move {
  const struct cpu_kernels *k;
  const struct qtk_tensor *x;
  struct qtk_tensor *y;
  const int32_t *rows; /* of x, or NULL: the same as of y */
};

static void *move_at(const struct qtk_tensor *t, int64_t row)
{
  return (char *)t->data + (size_t)(row * t->stride) * qtk_dtype_size(t->dtype);
}

#define MOVE_BLOCK 256

/* Between two 16-bit types, through floats. */
static void move_halves(const struct cpu_kernels *k, enum qtk_dtype from, const uint16_t *x,
                        enum qtk_dtype to, uint16_t *y, int64_t n)
{
  float wide[MOVE_BLOCK];

  for (int64_t i = 0; i < n; i += MOVE_BLOCK) {
    int64_t few = cpu_min(MOVE_BLOCK, n - i);
    k->from_half(from, few, x + i, wide);
    k->to_half(to, few, wide, y + i);
  }
}

static void move_rows(void *arg, int64_t row, int64_t n)
{
  const struct move *m = arg;
  int64_t cols = qtk_tensor_cols(m->x);
  enum qtk_dtype from = m->x->dtype, to = m->y->dtype;

  for (int64_t i = row; i < row + n; i++) {
    const void *x = move_at(m->x, m->rows != NULL ? m->rows[i] : i);
    void *y = move_at(m->y, i);
    if (from == to)
      memmove(y, x, (size_t)cols * qtk_dtype_size(from));
    else if (to == QTK_F32)
      m->k->from_half(from, cols, x, y);
    else if (from == QTK_F32)
      m->k->to_half(to, cols, x, y);
    else
      move_halves(m->k, from, x, to, y, cols);
  }
}

static int move_run(struct cpu *cpu, const struct qtk_tensor *x, const int32_t *rows,
                    struct qtk_tensor *y)
{
  struct move m = {&cpu->k, x, y, rows};

  return cpu_by_rows(cpu, qtk_tensor_rows(y), qtk_tensor_cols(y), move_rows, &m);
}

int cpu_gather(void *h, const struct qtk_tensor *x, const int32_t *rows, struct qtk_tensor *y)
{
  return move_run(h, x, rows, y);
}

int cpu_copy(void *h, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  return move_run(h, x, NULL, y);
}

/* ---- pooled columns ---------------------------------------------------------------------- */

struct move_pool {
  enum qtk_pool kind;
  int64_t width;
  const struct qtk_tensor *x, *dy; /* dy: backward */
  struct qtk_tensor *y;            /* or dx */
};

/* The first of the largest of a window. */
static int64_t move_largest(const float *x, int64_t width)
{
  int64_t best = 0;

  for (int64_t i = 1; i < width; i++)
    if (x[i] > x[best])
      best = i;
  return best;
}

static void move_pool(void *arg, int64_t row, int64_t n)
{
  const struct move_pool *p = arg;

  for (int64_t t = row; t < row + n; t++) {
    const float *x = cpu_row(p->x, t);
    float *y = cpu_row(p->y, t);
    for (int64_t j = 0; j < qtk_tensor_cols(p->y); j++, x += p->width) {
      double sum = 0;
      for (int64_t i = 0; p->kind == QTK_POOL_AVERAGE && i < p->width; i++)
        sum += (double)x[i];
      y[j] =
          p->kind == QTK_POOL_MAX ? x[move_largest(x, p->width)] : (float)(sum / (double)p->width);
    }
  }
}

int cpu_pool(void *h, enum qtk_pool kind, int64_t width, const struct qtk_tensor *x,
             struct qtk_tensor *y)
{
  struct move_pool p = {kind, width, x, NULL, y};

  return cpu_by_rows(h, qtk_tensor_rows(x), qtk_tensor_cols(x), move_pool, &p);
}

static void move_pool_backward(void *arg, int64_t row, int64_t n)
{
  const struct move_pool *p = arg;

  for (int64_t t = row; t < row + n; t++) {
    const float *x = cpu_row(p->x, t), *dy = cpu_row(p->dy, t);
    float *dx = cpu_row(p->y, t);
    for (int64_t j = 0; j < qtk_tensor_cols(p->dy); j++, x += p->width, dx += p->width) {
      for (int64_t i = 0; i < p->width; i++)
        dx[i] = p->kind == QTK_POOL_MAX ? 0 : dy[j] / (float)p->width;
      if (p->kind == QTK_POOL_MAX)
        dx[move_largest(x, p->width)] = dy[j];
    }
  }
}

int cpu_pool_backward(void *h, enum qtk_pool kind, int64_t width, const struct qtk_tensor *x,
                      const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  struct move_pool p = {kind, width, x, dy, dx};

  return cpu_by_rows(h, qtk_tensor_rows(x), qtk_tensor_cols(x), move_pool_backward, &p);
}
