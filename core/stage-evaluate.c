/* SPDX-License-Identifier: BSD-3-Clause
 * The evaluate stage: perplexity of the model as it is now, its divergence from the
 * unquantized one, and the answers that it chooses. */
#include "core/error.h"
#include "core/eval-choices.h"
#include "core/stage.h"

struct evaluation {
  struct qtk_work *work;
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

/* The unquantized model: the one that the job names, or the file that it started from. */
static int evaluation_open_teacher(struct evaluation *e)
{
  struct qtk_model *model = e->work->source;
  int rc = QTK_OK;
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
  enum qtk_protocol protocol;
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
  enum qtk_protocol protocol;
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

int qtk_stage_evaluate(struct qtk_work *work, size_t i, json_t *entry)
{
  const struct qtk_plan_stage *stage = &work->plan->stages[i];
  struct evaluation e = {.work = work, .entry = entry};
  int rc = evaluation_open_engine(&e, work->model, &e.student);
  if (rc == QTK_OK && stage->perplexity.wanted)
    rc = evaluation_perplexity(&e, &stage->perplexity);
  if (rc == QTK_OK && stage->divergence.wanted)
    rc = evaluation_divergence(&e, &stage->divergence);
  if (rc == QTK_OK && stage->choices.suite != NULL)
    rc = evaluation_choices(&e, &stage->choices);
  evaluation_end(&e);
  return rc;
}
