/* SPDX-License-Identifier: BSD-3-Clause
 * What an object of a data file says: a document, or turns with their answers. */
#include "core/dataset-form.h"

#include <string.h>

#include "core/error.h"

#define FORM_KEYS 2

static const struct {
  const char *name;
  const char *keys[FORM_KEYS]; /* all must be there */
} forms[DATASET_FORMS] = {
    [DATASET_MESSAGES] = {"conversations", {"messages"}},
    [DATASET_INSTRUCTION] = {"instructions", {"instruction", "output"}},
    [DATASET_COMPLETION] = {"completions", {"prompt", "completion"}},
    [DATASET_TEXT] = {"documents", {"text"}},
};

const char *qtk_dataset_form_name(enum dataset_form form)
{
  return forms[form].name;
}

/* ---- which one ---------------------------------------------------------------------------- */

static int form_has(const json_t *object, enum dataset_form form)
{
  for (int i = 0; i < FORM_KEYS && forms[form].keys[i] != NULL; i++) {
    const json_t *value = json_object_get(object, forms[form].keys[i]);
    if (value == NULL || json_is_null(value))
      return 0;
  }
  return 1;
}

/* The keys of a form, as they are listed. */
static void form_keys(enum dataset_form form, struct qtk_str *out)
{
  for (int i = 0; i < FORM_KEYS && forms[form].keys[i] != NULL; i++)
    qtk_str_printf(out, "%s%s", i > 0 ? " and " : "", forms[form].keys[i]);
}

/* A key that is meant to be one of a form's but is not, with what is meant. */
static const char *form_meant(const char *key)
{
  const char *known[DATASET_FORMS * FORM_KEYS + 1];
  size_t n = 0;
  for (int f = 0; f < DATASET_FORMS; f++)
    for (int i = 0; i < FORM_KEYS && forms[f].keys[i] != NULL; i++)
      known[n++] = forms[f].keys[i];
  known[n] = NULL;
  const char *near = qtk_nearest(key, known);
  return near != NULL && strcmp(near, key) != 0 ? near : NULL;
}

#define FORM_LISTED 8 /* keys */

/* What the object has: its keys, and what may be meant by them. */
static void form_found(const json_t *object, struct qtk_str *out)
{
  const char *key, *near = NULL, *odd = NULL;
  const json_t *value;
  int n = 0;
  qtk_str_add(out, json_object_size(object) > 0 ? "" : "nothing");
  json_object_foreach((json_t *)(uintptr_t)object, key, value)
  {
    if (n++ >= FORM_LISTED)
      continue;
    qtk_str_printf(out, "%s%.40s%s", n > 1 ? ", " : "", key, json_is_null(value) ? " (null)" : "");
    if (near == NULL && (near = form_meant(key)) != NULL)
      odd = key;
  }
  qtk_str_add(out, n > FORM_LISTED ? ", ..." : "");
  if (near != NULL)
    qtk_str_printf(out, " (%.40s: did you mean %s?)", odd, near);
}

static int form_object(const char *text, size_t n, json_t **object)
{
  int rc = qtk_json_parse(text, n, "JSON", object);
  if (rc == QTK_OK && !json_is_object(*object))
    rc = qtk_error(QTK_EINPUT, "found an array, wanted: an object");
  return rc;
}

static int form_none(const json_t *object)
{
  struct qtk_str found = {0}, wanted = {0};
  form_found(object, &found);
  for (int f = 0; f < DATASET_FORMS; f++) {
    qtk_str_add(&wanted, f > 0 ? "; or " : "");
    form_keys((enum dataset_form)f, &wanted);
  }
  int rc = found.failed || wanted.failed
               ? QTK_ENOMEM
               : qtk_error(QTK_EINPUT, "the object has %s; wanted: %s", found.data, wanted.data);
  qtk_str_free(&found);
  qtk_str_free(&wanted);
  return rc;
}

int qtk_dataset_form_find(const char *text, size_t n, enum dataset_form *form)
{
  json_t *object = NULL;
  int rc = form_object(text, n, &object);
  if (rc == QTK_OK) {
    for (*form = 0; *form < DATASET_FORMS && !form_has(object, *form);)
      ++*form;
    rc = *form < DATASET_FORMS ? QTK_OK : form_none(object);
  }
  json_decref(object);
  return rc;
}

