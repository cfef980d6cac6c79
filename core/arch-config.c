/* SPDX-License-Identifier: BSD-3-Clause
 * A configuration written from resolved parameters. */
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/json.h"
#include "core/str.h"

struct config {
  const struct qtk_arch *arch;
  const char *name; /* of the schema */
  const struct qtk_toml *schema;
  int flat;
  json_t *json;
};

/* The first key of the configuration that an entry names; formulas are none. */
static const char *config_key(const struct qtk_toml *entry)
{
  const struct qtk_toml *keys = entry;

  if (qtk_toml_kind(entry) == QTK_TOML_TABLE)
    keys = qtk_toml_get(entry, "keys");
  if (keys != NULL && qtk_toml_kind(keys) == QTK_TOML_ARRAY)
    keys = qtk_toml_item(keys, 0);
  if (keys == NULL || qtk_toml_kind(keys) != QTK_TOML_TEXT ||
      qtk_formula_of(qtk_toml_text(keys)) != NULL)
    return NULL;
  return qtk_toml_text(keys);
}

static int config_cannot(const struct config *c, const char *parameter)
{
  return qtk_error(QTK_EJOB, "%s: parameter %s of this model cannot be said in the names of %s",
                   c->arch->file, parameter, c->name);
}

/* The schema's own name for a value: a new reference, NULL if it has none. */
static json_t *config_value(const struct qtk_toml *entry, json_t *value)
{
  const struct qtk_toml *values =
      qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_get(entry, "values") : NULL;

  for (size_t i = 0; i < qtk_toml_length(values); i++) {
    const struct qtk_toml *ours = qtk_toml_item(values, i);
    json_t *one;
    if (qtk_arch_value(ours, NULL, &one) != QTK_OK)
      return NULL;
    int same = json_equal(one, value);
    json_decref(one);
    if (same)
      return json_string(qtk_toml_key(ours));
  }
  return values == NULL ? json_incref(value) : NULL;
}

/* Whether the entry's condition, if it has one, lets it be written. */
static int config_wanted(const struct config *c, const struct qtk_toml *entry, int *wanted)
{
  const struct qtk_toml *write =
      qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_get(entry, "write") : NULL;
  struct qtk_formula_scope scope = {c->arch->parameters, NULL, -1};
  json_t *value;

  *wanted = 1;
  if (write == NULL)
    return QTK_OK;
  int rc = qtk_arch_value(write, &scope, &value);
  if (rc == QTK_OK) {
    *wanted = json_is_true(value);
    json_decref(value);
  }
  return rc;
}

/* Whether null says this value; formats whose keys are flat have none. */
static int config_is_null(const struct config *c, const struct qtk_toml *entry, json_t *value)
{
  const struct qtk_toml *null =
      qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_get(entry, "null") : NULL;
  struct qtk_formula_scope scope = {c->arch->parameters, NULL, -1};
  json_t *one;

  if (null == NULL || c->flat || qtk_arch_value(null, &scope, &one) != QTK_OK)
    return 0;
  int same = json_equal(one, value);
  json_decref(one);
  return same;
}

/* What is written for a parameter's value: a new reference. */
static int config_say(const struct config *c, const struct qtk_toml *entry, json_t *value,
                      json_t **said)
{
  const struct qtk_toml *to =
      qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_get(entry, "to") : NULL;
  struct qtk_formula_scope scope = {c->arch->parameters, NULL, -1};

  if (to != NULL)
    return qtk_arch_value(to, &scope, said);
  *said = config_is_null(c, entry, value) ? json_null() : config_value(entry, value);
  return *said != NULL ? QTK_OK : config_cannot(c, qtk_toml_key(entry));
}

static int config_parameter(const struct config *c, const struct qtk_toml *entry)
{
  json_t *value = json_object_get(c->arch->parameters, qtk_toml_key(entry)), *said;
  const char *key = config_key(entry);
  int wanted = 0, rc = config_wanted(c, entry, &wanted);

  if (rc != QTK_OK || !wanted || key == NULL || value == NULL)
    return rc;
  if (json_is_array(value) && json_array_size(value) == 0)
    return QTK_OK;
  rc = config_say(c, entry, value, &said);
  return rc == QTK_OK ? qtk_arch_config_set(c->json, key, c->flat, said) : rc;
}

