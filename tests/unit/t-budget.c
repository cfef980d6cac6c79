/* SPDX-License-Identifier: BSD-3-Clause
 * Budgets against all combinations where they are few, and against the bound that
 * Lagrangian relaxation gives where they are many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/budget.h"

#define MANY 300
#define K 4

struct fixture {
  uint64_t cost[MANY][K];
  double error[MANY][K];
  struct qtk_budget_item items[MANY];
  int choice[MANY];
};

static uint32_t state = 1;

static uint32_t draw(uint32_t n)
{
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % n;
}

/* Linears of a few shapes at 2, 3, 4 and 8 bits: errors fall about fourfold a bit, or any how. */
static void fill(struct fixture *f, size_t n, int wild)
{
  static const uint64_t bits[K] = {2, 3, 4, 8};
  for (size_t i = 0; i < n; i++) {
    uint64_t weights = 64 + 16 * draw(40);
    double error = 1.0 + draw(1000);
    for (int k = 0; k < K; k++) {
      f->cost[i][k] = wild ? draw(60) : weights * bits[k] + 32;
      f->error[i][k] = wild ? (double)draw(50) : error * (0.8 + 0.001 * draw(400));
      error /= k == 2 ? 256.0 : 4.0;
    }
    f->items[i] = (struct qtk_budget_item){K, f->cost[i], f->error[i]};
  }
}

static void sum(const struct fixture *f, size_t n, const int *choice, uint64_t *cost,
                double *error)
{
  *cost = 0;
  *error = 0;
  for (size_t i = 0; i < n; i++) {
    assert_in_range(choice[i], 0, f->items[i].n - 1);
    *cost += f->cost[i][choice[i]];
    *error += f->error[i][choice[i]];
  }
}

/* The least error within the limit, over all combinations. */
static double brute(const struct fixture *f, size_t n, uint64_t limit)
{
  double best = -1;
  int choice[8] = {0};
  for (size_t all = 0; all < (size_t)1 << (2 * n); all++) {
    uint64_t cost;
    double error;
    for (size_t i = 0; i < n; i++)
      choice[i] = (int)(all >> (2 * i) & 3);
    sum(f, n, choice, &cost, &error);
    if (cost <= limit && (best < 0 || error < best))
      best = error;
  }
  return best;
}

static void few_are_chosen_exactly(void **unused)
{
  static struct fixture f;
  uint64_t cost;
  double error;
  (void)unused;
  for (int trial = 0; trial < 60; trial++) {
    size_t n = 1 + (size_t)trial % (trial < 48 ? 6 : 8);
    fill(&f, n, trial % 2);
    uint64_t least = qtk_budget_least(f.items, n), most = qtk_budget_most(f.items, n);
    uint64_t limit = least + (most - least) * draw(101) / 100;
    assert_int_equal(qtk_budget_choose(f.items, n, limit, f.choice), QTK_OK);
    sum(&f, n, f.choice, &cost, &error);
    assert_true(cost <= limit);
    assert_true(error == brute(&f, n, limit));
  }
}

/* min over choices of error + rate * cost, less rate * limit: nothing within the limit has less
 * error than this. */
static double relaxed(const struct fixture *f, size_t n, double rate, uint64_t limit,
                      uint64_t *cost)
{
  double bound = -rate * (double)limit;
  *cost = 0;
  for (size_t i = 0; i < n; i++) {
    int best = 0;
    for (int k = 1; k < K; k++)
      if (f->error[i][k] + rate * (double)f->cost[i][k] <
          f->error[i][best] + rate * (double)f->cost[i][best])
        best = k;
    bound += f->error[i][best] + rate * (double)f->cost[i][best];
    *cost += f->cost[i][best];
  }
  return bound;
}

