/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of adapters: a small model, tokens, its logits with toy adapters on it. */
#ifndef TESTS_NUMERIC_TOY_H
#define TESTS_NUMERIC_TOY_H

#include <math.h>
#include <qtk/ops.h>

#include "model.h"

static struct qtk_context *ctx;
static char *folder;
static int32_t *ids;
static size_t n_ids __attribute__((unused));
static const int32_t positions[] = {0, 5, 63, 200, 299};
#define POSITIONS (sizeof positions / sizeof positions[0])

static inline double distance(const float *a, const float *b, size_t n)
{
  double largest = 0.0, worst = 0.0;

  for (size_t i = 0; i < n; i++) {
    largest = fmax(largest, fabs((double)b[i]));
    worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
  }
  return worst / largest;
}

/* ---- models ----------------------------------------------------------------------------- */

static inline float *logits_of(const struct qtk_attached *adapters, int n,
                        void (*change)(struct qtk_model *model))
{
  struct test_model m = {.ctx = ctx};
  float *out;

  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  if (change != NULL)
    change(m.model);
  test_must(qtk_engine_open(ctx, m.model, adapters, n, &m.engine), "engine");
  m.vocabulary = qtk_model_info(m.model)->vocabulary;
  out = test_logits(&m, ids, n_ids, positions, POSITIONS);
  test_close(&m);
  return out;
}

static inline size_t logits_count(void)
{
  return POSITIONS * 384;
}

/* For instances that are one block of memory. */
static inline void toy_detach(struct qtk_context *c, void *h)
{
  (void)c;
  free(h);
}

/* The context, the model and the tokens that the reference names; toy_end ends them. */
static inline void toy_begin(void)
{
  char path[4200];
  json_t *reference;

  ctx = test_context(2, 0);
  folder = strdup(test_data("nano/llama"));
  snprintf(path, sizeof path, "%s/reference.json", folder);
  reference = json_load_file(path, 0, NULL);
  ids = test_ids(reference, "token_ids", &n_ids);
  json_decref(reference);
}

static inline void toy_end(void)
{
  free(ids);
  free(folder);
  test_context_close(ctx);
}

#endif
