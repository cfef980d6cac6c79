/* SPDX-License-Identifier: BSD-3-Clause
 * The stages of a job file: which kinds there are, and the keys of each that
 * belong to the core. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/eval.h"
#include "core/job-stage.h"
#include "core/str.h"
#include "core/suite.h"

static const char *const job_evaluate_keys[] = {"run", "name", "perplexity", "divergence",
                                                "choices", "labels", "adapters", NULL};
static const char *const job_quantize_keys[] = {
    "run",    "name",         "method",     "targets", "override", "calibrate",
    "budget", "budget_total", "candidates", NULL};
static const char *const job_export_keys[] = {"run", "name", "format", "path", NULL};
static const char *const job_merge_keys[] = {"run", "name", "type", "probe", NULL};
static const char *const job_probe_keys[] = {"data", "context", NULL};
static const char *const job_types[] = {"base", "f32", "f16", "bf16", NULL};
static const char *const job_override_keys[] = {"match", "skip", "method", NULL};
static const char *const job_perplexity_keys[] = {"data", "protocol", "context", "windows", NULL};
static const char *const job_calibrate_keys[] = {"data", "samples", "length", "sequential", "template",
                                                 NULL};
static const char *const job_divergence_keys[] = {"data", "context", "windows", NULL};
static const char *const job_choices_keys[] = {"path",    "suite", "examples", "score",
                                               "shots",   "limit", "context",  "subjects",
                                               NULL};

static int job_read_evaluate(const struct qtk_job *job, struct qtk_job_stage *stage);
static int job_read_quantize(const struct qtk_job *job, struct qtk_job_stage *stage);
static int job_read_export(const struct qtk_job *job, struct qtk_job_stage *stage);
static int job_read_merge(const struct qtk_job *job, struct qtk_job_stage *stage);

static const char *const job_kinds[] = {"evaluate", "quantize", "export", "adapt", "merge", NULL};
static const struct job_kind {
  const char *const *keys;
  int (*read)(const struct qtk_job *job, struct qtk_job_stage *stage);
} job_kind_table[] = {
  [QTK_JOB_EVALUATE] = {job_evaluate_keys, job_read_evaluate},
  [QTK_JOB_QUANTIZE] = {job_quantize_keys, job_read_quantize},
  [QTK_JOB_EXPORT] = {job_export_keys, job_read_export},
  [QTK_JOB_ADAPT] = {qtk_job_adapt_keys, qtk_job_read_adapt},
  [QTK_JOB_MERGE] = {job_merge_keys, job_read_merge},
};

const char *qtk_job_kind_name(enum qtk_job_kind kind)
{
  return job_kinds[kind];
}

const char *const *qtk_job_stage_keys(enum qtk_job_kind kind)
{
  return job_kind_table[kind].keys;
}

const char *const *qtk_job_override_keys(void)
{
  return job_override_keys;
}

int qtk_job_find(const char *const *names, const char *name)
{
  for (int i = 0; names[i] != NULL; i++)
    if (strcmp(names[i], name) == 0)
      return i;
  return -1;
}

int qtk_job_unknown(const struct qtk_toml *node, const char *what, const char *const *names)
{
  struct qtk_str list = {0};
  const char *near = qtk_nearest(qtk_toml_text(node), names);
  for (int i = 0; names[i] != NULL; i++)
    qtk_str_printf(&list, "%s%s", i > 0 ? ", " : "", names[i]);
  int rc = qtk_toml_error(node, "unknown %s \"%s\"%s%s%s: there are %s", what,
                          qtk_toml_text(node), near ? " (did you mean \"" : "", near ? near : "",
                          near ? "\"?)" : "", list.data ? list.data : "");
  qtk_str_free(&list);
  return rc;
}

/* Where a key looks like it, that one was meant: it cannot be known yet which other keys are
 * right. */
int qtk_job_need(const struct qtk_toml *table, const char *key, const struct qtk_toml **value)
{
  const char *const names[] = {key, NULL};
  for (size_t i = 0; qtk_toml_get(table, key) == NULL && i < qtk_toml_length(table); i++) {
    const struct qtk_toml *item = qtk_toml_item(table, i);
    if (qtk_nearest(qtk_toml_key(item), names) != NULL)
      return qtk_toml_error(item, "unknown key \"%s\"; did you mean \"%s\"?", qtk_toml_key(item),
                            key);
  }
  return qtk_toml_need(table, key, QTK_TOML_TEXT, value);
}

