/* SPDX-License-Identifier: BSD-3-Clause
 * Parts of held tensors: sizes, places, TOML. */
#include "core/part.h"

#include <limits.h>
#include <string.h>

#include "core/pack.h"
#include "core/tensor.h"

static const char *const part_names[QTK_PARTS] = {"codes", "scales", "zeros", "g_idx", "table"};
static const char *const part_encodings[] = {"dense", "affine", "codebook", "opaque", NULL};
static const char *const part_zeros[] = {"mid", "int", "min", NULL};

const char *qtk_part_name(enum qtk_part part)
{
  return part_names[part];
}

uint64_t qtk_part_bytes(const struct qtk_qlayout *layout, enum qtk_part part)
{
  switch (part) {
  case QTK_PART_CODES:
    return layout->code_bytes;
  case QTK_PART_SCALES:
    return layout->scale_bytes;
  case QTK_PART_ZEROS:
    return layout->zero_bytes;
  case QTK_PART_INDEX:
    return layout->index_bytes;
  case QTK_PART_TABLE:
    return layout->table_bytes;
  }
  return 0;
}

const void *qtk_part_data(const struct qtk_qtensor *view, enum qtk_part part)
{
  const void *const data[QTK_PARTS] = {view->codes, view->scales, view->zeros, view->g_idx,
                                       view->table};
  return data[part];
}

int qtk_part_view(const struct qtk_qlayout *layout, const void *const places[QTK_PARTS],
                  struct qtk_qtensor *view)
{
  for (int part = 0; part < QTK_PARTS; part++)
    if (qtk_part_bytes(layout, part) > 0 && !places[part])
      return qtk_error(QTK_EINPUT, "the %s are missing", qtk_part_name(part));
  /* Parts lie in read-only maps; who gets a view as const does not write through it. */
  *view = (struct qtk_qtensor){.layout = *layout,
                               .codes = (void *)places[QTK_PART_CODES],
                               .scales = (void *)places[QTK_PART_SCALES],
                               .zeros = (void *)places[QTK_PART_ZEROS],
                               .g_idx = (int32_t *)places[QTK_PART_INDEX],
                               .table = (float *)places[QTK_PART_TABLE]};
  qtk_qtensor_unseal(view);
  return qtk_qtensor_check(view);
}

/* ---- layouts ------------------------------------------------------------------- */

static int part_find(const char *word, const char *const *words)
{
  for (int i = 0; words[i]; i++)
    if (strcmp(word, words[i]) == 0)
      return i;
  return -1;
}

/* What the readers of TOML call a mistake in a job is here one of a file. */
static int part_input(int rc)
{
  return rc == QTK_EJOB ? QTK_EINPUT : rc;
}

/* The group as it is written: -1 whenever there is one a row. */
static int64_t part_group(const struct qtk_qlayout *layout)
{
  return layout->groups == 1 ? -1 : layout->group;
}

static int part_write_grouped(const struct qtk_qlayout *layout, struct qtk_toml *table)
{
  int rc = qtk_toml_set_int(table, "bits", layout->bits);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "group", part_group(layout));
  if (rc == QTK_OK && layout->encoding == QTK_AFFINE)
    rc = qtk_toml_set_text(table, "zero", part_zeros[layout->zero]);
  if (rc == QTK_OK && layout->encoding == QTK_AFFINE && layout->zero == QTK_ZERO_INT)
    rc = qtk_toml_set_int(table, "zero_bits", layout->zero_bits);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "scale", qtk_dtype_name(layout->scale_dtype));
  if (rc == QTK_OK && layout->has_g_idx)
    rc = qtk_toml_set_bool(table, "g_idx", 1);
  return rc;
}

int qtk_layout_write(const struct qtk_qlayout *layout, struct qtk_toml *table)
{
  int rc = qtk_toml_set_text(table, "encoding", part_encodings[layout->encoding]);
  if (rc != QTK_OK)
    return rc;
  switch (layout->encoding) {
  case QTK_DENSE:
    return qtk_toml_set_text(table, "dtype", qtk_dtype_name(layout->dtype));
  case QTK_OPAQUE:
    return qtk_toml_set_int(table, "bytes", (int64_t)layout->opaque_bytes);
  default:
    return part_write_grouped(layout, table);
  }
}

