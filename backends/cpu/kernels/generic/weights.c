/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of weight matrices as floats, and products with few tokens. */
#include <string.h>

#include "../declare.h"

#define CHUNK 32

static void weights_unpack2(const uint8_t *packed, int *codes)
{
  for (int j = 0; j < 8; j++) {
    codes[j] = packed[j] & 3;
    codes[j + 8] = packed[j] >> 2 & 3;
    codes[j + 16] = packed[j] >> 4 & 3;
    codes[j + 24] = packed[j] >> 6;
  }
}

/* The codes of a chunk of 32 columns. */
static void weights_unpack(int bits, const uint8_t *packed, int codes[CHUNK])
{
  if (bits == 2 || bits == 3)
    weights_unpack2(packed, codes);
  if (bits == 3)
    for (int j = 0; j < CHUNK; j++)
      codes[j] |= (packed[8 + j / 8] >> j % 8 & 1) << 2;
  if (bits == 4)
    for (int j = 0; j < 16; j++) {
      codes[j] = packed[j] & 15;
      codes[j + 16] = packed[j] >> 4;
    }
  if (bits == 8)
    for (int j = 0; j < CHUNK; j++)
      codes[j] = packed[j];
}

static float weights_scale(const struct cpu_weights *w, int64_t row, int64_t group)
{
  int64_t k = row * w->scale_stride + group;

  if (w->unit)
    return 1;
  if (w->own)
    return qtk_get_scale(w->t, row, group);
  if (w->scale_dtype == QTK_F32)
    return ((const float *)w->scales)[k];
  return qtk_f16_to_f32(((const uint16_t *)w->scales)[k]);
}

static float weights_min(const struct cpu_weights *w, int64_t row, int64_t group, float scale)
{
  float min = qtk_get_min(w->t, row, group), own;

  if (w->own && !w->unit)
    return min;
  own = qtk_get_scale(w->t, row, group);
  if (own == 0)
    return w->unit ? 0 : min;
  min *= scale / own;
  /* In the type of the scales given, as a tensor that had them for its own would. */
  return !w->unit && w->scale_dtype == QTK_F16 ? qtk_f16_to_f32(qtk_f32_to_f16(min)) : min;
}

void cpu_generic_groups(const struct cpu_weights *w, int64_t row, int64_t g0, int64_t g1,
                        float *scale, float *zero)
{
  const struct qtk_qlayout *l = &w->t->layout;

  for (int64_t g = g0; g < g1; g++) {
    float s = weights_scale(w, row, g);
    scale[g - g0] = s;
    if (l->encoding == QTK_CODEBOOK)
      continue;
    zero[g - g0] =
        l->zero == QTK_ZERO_MIN ? weights_min(w, row, g, s) : (float)qtk_get_zero(w->t, row, g);
  }
}

static float weights_value(const struct qtk_qtensor *t, int code, float scale, float zero)
{
  if (t->layout.encoding == QTK_CODEBOOK)
    return scale * t->table[code];
  if (t->layout.zero == QTK_ZERO_MIN)
    return scale * (float)code + zero;
  return scale * ((float)code - zero);
}

static void weights_dense(const struct qtk_qtensor *t, int64_t row, int64_t col, int64_t n,
                          float *out)
{
  const struct qtk_qlayout *l = &t->layout;
  const char *from = (const char *)t->codes + (size_t)row * l->row_bytes;

  (void)qtk_convert(QTK_F32, out, l->dtype, from + (size_t)col * qtk_dtype_size(l->dtype),
                    (size_t)n);
}

void cpu_generic_dequantize(const struct cpu_weights *w, int64_t row, int64_t col, int64_t n,
                            float *work, float *out)
{
  const struct qtk_qtensor *t = w->t;
  const struct qtk_qlayout *l = &t->layout;
  const uint8_t *packed;
  int64_t g0, g1;
  float *scale = work, *zero;

  if (l->encoding == QTK_DENSE) {
    weights_dense(t, row, col, n, out);
    return;
  }
  if (n <= 0)
    return;
  packed =
      (const uint8_t *)t->codes + (size_t)row * l->row_bytes + (size_t)(col / CHUNK) * 4 * l->bits;
  g0 = t->g_idx != NULL ? 0 : col / l->group;
  g1 = t->g_idx != NULL ? l->groups : (col + n - 1) / l->group + 1;
  zero = work + l->groups;
  cpu_generic_groups(w, row, g0, g1, scale, zero);
  for (int64_t j0 = 0; j0 < n; j0 += CHUNK, packed += 4 * l->bits) {
    int codes[CHUNK];
    weights_unpack(l->bits, packed, codes);
    for (int64_t j = j0; j < n && j < j0 + CHUNK; j++) {
      int64_t g = (t->g_idx != NULL ? t->g_idx[col + j] : (col + j) / l->group) - g0;
      out[j] = weights_value(t, codes[j - j0], scale[g], zero[g]);
    }
  }
}

void cpu_generic_panel_cols(const struct cpu_weights *w, int64_t row, int64_t k, int64_t col,
                            int64_t n, int64_t nr, float *work, float *out)
{
  float *values = work + cpu_row_work(&w->t->layout);

  for (int64_t p = 0; p < k; p++) {
    cpu_generic_dequantize(w, row + p, col, n, work, values);
    for (int64_t j = 0; j < (n + nr - 1) / nr * nr; j++)
      out[j / nr * nr * k + p * nr + j % nr] = j < n ? values[j] : 0;
  }
}

void cpu_generic_panel_rows(const struct cpu_weights *w, int64_t row, int64_t n, int64_t col,
                            int64_t k, int64_t nr, float *work, float *out)
{
  float *values = work + cpu_row_work(&w->t->layout);

  for (int64_t j = 0; j < (n + nr - 1) / nr * nr; j++) {
    if (j < n)
      cpu_generic_dequantize(w, row + j, col, k, work, values);
    for (int64_t p = 0; p < k; p++)
      out[j / nr * nr * k + p * nr + j % nr] = j < n ? values[p] : 0;
  }
}

void cpu_generic_dot_rows(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                          const float *x, int64_t ldx, float *work, float *y, int64_t ldy)
{
  const struct qtk_qlayout *l = &w->t->layout;
  float *values = work + CPU_WORK_ROWS * 2 * (l->groups + 16);

  for (int64_t r = 0; r < rows; r++) {
    cpu_generic_dequantize(w, row + r, 0, l->cols, work, values);
    for (int64_t t = 0; t < tokens; t++)
      y[t * ldy + r] = (float)cpu_generic_dot(l->cols, values, x + t * ldx);
  }
}
