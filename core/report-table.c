/* SPDX-License-Identifier: BSD-3-Clause
 * The report as a table for people: a line or more a stage. */
#include <inttypes.h>
#include <string.h>

#include "core/report-inner.h"

/* What a report that was read from a file lacks counts as nothing. */
static double table_real(const json_t *object, const char *key)
{
  return json_number_value(json_object_get(object, key));
}

static int64_t table_int(const json_t *object, const char *key)
{
  return json_integer_value(json_object_get(object, key));
}

static const char *table_text(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static int table_bytes(struct qtk_str *out, double bytes)
{
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
    bytes /= 1000;
    unit++;
  }
  return qtk_str_printf(out, "%.*f %s", unit > 0 && bytes < 99.95, bytes, units[unit]);
}

/* ---- what a stage found, a line each ---------------------------------------------- */

static void table_perplexity(const json_t *p, struct qtk_str *out)
{
  qtk_str_printf(out, "perplexity %.4f +- %.4f (%s, %" PRId64 " x %" PRId64 ", %s)\n",
                 table_real(p, "value"), table_real(p, "standard_error"), table_text(p, "protocol"),
                 table_int(p, "windows"), table_int(p, "context"), table_text(p, "data"));
}

static void table_divergence(const json_t *d, struct qtk_str *out)
{
  qtk_str_printf(
      out, "divergence %.6f +- %.6f, same top token %.2f %% (%" PRId64 " x %" PRId64 ", %s)\n",
      table_real(d, "mean_kl"), table_real(d, "standard_error"), 100 * table_real(d, "same_top"),
      table_int(d, "windows"), table_int(d, "context"), table_text(d, "data"));
}

static void table_sizes(const json_t *stage, struct qtk_str *out)
{
  qtk_str_printf(out, "%.4f bits a weight, %.4f over all, ", table_real(stage, "bits_per_weight"),
                 table_real(stage, "bits_per_weight_total"));
  table_bytes(out, table_real(stage, "bytes"));
  qtk_str_add(out, "\n");
}

/* "budget 3.25 (targets): 3.2481 reached; 12 with 2 bits, 198 with 3" */
static void table_budget(const json_t *b, struct qtk_str *out)
{
  const json_t *candidates = json_object_get(b, "candidates"), *bits, *linear;
  size_t i, k, said = 0;
  qtk_str_printf(out, "budget %g (%s): %.4f reached", table_real(b, "wanted"), table_text(b, "of"),
                 table_real(b, "reached"));
  json_array_foreach(candidates, i, bits)
  {
    int64_t n = 0;
    json_array_foreach(json_object_get(b, "linears"), k, linear)
      n += table_int(linear, "bits") == json_integer_value(bits);
    if (n > 0)
      qtk_str_printf(out, said++ == 0 ? "; %" PRId64 " with %" PRId64 " bits"
                                      : ", %" PRId64 " with %" PRId64,
                     n, (int64_t)json_integer_value(bits));
  }
  qtk_str_add(out, "\n");
}

static void table_redo(const json_t *redo, struct qtk_str *out)
{
  int64_t n = table_int(redo, "linears");
  qtk_str_printf(out, "%" PRId64 " linear%s done again, the rest kept\n", n, n == 1 ? "" : "s");
}

static void table_merge(const json_t *m, struct qtk_str *out)
{
  int64_t n = table_int(m, "tensors");
  qtk_str_printf(out, "%s merged into %" PRId64 " tensor%s%s\n", table_text(m, "adapters"), n,
                 n == 1 ? "" : "s",
                 json_is_true(json_object_get(m, "exact")) ? ", nothing rounded" : "");
  if (table_real(m, "max_logit_difference") == 0)
    qtk_str_add(out, "logits the same bits as before");
  else
    qtk_str_printf(out, "logits differ by %.3g at most, %.3g on average, KL %.3g",
                   table_real(m, "max_logit_difference"), table_real(m, "mean_logit_difference"),
                   table_real(m, "mean_kl"));
  qtk_str_printf(out, " (%" PRId64 " tokens of %s)\n", table_int(m, "tokens"),
                 table_text(m, "probe"));
}

