/* SPDX-License-Identifier: BSD-3-Clause
 * Toy adapters at the linears of a small model, against the same mathematics done by
 * hand: adding, rescaling, replacing, stacks of them, nothing at all; and gradients of toys and
 * of the plugins that do the same, against differences. */
#include "rounded.h"
#include "toy.h"

#define RANK 3

/* Values that look random and are the same everywhere. */
static float noise(uint64_t i)
{
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  return (float)(i >> 40) / (float)(1 << 23) - 1.0f;
}

/* Replaces tensor i by floats that `fill` makes of its own. */
static void replace_rows(struct qtk_model *model, int i,
                         void (*fill)(const struct qtk_model_tensor *t, int i, float *w))
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  struct qtk_qtensor view = {
      .layout = {.encoding = QTK_DENSE, .dtype = QTK_F32, .rows = t->rows, .cols = t->cols}};
  float *w = toy_keep((size_t)(t->rows * t->cols) * sizeof *w);

  test_must(qtk_model_read(model, i, 0, t->rows, w, t->cols), t->name);
  fill(t, i, w);
  view.codes = w;
  test_must(qtk_qlayout_init(&view.layout), "layout");
  test_must(qtk_model_replace(model, i, &view, NULL, NULL), t->name);
}

static void replace_linears(struct qtk_model *model,
                            void (*fill)(const struct qtk_model_tensor *t, int i, float *w))
{
  for (int i = 0; i < qtk_model_count(model); i++)
    if (qtk_model_tensor(model, i)->linear)
      replace_rows(model, i, fill);
}

/* ---- sites: what all toys share ------------------------------------------------------------- */

struct toy {
  const struct qtk_site *sites;
  int n_sites;
  struct qtk_tensor a[64], b[64];   /* of a site */
  struct qtk_tensor da[64], db[64]; /* their gradients */
};

static enum qtk_claim toy_claim(const void *options, const struct qtk_tensor_role *tensor)
{
  (void)options;
  return tensor->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static int toy_attach(struct qtk_context *c, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites,
                      int n_sites, void **h)
{
  struct toy *t = calloc(1, sizeof *t);

  (void)c, (void)options, (void)model;
  t->sites = sites;
  t->n_sites = n_sites;
  *h = t;
  return QTK_OK;
}

static int toy_bind(void *h, int i, const struct qtk_tensor *value,
                    const struct qtk_tensor *gradient)
{
  struct toy *t = h;

  *(i % 2 == 0 ? &t->a[i / 2] : &t->b[i / 2]) = *value;
  *(i % 2 == 0 ? &t->da[i / 2] : &t->db[i / 2]) = *gradient;
  return QTK_OK;
}

static int toy_start(struct qtk_context *c, void *h, int i, float *value)
{
  struct toy *t = h;
  const struct qtk_site *site = &t->sites[i / 2];
  int64_t n = i % 2 == 0 ? RANK * site->cols : RANK * site->rows;

  (void)c;
  for (int64_t k = 0; k < n; k++)
    value[k] = 0.1f * noise((uint64_t)(i * 100000 + k));
  return QTK_OK;
}

/* ---- identity ---------------------------------------------------------------------------------- */

static int identity_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                            const struct qtk_site *site, const struct qtk_inner *inner,
                            const struct qtk_tensor *x, struct qtk_tensor *y,
                            struct qtk_keep *kept)
{
  (void)h, (void)s, (void)site, (void)kept;
  return qtk_linear_forward(c, inner, NULL, x, y);
}

static const struct qtk_adapter_ops identity = {.size = sizeof identity,
                                                .claim = toy_claim,
                                                .attach = toy_attach,
                                                .detach = toy_detach,
                                                .forward = identity_forward};

/* ---- add: y += x aT bT ------------------------------------------------------------------------- */

static int add_params(void *h, int i, struct qtk_param *p)
{
  const struct toy *t = h;

  if (i >= 2 * t->n_sites)
    return 0;
  snprintf(p->name, sizeof p->name, "%s.%c", t->sites[i / 2].name, "ab"[i % 2]);
  p->ndim = 2;
  p->shape[0] = i % 2 == 0 ? RANK : t->sites[i / 2].rows;
  p->shape[1] = i % 2 == 0 ? t->sites[i / 2].cols : RANK;
  return 1;
}

