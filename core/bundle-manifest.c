/* SPDX-License-Identifier: BSD-3-Clause
 * Reads a bundle's manifest. */
#include "core/bundle-manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/bundle-tar.h"
#include "core/error.h"

/* ---- lookup ---------------------------------------------------------------------- */

static int manifest_compare(const void *key, const void *member)
{
  return strcmp(key, ((const struct qtk_bundle_member *)member)->name);
}

struct qtk_bundle_member *qtk_bundle_find(const struct qtk_bundle *b, const char *name)
{
  if (b->n_members == 0)
    return NULL;
  return bsearch(name, b->members, b->n_members, sizeof *b->members, manifest_compare);
}

struct qtk_bundle_member *qtk_bundle_find_part(const struct qtk_bundle *b, const char *tensor,
                                               enum qtk_part part)
{
  char name[QTK_TAR_NAME];
  int n = snprintf(name, sizeof name, QTK_BUNDLE_TENSORS "%s.%s", tensor, qtk_part_name(part));
  return n < QTK_TAR_NAME ? qtk_bundle_find(b, name) : NULL;
}

/* ---- the text's digest ------------------------------------------------------------- */

/* The text begins with a line that has the digest of all that follows. */
static int manifest_check_digest(const char *text, size_t n)
{
  static const char before[] = "digest = \"", after[] = "\"\n";
  size_t start = sizeof before - 1, end = start + 2 * QTK_DIGEST_BYTES, line = end + 2;
  char hex[QTK_DIGEST_HEX], found[QTK_DIGEST_HEX];
  uint8_t digest[QTK_DIGEST_BYTES];
  if (n < line || memcmp(text, before, start) != 0 || memcmp(text + end, after, 2) != 0)
    return qtk_error(QTK_EINPUT, "manifest: the first line is not digest = \"...\"");
  memcpy(hex, text + start, sizeof hex - 1);
  hex[sizeof hex - 1] = 0;
  qtk_digest_of(text + line, n - line, digest);
  qtk_digest_hex(digest, found);
  if (strcmp(hex, found) != 0)
    return qtk_error(QTK_EINPUT, "manifest: its digest is %s, its first line says %s: damaged",
                     found, hex);
  return QTK_OK;
}

/* ---- fields ---------------------------------------------------------------------- */

static int manifest_version(const struct qtk_toml *root, const char *key, int64_t known)
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(root, key, QTK_TOML_INT, &node);
  if (rc == QTK_OK && qtk_toml_int(node) != known)
    rc = qtk_toml_error(node, "%s = %lld: this version of qtk reads %lld", key,
                        (long long)qtk_toml_int(node), (long long)known);
  return rc;
}

/* 64 hexadecimal digits under `key`. */
static int manifest_digest(const struct qtk_toml *table, const char *key, const char **hex,
                           uint8_t digest[QTK_DIGEST_BYTES])
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(table, key, QTK_TOML_TEXT, &node);
  if (rc == QTK_OK) {
    *hex = qtk_toml_text(node);
    rc = qtk_digest_from_hex(*hex, digest);
  }
  return rc;
}

static int manifest_head(struct qtk_bundle *b)
{
  static const char *const keys[] = {"digest",  "format",     "layout",       "kind",
                                     "qtk",     "licence",    "provenance",   "model_digest",
                                     "tensor",  "adapter",    "member",       NULL};
  const struct qtk_toml *root = b->manifest, *kind;
  uint8_t digest[QTK_DIGEST_BYTES];
  const char *text = NULL;
  int rc = manifest_version(root, "format", QTK_BUNDLE_VERSION);
  if (rc == QTK_OK)
    rc = manifest_version(root, "layout", QTK_LAYOUT_VERSION);
  if (rc == QTK_OK)
    rc = qtk_toml_only(root, keys);
  if (rc == QTK_OK)
    rc = qtk_toml_need(root, "kind", QTK_TOML_TEXT, &kind);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(root, "licence", &text);
  if (rc != QTK_OK)
    return rc;
  b->kind = qtk_toml_text(kind);
  if (strcmp(b->kind, "model") == 0)
    return manifest_digest(root, "model_digest", &b->model_digest, digest);
  if (strcmp(b->kind, "adapter") != 0)
    return qtk_toml_error(kind, "kind = \"%s\": known are \"model\" and \"adapter\"", b->kind);
  if (qtk_toml_get(root, "tensor"))
    return qtk_toml_error(qtk_toml_get(root, "tensor"), "an adapter has no tensors of a model");
  return QTK_OK;
}

/* ---- members --------------------------------------------------------------------- */

static int manifest_member(struct qtk_bundle *b, size_t i, const struct qtk_toml *table)
{
  struct qtk_bundle_member *m = &b->members[i];
  const struct qtk_toml *name, *bytes;
  const char *hex;
  int rc = qtk_toml_need(table, "name", QTK_TOML_TEXT, &name);
  if (rc == QTK_OK)
    rc = qtk_toml_need(table, "bytes", QTK_TOML_INT, &bytes);
  if (rc == QTK_OK)
    rc = manifest_digest(table, "sha256", &hex, m->sha256);
  if (rc == QTK_OK)
    rc = qtk_tar_check_name(qtk_toml_text(name));
  if (rc != QTK_OK)
    return rc;
  m->name = qtk_toml_text(name);
  if (strcmp(m->name, QTK_BUNDLE_SIGNATURE) == 0)
    return qtk_toml_error(name, "member \"%s\": a manifest does not list it", m->name);
  if (qtk_toml_int(bytes) < 0)
    return qtk_toml_error(bytes, "bytes = %lld: allowed are 0 and more",
                          (long long)qtk_toml_int(bytes));
  m->bytes = (uint64_t)qtk_toml_int(bytes);
  int order = i == 0 ? -1 : strcmp(b->members[i - 1].name, m->name);
  if (order >= 0)
    return qtk_toml_error(name, "member \"%s\" is %s", m->name,
                          order == 0 ? "listed twice" : "not in its place by name");
  return QTK_OK;
}

