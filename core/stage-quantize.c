/* SPDX-License-Identifier: BSD-3-Clause
 * The quantize stage: block by block, rows in slices on the pool. A finished block
 * is a unit of the state, and from then on used from there: memory holds one block
 * and the slices at work. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage.h"

/* Rows [row, row + n) of one linear, and what was lost there. */
struct slice {
  const struct qtk_plan_linear *linear;
  struct qtk_qtensor *out; /* the whole linear's */
  int64_t row, n;
  double lost, whole; /* sum (w - what)^2, sum w^2 */
  struct qtk_quantize_result result;
};

/* One block at work. */
struct block {
  struct qtk_work *work;
  const struct qtk_plan_quantize *plan;
  const struct qtk_plan_group *group;
  struct qtk_qtensor *views; /* [group->n] */
  void *memory;              /* that they lie in */
  QTK_VEC(struct slice) slices; /* first those that may run side by side */
  size_t n_apart;               /* how many these are */
  float *scratch;               /* weights as they were, and as they are worked on */
  size_t room;                  /* floats of it that a thread has */
};

/* ---- a slice --------------------------------------------------------------------- */

/* Eight sums, added up in a fixed order: quick, and the same everywhere. */
static void slice_measure(const float *w, const float *what, size_t n, double *lost,
                          double *whole)
{
  double l[8] = {0}, s[8] = {0};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t k = 0; k < 8; k++) {
      double a = w[i + k], d = a - what[i + k];
      l[k] += d * d;
      s[k] += a * a;
    }
  for (; i < n; i++) {
    double a = w[i], d = a - what[i];
    l[0] += d * d;
    s[0] += a * a;
  }
  *lost += ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]));
  *whole += ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static int slice_quantize(struct block *b, struct slice *s, float *w, struct qtk_qtensor *out)
{
  const struct qtk_plan_method *method = s->linear->method;
  struct qtk_linear linear = s->linear->linear;
  linear.rows = s->n;
  int rc = method->loaded->ops.quantizer.quantize(b->work->ctx, method->options->values, &linear,
                                                  w, NULL, out, &s->result);
  s->result.note[sizeof s->result.note - 1] = '\0';
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", method->loaded->plugin.name);
}

static int slice_run(struct block *b, struct slice *s)
{
  int64_t cols = s->linear->linear.cols;
  size_t n = (size_t)(s->n * cols), mine = s->linear->by_rows ? (size_t)qtk_worker_index() : 0;
  float *w = b->scratch + b->room * mine, *kept = w + n;
  struct qtk_qtensor out = s->linear->by_rows ? qtk_qtensor_rows(s->out, s->row, s->n) : *s->out;
  float table[256], *whole_table = out.table;
  int rc = qtk_model_read(b->work->model, s->linear->tensor, s->row, s->n, w, cols);
  if (rc != QTK_OK)
    return rc;
  memcpy(kept, w, n * sizeof *w);
  if (out.table != NULL) /* one for all rows: each slice fills its own, the first one's counts */
    out.table = memset(table, 0, sizeof table);
  if ((rc = slice_quantize(b, s, w, &out)) != QTK_OK)
    return rc;
  out.dequantize = s->out->dequantize;
  if ((rc = qtk_dequantize_rows(&out, NULL, 0, s->n, w, cols)) != QTK_OK)
    return rc;
  if (whole_table != NULL && s->row == 0)
    memcpy(whole_table, table, s->linear->layout.table_bytes);
  slice_measure(kept, w, n, &s->lost, &s->whole);
  if (!isfinite(s->lost))
    return qtk_error(QTK_ENUMERIC, "the result is not finite");
  return QTK_OK;
}

static int slice_work(void *arg, size_t i)
{
  struct block *b = arg;
  struct slice *s = &b->slices.data[i];
  int rc = qtk_check_stop(b->work->ctx);
  if (rc != QTK_OK)
    return rc;
  rc = slice_run(b, s);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s, rows %lld to %lld", s->linear->name,
                                          (long long)s->row, (long long)(s->row + s->n - 1));
}

/* ---- a block ----------------------------------------------------------------------- */

