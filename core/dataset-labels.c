/* SPDX-License-Identifier: BSD-3-Clause
 * Texts with labels, a class or a value each: objects of a JSON file, or a table whose columns are
 * parted by tabs and named in its first line (.tsv). A text is tokenised as a document without an
 * end; a pair's second stands behind the first, as a document of its own. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/dataset-inner.h"
#include "core/dataset-rows.h"
#include "core/error.h"

#define LABELS_TEXTS 2

/* Columns of texts by their usual names; those of more come first. */
static const char *const labels_usual[][LABELS_TEXTS] = {
    {"sentence1", "sentence2"}, {"premise", "hypothesis"}, {"question1", "question2"},
    {"question", "sentence"},   {"text", NULL},            {"sentence", NULL}};

struct labels {
  struct dataset *d;
  struct dataset_rows rows;
  int table;                         /* else JSON */
  json_t *heads;                     /* names of its columns */
  const char *columns[LABELS_TEXTS]; /* NULL: not found yet */
  const char *label;
  struct dataset_tokens tokens;
};

/* ---- rows ----------------------------------------------------------------------------------- */

/* The fields of a line, as an array of texts. */
static int labels_fields(const struct dataset_slice *slice, json_t **fields)
{
  const char *at = slice->text, *end = at + slice->n;
  int rc = (*fields = json_array()) != NULL ? QTK_OK : QTK_ENOMEM;

  while (rc == QTK_OK) {
    const char *tab = memchr(at, '\t', (size_t)(end - at));
    size_t n = (size_t)((tab != NULL ? tab : end) - at);
    json_t *field = json_stringn(at, n);
    if (field == NULL)
      return qtk_error(QTK_EINPUT, "column %zu is no text in UTF-8", json_array_size(*fields) + 1);
    rc = qtk_json_append(*fields, field);
    if (tab == NULL)
      return rc;
    at = tab + 1;
  }
  return rc;
}

/* A line as an object. */
static int labels_line(const struct labels *l, const struct dataset_slice *slice, json_t **object)
{
  json_t *fields = NULL;
  int rc = labels_fields(slice, &fields);
  size_t n = json_array_size(l->heads);

  if (rc == QTK_OK && json_array_size(fields) != n)
    rc = qtk_error(QTK_EINPUT, "it has %zu columns, and the first line names %zu",
                   json_array_size(fields), n);
  if (rc == QTK_OK && (*object = json_object()) == NULL)
    rc = QTK_ENOMEM;
  for (size_t i = 0; rc == QTK_OK && i < n; i++)
    rc = qtk_json_set(*object, json_string_value(json_array_get(l->heads, i)),
                      json_incref(json_array_get(fields, i)));
  json_decref(fields);
  return rc;
}

static int labels_object(const struct labels *l, const struct dataset_slice *slice,
                         json_t **object)
{
  int rc = l->table ? labels_line(l, slice, object)
                    : qtk_json_parse(slice->text, slice->n, "JSON", object);

  if (rc == QTK_OK && !json_is_object(*object))
    rc = qtk_error(QTK_EINPUT, "found an array, wanted: an object");
  return rc;
}

/* ---- columns -------------------------------------------------------------------------------- */

static int labels_has(const json_t *object, const char *const *columns)
{
  for (int i = 0; i < LABELS_TEXTS && columns[i] != NULL; i++)
    if (!json_is_string(json_object_get(object, columns[i])))
      return 0;
  return 1;
}

/* By the file's first object. */
static int labels_find(struct labels *l, const json_t *object)
{
  const struct qtk_dataset_recipe *r = l->d->recipe;
  size_t n = sizeof labels_usual / sizeof *labels_usual, i = 0;

  l->label = r->label != NULL ? r->label : "label";
  if (r->columns[0] != NULL) {
    memcpy(l->columns, r->columns, sizeof l->columns);
    return QTK_OK;
  }
  while (i < n && !labels_has(object, labels_usual[i]))
    i++;
  if (i == n)
    return qtk_error(QTK_EINPUT, "no column is known to hold a text: name it, columns = [\"...\"], "
                                 "or call it text, or sentence1 and sentence2");
  memcpy(l->columns, labels_usual[i], sizeof l->columns);
  return QTK_OK;
}

/* ---- an example ----------------------------------------------------------------------------- */

static int labels_number(const struct labels *l, const json_t *object, double *value)
{
  const json_t *found = json_object_get(object, l->label);
  const char *text = json_string_value(found);
  char *end = NULL;

  *value = json_is_number(found) ? json_number_value(found) : NAN;
  if (text != NULL && *text != '\0') {
    *value = strtod(text, &end);
    *value = *end == '\0' ? *value : NAN;
  }
  if (found == NULL)
    return qtk_error(QTK_EINPUT, "there is no column %s", l->label);
  return isfinite(*value) ? QTK_OK : qtk_error(QTK_EINPUT, "%s: wanted: a number", l->label);
}

