/* SPDX-License-Identifier: BSD-3-Clause
 * The adapt stage: an adapter on top of the model learns from data, step by step, and then
 * lies on the model. */
#include <math.h>
#include <string.h>

#include "core/block.h"
#include "core/calibrate.h"
#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage-adapt.h"

#define ADAPT_POINTS 1000 /* of the loss curve, at most */
#define ADAPT_LOOKS 10    /* at validation data, unless the job says how often */

/* ---- data -------------------------------------------------------------------------------- */

/* A line of what there is to learn from. */
static int adapt_say(const char *what, const struct qtk_dataset *d)
{
  struct qtk_str line = {0};
  int rc = qtk_dataset_line(d, &line);
  if (rc == QTK_OK)
    qtk_info("%s: %s", what, line.data);
  qtk_str_free(&line);
  return rc;
}

/* All of it, one sequence behind the other. */
static struct qtk_text adapt_text(const struct adaptation *a)
{
  const struct qtk_examples *e = &a->data.examples;
  return (struct qtk_text){.name = a->data.name,
                           .ids = {.ids = (int32_t *)(uintptr_t)e->ids,
                                   .n = (size_t)e->starts[e->n]}};
}

/* Says so if what is learned is also what is measured on. */
static int adapt_overlaps(const struct adaptation *a)
{
  const struct qtk_text text = adapt_text(a);
  if (a->validation.name != NULL && a->validation.held <= 0 &&
      strcmp(a->validation.sha256, a->data.sha256) == 0)
    qtk_warn("validation: %s is the file of the training data: losses on it are too good",
             a->validation.name);
  return qtk_stage_overlaps(a->work, "adapt", &text);
}

static int adapt_read(struct adaptation *a)
{
  struct qtk_dataset_reader reader;
  int rc = qtk_plan_reader(a->work->model, a->work->tokenizer, &reader);
  if (rc == QTK_OK)
    rc = qtk_dataset_read(a->work->ctx, &a->plan->data, &reader, &a->data);
  if (rc == QTK_OK)
    rc = adapt_say("data", &a->data);
  if (rc == QTK_OK && a->plan->validation.path != NULL) {
    rc = qtk_dataset_read(a->work->ctx, &a->plan->validation, &reader, &a->validation);
    if (rc == QTK_OK)
      rc = adapt_say("validation", &a->validation);
  }
  return rc == QTK_OK ? adapt_overlaps(a) : rc;
}

/* ---- what runs ------------------------------------------------------------------------------ */

/* The unquantized model: the one that the job names, or the file that it started from, if its
 * linears are floats. */
static int adapt_source(struct adaptation *a)
{
  const struct qtk_model *source = a->work->source;
  int rc = QTK_OK, floats = 1;
  if (source == NULL)
    rc = qtk_model_open(a->work->ctx, a->work->plan->job->model, &a->opened);
  for (int i = 0; rc == QTK_OK && source == NULL && i < qtk_model_count(a->opened); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(a->opened, i);
    floats &= !t->linear || t->layout.encoding == QTK_DENSE;
  }
  if (rc == QTK_OK && source == NULL && floats)
    source = a->opened;
  qtk_model_set_unquantized(a->work->model, source);
  return rc;
}

/* Where the adapter starts from what linears read in the unquantized model: windows of the text
 * that is learned from go through it. */
static int adapt_inputs(struct adaptation *a, int resumes, struct qtk_inputs **inputs)
{
  struct qtk_model *model = a->work->source != NULL ? a->work->source : a->opened;
  const struct qtk_text text = adapt_text(a);
  if (!a->plan->inputs || resumes)
    return QTK_OK;
  qtk_model_account(model, "teacher");
  return qtk_inputs_open(a->work->ctx, model, &text, a->plan->training.length, inputs);
}

static int adapt_open(struct adaptation *a)
{
  const struct qtk_plan_method *m = &a->plan->method;
  struct qtk_attached attached = {.name = m->loaded->plugin.name,
                                  .ops = &m->loaded->ops.adapter,
                                  .options = m->options->values,
                                  .targets = a->work->plan->stages[a->stage].job->targets,
                                  .classes = a->plan->training.classes};
  struct qtk_model_inputs from = {.gram = qtk_inputs_gram};
  struct qtk_inputs *inputs = NULL;
  while (qtk_model_tuned(a->work->model, a->adapter) != NULL)
    a->adapter++;
  int rc = qtk_adapt_resumes(a, &attached.later);
  if (rc == QTK_OK)
    rc = adapt_inputs(a, attached.later, &inputs);
  from.arg = inputs;
  qtk_model_set_inputs(a->work->model, inputs != NULL ? &from : NULL);
  if (rc == QTK_OK)
    rc = qtk_engine_open(a->work->ctx, a->work->model, &attached, 1, &a->engine);
  qtk_model_set_inputs(a->work->model, NULL);
  qtk_inputs_close(inputs);
  return rc;
}

/* The unquantized model beside it, for a loss that compares with its logits: the one that the job
 * names, or the file that it started from. */