/* x aT, for backward. */
static void add_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->bytes_per_token = RANK * sizeof(float);
}

static int add_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *kept)
{
  const struct toy *t = h;
  struct qtk_tensor low;
  void *memory;
  int rc = qtk_linear_forward(c, inner, NULL, x, y);

  if (rc == QTK_OK)
    rc = qtk_session_memory(c, s, h, 0, RANK * sizeof(float), &memory);
  if (rc != QTK_OK)
    return rc;
  low = qtk_matrix(QTK_F32, kept != NULL ? kept->own : memory, qtk_session_tokens(s), RANK);
  rc = qtk_op_matmul(c, 0, 1, 1.0f, x, &t->a[site->index], 0.0f, &low);
  return rc == QTK_OK ? qtk_op_matmul(c, 0, 1, 1.0f, &low, &t->b[site->index], 1.0f, y) : rc;
}

static int add_backward(struct qtk_context *c, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_keep *kept, const struct qtk_tensor *dy,
                        struct qtk_tensor *dx)
{
  struct toy *t = h;
  int i = site->index;
  struct qtk_tensor low = qtk_matrix(QTK_F32, kept->own, qtk_session_tokens(s), RANK), dlow = low;
  int rc = qtk_session_memory(c, s, h, 1, RANK * sizeof(float), &dlow.data);

  if (rc == QTK_OK)
    rc = qtk_op_matmul(c, 0, 0, 1.0f, dy, &t->b[i], 0.0f, &dlow);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(c, 1, 0, 1.0f, dy, &low, 1.0f, &t->db[i]);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(c, 1, 0, 1.0f, &dlow, &kept->input, 1.0f, &t->da[i]);
  if (rc == QTK_OK)
    rc = qtk_linear_backward(c, inner, NULL, dy, dx);
  return rc == QTK_OK && dx != NULL ? qtk_op_matmul(c, 0, 0, 1.0f, &dlow, &t->a[i], 1.0f, dx) : rc;
}

static const struct qtk_adapter_ops add = {.size = sizeof add,
                                           .claim = toy_claim,
                                           .attach = toy_attach,
                                           .detach = toy_detach,
                                           .params = add_params,
                                           .bind = toy_bind,
                                           .start = toy_start,
                                           .keep = add_keep,
                                           .forward = add_forward,
                                           .backward = add_backward};

/* Which site a linear is: they are claimed in the model's order. */
static int add_site;

static void add_by_hand(const struct qtk_model_tensor *t, int i, float *w)
{
  int site = add_site++;

  (void)i;
  for (int64_t r = 0; r < t->rows; r++)
    for (int64_t k = 0; k < RANK; k++)
      for (int64_t j = 0; j < t->cols; j++) {
        float b = 0.1f * noise((uint64_t)((2 * site + 1) * 100000 + r * RANK + k));
        w[r * t->cols + j] += b * 0.1f * noise((uint64_t)(2 * site * 100000 + k * t->cols + j));
      }
}

static void add_change(struct qtk_model *model)
{
  add_site = 0;
  replace_linears(model, add_by_hand);
}

/* ---- rescale: s (1 + d) over an affine base ---------------------------------------------------- */

static int rescale_params(void *h, int i, struct qtk_param *p)
{
  const struct toy *t = h;

  if (i >= t->n_sites)
    return 0;
  snprintf(p->name, sizeof p->name, "%s.scales", t->sites[i].name);
  p->ndim = 2;
  p->shape[0] = t->sites[i].rows;
  p->shape[1] = t->sites[i].base->layout.groups;
  return 1;
}

static int rescale_bind(void *h, int i, const struct qtk_tensor *value,
                        const struct qtk_tensor *gradient)
{
  ((struct toy *)h)->a[i] = *value;
  ((struct toy *)h)->da[i] = *gradient;
  return QTK_OK;
}

static float rescale_factor(int64_t row, int64_t group)
{
  return 1.0f + 0.2f * noise((uint64_t)(row * 100 + group));
}

