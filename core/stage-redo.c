/* SPDX-License-Identifier: BSD-3-Clause
 * What a stage that is done again in part keeps of the bundle: tensors, and what was said of
 * them. */
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/stage-quantize.h"

int qtk_redo_keep(struct qtk_work *work)
{
  const struct qtk_plan *plan = work->plan;
  int rc = QTK_OK;
  for (size_t i = 0; i < plan->n_kept && rc == QTK_OK; i++) {
    const struct qtk_plan_kept *k = &plan->kept[i];
    struct qtk_qtensor view;
    const char *options = NULL;
    rc = qtk_model_hold(work->ctx, plan->base, k->base, &view);
    if (rc != QTK_OK)
      break;
    const char *plugin = qtk_model_maker(plan->base, k->base, &options);
    qtk_model_drop(work->model, k->tensor);
    rc = qtk_model_replace(work->model, k->tensor, &view, plugin, options);
  }
  return rc;
}

/* ---- the report -------------------------------------------------------------------------- */

static const char *redo_name(const json_t *layer)
{
  const char *name = json_string_value(json_object_get(layer, "name"));
  return name ? name : "";
}

static json_t *redo_find(const json_t *layers, const char *name)
{
  json_t *layer;
  size_t i;
  json_array_foreach(layers, i, layer)
    if (strcmp(redo_name(layer), name) == 0)
      return layer;
  return NULL;
}

/* The layers of the bundle's report, with those that were done again in their places. */
static int redo_merge(json_t *entry, const json_t *before)
{
  json_t *now = json_object_get(entry, "layers"), *all = json_array(), *layer;
  int rc = all ? QTK_OK : qtk_error_memory(0, "a report");
  size_t i;
  json_array_foreach(before, i, layer)
  {
    json_t *again = redo_find(now, redo_name(layer));
    if (rc == QTK_OK)
      rc = qtk_json_append(all, json_incref(again ? again : layer));
  }
  json_array_foreach(now, i, layer)
    if (rc == QTK_OK && redo_find(before, redo_name(layer)) == NULL)
      rc = qtk_json_append(all, json_incref(layer));
  if (rc == QTK_OK)
    return qtk_json_set(entry, "layers", all);
  json_decref(all);
  return rc;
}

static json_t *redo_layers(const json_t *results)
{
  json_t *stages = json_object_get(results, "stages"), *stage, *layers = NULL;
  size_t i;
  json_array_foreach(stages, i, stage)
    if (json_object_get(stage, "layers") != NULL)
      layers = json_object_get(stage, "layers");
  return layers;
}

int qtk_redo_report(const struct qtk_work *work, const struct qtk_plan_quantize *q, json_t *entry)
{
  const struct qtk_plan *plan = work->plan;
  json_t *match = json_array(), *results = NULL;
  int rc = match ? QTK_OK : qtk_error_memory(0, "a report");
  for (const char *const *m = plan->job->redo; rc == QTK_OK && *m != NULL; m++)
    rc = qtk_json_append(match, json_string(*m));
  if (rc == QTK_OK)
    rc = qtk_json_set(entry, "redo", json_pack("{s:O, s:I}", "match", match, "linears",
                                               (json_int_t)q->n_linears));
  json_decref(match);
  const char *text = qtk_model_text(plan->base, "results");
  if (rc == QTK_OK && text != NULL)
    rc = qtk_json_parse(text, strlen(text), plan->job->bundle, &results);
  if (rc == QTK_OK && results != NULL)
    rc = redo_merge(entry, redo_layers(results));
  json_decref(results);
  return rc;
}
