/* SPDX-License-Identifier: BSD-3-Clause
 * The tensors of a model in its file: where each one is, and how it can be held. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/model-inner.h"

int qtk_model_sliceable(const struct qtk_qlayout *layout)
{
  return layout->encoding == QTK_DENSE || layout->encoding == QTK_AFFINE;
}

int qtk_model_in_order(const struct model_tensor *t)
{
  return t->rows == QTK_ROWS_SAME && !t->transpose;
}

int qtk_model_whole(const struct model_tensor *t)
{
  return t->start == 0 && t->within == t->t.rows;
}

/* ---- one tensor ----------------------------------------------------------------------- */

static int open_shape(const struct model_tensor *t)
{
  const struct qtk_source *s = t->m->source;
  int64_t rows = qtk_source_rows_of(s, t->file), cols = qtk_source_cols_of(s, t->file);
  int64_t want_rows = t->transpose ? t->t.cols : t->within;
  int64_t want_cols = t->transpose ? t->within : t->t.cols;

  if (t->t.ndim == 1) {
    if (rows * cols == t->within && (rows == 1 || cols == 1))
      return QTK_OK;
    return qtk_error(QTK_EINPUT, "%s: tensor %s is [%lld, %lld], but %s wants [%lld]", s->path,
                     s->tensors[t->file].name, (long long)rows, (long long)cols,
                     qtk_arch_file(t->m->arch), (long long)t->within);
  }
  if (rows == want_rows && cols == want_cols)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "%s: tensor %s is [%lld, %lld], but %s wants [%lld, %lld]", s->path,
                   s->tensors[t->file].name, (long long)rows, (long long)cols,
                   qtk_arch_file(t->m->arch), (long long)want_rows, (long long)want_cols);
}

/* The format's own quantized layout, for our rows; 0 if it has none that serves. */
static int open_quantized(struct model_tensor *t)
{
  const struct qtk_source *s = t->m->source;
  struct qtk_qlayout *layout = &t->t.layout;

  if (t->t.ndim == 1 || s->ops->quantized == NULL || !s->ops->quantized(s->h, t->file, layout))
    return 0;
  if (qtk_model_in_order(t) && qtk_model_whole(t))
    return 1;
  if (!qtk_model_sliceable(layout) || s->ops->read_quantized == NULL)
    return 0;
  layout->rows = t->t.rows;
  return qtk_qlayout_init(layout) == QTK_OK;
}

static int open_layout(struct model_tensor *t)
{
  const struct qtk_tensor_info *info = &t->m->source->tensors[t->file];

  t->quantized = open_quantized(t);
  if (t->quantized)
    return QTK_OK;
  t->t.layout = (struct qtk_qlayout){.rows = t->t.rows, .cols = t->t.cols};
  t->t.layout.encoding = info->dense ? QTK_DENSE : QTK_OPAQUE;
  t->t.layout.dtype = info->dtype;
  t->t.layout.opaque_bytes =
      info->dense ? 0 : (size_t)(info->bytes / (uint64_t)t->within * (uint64_t)t->t.rows);
  return qtk_qlayout_init(&t->t.layout);
}

/* A model without weights is planned as if it were stored in halves. */
static int open_absent(struct model_tensor *t)
{
  t->file = -1;
  t->t.source_type = "none";
  t->t.layout = (struct qtk_qlayout){
      .encoding = QTK_DENSE, .dtype = QTK_F16, .rows = t->t.rows, .cols = t->t.cols};
  return qtk_qlayout_init(&t->t.layout);
}

/* Such a tensor is [out, in], however the files of the format turn others. */
static int open_is_quantized(const struct model_tensor *t)
{
  const struct qtk_source *s = t->m->source;
  struct qtk_qlayout layout;

  return s->ops->quantized != NULL && s->ops->quantized(s->h, t->file, &layout);
}

static int open_find(struct model_tensor *t, const struct qtk_arch_place *place)
{
  const struct qtk_source *s = t->m->source;

  t->file = -1;
  for (size_t i = 0; t->file < 0 && place->names[i] != NULL; i++)
    t->file = qtk_source_find(s, place->names[i]);
  if (t->file < 0)
    return qtk_error(QTK_EINPUT, "%s: tensor %s is missing (%s of %s)", s->path, place->names[0],
                     t->t.role, qtk_arch_file(t->m->arch));
  t->rows = place->rows;
  t->transpose = place->transpose && t->t.ndim == 2 && !open_is_quantized(t);
  t->start = place->start;
  t->within = place->within;
  if (t->within < t->t.rows || t->start > t->within - t->t.rows)
    return qtk_error(QTK_EJOB, "%s: %s: rows %lld .. %lld do not lie within %lld",
                     qtk_arch_file(t->m->arch), t->t.name, (long long)t->start,
                     (long long)(t->start + t->t.rows), (long long)t->within);
  t->t.source_type = s->tensors[t->file].type;
  return QTK_OK;
}

int qtk_model_locate(struct model_tensor *t)
{
  struct qtk_arch_place place;
  int rc = qtk_arch_locate(t->m->arch, t->m->source->ops->schema, t->index, &place);

  if (rc != QTK_OK)
    return rc;
  rc = open_find(t, &place);
  free(place.names);
  return rc == QTK_OK ? open_shape(t) : rc;
}

