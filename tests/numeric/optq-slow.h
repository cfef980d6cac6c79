/* SPDX-License-Identifier: BSD-3-Clause
 * OPTQ as its definition says, in float64 and column by column: the inverse of H by
 * elimination, its upper Cholesky factor, and each error spread over all later columns at
 * once. Grids are min-max. */
#ifndef TESTS_NUMERIC_OPTQ_SLOW_H
#define TESTS_NUMERIC_OPTQ_SLOW_H

#include <math.h>
#include <qtk/tensor.h>
#include <stdlib.h>
#include <string.h>

struct slow {
  int64_t rows, cols, group; /* group >= cols: one a row */
  int bits, symmetric, half; /* half: f16 scales, rounded up */
  int activation;            /* columns by falling diagonal; groups are then of the new order */
  int fixed;                 /* grids before anything is rounded, by column as it stands */
  int stale;                 /* grids from weights without the errors of their block of 128 */
  double damping, correction;
  const double *w, *h, *d; /* [rows, cols], [cols, cols]; d: cross, for the correction */

  double *what;     /* [rows, cols], set */
  double objective; /* set: sum of squared errors over U_jj, halved */
};

static inline double *slow_room(int64_t n)
{
  return calloc((size_t)n, sizeof(double));
}

static inline void slow_invert(double *a, int64_t n)
{
  for (int64_t k = 0; k < n; k++) {
    double pivot = a[k * n + k];
    a[k * n + k] = 1;
    for (int64_t j = 0; j < n; j++)
      a[k * n + j] /= pivot;
    for (int64_t i = 0; i < n; i++) {
      double f = a[i * n + k];
      if (i == k)
        continue;
      a[i * n + k] = 0;
      for (int64_t j = 0; j < n; j++)
        a[i * n + j] -= f * a[k * n + j];
    }
  }
}

/* U with a = UT U. */
static inline double *slow_upper(const double *a, int64_t n)
{
  double *u = slow_room(n * n);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = i; j < n; j++) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k < i; k++)
        sum -= u[k * n + i] * u[k * n + j];
      u[i * n + j] = i == j ? sqrt(sum) : sum / u[i * n + i];
    }
  return u;
}

/* Scale and zero of w [n]. */
static inline void slow_grid(const struct slow *s, const double *w, int64_t n, double *scale,
                             double *zero)
{
  double lo = 0, hi = 0, top = (1 << s->bits) - 1;
  for (int64_t i = 0; i < n; i++) {
    lo = fmin(lo, w[i]);
    hi = fmax(hi, w[i]);
  }
  if (s->symmetric) {
    hi = fmax(-lo, hi);
    lo = -hi;
  }
  if (lo == 0 && hi == 0) {
    lo = -1;
    hi = 1;
  }
  *scale = (hi - lo) / top;
  *scale = s->half ? (double)qtk_scale_round_up(QTK_F16, (float)*scale) : (double)(float)*scale;
  *zero = s->symmetric ? (top + 1) / 2 : rint(-lo / *scale);
}

static inline double slow_round(const struct slow *s, double w, double scale, double zero)
{
  double q = rint(w / scale) + zero, top = (1 << s->bits) - 1;
  return scale * (fmax(0, fmin(top, q)) - zero);
}

static inline int64_t *slow_order(const struct slow *s)
{
  int64_t *order = calloc((size_t)s->cols, sizeof *order);
  for (int64_t i = 0; i < s->cols; i++) { /* by insertion */
    int64_t at = i;
    double own = s->h[i * s->cols + i];
    for (; s->activation && at > 0 && s->h[order[at - 1] * (s->cols + 1)] < own; at--)
      order[at] = order[at - 1];
    order[at] = i;
  }
  return order;
}

/* H with damping, and columns in this order. */
static inline double *slow_damped(const struct slow *s, const int64_t *order)
{
  int64_t n = s->cols;
  double *h = slow_room(n * n), mean = 0;
  for (int64_t i = 0; i < n; i++)
    mean += s->h[i * n + i] / (double)n;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      h[i * n + j] = s->h[order[i] * n + order[j]] + (i == j ? s->damping * mean : 0);
  return h;
}

/* P = strict upper part (alpha D UT) U. */
static inline double *slow_drift(const struct slow *s, const int64_t *order, const double *u)
{
  int64_t n = s->cols;
  double *t = slow_room(n * n), *p = slow_room(n * n);
  for (int64_t i = 0; s->correction > 0 && i < n; i++)
    for (int64_t j = i + 1; j < n; j++)
      for (int64_t k = j; k < n; k++)
        t[i * n + j] += s->correction * s->d[order[i] * n + order[k]] * u[j * n + k];
  for (int64_t i = 0; s->correction > 0 && i < n; i++)
    for (int64_t k = i + 1; k < n; k++)
      for (int64_t j = k; j < n; j++)
        p[i * n + j] += t[i * n + k] * u[k * n + j];
  free(t);
  return p;
}

/* One row x [cols], in order; what [cols] in order. */
static inline void slow_row(struct slow *s, const int64_t *order, const double *u, const double *p,
                            double *x, double *what)
{
  int64_t n = s->cols, groups = (n + s->group - 1) / s->group;
  double *scales = slow_room(groups), *zeros = slow_room(groups), *old = slow_room(n);
  memcpy(old, x, (size_t)n * sizeof *old);
  for (int64_t j = 0; s->fixed && j < n; j++)
    old[order[j]] = x[j]; /* as it stands */
  for (int64_t g = 0; s->fixed && g < groups; g++)
    slow_grid(s, old + g * s->group, fmin((double)s->group, (double)(n - g * s->group)),
              &scales[g], &zeros[g]);
  for (int64_t j = 0; j < n; j++) {
    int64_t g = (s->fixed ? order[j] : j) / s->group, left = n - j;
    if (j % 128 == 0)
      memcpy(old, x, (size_t)n * sizeof *old);
    if (!s->fixed && j % s->group == 0)
      slow_grid(s, (s->stale ? old : x) + j, left < s->group ? left : s->group, &scales[g],
                &zeros[g]);
    what[j] = slow_round(s, x[j], scales[g], zeros[g]);
    double e = (x[j] - what[j]) / u[j * n + j], v = x[j];
    s->objective += e * e / 2;
    for (int64_t k = j + 1; k < n; k++)
      x[k] += v * p[j * n + k] - e * u[j * n + k];
  }
  free(scales);
  free(zeros);
  free(old);
}

static inline void slow_optq(struct slow *s)
{
  int64_t n = s->cols, *order = slow_order(s);
  double *h = slow_damped(s, order), *x = slow_room(n), *what = slow_room(n), *u, *p;
  slow_invert(h, n);
  u = slow_upper(h, n);
  p = slow_drift(s, order, u);
  s->what = slow_room(s->rows * n);
  s->objective = 0;
  for (int64_t i = 0; i < s->rows; i++) {
    for (int64_t j = 0; j < n; j++)
      x[j] = s->w[i * n + order[j]];
    slow_row(s, order, u, p, x, what);
    for (int64_t j = 0; j < n; j++)
      s->what[i * n + order[j]] = what[j];
  }
  free(order);
  free(h);
  free(x);
  free(what);
  free(u);
  free(p);
}

#endif
