/* SPDX-License-Identifier: BSD-3-Clause
 * The export stage: the model as it is now, in the files of another format. Its
 * tensors may be named, cut and turned otherwise than ours; codes stay what they are. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/log.h"
#include "core/stage.h"

/* Where a row (a column, if it is turned) of the files' tensor comes from. */
struct export_origin {
  int tensor;
  int64_t row;
};

struct export {
  struct qtk_work *work;
  const struct qtk_export_plan *plan;
  void *writer;
};

static const struct qtk_export_part *export_parts(const struct export *e, int to, int *n)
{
  *n = e->plan->first[to + 1] - e->plan->first[to];
  return &e->plan->parts[e->plan->first[to]];
}

static int export_write_rows(const struct export *e, int to, int64_t row, int64_t n,
                             const float *rows)
{
  return e->plan->ops->write(e->writer, to, row, n, rows, NULL);
}

/* ---- codes ------------------------------------------------------------------------------ */

static void export_copy_zeros(const struct qtk_qtensor *from, int64_t row, struct qtk_qtensor *to,
                              int64_t at)
{
  const struct qtk_qlayout *l = &from->layout;
  size_t bytes = (size_t)l->groups * qtk_dtype_size(l->scale_dtype);
  if (l->encoding != QTK_AFFINE)
    return;
  if (l->zero == QTK_ZERO_MIN)
    memcpy((char *)to->zeros + (size_t)at * bytes, (char *)from->zeros + (size_t)row * bytes, bytes);
  for (int64_t g = 0; l->zero == QTK_ZERO_INT && g < l->groups; g++)
    qtk_set_zero(to, at, g, qtk_get_zero(from, row, g));
}

static void export_copy_row(const struct qtk_qtensor *from, int64_t row, struct qtk_qtensor *to,
                            int64_t at)
{
  const struct qtk_qlayout *l = &from->layout;
  size_t scales = (size_t)l->groups * qtk_dtype_size(l->scale_dtype);
  memcpy((char *)to->codes + (size_t)at * l->row_bytes,
         (char *)from->codes + (size_t)row * l->row_bytes, l->row_bytes);
  memcpy((char *)to->scales + (size_t)at * scales, (char *)from->scales + (size_t)row * scales,
         scales);
  export_copy_zeros(from, row, to, at);
}

static int export_copy_part(const struct export *e, const struct qtk_export_part *part,
                            struct qtk_qtensor *to)
{
  struct qtk_work *work = e->work;
  struct qtk_qtensor from;
  int rc = qtk_model_hold(work->ctx, work->model, part->tensor, &from);
  if (rc != QTK_OK)
    return rc;
  for (int64_t r = 0; r < from.layout.rows; r++)
    export_copy_row(&from, r, to, qtk_export_row(e->plan, part, r));
  if (from.g_idx != NULL)
    memcpy(to->g_idx, from.g_idx, from.layout.index_bytes);
  if (from.table != NULL)
    memcpy(to->table, from.table, from.layout.table_bytes);
  to->plugin = from.plugin;
  qtk_model_release(work->ctx, work->model, part->tensor);
  return QTK_OK;
}

/* Row by row, so that every code, scale and zero stays what it is. */
static int export_quantized_parts(struct export *e, int to)
{
  const struct qtk_qlayout *layout = &e->plan->tensors[to].layout;
  int n, rc = QTK_OK;
  const struct qtk_export_part *parts = export_parts(e, to, &n);
  void *block = qtk_alloc(e->work->ctx, qtk_qtensor_block_bytes(layout), "weights");
  if (block == NULL)
    return QTK_ENOMEM;
  struct qtk_qtensor whole = qtk_qtensor_over(layout, block);
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = export_copy_part(e, &parts[i], &whole);
  if (rc == QTK_OK)
    rc = e->plan->ops->write(e->writer, to, 0, layout->rows, NULL, &whole);
  qtk_free(e->work->ctx, block);
  return rc;
}

