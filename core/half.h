/* SPDX-License-Identifier: BSD-3-Clause
 * The 16-bit floats, inline: f16 (5 bits of exponent) and bf16 (8 bits). Exact,
 * with subnormals, infinities and nan; rounding is to nearest, ties to even.
 * Written without branches, so that loops over rows vectorize. */
#ifndef QTK_CORE_HALF_H
#define QTK_CORE_HALF_H

#include <string.h>

#include <qtk/tensor.h>

static inline float qtk_half_float(uint32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline uint32_t qtk_half_bits(float f)
{
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* yes if c (0 or 1), else no. */
static inline uint32_t qtk_half_pick(int c, uint32_t yes, uint32_t no)
{
  uint32_t mask = 0u - (uint32_t)c;

  return (yes & mask) | (no & ~mask);
}

static inline float qtk_half_to_f32(uint16_t half)
{
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  uint32_t magnitude = half & 0x7fff;
  /* Normal: move the exponent. 2^112 is the distance of the two biases; a
   * subnormal is a whole number of 2^-24. */
  uint32_t normal = (magnitude << 13) + (112u << 23);
  uint32_t subnormal = qtk_half_bits((float)(int32_t)magnitude * 0x1p-24f);
  uint32_t special = (magnitude << 13) | 0x7f800000u;
  uint32_t bits = qtk_half_pick((int32_t)magnitude >= 0x0400, normal, subnormal);

  bits = qtk_half_pick((int32_t)magnitude >= 0x7c00, special, bits);
  return qtk_half_float(bits | sign);
}

static inline uint16_t qtk_half_from_f32(float value)
{
  uint32_t bits = qtk_half_bits(value);
  uint32_t sign = (bits >> 16) & 0x8000;
  uint32_t a = bits & 0x7fffffff;
  /* Normal: round the 13 bits that go, then move the exponent. What overflows
   * carries into 0x7c00, infinity. */
  uint32_t normal = (a + 0xfff + ((a >> 13) & 1) - (112u << 23)) >> 13;
  /* Subnormal: adding 0.5 puts the unit of the sum at 2^-24 and rounds. */
  uint32_t subnormal = qtk_half_bits(qtk_half_float(a) + 0.5f) - 0x3f000000u;
  uint32_t nan = 0x7e00 | ((a >> 13) & 0x3ff);
  uint32_t half = qtk_half_pick((int32_t)a >= 0x38800000, normal, subnormal);

  half = qtk_half_pick((int32_t)a >= 0x477ff000, 0x7c00, half);
  half = qtk_half_pick((int32_t)a > 0x7f800000, nan, half);
  return (uint16_t)(half | sign);
}

static inline float qtk_half_from_bf16(uint16_t bf16)
{
  return qtk_half_float((uint32_t)bf16 << 16);
}

static inline uint16_t qtk_half_to_bf16(float value)
{
  uint32_t bits = qtk_half_bits(value);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  uint32_t nan = (bits >> 16) | 0x40;

  return (uint16_t)qtk_half_pick((int32_t)(bits & 0x7fffffff) > 0x7f800000, nan, rounded);
}

#endif
