/* SPDX-License-Identifier: BSD-3-Clause
 * How far one model's predictions are from another's. */
#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/eval-inner.h"
#include "core/log.h"

struct divergence_run {
  struct qtk_context *ctx;
  struct qtk_eval_runner teacher, student;
  struct qtk_tensor kl; /* [QTK_LOGIT_CHUNK] backend */
  float *values;        /* [tokens] KL of each */
  float *rows[2];       /* logits of a chunk on the host, where the backend's are not */
  int64_t vocabulary, same;
};

/* ---- the likeliest token ------------------------------------------------------------------ */

/* A chunk of logits [n, V] of both models in the host's memory. */
struct divergence_top {
  const float *rows[2];
  int64_t stride[2], vocabulary;
  int same[QTK_LOGIT_CHUNK];
};

static int64_t divergence_argmax(const float *x, int64_t n)
{
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[best])
      best = i;
  return best;
}

static int divergence_compare_row(void *arg, size_t i)
{
  struct divergence_top *top = arg;
  int64_t best[2];
  for (int k = 0; k < 2; k++)
    best[k] = divergence_argmax(top->rows[k] + (int64_t)i * top->stride[k], top->vocabulary);
  top->same[i] = best[0] == best[1];
  return QTK_OK;
}

static int divergence_count_same(struct divergence_run *r, const struct qtk_tensor *logits[2],
                                 int64_t n)
{
  struct divergence_top top = {.vocabulary = r->vocabulary};
  int rc = QTK_OK;
  for (int k = 0; k < 2 && rc == QTK_OK; k++) {
    top.rows[k] = logits[k]->data;
    top.stride[k] = logits[k]->stride;
    if (r->rows[k] != NULL) {
      rc = qtk_eval_fetch(r->ctx, logits[k], n * logits[k]->stride, r->rows[k]);
      top.rows[k] = r->rows[k];
    }
  }
  if (rc == QTK_OK)
    rc = qtk_parallel(r->ctx, (size_t)n, divergence_compare_row, &top);
  for (int64_t i = 0; i < n && rc == QTK_OK; i++)
    r->same += top.same[i];
  return rc;
}

/* ---- a window ------------------------------------------------------------------------------- */

/* KL of rows [row, row + n) into `out`. */
static int divergence_chunk(struct divergence_run *r, int64_t row, int64_t n, float *out)
{
  struct qtk_tensor teacher, student, kl = qtk_vector(QTK_F32, r->kl.data, n);
  const struct qtk_tensor *both[2] = {&teacher, &student};
  int rc = qtk_eval_logits(&r->teacher, row, n, &teacher);
  if (rc == QTK_OK)
    rc = qtk_eval_logits(&r->student, row, n, &student);
  if (rc == QTK_OK)
    rc = qtk_op_divergence(r->ctx, &teacher, &student, &kl, NULL, NULL);
  if (rc == QTK_OK)
    rc = qtk_eval_fetch(r->ctx, &kl, n, out);
  return rc == QTK_OK ? divergence_count_same(r, both, n) : rc;
}

