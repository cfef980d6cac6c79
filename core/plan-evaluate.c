/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out evaluate and export stages. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/foreign.h"
#include "core/eval.h"
#include "core/fs.h"
#include "core/plan-stage.h"

/* Windows as long as the protocol says, or as the model allows. */
static int64_t evaluate_context(const struct qtk_plan *plan, const struct qtk_job_text *text,
                                const struct qtk_protocol *protocol)
{
  int64_t most = qtk_model_info(plan->model)->context;
  int64_t usual = protocol->context;
  if (text->context > 0)
    return text->context;
  return most > 0 && most < usual ? most : usual;
}

/* A protocol of lines on lines of JSON, by the file's name; the other mistake shows when the
 * documents are read. */
static int evaluate_rows(const struct qtk_job_text *job, const struct qtk_protocol *protocol)
{
  if (protocol->recipe.rows != QTK_ROWS_LINES ||
      !(qtk_path_ends(job->data, ".jsonl") || qtk_path_ends(job->data, ".ndjson")))
    return QTK_OK;
  return qtk_toml_error(qtk_toml_get(job->node, "protocol"),
                        "protocol = \"%s\": it wants a file of plain lines, not lines of JSON "
                        "as in %s",
                        job->protocol, qtk_path_base(job->data));
}

static int evaluate_text(const struct qtk_plan *plan, const struct qtk_job_text *job,
                         struct qtk_plan_text *text)
{
  if (job->node == NULL)
    return QTK_OK;
  int64_t most = qtk_model_info(plan->model)->context;
  const struct qtk_protocol *protocol;
  int rc = qtk_protocol_find(job->protocol, &protocol);
  if (rc != QTK_OK)
    return rc;
  *text = (struct qtk_plan_text){1, job->data, job->protocol,
                                 evaluate_context(plan, job, protocol),
                                 job->windows ? job->windows : protocol->windows};
  if (text->context < 2)
    return qtk_toml_error(qtk_toml_get(job->node, "context"),
                          "context = %lld: 2 and more are allowed", (long long)text->context);
  if (most > 0 && text->context > most)
    return qtk_toml_error(qtk_toml_get(job->node, "context"),
                          "context = %lld: this model was made for %lld and less",
                          (long long)text->context, (long long)most);
  if (!qtk_path_exists(text->data))
    return qtk_error(QTK_EINPUT, "%s: no such file (data of a stage in %s)", text->data,
                     plan->job->file);
  return evaluate_rows(job, protocol);
}

/* ---- questions ------------------------------------------------------------------- */

/* Names that there are not are mistakes of the job file, and get its place. */
static int evaluate_misnamed(const struct qtk_job_choices *job)
{
  char *why = qtk_str_copy(qtk_error_message());
  int rc = qtk_toml_error(job->node, "%s", why ? why : "a name that is not known");
  free(why);
  return rc;
}

static int evaluate_choices_context(const struct qtk_plan *plan, const struct qtk_job_choices *job,
                                    int64_t *context)
{
  int64_t most = qtk_model_info(plan->model)->context;
  *context = job->context > 0 ? job->context : most;
  if (job->context > 0 && most > 0 && job->context > most)
    return qtk_toml_error(qtk_toml_get(job->node, "context"),
                          "context = %lld: this model was made for %lld and less",
                          (long long)job->context, (long long)most);
  return QTK_OK;
}

static int evaluate_choices(struct qtk_context *ctx, const struct qtk_plan *plan,
                            const struct qtk_job_choices *job, struct qtk_plan_choices *choices)
{
  const struct qtk_suite_request request = {.name = job->suite,
                                            .path = job->path,
                                            .examples = job->examples,
                                            .score = (enum qtk_score)job->score,
                                            .shots = job->shots,
                                            .limit = job->limit,
                                            .groups = job->subjects};
  if (job->node == NULL)
    return QTK_OK;
  int rc = evaluate_choices_context(plan, job, &choices->context);
  if (rc != QTK_OK)
    return rc;
  if (!qtk_path_exists(job->path))
    return qtk_error(QTK_EINPUT, "%s: no such file or folder (choices of a stage in %s)",
                     job->path, plan->job->file);
  rc = qtk_suite_read(ctx, &request, &choices->suite);
  return rc == QTK_EJOB ? evaluate_misnamed(job) : rc;
}

/* ---- labels ---------------------------------------------------------------------- */

#define EVALUATE_LENGTH 512 /* tokens of a text, where the model allows as many */

static int evaluate_classes(const struct qtk_plan *plan)
{
  for (int i = plan->n_adapters - 1; i >= 0; i--)
    if (plan->adapters[i].classes > 0)
      return (int)plan->adapters[i].classes;
  return 0;
}

