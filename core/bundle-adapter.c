/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters in a bundle. An adapter's parameters are many and small: they lie together in one
 * member, so that headers, filling and digests do not outweigh them, and the manifest has a
 * short line for each. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bundle-manifest.h"
#include "core/error.h"
#include "core/tensor.h"

#define ADAPTER_MOST 64 /* in one bundle */
#define ADAPTER_NAME sizeof(((struct qtk_param *)0)->name)

const char *qtk_bundle_adapter_member(size_t i, char name[QTK_TAR_NAME])
{
  snprintf(name, QTK_TAR_NAME, QTK_BUNDLE_ADAPTERS "%zu/parameters", i);
  return name;
}

uint64_t qtk_bundle_adapter_place(uint64_t at)
{
  return (at + QTK_BUNDLE_ALIGN - 1) / QTK_BUNDLE_ALIGN * QTK_BUNDLE_ALIGN;
}

uint64_t qtk_bundle_adapter_bytes(const struct qtk_stored *params, int n)
{
  uint64_t bytes = 0;
  for (int i = 0; i < n; i++)
    bytes = qtk_bundle_adapter_place(bytes) + params[i].view.layout.code_bytes;
  return bytes;
}

void qtk_bundle_adapter_gather(const struct qtk_stored *params, int n, uint64_t offset,
                               uint64_t bytes, uint8_t *out)
{
  uint64_t start = 0, end = offset + bytes;
  memset(out, 0, bytes);
  for (int i = 0; i < n; i++) {
    const uint8_t *data = params[i].view.codes;
    start = qtk_bundle_adapter_place(start);
    uint64_t stop = start + params[i].view.layout.code_bytes;
    uint64_t from = start > offset ? start : offset, to = stop < end ? stop : end;
    if (from < to)
      memcpy(out + (from - offset), data + (from - start), to - from);
    start = stop;
  }
}

/* ---- writing ------------------------------------------------------------------------ */

static int adapter_check_param(const struct qtk_stored *p)
{
  const struct qtk_qlayout *l = &p->view.layout;
  int rc = qtk_stored_check(p);
  if (rc == QTK_OK && strlen(p->name) >= ADAPTER_NAME)
    rc = qtk_error(QTK_EINPUT, "%s: a name of more than %zu bytes", p->name, ADAPTER_NAME - 1);
  if (rc == QTK_OK &&
      (l->encoding != QTK_DENSE || (l->dtype != QTK_F16 && l->dtype != QTK_F32)))
    rc = qtk_error(QTK_EINPUT, "%s: parameters are stored as f16 or f32, and as nothing else",
                   p->name);
  return rc;
}

int qtk_bundle_adapter_check(const struct qtk_tuned *t)
{
  int rc = QTK_OK;
  for (int i = 0; i < t->n_params && rc == QTK_OK; i++) {
    rc = adapter_check_param(&t->params[i]);
    if (rc == QTK_OK && i > 0 && strcmp(t->params[i - 1].name, t->params[i].name) >= 0)
      rc = qtk_error(QTK_EINTERNAL, "%s: parameters are not sorted", t->params[i].name);
  }
  return rc == QTK_OK ? rc : qtk_error_at(rc, "adapter %s", t->name);
}

/* ["NAME", "f16", 576, 9] */
static int adapter_write_param(const struct qtk_stored *p, struct qtk_toml *list)
{
  struct qtk_toml *item = qtk_toml_new_array();
  int rc = item ? qtk_toml_append(item, qtk_toml_new_text(p->name)) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_append(item, qtk_toml_new_text(qtk_dtype_name(p->view.layout.dtype)));
  for (int i = 0; i < p->ndim && rc == QTK_OK; i++)
    rc = qtk_toml_append(item, qtk_toml_new_int(p->shape[i]));
  if (rc == QTK_OK)
    return qtk_toml_append(list, item);
  qtk_toml_free(item);
  return rc;
}

