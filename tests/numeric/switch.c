/* SPDX-License-Identifier: BSD-3-Clause
 * Several adapters on one running model, of which one takes part at a time: a switch gives the
 * bits of an engine that has that one alone, and what an adapter is bound to. */
#include "toy.h"

/* ---- one that changes the hidden states ------------------------------------------------ */

static enum qtk_claim shift_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options, (void)t;
  return QTK_CLAIM_NONE;
}

static int shift_attach(struct qtk_context *c, const void *options,
                        const struct qtk_model_info *model, const struct qtk_site *sites, int n,
                        void **h)
{
  (void)c, (void)options, (void)model, (void)sites, (void)n;
  *h = calloc(1, 1);
  return QTK_OK;
}

static int shift_mix(struct qtk_context *c, void *h, struct qtk_session *s,
                     struct qtk_tensor *hidden)
{
  float *x = hidden->data;

  (void)c, (void)h, (void)s;
  for (int64_t i = 0; i < qtk_tensor_rows(hidden) * hidden->stride; i++)
    x[i] += 0.25f;
  return QTK_OK;
}

static const struct qtk_adapter_ops shift = {.size = sizeof shift,
                                             .claim = shift_claim,
                                             .attach = shift_attach,
                                             .detach = toy_detach,
                                             .mix = shift_mix};

/* ---- adapters with values ------------------------------------------------------------------ */

#define TUNED 3

static const struct {
  const char *plugin, *options;
} recipes[TUNED] = {{"peqa", ""}, {"peqa", "relative = true\n"}, {"lora", "rank = 4\n"}};

static double noise(uint64_t i)
{
  i = (i + 1) * 6364136223846793005u;
  i = (i ^ i >> 31) * 1442695040888963407u;
  return (double)(i >> 40) / (1 << 24) - 0.5;
}

static struct qtk_tuned *make_empty(int i)
{
  const struct qtk_loaded *plugin;
  struct qtk_tuned *t;

  test_must(qtk_registry_get(QTK_ADAPTER, recipes[i].plugin, &plugin), recipes[i].plugin);
  test_must(qtk_tuned_new(ctx, recipes[i].plugin, plugin, recipes[i].options, NULL, &t), "tuned");
  return t;
}

/* Values that are not those of the start, in their types on disk. */
static struct qtk_tuned *make_tuned(struct qtk_model *model, int i)
{
  struct qtk_tuned *t = make_empty(i);
  struct qtk_attached attached = qtk_attached_of(t);
  struct qtk_tensor value;
  struct qtk_param param;
  struct qtk_engine *e;

  attached.tuned = NULL;
  test_must(qtk_engine_open(ctx, model, &attached, 1, &e), "engine");
  for (int k = 0; qtk_engine_param(e, 0, k, &param, &value); k++)
    for (int64_t j = 0; j < qtk_tensor_rows(&value) * qtk_tensor_cols(&value); j++)
      ((float *)value.data)[j] += 0.2f * (float)noise((uint64_t)(j + 1000 * k + 100000 * i));
  test_must(qtk_engine_changed(e, 0, 0), "changed");
  test_must(qtk_engine_save(e, 0, t), "save");
  qtk_engine_close(e);
  return t;
}

static float *logits(struct qtk_engine *e, int64_t vocabulary)
{
  struct test_model m = {.engine = e, .vocabulary = vocabulary};

  return test_logits(&m, ids, n_ids, positions, POSITIONS);
}

static float *logits_alone(struct qtk_model *model, const struct qtk_attached *attached)
{
  struct qtk_engine *e;

  test_must(qtk_engine_open(ctx, model, attached, attached != NULL, &e), "engine");
  float *out = logits(e, qtk_model_info(model)->vocabulary);
  qtk_engine_close(e);
  return out;
}

static int same(const float *a, const float *b)
{
  return memcmp(a, b, logits_count() * sizeof *a) == 0;
}