static int open_tensor(struct model_tensor *t)
{
  if (t->m->source->n == 0)
    return open_absent(t);
  int rc = qtk_model_locate(t);
  return rc == QTK_OK ? open_layout(t) : rc;
}

/* ---- all of them ------------------------------------------------------------------------ */

/* The role as plugins see it: "up", and "up.bias" for its bias. */
static const char *open_role(const struct qtk_arch_tensor *a)
{
  static const char *const biases[QTK_ROLE_WEIGHTS] = {
      [QTK_ROLE_Q] = "q.bias",         [QTK_ROLE_K] = "k.bias",
      [QTK_ROLE_V] = "v.bias",         [QTK_ROLE_QKV] = "qkv.bias",
      [QTK_ROLE_O] = "o.bias",         [QTK_ROLE_GATE] = "gate.bias",
      [QTK_ROLE_UP] = "up.bias",       [QTK_ROLE_GATE_UP] = "gate_up.bias",
      [QTK_ROLE_DOWN] = "down.bias",   [QTK_ROLE_NORM1] = "norm1.bias",
      [QTK_ROLE_NORM2] = "norm2.bias", [QTK_ROLE_FINAL_NORM] = "final_norm.bias",
      [QTK_ROLE_HEAD] = "head.bias",
  };

  return a->bias ? biases[a->role] : qtk_role_name(a->role);
}

void qtk_model_describe(struct qtk_model *m, int i, struct model_tensor *t)
{
  const struct qtk_arch_tensor *a = qtk_arch_tensor(m->arch, i);

  t->m = m;
  t->index = i;
  t->t.name = a->name;
  t->t.role = open_role(a);
  t->t.layer = a->layer;
  t->t.linear = a->order >= 0;
  t->t.order = a->order >= 0 ? a->order : 0;
  t->t.rows = a->rows;
  t->t.cols = a->cols;
  t->t.ndim = a->ndim;
}

static int open_describe(struct qtk_model *m, int i)
{
  const struct qtk_arch_tensor *a = qtk_arch_tensor(m->arch, i);
  int64_t size;

  qtk_model_describe(m, i, &m->tensors[i]);
  if (__builtin_mul_overflow(a->rows, a->cols, &size) ||
      __builtin_add_overflow(m->parameters, size, &m->parameters))
    return qtk_error(QTK_EINPUT, "%s: %s: the model is too large", m->source->path, a->name);
  return QTK_OK;
}

static int open_compare(const void *a, const void *b, void *arg)
{
  const struct qtk_model *m = arg;

  return strcmp(m->tensors[*(const int *)a].t.name, m->tensors[*(const int *)b].t.name);
}

static int open_sort(struct qtk_model *m)
{
  m->by_name = calloc((size_t)m->n, sizeof *m->by_name);
  if (m->by_name == NULL)
    return qtk_error_memory((size_t)m->n * sizeof *m->by_name, "names of tensors");
  for (int i = 0; i < m->n; i++)
    m->by_name[i] = i;
  qsort_r(m->by_name, (size_t)m->n, sizeof *m->by_name, open_compare, m);
  for (int i = 1; i < m->n; i++)
    if (open_compare(&m->by_name[i - 1], &m->by_name[i], m) == 0)
      return qtk_error(QTK_EJOB, "%s: two tensors have the name %s", qtk_arch_file(m->arch),
                       m->tensors[m->by_name[i]].t.name);
  return QTK_OK;
}

/* What the description does not ask for may change what the model computes. */
static int open_leftovers(const struct qtk_model *m)
{
  const struct qtk_source *s = m->source;
  char *used = calloc((size_t)s->n + 1, 1);
  int left = 0, first = -1;

  if (used == NULL)
    return qtk_error_memory((size_t)s->n, "names of tensors");
  for (int i = 0; i < m->n; i++)
    if (m->tensors[i].file >= 0)
      used[m->tensors[i].file] = 1;
  for (int i = s->n - 1; i >= 0; i--)
    if (!used[i] && !qtk_arch_ignores(m->arch, s->ops->schema, s->tensors[i].name)) {
      first = i;
      left++;
    }
  if (left > 0)
    qtk_warn("%s: %d tensor%s not used (%s%s): %s does not know %s", s->path, left,
             left > 1 ? "s are" : " is", s->tensors[first].name, left > 1 ? ", ..." : "",
             qtk_arch_file(m->arch), left > 1 ? "them" : "it");
  free(used);
  return QTK_OK;
}

int qtk_model_find_tensors(struct qtk_model *m)
{
  int rc = QTK_OK;

  m->n = qtk_arch_tensors(m->arch);
  m->tensors = calloc((size_t)m->n, sizeof *m->tensors);
  if (m->tensors == NULL) {
    m->n = 0;
    return qtk_error_memory(sizeof *m->tensors, "tensors");
  }
  for (int i = 0; i < m->n; i++)
    pthread_mutex_init(&m->tensors[i].lock, NULL);
  for (int i = 0; rc == QTK_OK && i < m->n; i++) {
    rc = open_describe(m, i);
    if (rc == QTK_OK)
      rc = open_tensor(&m->tensors[i]);
  }
  if (rc == QTK_OK)
    rc = open_sort(m);
  return rc == QTK_OK ? open_leftovers(m) : rc;
}