static int manifest_members(struct qtk_bundle *b)
{
  const struct qtk_toml *array = NULL;
  int rc = qtk_toml_get_array(b->manifest, "member", &array);
  size_t n = qtk_toml_length(array);
  if (rc != QTK_OK)
    return rc;
  b->members = calloc(n + 1, sizeof *b->members);
  b->copies = calloc(n + 1, sizeof *b->copies);
  b->used = calloc(n + 1, 1);
  if (!b->members || !b->copies || !b->used)
    return qtk_error_memory(n * sizeof *b->members, "the members of a bundle");
  for (size_t i = 0; i < n && rc == QTK_OK; i++) {
    rc = manifest_member(b, i, qtk_toml_item(array, i));
    b->n_members = i + 1;
  }
  return rc;
}

/* ---- tensors --------------------------------------------------------------------- */

/* What a layout is called in lists: "f16", "4 bits g64", "4 bits by row". */
static void manifest_type(const struct qtk_stored *t, char type[32])
{
  const struct qtk_qlayout *l = &t->view.layout;
  const char *name = l->encoding == QTK_CODEBOOK ? "table" : "bits";
  if (l->encoding == QTK_DENSE)
    snprintf(type, 32, "%s", qtk_dtype_name(l->dtype));
  else if (l->encoding == QTK_OPAQUE)
    snprintf(type, 32, "%.31s", t->plugin);
  else if (l->groups == 1)
    snprintf(type, 32, "%d %s by row", l->bits, name);
  else
    snprintf(type, 32, "%d %s g%lld", l->bits, name, (long long)l->group);
}

/* That the tensor's parts are listed, with the sizes that its layout has. */
static int manifest_parts(struct qtk_bundle *b, const struct qtk_stored *t)
{
  for (int part = 0; part < QTK_PARTS; part++) {
    uint64_t bytes = qtk_part_bytes(&t->view.layout, part);
    const struct qtk_bundle_member *m;
    if (bytes == 0 && part != QTK_PART_CODES)
      continue;
    m = qtk_bundle_find_part(b, t->name, part);
    if (!m)
      return qtk_error(QTK_EINPUT, "tensor \"%s\" has no member for its %s", t->name,
                       qtk_part_name(part));
    if (m->bytes != bytes)
      return qtk_error(QTK_EINPUT, "member \"%s\" has %llu bytes, its tensor needs %llu", m->name,
                       (unsigned long long)m->bytes, (unsigned long long)bytes);
    b->used[m - b->members] = 1;
  }
  return QTK_OK;
}

static int manifest_tensor(struct qtk_bundle *b, size_t i, const struct qtk_toml *table)
{
  struct qtk_stored *t = &b->tensors[i];
  int rc = qtk_stored_read(table, t);
  if (rc != QTK_OK)
    return rc;
  int order = i == 0 ? -1 : strcmp(b->tensors[i - 1].name, t->name);
  if (order >= 0)
    return qtk_toml_error(table, "tensor \"%s\" is %s", t->name,
                          order == 0 ? "listed twice" : "not in its place by name");
  if (t->view.layout.encoding == QTK_OPAQUE && !t->plugin)
    return qtk_toml_error(table, "tensor \"%s\" is opaque, and names no plugin", t->name);
  manifest_type(t, b->types[i]);
  return manifest_parts(b, t);
}

static int manifest_tensors(struct qtk_bundle *b)
{
  const struct qtk_toml *array = NULL;
  int rc = qtk_toml_get_array(b->manifest, "tensor", &array);
  size_t n = qtk_toml_length(array);
  if (rc != QTK_OK)
    return rc;
  b->tensors = calloc(n + 1, sizeof *b->tensors);
  b->types = calloc(n + 1, sizeof *b->types);
  b->makers = calloc(n + 1, sizeof *b->makers);
  if (!b->tensors || !b->types || !b->makers)
    return qtk_error_memory(n * sizeof *b->tensors, "the tensors of a bundle");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = manifest_tensor(b, i, qtk_toml_item(array, i));
  b->n_tensors = n;
  for (size_t i = 0; i < b->n_members && rc == QTK_OK; i++)
    if (!b->used[i] &&
        strncmp(b->members[i].name, QTK_BUNDLE_TENSORS, strlen(QTK_BUNDLE_TENSORS)) == 0)
      rc = qtk_error(QTK_EINPUT, "member \"%s\" belongs to no tensor", b->members[i].name);
  return rc;
}

int qtk_bundle_manifest_read(struct qtk_bundle *b, const char *text, size_t n)
{
  int rc = manifest_check_digest(text, n);
  if (rc == QTK_OK)
    rc = qtk_toml_parse(text, n, "manifest", &b->manifest);
  if (rc == QTK_OK)
    rc = manifest_head(b);
  if (rc == QTK_OK)
    rc = manifest_members(b);
  if (rc == QTK_OK)
    rc = manifest_tensors(b);
  if (rc == QTK_OK)
    rc = qtk_bundle_adapters_read(b);
  /* Wrong TOML is a mistake in a job elsewhere, here it is one of the file. */
  return rc == QTK_EJOB ? QTK_EINPUT : rc;
}
