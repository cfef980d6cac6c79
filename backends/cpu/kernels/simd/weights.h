/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels over packed weights. Needs "levels.h". What is rare
 * (groups that end inside a chunk, an index of groups) stays with the plain
 * kernels; the floats are the same. */
#include <string.h>

#include "../../kernels.h"
#include "../declare.h"

#define CHUNK 32
#define CHUNK_VECTORS (CHUNK / VL)

static inline int weights_regular(const struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  return (l->encoding == QTK_AFFINE || l->encoding == QTK_CODEBOOK) && t->g_idx == NULL &&
         (l->groups == 1 || l->group % CHUNK == 0);
}

static inline const uint8_t *weights_codes(const struct qtk_qtensor *t, int64_t row, int64_t col)
{
  const struct qtk_qlayout *l = &t->layout;
  return (const uint8_t *)t->codes + (size_t)row * l->row_bytes +
         (size_t)(col / CHUNK * 4 * l->bits);
}

/* Field k of a little-endian stream of fields of `bits` <= 8. */
static inline float weights_field(const uint8_t *stream, size_t k, int bits)
{
  size_t at = k * (size_t)bits;
  int shift = (int)(at & 7);
  unsigned value = stream[at >> 3];
  if (shift + bits > 8)
    value |= (unsigned)stream[(at >> 3) + 1] << 8;
  return (float)(value >> shift & ((1u << bits) - 1u));
}

/* Scale and zero of groups [g0, g1); see cpu_generic_groups. */
static void weights_groups(const struct cpu_weights *w, int64_t row, int64_t g0, int64_t g1,
                           float *scale, float *zero)
{
  const struct qtk_qlayout *l = &w->t->layout;
  size_t at = (size_t)(row * l->groups + g0), n = (size_t)(g1 - g0);
  if (w->unit || !w->own || l->scale_dtype != QTK_F16 || l->encoding != QTK_AFFINE ||
      (l->zero == QTK_ZERO_INT && l->zero_bits > 8)) {
    cpu_generic_groups(w, row, g0, g1, scale, zero);
    return;
  }
  K(from_half)(QTK_F16, (int64_t)n, (const uint16_t *)w->t->scales + at, scale);
  if (l->zero == QTK_ZERO_MIN)
    K(from_half)(QTK_F16, (int64_t)n, (const uint16_t *)w->t->zeros + at, zero);
  else if (l->zero == QTK_ZERO_MID)
    for (size_t i = 0; i < n; i++)
      zero[i] = (float)(1 << (l->bits - 1));
  else
    for (size_t i = 0; i < n; i++)
      zero[i] = weights_field(w->t->zeros, at + i, l->zero_bits);
}

/* n columns from `codes` on, all of one group. */
static inline __attribute__((always_inline)) void
weights_run(const struct levels *l, int bits, const uint8_t *codes, int64_t n, float *out)
{
  vf v[CHUNK_VECTORS];
  int64_t j = 0;
  for (; j + CHUNK <= n; j += CHUNK, codes += 4 * bits) {
    levels_chunk(l, bits, codes, v);
#pragma GCC unroll 4
    for (int i = 0; i < CHUNK_VECTORS; i++)
      vf_store(out + j + i * VL, v[i]);
  }
  if (j < n) {
    float whole[CHUNK];
    levels_chunk(l, bits, codes, v);
    for (int i = 0; i < CHUNK_VECTORS; i++)
      vf_store(whole + i * VL, v[i]);
    memcpy(out + j, whole, (size_t)(n - j) * sizeof *out);
  }
}

static void weights_run_bits(const struct levels *l, int bits, const uint8_t *codes, int64_t n,
                             float *out)
{
  switch (bits) {
  case 2:
    weights_run(l, 2, codes, n, out);
    return;
  case 3:
    weights_run(l, 3, codes, n, out);
    return;
  case 4:
    weights_run(l, 4, codes, n, out);
    return;
  default:
    weights_run(l, 8, codes, n, out);
  }
}

static void weights_dense(const struct qtk_qtensor *t, int64_t row, int64_t col, int64_t n,
                          float *out)
{
  const char *from = (const char *)t->codes + (size_t)row * t->layout.row_bytes;
  if (t->layout.dtype == QTK_F32)
    memcpy(out, (const float *)from + col, (size_t)n * sizeof *out);
  else
    K(from_half)(t->layout.dtype, n, (const uint16_t *)from + col, out);
}

void K(dequantize)(const struct cpu_weights *w, int64_t row, int64_t col, int64_t n, float *work,
                   float *out)
{
  const struct qtk_qtensor *t = w->t;
  const struct qtk_qlayout *l = &t->layout;
  if (n <= 0)
    return;
  if (l->encoding == QTK_DENSE && l->dtype != QTK_F64) {
    weights_dense(t, row, col, n, out);
    return;
  }
  if (!weights_regular(t)) {
    cpu_generic_dequantize(w, row, col, n, work, out);
    return;
  }
  int64_t g0 = col / l->group, g1 = (col + n - 1) / l->group + 1, end = col + n;
  float *scale = work, *zero = work + l->groups;
  weights_groups(w, row, g0, g1, scale, zero);
  for (int64_t g = g0; g < g1; g++) {
    struct levels levels;
    int64_t a = g * l->group > col ? g * l->group : col;
    int64_t b = (g + 1) * l->group < end ? (g + 1) * l->group : end;
    levels_set(&levels, t, scale[g - g0], zero[g - g0]);
    weights_run_bits(&levels, l->bits, weights_codes(t, row, a), b - a, out + a - col);
  }
}

/* ---- products with few tokens -------------------------------------------------- */

