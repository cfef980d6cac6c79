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

/* Memory of replaced tensors, until toy_forget or toy_end. */
static void *toy_memory[512] __attribute__((unused));
static int toy_memories;

static inline void *toy_keep(size_t bytes)
{
  return toy_memory[toy_memories++] = calloc(1, bytes);
}

static inline void toy_forget(void)
{
  while (toy_memories > 0)
    free(toy_memory[--toy_memories]);
}

/* The linear in groups of 16, 4 bits, minima as floats. */
static inline void toy_quantize_linear(struct qtk_model *model, int i, struct qtk_qtensor *q)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  struct qtk_qlayout layout = {.encoding = QTK_AFFINE,
                               .rows = t->rows,
                               .cols = t->cols,
                               .bits = 4,
                               .group = 16,
                               .zero = QTK_ZERO_MIN,
                               .scale_dtype = QTK_F32};
  float *w = malloc((size_t)t->cols * sizeof *w);
  uint8_t *codes = malloc((size_t)t->cols);

  test_must(qtk_qlayout_init(&layout), "layout");
  *q = qtk_qtensor_over(&layout, toy_keep(qtk_qtensor_block_bytes(&layout)));
  for (int64_t r = 0; r < t->rows; r++) {
    test_must(qtk_model_read(model, i, r, 1, w, t->cols), t->name);
    for (int64_t g = 0; g < layout.groups; g++) {
      float low = INFINITY, high = -INFINITY;
      for (int64_t j = g * 16; j < g * 16 + 16; j++) {
        low = fminf(low, w[j]);
        high = fmaxf(high, w[j]);
      }
      qtk_set_scale(q, r, g, (high - low) / 15.0f);
      qtk_set_min(q, r, g, low);
      for (int64_t j = g * 16; j < g * 16 + 16; j++)
        codes[j] = (uint8_t)lrintf((w[j] - low) / ((high - low) / 15.0f));
    }
    qtk_pack_row(q, r, codes);
  }
  free(codes);
  free(w);
}

static inline void toy_quantize(struct qtk_model *model)
{
  for (int i = 0; i < qtk_model_count(model); i++)
    if (qtk_model_tensor(model, i)->linear) {
      struct qtk_qtensor q;
      toy_quantize_linear(model, i, &q);
      test_must(qtk_model_replace(model, i, &q, NULL, NULL), "replace");
    }
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
  toy_forget();
  free(ids);
  free(folder);
  test_context_close(ctx);
}

#endif
