/* SPDX-License-Identifier: BSD-3-Clause
 * Records of comma-separated values as RFC 4180 has them: fields in quotes may hold
 * commas, line ends and, doubled, quotes. Lines may end in LF too, empty lines are no
 * records, a byte order mark is skipped, and quotes inside a field that does not begin
 * with one stand for themselves. */
#ifndef QTK_CORE_CSV_H
#define QTK_CORE_CSV_H

#include "core/str.h"
#include "core/vec.h"

struct qtk_csv_field {
  const char *text; /* ended by NUL; lasts until the next record */
  size_t offset, length;
  int64_t line, column; /* in bytes, from 1 */
};

/* Starts as {file, data, size}. */
struct qtk_csv {
  const char *file; /* for messages */
  const char *data;
  size_t size;
  size_t at, line_start;
  int64_t line; /* line ends passed */
  struct qtk_str text;
  QTK_VEC(struct qtk_csv_field) fields; /* of the record at hand */
};

/* *more is 0 behind the last record. QTK_EINPUT with file, line and column. */
QTK_PUBLIC int qtk_csv_next(struct qtk_csv *csv, int *more);
QTK_PUBLIC void qtk_csv_end(struct qtk_csv *csv); /* {0} is fine */

#endif
