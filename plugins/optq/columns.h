/* SPDX-License-Identifier: BSD-3-Clause
 * Rounds a matrix column by column; what is lost in one is made up for by later ones. */
#ifndef OPTQ_COLUMNS_H
#define OPTQ_COLUMNS_H

#include <qtk/quantizer.h>

#include "plugins/grid/grid.h"
#include "plugins/optq/factor.h"

#define OPTQ_BLOCK 128 /* columns whose errors reach the rest in one product */
#define OPTQ_SLICE 32  /* rows to a piece of parallel work */

struct optq_columns {
  const struct qtk_linear *linear;
  struct grid_rule rule;
  const struct optq_order *order;
  const struct optq_factor *factor;
  int64_t block; /* at most OPTQ_BLOCK */
  float *w;      /* [rows, cols] by position; becomes codes */
  const float *value; /* [cols] what errors cost where grids are chosen: by column for
                         optq_columns_grids, by position for optq_columns_round */
  struct qtk_qtensor *out;
  double objective; /* set: 0.5 tr (dW H dWT), H with damping */
};

/* Chooses the grids of w [rows, cols], by column, and sets them in `out`. */
int optq_columns_grids(struct qtk_context *ctx, const struct optq_columns *k, int64_t group);
/* Rounds. Codes take the place of the weights in w, scales and zeros go into `out`. */
int optq_columns_round(struct qtk_context *ctx, struct optq_columns *k);

#endif
