/* SPDX-License-Identifier: BSD-3-Clause
 * The triangle that says how the error of one column is made up for by later ones. */
#ifndef OPTQ_FACTOR_H
#define OPTQ_FACTOR_H

#include <qtk/ops.h>
#include <qtk/quantizer.h>

#include "plugins/optq/order.h"

struct optq_factor {
  int64_t n;
  float *u;         /* [n, n] by position, upper triangle: inverse (H) = UT U */
  float *p;         /* [n, n] by position, strictly upper, or NULL: what a weight hands on to
                       later ones because its input has drifted from the float model's */
  double damping;   /* share of the mean diagonal that was added to it */
  double condition; /* of H with damping, an estimate */

  struct qtk_tensor u_memory, p_memory; /* of the backend */
};

/* The diagonal of H = 2 / sequences * gram, into strength [n]; 1 where an input was always
 * zero. *dead: how many were. QTK_ENUMERIC if an element of H is not finite or one of the
 * diagonal is below zero. */
int optq_strength(const struct qtk_calibration *c, int64_t n, float *strength, int64_t *dead);

/* Damping that fails is raised, up to 1. `correction` > 0 asks for p, from c->cross. */
int optq_factor_make(struct qtk_context *ctx, const struct qtk_calibration *c,
                     const struct optq_order *order, const float *strength, double damping,
                     double correction, struct optq_factor *f);
void optq_factor_free(struct qtk_context *ctx, struct optq_factor *f);

#endif