/* Where the relaxation's own choice is taken as the limit there is no gap. */
static void many_are_the_optimum_of_the_hull(void **unused)
{
  static struct fixture f;
  uint64_t limit, cost;
  double error;
  (void)unused;
  for (int trial = 0; trial < 40; trial++) {
    double rate = 1e-4 * (1 + draw(100000));
    fill(&f, MANY, 0);
    relaxed(&f, MANY, rate, 0, &limit);
    assert_int_equal(qtk_budget_choose(f.items, MANY, limit, f.choice), QTK_OK);
    sum(&f, MANY, f.choice, &cost, &error);
    double bound = relaxed(&f, MANY, rate, limit, &cost);
    sum(&f, MANY, f.choice, &cost, &error);
    assert_true(cost <= limit);
    assert_true(error <= bound * (1 + 1e-12) + 1e-9);
  }
}

/* At any limit the gap is at most one step of one item, and nothing that fits is left out. */
static void many_leave_little_over(void **unused)
{
  static struct fixture f;
  (void)unused;
  for (int trial = 0; trial < 40; trial++) {
    uint64_t cost, used;
    double error, bound = -1, widest = 0;
    fill(&f, MANY, trial % 2);
    uint64_t least = qtk_budget_least(f.items, MANY), most = qtk_budget_most(f.items, MANY);
    uint64_t limit = least + (most - least) * draw(101) / 100;
    assert_int_equal(qtk_budget_choose(f.items, MANY, limit, f.choice), QTK_OK);
    sum(&f, MANY, f.choice, &used, &error);
    assert_true(used <= limit);
    for (double rate = 1e-6; rate < 1e4; rate *= 1.02) {
      double b = relaxed(&f, MANY, rate, limit, &cost);
      bound = b > bound ? b : bound;
    }
    for (size_t i = 0; i < MANY; i++)
      for (int k = 0; k < K; k++) {
        double gain = f.error[i][f.choice[i]] - f.error[i][k];
        widest = f.error[i][0] > widest ? f.error[i][0] : widest;
        if (gain > 0)
          assert_true(used - f.cost[i][f.choice[i]] + f.cost[i][k] > limit);
      }
    assert_true(error <= bound + widest + 0.02 * bound + 1e-9);
  }
}

static void equals_go_to_the_first(void **unused)
{
  static const uint64_t cost[2] = {1, 2};
  static const double error[2] = {5, 3};
  struct qtk_budget_item items[40];
  int choice[40];
  (void)unused;
  for (size_t i = 0; i < 40; i++)
    items[i] = (struct qtk_budget_item){2, cost, error};
  assert_int_equal(qtk_budget_choose(items, 40, 53, choice), QTK_OK);
  for (int i = 0; i < 40; i++)
    assert_int_equal(choice[i], i < 13);
}

static void limits_at_the_ends(void **unused)
{
  static struct fixture f;
  uint64_t cost;
  double error;
  (void)unused;
  fill(&f, 30, 0);
  uint64_t least = qtk_budget_least(f.items, 30), most = qtk_budget_most(f.items, 30);
  assert_int_equal(qtk_budget_choose(f.items, 30, least - 1, f.choice), QTK_EJOB);
  assert_int_equal(qtk_budget_choose(f.items, 30, least, f.choice), QTK_OK);
  sum(&f, 30, f.choice, &cost, &error);
  assert_int_equal(cost, least);
  assert_int_equal(qtk_budget_choose(f.items, 30, most, f.choice), QTK_OK);
  for (int i = 0; i < 30; i++)
    assert_int_equal(f.choice[i], 3);
  assert_int_equal(qtk_budget_choose(f.items, 30, UINT64_MAX, f.choice), QTK_OK);
  for (int i = 0; i < 30; i++)
    assert_int_equal(f.choice[i], 3);
  assert_int_equal(qtk_budget_choose(NULL, 0, 0, f.choice), QTK_OK);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(few_are_chosen_exactly),
      cmocka_unit_test(many_are_the_optimum_of_the_hull),
      cmocka_unit_test(many_leave_little_over),
      cmocka_unit_test(equals_go_to_the_first),
      cmocka_unit_test(limits_at_the_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
