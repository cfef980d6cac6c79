/* SPDX-License-Identifier: BSD-3-Clause
 * Elementwise operations, copies, activations, the optimizer's step. */
#include <string.h>

#include "cpu.h"

/* ---- rows of up to five operands of one shape ------------------------------------------ */

struct element {
  const struct cpu_kernels *k;
  const struct qtk_tensor *t[5];
  float alpha;
  int kind;
  const void *more;
};

static float *element_at(const struct element *e, int i, int64_t row, int64_t col)
{
  return cpu_row(e->t[i], row) + col;
}

static int element_run(struct cpu *cpu, struct element *e,
                       void (*fn)(void *arg, int64_t row, int64_t col, int64_t n))
{
  int flat = 1;

  e->k = &cpu->k;
  for (int i = 0; i < 5 && e->t[i] != NULL; i++)
    flat = flat && cpu_is_flat(e->t[i]);
  return cpu_by_pieces(cpu, qtk_tensor_rows(e->t[0]), qtk_tensor_cols(e->t[0]), flat, fn, e);
}

static void element_add(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->add(n, element_at(e, 0, row, col), element_at(e, 1, row, col), element_at(e, 2, row, col));
}

int cpu_add(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b, struct qtk_tensor *y)
{
  struct element e = {.t = {a, b, y}};

  return element_run(h, &e, element_add);
}

static void element_multiply(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->multiply(n, element_at(e, 0, row, col), element_at(e, 1, row, col),
                 element_at(e, 2, row, col));
}

int cpu_multiply(void *h, const struct qtk_tensor *a, const struct qtk_tensor *b,
                 struct qtk_tensor *y)
{
  struct element e = {.t = {a, b, y}};

  return element_run(h, &e, element_multiply);
}

static void element_axpy(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->axpy(n, e->alpha, element_at(e, 0, row, col), element_at(e, 1, row, col));
}

int cpu_axpy(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct element e = {.t = {x, y}, .alpha = alpha};

  return element_run(h, &e, element_axpy);
}

static void element_scale(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->scale(n, e->alpha, element_at(e, 0, row, col), element_at(e, 1, row, col));
}

int cpu_scale(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct element e = {.t = {x, y}, .alpha = alpha};

  return element_run(h, &e, element_scale);
}

static void element_zero(void *arg, int64_t row, int64_t n)
{
  struct qtk_tensor *t = arg;

  for (int64_t i = row; i < row + n; i++)
    memset(cpu_row(t, i), 0, (size_t)qtk_tensor_cols(t) * sizeof(float));
}

int cpu_clear(struct cpu *cpu, struct qtk_tensor *t)
{
  return cpu_by_rows(cpu, qtk_tensor_rows(t), qtk_tensor_cols(t), element_zero, t);
}

/* ---- with a value a column: whole rows, not flat ------------------------------------------ */

static void element_multiply_columns(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->multiply(n, element_at(e, 0, row, col), (const float *)e->more + col,
                 element_at(e, 1, row, col));
}

int cpu_multiply_columns(void *h, const struct qtk_tensor *x, const struct qtk_tensor *v,
                         struct qtk_tensor *y)
{
  struct cpu *cpu = h;
  struct element e = {.k = &cpu->k, .t = {x, y}, .more = v->data};

  return cpu_by_pieces(cpu, qtk_tensor_rows(x), qtk_tensor_cols(x), 0, element_multiply_columns,
                       &e);
}

static void element_add_columns(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->add(n, element_at(e, 0, row, col), (const float *)e->more + col,
            element_at(e, 1, row, col));
}

int cpu_add_columns(void *h, const struct qtk_tensor *x, const struct qtk_tensor *v,
                    struct qtk_tensor *y)
{
  struct cpu *cpu = h;
  struct element e = {.k = &cpu->k, .t = {x, y}, .more = v->data};

  return cpu_by_pieces(cpu, qtk_tensor_rows(x), qtk_tensor_cols(x), 0, element_add_columns, &e);
}

/* ---- activations ------------------------------------------------------------------------------
 */

