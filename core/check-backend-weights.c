/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a backend about weights of every encoding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-backend.h"
#include "core/error.h"
#include "core/pack.h"
#include "core/random.h"

/* ---- weights of every kind ------------------------------------------------------------- */

static const struct qtk_qlayout weights_layouts[] = {
    {.encoding = QTK_DENSE, .dtype = QTK_F32},
    {.encoding = QTK_DENSE, .dtype = QTK_F16},
    {.encoding = QTK_DENSE, .dtype = QTK_BF16},
    {.encoding = QTK_AFFINE, .bits = 4, .group = 32, .zero = QTK_ZERO_MID, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE, .bits = 4, .group = 64, .zero = QTK_ZERO_INT, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE, .bits = 4, .group = 32, .zero = QTK_ZERO_MIN, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE, .bits = 4, .group = -1, .zero = QTK_ZERO_INT, .scale_dtype = QTK_F32},
    {.encoding = QTK_AFFINE, .bits = 4, .group = 50, .zero = QTK_ZERO_INT, .scale_dtype = QTK_F32},
    {.encoding = QTK_AFFINE, .bits = 3, .group = 64, .zero = QTK_ZERO_INT, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE, .bits = 3, .group = 7, .zero = QTK_ZERO_MIN, .scale_dtype = QTK_F32},
    {.encoding = QTK_AFFINE, .bits = 2, .group = 16, .zero = QTK_ZERO_MID, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE,
     .bits = 2,
     .group = 64,
     .zero = QTK_ZERO_INT,
     .zero_bits = 8,
     .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE, .bits = 8, .group = 32, .zero = QTK_ZERO_MID, .scale_dtype = QTK_F16},
    {.encoding = QTK_AFFINE,
     .bits = 8,
     .group = -1,
     .zero = QTK_ZERO_INT,
     .zero_bits = 16,
     .scale_dtype = QTK_F32},
    {.encoding = QTK_AFFINE,
     .bits = 4,
     .group = 32,
     .zero = QTK_ZERO_INT,
     .scale_dtype = QTK_F16,
     .has_g_idx = 1},
    {.encoding = QTK_CODEBOOK, .bits = 4, .group = 64, .scale_dtype = QTK_F16},
    {.encoding = QTK_CODEBOOK, .bits = 4, .group = 64, .scale_dtype = QTK_U8},
    {.encoding = QTK_CODEBOOK, .bits = 3, .group = 20, .scale_dtype = QTK_F32},
    {.encoding = QTK_OPAQUE},
};
#define WEIGHTS_LAYOUTS ((int)(sizeof weights_layouts / sizeof *weights_layouts))

static void weights_name(const struct qtk_qlayout *l, char what[64])
{
  static const char *const zeros[] = {"mid", "int", "min"};
  if (l->encoding == QTK_DENSE)
    snprintf(what, 64, "dense %s", qtk_dtype_name(l->dtype));
  else if (l->encoding == QTK_OPAQUE)
    snprintf(what, 64, "opaque");
  else
    snprintf(what, 64, "%s %d bits, group %lld, %s scales%s%s%s",
             l->encoding == QTK_AFFINE ? "affine" : "codebook", l->bits, (long long)l->group,
             qtk_dtype_name(l->scale_dtype), l->encoding == QTK_AFFINE ? ", zero " : "",
             l->encoding == QTK_AFFINE ? zeros[l->zero] : "", l->has_g_idx ? ", g_idx" : "");
}

/* The bytes of the opaque ones are floats. */
static int weights_opaque_rows(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                               int64_t stride)
{
  int64_t cols = t->layout.cols;
  for (int64_t i = 0; i < n; i++)
    memcpy(out + i * stride, (const float *)t->codes + (row + i) * cols,
           (size_t)cols * sizeof *out);
  return QTK_OK;
}

static void weights_fill_dense(struct qtk_qtensor *w, float *row)
{
  int64_t cols = w->layout.cols;
  enum qtk_dtype dtype = w->layout.encoding == QTK_OPAQUE ? QTK_F32 : w->layout.dtype;
  size_t bytes = (size_t)cols * qtk_dtype_size(dtype);
  for (int64_t i = 0; i < w->layout.rows; i++) {
    qtk_check_fill(row, cols, 0.1f, 100 + (uint64_t)i);
    qtk_convert(dtype, (char *)w->codes + (size_t)i * bytes, QTK_F32, row, (size_t)cols);
  }
  w->dequantize = w->layout.encoding == QTK_OPAQUE ? weights_opaque_rows : NULL;
  w->plugin = "check";
}

