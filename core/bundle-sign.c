/* SPDX-License-Identifier: BSD-3-Clause
 * Signs a bundle: the file again with one more member, the last one. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/bundle-manifest.h"
#include "core/bundle-tar.h"
#include "core/error.h"

#define SIGN_BATCH ((uint64_t)16 << 20)

/* What stands before the signature, as it is. */
static int sign_copy(struct qtk_context *ctx, const struct qtk_bundle *b, struct qtk_writer *file)
{
  int rc = QTK_OK;
  for (uint64_t at = 0; at < b->end && rc == QTK_OK; at += SIGN_BATCH) {
    uint64_t n = b->end - at < SIGN_BATCH ? b->end - at : SIGN_BATCH;
    rc = qtk_writer_put(file, b->map.data + at, n);
    qtk_map_drop(&b->map, at, n);
    if (rc == QTK_OK)
      rc = qtk_writer_drop(file);
    if (rc == QTK_OK)
      rc = qtk_check_stop(ctx);
  }
  return rc;
}

/* The signature's member and the end of the archive. */
static int sign_append(const struct qtk_signature *signature, struct qtk_writer *file)
{
  char blocks[4 * QTK_TAR_BLOCK] = {0};
  qtk_tar_header(QTK_BUNDLE_SIGNATURE, QTK_SIGNATURE_TEXT, (uint8_t *)blocks);
  qtk_signature_write(signature, blocks + QTK_TAR_BLOCK);
  return qtk_writer_put(file, blocks, sizeof blocks);
}

/* The new file may be read by whom the old one could. */
static int sign_mode(const char *path, const struct qtk_writer *file)
{
  struct stat st;
  if (stat(path, &st) == 0 && fchmod(file->fd, st.st_mode & 0777) == 0)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "%s: its mode cannot be kept", path);
}

int qtk_bundle_sign(struct qtk_context *ctx, const struct qtk_bundle *b, const struct qtk_key *key)
{
  struct qtk_signature signature;
  struct qtk_writer file = {0};
  char *path = realpath(b->map.path, NULL);
  int rc = path ? qtk_sign(key, b->manifest_text, b->manifest_bytes, &signature)
                : qtk_error(QTK_EINPUT, "%s: it is gone", b->map.path);
  if (rc == QTK_OK)
    rc = qtk_writer_open(&file, path);
  if (rc == QTK_OK)
    rc = sign_mode(path, &file);
  if (rc == QTK_OK)
    rc = sign_copy(ctx, b, &file);
  if (rc == QTK_OK)
    rc = sign_append(&signature, &file);
  if (rc == QTK_OK)
    rc = qtk_writer_commit(&file);
  qtk_writer_abort(&file);
  free(path);
  return rc;
}

int qtk_bundle_check_signature(const struct qtk_bundle *b)
{
  char by[QTK_DIGEST_HEX];
  if (!b->is_signed || qtk_signature_holds(&b->signature, b->manifest_text, b->manifest_bytes))
    return QTK_OK;
  qtk_key_fingerprint(b->signature.key, by);
  return qtk_error(QTK_EMISMATCH, "%s: the signature is not one of the key %s over this manifest",
                   b->map.path, by);
}

const struct qtk_signature *qtk_bundle_signature(const struct qtk_bundle *b)
{
  return b->is_signed ? &b->signature : NULL;
}
