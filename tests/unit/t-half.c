/* SPDX-License-Identifier: BSD-3-Clause */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/half.h"

/* To nearest with `digits` binary digits, least exponent `least` (of the last
 * digit), ties to even, by the C library's rounding of integers. */
static double rounded(double v, int digits, int least)
{
  int e;

  if (v == 0 || !isfinite(v))
    return v;
  frexp(v, &e);
  e = e - digits < least ? least : e - digits;
  return ldexp(nearbyint(ldexp(v, -e)), e);
}

static double reference_f16(double v)
{
  double r = rounded(v, 11, -24);

  return fabs(r) > 65504 ? copysign(INFINITY, v) : r;
}

static double reference_bf16(double v)
{
  double r = rounded(v, 8, -133);

  return fabs(r) > 0x1.fep127 ? copysign(INFINITY, v) : r;
}

/* Every half, by the definition of the format. */
static void all_halves_to_float(void **state)
{
  (void)state;
  for (unsigned h = 0; h < 65536; h++) {
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    float f = qtk_f16_to_f32((uint16_t)h);
    double expected = e == 31  ? (m == 0 ? INFINITY : NAN)
                      : e == 0 ? ldexp(m, -24)
                               : ldexp(m + 1024, e - 25);
    assert_int_equal(signbit(f) != 0, h >> 15);
    if (isnan(expected))
      assert_true(isnan(f));
    else
      assert_true(fabs((double)f) == expected);
  }
}

static void halves_survive(void **state)
{
  (void)state;
  for (unsigned h = 0; h < 65536; h++) {
    uint16_t back = qtk_f32_to_f16(qtk_f16_to_f32((uint16_t)h));
    if ((h & 0x7fff) > 0x7c00)
      assert_int_equal(back, h | 0x200); /* a quiet nan with the same payload */
    else
      assert_int_equal(back, h);
    back = qtk_f32_to_bf16(qtk_bf16_to_f32((uint16_t)h));
    if ((h & 0x7fff) > 0x7f80)
      assert_int_equal(back, h | 0x40);
    else
      assert_int_equal(back, h);
  }
}

static void check_rounding(float v)
{
  float half = qtk_f16_to_f32(qtk_f32_to_f16(v)), bf16 = qtk_bf16_to_f32(qtk_f32_to_bf16(v));

  if (isnan(v)) {
    assert_true(isnan(half) && isnan(bf16));
    return;
  }
  if ((double)half != reference_f16(v) || signbit(half) != signbit(v))
    fail_msg("f16 of %a is %a", (double)v, (double)half);
  if ((double)bf16 != reference_bf16(v) || signbit(bf16) != signbit(v))
    fail_msg("bf16 of %a is %a", (double)v, (double)bf16);
}

/* The ties between neighbours, and the floats next to them. */
static void ties(void **state)
{
  (void)state;
  for (unsigned h = 0; h < 0x7c00; h++) {
    float a = qtk_f16_to_f32((uint16_t)h), b = qtk_f16_to_f32((uint16_t)(h + 1));
    float middle = h == 0x7bff ? 65520 : a + (b - a) / 2;
    check_rounding(middle);
    check_rounding(-middle);
    check_rounding(nextafterf(middle, 0));
    check_rounding(nextafterf(middle, INFINITY));
  }
  for (unsigned h = 0; h < 0x7f80; h++) {
    float middle = qtk_half_float(h << 16 | 0x8000);
    check_rounding(middle);
    check_rounding(-middle);
    check_rounding(nextafterf(middle, 0));
    check_rounding(nextafterf(middle, INFINITY));
  }
}

static void floats_of_every_kind(void **state)
{
  (void)state;
  for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += 2039)
    check_rounding(qtk_half_float((uint32_t)bits));
  check_rounding(FLT_MAX);
  check_rounding(FLT_TRUE_MIN);
}

#ifdef __FLT16_MANT_DIG__
/* The compiler's own half, if there is one. */
static void compiler_agrees(void **state)
{
  (void)state;
  for (uint64_t bits = 0; bits < (uint64_t)1 << 32; bits += 1021) {
    float v = qtk_half_float((uint32_t)bits);
    _Float16 theirs = (_Float16)v;
    uint16_t mine = qtk_f32_to_f16(v), half;
    memcpy(&half, &theirs, sizeof half);
    if (!isnan(v))
      assert_int_equal(mine, half);
  }
}
#endif