static void weights_fill_group(struct qtk_qtensor *w, int64_t i, int64_t g, uint64_t bits)
{
  const struct qtk_qlayout *l = &w->layout;
  float unit = (float)(bits >> 40) * 0x1p-24f;
  if (l->scale_dtype == QTK_U8)
    ((uint8_t *)w->scales)[i * l->groups + g] = (uint8_t)bits;
  else
    qtk_set_scale(w, i, g, 0.02f + 0.03f * unit);
  if (l->encoding == QTK_AFFINE && l->zero == QTK_ZERO_INT)
    qtk_set_zero(w, i, g, (int)(bits % (uint64_t)((1 << l->bits) + (l->zero_bits > l->bits))));
  else if (l->encoding == QTK_AFFINE && l->zero == QTK_ZERO_MIN)
    qtk_set_min(w, i, g, -0.3f * unit);
}

static void weights_fill_tables(struct qtk_qtensor *w)
{
  const struct qtk_qlayout *l = &w->layout;
  for (int64_t j = 0; j < l->cols && w->g_idx != NULL; j++)
    w->g_idx[j] = (int32_t)(j * 7 % l->groups);
  if (l->encoding != QTK_CODEBOOK)
    return;
  for (int i = 0; i < 1 << l->bits; i++)
    w->table[i] = (float)(i - (1 << (l->bits - 1))) / 7.5f;
  if (l->scale_dtype != QTK_U8)
    return;
  for (int i = 0; i < 256; i++)
    w->scale_table[i] = 0.0001f * (float)i;
  for (int64_t i = 0; i < (l->rows * l->groups + 255) / 256; i++)
    w->scale_blocks[i] = 1.0f + 0.1f * (float)i;
  w->scale_mean = 0.03f;
  qtk_qtensor_seal(w);
}

static void weights_fill_codes(struct qtk_qtensor *w, uint8_t *codes)
{
  const struct qtk_qlayout *l = &w->layout;
  for (int64_t i = 0; i < l->rows; i++) {
    struct qtk_random_key key = {5, (uint64_t)i, 0}, groups = {6, (uint64_t)i, 0};
    for (int64_t j = 0; j < l->cols; j++)
      codes[j] = (uint8_t)(qtk_random_seeded_bits(1, &key, (uint64_t)j) >> (64 - l->bits));
    for (int64_t g = 0; g < l->groups; g++)
      weights_fill_group(w, i, g, qtk_random_seeded_bits(1, &groups, (uint64_t)g));
    qtk_pack_row(w, i, codes);
  }
  weights_fill_tables(w);
}

int qtk_check_weights(int i, int64_t rows, int64_t cols, struct qtk_qtensor *w, void **block,
                      char what[64])
{
  if (i >= WEIGHTS_LAYOUTS)
    return 0;
  struct qtk_qlayout l = weights_layouts[i];
  l.rows = rows;
  l.cols = cols;
  l.opaque_bytes = l.encoding == QTK_OPAQUE ? (size_t)(rows * cols) * sizeof(float) : 0;
  weights_name(&l, what);
  int status = qtk_qlayout_init(&l);
  if (status != QTK_OK)
    return status;
  size_t bytes = qtk_qtensor_block_bytes(&l);
  float *row = malloc((size_t)cols * sizeof *row);
  *block = aligned_alloc(64, bytes);
  if (*block == NULL || row == NULL) {
    free(row);
    free(*block);
    return qtk_error_memory(bytes, "weights");
  }
  memset(*block, 0, bytes);
  *w = qtk_qtensor_over(&l, *block);
  if (l.encoding == QTK_DENSE || l.encoding == QTK_OPAQUE)
    weights_fill_dense(w, row);
  else
    weights_fill_codes(w, (uint8_t *)row);
  free(row);
  return 1;
}

/* ---- operations with them ------------------------------------------------------------------ */

static int weights_linear(struct qtk_side *s, const struct qtk_case *k)
{
  return qtk_op_linear(s->ctx, &s->t[0], s->w, NULL, k->a ? &s->t[2] : NULL, &s->t[1], (int)k->b);
}

static int weights_linear_scales(struct qtk_side *s, const struct qtk_case *k)
{
  (void)k;
  return qtk_op_linear(s->ctx, &s->t[0], s->w, &s->t[2], NULL, &s->t[1], 0);
}

static int weights_dx(struct qtk_side *s, const struct qtk_case *k)
{
  return qtk_op_linear_dx(s->ctx, &s->t[0], s->w, k->a ? &s->t[2] : NULL, &s->t[1], (int)k->b);
}