static int block_slice(struct block *b, size_t i)
{
  const struct qtk_plan_linear *l = &b->plan->linears[b->group->first + i];
  int64_t step = qtk_plan_slice_rows(l);
  for (int64_t row = 0; row < l->linear.rows; row += step) {
    int64_t n = l->linear.rows - row < step ? l->linear.rows - row : step;
    struct slice s = {.linear = l, .out = &b->views[i], .row = row, .n = n};
    int rc = qtk_vec_push(&b->slices, s);
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

static int block_slice_all(struct block *b)
{
  int rc = QTK_OK;
  for (int by_rows = 1; by_rows >= 0; by_rows--) {
    for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++)
      if (b->plan->linears[b->group->first + i].by_rows == by_rows)
        rc = block_slice(b, i);
    if (by_rows)
      b->n_apart = b->slices.length;
  }
  return rc;
}

/* Slices side by side need scratch each, the others after them can have all of it. */
static int block_scratch(struct block *b)
{
  size_t threads = (size_t)qtk_workers_count(b->work->ctx->workers), whole = 0;
  for (size_t i = 0; i < b->slices.length; i++) {
    size_t floats = 2 * (size_t)(b->slices.data[i].n * b->slices.data[i].linear->linear.cols);
    size_t *most = i < b->n_apart ? &b->room : &whole;
    *most = floats > *most ? floats : *most;
  }
  size_t floats = b->room * threads > whole ? b->room * threads : whole;
  b->scratch = qtk_alloc(b->work->ctx, floats * sizeof *b->scratch, "scratch");
  return b->scratch != NULL ? QTK_OK : QTK_ENOMEM;
}

static int block_open(struct block *b)
{
  struct qtk_context *ctx = b->work->ctx;
  char *place = b->memory = qtk_alloc(ctx, b->group->bytes, "weights");
  b->views = qtk_alloc(ctx, b->group->n * sizeof *b->views, "weights");
  int rc = b->memory && b->views ? QTK_OK : QTK_ENOMEM;
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = &b->plan->linears[b->group->first + i];
    b->views[i] = qtk_qtensor_over(&l->layout, place);
    b->views[i].plugin = l->method->loaded->plugin.name;
    b->views[i].dequantize = l->method->loaded->ops.quantizer.dequantize;
    place += qtk_qtensor_block_bytes(&l->layout);
  }
  if (rc == QTK_OK)
    rc = block_slice_all(b);
  return rc == QTK_OK ? block_scratch(b) : rc;
}

static void block_close(struct block *b)
{
  qtk_free(b->work->ctx, b->scratch);
  qtk_free(b->work->ctx, b->memory);
  qtk_free(b->work->ctx, b->views);
  qtk_vec_free(&b->slices);
}

/* Those that are not cut may use the pool themselves. */
static int block_quantize(struct block *b)
{
  int rc = qtk_parallel(b->work->ctx, b->n_apart, slice_work, b);
  for (size_t i = b->n_apart; i < b->slices.length && rc == QTK_OK; i++)
    rc = slice_work(b, i);
  return rc;
}

/* ---- what is said about it ------------------------------------------------------------- */

static json_t *block_layer(const struct block *b, const struct qtk_plan_linear *l, double seconds)
{
  double lost = 0, whole = 0;
  const char *note = NULL;
  for (size_t i = 0; i < b->slices.length; i++) {
    const struct slice *s = &b->slices.data[i];
    if (s->linear != l)
      continue;
    lost += s->lost;
    whole += s->whole;
    if (note == NULL && s->result.note[0] != '\0')
      note = s->result.note;
  }
  int64_t group = l->layout.groups == 1 ? -1 : l->layout.group;
  struct qtk_report_layer layer = {
    .name = l->name, .bits = l->layout.bits, .group = group, .seconds = seconds, .note = note,
    .relative_error = whole > 0 ? lost / whole : 0};
  return qtk_report_layer(&layer);
}

/* The unit's text: {"layers": [...]}. A layer's seconds are its share of the block's,
 * by weights. */
