/* SPDX-License-Identifier: BSD-3-Clause
 * Tensors as they are held: in the map, in memory of the arena, or row by row. */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/model-inner.h"

#define HOLD_ROWS 64   /* copied at once by one thread */
#define HOLD_DROP 256  /* chunks until the file's pages are given back: with the copy, a large
                          tensor would else stand in memory twice */

/* ---- copies ------------------------------------------------------------------------- */

/* A copy of the file's tensor into `to`, cut by rows. */
struct hold_copy {
  struct qtk_context *ctx;
  struct model_tensor *t;
  struct qtk_qtensor to;
  const char *data; /* dense: the map */
};

/* Row `row` of integer zeros begins with a byte; past the last, its end does. */
static int hold_at_byte(const struct qtk_qlayout *l, int64_t row)
{
  return row == l->rows || l->zero != QTK_ZERO_INT || row * l->groups % 8 == 0 || l->zero_bits % 8 == 0;
}

/* A view of n rows from `row` on, where hold_at_byte. The index, which all rows share, comes
 * with the first. */
static struct qtk_qtensor hold_rows_of(const struct qtk_qtensor *to, int64_t row, int64_t n)
{
  struct qtk_qtensor view = *to;
  size_t k = (size_t)(row * to->layout.groups), size = qtk_dtype_size(to->layout.scale_dtype);

  view.layout.rows = n;
  qtk_qlayout_init(&view.layout);
  view.codes = (char *)to->codes + (size_t)row * to->layout.row_bytes;
  view.scales = (char *)to->scales + k * size;
  if (to->layout.zero == QTK_ZERO_INT)
    view.zeros = (char *)to->zeros + k * (size_t)to->layout.zero_bits / 8;
  else if (to->zeros != NULL)
    view.zeros = (char *)to->zeros + k * size;
  if (row > 0)
    view.g_idx = NULL;
  return view;
}

static int hold_read(const struct hold_copy *c, int64_t row, int64_t n, struct qtk_qtensor *out)
{
  const struct qtk_source *s = c->t->m->source;

  return s->ops->read_quantized(s->h, c->t->file, qtk_model_file_row(c->t, row), n, out);
}

/* Rows whose zeros begin or end within a byte go through memory of their own. */
static int hold_copy_odd(const struct hold_copy *c, int64_t row, int64_t n)
{
  struct qtk_qtensor to = c->to, from;
  size_t scales = (size_t)to.layout.groups * qtk_dtype_size(to.layout.scale_dtype);
  struct qtk_qlayout layout = to.layout;

  layout.rows = n;
  qtk_qlayout_init(&layout);
  void *block = qtk_alloc(c->ctx, qtk_qtensor_block_bytes(&layout), "scratch");
  if (block == NULL)
    return QTK_ENOMEM;
  from = qtk_qtensor_over(&layout, block);
  int rc = hold_read(c, row, n, &from);
  memcpy((char *)to.codes + (size_t)row * layout.row_bytes, from.codes, layout.code_bytes);
  memcpy((char *)to.scales + (size_t)row * scales, from.scales, layout.scale_bytes);
  for (int64_t k = 0; k < n * layout.groups; k++)
    qtk_set_zero(&to, row + k / layout.groups, k % layout.groups,
                 qtk_get_zero(&from, k / layout.groups, k % layout.groups));
  if (row == 0 && to.g_idx != NULL)
    memcpy(to.g_idx, from.g_idx, layout.index_bytes);
  qtk_free(c->ctx, block);
  return rc;
}

static int hold_copy_packed(void *arg, size_t chunk)
{
  const struct hold_copy *c = arg;
  int64_t row = (int64_t)chunk * HOLD_ROWS, end = row + HOLD_ROWS;
  int rc = QTK_OK;

  if (end > c->t->t.rows)
    end = c->t->t.rows;
  while (rc == QTK_OK && row < end) {
    int64_t run = qtk_model_run(c->t, row, end - row);
    if (hold_at_byte(&c->to.layout, row) && hold_at_byte(&c->to.layout, row + run)) {
      struct qtk_qtensor part = hold_rows_of(&c->to, row, run);
      rc = hold_read(c, row, run, &part);
    } else {
      rc = hold_copy_odd(c, row, run);
    }
    row += run;
  }
  if (chunk % HOLD_DROP == HOLD_DROP - 1)
    qtk_model_drop(c->t->m, c->t->index);
  return rc;
}

