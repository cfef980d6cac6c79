/* SPDX-License-Identifier: BSD-3-Clause
 * The quantizer optq against its definition in float64, and against what must hold for it:
 * the error of the output is that of the loss, below that of rounding, whatever the order of
 * the columns; inputs that never or hardly vary are no obstacle. */
#include <stdio.h>

#include "core/registry.h"
#include "model.h"
#include "optq-slow.h"

static struct qtk_context *ctx;
static const struct qtk_loaded *optq, *rtn;
static uint64_t state = 1;

static double uniform(void)
{
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) * 0x1p-53;
}

static double normal(void)
{
  return sqrt(-2 * log(1 - uniform())) * cos(6.283185307179586 * uniform());
}

/* ---- options ------------------------------------------------------------------------- */

static char options_memory[256];

static void set(const struct qtk_loaded *plugin, const char *name, double number, const char *text)
{
  for (const struct qtk_option *o = plugin->plugin.options; o->name; o++) {
    void *field = options_memory + o->offset;
    if (name && strcmp(o->name, name) != 0)
      continue;
    if (o->type == QTK_OPTION_INT)
      *(int64_t *)field = (int64_t)(name ? number : o->number);
    else if (o->type == QTK_OPTION_FLOAT)
      *(double *)field = name ? number : o->number;
    else if (o->type == QTK_OPTION_BOOL)
      *(int *)field = (int)(name ? number : o->number);
    else
      *(const char **)field = name ? text : o->text;
  }
}

/* Defaults, and min-max grids. */
static void plain(const struct qtk_loaded *plugin)
{
  set(plugin, NULL, 0, NULL);
  set(plugin, "search", 0, NULL);
}

/* ---- a linear and its inputs ------------------------------------------------------------- */

struct data {
  int64_t rows, cols, tokens;
  float *w, *gram, *cross;
  double *h, *d; /* 2 / SEQUENCES times gram and cross */
};

#define SEQUENCES 4

/* Inputs that are correlated, some ten times as strong as others. `drift`: those of the
 * float model differ from them. */
static void inputs(struct data *t, double drift)
{
  int64_t n = t->cols;
  double *x = slow_room(n), *y = slow_room(n), *mix = slow_room(n * 4);
  for (int64_t i = 0; i < n * 4; i++)
    mix[i] = normal();
  for (int64_t k = 0; k < t->tokens; k++) {
    double common[4] = {normal(), normal(), normal(), normal()};
    for (int64_t i = 0; i < n; i++) {
      x[i] = normal();
      for (int c = 0; c < 4; c++)
        x[i] += 0.5 * mix[i * 4 + c] * common[c];
      x[i] *= i % 17 == 5 ? 10 : 1;
      y[i] = x[i] + drift * normal() + 0.5 * drift * common[0] * mix[i * 4];
    }
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++) {
        t->h[i * n + j] += x[i] * x[j];
        t->d[i * n + j] += (y[i] - x[i]) * x[j];
      }
  }
  for (int64_t i = 0; i < n * n; i++) {
    t->gram[i] = (float)t->h[i];
    t->cross[i] = (float)t->d[i];
    t->h[i] = 2.0 / SEQUENCES * (double)t->gram[i];
    t->d[i] = 2.0 / SEQUENCES * (double)t->cross[i];
  }
  free(x);
  free(y);
  free(mix);
}

static struct data data_new(int64_t rows, int64_t cols, int64_t tokens, double drift)
{
  struct data t = {.rows = rows, .cols = cols, .tokens = tokens};
  t.w = calloc((size_t)(rows * cols), sizeof *t.w);
  t.gram = calloc((size_t)(cols * cols), sizeof *t.gram);
  t.cross = calloc((size_t)(cols * cols), sizeof *t.cross);
  t.h = slow_room(cols * cols);
  t.d = slow_room(cols * cols);
  for (int64_t i = 0; i < rows * cols; i++)
    t.w[i] = (float)(0.05 * normal());
  inputs(&t, drift);
  return t;
}

