/* SPDX-License-Identifier: BSD-3-Clause
 * Choosing one candidate of each item so that their errors add up to the least and their
 * costs to no more than a limit (the multiple-choice knapsack problem). */
#ifndef QTK_CORE_BUDGET_H
#define QTK_CORE_BUDGET_H

#include <qtk/base.h>

/* n >= 1 candidates, in any order; errors are finite. */
struct qtk_budget_item {
  int n;
  const uint64_t *cost; /* [n] */
  const double *error;  /* [n] */
};

/* The cost if every item has its cheapest candidate, or its dearest. */
uint64_t qtk_budget_least(const struct qtk_budget_item *items, size_t n);
uint64_t qtk_budget_most(const struct qtk_budget_item *items, size_t n);

/* choice[i] is the candidate of item i. Up to 2^20 combinations are all considered, and
 * the choice is the best; of more, steps along each item's lower convex hull are taken in
 * the order of what they gain for what they cost, which is the best choice at every limit
 * that such steps reach exactly, and what is left over is filled greedily. Equals are decided
 * by the order of items, so that the same input gives the same choice. QTK_EJOB if even the
 * cheapest candidates are above the limit. */
int qtk_budget_choose(const struct qtk_budget_item *items, size_t n, uint64_t limit, int *choice);

#endif