/* Whole chunks of a run into two chains a token. */
static inline __attribute__((always_inline)) void dot_run(const struct levels *l, int bits,
                                                          int tokens, const uint8_t *codes,
                                                          int64_t chunks, const float *x,
                                                          int64_t ldx, vf sums[CPU_DOT_TOKENS][2])
{
  for (int64_t c = 0; c < chunks; c++, codes += 4 * bits, x += CHUNK) {
    vf v[CHUNK_VECTORS];
    levels_chunk(l, bits, codes, v);
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++)
#pragma GCC unroll 4
      for (int i = 0; i < CHUNK_VECTORS; i++)
        sums[t][i & 1] = vf_fma(v[i], vf_load(x + t * ldx + i * VL), sums[t][i & 1]);
  }
}

/* A last chunk of n < 32 columns, with zeros for x behind them. */
static inline __attribute__((always_inline)) void dot_rest(const struct levels *l, int bits,
                                                           int tokens, const uint8_t *codes,
                                                           int64_t n, const float *x, int64_t ldx,
                                                           vf sums[CPU_DOT_TOKENS][2])
{
  float rest[CPU_DOT_TOKENS * CHUNK] = {0};
  for (int t = 0; t < tokens; t++)
    memcpy(rest + t * CHUNK, x + t * ldx, (size_t)n * sizeof *x);
  dot_run(l, bits, tokens, codes, 1, rest, CHUNK, sums);
}

static inline __attribute__((always_inline)) void dot_rows(const struct cpu_weights *w, int bits,
                                                           int tokens, int64_t row, int64_t rows,
                                                           const float *x, int64_t ldx, float *work,
                                                           float *y, int64_t ldy)
{
  const struct qtk_qlayout *l = &w->t->layout;
  float *scale = work, *zero = work + l->groups;
  for (int64_t r = 0; r < rows; r++) {
    vf sums[CPU_DOT_TOKENS][2];
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++)
      sums[t][0] = sums[t][1] = vf_set(0.0f);
    weights_groups(w, row + r, 0, l->groups, scale, zero);
    for (int64_t g = 0; g < l->groups; g++) {
      struct levels levels;
      int64_t a = g * l->group, b = a + l->group < l->cols ? a + l->group : l->cols;
      const uint8_t *codes = weights_codes(w->t, row + r, a);
      levels_set(&levels, w->t, scale[g], zero[g]);
      dot_run(&levels, bits, tokens, codes, (b - a) / CHUNK, x + a, ldx, sums);
      if ((b - a) % CHUNK) {
        int64_t whole = a + (b - a) / CHUNK * CHUNK;
        dot_rest(&levels, bits, tokens, weights_codes(w->t, row + r, whole), b - whole, x + whole,
                 ldx, sums);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++)
      y[t * ldy + r] = vf_sum(vf_add(sums[t][0], sums[t][1]));
  }
}

#define DOT_TOKENS(bits, n)                                                                 \
  static void dot_rows_##bits##_##n(const struct cpu_weights *w, int64_t row, int64_t rows, \
                                    const float *x, int64_t ldx, float *work, float *y,     \
                                    int64_t ldy)                                            \
  {                                                                                         \
    dot_rows(w, bits, n, row, rows, x, ldx, work, y, ldy);                                  \
  }
#define DOT_BITS(bits) \
  DOT_TOKENS(bits, 1) DOT_TOKENS(bits, 2) DOT_TOKENS(bits, 4) DOT_TOKENS(bits, 8)
DOT_BITS(2)
DOT_BITS(3)
DOT_BITS(4)
DOT_BITS(8)

static void (*const dot_rows_by_bits[9][4])(const struct cpu_weights *w, int64_t row, int64_t rows,
                                            const float *x, int64_t ldx, float *work, float *y,
                                            int64_t ldy) = {
    [2] = {dot_rows_2_1, dot_rows_2_2, dot_rows_2_4, dot_rows_2_8},
    [3] = {dot_rows_3_1, dot_rows_3_2, dot_rows_3_4, dot_rows_3_8},
    [4] = {dot_rows_4_1, dot_rows_4_2, dot_rows_4_4, dot_rows_4_8},
    [8] = {dot_rows_8_1, dot_rows_8_2, dot_rows_8_4, dot_rows_8_8},
};

/* Floats straight from where they lie, anything else a row at a time. */
static void dot_plain(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                      const float *x, int64_t ldx, float *work, float *y, int64_t ldy)
{
  const struct qtk_qlayout *l = &w->t->layout;
  float *values = work + 2 * (l->groups + 16);
  for (int64_t r = 0; r < rows; r++) {
    const float *at = (const float *)((const char *)w->t->codes + (size_t)(row + r) * l->row_bytes);
    if (l->encoding != QTK_DENSE || l->dtype != QTK_F32)
      K(dequantize)(w, row + r, 0, l->cols, work, values), at = values;
    for (int64_t t = 0; t < tokens; t++)
      K(row_dots)(1, l->cols, 1.0f, x + t * ldx, at, QTK_F32, l->cols, y + t * ldy + r);
  }
}

void K(dot_rows)(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                 const float *x, int64_t ldx, float *work, float *y, int64_t ldy)
{
  if (!weights_regular(w->t)) {
    dot_plain(w, row, rows, tokens, x, ldx, work, y, ldy);
    return;
  }
  for (int64_t t = 0; t < tokens;) {
    int64_t left = tokens - t;
    int log = left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
    dot_rows_by_bits[w->t->layout.bits][log](w, row, rows, x + t * ldx, ldx, work, y + t * ldy,
                                             ldy);
    t += (int64_t)1 << log;
  }
}