static void data_free(struct data *t)
{
  free(t->w);
  free(t->gram);
  free(t->cross);
  free(t->h);
  free(t->d);
}

/* ---- results -------------------------------------------------------------------------------- */

struct result {
  int rc;
  float *what;
  struct qtk_qlayout layout;
  int32_t g_idx[512];
  struct qtk_quantize_result told;
};

static struct result quantize(const struct qtk_loaded *plugin, const struct data *t)
{
  const struct qtk_quantizer_ops *ops = &plugin->ops.quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = t->rows, .cols = t->cols};
  struct qtk_calibration c = {t->gram, t->cross, t->tokens, SEQUENCES, NULL};
  struct result r = {.layout = {.rows = t->rows, .cols = t->cols}};
  size_t n = (size_t)(t->rows * t->cols);
  float *copy = calloc(n, sizeof *copy);
  void *block;

  test_must(ops->describe(options_memory, &linear, &r.layout), "describe");
  test_must(qtk_qlayout_init(&r.layout), "layout");
  block = qtk_alloc(ctx, qtk_qtensor_block_bytes(&r.layout), "weights");
  struct qtk_qtensor out = qtk_qtensor_over(&r.layout, block);
  memcpy(copy, t->w, n * sizeof *copy);
  r.what = calloc(n, sizeof *r.what);
  r.rc = ops->quantize(ctx, options_memory, &linear, copy, &c, &out, &r.told);
  test_must(qtk_dequantize_rows(&out, NULL, 0, t->rows, r.what, t->cols), "rows");
  for (int64_t j = 0; j < t->cols && out.g_idx; j++)
    r.g_idx[j] = out.g_idx[j];
  qtk_free(ctx, block);
  free(copy);
  return r;
}

/* 0.5 tr ((w - what) H (w - what)T), and `damping` of the mean diagonal added to H's. */
static double output_error(const struct data *t, const float *what, double damping)
{
  int64_t n = t->cols;
  double mean = 0, sum = 0, *e = slow_room(n);
  for (int64_t i = 0; i < n; i++)
    mean += t->h[i * (n + 1)] / (double)n;
  for (int64_t r = 0; r < t->rows; r++) {
    for (int64_t i = 0; i < n; i++)
      e[i] = (double)t->w[r * n + i] - (double)what[r * n + i];
    for (int64_t i = 0; i < n; i++) {
      double own = damping * mean * e[i];
      for (int64_t j = 0; j < n; j++)
        own += t->h[i * n + j] * e[j];
      sum += 0.5 * e[i] * own;
    }
  }
  free(e);
  return sum;
}

static double largest_difference(const float *a, const double *b, int64_t n, int64_t *differ)
{
  double worst = 0;
  *differ = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = fabs((double)a[i] - b[i]);
    worst = fmax(worst, d);
    *differ += d > 1e-4;
  }
  return worst;
}

/* ---- against the definition ------------------------------------------------------------------- */

struct like {
  const char *name;
  int64_t rows, cols, group;
  int bits, symmetric, half;
  const char *reorder;
  int fixed;
  double damping, correction;
};

/* Widths that neither 32 nor 128 divides; groups that end inside blocks, before them and at
 * them; a last group that is shorter. */
