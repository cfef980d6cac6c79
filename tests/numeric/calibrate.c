/* SPDX-License-Identifier: BSD-3-Clause
 * Statistics of a calibration against plain sums over what ordinary passes read, while
 * linears are replaced one after the other; and the same bits however the work is cut. */
#include <math.h>

#include "core/arch.h"
#include "core/calibrate.h"
#include "record.h"

static const char *const families[] = {"llama",   "mistral", "qwen2", "gpt2",
                                       "gpt_neo", "gptj",    "opt",   "opt_postln"};
#define FAMILIES (sizeof families / sizeof families[0])
#define TOKENS 700
#define SAMPLES 7
#define LENGTH 40
#define ROLES QTK_ROLE_LINEARS

static int32_t tokens[TOKENS];
static struct qtk_text text = {.name = "seeded", .ids = {.ids = tokens, .n = TOKENS}};

static const char *calibrate_path(const char *family)
{
  char name[64];

  snprintf(name, sizeof name, "nano/%s", family);
  return test_data(name);
}

/* ---- replacing ------------------------------------------------------------------------ */

/* Dense weights that live as long as the program's test of one family. */
static float *replaced[64];
static int n_replaced;

static int calibrate_tensor(const struct qtk_model *m, int layer, int role)
{
  for (int i = 0; i < qtk_model_count(m); i++) {
    const struct qtk_arch_tensor *t = qtk_arch_tensor(qtk_model_arch(m), i);
    if (t->layer == layer && (int)t->role == role && t->ndim == 2)
      return i;
  }
  return -1;
}

/* Weights rounded to a few values. */
static void calibrate_replace(struct qtk_model *m, int i)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(m, i);
  struct qtk_qtensor view = {.layout = {.encoding = QTK_DENSE, .rows = t->rows, .cols = t->cols}};
  size_t n = (size_t)(t->rows * t->cols);
  float *w = malloc(n * sizeof *w);

  view.layout.dtype = QTK_F32;
  test_must(qtk_qlayout_init(&view.layout), "layout");
  test_must(qtk_model_read(m, i, 0, t->rows, w, t->cols), "read");
  for (size_t k = 0; k < n; k++)
    w[k] = 0.04f * rintf(w[k] / 0.04f);
  view.codes = w;
  replaced[n_replaced++] = w;
  test_must(qtk_model_replace(m, i, &view, "test", NULL), "replace");
}

static void calibrate_forget(void)
{
  while (n_replaced > 0)
    free(replaced[--n_replaced]);
}

/* ---- truth -------------------------------------------------------------------------------- */

/* The largest difference of `sum` from sum a bT, by what the entry could be at most. */
static double calibrate_distance(const float *sum, const struct record *a, const struct record *b)
{
  int64_t n = b->cols;
  double worst = 0.0;

  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double s = 0.0, aa = 0.0, bb = 0.0;
      for (int64_t t = 0; t < b->rows; t++) {
        double x = b->x[t * n + j], y = b->x[t * n + i];
        double d = a == NULL ? y : (double)a->x[t * n + i] - y;
        s += d * x;
        aa += d * d;
        bb += x * x;
      }
      worst = fmax(worst, fabs(sum[i * n + j] - s) / sqrt(aa * bb + 1e-30));
    }
  return worst;
}

/* A copy of what linear `role` of a block reads over the calibration's windows, in the
 * model as it is. */
static struct record calibrate_record(struct qtk_context *ctx, struct qtk_model *m, int layer,
                                      int role)
{
  int64_t starts[SAMPLES];
  const int32_t *windows[SAMPLES];

  test_must(qtk_text_sample(ctx, &text, LENGTH, SAMPLES, starts), "sample");
  for (int i = 0; i < SAMPLES; i++)
    windows[i] = tokens + starts[i];
  record_windows(ctx, m, windows, SAMPLES, LENGTH);
  const struct record *found = record_find(layer, qtk_role_name(role));
  struct record copy = found != NULL ? *found : (struct record){0};
  if (found != NULL) {
    size_t bytes = (size_t)(copy.rows * copy.cols) * sizeof(float);
    copy.x = memcpy(malloc(bytes), found->x, bytes);
  }
  record_forget();
  return copy;
}

/* ---- a family ------------------------------------------------------------------------------- */

struct trial {
  struct qtk_context *ctx;
  struct qtk_model *model, *source;
  struct qtk_calibrator *c;
  int layer;
  double worst, worst_cross;
  int inputs;
  struct record floats[ROLES]; /* what the source's linears read */
};

static void trial_compare(struct trial *t, int role)
{
  struct record r = calibrate_record(t->ctx, t->model, t->layer, role);
  struct qtk_calibration s;

  qtk_calibrator_statistics(t->c, role, &s);
  t->worst = fmax(t->worst, calibrate_distance(s.gram, NULL, &r));
  t->worst_cross = fmax(t->worst_cross, calibrate_distance(s.cross, &t->floats[role], &r));
  t->inputs += s.tokens == SAMPLES * LENGTH && s.sequences == SAMPLES;
  free(r.x);
}

/* Statistics of one role after the other, each of which is then replaced. */
static void trial_block(struct trial *t)
{
  unsigned changing = 0;

  for (int role = 0; role < ROLES; role++) {
    if (calibrate_tensor(t->model, t->layer, role) < 0)
      continue;
    changing |= 1u << role;
    t->floats[role] = calibrate_record(t->ctx, t->source, t->layer, role);
  }
  test_must(qtk_calibrator_enter(t->c, t->layer, changing), "enter");
  for (int role = 0; role < ROLES; role++) {
    struct qtk_watch watch = {.role = role, .needs = QTK_NEEDS_GRAM | QTK_NEEDS_CROSS};
    int tensor = calibrate_tensor(t->model, t->layer, role);
    if (tensor < 0)
      continue;
    test_must(qtk_calibrator_run(t->c, &watch, 1), "run");
    trial_compare(t, role);
    qtk_calibrator_replace(t->c, tensor);
    calibrate_replace(t->model, tensor);
    free(t->floats[role].x);
  }
}

