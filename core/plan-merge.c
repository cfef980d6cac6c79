/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out a merge stage: which tensors change, in which order, and into what.
 *
 * What changes the base itself comes first, whatever its place in the stack: new scales and
 * tensors that an adapter trained. What adapters add to the base then follows, lowest first,
 * each on top of what has come of the tensor. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/plan-stage.h"
#include "core/str.h"
#include "core/tensor.h"

#define MERGE_PROBE 128 /* tokens, where the job does not say */

/* While a stage is laid out. */
struct merging {
  struct qtk_context *ctx;
  struct qtk_plan *plan;
  struct qtk_plan_stage *stage;
  struct qtk_plan_merge *merge;
  size_t tensors;
  struct qtk_engine_folding *foldings; /* [adapters, tensors] on the model as it is */
};

static const struct qtk_engine_folding *merging_at(const struct merging *m, int adapter, size_t t)
{
  return &m->foldings[(size_t)adapter * m->tensors + t];
}

static const char *merging_name(const struct merging *m, size_t t)
{
  return qtk_model_tensor(m->plan->model, (int)t)->name;
}

static int merging_failed(const struct merging *m, int rc)
{
  const struct qtk_toml *run = qtk_toml_get(m->stage->job->table, "run");
  return rc == QTK_EJOB ? qtk_error_at(rc, "%s:%d:%d: merge", qtk_toml_file(run),
                                       qtk_toml_line(run), qtk_toml_column(run))
                        : rc;
}

static int merging_ask(struct merging *m, int adapter, struct qtk_engine_folding *out)
{
  int rc = qtk_engine_foldings(m->ctx, m->plan->model, m->plan->layouts,
                               &m->plan->adapters[adapter], out);
  return rc == QTK_OK ? rc : merging_failed(m, rc);
}

/* ---- what cannot be ------------------------------------------------------------------- */

/* It makes the tensor anew, whatever lies below. */
static int merging_replaces(const struct qtk_engine_folding *f)
{
  return f->kind == QTK_FOLD_QUANTIZED && f->exact;
}

/* Two adapters at a tensor, `low` under `high`. */
static int merging_check_pair(const struct merging *m, int low, int high, size_t t)
{
  const struct qtk_engine_folding *a = merging_at(m, low, t), *b = merging_at(m, high, t);
  int both_direct = (a->trained || a->kind == QTK_FOLD_SCALES) &&
                    (b->trained || b->kind == QTK_FOLD_SCALES);
  int lost = merging_replaces(b) || (merging_replaces(a) && b->kind == QTK_FOLD_SCALES);
  if (a->kind == 0 || b->kind == 0 || (!both_direct && !lost))
    return QTK_OK;
  return qtk_toml_error(qtk_toml_get(m->stage->job->table, "run"),
                        "merge: %s: what adapter %s does to it is lost under adapter %s; only one "
                        "of the two can be merged",
                        merging_name(m, t), m->plan->adapters[low].name,
                        m->plan->adapters[high].name);
}

static int merging_check(const struct merging *m)
{
  int rc = QTK_OK;
  for (int i = 0; i < m->plan->n_adapters; i++)
    if (m->plan->adapters[i].classes > 0)
      return qtk_toml_error(qtk_toml_get(m->stage->job->table, "run"),
                            "merge: adapter %s has a head for labels, which a merged model has no "
                            "place for",
                            m->plan->adapters[i].name);
  for (int high = 1; high < m->plan->n_adapters; high++)
    for (int low = 0; low < high; low++)
      for (size_t t = 0; t < m->tensors && rc == QTK_OK; t++)
        rc = merging_check_pair(m, low, high, t);
  return rc;
}

/* Whoever made the tensor must be able to round it again. */
static int merging_check_maker(const struct merging *m, int t)
{
  struct qtk_stored made = {0};
  qtk_plan_maker(m->plan, (size_t)(m->stage - m->plan->stages), t, &made);
  int rc = qtk_engine_may_round(made.plugin, made.options);
  if (rc != QTK_EJOB)
    return rc;
  char *why = qtk_str_copy(qtk_error_message());
  rc = qtk_toml_error(qtk_toml_get(m->stage->job->table, "run"),
                      "merge: %s: %s; with type = \"f16\" it is merged into floats",
                      merging_name(m, (size_t)t), why ? why : "it cannot be rounded again");
  free(why);
  return rc;
}

