/* SPDX-License-Identifier: BSD-3-Clause
 * qtk bundle: what is in a bundle, whether it is whole, and who signed it. */
#include <string.h>

#include "core/bundle.h"
#include "core/cli/cli.h"
#include "core/context.h"
#include "core/job.h"

static const struct cli_option bundle_no_options[] = {{0}};

void cli_print_redo(const struct qtk_bundle *b)
{
  const struct qtk_toml *list = qtk_toml_find(qtk_bundle_manifest(b), "provenance.redo");
  for (size_t i = 0; list != NULL && i < qtk_toml_length(list); i++) {
    const struct qtk_toml *item = qtk_toml_item(list, i);
    if (qtk_toml_kind(item) == QTK_TOML_TEXT)
      printf("done again, the rest kept from an earlier bundle: %s\n", qtk_toml_text(item));
  }
}

/* ---- adapters ----------------------------------------------------------------------- */

static uint64_t bundle_values(const struct qtk_bundle_adapter *a)
{
  uint64_t n = 0;
  for (int i = 0; i < a->n_params; i++)
    n += (uint64_t)(a->params[i].view.layout.rows * a->params[i].view.layout.cols);
  return n;
}

static void bundle_binding(const struct qtk_bundle_adapter *a)
{
  if (*a->base)
    printf("  trained on %s%sdigest %s\n", a->base_name ? a->base_name : "",
           a->base_name ? ", " : "", a->base);
  else
    printf("  trained on a model that is not known\n");
  if (a->origin)
    printf("  read with the format %s\n", a->origin);
  if (a->forced)
    printf("  put on another base than that by force\n");
  if (*a->tokenizer)
    printf("  tokenizer digest %s\n", a->tokenizer);
  if (*a->recipe)
    printf("  made by a job with digest %s\n", a->recipe);
}

/* Options are lines of TOML. */
static void bundle_options(const struct qtk_bundle_adapter *a)
{
  for (const char *line = a->options, *end; *line; line = *end ? end + 1 : end) {
    end = strchrnul(line, '\n');
    printf("  %.*s\n", (int)(end - line), line);
  }
  if (a->targets)
    printf("  targets = \"%s\"\n", a->targets);
}

int cli_print_adapters(const struct qtk_bundle *b)
{
  for (int i = 0; i < qtk_bundle_adapter_count(b); i++) {
    const struct qtk_bundle_adapter *a = qtk_bundle_adapter(b, i);
    char size[QTK_SIZE_TEXT];
    printf("adapter \"%s\": %s, %llu values in %d parameters, %s\n", a->name, a->plugin,
           (unsigned long long)bundle_values(a), a->n_params, qtk_size_text(a->bytes, size));
    bundle_options(a);
    bundle_binding(a);
  }
  return cli_flush();
}

/* ---- list --------------------------------------------------------------------------- */

static void bundle_row(struct cli_table *table, const struct qtk_bundle_member *m)
{
  char hex[QTK_DIGEST_HEX];
  qtk_digest_hex(m->sha256, hex);
  cli_table_add(table, "%s", m->name);
  cli_table_add(table, "%llu", (unsigned long long)m->bytes);
  cli_table_add(table, "%s", hex);
}

static int bundle_list(int argc, char **argv)
{
  static const struct cli_usage usage = {
    "bundle list", "FILE", 1, 1, bundle_no_options,
    "Prints name, bytes and SHA-256 of every member, as the manifest has them."};
  struct qtk_bundle *b;
  struct cli_table table;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK || (rc = qtk_bundle_open(argv[0], &b)) != QTK_OK)
    return rc;
  cli_table_begin(&table, 3, 2);
  for (int i = 0; i < qtk_bundle_member_count(b); i++)
    bundle_row(&table, qtk_bundle_member(b, i));
  rc = cli_table_print(&table);
  qtk_bundle_close(b);
  return rc;
}

/* ---- verify ---------------------------------------------------------------------------- */

static int bundle_say(const struct qtk_bundle *b, const char *path, int trusted)
{
  char size[QTK_SIZE_TEXT];
  uint64_t bytes = 0;
  int n = qtk_bundle_member_count(b);
  for (int i = 0; i < n; i++)
    bytes += qtk_bundle_member(b, i)->bytes;
  printf("%s: %s, %d members, %s: every digest is right\n", path, qtk_bundle_kind(b), n,
         qtk_size_text(bytes, size));
  if (qtk_bundle_model_digest(b) != NULL)
    printf("model digest %s\n", qtk_bundle_model_digest(b));
  cli_print_redo(b);
  cli_print_signature(b);
  if (qtk_bundle_signature(b) == NULL)
    printf("not signed\n");
  else if (trusted)
    printf("that is the key that was wanted\n");
  else
    printf("the signature is right; --key FILE also says whether the key is one that you trust\n");
  return cli_flush();
}

static int bundle_verify(int argc, char **argv)
{
  const char *key = NULL;
  const struct cli_option bundle_options[] = {
    {"key", CLI_TEXT, &key, "NAME.pub", "the public key that must have signed it"}, {0}};
  const struct cli_usage usage = {
    "bundle verify", "FILE", 1, 1, bundle_options,
    "Hashes every member again and compares it with the manifest, and checks the signature over\n"
    "the manifest, if there is one. With --key there must be one, and of that key."};
  struct qtk_context_options options = {.stop = cli_stop_flag()};
  struct qtk_context *ctx;
  struct qtk_bundle *b;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK || (rc = qtk_bundle_open(argv[0], &b)) != QTK_OK)
    return rc;
  if (key != NULL)
    rc = cli_check_signer(b, argv[0], key);
  if (rc == QTK_OK && (rc = qtk_context_open(&options, &ctx)) == QTK_OK) {
    rc = qtk_bundle_verify(ctx, b);
    qtk_context_close(ctx);
  }
  if (rc == QTK_OK)
    rc = bundle_say(b, argv[0], key != NULL);
  qtk_bundle_close(b);
  return rc;
}

static const struct cli_verb bundle_verbs[] = {
  {"list", "the members with their digests", bundle_list},
  {"verify", "hash all members again, check the signature", bundle_verify},
  {"apply", "an adapter merged into its base", cli_bundle_apply},
  {"sign", "sign with a secret key", cli_bundle_sign},
  {0},
};

int cli_bundle(int argc, char **argv)
{
  return cli_dispatch(bundle_verbs, "bundle", argc, argv);
}
