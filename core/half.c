/* SPDX-License-Identifier: BSD-3-Clause
 * Conversions between floating types. All go through blocks of float32, which
 * holds every f16 and bf16 exactly. */
#include <string.h>

#include "core/error.h"
#include "core/half.h"

#define HALF_BLOCK 64

float qtk_f16_to_f32(uint16_t half)
{
  return qtk_half_to_f32(half);
}

uint16_t qtk_f32_to_f16(float value)
{
  return qtk_half_from_f32(value);
}

float qtk_bf16_to_f32(uint16_t bf16)
{
  return qtk_half_from_bf16(bf16);
}

uint16_t qtk_f32_to_bf16(float value)
{
  return qtk_half_to_bf16(value);
}

/* float32 by rounding to odd: toward zero, with the last bit set if anything was
 * lost. Rounding the result again to 16 bits is then as good as rounding once. */
static inline float half_odd(double value)
{
  float f = (float)value;
  uint32_t bits = qtk_half_bits(f);

  if (f != f || (double)f == value)
    return f;
  bits -= __builtin_fabs((double)f) > __builtin_fabs(value);
  return qtk_half_float(bits | 1);
}

/* A whole block, so that the compiler knows the count. */
static void half_load(enum qtk_dtype from, const void *src, int odd, float out[HALF_BLOCK])
{
  const uint16_t *half = src;
  const double *wide = src;

  switch (from) {
  case QTK_F16:
    for (int i = 0; i < HALF_BLOCK; i++)
      out[i] = qtk_half_to_f32(half[i]);
    break;
  case QTK_BF16:
    for (int i = 0; i < HALF_BLOCK; i++)
      out[i] = qtk_half_from_bf16(half[i]);
    break;
  case QTK_F64:
    for (int i = 0; i < HALF_BLOCK; i++)
      out[i] = odd ? half_odd(wide[i]) : (float)wide[i];
    break;
  default:
    memcpy(out, src, HALF_BLOCK * sizeof *out);
  }
}

static void half_store(enum qtk_dtype to, void *dst, const float in[HALF_BLOCK])
{
  uint16_t *half = dst;
  double *wide = dst;

  switch (to) {
  case QTK_F16:
    for (int i = 0; i < HALF_BLOCK; i++)
      half[i] = qtk_half_from_f32(in[i]);
    break;
  case QTK_BF16:
    for (int i = 0; i < HALF_BLOCK; i++)
      half[i] = qtk_half_to_bf16(in[i]);
    break;
  case QTK_F64:
    for (int i = 0; i < HALF_BLOCK; i++)
      wide[i] = (double)in[i];
    break;
  default:
    memcpy(dst, in, HALF_BLOCK * sizeof *in);
  }
}

static int half_is_float(enum qtk_dtype dtype)
{
  return dtype == QTK_F32 || dtype == QTK_F16 || dtype == QTK_BF16 || dtype == QTK_F64;
}

/* Sources need not be aligned to their type: they may lie in a mapped file. */
int qtk_convert(enum qtk_dtype to, void *dst, enum qtk_dtype from, const void *src, size_t n)
{
  size_t ts = qtk_dtype_size(to), fs = qtk_dtype_size(from);
  int odd = to == QTK_F16 || to == QTK_BF16;
  char in[HALF_BLOCK * sizeof(double)] __attribute__((aligned(64))) = {0};
  char out[HALF_BLOCK * sizeof(double)] __attribute__((aligned(64)));
  float block[HALF_BLOCK] __attribute__((aligned(64)));

  if (!half_is_float(to) || !half_is_float(from))
    return qtk_error(QTK_EINTERNAL, "no conversion of %s to %s", qtk_dtype_name(from),
                     qtk_dtype_name(to));
  if (to == from) {
    if (n > 0)
      memcpy(dst, src, n * ts);
    return QTK_OK;
  }
  for (size_t i = 0; i < n; i += HALF_BLOCK) {
    size_t count = n - i < HALF_BLOCK ? n - i : HALF_BLOCK;
    memcpy(in, (const char *)src + i * fs, count * fs);
    half_load(from, in, odd, block);
    half_store(to, out, block);
    memcpy((char *)dst + i * ts, out, count * ts);
  }
  return QTK_OK;
}
