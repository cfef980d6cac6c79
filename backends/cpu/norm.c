/* SPDX-License-Identifier: BSD-3-Clause
 * Norms over rows. */
#include "reduce.h"

struct norm {
  const struct cpu *cpu;
  enum qtk_norm kind;
  float eps;
  const struct qtk_tensor *x, *dy;
  const float *weight, *bias;
  const struct qtk_tensor *stats;
  struct qtk_tensor *y; /* or dx */
};

static const float *norm_vector(const struct qtk_tensor *v)
{
  return v == NULL ? NULL : v->data;
}

static void norm_rows(void *arg, int64_t row, int64_t n)
{
  const struct norm *a = arg;
  float unused[2];

  for (int64_t t = row; t < row + n; t++)
    a->cpu->k.norm(a->kind, qtk_tensor_cols(a->x), cpu_row(a->x, t), a->weight, a->bias, a->eps,
                   cpu_row(a->y, t), a->stats == NULL ? unused : cpu_row(a->stats, t));
}

int cpu_norm(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
             const struct qtk_tensor *weight, const struct qtk_tensor *bias, float eps,
             struct qtk_tensor *y, struct qtk_tensor *stats)
{
  struct norm a = {.cpu = h,
                   .kind = kind,
                   .eps = eps,
                   .x = x,
                   .weight = norm_vector(weight),
                   .bias = norm_vector(bias),
                   .stats = stats,
                   .y = y};

  return cpu_by_rows(h, qtk_tensor_rows(x), qtk_tensor_cols(x), norm_rows, &a);
}

static void norm_rows_backward(void *arg, int64_t row, int64_t n)
{
  const struct norm *a = arg;

  for (int64_t t = row; t < row + n; t++)
    a->cpu->k.norm_backward(a->kind, qtk_tensor_cols(a->x), cpu_row(a->x, t), a->weight,
                            cpu_row(a->stats, t), cpu_row(a->dy, t), cpu_row(a->y, t));
}

/* ---- gradient of the weight: a task owns some columns ------------------------------------- */

struct norm_weight {
  const struct qtk_tensor *x, *stats, *dy;
  float *dweight;
};

static int norm_weight(void *arg, size_t i)
{
  const struct norm_weight *w = arg;
  int64_t col = (int64_t)i * CPU_SUM_COLUMNS;
  int64_t n = cpu_min(CPU_SUM_COLUMNS, qtk_tensor_cols(w->x) - col);
  double sum[CPU_SUM_COLUMNS] = {0};

  for (int64_t t = 0; t < qtk_tensor_rows(w->x); t++) {
    const float *x = cpu_row(w->x, t) + col, *dy = cpu_row(w->dy, t) + col;
    const float *stats = cpu_row(w->stats, t);
    for (int64_t j = 0; j < n; j++)
      sum[j] += (double)dy[j] * (((double)x[j] - (double)stats[0]) * (double)stats[1]);
  }
  for (int64_t j = 0; j < n; j++)
    w->dweight[col + j] = (float)((double)w->dweight[col + j] + sum[j]);
  return QTK_OK;
}

int cpu_norm_backward(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
                      const struct qtk_tensor *weight, const struct qtk_tensor *stats,
                      const struct qtk_tensor *dy, struct qtk_tensor *dx,
                      struct qtk_tensor *dweight, struct qtk_tensor *dbias)
{
  struct norm a = {.cpu = h,
                   .kind = kind,
                   .x = x,
                   .dy = dy,
                   .weight = norm_vector(weight),
                   .stats = stats,
                   .y = dx};
  int64_t cols = qtk_tensor_cols(x);
  int rc = QTK_OK;

  if (dweight != NULL) {
    struct norm_weight w = {x, stats, dy, dweight->data};
    rc = cpu_parallel(h, cpu_ceil(cols, CPU_SUM_COLUMNS), norm_weight, &w);
  }
  if (rc == QTK_OK && dbias != NULL)
    rc = cpu_sum_columns(h, dy, NULL, dbias->data);
  if (rc != QTK_OK)
    return rc;
  return cpu_by_rows(h, qtk_tensor_rows(x), cols, norm_rows_backward, &a);
}
