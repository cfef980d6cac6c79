/* SPDX-License-Identifier: BSD-3-Clause
 * The keys that a description may have. */
#include <stdlib.h>

#include "core/arch-inner.h"
#include "core/str.h"

static const char *const check_top[] = {
    "family",    "summary", "canonical", "parameters", "model",     "embedding",
    "positions", "rotary",  "norm",      "block",      "attention", "mlp",
    "final",     "head",    "linears",   "schema",     NULL};
static const char *const check_schema_keys[] = {"match",  "only",       "config",  "flat", "prefix",
                                                "ignore", "parameters", "tensors", "read", NULL};
static const char *const check_parameter_keys[] = {"kind", "default", NULL};
static const char *const check_entry_keys[] = {"keys", "values", "null", "from",
                                               "to",   "write",  NULL};
static const char *const check_tensor_keys[] = {"name",  "rows",   "transpose",
                                                "start", "within", NULL};
static const char *const check_linears_keys[] = {"order", NULL};

/* Each table among the entries of `table` may have these keys. */
static int check_entries(const struct qtk_toml *table, const char *const *keys)
{
  for (size_t i = 0; i < qtk_toml_length(table); i++) {
    const struct qtk_toml *entry = qtk_toml_item(table, i);
    int rc = qtk_toml_kind(entry) == QTK_TOML_TABLE ? qtk_toml_only(entry, keys) : QTK_OK;
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

static const char *check_nearest(const struct qtk_toml *table, const char *name)
{
  size_t n = qtk_toml_length(table);
  const char **known = calloc(n + 1, sizeof *known), *near = NULL;

  for (size_t i = 0; known != NULL && i < n; i++)
    known[i] = qtk_toml_key(qtk_toml_item(table, i));
  if (known != NULL)
    near = qtk_nearest(name, known);
  free(known);
  return near;
}

/* The names under [schema.NAME.parameters] are parameters. */
static int check_names(const struct qtk_toml *table, const struct qtk_toml *parameters)
{
  for (size_t i = 0; i < qtk_toml_length(table); i++) {
    const struct qtk_toml *entry = qtk_toml_item(table, i);
    const char *name = qtk_toml_key(entry), *near;
    if (qtk_toml_get(parameters, name) != NULL)
      continue;
    near = check_nearest(parameters, name);
    return near != NULL ? qtk_toml_error(entry, "unknown parameter \"%s\"; did you mean \"%s\"?",
                                         name, near)
                        : qtk_toml_error(entry, "%s: [parameters] does not declare it", name);
  }
  return QTK_OK;
}

/* Each key of `match` and of `only` has a list of values. */
static int check_lists(const struct qtk_toml *table)
{
  for (size_t i = 0; i < qtk_toml_length(table); i++) {
    const struct qtk_toml *values = qtk_toml_item(table, i);
    if (qtk_toml_kind(values) != QTK_TOML_ARRAY)
      return qtk_toml_error(values, "%s: a list of values is needed, not %s", qtk_toml_key(values),
                            qtk_toml_kind_name(qtk_toml_kind(values)));
  }
  return QTK_OK;
}

static int check_schema(const struct qtk_toml *schema, const struct qtk_toml *parameters)
{
  static const char *const tables[] = {"match", "only", "config", "parameters", "tensors"};
  const struct qtk_toml *table[5] = {0}, *ignore;
  int rc, flag;

  if (qtk_toml_kind(schema) != QTK_TOML_TABLE)
    return qtk_toml_error(schema, "a schema is a table");
  rc = qtk_toml_only(schema, check_schema_keys);
  for (int i = 0; rc == QTK_OK && i < 5; i++)
    rc = qtk_toml_get_table(schema, tables[i], &table[i]);
  if (rc == QTK_OK && qtk_toml_length(table[0]) == 0)
    rc = qtk_toml_error(schema, "'match' is missing: what tells files of this family");
  if (rc == QTK_OK)
    rc = check_lists(table[0]);
  if (rc == QTK_OK)
    rc = check_lists(table[1]);
  if (rc == QTK_OK)
    rc = qtk_toml_get_array(schema, "ignore", &ignore);
  if (rc == QTK_OK)
    rc = qtk_toml_get_bool(schema, "read", &flag);
  if (rc == QTK_OK)
    rc = qtk_toml_get_bool(schema, "flat", &flag);
  if (rc == QTK_OK)
    rc = check_entries(table[3], check_entry_keys);
  if (rc == QTK_OK)
    rc = check_names(table[3], parameters);
  return rc == QTK_OK ? check_entries(table[4], check_tensor_keys) : rc;
}

int qtk_arch_check_keys(const struct qtk_toml *root)
{
  const struct qtk_toml *schemas, *parameters, *linears = NULL, *canonical;
  int rc = qtk_toml_only(root, check_top);

  if (rc == QTK_OK)
    rc = qtk_toml_need(root, "canonical", QTK_TOML_TEXT, &canonical);
  if (rc == QTK_OK)
    rc = qtk_toml_need(root, "schema", QTK_TOML_TABLE, &schemas);
  if (rc == QTK_OK)
    rc = qtk_toml_need(root, "parameters", QTK_TOML_TABLE, &parameters);
  if (rc == QTK_OK)
    rc = check_entries(parameters, check_parameter_keys);
  if (rc == QTK_OK)
    rc = qtk_toml_get_table(root, "linears", &linears);
  if (rc == QTK_OK && linears != NULL)
    rc = qtk_toml_only(linears, check_linears_keys);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(schemas); i++)
    rc = check_schema(qtk_toml_item(schemas, i), parameters);
  return rc;
}

int qtk_arch_schema(const struct qtk_arch *arch, const char *name, const struct qtk_toml **schema)
{
  const struct qtk_toml *schemas = qtk_toml_get(arch->root, "schema");
  struct qtk_str known = {0};
  char *text;

  *schema = qtk_toml_get(schemas, name);
  if (*schema != NULL)
    return QTK_OK;
  for (size_t i = 0; i < qtk_toml_length(schemas); i++)
    qtk_str_printf(&known, "%s%s", i > 0 ? ", " : "", qtk_toml_key(qtk_toml_item(schemas, i)));
  text = qtk_str_take(&known);
  if (text == NULL)
    return QTK_ENOMEM;
  int rc = qtk_error(QTK_EJOB, "%s: there is no [schema.%s]; described are: %s", arch->file, name,
                     text);
  free(text);
  return rc;
}
