/* SPDX-License-Identifier: BSD-3-Clause
 * qtk bundle sign, and what is said about signatures. */
#include <string.h>

#include "core/bundle.h"
#include "core/cli/cli.h"
#include "core/context.h"
#include "core/error.h"

void cli_print_signature(const struct qtk_bundle *b)
{
  const struct qtk_signature *signature = qtk_bundle_signature(b);
  char by[QTK_DIGEST_HEX];
  if (signature == NULL)
    return;
  qtk_key_fingerprint(signature->key, by);
  printf("signed by %s\n", by);
}

/* ---- sign ----------------------------------------------------------------------------- */

/* Only what is whole is signed. */
static int sign_bundle(struct qtk_context *ctx, const char *path, const struct qtk_key *key)
{
  char before[QTK_DIGEST_HEX] = "", by[QTK_DIGEST_HEX];
  struct qtk_bundle *b;
  int rc = qtk_bundle_open(path, &b);
  if (rc != QTK_OK)
    return rc;
  if (qtk_bundle_signature(b) != NULL)
    qtk_key_fingerprint(qtk_bundle_signature(b)->key, before);
  rc = qtk_bundle_verify_members(ctx, b);
  if (rc == QTK_OK)
    rc = qtk_bundle_sign(ctx, b, key);
  qtk_bundle_close(b);
  if (rc != QTK_OK)
    return rc;
  qtk_key_fingerprint(key->public_half, by);
  printf("%s: signed by %s\n", path, by);
  if (*before != '\0')
    printf("in place of the signature by %s\n", before);
  return cli_flush();
}

int cli_bundle_sign(int argc, char **argv)
{
  const char *path = NULL;
  const struct cli_option options[] = {
    {"key", CLI_TEXT, &path, "NAME.key", "the secret key, from qtk key new; must be given"}, {0}};
  const struct cli_usage usage = {
    "bundle sign", "FILE", 1, 1, options,
    "Signs the bundle's manifest, and so every member, whose digests it has. Members are hashed\n"
    "first: only a whole bundle is signed. A signature that is there already is replaced."};
  struct qtk_context_options how = {.stop = cli_stop_flag()};
  struct qtk_context *ctx;
  struct qtk_key key;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  if (path == NULL)
    return qtk_error(QTK_EUSAGE, "qtk bundle sign: --key is missing: a secret key, from qtk key new");
  rc = qtk_key_read(path, &key);
  if (rc == QTK_OK && !key.secret)
    rc = qtk_error(QTK_EINPUT, "%s: a public key cannot sign: the secret one is wanted", path);
  if (rc == QTK_OK && (rc = qtk_context_open(&how, &ctx)) == QTK_OK) {
    rc = sign_bundle(ctx, argv[0], &key);
    qtk_context_close(ctx);
  }
  qtk_key_wipe(&key);
  return rc;
}

/* ---- verify --------------------------------------------------------------------------- */

static int sign_wanted(const char *path, struct qtk_key *wanted)
{
  int rc = qtk_key_read(path, wanted);
  int secret = wanted->secret;
  qtk_key_wipe(wanted);
  if (rc == QTK_OK && secret)
    rc = qtk_error(QTK_EINPUT, "%s: a secret key: the public one is wanted to verify", path);
  return rc;
}

int cli_check_signer(const struct qtk_bundle *b, const char *path, const char *key)
{
  const struct qtk_signature *signature = qtk_bundle_signature(b);
  char by[QTK_DIGEST_HEX], wanted[QTK_DIGEST_HEX];
  struct qtk_key k;
  int rc = sign_wanted(key, &k);
  if (rc != QTK_OK)
    return rc;
  qtk_key_fingerprint(k.public_half, wanted);
  if (signature == NULL)
    return qtk_error(QTK_EMISMATCH, "%s: not signed; wanted is the key %s", path, wanted);
  qtk_key_fingerprint(signature->key, by);
  if (strcmp(by, wanted) != 0)
    return qtk_error(QTK_EMISMATCH, "%s: signed by %s; wanted is the key %s", path, by, wanted);
  return QTK_OK;
}
