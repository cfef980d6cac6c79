/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out the statistics that the quantizers of a stage need. */
#include "core/error.h"
#include "core/eval.h"
#include "core/fs.h"
#include "core/plan-stage.h"

void qtk_plan_needs(struct qtk_plan_method *method)
{
  if (method->loaded == NULL)
    return;
  const struct qtk_quantizer_ops *ops = &method->loaded->ops.quantizer;
  method->needs = ops->needs != NULL ? ops->needs(method->options->values) : QTK_NEEDS_NOTHING;
  method->watches = method->needs != QTK_NEEDS_NOTHING || ops->observe != NULL;
}

/* Statistics are there for linears inside the blocks. */
static int calibrate_linears(const struct qtk_plan_stage *stage, struct qtk_plan_calibrate *c)
{
  const struct qtk_plan_quantize *q = &stage->quantize;
  for (size_t i = 0; i < q->n_linears; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    if (!l->method->watches)
      continue;
    if (l->linear.layer < 0)
      return qtk_toml_error(stage->job->table,
                            "%s: the quantizer '%s' needs statistics of what a linear reads, and "
                            "there are none outside the blocks; give it another method, or skip it",
                            l->name, l->method->loaded->plugin.name);
    if (stage->job->calibrate.node == NULL)
      return qtk_toml_error(qtk_toml_get(stage->job->table, "method"),
                            "the quantizer '%s' needs statistics of a text: give the stage "
                            "calibrate = { data = \"...\" }",
                            l->method->loaded->plugin.name);
    c->wanted = 1;
    c->cross |= (l->method->needs & QTK_NEEDS_CROSS) != 0;
  }
  return QTK_OK;
}

/* Windows as long as the model allows, at most those of an evaluation. */
static int calibrate_length(const struct qtk_plan *plan, const struct qtk_job_calibrate *job,
                            int64_t *length)
{
  int64_t most = qtk_model_info(plan->model)->context;
  int64_t usual = qtk_protocol_context(QTK_PROTOCOL_PAPER);
  *length = job->length > 0 ? job->length : most > 0 && most < usual ? most : usual;
  if (most > 0 && *length > most)
    return qtk_toml_error(qtk_toml_get(job->node, "length"),
                          "length = %lld: this model was made for %lld and less",
                          (long long)*length, (long long)most);
  return QTK_OK;
}

int qtk_plan_calibrate(struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_job_calibrate *job = &stage->job->calibrate;
  struct qtk_plan_calibrate *c = &stage->quantize.calibrate;
  int rc = calibrate_linears(stage, c);
  if (rc != QTK_OK || job->node == NULL)
    return rc;
  if (!c->wanted)
    qtk_warn("%s:%d: calibrate has no effect: no quantizer of this stage needs it",
             qtk_toml_file(job->node), qtk_toml_line(job->node));
  c->data = job->data;
  c->samples = job->samples;
  c->sequential = job->sequential;
  if ((rc = calibrate_length(plan, job, &c->length)) != QTK_OK)
    return rc;
  if (!qtk_path_exists(c->data))
    return qtk_error(QTK_EINPUT, "%s: no such file (data of a stage in %s)", c->data,
                     plan->job->file);
  return QTK_OK;
}
