/* SPDX-License-Identifier: BSD-3-Clause
 * The quantize stage: block by block. A finished block is a unit of the state, and from
 * then on used from there: memory holds one block and what is at work. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage-quantize.h"

/* ---- a block ----------------------------------------------------------------------- */

static int block_open(struct quantize_block *b)
{
  struct qtk_context *ctx = b->work->ctx;
  size_t n = b->group->n;
  char *place = b->memory = qtk_alloc(ctx, b->group->bytes, "weights");
  b->views = qtk_alloc(ctx, n * sizeof *b->views, "weights");
  b->outcomes = qtk_alloc(ctx, n * sizeof *b->outcomes, "weights");
  b->calibrations = qtk_alloc(ctx, n * sizeof *b->calibrations, "weights");
  if (!b->memory || !b->views || !b->outcomes || !b->calibrations)
    return QTK_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    const struct qtk_plan_linear *l = quantize_linear(b, i);
    b->views[i] = qtk_qtensor_over(&l->layout, place);
    b->views[i].plugin = l->method->loaded->plugin.name;
    b->views[i].dequantize = l->method->loaded->ops.quantizer.dequantize;
    place += qtk_qtensor_block_bytes(&l->layout);
  }
  return QTK_OK;
}

static void block_close(struct quantize_block *b)
{
  qtk_free(b->work->ctx, b->memory);
  qtk_free(b->work->ctx, b->views);
  qtk_free(b->work->ctx, b->outcomes);
  qtk_free(b->work->ctx, b->calibrations);
}

/* All linears of the group at once. */
static int block_quantize(struct quantize_block *b)
{
  char *in = malloc(b->group->n);
  if (in == NULL)
    return qtk_error_memory(b->group->n, "a list of linears");
  memset(in, 1, b->group->n);
  int rc = qtk_quantize_round(b, in);
  free(in);
  return rc;
}

/* ---- what is said about it ------------------------------------------------------------- */

static json_t *block_layer(const struct quantize_block *b, size_t i)
{
  const struct qtk_plan_linear *l = quantize_linear(b, i);
  const struct quantize_outcome *o = &b->outcomes[i];
  struct qtk_report_layer layer = {
    .name = l->name, .bits = l->layout.bits, .seconds = o->seconds, .note = o->result.note,
    .group = l->layout.groups == 1 ? -1 : l->layout.group,
    .relative_error = o->whole > 0 ? o->lost / o->whole : 0,
    .samples = b->calibrations[i].tokens, .damping = o->result.damping,
    .objective = o->result.objective, .condition = o->result.condition};
  return qtk_report_layer(&layer);
}

/* The unit's text: {"layers": [...]}. */
static json_t *block_text(const struct quantize_block *b)
{
  json_t *layers = json_array(), *text = json_pack("{s:o}", "layers", layers);
  int rc = layers && text ? QTK_OK : qtk_error_memory(0, "a report");
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++)
    rc = qtk_json_append(layers, block_layer(b, i));
  if (rc == QTK_OK)
    return text;
  json_decref(text);
  return NULL;
}

/* Adds the layers of a unit's text to the stage's entry. */
static int quantize_tell(json_t *entry, json_t *text)
{
  json_t *layers = json_object_get(text, "layers"), *layer;
  size_t i;
  int rc = QTK_OK;
  json_array_foreach(layers, i, layer)
    if (rc == QTK_OK)
      rc = qtk_report_add_layer(entry, json_incref(layer));
  return rc;
}

/* ---- units of the state -------------------------------------------------------------------- */

#define UNIT_NAME 48

static const char *unit_name(size_t stage, size_t group, char name[UNIT_NAME])
{
  snprintf(name, UNIT_NAME, "stage-%zu.block-%04zu", stage, group);
  return name;
}

static int unit_use(struct qtk_work *work, const struct qtk_plan_linear *l,
                    const struct qtk_qtensor *view)
{
  return qtk_stage_replace(work, l->tensor, view, l->method->loaded, l->method->text);
}

/* The tensors of a unit become the model's. The unit is the work's from now on. */
static int unit_adopt(struct qtk_work *work, const struct qtk_plan_quantize *q,
                      const struct qtk_plan_group *group, struct qtk_state_unit *unit)
{
  int rc = qtk_stage_own(work, unit);
  if (rc != QTK_OK)
    return rc;
  if ((size_t)qtk_unit_count(unit) != group->n)
    return qtk_error(QTK_EINTERNAL, "a block of the state has %d tensors, not %zu",
                     qtk_unit_count(unit), group->n);
  for (size_t i = 0; i < group->n && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = &q->linears[group->first + i];
    work->kept[l->tensor] = (struct qtk_kept){unit, (int)i};
    rc = unit_use(work, l, &qtk_unit_tensor(unit, (int)i)->view);
  }
  qtk_unit_drop(unit, -1);
  return rc;
}

static int unit_put(struct quantize_block *b, const char *name, const char *text,
                    struct qtk_state_unit **unit)
{
  struct qtk_work *work = b->work;
  struct qtk_stored *stored = qtk_alloc(work->ctx, b->group->n * sizeof *stored, "weights");
  if (stored == NULL)
    return QTK_ENOMEM;
  for (size_t i = 0; i < b->group->n; i++) {
    const struct qtk_plan_linear *l = quantize_linear(b, i);
    stored[i] = (struct qtk_stored){
      .name = qtk_model_tensor(work->model, l->tensor)->name, .ndim = 2,
      .shape = {l->linear.rows, l->linear.cols}, .view = b->views[i],
      .plugin = l->method->loaded->plugin.name, .options = l->method->text};
  }
  int rc = qtk_state_put(work->state, name, text, stored, (int)b->group->n, unit);
  qtk_free(work->ctx, stored);
  return rc;
}

