/* SPDX-License-Identifier: BSD-3-Clause
 * The quantizer of plugins/rtn against its definition, written out slowly here. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/error.h"
#define QTK_API 1
#include <qtk/quantizer.h>

const struct qtk_plugin *qtk_plugin_entry(void);

static struct qtk_context *ctx;

static int open_context(void **state)
{
  struct qtk_context_options options = {.threads = 2};

  (void)state;
  return qtk_context_open(&options, &ctx);
}

static int close_context(void **state)
{
  (void)state;
  qtk_context_close(ctx);
  return 0;
}

/* ---- options and weights ------------------------------------------------------------ */

static char options_memory[256];

static void set_default(const struct qtk_option *o)
{
  void *field = options_memory + o->offset;

  if (o->type == QTK_OPTION_INT)
    *(int64_t *)field = (int64_t)o->number;
  else if (o->type == QTK_OPTION_FLOAT)
    *(double *)field = o->number;
  else if (o->type == QTK_OPTION_BOOL)
    *(int *)field = (int)o->number;
  else
    *(const char **)field = o->text;
}

/* The defaults. */
static void *options_new(void)
{
  const struct qtk_plugin *plugin = qtk_plugin_entry();

  assert_true(plugin->options_size <= sizeof options_memory);
  for (const struct qtk_option *o = plugin->options; o->name; o++)
    set_default(o);
  return options_memory;
}

static void options_set(const char *name, double number)
{
  struct qtk_option o = {0};

  for (const struct qtk_option *row = qtk_plugin_entry()->options; row->name; row++)
    if (strcmp(row->name, name) == 0)
      o = *row;
  assert_non_null(o.name);
  o.number = number;
  set_default(&o);
}

static void options_set_scales(const char *text)
{
  for (const struct qtk_option *row = qtk_plugin_entry()->options; row->name; row++)
    if (strcmp(row->name, "scales") == 0)
      *(const char **)(options_memory + row->offset) = text;
}

static uint64_t random_state;

static double uniform(void)
{
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (double)(random_state >> 11) * 0x1p-53;
}

/* About normal, with an outlier here and there, a shifted row, a row of zeros and one that
 * is never negative. */
static float *weights(int64_t rows, int64_t cols)
{
  float *w = malloc((size_t)(rows * cols) * sizeof *w);

  assert_non_null(w);
  for (int64_t i = 0; i < rows * cols; i++) {
    double x = uniform() + uniform() + uniform() + uniform() - 2;
    w[i] = (float)(0.05 * x * (i % 97 == 0 ? 4 : 1));
    if (i / cols == 1)
      w[i] += 0.3f;
    else if (i / cols == 2)
      w[i] = 0;
    else if (i / cols == 3)
      w[i] = fabsf(w[i]);
  }
  return w;
}

struct result {
  struct qtk_qtensor t;
  void *block;
  float *what;
  int64_t group;
};

static struct result quantize(const float *w, int64_t rows, int64_t cols)
{
  const struct qtk_quantizer_ops *ops = qtk_plugin_entry()->quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = rows, .cols = cols};
  struct qtk_qlayout layout = {.rows = rows, .cols = cols};
  struct qtk_quantize_result note = {.note = ""};
  struct result r = {0};
  float *copy = malloc((size_t)(rows * cols) * sizeof *copy);

  assert_int_equal(ops->check(options_memory, &linear), QTK_OK);
  assert_int_equal(ops->describe(options_memory, &linear, &layout), QTK_OK);
  assert_int_equal(qtk_qlayout_init(&layout), QTK_OK);
  r.block = qtk_alloc(ctx, qtk_qtensor_block_bytes(&layout), "weights");
  r.what = malloc((size_t)(rows * cols) * sizeof *r.what);
  assert_true(r.block && r.what && copy);
  memcpy(copy, w, (size_t)(rows * cols) * sizeof *copy);
  r.t = qtk_qtensor_over(&layout, r.block);
  r.group = layout.group;
  assert_int_equal(ops->quantize(ctx, options_memory, &linear, copy, NULL, &r.t, &note), QTK_OK);
  assert_int_equal(qtk_dequantize_rows(&r.t, NULL, 0, rows, r.what, cols), QTK_OK);
  free(copy);
  return r;
}

static void result_free(struct result *r)
{
  qtk_free(ctx, r->block);
  free(r->what);
}

/* sum |what - w|^e of one group. */
static double group_error(const struct result *r, const float *w, int64_t row, int64_t g, double e)
{
  int64_t cols = r->t.layout.cols;
  double sum = 0;

  for (int64_t c = g * r->group; c < cols && c < (g + 1) * r->group; c++)
    sum += pow(fabs((double)w[row * cols + c] - (double)r->what[row * cols + c]), e);
  return sum;
}

