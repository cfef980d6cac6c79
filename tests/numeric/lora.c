/* SPDX-License-Identifier: BSD-3-Clause
 * Pairs of low rank: against PyTorch, at their start, merged, with dropout, and how many numbers
 * they train on models that are published. */
#include "core/train.h"
#include "trial.h"

/* ---- PyTorch ---------------------------------------------------------------------------------- */

#define TOKENS 48

/* Tokens 0 .. TOKENS - 1 as one sequence; all but the last are scored. */
static struct qtk_examples reference_examples(void)
{
  static const int64_t starts[] = {0, TOKENS};
  static int32_t targets[TOKENS];
  static float weights[TOKENS];

  for (int i = 0; i < TOKENS; i++) {
    targets[i] = i + 1 < TOKENS ? ids[i + 1] : -1;
    weights[i] = 1.0f;
  }
  return (struct qtk_examples){.n = 1, .starts = starts, .ids = ids, .targets = targets,
                               .weights = weights};
}

/* The largest difference of all gradients from the file's, over the largest of them. */
static double reference_gradients(struct trial *t, const char *name, size_t n)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  char path[64];
  float *want = calloc(n + 1, sizeof *want), *found = calloc(n + 1, sizeof *found);
  size_t at = 0;

  snprintf(path, sizeof path, "lora/%s.f32", name);
  FILE *f = fopen(test_data(path), "rb");
  size_t got = f != NULL ? fread(want, sizeof *want, n + 1, f) : 0;
  for (int i = 0; qtk_engine_param(t->m.engine, 0, i, &param, &value); i++) {
    qtk_engine_gradient(t->m.engine, 0, i, &gradient);
    memcpy(found + at, gradient.data, (size_t)(value.shape[0] * value.shape[1]) * sizeof *found);
    at += (size_t)(value.shape[0] * value.shape[1]);
  }
  double worst = got == n ? distance(found, want, n) : INFINITY;
  if (f != NULL)
    fclose(f);
  free(found);
  free(want);
  return worst;
}

static void reference_train(struct trial *t, const char *name, const json_t *c, size_t n)
{
  const json_t *losses = json_object_get(c, "losses");
  struct qtk_examples examples = reference_examples();
  struct qtk_train_rule rule = {
      .optimizer = {json_number_value(json_object_get(c, "learning_rate")), 0.9, 0.999, 1e-8, 0, 0},
      .schedule = {.shape = QTK_SCHEDULE_CONSTANT, .steps = 4},
      .batch = 1};
  struct qtk_train *train;
  struct qtk_train_step step;
  double worst = 0.0, gradients = 0.0;

  test_must(qtk_train_new(ctx, t->m.engine, 0, &rule, &examples, &train), "training");
  for (size_t i = 0; i < json_array_size(losses); i++) {
    test_must(qtk_train_next(train, &step), "step");
    worst = fmax(worst, fabs(step.loss - json_number_value(json_array_get(losses, i))));
    if (i == 0)
      gradients = reference_gradients(t, name, n);
  }
  tap_ok(gradients < 1e-4, "%s: gradients of PyTorch within %.2g", name, gradients);
  tap_ok(json_array_size(losses) == 4 && worst < 1e-4,
         "%s: four steps, losses of PyTorch within %.2g", name, worst);
  qtk_train_free(train);
}

static void reference_case(const json_t *c)
{
  const char *name = json_string_value(json_object_get(c, "name"));
  char text[160], path[64];
  struct trial t;

  snprintf(path, sizeof path, "nano/%s", name);
  snprintf(text, sizeof text, "rank = %d\nalpha = %g\nrslora = %s\nroles = \"%s\"",
           (int)json_integer_value(json_object_get(c, "rank")),
           json_number_value(json_object_get(c, "alpha")),
           json_is_true(json_object_get(c, "rslora")) ? "true" : "false",
           json_string_value(json_object_get(c, "roles")));
  trial_open(&t, test_data(path), NULL, text);
  reference_train(&t, name, c, trial_fill(&t, 0.1f));
  trial_close(&t);
}

