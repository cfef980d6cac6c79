/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels over rows of floats: sums, 16-bit types, attention of
 * single queries, norms, positions, activations. */
#include "../../kernels.h"
#include "../declare.h"
#include "../simd/exp.h"

double K(dot)(int64_t n, const float *x, const float *y)
{
  struct vd a = vd_zero(), b = vd_zero();
  int64_t j = 0;
  for (; j + 2 * VL <= n; j += 2 * VL) {
    a = vd_fma(a, vf_load(x + j), vf_load(y + j));
    b = vd_fma(b, vf_load(x + j + VL), vf_load(y + j + VL));
  }
  for (; j + VL <= n; j += VL)
    a = vd_fma(a, vf_load(x + j), vf_load(y + j));
  if (j < n)
    b = vd_fma(b, vf_load_n(x + j, n - j), vf_load_n(y + j, n - j));
  return vd_sum(a) + vd_sum(b);
}

/* Columns of sum_rows in `vectors` (a constant), the last of them `lanes` wide. */
static inline __attribute__((always_inline)) void rows_sum(int vectors, int64_t lanes, int64_t rows,
                                                           const float *x, int64_t ld,
                                                           const float *z, int64_t ldz, float *y)
{
  struct vd sum[4];

#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++)
    sum[v] = vd_zero();
  for (int64_t i = 0; i < rows; i++) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      int whole = v < vectors - 1 || lanes == VL;
      vf a = whole ? vf_load(x + i * ld + v * VL) : vf_load_n(x + i * ld + v * VL, lanes);
      if (z == NULL)
        sum[v] = vd_add(sum[v], a);
      else
        sum[v] =
            vd_fma(sum[v], a,
                   whole ? vf_load(z + i * ldz + v * VL) : vf_load_n(z + i * ldz + v * VL, lanes));
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++)
    if (v < vectors - 1 || lanes == VL)
      vf_store(y + v * VL, vd_float(vd_add(sum[v], vf_load(y + v * VL))));
    else
      vf_store_n(y + v * VL, vd_float(vd_add(sum[v], vf_load_n(y + v * VL, lanes))), lanes);
}

void K(sum_rows)(int64_t rows, int64_t n, const float *x, int64_t ld, const float *z, int64_t ldz,
                 float *y)
{
  int64_t j = 0;

  for (; j + 4 * VL <= n; j += 4 * VL)
    rows_sum(4, VL, rows, x + j, ld, z == NULL ? NULL : z + j, ldz, y + j);
  for (; j < n; j += VL)
    rows_sum(1, n - j < VL ? n - j : VL, rows, x + j, ld, z == NULL ? NULL : z + j, ldz, y + j);
}

void K(from_half)(enum qtk_dtype dtype, int64_t n, const uint16_t *x, float *y)
{
  int64_t j = 0;
  if (dtype == QTK_F16)
    for (; j + VL <= n; j += VL)
      vf_store(y + j, vf_from_f16(x + j));
  else
    for (; j + VL <= n; j += VL)
      vf_store(y + j, vf_from_bf16(x + j));
  cpu_generic_from_half(dtype, n - j, x + j, y + j);
}

void K(to_half)(enum qtk_dtype dtype, int64_t n, const float *x, uint16_t *y)
{
  int64_t j = 0;
  if (dtype == QTK_F16)
    for (; j + VL <= n; j += VL)
      vf_to_f16(y + j, vf_load(x + j));
  cpu_generic_to_half(dtype, n - j, x + j, y + j);
}

static inline vf rows_load(const void *p, enum qtk_dtype dtype, int64_t j)
{
  return dtype == QTK_F16 ? vf_from_f16((const uint16_t *)p + j) : vf_load((const float *)p + j);
}

static inline float rows_at(const void *p, enum qtk_dtype dtype, int64_t j)
{
  return dtype == QTK_F16 ? qtk_f16_to_f32(((const uint16_t *)p)[j]) : ((const float *)p)[j];
}

