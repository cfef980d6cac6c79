/* SPDX-License-Identifier: BSD-3-Clause
 * The grid of one group of weights: what = scale * (q - zero), q in 0 .. top. */
#ifndef PLUGINS_GRID_H
#define PLUGINS_GRID_H

#include <qtk/tensor.h>

/* How grids are chosen: the same for all groups of a matrix. */
struct grid_rule {
  int bits;
  int symmetric;        /* zero stays at 2^(bits - 1) */
  enum qtk_dtype dtype; /* of the scale as it is stored */
  int search;           /* try smaller ranges too */
  double exponent;      /* of the error that the search minimises */
  int64_t descent;      /* rounds, at most */
};

struct grid {
  float scale; /* a value of the rule's dtype */
  int zero;    /* 0 .. top */
};

/* The grid of w [n]. 1, or 0 if a weight is not finite or the scale is beyond its type. `value`
 * [n] says how much the error of each weight counts in search and descent; NULL: all the same. */
int grid_choose(const struct grid_rule *rule, const float *w, const float *value, int64_t n,
                struct grid *grid);

/* QTK_ENUMERIC with the reason why w [n], row `row` and columns from `col` on, has none. */
int grid_refuse(const struct grid_rule *rule, const float *w, int64_t n, int64_t row, int64_t col);

/* Codes of w [n] on the grid. */
void grid_round(const struct grid_rule *rule, const struct grid *grid, const float *w, int64_t n,
                uint8_t *codes);

/* sum value |what - w|^exponent over w [n] rounded to the grid. */
double grid_error(const struct grid_rule *rule, const struct grid *grid, const float *w,
                  const float *value, int64_t n, double exponent);

#endif
