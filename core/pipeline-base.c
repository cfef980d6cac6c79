/* SPDX-License-Identifier: BSD-3-Clause
 * Writes the base of what a job trains: the bundle of the same job without the training. Its
 * tensors are those under the adapters, so nothing is kept for it while the job runs. */
#include <stdlib.h>

#include "core/error.h"
#include "core/pipeline-output.h"

/* The report of the first n stages. */
static json_t *base_report(const json_t *report, size_t n)
{
  json_t *copy = json_deep_copy(report), *stages = json_object_get(copy, "stages");
  while (json_array_size(stages) > n)
    json_array_remove(stages, json_array_size(stages) - 1);
  if (copy == NULL)
    qtk_error_memory(0, "a report");
  return copy;
}

int qtk_base_begin(const struct qtk_plan *whole, const struct qtk_inputs *inputs,
                   struct qtk_base *base)
{
  struct qtk_inputs own = *inputs;
  struct qtk_str text = {0};
  struct qtk_plan plan;
  int rc = qtk_plan_base(whole, &plan);
  own.plugins = NULL;
  if (rc == QTK_OK)
    rc = qtk_inputs_plugins(&plan, &own);
  if (rc == QTK_OK)
    rc = qtk_plan_portable(&plan, inputs->model, plan.source != NULL ? inputs->source : NULL,
                           inputs->data, inputs->n, &text);
  base->plugins = own.plugins;
  if (rc == QTK_OK && (base->portable = qtk_str_take(&text)) == NULL)
    rc = QTK_ENOMEM;
  qtk_str_free(&text);
  qtk_plan_base_end(&plan);
  return rc;
}

void qtk_base_end(struct qtk_base *base)
{
  free(base->portable);
  free(base->plugins);
}

int qtk_output_base(const struct qtk_work *work, const char *path, const struct qtk_base *base,
                    const struct qtk_inputs *inputs, struct qtk_bundle_result *result)
{
  struct qtk_work before = *work;
  struct qtk_inputs own = *inputs;
  struct qtk_plan plan;
  int rc = qtk_plan_base(work->plan, &plan);
  own.plugins = base->plugins;
  before.plan = &plan;
  before.report = rc == QTK_OK ? base_report(work->report, plan.n_stages) : NULL;
  if (rc == QTK_OK)
    rc = before.report != NULL
             ? qtk_output_bundle(&before, path, base->portable, &own, result)
             : QTK_ENOMEM;
  json_decref(before.report);
  qtk_plan_base_end(&plan);
  return rc;
}
