/* SPDX-License-Identifier: BSD-3-Clause
 * Reads what stages train on before any work, so that no mistake in it shows hours later. Of
 * what is read the numbers stay; the stage reads it again. */
#include "core/error.h"
#include "core/generate.h"
#include "core/plan-stage.h"

int qtk_plan_reader(const struct qtk_model *m, const struct qtk_tokenizer *tokenizer,
                    struct qtk_dataset_reader *reader)
{
  struct qtk_ids ends = {0};
  int rc = qtk_model_ends(m, &ends);
  *reader = (struct qtk_dataset_reader){.tokenizer = tokenizer,
                                        .end = ends.n > 0 ? ends.ids[0] : -1,
                                        .chat_template = qtk_model_text(m, "chat_template"),
                                        .file = qtk_model_path(m)};
  qtk_ids_free(&ends);
  return rc;
}

static int data_read(struct qtk_context *ctx, const struct qtk_job_data *job,
                     const struct qtk_dataset_recipe *recipe,
                     const struct qtk_dataset_reader *reader, struct qtk_dataset *numbers)
{
  if (recipe->path == NULL)
    return QTK_OK;
  int rc = qtk_dataset_read(ctx, recipe, reader, numbers);
  qtk_dataset_drop(numbers);
  return rc != QTK_EJOB ? rc
                        : qtk_error_at(rc, "%s:%d", qtk_toml_file(job->node),
                                       qtk_toml_line(job->node));
}

int qtk_plan_labels(struct qtk_context *ctx, const struct qtk_plan *plan,
                    struct qtk_plan_stage *stage)
{
  const struct qtk_dataset_recipe *recipe = &stage->labels.recipe;
  struct qtk_dataset numbers = {0};
  struct qtk_dataset_reader reader;
  struct qtk_tokenizer *t;
  if (recipe->path == NULL || recipe->classes == 0 || !qtk_model_has_weights(plan->model))
    return QTK_OK;
  int rc = qtk_model_open_tokenizer(plan->model, "texts cannot be read without one", &t);
  if (rc != QTK_OK || t == NULL)
    return rc;
  rc = qtk_plan_reader(plan->model, t, &reader);
  if (rc == QTK_OK)
    rc = data_read(ctx, &stage->job->labels, recipe, &reader, &numbers);
  stage->labels.longest = numbers.count.longest;
  stage->labels.tokens = numbers.count.tokens;
  stage->labels.bytes = qtk_dataset_bytes(&numbers);
  qtk_dataset_free(&numbers);
  qtk_tokenizer_close(t);
  return rc;
}

int qtk_plan_data(struct qtk_context *ctx, const struct qtk_plan *plan,
                  struct qtk_plan_stage *stage)
{
  int runs = qtk_model_has_weights(plan->model); /* else a configuration may do */
  const struct qtk_job_stage *job = stage->job;
  struct qtk_plan_adapt *a = &stage->adapt;
  struct qtk_dataset_reader reader;
  struct qtk_tokenizer *t;
  int rc = qtk_model_open_tokenizer(plan->model, runs ? "data cannot be read without one" : NULL,
                                    &t);
  if (rc != QTK_OK || t == NULL)
    return rc;
  rc = qtk_plan_reader(plan->model, t, &reader);
  if (rc == QTK_OK)
    rc = data_read(ctx, &job->data, &a->data, &reader, &a->data_read);
  if (rc == QTK_OK)
    rc = data_read(ctx, &job->validation, &a->validation, &reader, &a->validation_read);
  qtk_tokenizer_close(t);
  return rc;
}