static int rescale_start(struct qtk_context *c, void *h, int i, float *value)
{
  const struct qtk_qtensor *base = ((struct toy *)h)->sites[i].base;

  (void)c;
  for (int64_t r = 0; r < base->layout.rows; r++)
    for (int64_t g = 0; g < base->layout.groups; g++)
      value[r * base->layout.groups + g] = rescale_factor(r, g) * qtk_get_scale(base, r, g);
  return QTK_OK;
}

static int rescale_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                           const struct qtk_site *site, const struct qtk_inner *inner,
                           const struct qtk_tensor *x, struct qtk_tensor *y,
                           struct qtk_keep *kept)
{
  (void)s, (void)kept;
  return qtk_linear_forward(c, inner, &((struct toy *)h)->a[site->index], x, y);
}

static void rescale_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
}

static int rescale_backward(struct qtk_context *c, void *h, struct qtk_session *s,
                            const struct qtk_site *site, const struct qtk_inner *inner,
                            const struct qtk_keep *kept, const struct qtk_tensor *dy,
                            struct qtk_tensor *dx)
{
  struct toy *t = h;
  int rc = qtk_op_linear_dscale(c, dy, &kept->input, qtk_inner_weights(inner),
                                &t->da[site->index]);

  (void)s;
  return rc == QTK_OK ? qtk_linear_backward(c, inner, &t->a[site->index], dy, dx) : rc;
}

static const struct qtk_adapter_ops rescale = {.size = sizeof rescale,
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = rescale_params,
                                               .bind = rescale_bind,
                                               .start = rescale_start,
                                               .keep = rescale_keep,
                                               .forward = rescale_forward,
                                               .backward = rescale_backward};

/* Scales and minima of every group times its factor: so are the weights. */
static void rescale_by_hand(const struct qtk_model_tensor *t, int i, float *w)
{
  (void)i;
  for (int64_t r = 0; r < t->rows; r++)
    for (int64_t j = 0; j < t->cols; j++)
      w[r * t->cols + j] *= rescale_factor(r, j / 16);
}

static void rescale_change(struct qtk_model *model)
{
  toy_quantize(model);
  replace_linears(model, rescale_by_hand);
}

/* What an adder does over what a rescaler does. */
static void both_change(struct qtk_model *model)
{
  rescale_change(model);
  add_change(model);
}

/* ---- replace: the base's product is left ------------------------------------------------------- */

static int replace_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                           const struct qtk_site *site, const struct qtk_inner *inner,
                           const struct qtk_tensor *x, struct qtk_tensor *y,
                           struct qtk_keep *kept)
{
  const struct toy *t = h;
  struct qtk_tensor low;
  void *memory;
  int rc = qtk_session_memory(c, s, h, 0, RANK * sizeof(float), &memory);

  (void)inner, (void)kept;
  if (rc != QTK_OK)
    return rc;
  low = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), RANK);
  rc = qtk_op_matmul(c, 0, 1, 1.0f, x, &t->a[site->index], 0.0f, &low);
  return rc == QTK_OK ? qtk_op_matmul(c, 0, 1, 1.0f, &low, &t->b[site->index], 0.0f, y) : rc;
}

static const struct qtk_adapter_ops replace = {.size = sizeof replace,
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = add_params,
                                               .bind = toy_bind,
                                               .start = toy_start,
                                               .forward = replace_forward};

static void replace_by_hand(const struct qtk_model_tensor *t, int i, float *w)
{
  memset(w, 0, (size_t)(t->rows * t->cols) * sizeof *w);
  add_by_hand(t, i, w);
}

static void replace_change(struct qtk_model *model)
{
  add_site = 0;
  replace_linears(model, replace_by_hand);
}

/* ---- the tests of sites ------------------------------------------------------------------------- */