/* ---- evaluate ------------------------------------------------------------------- */

static int job_read_protocol(const struct qtk_toml *table, const char **protocol)
{
  const struct qtk_protocol *found;
  const char *const *names;
  *protocol = QTK_PROTOCOL_DEFAULT;
  int rc = qtk_toml_get_text(table, "protocol", protocol);
  if (rc == QTK_OK)
    rc = qtk_protocol_names(&names);
  if (rc == QTK_OK && qtk_protocol_find(*protocol, &found) != QTK_OK)
    return qtk_job_unknown(qtk_toml_get(table, "protocol"), "protocol", names);
  return rc;
}

static int job_read_text(const struct qtk_job *job, const struct qtk_toml *stage,
                         const char *key, const char *const *keys, struct qtk_job_text *text)
{
  const struct qtk_toml *data;
  int rc = qtk_toml_get_table(stage, key, &text->node);
  if (rc != QTK_OK || text->node == NULL)
    return rc;
  if ((rc = qtk_toml_only(text->node, keys)) != QTK_OK ||
      (rc = qtk_toml_need(text->node, "data", QTK_TOML_TEXT, &data)) != QTK_OK ||
      (rc = qtk_job_path(job, text->node, "data", &text->data)) != QTK_OK ||
      (rc = job_read_protocol(text->node, &text->protocol)) != QTK_OK ||
      (rc = qtk_job_int(text->node, "context", 0, 1 << 24, &text->context)) != QTK_OK)
    return rc;
  return qtk_job_int(text->node, "windows", 0, INT64_MAX, &text->windows);
}

static int job_read_score(const struct qtk_toml *table, int *score)
{
  const char *text = qtk_score_names()[0];
  int rc = qtk_toml_get_text(table, "score", &text);
  if (rc == QTK_OK && (*score = qtk_job_find(qtk_score_names(), text)) < 0)
    rc = qtk_job_unknown(qtk_toml_get(table, "score"), "score", qtk_score_names());
  return rc;
}

static int job_read_subjects(const struct qtk_toml *table, const char ***subjects)
{
  const struct qtk_toml *list = NULL;
  int rc = qtk_toml_get_array(table, "subjects", &list);
  size_t n = qtk_toml_length(list);
  if (rc != QTK_OK || list == NULL)
    return rc;
  if (n == 0)
    return qtk_toml_error(list, "subjects: none is named; without the key all are asked");
  *subjects = calloc(n + 1, sizeof **subjects);
  if (*subjects == NULL)
    return qtk_error_memory(n * sizeof **subjects, "a list of subjects");
  for (size_t i = 0; i < n; i++) {
    const struct qtk_toml *item = qtk_toml_item(list, i);
    if (qtk_toml_kind(item) != QTK_TOML_TEXT)
      return qtk_toml_error(list, "subjects: a list of texts is wanted");
    (*subjects)[i] = qtk_toml_text(item);
  }
  return QTK_OK;
}

static int job_read_choices(const struct qtk_job *job, const struct qtk_toml *stage,
                            struct qtk_job_choices *c)
{
  const struct qtk_toml *path;
  *c = (struct qtk_job_choices){.suite = "plain", .shots = -1};
  int rc = qtk_toml_get_table(stage, "choices", &c->node);
  if (rc != QTK_OK || c->node == NULL)
    return rc;
  if ((rc = qtk_toml_only(c->node, job_choices_keys)) != QTK_OK ||
      (rc = qtk_toml_need(c->node, "path", QTK_TOML_TEXT, &path)) != QTK_OK ||
      (rc = qtk_job_path(job, c->node, "path", &c->path)) != QTK_OK ||
      (rc = qtk_job_path(job, c->node, "examples", &c->examples)) != QTK_OK ||
      (rc = qtk_toml_get_text(c->node, "suite", &c->suite)) != QTK_OK ||
      (rc = job_read_score(c->node, &c->score)) != QTK_OK ||
      (rc = job_read_subjects(c->node, &c->subjects)) != QTK_OK ||
      (rc = qtk_job_int(c->node, "limit", 0, INT64_MAX, &c->limit)) != QTK_OK ||
      (rc = qtk_job_int(c->node, "context", 0, 1 << 24, &c->context)) != QTK_OK)
    return rc;
  if (qtk_toml_get(c->node, "shots") == NULL)
    return QTK_OK;
  return qtk_job_int(c->node, "shots", 0, 1000, &c->shots);
}