static void reference_all(void)
{
  json_t *all = json_load_file(test_data("lora/reference.json"), 0, NULL);
  const json_t *cases = json_object_get(all, "cases");

  for (size_t i = 0; i < json_array_size(cases); i++)
    reference_case(json_array_get(cases, i));
  tap_ok(json_array_size(cases) == 2, "there are two cases");
  json_decref(all);
}

/* ---- the first step ----------------------------------------------------------------------------- */

/* A pass in training and backward: over two sequences (of 20 and of 28 tokens, numbers 3 and 4
 * of the data), or over one of them. */
static void start_pass(struct trial *t, int first, int n)
{
  static const int64_t lengths[] = {20, 28}, starts[] = {0, 20, TOKENS};
  static const uint64_t numbers[] = {3, 4};
  struct qtk_examples e = reference_examples();
  int64_t at = starts[first], ends[3] = {0};
  struct qtk_batch batch = {.ids = ids + at, .targets = e.targets + at, .weights = e.weights + at,
                            .sequences = n, .starts = ends};
  struct qtk_session *s;
  struct qtk_tensor hidden;
  double sum, weight;

  for (int i = 0; i < n; i++)
    batch.tokens = ends[i + 1] = ends[i] + lengths[first + i];
  test_must(qtk_session_new(t->m.engine, n, 0, &s), "session");
  qtk_session_train(s, 1, numbers + first);
  test_must(qtk_session_forward(s, batch.ids, lengths + first, &hidden), "forward");
  test_must(qtk_session_backward(s, &batch, &hidden, 1.0, &sum, &weight), "backward");
  qtk_session_free(s);
}

/* Gradients of all A are zero, of all B are not. */
static void start_gradients(struct trial *t, const char *name)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  int zero = 1, some = 1, n = 0;

  test_must(qtk_engine_train(t->m.engine), "gradients");
  start_pass(t, 0, 2);
  for (; qtk_engine_param(t->m.engine, 0, n, &param, &value); n++) {
    double sum = 0.0;
    qtk_engine_gradient(t->m.engine, 0, n, &gradient);
    for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
      sum += fabs((double)((float *)gradient.data)[k]);
    zero &= n % 2 == 1 || sum == 0.0;
    some &= n % 2 == 0 || sum > 0.0;
  }
  tap_ok(n > 0 && zero && some, "%s: at first gradients of A are 0, of B are not", name);
}

static void start_model(const char *name)
{
  char path[64];
  struct trial plain, t;

  snprintf(path, sizeof path, "nano/%s", name);
  trial_model(&plain, test_data(path), "bits = 4\ngroup = 16");
  test_must(qtk_engine_open(ctx, plain.m.model, NULL, 0, &plain.m.engine), "engine");
  trial_open(&t, test_data(path), "bits = 4\ngroup = 16", "rank = 4");
  float *want = trial_logits(&plain), *found = trial_logits(&t);
  size_t n = POSITIONS * (size_t)t.m.vocabulary;
  tap_ok(memcmp(want, found, n * sizeof *want) == 0, "%s: the first logits are the base's bits",
         name);
  start_gradients(&t, name);
  trial_fill(&t, 0.1f);
  free(found);
  found = trial_logits(&t);
  tap_ok(distance(found, want, n) > 1e-3, "%s: others follow from other values", name);
  free(want);
  free(found);
  trial_close(&t);
  trial_close(&plain);
}

/* What a linear starts with does not depend on which others have a pair. */
static void start_alone(void)
{
  struct trial all, one;
  struct qtk_param a, b;
  struct qtk_tensor of_all, of_one;
  double bound = 1 / sqrt(64.0), most = 0.0;
  int i = 0;

  trial_open(&all, folder, NULL, "rank = 4");
  trial_open(&one, folder, NULL, "rank = 4\nroles = \"v\"");
  qtk_engine_param(one.m.engine, 0, 0, &b, &of_one);
  while (qtk_engine_param(all.m.engine, 0, i, &a, &of_all) && strcmp(a.name, b.name) != 0)
    i++;
  for (int k = 0; k < 4 * 64; k++)
    most = fmax(most, fabs((double)((float *)of_one.data)[k]));
  tap_ok(strcmp(b.name, "model.layers.0.self_attn.v_proj.weight.lora_A") == 0 &&
             memcmp(of_all.data, of_one.data, 4 * 64 * sizeof(float)) == 0,
         "%s starts the same among others and alone", b.name);
  tap_ok(most <= bound && most > 0.9 * bound, "A is within %.4f, and up to %.4f", bound, most);
  trial_close(&all);
  trial_close(&one);
}

