/* SPDX-License-Identifier: BSD-3-Clause
 * Fills in the report. */
#include "core/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "core/log.h"

/* ---- values -------------------------------------------------------------------- */

/* A text as JSON, or null; what is no UTF-8 (names of files) has '?' for odd bytes. */
static json_t *report_text(const char *text)
{
  json_t *value = text ? json_string(text) : json_null();
  char *copy = value ? NULL : strdup(text);
  for (char *c = copy; c && *c; c++)
    if ((unsigned char)*c >= 0x80)
      *c = '?';
  if (copy)
    value = json_string(copy);
  free(copy);
  return value;
}

static json_t *report_reals(const double *values, int64_t n)
{
  json_t *array = json_array();
  for (int64_t i = 0; array && i < n; i++)
    if (qtk_json_append(array, qtk_json_real(values[i])) != QTK_OK) {
      json_decref(array);
      return NULL;
    }
  return array;
}

/* Two values under a key each; keys that are there keep their place. */
static int report_set_two(json_t *object, const char *key, json_t *value, const char *key2,
                          json_t *value2)
{
  int rc = qtk_json_set(object, key, value);
  int rc2 = qtk_json_set(object, key2, value2);
  return rc == QTK_OK ? rc2 : rc;
}

/* Puts an object that json_pack made, or failed to make. */
static int report_put(json_t *object, const char *key, json_t *packed)
{
  if (!packed)
    return qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  return qtk_json_set(object, key, packed);
}

/* ---- the whole ------------------------------------------------------------------- */

json_t *qtk_report_new(void)
{
  /* All keys at once, so that they stand in this order whenever they are filled in. */
  json_t *report =
      json_pack("{s:s, s:n, s:n, s:n, s:n, s:n, s:n, s:[]}", "qtk", qtk_version(), "job", "model",
                "machine", "seconds", "peak_bytes", "warnings", "stages");
  if (!report)
    qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  return report;
}

int qtk_report_set_job(json_t *report, const char *job)
{
  return qtk_json_set(report, "job", report_text(job));
}

int qtk_report_set_model(json_t *report, const char *family, int64_t parameters, const char *digest)
{
  return report_put(report, "model",
                    json_pack("{s:o, s:I, s:o}", "family", report_text(family), "parameters",
                              (json_int_t)parameters, "digest", report_text(digest)));
}

int qtk_report_add_adapter(json_t *report, const struct qtk_tuned *t)
{
  json_t *model = json_object_get(report, "model");
  char digest[QTK_DIGEST_HEX];
  int rc = qtk_tuned_digest(t, digest);
  if (rc == QTK_OK && json_object_get(model, "adapters") == NULL)
    rc = report_put(model, "adapters", json_array());
  if (rc != QTK_OK)
    return rc;
  return qtk_json_append(json_object_get(model, "adapters"),
                         json_pack("{s:o, s:o, s:o, s:I, s:b}", "name", report_text(t->name),
                                   "method", report_text(t->plugin->plugin.name), "digest",
                                   report_text(digest), "bytes", (json_int_t)qtk_tuned_bytes(t),
                                   "forced", t->forced));
}

/* The processor as Linux names it, else the kind of machine. */
static void report_processor(char *name, size_t size)
{
  char line[512];
  FILE *f = fopen("/proc/cpuinfo", "re");
  struct utsname machine;
  snprintf(name, size, "%s", uname(&machine) == 0 ? machine.machine : "unknown");
  while (f && fgets(line, sizeof line, f)) {
    char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
    if (!value)
      continue;
    value += strspn(value, ": \t");
    value[strcspn(value, "\n")] = 0;
    snprintf(name, size, "%s", value);
    break;
  }
  if (f)
    fclose(f);
}

int qtk_report_set_machine(json_t *report, const char *backend, const char *instructions,
                           int threads)
{
  char processor[256];
  report_processor(processor, sizeof processor);
  return report_put(report, "machine",
                    json_pack("{s:o, s:o, s:o, s:i}", "processor", report_text(processor),
                              "backend", report_text(backend), "instructions",
                              report_text(instructions), "threads", threads));
}

static json_t *report_warnings(void)
{
  json_t *texts = json_array();
  char *text;
  for (size_t i = 0; texts && (text = qtk_log_warning(i)); i++) {
    int rc = qtk_json_append(texts, report_text(text));
    free(text);
    if (rc != QTK_OK)
      break;
  }
  return json_pack("{s:I, s:o}", "count", (json_int_t)qtk_log_warnings(), "texts", texts);
}

