/* SPDX-License-Identifier: BSD-3-Clause
 * Rotary frequencies of a description. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"

/* Waves longer than context / low are stretched by the factor, those shorter than
 * context / high stay, and between them the share goes linearly with 1 / length. */
static double rotary_bands(const struct qtk_arch_rotary *r, double inverse)
{
  double length = 2.0 * M_PI / inverse, context = (double)r->context;

  if (length > context / r->low)
    return inverse / r->factor;
  if (length < context / r->high)
    return inverse;
  double share = (context / length - r->low) / (r->high - r->low);
  return (1.0 - share) * inverse / r->factor + share * inverse;
}

/* The pair, not whole, of n dims whose wave turns so often within the context. */
static double rotary_pair(const struct qtk_arch_rotary *r, double turns, int64_t n)
{
  return (double)n * log((double)r->context / (turns * 2.0 * M_PI)) / (2.0 * log(r->theta));
}

/* From the pair that turns `high` times to the one that turns `low` times the share of what
 * is divided goes linearly with the pair's number. */
static double rotary_ramp(const struct qtk_arch_rotary *r, double inverse, int64_t i, int64_t n)
{
  double first = rotary_pair(r, r->high, n), last = rotary_pair(r, r->low, n);

  first = fmax(r->whole ? floor(first) : first, 0.0);
  last = fmin(r->whole ? ceil(last) : last, (double)(n - 1));
  if (first == last)
    last += 0.001;
  double share = fmin(fmax(((double)i - first) / (last - first), 0.0), 1.0);
  return share * inverse / r->factor + (1.0 - share) * inverse;
}

/* Pair i of n dims. */
static double rotary_scaled(const struct qtk_arch_rotary *r, double inverse, int64_t i, int64_t n)
{
  switch (r->scaling) {
  case QTK_SCALING_LINEAR:
    return inverse / r->factor;
  case QTK_SCALING_BANDS:
    return rotary_bands(r, inverse);
  case QTK_SCALING_RAMP:
    return rotary_ramp(r, inverse, i, n);
  default:
    return inverse;
  }
}

/* Divisor of pair i of n, from factors given for another number of pairs: the one at the
 * same share of the way. */
static double rotary_divisor(const struct qtk_arch_rotary *r, int64_t i, int64_t n)
{
  return r->factors == NULL ? 1.0 : r->factors[i * r->n_factors / n];
}

int qtk_arch_frequencies(const struct qtk_arch *arch, int64_t head_size, int64_t *dims,
                         float **inverse)
{
  const struct qtk_arch_rotary *r = &arch->model.rotary;
  int64_t n = r->dims * head_size / arch->model.dims.head_size;

  if (n < 2 || n % 2 != 0)
    return qtk_error(QTK_EJOB,
                     "heads of size %lld: rotary positions need an even number of values to turn, "
                     "not %lld",
                     (long long)head_size, (long long)n);
  *inverse = malloc((size_t)(n / 2) * sizeof **inverse);
  if (*inverse == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  for (int64_t i = 0; i < n / 2; i++) {
    double plain = pow(r->theta, -2.0 * (double)i / (double)n);
    (*inverse)[i] = (float)(rotary_scaled(r, plain, i, n) / rotary_divisor(r, i, n / 2));
  }
  *dims = n;
  return QTK_OK;
}

/* ---- two descriptions ----------------------------------------------------------------- */

/* A structure without what frequencies are worked out from. */
static void rotary_without(const struct qtk_arch *arch, struct qtk_arch_model *m)
{
  memcpy(m, &arch->model, sizeof *m);
  m->rotary.theta = m->rotary.factor = m->rotary.low = m->rotary.high = 0.0;
  m->rotary.scaling = m->rotary.whole = 0;
  m->rotary.context = m->rotary.n_factors = 0;
  m->rotary.factors = NULL;
}

/* Frequencies may have gone through 32 bits on their way. */
static int rotary_same(const struct qtk_arch *a, const struct qtk_arch *b)
{
  float *x = NULL, *y = NULL;
  int64_t size = a->model.dims.head_size, n = 0, m = 0;
  int same = qtk_arch_frequencies(a, size, &n, &x) == QTK_OK &&
             qtk_arch_frequencies(b, size, &m, &y) == QTK_OK && n == m;

  for (int64_t i = 0; same && i < n / 2; i++)
    same = fabsf(x[i] - y[i]) <= 1e-6f * fabsf(x[i]);
  free(x);
  free(y);
  return same;
}

int qtk_arch_same_structure(const struct qtk_arch *a, const struct qtk_arch *b)
{
  struct qtk_arch_model x, y;

  rotary_without(a, &x);
  rotary_without(b, &y);
  /* Both began as zeros, padding included. */
  if (memcmp(&x, &y, sizeof x) != 0 ||
      memcmp(a->layers, b->layers, (size_t)x.layers * sizeof *a->layers) != 0)
    return 0;
  return x.positions != QTK_POSITIONS_ROTARY || rotary_same(a, b);
}
