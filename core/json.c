/* SPDX-License-Identifier: BSD-3-Clause
 * JSON: reading files and values. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/json.h"

int qtk_json_parse(const char *text, size_t n, const char *file, json_t **root)
{
  json_error_t error;

  *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
  if (*root != NULL)
    return QTK_OK;
  if (json_error_code(&error) == json_error_out_of_memory)
    return qtk_error_memory(n, file);
  return qtk_error(QTK_EINPUT, "%s:%d:%d: %s", file, error.line, error.column, error.text);
}

int qtk_json_read(const char *path, size_t max, json_t **root)
{
  char *text;
  size_t n;
  int rc = qtk_read_file(path, max, &text, &n);

  *root = NULL;
  if (rc == QTK_OK)
    rc = qtk_json_parse(text, n, path, root);
  free(text);
  return rc;
}

/* ---- values by path ------------------------------------------------------------------- */

/* The item that one part of a path (n bytes) names. */
static json_t *json_step(const json_t *node, const char *part, size_t n)
{
  size_t index = 0;

  if (json_is_object(node))
    return json_object_getn(node, part, n);
  if (!json_is_array(node) || n == 0 || n > 9)
    return NULL;
  for (size_t i = 0; i < n; i++) {
    if (part[i] < '0' || part[i] > '9')
      return NULL;
    index = 10 * index + (size_t)(part[i] - '0');
  }
  return json_array_get(node, index);
}

json_t *qtk_json_find(const json_t *root, const char *path)
{
  const json_t *node = root;

  while (node != NULL && *path != '\0') {
    size_t n = strcspn(path, ".");
    node = json_step(node, path, n);
    path += n + (path[n] == '.');
  }
  return (json_t *)(uintptr_t)node;
}

static const char *json_type_name(const json_t *node)
{
  switch (json_typeof(node)) {
  case JSON_OBJECT:
    return "an object";
  case JSON_ARRAY:
    return "an array";
  case JSON_STRING:
    return "text";
  case JSON_INTEGER:
    return "an integer";
  case JSON_REAL:
    return "a number";
  case JSON_NULL:
    return "null";
  default:
    return "true or false";
  }
}

/* The node at `path`, NULL if absent or null; what is wanted in words. */
static json_t *json_get(const json_t *root, const char *path)
{
  json_t *node = qtk_json_find(root, path);

  return json_is_null(node) ? NULL : node;
}

static int json_wrong(const json_t *node, const char *path, const char *wanted)
{
  return qtk_error(QTK_EINPUT, "%s is %s, wanted %s", path, json_type_name(node), wanted);
}

int qtk_json_get_text(const json_t *root, const char *path, const char **value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_string(node))
    return json_wrong(node, path, "text");
  *value = json_string_value(node);
  return QTK_OK;
}

int qtk_json_get_int(const json_t *root, const char *path, int64_t *value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_integer(node))
    return json_wrong(node, path, "an integer");
  *value = json_integer_value(node);
  return QTK_OK;
}

int qtk_json_get_real(const json_t *root, const char *path, double *value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_number(node))
    return json_wrong(node, path, "a number");
  *value = json_number_value(node);
  return QTK_OK;
}

int qtk_json_get_bool(const json_t *root, const char *path, int *value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_boolean(node))
    return json_wrong(node, path, "true or false");
  *value = json_is_true(node);
  return QTK_OK;
}

int qtk_json_get_object(const json_t *root, const char *path, json_t **value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_object(node))
    return json_wrong(node, path, "an object");
  *value = node;
  return QTK_OK;
}

int qtk_json_get_array(const json_t *root, const char *path, json_t **value)
{
  json_t *node = json_get(root, path);

  if (node == NULL)
    return QTK_OK;
  if (!json_is_array(node))
    return json_wrong(node, path, "an array");
  *value = node;
  return QTK_OK;
}

int qtk_json_need(const json_t *root, const char *path)
{
  if (json_get(root, path) == NULL)
    return qtk_error(QTK_EINPUT, "%s is missing", path);
  return QTK_OK;
}

/* ---- making ------------------------------------------------------------------------------ */

json_t *qtk_json_real(double value)
{
  return isfinite(value) ? json_real(value) : json_null();
}

int qtk_json_set(json_t *object, const char *key, json_t *value)
{
  if (json_object_set_new(object, key, value) != 0)
    return qtk_error(QTK_ENOMEM, "out of memory, or no JSON text, at %s", key);
  return QTK_OK;
}

int qtk_json_append(json_t *array, json_t *value)
{
  if (json_array_append_new(array, value) != 0)
    return qtk_error(QTK_ENOMEM, "out of memory, or no JSON text, in an array");
  return QTK_OK;
}
