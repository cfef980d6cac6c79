/* SPDX-License-Identifier: BSD-3-Clause
 * The rows of a text file one by one. Only for the text's own files. */
#ifndef CORE_TEXT_ROWS_H
#define CORE_TEXT_ROWS_H

#include <jansson.h>

#include "core/text.h"

/* Starts as {path, kind, data, size}. */
struct text_rows {
  const char *path;
  enum qtk_rows kind; /* lines or documents */
  const char *data;
  size_t size;
  size_t at, line;
  struct qtk_str row; /* the present one */
  const struct qtk_chat *chat;
  json_t *examples;
  size_t example;
};

void qtk_text_rows_end(struct text_rows *rows);

/* *more is 0 behind the last row. */
int qtk_text_row(struct text_rows *rows, int *more);

#endif
