/* SPDX-License-Identifier: BSD-3-Clause
 * How a learning rate goes over the steps of a training.
 *
 * Steps count from 1. The rate rises in a straight line over the first `warmup` steps, so
 * that step `warmup` has all of it; from then on, with u = (step - 1 - warmup) /
 * (steps - warmup) in [0, 1):
 *
 *   constant   1
 *   linear     1 - u
 *   cosine     (1 + cos (pi u)) / 2   Loshchilov and Hutter, SGDR, without restarts
 *
 * No step has the rate 0: none is in vain. */
#ifndef QTK_CORE_SCHEDULE_H
#define QTK_CORE_SCHEDULE_H

#include <qtk/base.h>

enum qtk_schedule_shape {
  QTK_SCHEDULE_CONSTANT,
  QTK_SCHEDULE_LINEAR,
  QTK_SCHEDULE_COSINE,
  QTK_SCHEDULE_SHAPES
};

struct qtk_schedule {
  enum qtk_schedule_shape shape;
  int64_t steps, warmup; /* warmup < steps */
};

QTK_PUBLIC const char *qtk_schedule_name(enum qtk_schedule_shape shape);
/* QTK_EJOB if no shape has that name. */
QTK_PUBLIC int qtk_schedule_find(const char *name, enum qtk_schedule_shape *shape);
/* The factor on the learning rate at a step, in (0, 1]. */
QTK_PUBLIC double qtk_schedule_factor(const struct qtk_schedule *s, int64_t step);

#endif
