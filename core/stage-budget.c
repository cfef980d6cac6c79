/* SPDX-License-Identifier: BSD-3-Clause
 * Bits for each linear under a budget: first all are measured at each of the candidates, in the
 * model as the stages before have left it, then the best choice that fits is made. What was
 * measured of a block is a unit of the state. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage-quantize.h"

/* A linear at work: w [rows, cols] as it is. */
struct measure {
  struct qtk_work *work;
  const struct qtk_plan_budget *plan;
  const struct qtk_plan_linear *linear;
  const struct qtk_calibration *calibration; /* NULL: none is needed */
  const float *w;
};

/* ---- methods without the slot ------------------------------------------------------------ */

/* Rows of d [rows, cols], and a sum for each: d H dT, or without H [cols, cols] d dT. */
struct measure_rows {
  const float *d, *gram;
  int64_t cols;
  double *sums;
};

static int measure_row(void *arg, size_t row)
{
  const struct measure_rows *m = arg;
  const float *d = m->d + (int64_t)row * m->cols;
  double sum = 0;
  for (int64_t i = 0; i < m->cols; i++) {
    double inner = d[i];
    if (m->gram != NULL) {
      const float *h = m->gram + i * m->cols;
      inner = 0;
      for (int64_t k = 0; k < m->cols; k++)
        inner += (double)h[k] * d[k];
    }
    sum += d[i] * inner;
  }
  m->sums[row] = sum;
  return QTK_OK;
}

static int measure_difference(const struct measure *m, const float *d, double *error)
{
  struct qtk_context *ctx = m->work->ctx;
  size_t rows = (size_t)m->linear->linear.rows;
  struct measure_rows r = {.d = d, .gram = m->calibration ? m->calibration->gram : NULL,
                           .cols = m->linear->linear.cols,
                           .sums = qtk_alloc(ctx, rows * sizeof *r.sums, "scratch")};
  int rc = r.sums ? qtk_parallel(ctx, rows, measure_row, &r) : QTK_ENOMEM;
  *error = 0;
  for (size_t i = 0; i < rows && rc == QTK_OK; i++)
    *error += r.sums[i];
  qtk_free(ctx, r.sums);
  return rc;
}

/* Rounds `copy` [rows, cols], which holds w, with candidate c; leaves there what was lost. */
static int measure_round(const struct measure *m, const struct qtk_plan_candidate *c, void *block,
                         float *copy)
{
  const struct qtk_quantizer_ops *ops = &c->method->loaded->ops.quantizer;
  const struct qtk_linear *linear = &m->linear->linear;
  struct qtk_quantize_result result = {0};
  struct qtk_qtensor out = qtk_qtensor_over(&c->layout, block);
  int rc = ops->quantize(m->work->ctx, c->method->options->values, linear, copy, m->calibration,
                         &out, &result);
  out.plugin = c->method->loaded->plugin.name;
  out.dequantize = ops->dequantize;
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&out, NULL, 0, linear->rows, copy, linear->cols);
  for (int64_t i = 0; i < linear->rows * linear->cols && rc == QTK_OK; i++)
    copy[i] = m->w[i] - copy[i];
  return rc;
}

/* Errors become shares of what the linear itself comes to. */
static int measure_shares(const struct measure *m, double *errors)
{
  double whole = 0;
  int rc = measure_difference(m, m->w, &whole);
  for (int i = 0; i < m->plan->n && rc == QTK_OK; i++)
    errors[i] = whole > 0 ? errors[i] / whole : 0;
  return rc;
}

