/* SPDX-License-Identifier: BSD-3-Clause
 * The report as an HTML page that needs nothing else: the table, and plots as SVG. */
#include <math.h>
#include <string.h>

#include "core/report-inner.h"

#define HTML_WIDTH 640.0
#define HTML_HEIGHT 200.0
#define HTML_MARGIN 48.0

static const char *const html_colours[] = {"#1b6ca8", "#d1495b", "#3c8d40",
                                           "#8e5ea2", "#c77f1b", "#4a4a4a"};

/* A curve: values at 0, 1, 2, ... */
struct html_curve {
  char label[64];
  const json_t *values; /* numbers, or objects with a number under `key` */
  const char *key;
};

struct html_chart {
  const char *title;
  struct html_curve curves[16];
  size_t n;
  int bars;
};

static void html_escape(struct qtk_str *out, const char *text)
{
  for (; *text; text++)
    switch (*text) {
    case '<':
      qtk_str_add(out, "&lt;");
      break;
    case '>':
      qtk_str_add(out, "&gt;");
      break;
    case '&':
      qtk_str_add(out, "&amp;");
      break;
    default:
      qtk_str_add_char(out, *text);
    }
}

static double html_value(const struct html_curve *curve, size_t i)
{
  const json_t *item = json_array_get(curve->values, i);
  return json_number_value(curve->key ? json_object_get(item, curve->key) : item);
}

/* The range of all curves, and the length of the longest. */
static size_t html_range(const struct html_chart *chart, double *lo, double *hi)
{
  size_t longest = 0;
  *lo = chart->bars ? 0.0 : INFINITY;
  *hi = chart->bars ? 0.0 : -INFINITY;
  for (size_t c = 0; c < chart->n; c++) {
    size_t n = json_array_size(chart->curves[c].values);
    longest = n > longest ? n : longest;
    for (size_t i = 0; i < n; i++) {
      *lo = fmin(*lo, html_value(&chart->curves[c], i));
      *hi = fmax(*hi, html_value(&chart->curves[c], i));
    }
  }
  if (!(*hi > *lo))
    *hi = *lo + 1;
  return longest;
}

static double html_y(double value, double lo, double hi)
{
  return HTML_MARGIN / 2 + HTML_HEIGHT * (1 - (value - lo) / (hi - lo));
}

static void html_line(struct qtk_str *out, const struct html_curve *curve, const char *colour,
                      size_t longest, double lo, double hi)
{
  double step = HTML_WIDTH / (double)(longest > 1 ? longest - 1 : 1);
  qtk_str_printf(out, "<polyline fill=\"none\" stroke-width=\"1.5\" stroke=\"%s\" points=\"",
                 colour);
  for (size_t i = 0; i < json_array_size(curve->values); i++)
    qtk_str_printf(out, "%.1f,%.1f ", HTML_MARGIN + step * (double)i,
                   html_y(html_value(curve, i), lo, hi));
  qtk_str_add(out, "\"/>\n");
}

/* A bar an item, with its name and value where the mouse rests. */
static void html_bars(struct qtk_str *out, const struct html_curve *curve, const char *colour,
                      size_t longest, double lo, double hi)
{
  double step = HTML_WIDTH / (double)longest;
  for (size_t i = 0; i < json_array_size(curve->values); i++) {
    double value = html_value(curve, i), y = html_y(value, lo, hi);
    const char *name = json_string_value(json_object_get(json_array_get(curve->values, i), "name"));
    qtk_str_printf(
        out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>",
        HTML_MARGIN + step * (double)i, y, fmax(step - 0.5, 0.5), html_y(lo, lo, hi) - y, colour);
    html_escape(out, name ? name : "");
    qtk_str_printf(out, " %.4g</title></rect>\n", value);
  }
}

static void html_legend(struct qtk_str *out, const struct html_chart *chart)
{
  qtk_str_add(out, "<p>");
  for (size_t c = 0; c < chart->n; c++) {
    qtk_str_printf(out, "<span style=\"color:%s\">&#9632;</span> ", html_colours[c % 6]);
    html_escape(out, chart->curves[c].label);
    qtk_str_add(out, "&ensp;");
  }
  qtk_str_add(out, "</p>\n");
}

