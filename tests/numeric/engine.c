/* SPDX-License-Identifier: BSD-3-Clause
 * The engine's promises: the same bytes for any number of threads and any memory limit,
 * the cache and packed sequences change nothing, memory is taken once, errors say why. */
#include <math.h>

#include "core/engine-inner.h"
#include "model.h"

static const char *const families[] = {"llama",   "mistral", "qwen2", "gpt2",
                                       "gpt_neo", "gptj",    "opt",   "opt_postln"};
#define FAMILIES (sizeof families / sizeof families[0])

static int32_t *ids;
static size_t n_ids;

static const char *engine_path(size_t family)
{
  char name[64];

  snprintf(name, sizeof name, "nano/%s", families[family]);
  return test_data(name);
}

/* Hidden states of all tokens in one pass; *bytes of them. */
static float *engine_hidden(struct test_model *m, size_t *bytes)
{
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t length = (int64_t)n_ids;

  test_must(qtk_session_new(m->engine, 1, 0, &s), "session");
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  *bytes = (size_t)(hidden.shape[0] * hidden.shape[1]) * sizeof(float);
  float *copy = malloc(*bytes);
  test_must(qtk_device_download(m->ctx, copy, hidden.data, *bytes), "download");
  qtk_session_free(s);
  return copy;
}

static float *engine_hidden_with(size_t family, int threads, uint64_t limit, int *streaming,
                                 size_t *bytes)
{
  struct qtk_context *ctx = test_context(threads, limit);
  struct test_model m = test_open(ctx, engine_path(family), NULL, 0);
  float *hidden = engine_hidden(&m, bytes);

  *streaming = m.engine->streaming;
  test_close(&m);
  test_context_close(ctx);
  return hidden;
}

static double engine_distance(const float *a, const float *b, size_t n)
{
  double largest = 0.0, worst = 0.0;

  for (size_t i = 0; i < n; i++) {
    largest = fmax(largest, fabs((double)b[i]));
    worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
  }
  return worst / largest;
}

/* ---- threads and limits ------------------------------------------------------------------ */

static void engine_threads(size_t family)
{
  size_t bytes, other;
  int streaming, same = 1;
  float *one = engine_hidden_with(family, 1, 0, &streaming, &bytes);

  for (int threads = 2; threads <= 3; threads++) {
    float *more = engine_hidden_with(family, threads, 0, &streaming, &other);
    same &= bytes == other && memcmp(one, more, bytes) == 0;
    free(more);
  }
  tap_ok(same && !streaming, "%s: 1, 2 and 3 threads: the same bits", families[family]);
  free(one);
}

/* What the engine needs with all weights held, and a limit below it. */
static void engine_limit(void)
{
  struct qtk_context *ctx = test_context(2, 0);
  struct test_model m = test_open(ctx, engine_path(0), NULL, 0);
  size_t bytes, other;
  int streaming;
  float *free_run = engine_hidden(&m, &bytes), *limited;
  uint64_t peak = ctx->arena.peak;
  uint64_t weights = 0;

  for (int i = 0; i < qtk_model_count(m.model); i++)
    weights += qtk_qlayout_bytes(&qtk_model_tensor(m.model, i)->layout);
  test_close(&m);
  test_context_close(ctx);
  /* Two blocks of three quarters of the weights: without one of them it fits. */
  limited = engine_hidden_with(0, 2, peak - weights / 4, &streaming, &other);
  if (!streaming)
    tap_skip("the weights are a small part of what a pass needs");
  else
    tap_ok(bytes == other && memcmp(free_run, limited, bytes) == 0,
           "block by block under a limit: the same bits");
  free(free_run);
  free(limited);
}

static void engine_no_memory(void)
{
  struct qtk_context *ctx = test_context(1, 0);
  struct qtk_engine *e = NULL;
  struct qtk_model *model;

  test_must(qtk_model_open(ctx, engine_path(0), &model), "model");
  uint64_t used = ctx->arena.used;
  ctx->arena.limit = used + 10000;
  int rc = qtk_engine_open(ctx, model, NULL, 0, &e);
  tap_ok(rc == QTK_ENOMEM && e == NULL, "a limit below the embedding: %s", qtk_error_message());
  ctx->arena.limit = 0;
  tap_ok(ctx->arena.used == used, "nothing is left behind");
  qtk_model_close(model);
  test_context_close(ctx);
}

/* ---- the cache, packed sequences ------------------------------------------------------------- */

