/* SPDX-License-Identifier: BSD-3-Clause
 * How far a model's logits are from those that another one gave before. */
#include "core/eval-logits.h"

#include <math.h>

#include "core/error.h"
#include "core/eval-inner.h"

int64_t qtk_logits_rows(int64_t tokens, int64_t vocabulary)
{
  int64_t most = (int64_t)(QTK_LOGITS_BYTES / sizeof(float)) / vocabulary;

  most = most > 0 ? most : 1;
  return tokens < most ? tokens : most;
}

static int64_t logits_chunk(const struct qtk_logits *kept, int64_t row)
{
  return kept->rows - row < QTK_LOGIT_CHUNK ? kept->rows - row : QTK_LOGIT_CHUNK;
}

/* ---- kept ------------------------------------------------------------------------------ */

static int logits_keep(struct qtk_eval_runner *r, struct qtk_logits *kept)
{
  int64_t first = kept->tokens - kept->rows, n;
  struct qtk_tensor logits;
  int rc = qtk_eval_window(r, kept->ids, kept->tokens);

  for (int64_t row = 0; rc == QTK_OK && row < kept->rows; row += n) {
    n = logits_chunk(kept, row);
    rc = qtk_eval_logits(r, first + row, n, &logits);
    if (rc == QTK_OK)
      rc = qtk_eval_fetch(r->ctx, &logits, n * kept->vocabulary,
                          kept->values + row * kept->vocabulary);
  }
  return rc;
}

int qtk_logits_keep(struct qtk_context *ctx, const struct qtk_eval_model *model,
                    const int32_t *ids, int64_t tokens, struct qtk_logits *kept)
{
  struct qtk_eval_runner r = {0};
  int64_t v = model->info->vocabulary;
  int rc;

  *kept = (struct qtk_logits){
      .ids = ids, .tokens = tokens, .rows = qtk_logits_rows(tokens, v), .vocabulary = v};
  kept->values = qtk_alloc(ctx, (size_t)(kept->rows * v) * sizeof *kept->values, "logits");
  if (kept->values == NULL)
    return QTK_ENOMEM;
  rc = qtk_eval_open(&r, ctx, model);
  if (rc == QTK_OK)
    rc = logits_keep(&r, kept);
  qtk_eval_close(&r);
  return rc;
}

void qtk_logits_free(struct qtk_context *ctx, struct qtk_logits *kept)
{
  qtk_free(ctx, kept->values);
  *kept = (struct qtk_logits){0};
}

/* ---- compared ----------------------------------------------------------------------------- */

/* Of one row. */
struct logits_row {
  double maximum, sum, largest, kl;
  int same;
};

struct logits_run {
  struct qtk_eval_runner runner;
  const struct qtk_logits *kept;
  float *others; /* [QTK_LOGIT_CHUNK, vocabulary] of the host */
  int64_t row;   /* of the first of the chunk */
  struct logits_row rows[QTK_LOGIT_CHUNK];
};

static int64_t logits_top(const float *x, int64_t n)
{
  int64_t best = 0;

  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[best])
      best = i;
  return best;
}

/* ln sum exp (x - top), for probabilities exp (x - top) / that sum. */
static double logits_partition(const float *x, int64_t n, double top)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++)
    sum += exp((double)x[i] - top);
  return log(sum);
}

static int logits_row(void *arg, size_t i)
{
  struct logits_run *run = arg;
  int64_t n = run->kept->vocabulary;
  const float *a = run->kept->values + (run->row + (int64_t)i) * n;
  const float *b = run->others + (int64_t)i * n;
  int64_t best[2] = {logits_top(a, n), logits_top(b, n)};
  double top[2] = {(double)a[best[0]], (double)b[best[1]]};
  double ln[2] = {logits_partition(a, n, top[0]), logits_partition(b, n, top[1])};
  struct logits_row r = {.same = best[0] == best[1]};

  for (int64_t k = 0; k < n; k++) {
    double difference = fabs((double)a[k] - (double)b[k]), size = fabs((double)a[k]);
    double p = (double)a[k] - top[0] - ln[0], q = (double)b[k] - top[1] - ln[1];
    r.maximum = difference > r.maximum || isnan(difference) ? difference : r.maximum;
    r.sum += difference;
    r.largest = size > r.largest ? size : r.largest;
    r.kl += exp(p) * (p - q);
  }
  run->rows[i] = r;
  return QTK_OK;
}

static void logits_add(const struct logits_run *run, int64_t n, struct qtk_logits_change *c)
{
  for (int64_t i = 0; i < n; i++) {
    const struct logits_row *r = &run->rows[i];
    c->maximum = r->maximum > c->maximum ? r->maximum : c->maximum;
    c->largest = r->largest > c->largest ? r->largest : c->largest;
    c->mean += r->sum;
    c->mean_kl += r->kl;
    c->same_top += r->same;
  }
}

static int logits_compare(struct logits_run *run, struct qtk_logits_change *c)
{
  struct qtk_context *ctx = run->runner.ctx;
  const struct qtk_logits *kept = run->kept;
  int64_t first = kept->tokens - kept->rows, n;
  struct qtk_tensor logits;
  int rc = qtk_eval_window(&run->runner, kept->ids, kept->tokens);

  for (run->row = 0; rc == QTK_OK && run->row < kept->rows; run->row += n) {
    n = logits_chunk(kept, run->row);
    rc = qtk_eval_logits(&run->runner, first + run->row, n, &logits);
    if (rc == QTK_OK)
      rc = qtk_eval_fetch(ctx, &logits, n * kept->vocabulary, run->others);
    if (rc == QTK_OK)
      rc = qtk_parallel(ctx, (size_t)n, logits_row, run);
    if (rc == QTK_OK)
      logits_add(run, n, c);
  }
  return rc;
}

int qtk_logits_compare(struct qtk_context *ctx, const struct qtk_eval_model *model,
                       const struct qtk_logits *kept, struct qtk_logits_change *change)
{
  struct logits_run run = {.kept = kept};
  double rows = (double)kept->rows;
  int rc;

  *change = (struct qtk_logits_change){0};
  if (model->info->vocabulary != kept->vocabulary)
    return qtk_error(QTK_EINTERNAL, "logits of %lld tokens beside those of %lld",
                     (long long)model->info->vocabulary, (long long)kept->vocabulary);
  run.others = qtk_alloc(ctx, (size_t)(QTK_LOGIT_CHUNK * kept->vocabulary) * sizeof(float),
                         "logits");
  rc = run.others != NULL ? qtk_eval_open(&run.runner, ctx, model) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = logits_compare(&run, change);
  qtk_eval_close(&run.runner);
  qtk_free(ctx, run.others);
  change->mean /= rows * (double)kept->vocabulary;
  change->mean_kl /= rows;
  change->same_top /= rows;
  if (rc == QTK_OK && !isfinite(change->mean))
    rc = qtk_error(QTK_ENUMERIC, "logits of the probe are no numbers");
  return rc;
}
