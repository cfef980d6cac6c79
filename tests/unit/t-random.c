/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"

/* The known answers that the authors publish with Random123 (kat_vectors). */
static void known_answers(void **state)
{
  static const struct {
    uint64_t counter[4], key[2], out[4];
  } cases[] = {
      {{0, 0, 0, 0},
       {0, 0},
       {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
      {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
       {UINT64_MAX, UINT64_MAX},
       {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
      {{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
       {0x452821e638d01377, 0xbe5466cf34e90c6c},
       {0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t out[4];
    qtk_philox4x64(cases[i].counter, cases[i].key, out);
    assert_memory_equal(out, cases[i].out, sizeof out);
  }
}

static void every_number_counts(void **state)
{
  struct qtk_random_key key = {1, 2, 3};
  uint64_t bits = qtk_random_seeded_bits(7, &key, 9);

  (void)state;
  assert_true(bits == qtk_random_seeded_bits(7, &key, 9));
  assert_true(bits != qtk_random_seeded_bits(8, &key, 9));
  assert_true(bits != qtk_random_seeded_bits(7, &key, 10));
  key.step = 0;
  assert_true(bits != qtk_random_seeded_bits(7, &key, 9));
  key = (struct qtk_random_key){1, 0, 3};
  assert_true(bits != qtk_random_seeded_bits(7, &key, 9));
  key = (struct qtk_random_key){1, 2, 0};
  assert_true(bits != qtk_random_seeded_bits(7, &key, 9));
}

static void uniform_is_uniform(void **state)
{
  enum { n = 200000, bins = 64 };
  struct qtk_random_key key = {0, 0, 5};
  double sum = 0, chi = 0;
  int count[bins] = {0};

  (void)state;
  for (uint64_t i = 0; i < n; i++) {
    double u = qtk_random_seeded_uniform(1, &key, i);
    assert_true(u >= 0 && u < 1);
    sum += u;
    count[(int)(u * bins)]++;
  }
  for (int i = 0; i < bins; i++)
    chi += (count[i] - (double)n / bins) * (count[i] - (double)n / bins) / ((double)n / bins);
  assert_true(fabs(sum / n - 0.5) < 4 * sqrt(1.0 / 12 / n));
  assert_true(chi < 63 + 4 * sqrt(2 * 63)); /* 63 degrees of freedom */
}

static void normal_is_normal(void **state)
{
  enum { n = 200000 };
  struct qtk_random_key key = {0, 4, 5};
  double sum[5] = {0}, with_uniform = 0;
  int tail = 0;

  (void)state;
  for (uint64_t i = 0; i < n; i++) {
    double x = qtk_random_seeded_normal(1, &key, i), power = 1;
    for (int k = 1; k <= 4; k++) {
      power *= x;
      sum[k] += power;
    }
    tail += fabs(x) > 1.959963984540054;
    with_uniform += x * (qtk_random_seeded_uniform(1, &key, i) - 0.5);
  }
  assert_true(fabs(sum[1] / n) < 4 / sqrt(n));
  assert_true(fabs(sum[2] / n - 1) < 4 * sqrt(2.0 / n));
  assert_true(fabs(sum[3] / n) < 4 * sqrt(15.0 / n));
  assert_true(fabs(sum[4] / n - 3) < 4 * sqrt(96.0 / n));
  assert_true(fabs((double)tail / n - 0.05) < 4 * sqrt(0.05 * 0.95 / n));
  assert_true(fabs(with_uniform / n) < 4 * sqrt(1.0 / 12 / n));
}

/* Against the C library's logarithm and cosine. */
static void normal_is_box_and_muller(void **state)
{
  struct qtk_random_key key = {3, 4, 5};

  (void)state;
  for (uint64_t i = 0; i < 100000; i++) {
    const uint64_t counter[4] = {i, 5, 4, 3}, seed[2] = {77, 1};
    uint64_t out[4];
    double u, turn, expected;
    qtk_philox4x64(counter, seed, out);
    u = (double)((out[0] >> 11) + 1) * 0x1p-53;
    turn = (double)(out[1] >> 11) * 0x1p-53;
    expected = sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * turn);
    assert_true(fabs(qtk_random_seeded_normal(77, &key, i) - expected) < 4e-15);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers),
      cmocka_unit_test(every_number_counts),
      cmocka_unit_test(uniform_is_uniform),
      cmocka_unit_test(normal_is_normal),
      cmocka_unit_test(normal_is_box_and_muller),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
