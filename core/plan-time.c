/* SPDX-License-Identifier: BSD-3-Clause
 * Roughly how long a plan will take, from samples of its work done here and now. */
#include <qtk/ops.h>

#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/plan.h"

#define TIME_DISK 5e8   /* bytes a second that are read or written, hashing included */
#define TIME_TOKEN 4.5  /* bytes of text a token */
#define TIME_ROWS 256   /* of a sample product */
#define TIME_COLS 1024  /* of a linear that is tried with statistics */

/* Numbers that are spread like weights are. */
static void time_fill(struct qtk_context *ctx, float *w, size_t n)
{
  struct qtk_random_key key = {0};
  for (size_t i = 0; i < n; i++)
    w[i] = 0.02f * (float)qtk_random_normal(ctx, &key, i & 1023);
}

/* ---- rounding ----------------------------------------------------------------------- */

/* A linear to try a method on: a slice; of one that needs statistics a part that is small
 * enough to be tried. */
static int time_sample(const struct qtk_plan_linear *l, struct qtk_linear *linear,
                       struct qtk_qlayout *layout)
{
  *linear = l->linear;
  *layout = l->layout;
  linear->rows = layout->rows = qtk_plan_slice_rows(l);
  if (!l->method->watches)
    return qtk_qlayout_init(layout);
  linear->rows = linear->rows < TIME_ROWS ? linear->rows : TIME_ROWS;
  linear->cols = linear->cols < TIME_COLS ? linear->cols : TIME_COLS;
  *layout = (struct qtk_qlayout){.rows = linear->rows, .cols = linear->cols};
  int rc = l->method->loaded->ops.quantizer.describe(l->method->options->values, linear, layout);
  return rc == QTK_OK ? qtk_qlayout_init(layout) : rc;
}

/* Statistics [n, n] as of inputs that do not depend on one another. */
static int time_statistics(struct qtk_context *ctx, int64_t n, float **gram, float **cross)
{
  size_t bytes = (size_t)(n * n) * sizeof(float);
  *gram = qtk_alloc(ctx, bytes, "statistics");
  *cross = qtk_alloc(ctx, bytes, "statistics");
  for (int64_t i = 0; *gram != NULL && i < n; i++)
    (*gram)[i * n + i] = 1024.0f;
  return *gram && *cross ? QTK_OK : QTK_ENOMEM;
}

static int time_call(struct qtk_context *ctx, const struct qtk_plan_linear *l,
                     const struct qtk_linear *linear, const struct qtk_calibration *calibration,
                     const struct qtk_qlayout *layout, double *seconds)
{
  size_t n = (size_t)(linear->rows * linear->cols);
  float *w = qtk_alloc(ctx, n * sizeof *w, "scratch");
  void *block = qtk_alloc(ctx, qtk_qtensor_block_bytes(layout), "scratch");
  struct qtk_quantize_result result = {0};
  int rc = w && block ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK) {
    struct qtk_qtensor out = qtk_qtensor_over(layout, block);
    time_fill(ctx, w, n);
    double start = qtk_seconds();
    rc = l->method->loaded->ops.quantizer.quantize(ctx, l->method->options->values, linear, w,
                                                   calibration, &out, &result);
    *seconds = (qtk_seconds() - start) / (double)n;
  }
  qtk_free(ctx, w);
  qtk_free(ctx, block);
  return rc;
}

/* Seconds for a weight of this linear; what a plugin that looks at inputs itself takes is not
 * known. */
static int time_slice(struct qtk_context *ctx, const struct qtk_plan_linear *l, double *seconds)
{
  struct qtk_calibration calibration = {.tokens = 1024, .sequences = 1};
  struct qtk_linear linear;
  struct qtk_qlayout layout;
  float *gram = NULL, *cross = NULL;
  int rc = QTK_OK;
  *seconds = 0;
  if (l->method->loaded->ops.quantizer.observe != NULL)
    return QTK_OK;
  rc = time_sample(l, &linear, &layout);
  if (rc == QTK_OK && l->method->watches)
    rc = time_statistics(ctx, linear.cols, &gram, &cross);
  calibration.gram = gram;
  calibration.cross = l->method->needs & QTK_NEEDS_CROSS ? cross : NULL;
  if (rc == QTK_OK)
    rc = time_call(ctx, l, &linear, l->method->watches ? &calibration : NULL, &layout, seconds);
  *seconds *= (double)l->linear.cols / (double)linear.cols;
  qtk_free(ctx, gram);
  qtk_free(ctx, cross);
  return rc;
}

/* Linears with the same method are taken for equal, but what statistics cost goes with the
 * columns. */
static int time_quantize(struct qtk_context *ctx, const struct qtk_plan_quantize *q,
                         double *seconds)
{
  int threads = qtk_workers_count(ctx->workers), rc = QTK_OK;
  int64_t cols = 1;
  double weight = 0;
  for (size_t i = 0; i < q->n_linears && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    if (i == 0 || l->method != q->linears[i - 1].method) {
      rc = time_slice(ctx, l, &weight);
      cols = l->linear.cols;
    }
    double more = l->method->watches ? (double)l->linear.cols / (double)cols : 1.0;
    if (l->candidates != NULL)
      more *= 1 + q->budget.n;
    *seconds += more * weight * (double)l->linear.rows * (double)l->linear.cols /
                (l->by_rows ? threads : 1);
    *seconds += (double)qtk_qlayout_bytes(&l->layout) / TIME_DISK;
  }
  return rc;
}

