/* SPDX-License-Identifier: BSD-3-Clause
 * Rounding to a grid and its slopes: the table of grid.h by hand, and against differences
 * where the rounding is taken out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "adapters/qat/grid.h"

/* The same without rounding. */
#undef QAT_GRID_H
#undef QAT_RINT
#define QAT_RINT(x) (x)
#undef QAT_FAR
#define qat_grid smooth_grid
#define qat_between smooth_between
#define qat_reach smooth_reach
#define qat_code smooth_code
#define qat_slopes smooth_slopes
#include "adapters/qat/grid.h"
#undef qat_grid
#undef qat_code
#undef qat_slopes

/* w, and what comes of it on a grid of 3 bits. */
struct grid_case {
  float w, code, dw, ds;
};

static void check_cases(const struct qat_grid *g, const struct grid_case *cases, int n)
{
  float dw, ds;

  for (int i = 0; i < n; i++) {
    assert_float_equal(qat_code(g, cases[i].w), cases[i].code, 0);
    qat_slopes(g, cases[i].w, &dw, &ds);
    assert_float_equal(dw, cases[i].dw, 0);
    assert_float_equal(ds, cases[i].ds, 1e-6);
  }
}

/* s 0.5, z 3: -1.5 .. 2. */
static void test_whole_zero(void **state)
{
  static const struct grid_case cases[] = {
      {0.6f, 4, 1, 1 - 1.2f},      /* in range: (q - z) - w / s */
      {-1.5f, 0, 1, 0},            /* the ends are inside */
      {2.0f, 7, 1, 0},             /* */
      {2.2f, 7, 1, 4 - 4.4f},      /* rounds to the end */
      {-1.8f, 0, 0, -3},           /* below: - z */
      {2.3f, 7, 0, 4},             /* above: Q - z */
      {0.25f, 3, 1, 0 - 0.5f},     /* ties go to even multiples of the scale */
      {0.75f, 5, 1, 2 - 1.5f},     /* */
      {-0.25f, 3, 1, 0.5f},        /* */
      {1e30f, 7, 0, 4},            /* */
      {-INFINITY, 0, 0, -3},       /* */
      {NAN, 0, 0, -3}};
  const struct qat_grid g = {.scale = 0.5f, .zero = 3, .top = 7};

  (void)state;
  check_cases(&g, cases, sizeof cases / sizeof cases[0]);
}

/* s 0.5, m -1.2, which moves with s: mu = -2.4. */
static void test_minimum(void **state)
{
  static const struct grid_case cases[] = {{0.0f, 2, 1, 2 - 2.4f},
                                           {1.0f, 4, 1, 4 - 2.4f - 2},
                                           {-1.6f, 0, 0, -2.4f},
                                           {2.9f, 7, 0, 7 - 2.4f}};
  const struct qat_grid g = {.scale = 0.5f, .min = -1.2f, .top = 7};

  (void)state;
  check_cases(&g, cases, sizeof cases / sizeof cases[0]);
}

static void test_no_scale(void **state)
{
  const struct qat_grid g = {.zero = 3, .top = 7};
  float dw, ds, code = qat_code(&g, 0.3f);

  (void)state;
  assert_true(code >= 0 && code <= 7);
  qat_slopes(&g, 0.3f, &dw, &ds);
  assert_true(dw == 0 && ds == 0);
}

static void test_grid_of_tensor(void **state)
{
  struct qtk_qlayout l = {.encoding = QTK_AFFINE,
                          .rows = 1,
                          .cols = 64,
                          .bits = 3,
                          .group = 32,
                          .zero = QTK_ZERO_MID,
                          .scale_dtype = QTK_F16};
  float memory[256] = {0};

  (void)state;
  assert_int_equal(qtk_qlayout_init(&l), 0);
  struct qtk_qtensor t = qtk_qtensor_over(&l, memory);
  qtk_set_scale(&t, 0, 1, 0.1f);
  struct qat_grid g = qat_grid(&t, 0, 1);
  assert_true(g.zero == 4 && g.min == 0 && g.top == 7);
  assert_true(g.scale == qtk_f16_to_f32(qtk_f32_to_f16(0.1f)));
}

/* What a weight is read as, without rounding; m moves with s. */
static double smooth_what(double w, double s, double z, double mu)
{
  struct smooth_grid g = {
      .scale = (float)s, .zero = (float)z, .min = (float)(s * mu), .top = 7};

  return s * ((double)smooth_code(&g, (float)w) - z + mu);
}

static void smooth_compare(double w, double s, double z, double mu)
{
  struct smooth_grid g = {
      .scale = (float)s, .zero = (float)z, .min = (float)(s * mu), .top = 7};
  const double h = 1e-2;
  float dw, ds;

  smooth_slopes(&g, (float)w, &dw, &ds);
  assert_float_equal((smooth_what(w + h, s, z, mu) - smooth_what(w - h, s, z, mu)) / (2 * h), dw,
                     1e-3);
  assert_float_equal((smooth_what(w, s + h, z, mu) - smooth_what(w, s - h, z, mu)) / (2 * h), ds,
                     1e-3);
}

/* Away from the ends, where the slope jumps. */
static void test_smooth(void **state)
{
  (void)state;
  for (int i = -60; i < 60; i++) {
    double w = i * 0.1 + 0.033, reach = w / 0.7;
    if (fabs(reach + 3) > 0.1 && fabs(reach + 3 - 7) > 0.1)
      smooth_compare(w, 0.7, 3, 0);
    if (fabs(reach + 2.6) > 0.1 && fabs(reach + 2.6 - 7) > 0.1)
      smooth_compare(w, 0.7, 0, -2.6);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole_zero), cmocka_unit_test(test_minimum),
      cmocka_unit_test(test_no_scale), cmocka_unit_test(test_grid_of_tensor),
      cmocka_unit_test(test_smooth)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}
