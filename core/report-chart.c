/* SPDX-License-Identifier: BSD-3-Clause
 * Plots of the report's page, as SVG. */
#include <math.h>
#include <string.h>

#include "core/report-inner.h"

#define CHART_WIDTH 640.0
#define CHART_HEIGHT 200.0
#define CHART_MARGIN 48.0
#define CHART_DOTS 64 /* points of a curve that are marked one by one, at most */

static const char *const chart_colours[] = {"#1b6ca8", "#d1495b", "#3c8d40",
                                            "#8e5ea2", "#c77f1b", "#4a4a4a"};

struct chart_range {
  double left, right, low, high;
  size_t longest; /* points of the longest curve */
};

void report_escape(struct qtk_str *out, const char *text)
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

/* ---- numbers ------------------------------------------------------------------------ */

/* Point i of a curve; 0 if it is no number. */
static int chart_point(const struct report_curve *curve, size_t i, double *x, double *y)
{
  const json_t *item = json_array_get(curve->values, i);
  const json_t *value = curve->y ? json_object_get(item, curve->y) : item;
  *x = curve->x ? json_number_value(json_object_get(item, curve->x)) : (double)i;
  *y = json_number_value(value);
  return json_is_number(value);
}

static struct chart_range chart_range(const struct report_chart *chart)
{
  struct chart_range r = {.left = INFINITY, .right = -INFINITY, .low = INFINITY, .high = -INFINITY};
  if (chart->bars)
    r.low = r.high = 0;
  for (size_t c = 0; c < chart->n; c++) {
    size_t n = json_array_size(chart->curves[c].values);
    r.longest = n > r.longest ? n : r.longest;
    for (size_t i = 0; i < n; i++) {
      double x, y;
      if (!chart_point(&chart->curves[c], i, &x, &y))
        continue;
      r.left = fmin(r.left, x);
      r.right = fmax(r.right, x);
      r.low = fmin(r.low, y);
      r.high = fmax(r.high, y);
    }
  }
  if (r.right < r.left)
    r.longest = 0; /* no number at all */
  if (!(r.high > r.low))
    r.high = r.low + 1;
  if (!(r.right > r.left))
    r.right = r.left + 1;
  return r;
}

static double chart_x(const struct chart_range *r, double value)
{
  return CHART_MARGIN + CHART_WIDTH * (value - r->left) / (r->right - r->left);
}

static double chart_y(const struct chart_range *r, double value)
{
  return CHART_MARGIN / 2 + CHART_HEIGHT * (1 - (value - r->low) / (r->high - r->low));
}

/* ---- lines and bars ------------------------------------------------------------------- */

/* Points that are not many, with what they say where the mouse rests. */
static void chart_dots(struct qtk_str *out, const struct report_curve *curve, const char *colour,
                       const struct chart_range *r)
{
  double x, y;
  for (size_t i = 0; i < json_array_size(curve->values); i++)
    if (chart_point(curve, i, &x, &y))
      qtk_str_printf(out,
                     "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"><title>%s %.0f: "
                     "%.6g</title></circle>\n",
                     chart_x(r, x), chart_y(r, y), colour, curve->x ? curve->x : "window", x, y);
}

static void chart_line(struct qtk_str *out, const struct report_curve *curve, const char *colour,
                       const struct chart_range *r)
{
  double x, y;
  qtk_str_printf(out, "<polyline fill=\"none\" stroke-width=\"1.5\" stroke=\"%s\" points=\"",
                 colour);
  for (size_t i = 0; i < json_array_size(curve->values); i++)
    if (chart_point(curve, i, &x, &y))
      qtk_str_printf(out, "%.1f,%.1f ", chart_x(r, x), chart_y(r, y));
  qtk_str_add(out, "\"/>\n");
  if (json_array_size(curve->values) <= CHART_DOTS)
    chart_dots(out, curve, colour, r);
}

/* A bar an item, with its name and value where the mouse rests. */
static void chart_bars(struct qtk_str *out, const struct report_curve *curve, const char *colour,
                       const struct chart_range *r)
{
  double step = CHART_WIDTH / (double)r->longest, x, y;
  for (size_t i = 0; i < json_array_size(curve->values); i++) {
    const char *name = json_string_value(json_object_get(json_array_get(curve->values, i), "name"));
    if (!chart_point(curve, i, &x, &y))
      continue;
    qtk_str_printf(
        out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>",
        CHART_MARGIN + step * (double)i, chart_y(r, y), fmax(step - 0.5, 0.5),
        chart_y(r, r->low) - chart_y(r, y), colour);
    report_escape(out, name ? name : "");
    qtk_str_printf(out, " %.4g</title></rect>\n", y);
  }
}

/* ---- the whole --------------------------------------------------------------------------- */

static void chart_axes(struct qtk_str *out, const struct report_chart *chart,
                       const struct chart_range *r)
{
  double bottom = CHART_HEIGHT + CHART_MARGIN / 2;
  qtk_str_printf(out,
                 "<path fill=\"none\" stroke=\"#888\" d=\"M%.0f %.0fv%.0fh%.0f\"/>\n"
                 "<text x=\"2\" y=\"%.0f\">%.4g</text><text x=\"2\" y=\"%.0f\">%.4g</text>\n",
                 CHART_MARGIN, CHART_MARGIN / 2, CHART_HEIGHT, CHART_WIDTH, CHART_MARGIN / 2 + 4,
                 r->high, bottom, r->low);
  if (chart->curves[0].x == NULL)
    return;
  qtk_str_printf(out,
                 "<text x=\"%.0f\" y=\"%.0f\">%s %.0f</text><text x=\"%.0f\" y=\"%.0f\" "
                 "text-anchor=\"end\">%.0f</text>\n",
                 CHART_MARGIN, bottom + 14, chart->curves[0].x, r->left,
                 CHART_MARGIN + CHART_WIDTH, bottom + 14, r->right);
}

static void chart_legend(struct qtk_str *out, const struct report_chart *chart)
{
  qtk_str_add(out, "<p>");
  for (size_t c = 0; c < chart->n; c++) {
    qtk_str_printf(out, "<span style=\"color:%s\">&#9632;</span> ", chart_colours[c % 6]);
    report_escape(out, chart->curves[c].label);
    qtk_str_add(out, "&ensp;");
  }
  qtk_str_add(out, "</p>\n");
}

void report_chart_draw(struct qtk_str *out, const struct report_chart *chart)
{
  struct chart_range r = chart_range(chart);
  if (r.longest == 0)
    return;
  qtk_str_printf(out, "<h2>%s</h2>\n<svg viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\">\n", chart->title,
                 CHART_WIDTH + 2 * CHART_MARGIN, CHART_HEIGHT + CHART_MARGIN,
                 CHART_WIDTH + 2 * CHART_MARGIN);
  chart_axes(out, chart, &r);
  for (size_t c = 0; c < chart->n; c++)
    (chart->bars ? chart_bars : chart_line)(out, &chart->curves[c], chart_colours[c % 6], &r);
  qtk_str_add(out, "</svg>\n");
  chart_legend(out, chart);
}

void report_chart_add(struct report_chart *chart, const char *label, const json_t *values,
                      const char *x, const char *y)
{
  struct report_curve *curve = &chart->curves[chart->n];
  if (!json_is_array(values) || chart->n == REPORT_CURVES)
    return;
  *curve = (struct report_curve){.values = values, .x = x, .y = y};
  snprintf(curve->label, sizeof curve->label, "%s", label);
  chart->n++;
}