/* A word of `words` under `key`, which must be there. */
static int part_read_word(const struct qtk_toml *table, const char *key, const char *const *words,
                          int *found)
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(table, key, QTK_TOML_TEXT, &node);
  if (rc != QTK_OK)
    return rc;
  *found = part_find(qtk_toml_text(node), words);
  return *found >= 0 ? QTK_OK
                     : qtk_toml_error(node, "%s = \"%s\" is not known", key, qtk_toml_text(node));
}

static int part_read_dtype(const struct qtk_toml *table, const char *key, enum qtk_dtype *dtype)
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(table, key, QTK_TOML_TEXT, &node);
  if (rc != QTK_OK)
    return rc;
  int found = qtk_dtype_find(qtk_toml_text(node));
  if (found < 0)
    return qtk_toml_error(node, "%s = \"%s\" is not known", key, qtk_toml_text(node));
  *dtype = (enum qtk_dtype)found;
  return QTK_OK;
}

static int part_read_int(const struct qtk_toml *table, const char *key, int64_t maximum,
                         int64_t *value)
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(table, key, QTK_TOML_INT, &node);
  if (rc != QTK_OK)
    return rc;
  *value = qtk_toml_int(node);
  if (*value < -1 || *value > maximum)
    return qtk_toml_error(node, "%s = %lld is out of range", key, (long long)*value);
  return QTK_OK;
}

static int part_read_grouped(const struct qtk_toml *table, struct qtk_qlayout *layout)
{
  int64_t bits = 0, zero_bits = 0;
  int zero = 0;
  int rc = part_read_int(table, "bits", 64, &bits);
  if (rc == QTK_OK)
    rc = part_read_int(table, "group", INT64_MAX, &layout->group);
  if (rc == QTK_OK && layout->encoding == QTK_AFFINE)
    rc = part_read_word(table, "zero", part_zeros, &zero);
  layout->zero = (enum qtk_zero)zero;
  if (rc == QTK_OK && layout->encoding == QTK_AFFINE && layout->zero == QTK_ZERO_INT)
    rc = part_read_int(table, "zero_bits", 64, &zero_bits);
  if (rc == QTK_OK)
    rc = part_read_dtype(table, "scale", &layout->scale_dtype);
  if (rc == QTK_OK)
    rc = qtk_toml_get_bool(table, "g_idx", &layout->has_g_idx);
  layout->bits = (int)bits;
  layout->zero_bits = (int)zero_bits;
  return rc;
}

static int part_read_layout(const struct qtk_toml *table, struct qtk_qlayout *layout)
{
  int encoding = 0;
  int rc = part_read_word(table, "encoding", part_encodings, &encoding);
  if (rc != QTK_OK)
    return rc;
  layout->encoding = (enum qtk_encoding)encoding;
  int64_t bytes = 0;
  switch (layout->encoding) {
  case QTK_DENSE:
    return part_read_dtype(table, "dtype", &layout->dtype);
  case QTK_OPAQUE:
    rc = part_read_int(table, "bytes", INT64_MAX, &bytes);
    layout->opaque_bytes = bytes > 0 ? (size_t)bytes : 0;
    return rc;
  default:
    return part_read_grouped(table, layout);
  }
}

int qtk_layout_read(const struct qtk_toml *table, int64_t rows, int64_t cols,
                    struct qtk_qlayout *layout)
{
  *layout = (struct qtk_qlayout){.rows = rows, .cols = cols};
  int rc = part_read_layout(table, layout);
  if (rc == QTK_OK)
    rc = qtk_qlayout_init(layout);
  return part_input(rc);
}

/* ---- stored tensors -------------------------------------------------------------- */

