/* SPDX-License-Identifier: BSD-3-Clause
 * Products with weight matrices of every encoding, their gradients, embedding. */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"

/* A random weight matrix with all that a reference needs. */
struct weights {
  struct qtk_qtensor host, device;
  int64_t rows, cols, groups;
  int *codes;                       /* [rows, cols] */
  double *scale, *zero, *min, *own; /* [rows, groups]; scale: those in use */
  int half;                         /* those in use are f16, and so are their minima */
  double *dense;                    /* [rows, cols] for encodings without codes */
  double table[256];
};

struct kind {
  enum qtk_encoding encoding;
  int bits;
  enum qtk_zero zero;
  int zero_bits;
  enum qtk_dtype dtype; /* of scales, or dense */
  int64_t group;
  int g_idx;
};

static int64_t weights_group(const struct weights *w, int64_t col)
{
  return w->host.g_idx != NULL ? w->host.g_idx[col] : col / w->host.layout.group;
}

/* The minimum that goes with the scale in use; what rounds it sees a float. */
static double weights_min_at(const struct weights *w, int64_t k)
{
  if (w->own[k] == 0)
    return w->min[k];
  if (!w->half)
    return w->min[k] * (w->scale[k] / w->own[k]);
  float min = (float)w->min[k] * ((float)w->scale[k] / (float)w->own[k]);
  return (double)qtk_f16_to_f32(qtk_f32_to_f16(min));
}

/* The weight's meaning, in double, from the numbers that it was made of. */
static double weights_at(const struct weights *w, int64_t i, int64_t j)
{
  int64_t k = i * w->groups + (w->dense == NULL ? weights_group(w, j) : 0);
  int q = w->dense == NULL ? w->codes[i * w->cols + j] : 0;

  if (w->dense != NULL)
    return w->dense[i * w->cols + j];
  if (w->host.layout.encoding == QTK_CODEBOOK)
    return w->scale[k] * w->table[q];
  if (w->host.layout.zero == QTK_ZERO_MIN)
    return w->scale[k] * q + weights_min_at(w, k);
  return w->scale[k] * (q - w->zero[k]);
}

static int opaque_rows(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                       int64_t stride)
{
  const struct weights *w = t->owner;

  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < w->cols; j++)
      out[i * stride + j] = (float)w->dense[(row + i) * w->cols + j];
  return QTK_OK;
}

static void make_dense(struct weights *w)
{
  w->dense = ops_doubles(w->rows * w->cols);
  for (int64_t i = 0; i < w->rows * w->cols; i++) {
    float value = (float)(0.1 * ops_normal());
    if (w->host.layout.encoding == QTK_OPAQUE) {
      w->dense[i] = (double)value;
      continue;
    }
    qtk_convert(w->host.layout.dtype,
                (char *)w->host.codes + (size_t)i * qtk_dtype_size(w->host.layout.dtype), QTK_F32,
                &value, 1);
    qtk_convert(QTK_F32, &value, w->host.layout.dtype,
                (char *)w->host.codes + (size_t)i * qtk_dtype_size(w->host.layout.dtype), 1);
    w->dense[i] = (double)value;
  }
}

static void make_codes(struct weights *w)
{
  uint8_t *row = ops_memory((size_t)w->cols);

  w->codes = ops_memory((size_t)(w->rows * w->cols) * sizeof *w->codes);
  for (int64_t i = 0; i < w->rows; i++) {
    for (int64_t j = 0; j < w->cols; j++) {
      row[j] = (uint8_t)(ops_random() & ((1u << w->host.layout.bits) - 1));
      w->codes[i * w->cols + j] = row[j];
    }
    qtk_pack_row(&w->host, i, row);
  }
}

/* Double-quantized scales have no setter: their parts are filled by hand. */
static void make_block_scales(struct weights *w)
{
  uint8_t *codes = w->host.scales;

  w->host.scale_mean = 0.05f;
  for (int i = 0; i < 256; i++)
    w->host.scale_table[i] = (float)(i - 128) / 128;
  for (int64_t k = 0; k < w->rows * w->groups; k++) {
    if (k % 256 == 0)
      w->host.scale_blocks[k / 256] = (float)ops_uniform(0.005, 0.02);
    codes[k] = (uint8_t)ops_random();
  }
}

