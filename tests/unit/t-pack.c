/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/pack.h"

static uint64_t random_state = 88172645463325252u;

static unsigned random_below(unsigned n)
{
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned)(random_state >> 33) % n;
}

static float random_float(void)
{
  return (float)random_below(2000001) / 1e6f - 1;
}

static void *zeroed(size_t bytes)
{
  void *p = NULL;

  assert_int_equal(posix_memalign(&p, 64, bytes + 64), 0);
  memset(p, 0, bytes + 64);
  return p;
}

static struct qtk_qlayout affine(int64_t rows, int64_t cols, int bits, int64_t group)
{
  struct qtk_qlayout l = {.encoding = QTK_AFFINE,
                          .rows = rows,
                          .cols = cols,
                          .bits = bits,
                          .group = group,
                          .scale_dtype = QTK_F16};

  return l;
}

/* ---- bytes, as the header says them ------------------------------------------------ */

static void chunk_bytes(void **state)
{
  uint8_t codes[32], packed[32], again[32];

  (void)state;
  for (int j = 0; j < 32; j++)
    codes[j] = (uint8_t)(j * 7 + 1);
  qtk_chunk_pack(8, codes, packed);
  assert_memory_equal(packed, codes, 32);

  for (int j = 0; j < 32; j++)
    codes[j] = (uint8_t)(j % 16);
  codes[20] = 9;
  qtk_chunk_pack(4, codes, packed);
  for (int j = 0; j < 16; j++)
    assert_int_equal(packed[j], codes[j] | codes[j + 16] << 4);
  assert_int_equal(packed[4], 0x94);
  qtk_chunk_unpack(4, packed, again);
  assert_memory_equal(again, codes, 32);

  memset(codes, 0, 32);
  codes[3] = 1;
  codes[11] = 2;
  codes[19] = 3;
  codes[27] = 1;
  qtk_chunk_pack(2, codes, packed);
  assert_int_equal(packed[3], 1 | 2 << 2 | 3 << 4 | 1 << 6);
  assert_int_equal(packed[2], 0);
  qtk_chunk_unpack(2, packed, again);
  assert_memory_equal(again, codes, 32);

  codes[3] = 5;  /* low bits 1, high bit of column 3 */
  codes[31] = 4; /* low bits 0, high bit of column 31 */
  qtk_chunk_pack(3, codes, packed);
  assert_int_equal(packed[3], 1 | 2 << 2 | 3 << 4 | 1 << 6);
  assert_memory_equal(packed + 8, "\x08\x00\x00\x80", 4);
  qtk_chunk_unpack(3, packed, again);
  assert_memory_equal(again, codes, 32);
}

static void rows_survive(void **state)
{
  static const int all_bits[] = {2, 3, 4, 8};

  (void)state;
  for (int b = 0; b < 4; b++)
    for (int64_t cols = 1; cols < 140; cols += cols < 70 ? 1 : 17) {
      struct qtk_qlayout l = affine(3, cols, all_bits[b], -1);
      uint8_t codes[3][140], again[140];
      struct qtk_qtensor t;
      void *block;
      assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
      assert_int_equal(l.row_bytes, (cols + 31) / 32 * 4 * all_bits[b]);
      block = zeroed(qtk_qtensor_block_bytes(&l));
      t = qtk_qtensor_over(&l, block);
      for (int r = 2; r >= 0; r--) {
        for (int c = 0; c < cols; c++)
          codes[r][c] = (uint8_t)random_below(1u << all_bits[b]);
        qtk_pack_row(&t, r, codes[r]);
      }
      for (int r = 0; r < 3; r++) {
        memset(again, 0xff, sizeof again);
        qtk_unpack_row(&t, r, again);
        assert_memory_equal(again, codes[r], (size_t)cols);
        assert_int_equal(again[cols], 0xff);
      }
      free(block);
    }
}

