/* SPDX-License-Identifier: BSD-3-Clause
 * Schedules, and training of adapters on a small model: each learns, goes on where it stopped,
 * and gives the same bits in every way of running. */
#include "core/train.h"
#include "rounded.h"
#include "toy.h"

static void schedule_all(void)
{
  struct qtk_schedule s = {QTK_SCHEDULE_COSINE, 10, 2};
  double at[] = {0, 0.5, 1, 1, 0.9619397662556434, 0.8535533905932737};
  int good = 1;

  for (int step = 1; step <= 5; step++)
    good &= fabs(qtk_schedule_factor(&s, step) - at[step]) < 1e-15;
  tap_ok(good, "cosine with warm-up, as transformers has it from the end of the warm-up on");
  s.shape = QTK_SCHEDULE_LINEAR;
  tap_ok(fabs(qtk_schedule_factor(&s, 10) - 0.125) < 1e-15, "linear: the last step is not 0");
}

/* ---- training of adapters ------------------------------------------------------------------- */

#define LENGTH 32
#define SEQUENCES 9

static int64_t train_starts[SEQUENCES + 1];
static int32_t train_targets[SEQUENCES * LENGTH];
static float train_weights[SEQUENCES * LENGTH];

static struct qtk_examples train_examples(void)
{
  for (int i = 0; i < SEQUENCES * LENGTH; i++) {
    train_targets[i] = i % LENGTH == LENGTH - 1 ? -1 : ids[i + 1];
    train_weights[i] = 1.0f;
    train_starts[i / LENGTH + 1] = i / LENGTH * LENGTH + LENGTH;
  }
  return (struct qtk_examples){.n = SEQUENCES, .starts = train_starts, .ids = ids,
                               .targets = train_targets, .weights = train_weights};
}

static const struct qtk_train_rule train_rule = {
    .optimizer = {0, 0.9, 0.999, 1e-8, 0.0, 1.0},
    .schedule = {QTK_SCHEDULE_COSINE, 12, 2},
    .batch = 3};

/* A plugin that trains, its options, and a learning rate at which it learns in an epoch. */
struct method {
  const char *name, *options;
  double rate;
  enum qtk_optimizer_kind optimizer;
};

static const struct method methods[] = {
    {"peqa", "relative = true", 3e-2, QTK_OPTIMIZER_ADAMW},
    {"lora", "rank = 4\ndropout = 0.1", 1e-2, QTK_OPTIMIZER_ADAM},
    {"full", "", 1e-3, QTK_OPTIMIZER_ADAMW_8BIT}};

static const struct method side = {"qst", "reduction = 4\nform = \"code\"", 1e-2,
                                   QTK_OPTIMIZER_ADAMW};
static const struct method pruned = {
    "qst", "reduction = 4\nform = \"lst\"\ndownsample = \"linear\"\nstart = \"pruned\"", 1e-2,
    QTK_OPTIMIZER_ADAMW};

/* A small model, its linears on 3 bits, with the plugin's adapter. */
struct learner {
  const struct method *method;
  struct test_model m;
  struct rounded rounded;
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  struct qtk_train *train;
  struct qtk_examples examples;
};

static void learner_open(struct learner *l, const struct method *method, int checkpoint,
                         int64_t batch, int64_t micro_batch)
{
  struct qtk_train_rule rule = train_rule;

  *l = (struct learner){.method = method, .m = {.ctx = ctx}, .examples = train_examples()};
  test_must(qtk_model_open(ctx, folder, &l->m.model), folder);
  rounded_linears(&l->rounded, ctx, l->m.model, "rtn", "bits = 3\ngroup = 32\n");
  test_must(qtk_registry_get(QTK_ADAPTER, method->name, &l->plugin), method->name);
  l->options = test_options(l->plugin, method->options);
  const struct qtk_attached adapter = {
      .name = method->name, .ops = &l->plugin->ops.adapter, .options = l->options->values};
  test_must(qtk_engine_open(ctx, l->m.model, &adapter, 1, &l->m.engine), "engine");
  rule.optimizer.learning_rate = method->rate;
  rule.optimizer.kind = method->optimizer;
  rule.checkpoint = checkpoint;
  rule.batch = batch;
  rule.micro_batch = micro_batch;
  test_must(qtk_train_new(ctx, l->m.engine, 0, &rule, &l->examples, &l->train), "training");
}

static void learner_close(struct learner *l)
{
  qtk_train_free(l->train);
  test_close(&l->m);
  qtk_options_free(l->options);
  rounded_free(&l->rounded);
}

