/* SPDX-License-Identifier: BSD-3-Clause
 * Reading a tokenizer's JSON with messages that name the place. */
#include "core/tokenizer/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NODE_DEPTH 24

struct qtk_node qtk_node_root(json_t *json)
{
  return (struct qtk_node){.json = json};
}

static struct qtk_node node_child(const struct qtk_node *node, json_t *json)
{
  return (struct qtk_node){.json = json_is_null(json) ? NULL : json, .depth = node->depth + 1};
}

/* Ends a path that wanted n bytes in "..." if it was cut. */
static void node_end_path(struct qtk_node *node, int n)
{
  if (n >= (int)sizeof node->path)
    memcpy(node->path + sizeof node->path - 4, "...", 4);
}

struct qtk_node qtk_node_get(const struct qtk_node *node, const char *key)
{
  struct qtk_node child = node_child(node, json_object_get(node->json, key));
  int n =
      snprintf(child.path, sizeof child.path, "%s%s%s", node->path, node->path[0] ? "." : "", key);
  node_end_path(&child, n);
  return child;
}

struct qtk_node qtk_node_item(const struct qtk_node *node, size_t i)
{
  struct qtk_node child = node_child(node, json_array_get(node->json, i));
  int n = snprintf(child.path, sizeof child.path, "%s.%zu", node->path, i);
  node_end_path(&child, n);
  return child;
}

int qtk_node_at(const struct qtk_node *node, int code)
{
  return qtk_error_at(code, "tokenizer: %s", node->path);
}

int qtk_node_error(const struct qtk_node *node, const char *fmt, ...)
{
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  return qtk_error(QTK_EINPUT, "tokenizer: %s: %s", node->path, text);
}

int qtk_node_text(const struct qtk_node *node, const char *key, const char **value)
{
  struct qtk_node child = qtk_node_get(node, key);
  if (!json_is_string(child.json))
    return qtk_node_error(&child, child.json ? "is not a text" : "a text is missing");
  *value = json_string_value(child.json);
  return QTK_OK;
}

int qtk_node_flag(const struct qtk_node *node, const char *key, int *value)
{
  struct qtk_node child = qtk_node_get(node, key);
  if (child.json != NULL && !json_is_boolean(child.json))
    return qtk_node_error(&child, "is neither true nor false");
  if (child.json != NULL)
    *value = json_is_true(child.json);
  return QTK_OK;
}

int qtk_node_id(const struct qtk_node *node, const char *key, int32_t *value)
{
  struct qtk_node child = qtk_node_get(node, key);
  if (child.json == NULL)
    return QTK_OK;
  if (!json_is_integer(child.json) || json_integer_value(child.json) < 0 ||
      json_integer_value(child.json) > INT32_MAX)
    return qtk_node_error(&child, "is not the id of a token");
  *value = (int32_t)json_integer_value(child.json);
  return QTK_OK;
}

int qtk_node_array(const struct qtk_node *node, const char *key, struct qtk_node *array, size_t *n)
{
  *array = qtk_node_get(node, key);
  if (!json_is_array(array->json))
    return qtk_node_error(array, array->json ? "is not an array" : "an array is missing");
  *n = json_array_size(array->json);
  return QTK_OK;
}

int qtk_node_type(const struct qtk_node *node, const char **type)
{
  if (node->depth > NODE_DEPTH)
    return qtk_node_error(node, "is nested too deep");
  if (!json_is_object(node->json))
    return qtk_node_error(node, "is not an object");
  return qtk_node_text(node, "type", type);
}

int qtk_node_unknown(const struct qtk_node *node, const char *type, const char *known)
{
  return qtk_node_error(node, "type \"%s\" is not understood; known are %s", type, known);
}
