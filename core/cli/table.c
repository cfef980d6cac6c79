/* SPDX-License-Identifier: BSD-3-Clause
 * Tables of text with columns lined up. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/error.h"

int cli_flush(void)
{
  if (fflush(stdout) == 0 && !ferror(stdout))
    return QTK_OK;
  return qtk_error_errno(QTK_EINPUT, errno, "standard output");
}

void cli_table_begin(struct cli_table *t, size_t columns, unsigned right)
{
  *t = (struct cli_table){.columns = columns, .right = right};
}

void cli_table_add(struct cli_table *t, const char *fmt, ...)
{
  va_list args;
  if (t->n == t->capacity) {
    size_t capacity = t->capacity ? 2 * t->capacity : 64;
    char **cells = realloc(t->cells, capacity * sizeof *cells);
    if (cells == NULL) {
      t->failed = 1;
      return;
    }
    t->cells = cells;
    t->capacity = capacity;
  }
  va_start(args, fmt);
  if (vasprintf(&t->cells[t->n], fmt, args) < 0)
    t->failed = 1;
  else
    t->n++;
  va_end(args);
}

/* Columns as people see them: bytes that continue a UTF-8 character do not count. */
static int table_width(const char *text)
{
  int width = 0;
  for (; *text != '\0'; text++)
    width += ((unsigned char)*text & 0xc0) != 0x80;
  return width;
}

static int table_column_width(const struct cli_table *t, size_t column)
{
  int width = 0;
  for (size_t i = column; i < t->n; i += t->columns) {
    int w = table_width(t->cells[i]);
    width = w > width ? w : width;
  }
  return width;
}

static void table_print_cell(const struct cli_table *t, size_t i, const int *widths)
{
  size_t column = i % t->columns;
  int last = column + 1 == t->columns || i + 1 == t->n;
  int pad = widths[column] - table_width(t->cells[i]);
  int right = t->right >> column & 1;
  if (right)
    printf("%*s", pad, "");
  fputs(t->cells[i], stdout);
  if (!right && !last)
    printf("%*s", pad, "");
  fputs(last ? "\n" : "  ", stdout);
}

int cli_table_print(struct cli_table *t)
{
  int widths[16] = {0};
  for (size_t c = 0; c < t->columns && c < 16; c++)
    widths[c] = table_column_width(t, c);
  for (size_t i = 0; i < t->n; i++)
    table_print_cell(t, i, widths);
  for (size_t i = 0; i < t->n; i++)
    free(t->cells[i]);
  free(t->cells);
  int failed = t->failed;
  memset(t, 0, sizeof *t);
  return failed ? qtk_error_memory(0, "a table") : cli_flush();
}
