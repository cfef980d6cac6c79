/* SPDX-License-Identifier: BSD-3-Clause
 * The manifest of a bundle: written from a list of members, and read into one. */
#ifndef QTK_CORE_BUNDLE_MANIFEST_H
#define QTK_CORE_BUNDLE_MANIFEST_H

#include <stdatomic.h>

#include "core/bundle-tar.h"
#include "core/bundle.h"
#include "core/fs.h"

#define QTK_BUNDLE_MANIFEST "manifest.toml" /* the first member */
#define QTK_BUNDLE_TENSORS "tensors/"       /* what tensors' members begin with */
#define QTK_BUNDLE_ADAPTERS "adapters/"     /* and those of adapters */
#define QTK_BUNDLE_ALIGN 64                 /* parameters lie together, each at a multiple */
#define QTK_BUNDLE_SIGNATURE "signature"    /* behind all others, in no manifest */

/* ---- writing ------------------------------------------------------------------ */

/* A member to write. */
struct qtk_bundle_entry {
  char *name;
  uint64_t bytes;
  int tensor;         /* of the contents, or -1 */
  enum qtk_part part; /* of the tensor */
  int adapter;        /* whose parameters, or -1; neither: a text */
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
  const void *manifest_text; /* in the map */
  size_t manifest_bytes;
  uint64_t end; /* of the members that the manifest lists */
  int is_signed;
  struct qtk_signature signature;
  struct qtk_toml *manifest;
  const char *kind, *model_digest;
  struct qtk_bundle_member *members; /* sorted by name */
  char **copies;                     /* of texts that no zero byte follows, one a member */
  char *used;                        /* members that belong to a tensor or an adapter */
  size_t n_members;
  struct qtk_stored *tensors; /* sorted by name */
  char (*types)[32];          /* of the tensors, for people */
  /* What reads opaque tensors, as soon as it is known. */
  const struct qtk_loaded *_Atomic *makers;
  size_t n_tensors;
  struct qtk_bundle_adapter *adapters; /* lowest first */
  size_t n_adapters;
};

/* Reads the text into b: members without their data, tensors without their places. */
int qtk_bundle_manifest_read(struct qtk_bundle *b, const char *text, size_t n);

/* QTK_EMISMATCH unless the signature, if there is one, is right. */
int qtk_bundle_check_signature(const struct qtk_bundle *b);

/* The member of that name, or NULL; that of a part of a tensor. */
struct qtk_bundle_member *qtk_bundle_find(const struct qtk_bundle *b, const char *name);
struct qtk_bundle_member *qtk_bundle_find_part(const struct qtk_bundle *b, const char *tensor,
                                               enum qtk_part part);

/* QTK_EINPUT if its data are not those of the manifest. */
int qtk_bundle_check_member(const struct qtk_bundle_member *m);

/* ---- adapters --------------------------------------------------------------------- */

/* The name of the member with the parameters of adapter i. */
const char *qtk_bundle_adapter_member(size_t i, char name[QTK_TAR_NAME]);
/* Where a parameter lies behind `at` bytes of others. */
uint64_t qtk_bundle_adapter_place(uint64_t at);
/* Bytes of all parameters as they lie in their member. */
uint64_t qtk_bundle_adapter_bytes(const struct qtk_stored *params, int n);

/* Bytes [offset, offset + bytes) of that member. */
void qtk_bundle_adapter_gather(const struct qtk_stored *params, int n, uint64_t offset,
                               uint64_t bytes, uint8_t *out);

/* QTK_EINPUT for an adapter that cannot be stored. */
int qtk_bundle_adapter_check(const struct qtk_tuned *t);
/* An entry of [[adapter]], written and read; the places of parameters are left open. */
int qtk_bundle_adapter_write(const struct qtk_tuned *t, struct qtk_toml *table);
int qtk_bundle_adapters_read(struct qtk_bundle *b);
/* Puts the parameters into their places, once the members have theirs. */
void qtk_bundle_adapters_place(struct qtk_bundle *b);
void qtk_bundle_adapters_free(struct qtk_bundle *b);

#endif
