/* SPDX-License-Identifier: BSD-3-Clause
 * Text from a model, token by token. */
#include "core/generate.h"

#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/error.h"
#include "core/generate-stop.h"
#include "core/log.h"

#define GENERATE_TEXT 4096 /* longest text of a token that is never allocated for */

struct qtk_generator {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  const struct qtk_tokenizer *tokenizer;
  struct qtk_generate_options options;
  struct qtk_session *session;
  struct qtk_sampler *sampler;
  struct qtk_tensor logits; /* [1, V] the backend's */
  float *values;            /* [V] the host's */
  int32_t *ends;
  char **stops; /* ended by NULL */
  int64_t past; /* tokens in the cache, */
  int32_t *read; /* and which: [context] */
  int32_t last; /* picked and not yet in the cache, or -1 */
  struct qtk_decoder decoder;
  struct qtk_str text; /* decoded and not yet given away */
};

const char *qtk_finish_name(enum qtk_finish finish)
{
  static const char *const names[] = {[QTK_FINISH_END] = "end", [QTK_FINISH_STOP] = "stop",
                                      [QTK_FINISH_LENGTH] = "length",
                                      [QTK_FINISH_CONTEXT] = "context",
                                      [QTK_FINISH_STOPPED] = "stopped"};
  return names[finish];
}

/* ---- life ------------------------------------------------------------------------------- */

/* Copies of the lists of what ends a text. */
static int generate_copy(struct qtk_generator *g, const struct qtk_generate_options *o)
{
  size_t n = 0;
  while (o->stops != NULL && o->stops[n] != NULL)
    n++;
  g->stops = calloc(n + 1, sizeof *g->stops);
  g->ends = calloc(o->n_ends + 1, sizeof *g->ends);
  if (g->stops == NULL || g->ends == NULL)
    return qtk_error_memory((n + 1) * sizeof *g->stops, "what ends a text");
  for (size_t i = 0; i < n; i++)
    if ((g->stops[i] = qtk_str_copy(o->stops[i])) == NULL)
      return QTK_ENOMEM;
  if (o->n_ends > 0)
    memcpy(g->ends, o->ends, o->n_ends * sizeof *g->ends);
  g->options.ends = g->ends;
  g->options.stops = (const char *const *)g->stops;
  return QTK_OK;
}

static int generate_open(struct qtk_generator *g, int64_t vocabulary)
{
  void *memory = NULL;
  g->read = calloc((size_t)g->options.context + 1, sizeof *g->read);
  if (g->read == NULL)
    return qtk_error_memory((size_t)g->options.context * sizeof *g->read, "tokens");
  int rc = qtk_session_new(g->engine, 1, g->options.context, &g->session);
  if (rc == QTK_OK && g->options.halve_cache)
    rc = qtk_session_halve_cache(g->session);
  if (rc == QTK_OK)
    rc = qtk_sampler_new(g->ctx, &g->options.sample, vocabulary, &g->sampler);
  if (rc == QTK_OK)
    rc = qtk_device_alloc(g->ctx, (size_t)vocabulary * sizeof(float), "logits", &memory);
  g->logits = qtk_matrix(QTK_F32, memory, 1, vocabulary);
  if (rc == QTK_OK &&
      (g->values = qtk_alloc(g->ctx, (size_t)vocabulary * sizeof(float), "logits")) == NULL)
    rc = QTK_ENOMEM;
  return rc == QTK_OK ? qtk_str_reserve(&g->text, GENERATE_TEXT) : rc;
}

int qtk_generator_open(struct qtk_engine *engine, struct qtk_context *ctx,
                       const struct qtk_model_info *info, const struct qtk_tokenizer *tokenizer,
                       const struct qtk_generate_options *options, struct qtk_generator **out)
{
  struct qtk_generator *g = calloc(1, sizeof *g);
  *out = NULL;
  if (g == NULL)
    return qtk_error_memory(sizeof *g, "a generator");
  *g = (struct qtk_generator){.ctx = ctx, .engine = engine, .tokenizer = tokenizer,
                              .options = *options, .last = -1};
  int rc = generate_copy(g, options);
  if (rc == QTK_OK)
    rc = generate_open(g, info->vocabulary);
  if (rc == QTK_OK)
    *out = g;
  else
    qtk_generator_close(g);
  return rc;
}