/* Values and moments of everything to or from `all` (NULL: none); how many bytes there are. */
static size_t learner_copy(struct learner *l, char *all, int out)
{
  struct qtk_optimizer *o = qtk_train_optimizer(l->train);
  struct qtk_param param;
  struct qtk_tensor t;
  size_t at = 0;

  for (int i = 0; qtk_optimizer_part(o, i, 0, &param, &t); i++)
    for (int part = 0; qtk_optimizer_part(o, i, part, &param, &t); part++) {
      size_t bytes = (size_t)t.shape[0] * qtk_dtype_size(t.dtype);
      if (all != NULL)
        memcpy(out ? all + at : t.data, out ? t.data : all + at, bytes);
      at += bytes;
    }
  return at;
}

static char *learner_parts(struct learner *l, size_t *n)
{
  *n = learner_copy(l, NULL, 1);
  char *all = malloc(*n);

  learner_copy(l, all, 1);
  return all;
}

static void learner_restore(struct learner *l, char *all, int64_t steps)
{
  learner_copy(l, all, 0);
  qtk_train_resume(l->train, steps);
  test_must(qtk_engine_changed(l->m.engine, 0, 0), "changed");
}

/* `steps` more steps; the mean loss of the first three and of the last three: an epoch. */
static void learner_run(struct learner *l, int steps, double *first, double *last)
{
  struct qtk_train_step s;

  *first = *last = 0.0;
  for (int i = 0; i < steps; i++) {
    test_must(qtk_train_next(l->train, &s), "step");
    *first += i < 3 ? s.loss / 3 : 0.0;
    *last += i >= steps - 3 ? s.loss / 3 : 0.0;
  }
}

static char *learner_whole(const struct method *method, int checkpoint, size_t *n, double *first,
                           double *last)
{
  struct learner l;

  learner_open(&l, method, checkpoint, 3, 1);
  learner_run(&l, 12, first, last);
  char *all = learner_parts(&l, n);
  learner_close(&l);
  return all;
}

static char *learner_broken(const struct method *method, size_t *n)
{
  struct learner l;
  double first, last;

  learner_open(&l, method, 0, 3, 1);
  learner_run(&l, 5, &first, &last);
  char *half = learner_parts(&l, n);
  learner_close(&l);
  learner_open(&l, method, 0, 3, 1);
  learner_restore(&l, half, 5);
  learner_run(&l, 7, &first, &last);
  free(half);
  half = learner_parts(&l, n);
  learner_close(&l);
  return half;
}

static char *learner_threads(const struct method *method, int threads, size_t *n)
{
  struct qtk_context *kept = ctx;
  double first, last;

  ctx = test_context(threads, 0);
  char *all = learner_whole(method, 0, n, &first, &last);
  test_context_close(ctx);
  ctx = kept;
  return all;
}

static void train_all(const struct method *method)
{
  double first, last, other;
  size_t n, m;
  char *whole = learner_whole(method, 0, &n, &first, &last);
  char *brief = learner_whole(method, 1, &m, &other, &other);

  tap_ok(last < 0.97 * first, "%s learns: the loss falls from %.4f to %.4f", method->name,
         first, last);
  tap_ok(n == m && memcmp(whole, brief, n) == 0,
         "%s with checkpointing: the same bits", method->name);
  free(brief);
  for (int threads = 1; threads <= 3; threads += 2) {
    brief = learner_threads(method, threads, &m);
    tap_ok(n == m && memcmp(whole, brief, n) == 0, "%s, %d threads: the same bits",
           method->name, threads);
    free(brief);
  }
  brief = learner_broken(method, &m);
  tap_ok(n == m && memcmp(whole, brief, n) == 0,
         "%s stopped after 5 steps and gone on: the same bits", method->name);
  free(brief);
  free(whole);
}

/* ---- sequences at once ------------------------------------------------------------------------ */

/* First moments after a step over batches of `micro_batch`: a tenth of the gradients. */
static double micro_step(struct learner *l, int64_t batch, int64_t micro_batch, double *loss,
                         float *moments)
{
  struct qtk_train_step s;
  struct qtk_param param;
  struct qtk_tensor t;
  double most = 0.0;

  learner_open(l, l->method, 0, batch, micro_batch);
  test_must(qtk_train_next(l->train, &s), "step");
  for (int i = 0; qtk_optimizer_part(qtk_train_optimizer(l->train), i, 1, &param, &t); i++)
    for (int64_t k = 0; k < t.shape[0]; k++) {
      *moments = ((const float *)t.data)[k];
      most = fmax(most, fabs((double)*moments++));
    }
  *loss = s.loss;
  learner_close(l);
  return most;
}

#define MICRO_ROOM (1 << 17)

