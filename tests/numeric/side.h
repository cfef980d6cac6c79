/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of side networks: a small model with one, in training, and a batch. */
#ifndef TESTS_NUMERIC_SIDE_H
#define TESTS_NUMERIC_SIDE_H

#include "core/engine-inner.h"
#include "rounded.h"
#include "toy.h"

#define LENGTH 24
#define SEQUENCES 4
#define TOKENS (LENGTH * SEQUENCES)

struct side {
  struct test_model m;
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  struct rounded rounded;
  struct qtk_session *s;
  int32_t *ids, targets[TOKENS];
  float weights[TOKENS];
  int64_t lengths[SEQUENCES], starts[SEQUENCES + 1];
  struct qtk_tensor hidden;
};

static inline void side_batch(struct side *r, const char *path)
{
  char file[4300];
  size_t n;

  snprintf(file, sizeof file, "%s/reference.json", path);
  json_t *reference = json_load_file(file, 0, NULL);
  r->ids = test_ids(reference, "token_ids", &n);
  json_decref(reference);
  for (int i = 0; i < TOKENS; i++) {
    int last = i % LENGTH == LENGTH - 1;
    r->targets[i] = last ? -1 : r->ids[i + 1];
    r->weights[i] = last ? 0.0f : 1.0f;
    r->lengths[i / LENGTH] = LENGTH;
    r->starts[i / LENGTH + 1] = (int64_t)(i / LENGTH + 1) * LENGTH;
  }
}

static inline struct qtk_batch side_examples(const struct side *r)
{
  return (struct qtk_batch){.tokens = TOKENS,
                            .ids = r->ids,
                            .targets = r->targets,
                            .weights = r->weights,
                            .sequences = SEQUENCES,
                            .starts = r->starts};
}

static inline int side_try(struct side *r, const char *path, const char *text)
{
  *r = (struct side){.m = {.ctx = ctx}};
  test_must(qtk_registry_get(QTK_ADAPTER, "qst", &r->plugin), "qst");
  r->options = test_options(r->plugin, text);
  const struct qtk_attached adapter = {
      .name = "qst", .ops = &r->plugin->ops.adapter, .options = r->options->values};
  test_must(qtk_model_open(ctx, path, &r->m.model), path);
  r->m.vocabulary = qtk_model_info(r->m.model)->vocabulary;
  rounded_linears(&r->rounded, ctx, r->m.model, "rtn", "bits = 4\ngroup = 16");
  side_batch(r, path);
  return qtk_engine_open(ctx, r->m.model, &adapter, 1, &r->m.engine);
}

static inline void side_open(struct side *r, const char *path, const char *text)
{
  test_must(side_try(r, path, text), path);
  test_must(qtk_engine_train(r->m.engine), "gradients");
  test_must(qtk_session_new(r->m.engine, SEQUENCES, 0, &r->s), "session");
  qtk_session_train(r->s, 1, NULL);
}

static inline void side_close(struct side *r)
{
  qtk_session_free(r->s);
  test_close(&r->m);
  qtk_options_free(r->options);
  rounded_free(&r->rounded);
  free(r->ids);
}

static inline double side_loss(struct side *r)
{
  struct qtk_batch batch = side_examples(r);
  double sum, weight;

  test_must(qtk_session_forward(r->s, r->ids, r->lengths, &r->hidden), "forward");
  test_must(qtk_session_loss(r->s, &batch, &r->hidden, NULL, &sum, &weight), "loss");
  return sum;
}

/* Gradients of `scale` times the loss, on top of what they are. */
static inline double side_back(struct side *r, double scale)
{
  struct qtk_batch batch = side_examples(r);
  double sum, weight;

  test_must(qtk_session_forward(r->s, r->ids, r->lengths, &r->hidden), "forward");
  test_must(qtk_session_backward(r->s, &batch, &r->hidden, scale, &sum, &weight), "backward");
  return sum;
}