static int adapter_write_known(struct qtk_toml *table, const char *key, const char *text)
{
  return text && *text ? qtk_toml_set_text(table, key, text) : QTK_OK;
}

static int adapter_write_binding(const struct qtk_tuned *t, struct qtk_toml *table)
{
  int rc = adapter_write_known(table, "base_name", t->base_name);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "base_digest", t->base);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "tokenizer_digest", t->tokenizer);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "recipe_digest", t->recipe);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "origin", t->origin);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "note", t->note);
  return rc == QTK_OK && t->forced ? qtk_toml_set_bool(table, "forced", 1) : rc;
}

int qtk_bundle_adapter_write(const struct qtk_tuned *t, struct qtk_toml *table)
{
  int rc = qtk_toml_set_text(table, "name", t->name);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "plugin", t->plugin->plugin.name);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "options", t->text);
  if (rc == QTK_OK)
    rc = adapter_write_known(table, "targets", t->targets);
  if (rc == QTK_OK)
    rc = adapter_write_binding(t, table);
  struct qtk_toml *list = rc == QTK_OK ? qtk_toml_set_array(table, "parameters") : NULL;
  if (rc == QTK_OK && !list)
    rc = QTK_ENOMEM;
  for (int i = 0; i < t->n_params && rc == QTK_OK; i++)
    rc = adapter_write_param(&t->params[i], list);
  return rc;
}

/* ---- reading ------------------------------------------------------------------------ */

static int adapter_is(const struct qtk_toml *list, size_t i, enum qtk_toml_kind kind)
{
  return i < qtk_toml_length(list) && qtk_toml_kind(qtk_toml_item(list, i)) == kind;
}

static int adapter_read_shape(const struct qtk_toml *item, struct qtk_stored *p, int64_t *rows)
{
  uint64_t product = 1;
  p->ndim = (int)qtk_toml_length(item) - 2;
  for (int i = 0; i < p->ndim; i++) {
    const struct qtk_toml *node = qtk_toml_item(item, (size_t)i + 2);
    if (qtk_toml_kind(node) != QTK_TOML_INT || qtk_toml_int(node) < 1)
      return qtk_toml_error(item, "parameter \"%s\": dimension %d is no integer above 0", p->name,
                            i);
    p->shape[i] = qtk_toml_int(node);
    if (i + 1 < p->ndim && !qtk_size_multiply(product, (uint64_t)p->shape[i], &product))
      return qtk_toml_error(item, "parameter \"%s\": the dimensions are too large", p->name);
  }
  *rows = (int64_t)product;
  return QTK_OK;
}

static int adapter_read_layout(const struct qtk_toml *item, struct qtk_stored *p)
{
  const char *type = qtk_toml_text(qtk_toml_item(item, 1));
  int dtype = qtk_dtype_find(type);
  int64_t rows = 0;
  if (dtype != QTK_F16 && dtype != QTK_F32)
    return qtk_toml_error(item, "parameter \"%s\" is \"%s\": allowed are f16 and f32", p->name,
                          type);
  int rc = adapter_read_shape(item, p, &rows);
  if (rc != QTK_OK)
    return rc;
  p->view.layout = (struct qtk_qlayout){.encoding = QTK_DENSE, .dtype = (enum qtk_dtype)dtype,
                                        .rows = rows, .cols = p->shape[p->ndim - 1]};
  rc = qtk_qlayout_init(&p->view.layout);
  if (rc == QTK_OK)
    rc = qtk_stored_check(p);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "parameter \"%s\"", p->name);
}

