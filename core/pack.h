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

#endif