static void calibrate_family(const char *family)
{
  struct qtk_calibrator_options options = {.samples = SAMPLES, .length = LENGTH, .cross = 1,
                                           .keep = 1 << 30};
  struct trial t = {.ctx = test_context(2, 0)};

  test_must(qtk_model_open(t.ctx, calibrate_path(family), &t.model), family);
  test_must(qtk_model_open(t.ctx, calibrate_path(family), &t.source), family);
  test_must(qtk_calibrator_open(t.ctx, t.model, t.source, &text, &options, &t.c), "open");
  for (; t.layer < 2; t.layer++)
    trial_block(&t);
  tap_ok(t.inputs >= 8 && t.worst < 1e-6, "%s: H of %d inputs: %.1e from a plain sum", family,
         t.inputs, t.worst);
  tap_ok(t.worst_cross < 1e-5, "%s: C: %.1e from a plain sum", family, t.worst_cross);
  qtk_calibrator_close(t.c);
  qtk_model_close(t.model);
  qtk_model_close(t.source);
  test_context_close(t.ctx);
  calibrate_forget();
}

/* ---- the same bits ----------------------------------------------------------------------------- */

/* A running digest of all statistics of a model whose linears are replaced in their order. */
static uint64_t calibrate_hash(uint64_t hash, const float *x, int64_t n)
{
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    hash = (hash ^ bits) * UINT64_C(0x100000001b3);
  }
  return hash;
}

static uint64_t calibrate_bits(const char *family, int threads, const char *spill, uint64_t keep,
                               const unsigned *rounds, int n_rounds)
{
  struct qtk_calibrator_options options = {.samples = SAMPLES, .length = LENGTH, .spill = spill,
                                           .keep = keep};
  struct qtk_context *ctx = test_context(threads, 0);
  struct qtk_model *model;
  struct qtk_calibrator *c;
  uint64_t hash = UINT64_C(0xcbf29ce484222325);

  test_must(qtk_model_open(ctx, calibrate_path(family), &model), family);
  test_must(qtk_calibrator_open(ctx, model, NULL, &text, &options, &c), "open");
  for (int layer = 0; layer < 2; layer++) {
    unsigned changing = 0;
    for (int role = 0; role < ROLES; role++)
      changing |= calibrate_tensor(model, layer, role) >= 0 ? 1u << role : 0;
    test_must(qtk_calibrator_enter(c, layer, changing), "enter");
    for (int r = 0; r < n_rounds; r++) {
      struct qtk_watch watches[ROLES];
      size_t n = 0;
      for (int role = 0; role < ROLES; role++)
        if (changing & rounds[r] & 1u << role)
          watches[n++] = (struct qtk_watch){.role = role, .needs = QTK_NEEDS_GRAM};
      test_must(qtk_calibrator_run(c, watches, n), "run");
      for (size_t k = 0; k < n; k++) {
        int tensor = calibrate_tensor(model, layer, watches[k].role);
        int64_t cols = qtk_model_tensor(model, tensor)->cols;
        struct qtk_calibration s;
        qtk_calibrator_statistics(c, watches[k].role, &s);
        hash = calibrate_hash(hash, s.gram, cols * cols);
        qtk_calibrator_replace(c, tensor);
        calibrate_replace(model, tensor);
      }
    }
  }
  qtk_calibrator_close(c);
  qtk_model_close(model);
  test_context_close(ctx);
  calibrate_forget();
  return hash;
}

#define QKV (1u << QTK_ROLE_Q | 1u << QTK_ROLE_K | 1u << QTK_ROLE_V | 1u << QTK_ROLE_QKV)
#define UPS (1u << QTK_ROLE_GATE | 1u << QTK_ROLE_UP | 1u << QTK_ROLE_GATE_UP)
#define ALL (QKV | 1u << QTK_ROLE_O | UPS | 1u << QTK_ROLE_DOWN)

static void calibrate_same(const char *family)
{
  static const unsigned rounds[] = {QKV, 1u << QTK_ROLE_O, UPS, 1u << QTK_ROLE_DOWN}, once = ALL;
  uint64_t first = calibrate_bits(family, 1, NULL, 1 << 30, rounds, 4);

  tap_ok(calibrate_bits(family, 2, NULL, 1 << 30, rounds, 4) == first &&
             calibrate_bits(family, 3, NULL, 1 << 30, rounds, 4) == first,
         "%s: 1, 2 and 3 threads: the same bits", family);
  tap_ok(calibrate_bits(family, 2, NULL, 0, rounds, 4) == first,
         "%s: nothing kept inside a block: the same bits", family);
  tap_ok(calibrate_bits(family, 2, NULL, 100000, rounds, 4) == first,
         "%s: some of it kept: the same bits", family);
  tap_ok(calibrate_bits(family, 2, ".", 1 << 30, rounds, 4) == first,
         "%s: hidden states in a file: the same bits", family);
  tap_ok(calibrate_bits(family, 2, NULL, 1 << 30, &once, 1) != first,
         "%s: all at once: other bits", family);
}

int main(void)
{
  for (int i = 0; i < TOKENS; i++)
    tokens[i] = (i * i + 37 * i + 11) % 300;
  for (size_t i = 0; i < FAMILIES; i++)
    calibrate_family(families[i]);
  calibrate_same("llama");
  calibrate_same("gptj");
  calibrate_same("opt_postln");
  return tap_end();
}