static void padding_is_zero(void **state)
{
  struct qtk_qlayout l = affine(1, 33, 3, -1);
  uint8_t codes[33], block[256] __attribute__((aligned(64))) = {0};
  struct qtk_qtensor t;

  (void)state;
  memset(codes, 7, sizeof codes);
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  memset(block, 0xff, l.row_bytes);
  t = qtk_qtensor_over(&l, block);
  qtk_pack_row(&t, 0, codes);
  for (int i = 0; i < 12; i++)
    assert_int_equal(block[i], 0xff);
  assert_int_equal(block[12], 3);
  for (int i = 13; i < 20; i++)
    assert_int_equal(block[i], 0);
  assert_memory_equal(block + 20, "\x01\x00\x00\x00", 4);
}

static void bit_streams(void **state)
{
  (void)state;
  for (int width = 1; width <= 16; width++) {
    uint8_t stream[64] = {0}, bits[512] = {0};
    unsigned values[30];
    for (int i = 0; i < 30; i++)
      values[i] = random_below(1u << width);
    for (int i = 29; i >= 0; i--)
      qtk_bits_set(stream, (uint64_t)i, width, ~values[i] & ((1u << width) - 1));
    for (int i = 0; i < 30; i++)
      qtk_bits_set(stream, (uint64_t)i, width, values[i]);
    for (int i = 0; i < 30; i++)
      for (int k = 0; k < width; k++)
        bits[i * width + k] = values[i] >> k & 1;
    for (int i = 0; i < 512; i++)
      assert_int_equal(stream[i / 8] >> (i % 8) & 1, bits[i]);
    for (int i = 0; i < 30; i++)
      assert_int_equal(qtk_bits_get(stream, (uint64_t)i, width), values[i]);
  }
}

/* ---- layouts --------------------------------------------------------------------------- */

static void sizes(void **state)
{
  struct qtk_qlayout l = affine(10, 100, 3, 48);

  (void)state;
  l.zero = QTK_ZERO_INT;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  assert_int_equal(l.groups, 3); /* 48, 48, 4 */
  assert_int_equal(l.row_bytes, 48);
  assert_int_equal(l.code_bytes, 480);
  assert_int_equal(l.scale_bytes, 60);
  assert_int_equal(l.zero_bits, 3);
  assert_int_equal(l.zero_bytes, 12); /* 90 bits */
  assert_int_equal(qtk_qlayout_bytes(&l), 552);
  assert_int_equal(qtk_qtensor_block_bytes(&l), 512 + 64 + 64);

  l = affine(10, 100, 8, 1000);
  l.zero = QTK_ZERO_MIN;
  l.scale_dtype = QTK_F32;
  l.has_g_idx = 1;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  assert_int_equal(l.group, 100);
  assert_int_equal(l.groups, 1);
  assert_int_equal(l.scale_bytes, 40);
  assert_int_equal(l.zero_bytes, 40);
  assert_int_equal(l.index_bytes, 400);

  l = (struct qtk_qlayout){.encoding = QTK_DENSE, .rows = 3, .cols = 5, .dtype = QTK_BF16};
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  assert_int_equal(l.row_bytes, 10);
  assert_int_equal(l.code_bytes, 30);
  assert_int_equal(qtk_qlayout_bytes(&l), 30);

  l = affine(4, 128, 4, 64);
  l.encoding = QTK_CODEBOOK;
  l.scale_dtype = QTK_U8;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  assert_int_equal(l.table_bytes, 64);
  assert_int_equal(l.scale_bytes, 64 + 4 * (256 + 1 + 1));

  l = (struct qtk_qlayout){.encoding = QTK_OPAQUE, .rows = 3, .cols = 5, .opaque_bytes = 77};
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  assert_int_equal(l.code_bytes, 77);
}