/* One of those that are measured as well may have the head. */
static int evaluate_labels(const struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_job_data *job = &stage->job->labels;
  int64_t most = qtk_model_info(plan->model)->context, usual = EVALUATE_LENGTH;
  int heads = evaluate_classes(plan);
  if (job->node == NULL)
    return QTK_OK;
  stage->labels.recipe = (struct qtk_dataset_recipe){
    .path = job->path, .tokens = job->tokens, .label = job->label,
    .columns = {job->columns[0], job->columns[1]},
    .length = job->length > 0 ? job->length : most > 0 && most < usual ? most : usual};
  if (most > 0 && job->length > most)
    return qtk_toml_error(qtk_toml_get(job->node, "length"),
                          "length = %lld: this model was made for %lld and less",
                          (long long)job->length, (long long)most);
  for (size_t i = 0; i < stage->n_adapters; i++) {
    const struct qtk_tuned *t = stage->adapters[i];
    int score = qtk_tuned_find(t, QTK_SCORE_NAME);
    if (score >= 0 && t->params[score].shape[0] > heads)
      heads = (int)t->params[score].shape[0];
  }
  stage->labels.recipe.classes = heads;
  if (heads == 0)
    return qtk_toml_error(job->node, "labels: nothing on the model has a head for them: a stage "
                                     "run = \"adapt\" with classes trains one");
  return qtk_path_exists(job->path)
             ? QTK_OK
             : qtk_error(QTK_EINPUT, "%s: no such file (labels of a stage in %s)", job->path,
                         plan->job->file);
}

/* ---- adapters ------------------------------------------------------------------- */

static int evaluate_adapters(struct qtk_context *ctx, const struct qtk_plan *plan,
                             struct qtk_plan_stage *stage)
{
  const struct qtk_job_stage *job = stage->job;
  int rc = QTK_OK;
  if (job->n_adapters == 0)
    return rc;
  stage->adapters = calloc(job->n_adapters, sizeof *stage->adapters);
  if (stage->adapters == NULL)
    return qtk_error_memory(job->n_adapters * sizeof *stage->adapters, "a list of adapters");
  for (; stage->n_adapters < job->n_adapters && rc == QTK_OK; stage->n_adapters++)
    rc = qtk_foreign_load(ctx, plan->model, job->adapters[stage->n_adapters].path,
                          &stage->adapters[stage->n_adapters]);
  return rc;
}

int qtk_plan_evaluate(struct qtk_context *ctx, struct qtk_plan *plan,
                      struct qtk_plan_stage *stage)
{
  int rc = evaluate_text(plan, &stage->job->perplexity, &stage->perplexity);
  if (rc == QTK_OK)
    rc = evaluate_text(plan, &stage->job->divergence, &stage->divergence);
  if (rc == QTK_OK)
    rc = evaluate_choices(ctx, plan, &stage->job->choices, &stage->choices);
  if (rc == QTK_OK)
    rc = evaluate_adapters(ctx, plan, stage);
  if (rc == QTK_OK)
    rc = evaluate_labels(plan, stage);
  if (rc == QTK_OK)
    rc = qtk_plan_labels(ctx, plan, stage);
  return rc == QTK_OK ? qtk_plan_run(ctx, plan, stage) : rc;
}

/* What the format cannot hold is known before the work, or as soon as a budget's choice is. */
int qtk_plan_export_tensors(struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_toml *named = qtk_toml_get(stage->job->table, "format");
  qtk_export_plan_free(stage->export);
  stage->export = NULL;
  int rc = qtk_export_plan_make(plan->model, plan->layouts, plan->job->name,
                                &stage->format.loaded->ops.format, stage->format.options->values,
                                &stage->export);
  if (rc != QTK_EJOB)
    return rc;
  char *text = strdup(qtk_error_message());
  if (text == NULL)
    return qtk_error_memory(0, "a message");
  rc = qtk_toml_error(named, "%s cannot hold this model: %s", qtk_toml_text(named), text);
  free(text);
  return rc;
}

/* Files of the format are written elsewhere than where the model is read. */
int qtk_plan_export(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_toml *named = qtk_toml_get(stage->job->table, "format");
  int rc = qtk_plan_method_open(QTK_FORMAT, named, stage->job->table,
                                qtk_job_stage_keys(stage->job->kind), &stage->format);
  if (rc != QTK_OK)
    return rc;
  const struct qtk_format_ops *ops = &stage->format.loaded->ops.format;
  if (ops->create == NULL && ops->write_adapter == NULL)
    return qtk_toml_error(named, "the format '%s' is only read, not written",
                          qtk_toml_text(named));
  if (strcmp(stage->job->path, plan->job->model) == 0)
    return qtk_toml_error(qtk_toml_get(stage->job->table, "path"),
                          "path = \"%s\": the model is read from there", stage->job->path);
  if (ops->create == NULL)
    return qtk_plan_foreign(ctx, plan, stage);
  rc = qtk_plan_adapt_none(plan, stage);
  return rc == QTK_OK ? qtk_plan_export_tensors(plan, stage) : rc;
}