/* All of a step's sequences but one, and that one, or all at once: the same but for rounding. */
static void micro_all(const struct method *method, int64_t batch, double bound)
{
  struct learner l = {.method = method};
  float *one = calloc(2 * MICRO_ROOM, sizeof *one), *other = one + MICRO_ROOM;
  double loss, again, most = micro_step(&l, batch, 1, &loss, one);

  for (int64_t n = batch - 1; n <= batch; n++) {
    double worst = 0.0;
    micro_step(&l, batch, n, &again, other);
    for (size_t i = 0; i < MICRO_ROOM; i++)
      worst = fmax(worst, fabs((double)one[i] - (double)other[i]));
    tap_ok(most > 0.0 && worst < bound * most && fabs(loss - again) < 1e-6 * loss,
           "%s, %d sequences at once: gradients within %.1g, losses within %.1g", method->name,
           (int)n, worst / most, fabs(loss - again) / loss);
  }
  free(one);
}

/* ---- what is left of it --------------------------------------------------------------------- */

static float *tuned_logits(struct test_model *m)
{
  return test_logits(m, ids, n_ids, positions, POSITIONS);
}

/* Values go from an engine into an adapter on the model, and into any engine after it. */
static void tuned_all(const struct method *method)
{
  struct learner l;
  struct test_model other = {.ctx = ctx};
  struct qtk_tuned *tuned;
  double first, last;
  size_t n = logits_count() * sizeof(float);

  learner_open(&l, method, 0, 3, 1);
  l.m.vocabulary = qtk_model_info(l.m.model)->vocabulary;
  float *base = tuned_logits(&l.m);
  learner_run(&l, 3, &first, &last);
  test_must(qtk_tuned_new(ctx, "task", l.plugin, method->options, NULL, &tuned), "adapter");
  test_must(qtk_engine_save(l.m.engine, 0, tuned), "save");
  float *trained = tuned_logits(&l.m);
  test_must(qtk_model_adapt(ctx, l.m.model, tuned, 0), "adapt");
  test_must(qtk_engine_open(ctx, l.m.model, NULL, 0, &other.engine), "engine");
  other.model = l.m.model;
  other.vocabulary = l.m.vocabulary;
  float *loaded = tuned_logits(&other);
  tap_ok(memcmp(trained, base, n) != 0 && memcmp(trained, loaded, n) == 0,
         "%s: what was trained is on the model: the same logits from another engine", method->name);
  qtk_engine_close(other.engine);
  free(base);
  free(trained);
  free(loaded);
  learner_close(&l);
}

/* The most bytes that were held for `what`. */
static uint64_t peak_of(const char *what)
{
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, what) == 0)
      return ctx->arena.categories[i].peak;
  return 0;
}

/* What a block keeps of a token for the way back, where no adapter keeps anything of its
 * own: what enters it and its MLP, q, k, v and the attention's output, gate and up, and of
 * each norm and head what normed it. */
static uint64_t tape_bytes(const struct qtk_model_info *info, int64_t tokens)
{
  const struct qtk_dims *d = &info->dims;
  int64_t q = d->heads * d->head_size, kv = d->kv_heads * d->head_size;
  int64_t token = 2 * d->hidden + 2 * q + 2 * kv + 2 * d->ffn + d->heads + 4;

  return (uint64_t)info->layers * ((uint64_t)(tokens * token) * sizeof(float) + 16 * 64);
}

static void tape_all(const struct method *method)
{
  struct learner l;
  double first, last;
  uint64_t tape, most;

  for (int checkpoint = 0; checkpoint <= 1; checkpoint++) {
    learner_open(&l, method, checkpoint, 3, 1);
    most = checkpoint ? 0 : tape_bytes(qtk_model_info(l.m.model), LENGTH);
    qtk_arena_reset_peak(&ctx->arena);
    learner_run(&l, 1, &first, &last);
    tape = peak_of("tape");
    tap_ok(tape <= most && (tape > 0) == !checkpoint, "%s, checkpoint %s: a tape of %llu bytes",
           method->name, checkpoint ? "block" : "none", (unsigned long long)tape);
    learner_close(&l);
  }
}

int main(void)
{
  toy_begin();
  schedule_all();
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    train_all(&methods[i]);
    tuned_all(&methods[i]);
    if (!qtk_optimizer_coded(methods[i].optimizer))
      micro_all(&methods[i], 3, 1e-5);
  }
  train_all(&pruned);
  /* Hidden states near the middle of two bfloat16 go to the other one; then more tokens than the
   * side network takes at a time. */
  micro_all(&side, 3, 1e-4);
  micro_all(&side, 27, 1e-4);
  tape_all(&methods[0]);
  toy_end();
  return tap_end();
}
