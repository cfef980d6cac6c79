/* SPDX-License-Identifier: BSD-3-Clause
 * The multiple-choice knapsack problem: convex hulls, a greedy fill, and all combinations
 * where they are few. */
#include "core/budget.h"

#include <stdlib.h>

#include "core/error.h"
#include "core/vec.h"

#define BUDGET_ALL (1u << 20) /* combinations that are all considered */

struct budget {
  const struct qtk_budget_item *items;
  size_t n;
  uint64_t limit, spent;
  int *choice;
};

/* A step of an item from a corner of its hull to the next one. */
struct budget_step {
  size_t item;
  int to;
  uint64_t cost;
  double gain, rate; /* error that goes, in all and for a unit of cost */
};

/* ---- sums --------------------------------------------------------------------------- */

/* Less error for the same cost is as good as less cost. */
static int budget_cheapest(const struct qtk_budget_item *item)
{
  int best = 0;
  for (int i = 1; i < item->n; i++)
    if (item->cost[i] < item->cost[best] ||
        (item->cost[i] == item->cost[best] && item->error[i] < item->error[best]))
      best = i;
  return best;
}

uint64_t qtk_budget_least(const struct qtk_budget_item *items, size_t n)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += items[i].cost[budget_cheapest(&items[i])];
  return sum;
}

uint64_t qtk_budget_most(const struct qtk_budget_item *items, size_t n)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i++) {
    uint64_t most = 0;
    for (int k = 0; k < items[i].n; k++)
      most = items[i].cost[k] > most ? items[i].cost[k] : most;
    sum += most;
  }
  return sum;
}

/* ---- hulls ---------------------------------------------------------------------------- */

/* The next corner of the item's hull behind `from`: of the candidates that cost more and
 * lose less, the one that gains most for its cost; of equals the dearest, so that corners
 * lie at the ends of edges. */
static int budget_corner(const struct qtk_budget_item *item, int from, struct budget_step *step)
{
  int found = 0;
  for (int k = 0; k < item->n; k++) {
    if (item->cost[k] <= item->cost[from] || item->error[k] >= item->error[from])
      continue;
    uint64_t cost = item->cost[k] - item->cost[from];
    double gain = item->error[from] - item->error[k], rate = gain / (double)cost;
    if (found && (rate < step->rate || (rate == step->rate && cost <= step->cost)))
      continue;
    step->to = k;
    step->cost = cost;
    step->gain = gain;
    step->rate = rate;
    found = 1;
  }
  return found;
}

/* What gains most for its cost first; steps of an item stay in their order, since their
 * rates fall. */
static int budget_compare(const void *a, const void *b)
{
  const struct budget_step *x = a, *y = b;
  if (x->rate != y->rate)
    return x->rate > y->rate ? -1 : 1;
  if (x->item != y->item)
    return x->item < y->item ? -1 : 1;
  return x->cost < y->cost ? -1 : x->cost > y->cost;
}

/* All steps that fit, in order; an item whose step did not fit takes none behind it. */
static int budget_walk(struct budget *b)
{
  QTK_VEC(struct budget_step) steps = {0};
  char *stuck = calloc(b->n + 1, 1);
  int rc = stuck ? QTK_OK : qtk_error_memory(b->n, "a budget");
  for (size_t i = 0; i < b->n && rc == QTK_OK; i++) {
    struct budget_step step = {.item = i};
    for (int at = b->choice[i]; rc == QTK_OK && budget_corner(&b->items[i], at, &step);
         at = step.to)
      rc = qtk_vec_push(&steps, step);
  }
  if (rc == QTK_OK && steps.length > 0)
    qsort(steps.data, steps.length, sizeof *steps.data, budget_compare);
  for (size_t i = 0; i < steps.length && rc == QTK_OK; i++) {
    const struct budget_step *step = &steps.data[i];
    if (stuck[step->item] || step->cost > b->limit - b->spent) {
      stuck[step->item] = 1;
      continue;
    }
    b->choice[step->item] = step->to;
    b->spent += step->cost;
  }
  free(stuck);
  qtk_vec_free(&steps);
  return rc;
}

