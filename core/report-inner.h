/* SPDX-License-Identifier: BSD-3-Clause
 * Multiple choice in what is made of a report. Only for the report's own files. */
#ifndef CORE_REPORT_INNER_H
#define CORE_REPORT_INNER_H

#include "core/report.h"

/* What stands in the stage's row of the table, and the table by subject behind it. */
void report_choices_line(const json_t *choices, struct qtk_str *out);
void report_choices_table(const json_t *choices, size_t stage, struct qtk_str *out);
/* A new list of {name, accuracy} for a chart, empty if the stage asked nothing. */
json_t *report_choices_bars(const json_t *stage);

#endif
