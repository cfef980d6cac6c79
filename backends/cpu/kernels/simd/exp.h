/* SPDX-License-Identifier: BSD-3-Clause
 * exp of a vector, at most 2 units in the last place off. Needs "vec.h". */
#ifndef CPU_SIMD_EXP_H
#define CPU_SIMD_EXP_H

/* x = n ln 2 + r with ln 2 in two parts (Cody and Waite), then the polynomial of
 * Cephes' expf. Below -104 the result is 0, above 89 infinite; NaN stays. */
static inline vf vf_exp(vf x)
{
  x = vf_max(vf_set(-104.0f), vf_min(vf_set(89.0f), x));
  vf n = vf_round(vf_mul(x, vf_set(1.44269504088896341f)));
  vf r = vf_fnma(n, vf_set(0.693359375f), x);
  r = vf_fnma(n, vf_set(-2.12194440e-4f), r);
  vf p = vf_fma(vf_set(1.9875691500e-4f), r, vf_set(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set(5.0000001201e-1f));
  p = vf_fma(p, vf_mul(r, r), vf_add(r, vf_set(1.0f)));
  return vf_scale2(p, n);
}

/* 1 / (1 + exp (-x)) */
static inline vf vf_sigmoid(vf x)
{
  vf one = vf_set(1.0f);
  return vf_div(one, vf_add(one, vf_exp(vf_sub(vf_set(0.0f), x))));
}

#endif