int qtk_report_end(json_t *report, double seconds, uint64_t peak_bytes)
{
  int rc = report_put(report, "warnings", report_warnings());
  return rc == QTK_OK ? qtk_report_end_stage(report, seconds, peak_bytes) : rc;
}

/* ---- stages ---------------------------------------------------------------------- */

json_t *qtk_report_stage(json_t *report, const char *run, const char *method)
{
  json_t *stage = json_pack("{s:o, s:o, s:n, s:n}", "run", report_text(run), "method",
                            report_text(method), "seconds", "peak_bytes");
  if (stage && !method)
    json_object_del(stage, "method");
  /* The array owns it from now on, also when that fails. */
  if (!stage || qtk_json_append(json_object_get(report, "stages"), stage) != QTK_OK) {
    qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
    return NULL;
  }
  return stage;
}

int qtk_report_end_stage(json_t *stage, double seconds, uint64_t peak_bytes)
{
  return report_set_two(stage, "seconds", qtk_json_real(seconds), "peak_bytes",
                        json_integer((json_int_t)peak_bytes));
}

int qtk_report_perplexity(json_t *stage, const char *protocol, const struct qtk_perplexity *p,
                          const struct qtk_text *text)
{
  const char *join = p->protocol->recipe.join;
  json_t *object = json_pack(
      "{s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:o}", "value", qtk_json_real(p->value),
      "standard_error", qtk_json_real(p->standard_error), "protocol", report_text(protocol),
      "context", (json_int_t)p->context, "windows", (json_int_t)p->windows, "tokens",
      (json_int_t)p->tokens, "data", report_text(text->name), "data_sha256",
      report_text(text->sha256), "rows", (json_int_t)text->documents, "join", report_text(join),
      "nll_per_window", report_reals(p->nll_per_window, p->windows));
  return report_put(stage, "perplexity", object);
}

json_t *qtk_report_measured(json_t *stage, const char *name, const struct qtk_tuned *t)
{
  char digest[QTK_DIGEST_HEX];
  int rc = qtk_tuned_digest(t, digest);
  if (rc == QTK_OK && json_object_get(stage, "adapters") == NULL)
    rc = report_put(stage, "adapters", json_array());
  if (rc != QTK_OK)
    return NULL;
  json_t *list = json_object_get(stage, "adapters");
  rc = qtk_json_append(list, json_pack("{s:o, s:o, s:o, s:b}", "name", report_text(name), "method",
                                       report_text(t->plugin->plugin.name), "digest",
                                       report_text(digest), "forced", t->forced));
  return rc == QTK_OK ? json_array_get(list, json_array_size(list) - 1) : NULL;
}

int qtk_report_divergence(json_t *stage, const struct qtk_divergence *d,
                          const struct qtk_text *text)
{
  json_t *object =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o}", "mean_kl",
                qtk_json_real(d->mean_kl), "standard_error", qtk_json_real(d->standard_error),
                "p99", qtk_json_real(d->p99), "maximum", qtk_json_real(d->maximum), "same_top",
                qtk_json_real(d->same_top), "context", (json_int_t)d->context, "windows",
                (json_int_t)d->windows, "tokens", (json_int_t)d->tokens, "data",
                report_text(text->name), "data_sha256", report_text(text->sha256), "kl_per_window",
                report_reals(d->kl_per_window, d->windows));
  return report_put(stage, "divergence", object);
}

/* What only methods with statistics have to say. */
static int report_layer_objective(json_t *layer, const struct qtk_report_layer *l)
{
  if (l->samples == 0)
    return QTK_OK;
  int rc = report_set_two(layer, "damping", qtk_json_real(l->damping), "objective",
                          qtk_json_real(l->objective));
  return rc == QTK_OK && l->condition > 0
             ? qtk_json_set(layer, "condition", qtk_json_real(l->condition))
             : rc;
}

int qtk_report_calibration(json_t *stage, const struct qtk_report_calibration *c)
{
  return report_put(stage, "calibration",
                    json_pack("{s:o, s:o, s:I, s:I, s:b, s:o}", "data", report_text(c->data),
                              "sha256", report_text(c->sha256), "samples",
                              (json_int_t)c->samples, "length", (json_int_t)c->length,
                              "sequential", c->sequential, "seconds", qtk_json_real(c->seconds)));
}

int qtk_report_budget(json_t *stage, const struct qtk_report_budget *b)
{
  json_t *bits = json_array();
  int rc = bits ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < b->n && rc == QTK_OK; i++)
    rc = qtk_json_append(bits, json_integer(b->candidates[i]));
  return report_put(stage, "budget",
                    json_pack("{s:o, s:o, s:s, s:o, s:[]}", "wanted", qtk_json_real(b->wanted),
                              "reached", qtk_json_real(b->reached), "of",
                              b->total ? "model" : "targets", "candidates", bits, "linears"));
}

