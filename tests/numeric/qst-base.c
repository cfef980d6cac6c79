/* SPDX-License-Identifier: BSD-3-Clause
 * What side networks leave alone, and how they run: where they start, what of the base never
 * runs backward, which share of them is what, what a pass keeps, and the same bits in every
 * way of running. */
#include "core/mem.h"
#include "side.h"

/* ---- starts ------------------------------------------------------------------------------ */

static void start_bits(const char *name)
{
  char path[64];
  struct side r;

  snprintf(path, sizeof path, "nano/%s", name);
  test_must(side_try(&r, test_data(path), "reduction = 4"), path);
  struct test_model plain = {.ctx = ctx, .model = r.m.model, .vocabulary = r.m.vocabulary};
  test_must(qtk_engine_open(ctx, plain.model, NULL, 0, &plain.engine), "engine");
  float *beside = test_logits(&r.m, r.ids, 64, positions, 3);
  float *alone = test_logits(&plain, r.ids, 64, positions, 3);
  tap_ok(memcmp(beside, alone, 3 * (size_t)r.m.vocabulary * sizeof *alone) == 0,
         "%s: the form of the paper starts at the base, bit by bit", name);
  free(beside);
  free(alone);
  qtk_engine_close(plain.engine);
  side_close(&r);
}

/* Where nothing is upsampled, the base's share is left. */
static void start_code(void)
{
  struct qtk_tensor value, hidden;
  struct side plain, r;
  struct qtk_param p;
  double worst = 0.0;

  side_open(&plain, folder, "reduction = 4");
  side_loss(&plain);
  hidden = plain.hidden;
  side_open(&r, folder, "reduction = 4\nform = \"code\"");
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &p, &value); i++)
    if (strncmp(p.name, "side.up.", 8) == 0)
      memset(value.data, 0, (size_t)side_count(&p) * sizeof(float));
  side_loss(&r);
  for (int64_t i = 0; i < TOKENS * qtk_tensor_cols(&hidden); i++) {
    double base = (double)((const float *)hidden.data)[i];
    worst = fmax(worst, fabs((double)((const float *)r.hidden.data)[i] - 0.7310586 * base) /
                            (1.0 + fabs(base)));
  }
  tap_ok(worst < 1e-5, "the form of the code starts with 0.7311 of the base (off by %.2g)", worst);
  side_close(&plain);
  side_close(&r);
}

/* Parameters with a gradient that is not zero; alpha is the last of them. */
static int start_moved(struct side *r, int *all, int *alpha)
{
  struct qtk_tensor value, gradient;
  struct qtk_param p;
  int moved = 0;

  for (*all = 0; qtk_engine_param(r->m.engine, 0, *all, &p, &value); (*all)++) {
    int some = 0;
    qtk_engine_gradient(r->m.engine, 0, *all, &gradient);
    for (int64_t k = 0; k < side_count(&p); k++)
      some |= ((const float *)gradient.data)[k] != 0.0f;
    moved += some;
    *alpha = strcmp(p.name, "side.alpha") == 0 && some;
  }
  return moved;
}

static void start_gradients(void)
{
  struct qtk_tensor value, gradient;
  int all, alpha, moved, i;
  struct qtk_param p;
  struct side r;

  side_open(&r, folder, "reduction = 4");
  side_back(&r, 1.0);
  moved = start_moved(&r, &all, &alpha);
  tap_ok(moved == 1 && alpha, "first step: of %d parameters alpha alone has a gradient", all);
  i = side_find(&r, "side.alpha");
  qtk_engine_param(r.m.engine, 0, i, &p, &value);
  qtk_engine_gradient(r.m.engine, 0, i, &gradient);
  *(float *)value.data -= *(const float *)gradient.data > 0.0f ? 2e-4f : -2e-4f;
  test_must(qtk_engine_changed(r.m.engine, 0, 0), "changed");
  side_back(&r, 1.0);
  moved = start_moved(&r, &all, &alpha);
  tap_ok(moved == all, "second step: %d of %d parameters have one", moved, all);
  side_close(&r);
}