static void sites_compare(const char *what, const struct qtk_attached *adapters, int n,
                          void (*base)(struct qtk_model *), void (*by_hand)(struct qtk_model *))
{
  float *found = logits_of(adapters, n, base), *want = logits_of(NULL, 0, by_hand);
  float *plain = logits_of(NULL, 0, base);
  double worst = distance(found, want, logits_count());
  double change = distance(plain, want, logits_count());

  tap_ok(worst < 1e-5 && change > 1e-2, "%s: differs by %.2g; without it, by %.2g", what, worst,
         change);
  free(plain);
  free(found);
  free(want);
}

static void sites_identity(void)
{
  const struct qtk_attached three[] = {
      {.name = "one", .ops = &identity}, {.name = "two", .ops = &identity}, {.name = "three", .ops = &identity}};
  float *found = logits_of(three, 3, toy_quantize), *want = logits_of(NULL, 0, toy_quantize);

  tap_ok(memcmp(found, want, logits_count() * sizeof *found) == 0,
         "three that change nothing: the same bits");
  free(found);
  free(want);
}

static void sites_two_rescalers(void)
{
  const struct qtk_attached two[] = {{.name = "one", .ops = &rescale}, {.name = "two", .ops = &rescale}};
  struct test_model m = {.ctx = ctx};
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t length = 4;

  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  toy_quantize(m.model);
  test_must(qtk_engine_open(ctx, m.model, two, 2, &m.engine), "engine");
  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  int rc = qtk_session_forward(s, ids, &length, &hidden);
  tap_ok(rc == QTK_EPLUGIN && strstr(qtk_error_message(), "two adapters rescale") != NULL,
         "two that rescale: %s", qtk_error_message());
  qtk_session_free(s);
  test_close(&m);
}

static void sites_all(void)
{
  const struct qtk_attached adder = {.name = "add", .ops = &add}, scaler = {.name = "rescale", .ops = &rescale};
  const struct qtk_attached replacer = {.name = "replace", .ops = &replace};
  const struct qtk_attached both[] = {scaler, adder}, passed[] = {{.name = "id", .ops = &identity}, scaler};

  sites_compare("add", &adder, 1, NULL, add_change);
  sites_compare("rescale", &scaler, 1, toy_quantize, rescale_change);
  sites_compare("replace", &replacer, 1, NULL, replace_change);
  sites_compare("add on rescale", both, 2, toy_quantize, both_change);
  sites_compare("scales that pass through another", passed, 2, toy_quantize, rescale_change);
  sites_identity();
  sites_two_rescalers();
}

/* ---- services at a site ---------------------------------------------------------------------------- */

/* What a site is told about its base: set by the test, looked at in attach. */
static const float *service_rows;
static const struct qtk_qtensor *service_want;

static int service_attach(struct qtk_context *c, const void *options,
                          const struct qtk_model_info *model, const struct qtk_site *sites,
                          int n_sites, void **h)
{
  const struct qtk_site *site = &sites[0];
  size_t bytes = qtk_qtensor_block_bytes(&site->base->layout);
  void *block = calloc(1, bytes);
  float *w = malloc((size_t)(site->rows * site->cols) * sizeof *w);
  struct qtk_qtensor again = qtk_qtensor_over(&site->base->layout, block);

  (void)options, (void)model, (void)n_sites;
  *h = calloc(1, 1);
  memcpy(w, service_rows, (size_t)(site->rows * site->cols) * sizeof *w);
  int rc = qtk_requantize(c, site, w, &again);
  tap_ok(rc == QTK_OK && memcmp(block, service_want->codes, bytes) == 0,
         "rounded again: the same bytes%s%s", rc ? ": " : "", rc ? qtk_error_message() : "");
  rc = qtk_source_rows(c, site, 0, 1, w);
  tap_ok(rc == QTK_EJOB, "no source: %s", qtk_error_message());
  free(block);
  free(w);
  return QTK_OK;
}

/* Asks for the source's rows while it runs, when there is one. */
static int service_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                           const struct qtk_site *site, const struct qtk_inner *inner,
                           const struct qtk_tensor *x, struct qtk_tensor *y,
                           struct qtk_keep *kept)
{
  float *w = malloc((size_t)(site->rows * site->cols) * sizeof *w);
  int rc = qtk_source_rows(c, site, 0, site->rows, w);