/* A table of paths by name. */
static int job_read_adapters(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  const struct qtk_toml *table = NULL;
  int rc = qtk_toml_get_table(stage->table, "adapters", &table);
  size_t n = qtk_toml_length(table);
  if (rc != QTK_OK || table == NULL)
    return rc;
  stage->adapters = calloc(n + 1, sizeof *stage->adapters);
  if (stage->adapters == NULL)
    return qtk_error_memory(n * sizeof *stage->adapters, "a list of adapters");
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    struct qtk_job_adapter *a = &stage->adapters[i];
    const struct qtk_toml *node;
    a->name = qtk_toml_key(qtk_toml_item(table, i));
    rc = qtk_toml_need(table, a->name, QTK_TOML_TEXT, &node);
    if (rc == QTK_OK)
      rc = qtk_job_path(job, table, a->name, &a->path);
    stage->n_adapters = i + 1;
  }
  return rc;
}

static int job_read_evaluate(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  int rc = qtk_toml_only(stage->table, job_evaluate_keys);
  if (rc != QTK_OK ||
      (rc = job_read_text(job, stage->table, "perplexity", job_perplexity_keys,
                          &stage->perplexity)) != QTK_OK ||
      (rc = job_read_text(job, stage->table, "divergence", job_divergence_keys,
                          &stage->divergence)) != QTK_OK ||
      (rc = job_read_choices(job, stage->table, &stage->choices)) != QTK_OK ||
      (rc = qtk_job_read_labels(job, stage->table, &stage->labels)) != QTK_OK ||
      (rc = job_read_adapters(job, stage)) != QTK_OK)
    return rc;
  if (stage->perplexity.node == NULL && stage->divergence.node == NULL &&
      stage->choices.node == NULL && stage->labels.node == NULL)
    return qtk_toml_error(stage->table, "nothing to evaluate: give this stage perplexity or "
                                        "divergence, tables with data, or choices or labels, "
                                        "tables with path");
  return QTK_OK;
}

/* ---- quantize --------------------------------------------------------------------- */

static int job_read_override(const struct qtk_toml *table, struct qtk_job_override *o)
{
  const struct qtk_toml *match;
  if (qtk_toml_kind(table) != QTK_TOML_TABLE)
    return qtk_toml_error(table, "override: tables are wanted, each begun by [[stage.override]]");
  o->table = table;
  int rc = qtk_job_need(table, "match", &match);
  if (rc != QTK_OK || (rc = qtk_toml_get_bool(table, "skip", &o->skip)) != QTK_OK)
    return rc;
  o->match = qtk_toml_text(match);
  return qtk_toml_get_text(table, "method", &o->method);
}

static int job_read_calibrate(const struct qtk_job *job, const struct qtk_toml *stage,
                              struct qtk_job_calibrate *c)
{
  const struct qtk_toml *data;
  int rc = qtk_toml_get_table(stage, "calibrate", &c->node);
  *c = (struct qtk_job_calibrate){.node = c->node, .samples = 128, .sequential = 1};
  if (rc != QTK_OK || c->node == NULL)
    return rc;
  if ((rc = qtk_toml_only(c->node, job_calibrate_keys)) != QTK_OK ||
      (rc = qtk_toml_need(c->node, "data", QTK_TOML_TEXT, &data)) != QTK_OK ||
      (rc = qtk_job_path(job, c->node, "data", &c->data)) != QTK_OK ||
      (rc = qtk_job_int(c->node, "samples", 1, 1 << 20, &c->samples)) != QTK_OK ||
      (rc = qtk_job_int(c->node, "length", 0, 1 << 20, &c->length)) != QTK_OK)
    return rc;
  rc = qtk_toml_get_bool(c->node, "sequential", &c->sequential);
  return rc == QTK_OK ? qtk_toml_get_text(c->node, "template", &c->template) : rc;
}