static int labels_label(const struct labels *l, const json_t *object, float *label)
{
  int64_t classes = l->d->recipe->classes;
  double value;
  int rc = labels_number(l, object, &value);

  *label = (float)value;
  if (rc != QTK_OK || classes == 1)
    return rc;
  return value >= 0 && value < (double)classes && value == floor(value)
             ? QTK_OK
             : qtk_error(QTK_EINPUT, "%s = %g: with classes = %lld labels are 0 .. %lld", l->label,
                         value, (long long)classes, (long long)classes - 1);
}

static int labels_encode(struct labels *l, const json_t *object)
{
  struct dataset_tokens *t = &l->tokens;
  int rc = QTK_OK;

  t->ids.n = t->scored.length = 0;
  for (int i = 0; rc == QTK_OK && i < LABELS_TEXTS && l->columns[i] != NULL; i++) {
    const json_t *text = json_object_get(object, l->columns[i]);
    if (!json_is_string(text))
      return qtk_error(QTK_EINPUT, "%s: wanted: a text", l->columns[i]);
    rc = qtk_tokenizer_encode(l->d->reader->tokenizer, json_string_value(text),
                              json_string_length(text), 1, &t->ids);
  }
  if (rc == QTK_OK)
    rc = qtk_vec_reserve(&t->scored, t->ids.n);
  if (rc != QTK_OK)
    return rc;
  if (t->ids.n > 0)
    memset(t->scored.data, 0, t->ids.n);
  t->scored.length = t->ids.n;
  return QTK_OK;
}

/* A sequence whose last token alone has a weight. */
static int labels_put(struct labels *l, float label, int *full)
{
  struct dataset *d = l->d;
  struct dataset_store *s = d->out->store;
  int64_t all = (int64_t)l->tokens.ids.n, n = all < s->length ? all : s->length;
  int rc;

  *full = d->recipe->tokens > 0 && s->n + n > d->recipe->tokens;
  if (*full)
    return QTK_OK;
  d->out->documents++;
  d->out->dropped += n == 0;
  d->out->truncated += n < all;
  if (n == 0)
    return QTK_OK;
  rc = qtk_dataset_put(s, &l->tokens, 0, n);
  if (rc != QTK_OK)
    return rc;
  s->targets[s->n - 1] = 0;
  s->weights[s->n - 1] = 1.0f;
  rc = qtk_vec_push(&s->labels, label);
  return rc == QTK_OK ? qtk_dataset_close(s) : rc;
}

static int labels_row(struct labels *l, const struct dataset_slice *slice, int *full)
{
  json_t *object = NULL;
  float label;
  int rc = labels_object(l, slice, &object);

  if (rc == QTK_OK && l->columns[0] == NULL)
    rc = labels_find(l, object);
  if (rc == QTK_OK)
    rc = labels_label(l, object, &label);
  if (rc == QTK_OK)
    rc = labels_encode(l, object);
  json_decref(object);
  if (rc != QTK_OK)
    return qtk_dataset_rows_at(rc, &l->rows, slice);
  rc = labels_put(l, label, full);
  return rc == QTK_OK ? qtk_check_stop(l->d->ctx) : rc;
}

/* ---- a file --------------------------------------------------------------------------------- */

static int labels_heads(struct labels *l)
{
  struct dataset_slice slice;
  int more, rc = qtk_dataset_rows_next(&l->rows, &slice, &more);

  if (rc == QTK_OK && !more)
    rc = qtk_error(QTK_EINPUT, "%s: is empty", l->rows.path);
  return rc == QTK_OK ? labels_fields(&slice, &l->heads) : rc;
}

static int labels_all(struct labels *l)
{
  struct dataset_slice slice;
  int more = 1, full = 0;
  int rc = l->table ? labels_heads(l) : QTK_OK;

  while (rc == QTK_OK && !full) {
    rc = qtk_dataset_rows_next(&l->rows, &slice, &more);
    if (rc != QTK_OK || !more)
      break;
    rc = labels_row(l, &slice, &full);
    qtk_dataset_rows_drop(&l->rows);
  }
  return rc;
}

int qtk_dataset_read_labels(struct dataset *d)
{
  const char *path = d->recipe->path;
  struct labels l = {.d = d, .table = qtk_path_ends(path, ".tsv")};
  int rc;

  if (!l.table && !qtk_dataset_is_rows(path))
    return qtk_error(QTK_EJOB, "%s: labelled texts are lines of JSON (.jsonl, .ndjson, .json) or a "
                               "table (.tsv)",
                     path);
  d->out->form = "labelled texts";
  d->out->train_on = QTK_TRAIN_ON_ALL;
  rc = qtk_dataset_rows_open(path, &l.rows);
  if (rc == QTK_OK)
    rc = labels_all(&l);
  qtk_dataset_tokens_free(&l.tokens);
  json_decref(l.heads);
  qtk_dataset_rows_close(&l.rows);
  return rc;
}