void qtk_generator_close(struct qtk_generator *g)
{
  if (g == NULL)
    return;
  for (size_t i = 0; g->stops != NULL && g->stops[i] != NULL; i++)
    free(g->stops[i]);
  qtk_decoder_end(&g->decoder, &g->text);
  qtk_session_free(g->session);
  qtk_sampler_free(g->sampler);
  qtk_device_free(g->ctx, g->logits.data);
  qtk_free(g->ctx, g->values);
  qtk_str_free(&g->text);
  free(g->stops);
  free(g->ends);
  free(g->read);
  free(g);
}

uint64_t qtk_generator_cache_bytes(const struct qtk_generator *g)
{
  return qtk_session_cache_bytes(g->session);
}

uint64_t qtk_cache_bytes(const struct qtk_model_info *info, int64_t tokens, int half)
{
  int64_t width = info->dims.kv_heads * info->dims.head_size;
  return (uint64_t)(2 * tokens * info->layers * width) *
         qtk_dtype_size(half ? QTK_F16 : QTK_F32);
}

/* ---- tokens -------------------------------------------------------------------------------- */

/* A pass over n tokens; *hidden is of all of them. */
static int generate_read(struct qtk_generator *g, const int32_t *ids, int64_t n,
                         struct qtk_tensor *hidden)
{
  int rc = qtk_session_forward(g->session, ids, &n, hidden);
  if (rc != QTK_OK)
    return rc;
  memmove(g->read + g->past, ids, (size_t)n * sizeof *ids);
  g->past += n;
  return rc;
}

int qtk_generator_refresh(struct qtk_generator *g)
{
  struct qtk_tensor hidden;
  int64_t n = g->past;
  int rc = QTK_OK;
  qtk_session_reset(g->session);
  g->past = 0;
  while (g->past < n && rc == QTK_OK)
    rc = generate_read(g, g->read + g->past,
                       n - g->past < QTK_PROMPT_CHUNK ? n - g->past : QTK_PROMPT_CHUNK, &hidden);
  return rc;
}

/* The logits behind row `row` of hidden, as values. */
static int generate_logits(struct qtk_generator *g, const struct qtk_tensor *hidden, int64_t row)
{
  int rc = qtk_engine_logits(g->engine, hidden, row, &g->logits);
  return rc == QTK_OK ? qtk_device_download(g->ctx, g->values, g->logits.data,
                                            (size_t)qtk_tensor_cols(&g->logits) * sizeof(float))
                      : rc;
}

static int generate_room(const struct qtk_generator *g, size_t n)
{
  int64_t room = g->options.context - g->past - (g->last >= 0);
  if (n == 0 && g->last < 0)
    return qtk_error(QTK_EINPUT, "the prompt is empty: there is no token to begin with");
  if (n > (size_t)room)
    return qtk_error(QTK_EINPUT, "the prompt has %zu tokens: the context of %lld has room for %lld",
                     n, (long long)g->options.context, (long long)room);
  return QTK_OK;
}

/* The prompt behind what is there, and the logits behind it. */
static int generate_prompt(struct qtk_generator *g, const int32_t *ids, int64_t n)
{
  struct qtk_tensor hidden;
  int64_t rows = 1;
  int rc = QTK_OK;
  if (g->last >= 0)
    rc = generate_read(g, &g->last, 1, &hidden);
  if (rc == QTK_OK)
    g->last = -1;
  for (int64_t i = 0; rc == QTK_OK && i < n; i += rows) {
    rows = n - i < QTK_PROMPT_CHUNK ? n - i : QTK_PROMPT_CHUNK;
    rc = generate_read(g, ids + i, rows, &hidden);
  }
  return rc == QTK_OK ? generate_logits(g, &hidden, rows - 1) : rc;
}

static int generate_is_end(const struct qtk_generator *g, int32_t id)
{
  for (size_t i = 0; i < g->options.n_ends; i++)
    if (g->ends[i] == id)
      return 1;
  return 0;
}

/* ---- text ----------------------------------------------------------------------------------- */

static int generate_put(struct qtk_generator *g, const struct qtk_generate_sink *sink, int32_t id,
                        size_t n)
{
  int rc = sink->put(sink->arg, id, g->text.data ? g->text.data : "", n);
  g->text.length -= n;
  if (n > 0)
    memmove(g->text.data, g->text.data + n, g->text.length);
  return rc;
}

