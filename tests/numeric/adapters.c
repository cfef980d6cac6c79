/* SPDX-License-Identifier: BSD-3-Clause
 * Toy adapters at the linears of a small model, against the same mathematics done by
 * hand: adding, rescaling, replacing, stacks of them, nothing at all. */
#include "toy.h"

#define RANK 3

/* Values that look random and are the same everywhere. */
static float noise(uint64_t i)
{
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  return (float)(i >> 40) / (float)(1 << 23) - 1.0f;
}

/* Memory of replaced tensors, until the end of the test. */
static void *keep_memory[256];
static int keep_n;

static void *keep(size_t bytes)
{
  return keep_memory[keep_n++] = calloc(1, bytes);
}

/* Replaces tensor i by floats that `fill` makes of its own. */
static void replace_rows(struct qtk_model *model, int i,
                         void (*fill)(const struct qtk_model_tensor *t, int i, float *w))
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  struct qtk_qtensor view = {
      .layout = {.encoding = QTK_DENSE, .dtype = QTK_F32, .rows = t->rows, .cols = t->cols}};
  float *w = keep((size_t)(t->rows * t->cols) * sizeof *w);

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
  struct qtk_tensor a[64], b[64]; /* of a site */
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

  (void)gradient;
  *(i % 2 == 0 ? &t->a[i / 2] : &t->b[i / 2]) = *value;
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

static int add_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *kept)
{
  const struct toy *t = h;
  struct qtk_tensor low;
  void *memory;
  int rc = qtk_linear_forward(c, inner, NULL, x, y);

  (void)kept;
  if (rc == QTK_OK)
    rc = qtk_session_memory(c, s, h, 0, RANK * sizeof(float), &memory);
  if (rc != QTK_OK)
    return rc;
  low = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), RANK);
  rc = qtk_op_matmul(c, 0, 1, 1.0f, x, &t->a[site->index], 0.0f, &low);
  return rc == QTK_OK ? qtk_op_matmul(c, 0, 1, 1.0f, &low, &t->b[site->index], 1.0f, y) : rc;
}

static const struct qtk_adapter_ops add = {.size = sizeof add,
                                           .claim = toy_claim,
                                           .attach = toy_attach,
                                           .detach = toy_detach,
                                           .params = add_params,
                                           .bind = toy_bind,
                                           .start = toy_start,
                                           .forward = add_forward};

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

/* The linear in groups of 16, 4 bits, minima as floats. */
static void quantize(struct qtk_model *model, int i, struct qtk_qtensor *q)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  struct qtk_qlayout layout = {.encoding = QTK_AFFINE,
                               .rows = t->rows,
                               .cols = t->cols,
                               .bits = 4,
                               .group = 16,
                               .zero = QTK_ZERO_MIN,
                               .scale_dtype = QTK_F32};
  float *w = malloc((size_t)t->cols * sizeof *w);
  uint8_t *codes = malloc((size_t)t->cols);

  test_must(qtk_qlayout_init(&layout), "layout");
  *q = qtk_qtensor_over(&layout, keep(qtk_qtensor_block_bytes(&layout)));
  for (int64_t r = 0; r < t->rows; r++) {
    test_must(qtk_model_read(model, i, r, 1, w, t->cols), t->name);
    for (int64_t g = 0; g < layout.groups; g++) {
      float low = INFINITY, high = -INFINITY;
      for (int64_t j = g * 16; j < g * 16 + 16; j++) {
        low = fminf(low, w[j]);
        high = fmaxf(high, w[j]);
      }
      qtk_set_scale(q, r, g, (high - low) / 15.0f);
      qtk_set_min(q, r, g, low);
      for (int64_t j = g * 16; j < g * 16 + 16; j++)
        codes[j] = (uint8_t)lrintf((w[j] - low) / ((high - low) / 15.0f));
    }
    qtk_pack_row(q, r, codes);
  }
  free(codes);
  free(w);
}

static void quantize_change(struct qtk_model *model)
{
  for (int i = 0; i < qtk_model_count(model); i++)
    if (qtk_model_tensor(model, i)->linear) {
      struct qtk_qtensor q;
      quantize(model, i, &q);
      test_must(qtk_model_replace(model, i, &q, NULL, NULL), "replace");
    }
}

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
  (void)gradient;
  ((struct toy *)h)->a[i] = *value;
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

static const struct qtk_adapter_ops rescale = {.size = sizeof rescale,
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = rescale_params,
                                               .bind = rescale_bind,
                                               .start = rescale_start,
                                               .forward = rescale_forward};

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
  quantize_change(model);
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
      {"one", &identity, NULL}, {"two", &identity, NULL}, {"three", &identity, NULL}};
  float *found = logits_of(three, 3, quantize_change), *want = logits_of(NULL, 0, quantize_change);

  tap_ok(memcmp(found, want, logits_count() * sizeof *found) == 0,
         "three that change nothing: the same bits");
  free(found);
  free(want);
}

static void sites_two_rescalers(void)
{
  const struct qtk_attached two[] = {{"one", &rescale, NULL}, {"two", &rescale, NULL}};
  struct test_model m = {.ctx = ctx};
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t length = 4;

  test_must(qtk_model_open(ctx, folder, &m.model), folder);
  quantize_change(m.model);
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
  const struct qtk_attached adder = {"add", &add, NULL}, scaler = {"rescale", &rescale, NULL};
  const struct qtk_attached replacer = {"replace", &replace, NULL};
  const struct qtk_attached both[] = {scaler, adder}, passed[] = {{"id", &identity, NULL}, scaler};

  sites_compare("add", &adder, 1, NULL, add_change);
  sites_compare("rescale", &scaler, 1, quantize_change, rescale_change);
  sites_compare("replace", &replacer, 1, NULL, replace_change);
  sites_compare("add on rescale", both, 2, quantize_change, both_change);
  sites_compare("scales that pass through another", passed, 2, quantize_change, rescale_change);
  sites_identity();
  sites_two_rescalers();
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
  const struct qtk_attached adapter = {"refused", &ops, NULL};
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
  toy_begin();
  sites_all();
  refuse_head();
  for (int i = 0; i < keep_n; i++)
    free(keep_memory[i]);
  toy_end();
  return tap_end();
}
