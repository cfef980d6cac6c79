/* SPDX-License-Identifier: BSD-3-Clause
 * TOML trees: writing them. */
#include <string.h>

#include "core/error.h"
#include "core/toml-node.h"

static void toml_write_key(const char *key, struct qtk_str *out)
{
  static const char bare[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

  if (key[0] != '\0' && key[strspn(key, bare)] == '\0')
    qtk_str_add(out, key);
  else
    qtk_str_add_quoted(out, key);
}

static void toml_write_items(const struct qtk_toml *node, struct qtk_str *out)
{
  int table = node->kind == QTK_TOML_TABLE;

  qtk_str_add(out, table ? "{" : "[");
  for (size_t i = 0; i < node->length; i++) {
    qtk_str_add(out, i > 0 ? ", " : table ? " " : "");
    if (table) {
      toml_write_key(node->items[i]->key, out);
      qtk_str_add(out, " = ");
    }
    qtk_toml_write_value(node->items[i], out);
  }
  qtk_str_add(out, table ? node->length > 0 ? " }" : "}" : "]");
}

int qtk_toml_write_value(const struct qtk_toml *node, struct qtk_str *out)
{
  char real[QTK_REAL_SIZE];

  switch (node->kind) {
  case QTK_TOML_TEXT:
    return qtk_str_add_quoted(out, node->text);
  case QTK_TOML_INT:
    return qtk_str_printf(out, "%lld", (long long)node->integer);
  case QTK_TOML_FLOAT:
    qtk_str_real(node->number, real);
    return qtk_str_add(out, real);
  case QTK_TOML_BOOL:
    return qtk_str_add(out, node->integer ? "true" : "false");
  default:
    toml_write_items(node, out);
    return out->failed ? QTK_ENOMEM : QTK_OK;
  }
}

/* Under [headers] of their own: tables, and arrays of nothing but tables. */
static int toml_has_header(const struct qtk_toml *node)
{
  if (node->kind == QTK_TOML_TABLE)
    return !node->inlined;
  if (node->kind != QTK_TOML_ARRAY || node->length == 0)
    return 0;
  for (size_t i = 0; i < node->length; i++)
    if (node->items[i]->kind != QTK_TOML_TABLE || node->items[i]->inlined)
      return 0;
  return 1;
}

static void toml_write_table(const struct qtk_toml *table, struct qtk_str *path,
                             struct qtk_str *out);

static void toml_write_header(const struct qtk_toml *table, int array, struct qtk_str *path,
                              struct qtk_str *out)
{
  if (out->length > 0)
    qtk_str_add(out, "\n");
  qtk_str_printf(out, array ? "[[%s]]\n" : "[%s]\n", path->data);
  toml_write_table(table, path, out);
}

/* The entry `node` of a table whose path is in *path, under its own header. */
static void toml_write_below(const struct qtk_toml *node, struct qtk_str *path, struct qtk_str *out)
{
  size_t length = path->length;

  if (length > 0)
    qtk_str_add(path, ".");
  toml_write_key(node->key, path);
  if (path->failed) {
    out->failed = 1;
    return;
  }
  if (node->kind == QTK_TOML_TABLE)
    toml_write_header(node, 0, path, out);
  else
    for (size_t i = 0; i < node->length; i++)
      toml_write_header(node->items[i], 1, path, out);
  path->length = length;
  if (path->data != NULL)
    path->data[length] = '\0';
}

static void toml_write_table(const struct qtk_toml *table, struct qtk_str *path,
                             struct qtk_str *out)
{
  for (size_t i = 0; i < table->length; i++) {
    const struct qtk_toml *item = table->items[i];
    if (toml_has_header(item))
      continue;
    toml_write_key(item->key, out);
    qtk_str_add(out, " = ");
    qtk_toml_write_value(item, out);
    qtk_str_add(out, "\n");
  }
  for (size_t i = 0; i < table->length; i++)
    if (toml_has_header(table->items[i]))
      toml_write_below(table->items[i], path, out);
}

int qtk_toml_write(const struct qtk_toml *table, struct qtk_str *out)
{
  struct qtk_str path = {0};

  if (table->kind != QTK_TOML_TABLE)
    return qtk_error(QTK_EINTERNAL, "a TOML document is a table");
  toml_write_table(table, &path, out);
  qtk_str_free(&path);
  return out->failed ? QTK_ENOMEM : QTK_OK;
}