/* ---- backward of the base ------------------------------------------------------------------ */

/* The cpu backend, with calls counted that go backward through something of the base's width. */
static const struct qtk_backend_ops *counted_ops;
static int64_t counted_width, counted_head, counted_heads_size;
static int counted_base, counted_heads;

static int counted_dx(void *h, const struct qtk_tensor *dy, const struct qtk_qtensor *w,
                      const struct qtk_tensor *scales, struct qtk_tensor *dx, int accumulate)
{
  if (w->layout.rows == counted_head)
    counted_heads++;
  else if (w->layout.rows >= counted_width || w->layout.cols >= counted_width)
    counted_base++;
  return counted_ops->linear_dx(h, dy, w, scales, dx, accumulate);
}

static int counted_dw(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                      struct qtk_tensor *dw)
{
  counted_base += qtk_tensor_cols(dy) >= counted_width || qtk_tensor_cols(x) >= counted_width;
  return counted_ops->linear_dw(h, dy, x, dw);
}

static int counted_norm(void *h, enum qtk_norm kind, const struct qtk_tensor *x,
                        const struct qtk_tensor *weight, const struct qtk_tensor *stats,
                        const struct qtk_tensor *dy, struct qtk_tensor *dx,
                        struct qtk_tensor *dweight, struct qtk_tensor *dbias)
{
  counted_base += qtk_tensor_cols(x) >= counted_width;
  return counted_ops->norm_backward(h, kind, x, weight, stats, dy, dx, dweight, dbias);
}

static int counted_attention(void *h, const struct qtk_attention *a, const struct qtk_tensor *q,
                             const struct qtk_tensor *k, const struct qtk_tensor *v,
                             const struct qtk_tensor *out, const struct qtk_tensor *lse,
                             const struct qtk_tensor *dout, struct qtk_tensor *dq,
                             struct qtk_tensor *dk, struct qtk_tensor *dv)
{
  counted_base += a->head_size >= counted_heads_size;
  return counted_ops->attention_backward(h, a, q, k, v, out, lse, dout, dq, dk, dv);
}

static struct qtk_context *counted_context(struct qtk_plugin *plugin, struct qtk_backend_ops *ops)
{
  struct qtk_context_options options = {.threads = 2, .seed = 1};
  const struct qtk_loaded *backend;
  struct qtk_context *c;

  test_must(qtk_registry_get(QTK_BACKEND, "cpu", &backend), "backend");
  counted_ops = &backend->ops.backend;
  *ops = *counted_ops;
  ops->linear_dx = counted_dx;
  ops->linear_dw = counted_dw;
  ops->norm_backward = counted_norm;
  ops->attention_backward = counted_attention;
  *plugin = backend->plugin;
  plugin->backend = ops;
  test_must(qtk_context_open(&options, &c), "context");
  test_must(qtk_device_open(c, plugin, NULL, 0), "device");
  return c;
}

static uint64_t arena_used(const char *what, uint64_t *peak)
{
  const struct qtk_arena *a = &ctx->arena;

  for (int i = 0; i < a->n_categories; i++)
    if (strcmp(a->categories[i].what, what) == 0) {
      *peak = a->categories[i].peak;
      return a->categories[i].used;
    }
  return *peak = 0;
}

static int64_t counted_values(struct side *r)
{
  struct qtk_tensor value;
  struct qtk_param p;
  int64_t n = 0;

  for (int i = 0; qtk_engine_param(r->m.engine, 0, i, &p, &value); i++)
    n += side_count(&p);
  return n;
}

