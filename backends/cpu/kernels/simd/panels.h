/* SPDX-License-Identifier: BSD-3-Clause
 * Bodies of the kernels that make panels of packed weights. Needs "levels.h".
 *
 * Side by side as they lie (panel_cols) a chunk becomes floats by one permutation. Where
 * rows of weights become columns (panel_rows) it is the codes that are transposed, a
 * quarter of the bytes or less, and then each lane has the scale of its own row. The
 * floats are those of `dequantize`, bit by bit. */
#include "groups.h"

/* ---- rows of weights stay rows ------------------------------------------------------------ */

/* Where n columns of panels, nr wide and k high each, are put. */
struct panels {
  int64_t k, n, nr;
  float *out;
};

static inline void panels_store(const struct panels *p, int64_t row, int64_t c, vf v)
{
  float *to = p->out + c / p->nr * p->nr * p->k + row * p->nr + c % p->nr;

  vf_store(to, p->n - c < VL ? vf_select_n(v, vf_set(0), p->n - c) : v);
}

/* A row of codes from `codes` on, of groups whose scales lie next to each other; `ends` is
 * where the first group ends. */
static inline __attribute__((always_inline)) void
panels_row(const struct panels *p, struct levels *l, int bits, const uint8_t *codes,
           const float *scale, const float *zero, int64_t ends, int64_t group, int64_t row)
{
  for (int64_t c = 0, g = 0, end = 0; c < p->n; c += CHUNK, codes += 4 * bits) {
    vf v[CHUNK_VECTORS];
    if (c >= end) {
      levels_group(l, bits, scale[g], zero[g]);
      end = g++ == 0 ? ends : end + group;
    }
    levels_chunk(l, bits, codes, v);
#pragma GCC unroll 4
    for (int i = 0; i < CHUNK_VECTORS; i++)
      if (c + i * VL < p->n)
        panels_store(p, row, c + i * VL, v[i]);
  }
}

static inline __attribute__((always_inline)) void panels_rows(const struct cpu_weights *w,
                                                              int bits, int64_t row, int64_t col,
                                                              const struct panels *p, float *work)
{
  const struct qtk_qlayout *l = &w->t->layout;
  int64_t g0 = col / l->group, g1 = (col + p->n - 1) / l->group + 1;
  float *scale = work, *zero = work + l->groups + 16;
  struct levels levels = {.minimum = 0};

  levels_open(&levels, w->t);
  for (int64_t i = 0; i < p->k; i++) {
    weights_groups(w, row + i, g0, g1, scale, zero);
    panels_row(p, &levels, bits, weights_codes(w->t, row + i, col), scale, zero,
               (g0 + 1) * l->group - col, l->group, i);
  }
}

/* Zeros from column n to the end of the last panel. */
static void panels_edge(const struct panels *p)
{
  int64_t from = (p->n + VL - 1) / VL * VL, to = (p->n + p->nr - 1) / p->nr * p->nr;

  for (int64_t c = from; c < to; c += VL)
    for (int64_t row = 0; row < p->k; row++)
      vf_store(p->out + c / p->nr * p->nr * p->k + row * p->nr + c % p->nr, vf_set(0));
}

/* Any encoding, a row of floats at a time. */
static void panels_plain(const struct cpu_weights *w, int64_t row, int64_t col,
                         const struct panels *p, float *work)
{
  float *values = work + cpu_row_work(&w->t->layout);

  for (int64_t i = 0; i < p->k; i++) {
    K(dequantize)(w, row + i, col, p->n, work, values);
    for (int64_t c = 0; c < p->n; c += VL)
      panels_store(p, i, c, vf_load(values + c));
  }
}

