/* SPDX-License-Identifier: BSD-3-Clause
 * Ed25519 by libsodium: key files, signatures, and their lines of text. */
#include "core/sign.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/fs.h"

#define SIGN_BASE64 45 /* of a half, with the zero byte */
#define SIGN_FILE 1024 /* more than a key file has */

static const char *const sign_words[] = {"qtk-ed25519-public", "qtk-ed25519-secret"};

_Static_assert(QTK_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "a public key of libsodium's");
_Static_assert(QTK_KEY_BYTES == crypto_sign_SEEDBYTES, "a seed of libsodium's");
_Static_assert(QTK_SIGNATURE_BYTES == crypto_sign_BYTES, "a signature of libsodium's");

static int sign_ready(void)
{
  return sodium_init() >= 0 ? QTK_OK : qtk_error(QTK_EINTERNAL, "libsodium does not start");
}

/* ---- texts ------------------------------------------------------------------------ */

static char *sign_encode(char *text, size_t room, const uint8_t *bytes, size_t n)
{
  return sodium_bin2base64(text, room, bytes, n, sodium_base64_VARIANT_ORIGINAL);
}

/* text [length] is the one way to write n bytes. */
static int sign_decode(const char *text, size_t length, uint8_t *bytes, size_t n)
{
  size_t found = 0;
  return length == sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL) - 1 &&
         sodium_base642bin(bytes, n, text, length, NULL, &found, NULL,
                           sodium_base64_VARIANT_ORIGINAL) == 0 &&
         found == n;
}

/* A comment is printed to people: it has no control characters. */
static int sign_comment(const char *text)
{
  size_t n = strlen(text);
  if (n > QTK_KEY_COMMENT)
    return qtk_error(QTK_EINPUT, "the comment has %zu bytes, allowed are %d", n, QTK_KEY_COMMENT);
  for (size_t i = 0; i < n; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 127)
      return qtk_error(QTK_EINPUT, "the comment has the control character 0x%02x",
                       (unsigned char)text[i]);
  return QTK_OK;
}

static void sign_line(const struct qtk_key *key, int secret, char line[QTK_KEY_LINE])
{
  char half[SIGN_BASE64];
  sign_encode(half, sizeof half, secret ? key->seed : key->public_half, QTK_KEY_BYTES);
  snprintf(line, QTK_KEY_LINE, "%s %s%s%s", sign_words[secret], half, *key->comment ? " " : "",
           key->comment);
  sodium_memzero(half, sizeof half);
}

void qtk_key_public_line(const struct qtk_key *key, char line[QTK_KEY_LINE])
{
  sign_line(key, 0, line);
}

void qtk_key_fingerprint(const uint8_t public_half[QTK_KEY_BYTES], char hex[QTK_DIGEST_HEX])
{
  uint8_t digest[QTK_DIGEST_BYTES];
  qtk_digest_of(public_half, QTK_KEY_BYTES, digest);
  qtk_digest_hex(digest, hex);
}

/* ---- a new pair ------------------------------------------------------------------- */

static void sign_derive(struct qtk_key *key)
{
  uint8_t both[crypto_sign_SECRETKEYBYTES];
  crypto_sign_seed_keypair(key->public_half, both, key->seed);
  sodium_memzero(both, sizeof both);
}

