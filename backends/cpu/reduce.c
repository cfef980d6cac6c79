/* SPDX-License-Identifier: BSD-3-Clause
 * Sums over rows and over everything. */
#include "reduce.h"

struct reduce_columns {
  const struct cpu *cpu;
  const struct qtk_tensor *x, *z;
  float *v;
};

/* A task owns some columns and takes the rows in order. */
static int reduce_columns(void *arg, size_t i)
{
  const struct reduce_columns *r = arg;
  int64_t col = (int64_t)i * CPU_SUM_COLUMNS;
  int64_t n = cpu_min(CPU_SUM_COLUMNS, qtk_tensor_cols(r->x) - col);

  r->cpu->k.sum_rows(qtk_tensor_rows(r->x), n, cpu_row(r->x, 0) + col, r->x->stride,
                     r->z == NULL ? NULL : cpu_row(r->z, 0) + col, r->z == NULL ? 0 : r->z->stride,
                     r->v + col);
  return QTK_OK;
}

int cpu_sum_columns(struct cpu *cpu, const struct qtk_tensor *x, const struct qtk_tensor *z,
                    float *v)
{
  struct reduce_columns r = {cpu, x, z, v};

  return cpu_parallel(cpu, cpu_ceil(qtk_tensor_cols(x), CPU_SUM_COLUMNS), reduce_columns, &r);
}

int cpu_sum_rows(void *h, const struct qtk_tensor *x, struct qtk_tensor *v)
{
  return cpu_sum_columns(h, x, NULL, v->data);
}

int cpu_dot_columns(void *h, const struct qtk_tensor *x, const struct qtk_tensor *y,
                    struct qtk_tensor *v)
{
  return cpu_sum_columns(h, x, y, v->data);
}

/* ---- one number: a slot a piece, added in their order ----------------------------------- */

struct reduce_dot {
  const struct cpu *cpu;
  const struct qtk_tensor *x, *y;
  double *sums;
  int64_t pieces; /* a row */
};

static void reduce_dot(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct reduce_dot *d = arg;

  d->sums[row * d->pieces + col / CPU_PIECE] =
      d->cpu->k.dot(n, cpu_row(d->x, row) + col, cpu_row(d->y, row) + col);
}

int cpu_dot(void *h, const struct qtk_tensor *x, const struct qtk_tensor *y, double *sum)
{
  struct cpu *cpu = h;
  struct reduce_dot d = {cpu, x, y, NULL, 0};
  int64_t rows = qtk_tensor_rows(x), cols = qtk_tensor_cols(x);
  int rc;

  *sum = 0;
  d.pieces = cpu_ceil(cols, CPU_PIECE);
  rc = cpu_reserve(cpu, (size_t)(rows * d.pieces) * sizeof(double), 0);
  if (rc != QTK_OK)
    return rc;
  d.sums = cpu->shared.memory;
  rc = cpu_by_pieces(cpu, rows, cols, 0, reduce_dot, &d);
  for (int64_t i = 0; rc == QTK_OK && i < rows * d.pieces; i++)
    *sum += d.sums[i];
  return rc;
}