int qtk_report_budget_linear(json_t *stage, const char *name, int bits, const double *errors,
                             int n)
{
  json_t *linear = json_pack("{s:o, s:i, s:o}", "name", report_text(name), "bits", bits, "errors",
                             report_reals(errors, n));
  return qtk_json_append(qtk_json_find(stage, "budget.linears"), linear);
}

json_t *qtk_report_layer(const struct qtk_report_layer *l)
{
  json_t *layer =
      json_pack("{s:o, s:i, s:I, s:o, s:I, s:o}", "name", report_text(l->name), "bits", l->bits,
                "group", (json_int_t)l->group, "relative_error", qtk_json_real(l->relative_error),
                "samples", (json_int_t)l->samples, "seconds", qtk_json_real(l->seconds));
  if (!layer)
    qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  else if (report_layer_objective(layer, l) != QTK_OK ||
           (l->note && *l->note &&
            qtk_json_set(layer, "note", report_text(l->note)) != QTK_OK)) {
    json_decref(layer);
    return NULL;
  }
  return layer;
}

int qtk_report_add_layer(json_t *stage, json_t *layer)
{
  json_t *layers = json_object_get(stage, "layers");
  if (!layers && report_put(stage, "layers", json_array()) == QTK_OK)
    layers = json_object_get(stage, "layers");
  if (!layers)
    json_decref(layer);
  return layers ? qtk_json_append(layers, layer) : QTK_ENOMEM;
}

static double report_bits(uint64_t bytes, uint64_t weights)
{
  return weights ? 8.0 * (double)bytes / (double)weights : 0.0;
}

int qtk_report_sizes(json_t *stage, const struct qtk_report_sizes *s)
{
  int rc = report_set_two(
      stage, "bits_per_weight", qtk_json_real(report_bits(s->target_bytes, s->target_weights)),
      "bits_per_weight_total", qtk_json_real(report_bits(s->total_bytes, s->total_weights)));
  return rc == QTK_OK ? qtk_json_set(stage, "bytes", json_integer((json_int_t)s->total_bytes)) : rc;
}

/* Validation, and what came of it. */
static int report_validation(json_t *stage, const struct qtk_report_adapt *a)
{
  if (json_array_size(a->validation) == 0)
    return QTK_OK;
  int rc = report_set_two(stage, "best_step", json_integer((json_int_t)a->best), "stopped_early",
                          json_boolean(a->stopped));
  return rc == QTK_OK ? qtk_json_set(stage, "validation", json_incref(a->validation)) : rc;
}

/* A plan says what training takes by what it is for, and not how it is cut. */
static const char *report_kind(const char *what)
{
  return strcmp(what, "tape") == 0 || strcmp(what, "checkpoints") == 0 ? "activations" : what;
}

int qtk_report_memory(json_t *stage, const struct qtk_arena *arena)
{
  json_t *memory = json_object();
  int rc = qtk_json_set(stage, "counted_bytes", json_integer((json_int_t)arena->peak));
  for (int i = 0; i < arena->n_categories && rc == QTK_OK; i++) {
    const struct qtk_arena_category *c = &arena->categories[i];
    json_int_t before = json_integer_value(json_object_get(memory, report_kind(c->what)));
    if (c->part > 0)
      rc = qtk_json_set(memory, report_kind(c->what), json_integer(before + (json_int_t)c->part));
  }
  if (rc == QTK_OK)
    return qtk_json_set(stage, "memory_bytes", memory);
  json_decref(memory);
  return rc;
}

int qtk_report_adapt(json_t *stage, const struct qtk_report_adapt *a)
{
  int rc = report_set_two(stage, "trainable", json_integer((json_int_t)a->trainable),
                          "adapter_bytes", json_integer((json_int_t)a->bytes));
  if (rc == QTK_OK)
    rc = qtk_json_set(stage, "model_bytes", json_integer((json_int_t)a->model_bytes));
  if (rc == QTK_OK)
    rc = qtk_report_memory(stage, a->memory);
  if (rc == QTK_OK)
    rc = report_set_two(stage, "steps", json_integer((json_int_t)a->steps), "tokens",
                        json_integer((json_int_t)a->tokens));
  if (rc == QTK_OK)
    rc = report_set_two(stage, "tokens_per_second", qtk_json_real(a->tokens_per_second),
                        "checkpoint", report_text(a->checkpoint ? "block" : "none"));
  if (rc == QTK_OK)
    rc = report_validation(stage, a);
  return rc == QTK_OK ? qtk_json_set(stage, "loss", json_incref(a->loss)) : rc;
}

