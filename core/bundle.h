/* SPDX-License-Identifier: BSD-3-Clause
 * Bundles (.qtk): a pax tar with a manifest of fixed length in front and tensors
 * at multiples of 64 bytes. Written under a temporary name and renamed. Read as
 * a model through a built-in format. See qtk-bundle(5). */
#ifndef QTK_CORE_BUNDLE_H
#define QTK_CORE_BUNDLE_H

#include <qtk/format.h>
#include <qtk/tensor.h>

/* ---- writing ---- */

struct qtk_bundle_writer;

/* One member: a tensor's part ("tensors/NAME.codes") or a text ("config.json"). The
 * data is given in pieces, or points into a map. */
struct qtk_bundle_member {
  char *name;
  uint64_t bytes;
  const void *data; /* borrowed until the bundle is written */
};

/* A tensor as the manifest lists it. */
struct qtk_bundle_tensor {
  const char *name;
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  struct qtk_qtensor view; /* host parts; borrowed */
  const char *plugin, *options; /* who made it, or NULL */
};

struct qtk_bundle_manifest {
  const char *kind;         /* "model" or "adapter" */
  const char *model_digest; /* hex */
  const char *base_digest;  /* adapters: what it was trained on; else NULL */
  const char *job;          /* resolved job text without threads, limits, outputs */
  const char *licence;      /* or NULL */
  const char *provenance;   /* TOML table text, or NULL */
};

/* Writes path from tensors and texts (arch.toml, config.json, tokenizer.json,
 * results.json, job.toml, ...), members sorted, times and owners fixed. Digests are
 * computed in parallel. */
QTK_PUBLIC int qtk_bundle_write(struct qtk_context *ctx, const char *path,
                                const struct qtk_bundle_manifest *manifest,
                                const struct qtk_bundle_tensor *tensors, int n_tensors,
                                const struct qtk_bundle_member *texts, int n_texts,
                                uint64_t *bytes);

/* ---- reading ---- */

struct qtk_bundle;
/* Maps a bundle; checks structure, names and the manifest's digest, not the data. */
QTK_PUBLIC int qtk_bundle_open(const char *path, struct qtk_bundle **b);
QTK_PUBLIC void qtk_bundle_close(struct qtk_bundle *b);
/* Rehashes every member in parallel: QTK_EINPUT names the first that differs. */
QTK_PUBLIC int qtk_bundle_verify(struct qtk_context *ctx, const struct qtk_bundle *b);
QTK_PUBLIC int qtk_bundle_count(const struct qtk_bundle *b);
QTK_PUBLIC int qtk_bundle_member(const struct qtk_bundle *b, int i, struct qtk_bundle_member *m,
                                 char sha256[65]);
/* A text member by name, or NULL. Not ended by NUL. */
QTK_PUBLIC const char *qtk_bundle_text(const struct qtk_bundle *b, const char *name,
                                       size_t *bytes);
QTK_PUBLIC const char *qtk_bundle_kind(const struct qtk_bundle *b);
QTK_PUBLIC const char *qtk_bundle_model_digest(const struct qtk_bundle *b);

/* The built-in format through which a bundle is a model; schema "qtk". */
QTK_PUBLIC const struct qtk_plugin *qtk_bundle_format(void);

#endif
