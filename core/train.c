/* SPDX-License-Identifier: BSD-3-Clause
 * The training loop: steps over sequences. What follows from a step's number and the
 * seed is not stored. */
#include "core/train.h"

#include <math.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/error.h"
#include "core/train-group.h"

#define TRAIN_LESSONS 2 /* of the data that are learned and of those that are measured */

/* What a teacher said of sequences. */
struct train_lessons {
  const struct qtk_examples *examples;
  const struct qtk_lesson *list; /* NULL: nothing */
};

struct qtk_train {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  struct qtk_train_rule rule;
  const struct qtk_examples *examples;
  struct train_group group;
  struct qtk_session *session; /* of a group */
  struct qtk_engine *teacher;  /* NULL: none */
  struct qtk_session *lesson;  /* of the teacher */
  struct train_lessons lessons[TRAIN_LESSONS];
  struct qtk_lesson_page page; /* of the group at hand */
  struct qtk_optimizer *optimizer;
  int64_t steps;  /* done */
  int64_t *order; /* [n] the permutation of `epoch` */
  int64_t *picked; /* [room of the group] */
  int64_t epoch;
};

/* ---- order --------------------------------------------------------------------------- */

/* Draws of the order must not meet those of a site. */
#define TRAIN_ORDER UINT64_MAX

/* Fisher and Yates, from the identity. */
void qtk_train_order(struct qtk_context *ctx, int64_t epoch, int64_t n, int64_t *order)
{
  const struct qtk_random_key key = {.step = (uint64_t)epoch, .site = TRAIN_ORDER};

  for (int64_t i = 0; i < n; i++)
    order[i] = i;
  for (int64_t i = n - 1; i > 0; i--) {
    double u = qtk_random_uniform(ctx, &key, (uint64_t)i);
    int64_t k = (int64_t)(u * (double)(i + 1)), kept = order[i];
    order[i] = order[k];
    order[k] = kept;
  }
}

