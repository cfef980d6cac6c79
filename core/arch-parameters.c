/* SPDX-License-Identifier: BSD-3-Clause
 * The parameters of a model from its configuration, and back. */
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/json.h"
#include "core/str.h"

/* One parameter while it is read. */
struct parameter {
  struct qtk_arch *arch;
  const struct qtk_arch_source *source;
  json_t *config;
  struct qtk_formula_scope scope;
  const struct qtk_toml *declared; /* its entry in [parameters] */
  const struct qtk_toml *entry;    /* its entry in the schema's parameters, or NULL */
  const struct qtk_toml *null;     /* what a null in the configuration means, or NULL */
  const char *name, *kind;
  const char *key;                 /* of the configuration that the value is from, or NULL */
  json_t *value;
};

/* ---- kinds ------------------------------------------------------------------------ */

static int parameter_kind(struct parameter *p)
{
  static const char *const kinds[] = {"int", "real", "bool", "text", "list", NULL};
  const struct qtk_toml *node = p->declared;

  if (qtk_toml_kind(node) == QTK_TOML_TABLE)
    node = qtk_toml_get(node, "kind");
  if (node == NULL || qtk_toml_kind(node) != QTK_TOML_TEXT)
    return qtk_toml_error(p->declared, "parameter %s needs a kind", p->name);
  p->kind = qtk_toml_text(node);
  for (int i = 0; kinds[i] != NULL; i++)
    if (strcmp(p->kind, kinds[i]) == 0)
      return QTK_OK;
  return qtk_toml_error(node, "'%s' is no kind; kinds are int, real, bool, text and list", p->kind);
}

/* The value as the kind wants it; a number with a point is never an int. */
static int parameter_cast(struct parameter *p)
{
  json_t *v = p->value;
  int good = strcmp(p->kind, "int") == 0    ? json_is_integer(v)
             : strcmp(p->kind, "real") == 0 ? json_is_number(v)
             : strcmp(p->kind, "bool") == 0 ? json_is_boolean(v)
             : strcmp(p->kind, "text") == 0 ? json_is_string(v)
                                            : json_is_array(v);

  if (!good) {
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    qtk_error(QTK_EINPUT, "%s: %s%sparameter %s must be of kind %s, but is %.80s", p->source->file,
              p->key != NULL ? p->key : "", p->key != NULL ? ": " : "", p->name, p->kind,
              text != NULL ? text : "something else");
    free(text);
    return QTK_EINPUT;
  }
  if (strcmp(p->kind, "real") == 0) {
    p->value = json_real(json_number_value(v));
    json_decref(v);
  }
  return p->value != NULL ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory");
}

/* ---- where values come from ------------------------------------------------------------- */

/* A formula, a key of the configuration or a plain value; *p->value stays NULL if the
 * key is absent. A null is as good as absent unless the entry says what it means. */
static int parameter_try(struct parameter *p, const struct qtk_toml *node)
{
  if (qtk_toml_kind(node) != QTK_TOML_TEXT || qtk_formula_of(qtk_toml_text(node)) != NULL)
    return qtk_arch_value(node, &p->scope, &p->value);
  p->key = qtk_toml_text(node);
  p->value = json_incref(qtk_arch_config_get(p->config, p->key));
  if (p->value == NULL && p->null != NULL && qtk_arch_config_has(p->config, p->key)) {
    p->key = NULL;
    return qtk_arch_value(p->null, &p->scope, &p->value);
  }
  return QTK_OK;
}

static int parameter_try_each(struct parameter *p, const struct qtk_toml *node)
{
  int rc = QTK_OK;

  if (qtk_toml_kind(node) != QTK_TOML_ARRAY)
    return parameter_try(p, node);
  for (size_t i = 0; rc == QTK_OK && p->value == NULL && i < qtk_toml_length(node); i++) {
    p->key = NULL;
    rc = parameter_try(p, qtk_toml_item(node, i));
  }
  return rc;
}

/* "a, b, c" of the keys of a table. */
static char *parameter_keys(const struct qtk_toml *table)
{
  struct qtk_str known = {0};

  for (size_t i = 0; i < qtk_toml_length(table); i++)
    qtk_str_printf(&known, "%s%s", i > 0 ? ", " : "", qtk_toml_key(qtk_toml_item(table, i)));
  return qtk_str_take(&known);
}

/* The configuration's name for a value becomes ours. */
static int parameter_translate(struct parameter *p, const struct qtk_toml *values)
{
  const char *theirs = json_string_value(p->value);
  const struct qtk_toml *ours = theirs == NULL ? NULL : qtk_toml_get(values, theirs);

  if (ours == NULL) {
    char *known = parameter_keys(values);
    int rc = qtk_error(QTK_EINPUT, "%s: %s = '%s' is not known to %s; known are: %s",
                       p->source->file, p->key, theirs != NULL ? theirs : "(no text)",
                       p->arch->file, known != NULL ? known : "");
    free(known);
    return rc;
  }
  json_decref(p->value);
  p->value = NULL;
  return qtk_arch_value(ours, NULL, &p->value);
}

/* The parameter computed from what the configuration says, the name `value`. */
static int parameter_compute(struct parameter *p, const struct qtk_toml *formula)
{
  json_t *names = json_copy(p->arch->parameters), *theirs = p->value;
  struct qtk_formula_scope scope = {names, p->source, -1};
  int rc = qtk_json_set(names, "value", theirs);

  p->value = NULL;
  if (rc == QTK_OK && qtk_arch_value(formula, &scope, &p->value) != QTK_OK)
    rc = qtk_error_at(QTK_EINPUT, "%s: %s", p->source->file, p->key);
  json_decref(names);
  return rc;
}

