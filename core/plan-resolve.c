/* SPDX-License-Identifier: BSD-3-Clause
 * The job with nothing left open, as TOML: once to be fed back, once without what
 * the results do not depend on. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/plan-stage.h"
#include "core/str.h"

/* ---- paths ------------------------------------------------------------------------- */

/* Absolute, so that the text may be fed back from anywhere. What does not exist yet
 * is named by its folder. */
static int resolve_path(struct qtk_toml *table, const char *key, const char *path)
{
  char real[PATH_MAX];
  if (realpath(path, real) != NULL)
    return qtk_toml_set_text(table, key, real);
  char *folder = qtk_path_dir(path), *whole = NULL;
  if (folder != NULL && realpath(folder, real) != NULL)
    whole = qtk_path_join(real, qtk_path_base(path));
  int rc = folder ? qtk_toml_set_text(table, key, whole ? whole : path) : QTK_ENOMEM;
  free(folder);
  free(whole);
  return rc;
}

/* ---- tables ---------------------------------------------------------------------------- */

static int resolve_job(const struct qtk_plan *plan, struct qtk_toml *root)
{
  const struct qtk_job *job = plan->job;
  struct qtk_toml *table = qtk_toml_set_table(root, "job");
  if (table == NULL)
    return QTK_ENOMEM;
  int rc = qtk_toml_set_text(table, "name", job->name);
  if (rc != QTK_OK || (rc = qtk_toml_set_int(table, "seed", job->seed)) != QTK_OK ||
      (rc = qtk_toml_set_text(table, "backend", plan->backend)) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "threads", job->threads)) != QTK_OK)
    return rc;
  return qtk_toml_set_int(table, "memory_limit", (int64_t)job->memory_limit);
}

static int resolve_adapters(const struct qtk_job *job, struct qtk_toml *table)
{
  struct qtk_toml *list = job->adapters ? qtk_toml_set_array(table, "adapter") : NULL;
  int rc = job->adapters != NULL && list == NULL ? QTK_ENOMEM : QTK_OK;
  char real[PATH_MAX];
  for (char **a = job->adapters; a != NULL && *a != NULL && rc == QTK_OK; a++)
    rc = qtk_toml_append(list, qtk_toml_new_text(realpath(*a, real) != NULL ? real : *a));
  return rc;
}

static int resolve_model(const struct qtk_job *job, struct qtk_toml *root)
{
  struct qtk_toml *table = qtk_toml_set_table(root, "model");
  int rc = table ? resolve_path(table, "path", job->model) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = resolve_adapters(job, table);
  if (rc == QTK_OK && job->source != NULL)
    rc = resolve_path(table, "source", job->source);
  return rc;
}

static int resolve_output(const struct qtk_job *job, struct qtk_toml *root)
{
  struct qtk_toml *table = qtk_toml_set_table(root, "output");
  int rc = table ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = job->bundle ? resolve_path(table, "bundle", job->bundle)
                     : qtk_toml_set_text(table, "bundle", "");
  if (rc == QTK_OK && job->base != NULL)
    rc = resolve_path(table, "base", job->base);
  if (rc == QTK_OK && job->adapter != NULL)
    rc = resolve_path(table, "adapter", job->adapter);
  if (rc == QTK_OK)
    rc = job->report ? resolve_path(table, "report", job->report)
                     : qtk_toml_set_text(table, "report", "");
  if (rc == QTK_OK && job->page != NULL)
    rc = resolve_path(table, "page", job->page);
  return rc;
}

/* ---- stages --------------------------------------------------------------------------------- */

static int resolve_text(struct qtk_toml *stage, const char *key, const struct qtk_plan_text *text)
{
  if (!text->wanted)
    return QTK_OK;
  struct qtk_toml *table = qtk_toml_set_table(stage, key);
  int rc = table ? resolve_path(table, "data", text->data) : QTK_ENOMEM;
  if (rc == QTK_OK && strcmp(key, "perplexity") == 0)
    rc = qtk_toml_set_text(table, "protocol", text->protocol);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "context", text->context);
  if (rc != QTK_OK)
    return rc;
  return qtk_toml_set_int(table, "windows", text->windows);
}