static void make_scales(struct weights *w)
{
  const struct qtk_qlayout *l = &w->host.layout;
  int64_t n = w->rows * w->groups;

  w->scale = ops_doubles(n);
  w->own = ops_doubles(n);
  w->zero = ops_doubles(n);
  w->min = ops_doubles(n);
  if (l->scale_dtype == QTK_U8)
    make_block_scales(w);
  for (int64_t k = 0; k < n; k++) {
    int64_t i = k / w->groups, g = k % w->groups;
    if (l->scale_dtype != QTK_U8)
      qtk_set_scale(&w->host, i, g, k % 37 == 36 ? 0 : (float)ops_uniform(0.005, 0.05));
    w->own[k] = w->scale[k] = (double)qtk_get_scale(&w->host, i, g);
    if (l->encoding != QTK_AFFINE)
      continue;
    if (l->zero == QTK_ZERO_MIN) {
      qtk_set_min(&w->host, i, g, (float)ops_uniform(-0.2, 0.1));
      w->min[k] = (double)qtk_get_min(&w->host, i, g);
    } else if (l->zero == QTK_ZERO_INT) {
      int z = (int)(ops_random() % ((1u << l->bits) + (l->zero_bits > l->bits)));
      qtk_set_zero(&w->host, i, g, z);
      w->zero[k] = z;
    } else {
      w->zero[k] = 1 << (l->bits - 1);
    }
  }
}

static struct weights *weights_new(const struct kind *kind, int64_t rows, int64_t cols)
{
  struct weights *w = ops_memory(sizeof *w);
  struct qtk_qlayout l = {.encoding = kind->encoding,
                          .rows = rows,
                          .cols = cols,
                          .dtype = kind->dtype,
                          .bits = kind->bits,
                          .group = kind->group,
                          .zero = kind->zero,
                          .zero_bits = kind->zero_bits,
                          .scale_dtype = kind->dtype,
                          .has_g_idx = kind->g_idx,
                          .opaque_bytes = 64};

  ops_ok("qtk_qlayout_init", qtk_qlayout_init(&l));
  w->host = qtk_qtensor_over(&l, ops_memory(qtk_qtensor_block_bytes(&l)));
  w->rows = rows;
  w->cols = cols;
  w->groups = l.groups;
  if (l.encoding == QTK_DENSE || l.encoding == QTK_OPAQUE) {
    make_dense(w);
    w->host.dequantize = opaque_rows;
    w->host.owner = w;
  } else {
    for (int i = 0; l.encoding == QTK_CODEBOOK && i < 1 << l.bits; i++)
      w->table[i] = (double)(w->host.table[i] = (float)ops_normal());
    for (int64_t j = 0; w->host.g_idx != NULL && j < cols; j++)
      w->host.g_idx[j] = (int32_t)((uint64_t)(j * 7 + 3) % (uint64_t)l.groups);
    make_codes(w);
    make_scales(w);
  }
  ops_ok("hold", qtk_device_hold(ops_ctx, &w->host, &w->device));
  return w;
}

static double *weights_doubles(const struct weights *w)
{
  double *d = ops_doubles(w->rows * w->cols);

  for (int64_t i = 0; i < w->rows; i++)
    for (int64_t j = 0; j < w->cols; j++)
      d[i * w->cols + j] = weights_at(w, i, j);
  return d;
}

/* Other scales, as an adapter gives them. */
static struct mat other_scales(struct weights *w, enum qtk_dtype dtype)
{
  struct mat s = mat_typed(dtype, w->rows, w->groups, 0.02);

  w->half = dtype == QTK_F16;
  for (int64_t k = 0; k < w->rows * w->groups; k++)
    w->scale[k] = mat_at(&s, k / w->groups, k % w->groups);
  return s;
}

/* ---- references ---------------------------------------------------------------------------- */

/* y [m, n] += op(a) op(b). */
static void product(int ta, int tb, int64_t m, int64_t n, int64_t k, const double *a,
                    const double *b, double *y)
{
  for (int64_t i = 0; i < m; i++)
    for (int64_t p = 0; p < k; p++) {
      double f = ta ? a[p * m + i] : a[i * k + p];
      for (int64_t j = 0; j < n; j++)
        y[i * n + j] += f * (tb ? b[j * k + p] : b[p * n + j]);
    }
}