  (void)h, (void)s, (void)kept;
  if (rc == QTK_OK && site->index == 0 &&
      memcmp(w, service_rows, (size_t)(site->rows * site->cols) * sizeof *w) != 0)
    rc = qtk_error(QTK_EINTERNAL, "other rows");
  free(w);
  return rc == QTK_OK ? qtk_linear_forward(c, inner, NULL, x, y) : rc;
}

/* The first linear rounded by a plugin, as a stage would. */
static void service_round(struct rounded *r, struct qtk_model *model, int i, float *w,
                          struct qtk_qtensor *out)
{
  static const char text[] = "bits = 4\ngroup = 16\n";

  *out = rounded_rows(r, ctx, "rtn", text, qtk_model_tensor(model, i), w);
  test_must(qtk_model_replace(model, i, out, "rtn", text), "replace");
}

static void service_all(void)
{
  struct qtk_adapter_ops ops = identity;
  const struct qtk_attached adapter = {.name = "service", .ops = &ops};
  struct test_model m = {.ctx = ctx};
  struct qtk_model *source;
  struct qtk_session *s;
  struct qtk_tensor hidden;
  struct qtk_qtensor rounded;
  struct rounded memory = {.n = 0};
  int64_t length = 4;
  int i = 0;

  ops.attach = service_attach;
  ops.forward = service_forward;
  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  test_must(qtk_model_open(ctx, folder, &source), folder);
  while (!qtk_model_tensor(m.model, i)->linear)
    i++;
  const struct qtk_model_tensor *t = qtk_model_tensor(m.model, i);
  float *rows = malloc((size_t)(t->rows * t->cols) * sizeof *rows);
  float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
  test_must(qtk_model_read(source, i, 0, t->rows, rows, t->cols), t->name);
  memcpy(w, rows, (size_t)(t->rows * t->cols) * sizeof *w);
  service_round(&memory, m.model, i, w, &rounded);
  service_rows = rows;
  service_want = &rounded;
  test_must(qtk_engine_open(ctx, m.model, &adapter, 1, &m.engine), "engine");
  qtk_model_set_unquantized(m.model, source);
  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  int rc = qtk_session_forward(s, ids, &length, &hidden);
  tap_ok(rc == QTK_OK, "the source's rows%s%s", rc ? ": " : "", rc ? qtk_error_message() : "");
  qtk_session_free(s);
  test_close(&m);
  rounded_free(&memory);
  qtk_model_close(source);
  free(rows);
  free(w);
}

/* ---- gradients ---------------------------------------------------------------------------------- */

/* Two adapters that train, how far their values are stirred first, and the number of families
 * they are tried on: on the last two, which are random, steps of a scale itself would have to be
 * smaller than float32 can say. */
struct stack {
  struct qtk_attached adapters[2];
  float stir;
  int families;
};

static struct stack stacks[] = {
    {{{.name = "rescale", .ops = &rescale}, {.name = "add", .ops = &add}}, 0.0f, 8},
    {{{.name = "peqa"}, {.name = "lora"}}, 0.05f, 10}};

/* Two plugins for the second. */
static void stack_plugins(struct qtk_options *options[2])
{
  static const char *const texts[] = {"", "rank = 3\ndropout = 0.3"};
  const struct qtk_loaded *plugin;

  for (int i = 0; i < 2; i++) {
    struct qtk_attached *a = &stacks[1].adapters[i];
    test_must(qtk_registry_get(QTK_ADAPTER, a->name, &plugin), a->name);
    options[i] = test_options(plugin, texts[i]);
    a->ops = &plugin->ops.adapter;
    a->options = options[i]->values;
  }
}

/* A pass over the first tokens, with every second one scored. */
struct slope {
  struct test_model m;
  struct qtk_session *s;
  int32_t targets[48];
  float weights[48];
  struct qtk_batch batch;
  struct qtk_tensor hidden;
};

/* Away from starts at zero, where half of the gradients may be zero. */
static void slope_stir(struct slope *g, int adapter, float by)
{
  struct qtk_param param;
  struct qtk_tensor value;

  for (int i = 0; qtk_engine_param(g->m.engine, adapter, i, &param, &value); i++)
    for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
      ((float *)value.data)[k] += by * noise((uint64_t)(i * 100000 + k));
  test_must(qtk_engine_changed(g->m.engine, adapter, 0), "changed");
}