static int measure_candidate(const struct measure *m, const struct qtk_plan_candidate *c,
                             double *error)
{
  struct qtk_context *ctx = m->work->ctx;
  size_t bytes = (size_t)(m->linear->linear.rows * m->linear->linear.cols) * sizeof(float);
  float *copy = qtk_alloc(ctx, bytes, "scratch");
  void *block = qtk_alloc(ctx, qtk_qtensor_block_bytes(&c->layout), "scratch");
  int rc = copy && block ? qtk_check_stop(ctx) : QTK_ENOMEM;
  if (rc == QTK_OK) {
    memcpy(copy, m->w, bytes);
    rc = measure_round(m, c, block, copy);
  }
  if (rc == QTK_OK)
    rc = measure_difference(m, copy, error);
  qtk_free(ctx, block);
  qtk_free(ctx, copy);
  return rc;
}

/* ---- a linear -------------------------------------------------------------------------------- */

static int measure_errors(const struct measure *m, double *errors)
{
  const struct qtk_plan_method *method = m->linear->method;
  const struct qtk_quantizer_ops *ops = &method->loaded->ops.quantizer;
  int rc = QTK_OK;
  if (ops->error != NULL)
    rc = ops->error(m->work->ctx, method->options->values, &m->linear->linear, m->w,
                    m->calibration, m->plan->bits, m->plan->n, errors);
  for (int i = 0; i < m->plan->n && ops->error == NULL && rc == QTK_OK; i++)
    rc = measure_candidate(m, &m->linear->candidates[i], &errors[i]);
  if (ops->error == NULL && rc == QTK_OK)
    rc = measure_shares(m, errors);
  for (int i = 0; i < m->plan->n && rc == QTK_OK; i++)
    if (!isfinite(errors[i]))
      rc = qtk_error(QTK_ENUMERIC, "the error at %d bits is not finite", m->plan->bits[i]);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED
             ? rc
             : qtk_error_at(rc, "%s: %s", m->linear->name, method->loaded->plugin.name);
}

static int measure_linear(struct quantize_block *b, size_t i, double *errors)
{
  const struct qtk_plan_linear *l = quantize_linear(b, i);
  struct qtk_context *ctx = b->work->ctx;
  struct measure m = {.work = b->work, .plan = &b->plan->budget, .linear = l,
                      .calibration = l->method->watches ? &b->calibrations[i] : NULL};
  float *w = qtk_alloc(ctx, (size_t)(l->linear.rows * l->linear.cols) * sizeof *w, "scratch");
  int rc = w ? qtk_check_stop(ctx) : QTK_ENOMEM;
  m.w = w;
  if (rc == QTK_OK)
    rc = qtk_model_read(b->work->model, l->tensor, 0, l->linear.rows, w, l->linear.cols);
  if (rc == QTK_OK)
    rc = measure_errors(&m, errors);
  qtk_free(ctx, w);
  qtk_model_drop(b->work->model, l->tensor);
  return rc;
}

/* ---- a block ------------------------------------------------------------------------------------ */

/* errors [group->n, candidates]. */
static int measure_block(struct quantize_calibration *c, size_t group, double *errors)
{
  const struct qtk_plan_quantize *q = c->plan;
  struct quantize_block b = {.work = c->work, .plan = q, .group = &q->groups[group]};
  struct qtk_context *ctx = c->work->ctx;
  int rc = QTK_OK, look = 0;
  b.calibrations = qtk_alloc(ctx, b.group->n * sizeof *b.calibrations, "weights");
  if (b.calibrations == NULL)
    return QTK_ENOMEM;
  for (size_t i = 0; i < b.group->n; i++)
    look |= quantize_linear(&b, i)->candidates != NULL && quantize_linear(&b, i)->method->watches;
  if (look)
    rc = qtk_calibration_look(c, &b);
  for (size_t i = 0; i < b.group->n && rc == QTK_OK; i++)
    if (quantize_linear(&b, i)->candidates != NULL)
      rc = measure_linear(&b, i, errors + i * (size_t)q->budget.n);
  qtk_calibration_forget(&b);
  qtk_free(ctx, b.calibrations);
  return rc;
}

/* ---- units of the state ----------------------------------------------------------------------------- */

#define MEASURE_NAME 48