void K(panel_cols)(const struct cpu_weights *w, int64_t row, int64_t k, int64_t col, int64_t n,
                   int64_t nr, float *work, float *out)
{
  const struct panels p = {.k = k, .n = n, .nr = nr, .out = out};

  panels_edge(&p);
  if (n <= 0 || !weights_regular(w->t)) {
    panels_plain(w, row, col, &p, work);
    return;
  }
  switch (w->t->layout.bits) {
  case 2:
    panels_rows(w, 2, row, col, &p, work);
    return;
  case 3:
    panels_rows(w, 3, row, col, &p, work);
    return;
  case 4:
    panels_rows(w, 4, row, col, &p, work);
    return;
  default:
    panels_rows(w, 8, row, col, &p, work);
  }
}

/* ---- rows of weights become columns --------------------------------------------------------- */

/* Bytes of VL rows, 16 of each, column by column: out[c * VL + r]. Each step interleaves
 * row r with row r + VL / 2, which turns the bits of a byte's place by one. */
static inline __attribute__((always_inline)) void panels_transpose(__m128i rows[VL], uint8_t *out)
{
#pragma GCC unroll 4
  for (int step = 1; step < VL; step *= 2) {
    __m128i next[VL];
#pragma GCC unroll 8
    for (int r = 0; r < VL / 2; r++) {
      next[2 * r] = _mm_unpacklo_epi8(rows[r], rows[r + VL / 2]);
      next[2 * r + 1] = _mm_unpackhi_epi8(rows[r], rows[r + VL / 2]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++)
      rows[r] = next[r];
  }
#pragma GCC unroll 16
  for (int r = 0; r < VL; r++)
    _mm_storeu_si128((__m128i *)(out + 16 * r), rows[r]);
}

/* The bytes of a chunk of VL rows as columns; of 3 bits, the high ones are columns 8 to 11. */
static inline __attribute__((always_inline)) void
panels_bytes(int bits, const uint8_t *codes, size_t row_bytes, uint8_t *out)
{
  __m128i rows[VL];

  for (int half = 0; half < (bits == 8 ? 2 : 1); half++) {
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++) {
      const uint8_t *from = codes + (size_t)r * row_bytes + 16 * half;
      if (bits >= 4) {
        rows[r] = _mm_loadu_si128((const __m128i *)from);
      } else {
        int high = 0;
        if (bits == 3)
          memcpy(&high, from + 8, 4);
        rows[r] = _mm_insert_epi32(_mm_loadl_epi64((const __m128i *)from), high, 2);
      }
    }
    panels_transpose(rows, out + half * 16 * VL);
  }
}

/* The VL bytes of column c; what a register has behind them is not used. Of 8 rows, whole
 * registers are read as they were written: a half would be cut out by a move that
 * valgrind (3.19) does not know between registers. */
static inline __attribute__((always_inline)) __m128i panels_load(const uint8_t *bytes, int c)
{
  __m128i v = _mm_loadu_si128((const __m128i *)(bytes + c * VL / 16 * 16));

  return c * VL % 16 == 0 ? v : _mm_srli_si128(v, 8);
}

/* Codes of column c of a chunk, a byte a row. */
static inline __attribute__((always_inline)) __m128i panels_code(int bits, const uint8_t *bytes,
                                                                 int c)
{
  int wide = bits == 4 ? 16 : 8; /* columns that differ by it share a byte */
  __m128i code;

  if (bits == 8)
    return panels_load(bytes, c);
  code = _mm_srli_epi16(panels_load(bytes, c % wide), c / wide * (bits == 4 ? 4 : 2));
  code = _mm_and_si128(code, _mm_set1_epi8(bits == 4 ? 15 : 3));
  if (bits == 3) {
    __m128i high = _mm_srli_epi16(panels_load(bytes, 8 + c / 8), c % 8);
    high = _mm_and_si128(high, _mm_set1_epi8(1));
    code = _mm_or_si128(code, _mm_slli_epi16(high, 2));
  }
  return code;
}