/* What makes the schema's readers take it for this family. */
static int config_constants(const struct config *c)
{
  const struct qtk_toml *match = qtk_toml_get(c->schema, "match");
  const struct qtk_toml *more = qtk_toml_get(c->schema, "config");
  int rc = QTK_OK;
  json_t *value;

  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(match); i++) {
    const struct qtk_toml *values = qtk_toml_item(match, i);
    rc = qtk_arch_value(qtk_toml_item(values, 0), NULL, &value);
    if (rc == QTK_OK)
      rc = qtk_arch_config_set(c->json, qtk_toml_key(values), c->flat, value);
  }
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(more); i++) {
    const struct qtk_toml *node = qtk_toml_item(more, i);
    rc = qtk_arch_value(node, NULL, &value);
    if (rc == QTK_OK)
      rc = qtk_arch_config_set(c->json, qtk_toml_key(node), c->flat, value);
  }
  return rc;
}

/* The tensors that a file of the schema would have. */
static int config_shape(void *arg, const char *name, int64_t *rows, int64_t *cols)
{
  const struct config *c = arg;

  for (int i = 0; i < qtk_arch_tensors(c->arch); i++) {
    struct qtk_arch_place place;
    if (qtk_arch_locate(c->arch, c->name, i, &place) != QTK_OK)
      continue;
    int same = strcmp(place.names[0], name) == 0;
    free(place.names);
    if (!same)
      continue;
    *rows = qtk_arch_tensor(c->arch, i)->rows;
    *cols = qtk_arch_tensor(c->arch, i)->cols;
    return 1;
  }
  return 0;
}

static int config_values(void *arg, const char *name, float *out)
{
  (void)arg, (void)out;
  return qtk_error(QTK_EJOB, "the values of %s are not known", name);
}

/* The first parameter that reads otherwise than it was written. */
static const char *config_difference(const struct qtk_arch *a, const struct qtk_arch *b)
{
  const char *name;
  json_t *value;

  json_object_foreach(
      a->parameters, name,
      value) if (!json_equal(value, json_object_get(b->parameters, name))) return name;
  return "(none)";
}

/* What was written must be read as what was meant: parameters may differ where nothing
 * hangs on them. */
static int config_check(const struct config *c)
{
  struct qtk_arch again = {.file = c->arch->file, .root = c->arch->root};
  struct qtk_arch_source source = {
      .file = "what was written", .schema = c->name, .arg = (void *)(uintptr_t)c};

  source.shape = config_shape;
  source.values = config_values;
  int rc = qtk_arch_read_parameters(&again, &source, c->json);
  if (rc == QTK_OK)
    rc = qtk_arch_read_structure(&again);
  if (rc == QTK_OK && !qtk_arch_same_structure(c->arch, &again))
    rc = config_cannot(c, config_difference(c->arch, &again));
  json_decref(again.parameters);
  free(again.layers);
  free(again.factors);
  return rc == QTK_OK ? QTK_OK : QTK_EJOB;
}

static int config_schema(struct config *c)
{
  const struct qtk_toml *entries;
  int rc = qtk_arch_schema(c->arch, c->name, &c->schema);

  if (rc == QTK_OK)
    rc = qtk_toml_get_bool(c->schema, "flat", &c->flat);
  if (rc == QTK_OK)
    rc = config_constants(c);
  entries = qtk_toml_get(c->schema, "parameters");
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(entries); i++)
    rc = config_parameter(c, qtk_toml_item(entries, i));
  return rc == QTK_OK ? config_check(c) : rc;
}

static int config_bundle(struct config *c)
{
  int rc = qtk_json_set(c->json, "family", json_string(c->arch->family));

  if (rc == QTK_OK)
    rc = qtk_json_set(c->json, "parameters", json_incref(c->arch->parameters));
  return rc;
}

int qtk_arch_config(const struct qtk_arch *arch, const char *schema, char **json)
{
  struct config c = {.arch = arch, .name = schema, .json = json_object()};
  struct qtk_str text = {0};
  int rc = c.json == NULL ? qtk_error(QTK_ENOMEM, "out of memory") : QTK_OK;

  if (rc == QTK_OK)
    rc = strcmp(schema, QTK_ARCH_SCHEMA) == 0 ? config_bundle(&c) : config_schema(&c);
  if (rc == QTK_OK)
    rc = qtk_json_write(c.json, 0, &text);
  if (rc == QTK_OK && (*json = qtk_str_take(&text)) == NULL)
    rc = QTK_ENOMEM;
  qtk_str_free(&text);
  json_decref(c.json);
  return rc;
}