static inline const void *rows_row(const void *p, enum qtk_dtype dtype, int64_t offset)
{
  return (const char *)p + offset * (dtype == QTK_F16 ? 2 : 4);
}

void K(row_dots)(int64_t rows, int64_t n, float alpha, const float *x, const void *k,
                 enum qtk_dtype dtype, int64_t ld, float *y)
{
  for (int64_t r = 0; r < rows; r++) {
    const void *row = rows_row(k, dtype, r * ld);
    vf a = vf_set(0.0f), b = a;
    int64_t j = 0;
    for (; j + 2 * VL <= n; j += 2 * VL) {
      a = vf_fma(vf_load(x + j), rows_load(row, dtype, j), a);
      b = vf_fma(vf_load(x + j + VL), rows_load(row, dtype, j + VL), b);
    }
    for (; j + VL <= n; j += VL)
      a = vf_fma(vf_load(x + j), rows_load(row, dtype, j), a);
    float sum = vf_sum(vf_add(a, b));
    for (; j < n; j++)
      sum += x[j] * rows_at(row, dtype, j);
    y[r] = alpha * sum;
  }
}

void K(row_sums)(int64_t rows, int64_t n, const float *p, const void *v, enum qtk_dtype dtype,
                 int64_t ld, float *y)
{
  int64_t j = 0;
  for (; j + VL <= n; j += VL) {
    vf sum = vf_load(y + j);
    for (int64_t r = 0; r < rows; r++)
      sum = vf_fma(vf_set(p[r]), rows_load(rows_row(v, dtype, r * ld), dtype, j), sum);
    vf_store(y + j, sum);
  }
  for (; j < n; j++)
    for (int64_t r = 0; r < rows; r++)
      y[j] += p[r] * rows_at(rows_row(v, dtype, r * ld), dtype, j);
}

/* y = (x - mean) scale (weight) (+ bias) */
static void norm_apply(int64_t n, const float *x, const float *weight, const float *bias,
                       float mean, float scale, float *y)
{
  vf m = vf_set(mean), s = vf_set(scale);
  int64_t j = 0;
  for (; j + VL <= n; j += VL) {
    vf v = vf_mul(vf_sub(vf_load(x + j), m), s);
    if (weight)
      v = vf_mul(v, vf_load(weight + j));
    if (bias)
      v = vf_add(v, vf_load(bias + j));
    vf_store(y + j, v);
  }
  for (; j < n; j++) {
    float v = (x[j] - mean) * scale;
    v = weight ? v * weight[j] : v;
    y[j] = bias ? v + bias[j] : v;
  }
}

static double norm_sum(int64_t n, const float *x)
{
  struct vd sum = vd_zero();
  int64_t j = 0;
  for (; j + VL <= n; j += VL)
    sum = vd_add(sum, vf_load(x + j));
  if (j < n)
    sum = vd_add(sum, vf_load_n(x + j, n - j));
  return vd_sum(sum);
}

/* Sum of (x - mean)^2. */
static double norm_squares(int64_t n, const float *x, float mean)
{
  vf m = vf_set(mean), zero = vf_set(0.0f);
  struct vd sum = vd_zero();
  int64_t j = 0;
  for (; j + VL <= n; j += VL) {
    vf v = vf_sub(vf_load(x + j), m);
    sum = vd_fma(sum, v, v);
  }
  if (j < n) {
    vf v = vf_select_n(vf_sub(vf_load_n(x + j, n - j), m), zero, n - j);
    sum = vd_fma(sum, v, v);
  }
  return vd_sum(sum);
}

void K(norm)(enum qtk_norm kind, int64_t n, const float *x, const float *weight, const float *bias,
             float eps, float *y, float *stats)
{
  float mean = kind == QTK_NORM_LAYER ? (float)(norm_sum(n, x) / (double)n) : 0.0f;
  double variance = norm_squares(n, x, mean) / (double)n;
  stats[0] = mean;
  stats[1] = (float)(1.0 / __builtin_sqrt(variance + (double)eps));
  norm_apply(n, x, weight, bias, mean, stats[1], y);
}

