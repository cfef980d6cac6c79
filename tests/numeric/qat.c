/* SPDX-License-Identifier: BSD-3-Clause
 * Quantization-aware training on small models: gradients against those of the rounded
 * weights themselves, starts, merging bit by bit, what 8 bits lose beside floats, and the
 * same bits in every way of running. */
#include "core/engine-inner.h"
#include "core/option.h"
#include "core/toml.h"
#include "core/train.h"
#include "toy.h"

#define LENGTH 32
#define SEQUENCES 9
#define TOKENS (SEQUENCES * LENGTH)

static const struct qtk_loaded *plugin, *full;

static float noise(uint64_t i)
{
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  return (float)(i >> 40) / (float)(1 << 23) - 1.0f;
}

static struct qtk_options *options_of(const struct qtk_loaded *p, const char *text)
{
  struct qtk_options *options;
  struct qtk_toml *toml;

  test_must(qtk_toml_parse(text, strlen(text), "text", &toml), "options");
  test_must(qtk_options_parse(p->plugin.options, p->plugin.options_size, toml, NULL, &options),
            "options");
  qtk_toml_free(toml);
  return options;
}

/* ---- bases ------------------------------------------------------------------------------- */

struct base {
  int bits;
  int64_t group;
  enum qtk_zero zero;
  enum qtk_dtype scales;
  int index; /* groups by g_idx: every other column */
};

/* A grid from the least to the largest of n weights that are `step` apart. */
static void base_grid(const struct base *b, struct qtk_qtensor *q, int64_t row, int64_t g,
                      const float *w)
{
  float low = 0.0f, high = 0.0f, top = (float)((1 << b->bits) - 1);

  for (int64_t j = 0; j < q->layout.cols; j++) {
    if ((q->g_idx != NULL ? q->g_idx[j] : j / q->layout.group) != g)
      continue;
    low = fminf(low, w[j]);
    high = fmaxf(high, w[j]);
  }
  if (b->zero == QTK_ZERO_MID)
    low = -(high = fmaxf(-low, high));
  qtk_set_scale(q, row, g, (high - low) / top);
  if (b->zero == QTK_ZERO_INT)
    qtk_set_zero(q, row, g, (int)rintf(-low / qtk_get_scale(q, row, g)));
  if (b->zero == QTK_ZERO_MIN)
    qtk_set_min(q, row, g, low);
}

/* Of weight w in (row, g), by the definition. */
static double base_reach(const struct qtk_qtensor *q, int64_t row, int64_t g, double w, double *z)
{
  double s = (double)qtk_get_scale(q, row, g);
  double m = q->layout.zero == QTK_ZERO_MIN ? (double)qtk_get_min(q, row, g) : 0.0;
  int whole = q->layout.zero == QTK_ZERO_MID ? 1 << (q->layout.bits - 1) : 0;

  if (q->layout.zero == QTK_ZERO_INT)
    whole = qtk_get_zero(q, row, g);
  *z = whole - m / s;
  return rint((w - m) / s) + whole;
}

static void base_linear(const struct base *b, struct qtk_model *model, int i)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  struct qtk_qlayout l = {.encoding = QTK_AFFINE, .rows = t->rows, .cols = t->cols,
                          .bits = b->bits, .group = b->group, .zero = b->zero, .zero_bits = 8,
                          .scale_dtype = b->scales, .has_g_idx = b->index};
  float *w = malloc((size_t)t->cols * sizeof *w);
  uint8_t *codes = malloc((size_t)t->cols);
  double z, top = (1 << b->bits) - 1;

  l.zero_bits = b->zero == QTK_ZERO_INT ? 8 : 0;
  test_must(qtk_qlayout_init(&l), "layout");
  struct qtk_qtensor q = qtk_qtensor_over(&l, toy_keep(qtk_qtensor_block_bytes(&l)));
  for (int64_t j = 0; b->index && j < t->cols; j++)
    q.g_idx[j] = (int32_t)(j % l.groups);
  for (int64_t r = 0; r < t->rows; r++) {
    test_must(qtk_model_read(model, i, r, 1, w, t->cols), t->name);
    for (int64_t g = 0; g < l.groups; g++)
      base_grid(b, &q, r, g, w);
    for (int64_t j = 0; j < t->cols; j++)
      codes[j] = (uint8_t)fmin(top, fmax(0, base_reach(&q, r, b->index ? q.g_idx[j] : j / l.group,
                                                       (double)w[j], &z)));
    qtk_pack_row(&q, r, codes);
  }
  test_must(qtk_model_replace(model, i, &q, NULL, NULL), "replace");
  free(codes);
  free(w);
}

