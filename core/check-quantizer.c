/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a quantizer, tried on seeded weights of awkward shapes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-trial.h"
#include "core/error.h"
#include "core/pack.h"

/* ---- results ----------------------------------------------------------------------- */

/* The same bytes as `first`, when called in another way. */
static int results_again(struct qtk_trial *t, struct qtk_context *ctx, int64_t step, int at_once,
                         const struct qtk_trial_result *first, const char *promise)
{
  struct qtk_trial_result again;
  int status, rc = qtk_trial_run(t, ctx, step, at_once, &again, &status);
  if (rc != QTK_OK)
    return rc;
  if (status != QTK_OK)
    qtk_check_that(t->c, 0, promise, "%s: %s", t->text, qtk_error_message());
  else
    qtk_check_that(t->c, memcmp(again.block, first->block, first->bytes) == 0, promise,
                   "%s: other bytes", t->text);
  free(again.block);
  return QTK_OK;
}

static int results_same(struct qtk_trial *t, const struct qtk_trial_result *first)
{
  int by_rows =
      (t->c->plugin->plugin.flags & QTK_BY_ROWS) != 0 && qtk_qlayout_sliced(&t->layout);
  int any = t->c->plugin->plugin.threads == QTK_THREADS_ANY;
  int64_t rows = t->linear.rows, step = by_rows ? 8 : rows;
  struct qtk_context *three;
  int rc = results_again(t, t->c->ctx, rows, 0, first, "gives the same bytes twice");
  if (rc == QTK_OK && by_rows)
    rc = results_again(t, t->c->ctx, step, 0, first, "gives the same bytes by slices of 8 rows");
  if (rc == QTK_OK)
    rc = qtk_check_context_open(3, 0, &three);
  if (rc != QTK_OK)
    return rc;
  rc = results_again(t, three, step, by_rows && any, first, "gives the same bytes on 3 threads");
  qtk_check_context_end(t->c, three);
  return rc;
}

static int results_look(struct qtk_trial *t)
{
  struct qtk_trial_result result;
  int status, rc = qtk_trial_run(t, t->c->ctx, t->linear.rows, 0, &result, &status);
  if (rc != QTK_OK)
    return rc;
  if (qtk_check_status(t->c, status, "quantizes what it does not refuse", t->text)) {
    qtk_check_that(t->c, qtk_trial_guards_hold(&result), "writes inside its output only", "%s",
                   t->text);
    double error = qtk_trial_error(t, &result);
    qtk_check_that(t->c, error >= 0, "makes results that decode to finite numbers", "%s: %s",
                   t->text, qtk_error_message());
    qtk_check_that(t->c, error < 1, "comes nearer to the weights than zeros do",
                   "%s: relative squared error %g", t->text, error);
    rc = results_same(t, &result);
  }
  free(result.block);
  return rc;
}

/* One set of options on one shape. */
static int results_shape(struct qtk_check *c, const struct qtk_options *options, const char *set,
                         int64_t rows, int64_t cols)
{
  struct qtk_trial t;
  char text[QTK_CHECK_WHAT + 48];
  snprintf(text, sizeof text, "%s, [%lld, %lld]", set, (long long)rows, (long long)cols);
  qtk_check_doing(c, "%s", text);
  int status = qtk_trial_begin(&t, c, options->values, text, rows, cols);
  if (status == 1)
    status = results_look(&t);
  if (status >= 0)
    qtk_trial_end(&t);
  return status < 0 ? status : QTK_OK;
}

/* Piece i: set i of the options. */
static int results_run(struct qtk_check *c, int i)
{
  static const int64_t shapes[][2] = {{8, 64}, {16, 96}, {24, 100}, {9, 33}, {8, 1}, {1, 256}};
  struct qtk_options *options = NULL;
  char set[QTK_CHECK_WHAT];
  int status = qtk_check_options_set(&c->plugin->plugin, i, &options, set);
  if (status <= 0)
    return status;
  size_t size = options->size;
  void *copy = malloc(size + 1);
  if (copy != NULL && size > 0)
    memcpy(copy, options->values, size);
  status = copy != NULL ? QTK_OK : qtk_error_memory(size, "options");
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes && status == QTK_OK; s++)
    status = results_shape(c, options, set, shapes[s][0], shapes[s][1]);
  if (copy != NULL)
    qtk_check_that(c, size == 0 || memcmp(copy, options->values, size) == 0,
                   "leaves its options as they are", "%s", set);
  free(copy);
  qtk_options_free(options);
  return status < 0 ? status : 1;
}

/* ---- faults ------------------------------------------------------------------------- */

enum fault { NOT_A_NUMBER, INFINITE, ZEROS, HUGE_ONES, TINY, NO_MEMORY, STOPPED, NO_INPUT, OVERFLOWN };

struct fault_case {
  enum fault fault;
  const char *promise;
  int also; /* a status that is allowed besides QTK_OK; 0: none */
  int only; /* 1: nothing but `also` */
};

