/* SPDX-License-Identifier: BSD-3-Clause
 * The next token from logits. */
#include "core/sample.h"

#include <math.h>
#include <stdlib.h>

#include "core/error.h"

struct qtk_sampler {
  struct qtk_context *ctx;
  struct qtk_sample_options options;
  int64_t vocabulary;
  uint64_t drawn; /* tokens so far */
  uint8_t *seen;  /* [vocabulary] */
  int32_t *order; /* [vocabulary] a heap of ids, behind it those taken out, last first */
  double *weights; /* [vocabulary] by id, or by place in the order; not normalized */
};

/* ---- life ------------------------------------------------------------------------------ */

int qtk_sample_check(const struct qtk_sample_options *o)
{
  if (!(o->temperature >= 0 && isfinite(o->temperature)))
    return qtk_error(QTK_EUSAGE, "temperature = %g: allowed are 0 (always the likeliest token) "
                                 "and more",
                     o->temperature);
  if (o->top_k < 0)
    return qtk_error(QTK_EUSAGE, "top-k = %lld: allowed are 0 (all tokens) and more",
                     (long long)o->top_k);
  if (!(o->top_p > 0 && o->top_p <= 1))
    return qtk_error(QTK_EUSAGE, "top-p = %g: allowed are values above 0, up to 1 (all tokens)",
                     o->top_p);
  if (!(o->repetition_penalty > 0 && isfinite(o->repetition_penalty)))
    return qtk_error(QTK_EUSAGE, "repetition penalty = %g: allowed are values above 0; 1 is none",
                     o->repetition_penalty);
  return QTK_OK;
}

int qtk_sampler_new(struct qtk_context *ctx, const struct qtk_sample_options *options,
                    int64_t vocabulary, struct qtk_sampler **sampler)
{
  int rc = qtk_sample_check(options);
  *sampler = NULL;
  if (rc != QTK_OK)
    return rc;
  size_t n = (size_t)vocabulary;
  struct qtk_sampler *s = calloc(1, sizeof *s);
  if (s == NULL)
    return qtk_error_memory(sizeof *s, "a sampler");
  *s = (struct qtk_sampler){.ctx = ctx, .options = *options, .vocabulary = vocabulary};
  s->seen = qtk_alloc(ctx, n, "sampling");
  s->order = qtk_alloc(ctx, n * sizeof *s->order, "sampling");
  s->weights = qtk_alloc(ctx, n * sizeof *s->weights, "sampling");
  if (s->seen == NULL || s->order == NULL || s->weights == NULL) {
    qtk_sampler_free(s);
    return QTK_ENOMEM;
  }
  *sampler = s;
  return QTK_OK;
}

void qtk_sampler_free(struct qtk_sampler *s)
{
  if (s == NULL)
    return;
  qtk_free(s->ctx, s->seen);
  qtk_free(s->ctx, s->order);
  qtk_free(s->ctx, s->weights);
  free(s);
}

void qtk_sampler_see(struct qtk_sampler *s, const int32_t *ids, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (ids[i] >= 0 && ids[i] < s->vocabulary)
      s->seen[ids[i]] = 1;
}

/* ---- logits ---------------------------------------------------------------------------- */

static void sample_penalize(const struct qtk_sampler *s, float *logits)
{
  float p = (float)s->options.repetition_penalty;
  for (int64_t i = 0; p != 1.0f && i < s->vocabulary; i++)
    if (s->seen[i])
      logits[i] = logits[i] > 0 ? logits[i] / p : logits[i] * p;
}

/* The first of the largest. */
static int sample_largest(const struct qtk_sampler *s, const float *logits, int32_t *id)
{
  int64_t best = 0;
  for (int64_t i = 0; i < s->vocabulary; i++) {
    if (isnan(logits[i]) || logits[i] == INFINITY)
      return qtk_error(QTK_ENUMERIC, "the logit of token %lld is %g: the model computes no "
                                     "numbers",
                       (long long)i, (double)logits[i]);
    if (logits[i] > logits[best])
      best = i;
  }
  *id = (int32_t)best;
  return logits[best] > -INFINITY ? QTK_OK
                                  : qtk_error(QTK_ENUMERIC, "the logits of all tokens are -inf");
}

