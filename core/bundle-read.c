/* SPDX-License-Identifier: BSD-3-Clause
 * Opens and verifies bundles. */
#include <stdlib.h>
#include <string.h>

#include "core/bundle-manifest.h"
#include "core/bundle-tar.h"
#include "core/error.h"

/* ---- opening --------------------------------------------------------------------- */

/* An archive that was compressed, and what it begins with. */
static int bundle_check_filter(const struct qtk_map *map)
{
  static const struct {
    const char *name, *magic;
    size_t length;
  } filters[] = {{"gzip", "\x1f\x8b", 2},
                 {"xz",
                  "\xfd"
                  "7zXZ",
                  5},
                 {"zstd", "\x28\xb5\x2f\xfd", 4},
                 {"bzip2", "BZh", 3},
                 {"lz4", "\x04\x22\x4d\x18", 4},
                 {"zip", "PK\x03\x04", 4}};
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
    if (map->size >= filters[i].length &&
        memcmp(map->data, filters[i].magic, filters[i].length) == 0)
      return qtk_error(QTK_EINPUT, "compressed with %s; a bundle is a plain tar", filters[i].name);
  return QTK_OK;
}

/* The first member, whose text is the manifest. */
static int bundle_read_manifest(struct qtk_bundle *b, struct qtk_tar *tar)
{
  struct qtk_tar_entry entry;
  int more = qtk_tar_next(tar, &entry);
  if (more < 0)
    return more;
  if (more == 0 || strcmp(entry.name, QTK_BUNDLE_MANIFEST) != 0)
    return qtk_error(QTK_EINPUT, "the first member is not " QTK_BUNDLE_MANIFEST);
  if (entry.bytes > QTK_TOML_BYTES)
    return qtk_error(QTK_EINPUT, "manifest: %llu bytes, allowed are %u",
                     (unsigned long long)entry.bytes, QTK_TOML_BYTES);
  b->manifest_text = b->map.data + entry.offset;
  b->manifest_bytes = entry.bytes;
  return qtk_bundle_manifest_read(b, b->manifest_text, b->manifest_bytes);
}

static int bundle_place(struct qtk_bundle *b, const struct qtk_tar_entry *entry)
{
  struct qtk_bundle_member *m = qtk_bundle_find(b, entry->name);
  if (!m)
    return qtk_error(QTK_EINPUT, "member \"%s\" is not in the manifest", entry->name);
  if (m->data)
    return qtk_error(QTK_EINPUT, "member \"%s\" is there twice", entry->name);
  if (m->bytes != entry->bytes)
    return qtk_error(QTK_EINPUT, "member \"%s\" has %llu bytes, the manifest says %llu", m->name,
                     (unsigned long long)entry->bytes, (unsigned long long)m->bytes);
  m->data = b->map.data + entry->offset;
  return QTK_OK;
}

/* A member behind the manifest; its header begins at `at`. */
static int bundle_meet(struct qtk_bundle *b, const struct qtk_tar_entry *entry, uint64_t at)
{
  if (b->is_signed)
    return qtk_error(QTK_EINPUT, "member \"%s\" stands behind the signature", entry->name);
  if (strcmp(entry->name, QTK_BUNDLE_SIGNATURE) != 0)
    return bundle_place(b, entry);
  b->is_signed = 1;
  b->end = at;
  return qtk_signature_read((const char *)b->map.data + entry->offset, entry->bytes,
                            &b->signature);
}

static int bundle_place_members(struct qtk_bundle *b, struct qtk_tar *tar)
{
  struct qtk_tar_entry entry;
  uint64_t at = tar->at;
  int more, rc = QTK_OK;
  for (; rc == QTK_OK && (more = qtk_tar_next(tar, &entry)) != 0; at = tar->at)
    rc = more < 0 ? more : bundle_meet(b, &entry, at);
  if (!b->is_signed)
    b->end = at;
  for (size_t i = 0; i < b->n_members && rc == QTK_OK; i++)
    if (!b->members[i].data)
      rc = qtk_error(QTK_EINPUT, "member \"%s\" is missing", b->members[i].name);
  return rc;
}

