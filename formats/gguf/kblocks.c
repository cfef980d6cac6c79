/* SPDX-License-Identifier: BSD-3-Clause
 * Values of the K types: super-blocks of 256 with scales of scales.
 *
 * In float, in the order of the reference: first (d * scale) and, where there is
 * one, (dmin * minimum); then that times the code; then the subtraction. */
#include "gguf.h"
#include "half.h"

/* 16 bytes of scales (low half) and minima (high half), one for 16 values; 64
 * bytes of 2-bit codes; d, dmin. Each half of 128 values is 32 bytes that hold
 * four planes of 32 values, from the low bits up. */
void gguf_q2_k(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 84) {
    float d = gguf_half(src + 80), dmin = gguf_half(src + 82);
    for (int group = 0; group < 16; group++, out += 16) {
      int half = group / 8, plane = group / 2 % 4;
      const unsigned char *q = src + 16 + 32 * half + 16 * (group % 2);
      float scale = d * (float)(src[group] & 15), min = dmin * (float)(src[group] >> 4);
      for (int j = 0; j < 16; j++)
        out[j] = scale * (float)(q[j] >> 2 * plane & 3) - min;
    }
  }
}

/* 32 bytes of high bits; 64 bytes of low bits, in planes as above; 12 bytes of
 * sixteen 6-bit scales; d. High bit p of byte j belongs to value 32 p + j, and
 * where it is clear, 4 is subtracted. */
void gguf_q3_k(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 110) {
    const unsigned char *packed = src + 96;
    float d = gguf_half(src + 108);
    for (int group = 0; group < 16; group++, out += 16) {
      int half = group / 8, plane = group / 2 % 4, first = 16 * (group % 2);
      const unsigned char *high = src + first, *q = src + 32 + 32 * half + first;
      int low4 = packed[group % 8] >> (group < 8 ? 0 : 4) & 15;
      int scale = low4 | (packed[8 + group % 4] >> 2 * (group / 4) & 3) << 4;
      float dl = d * (float)(scale - 32);
      for (int j = 0; j < 16; j++) {
        int code = (q[j] >> 2 * plane & 3) - (high[j] >> (4 * half + plane) & 1 ? 0 : 4);
        out[j] = dl * (float)code;
      }
    }
  }
}

/* Scale and minimum i of eight, 6 bits each in 12 bytes: the first four whole in
 * bytes i and i + 4, whose top bits are those of the last four, whose low bits
 * are the halves of byte i + 4. */
static inline void kblocks_scale(const unsigned char *packed, int i, int *scale, int *min)
{
  if (i < 4) {
    *scale = packed[i] & 63;
    *min = packed[i + 4] & 63;
  } else {
    *scale = (packed[i + 4] & 15) | packed[i - 4] >> 6 << 4;
    *min = packed[i + 4] >> 4 | packed[i] >> 6 << 4;
  }
}

/* d, dmin; 12 bytes of scales and minima, one pair for 32 values; 128 bytes: each
 * 32 hold 32 values in their low halves and the next 32 in their high ones. */
void gguf_q4_k(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 144) {
    float d = gguf_half(src), dmin = gguf_half(src + 2);
    for (int group = 0; group < 8; group++, out += 32) {
      int scale, min, shift = group % 2 * 4;
      const unsigned char *q = src + 16 + 32 * (group / 2);
      kblocks_scale(src + 4, group, &scale, &min);
      float dl = d * (float)scale, ml = dmin * (float)min;
      for (int j = 0; j < 32; j++)
        out[j] = dl * (float)(q[j] >> shift & 15) - ml;
    }
  }
}

/* As the 4-bit one, with 32 bytes of fifth bits before the 128: bit g of byte j
 * belongs to value 32 g + j. */
void gguf_q5_k(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 176) {
    const unsigned char *high = src + 16;
    float d = gguf_half(src), dmin = gguf_half(src + 2);
    for (int group = 0; group < 8; group++, out += 32) {
      int scale, min, shift = group % 2 * 4;
      const unsigned char *q = src + 48 + 32 * (group / 2);
      kblocks_scale(src + 4, group, &scale, &min);
      float dl = d * (float)scale, ml = dmin * (float)min;
      for (int j = 0; j < 32; j++)
        out[j] = dl * (float)((q[j] >> shift & 15) + (high[j] >> group & 1) * 16) - ml;
    }
  }
}

/* 128 bytes of low 4 bits; 64 bytes of high 2 bits; 16 signed scales, one for 16
 * values; d. Of each half of 128 values, the low halves of 64 bytes are the first
 * 64 and the high ones the rest; 32 bytes hold the high bits in planes. */
void gguf_q6_k(const unsigned char *src, float *restrict out, int64_t blocks)
{
  for (int64_t b = 0; b < blocks; b++, src += 210) {
    float d = gguf_half(src + 208);
    for (int group = 0; group < 16; group++, out += 16) {
      int half = group / 8, plane = group / 2 % 4, first = 16 * (group % 2);
      const unsigned char *low = src + 64 * half + 32 * (plane % 2) + first;
      const unsigned char *high = src + 128 + 32 * half + first;
      float dl = d * (float)(signed char)src[192 + group];
      for (int j = 0; j < 16; j++) {
        int code = (low[j] >> 4 * (plane / 2) & 15) | (high[j] >> 2 * plane & 3) << 4;
        out[j] = dl * (float)(code - 32);
      }
    }
  }
}