/* ---- switching --------------------------------------------------------------------------------- */

#define ALL (TUNED + 1)

static void switch_tour(struct qtk_engine *e, int64_t vocabulary, float *const *alone)
{
  static const int tour[] = {0, 1, 0, -1, 2, 3, -1, 1, 2, 0};

  for (size_t i = 0; i < sizeof tour / sizeof *tour; i++) {
    char on[ALL] = {0};
    if (tour[i] >= 0)
      on[tour[i]] = 1;
    test_must(qtk_engine_select(e, on), "select");
    float *now = logits(e, vocabulary);
    tap_ok(same(now, alone[tour[i] + 1]), "%s: the bits of an engine with it alone",
           tour[i] < 0 ? "off" : tour[i] < TUNED ? recipes[tour[i]].plugin : "a mix");
    free(now);
  }
}

static void switch_stack(struct qtk_model *model, struct qtk_engine *e,
                         const struct qtk_attached *attached)
{
  struct qtk_attached two[] = {attached[1], attached[2]};
  const char on[ALL] = {0, 1, 1, 0}, both[ALL] = {1, 1, 0, 0};
  struct qtk_tensor hidden;
  struct qtk_session *s;
  struct qtk_engine *other;
  int64_t length = 4;

  two[0].off = two[1].off = 0;
  test_must(qtk_engine_select(e, on), "select");
  float *a = logits(e, qtk_model_info(model)->vocabulary);
  test_must(qtk_engine_open(ctx, model, two, 2, &other), "engine");
  float *b = logits(other, qtk_model_info(model)->vocabulary);
  tap_ok(same(a, b), "two on at once: the bits of an engine with the two");
  qtk_engine_close(other);
  free(a);
  free(b);
  test_must(qtk_engine_select(e, both), "select");
  test_must(qtk_session_new(e, 1, 0, &s), "session");
  int rc = qtk_session_forward(s, ids, &length, &hidden);
  tap_ok(rc == QTK_EPLUGIN, "two that set scales at once: %s", qtk_error_message());
  qtk_session_free(s);
}

static void switch_all(void)
{
  struct qtk_model *model;
  struct qtk_attached attached[ALL] = {{.name = "shift", .ops = &shift}};
  struct qtk_tuned *tuned[TUNED];
  struct qtk_engine *e;
  float *alone[ALL + 1];

  test_must(qtk_model_open(ctx, folder, &model), folder);
  toy_quantize(model);
  attached[TUNED] = attached[0];
  for (int i = 0; i < TUNED; i++) {
    tuned[i] = make_tuned(model, i);
    attached[i] = qtk_attached_of(tuned[i]);
  }
  alone[0] = logits_alone(model, NULL);
  for (int i = 0; i < ALL; i++)
    alone[i + 1] = logits_alone(model, &attached[i]);
  for (int i = 0; i < ALL; i++)
    for (int k = 0; k <= i; k++)
      if (same(alone[i + 1], alone[k]))
        tap_ok(0, "adapters %d and %d do the same", i, k - 1);
  for (int i = 0; i < ALL; i++)
    attached[i].off = 1;
  test_must(qtk_engine_open(ctx, model, attached, ALL, &e), "engine");
  float *off = logits(e, qtk_model_info(model)->vocabulary);
  tap_ok(same(off, alone[0]), "all attached and off: the bits of the base");
  free(off);
  switch_tour(e, qtk_model_info(model)->vocabulary, alone);
  switch_stack(model, e, attached);
  qtk_engine_close(e);
  for (int i = 0; i <= ALL; i++)
    free(alone[i]);
  for (int i = 0; i < TUNED; i++)
    qtk_tuned_free(tuned[i]);
  qtk_model_close(model);
}

/* ---- what an adapter is bound to -------------------------------------------------------------- */

static struct qtk_model *bound_model(int quantized)
{
  struct qtk_model *m;