/* Hidden rows through a cache, in pieces of `piece` tokens. */
static float *engine_cached(struct test_model *m, int64_t piece, int halves, size_t bytes)
{
  struct qtk_session *s;
  struct qtk_tensor hidden;
  char *copy = malloc(bytes);
  size_t row_bytes = bytes / n_ids;

  test_must(qtk_session_new(m->engine, 1, (int64_t)n_ids, &s), "session");
  if (halves)
    test_must(qtk_session_halve_cache(s), "halves");
  for (int64_t t = 0; t < (int64_t)n_ids; t += piece) {
    int64_t n = (int64_t)n_ids - t < piece ? (int64_t)n_ids - t : piece;
    test_must(qtk_session_forward(s, ids + t, &n, &hidden), "forward");
    test_must(qtk_device_download(m->ctx, copy + (size_t)t * row_bytes, hidden.data,
                                  (size_t)n * row_bytes),
              "download");
  }
  qtk_session_free(s);
  return (float *)copy;
}

static void engine_cache(struct qtk_context *ctx, size_t family)
{
  struct test_model m = test_open(ctx, engine_path(family), NULL, 0);
  size_t bytes;
  float *whole = engine_hidden(&m, &bytes);
  float *ones = engine_cached(&m, 1, 0, bytes), *sevens = engine_cached(&m, 7, 0, bytes);
  float *halves = engine_cached(&m, 50, 1, bytes);
  double worst = fmax(engine_distance(ones, whole, bytes / 4),
                      engine_distance(sevens, whole, bytes / 4));

  tap_ok(worst < 1e-5, "%s: through the cache by ones and sevens: differs by %.2g",
         families[family], worst);
  worst = engine_distance(halves, whole, bytes / 4);
  tap_ok(worst < 2e-3 && (family > 0 || worst > 1e-6), "%s: a cache in halves: differs by %.2g",
         families[family], worst);
  free(halves);
  free(whole);
  free(ones);
  free(sevens);
  test_close(&m);
}

/* Three sequences in one pass against each alone; one of them has nothing new the second
 * time. */
static void engine_packed(struct qtk_context *ctx, size_t family)
{
  static const int64_t first[] = {40, 3, 70}, second[] = {5, 0, 1};
  struct test_model m = test_open(ctx, engine_path(family), NULL, 0);
  struct qtk_session *packed, *alone;
  struct qtk_tensor hidden, one;
  int32_t batch[256];
  int64_t starts[] = {0, 100, 200}, row = 0;
  double worst = 0.0;

  test_must(qtk_session_new(m.engine, 3, 80, &packed), "session");
  test_must(qtk_session_new(m.engine, 1, 0, &alone), "session");
  for (int i = 0; i < 3; i++)
    for (int64_t j = 0; j < first[i]; j++)
      batch[row++] = ids[starts[i] + j];
  test_must(qtk_session_forward(packed, batch, first, &hidden), "packed");
  row = 0;
  for (int i = 0; i < 3; i++)
    for (int64_t j = 0; j < second[i]; j++)
      batch[row++] = ids[starts[i] + first[i] + j];
  test_must(qtk_session_forward(packed, batch, second, &hidden), "packed");
  row = 0;
  for (int i = 0; i < 3; row += second[i++]) {
    int64_t n = first[i] + second[i], width = qtk_tensor_cols(&hidden);
    test_must(qtk_session_forward(alone, ids + starts[i], &n, &one), "alone");
    worst = fmax(worst, engine_distance((float *)hidden.data + row * width,
                                        (float *)one.data + first[i] * width,
                                        (size_t)(second[i] * width)));
  }
  tap_ok(worst < 1e-5, "%s: packed sequences: differ by %.2g", families[family], worst);
  qtk_session_free(packed);
  qtk_session_free(alone);
  test_close(&m);
}

/* ---- memory and errors ------------------------------------------------------------------------------ */

/* Tokens one by one allocate nothing once the first has passed. */
#define SOME 60 /* tokens of a sequence */
#define MOST 20 /* sequences */

/* Hidden states of n sequences, number `first` of all and on, in one pass. */
static void engine_some(struct test_model *m, const int32_t *tokens, int64_t first, int64_t n,
                        char *out, size_t bytes)
{
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t lengths[MOST];

  for (int64_t i = 0; i < n; i++)
    lengths[i] = SOME;
  test_must(qtk_session_new(m->engine, n, 0, &s), "session");
  test_must(qtk_session_forward(s, tokens + first * SOME, lengths, &hidden), "forward");
  test_must(qtk_device_download(m->ctx, out, hidden.data, (size_t)n * bytes), "download");
  qtk_session_free(s);
}

