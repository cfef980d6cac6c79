/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels of softmax: attention's steps and long rows. */
#include <math.h>

#include "../../kernels.h"
#include "../declare.h"
#include "../simd/exp.h"

/* One vector of columns of softmax_step. `n` < VL lanes count, or VL. 1 if a factor
 * is not 1. */
static inline int softmax_columns(int64_t rows, int64_t width, int64_t n, float *s, float *max,
                                  float *sum, float *factor)
{
  const int whole = n == VL;
  const vf low = vf_set(-INFINITY), zero = vf_set(0.0f);
  vf before = whole ? vf_load(max) : vf_select_n(vf_load_n(max, n), low, n);
  vf m = before, total = zero;
  for (int64_t r = 0; r < rows; r++) {
    const float *x = s + r * width;
    m = vf_max(m, whole ? vf_load(x) : vf_select_n(vf_load_n(x, n), low, n));
  }
  vf shift = vf_where_equal(m, low, zero, m); /* columns all masked: exp (-inf - 0) = 0 */
  for (int64_t r = 0; r < rows; r++) {
    float *x = s + r * width;
    vf e = vf_exp(vf_sub(whole ? vf_load(x) : vf_load_n(x, n), shift));
    total = vf_add(total, e);
    if (whole)
      vf_store(x, e);
    else
      vf_store_n(x, e, n);
  }
  vf f = vf_where_equal(m, low, vf_set(1.0f), vf_exp(vf_sub(before, shift)));
  if (whole) {
    vf_store(factor, f);
    vf_store(sum, vf_fma(vf_load(sum), f, total));
    vf_store(max, m);
  } else {
    vf_store_n(factor, f, n);
    vf_store_n(sum, vf_fma(vf_load_n(sum, n), f, total), n);
    vf_store_n(max, m, n);
  }
  return vf_least(whole ? f : vf_select_n(f, vf_set(1.0f), n)) != 1.0f;
}

int K(softmax_step)(int64_t rows, int64_t width, float *s, float *max, float *sum, float *factor)
{
  int64_t j = 0;
  int changed = 0;
  for (; j + VL <= width; j += VL)
    changed |= softmax_columns(rows, width, VL, s + j, max + j, sum + j, factor + j);
  if (j < width)
    changed |= softmax_columns(rows, width, width - j, s + j, max + j, sum + j, factor + j);
  return changed;
}

static inline vf softmax_gradient_lanes(vf s, vf dp, vf lse, vf delta, vf *p)
{
  *p = vf_exp(vf_sub(s, lse));
  return vf_mul(*p, vf_sub(dp, delta));
}

void K(softmax_gradient)(int64_t rows, int64_t width, float *s, const float *dp, const float *lse,
                         const float *delta, int by_row, float *p)
{
  for (int64_t r = 0; r < rows; r++) {
    int64_t j = 0, at = r * width;
    vf l = vf_set(by_row ? lse[r] : 0.0f), d = vf_set(by_row ? delta[r] : 0.0f), e;
    for (; j + VL <= width; j += VL) {
      if (!by_row)
        l = vf_load(lse + j), d = vf_load(delta + j);
      vf g = softmax_gradient_lanes(vf_load(s + at + j), vf_load(dp + at + j), l, d, &e);
      vf_store(s + at + j, g);
      if (p)
        vf_store(p + at + j, e);
    }
    int64_t n = width - j;
    if (n > 0) {
      if (!by_row)
        l = vf_load_n(lse + j, n), d = vf_load_n(delta + j, n);
      vf g = softmax_gradient_lanes(vf_load_n(s + at + j, n), vf_load_n(dp + at + j, n), l, d, &e);
      vf_store_n(s + at + j, g, n);
      if (p)
        vf_store_n(p + at + j, e, n);
    }
  }
}

float K(max)(int64_t n, const float *x)
{
  vf low = vf_set(-INFINITY), a = low, b = low;
  int64_t j = 0;
  for (; j + 2 * VL <= n; j += 2 * VL) {
    a = vf_max(a, vf_load(x + j));
    b = vf_max(b, vf_load(x + j + VL));
  }
  for (; j + VL <= n; j += VL)
    a = vf_max(a, vf_load(x + j));
  if (j < n)
    b = vf_max(b, vf_select_n(vf_load_n(x + j, n - j), low, n - j));
  return vf_most(vf_max(a, b));
}

double K(exp_sum)(int64_t n, const float *x, float shift, float alpha, float *y)
{
  const vf c = vf_set(shift), a = vf_set(alpha);
  struct vd sum = vd_zero();
  int64_t j = 0;
  for (; j + VL <= n; j += VL) {
    vf e = vf_exp(vf_sub(vf_load(x + j), c));
    sum = vd_add(sum, e);
    if (y)
      vf_store(y + j, vf_mul(a, e));
  }
  if (j < n) {
    vf e = vf_select_n(vf_exp(vf_sub(vf_load_n(x + j, n - j), c)), vf_set(0.0f), n - j);
    sum = vd_add(sum, e);
    if (y)
      vf_store_n(y + j, vf_mul(a, e), n - j);
  }
  return vd_sum(sum);
}

/* q - p, and p. */
static inline vf divergence_lanes(vf x, vf y, vf x_max, vf y_max, vf x_scale, vf y_scale, vf *p)
{
  vf q = vf_mul(vf_exp(vf_sub(y, y_max)), y_scale);

  *p = vf_mul(vf_exp(vf_sub(x, x_max)), x_scale);
  return vf_sub(q, *p);
}

double K(divergence)(int64_t n, const float *x, float x_max, double x_sum, const float *y,
                     float y_max, double y_sum, float alpha, float *dy)
{
  double gap = (double)x_max + log(x_sum) - ((double)y_max + log(y_sum));
  const vf cx = vf_set(x_max), cy = vf_set(y_max), a = vf_set(alpha), shift = vf_set((float)gap);
  const vf sx = vf_set((float)(1 / x_sum)), sy = vf_set((float)(1 / y_sum)), zero = vf_set(0);
  struct vd sum = vd_zero();
  for (int64_t j = 0; j < n; j += VL) {
    int64_t left = n - j;
    int whole = left >= VL;
    vf vx = whole ? vf_load(x + j) : vf_load_n(x + j, left);
    vf vy = whole ? vf_load(y + j) : vf_load_n(y + j, left), p;
    vf slope = divergence_lanes(vx, vy, cx, cy, sx, sy, &p);
    vf term = vf_where_equal(p, zero, zero, vf_sub(vf_sub(vx, vy), shift));
    if (!whole)
      p = vf_select_n(p, zero, left);
    sum = vd_fma(sum, p, term);
    if (dy && whole)
      vf_store(dy + j, vf_mul(a, slope));
    else if (dy)
      vf_store_n(dy + j, vf_mul(a, slope), left);
  }
  return vd_sum(sum);
}