static json_t *block_text(const struct block *b, double seconds)
{
  json_t *layers = json_array(), *text = json_pack("{s:o}", "layers", layers);
  double weights = 0;
  int rc = layers && text ? QTK_OK : qtk_error_memory(0, "a report");
  for (size_t i = 0; i < b->group->n; i++) {
    const struct qtk_linear *l = &b->plan->linears[b->group->first + i].linear;
    weights += (double)l->rows * (double)l->cols;
  }
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = &b->plan->linears[b->group->first + i];
    double share = (double)l->linear.rows * (double)l->linear.cols / weights;
    rc = qtk_json_append(layers, block_layer(b, l, seconds * share));
  }
  if (rc == QTK_OK)
    return text;
  json_decref(text);
  return NULL;
}

/* Adds the layers of a unit's text to the stage's entry. */
static int quantize_tell(json_t *entry, json_t *text)
{
  json_t *layers = json_object_get(text, "layers"), *layer;
  size_t i;
  int rc = QTK_OK;
  json_array_foreach(layers, i, layer)
    if (rc == QTK_OK)
      rc = qtk_report_add_layer(entry, json_incref(layer));
  return rc;
}

/* ---- units of the state -------------------------------------------------------------------- */

#define UNIT_NAME 48

static const char *unit_name(size_t stage, size_t group, char name[UNIT_NAME])
{
  snprintf(name, UNIT_NAME, "stage-%zu.block-%04zu", stage, group);
  return name;
}

static int unit_use(struct qtk_work *work, const struct qtk_plan_linear *l,
                    const struct qtk_qtensor *view)
{
  struct qtk_qtensor v = *view;
  v.plugin = l->method->loaded->plugin.name;
  v.dequantize = l->method->loaded->ops.quantizer.dequantize;
  qtk_model_drop(work->model, l->tensor);
  return qtk_model_replace(work->model, l->tensor, &v, v.plugin, l->method->text);
}

static int unit_keep(struct qtk_work *work, struct qtk_state_unit *unit)
{
  size_t n = (size_t)qtk_model_count(work->model);
  if (work->kept == NULL && (work->kept = calloc(n, sizeof *work->kept)) == NULL) {
    qtk_unit_close(unit);
    return qtk_error_memory(n * sizeof *work->kept, "a list of tensors");
  }
  int rc = qtk_vec_push(&work->units, unit);
  if (rc != QTK_OK)
    qtk_unit_close(unit);
  return rc;
}

/* The tensors of a unit become the model's. The unit is the work's from now on. */
static int unit_adopt(struct qtk_work *work, const struct qtk_plan_quantize *q,
                      const struct qtk_plan_group *group, struct qtk_state_unit *unit)
{
  int rc = unit_keep(work, unit);
  if (rc != QTK_OK)
    return rc;
  if ((size_t)qtk_unit_count(unit) != group->n)
    return qtk_error(QTK_EINTERNAL, "a block of the state has %d tensors, not %zu",
                     qtk_unit_count(unit), group->n);
  for (size_t i = 0; i < group->n && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = &q->linears[group->first + i];
    work->kept[l->tensor] = (struct qtk_kept){unit, (int)i};
    rc = unit_use(work, l, &qtk_unit_tensor(unit, (int)i)->view);
  }
  qtk_unit_drop(unit, -1);
  return rc;
}

static int unit_put(struct block *b, const char *name, const char *text,
                    struct qtk_state_unit **unit)
{
  struct qtk_work *work = b->work;
  struct qtk_stored *stored = qtk_alloc(work->ctx, b->group->n * sizeof *stored, "weights");
  if (stored == NULL)
    return QTK_ENOMEM;
  for (size_t i = 0; i < b->group->n; i++) {
    const struct qtk_plan_linear *l = &b->plan->linears[b->group->first + i];
    stored[i] = (struct qtk_stored){
      .name = qtk_model_tensor(work->model, l->tensor)->name, .ndim = 2,
      .shape = {l->linear.rows, l->linear.cols}, .view = b->views[i],
      .plugin = l->method->loaded->plugin.name, .options = l->method->text};
  }
  int rc = qtk_state_put(work->state, name, text, stored, (int)b->group->n, unit);
  qtk_free(work->ctx, stored);
  return rc;
}

/* Without a state the block's own memory stays under the model. */
static int block_stay(struct block *b)
{
  int rc = qtk_vec_push(&b->work->blocks, b->memory);
  if (rc != QTK_OK)
    return rc;
  b->memory = NULL;
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++)
    rc = unit_use(b->work, &b->plan->linears[b->group->first + i], &b->views[i]);
  return rc;
}