/* What is left over: the one change that gains most for its cost, until none fits; changes
 * that cost nothing come first. */
static void budget_fill(struct budget *b)
{
  for (;;) {
    struct budget_step best = {.rate = -1};
    for (size_t i = 0; i < b->n; i++) {
      const struct qtk_budget_item *item = &b->items[i];
      int at = b->choice[i];
      for (int k = 0; k < item->n; k++) {
        double gain = item->error[at] - item->error[k];
        if (gain <= 0 || item->cost[k] < item->cost[at] ||
            item->cost[k] - item->cost[at] > b->limit - b->spent)
          continue;
        uint64_t cost = item->cost[k] - item->cost[at];
        double rate = gain / (cost > 0 ? (double)cost : 0.5);
        if (rate > best.rate)
          best = (struct budget_step){.item = i, .to = k, .cost = cost, .gain = gain,
                                      .rate = rate};
      }
    }
    if (best.rate < 0)
      return;
    b->choice[best.item] = best.to;
    b->spent += best.cost;
  }
}

/* ---- all combinations ---------------------------------------------------------------------- */

static int budget_is_small(const struct budget *b)
{
  uint64_t all = 1;
  for (size_t i = 0; i < b->n && all <= BUDGET_ALL; i++)
    all *= (uint64_t)b->items[i].n;
  return all <= BUDGET_ALL;
}

/* A search through all of them: arrays of n + 1. */
struct budget_search {
  struct budget *b;
  int *at;
  uint64_t *least; /* the least that the items from i on cost */
  double best;
};

static double budget_error(const struct budget *b, const int *choice)
{
  double sum = 0;
  for (size_t i = 0; i < b->n; i++)
    sum += b->items[i].error[choice[i]];
  return sum;
}

/* Only what is better than all before it is taken. As deep as there are items with more than
 * one candidate, at most 20, and runs of those with one. */
static void budget_try(struct budget_search *s, size_t i, uint64_t spent)
{
  const struct budget *b = s->b;
  for (; i < b->n && b->items[i].n == 1; i++) {
    s->at[i] = 0;
    spent += b->items[i].cost[0];
  }
  if (spent + s->least[i] > b->limit)
    return;
  if (i == b->n) {
    double error = budget_error(b, s->at);
    if (error >= s->best)
      return;
    s->best = error;
    for (size_t k = 0; k < b->n; k++)
      b->choice[k] = s->at[k];
    return;
  }
  for (int k = 0; k < b->items[i].n; k++) {
    s->at[i] = k;
    budget_try(s, i + 1, spent + b->items[i].cost[k]);
  }
}

static int budget_search(struct budget *b)
{
  struct budget_search s = {.b = b, .at = calloc(b->n + 1, sizeof *s.at),
                            .least = calloc(b->n + 1, sizeof *s.least),
                            .best = budget_error(b, b->choice)};
  int rc = s.at && s.least ? QTK_OK : qtk_error_memory(b->n * sizeof *s.least, "a budget");
  for (size_t i = b->n; i-- > 0 && rc == QTK_OK;)
    s.least[i] = s.least[i + 1] + b->items[i].cost[budget_cheapest(&b->items[i])];
  if (rc == QTK_OK)
    budget_try(&s, 0, 0);
  free(s.at);
  free(s.least);
  return rc;
}

int qtk_budget_choose(const struct qtk_budget_item *items, size_t n, uint64_t limit, int *choice)
{
  struct budget b = {items, n, limit, qtk_budget_least(items, n), choice};
  if (b.spent > limit)
    return qtk_error(QTK_EJOB, "a budget of %llu bytes: %llu are needed at least",
                     (unsigned long long)limit, (unsigned long long)b.spent);
  for (size_t i = 0; i < n; i++)
    choice[i] = budget_cheapest(&items[i]);
  int rc = budget_walk(&b);
  if (rc != QTK_OK)
    return rc;
  budget_fill(&b);
  return budget_is_small(&b) ? budget_search(&b) : QTK_OK;
}