static void slope_open(struct slope *g, const char *name, const struct stack *stack)
{
  const uint64_t number = 7;
  char path[64];

  snprintf(path, sizeof path, "nano/%s", name);
  g->m = (struct test_model){.ctx = ctx};
  test_must(qtk_model_open(ctx, test_data(path), &g->m.model), path);
  toy_quantize(g->m.model);
  test_must(qtk_engine_open(ctx, g->m.model, stack->adapters, 2, &g->m.engine), "engine");
  test_must(qtk_engine_train(g->m.engine), "gradients");
  for (int i = 0; i < 2; i++)
    slope_stir(g, i, stack->stir);
  test_must(qtk_session_new(g->m.engine, 1, 0, &g->s), "session");
  qtk_session_train(g->s, 1, &number);
  for (int i = 0; i < 48; i++) {
    g->targets[i] = i % 2 == 0 ? ids[i + 1] : -1;
    g->weights[i] = i % 2 == 0 ? 0.5f + 0.01f * (float)i : 0.0f;
  }
  g->batch = (struct qtk_batch){
      .tokens = 48, .ids = ids, .targets = g->targets, .weights = g->weights};
}

static void slope_close(struct slope *g)
{
  qtk_session_free(g->s);
  test_close(&g->m);
  toy_forget();
}

static double slope_loss(struct slope *g)
{
  const int64_t length = 48;
  double sum, weight;

  test_must(qtk_session_forward(g->s, ids, &length, &g->hidden), "forward");
  test_must(qtk_session_loss(g->s, &g->batch, &g->hidden, NULL, &sum, &weight), "loss");
  return sum;
}

/* The loss with every parameter of an adapter moved by `by` along the gradient's signs. */
static double slope_moved(struct slope *g, int adapter, double by)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  double loss = 0.0;

  for (int turn = 0; turn < 2; turn++) {
    for (int i = 0; qtk_engine_param(g->m.engine, adapter, i, &param, &value); i++) {
      qtk_engine_gradient(g->m.engine, adapter, i, &gradient);
      for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++) {
        float step = (float)(turn == 0 ? by : -by);
        ((float *)value.data)[k] += ((float *)gradient.data)[k] < 0.0f ? -step : step;
      }
    }
    test_must(qtk_engine_changed(g->m.engine, adapter, 0), "changed");
    if (turn == 0)
      loss = slope_loss(g);
  }
  return loss;
}

/* The step moves the loss by about 0.01, a thousand times its rounding, and activations by so
 * little that few of them cross the corner of a ReLU. */
static void slope_check(struct slope *g, const char *what, int adapter)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  double said = 0.0, found, h;

  for (int i = 0; qtk_engine_param(g->m.engine, adapter, i, &param, &value); i++) {
    qtk_engine_gradient(g->m.engine, adapter, i, &gradient);
    for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
      said += fabs((double)((float *)gradient.data)[k]);
  }
  h = fmin(0.012 / said, 1e-3);
  found = (8.0 * (slope_moved(g, adapter, h) - slope_moved(g, adapter, -h)) -
           (slope_moved(g, adapter, 2 * h) - slope_moved(g, adapter, -2 * h))) /
          (12.0 * h);
  tap_ok(said > 0.0 && fabs(found / said - 1.0) < 2e-3,
         "%s: gradient %.5f, by differences %.5f", what, said, found);
}