static const char *measure_name(size_t stage, size_t group, char name[MEASURE_NAME])
{
  snprintf(name, MEASURE_NAME, "stage-%zu.errors-%04zu", stage, group);
  return name;
}

/* The unit's text: {"errors": [...]}. */
static int measure_keep(struct qtk_work *work, const char *name, const double *errors, size_t n)
{
  json_t *list = json_array(), *text = json_pack("{s:o}", "errors", list);
  struct qtk_str s = {0};
  int rc = list && text ? QTK_OK : qtk_error_memory(0, "errors");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = qtk_json_append(list, qtk_json_real(errors[i]));
  if (rc == QTK_OK)
    rc = qtk_json_write(text, QTK_JSON_COMPACT, &s);
  if (rc == QTK_OK)
    rc = qtk_state_put(work->state, name, s.data, NULL, 0, NULL);
  qtk_str_free(&s);
  json_decref(text);
  return rc;
}

/* *found is 1 if the state had it. */
static int measure_recall(struct qtk_work *work, const char *name, double *errors, size_t n,
                          int *found)
{
  struct qtk_state_unit *unit = NULL;
  json_t *text = NULL;
  int rc = work->state ? qtk_state_get(work->state, name, &unit) : QTK_OK;
  if (rc != QTK_OK || unit == NULL)
    return rc;
  const char *said = qtk_unit_text(unit);
  rc = qtk_json_parse(said, strlen(said), name, &text);
  const json_t *list = json_object_get(text, "errors");
  if (rc == QTK_OK && json_array_size(list) != n)
    rc = qtk_error(QTK_EINTERNAL, "%s: %zu errors, not %zu", name, json_array_size(list), n);
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    errors[i] = json_number_value(json_array_get(list, i));
  *found = rc == QTK_OK;
  json_decref(text);
  qtk_unit_close(unit);
  return rc;
}

/* ---- all ------------------------------------------------------------------------------------------- */

/* *found is 1 if the state had it. */
static int budget_group(struct quantize_calibration *c, size_t stage, size_t group,
                        double *errors, int *found)
{
  const struct qtk_plan_group *g = &c->plan->groups[group];
  size_t n = g->n * (size_t)c->plan->budget.n;
  char name[MEASURE_NAME];
  double *mine = errors + g->first * (size_t)c->plan->budget.n;
  int rc = qtk_check_stop(c->work->ctx);
  measure_name(stage, group, name);
  *found = 0;
  if (rc == QTK_OK)
    rc = measure_recall(c->work, name, mine, n, found);
  if (rc != QTK_OK || *found)
    return rc;
  rc = measure_block(c, group, mine);
  return rc == QTK_OK && c->work->state != NULL ? measure_keep(c->work, name, mine, n) : rc;
}

static int budget_measure(struct qtk_work *work, size_t stage, double *errors)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  struct quantize_calibration c;
  struct qtk_progress progress;
  int found = 0, rc = QTK_OK;
  qtk_calibration_begin(&c, work, stage);
  c.measures = 1;
  qtk_progress_begin(&progress, "measuring", q->n_groups, "blocks");
  for (size_t g = 0; g < q->n_groups && rc == QTK_OK; g++) {
    rc = budget_group(&c, stage, g, errors, &found);
    if (rc == QTK_OK && found)
      qtk_progress_skip(&progress, g + 1);
    else
      qtk_progress_step(&progress, g + 1);
  }
  qtk_progress_end(&progress);
  qtk_calibration_end(&c);
  return rc;
}

/* The linears with candidates as items: costs [n_linears, candidates]. */
static size_t budget_items(const struct qtk_plan_quantize *q, const double *errors,
                           uint64_t *costs, struct qtk_budget_item *items)
{
  size_t n = 0, k = (size_t)q->budget.n;
  for (size_t i = 0; i < q->n_linears; i++) {
    const struct qtk_plan_candidate *c = q->linears[i].candidates;
    for (size_t j = 0; c != NULL && j < k; j++)
      costs[i * k + j] = qtk_qlayout_bytes(&c[j].layout);
    if (c != NULL)
      items[n++] = (struct qtk_budget_item){(int)k, costs + i * k, errors + i * k};
  }
  return n;
}