static int adapter_read_param(struct qtk_bundle_adapter *a, int i, const struct qtk_toml *item)
{
  struct qtk_stored *p = &a->params[i];
  if (qtk_toml_kind(item) != QTK_TOML_ARRAY || !adapter_is(item, 0, QTK_TOML_TEXT) ||
      !adapter_is(item, 1, QTK_TOML_TEXT) || qtk_toml_length(item) < 3 ||
      qtk_toml_length(item) > 2 + QTK_MAX_DIMS)
    return qtk_toml_error(item, "parameter %d is not [name, type, 1 to %d dimensions]", i,
                          QTK_MAX_DIMS);
  p->name = qtk_toml_text(qtk_toml_item(item, 0));
  if (!*p->name || strlen(p->name) >= ADAPTER_NAME)
    return qtk_toml_error(item, "the name of parameter %d has %zu bytes: allowed are 1 .. %zu", i,
                          strlen(p->name), ADAPTER_NAME - 1);
  int order = i == 0 ? -1 : strcmp(a->params[i - 1].name, p->name);
  if (order >= 0)
    return qtk_toml_error(item, "parameter \"%s\" is %s", p->name,
                          order == 0 ? "listed twice" : "not in its place by name");
  return adapter_read_layout(item, p);
}

static int adapter_read_params(struct qtk_bundle_adapter *a, const struct qtk_toml *table)
{
  const struct qtk_toml *list;
  int rc = qtk_toml_need(table, "parameters", QTK_TOML_ARRAY, &list);
  size_t n = rc == QTK_OK ? qtk_toml_length(list) : 0;
  a->params = rc == QTK_OK ? calloc(n + 1, sizeof *a->params) : NULL;
  if (rc == QTK_OK && !a->params)
    return qtk_error_memory(n * sizeof *a->params, "the parameters of an adapter");
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    rc = adapter_read_param(a, (int)i, qtk_toml_item(list, i));
    if (rc == QTK_OK &&
        __builtin_add_overflow(a->bytes, a->params[i].view.layout.code_bytes, &a->bytes))
      rc = qtk_toml_error(list, "the parameters are too large");
    a->n_params = (int)i + 1;
  }
  return rc;
}

static int adapter_read_digest(const struct qtk_toml *table, const char *key, const char **hex)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  *hex = "";
  int rc = qtk_toml_get_text(table, key, hex);
  return rc == QTK_OK && **hex ? qtk_digest_from_hex(*hex, digest) : rc;
}

static int adapter_read_binding(struct qtk_bundle_adapter *a, const struct qtk_toml *table)
{
  int rc = qtk_toml_get_text(table, "base_name", &a->base_name);
  if (rc == QTK_OK)
    rc = adapter_read_digest(table, "base_digest", &a->base);
  if (rc == QTK_OK)
    rc = adapter_read_digest(table, "tokenizer_digest", &a->tokenizer);
  if (rc == QTK_OK)
    rc = adapter_read_digest(table, "recipe_digest", &a->recipe);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "origin", &a->origin);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "note", &a->note);
  if (rc == QTK_OK && a->note && !a->origin)
    rc = qtk_toml_error(table, "\"note\" without \"origin\": nobody can read it");
  return rc == QTK_OK ? qtk_toml_get_bool(table, "forced", &a->forced) : rc;
}

static int adapter_read_head(struct qtk_bundle_adapter *a, const struct qtk_toml *table)
{
  static const char *const keys[] = {"name", "plugin", "options", "targets", "base_name",
                                     "base_digest", "tokenizer_digest", "recipe_digest",
                                     "origin", "note", "forced", "parameters", NULL};
  const struct qtk_toml *name, *plugin;
  int rc = qtk_toml_only(table, keys);
  if (rc == QTK_OK)
    rc = qtk_toml_need(table, "name", QTK_TOML_TEXT, &name);
  if (rc == QTK_OK)
    rc = qtk_toml_need(table, "plugin", QTK_TOML_TEXT, &plugin);
  a->options = "";
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "options", &a->options);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "targets", &a->targets);
  if (rc != QTK_OK)
    return rc;
  a->name = qtk_toml_text(name);
  a->plugin = qtk_toml_text(plugin);
  return adapter_read_binding(a, table);
}

