/* SPDX-License-Identifier: BSD-3-Clause
 * Multiple choice in what is made of a report, and plots. Only for the report's own files. */
#ifndef CORE_REPORT_INNER_H
#define CORE_REPORT_INNER_H

#include "core/report.h"

/* What stands in the stage's row of the table, and the table by subject behind it. */
void report_labels_line(const json_t *labels, struct qtk_str *out);
void report_choices_line(const json_t *choices, struct qtk_str *out);
void report_choices_table(const json_t *choices, size_t stage, struct qtk_str *out);
/* A new list of {name, accuracy} for a chart, empty if the stage asked nothing. */
json_t *report_choices_bars(const json_t *stage);

/* ---- plots --------------------------------------------------------------------------- */

#define REPORT_CURVES 16 /* of a chart; more are left out */

/* Points are the items of `values`, an array: numbers, or objects with a number under `y`; of
 * `x` NULL their index is how far to the right they stand. */
struct report_curve {
  char label[96];
  const json_t *values;
  const char *x, *y;
};

struct report_chart {
  const char *title;
  struct report_curve curves[REPORT_CURVES];
  size_t n;
  int bars;
};

/* `values` may be no array: then there is no such curve. */
void report_chart_add(struct report_chart *chart, const char *label, const json_t *values,
                      const char *x, const char *y);
/* Nothing if no curve has a point. */
void report_chart_draw(struct qtk_str *out, const struct report_chart *chart);
/* As text between tags. */
void report_escape(struct qtk_str *out, const char *text);

#endif
