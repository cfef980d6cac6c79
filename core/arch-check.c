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

/* The names under [schema.NAME.parameters] are parameters. */
static int check_names(const struct qtk_toml *table, const struct qtk_toml *parameters)
{
  size_t n = qtk_toml_length(parameters);
  const char **known = calloc(n + 1, sizeof *known);
  int rc;

  if (known == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  for (size_t i = 0; i < n; i++)
    known[i] = qtk_toml_key(qtk_toml_item(parameters, i));
  rc = table == NULL ? QTK_OK : qtk_toml_only(table, known);
  free(known);
  return rc;
}

static int check_schema(const struct qtk_toml *schema, const struct qtk_toml *parameters)
{
  static const char *const tables[] = {"match", "only", "config", "parameters", "tensors"};
  const struct qtk_toml *table[5] = {0};
  int rc, flag;

  if (qtk_toml_kind(schema) != QTK_TOML_TABLE)
    return qtk_toml_error(schema, "a schema is a table");
  rc = qtk_toml_only(schema, check_schema_keys);
  for (int i = 0; rc == QTK_OK && i < 5; i++)
    rc = qtk_toml_get_table(schema, tables[i], &table[i]);
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