static const struct like likes[] = {
    {"4 bits, a group a row", 40, 300, -1, 4, 0, 0, "none", 0, 0.01, 0},
    {"3 bits, groups of 32", 40, 300, 32, 3, 0, 0, "none", 0, 0.01, 0},
    {"3 bits, groups of 64, f16", 40, 300, 64, 3, 0, 1, "none", 0, 0.01, 0},
    {"2 bits, groups of 128", 40, 300, 128, 2, 0, 0, "none", 0, 0.01, 0},
    {"4 bits, groups of 100", 33, 300, 100, 4, 0, 0, "none", 0, 0.01, 0},
    {"4 bits, groups of 200", 33, 500, 200, 4, 0, 0, "none", 0, 0.01, 0},
    {"4 bits, groups of 48", 7, 131, 48, 4, 0, 0, "none", 0, 0.01, 0},
    {"4 bits, groups wider than the row", 7, 131, 1000, 4, 0, 0, "none", 0, 0.1, 0},
    {"8 bits, symmetric", 16, 131, 32, 8, 1, 0, "none", 0, 0.01, 0},
    {"3 bits, symmetric, f16", 16, 131, 32, 3, 1, 1, "none", 0, 0.01, 0},
    {"4 bits, by activation, a group a row", 40, 300, -1, 4, 0, 0, "activation", 0, 0.01, 0},
    {"4 bits, by activation, groups of 32", 40, 300, 32, 4, 0, 0, "activation", 0, 0.01, 0},
    {"4 bits, by activation, static groups of 32", 40, 300, 32, 4, 0, 0, "activation", 1, 0.01, 0},
    {"4 bits, static groups of 48", 40, 300, 48, 4, 0, 0, "none", 1, 0.01, 0},
    {"4 bits, drift corrected, a group a row", 40, 300, -1, 4, 0, 0, "none", 0, 0.01, 0.25},
    {"4 bits, drift corrected, groups of 32", 40, 300, 32, 4, 0, 0, "none", 0, 0.01, 1},
};

static void set_like(const struct like *l)
{
  plain(optq);
  set(optq, "bits", l->bits, NULL);
  set(optq, "group", (double)l->group, NULL);
  set(optq, "symmetric", l->symmetric, NULL);
  set(optq, "scales", 0, l->half ? "f16" : "f32");
  set(optq, "reorder", 0, l->reorder);
  set(optq, "static_groups", l->fixed, NULL);
  set(optq, "damping", l->damping, NULL);
  set(optq, "correction", l->correction, NULL);
}

static struct slow slow_like(const struct like *l, const struct data *t, double *w)
{
  for (int64_t i = 0; i < t->rows * t->cols; i++)
    w[i] = (double)t->w[i];
  return (struct slow){.rows = t->rows, .cols = t->cols, .w = w, .h = t->h, .d = t->d,
                       .group = l->group < 1 || l->group > t->cols ? t->cols : l->group,
                       .bits = l->bits, .symmetric = l->symmetric, .half = l->half,
                       .activation = strcmp(l->reorder, "activation") == 0, .fixed = l->fixed,
                       .damping = l->damping, .correction = l->correction};
}

/* Float32 turns a weight that lies between two codes the other way now and then, and what
 * follows in its row with it: results are the same but for a few rows, and a few more at 8
 * bits, where codes lie sixteen times as close as at 4. */
static int64_t rows_that_differ(const struct data *t, const float *what, const double *slow)
{
  int64_t rows = 0, differ;
  for (int64_t i = 0; i < t->rows; i++) {
    largest_difference(what + i * t->cols, slow + i * t->cols, t->cols, &differ);
    rows += differ > 0;
  }
  return rows;
}

static void same_as_definition(const struct like *l)
{
  struct data t = data_new(l->rows, l->cols, 4 * l->cols, l->correction > 0 ? 0.2 : 0);
  double *w = slow_room(l->rows * l->cols);
  struct slow slow = slow_like(l, &t, w);
  set_like(l);
  struct result r = quantize(optq, &t);
  slow_optq(&slow);
  int64_t rows = rows_that_differ(&t, r.what, slow.what);
  double damped = output_error(&t, r.what, l->damping), own = r.told.objective;
  tap_ok(r.rc == QTK_OK && rows * (l->bits == 8 ? 4 : 10) <= l->rows, "%s: %lld of %lld rows differ from the definition",
         l->name, (long long)rows, (long long)l->rows);
  tap_ok(fabs(own / slow.objective - 1) < 0.01, "%s: the loss %g is that of the definition, %g",
         l->name, own, slow.objective);
  if (l->correction == 0)
    tap_ok(fabs(own / damped - 1) < 1e-3, "%s: the loss %g is the error of the output, %g", l->name,
           own, damped);
  free(slow.what);
  free(w);
  free(r.what);
  data_free(&t);
}

