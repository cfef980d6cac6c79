/* SPDX-License-Identifier: BSD-3-Clause
 * A moment of an optimizer: floats, or codes of 8 bits by blocks (Dettmers et al., 8-bit
 * Optimizers via Block-wise Quantization).
 *
 * A block's values are divided by the largest of them in size; what comes of that, in -1 .. 1, is
 * coded by the nearest entry of a table whose steps are fine near 0: with k = 0 .. 6 it holds the
 * middles of 2^k (without a sign 2^(k + 1)) equal parts of 10^(k - 6) [0.1, 1], with both signs
 * where there is one, and 0 and 1. */
#ifndef CORE_MOMENT_H
#define CORE_MOMENT_H

#include <qtk/ops.h>

#define QTK_MOMENT_BLOCK 256  /* values with a scale of their own */
#define QTK_MOMENT_SMALL 4096 /* fewer of them stay floats */
#define QTK_MOMENT_CHUNK (256 * QTK_MOMENT_BLOCK) /* values that are floats at a time */
#define QTK_MOMENT_CODES 256

struct qtk_moment {
  int64_t n;
  int coded;  /* else floats */
  int sign;   /* whether values may be below 0 */
  struct qtk_tensor values; /* backend memory: [n] float32 or u8 */
  struct qtk_tensor scales; /* [blocks] float32 of codes */
};

/* Whether a moment of n values is coded where that is asked for. */
QTK_PUBLIC int qtk_moment_codes(int64_t n);
QTK_PUBLIC uint64_t qtk_moment_bytes(int64_t n, int coded);

/* All of its values are 0. */
QTK_PUBLIC int qtk_moment_new(struct qtk_context *ctx, int64_t n, int coded, int sign,
                              struct qtk_moment *m);
QTK_PUBLIC void qtk_moment_free(struct qtk_context *ctx, struct qtk_moment *m); /* {0} is fine */

/* The table, ascending. */
QTK_PUBLIC void qtk_moment_table(int sign, float table[QTK_MOMENT_CODES]);

/* What coded moments are worked on with, a chunk of them at a time. */
struct qtk_moment_desk {
  float tables[2][QTK_MOMENT_CODES];      /* without and with a sign */
  float middles[2][QTK_MOMENT_CODES - 1]; /* between one entry and the next */
  float *floats; /* [QTK_MOMENT_CHUNK], as are the codes; scales by blocks */
  uint8_t *codes;
  float *scales;
};

QTK_PUBLIC uint64_t qtk_moment_desk_bytes(void);
QTK_PUBLIC int qtk_moment_desk_new(struct qtk_context *ctx, struct qtk_moment_desk **desk);
QTK_PUBLIC void qtk_moment_desk_free(struct qtk_context *ctx, struct qtk_moment_desk *desk);

/* Values [at, at + n) of a coded moment to floats in backend memory, and back; `at` is a multiple
 * of the block and n at most a chunk. A value above 0 without a sign does not become 0: it is
 * divided by. */
QTK_PUBLIC int qtk_moment_read(struct qtk_context *ctx, struct qtk_moment_desk *desk,
                               const struct qtk_moment *m, int64_t at, struct qtk_tensor *floats);
QTK_PUBLIC int qtk_moment_write(struct qtk_context *ctx, struct qtk_moment_desk *desk,
                                struct qtk_moment *m, int64_t at, const struct qtk_tensor *floats);

#endif
