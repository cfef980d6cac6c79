/* SPDX-License-Identifier: BSD-3-Clause
 * Makes weights for a quantizer, calls it, and looks at what it wrote. */
#include "core/check-trial.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/pack.h"

#define TRIAL_GUARD 64 /* bytes around the result that must stay as they are */
#define TRIAL_GUARD_BYTE 0xa5

/* ---- what it is given ------------------------------------------------------------------ */

/* H of inputs that are correlated with their neighbours, and a small C of no symmetry. */
static void trial_statistics(struct qtk_trial *t)
{
  int64_t n = t->linear.cols;
  qtk_check_fill(t->cross, n * n, 0.5f, 2);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      t->gram[i * n + j] = 100.0f * powf(0.5f, fabsf((float)(i - j)));
}

static int trial_needs(struct qtk_trial *t)
{
  unsigned needs = t->ops->needs ? t->ops->needs(t->options) : QTK_NEEDS_NOTHING;
  unsigned known = QTK_NEEDS_GRAM | QTK_NEEDS_CROSS;
  t->calibration = (struct qtk_calibration){.tokens = 1024, .sequences = 4};
  if (needs & known)
    t->calibration.gram = t->gram;
  if (needs & QTK_NEEDS_CROSS)
    t->calibration.cross = t->cross;
  return qtk_check_that(t->c, (needs & ~known) == 0, "needs statistics that there are",
                        "%s: needs = %u: allowed are 0, %d, %d, %u", t->text, needs, QTK_NEEDS_GRAM,
                        QTK_NEEDS_CROSS, known);
}

static int trial_layout(struct qtk_trial *t)
{
  static const char *const promise = "describes a layout that can be, of the linear's shape";
  struct qtk_qlayout *l = &t->layout;
  *l = (struct qtk_qlayout){.rows = t->linear.rows, .cols = t->linear.cols};
  int status = t->ops->describe(t->options, &t->linear, l);
  if (status == QTK_OK)
    status = qtk_qlayout_init(l);
  if (!qtk_check_status(t->c, status, promise, t->text) ||
      !qtk_check_that(t->c, l->rows == t->linear.rows && l->cols == t->linear.cols, promise,
                      "%s: it became [%lld, %lld]", t->text, (long long)l->rows,
                      (long long)l->cols))
    return 0;
  if (l->encoding != QTK_OPAQUE)
    return 1;
  return qtk_check_that(t->c, t->ops->dequantize != NULL,
                        "can read the opaque tensors that it makes", "there is no dequantize") &&
         qtk_check_that(t->c, !(t->c->plugin->plugin.flags & QTK_BY_ROWS),
                        "makes results that can be cut, if it is called by rows",
                        "the flag QTK_BY_ROWS is set, and the encoding is opaque");
}

/* What a plan would ask; a refusal is an answer, if it gives a reason. */
static int trial_refused(struct qtk_trial *t)
{
  if (t->ops->check == NULL)
    return 0;
  int status = t->ops->check(t->options, &t->linear);
  if (status == QTK_OK)
    return 0;
  qtk_check_that(t->c, status == QTK_EJOB && *qtk_error_message(), "refuses a linear with a reason",
                 "%s: check returned %d, '%s'", t->text, status, qtk_error_message());
  return 1;
}

int qtk_trial_begin(struct qtk_trial *t, struct qtk_check *c, const void *options, const char *text,
                    int64_t rows, int64_t cols)
{
  *t = (struct qtk_trial){.c = c, .options = options, .text = text};
  t->ops = &c->plugin->ops.quantizer;
  t->linear = (struct qtk_linear){"model.layers.0.trial", "q", 0, rows, cols, 0};
  t->w = malloc((size_t)(rows * cols) * sizeof *t->w);
  t->gram = malloc((size_t)(cols * cols) * sizeof *t->gram);
  t->cross = malloc((size_t)(cols * cols) * sizeof *t->cross);
  if (t->w == NULL || t->gram == NULL || t->cross == NULL) {
    qtk_trial_end(t);
    return qtk_error_memory((size_t)(rows * cols), "a trial");
  }
  qtk_check_fill(t->w, rows * cols, 0.02f, 1);
  trial_statistics(t);
  return trial_needs(t) && !trial_refused(t) && trial_layout(t);
}

void qtk_trial_end(struct qtk_trial *t)
{
  free(t->w);
  free(t->gram);
  free(t->cross);
}

/* ---- what it does ---------------------------------------------------------------------- */

struct trial_slices {
  struct qtk_trial *t;
  struct qtk_context *ctx;
  int64_t step;
  struct qtk_qtensor *out;
};

