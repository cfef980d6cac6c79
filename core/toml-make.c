/* SPDX-License-Identifier: BSD-3-Clause
 * TOML trees: making and changing them. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/toml-node.h"
#include "core/vec.h"

/* ---- origins ----------------------------------------------------------------------------- */

struct qtk_toml_origin {
  atomic_size_t users;
  char name[];
};

struct qtk_toml_origin *qtk_toml_origin_new(const char *name)
{
  size_t n = strlen(name) + 1;
  struct qtk_toml_origin *origin = malloc(sizeof *origin + n);

  if (origin == NULL) {
    qtk_error_memory(sizeof *origin + n, "a TOML tree");
    return NULL;
  }
  origin->users = 1;
  memcpy(origin->name, name, n);
  return origin;
}

struct qtk_toml_origin *qtk_toml_origin_share(struct qtk_toml_origin *origin)
{
  if (origin != NULL)
    origin->users++;
  return origin;
}

void qtk_toml_origin_free(struct qtk_toml_origin *origin)
{
  if (origin != NULL && atomic_fetch_sub(&origin->users, 1) == 1)
    free(origin);
}

const char *qtk_toml_origin_name(const struct qtk_toml_origin *origin)
{
  return origin == NULL ? "" : origin->name;
}

/* ---- nodes --------------------------------------------------------------------------------- */

static struct qtk_toml *toml_new(enum qtk_toml_kind kind)
{
  struct qtk_toml *node = calloc(1, sizeof *node);

  if (node == NULL)
    qtk_error_memory(sizeof *node, "a TOML tree");
  else
    node->kind = kind;
  return node;
}

void qtk_toml_free(struct qtk_toml *node)
{
  if (node == NULL)
    return;
  for (size_t i = 0; i < node->length; i++)
    qtk_toml_free(node->items[i]);
  qtk_toml_origin_free(node->origin);
  free(node->items);
  free(node->text);
  free(node->key);
  free(node);
}

struct qtk_toml *qtk_toml_new_table(void)
{
  return toml_new(QTK_TOML_TABLE);
}

struct qtk_toml *qtk_toml_new_array(void)
{
  return toml_new(QTK_TOML_ARRAY);
}

struct qtk_toml *qtk_toml_new_text(const char *text)
{
  struct qtk_toml *node = toml_new(QTK_TOML_TEXT);

  if (node == NULL)
    return NULL;
  node->text = qtk_str_copy(text);
  if (node->text == NULL) {
    free(node);
    return NULL;
  }
  return node;
}

struct qtk_toml *qtk_toml_new_int(int64_t value)
{
  struct qtk_toml *node = toml_new(QTK_TOML_INT);

  if (node != NULL)
    node->integer = value;
  return node;
}

struct qtk_toml *qtk_toml_new_float(double value)
{
  struct qtk_toml *node = toml_new(QTK_TOML_FLOAT);

  if (node != NULL)
    node->number = value;
  return node;
}

struct qtk_toml *qtk_toml_new_bool(int value)
{
  struct qtk_toml *node = toml_new(QTK_TOML_BOOL);

  if (node != NULL)
    node->integer = value != 0;
  return node;
}

static int toml_grow(struct qtk_toml *node)
{
  void *items;

  if (node->length < node->capacity)
    return QTK_OK;
  items = qtk_vec_grown(node->items, &node->capacity, node->length + 1, sizeof *node->items);
  if (items == NULL)
    return QTK_ENOMEM;
  node->items = items;
  return QTK_OK;
}

int qtk_toml_append(struct qtk_toml *array, struct qtk_toml *node)
{
  if (node == NULL)
    return QTK_ENOMEM;
  if (toml_grow(array) != QTK_OK) {
    qtk_toml_free(node);
    return QTK_ENOMEM;
  }
  array->items[array->length++] = node;
  return QTK_OK;
}

int qtk_toml_add(struct qtk_toml *table, const char *key, struct qtk_toml *node)
{
  char *copy = node == NULL ? NULL : qtk_str_copy(key);

  if (copy == NULL) {
    qtk_toml_free(node);
    return QTK_ENOMEM;
  }
  free(node->key);
  node->key = copy;
  return qtk_toml_append(table, node);
}