static void refused(void **state)
{
  static const struct {
    struct qtk_qlayout layout;
    const char *message;
  } cases[] = {
      {{QTK_AFFINE, 1, 32, 0, 5, -1, 0, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "bits = 5: allowed are 2, 3, 4, 8"},
      {{QTK_AFFINE, 1, 32, 0, 4, 0, 0, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "group = 0: allowed are -1 (one group a row) and 1 or more"},
      {{QTK_AFFINE, 1, 32, 0, 4, -2, 0, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "group = -2: allowed are -1 (one group a row) and 1 or more"},
      {{QTK_AFFINE, 0, 32, 0, 4, -1, 0, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "rows = 0, cols = 32: allowed are 1 and more"},
      {{QTK_AFFINE, 1, -3, 0, 4, -1, 0, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "rows = 1, cols = -3: allowed are 1 and more"},
      {{QTK_AFFINE, 1, 32, 0, 4, -1, 7, 0, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "zero = 7: allowed are 0 (mid), 1 (int), 2 (min)"},
      {{QTK_AFFINE, 1, 32, 0, 4, -1, 1, 5, QTK_F16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "zero_bits = 5: allowed are 4 (as the codes), 8, 16"},
      {{QTK_AFFINE, 1, 32, 0, 4, -1, 0, 0, QTK_U8, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "scale_dtype = u8: allowed are f16 and f32"},
      {{QTK_CODEBOOK, 1, 32, 0, 4, -1, 0, 0, QTK_BF16, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "scale_dtype = bf16: allowed are f16 and f32 and u8 (double-quantized)"},
      {{QTK_DENSE, 1, 32, QTK_I8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "dtype = i8: a dense tensor holds f32, f16, bf16 or f64"},
      {{9, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
       "encoding = 9: allowed are 0 (dense) .. 3 (opaque)"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_qlayout l = cases[i].layout;
    assert_int_equal(qtk_qlayout_init(&l), QTK_EJOB);
    assert_string_equal(qtk_error_message(), cases[i].message);
  }
}

static void too_large_is_refused(void **state)
{
  static const int64_t sides[][2] = {{INT64_MAX, 1},
                                     {1, INT64_MAX},
                                     {(int64_t)1 << 31, (int64_t)1 << 31},
                                     {(int64_t)1 << 60, 1},
                                     {(int64_t)1 << 40, (int64_t)1 << 40}};

  (void)state;
  for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
    struct qtk_qlayout l = affine(sides[i][0], sides[i][1], 8, 1);
    l.zero = QTK_ZERO_INT;
    l.zero_bits = 16;
    assert_int_equal(qtk_qlayout_init(&l), QTK_EJOB);
    assert_non_null(strstr(qtk_error_message(), "too large"));
    l = (struct qtk_qlayout){
        .encoding = QTK_DENSE, .rows = sides[i][0], .cols = sides[i][1], .dtype = QTK_F64};
    if (i != 3)
      assert_int_equal(qtk_qlayout_init(&l), QTK_EJOB);
  }
  struct qtk_qlayout l = {.encoding = QTK_OPAQUE, .rows = 1, .cols = 1, .opaque_bytes = SIZE_MAX};
  assert_int_equal(qtk_qlayout_init(&l), QTK_EJOB);
}

static void parts_lie_apart(void **state)
{
  struct qtk_qlayout l = affine(5, 70, 2, 7);
  struct qtk_qtensor t;
  char *block;

  (void)state;
  l.zero = QTK_ZERO_MIN;
  l.has_g_idx = 1;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  block = zeroed(qtk_qtensor_block_bytes(&l));
  t = qtk_qtensor_over(&l, block);
  assert_ptr_equal(t.codes, block);
  assert_true((char *)t.scales >= block + l.code_bytes);
  assert_true((char *)t.zeros >= (char *)t.scales + l.scale_bytes);
  assert_true((char *)t.g_idx >= (char *)t.zeros + l.zero_bytes);
  assert_true((char *)t.g_idx + l.index_bytes <= block + qtk_qtensor_block_bytes(&l));
  assert_null(t.table);
  assert_int_equal((uintptr_t)t.scales % 64 + (uintptr_t)t.zeros % 64, 0);
  free(block);
}

/* ---- meaning ------------------------------------------------------------------------------ */

/* The value of one element, from the formulas of the header and the getters. */
static float element(const struct qtk_qtensor *t, const struct qtk_tensor *scales, int64_t row,
                     int64_t col)
{
  const struct qtk_qlayout *l = &t->layout;
  int64_t g = t->g_idx != NULL ? t->g_idx[col] : col / l->group;
  float own = qtk_get_scale(t, row, g), s = own;
  uint8_t *codes = malloc((size_t)l->cols);
  int q;

  assert_non_null(codes);
  qtk_unpack_row(t, row, codes);
  q = codes[col];
  free(codes);
  if (scales != NULL)
    s = scales->dtype == QTK_F32
            ? ((float *)scales->data)[row * scales->stride + g]
            : qtk_f16_to_f32(((uint16_t *)scales->data)[row * scales->stride + g]);
  if (l->encoding == QTK_CODEBOOK)
    return s * t->table[q];
  if (l->zero == QTK_ZERO_MID)
    return s * (float)(q - (1 << (l->bits - 1)));
  if (l->zero == QTK_ZERO_INT)
    return s * (float)(q - qtk_get_zero(t, row, g));
  if (scales == NULL || own == 0)
    return s * (float)q + qtk_get_min(t, row, g);
  float min = qtk_get_min(t, row, g) * (s / own);
  return s * (float)q +
         (scales->dtype == QTK_F16 ? qtk_f16_to_f32(qtk_f32_to_f16(min)) : min);
}

static void fill(struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  uint8_t codes[512];

  for (int64_t r = 0; r < l->rows; r++) {
    for (int64_t c = 0; c < l->cols; c++)
      codes[c] = (uint8_t)random_below(1u << l->bits);
    qtk_pack_row(t, r, codes);
    for (int64_t g = 0; g < l->groups; g++) {
      qtk_set_scale(t, r, g, random_float());
      if (l->zero == QTK_ZERO_INT)
        qtk_set_zero(t, r, g, (int)random_below((1u << l->zero_bits) - 1));
      else if (l->zero == QTK_ZERO_MIN)
        qtk_set_min(t, r, g, random_float());
    }
  }
  for (int64_t c = 0; t->g_idx != NULL && c < l->cols; c++)
    t->g_idx[c] = (int32_t)random_below((unsigned)l->groups);
  for (int i = 0; t->table != NULL && i < 1 << l->bits; i++)
    t->table[i] = random_float();
}

static void check_all(const struct qtk_qtensor *t, const struct qtk_tensor *scales)
{
  const struct qtk_qlayout *l = &t->layout;
  int64_t stride = l->cols + 3;
  float *out = malloc((size_t)(l->rows * stride) * sizeof *out);

  assert_non_null(out);
  for (int64_t i = 0; i < l->rows * stride; i++)
    out[i] = 12345;
  assert_int_equal(qtk_dequantize_rows(t, scales, 1, l->rows - 1, out, stride), QTK_OK);
  for (int64_t r = 1; r < l->rows; r++) {
    for (int64_t c = 0; c < l->cols; c++)
      assert_true(out[(r - 1) * stride + c] == element(t, scales, r, c));
    for (int64_t c = l->cols; c < stride; c++)
      assert_true(out[(r - 1) * stride + c] == 12345);
  }
  assert_true(out[(l->rows - 1) * stride] == 12345);
  free(out);
}

/* Other scales of both types, wider than they need be. */
static void check_with_scales(const struct qtk_qtensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  float f[600];
  uint16_t h[600];
  struct qtk_tensor scales = qtk_matrix(QTK_F32, f, l->rows, l->groups);

  assert_true(l->rows * (l->groups + 1) <= 600);
  for (int i = 0; i < 600; i++) {
    f[i] = random_float();
    h[i] = qtk_f32_to_f16(random_float());
  }
  scales.stride = l->groups + 1;
  check_all(t, &scales);
  scales.dtype = QTK_F16;
  scales.data = h;
  check_all(t, &scales);
}

static void dequantizes(void **state)
{
  static const int all_bits[] = {2, 3, 4, 8};
  static const int64_t cols[] = {1, 31, 64, 100}, groups[] = {-1, 1, 7, 32, 48};
  int variants = 0;

  (void)state;
  for (int b = 0; b < 4; b++)
    for (int k = 0; k < 4; k++)
      for (int g = 0; g < 5; g++)
        for (int v = 0; v < 12; v++) { /* zero kinds and the codebook, types, g_idx */
          struct qtk_qlayout l = affine(3, cols[k], all_bits[b], groups[g]);
          struct qtk_qtensor t;
          void *block;
          l.encoding = v % 4 == 3 ? QTK_CODEBOOK : QTK_AFFINE;
          l.zero = v % 4 == 3 ? QTK_ZERO_MID : (enum qtk_zero)(v % 4);
          l.zero_bits = v == 5 ? 8 : v == 9 ? 16 : 0;
          l.scale_dtype = v / 4 == 1 ? QTK_F32 : QTK_F16;
          l.has_g_idx = v / 4 == 2;
          assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
          block = zeroed(qtk_qtensor_block_bytes(&l));
          t = qtk_qtensor_over(&l, block);
          fill(&t);
          check_all(&t, NULL);
          check_with_scales(&t);
          free(block);
          variants++;
        }
  assert_int_equal(variants, 960);
}

/* By hand: 2 rows of 3 columns, groups of 2. */
static void by_hand(void **state)
{
  static const uint8_t codes[2][3] = {{0, 5, 7}, {1, 2, 3}};
  struct qtk_qlayout l = affine(2, 3, 3, 2);
  char block[512] __attribute__((aligned(64))) = {0};
  struct qtk_qtensor t;
  float out[6];

  (void)state;
  l.zero = QTK_ZERO_INT;
  l.zero_bits = 8;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  t = qtk_qtensor_over(&l, block);
  for (int r = 0; r < 2; r++) {
    qtk_pack_row(&t, r, codes[r]);
    for (int g = 0; g < 2; g++) {
      qtk_set_scale(&t, r, g, 0.5f + (float)(2 * r + g));
      qtk_set_zero(&t, r, g, r == 0 ? 8 : 2 + g); /* 8 = 2^bits does not fit in 3 bits */
    }
  }
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 0, 2, out, 3), QTK_OK);
  assert_true(out[0] == 0.5f * -8 && out[1] == 0.5f * -3 && out[2] == 1.5f * -1);
  assert_true(out[3] == 2.5f * -1 && out[4] == 0 && out[5] == 0);
}

static void double_quantized(void **state)
{
  struct qtk_qlayout l = affine(8, 320, 4, 5); /* 64 groups a row, 512 in all */
  struct qtk_qtensor t, again, part;
  float out[2][320];
  char *block;

  (void)state;
  l.encoding = QTK_CODEBOOK;
  l.scale_dtype = QTK_U8;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  block = zeroed(qtk_qtensor_block_bytes(&l));
  t = qtk_qtensor_over(&l, block);
  t.scale_mean = 2.5f;
  for (int i = 0; i < 256; i++)
    t.scale_table[i] = (float)(i - 127) / 128;
  for (int i = 0; i < 16; i++)
    t.table[i] = (float)(i - 8);
  t.scale_blocks[0] = 1;
  t.scale_blocks[1] = 4;
  qtk_set_scale(&t, 0, 0, 2.5f + 64.0f / 128);
  assert_int_equal(((uint8_t *)t.scales)[0], 127 + 64);
  assert_true(qtk_get_scale(&t, 0, 0) == 3);
  qtk_set_scale(&t, 7, 63, 2.5f - 4 * 33.4f / 128);
  assert_int_equal(((uint8_t *)t.scales)[511], 127 - 33);
  assert_true(qtk_get_scale(&t, 7, 63) == 2.5f - 4 * 33.0f / 128);
  fill(&t);
  qtk_qtensor_seal(&t);
  check_all(&t, NULL);
  again = qtk_qtensor_over(&l, block);
  assert_true(again.scale_mean == 2.5f);
  check_all(&again, NULL);

  assert_null(qtk_qtensor_rows(&t, 8, 0).codes);
  l.rows = 16;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  free(block);
  block = zeroed(qtk_qtensor_block_bytes(&l));
  t = qtk_qtensor_over(&l, block);
  for (int i = 0; i < 4; i++)
    t.scale_blocks[i] = (float)i;
  for (int i = 0; i < 256; i++)
    t.scale_table[i] = (float)i;
  fill(&t);
  part = qtk_qtensor_rows(&t, 8, 8);
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 9, 2, out[0], 0), QTK_OK);
  assert_int_equal(qtk_dequantize_rows(&part, NULL, 1, 2, out[1], 0), QTK_OK);
  assert_memory_equal(out[0], out[1], sizeof out[0]);
  free(block);
}

/* A view of rows says the same as the whole, for every kind of zero. */
static void views_of_rows(void **state)
{
  (void)state;
  for (int zero = 0; zero < 3; zero++) {
    struct qtk_qlayout l = affine(24, 70, 3, 10);
    float whole[70], part[70];
    struct qtk_qtensor t, v;
    void *block;
    l.zero = (enum qtk_zero)zero;
    assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
    block = zeroed(qtk_qtensor_block_bytes(&l));
    t = qtk_qtensor_over(&l, block);
    fill(&t);
    v = qtk_qtensor_rows(&t, 16, 5);
    assert_int_equal(v.layout.rows, 5);
    for (int r = 0; r < 5; r++) {
      assert_int_equal(qtk_dequantize_rows(&t, NULL, 16 + r, 1, whole, 70), QTK_OK);
      assert_int_equal(qtk_dequantize_rows(&v, NULL, r, 1, part, 70), QTK_OK);
      assert_memory_equal(whole, part, sizeof whole);
    }
    assert_int_equal(qtk_dequantize_rows(&v, NULL, 0, 6, whole, 0), QTK_EINTERNAL);
    assert_null(qtk_qtensor_rows(&t, 4, 4).codes);
    free(block);
  }
}

static void dense(void **state)
{
  static const enum qtk_dtype types[] = {QTK_F32, QTK_F16, QTK_BF16, QTK_F64};

  (void)state;
  for (int i = 0; i < 4; i++) {
    struct qtk_qlayout l = {.encoding = QTK_DENSE, .rows = 9, .cols = 5, .dtype = types[i]};
    char block[1024] __attribute__((aligned(64))) = {0};
    struct qtk_tensor scales = qtk_matrix(QTK_F32, block, 9, 1);
    struct qtk_qtensor t, v;
    float in[45], out[45] = {0};
    assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
    t = qtk_qtensor_over(&l, block);
    for (int k = 0; k < 45; k++)
      in[k] = (float)k - 20.5f;
    assert_int_equal(qtk_convert(types[i], t.codes, QTK_F32, in, 45), QTK_OK);
    assert_int_equal(qtk_dequantize_rows(&t, NULL, 2, 7, out, 5), QTK_OK);
    assert_memory_equal(out, in + 10, 35 * sizeof *in);
    v = qtk_qtensor_rows(&t, 8, 1);
    assert_int_equal(qtk_dequantize_rows(&v, NULL, 0, 1, out, 5), QTK_OK);
    assert_memory_equal(out, in + 40, 5 * sizeof *in);
    assert_int_equal(qtk_dequantize_rows(&t, &scales, 0, 1, out, 5), QTK_EPLUGIN);
  }
}

static int opaque_rows(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out,
                       int64_t stride)
{
  for (int64_t r = 0; r < n; r++)
    for (int64_t c = 0; c < t->layout.cols; c++)
      out[r * stride + c] = *(const float *)t->owner + (float)(10 * (row + r) + c);
  return QTK_OK;
}

static void opaque(void **state)
{
  struct qtk_qlayout l = {.encoding = QTK_OPAQUE, .rows = 4, .cols = 3, .opaque_bytes = 7};
  char block[64] __attribute__((aligned(64))) = {0};
  float base = 0.5f, out[8] = {0};
  struct qtk_qtensor t;

  (void)state;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  t = qtk_qtensor_over(&l, block);
  t.plugin = "mystery";
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 1, 2, out, 4), QTK_EPLUGIN);
  assert_non_null(strstr(qtk_error_message(), "mystery"));
  t.dequantize = opaque_rows;
  t.owner = &base;
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 1, 2, out, 4), QTK_OK);
  assert_true(out[0] == 10.5f && out[2] == 12.5f && out[4] == 20.5f && out[3] == 0);
  assert_null(qtk_qtensor_rows(&t, 0, 2).codes);
}

static void bad_calls(void **state)
{
  struct qtk_qlayout l = affine(4, 6, 4, 3);
  char block[512] __attribute__((aligned(64))) = {0};
  struct qtk_tensor scales = qtk_matrix(QTK_F32, block, 4, 3);
  struct qtk_qtensor t;
  float out[24];

  (void)state;
  l.has_g_idx = 1;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  t = qtk_qtensor_over(&l, block);
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 0, 4, out, 6), QTK_OK);
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 1, 4, out, 6), QTK_EINTERNAL);
  assert_int_equal(qtk_dequantize_rows(&t, NULL, -1, 2, out, 6), QTK_EINTERNAL);
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 1, INT64_MAX, out, 6), QTK_EINTERNAL);
  assert_int_equal(qtk_dequantize_rows(&t, &scales, 0, 4, out, 6), QTK_EINTERNAL);
  t.g_idx[4] = 2;
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 0, 4, out, 6), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "column 4 names group 2 of 2");
  t.g_idx[4] = -1;
  assert_int_equal(qtk_dequantize_rows(&t, NULL, 0, 4, out, 6), QTK_EINPUT);
}