/* ---- a fold ------------------------------------------------------------------------------ */

/* Floats are of the type that is asked for, or of the tensor's own. */
static int merging_floats(const struct merging *m, struct qtk_plan_fold *f)
{
  const struct qtk_qlayout *now = m->plan->layouts[f->tensor];
  int named = qtk_dtype_find(m->stage->job->type);
  enum qtk_dtype own = now->encoding == QTK_DENSE ? now->dtype : QTK_F16;
  const struct qtk_model_tensor *t = qtk_model_tensor(m->plan->model, f->tensor);
  f->layout = (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = t->rows, .cols = t->cols,
                                   .dtype = named >= 0 ? (enum qtk_dtype)named : own};
  return qtk_qlayout_init(&f->layout);
}

static int merging_add(struct merging *m, int adapter, int tensor,
                       const struct qtk_engine_folding *how)
{
  struct qtk_plan_fold *f = &m->merge->folds[m->merge->n_folds];
  int floats = qtk_dtype_find(m->stage->job->type) >= 0, rc = QTK_OK;
  *f = (struct qtk_plan_fold){.tensor = tensor, .adapter = adapter, .kind = how->kind,
                              .trained = how->trained, .exact = how->exact,
                              .direct = how->trained || how->kind == QTK_FOLD_SCALES,
                              .layout = *m->plan->layouts[tensor]};
  if (f->kind == QTK_FOLD_QUANTIZED && !f->exact) {
    f->kind = floats ? QTK_FOLD_ROWS : f->kind;
    f->exact = floats;
    rc = floats ? QTK_OK : merging_check_maker(m, tensor);
  }
  if (f->kind == QTK_FOLD_SCALES && f->layout.scale_dtype == QTK_U8)
    rc = qtk_error(QTK_EPLUGIN, "%s: its scales are 8 bits each, and cannot be replaced",
                   merging_name(m, (size_t)tensor));
  if (rc == QTK_OK && f->kind == QTK_FOLD_ROWS) {
    rc = merging_floats(m, f);
    f->exact &= f->layout.dtype == QTK_F32;
  }
  m->plan->layouts[tensor] = &f->layout;
  m->merge->exact &= f->exact;
  m->merge->n_folds++;
  return rc;
}

static int merging_direct(struct merging *m)
{
  int rc = QTK_OK;
  for (int a = 0; a < m->plan->n_adapters; a++)
    for (size_t t = 0; t < m->tensors && rc == QTK_OK; t++) {
      const struct qtk_engine_folding *f = merging_at(m, a, t);
      if (f->trained || f->kind == QTK_FOLD_SCALES)
        rc = merging_add(m, a, (int)t, f);
    }
  return rc;
}

static int merging_adds(const struct qtk_engine_folding *f)
{
  return f->kind != 0 && !f->trained && f->kind != QTK_FOLD_SCALES;
}

/* What is below has changed what it is folded into, so it is asked again. */
static int merging_added(struct merging *m, int adapter)
{
  struct qtk_engine_folding *now = &m->foldings[(size_t)adapter * m->tensors];
  int adds = 0;
  for (size_t t = 0; t < m->tensors; t++)
    adds |= merging_adds(&now[t]);
  if (!adds)
    return QTK_OK;
  memset(now, 0, m->tensors * sizeof *now);
  int rc = merging_ask(m, adapter, now);
  for (size_t t = 0; t < m->tensors && rc == QTK_OK; t++)
    if (merging_adds(&now[t]))
      rc = merging_add(m, adapter, (int)t, &now[t]);
  return rc;
}

/* ---- the stage ------------------------------------------------------------------------------ */