static const struct base *base_now;

static void base_change(struct qtk_model *model)
{
  for (int i = 0; i < qtk_model_count(model); i++)
    if (qtk_model_tensor(model, i)->linear)
      base_linear(base_now, model, i);
}

/* ---- a batch ----------------------------------------------------------------------------- */

static int64_t starts[SEQUENCES + 1];
static int32_t targets[TOKENS];
static float weights[TOKENS];

static struct qtk_examples batch_examples(void)
{
  for (int i = 0; i < TOKENS; i++) {
    targets[i] = i % LENGTH == LENGTH - 1 ? -1 : ids[i + 1];
    weights[i] = 1.0f;
    starts[i / LENGTH + 1] = i / LENGTH * LENGTH + LENGTH;
  }
  return (struct qtk_examples){.n = SEQUENCES, .starts = starts, .ids = ids, .targets = targets,
                               .weights = weights};
}

/* Gradients of two sequences. */
static void batch_back(struct qtk_engine *e)
{
  const struct qtk_examples all = batch_examples();
  const int64_t lengths[] = {LENGTH, LENGTH};
  const struct qtk_batch batch = {.tokens = 2 * LENGTH, .ids = ids, .targets = all.targets,
                                  .weights = all.weights, .sequences = 2, .starts = all.starts};
  struct qtk_tensor hidden;
  struct qtk_session *s;
  double sum, weight;

  test_must(qtk_engine_train(e), "gradients");
  test_must(qtk_session_new(e, 2, 0, &s), "session");
  qtk_session_train(s, 1, NULL);
  test_must(qtk_session_forward(s, ids, lengths, &hidden), "forward");
  test_must(qtk_session_backward(s, &batch, &hidden, 1.0, &sum, &weight), "backward");
  qtk_session_free(s);
}

/* ---- merged ------------------------------------------------------------------------------ */

/* What the adapter folds site i into. */
static struct qtk_qtensor merge_site(const struct qtk_engine *e, int i)
{
  const struct engine_adapter *a = &e->adapters[0];
  const struct qtk_site *site = &a->sites->sites[i];
  struct qtk_fold fold = {0};

  test_must(a->ops->fold(e->ctx, a->h, site, &fold), "fold");
  if (fold.kind != QTK_FOLD_QUANTIZED || !fold.exact)
    exit(1);
  fold.tensor = qtk_qtensor_over(&site->base->layout,
                                 toy_keep(qtk_qtensor_block_bytes(&site->base->layout)));
  test_must(a->ops->fold(e->ctx, a->h, site, &fold), "fold");
  return fold.tensor;
}

/* A model with everything merged into it, as integers or as the floats that they say. */
static struct qtk_model *merge_all(const struct qtk_engine *e, const char *path, int floats)
{
  struct qtk_model *model;

  test_must(qtk_model_open(ctx, path, &model), path);
  for (int i = 0; i < e->adapters[0].n_sites; i++) {
    const struct qtk_site *site = &e->adapters[0].sites->sites[i];
    struct qtk_qtensor q = merge_site(e, i), dense = {.layout = {.encoding = QTK_DENSE}};
    dense.layout.rows = site->rows;
    dense.layout.cols = site->cols;
    dense.codes = toy_keep((size_t)(site->rows * site->cols) * sizeof(float));
    test_must(qtk_qlayout_init(&dense.layout), "layout");
    test_must(qtk_dequantize_rows(&q, NULL, 0, site->rows, dense.codes, site->cols), "rows");
    test_must(qtk_model_replace(model, qtk_model_find(model, site->name), floats ? &dense : &q,
                                NULL, NULL),
              "replace");
  }
  return model;
}