static const struct fault_case faults[] = {
    {NOT_A_NUMBER, "refuses a weight that is not a number, with QTK_ENUMERIC", QTK_ENUMERIC, 1},
    {INFINITE, "refuses an infinite weight, with QTK_ENUMERIC", QTK_ENUMERIC, 1},
    {ZEROS, "quantizes zeros", 0, 0},
    {HUGE_ONES, "quantizes weights of 1e36, or refuses them with QTK_ENUMERIC", QTK_ENUMERIC, 0},
    {TINY, "quantizes weights of 1e-40", 0, 0},
    {NO_MEMORY, "says QTK_ENOMEM where there is no memory", QTK_ENOMEM, 0},
    {STOPPED, "stops on request, or ends its work", QTK_EINTERRUPTED, 0},
    {NO_INPUT, "copes with inputs that are always zero, or refuses them with QTK_ENUMERIC",
     QTK_ENUMERIC, 0},
    {OVERFLOWN, "refuses statistics that are not finite, with QTK_ENUMERIC", QTK_ENUMERIC, 1},
};

static void fault_scale(struct qtk_trial *t, float scale)
{
  for (int64_t i = 0; i < t->linear.rows * t->linear.cols; i++)
    t->w[i] = 50.0f * t->w[i] * scale;
}

static void fault_set(struct qtk_trial *t, enum fault fault)
{
  static const volatile sig_atomic_t stop = 1;
  int64_t cols = t->linear.cols, at = 3 * cols + 7;
  struct qtk_context *ctx = t->c->ctx;
  if (fault == NOT_A_NUMBER || fault == INFINITE)
    t->w[at] = fault == INFINITE ? INFINITY : NAN;
  else if (fault == ZEROS || fault == TINY || fault == HUGE_ONES)
    fault_scale(t, fault == ZEROS ? 0.0f : fault == TINY ? 1e-40f : 1e36f);
  else if (fault == NO_MEMORY)
    ctx->arena.limit = ctx->arena.used + 1;
  else if (fault == STOPPED)
    ctx->stop = &stop;
  else if (fault == NO_INPUT)
    for (int64_t j = 0; j < cols; j++)
      t->gram[5 * cols + j] = t->gram[j * cols + 5] = 0.0f;
  else
    t->gram[5 * cols + 6] = t->gram[6 * cols + 5] = INFINITY;
}

static void fault_result(struct qtk_trial *t, const struct fault_case *f,
                         struct qtk_trial_result *result)
{
  double error = qtk_trial_error(t, result);
  qtk_check_that(t->c, error >= 0, "makes results that decode to finite numbers", "%s: %s", t->text,
                 qtk_error_message());
  if (f->fault == ZEROS)
    qtk_check_that(t->c, error == 0, "decodes zeros to zeros", "squared error %g", error);
}

static int fault_try(struct qtk_trial *t, const struct fault_case *f)
{
  struct qtk_trial_result result;
  int status;
  if (f->fault == OVERFLOWN && t->calibration.gram == NULL) {
    qtk_check_skip(t->c, f->promise, "it needs no Gram matrix");
    return QTK_OK;
  }
  fault_set(t, f->fault);
  int rc = qtk_trial_run(t, t->c->ctx, t->linear.rows, 0, &result, &status);
  t->c->ctx->arena.limit = 0;
  t->c->ctx->stop = NULL;
  if (rc != QTK_OK)
    return rc;
  int allowed = f->only ? status == f->also : status == QTK_OK || (f->also && status == f->also);
  qtk_check_that(t->c, allowed && (status == QTK_OK || *qtk_error_message()), f->promise,
                 "%d returned, message '%s'", status, qtk_error_message());
  if (status == QTK_OK && !f->only)
    fault_result(t, f, &result);
  free(result.block);
  return QTK_OK;
}

/* A trial with default options for `work`. */
static int default_trial(struct qtk_check *c, const char *text,
                         int (*work)(struct qtk_trial *t, const void *arg), const void *arg)
{
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  struct qtk_trial t;
  int status = qtk_check_options_set(&c->plugin->plugin, 0, &options, set);
  if (status < 0)
    return status;
  qtk_check_doing(c, "%s", text);
  status = qtk_trial_begin(&t, c, options->values, text, 16, 96);
  if (status == 1)
    status = work(&t, arg);
  if (status >= 0)
    qtk_trial_end(&t);
  qtk_options_free(options);
  return status < 0 ? status : 1;
}

static int fault_work(struct qtk_trial *t, const void *arg)
{
  return fault_try(t, arg);
}

static int faults_run(struct qtk_check *c, int i)
{
  if (i >= (int)(sizeof faults / sizeof *faults))
    return 0;
  return default_trial(c, faults[i].promise, fault_work, &faults[i]);
}

/* ---- the other slots -------------------------------------------------------------------- */

