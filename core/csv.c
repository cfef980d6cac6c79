/* SPDX-License-Identifier: BSD-3-Clause
 * Reads comma-separated values. */
#include "core/csv.h"

#include <string.h>

static int csv_error(const struct qtk_csv *c, int64_t line, int64_t column, const char *what)
{
  return qtk_error(QTK_EINPUT, "%s:%lld:%lld: %s", c->file, (long long)line, (long long)column,
                   what);
}

static int64_t csv_column(const struct qtk_csv *c)
{
  return (int64_t)(c->at - c->line_start) + 1;
}

/* 0 at the end of the data. */
static char csv_peek(const struct qtk_csv *c)
{
  return c->at < c->size ? c->data[c->at] : 0;
}

static void csv_step(struct qtk_csv *c)
{
  if (c->data[c->at++] == '\n') {
    c->line++;
    c->line_start = c->at;
  }
}

static int csv_at_end(const struct qtk_csv *c)
{
  char here = csv_peek(c);
  return c->at >= c->size || here == '\n' ||
         (here == '\r' && c->at + 1 < c->size && c->data[c->at + 1] == '\n');
}

/* The record's line end, if it has one. */
static void csv_end_line(struct qtk_csv *c)
{
  if (csv_peek(c) == '\r')
    csv_step(c);
  if (csv_peek(c) == '\n')
    csv_step(c);
}

static int csv_quoted(struct qtk_csv *c, const struct qtk_csv_field *field)
{
  csv_step(c);
  for (;;) {
    if (c->at >= c->size)
      return csv_error(c, field->line, field->column, "this quote is never closed");
    char here = csv_peek(c);
    if (here == '"') {
      csv_step(c);
      if (csv_peek(c) != '"' || c->at >= c->size)
        break;
    }
    int rc = qtk_str_add_char(&c->text, here);
    if (rc != QTK_OK)
      return rc;
    csv_step(c);
  }
  if (!csv_at_end(c) && csv_peek(c) != ',')
    return csv_error(c, c->line + 1, csv_column(c),
                     "a comma or the end of the line is wanted behind a closing quote");
  return QTK_OK;
}

static int csv_bare(struct qtk_csv *c)
{
  size_t from = c->at;
  while (!csv_at_end(c) && csv_peek(c) != ',')
    csv_step(c);
  return qtk_str_add_bytes(&c->text, c->data + from, c->at - from);
}

static int csv_field(struct qtk_csv *c)
{
  struct qtk_csv_field field = {.offset = c->text.length, .line = c->line + 1,
                                .column = csv_column(c)};
  int rc = csv_peek(c) == '"' ? csv_quoted(c, &field) : csv_bare(c);
  if (rc != QTK_OK)
    return rc;
  field.length = c->text.length - field.offset;
  if (field.length > 0 && memchr(c->text.data + field.offset, 0, field.length) != NULL)
    return csv_error(c, field.line, field.column, "a zero byte in a text");
  rc = qtk_str_add_char(&c->text, '\0');
  return rc == QTK_OK ? qtk_vec_push(&c->fields, field) : rc;
}

static int csv_record(struct qtk_csv *c)
{
  int rc = csv_field(c);
  while (rc == QTK_OK && csv_peek(c) == ',' && c->at < c->size) {
    csv_step(c);
    rc = csv_field(c);
  }
  csv_end_line(c);
  for (size_t i = 0; rc == QTK_OK && i < c->fields.length; i++)
    c->fields.data[i].text = c->text.data + c->fields.data[i].offset;
  return rc;
}

int qtk_csv_next(struct qtk_csv *c, int *more)
{
  if (c->at == 0 && c->size >= 3 && memcmp(c->data, "\xef\xbb\xbf", 3) == 0)
    c->at = c->line_start = 3;
  c->text.length = c->fields.length = 0;
  while (c->at < c->size && csv_at_end(c))
    csv_end_line(c);
  *more = c->at < c->size;
  return *more ? csv_record(c) : QTK_OK;
}

void qtk_csv_end(struct qtk_csv *c)
{
  qtk_str_free(&c->text);
  qtk_vec_free(&c->fields);
}