/* ---- gradients --------------------------------------------------------------------------- */

/* Weights in, beside and far outside of their ranges; changes of scales. */
static void gradient_move(struct qtk_engine *e)
{
  struct qtk_tensor value;
  struct qtk_param p;

  for (int i = 0; qtk_engine_param(e, 0, i, &p, &value); i++) {
    float *v = value.data, size = 0.0f;
    int64_t n = p.shape[0] * p.shape[1];
    for (int64_t k = 0; k < n; k++)
      size = fmaxf(size, fabsf(v[k]));
    for (int64_t k = 0; k < n; k++)
      v[k] += (size > 0.0f ? 0.2f * size : 0.2f) * noise((uint64_t)(i * 100000 + k));
  }
  test_must(qtk_engine_changed(e, 0, 0), "changed");
}

struct gradient {
  double worst_w, worst_d, largest_w, largest_d;
  int64_t outside;
};

/* One site: G by the rounded weights, dw and dd by the adapter. */
static void gradient_site(struct gradient *c, const struct qtk_qtensor *base,
                          const struct qtk_qtensor *q, const float *w, const float *G,
                          const float *dw, const float *dd)
{
  int64_t rows = q->layout.rows, cols = q->layout.cols, groups = q->layout.groups;
  double *ds = calloc((size_t)groups, sizeof *ds), z, top = (1 << q->layout.bits) - 1;

  for (int64_t r = 0; r < rows; r++) {
    memset(ds, 0, (size_t)groups * sizeof *ds);
    for (int64_t j = 0; j < cols; j++) {
      int64_t g = q->g_idx != NULL ? q->g_idx[j] : j / q->layout.group, k = r * cols + j;
      double s = (double)qtk_get_scale(q, r, g), slope;
      double reach = base_reach(q, r, g, (double)w[k], &z);
      int in = reach >= 0 && reach <= top;
      slope = in ? reach - z - (double)w[k] / s
                 : (reach < 0 ? 0 : top) - z;
      ds[g] += (double)G[k] * slope * (double)qtk_get_scale(base, r, g);
      c->worst_w = fmax(c->worst_w, fabs((in ? (double)G[k] : 0.0) - (double)dw[k]));
      c->largest_w = fmax(c->largest_w, fabs((double)dw[k]));
      c->outside += !in;
    }
    for (int64_t g = 0; dd != NULL && g < groups; g++) {
      c->worst_d = fmax(c->worst_d, fabs(ds[g] - (double)dd[r * groups + g]));
      c->largest_d = fmax(c->largest_d, fabs(ds[g]));
    }
  }
  free(ds);
}

static void gradient_compare(struct gradient *c, struct qtk_engine *e, struct qtk_engine *truth,
                             int learned)
{
  struct qtk_tensor w, dw, dd = {0}, G;
  struct qtk_param p, other;

  for (int i = 0; i < e->adapters[0].n_sites; i++) {
    const struct qtk_site *site = &e->adapters[0].sites->sites[i];
    const struct qtk_qtensor q = merge_site(e, i);
    qtk_engine_param(e, 0, learned ? 2 * i : i, &p, &w);
    qtk_engine_gradient(e, 0, learned ? 2 * i : i, &dw);
    if (learned)
      qtk_engine_gradient(e, 0, 2 * i + 1, &dd);
    int k = 0;
    while (qtk_engine_param(truth, 0, k, &other, &G) && strcmp(other.name, site->name) != 0)
      k++;
    qtk_engine_gradient(truth, 0, k, &G);
    gradient_site(c, site->base, &q, w.data, G.data, dw.data, dd.data);
  }
}