static int resolve_subjects(struct qtk_toml *table, const char **subjects)
{
  struct qtk_toml *list = subjects ? qtk_toml_set_array(table, "subjects") : NULL;
  int rc = subjects != NULL && list == NULL ? QTK_ENOMEM : QTK_OK;
  for (; subjects != NULL && *subjects != NULL && rc == QTK_OK; subjects++)
    rc = qtk_toml_append(list, qtk_toml_new_text(*subjects));
  return rc;
}

static int resolve_choices(struct qtk_toml *stage, const struct qtk_job_choices *job,
                           const struct qtk_plan_choices *choices)
{
  if (choices->suite == NULL)
    return QTK_OK;
  struct qtk_toml *table = qtk_toml_set_table(stage, "choices");
  int rc = table ? resolve_path(table, "path", job->path) : QTK_ENOMEM;
  if (rc == QTK_OK && job->examples != NULL)
    rc = resolve_path(table, "examples", job->examples);
  if (rc != QTK_OK ||
      (rc = qtk_toml_set_text(table, "suite", choices->suite->name)) != QTK_OK ||
      (rc = qtk_toml_set_text(table, "score", qtk_score_names()[job->score])) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "shots", choices->suite->shots)) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "limit", job->limit)) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "context", choices->context)) != QTK_OK)
    return rc;
  return resolve_subjects(table, job->subjects);
}

static int resolve_columns(struct qtk_toml *table, const struct qtk_job_data *d)
{
  struct qtk_toml *list = d->columns[0] != NULL ? qtk_toml_set_array(table, "columns") : NULL;
  int rc = d->columns[0] != NULL && list == NULL ? QTK_ENOMEM : QTK_OK;
  for (int i = 0; i < 2 && rc == QTK_OK && d->columns[i] != NULL; i++)
    rc = qtk_toml_append(list, qtk_toml_new_text(d->columns[i]));
  return rc == QTK_OK && d->label != NULL ? qtk_toml_set_text(table, "label", d->label) : rc;
}

static int resolve_data(struct qtk_toml *stage, const char *key, const struct qtk_job_data *d)
{
  if (d->node == NULL)
    return QTK_OK;
  struct qtk_toml *table = qtk_toml_set_table(stage, key);
  if (table != NULL && d->share > 0)
    return qtk_toml_set_float(table, "share", d->share);
  int rc = table ? resolve_path(table, "path", d->path) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = resolve_columns(table, d);
  if (rc == QTK_OK && d->length > 0)
    rc = qtk_toml_set_int(table, "length", d->length);
  if (rc == QTK_OK && d->template != NULL)
    rc = qtk_toml_set_text(table, "template", d->template);
  if (rc == QTK_OK && d->train_on != NULL)
    rc = qtk_toml_set_text(table, "train_on", d->train_on);
  if (rc == QTK_OK && d->packing >= 0)
    rc = qtk_toml_set_bool(table, "packing", d->packing);
  return rc == QTK_OK ? qtk_toml_set_int(table, "tokens", d->tokens) : rc;
}

static int resolve_measured(const struct qtk_job_stage *job, struct qtk_toml *stage)
{
  struct qtk_toml *table = job->n_adapters > 0 ? qtk_toml_set_table(stage, "adapters") : NULL;
  int rc = job->n_adapters > 0 && table == NULL ? QTK_ENOMEM : QTK_OK;
  for (size_t i = 0; i < job->n_adapters && rc == QTK_OK; i++)
    rc = resolve_path(table, job->adapters[i].name, job->adapters[i].path);
  return rc;
}

static int resolve_evaluate(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  int rc = resolve_text(table, "perplexity", &stage->perplexity);
  if (rc == QTK_OK)
    rc = resolve_text(table, "divergence", &stage->divergence);
  if (rc == QTK_OK)
    rc = resolve_choices(table, &stage->job->choices, &stage->choices);
  if (rc == QTK_OK)
    rc = resolve_data(table, "labels", &stage->job->labels);
  return rc == QTK_OK ? resolve_measured(stage->job, table) : rc;
}

