/* SPDX-License-Identifier: BSD-3-Clause
 * Lays a job out over a model, stage by stage. */
#include <stdlib.h>

#include "core/device.h"
#include "core/error.h"
#include "core/plan-stage.h"

static int plan_stage(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  int rc;
  switch (stage->job->kind) {
  case QTK_JOB_EVALUATE:
    return qtk_plan_evaluate(ctx, plan, stage);
  case QTK_JOB_QUANTIZE:
    rc = qtk_plan_adapt_none(plan, stage);
    return rc == QTK_OK ? qtk_plan_quantize(plan, stage) : rc;
  case QTK_JOB_EXPORT:
    return qtk_plan_export(ctx, plan, stage);
  case QTK_JOB_ADAPT:
    return qtk_plan_adapt(ctx, plan, stage);
  case QTK_JOB_MERGE:
    return qtk_plan_merge(ctx, plan, stage);
  }
  return qtk_error(QTK_EINTERNAL, "a stage of an unknown kind");
}

static int plan_begin(struct qtk_plan *plan)
{
  size_t tensors = (size_t)qtk_model_count(plan->model);
  plan->stages = calloc(plan->job->n_stages, sizeof *plan->stages);
  plan->layouts = calloc(tensors + 1, sizeof *plan->layouts);
  if (plan->stages == NULL || plan->layouts == NULL)
    return qtk_error_memory(tensors * sizeof *plan->layouts, "a plan");
  plan->n_stages = plan->job->n_stages;
  for (size_t i = 0; i < plan->n_stages; i++)
    plan->stages[i].job = &plan->job->stages[i];
  for (size_t i = 0; i < tensors; i++)
    plan->layouts[i] = &qtk_model_tensor(plan->model, (int)i)->layout;
  return qtk_plan_adapt_begin(plan);
}

/* The place of a mistake is the key, if the job has it. */
static int plan_backend(struct qtk_plan *plan)
{
  const struct qtk_toml *node = qtk_toml_find(plan->job->root, "job.backend");
  const struct qtk_loaded *loaded;
  plan->backend = plan->job->backend;
  if (!qtk_plan_needs_device(plan))
    return QTK_OK;
  int rc = qtk_device_choose(plan->backend, &loaded);
  if (rc != QTK_OK)
    return node != NULL ? qtk_plan_method_failed(rc, QTK_BACKEND, node) : rc;
  plan->backend = loaded->plugin.name;
  plan->ops = &loaded->ops.backend;
  return QTK_OK;
}

static int plan_fill(struct qtk_context *ctx, struct qtk_plan *plan)
{
  int rc = plan_begin(plan);
  if (rc == QTK_OK)
    rc = plan_backend(plan);
  if (rc == QTK_OK)
    rc = qtk_plan_redo(plan);
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++)
    rc = plan_stage(ctx, plan, &plan->stages[i]);
  if (rc == QTK_OK)
    rc = qtk_plan_left(plan);
  if (rc == QTK_OK)
    rc = qtk_plan_resolve(plan);
  return rc == QTK_OK ? qtk_plan_sizes(ctx, plan) : rc;
}

int qtk_plan_make(struct qtk_context *ctx, const struct qtk_job *job, struct qtk_model *model,
                  struct qtk_model *source, struct qtk_model *base, struct qtk_plan **plan)
{
  struct qtk_plan *p = calloc(1, sizeof *p);
  if (p == NULL)
    return qtk_error_memory(sizeof *p, "a plan");
  p->job = job;
  p->model = model;
  p->source = source;
  p->base = base;
  int rc = plan_fill(ctx, p);
  if (rc != QTK_OK) {
    qtk_plan_free(p);
    return rc;
  }
  *plan = p;
  return QTK_OK;
}

void qtk_plan_free(struct qtk_plan *plan)
{
  if (plan == NULL)
    return;
  for (size_t i = 0; i < plan->n_stages; i++) {
    qtk_plan_quantize_end(&plan->stages[i].quantize);
    qtk_export_plan_free(plan->stages[i].export);
    qtk_plan_method_end(&plan->stages[i].format);
    qtk_suite_free(plan->stages[i].choices.suite);
    for (size_t k = 0; k < plan->stages[i].n_adapters; k++)
      qtk_tuned_free(plan->stages[i].adapters[k]);
    free(plan->stages[i].adapters);
    qtk_plan_adapt_end(&plan->stages[i].adapt);
    qtk_plan_merge_end(&plan->stages[i].merge);
    qtk_plan_foreign_end(&plan->stages[i]);
  }
  free(plan->stages);
  free(plan->layouts);
  free(plan->adapters);
  free(plan->redone);
  free(plan->kept);
  qtk_toml_free(plan->resolved);
  free(plan);
}

int qtk_plan_needs_tokenizer(const struct qtk_plan *plan)
{
  for (size_t i = 0; i < plan->n_stages; i++)
    if (plan->stages[i].job->kind == QTK_JOB_EVALUATE ||
        plan->stages[i].job->kind == QTK_JOB_ADAPT || plan->stages[i].merge.probe != NULL ||
        plan->stages[i].job->calibrate.node != NULL)
      return 1;
  return 0;
}

int qtk_plan_needs_device(const struct qtk_plan *plan)
{
  for (size_t i = 0; i < plan->n_stages; i++)
    if (plan->stages[i].job->kind == QTK_JOB_MERGE)
      return 1;
  return qtk_plan_needs_tokenizer(plan);
}
