/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters of other programs are read. */
#include "core/foreign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/adapter.h"
#include "core/arch.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/json.h"
#include "core/source.h"
#include "core/str.h"

struct foreign_load {
  struct qtk_context *ctx;
  const struct qtk_model *model;
  struct qtk_source *source;
  struct qtk_tuned *tuned;
  struct qtk_arch_place *places; /* of each tensor of the model */
  char *sites;                   /* of each tensor: whether a parameter is of it */
  int n;
};

/* ---- options ---------------------------------------------------------------------------- */

static int foreign_option(struct qtk_toml *table, const char *key, const json_t *value)
{
  if (json_is_boolean(value))
    return qtk_toml_set_bool(table, key, json_is_true(value));
  if (json_is_integer(value))
    return qtk_toml_set_int(table, key, json_integer_value(value));
  if (json_is_real(value))
    return qtk_toml_set_float(table, key, json_real_value(value));
  if (json_is_string(value))
    return qtk_toml_set_text(table, key, json_string_value(value));
  return qtk_error(QTK_EPLUGIN, "option \"%s\" is neither a number nor a text", key);
}

/* A JSON object as TOML text. */
static int foreign_options(const char *json, char **toml)
{
  struct qtk_toml *table = qtk_toml_new_table();
  struct qtk_str out = {0};
  json_t *root = NULL, *value;
  const char *key;
  int rc = table ? qtk_json_parse(json, strlen(json), "options", &root) : QTK_ENOMEM;
  json_object_foreach(root, key, value)
    if (rc == QTK_OK)
      rc = foreign_option(table, key, value);
  if (rc == QTK_OK)
    rc = qtk_toml_write(table, &out);
  *toml = rc == QTK_OK ? qtk_str_take(&out) : NULL;
  qtk_str_free(&out);
  json_decref(root);
  qtk_toml_free(table);
  return rc == QTK_OK && *toml == NULL ? QTK_ENOMEM : rc;
}

/* ---- names -------------------------------------------------------------------------------- */

static int foreign_places(struct foreign_load *l)
{
  const char *schema = l->source->ops->schema;
  int rc = QTK_OK;
  l->n = qtk_model_count(l->model);
  l->places = calloc((size_t)l->n + 1, sizeof *l->places);
  l->sites = calloc((size_t)l->n + 1, 1);
  if (l->places == NULL || l->sites == NULL)
    return qtk_error_memory((size_t)l->n * sizeof *l->places, "names of tensors");
  for (int i = 0; i < l->n && rc == QTK_OK; i++)
    rc = qtk_arch_locate(qtk_model_arch(l->model), schema, i, &l->places[i]);
  return rc;
}

static int foreign_is(const struct qtk_arch_place *place, const char *name)
{
  for (char **n = place->names; *n != NULL; n++)
    if (strcmp(*n, name) == 0)
      return 1;
  return 0;
}