static int adapt_teach(struct adaptation *a)
{
  struct qtk_model *model = a->work->source != NULL ? a->work->source : a->opened;
  int rc;
  if (!a->plan->taught)
    return QTK_OK;
  if (a->plan->cached)
    return qtk_adapt_learn(a);
  qtk_model_account(model, "teacher");
  rc = a->plan->stream ? qtk_engine_open_blocks(a->work->ctx, model, &a->teacher)
                       : qtk_engine_open(a->work->ctx, model, NULL, 0, &a->teacher);
  return rc == QTK_OK ? qtk_train_teach(a->train, a->teacher) : rc;
}

/* Steps, where the job counts epochs. */
static int64_t adapt_steps(const struct adaptation *a)
{
  const struct qtk_job_training *t = &a->plan->training;
  double steps = ceil(t->epochs * (double)a->data.examples.n / (double)t->batch);
  return t->steps > 0 ? t->steps : steps > 1 ? (int64_t)steps : 1;
}

static int adapt_rule(struct adaptation *a, struct qtk_train_rule *rule)
{
  const struct qtk_job_training *t = &a->plan->training;
  double warmup = t->warmup < 1 ? floor(t->warmup * (double)a->steps) : t->warmup;
  *rule = (struct qtk_train_rule){.optimizer = {.learning_rate = t->learning_rate,
                                                .beta1 = t->beta1,
                                                .beta2 = t->beta2,
                                                .epsilon = t->epsilon,
                                                .weight_decay = t->weight_decay,
                                                .clip = t->clip},
                                  .schedule = {.steps = a->steps},
                                  .batch = t->batch,
                                  .micro_batch = t->micro_batch,
                                  .checkpoint = a->plan->checkpoint};
  if (warmup >= (double)a->steps)
    return qtk_toml_error(qtk_toml_get(a->plan->table, "warmup"),
                          "warmup = %g: this training has %lld steps in all", t->warmup,
                          (long long)a->steps);
  rule->schedule.warmup = (int64_t)warmup;
  int rc = qtk_optimizer_find(t->optimizer, &rule->optimizer.kind);
  return rc == QTK_OK ? qtk_schedule_find(t->schedule, &rule->schedule.shape) : rc;
}

static int adapt_begin(struct adaptation *a)
{
  struct qtk_train_rule rule;
  int rc = qtk_course_begin(&a->course, &a->plan->training);
  if (rc == QTK_OK)
    rc = adapt_read(a);
  if (rc == QTK_OK)
    rc = adapt_source(a);
  if (rc != QTK_OK)
    return rc;
  a->steps = adapt_steps(a);
  rc = qtk_adapt_lessons(a);
  if (rc == QTK_OK)
    rc = adapt_open(a);
  if (rc != QTK_OK)
    return rc;
  if (a->validation.examples.n > 0)
    a->evaluate_every = a->plan->training.evaluate_every > 0
                            ? a->plan->training.evaluate_every
                            : (a->steps + ADAPT_LOOKS - 1) / ADAPT_LOOKS;
  rc = adapt_rule(a, &rule);
  if (rc == QTK_OK)
    rc = qtk_train_new(a->work->ctx, a->engine, a->adapter, &rule, &a->data.examples, &a->train);
  if (rc == QTK_OK)
    rc = adapt_teach(a);
  return rc == QTK_OK ? qtk_adapt_restore(a) : rc;
}

/* What only steps need gives way to what comes of them. */
static void adapt_end_training(struct adaptation *a)
{
  qtk_train_free(a->train);
  qtk_adapt_lessons_end(a);
  a->train = NULL;
}

static void adapt_end(struct adaptation *a)
{
  adapt_end_training(a);
  qtk_engine_close(a->engine);
  qtk_model_set_unquantized(a->work->model, NULL);
  qtk_model_close(a->opened);
  qtk_dataset_free(&a->validation);
  qtk_dataset_free(&a->data);
  qtk_free(a->work->ctx, a->best);
  qtk_course_end(&a->course);
}

/* ---- steps -------------------------------------------------------------------------------------- */

static int adapt_step(struct adaptation *a, struct qtk_progress *progress)
{
  int64_t every = (a->steps + ADAPT_POINTS - 1) / ADAPT_POINTS;
  struct qtk_train_step step;
  double start = qtk_seconds();
  struct qtk_job_change now = qtk_job_at_step(&a->plan->training, a->course.step + 1);
  qtk_train_change(a->train, now.learning_rate, now.clip);
  int rc = qtk_train_next(a->train, &step);
  if (rc != QTK_OK)
    return rc == QTK_ENUMERIC ? qtk_adapt_diverged(a) : rc;
  rc = qtk_course_step(&a->course, &step, every, qtk_seconds() - start);
  qtk_progress_note(progress, "loss %.4g  %.0f tokens/s", step.loss,
                    (double)a->course.tokens / a->course.seconds);
  qtk_progress_step(progress, (uint64_t)step.step);
  if (rc == QTK_OK && step.step % a->plan->training.save_every == 0 && step.step < a->steps)
    rc = qtk_adapt_save(a);
  return rc;
}