/* A file that was not there before; it is not there after an error either. */
static int sign_create(const char *path, mode_t mode, const struct qtk_key *key, int secret)
{
  char line[QTK_KEY_LINE + 1];
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  if (fd < 0 && errno == EEXIST)
    return qtk_error(QTK_EINPUT, "%s: exists, and a key is never written over", path);
  if (fd < 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s: cannot write", path);
  sign_line(key, secret, line);
  size_t n = strlen(line);
  line[n++] = '\n';
  ssize_t done = write(fd, line, n);
  int err = done < 0 ? errno : done < (ssize_t)n ? ENOSPC : fsync(fd) != 0 ? errno : 0;
  sodium_memzero(line, sizeof line);
  if (close(fd) != 0 && err == 0)
    err = errno;
  if (err == 0)
    return QTK_OK;
  unlink(path);
  return qtk_error_errno(QTK_EINPUT, err, "%s: cannot write", path);
}

int qtk_key_new(const char *path, const char *public_path, const char *comment,
                struct qtk_key *key)
{
  *key = (struct qtk_key){.secret = 1};
  int rc = sign_ready();
  if (rc == QTK_OK)
    rc = sign_comment(comment);
  if (rc != QTK_OK)
    return rc;
  snprintf(key->comment, sizeof key->comment, "%s", comment);
  randombytes_buf(key->seed, sizeof key->seed);
  sign_derive(key);
  rc = sign_create(path, 0600, key, 1);
  if (rc == QTK_OK && (rc = sign_create(public_path, 0644, key, 0)) != QTK_OK)
    unlink(path);
  if (rc != QTK_OK)
    qtk_key_wipe(key);
  return rc;
}

void qtk_key_wipe(struct qtk_key *key)
{
  sodium_memzero(key->seed, sizeof key->seed);
  key->secret = 0;
}

/* ---- reading ---------------------------------------------------------------------- */

/* "WORD BASE64[ COMMENT]", cut up in place. */
static int sign_read_line(char *line, struct qtk_key *key)
{
  char *half = strchr(line, ' '), *comment = half ? strchr(half + 1, ' ') : NULL;
  if (half)
    *half++ = 0;
  if (comment)
    *comment++ = 0;
  for (int secret = 0; secret < 2; secret++)
    if (half && strcmp(line, sign_words[secret]) == 0) {
      key->secret = secret;
      if (!sign_decode(half, strlen(half), secret ? key->seed : key->public_half, QTK_KEY_BYTES))
        return qtk_error(QTK_EINPUT, "the second word is not the base64 of %d bytes",
                         QTK_KEY_BYTES);
      int rc = sign_comment(comment ? comment : "");
      snprintf(key->comment, sizeof key->comment, "%s", comment ? comment : "");
      return rc;
    }
  return qtk_error(QTK_EINPUT, "not a key: wanted is a line \"%s BASE64 COMMENT\" or \"%s ...\"",
                   sign_words[0], sign_words[1]);
}

static int sign_read_text(char *text, size_t n, struct qtk_key *key)
{
  if (n > 0 && text[n - 1] == '\n')
    text[--n] = 0;
  if (memchr(text, 0, n) || memchr(text, '\n', n))
    return qtk_error(QTK_EINPUT, "a key is one line of text");
  int rc = sign_read_line(text, key);
  if (rc == QTK_OK && key->secret)
    sign_derive(key);
  return rc;
}

static void sign_warn(const char *path)
{
  struct stat st;
  if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
    qtk_warn("%s: others than its owner may use this secret key: its mode is %03o", path,
             (unsigned)(st.st_mode & 0777));
}

int qtk_key_read(const char *path, struct qtk_key *key)
{
  char *text = NULL;
  size_t n = 0;
  *key = (struct qtk_key){0};
  int rc = sign_ready();
  if (rc == QTK_OK)
    rc = qtk_read_file(path, SIGN_FILE, &text, &n);
  if (rc != QTK_OK)
    return rc;
  rc = sign_read_text(text, n, key);
  sodium_memzero(text, n);
  free(text);
  if (rc == QTK_OK && key->secret)
    sign_warn(path);
  if (rc == QTK_OK)
    return rc;
  qtk_key_wipe(key);
  return qtk_error_at(rc, "%s", path);
}

/* ---- signatures ------------------------------------------------------------------- */

int qtk_sign(const struct qtk_key *key, const void *data, size_t n, struct qtk_signature *signature)
{
  uint8_t both[crypto_sign_SECRETKEYBYTES], public_half[QTK_KEY_BYTES];
  int rc = sign_ready();
  if (rc == QTK_OK && !key->secret)
    rc = qtk_error(QTK_EINPUT, "a public key cannot sign: the secret one is wanted");
  if (rc != QTK_OK)
    return rc;
  crypto_sign_seed_keypair(public_half, both, key->seed);
  crypto_sign_detached(signature->bytes, NULL, data, n, both);
  memcpy(signature->key, public_half, sizeof public_half);
  sodium_memzero(both, sizeof both);
  return QTK_OK;
}

int qtk_signature_holds(const struct qtk_signature *signature, const void *data, size_t n)
{
  return sign_ready() == QTK_OK &&
         crypto_sign_verify_detached(signature->bytes, data, n, signature->key) == 0;
}

void qtk_signature_write(const struct qtk_signature *signature, char text[QTK_SIGNATURE_TEXT + 1])
{
  char key[SIGN_BASE64], bytes[SIGN_BASE64 + 44];
  sign_encode(key, sizeof key, signature->key, sizeof signature->key);
  sign_encode(bytes, sizeof bytes, signature->bytes, sizeof signature->bytes);
  snprintf(text, QTK_SIGNATURE_TEXT + 1, "ed25519 %s %s\n", key, bytes);
}

int qtk_signature_read(const char *text, size_t n, struct qtk_signature *signature)
{
  char again[QTK_SIGNATURE_TEXT + 1];
  if (n == QTK_SIGNATURE_TEXT && sign_decode(text + 8, 44, signature->key, QTK_KEY_BYTES) &&
      sign_decode(text + 53, 88, signature->bytes, QTK_SIGNATURE_BYTES)) {
    qtk_signature_write(signature, again);
    if (memcmp(again, text, n) == 0)
      return QTK_OK;
  }
  return qtk_error(QTK_EINPUT, "signature: wanted is \"ed25519 KEY SIGNATURE\" in base64, %d bytes",
                   QTK_SIGNATURE_TEXT);
}