/* All gradients of a fresh pass, one after the other. */
static float *checkpoint_gradients(struct slope *g, int checkpoint, size_t *n)
{
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  float *all = NULL;
  double sum, weight;

  *n = 0;
  for (int adapter = 0; adapter < 2; adapter++)
    for (int i = 0; qtk_engine_param(g->m.engine, adapter, i, &param, &value); i++) {
      qtk_engine_gradient(g->m.engine, adapter, i, &gradient);
      memset(gradient.data, 0, (size_t)(value.shape[0] * value.shape[1]) * sizeof(float));
    }
  qtk_session_checkpoint(g->s, checkpoint);
  slope_loss(g);
  test_must(qtk_session_backward(g->s, &g->batch, &g->hidden, 1.0, &sum, &weight), "backward");
  for (int adapter = 0; adapter < 2; adapter++)
    for (int i = 0; qtk_engine_param(g->m.engine, adapter, i, &param, &value); i++) {
      size_t more = (size_t)(value.shape[0] * value.shape[1]);
      qtk_engine_gradient(g->m.engine, adapter, i, &gradient);
      all = realloc(all, (*n + more) * sizeof *all);
      memcpy(all + *n, gradient.data, more * sizeof *all);
      *n += more;
    }
  return all;
}

static uint64_t checkpoint_held(const char *what)
{
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, what) == 0)
      return ctx->arena.categories[i].used;
  return 0;
}

/* Blocks that run again give the same bits, and no block keeps a tape meanwhile. */
static void checkpoint_model(const char *name, const struct stack *stack)
{
  const struct qtk_model_info *info;
  struct slope g;
  size_t n, again;

  slope_open(&g, name, stack);
  info = qtk_model_info(g.m.model);
  float *brief = checkpoint_gradients(&g, 1, &n);
  tap_ok(checkpoint_held("tape") == 0 &&
             checkpoint_held("checkpoints") ==
                 (uint64_t)(info->layers * 48 * info->dims.hidden) * sizeof(float),
         "%s, %s: what enters each block is kept, and no tape", name, stack->adapters[1].name);
  float *whole = checkpoint_gradients(&g, 0, &again);
  tap_ok(n == again && checkpoint_held("tape") > 0 && memcmp(brief, whole, n * sizeof *brief) == 0,
         "%s, %s: gradients through checkpoints are the same bits", name,
         stack->adapters[1].name);
  free(brief);
  free(whole);
  slope_close(&g);
}

static const char *const families[] = {"llama",   "mistral", "qwen2", "gpt2",
                                       "gpt_neo", "gptj",    "opt",   "opt_postln",
                                       "qwen3",   "gpt_neox"};

static void slope_model(const char *name, const struct stack *stack)
{
  char what[96];
  double sum, weight;
  struct slope g;

  slope_open(&g, name, stack);
  double loss = slope_loss(&g);
  test_must(qtk_session_backward(g.s, &g.batch, &g.hidden, 1.0, &sum, &weight), "backward");
  tap_ok(loss == sum && weight > 0.0, "%s: the loss is the same with gradients", name);
  for (int i = 0; i < 2; i++) {
    snprintf(what, sizeof what, "%s, %s", name, stack->adapters[i].name);
    slope_check(&g, what, i);
  }
  slope_close(&g);
}

/* ---- what is refused ------------------------------------------------------------------------------------ */

static enum qtk_claim refuse_claim(const void *options, const struct qtk_tensor_role *tensor)
{
  (void)options;
  return strcmp(tensor->role, "head") == 0 ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static void refuse_head(void)
{
  struct qtk_adapter_ops ops = identity;
  const struct qtk_attached adapter = {.name = "refused", .ops = &ops};
  struct qtk_model *model;
  struct qtk_engine *engine;

  ops.claim = refuse_claim;
  test_must(qtk_model_open(ctx, folder, &model), folder);
  int rc = qtk_engine_open(ctx, model, &adapter, 1, &engine);
  tap_ok(rc == QTK_EPLUGIN && engine == NULL && strstr(qtk_error_message(), "lm_head") != NULL,
         "the head is no site: %s", qtk_error_message());
  qtk_model_close(model);
}

int main(void)
{
  struct qtk_options *options[2];

  toy_begin();
  sites_all();
  refuse_head();
  service_all();
  stack_plugins(options);
  for (size_t k = 0; k < sizeof stacks / sizeof *stacks; k++)
    for (int i = 0; i < stacks[k].families; i++) {
      slope_model(families[i], &stacks[k]);
      checkpoint_model(families[i], &stacks[k]);
    }
  for (int i = 0; i < 2; i++)
    qtk_options_free(options[i]);
  toy_end();
  return tap_end();
}
