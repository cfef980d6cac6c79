/* SPDX-License-Identifier: BSD-3-Clause
 * The training loop: steps over sequences. What follows from a step's number and the
 * seed is not stored. */
#include "core/train.h"

#include <math.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/error.h"

struct qtk_train {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  struct qtk_train_rule rule;
  const struct qtk_examples *examples;
  struct qtk_session *session; /* of one sequence */
  struct qtk_engine *teacher;  /* NULL: none */
  struct qtk_session *lesson;  /* of the teacher */
  struct qtk_optimizer *optimizer;
  int64_t steps;  /* done */
  int64_t *order; /* [n] the permutation of `epoch` */
  int64_t epoch;
};

/* ---- order --------------------------------------------------------------------------- */

/* Draws of the order must not meet those of a site. */
#define TRAIN_ORDER UINT64_MAX

/* Fisher and Yates, from the identity. */
static void train_shuffle(struct qtk_train *t, int64_t epoch)
{
  const struct qtk_random_key key = {.step = (uint64_t)epoch, .site = TRAIN_ORDER};
  int64_t n = t->examples->n;

  for (int64_t i = 0; i < n; i++)
    t->order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    double u = qtk_random_uniform(t->ctx, &key, (uint64_t)i);
    int64_t k = (int64_t)(u * (double)(i + 1)), kept = t->order[i];
    t->order[i] = t->order[k];
    t->order[k] = kept;
  }
  t->epoch = epoch;
}

/* Sequence number i of all that are taken. */
static int64_t train_pick(struct qtk_train *t, int64_t i)
{
  if (i / t->examples->n != t->epoch)
    train_shuffle(t, i / t->examples->n);
  return t->order[i % t->examples->n];
}

/* ---- a step --------------------------------------------------------------------------- */

static struct qtk_batch train_sequence(const struct qtk_examples *e, int64_t number)
{
  int64_t start = e->starts[number];

  return (struct qtk_batch){.tokens = e->starts[number + 1] - start,
                            .ids = e->ids + start,
                            .targets = e->targets + start,
                            .weights = e->weights + start,
                            .sequences = 1};
}

/* Weight of all sequences of a step: what each one's gradient is divided by. */
static double train_weight(struct qtk_train *t, int64_t step)
{
  double weight = 0.0;

  for (int64_t i = 0; i < t->rule.batch; i++) {
    struct qtk_batch b = train_sequence(t->examples, train_pick(t, (step - 1) * t->rule.batch + i));
    for (int64_t k = 0; k < b.tokens; k++)
      weight += b.targets[k] >= 0 ? (double)b.weights[k] : 0.0;
  }
  return weight;
}

/* What the teacher says of the sequence. */
static int train_lesson(struct qtk_train *t, const struct qtk_batch *batch)
{
  struct qtk_tensor hidden;
  int rc;

  if (t->teacher == NULL)
    return QTK_OK;
  rc = qtk_session_forward(t->lesson, batch->ids, &batch->tokens, &hidden);
  if (rc == QTK_OK)
    qtk_session_teach(t->session, t->teacher, &hidden);
  return rc;
}

static int train_one(struct qtk_train *t, int64_t step, int64_t number, double weight,
                     struct qtk_train_step *out)
{
  struct qtk_batch batch = train_sequence(t->examples, number);
  const int64_t starts[] = {0, batch.tokens};
  const uint64_t name = (uint64_t)number;
  struct qtk_tensor hidden;
  double sum, scored;
  int rc;

