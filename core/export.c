/* SPDX-License-Identifier: BSD-3-Clause
 * Lays a model out for a format's files. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/export.h"
#include "core/tokenizer.h"

/* ---- names and shapes ---------------------------------------------------------------- */

static int export_find(const struct qtk_export_plan *e, const char *name)
{
  for (int i = 0; i < e->contents.n_tensors; i++)
    if (strcmp(e->tensors[i].name, name) == 0)
      return i;
  return -1;
}

/* A linear is [out, in], or turned; vectors have one side. */
static void export_describe(const struct qtk_model_tensor *t, const struct qtk_arch_place *place,
                            struct qtk_export_tensor *to)
{
  to->name = place->names[0];
  to->role = t->role;
  to->linear = t->linear;
  to->ndim = t->ndim;
  to->shape[0] = t->ndim == 2 && place->transpose ? t->cols : place->within;
  if (t->ndim == 2)
    to->shape[1] = place->transpose ? place->within : t->cols;
}

/* Several of ours may be parts of one in the files. */
static int export_locate(struct qtk_export_plan *e, int i)
{
  struct qtk_export_part *p = &e->parts[e->n_parts];
  int rc = qtk_arch_locate(qtk_model_arch(e->model), e->ops->schema, i, &p->place);
  if (rc != QTK_OK)
    return rc;
  e->n_parts++;
  p->tensor = i;
  p->to = export_find(e, p->place.names[0]);
  if (p->to >= 0)
    return QTK_OK;
  p->to = e->contents.n_tensors++;
  export_describe(qtk_model_tensor(e->model, i), &p->place, &e->tensors[p->to]);
  return QTK_OK;
}

static int export_compare(const void *a, const void *b)
{
  const struct qtk_export_part *p = a, *q = b;
  return p->to != q->to ? p->to - q->to : p->tensor - q->tensor;
}

static int export_locate_all(struct qtk_export_plan *e)
{
  int n = qtk_model_count(e->model), rc = QTK_OK;
  e->parts = calloc((size_t)n + 1, sizeof *e->parts);
  e->tensors = calloc((size_t)n + 1, sizeof *e->tensors);
  e->first = calloc((size_t)n + 1, sizeof *e->first);
  if (e->parts == NULL || e->tensors == NULL || e->first == NULL)
    return qtk_error_memory((size_t)n * sizeof *e->tensors, "an export");
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = export_locate(e, i);
  qsort(e->parts, (size_t)e->n_parts, sizeof *e->parts, export_compare);
  for (int p = 0; p < e->n_parts; p++)
    e->first[e->parts[p].to + 1] = p + 1;
  return rc;
}

int64_t qtk_export_row(const struct qtk_export_plan *plan, const struct qtk_export_part *part,
                       int64_t row)
{
  const struct qtk_arch *arch = qtk_model_arch(plan->model);
  return part->place.start + qtk_arch_file_row(arch, part->tensor, part->place.rows, row);
}

int qtk_export_is_straight(const struct qtk_export_plan *plan, int to)
{
  const struct qtk_export_part *p = &plan->parts[plan->first[to]];
  return plan->first[to + 1] == plan->first[to] + 1 && p->place.rows == QTK_ROWS_SAME &&
         p->place.within == qtk_model_tensor(plan->model, p->tensor)->rows;
}

/* ---- how tensors are held -------------------------------------------------------------- */

/* Rows of tensors held so may be put together one by one. */
static int export_same(const struct qtk_qlayout *a, const struct qtk_qlayout *b)
{
  return a->encoding == QTK_AFFINE && b->encoding == QTK_AFFINE && a->cols == b->cols &&
         a->bits == b->bits && a->group == b->group && a->zero == b->zero &&
         a->zero_bits == b->zero_bits && a->scale_dtype == b->scale_dtype && !a->has_g_idx &&
         !b->has_g_idx;
}

/* Rows of one tensor may be put into another order. */
static int export_permutes(const struct qtk_qlayout *l)
{
  return l->encoding == QTK_AFFINE ||
         (l->encoding == QTK_CODEBOOK && l->scale_dtype != QTK_U8);
}

/* What parts that are held in different ways come to: floats, or bytes of no form. */
static void export_mix(const struct qtk_qlayout *part, struct qtk_qlayout *all)
{
  if (all->encoding == QTK_DENSE && part->encoding == QTK_DENSE) {
    all->dtype = all->dtype == part->dtype ? all->dtype : QTK_F32;
    return;
  }
  size_t bytes = qtk_qlayout_bytes(all) + qtk_qlayout_bytes(part);
  *all = (struct qtk_qlayout){.encoding = QTK_OPAQUE, .cols = part->cols, .opaque_bytes = bytes,
                              .code_bytes = bytes};
}

