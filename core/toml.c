/* SPDX-License-Identifier: BSD-3-Clause
 * TOML trees: reading them. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/toml-node.h"

int qtk_toml_read(const char *path, struct qtk_toml **root)
{
  char *text;
  size_t n;
  int rc = qtk_read_file(path, QTK_TOML_BYTES, &text, &n);

  *root = NULL;
  if (rc != QTK_OK)
    return rc == QTK_ENOMEM ? rc : QTK_EJOB;
  rc = qtk_toml_parse(text, n, path, root);
  free(text);
  return rc;
}

/* ---- nodes ----------------------------------------------------------------------------- */

enum qtk_toml_kind qtk_toml_kind(const struct qtk_toml *node)
{
  return node->kind;
}

const char *qtk_toml_kind_name(enum qtk_toml_kind kind)
{
  static const char *const names[] = {"a table",    "an array", "text",
                                      "an integer", "a number", "true or false"};

  return names[kind];
}

size_t qtk_toml_length(const struct qtk_toml *node)
{
  return node == NULL ? 0 : node->length;
}

const struct qtk_toml *qtk_toml_item(const struct qtk_toml *node, size_t i)
{
  return node != NULL && i < node->length ? node->items[i] : NULL;
}

const struct qtk_toml *qtk_toml_get(const struct qtk_toml *table, const char *key)
{
  if (table == NULL || table->kind != QTK_TOML_TABLE)
    return NULL;
  for (size_t i = 0; i < table->length; i++)
    if (strcmp(table->items[i]->key, key) == 0)
      return table->items[i];
  return NULL;
}

const char *qtk_toml_key(const struct qtk_toml *node)
{
  return node->key;
}

int qtk_toml_line(const struct qtk_toml *node)
{
  return node->line;
}

int qtk_toml_column(const struct qtk_toml *node)
{
  return node->column;
}

int qtk_toml_key_line(const struct qtk_toml *node)
{
  return node->key_line;
}

int qtk_toml_key_column(const struct qtk_toml *node)
{
  return node->key_column;
}

const char *qtk_toml_file(const struct qtk_toml *node)
{
  return qtk_toml_origin_name(node->origin);
}

const char *qtk_toml_text(const struct qtk_toml *node)
{
  return node->text;
}

int64_t qtk_toml_int(const struct qtk_toml *node)
{
  return node->integer;
}

double qtk_toml_float(const struct qtk_toml *node)
{
  return node->kind == QTK_TOML_INT ? (double)node->integer : node->number;
}

int qtk_toml_bool(const struct qtk_toml *node)
{
  return node->integer != 0;
}

/* ---- paths ------------------------------------------------------------------------------ */

int qtk_toml_index(const char *part, size_t n, size_t *index)
{
  *index = 0;
  for (size_t i = 0; i < n; i++) {
    if (part[i] < '0' || part[i] > '9' || *index > SIZE_MAX / 16)
      return 0;
    *index = 10 * *index + (size_t)(part[i] - '0');
  }
  return n > 0;
}

/* Whether `node` is a table whose `name` is the part. */
static int toml_is_named(const struct qtk_toml *node, const char *part, size_t n)
{
  const struct qtk_toml *name = qtk_toml_get(node, "name");

  return name != NULL && name->kind == QTK_TOML_TEXT && strlen(name->text) == n &&
         memcmp(name->text, part, n) == 0;
}

struct qtk_toml *qtk_toml_step(const struct qtk_toml *node, const char *part, size_t n)
{
  size_t index;

  if (node->kind == QTK_TOML_ARRAY && qtk_toml_index(part, n, &index))
    return index < node->length ? node->items[index] : NULL;
  for (size_t i = 0; i < node->length; i++) {
    struct qtk_toml *item = node->items[i];
    if (node->kind == QTK_TOML_ARRAY ? toml_is_named(item, part, n)
                                     : strlen(item->key) == n && memcmp(item->key, part, n) == 0)
      return item;
  }
  return NULL;
}

const struct qtk_toml *qtk_toml_find(const struct qtk_toml *root, const char *path)
{
  while (root != NULL && *path != '\0') {
    size_t n = strcspn(path, ".");
    root = qtk_toml_step(root, path, n);
    path += n + (path[n] == '.');
  }
  return root;
}

/* ---- errors ------------------------------------------------------------------------------ */

int qtk_toml_error(const struct qtk_toml *node, const char *fmt, ...)
{
  const char *file = qtk_toml_file(node);
  int at_key = node->key_line > 0;
  int line = at_key ? node->key_line : node->line;
  int column = at_key ? node->key_column : node->column;
  char text[QTK_ERROR_SIZE];
  va_list args;

  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (line > 0)
    return qtk_error(QTK_EJOB, "%s:%d:%d: %s", file, line, column, text);
  if (file[0] != '\0')
    return qtk_error(QTK_EJOB, "%s: %s", file, text);
  return qtk_error(QTK_EJOB, "%s", text);
}