static void table_worst(const json_t *layers, struct qtk_str *out)
{
  const json_t *layer, *worst = NULL;
  double sum = 0;
  size_t i;
  json_array_foreach(layers, i, layer)
  {
    double error = table_real(layer, "relative_error");
    sum += error;
    if (!worst || error > table_real(worst, "relative_error"))
      worst = layer;
  }
  if (worst)
    qtk_str_printf(out, "%zu layers, relative error %.3g on average, %.3g in %s\n",
                   json_array_size(layers), sum / (double)json_array_size(layers),
                   table_real(worst, "relative_error"), table_text(worst, "name"));
}

static void table_validation(const json_t *stage, const json_t *losses, struct qtk_str *out)
{
  const json_t *first = json_array_get(losses, 0), *point, *best = first;
  size_t i;
  json_array_foreach(losses, i, point)
    if (table_int(point, "step") == table_int(stage, "best_step"))
      best = point;
  qtk_str_printf(out, "validation loss %.4f to %.4f, the least %.4f at step %" PRId64 "%s\n",
                 table_real(first, "loss"),
                 table_real(json_array_get(losses, json_array_size(losses) - 1), "loss"),
                 table_real(best, "loss"), table_int(stage, "best_step"),
                 json_is_true(json_object_get(stage, "stopped_early")) ? "; stopped early" : "");
}

/* What the adapter adds to the model under it. */
static void table_overhead(double bytes, double model, struct qtk_str *out)
{
  qtk_str_add(out, "the adapter adds ");
  table_bytes(out, bytes);
  qtk_str_printf(out, " (%.0f bytes)", bytes);
  if (model > 0) {
    qtk_str_add(out, " to the model's ");
    table_bytes(out, model);
    qtk_str_printf(out, ": %.4f times its size", (model + bytes) / model);
  }
  qtk_str_add(out, "\n");
}

static void table_adapt(const json_t *stage, struct qtk_str *out)
{
  const json_t *losses = json_object_get(stage, "loss");
  const json_t *first = json_array_get(losses, 0);
  const json_t *last = json_array_get(losses, json_array_size(losses) - 1);
  qtk_str_printf(out, "%" PRId64 " parameters trained on %" PRId64 " tokens, loss %.4f to %.4f\n",
                 table_int(stage, "trainable"), table_int(stage, "tokens"),
                 table_real(first, "loss"), table_real(last, "loss"));
  qtk_str_printf(out, "%" PRId64 " steps, %.0f tokens/s\n", table_int(stage, "steps"),
                 table_real(stage, "tokens_per_second"));
  table_overhead(table_real(stage, "adapter_bytes"), table_real(stage, "model_bytes"), out);
  if (json_object_get(stage, "validation"))
    table_validation(stage, json_object_get(stage, "validation"), out);
}

static void table_export(const json_t *stage, struct qtk_str *out)
{
  table_bytes(out, table_real(stage, "bytes"));
  qtk_str_printf(out, " in %s", table_text(stage, "path"));
  if (table_int(stage, "rounded") > 0)
    qtk_str_printf(out, ", %" PRId64 " values rounded", table_int(stage, "rounded"));
  qtk_str_add(out, "\n");
}

static void table_results(const json_t *stage, struct qtk_str *out);

/* A line or more an adapter, with its name before each. */
static void table_adapters(const json_t *adapters, struct qtk_str *out)
{
  const json_t *adapter;
  size_t i;
  json_array_foreach(adapters, i, adapter)
  {
    struct qtk_str lines = {0};
    table_results(adapter, &lines);
    for (const char *line = lines.data, *end; line && *line; line = end + 1) {
      end = strchr(line, '\n');
      qtk_str_printf(out, "%s: %.*s\n", table_text(adapter, "name"), (int)(end - line), line);
    }
    out->failed |= lines.failed;
    qtk_str_free(&lines);
  }
}