static int export_quantized(struct export *e, int to)
{
  struct qtk_work *work = e->work;
  struct qtk_qtensor view;
  int n, tensor = export_parts(e, to, &n)->tensor;
  if (!qtk_export_is_straight(e->plan, to))
    return export_quantized_parts(e, to);
  int rc = qtk_model_hold(work->ctx, work->model, tensor, &view);
  if (rc != QTK_OK)
    return rc;
  rc = e->plan->ops->write(e->writer, to, 0, view.layout.rows, NULL, &view);
  qtk_model_release(work->ctx, work->model, tensor);
  return rc;
}

/* ---- floats ------------------------------------------------------------------------------ */

/* A vector is one row of the files. */
static int export_vector(struct export *e, int to, float *values)
{
  int n, rc = QTK_OK;
  const struct qtk_export_part *parts = export_parts(e, to, &n);
  float value;
  for (int i = 0; i < n && rc == QTK_OK; i++)
    for (int64_t r = 0; r < qtk_model_tensor(e->work->model, parts[i].tensor)->rows; r++) {
      if ((rc = qtk_model_read(e->work->model, parts[i].tensor, r, 1, &value, 1)) != QTK_OK)
        break;
      values[qtk_export_row(e->plan, &parts[i], r)] = value;
    }
  return rc == QTK_OK ? export_write_rows(e, to, 0, 1, values) : rc;
}

static struct export_origin *export_origins(const struct export *e, int to)
{
  int n;
  const struct qtk_export_part *parts = export_parts(e, to, &n);
  size_t bytes = (size_t)parts[0].place.within * sizeof(struct export_origin);
  struct export_origin *from = qtk_alloc(e->work->ctx, bytes, "scratch");
  for (int i = 0; from != NULL && i < n; i++)
    for (int64_t r = 0; r < qtk_model_tensor(e->work->model, parts[i].tensor)->rows; r++)
      from[qtk_export_row(e->plan, &parts[i], r)] = (struct export_origin){parts[i].tensor, r};
  return from;
}

/* Rows of the files [row, row + n), those that follow each other here at once. */
static int export_gather(const struct export *e, const struct export_origin *from, int64_t row,
                         int64_t n, float *out, int64_t cols)
{
  int rc = QTK_OK;
  for (int64_t r = row, run; r < row + n && rc == QTK_OK; r += run) {
    for (run = 1; r + run < row + n && from[r + run].tensor == from[r].tensor &&
                  from[r + run].row == from[r].row + run;
         run++)
      ;
    rc = qtk_model_read(e->work->model, from[r].tensor, from[r].row, run, out + (r - row) * cols,
                        cols);
  }
  return rc;
}

static int export_rows(struct export *e, int to, const struct export_origin *from, float *rows,
                       int64_t step)
{
  const int64_t *shape = e->plan->tensors[to].shape;
  int rc = QTK_OK;
  for (int64_t row = 0; row < shape[0] && rc == QTK_OK; row += step) {
    int64_t n = shape[0] - row < step ? shape[0] - row : step;
    rc = export_gather(e, from, row, n, rows, shape[1]);
    if (rc == QTK_OK)
      rc = export_write_rows(e, to, row, n, rows);
  }
  return rc;
}

/* Rows of the files are our columns: our rows are read again for every `step` of them. */
static int export_turned(struct export *e, int to, const struct export_origin *from, float *rows,
                         int64_t step)
{
  const int64_t *shape = e->plan->tensors[to].shape;
  float *ours = qtk_alloc(e->work->ctx, (size_t)shape[0] * sizeof *ours, "scratch");
  int rc = ours != NULL ? QTK_OK : QTK_ENOMEM;
  for (int64_t row = 0; row < shape[0] && rc == QTK_OK; row += step) {
    int64_t n = shape[0] - row < step ? shape[0] - row : step;
    for (int64_t c = 0; c < shape[1] && rc == QTK_OK; c++) {
      rc = qtk_model_read(e->work->model, from[c].tensor, from[c].row, 1, ours, shape[0]);
      for (int64_t r = 0; r < n; r++)
        rows[r * shape[1] + c] = ours[row + r];
    }
    if (rc == QTK_OK)
      rc = export_write_rows(e, to, row, n, rows);
  }
  qtk_free(e->work->ctx, ours);
  return rc;
}