static int job_read_candidates(const struct qtk_toml *stage, struct qtk_job_budget *b)
{
  int rc = qtk_toml_get_array(stage, "candidates", &b->candidates);
  if (rc != QTK_OK || b->candidates == NULL)
    return rc;
  if (b->node == NULL)
    return qtk_toml_error(b->candidates, "candidates without a budget: give the stage budget or "
                                         "budget_total, or bits instead");
  for (size_t i = 0; i < qtk_toml_length(b->candidates); i++) {
    const struct qtk_toml *item = qtk_toml_item(b->candidates, i);
    if (qtk_toml_kind(item) != QTK_TOML_INT)
      return qtk_toml_error(b->candidates, "candidates: a list of whole numbers is wanted, like "
                                           "[2, 3, 4]");
    for (size_t k = 0; k < i; k++)
      if (qtk_toml_int(qtk_toml_item(b->candidates, k)) == qtk_toml_int(item))
        return qtk_toml_error(b->candidates, "candidates: %lld stands there twice",
                              (long long)qtk_toml_int(item));
  }
  return qtk_toml_length(b->candidates) > 0
             ? QTK_OK
             : qtk_toml_error(b->candidates, "candidates: the list is empty");
}

static int job_read_budget(const struct qtk_toml *stage, struct qtk_job_budget *b)
{
  const struct qtk_toml *some = qtk_toml_get(stage, "budget"), *bits = qtk_toml_get(stage, "bits");
  const struct qtk_toml *all = qtk_toml_get(stage, "budget_total");
  b->node = some ? some : all;
  b->total = some == NULL;
  if (some != NULL && all != NULL)
    return qtk_toml_error(all, "budget_total beside budget: a stage has one of the two");
  int rc = b->node ? qtk_toml_get_float(stage, qtk_toml_key(b->node), &b->bits) : QTK_OK;
  if (rc == QTK_OK && b->node != NULL && !(b->bits > 0 && b->bits <= 64))
    rc = qtk_toml_error(b->node, "%s = %g: allowed are bits a weight, above 0 and up to 64",
                        qtk_toml_key(b->node), b->bits);
  if (rc == QTK_OK && b->node != NULL && bits != NULL)
    rc = qtk_toml_error(bits, "bits beside %s: a budget chooses the bits of each linear; leave one "
                              "of the two out, or give bits in an override",
                        qtk_toml_key(b->node));
  return rc == QTK_OK ? job_read_candidates(stage, b) : rc;
}

static int job_read_quantize(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  const struct qtk_toml *method, *list = NULL;
  int rc = qtk_job_need(stage->table, "method", &method);
  if (rc != QTK_OK || (rc = qtk_toml_get_text(stage->table, "targets", &stage->targets)) != QTK_OK ||
      (rc = qtk_toml_get_array(stage->table, "override", &list)) != QTK_OK ||
      (rc = job_read_calibrate(job, stage->table, &stage->calibrate)) != QTK_OK ||
      (rc = job_read_budget(stage->table, &stage->budget)) != QTK_OK)
    return rc;
  stage->method = qtk_toml_text(method);
  size_t n = list ? qtk_toml_length(list) : 0;
  if (n == 0)
    return QTK_OK;
  stage->overrides = calloc(n, sizeof *stage->overrides);
  if (stage->overrides == NULL)
    return qtk_error_memory(n * sizeof *stage->overrides, "overrides");
  stage->n_overrides = n;
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = job_read_override(qtk_toml_item(list, i), &stage->overrides[i]);
  return rc;
}

/* ---- export ---------------------------------------------------------------------------- */

static int job_read_export(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  const struct qtk_toml *format, *path;
  int rc = qtk_job_need(stage->table, "format", &format);
  if (rc != QTK_OK || (rc = qtk_job_need(stage->table, "path", &path)) != QTK_OK)
    return rc;
  stage->method = qtk_toml_text(format);
  return qtk_job_path(job, stage->table, "path", &stage->path);
}

/* ---- merge ------------------------------------------------------------------------------ */

