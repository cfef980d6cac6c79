/* SPDX-License-Identifier: BSD-3-Clause
 * Fields of 2, 3, 4 and 8 bits in words of 32. */
#include "gptq.h"

#include <string.h>

/* With `bits` constant the loops unroll, and only 3 bits ever cross two words. */
static inline void codes_unpack(const uint32_t words[9], int bits, uint8_t values[32])
{
  for (int i = 0; i < 32; i++) {
    int word = i * bits / 32, shift = i * bits % 32;
    uint32_t value = words[word] >> shift;
    if (shift + bits > 32)
      value |= words[word + 1] << (32 - shift);
    values[i] = (uint8_t)(value & ((1u << bits) - 1));
  }
}

void gptq_unpack(const unsigned char *at, size_t stride, int bits, int words, uint8_t values[32])
{
  uint32_t w[9] = {0};
  for (int k = 0; k < words; k++)
    memcpy(&w[k], at + (size_t)k * stride, sizeof *w);
  if (bits == 2)
    codes_unpack(w, 2, values);
  else if (bits == 3)
    codes_unpack(w, 3, values);
  else if (bits == 4)
    codes_unpack(w, 4, values);
  else
    codes_unpack(w, 8, values);
}

void gptq_pack(const uint8_t values[32], int bits, uint32_t words[8])
{
  memset(words, 0, 8 * sizeof *words);
  for (int i = 0; i < 32; i++) {
    int word = i * bits / 32, shift = i * bits % 32;
    words[word] |= (uint32_t)values[i] << shift;
    if (shift + bits > 32)
      words[word + 1] |= (uint32_t)values[i] >> (32 - shift);
  }
}

unsigned gptq_field(const unsigned char *at, int bits, int64_t i)
{
  int64_t bit = i * bits;
  uint32_t low, high;
  at += bit / 32 * 4;
  memcpy(&low, at, sizeof low);
  int shift = (int)(bit % 32);
  low >>= shift;
  if (shift + bits > 32) {
    memcpy(&high, at + 4, sizeof high);
    low |= high << (32 - shift);
  }
  return low & ((1u << bits) - 1);
}