/* That the parameters' member is listed, with the size that they take. */
static int adapter_read_member(struct qtk_bundle *b, size_t i)
{
  const struct qtk_bundle_adapter *a = &b->adapters[i];
  char name[QTK_TAR_NAME];
  uint64_t bytes = qtk_bundle_adapter_bytes(a->params, a->n_params);
  const struct qtk_bundle_member *m = qtk_bundle_find(b, qtk_bundle_adapter_member(i, name));
  if (!m)
    return qtk_error(QTK_EINPUT, "adapter \"%s\" has no member \"%s\"", a->name, name);
  if (m->bytes != bytes)
    return qtk_error(QTK_EINPUT, "member \"%s\" has %llu bytes, its parameters need %llu", name,
                     (unsigned long long)m->bytes, (unsigned long long)bytes);
  b->used[m - b->members] = 1;
  return QTK_OK;
}

static int adapter_read(struct qtk_bundle *b, size_t i, const struct qtk_toml *table)
{
  int rc = adapter_read_head(&b->adapters[i], table);
  if (rc == QTK_OK)
    rc = adapter_read_params(&b->adapters[i], table);
  return rc == QTK_OK ? adapter_read_member(b, i) : rc;
}

static int adapter_count(const struct qtk_bundle *b, const struct qtk_toml *array)
{
  size_t n = qtk_toml_length(array);
  if (strcmp(b->kind, "adapter") == 0 && n != 1)
    return qtk_error(QTK_EINPUT, "a bundle with an adapter has %zu of them: 1 is wanted", n);
  if (n > ADAPTER_MOST)
    return qtk_toml_error(array, "%zu adapters: at most %d are allowed", n, ADAPTER_MOST);
  return QTK_OK;
}

int qtk_bundle_adapters_read(struct qtk_bundle *b)
{
  const struct qtk_toml *array = NULL;
  int rc = qtk_toml_get_array(b->manifest, "adapter", &array);
  size_t n = qtk_toml_length(array);
  if (rc != QTK_OK || (rc = adapter_count(b, array)) != QTK_OK)
    return rc;
  b->adapters = calloc(n + 1, sizeof *b->adapters);
  if (!b->adapters)
    return qtk_error_memory(n * sizeof *b->adapters, "the adapters of a bundle");
  b->n_adapters = n;
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = adapter_read(b, i, qtk_toml_item(array, i));
  for (size_t i = 0; i < b->n_members && rc == QTK_OK; i++)
    if (!b->used[i] &&
        strncmp(b->members[i].name, QTK_BUNDLE_ADAPTERS, strlen(QTK_BUNDLE_ADAPTERS)) == 0)
      rc = qtk_error(QTK_EINPUT, "member \"%s\" belongs to no adapter", b->members[i].name);
  return rc;
}

void qtk_bundle_adapters_place(struct qtk_bundle *b)
{
  for (size_t i = 0; i < b->n_adapters; i++) {
    struct qtk_bundle_adapter *a = &b->adapters[i];
    char name[QTK_TAR_NAME];
    const uint8_t *data = qtk_bundle_find(b, qtk_bundle_adapter_member(i, name))->data;
    uint64_t at = 0;
    for (int k = 0; k < a->n_params; k++) {
      at = qtk_bundle_adapter_place(at);
      /* In a read-only map; nothing writes through it. */
      a->params[k].view.codes = (void *)(uintptr_t)(data + at);
      at += a->params[k].view.layout.code_bytes;
    }
  }
}

void qtk_bundle_adapters_free(struct qtk_bundle *b)
{
  for (size_t i = 0; b->adapters && i < b->n_adapters; i++)
    free(b->adapters[i].params);
  free(b->adapters);
}

int qtk_bundle_adapter_count(const struct qtk_bundle *b)
{
  return (int)b->n_adapters;
}

const struct qtk_bundle_adapter *qtk_bundle_adapter(const struct qtk_bundle *b, int i)
{
  return &b->adapters[i];
}

/* ---- for use ----------------------------------------------------------------------------- */

#define ADAPTER_FLOATS 4096