/* ---- merging ------------------------------------------------------------------------------------------ */

/* Base + scale B A of a site, one product at a time. */
static float *merge_by_hand(struct trial *t, const struct qtk_site *site, double scale)
{
  struct qtk_param param;
  struct qtk_tensor a, b;
  float *w = malloc((size_t)(site->rows * site->cols) * sizeof *w);

  qtk_engine_param(t->m.engine, 0, 2 * site->index, &param, &a);
  qtk_engine_param(t->m.engine, 0, 2 * site->index + 1, &param, &b);
  test_must(qtk_dequantize_rows(site->base, NULL, 0, site->rows, w, site->cols), site->name);
  for (int64_t i = 0; i < site->rows; i++)
    for (int64_t j = 0; j < site->cols; j++) {
      double sum = 0.0;
      for (int64_t k = 0; k < a.shape[0]; k++)
        sum += (double)((float *)b.data)[i * a.shape[0] + k] *
               (double)((float *)a.data)[k * site->cols + j];
      w[i * site->cols + j] += (float)(scale * sum);
    }
  return w;
}

static int merge_fold(struct trial *t, const struct qtk_site *site, struct qtk_fold *fold)
{
  return t->plugin->ops.adapter.fold(ctx, t->m.engine->adapters[0].h, site, fold);
}

/* Rows of every linear merged into the model; its logits with the adapter and after it. */
static void merge_floats(void)
{
  struct trial t, merged;
  void *rows[64] = {0};

  trial_open(&t, folder, NULL, "rank = 4\ndropout = 0.5");
  trial_fill(&t, 0.1f);
  float *want = trial_logits(&t), *base = logits_of(NULL, 0, NULL);
  trial_model(&merged, folder, NULL);
  const struct engine_adapter *a = &t.m.engine->adapters[0];
  int exact = a->n_sites > 0;
  for (int i = 0; i < a->n_sites; i++) {
    const struct qtk_site *site = &a->sites->sites[i];
    struct qtk_fold fold = {.kind = 0};
    struct qtk_qtensor view = {.layout = {.encoding = QTK_DENSE, .dtype = QTK_F32,
                                          .rows = site->rows, .cols = site->cols}};
    test_must(merge_fold(&t, site, &fold), "fold");
    exact &= fold.kind == QTK_FOLD_ROWS && fold.exact;
    fold.rows = rows[i] = calloc((size_t)(site->rows * site->cols), sizeof *fold.rows);
    test_must(merge_fold(&t, site, &fold), "fold");
    view.codes = fold.rows;
    test_must(qtk_qlayout_init(&view.layout), "layout");
    test_must(qtk_model_replace(merged.m.model, qtk_model_find(merged.m.model, site->name), &view,
                                NULL, NULL),
              "replace");
  }
  test_must(qtk_engine_open(ctx, merged.m.model, NULL, 0, &merged.m.engine), "engine");
  float *found = trial_logits(&merged);
  double off = distance(found, want, logits_count()), change = distance(base, want, logits_count());
  tap_ok(exact && off < 1e-5 && change > 1e-2,
         "merged into floats: differs by %.2g; the base, by %.2g", off, change);
  trial_close(&merged);
  trial_close(&t);
  for (int i = 0; i < 64; i++)
    free(rows[i]);
  free(found);
  free(base);
  free(want);
}

static const char merge_round[] = "bits = 4\ngroup = 16";

/* What is rounded again is what rounding base + scale B A by hand gives, but for weights that
 * lie between two codes; and it is not that sum. */
