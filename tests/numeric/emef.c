/* SPDX-License-Identifier: BSD-3-Clause
 * Training beside packed weights, block by block: gradients of pairs are those of activations that
 * are kept, and of a model whose weights are floats of the same values; and no more is held than
 * packed weights, what enters each block, one block, and a chunk of logits. */
#include <math.h>

#include "rounded.h"

#define LENGTH 48
#define LAYERS 4
#define HIDDEN 512
#define FFN 512
#define VOCABULARY 640

static struct qtk_context *ctx;
static char folder[] = "/tmp/qtk-emef-XXXXXX";

/* A model with pairs that are not zero. */
struct tuner {
  struct test_model m;
  struct rounded rounded;
  struct qtk_options *options;
  struct qtk_session *s;
  float *dense[64]; /* weights as floats, where they are */
  int n_dense;
};

/* The packed linears once more, each value a float. */
static void tuner_dense(struct tuner *t)
{
  for (int i = 0; i < qtk_model_count(t->m.model); i++) {
    const struct qtk_model_tensor *at = qtk_model_tensor(t->m.model, i);
    struct qtk_qlayout layout = {
        .encoding = QTK_DENSE, .dtype = QTK_F32, .rows = at->rows, .cols = at->cols};
    if (!at->linear)
      continue;
    float *w = t->dense[t->n_dense++] = malloc((size_t)(at->rows * at->cols) * sizeof *w);
    test_must(qtk_model_read(t->m.model, i, 0, at->rows, w, at->cols), at->name);
    test_must(qtk_qlayout_init(&layout), "layout");
    struct qtk_qtensor view = {.layout = layout, .codes = w};
    test_must(qtk_model_replace(t->m.model, i, &view, NULL, NULL), at->name);
  }
}

static void tuner_values(struct tuner *t)
{
  struct qtk_tensor value;
  struct qtk_param param;
  uint64_t state = 12345;

  for (int i = 0; qtk_engine_param(t->m.engine, 0, i, &param, &value); i++)
    for (int64_t k = 0; k < param.shape[0] * param.shape[1]; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      ((float *)value.data)[k] = ((float)(state >> 40) / 16777216.0f - 0.5f) * 0.1f;
    }
  test_must(qtk_engine_changed(t->m.engine, 0, 0), "changed");
}

static void tuner_open(struct tuner *t, const char *round, int dense, int checkpoint)
{
  const struct qtk_loaded *plugin;

  *t = (struct tuner){.m = {.ctx = ctx}};
  test_must(qtk_model_open(ctx, folder, &t->m.model), folder);
  rounded_linears(&t->rounded, ctx, t->m.model, "rtn", round);
  if (dense)
    tuner_dense(t);
  test_must(qtk_registry_get(QTK_ADAPTER, "lora", &plugin), "lora");
  t->options = test_options(plugin, "rank = 8\nroles = \"q v\"");
  const struct qtk_attached adapter = {
      .name = "lora", .ops = &plugin->ops.adapter, .options = t->options->values};
  test_must(qtk_engine_open(ctx, t->m.model, &adapter, 1, &t->m.engine), "engine");
  test_must(qtk_engine_train(t->m.engine), "gradients");
  tuner_values(t);
  test_must(qtk_session_new(t->m.engine, 1, 0, &t->s), "session");
  qtk_session_train(t->s, 1, NULL);
  qtk_session_checkpoint(t->s, checkpoint);
}

static void tuner_close(struct tuner *t)
{
  qtk_session_free(t->s);
  test_close(&t->m);
  qtk_options_free(t->options);
  rounded_free(&t->rounded);
  for (int i = 0; i < t->n_dense; i++)
    free(t->dense[i]);
}

static void tuner_step(struct tuner *t)
{
  int64_t length = LENGTH;
  int32_t ids[LENGTH + 1];
  float weights[LENGTH];
  const int64_t starts[] = {0, LENGTH};
  struct qtk_tensor hidden;
  double sum, weight;

  for (int i = 0; i <= LENGTH; i++)
    ids[i] = (i * 37 + 11) % VOCABULARY;
  for (int i = 0; i < LENGTH; i++)
    weights[i] = 1.0f;
  const struct qtk_batch batch = {.tokens = LENGTH, .ids = ids, .targets = ids + 1,
                                  .weights = weights, .sequences = 1, .starts = starts};
  test_must(qtk_session_forward(t->s, ids, &length, &hidden), "forward");
  test_must(qtk_session_backward(t->s, &batch, &hidden, 1.0 / LENGTH, &sum, &weight), "backward");
}

/* ---- gradients ---- */

