/* SPDX-License-Identifier: BSD-3-Clause
 * Perplexity, by protocol. */
#include "core/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/eval-inner.h"
#include "core/log.h"

/* The first row of a window whose prediction is scored; the last one never is. */
static int64_t perplexity_first_row(const struct qtk_protocol *protocol, int64_t context)
{
  return protocol->half ? context / 2 : 0;
}

/* ---- a window ----------------------------------------------------------------------------- */

/* Sums over windows or tokens, in their order. */
struct perplexity_sums {
  double sum, squares;
  int64_t n;
};

struct perplexity_run {
  struct qtk_eval_runner runner;
  struct qtk_tensor loss; /* [QTK_LOGIT_CHUNK] backend */
  int32_t *ids;           /* [context] of the window */
  struct perplexity_sums windows, tokens;
};

static void perplexity_add(struct perplexity_sums *s, double value)
{
  s->sum += value;
  s->squares += value * value;
  s->n++;
}

/* Losses of rows [row, row + n) added to *window and to the tokens' sums. */
static int perplexity_chunk(struct perplexity_run *r, int64_t row, int64_t n, double *window)
{
  float loss[QTK_LOGIT_CHUNK];
  struct qtk_tensor logits, out = qtk_vector(QTK_F32, r->loss.data, n);
  struct qtk_context *ctx = r->runner.ctx;
  int rc = qtk_eval_logits(&r->runner, row, n, &logits);
  if (rc == QTK_OK)
    rc = qtk_op_cross_entropy(ctx, &logits, r->ids + row + 1, &out, NULL, NULL);
  if (rc == QTK_OK)
    rc = qtk_eval_fetch(ctx, &out, n, loss);
  for (int64_t i = 0; i < n && rc == QTK_OK; i++) {
    *window += loss[i];
    perplexity_add(&r->tokens, loss[i]);
  }
  return rc;
}

static int perplexity_window(struct perplexity_run *r, const struct qtk_text *text,
                             struct qtk_perplexity *p, int64_t w)
{
  int64_t first = perplexity_first_row(p->protocol, p->context), last = p->context - 1;
  double sum = 0;
  memcpy(r->ids, text->ids.ids + w * p->context, (size_t)p->context * sizeof *r->ids);
  if (p->protocol->half && text->first >= 0)
    r->ids[0] = text->first;
  int rc = qtk_eval_window(&r->runner, r->ids, p->context);
  for (int64_t row = first; row < last && rc == QTK_OK; row += QTK_LOGIT_CHUNK) {
    int64_t n = last - row < QTK_LOGIT_CHUNK ? last - row : QTK_LOGIT_CHUNK;
    rc = perplexity_chunk(r, row, n, &sum);
  }
  if (rc != QTK_OK)
    return rc;
  if (!isfinite(sum))
    return qtk_error(QTK_ENUMERIC, "%s: the loss in window %lld is not a number", text->name,
                     (long long)w);
  p->nll_per_window[w] = sum / (double)(last - first);
  perplexity_add(&r->windows, p->nll_per_window[w]);
  return QTK_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int perplexity_open(struct perplexity_run *r, struct qtk_context *ctx,
                           const struct qtk_eval_model *model, struct qtk_perplexity *p)
{
  size_t bytes = (size_t)p->windows * sizeof *p->nll_per_window;
  p->nll_per_window = malloc(bytes);
  if (p->nll_per_window == NULL)
    return qtk_error_memory(bytes, "losses of windows");
  r->ids = qtk_alloc(ctx, (size_t)p->context * sizeof *r->ids, "text");
  if (r->ids == NULL)
    return QTK_ENOMEM;
  int rc = qtk_eval_open(&r->runner, ctx, model);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, 1, QTK_LOGIT_CHUNK, "logits", &r->loss);
  return rc;
}

static void perplexity_close(struct perplexity_run *r, struct qtk_context *ctx)
{
  if (r->loss.data != NULL)
    qtk_device_free(ctx, r->loss.data);
  qtk_eval_close(&r->runner);
  qtk_free(ctx, r->ids);
}

static void perplexity_finish(const struct perplexity_run *r, struct qtk_perplexity *p)
{
  int by_window = !p->protocol->half && p->windows > 1;
  const struct perplexity_sums *s = by_window ? &r->windows : &r->tokens;
  p->tokens = r->tokens.n;
  p->mean_loss = r->windows.sum / (double)p->windows;
  p->value = exp(p->mean_loss);
  p->standard_error = p->value * qtk_eval_error(s->sum, s->squares, s->n);
}

static int perplexity_run(struct perplexity_run *r, const struct qtk_text *text,
                          struct qtk_perplexity *p)
{
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, "perplexity", (uint64_t)(p->windows * p->context), "tokens");
  for (int64_t w = 0; w < p->windows && rc == QTK_OK; w++) {
    rc = perplexity_window(r, text, p, w);
    qtk_progress_step(&progress, (uint64_t)((w + 1) * p->context));
  }
  qtk_progress_end(&progress);
  return rc;
}

int qtk_perplexity_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                           const struct qtk_text *text, const struct qtk_protocol *protocol,
                           int64_t context, int64_t windows, struct qtk_perplexity *p)
{
  struct perplexity_run r = {0};
  *p = (struct qtk_perplexity){.protocol = protocol, .context = context};
  if (perplexity_first_row(protocol, context) >= context - 1)
    return qtk_error(QTK_EJOB,
                     "context = %lld: no token of such a window is scored in the "
                     "protocol %s",
                     (long long)context, protocol->name);
  int rc = qtk_text_windows(text, context, windows, &p->windows);
  if (rc == QTK_OK)
    rc = qtk_eval_check(model, text, p->windows * context);
  if (rc == QTK_OK)
    rc = perplexity_open(&r, ctx, model, p);
  if (rc == QTK_OK)
    rc = perplexity_run(&r, text, p);
  if (rc == QTK_OK)
    perplexity_finish(&r, p);
  perplexity_close(&r, ctx);
  return rc;
}

void qtk_perplexity_free(struct qtk_perplexity *p)
{
  free(p->nll_per_window);
  *p = (struct qtk_perplexity){0};
}
