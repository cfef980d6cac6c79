/* SPDX-License-Identifier: BSD-3-Clause
 * Packed codes, and what stands beside them: scales, zeros, minima. */
#include <string.h>

#include "core/half.h"
#include "core/pack.h"

/* ---- chunks -------------------------------------------------------------------- */

static void pack_unpack2(const uint8_t packed[8], uint8_t codes[QTK_CHUNK])
{
  for (int j = 0; j < 8; j++) {
    codes[j] = packed[j] & 3;
    codes[j + 8] = packed[j] >> 2 & 3;
    codes[j + 16] = packed[j] >> 4 & 3;
    codes[j + 24] = packed[j] >> 6;
  }
}

static void pack_unpack4(const uint8_t packed[16], uint8_t codes[QTK_CHUNK])
{
  for (int j = 0; j < 16; j++) {
    codes[j] = packed[j] & 15;
    codes[j + 16] = packed[j] >> 4;
  }
}

static void pack_unpack3(const uint8_t packed[12], uint8_t codes[QTK_CHUNK])
{
  pack_unpack2(packed, codes);
  for (int j = 0; j < QTK_CHUNK; j++)
    codes[j] |= (uint8_t)((packed[8 + j / 8] >> (j % 8) & 1) << 2);
}

void qtk_chunk_unpack(int bits, const uint8_t *packed, uint8_t codes[QTK_CHUNK])
{
  if (bits == 2)
    pack_unpack2(packed, codes);
  else if (bits == 3)
    pack_unpack3(packed, codes);
  else if (bits == 4)
    pack_unpack4(packed, codes);
  else
    memcpy(codes, packed, QTK_CHUNK);
}

static void pack_pack2(const uint8_t codes[QTK_CHUNK], uint8_t packed[8])
{
  for (int j = 0; j < 8; j++)
    packed[j] = (uint8_t)((codes[j] & 3) | (codes[j + 8] & 3) << 2 | (codes[j + 16] & 3) << 4 |
                          (codes[j + 24] & 3) << 6);
}

static void pack_pack3(const uint8_t codes[QTK_CHUNK], uint8_t packed[12])
{
  pack_pack2(codes, packed);
  for (int k = 0; k < 4; k++) {
    unsigned high = 0;
    for (int j = 0; j < 8; j++)
      high |= (codes[8 * k + j] >> 2 & 1u) << j;
    packed[8 + k] = (uint8_t)high;
  }
}

void qtk_chunk_pack(int bits, const uint8_t codes[QTK_CHUNK], uint8_t *packed)
{
  if (bits == 2) {
    pack_pack2(codes, packed);
  } else if (bits == 3) {
    pack_pack3(codes, packed);
  } else if (bits == 4) {
    for (int j = 0; j < 16; j++)
      packed[j] = (uint8_t)((codes[j] & 15) | (codes[j + 16] & 15) << 4);
  } else {
    memcpy(packed, codes, QTK_CHUNK);
  }
}

/* ---- rows ------------------------------------------------------------------------ */

void qtk_pack_row(struct qtk_qtensor *t, int64_t row, const uint8_t *codes)
{
  const struct qtk_qlayout *l = &t->layout;
  uint8_t *packed = (uint8_t *)t->codes + (size_t)row * l->row_bytes;
  int64_t col = 0;

  for (; col + QTK_CHUNK <= l->cols; col += QTK_CHUNK, packed += 4 * l->bits)
    qtk_chunk_pack(l->bits, codes + col, packed);
  if (col < l->cols) {
    uint8_t last[QTK_CHUNK] = {0};
    memcpy(last, codes + col, (size_t)(l->cols - col));
    qtk_chunk_pack(l->bits, last, packed);
  }
}

void qtk_unpack_row(const struct qtk_qtensor *t, int64_t row, uint8_t *codes)
{
  const struct qtk_qlayout *l = &t->layout;
  const uint8_t *packed = (const uint8_t *)t->codes + (size_t)row * l->row_bytes;
  int64_t col = 0;

  for (; col + QTK_CHUNK <= l->cols; col += QTK_CHUNK, packed += 4 * l->bits)
    qtk_chunk_unpack(l->bits, packed, codes + col);
  if (col < l->cols) {
    uint8_t last[QTK_CHUNK];
    qtk_chunk_unpack(l->bits, packed, last);
    memcpy(codes + col, last, (size_t)(l->cols - col));
  }
}

