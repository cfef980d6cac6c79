/* SPDX-License-Identifier: BSD-3-Clause
 * Chooses the grid of a group of weights and rounds to it.
 *
 * Loops run over blocks of GRID_LANES weights, the last one filled up with zeros:
 * a zero widens no range and is rounded without an error. Each lane has its own sum,
 * and lanes are added in order, so that the result depends on nothing but the weights,
 * however wide the processor's registers are. */
#include "plugins/grid/grid.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define GRID_LANES 16
#define GRID_TRIALS 80 /* shrink the range by 0 .. 79 hundredths */

static inline float grid_float(int32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline int32_t grid_bits(float f)
{
  int32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* Block i of w [n]; `pad` takes the last one. */
static const float *grid_block(const float *w, int64_t n, int64_t i, float pad[GRID_LANES])
{
  int64_t left = n - i * GRID_LANES;
  if (left >= GRID_LANES)
    return w + i * GRID_LANES;
  memset(pad, 0, GRID_LANES * sizeof *pad);
  memcpy(pad, w + i * GRID_LANES, (size_t)left * sizeof *pad);
  return pad;
}

/* The same of value [n], or ones. */
static const float *grid_values(const float *value, int64_t n, int64_t i, float pad[GRID_LANES])
{
  static const float ones[GRID_LANES] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  return value ? grid_block(value, n, i, pad) : ones;
}

static int64_t grid_blocks(int64_t n)
{
  return (n + GRID_LANES - 1) / GRID_LANES;
}

/* *lo <= 0 <= *hi around w [n]; 0 if a weight is not finite. */
static int grid_range(const float *w, int64_t n, float *lo, float *hi)
{
  float least[GRID_LANES] = {0}, most[GRID_LANES] = {0}, odd[GRID_LANES] = {0};
  float pad[GRID_LANES];
  for (int64_t i = 0; i < grid_blocks(n); i++) {
    const float *x = grid_block(w, n, i, pad);
    for (int l = 0; l < GRID_LANES; l++) {
      least[l] = x[l] < least[l] ? x[l] : least[l];
      most[l] = x[l] > most[l] ? x[l] : most[l];
      odd[l] += x[l] * 0.0f; /* nan once x is nan or infinite */
    }
  }
  for (int half = GRID_LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++) {
      least[l] = least[l + half] < least[l] ? least[l + half] : least[l];
      most[l] = most[l + half] > most[l] ? most[l + half] : most[l];
      odd[l] += odd[l + half];
    }
  *lo = least[0];
  *hi = most[0];
  return odd[0] == 0.0f;
}

static int grid_top(const struct grid_rule *rule)
{
  return (1 << rule->bits) - 1;
}

/* The grid of a range. Weights below the smallest scale count as zeros. */
static struct grid grid_of(const struct grid_rule *rule, float lo, float hi)
{
  struct grid grid = {.zero = 1 << (rule->bits - 1)};
  float scale = (hi - lo) / (float)grid_top(rule);
  grid.scale = qtk_scale_round_up(rule->dtype, scale > 0.0f ? scale : 0x1p-149f);
  if (!rule->symmetric)
    grid.zero = (int)rintf(-lo / grid.scale);
  return grid;
}

/* The code of x. Adding 1.5 * 2^23 rounds x / scale to nearest, ties to even, and leaves the
 * integer in the low bits. That holds up to quotients of 2^22; beyond them the code is some
 * other one in 0 .. top, and the error that is measured is that of this code. */
static inline int32_t grid_code(float x, float scale, int32_t zero, int32_t top)
{
  int32_t q = grid_bits(x / scale + 0x1.8p23f) - grid_bits(0x1.8p23f) + zero;
  q = q > 0 ? q : 0;
  return q < top ? q : top;
}

void grid_round(const struct grid_rule *rule, const struct grid *grid, const float *w, int64_t n,
                uint8_t *codes)
{
  float scale = grid->scale;
  int32_t zero = grid->zero, top = grid_top(rule);
  float pad[GRID_LANES];
  for (int64_t i = 0; i < grid_blocks(n); i++) {
    const float *x = grid_block(w, n, i, pad);
    uint8_t block[GRID_LANES];
    for (int l = 0; l < GRID_LANES; l++)
      block[l] = (uint8_t)grid_code(x[l], scale, zero, top);
    int64_t left = n - i * GRID_LANES;
    memcpy(codes + i * GRID_LANES, block, (size_t)(left < GRID_LANES ? left : GRID_LANES));
  }
}

/* ---- errors -------------------------------------------------------------------- */

static double grid_lane_sum(const double s[GRID_LANES])
{
  double four[4];
  for (int l = 0; l < 4; l++)
    four[l] = (s[l] + s[l + 4]) + (s[l + 8] + s[l + 12]);
  return (four[0] + four[1]) + (four[2] + four[3]);
}

static double grid_squares(const struct grid *grid, int32_t top, const float *w,
                           const float *value, int64_t n)
{
  float scale = grid->scale, pad[GRID_LANES], pad_v[GRID_LANES];
  int32_t zero = grid->zero;
  double sums[GRID_LANES] = {0};
  for (int64_t i = 0; i < grid_blocks(n); i++) {
    const float *x = grid_block(w, n, i, pad), *v = grid_values(value, n, i, pad_v);
    for (int l = 0; l < GRID_LANES; l++) {
      float e = x[l] - scale * (float)(grid_code(x[l], scale, zero, top) - zero);
      sums[l] += (double)v[l] * ((double)e * (double)e);
    }
  }
  return grid_lane_sum(sums);
}

/* log2 of x > 0: the exponent, and the mantissa m in [sqrt (1/2), sqrt (2)) by the series
 * of atanh at (m - 1) / (m + 1), which is below 0.172. Good to a few units of 2^-23. */
static inline float grid_log2(float x)
{
  int32_t bits = grid_bits(x), exponent = (bits - 0x3f3504f3) >> 23;
  float m = grid_float(bits - exponent * (1 << 23));
  float t = (m - 1.0f) / (m + 1.0f), u = t * t;
  float series = 1.0f + u * (1.0f / 3 + u * (1.0f / 5 + u * (1.0f / 7 + u * (1.0f / 9))));
  return (float)exponent + t * series * 2.88539008f; /* 2 / ln 2 */
}

/* 2^x for -120 < x < 120: the nearest integer goes into the exponent, the rest through
 * the series of exp up to the sixth power. */
static inline float grid_exp2(float x)
{
  float whole = (x + 0x1.8p23f) - 0x1.8p23f;
  float t = (x - whole) * 0.693147181f;
  float tail = 1.0f / 6 + t * (1.0f / 24 + t * (1.0f / 120 + t * (1.0f / 720)));
  float series = 1.0f + t * (1.0f + t * (0.5f + t * tail));
  return series * grid_float(((int32_t)whole + 127) * (1 << 23));
}

/* sum |e / scale|^exponent: powers of numbers around 1, whatever the scale. */
static double grid_powers(const struct grid *grid, int32_t top, const float *w,
                          const float *value, int64_t n, float exponent)
{
  float scale = grid->scale, pad[GRID_LANES], pad_v[GRID_LANES];
  int32_t zero = grid->zero;
  double sums[GRID_LANES] = {0};
  for (int64_t i = 0; i < grid_blocks(n); i++) {
    const float *x = grid_block(w, n, i, pad), *v = grid_values(value, n, i, pad_v);
    for (int l = 0; l < GRID_LANES; l++) {
      float e = fabsf(x[l] / scale - (float)(grid_code(x[l], scale, zero, top) - zero));
      float y = exponent * grid_log2(e > 0x1p-60f ? e : 0x1p-60f);
      sums[l] += (double)v[l] * (double)grid_exp2(y > -100.0f ? y : -100.0f);
    }
  }
  return grid_lane_sum(sums);
}

double grid_error(const struct grid_rule *rule, const struct grid *grid, const float *w,
                  const float *value, int64_t n, double exponent)
{
  int32_t top = grid_top(rule);
  if (exponent == 2.0)
    return grid_squares(grid, top, w, value, n);
  return grid_powers(grid, top, w, value, n, (float)exponent) * pow(grid->scale, exponent);
}

/* ---- better grids ---------------------------------------------------------------- */

static void grid_search(const struct grid_rule *rule, const float *w, const float *value,
                        int64_t n, float lo, float hi, struct grid *best)
{
  double least = grid_error(rule, best, w, value, n, rule->exponent);
  for (int i = 1; i < GRID_TRIALS; i++) {
    float keep = (float)(1.0 - i / 100.0);
    struct grid trial = grid_of(rule, keep * lo, keep * hi);
    double error = grid_error(rule, &trial, w, value, n, rule->exponent);
    if (error < least) {
      least = error;
      *best = trial;
    }
  }
}

/* The scale that fits best while the codes stay as they are: <w, q - z> / <q - z, q - z>. */
static float grid_fit(const struct grid_rule *rule, const struct grid *grid, const float *w,
                      const float *value, int64_t n)
{
  float scale = grid->scale;
  int32_t zero = grid->zero, top = grid_top(rule);
  float pad[GRID_LANES], pad_v[GRID_LANES];
  double cross[GRID_LANES] = {0}, squares[GRID_LANES] = {0};
  for (int64_t i = 0; i < grid_blocks(n); i++) {
    const float *x = grid_block(w, n, i, pad), *v = grid_values(value, n, i, pad_v);
    for (int l = 0; l < GRID_LANES; l++) {
      double q = grid_code(x[l], scale, zero, top) - zero;
      cross[l] += (double)v[l] * (q * (double)x[l]);
      squares[l] += (double)v[l] * (q * q);
    }
  }
  double sum = grid_lane_sum(squares);
  float fit = sum > 0.0 ? (float)(grid_lane_sum(cross) / sum) : scale;
  return rule->dtype == QTK_F16 ? qtk_f16_to_f32(qtk_f32_to_f16(fit)) : fit;
}

/* Takes `trial` if it rounds w with a smaller error; 1 if so. */
static int grid_try(const struct grid_rule *rule, const float *w, const float *value, int64_t n,
                    struct grid trial, struct grid *best, double *least)
{
  if (!(trial.scale > 0.0f) || !isfinite(trial.scale) || trial.zero < 0 ||
      trial.zero > grid_top(rule))
    return 0;
  double error = grid_error(rule, &trial, w, value, n, 2.0);
  if (!(error < *least))
    return 0;
  *least = error;
  *best = trial;
  return 1;
}

/* Scale and zero in turn, each kept only if the squared error falls: never worse. */
static void grid_descend(const struct grid_rule *rule, const float *w, const float *value,
                         int64_t n, struct grid *best)
{
  double least = grid_error(rule, best, w, value, n, 2.0);
  int better = 1;
  for (int64_t round = 0; round < rule->descent && better; round++) {
    struct grid trial = {grid_fit(rule, best, w, value, n), best->zero};
    better = grid_try(rule, w, value, n, trial, best, &least);
    for (int step = -1; step <= 1 && !rule->symmetric; step += 2) {
      trial = (struct grid){best->scale, best->zero + step};
      better |= grid_try(rule, w, value, n, trial, best, &least);
    }
  }
}

int grid_choose(const struct grid_rule *rule, const float *w, const float *value, int64_t n,
                struct grid *grid)
{
  float lo, hi;
  if (!grid_range(w, n, &lo, &hi))
    return 0;
  if (rule->symmetric) {
    hi = -lo > hi ? -lo : hi;
    lo = -hi;
  }
  if (lo == 0.0f && hi == 0.0f) {
    lo = -1.0f;
    hi = 1.0f;
  }
  *grid = grid_of(rule, lo, hi);
  if (!isfinite(grid->scale))
    return 0;
  if (rule->search)
    grid_search(rule, w, value, n, lo, hi, grid);
  if (rule->descent > 0)
    grid_descend(rule, w, value, n, grid);
  return 1;
}

int grid_refuse(const struct grid_rule *rule, const float *w, int64_t n, int64_t row, int64_t col)
{
  float lo = 0.0f, hi = 0.0f;
  for (int64_t i = 0; i < n; i++) {
    if (!isfinite(w[i]))
      return qtk_error(QTK_ENUMERIC, "row %lld, column %lld: the weight is %g, not a finite number",
                       (long long)row, (long long)(col + i), (double)w[i]);
    lo = fminf(lo, w[i]);
    hi = fmaxf(hi, w[i]);
  }
  int half = rule->dtype == QTK_F16;
  return qtk_error(QTK_ENUMERIC,
                   "row %lld, column %lld: weights from %g to %g need a scale above %g, the "
                   "largest %s%s",
                   (long long)row, (long long)col, (double)lo, (double)hi,
                   half ? 65504.0 : (double)FLT_MAX, half ? "f16" : "f32",
                   half ? "; scales = \"f32\" holds it" : "");
}