static size_t toml_position(const struct qtk_toml *table, const char *key)
{
  size_t i = 0;

  while (i < table->length && strcmp(table->items[i]->key, key) != 0)
    i++;
  return i;
}

int qtk_toml_put(struct qtk_toml *table, const char *key, struct qtk_toml *node)
{
  size_t at = toml_position(table, key);
  int rc = qtk_toml_add(table, key, node);

  if (rc != QTK_OK || at == table->length - 1)
    return rc;
  qtk_toml_free(table->items[at]);
  table->items[at] = table->items[--table->length];
  return QTK_OK;
}

void qtk_toml_remove(struct qtk_toml *table, const char *key)
{
  size_t at = toml_position(table, key);

  if (at == table->length)
    return;
  qtk_toml_free(table->items[at]);
  table->length--;
  memmove(table->items + at, table->items + at + 1, (table->length - at) * sizeof *table->items);
}

int qtk_toml_set_text(struct qtk_toml *table, const char *key, const char *value)
{
  return qtk_toml_put(table, key, qtk_toml_new_text(value));
}

int qtk_toml_set_int(struct qtk_toml *table, const char *key, int64_t value)
{
  return qtk_toml_put(table, key, qtk_toml_new_int(value));
}

int qtk_toml_set_float(struct qtk_toml *table, const char *key, double value)
{
  return qtk_toml_put(table, key, qtk_toml_new_float(value));
}

int qtk_toml_set_bool(struct qtk_toml *table, const char *key, int value)
{
  return qtk_toml_put(table, key, qtk_toml_new_bool(value));
}

struct qtk_toml *qtk_toml_set_table(struct qtk_toml *table, const char *key)
{
  struct qtk_toml *node = qtk_toml_new_table();

  return qtk_toml_put(table, key, node) == QTK_OK ? node : NULL;
}

struct qtk_toml *qtk_toml_set_array(struct qtk_toml *table, const char *key)
{
  struct qtk_toml *node = qtk_toml_new_array();

  return qtk_toml_put(table, key, node) == QTK_OK ? node : NULL;
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* Everything but key and items. */
static struct qtk_toml *toml_copy_head(const struct qtk_toml *node)
{
  struct qtk_toml *copy = toml_new(node->kind);

  if (copy == NULL)
    return NULL;
  copy->inlined = node->inlined;
  copy->line = node->line;
  copy->column = node->column;
  copy->key_line = node->key_line;
  copy->key_column = node->key_column;
  copy->integer = node->integer;
  copy->number = node->number;
  copy->origin = qtk_toml_origin_share(node->origin);
  if (node->text != NULL && (copy->text = qtk_str_copy(node->text)) == NULL) {
    qtk_toml_free(copy);
    return NULL;
  }
  return copy;
}

struct qtk_toml *qtk_toml_copy(const struct qtk_toml *node)
{
  struct qtk_toml *copy = toml_copy_head(node);

  for (size_t i = 0; copy != NULL && i < node->length; i++) {
    const struct qtk_toml *item = node->items[i];
    struct qtk_toml *inner = qtk_toml_copy(item);
    int rc =
        item->key == NULL ? qtk_toml_append(copy, inner) : qtk_toml_add(copy, item->key, inner);
    if (rc != QTK_OK) {
      qtk_toml_free(copy);
      copy = NULL;
    }
  }
  return copy;
}

/* ---- values by path -----------------------------------------------------------------------------
 */

/* Gives a whole tree another origin and no place in it. */
static void toml_move(struct qtk_toml *node, struct qtk_toml_origin *origin)
{
  qtk_toml_origin_free(node->origin);
  node->origin = qtk_toml_origin_share(origin);
  node->line = node->column = node->key_line = node->key_column = 0;
  for (size_t i = 0; i < node->length; i++)
    toml_move(node->items[i], origin);
}

/* What `text` says as the value of a key, or NULL. */
static struct qtk_toml *toml_value_of(const char *text)
{
  struct qtk_toml *root = NULL, *value = NULL;
  char *line = qtk_str_format("value = %s\n", text);