/* Rows of the file to rows of ours, or its columns. */
static int hold_copy_dense(void *arg, size_t chunk)
{
  const struct hold_copy *c = arg;
  const struct model_tensor *t = c->t;
  size_t size = qtk_dtype_size(t->t.layout.dtype), row_bytes = t->t.layout.row_bytes;
  int64_t row = (int64_t)chunk * HOLD_ROWS, end = row + HOLD_ROWS;

  if (end > t->t.rows)
    end = t->t.rows;
  for (int64_t r = row; !t->transpose && r < end; r++)
    memcpy((char *)c->to.codes + (size_t)r * row_bytes,
           c->data + (size_t)qtk_model_file_row(t, r) * row_bytes, row_bytes);
  for (int64_t j = 0; t->transpose && j < t->t.cols; j++) {
    const char *from = c->data + (size_t)(j * t->within) * size;
    for (int64_t r = row; r < end; r++)
      memcpy((char *)c->to.codes + (size_t)r * row_bytes + (size_t)j * size,
             from + (size_t)qtk_model_file_row(t, r) * size, size);
  }
  return QTK_OK;
}

static int hold_copy(struct qtk_context *ctx, struct model_tensor *t, const char *data)
{
  const struct qtk_source *s = t->m->source;
  struct hold_copy copy = {.ctx = ctx, .t = t, .data = data};
  size_t chunks = (size_t)((t->t.rows + HOLD_ROWS - 1) / HOLD_ROWS);
  int rc;

  t->block = qtk_alloc(ctx, qtk_qtensor_block_bytes(&t->t.layout), t->m->what);
  if (t->block == NULL)
    return QTK_ENOMEM;
  copy.to = qtk_qtensor_over(&t->t.layout, t->block);
  if (data != NULL)
    rc = qtk_parallel(ctx, chunks, hold_copy_dense, &copy);
  else if (qtk_model_sliceable(&t->t.layout))
    rc = qtk_parallel(ctx, chunks, hold_copy_packed, &copy);
  else
    rc = s->ops->read_quantized(s->h, t->file, 0, t->t.rows, &copy.to);
  qtk_model_drop(t->m, t->index);
  t->held = copy.to;
  return rc;
}

/* ---- in the map ----------------------------------------------------------------------- */

static int hold_charge(struct qtk_context *ctx, struct model_tensor *t)
{
  uint64_t bytes = qtk_qlayout_bytes(&t->t.layout);
  int rc = qtk_arena_charge(&ctx->arena, bytes, t->m->what);

  if (rc == QTK_OK)
    t->charged = bytes;
  return rc;
}

static int hold_dense(struct qtk_context *ctx, struct model_tensor *t)
{
  const struct qtk_source *s = t->m->source;
  const void *data;
  uint64_t bytes;
  int rc = s->ops->map(s->h, t->file, &data, &bytes);

  if (rc != QTK_OK)
    return rc;
  const char *first = (const char *)data + (size_t)t->start * t->t.layout.row_bytes;
  if (!qtk_model_in_order(t) || (uintptr_t)first % qtk_dtype_size(t->t.layout.dtype) != 0)
    return hold_copy(ctx, t, data);
  t->held = (struct qtk_qtensor){.layout = t->t.layout, .codes = (void *)(uintptr_t)first};
  return hold_charge(ctx, t);
}

int qtk_model_maps_quantized(const struct model_tensor *t)
{
  return t->m->source->ops->map_quantized != NULL && qtk_model_in_order(t) && qtk_model_whole(t);
}

static int hold_quantized(struct qtk_context *ctx, struct model_tensor *t)
{
  const struct qtk_source *s = t->m->source;
  int rc;

  if (qtk_model_maps_quantized(t)) {
    rc = s->ops->map_quantized(s->h, t->file, &t->held);
    rc = rc == QTK_OK ? hold_charge(ctx, t) : rc;
  } else {
    rc = hold_copy(ctx, t, NULL);
  }
  qtk_model_put_scales(t, &t->held);
  return rc;
}

