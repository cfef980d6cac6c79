/* SPDX-License-Identifier: BSD-3-Clause
 * Packed codes by chunks of 32 columns, as <qtk/tensor.h> lays them out. */
#ifndef QTK_CORE_PACK_H
#define QTK_CORE_PACK_H

#include <qtk/tensor.h>

#define QTK_CHUNK 32 /* columns; 4 * bits bytes */

QTK_PUBLIC void qtk_chunk_unpack(int bits, const uint8_t *packed, uint8_t codes[QTK_CHUNK]);
QTK_PUBLIC void qtk_chunk_pack(int bits, const uint8_t codes[QTK_CHUNK], uint8_t *packed);

/* Field i of a little-endian bit stream of fields of `width` bits (1 .. 16). */
QTK_PUBLIC unsigned qtk_bits_get(const uint8_t *stream, uint64_t i, int width);
QTK_PUBLIC void qtk_bits_set(uint8_t *stream, uint64_t i, int width, unsigned value);

/* The group of a column. */
static inline int64_t qtk_group_of(const struct qtk_qtensor *t, int64_t col)
{
  return t->g_idx != NULL ? t->g_idx[col] : col / t->layout.group;
}

/* Writes scale_mean of double-quantized scales behind their table, where
 * qtk_qtensor_over finds it again. To be called when such a tensor is filled; nothing
 * happens to others. */
QTK_PUBLIC void qtk_qtensor_seal(struct qtk_qtensor *t);
/* Finds the table, the mean and the block scales in the part `scales`, for a tensor whose
 * parts were set one by one. Nothing happens where there are none. */
QTK_PUBLIC void qtk_qtensor_unseal(struct qtk_qtensor *t);

/* Whether views of any rows (from a multiple of 8 on) can be filled one by one: a quantizer
 * that works by rows may then be given slices. */
QTK_PUBLIC int qtk_qlayout_sliced(const struct qtk_qlayout *layout);

/* QTK_EINPUT if a g_idx names a group that is not there. For tensors from files. */
QTK_PUBLIC int qtk_qtensor_check(const struct qtk_qtensor *t);

/* Adds sum (w - what)^2 and sum w^2. */
void qtk_sum_lost(const float *w, const float *what, size_t n, double *lost, double *whole);
/* The two sums of a tensor that was made of w [rows, cols]. */
int qtk_qtensor_lost(const struct qtk_qtensor *t, const float *w, double *lost, double *whole);

#endif