/* So many tokens that MLPs take them piece by piece: each as if few had been there. */
static void engine_pieces(struct qtk_context *ctx, size_t family)
{
  struct test_model m = test_open(ctx, engine_path(family), NULL, 0);
  size_t bytes = SOME * (size_t)qtk_model_info(m.model)->embedding_width * sizeof(float);
  char *all = malloc(MOST * bytes), *few = malloc(5 * bytes);
  int32_t tokens[MOST * SOME];
  int same = 1;

  for (size_t i = 0; i < MOST * SOME; i++)
    tokens[i] = ids[i % n_ids];
  engine_some(&m, tokens, 0, MOST, all, bytes);
  for (int64_t i = 0; i < MOST; i += 5) {
    engine_some(&m, tokens, i, 5, few, bytes);
    same &= memcmp(few, all + (size_t)i * bytes, 5 * bytes) == 0;
  }
  tap_ok(same, "%s: 1200 tokens at once, and 300 at a time: the same bits", families[family]);
  free(few);
  free(all);
  test_close(&m);
}

static void engine_steady(struct qtk_context *ctx)
{
  struct test_model m = test_open(ctx, engine_path(0), NULL, 0);
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t prompt = 20, one = 1;
  uint64_t used;

  test_must(qtk_session_new(m.engine, 1, 64, &s), "session");
  test_must(qtk_session_forward(s, ids, &prompt, &hidden), "prompt");
  test_must(qtk_session_forward(s, ids + 20, &one, &hidden), "token");
  used = ctx->arena.used;
  ctx->arena.limit = used + 1;
  int rc = QTK_OK;
  for (int i = 0; rc == QTK_OK && i < 40; i++)
    rc = qtk_session_forward(s, ids + 21 + i, &one, &hidden);
  ctx->arena.limit = 0;
  tap_ok(rc == QTK_OK && !m.engine->streaming && ctx->arena.used == used,
         "tokens take no more memory%s%s", rc == QTK_OK ? "" : ": ",
         rc == QTK_OK ? "" : qtk_error_message());
  tap_ok(qtk_session_cache_bytes(s) == 2 * 2 * 64 * 32 * 4, "the cache's size is said");
  qtk_session_reset(s);
  test_must(qtk_session_forward(s, ids, &prompt, &hidden), "again");
  tap_ok(qtk_session_positions(s)[0] == 0, "after a reset positions begin again");
  qtk_session_free(s);
  test_close(&m);
}

static void engine_errors(struct qtk_context *ctx)
{
  struct test_model m = test_open(ctx, engine_path(3), NULL, 0);
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int32_t wrong[] = {1, 384}, many[513] = {0};
  int64_t two = 2, none = 0, length = 513;

  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  tap_ok(qtk_session_forward(s, wrong, &two, &hidden) == QTK_EINPUT &&
             strstr(qtk_error_message(), "token 384") != NULL,
         "a token beyond the vocabulary: %s", qtk_error_message());
  tap_ok(qtk_session_forward(s, many, &length, &hidden) == QTK_EINPUT &&
             strstr(qtk_error_message(), "position 512") != NULL,
         "a position beyond the learned: %s", qtk_error_message());
  tap_ok(qtk_session_forward(s, many, &none, &hidden) == QTK_EINTERNAL, "no tokens: %s",
         qtk_error_message());
  qtk_session_free(s);
  test_close(&m);
}

int main(void)
{
  char path[4200];
  json_t *reference;

  snprintf(path, sizeof path, "%s/reference.json", engine_path(0));
  reference = json_load_file(path, 0, NULL);
  ids = test_ids(reference, "token_ids", &n_ids);
  for (size_t i = 0; i < FAMILIES; i++)
    engine_threads(i);
  engine_limit();
  engine_no_memory();
  struct qtk_context *ctx = test_context(2, 0);
  for (size_t i = 0; i < FAMILIES; i++) {
    engine_cache(ctx, i);
    engine_packed(ctx, i);
    engine_pieces(ctx, i);
  }
  engine_steady(ctx);
  engine_errors(ctx);
  test_context_close(ctx);
  json_decref(reference);
  free(ids);
  return tap_end();
}
