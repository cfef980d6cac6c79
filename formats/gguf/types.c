/* SPDX-License-Identifier: BSD-3-Clause
 * The tensor types by their numbers in files. */
#include "gguf.h"
#include "half.h"

#define TYPES_LOOP(name, type)                                               \
  static void name(const unsigned char *src, float *restrict out, int64_t n) \
  {                                                                          \
    for (int64_t i = 0; i < n; i++) {                                        \
      type v;                                                                \
      memcpy(&v, src + i * (int64_t)sizeof v, sizeof v);                     \
      out[i] = (float)v;                                                     \
    }                                                                        \
  }

TYPES_LOOP(types_i8, int8_t)
TYPES_LOOP(types_i16, int16_t)
TYPES_LOOP(types_i32, int32_t)
TYPES_LOOP(types_i64, int64_t)
TYPES_LOOP(types_f64, double)

static void types_f16(const unsigned char *src, float *restrict out, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    out[i] = gguf_half(src + 2 * i);
}

static void types_bf16(const unsigned char *src, float *restrict out, int64_t n)
{
  for (int64_t i = 0; i < n; i++) {
    uint16_t v;
    memcpy(&v, src + 2 * i, sizeof v);
    uint32_t bits = (uint32_t)v << 16;
    memcpy(&out[i], &bits, sizeof bits);
  }
}

static void types_f32(const unsigned char *src, float *out, int64_t n)
{
  memcpy(out, src, (size_t)n * sizeof *out);
}

#define TYPES_DENSE(id, name, bytes, dtype, floats)      \
  {                                                      \
    id, name, 1, bytes, 1, dtype, GGUF_PACK_NONE, floats \
  }
#define TYPES_PLAIN(id, name, bytes, floats)               \
  {                                                        \
    id, name, 1, bytes, 0, QTK_F32, GGUF_PACK_NONE, floats \
  }
#define TYPES_BLOCK(id, name, block, bytes, packing, floats) \
  {                                                          \
    id, name, block, bytes, 0, QTK_F32, packing, floats      \
  }
/* Listed, but the values cannot be read. */
#define TYPES_OTHER(id, name, block, bytes) \
  TYPES_BLOCK(id, name, block, bytes, GGUF_PACK_NONE, NULL)

static const struct gguf_type types[] = {
    TYPES_DENSE(0, "F32", 4, QTK_F32, types_f32),
    TYPES_DENSE(1, "F16", 2, QTK_F16, types_f16),
    TYPES_DENSE(30, "BF16", 2, QTK_BF16, types_bf16),
    TYPES_DENSE(28, "F64", 8, QTK_F64, types_f64),
    TYPES_PLAIN(24, "I8", 1, types_i8),
    TYPES_PLAIN(25, "I16", 2, types_i16),
    TYPES_PLAIN(26, "I32", 4, types_i32),
    TYPES_PLAIN(27, "I64", 8, types_i64),
    TYPES_BLOCK(2, "Q4_0", 32, 18, GGUF_PACK_Q4_0, gguf_q4_0),
    TYPES_BLOCK(3, "Q4_1", 32, 20, GGUF_PACK_Q4_1, gguf_q4_1),
    TYPES_BLOCK(6, "Q5_0", 32, 22, GGUF_PACK_NONE, gguf_q5_0),
    TYPES_BLOCK(7, "Q5_1", 32, 24, GGUF_PACK_NONE, gguf_q5_1),
    TYPES_BLOCK(8, "Q8_0", 32, 34, GGUF_PACK_Q8_0, gguf_q8_0),
    TYPES_BLOCK(10, "Q2_K", 256, 84, GGUF_PACK_NONE, gguf_q2_k),
    TYPES_BLOCK(11, "Q3_K", 256, 110, GGUF_PACK_NONE, gguf_q3_k),
    TYPES_BLOCK(12, "Q4_K", 256, 144, GGUF_PACK_NONE, gguf_q4_k),
    TYPES_BLOCK(13, "Q5_K", 256, 176, GGUF_PACK_NONE, gguf_q5_k),
    TYPES_BLOCK(14, "Q6_K", 256, 210, GGUF_PACK_NONE, gguf_q6_k),
    TYPES_OTHER(15, "Q8_K", 256, 292),
    TYPES_OTHER(16, "IQ2_XXS", 256, 66),
    TYPES_OTHER(17, "IQ2_XS", 256, 74),
    TYPES_OTHER(18, "IQ3_XXS", 256, 98),
    TYPES_OTHER(19, "IQ1_S", 256, 50),
    TYPES_OTHER(20, "IQ4_NL", 32, 18),
    TYPES_OTHER(21, "IQ3_S", 256, 110),
    TYPES_OTHER(22, "IQ2_S", 256, 82),
    TYPES_OTHER(23, "IQ4_XS", 256, 136),
    TYPES_OTHER(29, "IQ1_M", 256, 56),
    TYPES_OTHER(34, "TQ1_0", 256, 54),
    TYPES_OTHER(35, "TQ2_0", 256, 66),
    TYPES_OTHER(39, "MXFP4", 32, 17),
    TYPES_OTHER(40, "NVFP4", 64, 36),
    TYPES_OTHER(41, "Q1_0", 128, 18),
};

const struct gguf_type *gguf_type_find(uint32_t id)
{
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].id == id)
      return &types[i];
  return NULL;
}
