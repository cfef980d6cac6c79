/* SPDX-License-Identifier: BSD-3-Clause
 * JSON: writing. Unlike jansson's own writer, real numbers take the fewest digits
 * that read back exactly. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json.h"

static void json_write_node(const json_t *node, unsigned flags, int depth, struct qtk_str *out);

static void json_write_line(unsigned flags, int depth, struct qtk_str *out)
{
  if (flags & QTK_JSON_COMPACT)
    return;
  qtk_str_add(out, "\n");
  for (int i = 0; i < depth; i++)
    qtk_str_add(out, "  ");
}

/* A text of n bytes, which may hold a zero byte. */
static void json_write_text(const char *text, size_t n, struct qtk_str *out)
{
  json_t *node = json_stringn_nocheck(text, n);
  char *quoted = node == NULL ? NULL : json_dumps(node, JSON_ENCODE_ANY);

  if (quoted == NULL)
    out->failed = 1;
  else
    qtk_str_add(out, quoted);
  free(quoted);
  json_decref(node);
}

static int json_compare(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The object's keys, in the order of writing; NULL if there is no memory. */
static const char **json_keys(const json_t *object, unsigned flags, size_t *n)
{
  const char **keys = calloc(json_object_size(object) + 1, sizeof *keys);
  json_t *copy = (json_t *)(uintptr_t)object; /* iterators want it so */
  const char *key;
  json_t *value;

  *n = 0;
  if (keys == NULL)
    return NULL;
  json_object_foreach(copy, key, value) keys[(*n)++] = key;
  if (flags & QTK_JSON_SORTED)
    qsort(keys, *n, sizeof *keys, json_compare);
  return keys;
}

static void json_write_object(const json_t *object, unsigned flags, int depth, struct qtk_str *out)
{
  size_t n;
  const char **keys = json_keys(object, flags, &n);

  if (keys == NULL) {
    out->failed = 1;
    return;
  }
  qtk_str_add(out, "{");
  for (size_t i = 0; i < n; i++) {
    qtk_str_add(out, i > 0 ? "," : "");
    json_write_line(flags, depth + 1, out);
    json_write_text(keys[i], strlen(keys[i]), out);
    qtk_str_add(out, flags & QTK_JSON_COMPACT ? ":" : ": ");
    json_write_node(json_object_get(object, keys[i]), flags, depth + 1, out);
  }
  if (n > 0)
    json_write_line(flags, depth, out);
  qtk_str_add(out, "}");
  free(keys);
}

static void json_write_array(const json_t *array, unsigned flags, int depth, struct qtk_str *out)
{
  size_t n = json_array_size(array);

  qtk_str_add(out, "[");
  for (size_t i = 0; i < n; i++) {
    qtk_str_add(out, i > 0 ? "," : "");
    json_write_line(flags, depth + 1, out);
    json_write_node(json_array_get(array, i), flags, depth + 1, out);
  }
  if (n > 0)
    json_write_line(flags, depth, out);
  qtk_str_add(out, "]");
}

static void json_write_node(const json_t *node, unsigned flags, int depth, struct qtk_str *out)
{
  char real[QTK_REAL_SIZE];

  switch (json_typeof(node)) {
  case JSON_OBJECT:
    json_write_object(node, flags, depth, out);
    break;
  case JSON_ARRAY:
    json_write_array(node, flags, depth, out);
    break;
  case JSON_STRING:
    json_write_text(json_string_value(node), json_string_length(node), out);
    break;
  case JSON_INTEGER:
    qtk_str_printf(out, "%lld", (long long)json_integer_value(node));
    break;
  case JSON_REAL:
    qtk_str_real(json_real_value(node), real);
    qtk_str_add(out, real);
    break;
  default:
    qtk_str_add(out, json_is_true(node) ? "true" : json_is_false(node) ? "false" : "null");
  }
}

int qtk_json_write(const json_t *json, unsigned flags, struct qtk_str *out)
{
  json_write_node(json, flags, 0, out);
  if (!(flags & QTK_JSON_COMPACT))
    qtk_str_add(out, "\n");
  return out->failed ? qtk_error(QTK_ENOMEM, "out of memory for JSON text") : QTK_OK;
}
