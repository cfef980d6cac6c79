/* SPDX-License-Identifier: BSD-3-Clause
 * qtk key: pairs of keys for signatures. */
#include <stdlib.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/sign.h"

#define KEY_SUFFIX ".key"
#define KEY_PUBLIC ".pub"

static int key_print(const struct qtk_key *key)
{
  char line[QTK_KEY_LINE], hex[QTK_DIGEST_HEX];
  qtk_key_public_line(key, line);
  qtk_key_fingerprint(key->public_half, hex);
  printf("%s\nfingerprint %s\n", line, hex);
  return cli_flush();
}

/* ---- new ------------------------------------------------------------------------------ */

static int key_make(const char *path, const char *comment)
{
  const char *base = qtk_path_base(path);
  int stem = (int)(strlen(path) - strlen(KEY_SUFFIX));
  char *public_path = qtk_str_format("%.*s" KEY_PUBLIC, stem, path);
  char *name = qtk_str_format("%.*s", (int)(strlen(base) - strlen(KEY_SUFFIX)), base);
  struct qtk_key key = {0};
  int rc = public_path && name ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_key_new(path, public_path, comment ? comment : name, &key);
  qtk_key_wipe(&key);
  if (rc == QTK_OK) {
    printf("secret key %s: keep it to yourself, it has no passphrase\n"
           "public key %s: give it to whom shall check what you sign\n",
           path, public_path);
    rc = key_print(&key);
  }
  free(public_path);
  free(name);
  return rc;
}

static int key_new(int argc, char **argv)
{
  const char *comment = NULL;
  const struct cli_option options[] = {
    {"comment", CLI_TEXT, &comment, "TEXT", "whose key it is; default: NAME"}, {0}};
  const struct cli_usage usage = {
    "key new", "NAME" KEY_SUFFIX, 1, 1, options,
    "Makes a pair of Ed25519 keys: the secret one in NAME" KEY_SUFFIX
    ", which only you may read, the\npublic one in NAME" KEY_PUBLIC
    ". The secret key has no passphrase: whoever has the file can sign."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  if (!qtk_path_ends(argv[0], KEY_SUFFIX) || strcmp(qtk_path_base(argv[0]), KEY_SUFFIX) == 0)
    return qtk_error(QTK_EUSAGE, "qtk key new: \"%s\": the name of a secret key is NAME" KEY_SUFFIX,
                     argv[0]);
  return key_make(argv[0], comment);
}

/* ---- show ----------------------------------------------------------------------------- */

static int key_show(int argc, char **argv)
{
  static const struct cli_option options[] = {{0}};
  static const struct cli_usage usage = {
    "key show", "FILE", 1, 1, options,
    "Prints the public key of a file with either key, as its file has it, and its fingerprint,\n"
    "the SHA-256 of the key: what two people compare."};
  struct qtk_key key;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK || (rc = qtk_key_read(argv[0], &key)) != QTK_OK)
    return rc;
  qtk_key_wipe(&key);
  return key_print(&key);
}

static const struct cli_verb key_verbs[] = {
  {"new", "make a secret and a public key", key_new},
  {"show", "the public key and its fingerprint", key_show},
  {0},
};

int cli_key(int argc, char **argv)
{
  return cli_dispatch(key_verbs, "key", argc, argv);
}