int qtk_report_merge(json_t *stage, const struct qtk_report_merge *m)
{
  const struct qtk_logits_change *c = m->change;
  return report_put(
      stage, "merge",
      json_pack("{s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:I}", "adapters",
                report_text(m->adapters), "exact", m->exact, "tensors", (json_int_t)m->tensors,
                "max_logit_difference", qtk_json_real(c->maximum), "mean_logit_difference",
                qtk_json_real(c->mean), "mean_kl", qtk_json_real(c->mean_kl), "same_top",
                qtk_json_real(c->same_top), "probe", report_text(m->probe), "tokens",
                (json_int_t)m->tokens));
}

json_t *qtk_report_merged(const char *name, double relative_error)
{
  json_t *layer = json_pack("{s:o, s:o}", "name", report_text(name), "relative_error",
                            relative_error < 0 ? json_null() : qtk_json_real(relative_error));
  if (!layer)
    qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  return layer;
}

int qtk_report_export(json_t *stage, const char *path, const struct qtk_export_result *result)
{
  json_t *names = json_array();
  int rc = report_set_two(stage, "path", report_text(path), "bytes",
                          json_integer((json_int_t)result->bytes));
  for (int i = 0; i < result->n_files && names && rc == QTK_OK; i++)
    rc = qtk_json_append(names, report_text(result->files[i]));
  int rc2 = qtk_json_set(stage, "files", names);
  if (rc2 == QTK_OK)
    rc2 = qtk_json_set(stage, "rounded", json_integer((json_int_t)result->rounded));
  return rc == QTK_OK ? rc2 : rc;
}

/* ---- as text ----------------------------------------------------------------------- */

int qtk_report_write(const json_t *report, struct qtk_str *out)
{
  int rc = qtk_json_write(report, 0, out);
  return rc == QTK_OK ? qtk_str_add(out, "\n") : rc;
}

/* What differs from run to run. */
static int report_is_of_run(const char *key)
{
  static const char *const keys[] = {"machine",           "seconds", "peak_bytes",
                                     "tokens_per_second", "path",    "warnings",
                                     "checkpoint",        "counted_bytes", "memory_bytes"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (strcmp(key, keys[i]) == 0)
      return 1;
  return 0;
}

static void report_strip(json_t *value)
{
  const char *key;
  json_t *item;
  void *next;
  size_t i;
  json_object_foreach_safe(value, next, key, item)
  {
    if (report_is_of_run(key))
      json_object_del(value, key);
    else if (strcmp(key, "groups") != 0) /* its keys are names of the user's */
      report_strip(item);
  }
  json_array_foreach(value, i, item) report_strip(item);
}

#define REPORT_POINTS 128 /* of a curve in a bundle, and the best one */

/* Of a curve points that stand as far apart as can be, the first and the last among them, and the
 * one at step `best`. */
static int report_thin(json_t *stage, const char *key, json_int_t best)
{
  json_t *curve = json_object_get(stage, key), *few, *point;
  size_t n = json_array_size(curve), i, kept = 0;
  int rc = QTK_OK;
  if (n <= REPORT_POINTS)
    return QTK_OK;
  if ((few = json_array()) == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  json_array_foreach(curve, i, point)
  {
    int due = i == kept * (n - 1) / (REPORT_POINTS - 1);
    kept += (size_t)due;
    if (rc == QTK_OK && (due || json_integer_value(json_object_get(point, "step")) == best))
      rc = qtk_json_append(few, json_incref(point));
  }
  if (rc == QTK_OK)
    return qtk_json_set(stage, key, few);
  json_decref(few);
  return rc;
}

static int report_thin_all(json_t *report)
{
  json_t *stage, *best;
  size_t i;
  int rc = QTK_OK;
  json_array_foreach(json_object_get(report, "stages"), i, stage)
  {
    best = json_object_get(stage, "best_step");
    if (rc == QTK_OK)
      rc = report_thin(stage, "loss", -1);
    if (rc == QTK_OK)
      rc = report_thin(stage, "validation", best != NULL ? json_integer_value(best) : -1);
  }
  return rc;
}

int qtk_report_results(const json_t *report, const char *job, struct qtk_str *out)
{
  json_t *copy = json_deep_copy(report);
  if (!copy)
    return qtk_error(QTK_ENOMEM, "out of memory (wanted for the report)");
  report_strip(copy);
  int rc = report_thin_all(copy);
  if (rc == QTK_OK)
    rc = qtk_json_set(copy, "job", report_text(job));
  if (rc == QTK_OK)
    rc = qtk_report_write(copy, out);
  json_decref(copy);
  return rc;
}