static void train_shuffle(struct qtk_train *t, int64_t epoch)
{
  qtk_train_order(t->ctx, epoch, t->examples->n, t->order);
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

/* Weight of all sequences of a step: what each one's gradient is divided by. */
static double train_weight(struct qtk_train *t, int64_t step)
{
  const struct qtk_examples *e = t->examples;
  double weight = 0.0;

  for (int64_t i = 0; i < t->rule.batch; i++) {
    int64_t number = train_pick(t, (step - 1) * t->rule.batch + i);
    for (int64_t k = e->starts[number]; k < e->starts[number + 1]; k++)
      weight += e->targets[k] >= 0 ? (double)e->weights[k] : 0.0;
  }
  return weight;
}

static const struct qtk_lesson *train_lessons_of(const struct qtk_train *t,
                                                 const struct qtk_examples *examples)
{
  for (int i = 0; i < TRAIN_LESSONS; i++)
    if (t->lessons[i].list != NULL && t->lessons[i].examples == examples)
      return t->lessons[i].list;
  return NULL;
}

/* What the teacher says, or has said, of the group. */
static int train_lesson(struct qtk_train *t, const struct qtk_examples *examples)
{
  const struct qtk_lesson *said = train_lessons_of(t, examples);
  struct qtk_tensor hidden;
  int rc = QTK_OK;

  if (said != NULL) {
    rc = qtk_lesson_copy(t->ctx, said, t->group.numbers, t->group.batch.sequences, &t->page);
    if (rc == QTK_OK)
      qtk_session_learn(t->session, &t->page.lesson);
    return rc;
  }
  if (t->teacher == NULL)
    return QTK_OK;
  rc = qtk_session_forward(t->lesson, t->group.batch.ids, t->group.lengths, &hidden);
  if (rc == QTK_OK)
    qtk_session_teach(t->session, t->teacher, &hidden);
  return rc;
}

/* The group at hand; step 0: nothing is learned from it. */
static int train_forward(struct qtk_train *t, const struct qtk_examples *examples, int64_t step,
                         struct qtk_tensor *hidden)
{
  int rc;

  qtk_session_train(t->session, step, t->group.numbers);
  rc = train_lesson(t, examples);
  return rc == QTK_OK ? qtk_session_forward(t->session, t->group.batch.ids, t->group.lengths, hidden)
                      : rc;
}

/* Which of the data a loss is not finite of. */
static int train_check_loss(const struct qtk_train *t, double sum)
{
  if (isfinite(sum))
    return QTK_OK;
  if (t->group.batch.sequences > 1)
    return qtk_error(QTK_ENUMERIC, "the loss of sequence %llu and of %lld that run with it is not "
                                   "finite",
                     (unsigned long long)t->group.numbers[0],
                     (long long)t->group.batch.sequences - 1);
  return qtk_error(QTK_ENUMERIC, "the loss of sequence %llu is not finite",
                   (unsigned long long)t->group.numbers[0]);
}

/* Those of the step from number i on that run together, or those that are left of it. */
static int train_some(struct qtk_train *t, int64_t step, int64_t i, double weight,
                      struct qtk_train_step *out)
{
  int64_t n = t->rule.batch - i < t->group.room ? t->rule.batch - i : t->group.room;
  struct qtk_tensor hidden;
  double sum, scored;
  int rc;

  for (int64_t k = 0; k < n; k++)
    t->picked[k] = train_pick(t, (step - 1) * t->rule.batch + i + k);
  rc = train_group_take(&t->group, t->examples, t->picked, n);
  if (rc == QTK_OK)
    rc = train_forward(t, t->examples, step, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_backward(t->session, &t->group.batch, &hidden, 1.0 / weight, &sum, &scored);
  if (rc != QTK_OK)
    return rc;
  out->loss += sum / weight;
  out->tokens += t->group.batch.tokens;
  return train_check_loss(t, sum);
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
  for (int64_t i = 0; rc == QTK_OK && i < t->rule.batch; i += t->group.room)
    rc = train_some(t, step, i, weight, out);
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
  struct qtk_tensor hidden;
  int rc = train_group_take(&t->group, examples, &number, 1);

  if (rc == QTK_OK)
    rc = train_forward(t, examples, 0, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_loss(t->session, &t->group.batch, &hidden, NULL, sum, weight);
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

static int train_lists(struct qtk_train *t)
{
  int64_t together = t->rule.micro_batch > 1 ? t->rule.micro_batch : 1;

  if (together > t->rule.batch)
    together = t->rule.batch;
  t->order = calloc((size_t)t->examples->n, sizeof *t->order);
  t->picked = calloc((size_t)together, sizeof *t->picked);
  if (t->order == NULL || t->picked == NULL)
    return qtk_error_memory((size_t)(t->examples->n + together) * sizeof *t->order, "an order");
  return train_group_init(&t->group, together);
}

static int train_open(struct qtk_train *t, int adapter)
{
  int rc = qtk_engine_train_only(t->engine, adapter);

  if (rc == QTK_OK)
    rc = qtk_optimizer_new(t->ctx, t->engine, adapter, &t->rule.optimizer, &t->optimizer);
  if (rc == QTK_OK)
    rc = qtk_session_new(t->engine, t->group.room, 0, &t->session);
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
  rc = train_lists(t);
  if (rc == QTK_OK)
    rc = train_open(t, adapter);
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
  train_group_free(&t->group);
  qtk_lesson_page_free(t->ctx, &t->page);
  free(t->order);
  free(t->picked);
  free(t);
}

int qtk_train_teach(struct qtk_train *t, struct qtk_engine *teacher)
{
  int rc = qtk_session_new(teacher, t->group.room, 0, &t->lesson);

  t->teacher = teacher;
  if (rc == QTK_OK)
    qtk_session_account(t->lesson, "teacher");
  return rc;
}

void qtk_train_change(struct qtk_train *t, double learning_rate, double clip)
{
  t->rule.optimizer.learning_rate = learning_rate;
  t->rule.optimizer.clip = clip;
  qtk_optimizer_change(t->optimizer, learning_rate, clip);
}

int qtk_train_learn(struct qtk_train *t, const struct qtk_examples *examples,
                    const struct qtk_lesson *lessons)
{
  for (int i = 0; i < TRAIN_LESSONS; i++)
    if (t->lessons[i].list == NULL) {
      t->lessons[i] = (struct train_lessons){examples, lessons};
      return QTK_OK;
    }
  return qtk_error(QTK_EINTERNAL, "a training learns of %d sets of data at most", TRAIN_LESSONS);
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
