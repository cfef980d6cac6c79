/* SPDX-License-Identifier: BSD-3-Clause
 * Bundles (.qtk): a pax tar with a manifest of fixed length in front and tensors
 * at multiples of 512 bytes. Written under a temporary name and renamed. Read as
 * a model through a built-in format. See qtk-bundle(5). */
#ifndef QTK_CORE_BUNDLE_H
#define QTK_CORE_BUNDLE_H

#include <qtk/format.h>
#include <qtk/tensor.h>

#include "core/part.h"
#include "core/sign.h"
#include "core/tuned.h"

#define QTK_BUNDLE_VERSION 1 /* of the manifest */
#define QTK_LAYOUT_VERSION 1 /* of the tensors, as <qtk/tensor.h> lays them out */

/* ---- writing ------------------------------------------------------------------ */

/* A text beside the tensors: "arch.toml", "config.json", ... Borrowed. */
struct qtk_bundle_text {
  const char *name;
  const void *data;
  uint64_t bytes;
};

/* What goes in. All is borrowed until the bundle is written. */
struct qtk_bundle_contents {
  const char *kind;        /* "model" or "adapter" */
  const char *job;         /* the resolved job without threads, limits, outputs; or NULL */
  const char *licence;     /* or NULL */
  const char *provenance;  /* TOML text of a table, or NULL */

  const struct qtk_stored *tensors; /* layouts are initialised; of kind "adapter": none */
  int n_tensors;
  /* That lie on the model, lowest first; of kind "adapter": the one. */
  const struct qtk_tuned *const *adapters;
  int n_adapters;
  const struct qtk_bundle_text *texts;
  int n_texts;

  /* NULL: all views have their places. Else tensor i gets them in *view when its
   * turn comes, and they are given back as soon as it is written, so that memory
   * does not grow with the bundle. Called by the caller's thread, in the order of
   * the names. */
  int (*hold)(void *arg, int i, struct qtk_qtensor *view);
  void (*release)(void *arg, int i);
  void *arg;
};

struct qtk_bundle_result {
  uint64_t bytes;
  char model_digest[QTK_DIGEST_HEX]; /* of the tensors, as qtk_model_digest; "" if none */
};

/* Writes the bundle at `path`: members sorted by name, times and owners fixed, hashed
 * on the pool while they are written. QTK_EINPUT for names or shapes that cannot be
 * stored and for a disk that is full. On an error there is no file. */
QTK_PUBLIC int qtk_bundle_write(struct qtk_context *ctx, const char *path,
                                const struct qtk_bundle_contents *contents,
                                struct qtk_bundle_result *result);

/* The bytes that a bundle of these contents will take. */
QTK_PUBLIC int qtk_bundle_size(const struct qtk_bundle_contents *contents, uint64_t *bytes);

/* ---- reading ------------------------------------------------------------------ */

struct qtk_bundle;

/* A member: a tensor's part or a text. */
struct qtk_bundle_member {
  const char *name;
  uint64_t bytes;
  const void *data; /* in the map; a text is ended by a zero byte */
  uint8_t sha256[QTK_DIGEST_BYTES];
};

/* Maps a bundle and checks its structure, its names and the manifest's digest, not
 * the members' data. QTK_EINPUT says what is wrong with it. */
QTK_PUBLIC int qtk_bundle_open(const char *path, struct qtk_bundle **b);
QTK_PUBLIC void qtk_bundle_close(struct qtk_bundle *b); /* NULL is fine */

/* Hashes every member in parallel: QTK_EINPUT names the first, in the order of the
 * file, that differs; so does a model digest that does not follow from them.
 * QTK_EMISMATCH for a signature that is wrong; whose it is stays the caller's matter. */
QTK_PUBLIC int qtk_bundle_verify(struct qtk_context *ctx, const struct qtk_bundle *b);
/* The same without the signature. */
QTK_PUBLIC int qtk_bundle_verify_members(struct qtk_context *ctx, const struct qtk_bundle *b);

/* Who signed the manifest, and so all members; NULL if nobody did. */
QTK_PUBLIC const struct qtk_signature *qtk_bundle_signature(const struct qtk_bundle *b);
/* Signs it: writes the file again, with a signature in place of one that it has. The
 * bundle stays open on what the file was. */
QTK_PUBLIC int qtk_bundle_sign(struct qtk_context *ctx, const struct qtk_bundle *b,
                               const struct qtk_key *key);

QTK_PUBLIC const char *qtk_bundle_kind(const struct qtk_bundle *b);
QTK_PUBLIC const char *qtk_bundle_model_digest(const struct qtk_bundle *b); /* adapters: NULL */
/* The manifest, for what has no function of its own. */
QTK_PUBLIC const struct qtk_toml *qtk_bundle_manifest(const struct qtk_bundle *b);

/* Members sorted by name, without the manifest. */
QTK_PUBLIC int qtk_bundle_member_count(const struct qtk_bundle *b);
QTK_PUBLIC const struct qtk_bundle_member *qtk_bundle_member(const struct qtk_bundle *b, int i);
/* A text by its name, ended by a zero byte; NULL if there is none. */
QTK_PUBLIC const char *qtk_bundle_text(const struct qtk_bundle *b, const char *name,
                                       uint64_t *bytes);

/* Tensors sorted by name, their parts where they lie in the map. The plugin that an
 * opaque tensor needs is looked up when its rows are read. */
QTK_PUBLIC int qtk_bundle_tensor_count(const struct qtk_bundle *b);
QTK_PUBLIC const struct qtk_stored *qtk_bundle_tensor(const struct qtk_bundle *b, int i);

/* An adapter as the manifest has it. Digests are "" where they are not known. */
struct qtk_bundle_adapter {
  const char *name, *plugin, *options; /* options: TOML text */
  const char *targets;                 /* NULL: all */
  const char *base_name;               /* of the model that it was trained on, for people; or NULL */
  const char *base, *tokenizer, *recipe;
  const char *origin, *note; /* as struct qtk_tuned has them, or NULL */
  int forced;
  struct qtk_stored *params; /* sorted by name, dense, where they lie in the map */
  int n_params;
  uint64_t bytes; /* of all of them */
};
/* Lowest first; of kind "adapter" there is one. */
QTK_PUBLIC int qtk_bundle_adapter_count(const struct qtk_bundle *b);
QTK_PUBLIC const struct qtk_bundle_adapter *qtk_bundle_adapter(const struct qtk_bundle *b, int i);
/* The same for use: its values stay in the map, so that the bundle must outlive it. QTK_EPLUGIN
 * if its plugin is missing, QTK_EINPUT for options that the plugin does not know and for values
 * that are no numbers. */
QTK_PUBLIC int qtk_bundle_tuned(struct qtk_context *ctx, const struct qtk_bundle *b, int i,
                                struct qtk_tuned **tuned);

/* The built-in format "bundle" through which a bundle of kind "model" is a model: its
 * schema is "qtk", its handle a struct qtk_bundle. text("arch") is arch.toml. */
QTK_PUBLIC const struct qtk_plugin *qtk_bundle_format(void);

#endif
