/* SPDX-License-Identifier: BSD-3-Clause
 * Values in blocks of 32: codes as they are, floats rounded as ggml's reference
 * does, each operation by itself. */
#include "write.h"
#include "half.h"

#include <math.h>
#include <string.h>

/* ---- blocks from whole numbers ------------------------------------------------------ */

static unsigned char *encode_half(unsigned char *out, uint16_t half)
{
  memcpy(out, &half, sizeof half);
  return out + sizeof half;
}

static void encode_nibbles(unsigned char *out, const uint8_t codes[GGUF_BLOCK])
{
  for (int j = 0; j < 16; j++)
    out[j] = (unsigned char)((codes[j] & 15) | (codes[j + 16] & 15) << 4);
}

/* Codes 0 .. 15, 0 .. 31 or 0 .. 255, as the type has them. */
static void encode_codes(uint32_t id, unsigned char *out, const uint8_t codes[GGUF_BLOCK])
{
  uint32_t high = 0;
  if (id == 8) { /* Q8_0 */
    for (int j = 0; j < GGUF_BLOCK; j++)
      out[j] = codes[j] ^ 0x80;
    return;
  }
  if (id == 6) { /* Q5_0 */
    for (int j = 0; j < GGUF_BLOCK; j++)
      high |= (uint32_t)(codes[j] >> 4 & 1) << j;
    memcpy(out, &high, sizeof high);
    out += sizeof high;
  }
  encode_nibbles(out, codes);
}

/* ---- quantized tensors ---------------------------------------------------------------- */

/* What 0 is in the type's codes. */
static int encode_middle(uint32_t id)
{
  return id == 8 ? 128 : id == 6 ? 16 : 8;
}

/* Moves the zero point of codes to the middle of the type's. */
static int encode_shift(uint32_t id, int zero, uint8_t codes[GGUF_BLOCK])
{
  int middle = encode_middle(id), outside = 0;
  for (int j = 0; j < GGUF_BLOCK; j++) {
    int code = codes[j] - zero + middle;
    outside |= code < 0 || code >= 2 * middle;
    codes[j] = (uint8_t)code;
  }
  return !outside;
}

int gguf_encode_row(const struct gguf_type *type, const struct qtk_qtensor *t, int64_t row,
                    uint8_t *codes, unsigned char *out)
{
  const struct qtk_qlayout *l = &t->layout;
  const uint16_t *scales = (const uint16_t *)t->scales + row * l->groups;
  const uint16_t *minima = (const uint16_t *)t->zeros + row * l->groups;
  qtk_unpack_row(t, row, codes);
  for (int64_t col = 0; col < l->cols; col += GGUF_BLOCK, out += type->bytes) {
    int64_t g = col / l->group;
    unsigned char *at = encode_half(out, scales[g]);
    if (l->zero == QTK_ZERO_MIN)
      at = encode_half(at, minima[g]);
    else if (!encode_shift(type->id, qtk_get_zero(t, row, g), codes + col))
      return qtk_error(QTK_EINPUT, "row %lld: the zero point %d does not leave the codes in %s",
                       (long long)row, qtk_get_zero(t, row, g), type->name);
    encode_codes(type->id, at, codes + col);
  }
  return QTK_OK;
}

/* ---- floats ------------------------------------------------------------------------------ */

/* The value of the largest magnitude puts itself at -8: its sign gives d its own. */
static void encode_q4_0(const float *x, uint16_t half[2], uint8_t codes[GGUF_BLOCK])
{
  float most = 0, value = 0;
  for (int j = 0; j < GGUF_BLOCK; j++)
    if (fabsf(x[j]) > most) {
      most = fabsf(x[j]);
      value = x[j];
    }
  float d = value / -8, inverse = d != 0 ? 1 / d : 0;
  half[0] = qtk_f32_to_f16(d);
  for (int j = 0; j < GGUF_BLOCK; j++) {
    int code = (int)(x[j] * inverse + 8.5f);
    codes[j] = (uint8_t)(code > 15 ? 15 : code);
  }
}

static void encode_q4_1(const float *x, uint16_t half[2], uint8_t codes[GGUF_BLOCK])
{
  float low = x[0], high = x[0];
  for (int j = 1; j < GGUF_BLOCK; j++) {
    low = x[j] < low ? x[j] : low;
    high = x[j] > high ? x[j] : high;
  }
  float d = (high - low) / 15, inverse = d != 0 ? 1 / d : 0;
  half[0] = qtk_f32_to_f16(d);
  half[1] = qtk_f32_to_f16(low);
  for (int j = 0; j < GGUF_BLOCK; j++) {
    int code = (int)((x[j] - low) * inverse + 0.5f);
    codes[j] = (uint8_t)(code > 15 ? 15 : code);
  }
}

static void encode_q8_0(const float *x, uint16_t half[2], uint8_t codes[GGUF_BLOCK])
{
  float most = 0;
  for (int j = 0; j < GGUF_BLOCK; j++)
    most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
  float d = most / 127, inverse = d != 0 ? 1 / d : 0;
  half[0] = qtk_f32_to_f16(d);
  for (int j = 0; j < GGUF_BLOCK; j++)
    codes[j] = (uint8_t)((int)roundf(x[j] * inverse) + 128);
}

static int encode_finite(const struct gguf_type *type, const float *x, int64_t n)
{
  float limit = type->id == 1 ? 65520.0f : type->id == 30 ? 0x1.ffp127f : INFINITY;
  for (int64_t i = 0; i < n; i++)
    if (!(fabsf(x[i]) < limit))
      return qtk_error(QTK_ENUMERIC, "the value %g cannot be written as %s", (double)x[i],
                       type->name);
  return QTK_OK;
}

static int encode_block(const struct gguf_type *type, const float *x, unsigned char *out)
{
  uint16_t half[2] = {0};
  uint8_t codes[GGUF_BLOCK];
  if (type->id == 2)
    encode_q4_0(x, half, codes);
  else if (type->id == 3)
    encode_q4_1(x, half, codes);
  else
    encode_q8_0(x, half, codes);
  if ((half[0] & 0x7c00) == 0x7c00 || (half[1] & 0x7c00) == 0x7c00)
    return qtk_error(QTK_ENUMERIC, "the values of a block are too large for the f16 scale of %s",
                     type->name);
  out = encode_half(out, half[0]);
  encode_codes(type->id, type->id == 3 ? encode_half(out, half[1]) : out, codes);
  return QTK_OK;
}

int gguf_encode_floats(const struct gguf_type *type, const float *values, int64_t n,
                       unsigned char *out)
{
  int rc = encode_finite(type, values, n);
  if (rc == QTK_OK && type->dense)
    return qtk_convert(type->dtype, out, QTK_F32, values, (size_t)n);
  for (int64_t i = 0; i < n && rc == QTK_OK; i += GGUF_BLOCK, out += type->bytes)
    rc = encode_block(type, values + i, out);
  return rc;
}