static int resolve_calibrate(const struct qtk_plan_calibrate *c, struct qtk_toml *stage)
{
  if (!c->wanted)
    return QTK_OK;
  struct qtk_toml *table = qtk_toml_set_table(stage, "calibrate");
  int rc = table ? resolve_path(table, "data", c->data) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "samples", c->samples);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "length", c->length);
  if (rc == QTK_OK && c->template != NULL)
    rc = qtk_toml_set_text(table, "template", c->template);
  return rc == QTK_OK ? qtk_toml_set_bool(table, "sequential", c->sequential) : rc;
}

/* What a budget chooses is no option any more. */
static int resolve_budget(const struct qtk_plan_budget *b, struct qtk_toml *stage)
{
  if (b->n == 0)
    return QTK_OK;
  qtk_toml_remove(stage, "bits");
  int rc = qtk_toml_set_float(stage, b->total ? "budget_total" : "budget", b->wanted);
  struct qtk_toml *list = rc == QTK_OK ? qtk_toml_set_array(stage, "candidates") : NULL;
  rc = list ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < b->n && rc == QTK_OK; i++)
    rc = qtk_toml_append(list, qtk_toml_new_int(b->bits[i]));
  return rc;
}

static int resolve_quantize(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  const struct qtk_job_stage *job = stage->job;
  int rc = qtk_toml_set_text(table, "method", job->method);
  if (rc == QTK_OK)
    rc = qtk_options_write(stage->quantize.methods[0].options, table);
  if (rc == QTK_OK)
    rc = resolve_budget(&stage->quantize.budget, table);
  if (rc == QTK_OK && job->targets != NULL)
    rc = qtk_toml_set_text(table, "targets", job->targets);
  if (rc == QTK_OK)
    rc = resolve_calibrate(&stage->quantize.calibrate, table);
  struct qtk_toml *list = NULL;
  if (rc == QTK_OK && job->n_overrides > 0 &&
      (list = qtk_toml_set_array(table, "override")) == NULL)
    rc = QTK_ENOMEM;
  for (size_t i = 0; i < job->n_overrides && rc == QTK_OK; i++)
    rc = qtk_toml_append(list, qtk_toml_copy(job->overrides[i].table));
  return rc;
}

static int resolve_rate(const struct qtk_job_training *t, struct qtk_toml *table)
{
  const struct {
    const char *key;
    double value;
  } numbers[] = {{"learning_rate", t->learning_rate}, {"warmup", t->warmup},
                 {"weight_decay", t->weight_decay},   {"beta1", t->beta1},
                 {"beta2", t->beta2},                 {"epsilon", t->epsilon},
                 {"clip", t->clip}};
  int rc = QTK_OK;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers && rc == QTK_OK; i++)
    rc = qtk_toml_set_float(table, numbers[i].key, numbers[i].value);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "schedule", t->schedule);
  return rc == QTK_OK ? qtk_toml_set_text(table, "optimizer", t->optimizer) : rc;
}

static int resolve_changes(const struct qtk_job_training *t, struct qtk_toml *stage)
{
  struct qtk_toml *list = t->n_changes > 0 ? qtk_toml_set_array(stage, "change") : NULL;
  int rc = t->n_changes > 0 && list == NULL ? QTK_ENOMEM : QTK_OK;
  for (int i = 0; i < t->n_changes && rc == QTK_OK; i++) {
    const struct qtk_job_change *c = &t->changes[i];
    struct qtk_toml *table = qtk_toml_new_table();
    rc = qtk_toml_append(list, table);
    if (rc == QTK_OK)
      rc = qtk_toml_set_int(table, "step", c->step);
    if (rc == QTK_OK && c->learning_rate >= 0)
      rc = qtk_toml_set_float(table, "learning_rate", c->learning_rate);
    if (rc == QTK_OK && c->clip >= 0)
      rc = qtk_toml_set_float(table, "clip", c->clip);
  }
  return rc;
}

