/* SPDX-License-Identifier: BSD-3-Clause
 * The quantizer of plugins/nf4 against its definition, written out slowly here. */
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
#include "core/pack.h"
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

/* As the plugin's own options struct. */
static struct {
  int64_t group;
  int double_quant;
  const char *scales;
} options;

/* The three ways to hold scales. */
static void set_options(int64_t group, int way)
{
  static const char *const scales[] = {"f32", "f32", "f16"};

  assert_int_equal(qtk_plugin_entry()->options_size, sizeof options);
  options.group = group;
  options.double_quant = way == 0;
  options.scales = scales[way];
}

static uint64_t random_state = 1;

static double uniform(void)
{
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}

static double normal(void)
{
  return sqrt(-2 * log(uniform())) * cos(2 * acos(-1) * uniform());
}

/* Normal, with a row of zeros, one of small weights and one of large ones. */
static float *weights(int64_t rows, int64_t cols)
{
  float *w = malloc((size_t)(rows * cols) * sizeof *w);

  assert_non_null(w);
  for (int64_t i = 0; i < rows * cols; i++) {
    int64_t row = i / cols;
    w[i] = (float)(normal() * (row == 1 ? 0 : row == 2 ? 1e-5 : row == 3 ? 3 : 0.05));
  }
  return w;
}

struct result {
  struct qtk_qtensor t;
  float *what;
  int rc;
};

static struct result quantize_on(struct qtk_context *on, const float *w, int64_t rows, int64_t cols)
{
  const struct qtk_quantizer_ops *ops = qtk_plugin_entry()->quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = rows, .cols = cols, .row = 16};
  struct qtk_qlayout layout = {.rows = rows, .cols = cols};
  struct qtk_quantize_result note = {.note = ""};
  struct result r = {.what = malloc((size_t)(rows * cols) * sizeof *r.what)};

  assert_int_equal(ops->check(&options, &linear), QTK_OK);
  assert_int_equal(ops->describe(&options, &linear, &layout), QTK_OK);
  assert_int_equal(qtk_qlayout_init(&layout), QTK_OK);
  r.t = qtk_qtensor_over(&layout, qtk_alloc(ctx, qtk_qtensor_block_bytes(&layout), "weights"));
  assert_true(r.t.codes && r.what);
  memcpy(r.what, w, (size_t)(rows * cols) * sizeof *w);
  r.rc = ops->quantize(on, &options, &linear, r.what, NULL, &r.t, &note);
  qtk_qtensor_seal(&r.t);
  if (r.rc == QTK_OK)
    assert_int_equal(qtk_dequantize_rows(&r.t, NULL, 0, rows, r.what, cols), QTK_OK);
  return r;
}

static struct result quantize(const float *w, int64_t rows, int64_t cols)
{
  struct result r = quantize_on(ctx, w, rows, cols);

  assert_int_equal(r.rc, QTK_OK);
  return r;
}

static void result_free(struct result *r)
{
  qtk_free(ctx, r->t.codes);
  free(r->what);
}

/* ---- the levels ----------------------------------------------------------------------- */

/* x with P(normal < x) = p, by halving. */
static double quantile(double p)
{
  double lo = -10, hi = 10;

  for (int i = 0; i < 100; i++) {
    double x = (lo + hi) / 2;
    *(erfc(-x / sqrt(2)) / 2 < p ? &lo : &hi) = x;
  }
  return lo;
}

/* Quantiles at even steps from the offset to a half: 8 of 9 points above, 7 of 8 below. */
static void levels(void **state)
{
  const double offset = 0.9677083, largest = quantile(offset);
  float w[1] = {1};
  struct result r;

  (void)state;
  set_options(1, 1);
  r = quantize(w, 1, 1);
  for (int i = 0; i < 16; i++) {
    double want = i < 7   ? -quantile(offset + (0.5 - offset) * i / 7)
                  : i > 7 ? quantile(offset + (0.5 - offset) * (15 - i) / 8)
                          : 0;
    assert_true(fabs((double)r.t.table[i] - want / largest) < 2e-7);
  }
  assert_true(r.t.table[0] == -1 && r.t.table[7] == 0 && r.t.table[15] == 1);
  result_free(&r);
}