  if (line != NULL && qtk_toml_parse(line, strlen(line), "value", &root) == QTK_OK &&
      root->length == 1) {
    value = root->items[0];
    root->length = 0;
    free(value->key);
    value->key = NULL;
  }
  qtk_toml_free(root);
  free(line);
  return value;
}

static int toml_parse_value(const char *text, const char *origin, struct qtk_toml **value)
{
  struct qtk_toml_origin *o;

  *value = toml_value_of(text);
  if (*value == NULL && text[0] != '\0' && strchr("[{\"'", text[0]) != NULL)
    return qtk_error(QTK_EJOB, "%s: the value is no TOML", origin);
  qtk_error_clear();
  if (*value == NULL)
    *value = qtk_toml_new_text(text);
  o = *value == NULL ? NULL : qtk_toml_origin_new(origin);
  if (o == NULL) {
    qtk_toml_free(*value);
    return QTK_ENOMEM;
  }
  toml_move(*value, o);
  qtk_toml_origin_free(o);
  return QTK_OK;
}

/* Puts `node` where part (n bytes) of a path says, in the place of what is there. */
static int toml_place(struct qtk_toml *at, const char *part, size_t n, const char *origin,
                      struct qtk_toml *node)
{
  struct qtk_toml *old = qtk_toml_step(at, part, n);
  size_t index;
  char *key;
  int rc;

  if (at->kind == QTK_TOML_TABLE) {
    key = qtk_str_format("%.*s", (int)n, part);
    rc = key == NULL ? QTK_ENOMEM : qtk_toml_put(at, key, node);
    if (key == NULL)
      qtk_toml_free(node);
    free(key);
    return rc;
  }
  if (at->kind == QTK_TOML_ARRAY && old != NULL) {
    for (index = 0; at->items[index] != old; index++)
      ;
    qtk_toml_free(old);
    at->items[index] = node;
    return QTK_OK;
  }
  if (at->kind == QTK_TOML_ARRAY && qtk_toml_index(part, n, &index) && index == at->length)
    return qtk_toml_append(at, node);
  qtk_toml_free(node);
  if (at->kind == QTK_TOML_ARRAY)
    return qtk_error(QTK_EJOB, "%s: \"%.*s\" is none of the %zu items, which count from 0", origin,
                     (int)n, part, at->length);
  return qtk_error(QTK_EJOB, "%s: \"%.*s\" of %s", origin, (int)n, part,
                   qtk_toml_kind_name(at->kind));
}

/* The container that part names, made if it is missing: an array if the next part is
 * its first index. One that is made comes from where `node` does. */
static int toml_descend(struct qtk_toml **at, const char *part, size_t n,
                        const struct qtk_toml *node)
{
  struct qtk_toml *next = qtk_toml_step(*at, part, n);
  const char *after = part + n + 1;
  int rc;

  if (next == NULL) {
    next = after[0] == '0' && (after[1] == '.' || after[1] == '\0') ? qtk_toml_new_array()
                                                                    : qtk_toml_new_table();
    if (next != NULL)
      next->origin = qtk_toml_origin_share(node->origin);
    rc = next == NULL ? QTK_ENOMEM
                      : toml_place(*at, part, n, qtk_toml_origin_name(node->origin), next);
    if (rc != QTK_OK)
      return rc;
  }
  *at = next;
  return QTK_OK;
}

static int toml_check_path(const char *path, const char *origin)
{
  size_t n = strlen(path), parts = 1;

  for (size_t i = 0; i < n; i++)
    parts += path[i] == '.';
  if (n == 0 || path[0] == '.' || path[n - 1] == '.' || strstr(path, "..") != NULL)
    return qtk_error(QTK_EJOB, "%s: \"%s\" is no path of keys and dots", origin, path);
  if (parts > QTK_TOML_DEPTH)
    return qtk_error(QTK_EJOB, "%s: more than %d levels", origin, QTK_TOML_DEPTH);
  return QTK_OK;
}

int qtk_toml_set_path(struct qtk_toml *root, const char *path, const char *value,
                      const char *origin)
{
  struct qtk_toml *node, *at = root;
  int rc = toml_check_path(path, origin);

  if (rc == QTK_OK)
    rc = toml_parse_value(value, origin, &node);
  if (rc != QTK_OK)
    return rc;
  for (;;) {
    size_t n = strcspn(path, ".");
    if (path[n] == '\0')
      return toml_place(at, path, n, origin, node);
    rc = toml_descend(&at, path, n, node);
    if (rc != QTK_OK) {
      qtk_toml_free(node);
      return rc;
    }
    path += n + 1;
  }
}
