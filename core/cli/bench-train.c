/* SPDX-License-Identifier: BSD-3-Clause
 * qtk bench: windows of training, forward, backward and the optimizer's step, with an
 * adapter that the user names. */
#include <string.h>

#include "core/cli/bench.h"
#include "core/error.h"
#include "core/log.h"
#include "core/option.h"
#include "core/registry.h"
#include "core/train.h"

/* A training on a batch, and what it stands on. */
struct bench_training {
  struct qtk_options *options;
  struct qtk_engine *engine;
  struct qtk_train *train;
  int64_t starts[BENCH_BATCH + 1];
  struct qtk_examples examples;
};

/* "KEY=VALUE" of each --set. */
static int train_set(const struct bench *b, struct qtk_toml *root)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < b->set.n && rc == QTK_OK; i++) {
    const char *text = b->set.items[i], *equals = strchr(text, '=');
    char key[64];
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof key)
      return qtk_error(QTK_EUSAGE, "bench: --set %s: expected KEY=VALUE", text);
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = '\0';
    rc = qtk_toml_set_path(root, key, equals + 1, "--set");
  }
  return rc;
}

static int train_options(const struct bench *b, const struct qtk_plugin *plugin,
                         struct qtk_options **options)
{
  struct qtk_toml *root = qtk_toml_new_table();
  int rc = root != NULL ? train_set(b, root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_options_parse(plugin->options, plugin->options_size, root, NULL, options);
  qtk_toml_free(root);
  return rc;
}

static int train_open(struct bench *b, struct bench_training *t)
{
  const struct qtk_loaded *plugin;
  const struct qtk_train_rule rule = {
    .optimizer = {.learning_rate = 1e-5, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip = 1},
    .schedule = {.shape = QTK_SCHEDULE_CONSTANT, .steps = BENCH_MOST + 2},
    .batch = b->batch, .micro_batch = b->batch, .checkpoint = b->block};
  int rc = qtk_registry_get(QTK_ADAPTER, b->adapter, &plugin);
  if (rc == QTK_OK)
    rc = train_options(b, &plugin->plugin, &t->options);
  if (rc != QTK_OK)
    return rc;
  const struct qtk_attached adapter = {.name = b->adapter,
                                       .ops = &plugin->ops.adapter,
                                       .options = t->options->values};
  rc = qtk_engine_open(b->ctx, b->model, &adapter, 1, &t->engine);
  for (int64_t i = 0; i < b->batch; i++)
    t->starts[i + 1] = t->starts[i] + b->train;
  t->examples = (struct qtk_examples){.n = b->batch, .starts = t->starts, .ids = b->ids,
                                      .targets = b->ids + 1, .weights = b->weights};
  return rc == QTK_OK ? qtk_train_new(b->ctx, t->engine, 0, &rule, &t->examples, &t->train) : rc;
}

/* What was held at most, kind by kind. */
static void train_memory(const struct qtk_arena *arena, struct bench_row *row)
{
  row->resident = qtk_peak_rss();
  row->counted = arena->peak;
  row->n_kinds = arena->n_categories;
  memcpy(row->kinds, arena->categories, sizeof row->kinds);
}

static int train_steps(struct bench *b, struct bench_training *t, struct bench_row *row)
{
  struct qtk_train_step step;
  int rc = qtk_train_next(t->train, &step); /* not counted: pages come in */
  for (int64_t i = 0; i < b->repetitions && rc == QTK_OK; i++) {
    double begin = qtk_seconds();
    rc = qtk_train_next(t->train, &step);
    row->rates[i] = row->tokens / (qtk_seconds() - begin);
  }
  train_memory(&b->ctx->arena, row);
  return rc;
}

int bench_train(struct bench *b, struct bench_row *row)
{
  struct bench_training t = {0};
  int rc = train_open(b, &t);
  if (rc == QTK_OK)
    rc = train_steps(b, &t, row);
  qtk_train_free(t.train);
  qtk_engine_close(t.engine);
  qtk_options_free(t.options);
  return rc;
}