/* Weights that are levels come back, bit by bit. */
static void round_trip(void **state)
{
  float w[4 * 40], one[1] = {1};
  struct result table, r;

  (void)state;
  set_options(-1, 1);
  table = quantize(one, 1, 1);
  for (int i = 0; i < 4 * 40; i++)
    w[i] = (i / 40 == 3 ? 3e-39f : powf(0.3f, (float)(i / 40))) * table.t.table[15 - i % 40 % 16];
  r = quantize(w, 4, 40);
  for (int i = 0; i < 4 * 40; i++)
    assert_true(r.what[i] == w[i]);
  result_free(&r);
  result_free(&table);
}

/* ---- scales and codes ------------------------------------------------------------------ */

#define ROWS 11
#define COLS 200

static const int64_t all_groups[] = {1, 7, 64, 65, 96, -1};

static float peak_of(const float *w, int64_t cols, int64_t group, int64_t k)
{
  int64_t groups = (cols + group - 1) / group, row = k / groups, col = k % groups * group;
  float peak = 0;

  for (int64_t c = col; c < cols && c < col + group; c++)
    peak = fmaxf(peak, fabsf(w[row * cols + c]));
  return peak;
}

static void check_codes(const float *w, const struct result *r)
{
  uint8_t codes[COLS];

  for (int64_t row = 0; row < ROWS; row++) {
    qtk_unpack_row(&r->t, row, codes);
    for (int64_t c = 0; c < COLS; c++) {
      long double scale = qtk_get_scale(&r->t, row, c / r->t.layout.group), best = LDBL_MAX;
      int want = scale > 0 ? 0 : 7;
      for (int code = 0; code < 16 && scale > 0; code++) {
        long double error = fabsl((long double)w[row * COLS + c] - scale * r->t.table[code]);
        if (error < best) {
          best = error;
          want = code;
        }
      }
      assert_int_equal(codes[c], want);
      assert_true(w[row * COLS + c] != 0 || r->what[row * COLS + c] == 0);
    }
  }
}

static void check_scales(const float *w, const struct result *r, int way)
{
  const struct qtk_qlayout *l = &r->t.layout;
  int64_t n = l->rows * l->groups;
  double sum = 0;

  for (int64_t k = 0; k < n; k++)
    sum += (double)peak_of(w, COLS, l->group, k);
  assert_true(way != 0 || fabs((double)r->t.scale_mean - sum / (double)n) <= 1e-6 * sum);
  for (int64_t k = 0; k < n; k++) {
    float scale = qtk_get_scale(&r->t, k / l->groups, k % l->groups);
    float peak = peak_of(w, COLS, l->group, k);
    if (way == 1)
      assert_true(scale == peak);
    if (way == 2) {
      assert_true(scale >= peak);
      assert_true(peak == 0 || qtk_f16_to_f32((uint16_t)(qtk_f32_to_f16(scale) - 1)) < peak);
    }
    if (way != 0)
      continue;
    double block = 0;
    for (int64_t i = k / 256 * 256; i < n && i < k / 256 * 256 + 256; i++)
      block = fmax(block, fabs((double)peak_of(w, COLS, l->group, i) - sum / (double)n));
    assert_true(peak == 0 || scale > 0);
    assert_true(fabs((double)(scale - peak)) <= block / 255 * (1 + 1e-3) ||
                (peak < 2 * block / 255 && (double)scale <= 2 * block / 255 * (1 + 1e-3)));
  }
}

static void exact(void **state)
{
  float *w;

  (void)state;
  random_state = 1;
  w = weights(ROWS, COLS);
  for (int i = 0; i < 6 * 3; i++) {
    set_options(all_groups[i / 3], i % 3);
    struct result r = quantize(w, ROWS, COLS);
    check_scales(w, &r, i % 3);
    check_codes(w, &r);
    result_free(&r);
  }
  free(w);
}

/* Half way between two levels the lower one counts. Beside 0 and beside 1 that can be said
 * in floats exactly; the next float above is nearer to the upper one. */
static void ties(void **state)
{
  float one[1] = {1}, w[8], *t;
  uint8_t codes[8];
  struct result table, r;
  const uint8_t want[] = {15, 7, 8, 6, 7, 7, 0, 0};

  (void)state;
  set_options(-1, 1);
  table = quantize(one, 1, 1);
  t = table.t.table;
  w[0] = 1;
  w[1] = t[8] / 2;
  w[2] = nextafterf(t[8] / 2, 1);
  w[3] = t[6] / 2;
  w[4] = nextafterf(t[6] / 2, 1);
  w[5] = 0;
  w[6] = -1;
  w[7] = nextafterf((t[0] + t[1]) / 2, -1);
  r = quantize(w, 1, 8);
  qtk_unpack_row(&r.t, 0, codes);
  assert_memory_equal(codes, want, 8);
  result_free(&r);
  result_free(&table);
}

