/* SPDX-License-Identifier: BSD-3-Clause
 * One fold of a merge: made by the adapter, turned into what the model will hold, kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/pack.h"
#include "core/stage-merge.h"

#define FOLD_UNIT_NAME 48
#define FOLD_FLOATS (1 << 16) /* values that are converted at once */

/* A fold at work: what it makes lies in one block of the arena. */
struct folding {
  struct merge *m;
  size_t i;
  const struct qtk_plan_fold *plan;
  const struct qtk_model_tensor *tensor;
  void *block;
  struct merge_result *result;
};

static struct folding folding_of(struct merge *m, size_t i)
{
  return (struct folding){.m = m, .i = i, .plan = &m->plan->folds[i], .result = &m->results[i],
                          .tensor = qtk_model_tensor(m->work->model, m->plan->folds[i].tensor)};
}

static const char *folding_name(const struct folding *f, char name[FOLD_UNIT_NAME])
{
  snprintf(name, FOLD_UNIT_NAME, "stage-%zu.fold-%04zu", f->m->stage, f->i);
  return name;
}

static int folding_block(struct folding *f, size_t bytes)
{
  f->block = qtk_alloc(f->m->work->ctx, bytes, "weights");
  return f->block ? QTK_OK : QTK_ENOMEM;
}

/* ---- scales ----------------------------------------------------------------------------- */

static struct qtk_qlayout fold_scales_layout(const struct qtk_qlayout *l)
{
  struct qtk_qlayout dense = {
    .encoding = QTK_DENSE, .dtype = l->scale_dtype, .rows = l->rows, .cols = l->groups};
  (void)qtk_qlayout_init(&dense);
  return dense;
}

/* The base with those scales, and minima that are stretched with them, as products do it. */
static int fold_stretch(struct folding *f, const struct qtk_qtensor *base, const float *scales)
{
  const struct qtk_qlayout *l = &base->layout;
  struct qtk_qtensor *views = f->result->views;
  struct qtk_qtensor to = {.layout = *l, .scales = views[0].codes, .zeros = views[1].codes};
  for (int64_t row = 0; row < l->rows; row++)
    for (int64_t g = 0; g < l->groups; g++) {
      float own = qtk_get_scale(base, row, g);
      qtk_set_scale(&to, row, g, scales[row * l->groups + g]);
      float scale = qtk_get_scale(&to, row, g);
      if (!isfinite(scale))
        return qtk_error(QTK_ENUMERIC, "row %lld, group %lld: a scale of %g is too large for %s",
                         (long long)row, (long long)g, (double)scales[row * l->groups + g],
                         qtk_dtype_name(l->scale_dtype));
      if (to.zeros != NULL)
        qtk_set_min(&to, row, g, qtk_get_min(base, row, g) * (own != 0 ? scale / own : 1.0f));
    }
  return QTK_OK;
}

static int fold_scales(struct folding *f)
{
  struct qtk_context *ctx = f->m->work->ctx;
  const struct qtk_qlayout *l = &f->plan->layout;
  struct qtk_qlayout dense = fold_scales_layout(l);
  size_t place = qtk_qtensor_block_bytes(&dense);
  int minima = l->encoding == QTK_AFFINE && l->zero == QTK_ZERO_MIN;
  struct qtk_qtensor base;
  float *scales = qtk_alloc(ctx, (size_t)(l->rows * l->groups) * sizeof *scales, "scratch");
  struct qtk_fold out = {.kind = QTK_FOLD_SCALES,
                         .scales = qtk_matrix(QTK_F32, scales, l->rows, l->groups)};
  int rc = scales ? folding_block(f, place * (minima ? 2 : 1)) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_engine_fold(f->m->engine, 0, f->plan->tensor, &out);
  if (rc == QTK_OK)
    rc = qtk_model_hold(ctx, f->m->work->model, f->plan->tensor, &base);
  if (rc == QTK_OK) {
    f->result->views[0] = qtk_qtensor_over(&dense, f->block);
    if (minima)
      f->result->views[1] = qtk_qtensor_over(&dense, (char *)f->block + place);
    rc = fold_stretch(f, &base, scales);
    qtk_model_release(ctx, f->m->work->model, f->plan->tensor);
  }
  qtk_free(ctx, scales);
  return rc;
}