/* ---- running the model ---------------------------------------------------------------- */

/* Multiplications a second, of a product with a square of the model's width. */
static int time_product(struct qtk_context *ctx, int64_t width, double *rate)
{
  struct qtk_tensor x, w, y;
  int rc = qtk_device_matrix(ctx, TIME_ROWS, width, "scratch", &x);
  if (rc != QTK_OK)
    return rc;
  if ((rc = qtk_device_matrix(ctx, width, width, "scratch", &w)) == QTK_OK) {
    if ((rc = qtk_device_matrix(ctx, TIME_ROWS, width, "scratch", &y)) == QTK_OK) {
      double start = qtk_seconds();
      for (int i = 0; i < 4 && rc == QTK_OK; i++)
        rc = qtk_op_matmul(ctx, 0, 1, 1, &x, &w, 0, &y);
      if (rc == QTK_OK)
        rc = qtk_device_sync(ctx);
      *rate = 4.0 * TIME_ROWS * (double)width * (double)width / (qtk_seconds() - start);
      qtk_device_free(ctx, y.data);
    }
    qtk_device_free(ctx, w.data);
  }
  qtk_device_free(ctx, x.data);
  return rc;
}

static double time_tokens(const struct qtk_plan_text *text)
{
  uint64_t bytes = 0;
  if (!text->wanted)
    return 0;
  if (text->windows > 0)
    return (double)text->windows * (double)text->context;
  return qtk_path_size(text->data, &bytes) == QTK_OK ? (double)bytes / TIME_TOKEN : 0;
}

/* Tokens that blocks run over for statistics; the sums over what they read are taken for half
 * as much again. */
static double time_calibrate(const struct qtk_plan_quantize *q, double layers)
{
  const struct qtk_plan_calibrate *c = &q->calibrate;
  double passes = 1 + !c->sequential + c->cross + 0.5 + (q->budget.n > 0 ? 2.5 : 0), blocks = 0;
  for (size_t i = 0; i < q->n_linears; i++)
    if (q->linears[i].method->watches && q->linears[i].linear.layer >= blocks)
      blocks = q->linears[i].linear.layer + 1;
  return c->wanted ? passes * (double)c->samples * (double)c->length * blocks / layers : 0;
}

static double time_questions(const struct qtk_plan_choices *choices)
{
  uint64_t longest, all;
  if (choices->suite == NULL || qtk_suite_measure(choices->suite, &longest, &all) != QTK_OK)
    return 0;
  return (double)all / TIME_TOKEN;
}

/* All texts, or as many tokens as their file has bytes for. */
static double time_labels(const struct qtk_plan_labels *l)
{
  uint64_t bytes = 0;
  if (l->recipe.path == NULL)
    return 0;
  if (l->tokens > 0)
    return (double)l->tokens;
  return qtk_path_size(l->recipe.path, &bytes) == QTK_OK ? (double)bytes / TIME_TOKEN : 0;
}

/* What is measured, once for each adapter too. */
static double time_evaluate(const struct qtk_plan_stage *stage)
{
  double tokens = time_tokens(&stage->perplexity) + 2 * time_tokens(&stage->divergence) +
                  time_questions(&stage->choices) + time_labels(&stage->labels);
  return tokens * (double)(1 + stage->n_adapters);
}

/* Backward takes as long as forward, with activations made again half as much more. Epochs are
 * over as many tokens as the data have bytes for. */
static double time_training(const struct qtk_plan_adapt *a)
{
  const struct qtk_job_training *t = &a->training;
  uint64_t bytes = 0;
  if (a->method.loaded == NULL)
    return 0;
  double tokens = (double)t->steps * (double)t->batch * (double)t->length;
  if (t->steps == 0 && qtk_path_size(a->data.path, &bytes) == QTK_OK)
    tokens = t->epochs * (double)bytes / TIME_TOKEN;
  if (t->steps == 0 && a->data.tokens > 0 && t->epochs * (double)a->data.tokens < tokens)
    tokens = t->epochs * (double)a->data.tokens;
  if (a->cached)
    return tokens * (2 + a->checkpoint) + tokens / (t->steps == 0 && t->epochs > 1 ? t->epochs : 1);
  return tokens * (2 + a->checkpoint + a->taught);
}

int qtk_plan_time(struct qtk_context *ctx, struct qtk_plan *plan)
{
  double tokens = 0, seconds = 0, rate = 1;
  uint64_t read = 0;
  int rc = QTK_OK;
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++) {
    tokens += time_evaluate(&plan->stages[i]);
    tokens += time_calibrate(&plan->stages[i].quantize,
                             (double)qtk_model_info(plan->model)->layers);
    tokens += time_training(&plan->stages[i].adapt);
    rc = time_quantize(ctx, &plan->stages[i].quantize, &seconds);
  }
  if (rc == QTK_OK && tokens > 0)
    rc = time_product(ctx, qtk_model_info(plan->model)->dims.hidden, &rate);
  for (int i = 0; i < qtk_model_count(plan->model); i++)
    read += qtk_qlayout_bytes(&qtk_model_tensor(plan->model, i)->layout);
  seconds += ((double)read + 2 * (double)(plan->bundle_bytes + plan->base_bytes)) / TIME_DISK;
  plan->seconds = seconds + tokens * (double)qtk_model_parameters(plan->model) / rate;
  return rc;
}