/* The reference implementation chooses the grids inside a block from weights that the
 * block's errors have not reached. Ours is the other way; for groups of whole blocks there
 * is no difference. */
static void stale_grids(void)
{
  struct like at_block = {"", 40, 300, 128, 3, 0, 0, "none", 0, 0.01, 0}, inside = at_block;
  struct data t = data_new(40, 300, 1200, 0);
  double *w = slow_room(40 * 300);
  inside.group = 32;
  for (int i = 0; i < 2; i++) {
    struct slow slow = slow_like(i ? &inside : &at_block, &t, w);
    slow.stale = 1;
    set_like(i ? &inside : &at_block);
    struct result r = quantize(optq, &t);
    slow_optq(&slow);
    int64_t rows = rows_that_differ(&t, r.what, slow.what);
    tap_ok(i ? rows > 30 && r.told.objective < 1.2 * slow.objective : rows <= 4,
           "groups of %d: %lld of 40 rows differ from the reference's way, losses %g and %g",
           i ? 32 : 128, (long long)rows, r.told.objective, slow.objective);
    free(slow.what);
    free(r.what);
  }
  free(w);
  data_free(&t);
}

/* ---- what must hold --------------------------------------------------------------------------- */

static void orthogonal_inputs(void)
{
  static const int64_t groups[] = {-1, 32, 100};
  struct data t = data_new(40, 300, 300, 0);
  for (int64_t i = 0; i < 300 * 300; i++)
    t.gram[i] = i % 301 == 0 ? 7.0f : 0.0f;
  for (int g = 0; g < 3; g++) {
    plain(optq);
    set(optq, "group", (double)groups[g], NULL);
    struct result a = quantize(optq, &t);
    plain(rtn);
    set(rtn, "group", (double)groups[g], NULL);
    struct result b = quantize(rtn, &t);
    tap_ok(memcmp(a.what, b.what, 40 * 300 * sizeof *a.what) == 0,
           "inputs without correlation, group %lld: rounding to nearest, bit by bit",
           (long long)groups[g]);
    tap_ok(fabs(a.told.condition - 1) < 1e-3, "inputs without correlation: condition %g",
           a.told.condition);
    free(a.what);
    free(b.what);
  }
  data_free(&t);
}

static void below_rounding(void)
{
  int better = 0;
  double sums[2] = {0, 0};
  for (int i = 0; i < 20; i++) {
    struct data t = data_new(16, 130, 400, 0);
    const struct qtk_loaded *plugins[] = {optq, rtn};
    double error[2];
    for (int k = 0; k < 2; k++) {
      plain(plugins[k]);
      set(plugins[k], "bits", i % 2 ? 3 : 4, NULL);
      struct result r = quantize(plugins[k], &t);
      error[k] = output_error(&t, r.what, 0);
      sums[k] += error[k];
      free(r.what);
    }
    better += error[0] <= error[1];
    data_free(&t);
  }
  tap_ok(better >= 19 && sums[0] < 0.8 * sums[1],
         "%d of 20 layers have a smaller error than by rounding; all together %g to %g", better,
         sums[0], sums[1]);
}

/* Columns of the inputs and the weights change places: so does the result. */
static void permuted_inputs(void)
{
  enum { N = 150, ROWS = 24 };
  struct data t = data_new(ROWS, N, 600, 0), moved = data_new(ROWS, N, 1, 0);
  int64_t differ = 0;
  for (int64_t i = 0; i < N; i++)
    for (int64_t j = 0; j < N; j++)
      moved.gram[i * N + j] = t.gram[i * 7 % N * N + j * 7 % N];
  for (int64_t r = 0; r < ROWS; r++)
    for (int64_t j = 0; j < N; j++)
      moved.w[r * N + j] = t.w[r * N + j * 7 % N];
  plain(optq);
  set(optq, "reorder", 0, "activation");
  struct result a = quantize(optq, &t), b = quantize(optq, &moved);
  for (int64_t r = 0; r < ROWS; r++)
    for (int64_t j = 0; j < N; j++)
      differ += fabsf(b.what[r * N + j] - a.what[r * N + j * 7 % N]) > 1e-5f;
  tap_ok(differ == 0, "by activation: whatever the order of the inputs; %lld weights differ",
         (long long)differ);
  tap_ok(a.layout.has_g_idx && a.g_idx[5] != a.g_idx[6], "by activation: columns name their groups");
  free(a.what);
  set(optq, "static_groups", 1, NULL);
  a = quantize(optq, &t);
  tap_ok(!a.layout.has_g_idx, "by activation, static groups: groups stay where they are");
  free(a.what);
  free(b.what);
  data_free(&t);
  data_free(&moved);
}