int qtk_stored_check(const struct qtk_stored *t)
{
  const struct qtk_qlayout *l = &t->view.layout;
  uint64_t elements = 1, held = 0;
  if (t->ndim < 1 || t->ndim > QTK_MAX_DIMS)
    return qtk_error(QTK_EINPUT, "%s: %d dimensions, allowed are 1 .. %d", t->name, t->ndim,
                     QTK_MAX_DIMS);
  for (int i = 0; i < t->ndim; i++)
    if (t->shape[i] < 1 || !qtk_size_multiply(elements, (uint64_t)t->shape[i], &elements))
      return qtk_error(QTK_EINPUT, "%s: dimension %d of %lld is not allowed", t->name, i,
                       (long long)t->shape[i]);
  int fits = l->rows > 0 && l->cols > 0 &&
             qtk_size_multiply((uint64_t)l->rows, (uint64_t)l->cols, &held) && held == elements;
  if (t->ndim > 1)
    fits = fits && l->cols == t->shape[t->ndim - 1];
  else
    fits = fits && l->encoding == QTK_DENSE && (l->rows == 1 || l->cols == 1);
  return fits ? QTK_OK
              : qtk_error(QTK_EINPUT, "%s: %lld x %lld values do not fit its shape", t->name,
                          (long long)l->rows, (long long)l->cols);
}

int qtk_stored_write(const struct qtk_stored *t, struct qtk_toml *table)
{
  int rc = qtk_toml_set_text(table, "name", t->name);
  struct qtk_toml *shape = rc == QTK_OK ? qtk_toml_set_array(table, "shape") : NULL;
  if (!shape)
    return QTK_ENOMEM;
  for (int i = 0; i < t->ndim && rc == QTK_OK; i++)
    rc = qtk_toml_append(shape, qtk_toml_new_int(t->shape[i]));
  if (rc == QTK_OK)
    rc = qtk_layout_write(&t->view.layout, table);
  if (rc == QTK_OK && t->plugin)
    rc = qtk_toml_set_text(table, "plugin", t->plugin);
  if (rc == QTK_OK && t->options)
    rc = qtk_toml_set_text(table, "options", t->options);
  return rc;
}

/* The dimensions, each at least 1, and how many rows they make. */
static int part_read_shape(const struct qtk_toml *table, struct qtk_stored *t, int64_t *rows)
{
  const struct qtk_toml *shape;
  int rc = qtk_toml_need(table, "shape", QTK_TOML_ARRAY, &shape);
  if (rc != QTK_OK)
    return rc;
  size_t n = qtk_toml_length(shape);
  if (n < 1 || n > QTK_MAX_DIMS)
    return qtk_toml_error(shape, "%zu dimensions, allowed are 1 .. %d", n, QTK_MAX_DIMS);
  uint64_t product = 1;
  for (size_t i = 0; i < n; i++) {
    const struct qtk_toml *item = qtk_toml_item(shape, i);
    if (qtk_toml_kind(item) != QTK_TOML_INT || qtk_toml_int(item) < 1)
      return qtk_toml_error(shape, "dimension %zu must be an integer above 0", i);
    t->shape[i] = qtk_toml_int(item);
    if (i + 1 < n && !qtk_size_multiply(product, (uint64_t)t->shape[i], &product))
      return qtk_toml_error(shape, "the dimensions are too large");
  }
  t->ndim = (int)n;
  *rows = (int64_t)product;
  return QTK_OK;
}

int qtk_stored_read(const struct qtk_toml *table, struct qtk_stored *t)
{
  const struct qtk_toml *name;
  int64_t rows = 0;
  *t = (struct qtk_stored){0};
  int rc = qtk_toml_need(table, "name", QTK_TOML_TEXT, &name);
  if (rc == QTK_OK)
    rc = part_read_shape(table, t, &rows);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "plugin", &t->plugin);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "options", &t->options);
  if (rc != QTK_OK)
    return part_input(rc);
  t->name = qtk_toml_text(name);
  rc = qtk_layout_read(table, rows, t->shape[t->ndim - 1], &t->view.layout);
  return rc == QTK_OK ? qtk_stored_check(t) : qtk_error_at(rc, "%s", t->name);
}