static void table_results(const json_t *stage, struct qtk_str *out)
{
  static const struct {
    const char *key;
    void (*write)(const json_t *value, struct qtk_str *out);
    int whole; /* wants the stage, not the value */
  } kinds[] = {{"perplexity", table_perplexity, 0}, {"divergence", table_divergence, 0},
               {"choices", report_choices_line, 0},     {"labels", report_labels_line, 0},
               {"budget", table_budget, 0},           {"redo", table_redo, 0},
               {"merge", table_merge, 0},             {"adapters", table_adapters, 0},
               {"bits_per_weight", table_sizes, 1}, {"layers", table_worst, 0},
               {"trainable", table_adapt, 1},       {"files", table_export, 1}};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    const json_t *value = json_object_get(stage, kinds[i].key);
    if (value)
      kinds[i].write(kinds[i].whole ? stage : value, out);
  }
}

/* ---- the table --------------------------------------------------------------------- */

static void table_head(const json_t *report, struct qtk_str *out)
{
  const json_t *model = json_object_get(report, "model");
  const json_t *machine = json_object_get(report, "machine");
  if (json_is_object(model))
    qtk_str_printf(out, "model    %s, %" PRId64 " parameters\n", table_text(model, "family"),
                   table_int(model, "parameters"));
  if (json_is_object(machine)) {
    const char *backend = table_text(machine, "backend"); /* "" when nothing had to be computed */
    int64_t threads = table_int(machine, "threads");
    qtk_str_printf(out, "machine  %s, %" PRId64 " thread%s", table_text(machine, "processor"),
                   threads, threads == 1 ? "" : "s");
    if (*backend)
      qtk_str_printf(out, ", %s %s", backend, table_text(machine, "instructions"));
    qtk_str_add(out, "\n");
  }
  if (out->length > 0)
    qtk_str_add(out, "\n");
}

/* "  12.3 s   216 MB" under the heads of its columns. */
static void table_cost(const json_t *object, struct qtk_str *out)
{
  struct qtk_str peak = {0};
  table_bytes(&peak, table_real(object, "peak_bytes"));
  qtk_str_printf(out, "%9.1f s %9s", table_real(object, "seconds"), peak.data ? peak.data : "");
  out->failed |= peak.failed;
  qtk_str_free(&peak);
}

static void table_stage(const json_t *stage, size_t i, struct qtk_str *out)
{
  struct qtk_str lines = {0};
  char name[40];
  snprintf(name, sizeof name, "%zu %s %s", i, table_text(stage, "run"),
           table_text(stage, "method"));
  qtk_str_printf(out, "%-24s", name);
  table_cost(stage, out);
  table_results(stage, &lines);
  qtk_str_add(out, lines.length ? "   " : "\n");
  for (const char *line = lines.data, *end; line && *line; line = end + 1) {
    end = strchr(line, '\n');
    qtk_str_printf(out, "%*s%.*s\n", line == lines.data ? 0 : 48, "", (int)(end - line), line);
  }
  out->failed |= lines.failed;
  qtk_str_free(&lines);
}

int qtk_report_table(const json_t *report, struct qtk_str *out)
{
  const json_t *stages = json_object_get(report, "stages"), *stage;
  const json_t *warnings = json_object_get(report, "warnings");
  size_t i;
  table_head(report, out);
  qtk_str_printf(out, "%-24s%11s %9s   %s\n", "stage", "time", "memory", "result");
  json_array_foreach(stages, i, stage) table_stage(stage, i, out);
  qtk_str_printf(out, "%-24s", "all");
  table_cost(report, out);
  qtk_str_add(out, "\n");
  json_array_foreach(stages, i, stage)
    report_choices_table(json_object_get(stage, "choices"), i, out);
  if (table_int(warnings, "count") > 0)
    qtk_str_printf(out, "\n%" PRId64 " warning%s\n", table_int(warnings, "count"),
                   table_int(warnings, "count") == 1 ? "" : "s");
  return out->failed ? qtk_error(QTK_ENOMEM, "out of memory (wanted for a table)") : QTK_OK;
}