static int merging_probe(const struct merging *m)
{
  const struct qtk_job_text *job = &m->stage->job->probe;
  int64_t most = qtk_model_info(m->plan->model)->context;
  int64_t usual = most > 0 && most < MERGE_PROBE ? most : MERGE_PROBE;
  m->merge->probe = job->data;
  m->merge->probe_context = job->context > 0 ? job->context : usual;
  if (most > 0 && m->merge->probe_context > most)
    return qtk_toml_error(qtk_toml_get(job->node, "context"),
                          "context = %lld: this model was made for %lld and less",
                          (long long)job->context, (long long)most);
  if (job->data != NULL && !qtk_path_exists(job->data))
    return qtk_error(QTK_EINPUT, "%s: no such file (probe of a stage in %s)", job->data,
                     m->plan->job->file);
  return QTK_OK;
}

/* "low", "low and scales": who is merged, for people. */
static int merging_names(const struct merging *m)
{
  struct qtk_str names = {0};
  for (int a = 0; a < m->plan->n_adapters; a++)
    qtk_str_printf(&names, "%s%s", a > 0 ? " " : "", m->plan->adapters[a].name);
  m->merge->names = names.failed ? NULL : qtk_str_take(&names);
  qtk_str_free(&names);
  return m->merge->names ? QTK_OK : qtk_error_memory(0, "names");
}

static int64_t merging_tensors(const struct merging *m)
{
  int64_t n = 0;
  for (size_t i = 0; i < m->merge->n_folds; i++) {
    int seen = 0;
    for (size_t k = 0; k < i; k++)
      seen |= m->merge->folds[k].tensor == m->merge->folds[i].tensor;
    n += !seen;
  }
  return n;
}

static int merging_fill(struct merging *m)
{
  int rc = merging_probe(m);
  if (rc == QTK_OK)
    rc = merging_names(m);
  for (int a = 0; a < m->plan->n_adapters && rc == QTK_OK; a++)
    rc = merging_ask(m, a, &m->foldings[(size_t)a * m->tensors]);
  if (rc == QTK_OK)
    rc = merging_check(m);
  if (rc == QTK_OK)
    rc = merging_direct(m);
  for (int a = 0; a < m->plan->n_adapters && rc == QTK_OK; a++)
    rc = merging_added(m, a);
  m->merge->n_tensors = merging_tensors(m);
  return rc;
}

/* What the stage runs besides a pass over the probe: weights and parameters. */
static int merging_sizes(const struct merging *m)
{
  const struct qtk_engine_case c = {.model = m->plan->model,
                                    .layouts = m->plan->layouts,
                                    .adapters = m->plan->adapters,
                                    .n_adapters = m->plan->n_adapters,
                                    .tokens = m->merge->probe_context,
                                    .checkpoint = 1};
  return qtk_engine_measure(m->ctx, &c, &m->merge->sizes);
}

int qtk_plan_merge(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  struct merging m = {.ctx = ctx, .plan = plan, .stage = stage, .merge = &stage->merge,
                      .tensors = (size_t)qtk_model_count(plan->model)};
  size_t all = (size_t)plan->n_adapters * m.tensors;
  if (plan->n_adapters == 0)
    return qtk_toml_error(qtk_toml_get(stage->job->table, "run"),
                          "merge: there is nothing to merge: no adapter lies on the model here; a "
                          "stage run = \"adapt\" before this one makes one, and [model] adapter (of "
                          "qtk bundle apply: ADAPTER) names one that is there");
  stage->merge.exact = 1;
  stage->merge.folds = calloc(2 * all, sizeof *stage->merge.folds); /* direct and added ones */
  m.foldings = calloc(all, sizeof *m.foldings);
  int rc = stage->merge.folds && m.foldings ? merging_sizes(&m)
                                            : qtk_error_memory(all * sizeof *m.foldings, "folds");
  if (rc == QTK_OK)
    rc = merging_fill(&m);
  free(m.foldings);
  plan->n_adapters = 0;
  return rc;
}

void qtk_plan_merge_end(struct qtk_plan_merge *merge)
{
  free(merge->folds);
  free(merge->names);
}