static void merge_codes(void)
{
  struct trial t;
  int64_t other = 0, all = 0;
  double worst = 0.0, scale = 8.0 / 4.0;
  int kinds = 1;

  trial_open(&t, folder, merge_round, "rank = 4\nalpha = 8");
  trial_fill(&t, 0.1f);
  const struct engine_adapter *adapter = &t.m.engine->adapters[0];
  for (int i = 0; i < adapter->n_sites; i++) {
    const struct qtk_site *site = &adapter->sites->sites[i];
    const struct qtk_model_tensor *tensor =
        qtk_model_tensor(t.m.model, qtk_model_find(t.m.model, site->name));
    size_t n = (size_t)(site->rows * site->cols);
    struct qtk_fold fold = {.kind = 0};
    test_must(merge_fold(&t, site, &fold), "fold");
    kinds &= fold.kind == QTK_FOLD_QUANTIZED && !fold.exact;
    void *block = t.rounded.blocks[t.rounded.n++] =
        calloc(1, qtk_qtensor_block_bytes(&site->base->layout));
    fold.tensor = qtk_qtensor_over(&site->base->layout, block);
    test_must(merge_fold(&t, site, &fold), "fold");
    float *sum = merge_by_hand(&t, site, scale), *w = malloc(2 * n * sizeof *w), *hand = w + n;
    memcpy(hand, sum, n * sizeof *hand);
    struct qtk_qtensor q = rounded_rows(&t.rounded, ctx, "rtn", merge_round, tensor, hand);
    test_must(qtk_dequantize_rows(&q, NULL, 0, site->rows, hand, site->cols), "rows");
    test_must(qtk_dequantize_rows(&fold.tensor, NULL, 0, site->rows, w, site->cols), "rows");
    for (size_t k = 0; k < n; k++) {
      other += fabs((double)w[k] - (double)hand[k]) > 1e-4;
      worst = fmax(worst, fabs((double)w[k] - (double)sum[k]));
    }
    all += (int64_t)n;
    free(sum);
    free(w);
  }
  tap_ok(kinds && (double)other < 1e-3 * (double)all,
         "merged into codes: rounded again as by hand, but for %lld of %lld weights",
         (long long)other, (long long)all);
  tap_ok(worst > 1e-3, "which is not the tuned model: weights differ by up to %.3f", worst);
  trial_close(&t);
}

/* A base whose quantizer wants statistics, and one that no quantizer made. */
static void merge_refused(void)
{
  struct trial t;

  for (int known = 0; known < 2; known++) {
    struct qtk_fold fold = {.kind = 0};
    trial_model(&t, folder, merge_round);
    for (int i = 0; i < qtk_model_count(t.m.model); i++)
      if (qtk_model_tensor(t.m.model, i)->linear) {
        struct qtk_qtensor q;
        test_must(qtk_model_hold(ctx, t.m.model, i, &q), "codes");
        qtk_model_release(ctx, t.m.model, i);
        test_must(qtk_model_replace(t.m.model, i, &q, known ? "optq" : NULL, NULL), "replace");
      }
    test_must(trial_engine(&t, "rank = 2"), "engine");
    const struct qtk_site *site = &t.m.engine->adapters[0].sites->sites[0];
    test_must(merge_fold(&t, site, &fold), "fold");
    void *block = calloc(1, qtk_qtensor_block_bytes(&site->base->layout));
    fold.tensor = qtk_qtensor_over(&site->base->layout, block);
    int rc = merge_fold(&t, site, &fold);
    tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), known ? "calibration" : "no quantizer"),
           "not merged: %s", qtk_error_message());
    free(block);
    trial_close(&t);
  }
}

/* ---- dropout --------------------------------------------------------------------------------------- */

/* Hidden states [48, 64] of two sequences in one pass of training, or of one of them (the first
 * of 20 tokens, the second of 28), by their numbers in the data. */
static float *drop_pass(struct trial *t, int64_t step, uint64_t first, uint64_t second, int which)
{
  const int64_t lengths[] = {20, 28};
  const uint64_t numbers[] = {first, second};
  int both = which == 2;
  int64_t tokens = both ? TOKENS : lengths[which];
  float *out = malloc((size_t)(tokens * 64) * sizeof *out);
  struct qtk_session *s;
  struct qtk_tensor hidden;

  test_must(qtk_session_new(t->m.engine, both ? 2 : 1, 0, &s), "session");
  qtk_session_train(s, step, both ? numbers : numbers + which);
  test_must(qtk_session_forward(s, ids + (which == 1 ? 20 : 0), both ? lengths : lengths + which,
                                &hidden),
            "forward");
  memcpy(out, hidden.data, (size_t)(tokens * 64) * sizeof *out);
  qtk_session_free(s);
  return out;
}