static void html_draw(struct qtk_str *out, const struct html_chart *chart)
{
  double lo, hi;
  size_t longest = html_range(chart, &lo, &hi);
  if (longest == 0)
    return;
  qtk_str_printf(out, "<h2>%s</h2>\n<svg viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\">\n", chart->title,
                 HTML_WIDTH + 2 * HTML_MARGIN, HTML_HEIGHT + HTML_MARGIN,
                 HTML_WIDTH + 2 * HTML_MARGIN);
  qtk_str_printf(out,
                 "<path fill=\"none\" stroke=\"#888\" d=\"M%.0f %.0fv%.0fh%.0f\"/>\n"
                 "<text x=\"2\" y=\"%.0f\">%.4g</text><text x=\"2\" y=\"%.0f\">%.4g</text>\n",
                 HTML_MARGIN, HTML_MARGIN / 2, HTML_HEIGHT, HTML_WIDTH, HTML_MARGIN / 2 + 4, hi,
                 HTML_HEIGHT + HTML_MARGIN / 2, lo);
  for (size_t c = 0; c < chart->n; c++)
    (chart->bars ? html_bars : html_line)(out, &chart->curves[c], html_colours[c % 6], longest, lo,
                                          hi);
  qtk_str_add(out, "</svg>\n");
  html_legend(out, chart);
}

/* Adds the array at `path` of a stage to the chart, if it is there. */
static void html_collect(struct html_chart *chart, const json_t *stage, size_t number,
                         const char *path, const char *key)
{
  const char *run = json_string_value(json_object_get(stage, "run"));
  const char *method = json_string_value(json_object_get(stage, "method"));
  const json_t *values = qtk_json_find(stage, path);
  struct html_curve *curve = &chart->curves[chart->n];
  if (!json_is_array(values) || chart->n == sizeof chart->curves / sizeof *chart->curves)
    return;
  snprintf(curve->label, sizeof curve->label, "%zu %s %s", number, run ? run : "",
           method ? method : "");
  curve->values = values;
  curve->key = key;
  chart->n++;
}

static void html_charts(struct qtk_str *out, const json_t *report)
{
  static const struct {
    const char *title, *path, *key;
    int bars;
  } kinds[] = {{"Loss by window", "perplexity.nll_per_window", NULL, 0},
               {"Divergence by window", "divergence.kl_per_window", NULL, 0},
               {"Relative error by layer", "layers", "relative_error", 1},
               {"Loss while training", "loss", "loss", 0}};
  const json_t *stages = json_object_get(report, "stages"), *stage;
  size_t i;
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    struct html_chart chart = {.title = kinds[k].title, .bars = kinds[k].bars};
    json_array_foreach(stages, i, stage)
    {
      html_collect(&chart, stage, i, kinds[k].path, kinds[k].key);
      /* Bars of several stages would cover each other: a chart each. */
      if (chart.bars && chart.n > 0) {
        html_draw(out, &chart);
        chart.n = 0;
      }
    }
    html_draw(out, &chart);
  }
}

/* A chart a stage that asked questions. */
static void html_choices(struct qtk_str *out, const json_t *report)
{
  const json_t *stages = json_object_get(report, "stages"), *stage;
  size_t i;
  json_array_foreach(stages, i, stage)
  {
    struct html_chart chart = {.title = "Right answers by subject", .bars = 1, .n = 1};
    json_t *bars = report_choices_bars(stage);
    snprintf(chart.curves[0].label, sizeof chart.curves[0].label, "%zu choices", i);
    chart.curves[0].values = bars;
    chart.curves[0].key = "accuracy";
    html_draw(out, &chart);
    json_decref(bars);
  }
}

int qtk_report_html(const json_t *report, struct qtk_str *out)
{
  struct qtk_str table = {0};
  const char *job = json_string_value(json_object_get(report, "job"));
  int rc = qtk_report_table(report, &table);
  qtk_str_add(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                   "<title>qtk report</title>\n<style>body{font:15px sans-serif;margin:2em auto;"
                   "max-width:60em}pre{overflow-x:auto}svg text{font-size:11px}</style>\n"
                   "</head><body>\n<h1>qtk report</h1>\n<pre>");
  html_escape(out, table.data ? table.data : "");
  qtk_str_add(out, "</pre>\n");
  html_charts(out, report);
  html_choices(out, report);
  qtk_str_add(out, "<h2>Job</h2>\n<pre>");
  html_escape(out, job ? job : "");
  qtk_str_add(out, "</pre>\n</body></html>\n");
  qtk_str_free(&table);
  if (rc != QTK_OK)
    return rc;
  return out->failed ? qtk_error(QTK_ENOMEM, "out of memory (wanted for a page)") : QTK_OK;
}