/* ---- scales ---------------------------------------------------------------------------------- */

static void rounding_up(void **state)
{
  (void)state;
  for (unsigned h = 1; h < 0x7c00; h++) {
    float exact = qtk_f16_to_f32((uint16_t)h), next = qtk_f16_to_f32((uint16_t)(h + 1));
    assert_true(qtk_scale_round_up(QTK_F16, exact) == exact);
    assert_true(qtk_scale_round_up(QTK_F16, nextafterf(exact, INFINITY)) == next);
    assert_true(qtk_scale_round_up(QTK_F16, nextafterf(next, 0)) == next);
  }
  assert_true(qtk_scale_round_up(QTK_F16, 1e-30f) == 0x1p-24f);
  assert_true(isinf(qtk_scale_round_up(QTK_F16, 65505)));
  assert_true(isinf(qtk_scale_round_up(QTK_F16, 1e10f)));
  assert_true(qtk_scale_round_up(QTK_F32, 0.1f) == 0.1f);
}

static void scales_round_to_their_type(void **state)
{
  struct qtk_qlayout l = affine(1, 4, 4, 1);
  char block[512] __attribute__((aligned(64))) = {0};
  struct qtk_qtensor t;

  (void)state;
  l.zero = QTK_ZERO_MIN;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  t = qtk_qtensor_over(&l, block);
  qtk_set_scale(&t, 0, 2, 0.1f);
  qtk_set_min(&t, 0, 3, -0.1f);
  assert_true(qtk_get_scale(&t, 0, 2) == qtk_f16_to_f32(qtk_f32_to_f16(0.1f)));
  assert_true(qtk_get_min(&t, 0, 3) == -qtk_f16_to_f32(qtk_f32_to_f16(0.1f)));
  assert_true(qtk_get_scale(&t, 0, 3) == 0 && qtk_get_min(&t, 0, 2) == 0);
  l.scale_dtype = QTK_F32;
  l.zero = QTK_ZERO_MID;
  l.zero_bits = 0;
  assert_int_equal(qtk_qlayout_init(&l), QTK_OK);
  t = qtk_qtensor_over(&l, block);
  qtk_set_scale(&t, 0, 1, 0.1f);
  assert_true(qtk_get_scale(&t, 0, 1) == 0.1f);
  assert_int_equal(qtk_get_zero(&t, 0, 1), 8);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chunk_bytes),
      cmocka_unit_test(rows_survive),
      cmocka_unit_test(padding_is_zero),
      cmocka_unit_test(bit_streams),
      cmocka_unit_test(sizes),
      cmocka_unit_test(refused),
      cmocka_unit_test(parts_lie_apart),
      cmocka_unit_test(too_large_is_refused),
      cmocka_unit_test(dequantizes),
      cmocka_unit_test(by_hand),
      cmocka_unit_test(views_of_rows),
      cmocka_unit_test(double_quantized),
      cmocka_unit_test(dense),
      cmocka_unit_test(opaque),
      cmocka_unit_test(bad_calls),
      cmocka_unit_test(rounding_up),
      cmocka_unit_test(scales_round_to_their_type),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