/* Texts end in a zero byte: the filling of their last block, or that of a copy. */
static int bundle_end_texts(struct qtk_bundle *b)
{
  for (size_t i = 0; i < b->n_members; i++) {
    struct qtk_bundle_member *m = &b->members[i];
    if (b->used[i] || m->bytes % QTK_TAR_BLOCK != 0)
      continue;
    b->copies[i] = malloc(m->bytes + 1);
    if (!b->copies[i])
      return qtk_error_memory(m->bytes + 1, m->name);
    memcpy(b->copies[i], m->data, m->bytes);
    b->copies[i][m->bytes] = 0;
  }
  return QTK_OK;
}

static int bundle_place_tensors(struct qtk_bundle *b)
{
  for (size_t i = 0; i < b->n_tensors; i++) {
    struct qtk_stored *t = &b->tensors[i];
    const void *places[QTK_PARTS] = {0};
    for (int part = 0; part < QTK_PARTS; part++) {
      const struct qtk_bundle_member *m = qtk_bundle_find_part(b, t->name, part);
      places[part] = m ? m->data : NULL;
    }
    struct qtk_qlayout layout = t->view.layout;
    int rc = qtk_part_view(&layout, places, &t->view);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "%s", t->name);
    t->view.plugin = t->plugin;
  }
  return QTK_OK;
}

static int bundle_load(struct qtk_bundle *b)
{
  struct qtk_tar tar = {b->map.data, b->map.size, 0};
  int rc = bundle_check_filter(&b->map);
  if (rc == QTK_OK)
    rc = bundle_read_manifest(b, &tar);
  if (rc == QTK_OK)
    rc = bundle_place_members(b, &tar);
  if (rc == QTK_OK)
    rc = bundle_end_texts(b);
  if (rc == QTK_OK)
    qtk_bundle_adapters_place(b);
  return rc == QTK_OK ? bundle_place_tensors(b) : rc;
}

int qtk_bundle_open(const char *path, struct qtk_bundle **out)
{
  struct qtk_bundle *b = calloc(1, sizeof *b);
  if (!b)
    return qtk_error_memory(sizeof *b, "a bundle");
  int rc = qtk_map_open(path, &b->map);
  if (rc == QTK_OK) {
    rc = bundle_load(b);
    if (rc != QTK_OK)
      qtk_error_at(rc, "%s", path);
  }
  if (rc == QTK_OK)
    *out = b;
  else
    qtk_bundle_close(b);
  return rc;
}

void qtk_bundle_close(struct qtk_bundle *b)
{
  if (!b)
    return;
  for (size_t i = 0; b->copies && i < b->n_members; i++)
    free(b->copies[i]);
  free(b->copies);
  qtk_bundle_adapters_free(b);
  free(b->members);
  free(b->used);
  free(b->tensors);
  free(b->types);
  free(b->makers);
  qtk_toml_free(b->manifest);
  qtk_map_close(&b->map);
  free(b);
}

/* ---- verifying ------------------------------------------------------------------- */

int qtk_bundle_check_member(const struct qtk_bundle_member *m)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  qtk_digest_of(m->data, m->bytes, digest);
  if (memcmp(digest, m->sha256, sizeof digest) == 0)
    return QTK_OK;
  char found[QTK_DIGEST_HEX], said[QTK_DIGEST_HEX];
  qtk_digest_hex(digest, found);
  qtk_digest_hex(m->sha256, said);
  return qtk_error(QTK_EINPUT, "member \"%s\" is damaged: its digest is %s, the manifest says %s",
                   m->name, found, said);
}

