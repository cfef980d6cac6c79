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

static int data_stages(struct qtk_context *ctx, struct qtk_plan *plan,
                       const struct qtk_dataset_reader *reader)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++) {
    const struct qtk_job_stage *job = plan->stages[i].job;
    struct qtk_plan_adapt *a = &plan->stages[i].adapt;
    rc = data_read(ctx, &job->data, &a->data, reader, &a->data_read);
    if (rc == QTK_OK)
      rc = data_read(ctx, &job->validation, &a->validation, reader, &a->validation_read);
  }
  return rc;
}

static int data_wanted(const struct qtk_plan *plan)
{
  for (size_t i = 0; i < plan->n_stages; i++)
    if (plan->stages[i].adapt.data.path != NULL)
      return 1;
  return 0;
}

int qtk_plan_data(struct qtk_context *ctx, struct qtk_plan *plan)
{
  int runs = qtk_model_has_weights(plan->model); /* else a configuration may do */
  struct qtk_dataset_reader reader;
  struct qtk_tokenizer *t;
  if (!data_wanted(plan))
    return QTK_OK;
  int rc = qtk_model_open_tokenizer(plan->model, runs ? "data cannot be read without one" : NULL,
                                    &t);
  if (rc != QTK_OK || t == NULL)
    return rc;
  rc = qtk_plan_reader(plan->model, t, &reader);
  if (rc == QTK_OK)
    rc = data_stages(ctx, plan, &reader);
  qtk_tokenizer_close(t);
  return rc;
}