static int export_held(const struct qtk_export_plan *e, const struct qtk_qlayout *const *layouts,
                       int to, struct qtk_qlayout *all)
{
  const struct qtk_export_part *parts = &e->parts[e->first[to]];
  int n = e->first[to + 1] - e->first[to];
  int64_t rows = qtk_model_tensor(e->model, parts[0].tensor)->rows;
  *all = *layouts[parts[0].tensor];
  for (int i = 1; i < n; i++) {
    const struct qtk_qlayout *part = layouts[parts[i].tensor];
    if (!export_same(all, part))
      export_mix(part, all);
    rows += qtk_model_tensor(e->model, parts[i].tensor)->rows;
  }
  if (rows != parts[0].place.within)
    return qtk_error(QTK_EJOB, "%lld of its %lld rows are in no tensor of %s", (long long)
                     (parts[0].place.within - rows), (long long)parts[0].place.within,
                     qtk_arch_file(qtk_model_arch(e->model)));
  if (all->encoding != QTK_DENSE && !qtk_export_is_straight(e, to) && !export_permutes(all))
    *all = (struct qtk_qlayout){.encoding = QTK_OPAQUE, .cols = all->cols,
                                .opaque_bytes = qtk_qlayout_bytes(all)};
  all->rows = rows;
  return qtk_qlayout_init(all);
}

static int export_ask(struct qtk_export_plan *e, const struct qtk_qlayout *const *layouts, int to)
{
  struct qtk_export_tensor *t = &e->tensors[to];
  int rc = export_held(e, layouts, to, &t->layout);
  if (rc != QTK_OK)
    return qtk_error_at(rc, "tensor %s", t->name);
  t->how = e->ops->accepts(e->options, t);
  e->rounded += t->how == QTK_EXPORT_ROUNDED;
  if (t->how == QTK_EXPORT_REFUSED)
    return qtk_error_at(QTK_EJOB, "tensor %s", t->name);
  if (t->how == QTK_EXPORT_HELD && t->layout.encoding == QTK_OPAQUE)
    return qtk_error(QTK_EPLUGIN, "tensor %s: the format wants it as it is held, but it can be "
                                  "had as floats only", t->name);
  return QTK_OK;
}

/* ---- the whole --------------------------------------------------------------------------- */

static const char *export_text(const struct qtk_export *contents, const char *name)
{
  const struct qtk_export_plan *e = contents->owner;
  if (strcmp(name, "pretokenizer") == 0)
    return e->pretokenizer;
  return qtk_model_text(e->model, name);
}

/* Text that needs no data file and no format. Where it cannot be made, the file's own goes on:
 * who only passes it on may. */
static int export_tokenizer(struct qtk_export_plan *e, const char **json)
{
  *json = qtk_model_tokenizer(e->model);
  if (*json == NULL || qtk_tokenizer_open(*json, &e->tokenizer) != QTK_OK)
    return QTK_OK;
  int rc = qtk_tokenizer_name(*json, &e->pretokenizer);
  *json = qtk_tokenizer_json(e->tokenizer);
  return rc;
}

static int export_fill(struct qtk_export_plan *e, const struct qtk_qlayout *const *layouts)
{
  const struct qtk_arch *arch = qtk_model_arch(e->model);
  int rc = export_locate_all(e);
  if (rc == QTK_OK)
    rc = qtk_arch_config(arch, e->ops->schema, &e->config);
  for (int to = 0; to < e->contents.n_tensors && rc == QTK_OK; to++)
    rc = export_ask(e, layouts, to);
  const char *tokenizer = NULL;
  if (rc == QTK_OK)
    rc = export_tokenizer(e, &tokenizer);
  e->contents = (struct qtk_export){
    .family = qtk_arch_family(arch), .config = e->config,
    .tokenizer = tokenizer, .n_tensors = e->contents.n_tensors,
    .tensors = e->tensors, .name = e->name, .text = export_text, .owner = e};
  if (rc == QTK_OK && e->ops->measure != NULL)
    rc = e->ops->measure(e->options, &e->contents, &e->bytes);
  return rc;
}

int qtk_export_plan_make(struct qtk_model *model, const struct qtk_qlayout *const *layouts,
                         const char *name, const struct qtk_format_ops *ops, const void *options,
                         struct qtk_export_plan **plan)
{
  struct qtk_export_plan *e = calloc(1, sizeof *e);
  if (e == NULL)
    return qtk_error_memory(sizeof *e, "an export");
  e->model = model;
  e->ops = ops;
  e->options = options;
  e->name = strdup(name);
  int rc = e->name != NULL ? export_fill(e, layouts) : qtk_error_memory(strlen(name), "a name");
  if (rc != QTK_OK)
    qtk_export_plan_free(e);
  else
    *plan = e;
  return rc;
}

void qtk_export_plan_free(struct qtk_export_plan *e)
{
  if (e == NULL)
    return;
  for (int i = 0; i < e->n_parts; i++)
    free(e->parts[i].place.names);
  free(e->parts);
  free(e->first);
  free(e->tensors);
  free(e->config);
  free(e->name);
  free(e->pretokenizer);
  qtk_tokenizer_close(e->tokenizer);
  free(e);
}

/* A tensor that is put together stands beside its parts. */
uint64_t qtk_export_memory(const struct qtk_export_plan *plan)
{
  uint64_t most = 0;
  for (int to = 0; to < plan->contents.n_tensors; to++) {
    const struct qtk_export_tensor *t = &plan->tensors[to];
    uint64_t last = (uint64_t)t->shape[t->ndim - 1], first = t->ndim > 1 ? (uint64_t)t->shape[0] : 1;
    uint64_t rows = QTK_EXPORT_TILE / last + 1;
    uint64_t bytes = qtk_export_is_quantized(t) ? 2 * qtk_qlayout_bytes(&t->layout)
                                                : 4 * (rows < first ? rows : first) * last;
    bytes += (first + last) * 24; /* where each row goes; a row of each */
    most = bytes > most ? bytes : most;
  }
  return most;
}
