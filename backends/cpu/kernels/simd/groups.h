/* SPDX-License-Identifier: BSD-3-Clause
 * What the kernels over packed weights share: where codes lie, scales and zeros of
 * groups. Needs "levels.h". */
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

/* ---- scales and zeros; up to 16 floats behind the last are written over ---------- */

/* The 64 bits from bit `at` of a stream on; zeros behind its end. */
static inline uint64_t weights_word(const uint8_t *stream, size_t bytes, size_t at)
{
  size_t left = bytes - at / 8;
  int shift = (int)(at % 8);
  uint64_t low = 0, high = 0;

  if (left >= 16) {
    memcpy(&low, stream + at / 8, 8);
    memcpy(&high, stream + at / 8 + 8, 8);
  } else {
    for (size_t i = 0; i < left && i < 9; i++)
      if (i < 8)
        low |= (uint64_t)stream[at / 8 + i] << 8 * i;
      else
        high = stream[at / 8 + i];
  }
  return low >> shift | high << 1 << (63 - shift);
}

/* Fields [first, first + n) of a little-endian stream of fields of `bits` <= 8. */
static inline void weights_fields(const uint8_t *stream, size_t bytes, size_t first, int64_t n,
                                  int bits, float *out)
{
  for (int64_t i = 0; i < n; i += 8)
    vf_fields(weights_word(stream, bytes, (first + (size_t)i) * (size_t)bits), bits, out + i);
}

static inline void weights_floats(const void *from, enum qtk_dtype dtype, size_t at, int64_t n,
                                  float *out)
{
  if (dtype == QTK_F32)
    memcpy(out, (const float *)from + at, (size_t)n * sizeof *out);
  else
    for (int64_t i = 0; i < n; i += VL)
      vf_store(out + i, vf_from_f16_n((const uint16_t *)from + at + i, n - i < VL ? n - i : VL));
}

/* Minima under other scales than their own, as the plain kernel has them: in half precision
 * where the scales are; kept where their own scale is 0, with scales of 1 then 0. `zero`
 * has the minima already. */
static inline void weights_minima(const struct cpu_weights *w, size_t at, int64_t n, float *scale,
                                  float *zero)
{
  const vf none = vf_set(0.0f);

  for (int64_t i = 0; i < n; i += VL) {
    float own[VL];
    int64_t few = n - i < VL ? n - i : VL;
    weights_floats(w->t->scales, w->t->layout.scale_dtype, at + (size_t)i, few, own);
    vf o = few < VL ? vf_load_n(own, few) : vf_load(own), m = vf_load(zero + i);
    vf now = vf_mul(m, vf_div(vf_load(scale + i), o));
    if (!w->unit && w->scale_dtype == QTK_F16) {
      uint16_t half[VL];
      vf_to_f16(half, now);
      now = vf_from_f16(half);
    }
    vf_store(zero + i, vf_where_equal(o, none, w->unit ? none : m, now));
  }
}

/* As cpu_generic_groups, with whose formulas the rare cases stay. */
static inline void weights_groups(const struct cpu_weights *w, int64_t row, int64_t g0, int64_t g1,
                                  float *scale, float *zero)
{
  const struct qtk_qlayout *l = &w->t->layout;
  size_t at = (size_t)(row * l->groups + g0);
  int64_t n = g1 - g0;

  if (w->scale_dtype == QTK_U8 || l->scale_dtype == QTK_U8 ||
      (l->zero == QTK_ZERO_INT && l->zero_bits > 8)) {
    cpu_generic_groups(w, row, g0, g1, scale, zero);
    return;
  }
  if (w->unit)
    for (int64_t i = 0; i < n; i += VL)
      vf_store(scale + i, vf_set(1.0f));
  else
    weights_floats(w->scales, w->scale_dtype, (size_t)(row * w->scale_stride + g0), n, scale);
  if (l->encoding == QTK_CODEBOOK)
    return;
  if (l->zero == QTK_ZERO_MIN) {
    weights_floats(w->t->zeros, l->scale_dtype, at, n, zero);
    if (w->unit || !w->own)
      weights_minima(w, at, n, scale, zero);
  } else if (l->zero == QTK_ZERO_INT)
    weights_fields(w->t->zeros, l->zero_bytes, at, n, l->zero_bits, zero);
  else
    for (int64_t i = 0; i < n; i += VL)
      vf_store(zero + i, vf_set((float)(1 << (l->bits - 1))));
}
