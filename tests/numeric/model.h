/* SPDX-License-Identifier: BSD-3-Clause
 * For tests that run models: a context with the cpu backend, a model in an engine, and
 * what PyTorch says about it. Anything that fails here ends the program. */
#ifndef TESTS_NUMERIC_MODEL_H
#define TESTS_NUMERIC_MODEL_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/context.h"
#include "core/device.h"
#include "core/engine.h"
#include "core/registry.h"
#include "../tap.h"

static inline void test_must(int rc, const char *what)
{
  if (rc == QTK_OK)
    return;
  printf("Bail out! %s: %s\n", what, qtk_error_message());
  exit(1);
}

/* A context of that many threads and a memory limit (0: none), on the cpu backend. */
static inline struct qtk_context *test_context(int threads, uint64_t limit)
{
  struct qtk_context_options options = {.threads = threads, .memory_limit = limit, .seed = 1};
  const struct qtk_loaded *backend;
  struct qtk_context *ctx;

  test_must(qtk_context_open(&options, &ctx), "context");
  test_must(qtk_registry_get(QTK_BACKEND, "cpu", &backend), "backend");
  test_must(qtk_device_open(ctx, &backend->plugin, NULL, 0), "device");
  return ctx;
}

static inline void test_context_close(struct qtk_context *ctx)
{
  qtk_device_close(ctx);
  qtk_context_close(ctx);
}

/* A model and an engine over it. */
struct test_model {
  struct qtk_context *ctx;
  struct qtk_model *model;
  struct qtk_engine *engine;
  int64_t vocabulary;
};

static inline struct test_model test_open(struct qtk_context *ctx, const char *path,
                                          const struct qtk_attached *adapters, int n)
{
  struct test_model m = {.ctx = ctx};

  test_must(qtk_model_open(ctx, path, &m.model), path);
  test_must(qtk_engine_open(ctx, m.model, adapters, n, &m.engine), path);
  m.vocabulary = qtk_model_info(m.model)->vocabulary;
  return m;
}

static inline void test_close(struct test_model *m)
{
  qtk_engine_close(m->engine);
  qtk_model_close(m->model);
}

/* A path below the tests' data. */
static inline const char *test_data(const char *name)
{
  static char path[4][4096];
  static int next;
  const char *source = getenv("QTK_SRCDIR");
  char *p = path[next++ % 4];

  snprintf(p, sizeof path[0], "%s/tests/data/%s", source != NULL ? source : ".", name);
  return p;
}

/* The list of whole numbers `key` of an object; *n of them. */
static inline int32_t *test_ids(const json_t *object, const char *key, size_t *n)
{
  const json_t *list = json_object_get(object, key);
  int32_t *ids = calloc(json_array_size(list) + 1, sizeof *ids);

  *n = json_array_size(list);
  for (size_t i = 0; i < *n; i++)
    ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
  return ids;
}

/* Logits [n, vocabulary] of one pass over ids, at these positions; freed by the caller. */
static inline float *test_logits(struct test_model *m, const int32_t *ids, size_t n_ids,
                                 const int32_t *positions, size_t n)
{
  float *out = calloc(n * (size_t)m->vocabulary, sizeof *out);
  struct qtk_session *s;
  struct qtk_tensor hidden, row;
  int64_t length = (int64_t)n_ids;

  test_must(qtk_session_new(m->engine, 1, 0, &s), "session");
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  for (size_t i = 0; i < n; i++) {
    row = qtk_matrix(QTK_F32, out + i * (size_t)m->vocabulary, 1, m->vocabulary);
    test_must(qtk_engine_logits(m->engine, &hidden, positions[i], &row), "logits");
  }
  qtk_session_free(s);
  return out;
}

static inline int32_t test_argmax(const float *logits, int64_t n)
{
  int64_t best = 0;

  for (int64_t i = 1; i < n; i++)
    if (logits[i] > logits[best])
      best = i;
  return (int32_t)best;
}

/* `count` tokens that follow the prompt, each the likeliest, through the cache. */
static inline int32_t *test_greedy(struct test_model *m, const int32_t *prompt, size_t n,
                                   size_t count)
{
  int32_t *out = calloc(count, sizeof *out);
  float *logits = calloc((size_t)m->vocabulary, sizeof *logits);
  struct qtk_tensor row = qtk_matrix(QTK_F32, logits, 1, m->vocabulary), hidden;
  struct qtk_session *s;
  int64_t length = (int64_t)n, one = 1;

  test_must(qtk_session_new(m->engine, 1, (int64_t)(n + count), &s), "session");
  test_must(qtk_session_forward(s, prompt, &length, &hidden), "prompt");
  for (size_t i = 0; i < count; i++) {
    test_must(qtk_engine_logits(m->engine, &hidden, qtk_tensor_rows(&hidden) - 1, &row), "logits");
    out[i] = test_argmax(logits, m->vocabulary);
    test_must(qtk_session_forward(s, &out[i], &one, &hidden), "token");
  }
  qtk_session_free(s);
  free(logits);
  return out;
}

#endif