static int adapt_is_due(const struct adaptation *a)
{
  return a->evaluate_every > 0 && a->course.measured < a->course.step &&
         (a->course.step % a->evaluate_every == 0 || a->course.step == a->steps);
}

static int adapt_measure(struct adaptation *a)
{
  const struct qtk_job_training *t = &a->plan->training;
  double loss;
  int better, rc = qtk_train_measure(a->train, &a->validation.examples, &loss);
  if (rc == QTK_OK)
    rc = qtk_course_measured(&a->course, loss, &better);
  if (rc != QTK_OK)
    return rc;
  qtk_info("step %lld: validation loss %.4g%s", (long long)a->course.step, loss,
           better ? "" : ", no better");
  a->course.stopped = t->patience > 0 && a->course.waited >= t->patience;
  return better && strcmp(t->keep, "best") == 0 ? qtk_adapt_keep_best(a) : QTK_OK;
}

/* A stop leaves a checkpoint of what was done. */
static int adapt_train(struct adaptation *a)
{
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, a->plan->method.loaded->plugin.name, (uint64_t)a->steps, "steps");
  qtk_progress_skip(&progress, (uint64_t)a->course.step);
  while (rc == QTK_OK && !a->course.stopped) {
    if (adapt_is_due(a))
      rc = adapt_measure(a);
    else if (a->course.step < a->steps)
      rc = adapt_step(a, &progress);
    else
      break;
  }
  qtk_progress_end(&progress);
  if (rc != QTK_EINTERRUPTED || a->course.step == 0)
    return rc;
  int saved = qtk_adapt_save(a);
  return saved == QTK_OK ? rc : saved;
}

/* ---- what stays ------------------------------------------------------------------------------------ */

static int adapt_bind(struct adaptation *a, struct qtk_tuned *t)
{
  const char *recipe = a->work->recipe;
  uint8_t digest[QTK_DIGEST_BYTES];
  qtk_digest_of(recipe, strlen(recipe), digest);
  qtk_digest_hex(digest, t->recipe);
  return qtk_model_bind(a->work->ctx, a->work->model, t);
}

static int adapt_keep(struct adaptation *a, struct qtk_tuned **tuned)
{
  int rc = qtk_adapt_take_best(a);
  a->trainable = qtk_optimizer_values(qtk_train_optimizer(a->train));
  adapt_end_training(a);
  if (rc == QTK_OK)
    rc = qtk_adapt_tuned(a->work, a->stage, tuned);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_engine_save(a->engine, a->adapter, *tuned);
  return rc == QTK_OK ? adapt_bind(a, *tuned) : rc;
}

static int adapt_report(const struct adaptation *a, json_t *entry, uint64_t bytes)
{
  const struct adapt_course *c = &a->course;
  struct qtk_report_adapt r = {.trainable = a->trainable,
                               .bytes = bytes,
                               .model_bytes = a->plan->base,
                               .memory = &a->work->ctx->arena,
                               .steps = c->step,
                               .tokens = c->tokens,
                               .tokens_per_second = c->seconds > 0
                                                        ? (double)c->tokens / c->seconds
                                                        : 0,
                               .checkpoint = a->plan->checkpoint,
                               .loss = c->loss,
                               .validation = c->validation,
                               .best = c->best.step,
                               .stopped = c->stopped};
  return qtk_report_adapt(entry, &r);
}

/* What was read, as an object. */
static int adapt_report_data(const struct qtk_dataset *d, const char *key, json_t *entry)
{
  json_t *object = json_object();
  int rc = qtk_json_set(entry, key, object);
  return rc == QTK_OK ? qtk_dataset_report(d, object) : rc;
}

static int adapt_report_all(const struct adaptation *a, json_t *entry, uint64_t bytes)
{
  int rc = adapt_report(a, entry, bytes);
  if (rc == QTK_OK)
    rc = adapt_report_data(&a->data, "data", entry);
  if (rc == QTK_OK && a->validation.name != NULL)
    rc = adapt_report_data(&a->validation, "validation_data", entry);
  return rc;
}

int qtk_stage_adapt(struct qtk_work *work, size_t i, json_t *entry)
{
  struct adaptation a = {.work = work, .stage = i, .plan = &work->plan->stages[i].adapt};
  struct qtk_tuned *tuned = NULL;
  qtk_arena_reset_peak(&work->ctx->arena);
  int rc = adapt_begin(&a);
  if (rc == QTK_OK)
    rc = adapt_train(&a);
  if (rc == QTK_OK)
    rc = adapt_keep(&a, &tuned);
  if (rc == QTK_OK)
    rc = adapt_report_all(&a, entry, qtk_tuned_bytes(tuned));
  adapt_end(&a);
  if (rc == QTK_OK)
    return qtk_adapt_finish(work, i, tuned);
  qtk_tuned_free(tuned);
  return rc;
}