static int weights_dscale(struct qtk_side *s, const struct qtk_case *k)
{
  (void)k;
  return qtk_op_linear_dscale(s->ctx, &s->t[0], &s->t[1], s->w, &s->t[2]);
}

static int weights_dequantize(struct qtk_side *s, const struct qtk_case *k)
{
  return qtk_op_dequantize(s->ctx, s->w, NULL, k->a, &s->t[0]);
}

static int weights_embedding(struct qtk_side *s, const struct qtk_case *k)
{
  static const int32_t ids[] = {3, 0, 7, 7, 1};
  (void)k;
  return qtk_op_embedding(s->ctx, s->w, ids, &s->t[0]);
}

#define IN(r, c)                               \
  {                                            \
    QTK_USE_IN, r, c, QTK_F32, QTK_FILL_NORMAL \
  }
#define OUT(r, c)                               \
  {                                             \
    QTK_USE_OUT, r, c, QTK_F32, QTK_FILL_NORMAL \
  }
#define BOTH(r, c)                               \
  {                                              \
    QTK_USE_BOTH, r, c, QTK_F32, QTK_FILL_NORMAL \
  }
#define SCALES(r, c, type)                    \
  {                                           \
    QTK_USE_IN, r, c, type, QTK_FILL_POSITIVE \
  }

/* x [n, in] and w [out, in] through every operation. */
static int weights_try(struct qtk_compare *m, const struct qtk_qtensor *w, const char *what,
                       int64_t n)
{
  int64_t out = w->layout.rows, in = w->layout.cols, groups = w->layout.groups;
  int packed = w->layout.encoding == QTK_AFFINE || w->layout.encoding == QTK_CODEBOOK;
  const struct qtk_case cases[] = {
      {"linear", what, 1e-5, weights_linear, {IN(n, in), OUT(n, out)}, 0, 0, 0, w},
      {"linear", what, 1e-5, weights_linear, {IN(n, in), BOTH(n, out), IN(0, out)}, 1, 1, 0, w},
      {"linear_dx", what, 1e-5, weights_dx, {IN(n, out), OUT(n, in)}, 0, 0, 0, w},
      {"linear_dx", what, 1e-5, weights_dx, {IN(n, out), BOTH(n, in)}, 0, 1, 0, w},
      {"dequantize", what, 1e-6, weights_dequantize, {OUT(5, in)}, 3, 0, 0, w},
      {"embedding", what, 1e-6, weights_embedding, {OUT(5, in)}, 0, 0, 0, w},
      {"linear",
       what,
       1e-5,
       weights_linear_scales,
       {IN(n, in), OUT(n, out), SCALES(out, groups, QTK_F32)},
       0,
       0,
       0,
       w},
      {"linear",
       what,
       1e-5,
       weights_linear_scales,
       {IN(n, in), OUT(n, out), SCALES(out, groups, QTK_F16)},
       0,
       0,
       0,
       w},
      {"linear_dx",
       what,
       1e-5,
       weights_dx,
       {IN(n, out), OUT(n, in), SCALES(out, groups, QTK_F32)},
       1,
       0,
       0,
       w},
      {"linear_dscale",
       what,
       1e-5,
       weights_dscale,
       {IN(n, out), IN(n, in), BOTH(out, groups)},
       0,
       0,
       0,
       w},
  };
  int status = QTK_OK, count = packed ? 10 : 6;
  for (int i = 0; i < count && status == QTK_OK; i++)
    status = qtk_compare_case(m, &cases[i]);
  return status;
}

static int weights_shapes(struct qtk_compare *m, int i)
{
  static const int64_t shapes[][3] = {{1, 64, 48}, {5, 100, 33}, {70, 256, 72}};
  int status = 1;
  for (int s = 0; s < 3 && status > 0; s++) {
    struct qtk_qtensor w;
    void *block;
    char what[64], text[128];
    status = qtk_check_weights(i, shapes[s][2], shapes[s][1], &w, &block, what);
    if (status <= 0)
      break;
    snprintf(text, sizeof text, "%s, [%lld, %lld]", what, (long long)shapes[s][2],
             (long long)shapes[s][1]);
    status = weights_try(m, &w, text, shapes[s][0]);
    free(block);
    status = status == QTK_OK ? 1 : status;
  }
  return status;
}

/* Piece i: weights number i. */
int qtk_check_backend_weights(struct qtk_check *c, int i)
{
  struct qtk_compare m;
  if (i >= WEIGHTS_LAYOUTS)
    return 0;
  int status = qtk_compare_open(&m, c);
  if (status <= 0)
    return status;
  status = weights_shapes(&m, i);
  qtk_compare_close(&m);
  return status;
}