/* Groups by the strength of their inputs: below the natural order. */
static void ordered_groups(void)
{
  static const char *const ways[] = {"none", "groups", "activation"};
  double error[3] = {0};
  for (int i = 0; i < 6; i++) {
    struct data t = data_new(16, 200, 600, 0);
    for (int k = 0; k < 3; k++) {
      plain(optq);
      set(optq, "bits", 3, NULL);
      set(optq, "reorder", 0, ways[k]);
      struct result r = quantize(optq, &t);
      error[k] += output_error(&t, r.what, 0);
      if (k == 1 && i == 0)
        tap_ok(r.rc == QTK_OK && !r.layout.has_g_idx, "reorder groups: groups stay where they are");
      free(r.what);
    }
    data_free(&t);
  }
  tap_ok(error[1] < error[0] && error[2] < error[0],
         "errors: %g as columns stand, %g with groups in order, %g by activation", error[0],
         error[1], error[2]);
}

/* Search and descent count errors by what they cost: below min-max grids. */
static void searched_grids(void)
{
  static const char *const ways[] = {NULL, "search", "descent"};
  for (int fixed = 0; fixed < 2; fixed++) {
    double error[3] = {0};
    for (int i = 0; i < 3; i++) {
      struct data t = data_new(16, 200, 600, 0);
      for (int k = 0; k < 3; k++) {
        plain(optq);
        set(optq, "bits", 2, NULL);
        set(optq, "static_groups", fixed, NULL);
        if (ways[k])
          set(optq, ways[k], 1, NULL);
        struct result r = quantize(optq, &t);
        error[k] += output_error(&t, r.what, 0);
        free(r.what);
      }
      data_free(&t);
    }
    tap_ok(error[1] < 0.9 * error[0] && error[2] < error[0],
           "%s grids: errors %g, with search %g, with descent %g", fixed ? "static" : "dynamic",
           error[0], error[1], error[2]);
  }
}

/* ---- inputs that leave no room ------------------------------------------------------------------ */

static void awkward(const char *name, struct data *t, double damping, int rc, const char *note,
                    double least)
{
  plain(optq);
  set(optq, "damping", damping, NULL);
  struct result r = quantize(optq, t);
  int said = strstr(rc == QTK_OK ? r.told.note : qtk_error_message(), note) != NULL;
  tap_ok(r.rc == rc && said && (rc != QTK_OK || r.told.damping >= least),
         "%s: status %d, damping %g, condition %.3g, '%s'", name, r.rc, r.told.damping,
         r.told.condition, rc == QTK_OK ? r.told.note : qtk_error_message());
  for (int64_t i = 0; i < t->rows * t->cols && r.rc == QTK_OK; i++)
    if (!(fabsf(r.what[i]) < 1))
      tap_ok(0, "%s: weight %lld is %g", name, (long long)i, (double)r.what[i]);
  free(r.what);
}