/* ---- quantized ---------------------------------------------------------------------------- */

static int fold_quantized(struct folding *f)
{
  struct qtk_work *work = f->m->work;
  const struct qtk_qlayout *l = &f->plan->layout;
  struct qtk_fold out = {.kind = QTK_FOLD_QUANTIZED};
  struct qtk_qtensor base;
  double lost, whole;
  int rc = folding_block(f, qtk_qtensor_block_bytes(l));
  if (rc == QTK_OK)
    rc = qtk_model_hold(work->ctx, work->model, f->plan->tensor, &base);
  if (rc != QTK_OK)
    return rc;
  out.tensor = qtk_qtensor_over(l, f->block);
  out.tensor.plugin = base.plugin;
  out.tensor.dequantize = base.dequantize;
  qtk_model_release(work->ctx, work->model, f->plan->tensor);
  rc = qtk_engine_fold(f->m->engine, 0, f->plan->tensor, &out);
  qtk_engine_lost(f->m->engine, &lost, &whole);
  if (rc == QTK_OK && !f->plan->exact && whole > 0)
    f->result->error = lost / whole;
  f->result->views[0] = out.tensor;
  return rc;
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* n values into the tensor's type from place `at` on. */
static int fold_convert(struct folding *f, const float *from, size_t at, size_t n, double sums[2])
{
  enum qtk_dtype dtype = f->plan->layout.dtype;
  char *to = (char *)f->result->views[0].codes + at * qtk_dtype_size(dtype);
  float what[1024];
  int rc = QTK_OK;
  for (size_t k = 0; k < n && rc == QTK_OK; k += sizeof what / sizeof *what) {
    size_t few = n - k < sizeof what / sizeof *what ? n - k : sizeof what / sizeof *what;
    rc = qtk_convert(dtype, to + k * qtk_dtype_size(dtype), QTK_F32, from + k, few);
    if (rc == QTK_OK)
      rc = qtk_convert(QTK_F32, what, dtype, to + k * qtk_dtype_size(dtype), few);
    if (rc == QTK_OK)
      qtk_sum_lost(from + k, what, few, &sums[0], &sums[1]);
  }
  return rc;
}

static int fold_rounded(struct folding *f, const double sums[2])
{
  if (!isfinite(sums[0]) || !isfinite(sums[1]))
    return qtk_error(QTK_ENUMERIC, "a weight is no number, or too large for %s",
                     qtk_dtype_name(f->plan->layout.dtype));
  if (!f->plan->exact)
    f->result->error = sums[1] > 0 ? sums[0] / sums[1] : 0;
  return QTK_OK;
}

static int fold_rows(struct folding *f)
{
  struct qtk_context *ctx = f->m->work->ctx;
  size_t n = (size_t)(f->plan->layout.rows * f->plan->layout.cols);
  float *rows = qtk_alloc(ctx, n * sizeof *rows, "scratch");
  struct qtk_fold out = {.kind = QTK_FOLD_ROWS, .rows = rows};
  double sums[2] = {0};
  int rc = rows ? folding_block(f, qtk_qtensor_block_bytes(&f->plan->layout)) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_engine_fold(f->m->engine, 0, f->plan->tensor, &out);
  if (rc == QTK_OK) {
    f->result->views[0] = qtk_qtensor_over(&f->plan->layout, f->block);
    rc = fold_convert(f, rows, 0, n, sums);
  }
  qtk_free(ctx, rows);
  return rc == QTK_OK ? fold_rounded(f, sums) : rc;
}

/* The parameter of that name is the tensor. */
static int fold_trained(struct folding *f)
{
  const struct qtk_tuned *tuned = qtk_model_tuned(f->m->work->model, f->plan->adapter);
  int k = qtk_tuned_find(tuned, f->tensor->name);
  const struct qtk_qtensor *from = k < 0 ? NULL : &tuned->params[k].view;
  size_t n = (size_t)(f->plan->layout.rows * f->plan->layout.cols), few;
  double sums[2] = {0};
  float *floats = qtk_alloc(f->m->work->ctx, FOLD_FLOATS * sizeof *floats, "scratch");
  int rc = floats ? folding_block(f, qtk_qtensor_block_bytes(&f->plan->layout)) : QTK_ENOMEM;
  if (rc == QTK_OK && (from == NULL || (size_t)(from->layout.rows * from->layout.cols) != n))
    rc = qtk_error(QTK_EINPUT, "adapter %s has no values of its shape", tuned->name);
  if (rc == QTK_OK)
    f->result->views[0] = qtk_qtensor_over(&f->plan->layout, f->block);
  for (size_t at = 0; at < n && rc == QTK_OK; at += few) {
    few = n - at < FOLD_FLOATS ? n - at : FOLD_FLOATS;
    rc = qtk_convert(QTK_F32, floats, from->layout.dtype,
                     (const char *)from->codes + at * qtk_dtype_size(from->layout.dtype), few);
    if (rc == QTK_OK)
      rc = fold_convert(f, floats, at, few, sums);
  }
  qtk_free(f->m->work->ctx, floats);
  return rc == QTK_OK ? fold_rounded(f, sums) : rc;
}

/* ---- kept --------------------------------------------------------------------------------------- */

/* The unit's text: {"relative_error": number or null}. */
static char *fold_text(double error)
{
  json_t *text = json_pack("{s:o}", "relative_error", error < 0 ? json_null() : json_real(error));
  char *s = text ? json_dumps(text, JSON_COMPACT) : NULL;
  json_decref(text);
  if (s == NULL)
    qtk_error_memory(0, "a report");
  return s;
}

static struct qtk_stored fold_stored(const struct folding *f, int part)
{
  const struct qtk_qtensor *view = &f->result->views[part];
  struct qtk_stored s = {.name = part == 0 ? "tensor" : "minima", .ndim = 2, .view = *view,
                         .shape = {view->layout.rows, view->layout.cols}, .plugin = view->plugin};
  return s;
}

static int fold_put(struct folding *f)
{
  int n = f->result->views[1].codes != NULL ? 2 : 1;
  struct qtk_stored stored[2] = {fold_stored(f, 0), fold_stored(f, 1)};
  char name[FOLD_UNIT_NAME], *text = fold_text(f->result->error);
  int rc = text ? qtk_state_put(f->m->work->state, folding_name(f, name), text, stored, n,
                                &f->result->unit)
                : QTK_ENOMEM;
  free(text);
  return rc;
}

/* The parts lie in the unit now. */
static void fold_use_unit(struct merge_result *r)
{
  for (int k = 0; k < 2; k++)
    r->views[k] = k < qtk_unit_count(r->unit) ? qtk_unit_tensor(r->unit, k)->view
                                              : (struct qtk_qtensor){0};
}

static int folding_keep(struct folding *f)
{
  if (f->m->work->state == NULL) {
    void *block = f->block;
    f->block = NULL;
    return qtk_stage_own_block(f->m->work, block);
  }
  int rc = fold_put(f);
  if (rc == QTK_OK)
    fold_use_unit(f->result);
  return rc;
}

int qtk_merge_make(struct merge *m, size_t i)
{
  struct folding f = folding_of(m, i);
  int rc;
  f.result->error = -1;
  if (f.plan->trained)
    rc = fold_trained(&f);
  else if (f.plan->kind == QTK_FOLD_SCALES)
    rc = fold_scales(&f);
  else
    rc = f.plan->kind == QTK_FOLD_QUANTIZED ? fold_quantized(&f) : fold_rows(&f);
  if (rc == QTK_OK)
    rc = folding_keep(&f);
  qtk_free(m->work->ctx, f.block);
  return rc;
}

int qtk_merge_recall(struct merge *m, size_t i, int *found)
{
  struct folding f = folding_of(m, i);
  char name[FOLD_UNIT_NAME];
  json_t *text;
  *found = 0;
  if (m->work->state == NULL)
    return QTK_OK;
  int rc = qtk_state_get(m->work->state, folding_name(&f, name), &f.result->unit);
  if (rc != QTK_OK || f.result->unit == NULL)
    return rc;
  const char *said = qtk_unit_text(f.result->unit);
  if ((rc = qtk_json_parse(said, strlen(said), name, &text)) != QTK_OK)
    return rc;
  const json_t *error = json_object_get(text, "relative_error");
  f.result->error = json_is_number(error) ? json_number_value(error) : -1;
  json_decref(text);
  fold_use_unit(f.result);
  *found = 1;
  return QTK_OK;
}