static double *with_bias(double *y, int64_t rows, int64_t cols, const struct mat *bias)
{
  for (int64_t i = 0; i < rows * cols && bias != NULL; i++)
    y[i] += mat_at(bias, 0, i % cols);
  return y;
}

/* What float32 sums of k products may lose, relative to the largest result. */
#define PRODUCT_TOLERANCE 3e-6

static void one_linear(struct weights *w, const struct mat *scales, int64_t tokens, int with,
                       int accumulate)
{
  struct mat x = mat_new(tokens, w->cols, 1), y = mat_new(tokens, w->rows, 1);
  struct mat bias = mat_vector(w->rows, 1);
  double *want = NULL;

  if (ops_reference()) {
    want = accumulate ? mat_doubles(&y) : ops_doubles(tokens * w->rows);
    with_bias(want, tokens, w->rows, with ? &bias : NULL);
    product(0, 1, tokens, w->rows, w->cols, mat_doubles(&x), weights_doubles(w), want);
  }
  ops_ok("linear", qtk_op_linear(ops_ctx, &x.t, &w->device, scales ? &scales->t : NULL,
                                 with ? &bias.t : NULL, &y.t, accumulate));
  ops_check("linear", &y, want, PRODUCT_TOLERANCE, 0);
}

static void one_linear_dx(struct weights *w, const struct mat *scales, int64_t tokens,
                          int accumulate)
{
  struct mat dy = mat_new(tokens, w->rows, 1), dx = mat_new(tokens, w->cols, 1);
  double *want = NULL;

  if (ops_reference()) {
    want = accumulate ? mat_doubles(&dx) : ops_doubles(tokens * w->cols);
    product(0, 0, tokens, w->cols, w->rows, mat_doubles(&dy), weights_doubles(w), want);
  }
  ops_ok("linear_dx", qtk_op_linear_dx(ops_ctx, &dy.t, &w->device, scales ? &scales->t : NULL,
                                       &dx.t, accumulate));
  ops_check("linear_dx", &dx, want, PRODUCT_TOLERANCE, 0);
}

/* Differences of the loss sum (dy y) in the scales: y is linear in them. */
static void scale_differences(struct weights *w, const double *x, const double *dy, int64_t tokens,
                              double *ds)
{
  for (int64_t i = 0; i < w->rows; i++)
    for (int64_t j = 0; j < w->cols; j++) {
      int64_t k = i * w->groups + weights_group(w, j);
      double at = w->scale[k], high, low, sum = 0;
      w->scale[k] = at + 1;
      high = weights_at(w, i, j);
      w->scale[k] = at - 1;
      low = weights_at(w, i, j);
      w->scale[k] = at;
      for (int64_t t = 0; t < tokens; t++)
        sum += dy[t * w->rows + i] * x[t * w->cols + j];
      ds[k] += sum * (high - low) / 2;
    }
}

static void one_dscale(struct weights *w, int64_t tokens)
{
  struct mat x = mat_new(tokens, w->cols, 1), dy = mat_new(tokens, w->rows, 1);
  struct mat ds = mat_new(w->rows, w->groups, 1);
  double *want = NULL;

  if (ops_reference()) {
    want = mat_doubles(&ds);
    scale_differences(w, mat_doubles(&x), mat_doubles(&dy), tokens, want);
  }
  ops_ok("linear_dscale", qtk_op_linear_dscale(ops_ctx, &dy.t, &x.t, &w->device, &ds.t));
  /* With an index of groups each column is added by itself. */
  ops_check("linear_dscale", &ds, want, 2 * PRODUCT_TOLERANCE, 0);
}

/* s q and min may nearly cancel: errors count against what is added. */
static double weights_size(const struct weights *w)
{
  return w->dense == NULL ? 0.05 * (1 << w->host.layout.bits) : 0;
}