static int divergence_window(struct divergence_run *r, const struct qtk_text *text,
                             struct qtk_divergence *d, int64_t w)
{
  const int32_t *ids = text->ids.ids + w * d->context;
  float *values = r->values + w * d->context;
  double sum = 0;
  int rc = qtk_eval_window(&r->teacher, ids, d->context);
  if (rc == QTK_OK)
    rc = qtk_eval_window(&r->student, ids, d->context);
  for (int64_t row = 0; row < d->context && rc == QTK_OK; row += QTK_LOGIT_CHUNK) {
    int64_t n = d->context - row < QTK_LOGIT_CHUNK ? d->context - row : QTK_LOGIT_CHUNK;
    rc = divergence_chunk(r, row, n, values + row);
  }
  for (int64_t i = 0; i < d->context && rc == QTK_OK; i++)
    sum += values[i];
  if (rc == QTK_OK && !isfinite(sum))
    rc = qtk_error(QTK_ENUMERIC, "%s: the divergence in window %lld is not a number", text->name,
                   (long long)w);
  d->kl_per_window[w] = sum / (double)d->context;
  return rc;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int divergence_open(struct divergence_run *r, const struct qtk_eval_model *teacher,
                           const struct qtk_eval_model *student, struct qtk_divergence *d)
{
  size_t bytes = (size_t)d->windows * sizeof *d->kl_per_window;
  size_t row_bytes = (size_t)(QTK_LOGIT_CHUNK * r->vocabulary) * sizeof(float);
  d->kl_per_window = malloc(bytes);
  if (d->kl_per_window == NULL)
    return qtk_error_memory(bytes, "divergences of windows");
  r->values = qtk_alloc(r->ctx, (size_t)d->tokens * sizeof *r->values, "evaluation");
  if (r->values == NULL)
    return QTK_ENOMEM;
  for (int k = 0; k < 2 && !qtk_device_is_host(r->ctx); k++)
    if ((r->rows[k] = qtk_alloc(r->ctx, row_bytes, "logits")) == NULL)
      return QTK_ENOMEM;
  int rc = qtk_eval_open(&r->teacher, r->ctx, teacher);
  if (rc == QTK_OK)
    rc = qtk_eval_open(&r->student, r->ctx, student);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(r->ctx, 1, QTK_LOGIT_CHUNK, "logits", &r->kl);
  return rc;
}

static void divergence_close(struct divergence_run *r)
{
  if (r->kl.data != NULL)
    qtk_device_free(r->ctx, r->kl.data);
  qtk_eval_close(&r->student);
  qtk_eval_close(&r->teacher);
  qtk_free(r->ctx, r->rows[0]);
  qtk_free(r->ctx, r->rows[1]);
  qtk_free(r->ctx, r->values);
}

static int divergence_order(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void divergence_finish(struct divergence_run *r, struct qtk_divergence *d)
{
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < d->tokens; i++) {
    sum += r->values[i];
    squares += (double)r->values[i] * r->values[i];
  }
  d->mean_kl = sum / (double)d->tokens;
  d->standard_error = qtk_eval_error(sum, squares, d->tokens);
  d->same_top = (double)r->same / (double)d->tokens;
  qsort(r->values, (size_t)d->tokens, sizeof *r->values, divergence_order);
  d->maximum = r->values[d->tokens - 1];
  d->p99 = r->values[(d->tokens * 99 + 99) / 100 - 1];
}

static int divergence_run(struct divergence_run *r, const struct qtk_text *text,
                          struct qtk_divergence *d)
{
  struct qtk_progress progress;
  int rc = QTK_OK;
  qtk_progress_begin(&progress, "divergence", (uint64_t)d->tokens, "tokens");
  for (int64_t w = 0; w < d->windows && rc == QTK_OK; w++) {
    rc = divergence_window(r, text, d, w);
    qtk_progress_step(&progress, (uint64_t)((w + 1) * d->context));
  }
  qtk_progress_end(&progress);
  return rc;
}

int qtk_divergence_measure(struct qtk_context *ctx, const struct qtk_eval_model *teacher,
                           const struct qtk_eval_model *student, const struct qtk_text *text,
                           int64_t context, int64_t windows, struct qtk_divergence *d)
{
  int64_t v[2] = {teacher->info->vocabulary, student->info->vocabulary};
  struct divergence_run r = {.ctx = ctx, .vocabulary = v[0]};
  *d = (struct qtk_divergence){.context = context};
  if (v[0] != v[1])
    return qtk_error(QTK_EINPUT, "the models have %lld and %lld tokens: not the same vocabulary",
                     (long long)v[0], (long long)v[1]);
  int rc = qtk_text_windows(text, context, windows, &d->windows);
  if (rc == QTK_OK)
    rc = qtk_eval_check(student, text, d->windows * context);
  if (rc != QTK_OK)
    return rc;
  d->tokens = d->windows * context;
  rc = divergence_open(&r, teacher, student, d);
  if (rc == QTK_OK)
    rc = divergence_run(&r, text, d);
  if (rc == QTK_OK)
    divergence_finish(&r, d);
  divergence_close(&r);
  return rc;
}

void qtk_divergence_free(struct qtk_divergence *d)
{
  free(d->kl_per_window);
  *d = (struct qtk_divergence){0};
}
