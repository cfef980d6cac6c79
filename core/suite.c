/* SPDX-License-Identifier: BSD-3-Clause
 * Suites of multiple-choice questions: their texts, and prompts made of them. */
#include "core/suite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/suite-inner.h"

const char *const *qtk_score_names(void)
{
  static const char *const names[] = {
    [QTK_SCORE_LETTER] = "letter", [QTK_SCORE_TEXT] = "text",
    [QTK_SCORE_NORMALIZED] = "text_normalized", [QTK_SCORE_NORMALIZED + 1] = NULL};
  return names;
}

/* ---- questions ------------------------------------------------------------------------- */

void suite_question_free(struct qtk_question *q)
{
  for (int i = 0; i < q->n; i++)
    free(q->choices[i]);
  free(q->choices);
  free(q->context);
  free(q->text);
}

static void suite_questions_free(struct qtk_questions *list)
{
  for (size_t i = 0; i < list->length; i++)
    suite_question_free(&list->data[i]);
  qtk_vec_free(list);
}

static uint64_t suite_question_bytes(const struct qtk_question *q)
{
  uint64_t bytes = sizeof *q + strlen(q->text) + strlen(q->context);
  for (int i = 0; i < q->n; i++)
    bytes += sizeof *q->choices + strlen(q->choices[i]);
  return bytes;
}

int suite_add(struct suite_reader *r, struct qtk_questions *to, struct qtk_question *q,
              int64_t limit)
{
  uint64_t bytes = suite_question_bytes(q);
  if (limit > 0 && to->length >= (size_t)limit) {
    suite_question_free(q);
    return QTK_OK;
  }
  int rc = qtk_arena_charge(&r->suite->ctx->arena, bytes, "text");
  if (rc == QTK_OK) {
    r->suite->bytes += bytes;
    rc = qtk_vec_push(to, *q);
  }
  if (rc != QTK_OK)
    suite_question_free(q);
  return rc;
}

int suite_answer_index(const char *text, int n)
{
  char *end;
  int letter = toupper((unsigned char)text[0]) - 'A';
  if (text[0] >= '0' && text[0] <= '9') {
    long value = strtol(text, &end, 10);
    return *end == '\0' && value < n ? (int)value : -1;
  }
  return text[0] != '\0' && text[1] == '\0' && letter >= 0 && letter < n ? letter : -1;
}

/* ---- groups ------------------------------------------------------------------------------ */

struct qtk_suite_group *suite_find(struct qtk_suite *suite, const char *name)
{
  for (size_t i = 0; i < suite->groups.length; i++)
    if (strcmp(suite->groups.data[i].name, name) == 0)
      return &suite->groups.data[i];
  return NULL;
}

struct qtk_suite_group *suite_group(struct qtk_suite *suite, const char *name)
{
  struct qtk_suite_group *found = suite_find(suite, name);
  if (found != NULL)
    return found;
  struct qtk_suite_group group = {.name = qtk_str_copy(name)};
  if (group.name == NULL || qtk_vec_push(&suite->groups, group) != QTK_OK) {
    free(group.name);
    return NULL;
  }
  return &suite->groups.data[suite->groups.length - 1];
}

int suite_wanted(const struct suite_reader *r, const char *group)
{
  const char **names = r->request->groups;
  for (; names != NULL && *names != NULL; names++)
    if (strcmp(*names, group) == 0)
      return 1;
  return names == NULL;
}

