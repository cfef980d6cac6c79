/* SPDX-License-Identifier: BSD-3-Clause
 * Adam over the parameters of one adapter of an engine, with clipping by the norm of
 * all gradients together. */
#ifndef QTK_CORE_OPTIMIZER_H
#define QTK_CORE_OPTIMIZER_H

#include "core/engine.h"

enum qtk_optimizer_kind {
  QTK_OPTIMIZER_ADAMW,      /* struct qtk_adamw (Loshchilov and Hutter, Decoupled weight decay) */
  QTK_OPTIMIZER_ADAM,       /* the decay is added to the gradient, and so to the moments */
  QTK_OPTIMIZER_ADAMW_8BIT, /* AdamW with the moments of core/moment.h */
  QTK_OPTIMIZERS
};

QTK_PUBLIC const char *qtk_optimizer_name(enum qtk_optimizer_kind kind);
/* QTK_EJOB if none has that name. */
QTK_PUBLIC int qtk_optimizer_find(const char *name, enum qtk_optimizer_kind *kind);
/* Whether its moments are codes. */
QTK_PUBLIC int qtk_optimizer_coded(enum qtk_optimizer_kind kind);

struct qtk_optimizer_rule {
  double learning_rate, beta1, beta2, epsilon, weight_decay;
  double clip; /* the largest norm of all gradients; 0: any */
  enum qtk_optimizer_kind kind;
};

struct qtk_optimizer;

/* Moments for every parameter of adapter number `adapter`, whose engine trains. */
QTK_PUBLIC int qtk_optimizer_new(struct qtk_context *ctx, struct qtk_engine *engine, int adapter,
                                 const struct qtk_optimizer_rule *rule,
                                 struct qtk_optimizer **optimizer);
QTK_PUBLIC void qtk_optimizer_free(struct qtk_optimizer *o); /* NULL is fine */

/* Another rate, and another largest norm, from the next step on. */
QTK_PUBLIC void qtk_optimizer_change(struct qtk_optimizer *o, double learning_rate, double clip);

/* All gradients are zero. */
QTK_PUBLIC int qtk_optimizer_zero(struct qtk_optimizer *o);
/* Step `step` (from 1) at `factor` times the learning rate; *norm is that of the gradients
 * before they were clipped. QTK_ENUMERIC, with every parameter as it was, if a gradient
 * is not finite. */
QTK_PUBLIC int qtk_optimizer_step(struct qtk_optimizer *o, int64_t step, double factor,
                                  double *norm);

/* What a checkpoint holds: 1 and part `part` of parameter i in backend memory, or 0 past the last
 * of either. Part 0 are the values, in float32; the moments follow, each in float32, or as codes
 * (u8) and the scales of their blocks. */
QTK_PUBLIC int qtk_optimizer_part(struct qtk_optimizer *o, int i, int part,
                                  struct qtk_param *param, struct qtk_tensor *t);
/* How many values there are in all parameters. */
QTK_PUBLIC uint64_t qtk_optimizer_values(const struct qtk_optimizer *o);

#endif
