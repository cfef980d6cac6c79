/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels over packed weights. Needs "levels.h". What is rare
 * (groups that end inside a chunk, an index of groups) stays with the plain
 * kernels; the floats are the same. */
#include "groups.h"

/* ---- rows as floats --------------------------------------------------------------- */

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
  struct levels levels;
  float *scale = work, *zero = work + l->groups;
  weights_groups(w, row, g0, g1, scale, zero);
  levels_open(&levels, t);
  for (int64_t g = g0; g < g1; g++) {
    int64_t a = g * l->group > col ? g * l->group : col;
    int64_t b = (g + 1) * l->group < end ? (g + 1) * l->group : end;
    levels_group(&levels, l->bits, scale[g - g0], zero[g - g0]);
    weights_run_bits(&levels, l->bits, weights_codes(t, row, a), b - a, out + a - col);
  }
}

/* ---- products with few tokens -------------------------------------------------- */

/* `rows` rows of weights (constants where they are called, as are bits and tokens) with
 * some chunks of x: each sum is one chain. */
static inline __attribute__((always_inline)) void
dot_chunks(const struct levels *l, int bits, int rows, int tokens, const uint8_t *codes,
           size_t row_bytes, int64_t chunks, const float *x, int64_t ldx,
           vf sums[DOT_ROWS][CPU_DOT_TOKENS])
{
  for (int64_t c = 0; c < chunks; c++, codes += 4 * bits, x += CHUNK) {
    vf v[DOT_ROWS][CHUNK_VECTORS];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      const uint8_t *at = codes + (size_t)r * row_bytes;
      levels_chunk(&l[r], bits, at, v[r]);
      __builtin_prefetch(at + (size_t)rows * row_bytes); /* of the next rows */
    }
#pragma GCC unroll 4
    for (int i = 0; i < CHUNK_VECTORS; i++)
#pragma GCC unroll 8
      for (int t = 0; t < tokens; t++) {
        vf right = vf_load(x + t * ldx + i * VL);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
          sums[r][t] = vf_fma(v[r][i], right, sums[r][t]);
      }
  }
}

/* A last chunk of n < 32 columns, with zeros for x behind them. */
static inline __attribute__((always_inline)) void dot_rest(const struct levels *l, int bits,
                                                           int rows, int tokens,
                                                           const uint8_t *codes, size_t row_bytes,
                                                           int64_t n, const float *x, int64_t ldx,
                                                           vf sums[DOT_ROWS][CPU_DOT_TOKENS])
{
  float rest[CPU_DOT_TOKENS * CHUNK] = {0};

  for (int t = 0; t < tokens; t++)
    memcpy(rest + t * CHUNK, x + t * ldx, (size_t)n * sizeof *x);
  dot_chunks(l, bits, rows, tokens, codes, row_bytes, 1, rest, CHUNK, sums);
}

static inline __attribute__((always_inline)) void dot_block(const struct cpu_weights *w, int bits,
                                                            int rows, int tokens, int64_t row,
                                                            const float *x, int64_t ldx,
                                                            float *work, float *y, int64_t ldy)
{
  const struct qtk_qlayout *l = &w->t->layout;
  const uint8_t *codes = weights_codes(w->t, row, 0);
  int64_t room = l->groups + 16;
  struct levels levels[DOT_ROWS];
  vf sums[DOT_ROWS][CPU_DOT_TOKENS];

#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    levels_open(&levels[r], w->t);
    weights_groups(w, row + r, 0, l->groups, work + 2 * r * room, work + (2 * r + 1) * room);
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++)
      sums[r][t] = vf_set(0);
  }
  for (int64_t g = 0, a = 0; g < l->groups; g++, a += l->group) {
    int64_t n = a + l->group < l->cols ? l->group : l->cols - a;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
      levels_group(&levels[r], bits, work[2 * r * room + g], work[(2 * r + 1) * room + g]);
    dot_chunks(levels, bits, rows, tokens, codes, l->row_bytes, n / CHUNK, x + a, ldx, sums);
    codes += n / CHUNK * 4 * bits;
    if (n % CHUNK != 0)
      dot_rest(levels, bits, rows, tokens, codes, l->row_bytes, n % CHUNK,
               x + a + n / CHUNK * CHUNK, ldx, sums);
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
    for (int t = 0; t < tokens; t++)
      y[t * ldy + r] = vf_sum(sums[r][t]);
}

