/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of the adapter of pairs: it on a small model. */
#ifndef TESTS_NUMERIC_TRIAL_H
#define TESTS_NUMERIC_TRIAL_H

#include "core/engine-inner.h"
#include "rounded.h"
#include "toy.h"

static inline float noise(uint64_t i)
{
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  return (float)(i >> 40) / (float)(1 << 23) - 1.0f;
}

/* A small model, its linears rounded or not, with the adapter. */
struct trial {
  struct test_model m;
  struct qtk_model *source; /* or NULL */
  struct rounded rounded;
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
};

/* `round`: options of rounding to nearest, or NULL. */
static inline void trial_model(struct trial *t, const char *path, const char *round)
{
  *t = (struct trial){.m = {.ctx = ctx}};
  test_must(qtk_model_open(ctx, path, &t->m.model), path);
  t->m.vocabulary = qtk_model_info(t->m.model)->vocabulary;
  if (round != NULL)
    rounded_linears(&t->rounded, ctx, t->m.model, "rtn", round);
}

static inline int trial_engine(struct trial *t, const char *text)
{
  test_must(qtk_registry_get(QTK_ADAPTER, "lora", &t->plugin), "lora");
  t->options = test_options(t->plugin, text);
  const struct qtk_attached adapter = {
      .name = "lora", .ops = &t->plugin->ops.adapter, .options = t->options->values};
  return qtk_engine_open(ctx, t->m.model, &adapter, 1, &t->m.engine);
}

static inline void trial_open(struct trial *t, const char *path, const char *round, const char *text)
{
  trial_model(t, path, round);
  test_must(trial_engine(t, text), text);
}

static inline void trial_close(struct trial *t)
{
  test_close(&t->m);
  qtk_model_close(t->source);
  qtk_options_free(t->options);
  rounded_free(&t->rounded);
}

/* Parameter i becomes `size` times noise; how many values there are in all. */
static inline size_t trial_fill(struct trial *t, float size)
{
  struct qtk_param param;
  struct qtk_tensor value;
  size_t all = 0;

  for (int i = 0; qtk_engine_param(t->m.engine, 0, i, &param, &value); i++) {
    int64_t n = value.shape[0] * value.shape[1];
    for (int64_t k = 0; k < n; k++)
      ((float *)value.data)[k] = size * noise((uint64_t)(100000 * i + k));
    all += (size_t)n;
  }
  test_must(qtk_engine_changed(t->m.engine, 0, 0), "changed");
  return all;
}

static inline float *trial_logits(struct trial *t)
{
  return test_logits(&t->m, ids, n_ids, positions, POSITIONS);
}

#endif