/* As the plain kernel has it; the sums in double, the rest in float. */
void K(norm_backward)(enum qtk_norm kind, int64_t n, const float *x, const float *weight,
                      const float *stats, const float *dy, float *dx)
{
  const vf mean = vf_set(stats[0]), r = vf_set(stats[1]);
  struct vd g_sum = vd_zero(), gu_sum = vd_zero();
  int64_t whole = n / VL * VL;

  for (int64_t j = 0; j < n; j += VL) {
    int64_t left = n - j;
    vf g = j < whole ? vf_load(dy + j) : vf_load_n(dy + j, left);
    vf u = vf_mul(vf_sub(j < whole ? vf_load(x + j) : vf_load_n(x + j, left), mean), r);
    if (weight)
      g = vf_mul(g, j < whole ? vf_load(weight + j) : vf_load_n(weight + j, left));
    g_sum = vd_add(g_sum, g);
    gu_sum = vd_fma(gu_sum, g, u);
  }
  const vf g_mean = vf_set(kind == QTK_NORM_RMS ? 0.0f : (float)(vd_sum(g_sum) / (double)n));
  const vf gu_mean = vf_set((float)(vd_sum(gu_sum) / (double)n));
  for (int64_t j = 0; j < n; j += VL) {
    int64_t left = n - j;
    vf g = j < whole ? vf_load(dy + j) : vf_load_n(dy + j, left);
    vf u = vf_mul(vf_sub(j < whole ? vf_load(x + j) : vf_load_n(x + j, left), mean), r);
    if (weight)
      g = vf_mul(g, j < whole ? vf_load(weight + j) : vf_load_n(weight + j, left));
    g = vf_mul(r, vf_fnma(u, gu_mean, vf_sub(g, g_mean)));
    if (j < whole)
      vf_store(dx + j, g);
    else
      vf_store_n(dx + j, g, left);
  }
}

void K(rope)(enum qtk_rope_style style, int64_t dims, const float *cosine, const float *sine,
             float *x)
{
  int64_t half = dims / 2, j = 0;
  if (style != QTK_ROPE_HALVES) {
    cpu_generic_rope(style, dims, cosine, sine, x);
    return;
  }
  for (; j + VL <= half; j += VL) {
    vf a = vf_load(x + j), b = vf_load(x + half + j), c = vf_load(cosine + j),
       s = vf_load(sine + j);
    vf_store(x + j, vf_fnma(b, s, vf_mul(a, c)));
    vf_store(x + half + j, vf_fma(a, s, vf_mul(b, c)));
  }
  for (; j < half; j++) {
    float a = x[j], b = x[half + j];
    x[j] = a * cosine[j] - b * sine[j];
    x[half + j] = b * cosine[j] + a * sine[j];
  }
}

/* The kinds that are worth a vector; the others stay with the plain kernel. */
static inline int act_has(enum qtk_activation kind)
{
  return kind == QTK_ACT_SILU || kind == QTK_ACT_GELU_TANH || kind == QTK_ACT_RELU ||
         kind == QTK_ACT_SIGMOID;
}

/* sqrt (2 / pi) (x + 0.044715 x^3), doubled: gelu_tanh is x sigmoid of it. */
static inline vf act_gelu_inner(vf x)
{
  vf cube = vf_mul(vf_mul(x, x), x);
  return vf_mul(vf_set(1.5957691216057308f), vf_fma(vf_set(0.044715f), cube, x));
}

static inline vf act_value(enum qtk_activation kind, vf x)
{
  switch (kind) {
  case QTK_ACT_SILU:
    return vf_mul(x, vf_sigmoid(x));
  case QTK_ACT_GELU_TANH:
    return vf_mul(x, vf_sigmoid(act_gelu_inner(x)));
  case QTK_ACT_SIGMOID:
    return vf_sigmoid(x);
  default:
    return vf_max(x, vf_set(0.0f));
  }
}