/* One that is no number would make all of what it meets none. */
static int adapter_check_values(void *arg, size_t i)
{
  const struct qtk_stored *p = &((const struct qtk_bundle_adapter *)arg)->params[i];
  const struct qtk_qlayout *l = &p->view.layout;
  uint64_t size = qtk_dtype_size(l->dtype), n = l->code_bytes / size;
  float values[ADAPTER_FLOATS];
  for (uint64_t at = 0; at < n; at += ADAPTER_FLOATS) {
    size_t some = n - at < ADAPTER_FLOATS ? (size_t)(n - at) : ADAPTER_FLOATS;
    int rc = qtk_convert(QTK_F32, values, l->dtype, (const uint8_t *)p->view.codes + at * size,
                         some);
    for (size_t k = 0; k < some && rc == QTK_OK; k++)
      if (!isfinite(values[k]))
        return qtk_error(QTK_EINPUT, "parameter \"%s\": value %llu is %g: numbers alone are allowed",
                         p->name, (unsigned long long)(at + k), (double)values[k]);
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

static int adapter_copy_params(const struct qtk_bundle_adapter *a, struct qtk_tuned *t)
{
  t->params = calloc((size_t)a->n_params + 1, sizeof *t->params);
  if (!t->params)
    return qtk_error_memory((size_t)a->n_params * sizeof *t->params, "the parameters of an adapter");
  for (int i = 0; i < a->n_params; i++) {
    t->params[i] = a->params[i];
    t->params[i].name = qtk_str_copy(a->params[i].name);
    t->n_params = i + 1;
    if (!t->params[i].name)
      return QTK_ENOMEM;
  }
  return QTK_OK;
}

/* The values are the bundle's, which is closed by who opened it. */
static void adapter_release(void *owner)
{
  (void)owner;
}

static int adapter_fill(const struct qtk_bundle *b, const struct qtk_bundle_adapter *a,
                        struct qtk_tuned *t)
{
  t->owner = (void *)(uintptr_t)b;
  t->release = adapter_release;
  t->forced = a->forced;
  snprintf(t->base, sizeof t->base, "%s", a->base);
  snprintf(t->tokenizer, sizeof t->tokenizer, "%s", a->tokenizer);
  snprintf(t->recipe, sizeof t->recipe, "%s", a->recipe);
  if (a->base_name && !(t->base_name = qtk_str_copy(a->base_name)))
    return QTK_ENOMEM;
  int rc = qtk_tuned_note(t, a->origin, a->note);
  return rc == QTK_OK ? adapter_copy_params(a, t) : rc;
}

/* The plugin reads its options as those of a job; here they are those of a file. */
static int adapter_make(struct qtk_context *ctx, const struct qtk_bundle_adapter *a,
                        struct qtk_tuned **t)
{
  const struct qtk_loaded *plugin;
  int rc = qtk_registry_get(QTK_ADAPTER, a->plugin, &plugin);
  if (rc == QTK_OK)
    rc = qtk_tuned_new(ctx, a->name, plugin, a->options, a->targets, t);
  return rc == QTK_EJOB ? QTK_EINPUT : rc;
}

int qtk_bundle_tuned(struct qtk_context *ctx, const struct qtk_bundle *b, int i,
                     struct qtk_tuned **tuned)
{
  struct qtk_bundle_adapter *a = &b->adapters[i];
  struct qtk_tuned *t = NULL;
  char name[QTK_TAR_NAME];
  /* All of it is read here anyway, and a damaged value would show in nothing but odd answers. */
  int rc = qtk_bundle_check_member(qtk_bundle_find(b, qtk_bundle_adapter_member((size_t)i, name)));
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, (size_t)a->n_params, adapter_check_values, a);
  if (rc == QTK_OK)
    rc = adapter_make(ctx, a, &t);
  if (rc == QTK_OK)
    rc = adapter_fill(b, a, t);
  if (rc == QTK_OK) {
    *tuned = t;
    return rc;
  }
  qtk_tuned_free(t);
  return qtk_error_at(rc, "%s: adapter \"%s\"", b->map.path, a->name);
}