static int resolve_training(const struct qtk_job_training *t, struct qtk_toml *table)
{
  int rc = t->steps > 0 ? qtk_toml_set_int(table, "steps", t->steps)
                        : qtk_toml_set_float(table, "epochs", t->epochs);
  if (rc != QTK_OK || (rc = qtk_toml_set_int(table, "batch", t->batch)) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "micro_batch", t->micro_batch)) != QTK_OK ||
      (rc = t->classes > 0 ? qtk_toml_set_int(table, "classes", t->classes) : QTK_OK) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "length", t->length)) != QTK_OK ||
      (rc = resolve_rate(t, table)) != QTK_OK || (rc = resolve_changes(t, table)) != QTK_OK ||
      (rc = qtk_toml_set_text(table, "checkpoint", t->checkpoint)) != QTK_OK ||
      (rc = qtk_toml_set_int(table, "save_every", t->save_every)) != QTK_OK)
    return rc;
  return qtk_toml_set_text(table, "keep_values", t->keep);
}

static int resolve_adapt(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  const struct qtk_job_stage *job = stage->job;
  const struct qtk_job_training *t = &stage->adapt.training;
  int rc = qtk_toml_set_text(table, "method", job->method);
  if (rc == QTK_OK)
    rc = qtk_options_write(stage->adapt.method.options, table);
  if (rc == QTK_OK && job->targets != NULL)
    rc = qtk_toml_set_text(table, "targets", job->targets);
  if (rc == QTK_OK)
    rc = resolve_training(t, table);
  if (rc == QTK_OK && stage->adapt.taught)
    rc = qtk_toml_set_text(table, "teacher", t->teacher);
  if (rc == QTK_OK && stage->adapt.cached)
    rc = qtk_toml_set_int(table, "teacher_top", t->teacher_top);
  if (rc == QTK_OK)
    rc = resolve_data(table, "data", &job->data);
  if (rc == QTK_OK)
    rc = resolve_data(table, "validation", &job->validation);
  if (rc == QTK_OK && t->evaluate_every > 0)
    rc = qtk_toml_set_int(table, "evaluate_every", t->evaluate_every);
  return rc == QTK_OK && job->validation.node != NULL
             ? qtk_toml_set_int(table, "patience", t->patience)
             : rc;
}

static int resolve_merge(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  const struct qtk_plan_merge *m = &stage->merge;
  int rc = qtk_toml_set_text(table, "type", stage->job->type);
  struct qtk_toml *probe = rc == QTK_OK ? qtk_toml_set_table(table, "probe") : NULL;
  rc = probe ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK && m->probe != NULL)
    rc = resolve_path(probe, "data", m->probe);
  return rc == QTK_OK ? qtk_toml_set_int(probe, "context", m->probe_context) : rc;
}

static int resolve_export(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  int rc = qtk_toml_set_text(table, "format", stage->job->method);
  if (rc == QTK_OK)
    rc = resolve_path(table, "path", stage->job->path);
  return rc == QTK_OK ? qtk_options_write(stage->format.options, table) : rc;
}

static int resolve_stage(const struct qtk_plan_stage *stage, struct qtk_toml *list)
{
  static int (*const kinds[])(const struct qtk_plan_stage *, struct qtk_toml *) = {
    [QTK_JOB_EVALUATE] = resolve_evaluate,
    [QTK_JOB_QUANTIZE] = resolve_quantize,
    [QTK_JOB_EXPORT] = resolve_export,
    [QTK_JOB_ADAPT] = resolve_adapt,
    [QTK_JOB_MERGE] = resolve_merge,
  };
  const struct qtk_job_stage *job = stage->job;
  struct qtk_toml *table = qtk_toml_new_table();
  int rc = table ? qtk_toml_set_text(table, "run", qtk_job_kind_name(job->kind)) : QTK_ENOMEM;
  if (rc == QTK_OK && job->name != NULL)
    rc = qtk_toml_set_text(table, "name", job->name);
  if (rc == QTK_OK)
    rc = kinds[job->kind](stage, table);
  if (rc == QTK_OK)
    return qtk_toml_append(list, table);
  qtk_toml_free(table);
  return rc;
}

static int resolve_stages(const struct qtk_plan *plan, struct qtk_toml *root)
{
  struct qtk_toml *list = qtk_toml_set_array(root, "stage");
  int rc = list ? QTK_OK : QTK_ENOMEM;
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++)
    rc = resolve_stage(&plan->stages[i], list);
  return rc;
}

