/* SPDX-License-Identifier: BSD-3-Clause
 * The rows of a text file one by one: lines, or documents in lines of JSON. */
#include "core/text-rows.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json.h"

static int row_is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r';
}

/* The next line that is not all blanks, without those around it; NULL behind the last. */
static const char *rows_line(struct text_rows *r, size_t *n)
{
  while (r->at < r->size) {
    const char *begin = r->data + r->at;
    const char *newline = memchr(begin, '\n', r->size - r->at);
    const char *end = newline != NULL ? newline : r->data + r->size;
    r->at = (size_t)(end - r->data) + 1;
    r->line++;
    while (begin < end && row_is_blank(*begin))
      begin++;
    while (end > begin && row_is_blank(end[-1]))
      end--;
    *n = (size_t)(end - begin);
    if (*n > 0)
      return begin;
  }
  return NULL;
}

static int rows_document(struct text_rows *r, const char *line, size_t n, const char *place)
{
  json_t *root = NULL;
  int rc = qtk_json_parse(line, n, place, &root);
  if (rc != QTK_OK)
    return rc;
  const json_t *value = json_object_get(root, "text");
  if (json_is_string(value))
    rc = qtk_str_add_bytes(&r->row, json_string_value(value), json_string_length(value));
  else
    rc = qtk_error(QTK_EINPUT, "%s: \"text\" is missing or no text", place);
  json_decref(root);
  return rc;
}

/* ---- examples ------------------------------------------------------------------------ */

static int rows_example(struct text_rows *r, const json_t *example, const char *place)
{
  struct qtk_chat_turn turn = {.first = 1};
  const char *output = NULL;
  int rc = qtk_json_get_text(example, "instruction", &turn.user);
  if (rc == QTK_OK)
    rc = qtk_json_get_text(example, "input", &turn.input);
  if (rc == QTK_OK)
    rc = qtk_json_get_text(example, "output", &output);
  if (rc == QTK_OK && (turn.user == NULL || output == NULL))
    rc = qtk_error(QTK_EINPUT, "instruction or output is missing");
  if (turn.input != NULL && turn.input[0] == '\0')
    turn.input = NULL;
  if (rc == QTK_OK)
    rc = qtk_chat_prompt(r->chat, &turn, &r->row);
  if (rc == QTK_OK)
    rc = qtk_chat_answer(r->chat, output, &r->row);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", place);
}

static int rows_next_example(struct text_rows *r, int *more)
{
  int rc = QTK_OK;
  if (r->examples == NULL)
    rc = qtk_json_parse(r->data, r->size, r->path, &r->examples);
  if (rc == QTK_OK && !json_is_array(r->examples))
    rc = qtk_error(QTK_EINPUT, "%s: an array of objects with instruction, input and output is "
                               "wanted",
                   r->path);
  *more = rc == QTK_OK && r->example < json_array_size(r->examples);
  if (!*more)
    return rc;
  char *place = qtk_str_format("%s, example %zu", r->path, r->example + 1);
  rc = place != NULL ? rows_example(r, json_array_get(r->examples, r->example++), place)
                     : QTK_ENOMEM;
  free(place);
  return rc;
}

void qtk_text_rows_end(struct text_rows *r)
{
  qtk_str_free(&r->row);
  json_decref(r->examples);
}

int qtk_text_row(struct text_rows *r, int *more)
{
  size_t n;
  if (r->kind == QTK_ROWS_EXAMPLES) {
    r->row.length = 0;
    return rows_next_example(r, more);
  }
  const char *line = rows_line(r, &n);
  *more = line != NULL;
  r->row.length = 0;
  if (line == NULL)
    return QTK_OK;
  if (r->kind == QTK_ROWS_LINES)
    return qtk_str_add_bytes(&r->row, line, n);
  char *place = qtk_str_format("%s, line %zu", r->path, r->line);
  int rc = place != NULL ? rows_document(r, line, n, place) : QTK_ENOMEM;
  free(place);
  return rc;
}