static int slots_error(struct qtk_trial *t, const void *arg)
{
  static const int bits[] = {2, 3, 4, 8};
  double error[4] = {-1, -1, -1, -1};
  (void)arg;
  if (t->ops->error == NULL) {
    qtk_check_skip(t->c, "tells errors that fall with the bits", "it has no slot 'error'");
    return QTK_OK;
  }
  int status =
      t->ops->error(t->c->ctx, t->options, &t->linear, t->w, &t->calibration, bits, 4, error);
  if (!qtk_check_status(t->c, status, "tells the error at 2, 3, 4 and 8 bits", "error"))
    return QTK_OK;
  for (int i = 0; i < 4; i++)
    qtk_check_that(
        t->c, error[i] >= 0 && isfinite(error[i]) && (i == 0 || error[i] <= 1.05 * error[i - 1]),
        "tells errors that fall with the bits", "%d bits: %g, after %g", bits[i], error[i],
        i ? error[i - 1] : 0.0);
  return QTK_OK;
}

static int slots_observe(struct qtk_trial *t, const void *arg)
{
  int64_t n = t->linear.cols;
  struct qtk_tensor x = qtk_matrix(QTK_F32, t->gram, n / 2, n);
  void *state = NULL;
  int status = QTK_OK;
  (void)arg;
  if (t->ops->observe == NULL) {
    qtk_check_skip(t->c, "observes inputs and forgets them", "it has no slot 'observe'");
    return QTK_OK;
  }
  for (int i = 0; i < 2 && status == QTK_OK; i++)
    status = t->ops->observe(t->c->ctx, t->options, &t->linear, &x, &state);
  qtk_check_status(t->c, status, "observes inputs and forgets them", "observe");
  t->ops->forget(t->c->ctx, state);
  return QTK_OK;
}

/* Rows of an opaque result, one by one and apart, against all at once. */
static int slots_rows(struct qtk_trial *t, const struct qtk_qtensor *q, float *all, float *one)
{
  int64_t rows = t->linear.rows, cols = t->linear.cols;
  int status = t->ops->dequantize(q, 0, rows, all, cols), same = 1;
  for (int64_t i = 0; i < rows && status == QTK_OK; i += 2) {
    for (int64_t j = 0; j < 2 * (cols + 3); j++)
      one[j] = -7.0f;
    status = t->ops->dequantize(q, i, 2, one, cols + 3);
    same &= memcmp(one, all + i * cols, (size_t)cols * sizeof *one) == 0 &&
            memcmp(one + cols + 3, all + (i + 1) * cols, (size_t)cols * sizeof *one) == 0 &&
            one[cols] == -7.0f && one[2 * cols + 3] == -7.0f;
  }
  if (qtk_check_status(t->c, status, "reads rows of opaque tensors", "dequantize"))
    qtk_check_that(t->c, same, "reads rows of opaque tensors",
                   "two rows at a stride of %lld differ from all at once", (long long)(cols + 3));
  return QTK_OK;
}

static int slots_dequantize(struct qtk_trial *t, const void *arg)
{
  struct qtk_trial_result result;
  int64_t rows = t->linear.rows, cols = t->linear.cols;
  int status;
  (void)arg;
  if (t->layout.encoding != QTK_OPAQUE) {
    qtk_check_skip(t->c, "reads rows of opaque tensors", "its tensors are not opaque");
    return QTK_OK;
  }
  int rc = qtk_trial_run(t, t->c->ctx, rows, 0, &result, &status);
  if (rc != QTK_OK)
    return rc;
  float *all = malloc((size_t)(rows * cols + 2 * (cols + 3)) * sizeof *all);
  if (all == NULL)
    rc = qtk_error_memory((size_t)(rows * cols), "rows");
  else if (status == QTK_OK)
    rc = slots_rows(t, &result.tensor, all, all + rows * cols);
  free(all);
  free(result.block);
  return rc;
}

static int slots_once(void *arg)
{
  struct qtk_trial *t = arg;
  struct qtk_trial_result result;
  int status, rc = qtk_trial_run(t, t->c->ctx, t->linear.rows, 0, &result, &status);
  if (rc == QTK_OK)
    free(result.block);
  return rc;
}

static int slots_malloc(struct qtk_trial *t, const void *arg)
{
  (void)arg;
  return qtk_check_leaks(t->c, slots_once, t, "quantize");
}

static int slots_run(struct qtk_check *c, int i)
{
  static int (*const work[])(struct qtk_trial * t, const void *arg) = {
      slots_error, slots_observe, slots_dequantize, slots_malloc};
  static const char *const texts[] = {"error", "observe", "dequantize", "forty calls"};
  return i < 4 ? default_trial(c, texts[i], work[i], NULL) : 0;
}

const struct qtk_check_section qtk_check_quantizer[] = {
    {"results", results_run}, {"faults", faults_run}, {"slots", slots_run}, {NULL, NULL}};