int qtk_plan_resolve(struct qtk_plan *plan)
{
  const struct qtk_job *job = plan->job;
  struct qtk_toml *root = qtk_toml_new_table();
  int rc = root ? resolve_job(plan, root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = resolve_model(job, root);
  if (rc == QTK_OK)
    rc = resolve_stages(plan, root);
  if (rc == QTK_OK)
    rc = resolve_output(job, root);
  if (rc != QTK_OK) {
    qtk_toml_free(root);
    return rc;
  }
  plan->resolved = root;
  return QTK_OK;
}

/* ---- without what the results do not depend on ------------------------------------------------- */

/* The child of a tree that this file made, and may therefore change. */
static struct qtk_toml *portable_get(struct qtk_toml *table, const char *key)
{
  return (struct qtk_toml *)qtk_toml_get(table, key);
}

static int portable_input(struct qtk_toml *table, const char *key, const char *digest_key,
                          const char *digest)
{
  const struct qtk_toml *path = table ? qtk_toml_get(table, key) : NULL;
  if (path == NULL || digest == NULL)
    return QTK_OK;
  char *base = qtk_str_copy(qtk_path_base(qtk_toml_text(path)));
  int rc = base ? qtk_toml_set_text(table, key, base) : QTK_ENOMEM;
  free(base);
  return rc == QTK_OK ? qtk_toml_set_text(table, digest_key, digest) : rc;
}

static const char *portable_digest(const char *data, const struct qtk_plan_input *inputs,
                                   size_t n)
{
  for (size_t i = 0; data != NULL && i < n; i++)
    if (strcmp(inputs[i].path, data) == 0)
      return inputs[i].sha256;
  return NULL;
}

/* The digest is of the questions and the examples. */
static int portable_choices(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  if (table == NULL)
    return QTK_OK;
  qtk_toml_remove(table, "examples");
  return portable_input(table, "path", "sha256", stage->choices.suite->sha256);
}

/* The digest of each, in the place of its path. */
static int portable_measured(const struct qtk_plan_stage *stage, struct qtk_toml *table)
{
  char hex[QTK_DIGEST_HEX];
  int rc = QTK_OK;
  for (size_t i = 0; i < stage->n_adapters && rc == QTK_OK; i++) {
    rc = qtk_tuned_digest(stage->adapters[i], hex);
    if (rc == QTK_OK)
      rc = qtk_toml_set_text(table, stage->job->adapters[i].name, hex);
  }
  return rc;
}

/* Neither how often it is saved nor how it fits into memory changes what is learned. */
static int portable_adapt(const struct qtk_plan_adapt *a, struct qtk_toml *table,
                          const struct qtk_plan_input *inputs, size_t n)
{
  qtk_toml_remove(table, "checkpoint");
  qtk_toml_remove(table, "save_every");
  int rc = portable_input(portable_get(table, "data"), "path", "sha256",
                          portable_digest(a->data.path, inputs, n));
  return rc == QTK_OK ? portable_input(portable_get(table, "validation"), "path", "sha256",
                                       portable_digest(a->validation.path, inputs, n))
                      : rc;
}

static int portable_stage(const struct qtk_plan_stage *stage, struct qtk_toml *table,
                          const struct qtk_plan_input *inputs, size_t n)
{
  qtk_toml_remove(table, "name");
  if (stage->job->kind == QTK_JOB_EXPORT)
    qtk_toml_remove(table, "path");
  int rc = portable_input(portable_get(table, "perplexity"), "data", "sha256",
                          portable_digest(stage->perplexity.data, inputs, n));
  if (rc != QTK_OK)
    return rc;
  rc = portable_input(portable_get(table, "divergence"), "data", "sha256",
                      portable_digest(stage->divergence.data, inputs, n));
  if (rc != QTK_OK)
    return rc;
  rc = portable_input(portable_get(table, "calibrate"), "data", "sha256",
                      portable_digest(stage->quantize.calibrate.data, inputs, n));
  if (rc == QTK_OK)
    rc = portable_input(portable_get(table, "probe"), "data", "sha256",
                        portable_digest(stage->merge.probe, inputs, n));
  if (rc == QTK_OK && stage->job->kind == QTK_JOB_ADAPT)
    rc = portable_adapt(&stage->adapt, table, inputs, n);
  if (rc == QTK_OK)
    rc = portable_input(portable_get(table, "labels"), "path", "sha256",
                        portable_digest(stage->labels.recipe.path, inputs, n));
  if (rc == QTK_OK)
    rc = portable_measured(stage, portable_get(table, "adapters"));
  return rc == QTK_OK ? portable_choices(stage, portable_get(table, "choices")) : rc;
}

/* Exports alone read a note, and those are of one adapter. */
static int portable_note(struct qtk_toml *model, const struct qtk_tuned *t)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  if (t->note == NULL)
    return QTK_OK;
  qtk_digest_of(t->note, strlen(t->note), digest);
  qtk_digest_hex(digest, hex);
  return qtk_toml_set_text(model, "note_digest", hex);
}