static void gradient_model(const char *name, const struct base *b, int learned, int index)
{
  static const char *const zeros[] = {"middle", "whole zeros", "minima"};
  struct qtk_options *o = options_of(plugin, learned ? "scales = \"learned\"\n" : "");
  struct qtk_options *linears = options_of(full, "embedding = false\nnorms = false\n"
                                                 "biases = false\n");
  const struct qtk_attached adapter = {
      .name = "qat", .ops = &plugin->ops.adapter, .options = o->values};
  const struct qtk_attached trains = {
      .name = "full", .ops = &full->ops.adapter, .options = linears->values};
  char *path = strdup(test_data(name));
  struct test_model m = {.ctx = ctx}, truth = {.ctx = ctx};
  struct gradient c = {0};

  base_now = b;
  test_must(qtk_model_open(ctx, path, &m.model), path);
  base_change(m.model);
  test_must(qtk_engine_open(ctx, m.model, &adapter, 1, &m.engine), "engine");
  gradient_move(m.engine);
  batch_back(m.engine);
  truth.model = merge_all(m.engine, path, 1);
  test_must(qtk_engine_open(ctx, truth.model, &trains, 1, &truth.engine), "engine");
  batch_back(truth.engine);
  gradient_compare(&c, m.engine, truth.engine, learned);
  tap_ok(c.outside > 100 && c.worst_w < 2e-5 * c.largest_w && c.worst_d <= 2e-4 * c.largest_d &&
             (c.largest_d > 0) == learned,
         "%s, %d bits, %s%s: gradients through the rounding differ by %.2g, of scales by %.2g; "
         "%lld weights outside",
         name, b->bits, zeros[b->zero], index ? ", groups by column" : "",
         c.worst_w / c.largest_w, c.largest_d > 0 ? c.worst_d / c.largest_d : 0.0,
         (long long)c.outside);
  test_close(&m);
  test_close(&truth);
  toy_forget();
  qtk_options_free(o);
  qtk_options_free(linears);
  free(path);
}

/* ---- starts ------------------------------------------------------------------------------ */

/* The logits of an adapter that has just been started. */
static int start_open(struct test_model *m, const char *path, const char *text,
                      const struct qtk_model *source, struct qtk_options **o)
{
  *o = options_of(plugin, text);
  *m = (struct test_model){.ctx = ctx, .vocabulary = 384};
  const struct qtk_attached adapter = {
      .name = "qat", .ops = &plugin->ops.adapter, .options = (*o)->values};

  test_must(qtk_model_open(ctx, path, &m->model), path);
  base_change(m->model);
  qtk_model_set_unquantized(m->model, source);
  return qtk_engine_open(ctx, m->model, &adapter, 1, &m->engine);
}

/* From the base: the same bits as the base, biases too. */
static void start_base(const char *name)
{
  char *path = strdup(test_data(name)), *kept = folder;
  struct qtk_options *o;
  struct test_model m;

  folder = path;
  float *want = logits_of(NULL, 0, base_change);
  folder = kept;
  test_must(start_open(&m, path, "", NULL, &o), "engine");
  float *got = test_logits(&m, ids, n_ids, positions, POSITIONS);
  tap_ok(memcmp(want, got, logits_count() * sizeof *want) == 0,
         "%s: without a source it starts from the base, bit by bit", name);
  test_close(&m);
  qtk_options_free(o);
  free(want);
  free(got);
  free(path);
}

static void start_source(void)
{
  struct qtk_model *source;
  struct qtk_options *o;
  struct qtk_tensor value;
  struct qtk_param p;
  struct test_model m;

  test_must(qtk_model_open(ctx, folder, &source), folder);
  test_must(start_open(&m, folder, "start = \"source\"\n", source, &o), "engine");
  qtk_engine_param(m.engine, 0, 0, &p, &value);
  int i = qtk_model_find(source, m.engine->adapters[0].sites->sites[0].name);
  const struct qtk_model_tensor *t = qtk_model_tensor(source, i);
  float *rows = malloc((size_t)(t->rows * t->cols) * sizeof *rows);
  test_must(qtk_model_read(source, i, 0, t->rows, rows, t->cols), t->name);
  tap_ok(memcmp(rows, value.data, (size_t)(t->rows * t->cols) * sizeof *rows) == 0,
         "it starts from the source's weights");
  free(rows);
  test_close(&m);
  qtk_options_free(o);
  qtk_model_close(source);
  int rc = start_open(&m, folder, "start = \"source\"\n", NULL, &o);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "source") != NULL, "without one: %s",
         qtk_error_message());
  test_close(&m);
  qtk_options_free(o);
}

