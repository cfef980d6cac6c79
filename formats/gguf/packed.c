/* SPDX-License-Identifier: BSD-3-Clause
 * Types that a quantized tensor expresses exactly: Q4_0, Q4_1, Q8_0 as affine
 * groups of 32. Scales move from the blocks into a part of their own. */
#include "gguf.h"

#include <string.h>

#define PACKED_GROUP 32

int gguf_packed_layout(const struct gguf_tensor *t, struct qtk_qlayout *layout)
{
  if (t->type->packing == GGUF_PACK_NONE)
    return 0;
  *layout = (struct qtk_qlayout){
      .encoding = QTK_AFFINE,
      .rows = t->rows,
      .cols = t->cols,
      .bits = t->type->packing == GGUF_PACK_Q8_0 ? 8 : 4,
      .group = PACKED_GROUP,
      .zero = t->type->packing == GGUF_PACK_Q4_1 ? QTK_ZERO_MIN : QTK_ZERO_MID,
      .scale_dtype = QTK_F16,
  };
  return qtk_qlayout_init(layout) == QTK_OK;
}

/* One row: `codes` is 16 or 32 bytes a block, scales and minima are halves. The
 * nibbles of a block lie as in a chunk of 32 columns: they are copied. */
static void packed_row(const struct gguf_tensor *t, const unsigned char *src, unsigned char *codes,
                       unsigned char *scales, unsigned char *minima)
{
  int head = t->type->packing == GGUF_PACK_Q4_1 ? 4 : 2;
  int bytes = t->type->bytes - head;
  int64_t blocks = t->cols / PACKED_GROUP;
  for (int64_t b = 0; b < blocks; b++, src += t->type->bytes, codes += bytes) {
    memcpy(scales + 2 * b, src, 2);
    if (minima)
      memcpy(minima + 2 * b, src + 2, 2);
    if (t->type->packing != GGUF_PACK_Q8_0)
      memcpy(codes, src + head, (size_t)bytes);
    else
      for (int j = 0; j < PACKED_GROUP; j++)
        codes[j] = src[2 + j] ^ 0x80; /* q + 128 */
  }
}

int gguf_packed_read(const struct gguf_tensor *t, int64_t row, int64_t n, struct qtk_qtensor *out)
{
  size_t groups = (size_t)(t->cols / PACKED_GROUP);
  size_t row_bytes = groups * (size_t)t->type->bytes;
  if (out->layout.rows != n || out->layout.cols != t->cols || out->layout.encoding != QTK_AFFINE ||
      out->layout.group != PACKED_GROUP || out->layout.scale_dtype != QTK_F16)
    return qtk_error(QTK_EUSAGE, "tensor '%s': %lld rows into a tensor of another layout", t->name,
                     (long long)n);
  for (int64_t r = 0; r < n; r++) {
    size_t at = (size_t)r * groups * 2;
    packed_row(t, t->data + (size_t)(row + r) * row_bytes,
               (unsigned char *)out->codes + (size_t)r * out->layout.row_bytes,
               (unsigned char *)out->scales + at,
               out->zeros ? (unsigned char *)out->zeros + at : NULL);
  }
  return QTK_OK;
}
