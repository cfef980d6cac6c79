/* SPDX-License-Identifier: BSD-3-Clause
 * Keys and signatures by Ed25519, as lines of text: see qtk-key(1). */
#ifndef QTK_CORE_SIGN_H
#define QTK_CORE_SIGN_H

#include <qtk/base.h>

#include "core/digest.h"

#define QTK_KEY_BYTES 32  /* of either half */
#define QTK_KEY_COMMENT 100
#define QTK_SIGNATURE_BYTES 64
#define QTK_SIGNATURE_TEXT 142 /* "ed25519 KEY SIGNATURE\n" */

/* A key from a file. The secret half is zeros where the file has the public one alone. */
struct qtk_key {
  int secret; /* it has both halves */
  uint8_t public_half[QTK_KEY_BYTES], seed[QTK_KEY_BYTES];
  char comment[QTK_KEY_COMMENT + 1];
};

/* Who signed, and the signature. */
struct qtk_signature {
  uint8_t key[QTK_KEY_BYTES], bytes[QTK_SIGNATURE_BYTES];
};

/* A new pair: the secret half in `path`, which only its owner may read, the public one in
 * `public_path`. QTK_EINPUT where one of these files is there; then nothing is left. */
QTK_PUBLIC int qtk_key_new(const char *path, const char *public_path, const char *comment,
                           struct qtk_key *key);
/* A file of either half. */
QTK_PUBLIC int qtk_key_read(const char *path, struct qtk_key *key);
/* Forgets the secret half. */
QTK_PUBLIC void qtk_key_wipe(struct qtk_key *key);
/* The line of a public key without its end. */
#define QTK_KEY_LINE 256
QTK_PUBLIC void qtk_key_public_line(const struct qtk_key *key, char line[QTK_KEY_LINE]);
/* What people compare: the SHA-256 of the public half in hexadecimal. */
QTK_PUBLIC void qtk_key_fingerprint(const uint8_t public_half[QTK_KEY_BYTES],
                                    char hex[QTK_DIGEST_HEX]);

/* Signs data [n]; the key has its secret half. */
QTK_PUBLIC int qtk_sign(const struct qtk_key *key, const void *data, size_t n,
                        struct qtk_signature *signature);
/* 1 if the signature is that of its key over data [n]. */
QTK_PUBLIC int qtk_signature_holds(const struct qtk_signature *signature, const void *data,
                                   size_t n);

/* As text, there and back; reading gives QTK_EINPUT for anything but what writing makes. */
QTK_PUBLIC void qtk_signature_write(const struct qtk_signature *signature,
                                    char text[QTK_SIGNATURE_TEXT + 1]);
QTK_PUBLIC int qtk_signature_read(const char *text, size_t n, struct qtk_signature *signature);

#endif