static void one_dequantize(struct weights *w, const struct mat *scales)
{
  int64_t row = w->rows > 3 ? 2 : 0, n = w->rows - row;
  struct mat out = mat_new(n, w->cols, 1);

  ops_ok("dequantize",
         qtk_op_dequantize(ops_ctx, &w->device, scales ? &scales->t : NULL, row, &out.t));
  ops_check("dequantize", &out, ops_reference() ? weights_doubles(w) + row * w->cols : NULL, 2e-7,
            weights_size(w));
}

static void one_embedding(struct weights *w)
{
  enum { N = 37 };
  int32_t ids[N];
  struct mat y = mat_new(N, w->cols, 1);
  double *want = NULL;

  for (int i = 0; i < N; i++)
    ids[i] = (int32_t)(ops_random() % (uint64_t)w->rows);
  if (ops_reference()) {
    want = ops_doubles(N * w->cols);
    for (int64_t i = 0; i < N * w->cols; i++)
      want[i] = weights_at(w, ids[i / w->cols], i % w->cols);
  }
  ops_ok("embedding", qtk_op_embedding(ops_ctx, &w->device, ids, &y.t));
  ops_check("embedding", &y, want, 2e-7, weights_size(w));
}

/* ---- cases -------------------------------------------------------------------------------------
 */

static void every_op(const struct kind *kind, int64_t rows, int64_t cols, int64_t tokens)
{
  struct weights *w = weights_new(kind, rows, cols);

  one_linear(w, NULL, tokens, 0, 0);
  one_linear(w, NULL, 1, 1, 0);
  one_linear_dx(w, NULL, tokens, 0);
  one_dequantize(w, NULL);
  one_embedding(w);
  if (w->dense == NULL) {
    struct mat s;
    one_dscale(w, tokens);
    s = other_scales(w, tokens % 2 ? QTK_F16 : QTK_F32);
    one_linear(w, &s, tokens, 1, 1);
    one_linear(w, &s, 3, 0, 1);
    one_linear_dx(w, &s, tokens, 1);
    one_dequantize(w, &s);
  }
  qtk_device_release(ops_ctx, &w->device);
  ops_end();
}

/* Shapes that are one, ragged, and beyond a tile. */
static const int64_t shapes[][3] = {{1, 1, 1}, {5, 33, 7}, {130, 97, 19}, {65, 200, 40}};

static void encoding_cases(const struct kind *kind, int n_shapes)
{
  for (int s = 0; s < n_shapes; s++)
    every_op(kind, shapes[s][0], shapes[s][1], shapes[s][2]);
}

static void affine_cases(void)
{
  static const int bits[] = {2, 3, 4, 8};
  static const int64_t groups[] = {-1, 1, 32, 48, 64};

  for (int b = 0; b < 4; b++)
    for (int zero = 0; zero < 3; zero++)
      for (int g = 0; g < 5; g++) {
        struct kind kind = {
            QTK_AFFINE, bits[b], (enum qtk_zero)zero, 0, (b + g) % 2 ? QTK_F16 : QTK_F32,
            groups[g],  0};
        encoding_cases(&kind, g == 1 ? 3 : 4);
        kind.zero_bits = zero == QTK_ZERO_INT ? 8 : 0;
        kind.g_idx = 1;
        if (g == 2 || g == 4)
          encoding_cases(&kind, 3);
      }
}

static void other_cases(void)
{
  static const enum qtk_dtype types[] = {QTK_F32, QTK_F16, QTK_BF16};

  for (int i = 0; i < 3; i++) {
    struct kind kind = {.encoding = QTK_DENSE, .dtype = types[i]};
    encoding_cases(&kind, 4);
  }
  for (int bits = 2; bits <= 8; bits += bits == 4 ? 4 : 1) {
    struct kind kind = {.encoding = QTK_CODEBOOK, .bits = bits, .dtype = QTK_F16, .group = 64};
    encoding_cases(&kind, 4);
    kind.dtype = QTK_F32;
    kind.group = 48;
    encoding_cases(&kind, 3);
    kind.dtype = QTK_U8;
    kind.group = 32;
    encoding_cases(&kind, 4);
  }
  if (qtk_device_is_host(ops_ctx)) {
    struct kind kind = {.encoding = QTK_OPAQUE};
    encoding_cases(&kind, 4);
  }
}

