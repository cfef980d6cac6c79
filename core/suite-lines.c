/* SPDX-License-Identifier: BSD-3-Clause
 * Questions in lines of JSON: {"question", "choices", "answer"} and maybe "context" and
 * "group". */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/json.h"
#include "core/suite-inner.h"

#define LINES_GROUP "all" /* of questions that name none */

/* A text, "" where it may be missing and is. */
static int lines_text(const json_t *line, const char *key, const char *otherwise,
                      const char *place, const char **text)
{
  const json_t *value = json_object_get(line, key);
  *text = value ? json_string_value(value) : otherwise;
  if (*text == NULL || (value != NULL && strlen(*text) != json_string_length(value)))
    return qtk_error(QTK_EINPUT, "%s: \"%s\" is missing or no text", place, key);
  return QTK_OK;
}

static int lines_choices(const json_t *line, const char *place, struct qtk_question *q)
{
  const json_t *list = json_object_get(line, "choices");
  size_t n = json_array_size(list);
  if (n < 2 || n > QTK_CHOICES_MOST)
    return qtk_error(QTK_EINPUT, "%s: \"choices\": a list of 2 to %d texts is wanted", place,
                     QTK_CHOICES_MOST);
  if ((q->choices = calloc(n, sizeof *q->choices)) == NULL)
    return qtk_error_memory(n * sizeof *q->choices, "a question");
  for (; q->n < (int)n; q->n++) {
    const char *text = json_string_value(json_array_get(list, (size_t)q->n));
    if (text == NULL)
      return qtk_error(QTK_EINPUT, "%s: choice %d is no text", place, q->n);
    if ((q->choices[q->n] = qtk_str_copy(text)) == NULL)
      return QTK_ENOMEM;
  }
  return QTK_OK;
}

static int lines_answer(const json_t *line, const char *place, struct qtk_question *q)
{
  const json_t *value = json_object_get(line, "answer");
  q->answer = -1;
  if (json_is_string(value))
    q->answer = suite_answer_index(json_string_value(value), q->n);
  else if (json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) < q->n)
    q->answer = (int)json_integer_value(value);
  if (q->answer >= 0)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "%s: \"answer\": allowed are 0 .. %d and \"A\" .. \"%c\"", place,
                   q->n - 1, 'A' + q->n - 1);
}

/* *group is borrowed from the line. */
static int lines_question(const json_t *line, const char *place, struct qtk_question *q,
                          const char **group)
{
  const char *text, *context;
  int rc = lines_text(line, "question", NULL, place, &text);
  if (rc != QTK_OK || (rc = lines_text(line, "context", "", place, &context)) != QTK_OK ||
      (rc = lines_text(line, "group", LINES_GROUP, place, group)) != QTK_OK)
    return rc;
  q->text = qtk_str_copy(text);
  q->context = qtk_str_copy(context);
  if (q->text == NULL || q->context == NULL)
    return QTK_ENOMEM;
  rc = lines_choices(line, place, q);
  return rc == QTK_OK ? lines_answer(line, place, q) : rc;
}

/* Where a question of that group goes; NULL with *rc if nowhere. */
static struct qtk_questions *lines_place(struct suite_reader *r, const char *group, int *rc)
{
  struct qtk_suite_group *g = suite_wanted(r, group) ? suite_group(r->suite, group) : NULL;
  if (g == NULL && suite_wanted(r, group))
    *rc = QTK_ENOMEM;
  return g != NULL ? &g->questions : NULL;
}

static struct qtk_questions *lines_place_example(struct suite_reader *r, const char *group)
{
  struct qtk_suite_group *g = suite_find(r->suite, group);
  if (strcmp(group, LINES_GROUP) == 0)
    return &r->suite->examples;
  return g != NULL ? &g->examples : NULL;
}

static int lines_line(struct suite_reader *r, const char *text, size_t n, const char *place,
                      int examples)
{
  struct qtk_question q = {0};
  const char *group;
  json_t *line = NULL;
  int rc = qtk_json_parse(text, n, place, &line);
  if (rc == QTK_OK)
    rc = lines_question(line, place, &q, &group);
  struct qtk_questions *to = NULL;
  if (rc == QTK_OK)
    to = examples ? lines_place_example(r, group) : lines_place(r, group, &rc);
  if (to != NULL)
    rc = suite_add(r, to, &q, examples ? r->suite->shots : r->request->limit);
  else
    suite_question_free(&q);
  json_decref(line);
  return rc;
}

static int lines_all(struct suite_reader *r, const char *path, const char *data, size_t size,
                     int examples)
{
  size_t at = 0, number = 0;
  int rc = QTK_OK;
  while (at < size && rc == QTK_OK) {
    const char *newline = memchr(data + at, '\n', size - at);
    size_t n = (newline ? (size_t)(newline - data) : size) - at;
    number++;
    if (strspn(data + at, " \t\r\n") < n) {
      char *place = qtk_str_format("%s, line %zu", path, number);
      rc = place ? lines_line(r, data + at, n, place, examples) : QTK_ENOMEM;
      free(place);
    }
    at += n + 1;
  }
  return rc;
}

static int lines_file(struct suite_reader *r, const char *path, int examples)
{
  char *data = NULL;
  size_t size = 0;
  int rc = suite_file(r, path, &data, &size);
  if (rc == QTK_OK)
    rc = lines_all(r, path, data, size, examples);
  free(data);
  return rc;
}

int suite_read_lines(struct suite_reader *r)
{
  int rc = lines_file(r, r->request->path, 0);
  if (rc == QTK_OK && r->request->examples != NULL && r->suite->shots > 0)
    rc = lines_file(r, r->request->examples, 1);
  return rc;
}