/* What lies on the model from the start: the file's own, and those of [model] adapter. */
static int portable_adapters(const struct qtk_plan *plan, struct qtk_toml *model)
{
  struct qtk_toml *names;
  const struct qtk_tuned *t = qtk_model_tuned(plan->model, 0);
  struct qtk_toml *digests = t != NULL ? qtk_toml_set_array(model, "adapter_digest") : NULL;
  int rc = t != NULL && digests == NULL ? QTK_ENOMEM : QTK_OK;
  qtk_toml_remove(model, "adapter");
  names = rc == QTK_OK && plan->job->adapters != NULL ? qtk_toml_set_array(model, "adapter") : NULL;
  for (char **a = plan->job->adapters; names != NULL && *a != NULL && rc == QTK_OK; a++)
    rc = qtk_toml_append(names, qtk_toml_new_text(qtk_path_base(*a)));
  for (int i = 0; rc == QTK_OK && (t = qtk_model_tuned(plan->model, i)) != NULL; i++) {
    char hex[QTK_DIGEST_HEX];
    rc = qtk_tuned_digest(t, hex);
    if (rc == QTK_OK)
      rc = qtk_toml_append(digests, qtk_toml_new_text(hex));
    if (rc == QTK_OK && qtk_model_tuned(plan->model, 1) == NULL)
      rc = portable_note(model, t);
  }
  return rc;
}

static int portable_fill(const struct qtk_plan *plan, struct qtk_toml *root, const char *digest,
                         const char *source_digest, const struct qtk_plan_input *inputs, size_t n)
{
  struct qtk_toml *job = portable_get(root, "job"), *model = portable_get(root, "model");
  const struct qtk_toml *stages = qtk_toml_get(root, "stage");
  qtk_toml_remove(root, "output");
  qtk_toml_remove(job, "name");
  qtk_toml_remove(job, "threads");
  qtk_toml_remove(job, "memory_limit");
  if (!qtk_plan_needs_device(plan))
    qtk_toml_remove(job, "backend");
  int rc = portable_input(model, "path", "digest", digest);
  if (rc == QTK_OK)
    rc = portable_input(model, "source", "source_digest", source_digest);
  if (rc == QTK_OK)
    rc = portable_adapters(plan, model);
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++)
    rc = portable_stage(&plan->stages[i], (struct qtk_toml *)qtk_toml_item(stages, i), inputs, n);
  return rc;
}

int qtk_plan_portable(const struct qtk_plan *plan, const char *digest, const char *source_digest,
                      const struct qtk_plan_input *inputs, size_t n_inputs, struct qtk_str *out)
{
  struct qtk_toml *root = qtk_toml_copy(plan->resolved);
  int rc = root ? portable_fill(plan, root, digest, source_digest, inputs, n_inputs)
                : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_write(root, out);
  qtk_toml_free(root);
  return rc;
}

int qtk_plan_key(const char *portable, struct qtk_str *out)
{
  struct qtk_toml *root;
  int rc = qtk_toml_parse(portable, strlen(portable), "job", &root);
  if (rc != QTK_OK)
    return rc;
  const struct qtk_toml *stages = qtk_toml_get(root, "stage");
  for (size_t i = 0; i < qtk_toml_length(stages); i++)
    qtk_toml_remove((struct qtk_toml *)qtk_toml_item(stages, i), "change");
  rc = qtk_toml_write(root, out);
  qtk_toml_free(root);
  return rc;
}