  test_must(qtk_model_open(ctx, folder, &m), folder);
  if (quantized)
    toy_quantize(m);
  return m;
}

static struct qtk_tuned *bound_tuned(struct qtk_model *model, int i)
{
  struct qtk_tuned *t = make_tuned(model, i);

  test_must(qtk_model_bind(ctx, model, t), "bind");
  return t;
}

/* Both digests stand in the message. */
static int bound_says(const struct qtk_tuned *t, struct qtk_model *m)
{
  char hex[QTK_DIGEST_HEX];

  test_must(qtk_model_tuned_digest(ctx, m, hex), "digest");
  return strstr(qtk_error_message(), t->base) != NULL && strstr(qtk_error_message(), hex) != NULL &&
         strstr(qtk_error_message(), t->base_name) != NULL &&
         strstr(qtk_error_message(), "--force") != NULL;
}

/* The base is its own, but for what lies on it. */
static int bound_names(const struct qtk_tuned *between)
{
  char name[64];

  snprintf(name, sizeof name, "without \"%s\"", between->name);
  return strstr(qtk_error_message(), name) != NULL && strstr(qtk_error_message(), "--force") != NULL;
}

static void bound_order(void)
{
  struct qtk_model *m = bound_model(1), *other = bound_model(1), *plain = bound_model(0);
  struct qtk_tuned *low = bound_tuned(m, 1), *first = bound_tuned(m, 2);

  tap_ok(qtk_model_check_bound(ctx, other, low, 0) == QTK_OK, "the same integers opened again");
  int rc = qtk_model_check_bound(ctx, plain, first, 0);
  tap_ok(rc == QTK_EMISMATCH && bound_says(first, plain) && !first->forced,
         "refused on another base: %s", qtk_error_message());
  tap_ok(qtk_model_check_bound(ctx, plain, first, 1) == QTK_OK && first->forced,
         "forced onto it, and says so");
  test_must(qtk_model_adapt(ctx, m, low, 0), "adapt");
  rc = qtk_model_check_bound(ctx, m, first, 0);
  tap_ok(rc == QTK_EMISMATCH && bound_names(low) && !strstr(qtk_error_message(), "another base"),
         "refused on top of one that it was not trained on: %s", qtk_error_message());
  struct qtk_tuned *high = bound_tuned(m, 2);
  rc = qtk_model_check_bound(ctx, other, high, 0);
  tap_ok(rc == QTK_EMISMATCH && bound_says(high, other), "refused without the one under it");
  test_must(qtk_model_adapt(ctx, m, high, 0), "adapt");
  tap_ok(qtk_model_tuned(m, 1) == high && qtk_model_tuned(m, 2) == NULL, "two lie on the model");
  qtk_model_unadapt(m);
  tap_ok(qtk_model_tuned(m, 0) == NULL, "and none when they are merged");
  qtk_tuned_free(first);
  qtk_model_close(m);
  qtk_model_close(other);
  qtk_model_close(plain);
}

static void bound_rest(void)
{
  struct qtk_model *m = bound_model(1);
  struct qtk_tuned *t = bound_tuned(m, 2);

  t->tokenizer[5] ^= 1;
  tap_ok(qtk_model_check_bound(ctx, m, t, 0) == QTK_EMISMATCH &&
             strstr(qtk_error_message(), "tokenizer") != NULL,
         "another tokenizer: %s", qtk_error_message());
  t->tokenizer[0] = '\0';
  tap_ok(qtk_model_check_bound(ctx, m, t, 0) == QTK_OK, "a tokenizer that is not known");
  t->base[0] = '\0';
  qtk_model_unadapt(m);
  tap_ok(qtk_model_adapt(ctx, m, t, 0) == QTK_OK && !t->forced, "a base that is not known");
  qtk_model_close(m);
}

int main(void)
{
  toy_begin();
  switch_all();
  bound_order();
  bound_rest();
  toy_end();
  return tap_end();
}
