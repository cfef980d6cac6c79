/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels that go over rows of floats element by element. */
#include "../../kernels.h"
#include "../declare.h"

/* What lies behind the last whole vector is left to the plain kernel. */
#define ELEMENT_LOOP(to, value)        \
  int64_t j = 0;                       \
  for (; j + VL <= n; j += VL)         \
    vf_store((to) + j, value)

void K(add)(int64_t n, const float *a, const float *b, float *y)
{
  ELEMENT_LOOP(y, vf_add(vf_load(a + j), vf_load(b + j)));
  cpu_generic_add(n - j, a + j, b + j, y + j);
}

void K(multiply)(int64_t n, const float *a, const float *b, float *y)
{
  ELEMENT_LOOP(y, vf_mul(vf_load(a + j), vf_load(b + j)));
  cpu_generic_multiply(n - j, a + j, b + j, y + j);
}

void K(scale)(int64_t n, float alpha, const float *x, float *y)
{
  const vf a = vf_set(alpha);
  ELEMENT_LOOP(y, vf_mul(a, vf_load(x + j)));
  cpu_generic_scale(n - j, alpha, x + j, y + j);
}

void K(axpy)(int64_t n, float alpha, const float *x, float *y)
{
  const vf a = vf_set(alpha);
  ELEMENT_LOOP(y, vf_add(vf_load(y + j), vf_mul(a, vf_load(x + j))));
  cpu_generic_axpy(n - j, alpha, x + j, y + j);
}

/* The steps of the plain kernel, in its order. */
void K(adamw)(const struct qtk_adamw *a, int64_t n, const float *g, float *m, float *v,
              float *value)
{
  const struct vd beta1 = vd_set(a->beta1), beta2 = vd_set(a->beta2);
  const struct vd rest1 = vd_set(1 - a->beta1), rest2 = vd_set(1 - a->beta2);
  const struct vd correct_m = vd_set(1 - __builtin_pow(a->beta1, (double)a->step));
  const struct vd correct_v = vd_set(1 - __builtin_pow(a->beta2, (double)a->step));
  const struct vd epsilon = vd_set(a->epsilon), decay = vd_set(a->decay);
  const struct vd rate = vd_set(-a->learning_rate);
  int64_t j = 0;

  for (; j + VL <= n; j += VL) {
    struct vd gradient = vd_from(vf_load(g + j)), w = vd_from(vf_load(value + j));
    struct vd mean = vd_plus(vd_mul(beta1, vd_from(vf_load(m + j))), vd_mul(rest1, gradient));
    struct vd square = vd_plus(vd_mul(beta2, vd_from(vf_load(v + j))),
                               vd_mul(vd_mul(rest2, gradient), gradient));
    struct vd root = vd_plus(vd_sqrt(vd_div(square, correct_v)), epsilon);
    struct vd step = vd_plus(vd_div(vd_div(mean, correct_m), root), vd_mul(decay, w));
    vf_store(m + j, vd_float(mean));
    vf_store(v + j, vd_float(square));
    vf_store(value + j, vd_float(vd_plus(w, vd_mul(rate, step))));
  }
  cpu_generic_adamw(a, n - j, g + j, m + j, v + j, value + j);
}