static int job_read_probe(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  int rc = qtk_toml_get_table(stage->table, "probe", &stage->probe.node);
  if (rc != QTK_OK || stage->probe.node == NULL)
    return rc;
  if ((rc = qtk_toml_only(stage->probe.node, job_probe_keys)) != QTK_OK ||
      (rc = qtk_job_path(job, stage->probe.node, "data", &stage->probe.data)) != QTK_OK)
    return rc;
  return qtk_job_int(stage->probe.node, "context", 0, 1 << 24, &stage->probe.context);
}

static int job_read_merge(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  int rc = qtk_toml_only(stage->table, job_merge_keys);
  stage->type = job_types[0];
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(stage->table, "type", &stage->type);
  if (rc == QTK_OK && qtk_job_find(job_types, stage->type) < 0)
    rc = qtk_job_unknown(qtk_toml_get(stage->table, "type"), "type", job_types);
  return rc == QTK_OK ? job_read_probe(job, stage) : rc;
}

/* ---- all ----------------------------------------------------------------------------------- */

void qtk_job_stage_end(struct qtk_job_stage *stage)
{
  free(stage->overrides);
  free(stage->calibrate.data);
  free(stage->perplexity.data);
  free(stage->divergence.data);
  free(stage->choices.path);
  free(stage->labels.path);
  free(stage->choices.examples);
  free(stage->choices.subjects);
  for (size_t i = 0; i < stage->n_adapters; i++)
    free(stage->adapters[i].path);
  free(stage->adapters);
  free(stage->path);
  free(stage->probe.data);
  free(stage->data.path);
  free(stage->validation.path);
}

/* Names are for --set and messages; a number would be taken for a place. */
static int job_check_stage_name(const struct qtk_job *job, size_t i)
{
  const char *name = job->stages[i].name;
  const struct qtk_toml *node = qtk_toml_get(job->stages[i].table, "name");
  if (name == NULL)
    return QTK_OK;
  if (name[0] == '\0' || (name[0] >= '0' && name[0] <= '9') || strpbrk(name, ".= ") != NULL)
    return qtk_toml_error(node, "name = \"%s\": a word that begins with no digit and has no dot, "
                                "= or blank is wanted",
                          name);
  for (size_t k = 0; k < i; k++)
    if (job->stages[k].name != NULL && strcmp(job->stages[k].name, name) == 0)
      return qtk_toml_error(node, "name = \"%s\": stage %zu has that name already", name, k);
  return QTK_OK;
}

static int job_read_stage(struct qtk_job *job, size_t i, const struct qtk_toml *table)
{
  struct qtk_job_stage *stage = &job->stages[i];
  const struct qtk_toml *run;
  if (qtk_toml_kind(table) != QTK_TOML_TABLE)
    return qtk_toml_error(table, "stage: tables are wanted, each begun by [[stage]]");
  stage->table = table;
  int rc = qtk_job_need(table, "run", &run);
  if (rc != QTK_OK)
    return rc;
  int kind = qtk_job_find(job_kinds, qtk_toml_text(run));
  if (kind < 0)
    return qtk_job_unknown(run, "stage kind", job_kinds);
  stage->kind = kind;
  if ((rc = qtk_toml_get_text(table, "name", &stage->name)) != QTK_OK ||
      (rc = job_check_stage_name(job, i)) != QTK_OK)
    return rc;
  return job_kind_table[kind].read(job, stage);
}

int qtk_job_read_stages(struct qtk_job *job)
{
  const struct qtk_toml *list = NULL;
  int rc = qtk_toml_get_array(job->root, "stage", &list);
  size_t n = list ? qtk_toml_length(list) : 0;
  if (rc != QTK_OK)
    return rc;
  if (n == 0 && qtk_toml_find(job->root, "output.adapter") != NULL)
    return QTK_OK; /* an adapter that lies on the model is written down, and no more */
  if (n == 0)
    return qtk_error(QTK_EJOB,
                     "%s: no stage: a job has at least one [[stage]], unless [output] asks for the "
                     "adapter of [model] alone",
                     job->file);
  job->stages = calloc(n, sizeof *job->stages);
  if (job->stages == NULL)
    return qtk_error_memory(n * sizeof *job->stages, "stages");
  job->n_stages = n;
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = job_read_stage(job, i, qtk_toml_item(list, i));
  return rc;
}
