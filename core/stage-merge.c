/* SPDX-License-Identifier: BSD-3-Clause
 * The merge stage: the adapters that lie on the model are folded into its tensors, one after
 * the other, and the model that comes of it is compared with the one that it was. */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage-merge.h"

/* ---- tensors that are put under the model ------------------------------------------- */

static int merge_adopt(struct merge *m, size_t i)
{
  const struct qtk_plan_fold *f = &m->plan->folds[i];
  struct merge_result *r = &m->results[i];
  struct qtk_work *work = m->work;
  struct qtk_state_unit *unit = r->unit;
  const struct qtk_loaded *maker = NULL;
  int rc = QTK_OK;
  r->unit = NULL;
  if (unit != NULL && (rc = qtk_stage_own(work, unit)) != QTK_OK)
    return rc;
  if (f->kind == QTK_FOLD_SCALES)
    return qtk_model_rescale(work->model, f->tensor, r->views[0].codes, r->views[1].codes);
  const char *options = NULL, *name = qtk_model_maker(work->model, f->tensor, &options);
  char *kept = f->kind == QTK_FOLD_QUANTIZED && options != NULL ? strdup(options) : NULL;
  if (f->kind == QTK_FOLD_QUANTIZED && options != NULL && kept == NULL)
    return qtk_error_memory(strlen(options), "options");
  if (f->kind == QTK_FOLD_QUANTIZED && name != NULL)
    rc = qtk_registry_get(QTK_QUANTIZER, name, &maker);
  if (rc == QTK_OK)
    rc = qtk_stage_replace(work, f->tensor, &r->views[0], maker, kept);
  if (rc == QTK_OK && unit != NULL)
    work->kept[f->tensor] = (struct qtk_kept){unit, 0};
  free(kept);
  return rc;
}

/* ---- a run: folds that see the same model --------------------------------------------- */

/* How far folds from `first` on see the same model: direct ones all do, others by adapter. */
static size_t merge_run_end(const struct qtk_plan_merge *plan, size_t first)
{
  const struct qtk_plan_fold *f = plan->folds;
  size_t i = first;
  while (i < plan->n_folds && f[i].direct == f[first].direct &&
         (f[i].direct || f[i].adapter == f[first].adapter))
    i++;
  return i;
}

/* The engine with that adapter alone, opened when it is first needed. */
static int merge_engine(struct merge *m, const struct qtk_plan_fold *f)
{
  if (f->trained || (m->engine != NULL && m->adapter == f->adapter))
    return QTK_OK;
  qtk_engine_close(m->engine);
  m->engine = NULL;
  m->adapter = f->adapter;
  return qtk_engine_open_tuned(m->work->ctx, m->work->model,
                               qtk_model_tuned(m->work->model, f->adapter), &m->engine);
}

static int merge_fold(struct merge *m, size_t i)
{
  const struct qtk_plan_fold *f = &m->plan->folds[i];
  int found, rc = qtk_check_stop(m->work->ctx);
  if (rc == QTK_OK)
    rc = qtk_merge_recall(m, i, &found);
  if (rc != QTK_OK || found)
    return rc;
  if ((rc = merge_engine(m, f)) == QTK_OK)
    rc = qtk_merge_make(m, i);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED
             ? rc
             : qtk_error_at(rc, "%s", qtk_model_tensor(m->work->model, f->tensor)->name);
}

static int merge_run(struct merge *m, size_t first, size_t end, struct qtk_progress *progress)
{
  int rc = QTK_OK;
  for (size_t i = first; i < end && rc == QTK_OK; i++) {
    rc = merge_fold(m, i);
    qtk_progress_step(progress, i + 1);
  }
  qtk_engine_close(m->engine);
  m->engine = NULL;
  for (size_t i = first; i < end && rc == QTK_OK; i++)
    rc = merge_adopt(m, i);
  return rc;
}

static int merge_runs(struct merge *m)
{
  struct qtk_progress progress;
  size_t end;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, "merge", m->plan->n_folds, "tensors");
  for (size_t i = 0; i < m->plan->n_folds && rc == QTK_OK; i = end) {
    end = merge_run_end(m->plan, i);
    rc = merge_run(m, i, end, &progress);
  }
  qtk_progress_end(&progress);
  if (rc == QTK_OK)
    qtk_model_unadapt(m->work->model);
  return rc;
}

/* ---- the stage ------------------------------------------------------------------------------ */

static int merge_begin(struct merge *m, struct qtk_work *work, size_t stage)
{
  *m = (struct merge){.work = work, .stage = stage, .plan = &work->plan->stages[stage].merge};
  m->results = calloc(m->plan->n_folds, sizeof *m->results);
  return m->results ? QTK_OK : qtk_error_memory(m->plan->n_folds * sizeof *m->results, "results");
}

static void merge_end(struct merge *m)
{
  for (size_t i = 0; m->results != NULL && i < m->plan->n_folds; i++)
    qtk_unit_close(m->results[i].unit);
  free(m->results);
  qtk_engine_close(m->engine);
}

/* Adds up what the merged tensors take; one may be merged into more than once. */
static int merge_sizes(const struct merge *m, json_t *entry)
{
  uint64_t bytes = 0, weights = 0;
  for (int t = 0; t < qtk_model_count(m->work->model); t++) {
    const struct qtk_model_tensor *tensor = qtk_model_tensor(m->work->model, t);
    size_t i = 0;
    while (i < m->plan->n_folds && m->plan->folds[i].tensor != t)
      i++;
    if (i == m->plan->n_folds)
      continue;
    bytes += qtk_qlayout_bytes(&tensor->layout);
    weights += (uint64_t)tensor->rows * (uint64_t)tensor->cols;
  }
  return qtk_stage_sizes(m->work, bytes, weights, entry);
}

static int merge_layer(const struct merge *m, size_t i, json_t *entry)
{
  char *name = qtk_plan_name(qtk_model_tensor(m->work->model, m->plan->folds[i].tensor));
  int rc = name ? qtk_report_add_layer(entry, qtk_report_merged(name, m->results[i].error))
                : QTK_ENOMEM;
  free(name);
  return rc;
}

static int merge_layers(const struct merge *m, json_t *entry)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < m->plan->n_folds && rc == QTK_OK; i++)
    if (!m->plan->folds[i].exact)
      rc = merge_layer(m, i, entry);
  return rc;
}

int qtk_stage_merge(struct qtk_work *work, size_t i, json_t *entry)
{
  struct merge_proof proof = {0};
  struct merge m;
  int rc = merge_begin(&m, work, i);
  if (rc == QTK_OK)
    rc = qtk_proof_begin(&proof, work, m.plan);
  if (rc == QTK_OK)
    rc = merge_runs(&m);
  if (rc == QTK_OK)
    rc = qtk_proof_finish(&proof, entry);
  if (rc == QTK_OK)
    rc = merge_layers(&m, entry);
  if (rc == QTK_OK)
    rc = merge_sizes(&m, entry);
  qtk_proof_end(&proof);
  merge_end(&m);
  return rc;
}

int qtk_stage_merge_resume(struct qtk_work *work, size_t i)
{
  struct merge m;
  int rc = merge_begin(&m, work, i);
  if (rc == QTK_OK)
    rc = merge_runs(&m);
  merge_end(&m);
  return rc;
}