/* ---- what it is for -------------------------------------------------------------------- */

static double squared(const float *a, const float *b, int64_t n)
{
  double sum = 0;

  for (int64_t i = 0; i < n; i++)
    sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
  return sum;
}

/* Rounded to 16 even steps in groups of 64: over -peak .. peak, or from the least to the
 * greatest weight. */
static void even_steps(const float *w, int64_t n, int symmetric, float *what)
{
  for (int64_t i = 0; i < n; i += 64) {
    float lo = 0, hi = 0;
    for (int k = 0; k < 64; k++) {
      lo = fminf(lo, w[i + k]);
      hi = fmaxf(hi, w[i + k]);
    }
    hi = symmetric ? fmaxf(-lo, hi) : hi;
    lo = symmetric ? -hi : lo;
    float step = (hi - lo) / 15, zero = symmetric ? 8 : rintf(-lo / step);
    for (int k = 0; k < 64; k++)
      what[i + k] = step * (fminf(fmaxf(rintf(w[i + k] / step) + zero, 0), 15) - zero);
  }
}

/* Normal weights lose a fifth less than on even steps with the same scales, and about what
 * they lose on even steps that have a zero point of their own, too. */
static void normal_weights(void **state)
{
  const int64_t rows = 256, cols = 512, n = rows * cols;
  float *w = malloc((size_t)n * sizeof *w), *even = malloc((size_t)n * sizeof *even);
  double lost[2];

  (void)state;
  random_state = 7;
  for (int64_t i = 0; i < n; i++)
    w[i] = (float)normal();
  for (int symmetric = 0; symmetric < 2; symmetric++) {
    even_steps(w, n, symmetric, even);
    lost[symmetric] = squared(w, even, n);
  }
  for (int way = 0; way < 3; way++) {
    set_options(64, way);
    struct result r = quantize(w, rows, cols);
    assert_true(squared(w, r.what, n) < 0.82 * lost[1]);
    assert_true(squared(w, r.what, n) < 1.03 * lost[0]);
    result_free(&r);
  }
  free(w);
  free(even);
}

/* 8-bit scales cost next to nothing more. */
static void double_is_close(void **state)
{
  const int64_t rows = 64, cols = 512;
  double lost[2];
  float *w = malloc((size_t)(rows * cols) * sizeof *w);

  (void)state;
  random_state = 8;
  for (int64_t i = 0; i < rows * cols; i++)
    w[i] = (float)(0.02 * normal());
  for (int way = 0; way < 2; way++) {
    set_options(64, way);
    struct result r = quantize(w, rows, cols);
    lost[way] = squared(w, r.what, rows * cols);
    result_free(&r);
  }
  assert_true(lost[0] < 1.002 * lost[1]);
  free(w);
}

static void bits_a_weight(void **state)
{
  const double want[] = {4 + 8.0 / 64 + 32.0 / (64 * 256), 4.5, 4.25};
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = 4096, .cols = 11008};

  (void)state;
  for (int way = 0; way < 3; way++) {
    struct qtk_qlayout layout = {.rows = linear.rows, .cols = linear.cols};
    set_options(64, way);
    assert_int_equal(qtk_plugin_entry()->quantizer->describe(&options, &linear, &layout), QTK_OK);
    assert_int_equal(qtk_qlayout_init(&layout), QTK_OK);
    double n = (double)(linear.rows * linear.cols);
    double fixed = 64 + (way == 0 ? 4 * 257 : 0); /* the levels; the steps and the mean */
    assert_true(fabs(((double)qtk_qlayout_bytes(&layout) - fixed) * 8 / n - want[way]) < 1e-9);
    assert_true(fixed * 8 / n < 2e-4);
  }
}

/* ---- how the work is cut ----------------------------------------------------------------- */