/* The text of a token to the sink, as far as it is sure: 1 if a stop stands in it, 0, or an
 * error. */
static int generate_text(struct qtk_generator *g, const struct qtk_generate_sink *sink, int32_t id)
{
  size_t at;
  int rc = QTK_OK;
  if (id < qtk_tokenizer_size(g->tokenizer)) /* a vocabulary may be padded */
    rc = qtk_decoder_add(&g->decoder, id, &g->text);
  if (rc != QTK_OK)
    return rc;
  int stop = qtk_stop_find(g->options.stops, g->text.data, g->text.length, &at);
  if (!stop)
    at = g->text.length - qtk_stop_begun(g->options.stops, g->text.data, g->text.length);
  rc = generate_put(g, sink, id, at);
  if (stop)
    g->text.length = 0;
  return rc == QTK_OK ? stop : rc;
}

/* What was held back; a stop that was only begun is text. */
static int generate_end(struct qtk_generator *g, const struct qtk_generate_sink *sink, int stopped)
{
  int rc = stopped ? QTK_OK : qtk_decoder_end(&g->decoder, &g->text);
  return rc == QTK_OK ? generate_put(g, sink, -1, g->text.length) : rc;
}

/* ---- the loop --------------------------------------------------------------------------------- */

/* 1: the token ends the text, with *finish; 0: more come. */
static int generate_ends(struct qtk_generator *g, int32_t id, int64_t most,
                         const struct qtk_generate_sink *sink, struct qtk_generated *r)
{
  int rc = generate_is_end(g, id);
  r->finish = QTK_FINISH_END;
  if (rc == 0) {
    rc = generate_text(g, sink, id);
    r->finish = QTK_FINISH_STOP;
  }
  if (rc == 0 && (rc = r->tokens >= most))
    r->finish = QTK_FINISH_LENGTH;
  if (rc == 0 && (rc = g->past >= g->options.context))
    r->finish = QTK_FINISH_CONTEXT;
  return rc;
}

static int generate_loop(struct qtk_generator *g, int64_t most,
                         const struct qtk_generate_sink *sink, struct qtk_generated *r)
{
  struct qtk_tensor hidden;
  double begin = qtk_seconds();
  int rc = most > 0 ? 0 : 1;
  r->finish = QTK_FINISH_LENGTH;
  while (rc == 0) {
    rc = qtk_sampler_pick(g->sampler, g->values, &g->last);
    if (rc != QTK_OK)
      break;
    qtk_sampler_see(g->sampler, &g->last, 1);
    r->tokens++;
    if (r->tokens == 1) {
      r->prompt_seconds += qtk_seconds() - begin;
      begin = qtk_seconds();
    }
    rc = generate_ends(g, g->last, most, sink, r);
    if (rc == 0 && (rc = generate_read(g, &g->last, 1, &hidden)) == QTK_OK) {
      g->last = -1;
      rc = generate_logits(g, &hidden, 0);
    }
  }
  r->seconds = r->tokens > 0 ? qtk_seconds() - begin : 0;
  return rc > 0 ? QTK_OK : rc;
}

int qtk_generator_run(struct qtk_generator *g, const int32_t *prompt, size_t n, int64_t most,
                      const struct qtk_generate_sink *sink, struct qtk_generated *r)
{
  double begin = qtk_seconds();
  *r = (struct qtk_generated){.prompt_tokens = (int64_t)n};
  int rc = generate_room(g, n);
  if (rc != QTK_OK)
    return rc;
  qtk_decoder_end(&g->decoder, &g->text); /* of a run that failed */
  g->text.length = 0;
  g->decoder = (struct qtk_decoder){.tokenizer = g->tokenizer,
                                    .skip_special = !g->options.special,
                                    .started = !g->options.answer};
  qtk_sampler_see(g->sampler, prompt, n);
  rc = generate_prompt(g, prompt, (int64_t)n);
  r->prompt_seconds = qtk_seconds() - begin;
  if (rc == QTK_OK)
    rc = generate_loop(g, most, sink, r);
  if (rc != QTK_OK && rc != QTK_EINTERRUPTED)
    return rc;
  if (rc == QTK_EINTERRUPTED)
    r->finish = QTK_FINISH_STOPPED;
  int stopped = r->finish == QTK_FINISH_STOP;
  int ended = generate_end(g, sink, stopped);
  return rc == QTK_OK ? ended : rc;
}
