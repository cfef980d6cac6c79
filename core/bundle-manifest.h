/* SPDX-License-Identifier: BSD-3-Clause
 * The manifest of a bundle: written from a list of members, and read into one. */
#ifndef QTK_CORE_BUNDLE_MANIFEST_H
#define QTK_CORE_BUNDLE_MANIFEST_H

#include <stdatomic.h>

#include "core/bundle.h"
#include "core/fs.h"

#define QTK_BUNDLE_MANIFEST "manifest.toml" /* the first member */
#define QTK_BUNDLE_TENSORS "tensors/"       /* what tensors' members begin with */

/* ---- writing ------------------------------------------------------------------ */

/* A member to write. */
struct qtk_bundle_entry {
  char *name;
  uint64_t bytes;
  int tensor;         /* of the contents, or -1: a text */
  enum qtk_part part; /* of the tensor */
  const void *data;   /* of the text */
  struct qtk_digest digest;
  uint8_t sha256[QTK_DIGEST_BYTES];
};

/* What will be written, in the order of the file, without the manifest. */
struct qtk_bundle_plan {
  const struct qtk_bundle_contents *contents;
  struct qtk_bundle_entry *entries;
  size_t n, room;
  int *order;                  /* tensors by name [n_tensors] */
  struct qtk_toml *provenance; /* or NULL */
};

/* Checks the contents and lists their members. Freed also after an error. */
int qtk_bundle_plan(const struct qtk_bundle_contents *contents, struct qtk_bundle_plan *plan);
void qtk_bundle_plan_free(struct qtk_bundle_plan *plan);

/* The digest of the tensors, from the entries' digests. */
int qtk_bundle_plan_digest(const struct qtk_bundle_plan *plan, uint8_t out[QTK_DIGEST_BYTES]);

/* The manifest; its length does not depend on the digests. */
int qtk_bundle_manifest_write(const struct qtk_bundle_plan *plan,
                              const uint8_t model_digest[QTK_DIGEST_BYTES], struct qtk_str *out);

/* ---- reading ------------------------------------------------------------------ */

struct qtk_loaded; /* core/registry.h */

struct qtk_bundle {
  struct qtk_map map;
  struct qtk_toml *manifest;
  const char *kind, *model_digest, *base_digest;
  struct qtk_bundle_member *members; /* sorted by name */
  char **copies;                     /* of texts that no zero byte follows, one a member */
  char *used;                        /* members that belong to a tensor */
  size_t n_members;
  struct qtk_stored *tensors; /* sorted by name */
  char (*types)[32];          /* of the tensors, for people */
  /* What reads opaque tensors, as soon as it is known. */
  const struct qtk_loaded *_Atomic *makers;
  size_t n_tensors;
};

/* Reads the text into b: members without their data, tensors without their places. */
int qtk_bundle_manifest_read(struct qtk_bundle *b, const char *text, size_t n);

/* The member of that name, or NULL; that of a part of a tensor. */
struct qtk_bundle_member *qtk_bundle_find(const struct qtk_bundle *b, const char *name);
struct qtk_bundle_member *qtk_bundle_find_part(const struct qtk_bundle *b, const char *tensor,
                                               enum qtk_part part);

#endif
