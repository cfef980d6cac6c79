/* SPDX-License-Identifier: BSD-3-Clause
 * Options of a job, from and to TOML. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/option.h"
#include "core/vec.h"

static void *option_field(const struct qtk_options *options, size_t row)
{
  return (char *)options->values + options->table[row].offset;
}

/* ---- storing ------------------------------------------------------------------------------ */

static int option_store_text(struct qtk_options *options, size_t row, const char *text)
{
  char *copy = qtk_str_copy(text);

  if (copy == NULL)
    return QTK_ENOMEM;
  free(options->texts[row]);
  options->texts[row] = copy;
  memcpy(option_field(options, row), &copy, sizeof copy);
  return QTK_OK;
}

static int option_store_default(struct qtk_options *options, size_t row)
{
  const struct qtk_option *o = &options->table[row];
  void *field = option_field(options, row);
  int64_t integer;
  int yes;

  switch (o->type) {
  case QTK_OPTION_INT:
    integer = (int64_t)o->number;
    memcpy(field, &integer, sizeof integer);
    return QTK_OK;
  case QTK_OPTION_FLOAT:
    memcpy(field, &o->number, sizeof o->number);
    return QTK_OK;
  case QTK_OPTION_BOOL:
    yes = o->number != 0;
    memcpy(field, &yes, sizeof yes);
    return QTK_OK;
  default:
    return o->text == NULL ? QTK_OK : option_store_text(options, row, o->text);
  }
}

/* ---- reading -------------------------------------------------------------------------------- */

static int option_refuse(const struct qtk_option *o, const struct qtk_toml *node)
{
  struct qtk_str value = {0}, allowed = {0};
  char *v, *a;
  int rc = QTK_ENOMEM;

  qtk_toml_write_value(node, &value);
  qtk_option_allowed(o, &allowed);
  v = qtk_str_take(&value);
  a = qtk_str_take(&allowed);
  if (v != NULL && a != NULL)
    rc = qtk_toml_error(node, "%s = %.200s: allowed are %s", o->name, v, a);
  free(v);
  free(a);
  return rc;
}

static int option_read_int(struct qtk_options *options, size_t row, const struct qtk_toml *stage,
                           const struct qtk_toml *node)
{
  const struct qtk_option *o = &options->table[row];
  int64_t value = 0;
  int rc = qtk_toml_get_int(stage, o->name, &value);

  if (rc != QTK_OK)
    return rc;
  if (!qtk_option_is_int(o, value))
    return option_refuse(o, node);
  memcpy(option_field(options, row), &value, sizeof value);
  return QTK_OK;
}

static int option_read_float(struct qtk_options *options, size_t row, const struct qtk_toml *stage,
                             const struct qtk_toml *node)
{
  const struct qtk_option *o = &options->table[row];
  double value = 0;
  int rc = qtk_toml_get_float(stage, o->name, &value);

  if (rc != QTK_OK)
    return rc;
  if (!(value >= o->minimum && value <= o->maximum))
    return option_refuse(o, node);
  memcpy(option_field(options, row), &value, sizeof value);
  return QTK_OK;
}

static int option_read_text(struct qtk_options *options, size_t row, const struct qtk_toml *stage,
                            const struct qtk_toml *node)
{
  const struct qtk_option *o = &options->table[row];
  const char *value = "";
  int rc = qtk_toml_get_text(stage, o->name, &value);

  if (rc != QTK_OK)
    return rc;
  if (!qtk_option_is_choice(o, value))
    return option_refuse(o, node);
  return option_store_text(options, row, value);
}

static int option_read(struct qtk_options *options, size_t row, const struct qtk_toml *stage)
{
  const struct qtk_option *o = &options->table[row];
  const struct qtk_toml *node = qtk_toml_get(stage, o->name);

  if (node == NULL)
    return QTK_OK;
  switch (o->type) {
  case QTK_OPTION_INT:
    return option_read_int(options, row, stage, node);
  case QTK_OPTION_FLOAT:
    return option_read_float(options, row, stage, node);
  case QTK_OPTION_BOOL:
    return qtk_toml_get_bool(stage, o->name, option_field(options, row));
  default:
    return option_read_text(options, row, stage, node);
  }
}

/* Every key is an option's or a core one's. */
static int option_check_keys(const struct qtk_options *options, const struct qtk_toml *stage,
                             const char *const *core_keys)
{
  QTK_VEC(const char *) names = {0};
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < options->count; i++)
    rc = qtk_vec_push(&names, options->table[i].name);
  for (; rc == QTK_OK && core_keys != NULL && *core_keys != NULL; core_keys++)
    rc = qtk_vec_push(&names, *core_keys);
  if (rc == QTK_OK)
    rc = qtk_vec_push(&names, NULL);
  if (rc == QTK_OK)
    rc = qtk_toml_only(stage, names.data);
  qtk_vec_free(&names);
  return rc;
}

static struct qtk_options *option_new(const struct qtk_option *table, size_t size)
{
  struct qtk_options *options = calloc(1, sizeof *options);

  if (options != NULL) {
    options->table = table;
    options->size = size;
    options->count = qtk_option_count(table);
    options->values = calloc(1, size + 1);
    options->texts = calloc(options->count + 1, sizeof *options->texts);
  }
  if (options == NULL || options->values == NULL || options->texts == NULL) {
    qtk_error_memory(size, "options");
    qtk_options_free(options);
    return NULL;
  }
  return options;
}

int qtk_options_parse(const struct qtk_option *table, size_t size, const struct qtk_toml *stage,
                      const char *const *core_keys, struct qtk_options **options)
{
  struct qtk_options *o;
  int rc = qtk_option_check(table, size);

  *options = NULL;
  if (rc != QTK_OK)
    return rc;
  o = option_new(table, size);
  if (o == NULL)
    return QTK_ENOMEM;
  rc = option_check_keys(o, stage, core_keys);
  for (size_t i = 0; rc == QTK_OK && i < o->count; i++) {
    rc = option_store_default(o, i);
    if (rc == QTK_OK)
      rc = option_read(o, i, stage);
  }
  if (rc != QTK_OK) {
    qtk_options_free(o);
    return rc;
  }
  *options = o;
  return QTK_OK;
}

void qtk_options_free(struct qtk_options *options)
{
  if (options == NULL)
    return;
  for (size_t i = 0; options->texts != NULL && i < options->count; i++)
    free(options->texts[i]);
  free(options->texts);
  free(options->values);
  free(options);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static int option_write(const struct qtk_options *options, size_t row, struct qtk_toml *out)
{
  const struct qtk_option *o = &options->table[row];
  const void *field = option_field(options, row);
  int64_t integer;
  double number;
  int yes;

  switch (o->type) {
  case QTK_OPTION_INT:
    memcpy(&integer, field, sizeof integer);
    return qtk_toml_set_int(out, o->name, integer);
  case QTK_OPTION_FLOAT:
    memcpy(&number, field, sizeof number);
    return qtk_toml_set_float(out, o->name, number);
  case QTK_OPTION_BOOL:
    memcpy(&yes, field, sizeof yes);
    return qtk_toml_set_bool(out, o->name, yes);
  default:
    if (options->texts[row] == NULL)
      return QTK_OK;
    return qtk_toml_set_text(out, o->name, options->texts[row]);
  }
}

int qtk_options_write(const struct qtk_options *options, struct qtk_toml *out)
{
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < options->count; i++)
    rc = option_write(options, i, out);
  return rc;
}