/* How far b is from a, which is freed. */
static double drop_off(const float *a, float *b, int64_t tokens)
{
  double off = distance(b, a, (size_t)(tokens * 64));

  free(b);
  return off;
}

/* Sums of a pass may be rounded otherwise beside another sequence; another mask is far off. */
static void drop_masks(struct trial *t)
{
  float *both = drop_pass(t, 3, 7, 9, 2), *second = both + 20 * 64;

  tap_ok(drop_off(both, drop_pass(t, 3, 7, 9, 2), TOKENS) == 0.0,
         "dropout: the same step, the same bits");
  tap_ok(drop_off(both, drop_pass(t, 3, 7, 0, 0), 20) < 1e-5 &&
             drop_off(second, drop_pass(t, 3, 0, 9, 1), 28) < 1e-5,
         "a sequence alone has the mask that it has beside another");
  tap_ok(drop_off(both, drop_pass(t, 4, 7, 9, 2), 20) > 1e-2, "another step draws another mask");
  tap_ok(drop_off(both, drop_pass(t, 3, 8, 9, 2), 20) > 1e-2,
         "another sequence draws another mask");
  free(both);
}

/* No more of what is dropped than its share, and what stays makes up for it: a small pair moves
 * the hidden states on average as much as it does without dropout. */
static void drop_mean(struct trial *t)
{
  enum { PASSES = 300, VALUES = 20 * 64 };
  double mean[VALUES] = {0}, along = 0.0, across = 0.0, length = 0.0;
  float *base, *plain;

  trial_fill(t, 0.0f);
  base = drop_pass(t, 0, 7, 9, 0);
  trial_fill(t, 0.02f);
  plain = drop_pass(t, 0, 7, 9, 0);
  for (int step = 1; step <= PASSES; step++) {
    float *one = drop_pass(t, step, 7, 9, 0);
    for (int i = 0; i < VALUES; i++)
      mean[i] += ((double)one[i] - (double)base[i]) / PASSES;
    free(one);
  }
  for (int i = 0; i < VALUES; i++) {
    double want = (double)plain[i] - (double)base[i];
    along += mean[i] * want;
    across += (mean[i] - want) * (mean[i] - want);
    length += want * want;
  }
  tap_ok(fabs(along / length - 1.0) < 0.05 && sqrt(across / length) < 0.1,
         "the mean over %d masks is %.3f of what no dropout gives, off it by %.3f", PASSES,
         along / length, sqrt(across / length));
  free(base);
  free(plain);
}

/* The gradients that lie in the engine, of all parameters; they are zero afterwards. */
static float *drop_gradients(struct trial *t, size_t n)
{
  float *all = malloc(n * sizeof *all);
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  size_t at = 0;

  for (int i = 0; qtk_engine_param(t->m.engine, 0, i, &param, &value); i++) {
    size_t bytes = (size_t)(value.shape[0] * value.shape[1]) * sizeof *all;
    qtk_engine_gradient(t->m.engine, 0, i, &gradient);
    memcpy(all + at, gradient.data, bytes);
    memset(gradient.data, 0, bytes);
    at += bytes / sizeof *all;
  }
  return all;
}

/* Gradients of a batch are those of its sequences, one after the other. */
static void drop_batches(struct trial *t, size_t n)
{
  float *both, *apart;

  start_pass(t, 0, 2);
  both = drop_gradients(t, n);
  start_pass(t, 0, 1);
  start_pass(t, 1, 1);
  apart = drop_gradients(t, n);
  tap_ok(distance(both, apart, n) < 1e-5, "gradients of two sequences at once or apart: %.2g off",
         distance(both, apart, n));
  free(both);
  free(apart);
}