static int parameter_from_schema(struct parameter *p)
{
  const struct qtk_toml *keys = p->entry, *values = NULL, *from = NULL;
  int rc = QTK_OK;

  if (p->entry == NULL)
    return QTK_OK;
  if (qtk_toml_kind(p->entry) == QTK_TOML_TABLE) {
    keys = qtk_toml_get(p->entry, "keys");
    from = qtk_toml_get(p->entry, "from");
    p->null = qtk_toml_get(p->entry, "null");
    rc = qtk_toml_get_table(p->entry, "values", &values);
    if (rc == QTK_OK && keys == NULL)
      rc = qtk_toml_error(p->entry, "%s: 'keys' is missing", p->name);
  }
  if (rc == QTK_OK)
    rc = parameter_try_each(p, keys);
  if (rc == QTK_OK && p->value != NULL && p->key != NULL && values != NULL)
    rc = parameter_translate(p, values);
  if (rc == QTK_OK && p->value != NULL && p->key != NULL && from != NULL)
    rc = parameter_compute(p, from);
  return rc;
}

static int parameter_from_default(struct parameter *p)
{
  const struct qtk_toml *node = qtk_toml_kind(p->declared) == QTK_TOML_TABLE
                                    ? qtk_toml_get(p->declared, "default")
                                    : NULL;
  if (node != NULL) {
    p->key = NULL;
    return qtk_arch_value(node, &p->scope, &p->value);
  }
  if (p->key != NULL)
    return qtk_error(QTK_EINPUT, "%s: %s is missing (parameter %s of %s)", p->source->file, p->key,
                     p->name, p->arch->file);
  return qtk_error(QTK_EINPUT, "%s: nothing says parameter %s of %s", p->source->file, p->name,
                   p->arch->file);
}

/* A bundle's configuration holds the resolved value itself. */
static int parameter_from_bundle(struct parameter *p)
{
  p->key = NULL;
  p->value = json_incref(json_object_get(json_object_get(p->config, "parameters"), p->name));
  return QTK_OK;
}

static int parameter_read(struct parameter *p)
{
  int rc = parameter_kind(p);

  if (rc == QTK_OK)
    rc = strcmp(p->source->schema, QTK_ARCH_SCHEMA) == 0 ? parameter_from_bundle(p)
                                                         : parameter_from_schema(p);
  if (rc == QTK_OK && p->value == NULL)
    rc = parameter_from_default(p);
  if (rc == QTK_OK)
    rc = parameter_cast(p);
  if (rc == QTK_OK)
    rc = qtk_json_set(p->arch->parameters, p->name, json_incref(p->value));
  json_decref(p->value);
  p->value = NULL;
  return rc;
}

/* Keys that, where they are there, must have one of some values: others would change
 * what is computed. */
static int parameters_only(const struct qtk_arch *arch, const struct qtk_arch_source *source,
                           const json_t *config, const struct qtk_toml *only)
{
  for (size_t i = 0; i < qtk_toml_length(only); i++) {
    const struct qtk_toml *values = qtk_toml_item(only, i);
    const char *key = qtk_toml_key(values);
    const json_t *value = qtk_arch_config_get(config, key);
    if (value == NULL || qtk_arch_is_among(value, values))
      continue;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = qtk_error(QTK_EINPUT, "%s: %s = %.80s is something that %s does not describe",
                       source->file, key, text != NULL ? text : "?", arch->file);
    free(text);
    return rc;
  }
  return QTK_OK;
}

/* A bundle says no parameter that the description lacks. */
static int parameters_known(const struct qtk_arch *arch, const struct qtk_arch_source *source,
                            const json_t *config, const struct qtk_toml *declared)
{
  const char *name;
  json_t *value;

  if (strcmp(source->schema, QTK_ARCH_SCHEMA) != 0)
    return QTK_OK;
  json_object_foreach(json_object_get(config, "parameters"), name, value)
    if (qtk_toml_get(declared, name) == NULL)
      return qtk_error(QTK_EINPUT, "%s: %s has no parameter '%s'", source->file, arch->file, name);
  return QTK_OK;
}

int qtk_arch_read_parameters(struct qtk_arch *arch, const struct qtk_arch_source *source,
                             json_t *config)
{
  const struct qtk_toml *declared = qtk_toml_get(arch->root, "parameters"), *schema = NULL;
  int rc = QTK_OK;

  arch->parameters = json_object();
  if (arch->parameters == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  if (strcmp(source->schema, QTK_ARCH_SCHEMA) != 0)
    rc = qtk_arch_schema(arch, source->schema, &schema);
  if (rc == QTK_OK)
    rc = parameters_only(arch, source, config, qtk_toml_get(schema, "only"));
  if (rc == QTK_OK)
    rc = parameters_known(arch, source, config, declared);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(declared); i++) {
    struct parameter p = {.arch = arch, .source = source, .config = config};
    p.scope = (struct qtk_formula_scope){arch->parameters, source, -1};
    p.declared = qtk_toml_item(declared, i);
    p.name = qtk_toml_key(p.declared);
    p.entry = qtk_toml_get(qtk_toml_get(schema, "parameters"), p.name);
    rc = parameter_read(&p);
  }
  return rc;
}