/* Without a state the block's own memory stays under the model. */
static int block_stay(struct quantize_block *b)
{
  int rc = qtk_stage_own_block(b->work, b->memory);
  b->memory = NULL;
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++)
    rc = unit_use(b->work, quantize_linear(b, i), &b->views[i]);
  return rc;
}

static int block_keep(struct quantize_block *b, size_t stage, size_t group, const json_t *text)
{
  struct qtk_state_unit *unit;
  struct qtk_str s = {0};
  char name[UNIT_NAME];
  if (b->work->state == NULL)
    return block_stay(b);
  int rc = qtk_json_write(text, QTK_JSON_COMPACT, &s);
  if (rc == QTK_OK)
    rc = unit_put(b, unit_name(stage, group, name), s.data, &unit);
  qtk_str_free(&s);
  return rc == QTK_OK ? unit_adopt(b->work, b->plan, b->group, unit) : rc;
}

/* ---- the stage --------------------------------------------------------------------------------- */

/* Quantizes one block; *text is what is to be said about it. */
static int quantize_block(struct quantize_calibration *c, size_t stage, size_t group,
                          json_t **text)
{
  const struct qtk_plan_quantize *q = c->plan;
  struct quantize_block b = {.work = c->work, .plan = q, .group = &q->groups[group]};
  *text = NULL;
  int rc = block_open(&b);
  if (rc == QTK_OK)
    rc = qtk_calibration_wanted(q, group) ? qtk_calibration_quantize(c, &b) : block_quantize(&b);
  if (rc == QTK_OK && (*text = block_text(&b)) == NULL)
    rc = QTK_ENOMEM;
  qtk_calibration_done(c, group);
  if (rc == QTK_OK)
    rc = block_keep(&b, stage, group, *text);
  block_close(&b);
  return rc;
}

/* The block from the state: *text stays NULL if it is not there. */
static int quantize_recall(struct qtk_work *work, size_t stage, size_t group, json_t **text)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  struct qtk_state_unit *unit = NULL;
  char name[UNIT_NAME];
  *text = NULL;
  if (work->state == NULL)
    return QTK_OK;
  int rc = qtk_state_get(work->state, unit_name(stage, group, name), &unit);
  if (rc != QTK_OK || unit == NULL)
    return rc;
  const char *said = qtk_unit_text(unit);
  if ((rc = qtk_json_parse(said, strlen(said), name, text)) != QTK_OK) {
    qtk_unit_close(unit);
    return rc;
  }
  return unit_adopt(work, q, &q->groups[group], unit);
}

/* *recalled is 1 if the state had it. */
static int quantize_group(struct quantize_calibration *c, size_t stage, size_t group,
                          json_t *entry, int *recalled)
{
  json_t *text = NULL;
  int rc = qtk_check_stop(c->work->ctx);
  if (rc == QTK_OK)
    rc = quantize_recall(c->work, stage, group, &text);
  *recalled = text != NULL;
  if (rc == QTK_OK && text == NULL)
    rc = quantize_block(c, stage, group, &text);
  if (rc == QTK_OK && entry != NULL)
    rc = quantize_tell(entry, text);
  json_decref(text);
  return rc;
}

static int quantize_sizes(const struct qtk_work *work, const struct qtk_plan_quantize *q,
                          json_t *entry)
{
  uint64_t bytes = q->kept_bytes;
  for (size_t i = 0; i < q->n_linears; i++)
    bytes += qtk_qlayout_bytes(&q->linears[i].layout);
  return qtk_stage_sizes(work, bytes, q->weights, entry);
}

/* All groups; what is said about them goes into the entry, if there is one. */
static int quantize_groups(struct qtk_work *work, size_t stage, json_t *entry)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  struct quantize_calibration c;
  struct quantize_budget budget;
  struct qtk_progress progress;
  int recalled, rc = qtk_redo_keep(work);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_quantize_budget(work, stage, &budget);
  if (rc == QTK_OK && entry != NULL)
    rc = qtk_quantize_budget_report(work, stage, &budget, entry);
  qtk_quantize_budget_end(&budget);
  if (rc != QTK_OK)
    return rc;
  qtk_calibration_begin(&c, work, stage);
  qtk_progress_begin(&progress, work->plan->stages[stage].job->method, q->n_groups, "blocks");
  for (size_t g = 0; g < q->n_groups && rc == QTK_OK; g++) {
    rc = quantize_group(&c, stage, g, entry, &recalled);
    if (recalled)
      qtk_progress_skip(&progress, g + 1);
    else
      qtk_progress_step(&progress, g + 1);
  }
  qtk_progress_end(&progress);
  if (rc == QTK_OK && entry != NULL)
    rc = qtk_calibration_report(&c, entry);
  if (rc == QTK_OK && entry != NULL && work->plan->base != NULL)
    rc = qtk_redo_report(work, q, entry);
  qtk_calibration_end(&c);
  return rc;
}

int qtk_stage_quantize(struct qtk_work *work, size_t i, json_t *entry)
{
  int rc = quantize_groups(work, i, entry);
  return rc == QTK_OK ? quantize_sizes(work, &work->plan->stages[i].quantize, entry) : rc;
}

int qtk_stage_quantize_resume(struct qtk_work *work, size_t i)
{
  return quantize_groups(work, i, NULL);
}