static int block_keep(struct block *b, size_t stage, size_t group, const json_t *text)
{
  struct qtk_state_unit *unit;
  struct qtk_str s = {0};
  char name[UNIT_NAME];
  if (b->work->state == NULL)
    return block_stay(b);
  int rc = qtk_json_write(text, QTK_JSON_COMPACT, &s);
  if (rc == QTK_OK)
    rc = unit_put(b, unit_name(stage, group, name), s.data, &unit);
  qtk_str_free(&s);
  return rc == QTK_OK ? unit_adopt(b->work, b->plan, b->group, unit) : rc;
}

/* ---- the stage --------------------------------------------------------------------------------- */

/* Quantizes one block; *text is what is to be said about it. */
static int quantize_block(struct qtk_work *work, size_t stage, size_t group, json_t **text)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  struct block b = {.work = work, .plan = q, .group = &q->groups[group]};
  double start = qtk_seconds();
  *text = NULL;
  int rc = block_open(&b);
  if (rc == QTK_OK)
    rc = block_quantize(&b);
  if (rc == QTK_OK && (*text = block_text(&b, qtk_seconds() - start)) == NULL)
    rc = QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = block_keep(&b, stage, group, *text);
  block_close(&b);
  return rc;
}

/* The block from the state: *text stays NULL if it is not there. */
static int quantize_recall(struct qtk_work *work, size_t stage, size_t group, json_t **text)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  struct qtk_state_unit *unit = NULL;
  char name[UNIT_NAME];
  *text = NULL;
  if (work->state == NULL)
    return QTK_OK;
  int rc = qtk_state_get(work->state, unit_name(stage, group, name), &unit);
  if (rc != QTK_OK || unit == NULL)
    return rc;
  const char *said = qtk_unit_text(unit);
  if ((rc = qtk_json_parse(said, strlen(said), name, text)) != QTK_OK) {
    qtk_unit_close(unit);
    return rc;
  }
  return unit_adopt(work, q, &q->groups[group], unit);
}

static int quantize_group(struct qtk_work *work, size_t stage, size_t group, json_t *entry)
{
  json_t *text = NULL;
  int rc = qtk_check_stop(work->ctx);
  if (rc == QTK_OK)
    rc = quantize_recall(work, stage, group, &text);
  if (rc == QTK_OK && text == NULL)
    rc = quantize_block(work, stage, group, &text);
  if (rc == QTK_OK)
    rc = quantize_tell(entry, text);
  json_decref(text);
  return rc;
}

/* Every byte of every tensor, as it is now, over every weight. */
static int quantize_sizes(const struct qtk_work *work, const struct qtk_plan_quantize *q,
                          json_t *entry)
{
  struct qtk_report_sizes sizes = {.target_weights = q->weights};
  for (size_t i = 0; i < q->n_linears; i++)
    sizes.target_bytes += qtk_qlayout_bytes(&q->linears[i].layout);
  for (int i = 0; i < qtk_model_count(work->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(work->model, i);
    sizes.total_bytes += qtk_qlayout_bytes(&t->layout);
    sizes.total_weights += (uint64_t)t->rows * (uint64_t)t->cols;
  }
  return qtk_report_sizes(entry, &sizes);
}

int qtk_stage_quantize(struct qtk_work *work, size_t i, json_t *entry)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[i].quantize;
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, work->plan->stages[i].job->method, q->n_groups, "blocks");
  for (size_t g = 0; g < q->n_groups && rc == QTK_OK; g++) {
    rc = quantize_group(work, i, g, entry);
    qtk_progress_step(&progress, g + 1);
  }
  qtk_progress_end(&progress);
  return rc == QTK_OK ? quantize_sizes(work, q, entry) : rc;
}

int qtk_stage_quantize_resume(struct qtk_work *work, size_t i)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[i].quantize;
  int rc = QTK_OK;
  for (size_t g = 0; g < q->n_groups && rc == QTK_OK; g++) {
    json_t *text = NULL;
    rc = quantize_recall(work, i, g, &text);
    if (rc == QTK_OK && text == NULL)
      rc = quantize_block(work, i, g, &text);
    json_decref(text);
  }
  return rc;
}