static void element_activation(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->activation(e->kind, n, element_at(e, 0, row, col), element_at(e, 1, row, col));
}

int cpu_activation(void *h, enum qtk_activation kind, const struct qtk_tensor *x,
                   struct qtk_tensor *y)
{
  struct element e = {.t = {x, y}, .kind = kind};

  return element_run(h, &e, element_activation);
}

static void element_activation_backward(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->activation_backward(e->kind, n, element_at(e, 0, row, col), element_at(e, 1, row, col),
                            element_at(e, 2, row, col));
}

int cpu_activation_backward(void *h, enum qtk_activation kind, const struct qtk_tensor *x,
                            const struct qtk_tensor *dy, struct qtk_tensor *dx)
{
  struct element e = {.t = {x, dy, dx}, .kind = kind};

  return element_run(h, &e, element_activation_backward);
}

static void element_gated(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->gated(e->kind, n, element_at(e, 0, row, col), element_at(e, 1, row, col),
              element_at(e, 2, row, col));
}

int cpu_gated(void *h, enum qtk_activation kind, const struct qtk_tensor *gate,
              const struct qtk_tensor *up, struct qtk_tensor *y)
{
  struct element e = {.t = {gate, up, y}, .kind = kind};

  return element_run(h, &e, element_gated);
}

static void element_gated_backward(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->gated_backward(e->kind, n, element_at(e, 0, row, col), element_at(e, 1, row, col),
                       element_at(e, 2, row, col), element_at(e, 3, row, col),
                       element_at(e, 4, row, col));
}

int cpu_gated_backward(void *h, enum qtk_activation kind, const struct qtk_tensor *gate,
                       const struct qtk_tensor *up, const struct qtk_tensor *dy,
                       struct qtk_tensor *dgate, struct qtk_tensor *dup)
{
  struct element e = {.t = {gate, up, dy, dgate, dup}, .kind = kind};

  return element_run(h, &e, element_gated_backward);
}

/* ---- the optimizer's step ---------------------------------------------------------------------
 */

static void element_adamw(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element *e = arg;

  e->k->adamw(e->more, n, element_at(e, 0, row, col), element_at(e, 1, row, col),
              element_at(e, 2, row, col), element_at(e, 3, row, col));
}

int cpu_adamw(void *h, const struct qtk_adamw *a, const struct qtk_tensor *gradient,
              struct qtk_tensor *m, struct qtk_tensor *v, struct qtk_tensor *value)
{
  struct element e = {.t = {gradient, m, v, value}, .more = a};

  return element_run(h, &e, element_adamw);
}

/* ---- dropout ------------------------------------------------------------------------------------
 */

struct element_dropout {
  const struct qtk_tensor *x;
  struct qtk_tensor *y;
  uint64_t seed, threshold;
  float scale;
};

static uint64_t element_mix(uint64_t z)
{
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static void element_dropout(void *arg, int64_t row, int64_t col, int64_t n)
{
  const struct element_dropout *d = arg;
  const float *x = cpu_row(d->x, row) + col;
  float *y = cpu_row(d->y, row) + col;
  uint64_t first = (uint64_t)(row * qtk_tensor_cols(d->x) + col) + 1;

  for (int64_t i = 0; i < n; i++) {
    uint64_t bits = element_mix(d->seed + (first + (uint64_t)i) * 0x9e3779b97f4a7c15);
    y[i] = bits >> 40 >= d->threshold ? x[i] * d->scale : 0;
  }
}

int cpu_dropout(void *h, float p, uint64_t seed, const struct qtk_tensor *x, struct qtk_tensor *y)
{
  struct element_dropout d = {x, y, seed, (uint64_t)(p * 16777216.0f), 1 / (1 - p)};

  if (p > 0 && (float)d.threshold != p * 16777216.0f)
    d.threshold++; /* bits are whole: not below p 2^24 is not below its ceiling */
  return cpu_by_pieces(h, qtk_tensor_rows(x), qtk_tensor_cols(x), 0, element_dropout, &d);
}