/* n <= 32 columns of a chunk of VL rows, nr floats apart. */
static inline __attribute__((always_inline)) void
panels_chunk(const struct levels *l, int bits, const uint8_t *codes, size_t row_bytes, int64_t n,
             int64_t nr, float *out)
{
  uint8_t bytes[2 * 16 * VL];

  panels_bytes(bits, codes, row_bytes, bytes);
  if (n >= CHUNK) {
#pragma GCC unroll 32
    for (int c = 0; c < CHUNK; c++)
      vf_store(out + c * nr, levels_lanes(l, bits, panels_code(bits, bytes, c)));
    return;
  }
#pragma GCC unroll 32
  for (int c = 0; c < CHUNK; c++)
    if (c < n)
      vf_store(out + c * nr, levels_lanes(l, bits, panels_code(bits, bytes, c)));
}

/* Number g of each row's groups, rows `pitch` apart, as a vector. */
static inline vf panels_gather(const float *of, int64_t pitch, int64_t g)
{
  float lanes[VL];

  for (int r = 0; r < VL; r++)
    lanes[r] = of[r * pitch + g];
  return vf_load(lanes);
}

/* VL rows from `row` on, columns [col, col + k). */
static inline __attribute__((always_inline)) void
panels_columns(const struct cpu_weights *w, int bits, int64_t row, int64_t col, int64_t k,
               int64_t nr, float *work, float *out)
{
  const struct qtk_qlayout *l = &w->t->layout;
  int64_t g0 = col / l->group, pitch = (col + k - 1) / l->group + 1 - g0;
  const uint8_t *codes = weights_codes(w->t, row, col);
  float *scale = work, *zero = work + VL * pitch + 16;
  struct levels levels = {.minimum = 0};

  levels_open(&levels, w->t);
  for (int r = 0; r < VL; r++) /* what is written behind a row's groups is the next row's */
    weights_groups(w, row + r, g0, g0 + pitch, scale + r * pitch, zero + r * pitch);
  for (int64_t g = 0, c = 0; g < pitch; g++) {
    int64_t end = (g0 + g + 1) * l->group - col;
    levels.scale = panels_gather(scale, pitch, g);
    levels.zero = l->encoding == QTK_AFFINE ? panels_gather(zero, pitch, g) : vf_set(0);
    for (; c < k && c < end; c += CHUNK, codes += 4 * bits)
      panels_chunk(&levels, bits, codes, l->row_bytes, k - c, nr, out + c * nr);
  }
}

static void panels_columns_bits(const struct cpu_weights *w, int64_t row, int64_t col, int64_t k,
                                int64_t nr, float *work, float *out)
{
  switch (w->t->layout.bits) {
  case 2:
    panels_columns(w, 2, row, col, k, nr, work, out);
    return;
  case 3:
    panels_columns(w, 3, row, col, k, nr, work, out);
    return;
  case 4:
    panels_columns(w, 4, row, col, k, nr, work, out);
    return;
  default:
    panels_columns(w, 8, row, col, k, nr, work, out);
  }
}

/* Up to VL rows of any encoding; zeros behind them. */
static void panels_columns_plain(const struct cpu_weights *w, int64_t row, int64_t rows,
                                 int64_t col, int64_t k, int64_t nr, float *work, float *out)
{
  float *values = work + cpu_row_work(&w->t->layout);

  for (int64_t r = 0; r < rows; r++)
    K(dequantize)(w, row + r, col, k, work, values + r * k);
  K(pack_rows)(k, rows > 0 ? rows : 0, VL, nr, 1, values, k, out);
}

void K(panel_rows)(const struct cpu_weights *w, int64_t row, int64_t n, int64_t col, int64_t k,
                   int64_t nr, float *work, float *out)
{
  int regular = k > 0 && weights_regular(w->t);

  for (int64_t i = 0; i < n; i += nr, out += nr * k)
    for (int64_t s = 0; s < nr; s += VL)
      if (regular && n - i - s >= VL)
        panels_columns_bits(w, row + i + s, col, k, nr, work, out + s);
      else
        panels_columns_plain(w, row + i + s, n - i - s < VL ? n - i - s : VL, col, k, nr, work,
                             out + s);
}
