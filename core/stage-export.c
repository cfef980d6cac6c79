/* SPDX-License-Identifier: BSD-3-Clause
 * The export stage: the model as it is now, in the files of another format. Its
 * tensors may be named, cut and turned otherwise than ours. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage.h"

/* Where one of our tensors lies in the files. */
struct export_place {
  int file_tensor;
  struct qtk_arch_place place;
};

struct export {
  struct qtk_work *work;
  const struct qtk_format_ops *ops;
  const void *options;
  struct export_place *places;    /* [qtk_model_count] */
  int n_places;
  struct qtk_tensor_info *infos;  /* tensors of the files */
  int n_infos;
  char *config;
  struct qtk_export model;
  void *writer;
};

/* ---- names and shapes ---------------------------------------------------------------- */

static int export_find(const struct export *e, const char *name)
{
  for (int i = 0; i < e->n_infos; i++)
    if (strcmp(e->infos[i].name, name) == 0)
      return i;
  return -1;
}

static void export_shape(const struct qtk_model_tensor *t, const struct qtk_arch_place *place,
                         struct qtk_tensor_info *info)
{
  int64_t rows = place->within > 0 ? place->within : t->rows;
  info->name = place->names[0];
  info->ndim = t->ndim;
  info->shape[0] = t->ndim == 2 && place->transpose ? t->cols : rows;
  if (t->ndim == 2)
    info->shape[1] = place->transpose ? rows : t->cols;
}

/* Several of ours may be parts of one in the files. */
static int export_locate(struct export *e, int i)
{
  struct export_place *p = &e->places[i];
  const struct qtk_arch *arch = qtk_model_arch(e->work->model);
  int rc = qtk_arch_locate(arch, e->ops->schema, i, &p->place);
  if (rc != QTK_OK)
    return rc;
  e->n_places = i + 1;
  p->file_tensor = export_find(e, p->place.names[0]);
  if (p->file_tensor >= 0)
    return QTK_OK;
  p->file_tensor = e->n_infos++;
  export_shape(qtk_model_tensor(e->work->model, i), &p->place, &e->infos[p->file_tensor]);
  return QTK_OK;
}

static int export_describe(struct export *e)
{
  int n = qtk_model_count(e->work->model), rc = QTK_OK;
  const struct qtk_arch *arch = qtk_model_arch(e->work->model);
  e->places = calloc((size_t)n, sizeof *e->places);
  e->infos = calloc((size_t)n, sizeof *e->infos);
  if (e->places == NULL || e->infos == NULL)
    return qtk_error_memory((size_t)n * sizeof *e->infos, "an export");
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = export_locate(e, i);
  if (rc == QTK_OK)
    rc = qtk_arch_config(arch, e->ops->schema, &e->config);
  e->model = (struct qtk_export){
    .family = qtk_arch_family(arch), .config = e->config,
    .tokenizer = qtk_model_tokenizer(e->work->model), .n_tensors = e->n_infos,
    .tensors = e->infos};
  return rc;
}

static void export_end(struct export *e)
{
  if (e->writer != NULL)
    e->ops->abort(e->writer);
  for (int i = 0; i < e->n_places; i++)
    free(e->places[i].place.names);
  free(e->places);
  free(e->infos);
  free(e->config);
}

/* ---- tensors that lie in the files as they do here ---------------------------------------- */

static int export_held(struct export *e, int i, int to)
{
  struct qtk_qtensor view;
  struct qtk_work *work = e->work;
  int rc = qtk_model_hold(work->ctx, work->model, i, &view);
  if (rc != QTK_OK)
    return rc;
  rc = e->ops->write(e->writer, to, 0, view.layout.rows, NULL, &view);
  qtk_model_release(work->ctx, work->model, i);
  return rc;
}

/* A vector is one row of the files. */
static int export_vector(struct export *e, int i, int to, float *rows)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->work->model, i);
  int rc = qtk_model_read(e->work->model, i, 0, t->rows, rows, 1);
  return rc == QTK_OK ? e->ops->write(e->writer, to, 0, 1, rows, NULL) : rc;
}

static int export_matrix(struct export *e, int i, int to, float *rows, int64_t step)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->work->model, i);
  int rc = QTK_OK;
  for (int64_t row = 0; row < t->rows && rc == QTK_OK; row += step) {
    int64_t n = t->rows - row < step ? t->rows - row : step;
    rc = qtk_model_read(e->work->model, i, row, n, rows, t->cols);
    if (rc == QTK_OK)
      rc = e->ops->write(e->writer, to, row, n, rows, NULL);
  }
  return rc;
}