/* ---- the definition, slowly ------------------------------------------------------------ */

struct slow {
  double scale, zero, error;
};

static double slow_round(double x, double scale, double zero, double top)
{
  double q = rint(x / scale) + zero;

  q = q < 0 ? 0 : q > top ? top : q;
  return scale * (q - zero);
}

/* Range shrunk to `keep`; the scale is rounded up to f16 if `half`. */
static struct slow slow_grid(const float *w, int64_t n, int bits, int symmetric, int half,
                             double keep, double e)
{
  double lo = 0, hi = 0, top = (1 << bits) - 1;
  struct slow s = {0};

  for (int64_t i = 0; i < n; i++) {
    lo = fmin(lo, w[i]);
    hi = fmax(hi, w[i]);
  }
  if (symmetric) {
    hi = fmax(-lo, hi);
    lo = -hi;
  }
  if (lo == 0 && hi == 0) {
    lo = -1;
    hi = 1;
  }
  s.scale = keep * (hi - lo) / top;
  if (half) {
    uint16_t bits16 = qtk_f32_to_f16((float)s.scale);
    while (qtk_f16_to_f32(bits16) < s.scale * (1 - 1e-7))
      bits16++;
    s.scale = qtk_f16_to_f32(bits16);
  }
  s.zero = symmetric ? 1 << (bits - 1) : rint(-keep * lo / s.scale);
  for (int64_t i = 0; i < n; i++)
    s.error += pow(fabs(w[i] - slow_round(w[i], s.scale, s.zero, top)), e);
  return s;
}

static struct slow slow_search(const float *w, int64_t n, int bits, int symmetric, int half,
                               double e)
{
  struct slow best = slow_grid(w, n, bits, symmetric, half, 1, e);

  for (int i = 1; i < 80; i++) {
    struct slow s = slow_grid(w, n, bits, symmetric, half, 1 - i / 100.0, e);
    if (s.error < best.error)
      best = s;
  }
  return best;
}

/* ---- tests ------------------------------------------------------------------------------ */

static const int all_bits[] = {2, 3, 4, 8};
static const int64_t all_groups[] = {-1, 7, 32, 48, 64, 100};

#define ROWS 8
#define COLS 200

/* For each bits, group, symmetric and type of scale. */
static void for_all(void (*fn)(const float *w, int bits, int symmetric, int half))
{
  float *w;

  random_state = 1;
  w = weights(ROWS, COLS);
  for (int i = 0; i < 4 * 6 * 2 * 2; i++) {
    int bits = all_bits[i % 4], symmetric = i / 24 % 2, half = i / 48;
    options_new();
    options_set("bits", bits);
    options_set("group", (double)all_groups[i / 4 % 6]);
    options_set("symmetric", symmetric);
    options_set_scales(half ? "f16" : "f32");
    fn(w, bits, symmetric, half);
  }
  free(w);
}

static void check_half_step(const float *w, int bits, int symmetric, int half)
{
  struct result r = quantize(w, ROWS, COLS);
  uint8_t codes[COLS];

  (void)half;
  for (int64_t row = 0; row < ROWS; row++) {
    qtk_unpack_row(&r.t, row, codes);
    for (int64_t c = 0; c < COLS; c++) {
      double s = qtk_get_scale(&r.t, row, c / r.group), x = w[row * COLS + c];
      double room = symmetric && x > 0 ? 1.0 : 0.5; /* +a itself is one step off */
      assert_true(codes[c] <= (1 << bits) - 1);
      assert_true(fabs(x - (double)r.what[row * COLS + c]) <= room * s * (1 + 1e-5));
      if (row == 2)
        assert_true(r.what[row * COLS + c] == 0);
    }
  }
  result_free(&r);
}

static void half_a_step(void **state)
{
  (void)state;
  for_all(check_half_step);
}