static void start_refused(void)
{
  struct qtk_options *o = options_of(plugin, "");
  const struct qtk_attached adapter = {
      .name = "qat", .ops = &plugin->ops.adapter, .options = o->values};
  const struct qtk_attached two[] = {adapter, adapter};
  struct qtk_adapter_ops ops = plugin->ops.adapter;
  const struct qtk_attached says_not = {.name = "qat", .ops = &ops, .options = o->values};
  const struct qtk_attached both[] = {says_not, says_not};
  struct test_model m = {.ctx = ctx};
  const int64_t length = 4;
  struct qtk_tensor hidden;
  struct qtk_session *s;

  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  int rc = qtk_engine_open(ctx, m.model, &adapter, 1, &m.engine);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "not quantized") != NULL, "floats: %s",
         qtk_error_message());
  base_change(m.model);
  rc = qtk_engine_open(ctx, m.model, two, 2, &m.engine);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "lowest") != NULL, "on top of another: %s",
         qtk_error_message());
  ops.keep = NULL;
  test_must(qtk_engine_open(ctx, m.model, both, 2, &m.engine), "engine");
  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  rc = qtk_session_forward(s, ids, &length, &hidden);
  tap_ok(rc == QTK_EPLUGIN, "and where it does not say that it replaces: %s",
         qtk_error_message());
  qtk_session_free(s);
  test_close(&m);
  qtk_options_free(o);
}

/* ---- training ---------------------------------------------------------------------------- */

struct learner {
  struct test_model m;
  struct qtk_options *options;
  struct qtk_train *train;
  struct qtk_examples examples;
  double first, last;
};

/* Twelve steps, over all sequences. */
static void learn(struct learner *l, const struct qtk_loaded *p, const char *text, double rate,
                  int checkpoint, void (*change)(struct qtk_model *model))
{
  const struct qtk_train_rule rule = {.optimizer = {rate, 0.9, 0.999, 1e-8, 0.0, 1.0},
                                      .schedule = {QTK_SCHEDULE_CONSTANT, 20, 2},
                                      .batch = SEQUENCES,
                                      .checkpoint = checkpoint};
  struct qtk_train_step step = {0};

  *l = (struct learner){.m = {.ctx = ctx, .vocabulary = 384}, .examples = batch_examples()};
  l->options = options_of(p, text);
  const struct qtk_attached adapter = {
      .name = "learns", .ops = &p->ops.adapter, .options = l->options->values};
  test_must(qtk_model_open(ctx, folder, &l->m.model), folder);
  if (change != NULL)
    change(l->m.model);
  test_must(qtk_engine_open(ctx, l->m.model, &adapter, 1, &l->m.engine), "engine");
  test_must(qtk_train_new(ctx, l->m.engine, 0, &rule, &l->examples, &l->train), "training");
  for (int i = 0; i < 12; i++) {
    test_must(qtk_train_next(l->train, &step), "step");
    l->first = i == 0 ? step.loss : l->first;
  }
  l->last = step.loss;
}

static void learn_close(struct learner *l)
{
  qtk_train_free(l->train);
  test_close(&l->m);
  qtk_options_free(l->options);
}

/* Tuned, then merged: the same logits, bit by bit. */
static void learn_merged(const struct base *b, const char *text, const char *what)
{
  struct learner l;

  base_now = b;
  learn(&l, plugin, text, 1e-3, 1, base_change);
  test_must(qtk_engine_changed(l.m.engine, 0, 1), "final");
  struct test_model merged = {.ctx = ctx, .vocabulary = 384};
  merged.model = merge_all(l.m.engine, folder, 0);
  test_must(qtk_engine_open(ctx, merged.model, NULL, 0, &merged.engine), "engine");
  float *tuned = test_logits(&l.m, ids, n_ids, positions, POSITIONS);
  float *plain = test_logits(&merged, ids, n_ids, positions, POSITIONS);
  tap_ok(l.last < 0.9 * l.first, "%s: the loss falls from %.4f to %.4f", what, l.first, l.last);
  tap_ok(memcmp(tuned, plain, logits_count() * sizeof *tuned) == 0,
         "%s: merged, the same bits", what);
  free(tuned);
  free(plain);
  test_close(&merged);
  learn_close(&l);
  toy_forget();
}

