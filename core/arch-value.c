/* SPDX-License-Identifier: BSD-3-Clause
 * Values of a description as JSON, and keys of a model's configuration. */
#include <string.h>

#include "core/arch-inner.h"
#include "core/json.h"

int qtk_arch_at(const struct qtk_toml *node, int code)
{
  return qtk_error_at(code, "%s:%d:%d", qtk_toml_file(node), qtk_toml_line(node),
                      qtk_toml_column(node));
}

static json_t *value_list(const struct qtk_toml *node, const struct qtk_formula_scope *scope)
{
  json_t *list = json_array(), *item;

  for (size_t i = 0; list != NULL && i < qtk_toml_length(node); i++)
    if (qtk_arch_value(qtk_toml_item(node, i), scope, &item) != QTK_OK ||
        json_array_append_new(list, item) != 0) {
      json_decref(list);
      return NULL;
    }
  return list;
}

static json_t *value_of_text(const struct qtk_toml *node, const struct qtk_formula_scope *scope)
{
  const char *formula = qtk_formula_of(qtk_toml_text(node));

  if (formula == NULL || scope == NULL)
    return json_string(qtk_toml_text(node));
  return qtk_formula_value(formula, scope);
}

int qtk_arch_value(const struct qtk_toml *node, const struct qtk_formula_scope *scope,
                   json_t **value)
{
  qtk_error(QTK_EJOB, "a value is needed, not %s", qtk_toml_kind_name(qtk_toml_kind(node)));
  switch (qtk_toml_kind(node)) {
  case QTK_TOML_INT:
    *value = json_integer(qtk_toml_int(node));
    break;
  case QTK_TOML_FLOAT:
    *value = json_real(qtk_toml_float(node));
    break;
  case QTK_TOML_BOOL:
    *value = json_boolean(qtk_toml_bool(node));
    break;
  case QTK_TOML_TEXT:
    *value = value_of_text(node, scope);
    break;
  case QTK_TOML_ARRAY:
    *value = value_list(node, scope);
    break;
  default:
    *value = NULL;
  }
  return *value != NULL ? QTK_OK : qtk_arch_at(node, QTK_EJOB);
}

int qtk_arch_config_has(const json_t *config, const char *key)
{
  return json_object_get(config, key) != NULL || qtk_json_find(config, key) != NULL;
}

json_t *qtk_arch_config_get(const json_t *config, const char *key)
{
  json_t *value = json_object_get(config, key);

  if (value == NULL)
    value = qtk_json_find(config, key);
  return json_is_null(value) ? NULL : value;
}

/* The object under the first `n` bytes of `key`, made if need be. */
static json_t *value_object(json_t *config, const char *key, size_t n)
{
  char name[256];
  json_t *object;

  if (n >= sizeof name)
    return NULL;
  memcpy(name, key, n);
  name[n] = '\0';
  object = json_object_get(config, name);
  if (object == NULL && json_object_set_new(config, name, json_object()) == 0)
    object = json_object_get(config, name);
  return object;
}

int qtk_arch_config_set(json_t *config, const char *key, int flat, json_t *value)
{
  const char *dot;

  while (!flat && (dot = strchr(key, '.')) != NULL) {
    config = value_object(config, key, (size_t)(dot - key));
    key = dot + 1;
  }
  return qtk_json_set(config, key, value);
}

int qtk_arch_is_among(const json_t *value, const struct qtk_toml *list)
{
  int found = 0;

  for (size_t i = 0; !found && i < qtk_toml_length(list); i++) {
    json_t *allowed;
    if (qtk_arch_value(qtk_toml_item(list, i), NULL, &allowed) != QTK_OK)
      return 0;
    found = json_is_number(value) && json_is_number(allowed)
                ? json_number_value(value) == json_number_value(allowed)
                : json_equal(value, allowed);
    json_decref(allowed);
  }
  return found;
}
