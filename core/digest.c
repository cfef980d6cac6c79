/* SPDX-License-Identifier: BSD-3-Clause
 * SHA-256. libsodium's is portable C (a few hundred MB/s); with the instructions
 * of core/digest-x86.c a model is hashed at the speed of memory. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/digest-x86.h"
#include "core/digest.h"
#include "core/error.h"

#define DIGEST_PIECE ((size_t)256 << 10)

_Static_assert(sizeof(crypto_hash_sha256_state) <= sizeof((struct qtk_digest){0}.sodium),
               "room for libsodium's state");

static void digest_fast_begin(struct qtk_digest *d)
{
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

  memcpy(d->state, start, sizeof start);
  d->bytes = 0;
}

static void digest_fast_add(struct qtk_digest *d, const uint8_t *data, size_t n)
{
  size_t filled = d->bytes % 64;

  d->bytes += n;
  if (filled > 0) {
    size_t take = n < 64 - filled ? n : 64 - filled;
    memcpy(d->block + filled, data, take);
    if (filled + take < 64)
      return;
    qtk_digest_x86_blocks(d->state, d->block, 1);
    data += take;
    n -= take;
  }
  qtk_digest_x86_blocks(d->state, data, n / 64);
  if (n % 64 > 0)
    memcpy(d->block, data + n / 64 * 64, n % 64);
}

static void digest_fast_end(struct qtk_digest *d, uint8_t out[QTK_DIGEST_BYTES])
{
  uint64_t bits = d->bytes * 8;
  uint8_t tail[72] = {0x80};
  size_t zeros = (119 - d->bytes % 64) % 64 + 1; /* with the 0x80: up to 56 mod 64 */

  for (int i = 0; i < 8; i++)
    tail[zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
  digest_fast_add(d, tail, zeros + 8);
  for (int i = 0; i < 32; i++)
    out[i] = (uint8_t)(d->state[i / 4] >> (24 - 8 * (i % 4)));
}

void qtk_digest_begin(struct qtk_digest *d)
{
  if (qtk_digest_x86_supported())
    digest_fast_begin(d);
  else
    crypto_hash_sha256_init((void *)d->sodium);
}

void qtk_digest_add(struct qtk_digest *d, const void *data, size_t n)
{
  if (n == 0)
    return;
  if (qtk_digest_x86_supported())
    digest_fast_add(d, data, n);
  else
    crypto_hash_sha256_update((void *)d->sodium, data, n);
}

void qtk_digest_end(struct qtk_digest *d, uint8_t out[QTK_DIGEST_BYTES])
{
  if (qtk_digest_x86_supported())
    digest_fast_end(d, out);
  else
    crypto_hash_sha256_final((void *)d->sodium, out);
}

void qtk_digest_of(const void *data, size_t n, uint8_t out[QTK_DIGEST_BYTES])
{
  struct qtk_digest d;

  qtk_digest_begin(&d);
  qtk_digest_add(&d, data, n);
  qtk_digest_end(&d, out);
}

static int digest_descriptor(int fd, const char *path, void *piece, uint8_t out[QTK_DIGEST_BYTES])
{
  struct qtk_digest d;
  ssize_t n;

  qtk_digest_begin(&d);
  while ((n = read(fd, piece, DIGEST_PIECE)) != 0) {
    if (n > 0)
      qtk_digest_add(&d, piece, (size_t)n);
    else if (errno != EINTR)
      return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  }
  qtk_digest_end(&d, out);
  return QTK_OK;
}

int qtk_digest_file(const char *path, uint8_t out[QTK_DIGEST_BYTES])
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void *piece;
  int rc;

  if (fd < 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  piece = malloc(DIGEST_PIECE);
  rc = piece == NULL ? qtk_error_memory(DIGEST_PIECE, "a digest")
                     : digest_descriptor(fd, path, piece, out);
  free(piece);
  close(fd);
  return rc;
}

void qtk_digest_hex(const uint8_t digest[QTK_DIGEST_BYTES], char hex[QTK_DIGEST_HEX])
{
  for (int i = 0; i < QTK_DIGEST_BYTES; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[2 * QTK_DIGEST_BYTES] = '\0';
}

static int digest_nibble(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int qtk_digest_from_hex(const char *hex, uint8_t digest[QTK_DIGEST_BYTES])
{
  int good = strlen(hex) == 2 * QTK_DIGEST_BYTES;

  for (int i = 0; good && i < QTK_DIGEST_BYTES; i++) {
    int high = digest_nibble(hex[2 * i]), low = digest_nibble(hex[2 * i + 1]);
    good = high >= 0 && low >= 0;
    digest[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
  }
  if (!good)
    return qtk_error(QTK_EINPUT, "\"%.80s\" is no SHA-256 digest of 64 digits 0-9 a-f", hex);
  return QTK_OK;
}