/* ---- bit streams --------------------------------------------------------------------- */

unsigned qtk_bits_get(const uint8_t *stream, uint64_t i, int width)
{
  uint64_t bit = i * (uint64_t)width;
  unsigned value = 0;

  for (int k = 0; k < width;) {
    int shift = (int)(bit % 8), n = 8 - shift < width - k ? 8 - shift : width - k;
    value |= (stream[bit / 8] >> shift & ((1u << n) - 1)) << k;
    k += n;
    bit += (uint64_t)n;
  }
  return value;
}

void qtk_bits_set(uint8_t *stream, uint64_t i, int width, unsigned value)
{
  uint64_t bit = i * (uint64_t)width;

  for (int k = 0; k < width;) {
    int shift = (int)(bit % 8), n = 8 - shift < width - k ? 8 - shift : width - k;
    unsigned mask = ((1u << n) - 1) << shift;
    stream[bit / 8] = (uint8_t)((stream[bit / 8] & ~mask) | ((value >> k) << shift & mask));
    k += n;
    bit += (uint64_t)n;
  }
}

/* ---- scales, zeros, minima ------------------------------------------------------------ */

static float pack_get(enum qtk_dtype dtype, const void *values, size_t k)
{
  return dtype == QTK_F32 ? ((const float *)values)[k]
                          : qtk_half_to_f32(((const uint16_t *)values)[k]);
}

static void pack_set(enum qtk_dtype dtype, void *values, size_t k, float value)
{
  if (dtype == QTK_F32)
    ((float *)values)[k] = value;
  else
    ((uint16_t *)values)[k] = qtk_half_from_f32(value);
}

static size_t pack_index(const struct qtk_qtensor *t, int64_t row, int64_t group)
{
  return (size_t)(row * t->layout.groups + group);
}

static float pack_double(const struct qtk_qtensor *t, size_t k, uint8_t code)
{
  return t->scale_mean + t->scale_blocks[k / 256] * t->scale_table[code];
}

float qtk_get_scale(const struct qtk_qtensor *t, int64_t row, int64_t group)
{
  size_t k = pack_index(t, row, group);

  if (t->layout.scale_dtype == QTK_U8)
    return pack_double(t, k, ((const uint8_t *)t->scales)[k]);
  return pack_get(t->layout.scale_dtype, t->scales, k);
}

/* u8 scales: the nearest that mean, block scale and table, set before, can say. */
void qtk_set_scale(struct qtk_qtensor *t, int64_t row, int64_t group, float scale)
{
  size_t k = pack_index(t, row, group);
  float best = 0;

  if (t->layout.scale_dtype != QTK_U8) {
    pack_set(t->layout.scale_dtype, t->scales, k, scale);
    return;
  }
  for (int code = 0; code < 256; code++) {
    float error = pack_double(t, k, (uint8_t)code) - scale;
    error = error < 0 ? -error : error;
    if (code == 0 || error < best) {
      best = error;
      ((uint8_t *)t->scales)[k] = (uint8_t)code;
    }
  }
}

int qtk_get_zero(const struct qtk_qtensor *t, int64_t row, int64_t group)
{
  if (t->layout.zero == QTK_ZERO_MID)
    return 1 << (t->layout.bits - 1);
  return (int)qtk_bits_get(t->zeros, pack_index(t, row, group), t->layout.zero_bits);
}

void qtk_set_zero(struct qtk_qtensor *t, int64_t row, int64_t group, int zero)
{
  if (t->layout.zero == QTK_ZERO_INT)
    qtk_bits_set(t->zeros, pack_index(t, row, group), t->layout.zero_bits, (unsigned)zero);
}

float qtk_get_min(const struct qtk_qtensor *t, int64_t row, int64_t group)
{
  return pack_get(t->layout.scale_dtype, t->zeros, pack_index(t, row, group));
}

void qtk_set_min(struct qtk_qtensor *t, int64_t row, int64_t group, float min)
{
  pack_set(t->layout.scale_dtype, t->zeros, pack_index(t, row, group), min);
}

float qtk_scale_round_up(enum qtk_dtype dtype, float scale)
{
  uint16_t half;

  if (dtype != QTK_F16)
    return scale;
  half = qtk_half_from_f32(scale);
  if (qtk_half_to_f32(half) < scale)
    half++; /* the next one up; after the largest comes infinity */
  return qtk_half_to_f32(half);
}
