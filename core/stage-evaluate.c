/* SPDX-License-Identifier: BSD-3-Clause
 * The evaluate stage: perplexity of the model as it is now, its divergence from the
 * unquantized one, and the answers that it chooses. */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/eval-choices.h"
#include "core/eval-labels.h"
#include "core/stage.h"

struct evaluation {
  struct qtk_work *work;
  const struct qtk_plan_stage *stage;
  struct qtk_eval_model student, teacher;
  struct qtk_model *opened; /* the model's file once more, as teacher */
  struct qtk_text text;
  json_t *entry;
};

/* ---- what is needed ------------------------------------------------------------ */

static int evaluation_open_engine(struct evaluation *e, struct qtk_model *model,
                                  struct qtk_eval_model *out)
{
  out->info = qtk_model_info(model);
  return qtk_engine_open(e->work->ctx, model, NULL, 0, &out->engine);
}

/* With the adapters that are measured as well attached, and off. */
static int evaluation_open_student(struct evaluation *e)
{
  const struct qtk_plan_stage *stage = e->stage;
  struct qtk_attached *attached = calloc(stage->n_adapters + 1, sizeof *attached);
  int rc = attached ? QTK_OK : qtk_error_memory(stage->n_adapters * sizeof *attached, "adapters");
  for (size_t i = 0; i < stage->n_adapters && rc == QTK_OK; i++) {
    attached[i] = qtk_attached_of(stage->adapters[i]);
    attached[i].name = stage->job->adapters[i].name;
    attached[i].off = 1;
    rc = qtk_model_check_bound(e->work->ctx, e->work->model, stage->adapters[i],
                               e->work->plan->job->force);
    if (rc != QTK_OK)
      rc = qtk_error_at(rc, "%s", stage->job->adapters[i].path);
  }
  e->student.info = qtk_model_info(e->work->model);
  if (rc == QTK_OK)
    rc = qtk_engine_open(e->work->ctx, e->work->model, attached, (int)stage->n_adapters,
                         &e->student.engine);
  free(attached);
  return rc;
}

/* The unquantized model: the one that the job names, or the file that it started from. */
static int evaluation_open_teacher(struct evaluation *e)
{
  struct qtk_model *model = e->work->source;
  int rc = QTK_OK;
  if (e->teacher.engine != NULL)
    return rc;
  if (model == NULL) {
    rc = qtk_model_open(e->work->ctx, e->work->plan->job->model, &e->opened);
    model = e->opened;
  }
  return rc == QTK_OK ? evaluation_open_engine(e, model, &e->teacher) : rc;
}

static void evaluation_end(struct evaluation *e)
{
  qtk_text_free(e->work->ctx, &e->text);
  qtk_engine_close(e->teacher.engine);
  qtk_engine_close(e->student.engine);
  qtk_model_close(e->opened);
}

static int evaluation_read(struct evaluation *e, const struct qtk_plan_text *plan)
{
  const struct qtk_protocol *protocol;
  int rc = qtk_protocol_find(plan->protocol, &protocol);
  if (rc != QTK_OK)
    return rc;
  struct qtk_text_recipe recipe = qtk_protocol_recipe(protocol, plan->context, plan->windows);
  qtk_text_free(e->work->ctx, &e->text);
  e->text = (struct qtk_text){0};
  return qtk_text_read_as(e->work->ctx, plan->data, e->work->tokenizer, &recipe, &e->text);
}

/* ---- measures --------------------------------------------------------------------- */

static int evaluation_perplexity(struct evaluation *e, const struct qtk_plan_text *plan)
{
  struct qtk_perplexity p = {0};
  const struct qtk_protocol *protocol;
  int rc = qtk_protocol_find(plan->protocol, &protocol);
  if (rc == QTK_OK)
    rc = evaluation_read(e, plan);
  if (rc == QTK_OK)
    rc = qtk_perplexity_measure(e->work->ctx, &e->student, &e->text, protocol, plan->context,
                                plan->windows, &p);
  if (rc == QTK_OK)
    rc = qtk_report_perplexity(e->entry, plan->protocol, &p, &e->text);
  qtk_perplexity_free(&p);
  return rc;
}

