/* SPDX-License-Identifier: BSD-3-Clause
 * The report as an HTML page that needs nothing else: the table, and plots as SVG. */
#include <string.h>

#include "core/report-inner.h"

#define HTML_LABEL 96

/* "1 evaluate": number, kind, method; then what else is said of the curve. */
static const char *html_label(const json_t *stage, size_t number, const char *more,
                              char label[HTML_LABEL])
{
  const char *run = json_string_value(json_object_get(stage, "run"));
  const char *method = json_string_value(json_object_get(stage, "method"));
  snprintf(label, HTML_LABEL, "%zu %s%s%s%s%s", number, run ? run : "", method ? " " : "",
           method ? method : "", more ? ", " : "", more ? more : "");
  return label;
}

/* What evaluate stages have for each window, with each of the adapters that they measured. */
static void html_windows(struct qtk_str *out, const json_t *stages, const char *title,
                         const char *path)
{
  struct report_chart chart = {.title = title};
  char label[HTML_LABEL];
  const json_t *stage, *adapter;
  size_t i, k;
  json_array_foreach(stages, i, stage)
  {
    report_chart_add(&chart, html_label(stage, i, NULL, label), qtk_json_find(stage, path), NULL,
                     NULL);
    json_array_foreach(json_object_get(stage, "adapters"), k, adapter)
    {
      const char *name = json_string_value(json_object_get(adapter, "name"));
      report_chart_add(&chart, html_label(stage, i, name, label), qtk_json_find(adapter, path),
                       NULL, NULL);
    }
  }
  report_chart_draw(out, &chart);
}

/* Bars of several stages would cover each other: a chart each. */
static void html_layers(struct qtk_str *out, const json_t *stages)
{
  char label[HTML_LABEL];
  const json_t *stage;
  size_t i;
  json_array_foreach(stages, i, stage)
  {
    struct report_chart chart = {.title = "Relative error by layer", .bars = 1};
    report_chart_add(&chart, html_label(stage, i, NULL, label), json_object_get(stage, "layers"),
                     NULL, "relative_error");
    report_chart_draw(out, &chart);
  }
}

/* What data said while a stage trained, and data that it did not learn from. */
static void html_training(struct qtk_str *out, const json_t *stages)
{
  struct report_chart losses = {.title = "Loss while training"};
  struct report_chart rates = {.title = "Learning rate"};
  char label[HTML_LABEL];
  const json_t *stage;
  size_t i;
  json_array_foreach(stages, i, stage)
  {
    const json_t *loss = json_object_get(stage, "loss");
    report_chart_add(&losses, html_label(stage, i, NULL, label), loss, "step", "loss");
    report_chart_add(&rates, label, loss, "step", "learning_rate");
    report_chart_add(&losses, html_label(stage, i, "validation", label),
                     json_object_get(stage, "validation"), "step", "loss");
  }
  report_chart_draw(out, &losses);
  report_chart_draw(out, &rates);
}

/* A chart a stage that asked questions. */
static void html_choices(struct qtk_str *out, const json_t *stages)
{
  char label[HTML_LABEL];
  const json_t *stage;
  size_t i;
  json_array_foreach(stages, i, stage)
  {
    struct report_chart chart = {.title = "Right answers by subject", .bars = 1};
    json_t *bars = report_choices_bars(stage);
    report_chart_add(&chart, html_label(stage, i, NULL, label), bars, NULL, "accuracy");
    report_chart_draw(out, &chart);
    json_decref(bars);
  }
}

int qtk_report_html(const json_t *report, struct qtk_str *out)
{
  struct qtk_str table = {0};
  const json_t *stages = json_object_get(report, "stages");
  const char *job = json_string_value(json_object_get(report, "job"));
  int rc = qtk_report_table(report, &table);
  qtk_str_add(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                   "<title>qtk report</title>\n<style>body{font:15px sans-serif;margin:2em auto;"
                   "max-width:60em}pre{overflow-x:auto}svg text{font-size:11px}</style>\n"
                   "</head><body>\n<h1>qtk report</h1>\n<pre>");
  report_escape(out, table.data ? table.data : "");
  qtk_str_add(out, "</pre>\n");
  html_windows(out, stages, "Loss by window", "perplexity.nll_per_window");
  html_windows(out, stages, "Divergence by window", "divergence.kl_per_window");
  html_layers(out, stages);
  html_training(out, stages);
  html_choices(out, stages);
  qtk_str_add(out, "<h2>Job</h2>\n<pre>");
  report_escape(out, job ? job : "");
  qtk_str_add(out, "</pre>\n</body></html>\n");
  qtk_str_free(&table);
  if (rc != QTK_OK)
    return rc;
  return out->failed ? qtk_error(QTK_ENOMEM, "out of memory (wanted for a page)") : QTK_OK;
}