/* Scale, zero and codes exactly as the arithmetic in float32 gives them. */
static void check_exact(const float *w, int bits, int symmetric, int half)
{
  struct result r = quantize(w, ROWS, COLS);
  float top = (float)((1 << bits) - 1);
  uint8_t codes[COLS];

  for (int64_t row = 0; row < ROWS; row++) {
    qtk_unpack_row(&r.t, row, codes);
    for (int64_t c = 0; c < COLS; c++) {
      const float *x = w + row * COLS;
      int64_t g = c / r.group, end = (g + 1) * r.group < COLS ? (g + 1) * r.group : COLS;
      float lo = 0, hi = 0, scale, zero, q;
      for (int64_t k = g * r.group; k < end; k++) {
        lo = fminf(lo, x[k]);
        hi = fmaxf(hi, x[k]);
      }
      lo = symmetric ? -fmaxf(-lo, hi) : lo;
      hi = symmetric ? -lo : hi;
      if (lo == 0 && hi == 0) {
        lo = -1;
        hi = 1;
      }
      scale = (hi - lo) / top;
      if (half) {
        float least = scale;
        scale = qtk_get_scale(&r.t, row, g);
        assert_true(scale >= least);
        assert_true(qtk_f16_to_f32((uint16_t)(qtk_f32_to_f16(scale) - 1)) < least);
      }
      zero = symmetric ? (top + 1) / 2 : rintf(-lo / scale);
      q = rintf(x[c] / scale) + zero;
      q = q < 0 ? 0 : q > top ? top : q;
      assert_true(qtk_get_scale(&r.t, row, g) == scale);
      assert_int_equal(qtk_get_zero(&r.t, row, g), (int)zero);
      assert_int_equal(codes[c], (int)q);
    }
  }
  result_free(&r);
}

static void exact(void **state)
{
  (void)state;
  for_all(check_exact);
}

static double search_exponent;

static void check_search(const float *w, int bits, int symmetric, int half)
{
  struct result plain = quantize(w, ROWS, COLS), best;

  options_set("search", 1);
  options_set("exponent", search_exponent);
  best = quantize(w, ROWS, COLS);
  for (int64_t row = 0; row < ROWS; row++)
    for (int64_t g = 0; g < best.t.layout.groups; g++) {
      int64_t at = g * best.group, n = COLS - at < best.group ? COLS - at : best.group;
      double e = group_error(&best, w, row, g, search_exponent);
      struct slow slow =
          slow_search(w + row * COLS + at, n, bits, symmetric, half, search_exponent);
      assert_true(e <= group_error(&plain, w, row, g, search_exponent) * (1 + 1e-5));
      assert_true(e <= slow.error * (1 + 1e-3) + 1e-30);
    }
  result_free(&plain);
  result_free(&best);
}

static void search(void **state)
{
  (void)state;
  search_exponent = 2;
  for_all(check_search);
  search_exponent = 2.4;
  for_all(check_search);
}

static void check_descent(const float *w, int bits, int symmetric, int half)
{
  double start = 0, end = 0;

  (void)bits;
  (void)symmetric;
  (void)half;
  for (int with_search = 0; with_search < 2; with_search++) {
    struct result before, after;
    options_set("search", with_search);
    options_set("exponent", 2);
    options_set("descent", 0);
    before = quantize(w, ROWS, COLS);
    options_set("descent", 8);
    after = quantize(w, ROWS, COLS);
    for (int64_t row = 0; row < ROWS; row++)
      for (int64_t g = 0; g < before.t.layout.groups; g++) {
        double a = group_error(&before, w, row, g, 2), b = group_error(&after, w, row, g, 2);
        assert_true(b <= a * (1 + 1e-6));
        start += a;
        end += b;
      }
    result_free(&before);
    result_free(&after);
  }
  assert_true(end < start);
}

static void descent(void **state)
{
  (void)state;
  for_all(check_descent);
}

/* Slices of rows give the bytes that the whole gives. */
static void slices(void **state)
{
  const struct qtk_quantizer_ops *ops = qtk_plugin_entry()->quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .cols = 200};
  struct qtk_quantize_result note = {.note = ""};
  struct result whole, parts;
  float *w;

  (void)state;
  random_state = 3;
  w = weights(37, 200);
  options_new();
  options_set("bits", 3);
  whole = quantize(w, 37, 200);
  parts = quantize(w, 37, 200);
  memset(parts.block, 0, qtk_qtensor_block_bytes(&parts.t.layout));
  for (int64_t row = 0; row < 37; row += 16) {
    struct qtk_qtensor t;
    linear.row = row;
    linear.rows = 37 - row < 16 ? 37 - row : 16;
    t = qtk_qtensor_rows(&parts.t, row, linear.rows);
    assert_int_equal(ops->quantize(ctx, options_memory, &linear, w + row * 200, NULL, &t, &note),
                     QTK_OK);
  }
  assert_memory_equal(whole.block, parts.block, qtk_qtensor_block_bytes(&parts.t.layout));
  result_free(&whole);
  result_free(&parts);
  free(w);
}