  batch.starts = starts;
  qtk_session_train(t->session, step, &name);
  rc = train_lesson(t, &batch);
  if (rc == QTK_OK)
    rc = qtk_session_forward(t->session, batch.ids, &batch.tokens, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_backward(t->session, &batch, &hidden, 1.0 / weight, &sum, &scored);
  if (rc != QTK_OK)
    return rc;
  out->loss += sum / weight;
  out->tokens += batch.tokens;
  return isfinite(sum) ? QTK_OK
                       : qtk_error(QTK_ENUMERIC, "the loss of sequence %lld is not finite",
                                   (long long)number);
}

int qtk_train_next(struct qtk_train *t, struct qtk_train_step *out)
{
  int64_t step = t->steps + 1;
  double weight = train_weight(t, step), factor = qtk_schedule_factor(&t->rule.schedule, step);
  int rc = qtk_optimizer_zero(t->optimizer);

  *out = (struct qtk_train_step){
      .step = step, .learning_rate = t->rule.optimizer.learning_rate * factor};
  if (rc == QTK_OK && weight <= 0.0)
    rc = qtk_error(QTK_EINPUT, "step %lld: none of its tokens is scored", (long long)step);
  for (int64_t i = 0; rc == QTK_OK && i < t->rule.batch; i++)
    rc = train_one(t, step, train_pick(t, (step - 1) * t->rule.batch + i), weight, out);
  if (rc == QTK_OK)
    rc = qtk_check_stop(t->ctx);
  if (rc == QTK_OK)
    rc = qtk_optimizer_step(t->optimizer, step, factor, &out->norm);
  if (rc != QTK_OK)
    return rc == QTK_ENUMERIC ? qtk_error_at(rc, "step %lld", (long long)step) : rc;
  t->steps = step;
  return QTK_OK;
}

/* ---- measuring ------------------------------------------------------------------------ */

static int train_look(struct qtk_train *t, const struct qtk_examples *examples, int64_t number,
                      double *sum, double *weight)
{
  struct qtk_batch batch = train_sequence(examples, number);
  const int64_t starts[] = {0, batch.tokens};
  struct qtk_tensor hidden;
  int rc;

  batch.starts = starts;
  qtk_session_train(t->session, 0, NULL);
  rc = train_lesson(t, &batch);
  if (rc == QTK_OK)
    rc = qtk_session_forward(t->session, batch.ids, &batch.tokens, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_loss(t->session, &batch, &hidden, NULL, sum, weight);
  return rc == QTK_OK ? qtk_check_stop(t->ctx) : rc;
}

int qtk_train_measure(struct qtk_train *t, const struct qtk_examples *examples, double *loss)
{
  double all = 0.0, weights = 0.0, sum, weight;
  int rc = QTK_OK;

  for (int64_t i = 0; rc == QTK_OK && i < examples->n; i++) {
    rc = train_look(t, examples, i, &sum, &weight);
    all += sum;
    weights += weight;
  }
  *loss = weights > 0.0 ? all / weights : 0.0;
  return rc;
}

/* ---- a training ------------------------------------------------------------------------- */

static int train_open(struct qtk_train *t, int adapter)
{
  int rc = qtk_engine_train_only(t->engine, adapter);

  if (rc == QTK_OK)
    rc = qtk_optimizer_new(t->ctx, t->engine, adapter, &t->rule.optimizer, &t->optimizer);
  if (rc == QTK_OK)
    rc = qtk_session_new(t->engine, 1, 0, &t->session);
  if (rc == QTK_OK)
    qtk_session_checkpoint(t->session, t->rule.checkpoint);
  return rc;
}

int qtk_train_new(struct qtk_context *ctx, struct qtk_engine *engine, int adapter,
                  const struct qtk_train_rule *rule, const struct qtk_examples *examples,
                  struct qtk_train **train)
{
  struct qtk_train *t;
  int rc;

  if (examples->n < 1)
    return qtk_error(QTK_EINPUT, "there is no sequence to learn from");
  t = calloc(1, sizeof *t);
  if (t == NULL)
    return qtk_error_memory(sizeof *t, "a training");
  *t = (struct qtk_train){
      .ctx = ctx, .engine = engine, .rule = *rule, .examples = examples, .epoch = -1};
  t->order = calloc((size_t)examples->n, sizeof *t->order);
  rc = t->order != NULL ? train_open(t, adapter)
                        : qtk_error_memory((size_t)examples->n * sizeof *t->order, "an order");
  if (rc != QTK_OK) {
    qtk_train_free(t);
    return rc;
  }
  *train = t;
  return QTK_OK;
}

void qtk_train_free(struct qtk_train *t)
{
  if (t == NULL)
    return;
  qtk_session_free(t->session);
  qtk_session_free(t->lesson);
  qtk_optimizer_free(t->optimizer);
  free(t->order);
  free(t);
}

int qtk_train_teach(struct qtk_train *t, struct qtk_engine *teacher)
{
  t->teacher = teacher;
  return qtk_session_new(teacher, 1, 0, &t->lesson);
}

int64_t qtk_train_steps(const struct qtk_train *t)
{
  return t->steps;
}

void qtk_train_resume(struct qtk_train *t, int64_t steps)
{
  t->steps = steps;
}

struct qtk_optimizer *qtk_train_optimizer(struct qtk_train *t)
{
  return t->optimizer;
}