static int evaluation_divergence(struct evaluation *e, const struct qtk_plan_text *plan)
{
  struct qtk_divergence d = {0};
  int rc = evaluation_read(e, plan);
  if (rc == QTK_OK)
    rc = evaluation_open_teacher(e);
  if (rc == QTK_OK)
    rc = qtk_divergence_measure(e->work->ctx, &e->teacher, &e->student, &e->text, plan->context,
                                plan->windows, &d);
  if (rc == QTK_OK)
    rc = qtk_report_divergence(e->entry, &d, &e->text);
  qtk_divergence_free(&d);
  return rc;
}

static int evaluation_choices(struct evaluation *e, const struct qtk_plan_choices *plan)
{
  struct qtk_choices c = {0};
  int rc = qtk_choices_measure(e->work->ctx, &e->student, e->work->tokenizer, plan->suite,
                               plan->context, 0, &c);
  if (rc == QTK_OK)
    rc = qtk_report_choices(e->entry, &c);
  qtk_choices_free(&c);
  return rc;
}

/* Of a model with a head for them; others are passed over. */
static int evaluation_labels(struct evaluation *e, const struct qtk_plan_labels *plan)
{
  struct qtk_labelled result = {0};
  struct qtk_dataset_reader reader;
  if (qtk_engine_classes(e->student.engine) == 0)
    return QTK_OK;
  int rc = qtk_plan_reader(e->work->model, e->work->tokenizer, &reader);
  if (rc == QTK_OK)
    rc = qtk_labels_measure(e->work->ctx, &e->student, &plan->recipe, &reader, &result);
  if (rc == QTK_OK)
    rc = qtk_report_labels(e->entry, &result);
  qtk_labels_free(&result);
  return rc;
}

static int evaluation_measure(struct evaluation *e)
{
  const struct qtk_plan_stage *stage = e->stage;
  int rc = QTK_OK;
  if (stage->perplexity.wanted)
    rc = evaluation_perplexity(e, &stage->perplexity);
  if (rc == QTK_OK && stage->divergence.wanted)
    rc = evaluation_divergence(e, &stage->divergence);
  if (rc == QTK_OK && stage->choices.suite != NULL)
    rc = evaluation_choices(e, &stage->choices);
  if (rc == QTK_OK && stage->labels.recipe.path != NULL)
    rc = evaluation_labels(e, &stage->labels);
  return rc;
}

/* ---- adapters ----------------------------------------------------------------------- */

/* Puts number i of the stage's on, beside those that lie on the model. */
static int evaluation_switch(struct evaluation *e, size_t i)
{
  size_t own = 0;
  while (qtk_model_tuned(e->work->model, (int)own) != NULL)
    own++;
  char *on = calloc(own + e->stage->n_adapters, 1);
  if (on == NULL)
    return qtk_error_memory(own + e->stage->n_adapters, "a switch");
  memset(on, 1, own);
  on[own + i] = 1;
  double begin = qtk_seconds();
  int rc = qtk_engine_select(e->student.engine, on);
  if (rc == QTK_OK)
    qtk_info("adapter %s: switched in %.1f us", e->stage->job->adapters[i].name,
             1e6 * (qtk_seconds() - begin));
  free(on);
  return rc;
}

static int evaluation_adapter(struct evaluation *e, size_t i)
{
  e->entry = qtk_report_measured(e->entry, e->stage->job->adapters[i].name, e->stage->adapters[i]);
  if (e->entry == NULL)
    return QTK_ENOMEM;
  int rc = evaluation_switch(e, i);
  if (rc == QTK_OK)
    rc = evaluation_measure(e);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "adapter %s", e->stage->job->adapters[i].name);
}

int qtk_stage_evaluate(struct qtk_work *work, size_t i, json_t *entry)
{
  struct evaluation e = {.work = work, .stage = &work->plan->stages[i], .entry = entry};
  qtk_arena_reset_peak(&work->ctx->arena);
  int rc = evaluation_open_student(&e);
  if (rc == QTK_OK)
    rc = evaluation_measure(&e);
  for (size_t k = 0; k < e.stage->n_adapters && rc == QTK_OK; k++) {
    e.entry = entry;
    rc = evaluation_adapter(&e, k);
  }
  evaluation_end(&e);
  return rc == QTK_OK ? qtk_report_memory(entry, &work->ctx->arena) : rc;
}
