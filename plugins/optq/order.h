/* SPDX-License-Identifier: BSD-3-Clause
 * In which order columns are rounded, and which of them share a grid. */
#ifndef OPTQ_ORDER_H
#define OPTQ_ORDER_H

#include <qtk/base.h>

enum optq_reorder {
  OPTQ_NATURAL,    /* from the first column to the last */
  OPTQ_ACTIVATION, /* the strongest input first */
  OPTQ_GROUPS      /* the group with the strongest input first, and so inside groups */
};

struct optq_order {
  int64_t n;
  int32_t *column; /* [n] of each position */
  int32_t *group;  /* [n] of each position */
  int fixed;       /* grids are chosen before the first column is rounded; if not, groups are
                      runs of positions, and each grid is chosen where its run begins */
};

/* `strength` [n]: the diagonal of the Gram matrix. Groups are of `group` columns; with
 * OPTQ_ACTIVATION and grids that are not fixed, of `group` positions. */
int optq_order_make(struct qtk_context *ctx, enum optq_reorder reorder, int fixed,
                    const float *strength, int64_t n, int64_t group, struct optq_order *order);
void optq_order_free(struct qtk_context *ctx, struct optq_order *order);

/* 1 if a run begins at position p. */
int optq_order_begins(const struct optq_order *order, int64_t p);
/* The end of the run that position p is in. */
int64_t optq_order_run(const struct optq_order *order, int64_t p);
/* The end of the block that begins at p: at most `block` positions. A run that does not
 * begin with the block ends in it. */
int64_t optq_order_block(const struct optq_order *order, int64_t p, int64_t block);

#endif