static int export_floats(struct export *e, int to)
{
  const struct qtk_export_tensor *t = &e->plan->tensors[to];
  int n, turned = export_parts(e, to, &n)->place.transpose && t->ndim == 2;
  int64_t first = t->ndim == 2 ? t->shape[0] : 1, last = t->shape[t->ndim - 1];
  int64_t step = QTK_EXPORT_TILE / last + 1;
  step = step < first ? step : first;
  struct export_origin *from = export_origins(e, to);
  float *rows = qtk_alloc(e->work->ctx, (size_t)(step * last) * sizeof *rows, "scratch");
  int rc = rows != NULL && from != NULL ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = t->ndim == 1 ? export_vector(e, to, rows)
         : turned     ? export_turned(e, to, from, rows, step)
                      : export_rows(e, to, from, rows, step);
  qtk_free(e->work->ctx, rows);
  qtk_free(e->work->ctx, from);
  return rc;
}

/* ---- the stage -------------------------------------------------------------------------------------- */

/* The pages that a tensor lies in, of the file or of the state. */
static void export_drop(struct export *e, int to)
{
  int n;
  const struct qtk_export_part *parts = export_parts(e, to, &n);
  for (int i = 0; i < n; i++) {
    qtk_model_drop(e->work->model, parts[i].tensor);
    qtk_stage_drop(e->work, parts[i].tensor);
  }
}

static int export_write(struct export *e)
{
  const struct qtk_export *contents = &e->plan->contents;
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, "export", (uint64_t)contents->n_tensors, "tensors");
  for (int to = 0; to < contents->n_tensors && rc == QTK_OK; to++) {
    rc = qtk_check_stop(e->work->ctx);
    if (rc == QTK_OK)
      rc = qtk_export_is_quantized(&contents->tensors[to]) ? export_quantized(e, to)
                                                           : export_floats(e, to);
    if (rc != QTK_OK && rc != QTK_EINTERRUPTED)
      rc = qtk_error_at(rc, "%s", contents->tensors[to].name);
    export_drop(e, to);
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
  int rc = e->plan->ops->finish(writer, &result);
  if (rc == QTK_OK)
    rc = qtk_report_export(entry, path, &result);
  free(result.files);
  return rc;
}

static int export_adapter(struct qtk_work *work, const struct qtk_plan_stage *stage,
                          json_t *entry)
{
  struct qtk_export_result result = {0};
  int rc = qtk_foreign_write(work->ctx, stage->foreign, qtk_model_tuned(work->model, 0),
                             stage->job->path, &result);
  if (rc == QTK_OK)
    rc = qtk_report_export(entry, stage->job->path, &result);
  free(result.files);
  return rc;
}

int qtk_stage_export(struct qtk_work *work, size_t i, json_t *entry)
{
  const struct qtk_plan_stage *stage = &work->plan->stages[i];
  struct export e = {.work = work, .plan = stage->export};
  if (stage->foreign != NULL)
    return export_adapter(work, stage, entry);
  int rc = e.plan->ops->create(work->ctx, e.plan->options, stage->job->path, &e.plan->contents,
                               &e.writer);
  if (rc == QTK_OK)
    rc = export_write(&e);
  if (rc == QTK_OK)
    rc = export_finish(&e, stage->job->path, entry);
  if (e.writer != NULL)
    e.plan->ops->abort(e.writer);
  return rc;
}
