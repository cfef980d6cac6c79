/* SPDX-License-Identifier: BSD-3-Clause
 * Losses over rows of logits. */
#include <math.h>
#include <string.h>

#include "cpu.h"

struct loss {
  const struct cpu_kernels *k;
  const struct qtk_tensor *x, *teacher;
  const int32_t *targets;
  float *loss;
  const float *scale;
  struct qtk_tensor *dx;
};

static void loss_cross_row(const struct loss *a, int64_t t)
{
  int64_t n = qtk_tensor_cols(a->x);
  const float *x = cpu_row(a->x, t);
  int32_t target = a->targets[t];
  float *dx = a->dx == NULL ? NULL : cpu_row(a->dx, t), m;
  double sum;

  if (target < 0) {
    a->loss[t] = 0;
    if (dx != NULL)
      memset(dx, 0, (size_t)n * sizeof *dx);
    return;
  }
  m = a->k->max(n, x);
  sum = a->k->exp_sum(n, x, m, 1, NULL);
  a->loss[t] = (float)((double)m - (double)x[target] + log(sum));
  if (dx == NULL)
    return;
  (void)a->k->exp_sum(n, x, m, (float)((double)a->scale[t] / sum), dx);
  dx[target] -= a->scale[t];
}

static void loss_cross(void *arg, int64_t row, int64_t n)
{
  for (int64_t t = row; t < row + n; t++)
    loss_cross_row(arg, t);
}

int cpu_cross_entropy(void *h, const struct qtk_tensor *logits, const int32_t *targets,
                      struct qtk_tensor *loss, const float *scale, struct qtk_tensor *dlogits)
{
  struct cpu *cpu = h;
  struct loss a = {.k = &cpu->k,
                   .x = logits,
                   .targets = targets,
                   .loss = loss->data,
                   .scale = scale,
                   .dx = dlogits};

  return cpu_by_rows(cpu, qtk_tensor_rows(logits), 8 * qtk_tensor_cols(logits), loss_cross, &a);
}

static void loss_divergence_row(const struct loss *a, int64_t t)
{
  int64_t n = qtk_tensor_cols(a->x);
  const float *x = cpu_row(a->teacher, t), *y = cpu_row(a->x, t);
  float x_max = a->k->max(n, x), y_max = a->k->max(n, y);
  double x_sum = a->k->exp_sum(n, x, x_max, 1, NULL), y_sum = a->k->exp_sum(n, y, y_max, 1, NULL);

  a->loss[t] =
      (float)a->k->divergence(n, x, x_max, x_sum, y, y_max, y_sum, a->dx == NULL ? 0 : a->scale[t],
                              a->dx == NULL ? NULL : cpu_row(a->dx, t));
}

static void loss_divergence(void *arg, int64_t row, int64_t n)
{
  for (int64_t t = row; t < row + n; t++)
    loss_divergence_row(arg, t);
}

int cpu_divergence(void *h, const struct qtk_tensor *teacher, const struct qtk_tensor *student,
                   struct qtk_tensor *kl, const float *scale, struct qtk_tensor *dstudent)
{
  struct cpu *cpu = h;
  struct loss a = {.k = &cpu->k,
                   .x = student,
                   .teacher = teacher,
                   .loss = kl->data,
                   .scale = scale,
                   .dx = dstudent};

  if (qtk_tensor_cols(student) == 0)
    return QTK_OK;
  return cpu_by_rows(cpu, qtk_tensor_rows(student), 8 * qtk_tensor_cols(student), loss_divergence,
                     &a);
}