/* Slice i of the rows, from fresh copies of the weights. */
static int trial_slice(void *arg, size_t i)
{
  const struct trial_slices *s = arg;
  struct qtk_trial *t = s->t;
  int64_t row = (int64_t)i * s->step, left = t->linear.rows - row, cols = t->linear.cols;
  struct qtk_linear part = t->linear;
  part.rows = left < s->step ? left : s->step;
  part.row = row;
  size_t bytes = (size_t)(part.rows * cols) * sizeof(float);
  float *copy = malloc(bytes);
  if (copy == NULL)
    return qtk_error_memory(bytes, "the weights of a trial");
  memcpy(copy, t->w + row * cols, bytes);
  struct qtk_qtensor view =
      part.rows == t->linear.rows ? *s->out : qtk_qtensor_rows(s->out, row, part.rows);
  struct qtk_quantize_result result = {.note = ""};
  int status = t->ops->quantize(s->ctx, t->options, &part, copy, &t->calibration, &view, &result);
  free(copy);
  if (part.rows == t->linear.rows) {
    qtk_qtensor_seal(&view);
    qtk_qtensor_unseal(s->out);
  }
  if (status == QTK_OK && (memchr(result.note, 0, sizeof result.note) == NULL ||
                           !isfinite(result.damping) || !isfinite(result.objective) ||
                           !isfinite(result.condition)))
    return qtk_error(QTK_EPLUGIN, "the result has a note without an end, or no finite numbers");
  return status;
}

int qtk_trial_run(struct qtk_trial *t, struct qtk_context *ctx, int64_t step, int at_once,
                  struct qtk_trial_result *result, int *status)
{
  struct trial_slices s = {t, ctx, step, &result->tensor};
  size_t n = (size_t)((t->linear.rows + step - 1) / step);
  size_t inside = qtk_qtensor_block_bytes(&t->layout);
  result->bytes = inside + 2 * TRIAL_GUARD;
  if (posix_memalign((void **)&result->block, 64, result->bytes) != 0)
    return qtk_error_memory(result->bytes, "the result of a trial");
  memset(result->block, TRIAL_GUARD_BYTE, result->bytes);
  memset(result->block + TRIAL_GUARD, 0, inside);
  result->tensor = qtk_qtensor_over(&t->layout, result->block + TRIAL_GUARD);
  *status = QTK_OK;
  qtk_check_doing(t->c, "%s", t->text);
  if (at_once)
    *status = qtk_parallel(ctx, n, trial_slice, &s);
  for (size_t i = 0; i < n && !at_once && *status == QTK_OK; i++)
    *status = trial_slice(&s, i);
  return QTK_OK;
}

/* ---- what it wrote --------------------------------------------------------------------- */

/* Bytes [from, to) hold `value`. */
static int trial_bytes_are(const uint8_t *from, const uint8_t *to, int value)
{
  for (; from < to; from++)
    if (*from != value)
      return 0;
  return 1;
}

/* The gap between a part and the next multiple of 64 is still zero. */
static int trial_gap_holds(const void *part, size_t bytes)
{
  const uint8_t *end = (const uint8_t *)part + bytes;
  return part == NULL || trial_bytes_are(end, end + (64 - bytes % 64) % 64, 0);
}

int qtk_trial_guards_hold(const struct qtk_trial_result *r)
{
  const struct qtk_qtensor *t = &r->tensor;
  const struct qtk_qlayout *l = &t->layout;
  const uint8_t *end = r->block + r->bytes;
  return trial_bytes_are(r->block, r->block + TRIAL_GUARD, TRIAL_GUARD_BYTE) &&
         trial_bytes_are(end - TRIAL_GUARD, end, TRIAL_GUARD_BYTE) &&
         trial_gap_holds(t->codes, l->code_bytes) && trial_gap_holds(t->scales, l->scale_bytes) &&
         trial_gap_holds(t->zeros, l->zero_bytes) && trial_gap_holds(t->g_idx, l->index_bytes) &&
         trial_gap_holds(t->table, l->table_bytes);
}

static double trial_error_of(const struct qtk_trial *t, const float *back)
{
  double error = 0, total = 0;
  for (int64_t i = 0; i < t->linear.rows * t->linear.cols; i++) {
    double w = t->w[i], e = back[i] - w;
    if (!isfinite(back[i]))
      return -1;
    error += e * e;
    total += w * w;
  }
  return total > 0 ? error / total : error;
}

double qtk_trial_error(const struct qtk_trial *t, struct qtk_trial_result *r)
{
  int64_t rows = t->linear.rows, cols = t->linear.cols;
  float *back = malloc((size_t)(rows * cols) * sizeof *back);
  if (back == NULL)
    return qtk_error_memory((size_t)(rows * cols) * sizeof *back, "a trial");
  if (r->tensor.layout.encoding == QTK_OPAQUE)
    r->tensor.dequantize = t->ops->dequantize;
  double error = -1;
  if (qtk_dequantize_rows(&r->tensor, NULL, 0, rows, back, cols) == QTK_OK) {
    qtk_error(QTK_ENUMERIC, "a value is not finite");
    error = trial_error_of(t, back);
  }
  free(back);
  return error;
}