static int quantize_bad(float *w, int64_t rows, int64_t cols, int64_t row)
{
  const struct qtk_quantizer_ops *ops = qtk_plugin_entry()->quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = rows, .cols = cols, .row = row};
  struct qtk_qlayout layout = {.rows = rows, .cols = cols};
  struct qtk_quantize_result note = {.note = ""};
  struct qtk_qtensor t;
  int rc;

  assert_int_equal(ops->describe(options_memory, &linear, &layout), QTK_OK);
  assert_int_equal(qtk_qlayout_init(&layout), QTK_OK);
  t = qtk_qtensor_over(&layout, qtk_alloc(ctx, qtk_qtensor_block_bytes(&layout), "weights"));
  rc = ops->quantize(ctx, options_memory, &linear, w, NULL, &t, &note);
  qtk_free(ctx, t.codes);
  return rc;
}

static void not_finite(void **state)
{
  const float bad[] = {NAN, INFINITY, -INFINITY};
  float *w;

  (void)state;
  options_new();
  options_set("group", 64);
  for (int i = 0; i < 3; i++)
    for (int col = 0; col < 100; col += 33) {
      w = weights(8, 100);
      w[5 * 100 + col] = bad[i];
      assert_int_equal(quantize_bad(w, 8, 100, 16), QTK_ENUMERIC);
      char want[64];
      snprintf(want, sizeof want, "row 21, column %d: the weight is", col);
      assert_non_null(strstr(qtk_error_message(), want));
      free(w);
    }
}

static void scale_too_large(void **state)
{
  float *w = weights(8, 64);
  struct result r;

  (void)state;
  options_new();
  w[64] = 3e6f;
  assert_int_equal(quantize_bad(w, 8, 64, 0), QTK_ENUMERIC);
  assert_non_null(strstr(qtk_error_message(), "row 1, column 0"));
  assert_non_null(strstr(qtk_error_message(), "scales = \"f32\""));
  options_set_scales("f32");
  r = quantize(w, 8, 64);
  assert_true(r.what[64] == 3e6f);
  result_free(&r);
  w[64] = FLT_MAX;
  w[65] = -FLT_MAX;
  assert_int_equal(quantize_bad(w, 8, 64, 0), QTK_ENUMERIC);
  free(w);
}

/* Weights too small for the scale's type decode to zero, not to nan. */
static void tiny(void **state)
{
  float *w = weights(8, 64);
  struct result r;

  (void)state;
  for (int half = 0; half < 2; half++) {
    for (int i = 0; i < 64; i++)
      w[i] = i % 2 ? FLT_TRUE_MIN : -FLT_TRUE_MIN;
    options_new();
    options_set_scales(half ? "f16" : "f32");
    options_set("search", 1);
    options_set("descent", 3);
    r = quantize(w, 8, 64);
    for (int i = 0; i < 64; i++)
      assert_true(fabsf(r.what[i]) <= FLT_TRUE_MIN);
    result_free(&r);
  }
  free(w);
}

static void group_of_zero(void **state)
{
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = 8, .cols = 64};

  (void)state;
  options_new();
  options_set("group", 0);
  assert_int_equal(qtk_plugin_entry()->quantizer->check(options_memory, &linear), QTK_EJOB);
  assert_non_null(strstr(qtk_error_message(), "group = 0"));
}

/* The error slot gives what the quantized tensor has, whatever the options' own bits. */
static void errors(void **state)
{
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = 40, .cols = COLS};
  const int five = 5;
  double error[4];
  float *w;

  (void)state;
  random_state = 9;
  w = weights(40, COLS);
  options_new();
  options_set("descent", 2);
  assert_int_equal(qtk_plugin_entry()->quantizer->error(ctx, options_memory, &linear, w, NULL,
                                                        all_bits, 4, error),
                   QTK_OK);
  for (int i = 0; i < 4; i++) {
    double sum = 0, norm = 0;
    struct result r;
    options_set("bits", all_bits[i]);
    r = quantize(w, 40, COLS);
    for (int64_t k = 0; k < 40 * COLS; k++) {
      double e = (double)w[k] - (double)r.what[k];
      sum += e * e;
      norm += (double)w[k] * (double)w[k];
    }
    assert_true(fabs(error[i] - sum / norm) <= 1e-6 * error[i]);
    assert_true(i == 0 || error[i] < error[i - 1]);
    result_free(&r);
  }
  assert_int_equal(
      qtk_plugin_entry()->quantizer->error(ctx, options_memory, &linear, w, NULL, &five, 1, error),
      QTK_EJOB);
  free(w);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(half_a_step), cmocka_unit_test(exact),
      cmocka_unit_test(search),      cmocka_unit_test(descent),
      cmocka_unit_test(slices),      cmocka_unit_test(not_finite),
      cmocka_unit_test(tiny),        cmocka_unit_test(scale_too_large),
      cmocka_unit_test(errors),      cmocka_unit_test(group_of_zero),
  };

  return cmocka_run_group_tests(tests, open_context, close_context);
}