static void counted_run(const char *keep)
{
  char before[65], after[65], text[64];
  uint64_t gradients, peak;
  struct side r;

  snprintf(text, sizeof text, "reduction = 4\nkeep = \"%s\"", keep);
  side_open(&r, folder, text);
  const struct qtk_model_info *info = qtk_model_info(r.m.model);
  counted_width = info->dims.hidden;
  counted_head = info->vocabulary;
  counted_heads_size = info->dims.head_size;
  counted_base = counted_heads = 0;
  test_must(qtk_model_digest(ctx, r.m.model, before), "digest");
  side_fill(&r);
  side_back(&r, 1.0);
  gradients = arena_used("gradients", &peak);
  test_must(qtk_model_digest(ctx, r.m.model, after), "digest");
  tap_ok(counted_base == 0 && counted_heads > 0,
         "%s: backward runs the head %d times, the base's blocks %d times", keep, counted_heads,
         counted_base);
  tap_ok(gradients == 4 * (uint64_t)counted_values(&r) && peak == gradients,
         "gradients take %llu bytes: those of the side network",
         (unsigned long long)gradients);
  tap_ok(strcmp(before, after) == 0, "the base's digest stays");
  side_close(&r);
}

/* The same counts see the blocks of a model that trains itself. */
static void counted_other(void)
{
  struct side r = {.m = {.ctx = ctx}};
  const struct qtk_loaded *full;

  test_must(qtk_registry_get(QTK_ADAPTER, "full", &full), "full");
  r.options = test_options(full, "");
  const struct qtk_attached adapter = {
      .name = "full", .ops = &full->ops.adapter, .options = r.options->values};
  r.m = test_open(ctx, folder, &adapter, 1);
  side_batch(&r, folder);
  test_must(qtk_engine_train(r.m.engine), "gradients");
  test_must(qtk_session_new(r.m.engine, SEQUENCES, 0, &r.s), "session");
  qtk_session_train(r.s, 1, NULL);
  counted_base = 0;
  side_back(&r, 1.0);
  tap_ok(counted_base > 10, "full tuning runs them %d times", counted_base);
  side_close(&r);
}

static void counted_all(void)
{
  struct qtk_context *plain = ctx;
  struct qtk_backend_ops ops;
  struct qtk_plugin plugin;

  ctx = counted_context(&plugin, &ops);
  counted_run("hidden");
  counted_run("recompute");
  counted_other();
  test_context_close(ctx);
  ctx = plain;
}

/* ---- shares -------------------------------------------------------------------------------- */

/* Of the shape of LLaMA-7B, which needs no weights. */
static const struct qtk_model_info *shape_open(struct qtk_model **model)
{
  char place[] = "/tmp/qtk-qst-XXXXXX", path[64];

  if (mkdtemp(place) == NULL)
    exit(1);
  snprintf(path, sizeof path, "%s/config.json", place);
  FILE *f = fopen(path, "w");
  if (f == NULL)
    exit(1);
  fprintf(f, "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "
             "\"hidden_size\": 4096, \"intermediate_size\": 11008, \"num_attention_heads\": 32, "
             "\"num_hidden_layers\": 32, \"vocab_size\": 32000, \"rms_norm_eps\": 1e-5, "
             "\"max_position_embeddings\": 4096, \"hidden_act\": \"silu\"}\n");
  fclose(f);
  test_must(qtk_model_open(ctx, place, model), place);
  remove(path);
  rmdir(place);
  return qtk_model_info(*model);
}

static void shape_share(const struct qtk_model_info *info, const char *down, double want)
{
  double in = 0.0, all = 0.0;
  const struct qtk_loaded *plugin;
  struct qtk_param p;
  char text[100];
  void *h;

  snprintf(text, sizeof text, "form = \"code\"\ndownsample = \"%s\"", down);
  test_must(qtk_registry_get(QTK_ADAPTER, "qst", &plugin), "qst");
  struct qtk_options *options = test_options(plugin, text);
  const struct qtk_adapter_ops *ops = &plugin->ops.adapter;
  test_must(ops->attach(ctx, options->values, info, NULL, 0, &h), "attach");
  for (int i = 0; ops->params(h, i, &p); i++) {
    all += (double)side_count(&p);
    in += strstr(p.name, "downsample") != NULL ? (double)side_count(&p) : 0.0;
  }
  tap_ok(fabs(100.0 * in / all - want) < 0.005,
         "LLaMA-7B, %s: %.2f %% of %.0f parameters are downsamplers, the paper's %.2f", down,
         100.0 * in / all, all, want);
  ops->detach(ctx, h);
  qtk_options_free(options);
}

