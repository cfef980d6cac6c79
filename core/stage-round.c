/* SPDX-License-Identifier: BSD-3-Clause
 * Rounding linears: in slices of rows on the pool where rows are independent, else whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/pack.h"
#include "core/stage-quantize.h"

/* Rows [row, row + n) of one linear, and what was lost there. */
struct slice {
  size_t linear;           /* of the group */
  int64_t row, n;
  double lost, whole; /* sum (w - what)^2, sum w^2 */
  struct qtk_quantize_result result;
};

struct round {
  struct quantize_block *b;
  QTK_VEC(struct slice) slices; /* first those that may run side by side */
  size_t n_apart;               /* how many these are */
  float *scratch;               /* weights as they were, and as they are worked on */
  size_t room;                  /* floats of it that a thread has */
};

/* ---- a slice --------------------------------------------------------------------- */

static int slice_quantize(struct round *r, struct slice *s, float *w, struct qtk_qtensor *out)
{
  const struct qtk_plan_linear *l = quantize_linear(r->b, s->linear);
  const struct qtk_plan_method *method = l->method;
  const struct qtk_calibration *calibration =
      method->watches ? &r->b->calibrations[s->linear] : NULL;
  struct qtk_linear linear = l->linear;
  linear.rows = s->n;
  linear.row = s->row;
  int rc = method->loaded->ops.quantizer.quantize(r->b->work->ctx, method->options->values,
                                                  &linear, w, calibration, out, &s->result);
  s->result.note[sizeof s->result.note - 1] = '\0';
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", method->loaded->plugin.name);
}

static int slice_run(struct round *r, struct slice *s)
{
  const struct qtk_plan_linear *l = quantize_linear(r->b, s->linear);
  struct qtk_qtensor *view = &r->b->views[s->linear];
  int64_t cols = l->linear.cols;
  size_t n = (size_t)(s->n * cols), mine = l->by_rows ? (size_t)qtk_worker_index() : 0;
  float *w = r->scratch + r->room * mine, *kept = w + n;
  struct qtk_qtensor out = l->by_rows ? qtk_qtensor_rows(view, s->row, s->n) : *view;
  float table[256], *whole_table = out.table;
  int rc = qtk_model_read(r->b->work->model, l->tensor, s->row, s->n, w, cols);
  if (rc != QTK_OK)
    return rc;
  memcpy(kept, w, n * sizeof *w);
  if (out.table != NULL) /* one for all rows: each slice fills its own, the first one's counts */
    out.table = memset(table, 0, sizeof table);
  if ((rc = slice_quantize(r, s, w, &out)) != QTK_OK)
    return rc;
  qtk_qtensor_seal(&out);
  qtk_qtensor_unseal(view);
  out.dequantize = view->dequantize;
  if ((rc = qtk_dequantize_rows(&out, NULL, 0, s->n, w, cols)) != QTK_OK)
    return rc;
  if (whole_table != NULL && s->row == 0)
    memcpy(whole_table, table, l->layout.table_bytes);
  qtk_sum_lost(kept, w, n, &s->lost, &s->whole);
  if (!isfinite(s->lost))
    return qtk_error(QTK_ENUMERIC, "the result is not finite");
  return QTK_OK;
}

static int slice_work(void *arg, size_t i)
{
  struct round *r = arg;
  struct slice *s = &r->slices.data[i];
  int rc = qtk_check_stop(r->b->work->ctx);
  if (rc != QTK_OK)
    return rc;
  rc = slice_run(r, s);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED
             ? rc
             : qtk_error_at(rc, "%s, rows %lld to %lld", quantize_linear(r->b, s->linear)->name,
                            (long long)s->row, (long long)(s->row + s->n - 1));
}

/* ---- a round ------------------------------------------------------------------------ */

static int round_slice(struct round *r, size_t i)
{
  const struct qtk_plan_linear *l = quantize_linear(r->b, i);
  int64_t step = qtk_plan_slice_rows(l);
  for (int64_t row = 0; row < l->linear.rows; row += step) {
    int64_t n = l->linear.rows - row < step ? l->linear.rows - row : step;
    int rc = qtk_vec_push(&r->slices, ((struct slice){.linear = i, .row = row, .n = n}));
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

static int round_slice_all(struct round *r, const char *in)
{
  int rc = QTK_OK;
  for (int by_rows = 1; by_rows >= 0; by_rows--) {
    for (size_t i = 0; i < r->b->group->n && rc == QTK_OK; i++)
      if (in[i] && quantize_linear(r->b, i)->by_rows == by_rows)
        rc = round_slice(r, i);
    if (by_rows)
      r->n_apart = r->slices.length;
  }
  return rc;
}

/* Slices side by side need scratch each, the others after them can have all of it. */
static int round_scratch(struct round *r)
{
  struct qtk_context *ctx = r->b->work->ctx;
  size_t threads = (size_t)qtk_workers_count(ctx->workers), whole = 0;
  for (size_t i = 0; i < r->slices.length; i++) {
    const struct slice *s = &r->slices.data[i];
    size_t floats = 2 * (size_t)(s->n * quantize_linear(r->b, s->linear)->linear.cols);
    size_t *most = i < r->n_apart ? &r->room : &whole;
    *most = floats > *most ? floats : *most;
  }
  size_t floats = r->room * threads > whole ? r->room * threads : whole;
  r->scratch = qtk_alloc(ctx, floats * sizeof *r->scratch, "scratch");
  return r->scratch != NULL ? QTK_OK : QTK_ENOMEM;
}

/* Those that are not cut may use the pool themselves. */
static int round_run(struct round *r)
{
  int rc = qtk_parallel(r->b->work->ctx, r->n_apart, slice_work, r);
  for (size_t i = r->n_apart; i < r->slices.length && rc == QTK_OK; i++)
    rc = slice_work(r, i);
  return rc;
}

/* A linear's outcome from its slices, in their order; its seconds are its share of the
 * round's, by weights. */
static void round_tell(struct round *r, double seconds)
{
  double weights = 0;
  for (size_t i = 0; i < r->slices.length; i++)
    weights += (double)(r->slices.data[i].n *
                        quantize_linear(r->b, r->slices.data[i].linear)->linear.cols);
  for (size_t i = 0; i < r->slices.length; i++) {
    const struct slice *s = &r->slices.data[i];
    struct quantize_outcome *o = &r->b->outcomes[s->linear];
    double share = (double)(s->n * quantize_linear(r->b, s->linear)->linear.cols) / weights;
    if (s->row == 0 || (o->result.note[0] == '\0' && s->result.note[0] != '\0'))
      o->result = s->result;
    o->lost += s->lost;
    o->whole += s->whole;
    o->seconds += seconds * share;
  }
}

int qtk_quantize_round(struct quantize_block *b, const char *in)
{
  struct round r = {.b = b};
  double start = qtk_seconds();
  int rc = round_slice_all(&r, in);
  if (rc == QTK_OK)
    rc = round_scratch(&r);
  if (rc == QTK_OK)
    rc = round_run(&r);
  if (rc == QTK_OK)
    round_tell(&r, qtk_seconds() - start);
  qtk_free(b->work->ctx, r.scratch);
  qtk_vec_free(&r.slices);
  return rc;
}
