/* SPDX-License-Identifier: BSD-3-Clause
 * The number types of the format, and their values as floats. */
#include "safetensors.h"

#include <string.h>

/* Data lie at any alignment, so values are loaded through memcpy; the compiler
 * makes plain loads of it. */
#define TYPES_LOOP(name, type, value)                                        \
  static void name(const unsigned char *src, float *restrict out, int64_t n) \
  {                                                                          \
    for (int64_t i = 0; i < n; i++) {                                        \
      type v;                                                                \
      memcpy(&v, src + i * (int64_t)sizeof v, sizeof v);                     \
      out[i] = (value);                                                      \
    }                                                                        \
  }

static inline float types_float(uint32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/* Without branches, so that the loop vectorizes: a normal number moves its
 * exponent by the distance of the biases, a subnormal one is m * 2^-24. */
static inline float types_half(uint16_t half)
{
  uint32_t sign = (uint32_t)(half & 0x8000) << 16;
  int32_t m = half & 0x7fff;
  float small = (float)m * 0x1p-24f;
  uint32_t bits = ((uint32_t)m << 13) + (m >= 0x7c00 ? 224u << 23 : 112u << 23);
  uint32_t small_bits;
  memcpy(&small_bits, &small, sizeof bits);
  return types_float((m < 0x400 ? small_bits : bits) | sign);
}

TYPES_LOOP(types_f16, uint16_t, types_half(v))
TYPES_LOOP(types_bf16, uint16_t, types_float((uint32_t)v << 16))
TYPES_LOOP(types_f64, double, (float)v)
TYPES_LOOP(types_i8, int8_t, (float)v)
TYPES_LOOP(types_u8, uint8_t, (float)v)
TYPES_LOOP(types_i16, int16_t, (float)v)
TYPES_LOOP(types_u16, uint16_t, (float)v)
TYPES_LOOP(types_i32, int32_t, (float)v)
TYPES_LOOP(types_u32, uint32_t, (float)v)
TYPES_LOOP(types_i64, int64_t, (float)v)
TYPES_LOOP(types_u64, uint64_t, (float)v)

static void types_f32(const unsigned char *src, float *out, int64_t n)
{
  memcpy(out, src, (size_t)n * sizeof *out);
}

static const struct safetensors_type types[] = {
    {"F32", 32, 1, QTK_F32, types_f32},
    {"F16", 16, 1, QTK_F16, types_f16},
    {"BF16", 16, 1, QTK_BF16, types_bf16},
    {"F64", 64, 1, QTK_F64, types_f64},
    {"I8", 8, 0, QTK_I8, types_i8},
    {"U8", 8, 0, QTK_U8, types_u8},
    {"BOOL", 8, 0, QTK_U8, types_u8},
    {"I16", 16, 0, QTK_I16, types_i16},
    {"U16", 16, 0, QTK_I16, types_u16},
    {"I32", 32, 0, QTK_I32, types_i32},
    {"U32", 32, 0, QTK_I32, types_u32},
    {"I64", 64, 0, QTK_I64, types_i64},
    {"U64", 64, 0, QTK_I64, types_u64},
    {"F8_E4M3", 8, 0, QTK_U8, NULL},
    {"F8_E5M2", 8, 0, QTK_U8, NULL},
    {"F8_E8M0", 8, 0, QTK_U8, NULL},
    {"F4", 4, 0, QTK_U8, NULL},
    {"F6_E2M3", 6, 0, QTK_U8, NULL},
    {"F6_E3M2", 6, 0, QTK_U8, NULL},
    {"C64", 64, 0, QTK_U8, NULL},
};

const struct safetensors_type *safetensors_type_find(const char *name)
{
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, name) == 0)
      return &types[i];
  return NULL;
}

/* The first of the table: "I32", not "U32". */
const struct safetensors_type *safetensors_type_of(enum qtk_dtype dtype)
{
  size_t i = 0;
  while (types[i].dtype != dtype)
    i++;
  return &types[i];
}