static int export_straight(struct export *e, int i, int to)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->work->model, i);
  if (t->layout.encoding != QTK_DENSE && e->ops->accepts(e->options, &t->layout))
    return export_held(e, i, to);
  int64_t step = (256 << 10) / t->cols;
  step = t->ndim == 1 || step > t->rows ? t->rows : step < 1 ? 1 : step;
  float *rows = qtk_alloc(e->work->ctx, (size_t)(step * t->cols) * sizeof *rows, "scratch");
  if (rows == NULL)
    return QTK_ENOMEM;
  int rc = t->ndim == 1 ? export_vector(e, i, to, rows) : export_matrix(e, i, to, rows, step);
  qtk_free(e->work->ctx, rows);
  return rc;
}

/* ---- tensors that are put together -------------------------------------------------------------- */

/* Puts rows of tensor i at their places in `whole`, that has `cols` columns, or, turned,
 * `rows` of them. */
static int export_part(struct export *e, int i, float *whole, int64_t rows)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->work->model, i);
  const struct qtk_arch *arch = qtk_model_arch(e->work->model);
  const struct qtk_arch_place *place = &e->places[i].place;
  float *row = qtk_alloc(e->work->ctx, (size_t)t->cols * sizeof *row, "scratch");
  int rc = row != NULL ? QTK_OK : QTK_ENOMEM;
  for (int64_t r = 0; r < t->rows && rc == QTK_OK; r++) {
    int64_t to = place->start + qtk_arch_file_row(arch, i, place->rows, r);
    rc = qtk_model_read(e->work->model, i, r, 1, row, t->cols);
    for (int64_t c = 0; c < t->cols; c++)
      whole[place->transpose ? c * rows + to : to * t->cols + c] = row[c];
  }
  qtk_free(e->work->ctx, row);
  return rc;
}

static int export_assembled(struct export *e, int to, int transpose)
{
  const struct qtk_tensor_info *info = &e->infos[to];
  int64_t first = info->ndim == 2 ? info->shape[0] : 1, last = info->shape[info->ndim - 1];
  float *whole = qtk_alloc(e->work->ctx, (size_t)(first * last) * sizeof *whole, "scratch");
  int rc = whole != NULL ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < e->n_places && rc == QTK_OK; i++)
    if (e->places[i].file_tensor == to)
      rc = export_part(e, i, whole, transpose ? last : first);
  if (rc == QTK_OK)
    rc = e->ops->write(e->writer, to, 0, first, whole, NULL);
  qtk_free(e->work->ctx, whole);
  return rc;
}

static int export_tensor(struct export *e, int to)
{
  int parts = 0, only = 0;
  for (int i = 0; i < e->n_places; i++)
    if (e->places[i].file_tensor == to) {
      parts++;
      only = i;
    }
  const struct qtk_arch_place *place = &e->places[only].place;
  if (parts == 1 && !place->transpose && place->rows == QTK_ROWS_SAME && place->within == 0)
    return export_straight(e, only, to);
  return export_assembled(e, to, place->transpose);
}

/* ---- the stage -------------------------------------------------------------------------------------- */

static int export_write(struct export *e)
{
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, "export", (uint64_t)e->n_infos, "tensors");
  for (int to = 0; to < e->n_infos && rc == QTK_OK; to++) {
    rc = qtk_check_stop(e->work->ctx);
    if (rc == QTK_OK && (rc = export_tensor(e, to)) != QTK_OK)
      rc = qtk_error_at(rc, "%s", e->infos[to].name);
    for (int i = 0; i < e->n_places; i++)
      if (e->places[i].file_tensor == to)
        qtk_model_drop(e->work->model, i);
    qtk_progress_step(&progress, (uint64_t)to + 1);
  }
  qtk_progress_end(&progress);
  return rc;
}

static int export_finish(struct export *e, const char *path, json_t *entry)
{
  struct qtk_export_result result = {0};
  void *writer = e->writer;
  e->writer = NULL;
  int rc = e->ops->finish(writer, &result);
  if (rc == QTK_OK)
    rc = qtk_report_export(entry, path, result.bytes, (const char (*)[256])result.files,
                           result.n_files);
  free(result.files);
  return rc;
}

int qtk_stage_export(struct qtk_work *work, size_t i, json_t *entry)
{
  const struct qtk_plan_stage *stage = &work->plan->stages[i];
  struct export e = {.work = work, .ops = &stage->format.loaded->ops.format,
                     .options = stage->format.options->values};
  int rc = export_describe(&e);
  if (rc == QTK_OK)
    rc = e.ops->create(work->ctx, e.options, stage->job->path, &e.model, &e.writer);
  if (rc == QTK_OK)
    rc = export_write(&e);
  if (rc == QTK_OK)
    rc = export_finish(&e, stage->job->path, entry);
  export_end(&e);
  return rc;
}