#define DOT_TOKENS(bits, tokens, block)                                                          \
  static void dot_rows_##bits##_##tokens(const struct cpu_weights *w, int64_t row, int64_t rows, \
                                         const float *x, int64_t ldx, float *work, float *y,     \
                                         int64_t ldy)                                            \
  {                                                                                              \
    int64_t r = 0;                                                                               \
    for (; r + block <= rows; r += block)                                                        \
      dot_block(w, bits, block, tokens, row + r, x, ldx, work, y + r, ldy);                      \
    for (; block > 1 && r < rows; r++)                                                           \
      dot_block(w, bits, 1, tokens, row + r, x, ldx, work, y + r, ldy);                          \
  }
#define DOT_BITS(bits)               \
  DOT_TOKENS(bits, 1, DOT_ROWS)      \
  DOT_TOKENS(bits, 2, DOT_ROWS)      \
  DOT_TOKENS(bits, 4, DOT_ROWS_OF_4) \
  DOT_TOKENS(bits, 8, DOT_ROWS_OF_8)
#define DOT_NAMES(bits)                                                                \
  {                                                                                    \
    dot_rows_##bits##_1, dot_rows_##bits##_2, dot_rows_##bits##_4, dot_rows_##bits##_8 \
  }

DOT_BITS(2)
DOT_BITS(3)
DOT_BITS(4)
DOT_BITS(8)

/* By bits, and the logarithm of the tokens. */
static void (*const dot_rows_by_bits[9][4])(const struct cpu_weights *w, int64_t row, int64_t rows,
                                            const float *x, int64_t ldx, float *work, float *y,
                                            int64_t ldy) = {
    [2] = DOT_NAMES(2),
    [3] = DOT_NAMES(3),
    [4] = DOT_NAMES(4),
    [8] = DOT_NAMES(8),
};

/* Floats straight from where they lie, anything else a row at a time. */
static void dot_plain(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                      const float *x, int64_t ldx, float *work, float *y, int64_t ldy)
{
  const struct qtk_qlayout *l = &w->t->layout;
  float *values = work + CPU_WORK_ROWS * 2 * (l->groups + 16);
  for (int64_t r = 0; r < rows; r++) {
    const float *at = (const float *)((const char *)w->t->codes + (size_t)(row + r) * l->row_bytes);
    if (l->encoding != QTK_DENSE || l->dtype != QTK_F32)
      K(dequantize)(w, row + r, 0, l->cols, work, values), at = values;
    for (int64_t t = 0; t < tokens; t++)
      K(row_dots)(1, l->cols, 1.0f, x + t * ldx, at, QTK_F32, l->cols, y + t * ldy + r);
  }
}

#include "one.h"

void K(dot_rows)(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                 const float *x, int64_t ldx, float *work, float *y, int64_t ldy)
{
  if (!weights_regular(w->t)) {
    dot_plain(w, row, rows, tokens, x, ldx, work, y, ldy);
    return;
  }
  for (int64_t t = 0; t < tokens;) {
    int64_t left = tokens - t;
    if (left == 1 && w->t->layout.encoding == QTK_AFFINE) {
      one_rows(w, row, rows, x + t * ldx, work, y + t * ldy);
      return;
    }
    int log = left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
    dot_rows_by_bits[w->t->layout.bits][log](w, row, rows, x + t * ldx, ldx, work, y + t * ldy,
                                             ldy);
    t += (int64_t)1 << log;
  }
}
