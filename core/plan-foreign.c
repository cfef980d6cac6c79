/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out an export of the adapter that lies on the model. */
#include <stdlib.h>

#include "core/engine-inner.h"
#include "core/error.h"
#include "core/plan-stage.h"
#include "core/str.h"

/* Its parameters, as they will be. */
static int foreign_params(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_foreign *f)
{
  const struct qtk_engine_case c = {.model = plan->model, .layouts = plan->layouts,
                                    .adapters = plan->adapters, .n_adapters = 1, .tokens = 1};
  struct qtk_engine *e;
  struct qtk_param param;
  struct qtk_tensor value;
  int rc = qtk_engine_open_planned(ctx, &c, &e);
  if (rc != QTK_OK)
    return rc;
  for (int i = 0; rc == QTK_OK && qtk_engine_param(e, 0, i, &param, &value); i++)
    rc = qtk_foreign_add(f, &param);
  qtk_engine_close(e);
  return rc;
}

static int foreign_fill(struct qtk_context *ctx, struct qtk_plan *plan,
                        struct qtk_plan_stage *stage)
{
  stage->foreign = calloc(1, sizeof *stage->foreign);
  if (stage->foreign == NULL)
    return qtk_error_memory(sizeof *stage->foreign, "an export");
  int rc = qtk_foreign_begin(stage->foreign, plan->model, stage->format.loaded,
                             stage->format.options->values, &plan->adapters[0]);
  if (rc == QTK_OK)
    rc = foreign_params(ctx, plan, stage->foreign);
  return rc == QTK_OK ? qtk_foreign_measure(stage->foreign) : rc;
}

int qtk_plan_foreign(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_toml *named = qtk_toml_get(stage->job->table, "format");
  const char *format = qtk_toml_text(named);
  if (plan->n_adapters != 1)
    return qtk_toml_error(named, "%s holds one adapter: %s lie%s on the model here", format,
                          plan->n_adapters == 0 ? "none" : "several",
                          plan->n_adapters == 0 ? "s" : "");
  int rc = foreign_fill(ctx, plan, stage);
  if (rc != QTK_EJOB)
    return rc;
  char *why = qtk_str_copy(qtk_error_message());
  rc = qtk_toml_error(named, "%s cannot hold this adapter: %s", format, why ? why : "");
  free(why);
  return rc;
}

void qtk_plan_foreign_end(struct qtk_plan_stage *stage)
{
  if (stage->foreign != NULL)
    qtk_foreign_end(stage->foreign);
  free(stage->foreign);
}