/* Double to 16 bits rounds once: these are decided by digits that float32 loses. */
static void doubles_round_once(void **state)
{
  uint64_t x = 88172645463325252u;

  (void)state;
  for (int i = 0; i < 200000; i++) {
    double v;
    uint16_t half, bf16;
    float f;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    /* a tie of one of the formats, and a little more or less */
    v = i % 2 ? (double)qtk_f16_to_f32((uint16_t)(x & 0x7fff)) + ldexp(1, (int)(x >> 20 & 63) - 50)
              : (double)qtk_half_float((uint32_t)x << 16 | 0x8000);
    v *= 1 + (double)((int)(x >> 40 & 3) - 1) * 0x1p-48;
    if (isnan(v))
      continue;
    assert_int_equal(qtk_convert(QTK_F16, &half, QTK_F64, &v, 1), QTK_OK);
    assert_int_equal(qtk_convert(QTK_BF16, &bf16, QTK_F64, &v, 1), QTK_OK);
    assert_int_equal(qtk_convert(QTK_F32, &f, QTK_F64, &v, 1), QTK_OK);
    assert_true((double)qtk_f16_to_f32(half) == reference_f16(v));
    assert_true((double)qtk_bf16_to_f32(bf16) == reference_bf16(v));
    assert_true(f == (float)v);
  }
  for (int sign = -1; sign <= 1; sign += 2) {
    double v = sign * 1e-60;
    uint16_t half;
    assert_int_equal(qtk_convert(QTK_F16, &half, QTK_F64, &v, 1), QTK_OK);
    assert_int_equal(half, sign < 0 ? 0x8000 : 0);
  }
}

static void rows_of_any_length(void **state)
{
  static const enum qtk_dtype types[] = {QTK_F32, QTK_F16, QTK_BF16, QTK_F64};

  (void)state;
  for (int from = 0; from < 4; from++)
    for (int to = 0; to < 4; to++)
      for (size_t n = 0; n < 200; n += n < 5 ? 1 : 31) {
        size_t fs = qtk_dtype_size(types[from]), ts = qtk_dtype_size(types[to]);
        char *src = malloc(n * fs + 1), *dst = malloc(n * ts + 1); /* at odd addresses too */
        assert_non_null(src);
        assert_non_null(dst);
        for (size_t i = 0; i < n; i++) {
          float v = (float)(i % 64) - 7.5f;
          assert_int_equal(qtk_convert(types[from], src + 1 + i * fs, QTK_F32, &v, 1), QTK_OK);
        }
        dst[0] = 'x';
        assert_int_equal(qtk_convert(types[to], dst + 1, types[from], src + 1, n), QTK_OK);
        assert_int_equal(dst[0], 'x');
        for (size_t i = 0; i < n; i++) {
          float v;
          assert_int_equal(qtk_convert(QTK_F32, &v, types[to], dst + 1 + i * ts, 1), QTK_OK);
          assert_true(v == (float)(i % 64) - 7.5f);
        }
        free(src);
        free(dst);
      }
}

static void other_types_are_refused(void **state)
{
  int32_t i = 1;
  float f = 1;

  (void)state;
  assert_int_equal(qtk_convert(QTK_F32, &f, QTK_I32, &i, 1), QTK_EINTERNAL);
  assert_int_equal(qtk_convert(QTK_U8, &i, QTK_F32, &f, 1), QTK_EINTERNAL);
  assert_string_equal(qtk_error_message(), "no conversion of f32 to u8");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_halves_to_float),
      cmocka_unit_test(halves_survive),
      cmocka_unit_test(ties),
      cmocka_unit_test(floats_of_every_kind),
#ifdef __FLT16_MANT_DIG__
      cmocka_unit_test(compiler_agrees),
#endif
      cmocka_unit_test(doubles_round_once),
      cmocka_unit_test(rows_of_any_length),
      cmocka_unit_test(other_types_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
