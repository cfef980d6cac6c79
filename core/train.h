/* SPDX-License-Identifier: BSD-3-Clause
 * Training of one adapter on labelled sequences.
 *
 * A step goes over `batch` sequences, one after the other or some together: the loss of a step is the sum
 * over its scored tokens divided by their weight, whatever the lengths of its
 * sequences. Which sequences a step takes is drawn from the seed: every epoch is a
 * permutation of all. Gradients are added in the order of the sequences, so that
 * nothing depends on threads or memory. How many go through the model at once is the rule's to
 * say: sums over tokens may then round differently. */
#ifndef QTK_CORE_TRAIN_H
#define QTK_CORE_TRAIN_H

#include "core/dataset.h"
#include "core/lesson.h"
#include "core/optimizer.h"
#include "core/schedule.h"

struct qtk_train_rule {
  struct qtk_optimizer_rule optimizer;
  struct qtk_schedule schedule;
  int64_t batch;  /* sequences a step */
  int64_t micro_batch; /* of them that go through the model at once; 0: 1 */
  int checkpoint; /* activations by block, made again in backward */
};

/* What a step came to. */
struct qtk_train_step {
  int64_t step;           /* from 1 */
  double loss;            /* mean over the scored tokens, before the update */
  double norm;            /* of the gradients */
  double learning_rate;
  int64_t tokens;         /* that went through the model */
};

struct qtk_train;

/* The engine's adapter number `adapter` learns; examples are borrowed. */
QTK_PUBLIC int qtk_train_new(struct qtk_context *ctx, struct qtk_engine *engine, int adapter,
                             const struct qtk_train_rule *rule,
                             const struct qtk_examples *examples, struct qtk_train **train);
QTK_PUBLIC void qtk_train_free(struct qtk_train *t); /* NULL is fine */
/* An objective that compares with a teacher's logits learns from this engine's, over the same
 * sequences; borrowed. */
QTK_PUBLIC int qtk_train_teach(struct qtk_train *t, struct qtk_engine *teacher);
/* Or from what a teacher said before of the sequences of `examples`, for each of them, those it
 * trains on or others that are measured; borrowed. */
QTK_PUBLIC int qtk_train_learn(struct qtk_train *t, const struct qtk_examples *examples,
                               const struct qtk_lesson *lessons);
/* The permutation of n sequences that an epoch takes, from 0. */
QTK_PUBLIC void qtk_train_order(struct qtk_context *ctx, int64_t epoch, int64_t n, int64_t *order);

/* Another rate, and another largest norm of gradients, from the next step on. */
QTK_PUBLIC void qtk_train_change(struct qtk_train *t, double learning_rate, double clip);
/* The next step. QTK_ENUMERIC if the loss or a gradient is not finite, QTK_EINTERRUPTED on
 * a stop: parameters are then as they were before the step. */
QTK_PUBLIC int qtk_train_next(struct qtk_train *t, struct qtk_train_step *step);
/* Mean loss of other sequences over their scored tokens; nothing is learned from them. */
QTK_PUBLIC int qtk_train_measure(struct qtk_train *t, const struct qtk_examples *examples,
                                 double *loss);
/* Steps done, and from where to go on after a checkpoint. */
QTK_PUBLIC int64_t qtk_train_steps(const struct qtk_train *t);
QTK_PUBLIC void qtk_train_resume(struct qtk_train *t, int64_t steps);
QTK_PUBLIC struct qtk_optimizer *qtk_train_optimizer(struct qtk_train *t);

#endif