static void drop_all(void)
{
  struct trial t;

  trial_open(&t, folder, merge_round, "rank = 4\ndropout = 0.4");
  test_must(qtk_engine_train(t.m.engine), "gradients");
  drop_batches(&t, trial_fill(&t, 0.1f));
  drop_masks(&t);
  drop_mean(&t);
  trial_close(&t);
}

/* ---- a stack -------------------------------------------------------------------------------------------- */

/* A tuned adapter of that plugin on the model, its values away from their start. */
static void stack_add(struct test_model *m, const char *name, const char *text)
{
  const struct qtk_loaded *plugin;
  struct qtk_engine *engine;
  struct qtk_tuned *tuned;
  struct qtk_options *options;
  struct qtk_param param;
  struct qtk_tensor value;
  int adapter = 0;

  while (qtk_model_tuned(m->model, adapter) != NULL)
    adapter++;
  test_must(qtk_registry_get(QTK_ADAPTER, name, &plugin), name);
  options = test_options(plugin, text);
  const struct qtk_attached attached = {
      .name = name, .ops = &plugin->ops.adapter, .options = options->values};
  test_must(qtk_engine_open(ctx, m->model, &attached, 1, &engine), name);
  for (int i = 0; qtk_engine_param(engine, adapter, i, &param, &value); i++)
    for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
      ((float *)value.data)[k] += 0.05f * noise((uint64_t)(100000 * i + k));
  test_must(qtk_tuned_new(ctx, name, plugin, text, NULL, &tuned), "adapter");
  test_must(qtk_engine_save(engine, adapter, tuned), "save");
  qtk_engine_close(engine);
  test_must(qtk_model_adapt(ctx, m->model, tuned, 0), "adapt");
  qtk_options_free(options);
}

/* Sum over values and gradients of what lies under adapter `end`. */
static double stack_sum(struct qtk_engine *e, int end, int *gradients)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  double sum = 0.0;

  *gradients = 0;
  for (int a = 0; a < end; a++)
    for (int i = 0; qtk_engine_param(e, a, i, &param, &value); i++) {
      qtk_engine_gradient(e, a, i, &gradient);
      *gradients += gradient.data != NULL;
      for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
        sum += (double)((float *)value.data)[k] * (double)(k % 7 + 1);
    }
  return sum;
}

/* A pair trains over a pair and scales that do not: these keep their values, get no gradients
 * and drop nothing. */
static void stack_train(struct trial *t)
{
  const struct qtk_train_rule rule = {.optimizer = {1e-2, 0.9, 0.999, 1e-8, 0, 0},
                                      .schedule = {.shape = QTK_SCHEDULE_CONSTANT, .steps = 20},
                                      .batch = 1};
  struct qtk_examples examples = reference_examples();
  struct qtk_train *train;
  struct qtk_train_step step;
  double before, first = 0.0;
  int gradients;

  test_must(qtk_train_new(ctx, t->m.engine, 2, &rule, &examples, &train), "training");
  before = stack_sum(t->m.engine, 2, &gradients);
  float *outside = drop_pass(t, 0, 7, 9, 2);
  tap_ok(drop_off(outside, drop_pass(t, 1, 7, 9, 2), TOKENS) == 0.0,
         "a pair under the one that trains drops nothing");
  for (int i = 0; i < 20; i++) {
    test_must(qtk_train_next(train, &step), "step");
    first = i == 0 ? step.loss : first;
  }
  tap_ok(step.loss < 0.8 * first, "the upper pair learns: from %.4f to %.4f", first, step.loss);
  tap_ok(stack_sum(t->m.engine, 2, &gradients) == before && gradients == 0,
         "what is under it stays, and has no gradients");
  free(outside);
  qtk_train_free(train);
}

static void stack_all(void)
{
  struct trial t;

  trial_model(&t, folder, merge_round);
  stack_add(&t.m, "peqa", "relative = true");
  stack_add(&t.m, "lora", "rank = 2\ndropout = 0.5");
  test_must(trial_engine(&t, "rank = 4\nroles = \"q v\""), "engine");
  stack_train(&t);
  trial_close(&t);
}

/* ---- how many numbers --------------------------------------------------------------------------------- */