static int budget_choose(const struct qtk_plan_quantize *q, struct quantize_budget *budget)
{
  size_t n = q->n_linears;
  uint64_t *costs = calloc(n * (size_t)q->budget.n, sizeof *costs);
  struct qtk_budget_item *items = calloc(n, sizeof *items);
  int *found = calloc(n, sizeof *found);
  int rc = costs && items && found ? QTK_OK : qtk_error_memory(n * sizeof *costs, "a budget");
  if (rc == QTK_OK)
    rc = qtk_budget_choose(items, budget_items(q, budget->errors, costs, items), q->budget.bytes,
                           found);
  for (size_t i = 0, k = 0; i < n && rc == QTK_OK; i++)
    budget->choice[i] = q->linears[i].candidates != NULL ? found[k++] : 0;
  free(costs);
  free(items);
  free(found);
  return rc;
}

int qtk_quantize_budget(struct qtk_work *work, size_t stage, struct quantize_budget *budget)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  *budget = (struct quantize_budget){0};
  if (q->budget.n == 0)
    return QTK_OK;
  budget->errors = calloc(q->n_linears * (size_t)q->budget.n, sizeof *budget->errors);
  budget->choice = calloc(q->n_linears, sizeof *budget->choice);
  if (budget->errors == NULL || budget->choice == NULL)
    return qtk_error_memory(q->n_linears * sizeof *budget->errors, "a budget");
  int rc = budget_measure(work, stage, budget->errors);
  if (rc == QTK_OK)
    rc = budget_choose(q, budget);
  return rc == QTK_OK ? qtk_plan_settle(work->plan, stage, budget->choice) : rc;
}

void qtk_quantize_budget_end(struct quantize_budget *budget)
{
  free(budget->errors);
  free(budget->choice);
}

/* ---- what is said about it ----------------------------------------------------------------------------- */

/* As the stage's sizes are counted: of the targets, or of every tensor. */
static double budget_reached(const struct qtk_work *work, const struct qtk_plan_quantize *q)
{
  const struct qtk_plan *plan = work->plan;
  uint64_t bytes = q->kept_bytes, weights = q->weights;
  for (size_t i = 0; i < q->n_linears; i++)
    bytes += qtk_qlayout_bytes(&q->linears[i].layout);
  if (!q->budget.total)
    return 8.0 * (double)bytes / (double)weights;
  weights = 0;
  bytes -= q->kept_bytes; /* the model has them already */
  for (int i = 0; i < qtk_model_count(plan->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, i);
    weights += (uint64_t)t->rows * (uint64_t)t->cols;
    bytes += qtk_qlayout_bytes(&t->layout);
  }
  for (size_t i = 0; i < q->n_linears; i++)
    bytes -= qtk_qlayout_bytes(&qtk_model_tensor(plan->model, q->linears[i].tensor)->layout);
  return 8.0 * (double)bytes / (double)weights;
}

int qtk_quantize_budget_report(const struct qtk_work *work, size_t stage,
                               const struct quantize_budget *budget, json_t *entry)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  if (q->budget.n == 0)
    return QTK_OK;
  struct qtk_report_budget r = {.wanted = q->budget.wanted, .reached = budget_reached(work, q),
                                .total = q->budget.total, .candidates = q->budget.bits,
                                .n = q->budget.n};
  int rc = qtk_report_budget(entry, &r);
  for (size_t i = 0; i < q->n_linears && rc == QTK_OK; i++)
    if (q->linears[i].candidates != NULL)
      rc = qtk_report_budget_linear(entry, q->linears[i].name,
                                    q->budget.bits[budget->choice[i]], budget->errors + i * (size_t)q->budget.n, q->budget.n);
  return rc;
}