static int toml_wrong_kind(const struct qtk_toml *node, enum qtk_toml_kind wanted)
{
  return qtk_toml_error(node, "%s is %s, wanted %s", node->key == NULL ? "the value" : node->key,
                        qtk_toml_kind_name(node->kind), qtk_toml_kind_name(wanted));
}

/* ---- values of keys ------------------------------------------------------------------------ */

/* The key's node, NULL if absent; an error if it is of another kind. */
static int toml_get(const struct qtk_toml *table, const char *key, enum qtk_toml_kind kind,
                    const struct qtk_toml **node)
{
  *node = qtk_toml_get(table, key);
  if (*node == NULL || (*node)->kind == kind ||
      (kind == QTK_TOML_FLOAT && (*node)->kind == QTK_TOML_INT))
    return QTK_OK;
  return toml_wrong_kind(*node, kind);
}

int qtk_toml_get_text(const struct qtk_toml *table, const char *key, const char **value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_TEXT, &node);

  if (rc == QTK_OK && node != NULL)
    *value = node->text;
  return rc;
}

int qtk_toml_get_int(const struct qtk_toml *table, const char *key, int64_t *value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_INT, &node);

  if (rc == QTK_OK && node != NULL)
    *value = node->integer;
  return rc;
}

int qtk_toml_get_float(const struct qtk_toml *table, const char *key, double *value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_FLOAT, &node);

  if (rc == QTK_OK && node != NULL)
    *value = qtk_toml_float(node);
  return rc;
}

int qtk_toml_get_bool(const struct qtk_toml *table, const char *key, int *value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_BOOL, &node);

  if (rc == QTK_OK && node != NULL)
    *value = qtk_toml_bool(node);
  return rc;
}

int qtk_toml_get_table(const struct qtk_toml *table, const char *key, const struct qtk_toml **value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_TABLE, &node);

  if (rc == QTK_OK && node != NULL)
    *value = node;
  return rc;
}

int qtk_toml_get_array(const struct qtk_toml *table, const char *key, const struct qtk_toml **value)
{
  const struct qtk_toml *node;
  int rc = toml_get(table, key, QTK_TOML_ARRAY, &node);

  if (rc == QTK_OK && node != NULL)
    *value = node;
  return rc;
}

int qtk_toml_need(const struct qtk_toml *table, const char *key, enum qtk_toml_kind kind,
                  const struct qtk_toml **value)
{
  int rc = toml_get(table, key, kind, value);

  if (rc == QTK_OK && *value == NULL)
    rc = qtk_toml_error(table, "%s is missing", key);
  return rc;
}

static int toml_among(const char *key, const char *const *keys)
{
  for (; *keys != NULL; keys++)
    if (strcmp(key, *keys) == 0)
      return 1;
  return 0;
}

int qtk_toml_only(const struct qtk_toml *table, const char *const *keys)
{
  for (size_t i = 0; i < qtk_toml_length(table); i++) {
    const struct qtk_toml *item = table->items[i];
    const char *nearest;
    if (toml_among(item->key, keys))
      continue;
    nearest = qtk_nearest(item->key, keys);
    if (nearest == NULL)
      return qtk_toml_error(item, "unknown key \"%s\"", item->key);
    return qtk_toml_error(item, "unknown key \"%s\"; did you mean \"%s\"?", item->key, nearest);
  }
  return QTK_OK;
}

/* ---- equality ------------------------------------------------------------------------------- */

static int toml_same_items(const struct qtk_toml *a, const struct qtk_toml *b)
{
  if (a->length != b->length)
    return 0;
  for (size_t i = 0; i < a->length; i++) {
    const struct qtk_toml *other =
        a->kind == QTK_TOML_TABLE ? qtk_toml_get(b, a->items[i]->key) : b->items[i];
    if (other == NULL || !qtk_toml_equal(a->items[i], other))
      return 0;
  }
  return 1;
}

int qtk_toml_equal(const struct qtk_toml *a, const struct qtk_toml *b)
{
  if (a->kind != b->kind)
    return 0;
  switch (a->kind) {
  case QTK_TOML_TEXT:
    return strcmp(a->text, b->text) == 0;
  case QTK_TOML_FLOAT: /* the same bits, or both nan */
    return memcmp(&a->number, &b->number, sizeof a->number) == 0 ||
           (a->number != a->number && b->number != b->number);
  case QTK_TOML_INT:
  case QTK_TOML_BOOL:
    return a->integer == b->integer;
  default:
    return toml_same_items(a, b);
  }
}