/* The object is not of the form that the file's first one has. */
static int form_other(const json_t *object, enum dataset_form form)
{
  struct qtk_str found = {0}, wanted = {0};
  form_found(object, &found);
  form_keys(form, &wanted);
  int rc = found.failed || wanted.failed
               ? QTK_ENOMEM
               : qtk_error(QTK_EINPUT, "the object has %s; wanted, as in the file's first: %s",
                           found.data, wanted.data);
  qtk_str_free(&found);
  qtk_str_free(&wanted);
  return rc;
}

/* ---- conversations ------------------------------------------------------------------------ */

static int message_add(const char *role, const char *content, size_t i, struct dataset_row *row,
                       struct dataset_turn *open)
{
  int user = open->turn.user == NULL; /* is wanted */
  if (strcmp(role, "system") == 0 && i == 0) {
    open->turn.system = content;
    return QTK_OK;
  }
  if (strcmp(role, user ? "user" : "assistant") != 0)
    return qtk_error(QTK_EINPUT, "role = \"%.40s\": wanted here: %s (first a system message or "
                                 "none, then user and assistant in turn)",
                     role, user ? "user" : "assistant");
  if (user) {
    open->turn.user = content;
    open->turn.first = row->turns.length == 0;
    return QTK_OK;
  }
  open->answer = content;
  int rc = qtk_vec_push(&row->turns, *open);
  *open = (struct dataset_turn){0};
  return rc;
}

static int message_read(const json_t *message, size_t i, struct dataset_row *row,
                        struct dataset_turn *open)
{
  const char *role = NULL, *content = NULL;
  if (!json_is_object(message))
    return qtk_error(QTK_EINPUT, "wanted: an object with role and content");
  int rc = qtk_json_need(message, "role");
  if (rc == QTK_OK)
    rc = qtk_json_get_text(message, "role", &role);
  if (rc == QTK_OK)
    rc = qtk_json_need(message, "content");
  if (rc == QTK_OK)
    rc = qtk_json_get_text(message, "content", &content);
  return rc == QTK_OK ? message_add(role, content, i, row, open) : rc;
}

static int form_messages(struct dataset_row *row)
{
  const json_t *list = json_object_get(row->object, "messages");
  struct dataset_turn open = {0};
  size_t n = json_array_size(list);
  int rc = QTK_OK;
  if (!json_is_array(list) || n == 0)
    return qtk_error(QTK_EINPUT, "messages: wanted: an array of objects with role and content");
  for (size_t i = 0; rc == QTK_OK && i < n; i++) {
    rc = message_read(json_array_get(list, i), i, row, &open);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "messages, item %zu", i + 1);
  }
  if (open.turn.user != NULL || row->turns.length == 0)
    return qtk_error(QTK_EINPUT, "messages: the last one is the %s's; wanted: the assistant's",
                     open.turn.user != NULL ? "user" : "system");
  return QTK_OK;
}

/* ---- the other forms ---------------------------------------------------------------------- */

/* One turn: texts under three keys, `input` NULL where the form has none. */
static int form_turn(struct dataset_row *row, const char *user, const char *input,
                     const char *answer)
{
  struct dataset_turn t = {.turn = {.first = 1}};
  int rc = qtk_json_get_text(row->object, user, &t.turn.user);
  if (rc == QTK_OK && input != NULL)
    rc = qtk_json_get_text(row->object, input, &t.turn.input);
  if (rc == QTK_OK)
    rc = qtk_json_get_text(row->object, answer, &t.answer);
  return rc == QTK_OK ? qtk_vec_push(&row->turns, t) : rc;
}

static int form_parse(struct dataset_row *row, enum dataset_form form)
{
  switch (form) {
  case DATASET_MESSAGES:
    return form_messages(row);
  case DATASET_INSTRUCTION:
    return form_turn(row, "instruction", "input", "output");
  case DATASET_COMPLETION:
    return form_turn(row, "prompt", NULL, "completion");
  default:
    return qtk_json_get_text(row->object, "text", &row->text);
  }
}

int qtk_dataset_form_read(const char *text, size_t n, enum dataset_form form,
                          struct dataset_row *row)
{
  *row = (struct dataset_row){0};
  int rc = form_object(text, n, &row->object);
  if (rc == QTK_OK && !form_has(row->object, form))
    rc = form_other(row->object, form);
  return rc == QTK_OK ? form_parse(row, form) : rc;
}

void qtk_dataset_row_free(struct dataset_row *row)
{
  json_decref(row->object);
  qtk_vec_free(&row->turns);
}