/* Of the size of a small model: several blocks of rows, steps of k and panels. */
static void large_cases(void)
{
  struct kind four = {QTK_AFFINE, 4, QTK_ZERO_INT, 0, QTK_F16, 64, 0};
  struct kind eight = {QTK_AFFINE, 8, QTK_ZERO_MID, 0, QTK_F16, 32, 0};
  struct kind dense = {.encoding = QTK_DENSE, .dtype = QTK_F32};
  struct kind opaque = {.encoding = QTK_OPAQUE};

  every_op(&four, 192, 576, 530);
  every_op(&eight, 600, 352, 64);
  every_op(&dense, 97, 700, 300);
  if (qtk_device_is_host(ops_ctx))
    every_op(&opaque, 70, 20000, 20);
}

static void one_matmul(int ta, int tb, int64_t m, int64_t n, int64_t k, float alpha, float beta)
{
  struct mat a = ta ? mat_new(k, m, 1) : mat_new(m, k, 1);
  struct mat b = tb ? mat_new(n, k, 1) : mat_new(k, n, 1), y = mat_new(m, n, 1);
  double *want = NULL;

  if (beta == 0) { /* what stands there is not read */
    for (int64_t i = 0; i < y.rows * y.stride; i++)
      y.v[i] = NAN;
    mat_put(&y);
  }
  if (ops_reference()) {
    double *sum = ops_doubles(m * n);
    product(ta, tb, m, n, k, mat_doubles(&a), mat_doubles(&b), sum);
    want = mat_doubles(&y);
    for (int64_t i = 0; i < m * n; i++)
      want[i] = (double)alpha * sum[i] + (beta == 0 ? 0 : (double)beta * want[i]);
  }
  ops_ok("matmul", qtk_op_matmul(ops_ctx, ta, tb, alpha, &a.t, &b.t, beta, &y.t));
  ops_check("matmul", &y, want, PRODUCT_TOLERANCE, 0);
}

static void matmul_cases(void)
{
  static const int64_t sizes[][3] = {{1, 1, 1},     {3, 50, 17},    {129, 8, 70},
                                     {8, 200, 513}, {70, 97, 4200}, {20, 30, 0}};

  for (int t = 0; t < 4; t++)
    for (int i = 0; i < 6; i++) {
      one_matmul(t & 1, t >> 1, sizes[i][0], sizes[i][1], sizes[i][2], i % 2 ? 1 : -0.5f,
                 i % 3 == 0   ? 0
                 : i % 3 == 1 ? 1
                              : 0.25f);
      ops_end();
    }
}

static void one_dw(int64_t tokens, int64_t out, int64_t in)
{
  struct mat dy = mat_new(tokens, out, 1), x = mat_new(tokens, in, 1), dw = mat_new(out, in, 1);
  double *want = NULL;

  if (ops_reference()) {
    want = mat_doubles(&dw);
    product(1, 0, out, in, tokens, mat_doubles(&dy), mat_doubles(&x), want);
  }
  ops_ok("linear_dw", qtk_op_linear_dw(ops_ctx, &dy.t, &x.t, &dw.t));
  ops_check("linear_dw", &dw, want, PRODUCT_TOLERANCE, 0);
  ops_end();
}

static void embedding_backward_case(int64_t rows, int64_t cols, int n)
{
  int32_t *ids = ops_memory((size_t)n * sizeof *ids);
  struct mat dy = mat_new(n, cols, 1), dw = mat_new(rows, cols, 1);
  double *want = mat_doubles(&dw);

  for (int i = 0; i < n; i++) {
    ids[i] = (int32_t)(ops_random() % (uint64_t)rows);
    for (int64_t j = 0; j < cols; j++)
      want[ids[i] * cols + j] += mat_at(&dy, i, j);
  }
  ops_ok("embedding_backward", qtk_op_embedding_backward(ops_ctx, ids, &dy.t, &dw.t));
  ops_check("embedding_backward", &dw, want, 2e-6, 0);
  ops_end();
}

static void cases(void)
{
  affine_cases();
  other_cases();
  large_cases();
  matmul_cases();
  one_dw(1, 1, 1);
  one_dw(77, 33, 130);
  one_dw(600, 100, 64);
  embedding_backward_case(7, 130, 50);
  embedding_backward_case(1, 1, 3);
}

int main(void)
{
  return ops_main(cases);
}