static int suite_compare(const void *a, const void *b)
{
  const struct qtk_suite_group *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static int suite_check_names(const struct suite_reader *r)
{
  const char **names = r->request->groups;
  for (; names != NULL && *names != NULL; names++)
    if (suite_find(r->suite, *names) == NULL)
      return qtk_error(QTK_EJOB, "subjects: %s has none of the name \"%s\"", r->request->path,
                       *names);
  return QTK_OK;
}

/* Groups by name, each with questions and as many examples as are wanted. */
static int suite_check(struct suite_reader *r)
{
  struct qtk_suite *s = r->suite;
  int rc = suite_check_names(r);
  if (s->groups.length > 0)
    qsort(s->groups.data, s->groups.length, sizeof *s->groups.data, suite_compare);
  for (size_t i = 0; i < s->groups.length && rc == QTK_OK; i++) {
    const struct qtk_suite_group *g = &s->groups.data[i];
    size_t examples = g->examples.length > 0 ? g->examples.length : s->examples.length;
    s->questions += (int64_t)g->questions.length;
    if (g->questions.length == 0)
      rc = qtk_error(QTK_EINPUT, "%s: no questions for \"%s\"", r->request->path, g->name);
    else if ((int64_t)examples < s->shots)
      rc = qtk_error(QTK_EINPUT, "%s: shots = %lld, but there are %zu solved examples for \"%s\"",
                     r->request->path, (long long)s->shots, examples, g->name);
  }
  if (rc == QTK_OK && s->questions == 0)
    rc = qtk_error(QTK_EINPUT, "%s: no questions", r->request->path);
  return rc;
}

/* ---- reading ----------------------------------------------------------------------------- */

int suite_file(struct suite_reader *r, const char *path, char **data, size_t *size)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  int rc = qtk_read_file(path, SUITE_FILE_BYTES, data, size);
  if (rc != QTK_OK)
    return rc;
  qtk_digest_of(*data, *size, digest);
  qtk_digest_hex(digest, hex);
  memcpy(r->suite->sha256, hex, sizeof hex);
  r->files++;
  return qtk_str_printf(&r->digests, "%s  %s\n", hex, qtk_path_base(path));
}

/* The path's own name, also of "folder/". */
static int suite_name_data(struct suite_reader *r)
{
  char *path = qtk_str_copy(r->request->path);
  if (path == NULL)
    return QTK_ENOMEM;
  for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
    path[n - 1] = '\0';
  r->suite->data = qtk_str_copy(qtk_path_base(path));
  free(path);
  return r->suite->data ? QTK_OK : QTK_ENOMEM;
}

static int suite_read(struct suite_reader *r)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  const char *layout = NULL;
  int rc = suite_define(r);
  if (rc == QTK_OK)
    rc = suite_name_data(r);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(r->entry, "layout", &layout);
  if (rc != QTK_OK)
    return rc;
  if (layout != NULL && strcmp(layout, "csv") == 0)
    rc = suite_read_tables(r);
  else if (layout != NULL && strcmp(layout, "jsonl") == 0)
    rc = suite_read_lines(r);
  else
    rc = qtk_toml_error(r->entry, "layout: \"csv\" or \"jsonl\" is wanted");
  if (rc == QTK_OK && r->files > 1) {
    qtk_digest_of(r->digests.data, r->digests.length, digest);
    qtk_digest_hex(digest, r->suite->sha256);
  }
  return rc == QTK_OK ? suite_check(r) : rc;
}

int qtk_suite_read(struct qtk_context *ctx, const struct qtk_suite_request *request,
                   struct qtk_suite **suite)
{
  struct qtk_suite *s = calloc(1, sizeof *s);
  struct suite_reader r = {.suite = s, .request = request};
  *suite = NULL;
  if (s == NULL)
    return qtk_error_memory(sizeof *s, "a suite");
  s->ctx = ctx;
  s->score = request->score;
  int rc = suite_read(&r);
  qtk_str_free(&r.digests);
  if (rc != QTK_OK)
    qtk_suite_free(s);
  else
    *suite = s;
  return rc;
}

void qtk_suite_free(struct qtk_suite *s)
{
  if (s == NULL)
    return;
  for (size_t i = 0; i < s->groups.length; i++) {
    suite_questions_free(&s->groups.data[i].questions);
    suite_questions_free(&s->groups.data[i].examples);
    free(s->groups.data[i].name);
  }
  qtk_vec_free(&s->groups);
  suite_questions_free(&s->examples);
  qtk_arena_release(&s->ctx->arena, s->bytes, "text");
  qtk_toml_free(s->root);
  free(s->data);
  free(s);
}
