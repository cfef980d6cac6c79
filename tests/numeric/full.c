/* SPDX-License-Identifier: BSD-3-Clause
 * Full fine-tuning: which tensors its options and targets take, that it learns, and that
 * what was tuned is the same bits when it is read back. */
#include "core/option.h"
#include "core/toml.h"
#include "core/train.h"
#include "toy.h"

#define LENGTH 32
#define SEQUENCES 9

static const struct qtk_loaded *plugin;

static struct qtk_options *full_options(const char *text)
{
  struct qtk_options *options;
  struct qtk_toml *toml;

  test_must(qtk_toml_parse(text, strlen(text), "text", &toml), "options");
  test_must(qtk_options_parse(plugin->plugin.options, plugin->plugin.options_size, toml, NULL,
                              &options),
            "options");
  qtk_toml_free(toml);
  return options;
}

/* ---- which ------------------------------------------------------------------------------- */

/* The names of what is trained, one after the other, from those of an OPT model. */
static void which_trained(const char *what, const char *options, const char *targets,
                          const char *const *left_out, int n)
{
  struct qtk_options *o = full_options(options);
  const struct qtk_attached adapter = {
      .name = "full", .ops = &plugin->ops.adapter, .options = o->values, .targets = targets};
  struct test_model m = test_open(ctx, test_data("nano/opt_postln"), &adapter, 1);
  struct qtk_tensor value;
  struct qtk_param param;
  int found = 0, good = 1;

  for (int i = 0; i < qtk_model_count(m.model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(m.model, i);
    int wanted = targets == NULL || strstr(t->name, "fc1") != NULL;
    for (const char *const *out = left_out; *out != NULL; out++)
      wanted = wanted && strstr(t->name, *out) == NULL;
    int trained = qtk_engine_param(m.engine, 0, found, &param, &value) &&
                  strcmp(param.name, t->name) == 0;
    good = good && trained == wanted;
    found += trained;
  }
  good = good && !qtk_engine_param(m.engine, 0, found, &param, &value);
  tap_ok(good && found == n, "%s: %d tensors are trained", what, found);
  test_close(&m);
  qtk_options_free(o);
}

static void which_all(void)
{
  static const char *const nothing[] = {NULL}, *const outside[] = {"embed", "project", NULL};
  static const char *const norms[] = {"layer_norm.weight", NULL}, *const biases[] = {".bias", NULL};
  static const char *const but_linears[] = {"embed", "project", "layer_norm", ".bias", NULL};

  which_trained("by default", "", NULL, nothing, 36);
  which_trained("without the embedding", "embedding = false", NULL, outside, 32);
  which_trained("without norms", "norms = false", NULL, norms, 32);
  which_trained("without biases", "biases = false", NULL, biases, 20);
  which_trained("without all three", "embedding = false\nnorms = false\nbiases = false", NULL,
                but_linears, 12);
  which_trained("by targets", "", "fc1", nothing, 4);
}

/* ---- tuned ------------------------------------------------------------------------------- */

static int64_t starts[SEQUENCES + 1];
static int32_t targets[SEQUENCES * LENGTH];
static float weights[SEQUENCES * LENGTH];

static struct qtk_examples tuned_examples(void)
{
  for (int i = 0; i < SEQUENCES * LENGTH; i++) {
    targets[i] = i % LENGTH == LENGTH - 1 ? -1 : ids[i + 1];
    weights[i] = 1.0f;
    starts[i / LENGTH + 1] = i / LENGTH * LENGTH + LENGTH;
  }
  return (struct qtk_examples){.n = SEQUENCES, .starts = starts, .ids = ids, .targets = targets,
                               .weights = weights};
}

/* Twelve steps; the logits and the parameters of the end. */
static float *tuned_train(struct qtk_model *model, const struct qtk_attached *adapter,
                          struct qtk_tuned *tuned)
{
  const struct qtk_train_rule rule = {.optimizer = {1e-3, 0.9, 0.999, 1e-8, 0.0, 1.0},
                                      .schedule = {QTK_SCHEDULE_CONSTANT, 20, 2},
                                      .batch = 3,
                                      .checkpoint = 1};
  const struct qtk_examples examples = tuned_examples();
  struct test_model m = {.ctx = ctx, .model = model, .vocabulary = 384};
  struct qtk_train_step step;
  struct qtk_train *train;
  double first = 0.0, last = 0.0;

  test_must(qtk_engine_open(ctx, model, adapter, 1, &m.engine), "engine");
  test_must(qtk_train_new(ctx, m.engine, 0, &rule, &examples, &train), "training");
  for (int i = 0; i < 12; i++) {
    test_must(qtk_train_next(train, &step), "step");
    first += i < 3 ? step.loss / 3 : 0.0;
    last += i >= 9 ? step.loss / 3 : 0.0;
  }
  qtk_train_free(train);
  tap_ok(last < 0.8 * first, "the loss falls from %.4f to %.4f", first, last);
  test_must(qtk_engine_save(m.engine, 0, tuned), "save");
  float *logits = test_logits(&m, ids, n_ids, positions, POSITIONS);
  qtk_engine_close(m.engine);
  return logits;
}

static void tuned_all(const char *text)
{
  struct qtk_options *o = full_options(text);
  const struct qtk_attached adapter = {
      .name = "full", .ops = &plugin->ops.adapter, .options = o->values};
  struct test_model m = {.ctx = ctx, .vocabulary = 384};
  struct qtk_tuned *tuned;

  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  toy_quantize(m.model);
  uint64_t values = (uint64_t)qtk_model_parameters(m.model);
  test_must(qtk_tuned_new(ctx, "full", plugin, text, NULL, &tuned), "tuned");
  float *want = tuned_train(m.model, &adapter, tuned);
  tap_ok(qtk_tuned_bytes(tuned) == values * (*text ? 2 : 4), "%llu values in %llu bytes",
         (unsigned long long)values, (unsigned long long)qtk_tuned_bytes(tuned));
  test_must(qtk_model_adapt(ctx, m.model, tuned, 0), "adapt");
  test_must(qtk_engine_open(ctx, m.model, NULL, 0, &m.engine), "engine");
  float *got = test_logits(&m, ids, n_ids, positions, POSITIONS);
  tap_ok(memcmp(want, got, logits_count() * sizeof *want) == 0,
         "put on the model again: the same bits");
  free(want);
  free(got);
  test_close(&m);
  qtk_options_free(o);
}

int main(void)
{
  toy_begin();
  test_must(qtk_registry_get(QTK_ADAPTER, "full", &plugin), "full");
  which_all();
  tuned_all("");
  tuned_all("dtype = \"f16\"\n");
  toy_end();
  return tap_end();
}
