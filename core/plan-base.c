/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters that a job trains and leaves on its model, and the model without them. */
#include "core/error.h"
#include "core/plan-stage.h"

/* Those behind the last merge. */
static void base_left(struct qtk_plan *plan)
{
  plan->left = plan->n_stages;
  plan->n_left = 0;
  for (size_t i = 0; i < plan->n_stages; i++) {
    enum qtk_job_kind kind = plan->stages[i].job->kind;
    if (kind == QTK_JOB_MERGE) {
      plan->left = plan->n_stages;
      plan->n_left = 0;
    } else if (kind == QTK_JOB_ADAPT) {
      plan->left = plan->n_left == 0 ? i : plan->left;
      plan->n_left++;
    }
  }
}

/* A file of its own holds one adapter, and what it is bound to has to be there elsewhere: one
 * that the job trains, or else the one that lies on its model. */
static int base_check_adapter(const struct qtk_plan *plan, const struct qtk_toml *node)
{
  int n = plan->n_left > 0 ? plan->n_left : plan->n_adapters;
  if (n == 1)
    return QTK_OK;
  if (n == 0)
    return qtk_toml_error(node, "adapter: none lies on the model at the end of this job: a stage "
                                "run = \"adapt\" trains one, [model] adapter brings one along");
  return qtk_toml_error(node, "adapter: this job %s %d, one on top of the other, and the file "
                              "holds one: ship them with their base in a bundle, or each by a job "
                              "of its own",
                        plan->n_left > 0 ? "trains" : "has", n);
}

int qtk_plan_left(struct qtk_plan *plan)
{
  const struct qtk_toml *output = qtk_toml_get(plan->job->root, "output");
  int rc = QTK_OK;
  base_left(plan);
  if (plan->job->adapter != NULL)
    rc = base_check_adapter(plan, qtk_toml_get(output, "adapter"));
  if (rc != QTK_OK || plan->job->base == NULL || plan->n_left > 0)
    return rc;
  return qtk_toml_error(qtk_toml_get(output, "base"),
                        "base: no stage of this job trains an adapter that is left at its end: the "
                        "bundle is the model itself");
}

int qtk_plan_base(const struct qtk_plan *plan, struct qtk_plan *base)
{
  *base = *plan;
  base->n_stages = plan->left;
  base->n_adapters = plan->n_adapters - plan->n_left;
  base->resolved = NULL;
  return qtk_plan_resolve(base);
}

void qtk_plan_base_end(struct qtk_plan *base)
{
  qtk_toml_free(base->resolved);
}
