/* SPDX-License-Identifier: BSD-3-Clause
 * Values of the types with one scale per block of 32.
 *
 * A value is computed in float with one multiplication and, where there is a
 * minimum, one addition after it, never fused: (q - zero) * d or q * d + m. So
 * the result is the same, to the last bit, as from the packed form. */
#include "gguf.h"
#include "half.h"

/* d; 16 bytes: byte j has value j in its low half and value j + 16 in its high. */
void gguf_q4_0(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 18, out += 32) {
    float d = gguf_half(src);
    const unsigned char *q = src + 2;
    for (int j = 0; j < 16; j++) {
      out[j] = (float)((q[j] & 15) - 8) * d;
      out[j + 16] = (float)((q[j] >> 4) - 8) * d;
    }
  }
}

/* d, m; the same 16 bytes. */
void gguf_q4_1(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 20, out += 32) {
    float d = gguf_half(src), m = gguf_half(src + 2);
    const unsigned char *q = src + 4;
    for (int j = 0; j < 16; j++) {
      out[j] = (float)(q[j] & 15) * d + m;
      out[j + 16] = (float)(q[j] >> 4) * d + m;
    }
  }
}

/* Bit j of the four bytes is the fifth bit of value j. */
static inline void blocks_five(const unsigned char *high, const unsigned char *q, int *codes)
{
  uint32_t bits;
  memcpy(&bits, high, sizeof bits);
  for (int j = 0; j < 16; j++) {
    codes[j] = (q[j] & 15) | (int)(bits >> j & 1) << 4;
    codes[j + 16] = q[j] >> 4 | (int)(bits >> (j + 16) & 1) << 4;
  }
}

/* d; 4 bytes of fifth bits; 16 bytes. */
void gguf_q5_0(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 22, out += 32) {
    int codes[32];
    float d = gguf_half(src);
    blocks_five(src + 2, src + 6, codes);
    for (int j = 0; j < 32; j++)
      out[j] = (float)(codes[j] - 16) * d;
  }
}

/* d, m; 4 bytes of fifth bits; 16 bytes. */
void gguf_q5_1(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 24, out += 32) {
    int codes[32];
    float d = gguf_half(src), m = gguf_half(src + 2);
    blocks_five(src + 4, src + 8, codes);
    for (int j = 0; j < 32; j++)
      out[j] = (float)codes[j] * d + m;
  }
}

/* d; 32 signed bytes. */
void gguf_q8_0(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 34, out += 32) {
    float d = gguf_half(src);
    const signed char *q = (const signed char *)src + 2;
    for (int j = 0; j < 32; j++)
      out[j] = (float)q[j] * d;
  }
}