/* Models of which it is published how many numbers pairs of low rank train. */
struct size {
  const char *name, *roles;
  int rank;
  int64_t layers, hidden;
  double millions; /* as printed, two digits behind the point */
};

/* Tables of the PEQA paper: rank 4 on q and v; and what it names QKVO16, which is rank 8 on
 * four linears. */
static const struct size sizes[] = {
    {"GPT-Neo 2.7B", "q v", 4, 32, 2560, 1.31},     {"GPT-J 6B", "q v", 4, 28, 4096, 1.84},
    {"LLaMA 7B", "q v", 4, 32, 4096, 2.10},         {"LLaMA 13B", "q v", 4, 40, 5120, 3.28},
    {"LLaMA 30B", "q v", 4, 60, 6656, 6.39},        {"LLaMA 65B", "q v", 4, 80, 8192, 10.49},
    {"GPT-Neo 2.7B", "q k v o", 8, 32, 2560, 5.24}, {"GPT-J 6B", "q k v o", 8, 28, 4096, 7.34},
    {"LLaMA 7B", "q k v o", 8, 32, 4096, 8.39},     {"LLaMA 13B", "q k v o", 8, 40, 5120, 13.11},
    {"LLaMA 30B", "q k v o", 8, 60, 6656, 25.56},   {"LLaMA 65B", "q k v o", 8, 80, 8192, 41.94}};

/* Linears of the attention that the adapter claims; their names do not matter. */
static int size_sites(const struct qtk_adapter_ops *ops, const void *options, const struct size *z,
                      struct qtk_site *sites)
{
  static const char *const roles[] = {"q", "k", "v", "o"};
  int n = 0;

  for (int i = 0; i < 4 * (int)z->layers; i++) {
    struct qtk_tensor_role role = {"linear", roles[i % 4], i / 4, 1, z->hidden, z->hidden};
    if (ops->claim(options, &role) == QTK_CLAIM_SITE) {
      sites[n] = (struct qtk_site){n, role.name, role.role, role.layer, role.rows, role.cols, NULL};
      n++;
    }
  }
  return n;
}

/* Asked as a plan does: without weights. */
static void size_check(const struct qtk_loaded *plugin, const struct size *z)
{
  const struct qtk_adapter_ops *ops = &plugin->ops.adapter;
  const struct qtk_model_info info = {.layers = z->layers, .dims = {.hidden = z->hidden}};
  struct qtk_site *sites = calloc(4 * (size_t)z->layers, sizeof *sites);
  struct qtk_param param;
  char text[64];
  int64_t values = 0;
  void *h;

  snprintf(text, sizeof text, "rank = %d\nroles = \"%s\"", z->rank, z->roles);
  struct qtk_options *options = test_options(plugin, text);
  int n = size_sites(ops, options->values, z, sites);
  test_must(ops->attach(ctx, options->values, &info, sites, n, &h), "attach");
  for (int i = 0; ops->params(h, i, &param); i++)
    values += param.shape[0] * param.shape[1];
  ops->detach(ctx, h);
  tap_ok(llround((double)values / 1e4) == llround(100 * z->millions),
         "%s, rank %d on %s: %lld numbers", z->name, z->rank, z->roles, (long long)values);
  qtk_options_free(options);
  free(sites);
}

static void size_all(void)
{
  const struct qtk_loaded *plugin;

  test_must(qtk_registry_get(QTK_ADAPTER, "lora", &plugin), "lora");
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    size_check(plugin, &sizes[i]);
}

/* ---- what is refused ------------------------------------------------------------------------------------ */

static void refuse(const char *text, const char *said)
{
  struct trial t;

  trial_model(&t, folder, merge_round);
  int rc = trial_engine(&t, text);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), said) != NULL, "refused: %s",
         qtk_error_message());
  trial_close(&t);
}

int main(void)
{
  toy_begin();
  reference_all();
  start_model("llama");
  start_model("gpt2");
  start_model("opt_postln");
  start_alone();
  merge_floats();
  merge_codes();
  merge_refused();
  drop_all();
  stack_all();
  size_all();
  refuse("roles = \"q  vv\"", "'vv'");
  refuse("start = \"loftq\"", "source");
  toy_end();
  return tap_end();
}