static inline int64_t side_count(const struct qtk_param *p)
{
  return p->shape[0] * (p->ndim == 2 ? p->shape[1] : 1);
}

/* Value k of a parameter; the same in data/qst/make-reference.py. */
static inline float fill_value(const char *name, uint64_t k)
{
  size_t length = strlen(name);
  int norm = strstr(name, "block.norm") != NULL ||
             (length > 11 && strcmp(name + length - 11, "norm.weight") == 0);
  float base = strcmp(name, "side.alpha") == 0 ? 0.7f : norm ? 1.0f : 0.0f;
  uint64_t i = UINT64_C(0xcbf29ce484222325);

  for (const char *c = name; *c != '\0'; c++)
    i = (i ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
  i = (i + k + 1) * UINT64_C(0x9e3779b97f4a7c15);
  i = (i ^ (i >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  return base + 0.3f * ((float)(i >> 40) / (float)(1 << 23) - 1.0f);
}

static inline void side_fill(struct side *r)
{
  struct qtk_tensor value;
  struct qtk_param p;

  for (int i = 0; qtk_engine_param(r->m.engine, 0, i, &p, &value); i++)
    for (int64_t k = 0; k < side_count(&p); k++)
      ((float *)value.data)[k] = fill_value(p.name, (uint64_t)k);
  test_must(qtk_engine_changed(r->m.engine, 0, 0), "changed");
}

/* Number of the parameter, or -1. */
static inline int side_find(struct side *r, const char *name)
{
  struct qtk_tensor value;
  struct qtk_param p;

  for (int i = 0; qtk_engine_param(r->m.engine, 0, i, &p, &value); i++)
    if (strcmp(p.name, name) == 0)
      return i;
  return -1;
}

/* ---- recorded values ---- */

/* The same as in data/qst/make-reference.py and make-pruned.py. */
static inline double side_sign(uint64_t i, uint64_t which)
{
  i = (i * 2 + which) * 2654435761u & 0xffffffffu;
  i = (i ^ (i >> 16)) * 0x45d9f3bu & 0xffffffffu;
  return (i ^ (i >> 16)) & 1 ? 1.0 : -1.0;
}

static inline double side_number(const json_t *list, size_t i)
{
  return json_number_value(json_array_get(list, i));
}

/* How far values are from what is recorded of them, relative to their length. */
static inline double side_error(const json_t *said, const float *is, int64_t n)
{
  const json_t *products = json_object_get(said, "products"), *values, *value;
  double length = json_number_value(json_object_get(said, "norm")), sums[3] = {0}, worst;
  size_t k;

  for (int64_t i = 0; i < n; i++) {
    sums[0] += side_sign((uint64_t)i, 0) * (double)is[i];
    sums[1] += side_sign((uint64_t)i, 1) * (double)is[i];
    sums[2] += (double)is[i] * (double)is[i];
  }
  worst = fabs(sqrt(sums[2]) - length);
  for (k = 0; k < 2; k++)
    worst = fmax(worst, fabs(sums[k] - side_number(products, k)));
  values = json_object_get(said, "values");
  json_array_foreach(values, k, value)
    worst = fmax(worst, fabs((double)is[(size_t)side_number(value, 0)] -
                             side_number(value, 1)));
  return worst / length;
}

/* ---- all of them ---- */

/* All gradients one behind the other; freed by the caller. */
static inline float *side_gradients(struct side *r, size_t *n)
{
  struct qtk_tensor value, gradient;
  struct qtk_param p;
  float *all = NULL;

  *n = 0;
  for (int i = 0; qtk_engine_param(r->m.engine, 0, i, &p, &value); i++) {
    size_t count = (size_t)side_count(&p);
    qtk_engine_gradient(r->m.engine, 0, i, &gradient);
    all = realloc(all, (*n + count) * sizeof *all);
    memcpy(all + *n, gradient.data, count * sizeof *all);
    *n += count;
  }
  return all;
}

#endif