/* ---- the largest first: a heap of ids ------------------------------------------------------ */

static int heap_before(const float *logits, int32_t a, int32_t b)
{
  return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void heap_sink(int32_t *heap, int64_t n, int64_t at, const float *logits)
{
  int32_t id = heap[at];
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && heap_before(logits, heap[child + 1], heap[child]))
      child++;
    if (!heap_before(logits, heap[child], id))
      break;
    heap[at] = heap[child];
  }
  heap[at] = id;
}

static void heap_make(const struct qtk_sampler *s, const float *logits)
{
  for (int64_t i = 0; i < s->vocabulary; i++)
    s->order[i] = (int32_t)i;
  for (int64_t i = s->vocabulary / 2 - 1; i >= 0; i--)
    heap_sink(s->order, s->vocabulary, i, logits);
}

/* Number `taken` of the ids by their logits, which moves behind the heap. */
static int32_t heap_take(const struct qtk_sampler *s, int64_t taken, const float *logits)
{
  int64_t n = s->vocabulary - taken - 1;
  int32_t id = s->order[0];
  s->order[0] = s->order[n];
  s->order[n] = id;
  heap_sink(s->order, n, 0, logits);
  return id;
}

/* ---- the draw ------------------------------------------------------------------------------- */

/* The place of the weight in which u of their sum falls. */
static int64_t sample_draw(struct qtk_sampler *s, int64_t n, double sum)
{
  struct qtk_random_key key = {.step = s->drawn};
  double want = qtk_random_uniform(s->ctx, &key, 0) * sum, below = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < n; i++) {
    below += s->weights[i];
    if (s->weights[i] > 0)
      last = i;
    if (below > want)
      break;
  }
  return last;
}

/* Weights of all tokens by id; their sum. */
static double sample_weigh(struct qtk_sampler *s, const float *logits, float largest)
{
  double t = s->options.temperature, sum = 0;
  for (int64_t i = 0; i < s->vocabulary; i++) {
    s->weights[i] = exp(((double)logits[i] - (double)largest) / t);
    sum += s->weights[i];
  }
  return sum;
}

/* Weights of the k largest in their order, as many as sum to top-p of these k (k 0: of
 * all, whose sum is `sum`). */
static int32_t sample_nucleus(struct qtk_sampler *s, const float *logits, float largest,
                              double sum)
{
  int64_t k = s->options.top_k, n = k > 0 && k < s->vocabulary ? k : s->vocabulary, kept = 0;
  double t = s->options.temperature, kept_sum = 0;
  heap_make(s, logits);
  for (int64_t i = 0; n < s->vocabulary && i < n; i++) {
    s->weights[i] = exp(((double)logits[heap_take(s, i, logits)] - (double)largest) / t);
    sum = i == 0 ? s->weights[0] : sum + s->weights[i];
  }
  while (kept < n && (kept == 0 || kept_sum < s->options.top_p * sum)) {
    if (n == s->vocabulary)
      s->weights[kept] = exp(((double)logits[heap_take(s, kept, logits)] - (double)largest) / t);
    kept_sum += s->weights[kept++];
  }
  return s->order[s->vocabulary - 1 - sample_draw(s, kept, kept_sum)];
}

int qtk_sampler_pick(struct qtk_sampler *s, float *logits, int32_t *id)
{
  int64_t k = s->options.top_k;
  sample_penalize(s, logits);
  int rc = sample_largest(s, logits, id);
  if (rc == QTK_OK && s->options.temperature > 0) {
    float largest = logits[*id];
    int cut = k > 0 && k < s->vocabulary;
    double sum = cut ? 0 : sample_weigh(s, logits, largest);
    *id = cut || s->options.top_p < 1 ? sample_nucleus(s, logits, largest, sum)
                                      : (int32_t)sample_draw(s, s->vocabulary, sum);
  }
  s->drawn++;
  return rc;
}