static float *gradients_of(const char *round, int dense, int checkpoint, size_t *n)
{
  struct tuner t;
  struct qtk_tensor value, gradient;
  struct qtk_param param;
  float *all = NULL;

  tuner_open(&t, round, dense, checkpoint);
  tuner_step(&t);
  *n = 0;
  for (int i = 0; qtk_engine_param(t.m.engine, 0, i, &param, &value); i++) {
    size_t more = (size_t)(param.shape[0] * param.shape[1]);
    qtk_engine_gradient(t.m.engine, 0, i, &gradient);
    all = realloc(all, (*n + more) * sizeof *all);
    memcpy(all + *n, gradient.data, more * sizeof *all);
    *n += more;
  }
  tuner_close(&t);
  return all;
}

/* |a - b| / |b|. */
static double apart(const float *a, const float *b, size_t n)
{
  double difference = 0.0, size = 0.0;

  for (size_t i = 0; i < n; i++) {
    difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    size += (double)b[i] * (double)b[i];
  }
  return size > 0.0 ? sqrt(difference / size) : 1.0;
}

static void gradients_all(const char *round, int bits)
{
  size_t n, m;
  float *brief = gradients_of(round, 0, 1, &n), *whole = gradients_of(round, 0, 0, &m);
  float *dense = gradients_of(round, 1, 0, &m);

  tap_ok(n == m && memcmp(brief, whole, n * sizeof *brief) == 0,
         "%d bits: gradients through checkpoints are the same bits", bits);
  tap_ok(apart(brief, dense, n) <= 1e-5, "%d bits: of a model of floats: %.1e apart", bits,
         apart(brief, dense, n));
  free(brief);
  free(whole);
  free(dense);
}

/* ---- memory ---- */

static uint64_t part_of(const char *what)
{
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, what) == 0)
      return ctx->arena.categories[i].part;
  return 0;
}

/* Everything of one block at once, forward and back, and what lies outside the blocks, none of it
 * made again: 6 d + 2 dkv + 3 f each way, and 5 d. Packed weights are the test's own memory. */
static void memory_all(const char *round, int bits)
{
  uint64_t block = sizeof(float) * LENGTH * (2 * (6 * HIDDEN + 2 * HIDDEN + 3 * FFN) + 5 * HIDDEN);
  uint64_t entering = sizeof(float) * LENGTH * LAYERS * HIDDEN;
  uint64_t logits = sizeof(float) * (QTK_LOGIT_CHUNK * VOCABULARY + QTK_LOGIT_CHUNK);
  uint64_t matrix = sizeof(float) * HIDDEN * HIDDEN;
  struct tuner t;

  tuner_open(&t, round, 0, 1);
  uint64_t before = ctx->arena.used;
  qtk_arena_reset_peak(&ctx->arena);
  tuner_step(&t);
  uint64_t taken = ctx->arena.peak - before - part_of("scratch");
  tap_ok(part_of("checkpoints") == entering && taken <= entering + block + logits,
         "%d bits: %llu bytes for a step, at most %llu", bits, (unsigned long long)taken,
         (unsigned long long)(entering + block + logits));
  tap_ok(ctx->arena.largest > 0 && ctx->arena.largest < matrix,
         "%d bits: at most %llu bytes at once, a matrix of floats has %llu", bits,
         (unsigned long long)ctx->arena.largest, (unsigned long long)matrix);
  tuner_step(&t);
  tap_ok(ctx->arena.peak - before - part_of("scratch") == taken, "%d bits: and no more for another",
         bits);
  tuner_close(&t);
}

static void make_model(void)
{
  const char *build = getenv("QTK_BUILDDIR");
  char command[8192];

  if (build == NULL || mkdtemp(folder) == NULL) {
    printf("Bail out! no build folder, or none in /tmp\n");
    exit(99);
  }
  snprintf(command, sizeof command,
           "{ test -x '%s/bench/make-model' || make -s -C '%s' bench/make-model; } >&2 && "
           "'%s/bench/make-model' '%s' %d %d %d 4 4 %d >&2",
           build, build, build, folder, LAYERS, HIDDEN, FFN, VOCABULARY);
  if (system(command) != 0) {
    printf("1..0 # SKIP bench/make-model cannot be built\n");
    exit(0);
  }
}

int main(void)
{
  static const char *const rounds[] = {"bits = 2\ngroup = 64\n", "bits = 4\ngroup = 64\n",
                                       "bits = 8\ngroup = 64\n"};
  static const int bits[] = {2, 4, 8};
  char command[64];

  make_model();
  ctx = test_context(2, 0);
  for (int i = 0; i < 3; i++) {
    gradients_all(rounds[i], bits[i]);
    memory_all(rounds[i], bits[i]);
  }
  test_context_close(ctx);
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  if (system(command) != 0)
    printf("# %s is left\n", folder);
  return tap_end();
}
