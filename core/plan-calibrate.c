/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out the statistics that the quantizers of a stage need. */
#include "core/arch.h"
#include "core/block.h"
#include "core/calibrate.h"
#include "core/chat.h"
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
  const struct qtk_protocol *protocol;
  int rc = qtk_protocol_find(QTK_PROTOCOL_DEFAULT, &protocol);
  if (rc != QTK_OK)
    return rc;
  int64_t usual = protocol->context;
  *length = job->length > 0 ? job->length : most > 0 && most < usual ? most : usual;
  if (most > 0 && *length > most)
    return qtk_toml_error(qtk_toml_get(job->node, "length"),
                          "length = %lld: this model was made for %lld and less",
                          (long long)*length, (long long)most);
  return QTK_OK;
}

/* Examples are written down by a template that there is; others need none. */
static int calibrate_template(const struct qtk_job_calibrate *job)
{
  struct qtk_chat_source source = {.name = job->template};
  struct qtk_chat *chat = NULL;
  if (job->template == NULL && qtk_path_ends(job->data, ".json"))
    return qtk_toml_error(qtk_toml_get(job->node, "data"),
                          "data = \"%s\": an array of examples is written down by a template: give "
                          "template = \"...\" beside it",
                          qtk_path_base(job->data));
  int rc = job->template != NULL ? qtk_chat_open(&source, &chat) : QTK_OK;
  qtk_chat_close(chat);
  if (rc == QTK_OK || rc == QTK_ENOMEM)
    return rc;
  return qtk_error_at(QTK_EJOB, "%s:%d", qtk_toml_file(job->node), qtk_toml_line(job->node));
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
  c->template = job->template;
  c->samples = job->samples;
  c->sequential = job->sequential;
  if ((rc = calibrate_template(job)) != QTK_OK ||
      (rc = calibrate_length(plan, job, &c->length)) != QTK_OK)
    return rc;
  if (!qtk_path_exists(c->data))
    return qtk_error(QTK_EINPUT, "%s: no such file (data of a stage in %s)", c->data,
                     plan->job->file);
  return QTK_OK;
}

/* ---- memory --------------------------------------------------------------------------- */

#define CALIBRATE_KEEP (UINT64_C(256) << 20)  /* inside a block, where there is room */
#define CALIBRATE_HIDDEN (UINT64_C(1) << 30)  /* more hidden states go to a file */

/* What rounding one linear takes; a guess if its plugin does not say. */
static uint64_t calibrate_rounding(const struct qtk_plan_linear *l)
{
  const struct qtk_quantizer_ops *ops = &l->method->loaded->ops.quantizer;
  uint64_t rows = (uint64_t)l->linear.rows, cols = (uint64_t)l->linear.cols;
  uint64_t own = ops->memory != NULL ? ops->memory(l->method->options->values, &l->linear)
                                     : 4 * (3 * cols * cols + rows * cols);
  if (l->candidates != NULL) /* a result that is thrown away, while it is measured */
    own += 4 * rows * cols + qtk_qtensor_block_bytes(&l->layout);
  return l->method->watches ? 2 * 4 * rows * cols + own : 0;
}

/* Sums and rounding of the linears of a group with that order (-1: any). */
static uint64_t calibrate_round(const struct qtk_plan *plan, const struct qtk_plan_quantize *q,
                                const struct qtk_plan_group *g, int order)
{
  const struct qtk_arch *arch = qtk_model_arch(plan->model);
  uint64_t sums = 0, rounding = 0;
  unsigned seen = 0;
  for (size_t i = g->first; i < g->first + g->n; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    enum qtk_role role = qtk_arch_tensor(arch, l->tensor)->role;
    uint64_t cols = (uint64_t)l->linear.cols, own = calibrate_rounding(l);
    if (!l->method->watches || (order >= 0 && l->order != order))
      continue;
    unsigned bit = BLOCK_BIT(qtk_block_input(qtk_arch_model(arch), role));
    sums += seen & bit ? 0 : (q->calibrate.cross ? 8 : 4) * cols * cols;
    seen |= bit;
    rounding = own > rounding ? own : rounding;
  }
  return sums + rounding;
}

static uint64_t calibrate_group(const struct qtk_plan *plan, const struct qtk_plan_quantize *q,
                                const struct qtk_plan_group *g)
{
  uint64_t most = 0;
  if (!q->calibrate.sequential || q->budget.n > 0)
    return g->bytes + calibrate_round(plan, q, g, -1);
  for (size_t i = g->first; i < g->first + g->n; i++) {
    uint64_t bytes = calibrate_round(plan, q, g, q->linears[i].order);
    most = bytes > most ? bytes : most;
  }
  return g->bytes + most;
}

static int calibrate_bytes(const struct qtk_plan *plan, struct qtk_plan_quantize *q,
                           uint64_t weights, uint64_t keep, int spill)
{
  struct qtk_plan_calibrate *c = &q->calibrate;
  struct qtk_calibrator_options options = {.samples = c->samples, .length = c->length,
                                           .cross = c->cross, .keep = keep,
                                           .spill = spill ? "" : NULL};
  uint64_t most = 0;
  int rc = qtk_calibrator_memory(qtk_model_arch(plan->model), &options, &c->memory, &c->disk);
  for (size_t g = 0; g < q->n_groups; g++) {
    uint64_t bytes = calibrate_group(plan, q, &q->groups[g]);
    most = bytes > most ? bytes : most;
  }
  c->memory += most + weights * (c->cross ? 2 : 1);
  c->keep = keep;
  c->spill = spill;
  return rc;
}

int qtk_plan_calibrate_fit(const struct qtk_plan *plan, struct qtk_plan_quantize *q,
                           uint64_t weights, uint64_t room)
{
  uint64_t hidden = 4 * (uint64_t)(q->calibrate.samples * q->calibrate.length) *
                    (uint64_t)qtk_model_info(plan->model)->dims.hidden;
  struct qtk_plan_calibrate *c = &q->calibrate;
  int rc = calibrate_bytes(plan, q, weights, 0, hidden > CALIBRATE_HIDDEN);
  if (rc == QTK_OK && c->memory > room)
    rc = calibrate_bytes(plan, q, weights, 0, 1);
  if (rc != QTK_OK || c->memory >= room || !c->sequential) /* else there is one run alone */
    return rc;
  uint64_t left = (room - c->memory) / (c->cross ? 2 : 1);
  return calibrate_bytes(plan, q, weights, left < CALIBRATE_KEEP ? left : CALIBRATE_KEEP, c->spill);
}
