/* SPDX-License-Identifier: BSD-3-Clause
 * SHA-256: by the processor's own instructions where it has them, else by
 * libsodium. */
#ifndef QTK_CORE_DIGEST_H
#define QTK_CORE_DIGEST_H

#include <qtk/base.h>

#define QTK_DIGEST_BYTES 32
#define QTK_DIGEST_HEX 65 /* with the zero byte */

/* A digest under way. */
struct qtk_digest {
  uint32_t state[8];
  uint64_t bytes;
  uint8_t block[64];   /* bytes % 64 of it are filled */
  uint64_t sodium[13]; /* libsodium's own, where that does the work */
};

QTK_PUBLIC void qtk_digest_begin(struct qtk_digest *d);
QTK_PUBLIC void qtk_digest_add(struct qtk_digest *d, const void *data, size_t n);
QTK_PUBLIC void qtk_digest_end(struct qtk_digest *d, uint8_t out[QTK_DIGEST_BYTES]);

QTK_PUBLIC void qtk_digest_of(const void *data, size_t n, uint8_t out[QTK_DIGEST_BYTES]);
/* Of a whole file, read piece by piece. */
QTK_PUBLIC int qtk_digest_file(const char *path, uint8_t out[QTK_DIGEST_BYTES]);

/* Lower-case hexadecimal, there and back; from_hex gives QTK_EINPUT for anything
 * but 64 such digits. */
QTK_PUBLIC void qtk_digest_hex(const uint8_t digest[QTK_DIGEST_BYTES], char hex[QTK_DIGEST_HEX]);
QTK_PUBLIC int qtk_digest_from_hex(const char *hex, uint8_t digest[QTK_DIGEST_BYTES]);

#endif