static void shape_all(void)
{
  struct qtk_model *model;
  const struct qtk_model_info *info = shape_open(&model);

  shape_share(info, "adapter", 7.84);
  shape_share(info, "linear", 55.99);
  shape_share(info, "maxpool", 0.0);
  qtk_model_close(model);
}

/* ---- memory of a pass ------------------------------------------------------------------------ */

/* Bytes of a category that a pass over so many tokens takes. */
static uint64_t pass_bytes(const char *keep, const char *what, int64_t tokens)
{
  uint64_t before, after, peak;
  char text[64];
  struct side r;

  snprintf(text, sizeof text, "reduction = 4\nkeep = \"%s\"", keep);
  side_open(&r, folder, text);
  qtk_session_free(r.s);
  test_must(qtk_session_new(r.m.engine, 1, 0, &r.s), "session");
  qtk_session_train(r.s, 1, NULL);
  before = arena_used(what, &peak);
  const struct qtk_batch batch = {.tokens = tokens, .ids = r.ids, .targets = r.targets,
                                  .weights = r.weights, .sequences = 1, .starts = r.starts};
  double sum, weight;
  test_must(qtk_session_forward(r.s, r.ids, &tokens, &r.hidden), "forward");
  test_must(qtk_session_backward(r.s, &batch, &r.hidden, 1.0, &sum, &weight), "backward");
  after = arena_used(what, &peak);
  side_close(&r);
  return after - before;
}

/* Twice the tokens take twice the memory; a token takes what is said. */
static void pass_check(const char *keep, const char *what, double want)
{
  uint64_t one = pass_bytes(keep, what, 32), two = pass_bytes(keep, what, 64);
  double token = (double)(two - one) / 32;

  tap_ok(fabs((double)two / (double)one - 2.0) < 0.05 && fabs(token / want - 1.0) < 0.01,
         "%s: %s: %.0f bytes a token, by the formula %.0f", keep, what, token, want);
}

/* What a plan is told, and what a pass then takes. */
static void pass_planned(const char *text)
{
  uint64_t own, peak;
  int64_t tokens = 64;
  double sum, weight;
  struct side r;

  side_open(&r, folder, text);
  qtk_session_free(r.s);
  test_must(qtk_session_new(r.m.engine, 1, 0, &r.s), "session");
  qtk_session_train(r.s, 1, NULL);
  const struct engine_adapter *a = &r.m.engine->adapters[0];
  const struct qtk_batch batch = {.tokens = tokens, .ids = r.ids, .targets = r.targets,
                                  .weights = r.weights, .sequences = 1, .starts = r.starts};
  own = arena_used("adapter", &peak);
  test_must(qtk_session_forward(r.s, r.ids, &tokens, &r.hidden), "forward");
  test_must(qtk_session_backward(r.s, &batch, &r.hidden, 1.0, &sum, &weight), "backward");
  own = arena_used("adapter", &peak) - own;
  double said = (double)a->ops->memory(a->h, tokens, 1), found = (double)own;
  tap_ok(fabs(said / found - 1.0) < 0.03, "plan: %.0f bytes, taken %.0f: %s", said, found,
         strrchr(text, ' ') + 1);
  side_close(&r);
}

/* d 64 of the model, n 16 of the side network, rank 16, 2 blocks. A layer keeps the hidden state
 * in 16 bits, the downsampler's first product, and the difference at the gate; of the side block
 * 4 n + 2 n / 2 + 2 f / 4, statistics of two norms and of the heads. Its blocks share what is made
 * again (3 n + f) and gradients on their way (3 n + 2 q + 2 kv + 3 f). No scores: where a formula
 * has H T more for each token, ours are made again by parts. */