static void awkward_inputs(void)
{
  struct data t = data_new(16, 96, 40, 0), none = data_new(16, 96, 0, 0);
  awkward("fewer tokens than inputs", &t, 0.01, QTK_OK, "less than its 96 inputs", 0.01);
  awkward("fewer tokens than inputs, no damping", &t, 0, QTK_OK, "was not enough", 0.01);
  awkward("no tokens", &none, 0.01, QTK_OK, "96 inputs were always zero", 0.01);
  for (int64_t j = 0; j < 96; j++)
    t.gram[5 * 96 + j] = t.gram[j * 96 + 5] = 0;
  plain(optq);
  struct result r = quantize(optq, &t);
  tap_ok(r.what[5] == 0 && r.what[96 + 5] == 0 && strstr(r.told.note, "1 inputs were always zero"),
         "an input that was always zero has weights of zero: %s", r.told.note);
  free(r.what);
  t.gram[7 * 96 + 7] = -1;
  awkward("a sum of squares below zero", &t, 0.01, QTK_ENUMERIC, "(7, 7)", 0);
  t.gram[7 * 96 + 7] = 1;
  t.gram[7 * 96 + 8] = t.gram[8 * 96 + 7] = 1e6f;
  awkward("no matrix of sums of squares", &t, 0.01, QTK_ENUMERIC, "not positive definite", 0);
  t.gram[7 * 96 + 8] = INFINITY;
  awkward("an input that overflowed", &t, 0.01, QTK_ENUMERIC, "inf at (7, 8)", 0);
  data_free(&t);
  data_free(&none);
}

/* Some inputs ten thousand times as strong as others: float32 is still enough. */
static void strong_inputs(void)
{
  struct data t = data_new(24, 200, 800, 0);
  double factor[200];
  for (int i = 0; i < 200; i++)
    factor[i] = i % 50 == 3 ? 1e4 : 1;
  for (int64_t i = 0; i < 200 * 200; i++)
    t.h[i] = (double)(t.gram[i] *= (float)(factor[i / 200] * factor[i % 200])) * 2 / SEQUENCES;
  plain(optq);
  struct result r = quantize(optq, &t);
  double error = output_error(&t, r.what, 0.01);
  tap_ok(fabs(r.told.objective / error - 1) < 1e-3 && r.told.condition > 1e3,
         "inputs of very different strength: the loss %g is the error of the output, %g; "
         "condition %.3g", r.told.objective, error, r.told.condition);
  free(r.what);
  data_free(&t);
}

/* The slot `error` tells what rounding at that width would tell, over the output's own. */
static void error_slot(void)
{
  static const int bits[] = {2, 3, 4, 8};
  struct data t = data_new(16, 130, 400, 0);
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = t.rows, .cols = t.cols};
  struct qtk_calibration c = {t.gram, t.cross, t.tokens, SEQUENCES, NULL};
  double error[4] = {0}, worst = 0, whole = 0;
  for (int64_t i = 0; i < t.rows; i++)
    for (int64_t j = 0; j < t.cols; j++)
      for (int64_t k = 0; k < t.cols; k++)
        whole += 0.5 * t.w[i * t.cols + j] * t.h[j * t.cols + k] * t.w[i * t.cols + k];
  plain(optq);
  test_must(optq->ops.quantizer.error(ctx, options_memory, &linear, t.w, &c, bits, 4, error),
            "error");
  for (int i = 0; i < 4; i++) {
    set(optq, "bits", bits[i], NULL);
    struct result r = quantize(optq, &t);
    worst = fmax(worst, fabs(r.told.objective / whole / error[i] - 1));
    free(r.what);
  }
  tap_ok(worst < 1e-5, "the slot error tells the loss at each width as a share: %g %g %g %g",
         error[0], error[1], error[2], error[3]);
  data_free(&t);
}

int main(void)
{
  ctx = test_context(2, 0);
  test_must(qtk_registry_get(QTK_QUANTIZER, "optq", &optq), "optq");
  test_must(qtk_registry_get(QTK_QUANTIZER, "rtn", &rtn), "rtn");
  for (size_t i = 0; i < sizeof likes / sizeof *likes; i++)
    same_as_definition(&likes[i]);
  stale_grids();
  orthogonal_inputs();
  below_rounding();
  permuted_inputs();
  ordered_groups();
  searched_grids();
  awkward_inputs();
  strong_inputs();
  error_slot();
  test_context_close(ctx);
  return tap_end();
}