/* 8 bits lose next to nothing of what floats learn. */
static void learn_close_to_floats(const char *text, const char *what)
{
  const struct base eight = {8, -1, QTK_ZERO_INT, QTK_F32, 0};
  struct learner floats, rounded;

  base_now = &eight;
  learn(&floats, full, "embedding = false\nnorms = false\nbiases = false\n", 1e-3, 0, NULL);
  learn(&rounded, plugin, text, 1e-3, 0, base_change);
  tap_ok(floats.last < 0.9 * floats.first &&
             fabs(rounded.last - floats.last) < 0.01 * floats.last,
         "8 bits, %s: the loss falls to %.4f, and to %.4f without rounding", what,
         rounded.last, floats.last);
  learn_close(&floats);
  learn_close(&rounded);
  toy_forget();
}

/* ---- the same bits ----------------------------------------------------------------------- */

static int bits_not_host(void *h)
{
  (void)h;
  return 0;
}

/* Values after training on so many threads; `apart`: the backend says that its memory is not
 * the host's. */
static float *bits_run(int threads, int checkpoint, int apart, size_t *n)
{
  struct qtk_context *kept = ctx;
  struct qtk_tensor value;
  struct qtk_param p;
  struct learner l;
  float *all = NULL;

  ctx = test_context(threads, 0);
  if (apart)
    ctx->device->ops.host_memory = bits_not_host;
  learn(&l, plugin, "scales = \"learned\"\n", 1e-3, checkpoint, base_change);
  *n = 0;
  for (int i = 0; qtk_engine_param(l.m.engine, 0, i, &p, &value); i++) {
    size_t more = (size_t)(p.shape[0] * p.shape[1]);
    all = realloc(all, (*n + more) * sizeof *all);
    memcpy(all + *n, value.data, more * sizeof *all);
    *n += more;
  }
  learn_close(&l);
  toy_forget();
  test_context_close(ctx);
  ctx = kept;
  return all;
}

static void bits_all(const struct base *b)
{
  size_t n, m;

  base_now = b;
  float *want = bits_run(2, 0, 0, &n);
  for (int threads = 1; threads <= 3; threads++) {
    float *got = bits_run(threads, threads == 2, threads == 3, &m);
    tap_ok(n == m && memcmp(want, got, n * sizeof *want) == 0, "%d threads%s: the same bits",
           threads, threads == 2 ? " and checkpoints" : threads == 3 ? ", copies of memory" : "");
    free(got);
  }
  free(want);
}

int main(void)
{
  static const struct base bases[] = {{4, 16, QTK_ZERO_INT, QTK_F32, 0},
                                      {3, 32, QTK_ZERO_MID, QTK_F16, 0},
                                      {2, 16, QTK_ZERO_MIN, QTK_F16, 0},
                                      {4, -1, QTK_ZERO_INT, QTK_F16, 0},
                                      {3, 16, QTK_ZERO_INT, QTK_F32, 1}};

  toy_begin();
  test_must(qtk_registry_get(QTK_ADAPTER, "qat", &plugin), "qat");
  test_must(qtk_registry_get(QTK_ADAPTER, "full", &full), "full");
  for (int i = 0; i < 5; i++)
    gradient_model(i % 2 ? "nano/gpt2" : "nano/llama", &bases[i], 1, bases[i].index);
  gradient_model("nano/opt", &bases[1], 0, 0);
  base_now = &bases[0];
  start_base("nano/llama");
  start_base("nano/gpt2");
  start_base("nano/opt");
  base_now = &bases[2];
  start_base("nano/qwen2");
  start_source();
  start_refused();
  learn_merged(&bases[0], "scales = \"learned\"\n", "4 bits");
  learn_merged(&bases[1], "", "3 bits, frozen scales");
  learn_merged(&bases[2], "scales = \"learned\"\nscale_rate = 100\n", "2 bits with minima");
  learn_close_to_floats("", "frozen scales");
  learn_close_to_floats("scales = \"learned\"\n", "learned scales");
  bits_all(&bases[1]);
  toy_end();
  return tap_end();
}