static void pass_all(void)
{
  double shared = 4.0 * (4 * 16 + 2 * 64 + 2 + 2 * 16), layer = 4.0 * (16 + 16);
  double block = 4.0 * (4 * 16 + 2 * 8 + 2 * 44 + 2 * 2 + 4);

  double work = 4.0 * (3 * 16 + 44 + 3 * 16 + 2 * 16 + 2 * 8 + 3 * 44), blocks = 2 * block + work;

  pass_check("hidden", "adapter", 3 * (2 * 64 + layer) + shared + blocks);
  pass_check("recompute", "adapter", 3 * layer + 2 * 64 + shared + blocks);
  pass_planned("reduction = 4\nkeep = \"hidden\"");
  pass_planned("reduction = 4\nkeep = \"recompute\"");
  pass_planned("reduction = 4\ndownsample = \"linear\"");
  pass_planned("reduction = 4\ndownsample = \"maxpool\"");
}

/* ---- the same bits ------------------------------------------------------------------------------ */

static void bits_same(const char *what, const char *one, const char *other, int threads)
{
  struct qtk_context *plain = ctx;
  struct side a, b;
  size_t n, m;

  side_open(&a, folder, one);
  side_fill(&a);
  double loss = side_back(&a, 1.0);
  float *x = side_gradients(&a, &n);
  side_close(&a);
  ctx = test_context(threads, 0);
  side_open(&b, folder, other);
  side_fill(&b);
  double again = side_back(&b, 1.0);
  float *y = side_gradients(&b, &m);
  side_close(&b);
  test_context_close(ctx);
  ctx = plain;
  tap_ok(n == m && loss == again && memcmp(x, y, n * sizeof *x) == 0,
         "%s: the same bits of loss and %zu gradients", what, n);
  free(x);
  free(y);
}

/* A token at a time through both caches, and all at once. */
static void bits_cache(void)
{
  int64_t length = 24, one = 1;
  struct qtk_tensor hidden;
  double worst = 0.0;
  struct side r;

  side_open(&r, folder, "reduction = 4");
  side_fill(&r);
  side_loss(&r);
  size_t width = (size_t)qtk_tensor_cols(&r.hidden);
  float *want = malloc(24 * width * sizeof *want);
  memcpy(want, r.hidden.data, 24 * width * sizeof *want);
  qtk_session_free(r.s);
  test_must(qtk_session_new(r.m.engine, 1, 24, &r.s), "session");
  for (int64_t t = 0; t < length; t++) {
    test_must(qtk_session_forward(r.s, r.ids + t, &one, &hidden), "token");
    for (size_t j = 0; j < width; j++)
      worst = fmax(worst, fabs((double)((const float *)hidden.data)[j] -
                               (double)want[(size_t)t * width + j]));
  }
  tap_ok(worst < 1e-5, "through the caches: hidden states differ by %.2g", worst);
  free(want);
  side_close(&r);
}

int main(void)
{
  toy_begin();
  start_bits("llama");
  start_bits("gpt2");
  start_bits("opt_postln");
  start_code();
  start_gradients();
  counted_all();
  shape_all();
  pass_all();
  bits_same("recomputed", "reduction = 4", "reduction = 4\nkeep = \"recompute\"", 2);
  bits_same("recomputed, the code's form", "reduction = 4\nform = \"code\"",
            "reduction = 4\nform = \"code\"\nkeep = \"recompute\"", 2);
  bits_same("recomputed, linear", "reduction = 4\ndownsample = \"linear\"",
            "reduction = 4\ndownsample = \"linear\"\nkeep = \"recompute\"", 2);
  bits_same("three threads", "reduction = 4", "reduction = 4", 3);
  bits_cache();
  toy_end();
  return tap_end();
}