/* act'(x) */
static inline vf act_slope(enum qtk_activation kind, vf x)
{
  const vf one = vf_set(1.0f), zero = vf_set(0.0f);
  vf s;
  switch (kind) {
  case QTK_ACT_SILU: /* s (1 + x (1 - s)) */
    s = vf_sigmoid(x);
    return vf_mul(s, vf_fma(x, vf_sub(one, s), one));
  case QTK_ACT_GELU_TANH: { /* s + x s (1 - s) u' */
    s = vf_sigmoid(act_gelu_inner(x));
    vf slope = vf_fma(vf_set(0.134145f), vf_mul(x, x), one);
    slope = vf_mul(vf_set(1.5957691216057308f), slope);
    return vf_fma(vf_mul(vf_mul(x, s), vf_sub(one, s)), slope, s);
  }
  case QTK_ACT_SIGMOID:
    s = vf_sigmoid(x);
    return vf_mul(s, vf_sub(one, s));
  default:
    return vf_where_negative(vf_sub(zero, x), zero, one);
  }
}

void K(activation)(enum qtk_activation kind, int64_t n, const float *x, float *y)
{
  int64_t j = 0;
  if (!act_has(kind)) {
    cpu_generic_activation(kind, n, x, y);
    return;
  }
  for (; j + VL <= n; j += VL)
    vf_store(y + j, act_value(kind, vf_load(x + j)));
  if (j < n)
    vf_store_n(y + j, act_value(kind, vf_load_n(x + j, n - j)), n - j);
}

void K(activation_backward)(enum qtk_activation kind, int64_t n, const float *x, const float *dy,
                            float *dx)
{
  int64_t j = 0;
  if (!act_has(kind)) {
    cpu_generic_activation_backward(kind, n, x, dy, dx);
    return;
  }
  for (; j + VL <= n; j += VL)
    vf_store(dx + j, vf_mul(vf_load(dy + j), act_slope(kind, vf_load(x + j))));
  if (j < n)
    vf_store_n(dx + j, vf_mul(vf_load_n(dy + j, n - j), act_slope(kind, vf_load_n(x + j, n - j))),
               n - j);
}

void K(gated)(enum qtk_activation kind, int64_t n, const float *gate, const float *up, float *y)
{
  int64_t j = 0;
  if (!act_has(kind)) {
    cpu_generic_gated(kind, n, gate, up, y);
    return;
  }
  for (; j + VL <= n; j += VL)
    vf_store(y + j, vf_mul(act_value(kind, vf_load(gate + j)), vf_load(up + j)));
  if (j < n)
    vf_store_n(y + j, vf_mul(act_value(kind, vf_load_n(gate + j, n - j)), vf_load_n(up + j, n - j)),
               n - j);
}

void K(gated_backward)(enum qtk_activation kind, int64_t n, const float *gate, const float *up,
                       const float *dy, float *dgate, float *dup)
{
  int64_t j = 0;
  if (!act_has(kind)) {
    cpu_generic_gated_backward(kind, n, gate, up, dy, dgate, dup);
    return;
  }
  for (; j + VL <= n; j += VL) {
    vf g = vf_load(gate + j), u = vf_load(up + j), d = vf_load(dy + j);
    vf_store(dgate + j, vf_mul(vf_mul(d, u), act_slope(kind, g)));
    vf_store(dup + j, vf_mul(d, act_value(kind, g)));
  }
  if (j < n) {
    int64_t left = n - j;
    vf g = vf_load_n(gate + j, left), u = vf_load_n(up + j, left), d = vf_load_n(dy + j, left);
    vf_store_n(dgate + j, vf_mul(vf_mul(d, u), act_slope(kind, g)), left);
    vf_store_n(dup + j, vf_mul(d, act_value(kind, g)), left);
  }
}