static void slices(void **state)
{
  const struct qtk_quantizer_ops *ops = qtk_plugin_entry()->quantizer;
  struct qtk_linear linear = {.name = "a", .role = "q", .cols = COLS};
  struct qtk_quantize_result note = {.note = ""};
  float *w = weights(37, COLS), part[16 * COLS];

  (void)state;
  assert_true(qtk_plugin_entry()->flags & QTK_BY_ROWS);
  for (int way = 1; way < 3; way++) {
    set_options(64, way);
    struct result whole = quantize(w, 37, COLS), parts = quantize(w, 37, COLS);
    assert_true(qtk_qlayout_sliced(&whole.t.layout));
    memset(parts.t.codes, 0, qtk_qtensor_block_bytes(&parts.t.layout));
    for (int64_t row = 0; row < 37; row += 16) {
      linear.row = row;
      linear.rows = 37 - row < 16 ? 37 - row : 16;
      struct qtk_qtensor t = qtk_qtensor_rows(&parts.t, row, linear.rows);
      memcpy(part, w + row * COLS, (size_t)(linear.rows * COLS) * sizeof *w);
      assert_int_equal(ops->quantize(ctx, &options, &linear, part, NULL, &t, &note), QTK_OK);
    }
    assert_memory_equal(whole.t.codes, parts.t.codes, qtk_qtensor_block_bytes(&parts.t.layout));
    result_free(&whole);
    result_free(&parts);
  }
  set_options(64, 0);
  struct result r = quantize(w, 37, COLS);
  assert_false(qtk_qlayout_sliced(&r.t.layout)); /* blocks of scales cross rows */
  result_free(&r);
  free(w);
}

/* Several blocks of scales, on any number of threads. */
static void threads(void **state)
{
  float *w = weights(300, COLS);

  (void)state;
  set_options(64, 0);
  struct result want = quantize(w, 300, COLS);
  for (int n = 1; n < 5; n += 2) {
    struct qtk_context_options how = {.threads = n};
    struct qtk_context *other;
    assert_int_equal(qtk_context_open(&how, &other), QTK_OK);
    struct result r = quantize_on(other, w, 300, COLS);
    assert_int_equal(r.rc, QTK_OK);
    assert_memory_equal(want.t.codes, r.t.codes, qtk_qtensor_block_bytes(&r.t.layout));
    result_free(&r);
    qtk_context_close(other);
  }
  result_free(&want);
  free(w);
}

/* ---- mistakes --------------------------------------------------------------------------- */

static void refused(float *w, const char *message)
{
  struct result r = quantize_on(ctx, w, 8, 100);

  assert_int_equal(r.rc, QTK_ENUMERIC);
  assert_non_null(strstr(qtk_error_message(), message));
  result_free(&r);
}

static void not_finite(void **state)
{
  const float bad[] = {NAN, INFINITY, -INFINITY};

  (void)state;
  for (int i = 0; i < 9; i++) {
    float *w = weights(8, 100);
    char want[64];
    set_options(64, i % 3);
    w[5 * 100 + 11 * i] = bad[i / 3];
    snprintf(want, sizeof want, "row 21, column %d: the weight is", 11 * i);
    refused(w, want);
    free(w);
  }
}

static void too_large(void **state)
{
  float *w = weights(8, 100);

  (void)state;
  set_options(64, 2);
  w[570] = -3e6f;
  refused(w, "row 21, column 64: a weight of 3e+06 needs a scale above 65504, the largest f16; "
             "scales = \"f32\" holds it");
  set_options(64, 1);
  struct result r = quantize(w, 8, 100);
  assert_true(r.what[570] == -3e6f);
  result_free(&r);
  free(w);
}

static void check_refuses(void **state)
{
  struct qtk_linear linear = {.name = "a", .role = "q", .rows = 8, .cols = 64};

  (void)state;
  set_options(0, 0);
  assert_int_equal(qtk_plugin_entry()->quantizer->check(&options, &linear), QTK_EJOB);
  assert_non_null(strstr(qtk_error_message(), "group = 0"));
  set_options(64, 2);
  options.double_quant = 1;
  assert_int_equal(qtk_plugin_entry()->quantizer->check(&options, &linear), QTK_EJOB);
  assert_non_null(strstr(qtk_error_message(), "double_quant = false"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(levels),          cmocka_unit_test(round_trip),
      cmocka_unit_test(exact),           cmocka_unit_test(ties),
      cmocka_unit_test(normal_weights),  cmocka_unit_test(double_is_close),
      cmocka_unit_test(bits_a_weight),   cmocka_unit_test(slices),
      cmocka_unit_test(threads),         cmocka_unit_test(not_finite),
      cmocka_unit_test(too_large),       cmocka_unit_test(check_refuses),
  };

  return cmocka_run_group_tests(tests, open_context, close_context);
}
