/* SPDX-License-Identifier: BSD-3-Clause
 * Half precision to float, inline. */
#ifndef GGUF_HALF_H
#define GGUF_HALF_H

#include <stdint.h>
#include <string.h>

/* The half at `src`, at any alignment. Without branches, so that loops vectorize:
 * a normal number moves its exponent by the distance of the biases, a subnormal
 * one is m * 2^-24. */
static inline float gguf_half(const unsigned char *src)
{
  uint16_t half;
  memcpy(&half, src, sizeof half);
  int32_t m = half & 0x7fff;
  float small = (float)m * 0x1p-24f, value;
  uint32_t small_bits;
  memcpy(&small_bits, &small, sizeof small_bits);
  uint32_t bits = ((uint32_t)m << 13) + (m >= 0x7c00 ? 224u << 23 : 112u << 23);
  bits = (m < 0x400 ? small_bits : bits) | (uint32_t)(half & 0x8000) << 16;
  memcpy(&value, &bits, sizeof value);
  return value;
}

#endif
