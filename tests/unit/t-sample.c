/* SPDX-License-Identifier: BSD-3-Clause
 * Draws against probabilities that the test computes for itself. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/generate-stop.h"
#include "core/sample.h"

#define V 12
#define DRAWS 20000

/* 3 and 7 are equal; 5 is the largest, some are below 0. */
static const float sample_logits[V] = {0.3f, -1.0f, 1.2f, 0.9f, -0.4f, 2.1f,
                                       0.0f, 0.9f,  1.7f, -3.f, 0.6f,  -INFINITY};

static struct qtk_context *new_context(uint64_t seed)
{
  struct qtk_context_options options = {.threads = 1, .seed = seed};
  struct qtk_context *ctx;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  return ctx;
}

static int32_t pick(struct qtk_sampler *s)
{
  float logits[V];
  int32_t id = -1;
  memcpy(logits, sample_logits, sizeof logits);
  assert_int_equal(qtk_sampler_pick(s, logits, &id), QTK_OK);
  assert_in_range(id, 0, V - 1);
  return id;
}

/* The probabilities by the definitions: kept[i] says which are left after top-k and top-p,
 * by hand. */
static void exact(double temperature, const int *kept, const double *logits, double p[V])
{
  double sum = 0;
  for (int i = 0; i < V; i++)
    sum += p[i] = kept[i] ? exp(logits[i] / temperature) : 0;
  for (int i = 0; i < V; i++)
    p[i] /= sum;
}

/* The sum of (seen - expected)^2 / expected is, by chi-squared with at most 11 degrees, above
 * 50 less than once in 10^6. */
static void expect_draws(const struct qtk_sample_options *o, const int32_t *seen, size_t n_seen,
                         const double p[V])
{
  struct qtk_context *ctx = new_context(7);
  struct qtk_sampler *s;
  double counts[V] = {0}, chi = 0;
  assert_int_equal(qtk_sampler_new(ctx, o, V, &s), QTK_OK);
  qtk_sampler_see(s, seen, n_seen);
  for (int i = 0; i < DRAWS; i++)
    counts[pick(s)]++;
  for (int i = 0; i < V; i++) {
    if (p[i] == 0)
      assert_true(counts[i] == 0);
    else
      chi += (counts[i] - DRAWS * p[i]) * (counts[i] - DRAWS * p[i]) / (DRAWS * p[i]);
  }
  assert_true(chi < 50);
  qtk_sampler_free(s);
  qtk_context_close(ctx);
}

static void logits_of(double logits[V])
{
  for (int i = 0; i < V; i++)
    logits[i] = (double)sample_logits[i];
}

static void distributions(void **state)
{
  static const int all[V] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  /* By size: 5, 8, 2, 3, 7, 10, ... */
  static const int four[V] = {[5] = 1, [8] = 1, [2] = 1, [3] = 1};
  double p[V], logits[V];
  logits_of(logits);

  (void)state;
  exact(1, all, logits, p);
  expect_draws(&(struct qtk_sample_options){1, 0, 1, 1}, NULL, 0, p);
  expect_draws(&(struct qtk_sample_options){1, V, 1, 1}, NULL, 0, p);
  exact(0.5, all, logits, p);
  expect_draws(&(struct qtk_sample_options){0.5, 0, 1, 1}, NULL, 0, p);
  exact(1, four, logits, p); /* of two equal ones the lower id */
  expect_draws(&(struct qtk_sample_options){1, 4, 1, 1}, NULL, 0, p);
}

static void nucleus(void **state)
{
  static const int all[V] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  static const int order[] = {5, 8, 2, 3, 7, 10, 0, 6, 4, 1, 9, 11};
  double p[V], logits[V];
  logits_of(logits);

  (void)state;
  for (int n = 1; n <= 6; n++) { /* exactly n tokens reach this sum, less do not */
    double sum = 0;
    int kept[V] = {0};
    exact(0.8, all, logits, p);
    for (int i = 0; i < n; i++) {
      kept[order[i]] = 1;
      sum += p[order[i]];
    }
    struct qtk_sample_options o = {0.8, 0, sum - 1e-9, 1};
    exact(0.8, kept, logits, p);
    expect_draws(&o, NULL, 0, p);
  }
  /* The sum is of what top-k has left: of four, three have less than 0.9. */
  int four[V] = {[5] = 1, [8] = 1, [2] = 1, [3] = 1};
  exact(1, four, logits, p);
  assert_true(p[5] + p[8] + p[2] < 0.9 && p[5] + p[8] + p[2] > 0.85);
  four[3] = 0;
  exact(1, four, logits, p);
  expect_draws(&(struct qtk_sample_options){1, 4, 0.85, 1}, NULL, 0, p);
}