/* ---- row by row ----------------------------------------------------------------------- */

static int hold_dequantize(const struct qtk_qtensor *q, int64_t row, int64_t n, float *out,
                           int64_t stride)
{
  return qtk_model_read_file(q->owner, row, n, out, stride);
}

static int hold_make(struct qtk_context *ctx, struct model_tensor *t)
{
  if (t->replaced) {
    t->held = t->view;
    return t->mapped ? hold_charge(ctx, t) : QTK_OK;
  }
  if (t->file < 0)
    return qtk_error(QTK_EINPUT, "%s: %s: the model has no weights", t->m->source->path,
                     t->t.name);
  if (t->quantized)
    return hold_quantized(ctx, t);
  if (t->t.layout.encoding == QTK_DENSE)
    return hold_dense(ctx, t);
  t->held = (struct qtk_qtensor){.layout = t->t.layout,
                                 .dequantize = hold_dequantize,
                                 .owner = t,
                                 .plugin = t->m->source->format->plugin.name};
  return hold_charge(ctx, t);
}

static void hold_end(struct qtk_context *ctx, struct model_tensor *t)
{
  qtk_free(ctx, t->block);
  t->block = NULL;
  if (t->charged > 0)
    qtk_arena_release(&ctx->arena, t->charged, t->m->what);
  t->charged = 0;
  t->held = (struct qtk_qtensor){0};
}

int qtk_model_hold(struct qtk_context *ctx, struct qtk_model *m, int i, struct qtk_qtensor *view)
{
  struct model_tensor *t = &m->tensors[i];
  int rc = QTK_OK;

  pthread_mutex_lock(&t->lock);
  if (t->holds == 0)
    rc = hold_make(ctx, t);
  if (rc == QTK_OK) {
    t->holds++;
    *view = t->held;
  } else {
    hold_end(ctx, t);
  }
  pthread_mutex_unlock(&t->lock);
  return rc == QTK_OK ? rc : qtk_model_at(t, rc);
}

void qtk_model_release(struct qtk_context *ctx, struct qtk_model *m, int i)
{
  struct model_tensor *t = &m->tensors[i];

  pthread_mutex_lock(&t->lock);
  if (t->holds > 0 && --t->holds == 0)
    hold_end(ctx, t);
  pthread_mutex_unlock(&t->lock);
}

void qtk_model_drop(struct qtk_model *m, int i)
{
  const struct model_tensor *t = &m->tensors[i];

  if (!t->replaced && t->file >= 0 && m->source->ops->drop != NULL)
    m->source->ops->drop(m->source->h, t->file);
}

int qtk_model_replace(struct qtk_model *m, int i, const struct qtk_qtensor *view,
                      const char *plugin, const char *options)
{
  struct model_tensor *t = &m->tensors[i];
  char *plugin_copy = plugin != NULL ? strdup(plugin) : NULL;
  char *options_copy = options != NULL ? strdup(options) : NULL;

  if (view->layout.rows != t->t.rows || view->layout.cols != t->t.cols || t->holds > 0 ||
      (plugin != NULL && plugin_copy == NULL) || (options != NULL && options_copy == NULL)) {
    free(plugin_copy);
    free(options_copy);
    return qtk_error(QTK_EINTERNAL, "%s [%lld, %lld] cannot be replaced by [%lld, %lld]",
                     t->t.name, (long long)t->t.rows, (long long)t->t.cols,
                     (long long)view->layout.rows, (long long)view->layout.cols);
  }
  free(t->plugin);
  free(t->options);
  t->plugin = plugin_copy;
  t->options = options_copy;
  t->replaced = 1;
  t->mapped = 0;
  m->digest[0] = '\0';
  t->scales = t->minima = NULL;
  t->view = *view;
  t->t.layout = view->layout;
  return QTK_OK;
}

void qtk_model_mapped(struct qtk_model *m, int i)
{
  m->tensors[i].mapped = 1;
}

const char *qtk_model_maker(const struct qtk_model *m, int i, const char **options)
{
  if (options != NULL)
    *options = m->tensors[i].options;
  return m->tensors[i].plugin;
}