/* The tensor of the model that files of that schema call so, whole and in our order. */
static int foreign_find(const struct foreign_load *l, const char *name, int *tensor)
{
  for (int i = 0; i < l->n; i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(l->model, i);
    if (!t->linear || !foreign_is(&l->places[i], name))
      continue;
    if (l->places[i].within != t->rows || l->places[i].rows != QTK_ROWS_SAME)
      return qtk_error(QTK_EINPUT, "%s: in this model it is several linears, or has its rows in "
                                   "another order: an adapter at it cannot be read",
                       name);
    *tensor = i;
    return QTK_OK;
  }
  return qtk_error(QTK_EINPUT, "%s: this model has no such linear", name);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static int foreign_values(const struct foreign_load *l, int i, const struct qtk_param *p,
                          void *values)
{
  size_t n = 1;
  for (int k = 0; k < p->ndim; k++)
    n *= (size_t)p->shape[k];
  float *floats = qtk_alloc(l->ctx, n * sizeof *floats, "scratch");
  int rc = floats ? l->source->ops->read_param(l->source->h, i, floats) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_convert(p->disk_dtype, values, QTK_F32, floats, n);
  qtk_free(l->ctx, floats);
  return rc;
}

static int foreign_param(struct foreign_load *l, int i, const struct qtk_format_param *from)
{
  struct qtk_param p = {.ndim = from->ndim, .disk_dtype = from->dtype, .learning_rate = 1};
  void *values;
  int tensor = -1, rc = foreign_find(l, from->tensor, &tensor);
  if (rc != QTK_OK)
    return rc;
  int good = p.ndim >= 1 && p.ndim <= QTK_MAX_DIMS;
  for (int k = 0; good && k < p.ndim; k++)
    good = from->shape[k] >= 1 && from->shape[k] < 1 << 28;
  if (!good)
    return qtk_error(QTK_EINPUT, "%s: %s has no shape that can be", from->tensor, from->part);
  const char *name = qtk_model_tensor(l->model, tensor)->name;
  memcpy(p.shape, from->shape, sizeof p.shape);
  if (snprintf(p.name, sizeof p.name, "%s.%s", name, from->part) >= (int)sizeof p.name)
    return qtk_error(QTK_EINPUT, "%s: the name is too long", from->tensor);
  if (qtk_tuned_find(l->tuned, p.name) >= 0)
    return qtk_error(QTK_EINPUT, "%s: two parameters are %s of it", from->tensor, from->part);
  l->sites[tensor] = 1;
  rc = qtk_tuned_add(l->tuned, &p, &values);
  return rc == QTK_OK ? foreign_values(l, i, &p, values) : rc;
}

static int foreign_params(struct foreign_load *l)
{
  struct qtk_format_param p = {0};
  int rc = QTK_OK;
  for (int i = 0; rc == QTK_OK && l->source->ops->param(l->source->h, i, &p); i++) {
    rc = foreign_param(l, i, &p);
    p = (struct qtk_format_param){0};
  }
  return rc;
}

/* ---- targets ---------------------------------------------------------------------------------- */

static void foreign_literal(struct qtk_str *out, const char *text, size_t n)
{
  for (size_t i = 0; i < n; i++)
    qtk_str_printf(out, text[i] == '.' ? "\\%c" : "%c", text[i]);
}

/* The linears that have parameters, and no others, by name. */
static int foreign_targets(struct foreign_load *l, char **targets)
{
  struct qtk_str out = {0};
  const char *before = "^(";
  for (int i = 0; i < l->n; i++) {
    const char *name = qtk_model_tensor(l->model, i)->name;
    size_t n = strlen(name), end = strlen(".weight");
    if (!l->sites[i])
      continue;
    qtk_str_add(&out, before);
    foreign_literal(&out, name, n > end ? n - end : n);
    before = "|";
  }
  qtk_str_add(&out, ")$");
  *targets = qtk_str_take(&out);
  qtk_str_free(&out);
  return *targets ? QTK_OK : qtk_error_memory(0, "targets");
}

/* ---- the whole ------------------------------------------------------------------------------------ */

static int foreign_note(struct foreign_load *l, const char *note)
{
  return note ? qtk_tuned_note(l->tuned, l->source->format->plugin.name, note) : QTK_OK;
}

static int foreign_new(struct foreign_load *l, const char *path)
{
  struct qtk_format_adapter a = {0};
  const struct qtk_loaded *plugin;
  char *toml = NULL;
  if (l->source->ops->adapter == NULL || !l->source->ops->adapter(l->source->h, &a))
    return qtk_error(QTK_EINPUT, "%s: a model, not an adapter", path);
  int rc = qtk_registry_get(QTK_ADAPTER, a.method, &plugin);
  if (rc == QTK_OK)
    rc = foreign_options(a.options, &toml);
  if (rc == QTK_OK)
    rc = qtk_tuned_new(l->ctx, qtk_path_base(path), plugin, toml, NULL, &l->tuned);
  rc = rc == QTK_EJOB ? QTK_EINPUT : rc; /* they are a file's options, no job's */
  free(toml);
  if (rc == QTK_OK)
    rc = foreign_note(l, a.note);
  if (rc == QTK_OK)
    rc = foreign_places(l);
  if (rc == QTK_OK)
    rc = foreign_params(l);
  return rc == QTK_OK ? foreign_targets(l, &l->tuned->targets) : rc;
}

int qtk_foreign_load(struct qtk_context *ctx, const struct qtk_model *model, const char *path,
                     struct qtk_tuned **tuned)
{
  struct foreign_load l = {.ctx = ctx, .model = model};
  if (!qtk_path_is_dir(path))
    return qtk_adapter_load(ctx, path, tuned);
  int rc = qtk_source_open(ctx, path, NULL, &l.source);
  if (rc == QTK_OK && (rc = foreign_new(&l, path)) != QTK_OK)
    rc = qtk_error_at(rc, "%s", path);
  for (int i = 0; l.places != NULL && i < l.n; i++)
    free(l.places[i].names);
  free(l.places);
  free(l.sites);
  qtk_source_close(l.source);
  if (rc != QTK_OK)
    qtk_tuned_free(l.tuned);
  else
    *tuned = l.tuned;
  return rc;
}