static void penalty(void **state)
{
  static const int all[V] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  static const int32_t seen[] = {5, 1, 5, 6}; /* 2.1, -1 and 0; twice is once */
  double p[V], logits[V];
  logits_of(logits);

  (void)state;
  logits[5] /= 1.5;
  logits[1] *= 1.5;
  exact(2, all, logits, p); /* before the temperature */
  expect_draws(&(struct qtk_sample_options){2, 0, 1, 1.5}, seen, 4, p);
}

static void greedy(void **state)
{
  struct qtk_context *ctx = new_context(1);
  struct qtk_sampler *s;
  int32_t id;

  (void)state;
  assert_int_equal(qtk_sampler_new(ctx, &(struct qtk_sample_options){0, 0, 1, 1.5}, V, &s), QTK_OK);
  assert_int_equal(pick(s), 5);
  id = 5;
  qtk_sampler_see(s, &id, 1);
  assert_int_equal(pick(s), 8); /* 1.7 > 2.1 / 1.5 */
  float equal[V] = {0}, broken[V] = {[3] = NAN}, none[V];
  assert_int_equal(qtk_sampler_pick(s, equal, &id), QTK_OK);
  assert_int_equal(id, 0);
  assert_int_equal(qtk_sampler_pick(s, broken, &id), QTK_ENUMERIC);
  assert_non_null(strstr(qtk_error_message(), "token 3"));
  for (int i = 0; i < V; i++)
    none[i] = -INFINITY;
  assert_int_equal(qtk_sampler_pick(s, none, &id), QTK_ENUMERIC);
  qtk_sampler_free(s);
  qtk_context_close(ctx);
}

/* The same seed draws the same; another one does not. */
static void seeds(void **state)
{
  int32_t drawn[3][64];

  (void)state;
  for (int k = 0; k < 3; k++) {
    struct qtk_context *ctx = new_context(k < 2 ? 5 : 6);
    struct qtk_sampler *s;
    assert_int_equal(qtk_sampler_new(ctx, &(struct qtk_sample_options){1, 8, 0.95, 1}, V, &s),
                     QTK_OK);
    for (int i = 0; i < 64; i++)
      drawn[k][i] = pick(s);
    qtk_sampler_free(s);
    qtk_context_close(ctx);
  }
  assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
  assert_memory_not_equal(drawn[0], drawn[2], sizeof drawn[0]);
}

static void options(void **state)
{
  static const struct qtk_sample_options bad[] = {{-1, 0, 1, 1},  {NAN, 0, 1, 1}, {1, -1, 1, 1},
                                                  {1, 0, 0, 1},   {1, 0, 2, 1},   {1, 0, NAN, 1},
                                                  {1, 0, 1, 0},   {1, 0, 1, -2},  {INFINITY, 0, 1, 1}};
  static const char *const words[] = {"temperature = -1", "temperature", "top-k = -1",
                                      "top-p = 0",        "top-p = 2",   "top-p",
                                      "penalty = 0",      "penalty = -2", "temperature"};

  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(qtk_sample_check(&bad[i]), QTK_EUSAGE);
    assert_non_null(strstr(qtk_error_message(), words[i]));
  }
}

/* ---- texts that end a text ----------------------------------------------------------------- */

static void stops(void **state)
{
  static const char *const list[] = {"abcab", "\n\nx", "b", NULL};
  static const char *const one[] = {"abab", NULL};
  size_t at;

  (void)state;
  assert_true(qtk_stop_find(list, "cab", 3, &at));
  assert_int_equal(at, 2);
  assert_true(qtk_stop_find(list, "xabcab", 6, &at)); /* the first place, not the first stop */
  assert_int_equal(at, 1);
  assert_false(qtk_stop_find(list, "ca", 2, &at));
  assert_false(qtk_stop_find(NULL, "ca", 2, &at));
  assert_false(qtk_stop_find(list, "", 0, &at));
  assert_int_equal(qtk_stop_begun(list, "xa", 2), 1);
  assert_int_equal(qtk_stop_begun(list, "x\n\n", 3), 2);
  assert_int_equal(qtk_stop_begun(list, "\n\n\n", 3), 2);
  assert_int_equal(qtk_stop_begun(list, "x", 1), 0);
  assert_int_equal(qtk_stop_begun(one, "ababa", 5), 3);
  assert_int_equal(qtk_stop_begun(one, "aba", 3), 3);
  assert_int_equal(qtk_stop_begun(one, "", 0), 0);
  assert_int_equal(qtk_stop_begun(NULL, "x", 1), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(distributions), cmocka_unit_test(nucleus), cmocka_unit_test(penalty),
      cmocka_unit_test(greedy),        cmocka_unit_test(seeds),   cmocka_unit_test(options),
      cmocka_unit_test(stops),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
