/* SPDX-License-Identifier: BSD-3-Clause
 * Questions in tables: a file of comma-separated values a group, with the columns
 * question, choices, answer. A first line of names is skipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/csv.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/suite-inner.h"

/* ---- rows ------------------------------------------------------------------------------ */

static int table_error(const struct qtk_csv *csv, size_t field, const char *what)
{
  const struct qtk_csv_field *f = &csv->fields.data[field];
  return qtk_error(QTK_EINPUT, "%s:%lld:%lld: %s", csv->file, (long long)f->line,
                   (long long)f->column, what);
}

static int table_is_head(const struct qtk_csv *csv)
{
  return csv->fields.length > 1 && strcasecmp(csv->fields.data[0].text, "question") == 0 &&
         strcasecmp(csv->fields.data[csv->fields.length - 1].text, "answer") == 0;
}

/* As many columns as the first row has. */
static int table_columns(const struct qtk_csv *csv, size_t *columns)
{
  char what[128];
  size_t n = csv->fields.length;
  if (*columns == 0 && n >= 4 && n <= QTK_CHOICES_MOST + 2)
    *columns = n;
  if (n == *columns)
    return QTK_OK;
  if (*columns == 0)
    snprintf(what, sizeof what,
             "%zu columns: a question, 2 to %d choices and an answer are wanted", n,
             QTK_CHOICES_MOST);
  else
    snprintf(what, sizeof what, "%zu columns: the rows before it have %zu", n, *columns);
  return table_error(csv, n > *columns && *columns > 0 ? *columns : n - 1, what);
}

static int table_answer(const struct qtk_csv *csv, struct qtk_question *q)
{
  const char *text = csv->fields.data[csv->fields.length - 1].text;
  char what[160];
  q->answer = suite_answer_index(text, q->n);
  if (q->answer >= 0)
    return QTK_OK;
  snprintf(what, sizeof what, "answer \"%.40s\": allowed are A .. %c and 0 .. %d", text,
           'A' + q->n - 1, q->n - 1);
  return table_error(csv, csv->fields.length - 1, what);
}

static int table_question(const struct qtk_csv *csv, struct qtk_question *q)
{
  size_t n = csv->fields.length - 2;
  *q = (struct qtk_question){.context = qtk_str_copy(""),
                             .text = qtk_str_copy(csv->fields.data[0].text),
                             .choices = calloc(n, sizeof *q->choices)};
  if (q->context == NULL || q->text == NULL || q->choices == NULL)
    return qtk_error_memory(0, "a question");
  for (; q->n < (int)n; q->n++)
    if ((q->choices[q->n] = qtk_str_copy(csv->fields.data[q->n + 1].text)) == NULL)
      return QTK_ENOMEM;
  return table_answer(csv, q);
}

static int table_rows(struct suite_reader *r, struct qtk_csv *csv, struct qtk_questions *to,
                      int64_t limit)
{
  size_t columns = 0;
  int more, rc;
  for (int first = 1; (rc = qtk_csv_next(csv, &more)) == QTK_OK && more; first = 0) {
    struct qtk_question q = {0};
    if ((rc = table_columns(csv, &columns)) != QTK_OK)
      return rc;
    if (first && table_is_head(csv))
      continue;
    rc = table_question(csv, &q);
    if (rc == QTK_OK)
      rc = suite_add(r, to, &q, limit);
    else
      suite_question_free(&q);
    if (rc != QTK_OK)
      return rc;
  }
  return rc;
}

static int table_file(struct suite_reader *r, const char *path, struct qtk_questions *to,
                      int64_t limit)
{
  char *data = NULL;
  size_t size;
  int rc = suite_file(r, path, &data, &size);
  struct qtk_csv csv = {.file = path, .data = data, .size = rc == QTK_OK ? size : 0};
  if (rc == QTK_OK)
    rc = table_rows(r, &csv, to, limit);
  qtk_csv_end(&csv);
  free(data);
  return rc;
}

/* ---- files ------------------------------------------------------------------------------ */

/* The path of a pattern's file for a group: "dev" of "dev/" and "*" replaced. Freed by the
 * caller. */
static char *table_path(const char *folder, const char *pattern, const char *group)
{
  const char *star = strchr(pattern, '*');
  char *name = qtk_str_format("%.*s%s%s", (int)(star - pattern), pattern, group, star + 1);
  char *path = name ? qtk_path_join(folder, name) : NULL;
  free(name);
  return path;
}

/* A pattern of the suite's entry: "FOLDER/...*END". NULL if it is not given. */
static int table_pattern(const struct suite_reader *r, const char *key, const char **pattern)
{
  *pattern = NULL;
  int rc = qtk_toml_get_text(r->entry, key, pattern);
  if (rc == QTK_OK && *pattern != NULL && strchr(*pattern, '*') == NULL)
    rc = qtk_toml_error(qtk_toml_get(r->entry, key), "%s = \"%s\": a * is wanted for the group",
                        key, *pattern);
  return rc;
}

static int table_group(struct suite_reader *r, const char *questions, const char *examples,
                       const char *name)
{
  const char *folder = r->request->path;
  struct qtk_suite_group *group = suite_group(r->suite, name);
  char *path = group ? table_path(folder, questions, name) : NULL;
  int rc = path ? table_file(r, path, &group->questions, r->request->limit) : QTK_ENOMEM;
  free(path);
  if (rc != QTK_OK || r->suite->shots == 0 || examples == NULL)
    return rc;
  path = table_path(folder, examples, name);
  rc = path ? table_file(r, path, &group->examples, r->suite->shots) : QTK_ENOMEM;
  free(path);
  return rc;
}

/* The group that a file of the pattern's folder is of, or "" if it is none; freed. */
static char *table_group_name(const char *pattern, const char *file)
{
  const char *base = qtk_path_base(pattern), *star = strchr(base, '*');
  size_t before = star ? (size_t)(star - base) : 0, after = star ? strlen(star + 1) : 0;
  size_t n = strlen(file);
  if (star == NULL || n <= before + after || strncmp(file, base, before) != 0 ||
      strcmp(file + n - after, star + 1) != 0)
    return qtk_str_copy("");
  return qtk_str_format("%.*s", (int)(n - before - after), file + before);
}

static int table_groups(struct suite_reader *r, const char *questions, const char *examples,
                        char **files, size_t n)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    char *name = table_group_name(questions, files[i]);
    if (name == NULL)
      return QTK_ENOMEM;
    if (name[0] != '\0' && suite_wanted(r, name))
      rc = table_group(r, questions, examples, name);
    free(name);
  }
  return rc;
}

int suite_read_tables(struct suite_reader *r)
{
  const char *questions, *examples;
  char **files = NULL, *folder = NULL, *place = NULL;
  size_t n = 0;
  int rc = table_pattern(r, "questions", &questions);
  if (rc == QTK_OK)
    rc = table_pattern(r, "examples", &examples);
  if (rc == QTK_OK && questions == NULL)
    rc = qtk_toml_error(r->entry, "questions is missing: which files hold the questions");
  if (rc == QTK_OK && ((place = qtk_path_dir(questions)) == NULL ||
                       (folder = qtk_path_join(r->request->path, place)) == NULL))
    rc = QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_list_dir(folder, &files, &n);
  if (rc == QTK_OK)
    rc = table_groups(r, questions, examples, files, n);
  if (rc == QTK_OK && r->suite->groups.length == 0 && r->request->groups == NULL)
    rc = qtk_error(QTK_EINPUT, "%s: no files %s, as the suite \"%s\" has them", r->request->path,
                   questions, r->suite->name);
  free(files);
  free(folder);
  free(place);
  return rc;
}