static int bundle_verify_member(void *arg, size_t i)
{
  const struct qtk_bundle *b = arg;
  const struct qtk_bundle_member *m = &b->members[i];
  int rc = qtk_bundle_check_member(m);
  qtk_map_drop(&b->map, (uint64_t)((const uint8_t *)m->data - b->map.data), m->bytes);
  return rc;
}

static int bundle_tensor_digest(const struct qtk_bundle *b, const struct qtk_stored *t,
                                uint8_t out[QTK_DIGEST_BYTES])
{
  uint8_t parts[QTK_PARTS][QTK_DIGEST_BYTES] = {{0}};
  for (int part = 0; part < QTK_PARTS; part++) {
    const struct qtk_bundle_member *m = qtk_bundle_find_part(b, t->name, part);
    if (m)
      memcpy(parts[part], m->sha256, QTK_DIGEST_BYTES);
  }
  return qtk_stored_digest_of_parts(t, (const uint8_t(*)[QTK_DIGEST_BYTES])parts, out);
}

static int bundle_verify_model(const struct qtk_bundle *b)
{
  uint8_t(*digests)[QTK_DIGEST_BYTES] = calloc(b->n_tensors + 1, sizeof *digests);
  const char **names = calloc(b->n_tensors + 1, sizeof *names);
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX] = "";
  int rc = digests && names ? QTK_OK : qtk_error_memory(b->n_tensors * 32, "digests");
  for (size_t i = 0; i < b->n_tensors && rc == QTK_OK; i++) {
    names[i] = b->tensors[i].name;
    rc = bundle_tensor_digest(b, &b->tensors[i], digests[i]);
  }
  if (rc == QTK_OK)
    rc = qtk_stored_digest_model(names, (const uint8_t(*)[QTK_DIGEST_BYTES])digests, b->n_tensors,
                                 digest);
  if (rc == QTK_OK) {
    qtk_digest_hex(digest, hex);
    if (strcmp(hex, b->model_digest) != 0)
      rc = qtk_error(QTK_EINPUT, "manifest: the tensors' digest is %s, model_digest says %s", hex,
                     b->model_digest);
  }
  free(digests);
  free(names);
  return rc;
}

int qtk_bundle_verify_members(struct qtk_context *ctx, const struct qtk_bundle *b)
{
  int rc = qtk_parallel(ctx, b->n_members, bundle_verify_member, (void *)b);
  if (rc == QTK_OK && b->model_digest)
    rc = bundle_verify_model(b);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", b->map.path);
}

int qtk_bundle_verify(struct qtk_context *ctx, const struct qtk_bundle *b)
{
  int rc = qtk_bundle_verify_members(ctx, b);
  return rc == QTK_OK ? qtk_bundle_check_signature(b) : rc;
}

/* ---- what is in it ----------------------------------------------------------------- */

const char *qtk_bundle_kind(const struct qtk_bundle *b)
{
  return b->kind;
}

const char *qtk_bundle_model_digest(const struct qtk_bundle *b)
{
  return b->model_digest;
}

const struct qtk_toml *qtk_bundle_manifest(const struct qtk_bundle *b)
{
  return b->manifest;
}

int qtk_bundle_member_count(const struct qtk_bundle *b)
{
  return (int)b->n_members;
}

const struct qtk_bundle_member *qtk_bundle_member(const struct qtk_bundle *b, int i)
{
  return &b->members[i];
}

int qtk_bundle_tensor_count(const struct qtk_bundle *b)
{
  return (int)b->n_tensors;
}

const struct qtk_stored *qtk_bundle_tensor(const struct qtk_bundle *b, int i)
{
  return &b->tensors[i];
}

const char *qtk_bundle_text(const struct qtk_bundle *b, const char *name, uint64_t *bytes)
{
  const struct qtk_bundle_member *m = qtk_bundle_find(b, name);
  if (!m || b->used[m - b->members])
    return NULL;
  if (bytes)
    *bytes = m->bytes;
  return b->copies[m - b->members] ? b->copies[m - b->members] : m->data;
}
