/* SPDX-License-Identifier: BSD-3-Clause
 * A model: an architecture with its parameters, and where each tensor lies.
 *
 * The base is a file that a format plugin (or the bundle reader) opened. On top
 * lie replaced tensors: what stages made. Names and shapes are canonical: those
 * of the description's canonical schema, linears [out, in], rows in the order
 * the engine computes with, whatever the file's. */
#ifndef QTK_CORE_MODEL_H
#define QTK_CORE_MODEL_H

#include <qtk/format.h>

#include "core/tuned.h"

struct qtk_model;
struct qtk_arch;
struct qtk_tokenizer;

struct qtk_model_tensor {
  const char *name; /* "model.layers.3.mlp.up_proj.weight" */
  const char *role; /* "up" */
  int layer;        /* -1 outside the blocks */
  int linear;       /* a linear inside a block: what a quantizer's targets default to */
  int order;        /* calibration order within the block, from 0 */
  int64_t rows, cols; /* vectors: cols = 1 */
  int ndim;
  const char *source_type;  /* the file's type name, for people */
  struct qtk_qlayout layout; /* how it is held now: DENSE of the file's type, the file's own
                               integers, or what a stage made; OPAQUE when only rows
                               can be read */
};

/* Opens a model file, folder or bundle. Every tensor that the architecture needs
 * must be there with the right shape (QTK_EINPUT names tensor, found, wanted);
 * a folder with a configuration alone opens with `has_weights` 0. */
QTK_PUBLIC int qtk_model_open(struct qtk_context *ctx, const char *path,
                              struct qtk_model **model);

/* What in a model does not fit a description: a line of text each. */
struct qtk_model_fit {
  char **lines;
  size_t n;
  int missing, shapes, left; /* how many of which */
};
/* The same with the description in the file `arch` whatever else there is. All that does
 * not fit is listed in `fit`, zeroed by the caller and freed by it also when this fails;
 * tensors that the description does not account for do not fit either. */
QTK_PUBLIC int qtk_model_open_as(struct qtk_context *ctx, const char *path, const char *arch,
                                 struct qtk_model_fit *fit, struct qtk_model **model);
QTK_PUBLIC void qtk_model_fit_free(struct qtk_model_fit *fit);

QTK_PUBLIC void qtk_model_close(struct qtk_model *model);

QTK_PUBLIC const char *qtk_model_path(const struct qtk_model *m);
QTK_PUBLIC const char *qtk_model_format(const struct qtk_model *m); /* plugin name */
QTK_PUBLIC int qtk_model_has_weights(const struct qtk_model *m);
QTK_PUBLIC const struct qtk_arch *qtk_model_arch(const struct qtk_model *m);
QTK_PUBLIC const struct qtk_model_info *qtk_model_info(const struct qtk_model *m);
/* The model whose qtk_model_info that is. */
QTK_PUBLIC struct qtk_model *qtk_model_of(const struct qtk_model_info *info);
QTK_PUBLIC int64_t qtk_model_parameters(const struct qtk_model *m);
/* JSON text of the tokenizer, or NULL; other texts as struct qtk_format_ops. */
QTK_PUBLIC const char *qtk_model_tokenizer(const struct qtk_model *m);
QTK_PUBLIC const char *qtk_model_text(const struct qtk_model *m, const char *name);
/* Where there is none: *t = NULL, or, if `need` says what cannot be done without one,
 * QTK_EINPUT with the names of the files that were looked for. */
QTK_PUBLIC int qtk_model_open_tokenizer(const struct qtk_model *m, const char *need,
                                        struct qtk_tokenizer **t);

/* Tensors, in canonical order: embedding, blocks, final norm, head. */
QTK_PUBLIC int qtk_model_count(const struct qtk_model *m);
QTK_PUBLIC const struct qtk_model_tensor *qtk_model_tensor(const struct qtk_model *m, int i);
QTK_PUBLIC int qtk_model_find(const struct qtk_model *m, const char *name); /* -1: none */

/* Rows as they are now, as floats; thread-safe. */
QTK_PUBLIC int qtk_model_read(const struct qtk_model *m, int i, int64_t row, int64_t n,
                              float *out, int64_t stride);
/* The tensor as it is held, where it lies if it can be mapped, else copied into
 * memory of the arena; counted until release. An OPAQUE view reads rows of the
 * file through the format. */
QTK_PUBLIC int qtk_model_hold(struct qtk_context *ctx, struct qtk_model *m, int i,
                              struct qtk_qtensor *view);
QTK_PUBLIC void qtk_model_release(struct qtk_context *ctx, struct qtk_model *m, int i);
/* The file's pages of tensor i will not be needed soon. */
QTK_PUBLIC void qtk_model_drop(struct qtk_model *m, int i);

/* From now on tensor i is `view`, whose memory outlives the model. `plugin` and
 * `options` (TOML text) say who made it. */
QTK_PUBLIC int qtk_model_replace(struct qtk_model *m, int i, const struct qtk_qtensor *view,
                                 const char *plugin, const char *options);
/* From now on tensor i, which is quantized in groups, has these scales [rows, groups] and, if
 * that is not NULL, these minima, of the type of its layout, whose memory outlives the model;
 * its codes stay where they are. */
QTK_PUBLIC int qtk_model_rescale(struct qtk_model *m, int i, const void *scales,
                                 const void *minima);
/* Who made tensor i, or NULL. */
QTK_PUBLIC const char *qtk_model_maker(const struct qtk_model *m, int i, const char **options);

/* What an adapter that is trained on this model, with those that lie on it, is bound to: fills in
 * base, tokenizer and the base's name. */
QTK_PUBLIC int qtk_model_bind(struct qtk_context *ctx, struct qtk_model *m,
                              struct qtk_tuned *tuned);
/* QTK_EMISMATCH if an adapter is bound to something else than that, with both digests; what is
 * not known is not compared. With `force` it is taken all the same, and says so from then on. */
QTK_PUBLIC int qtk_model_check_bound(struct qtk_context *ctx, struct qtk_model *m,
                                     struct qtk_tuned *tuned, int force);
/* Puts a tuned adapter, which the model owns from then on (also if this fails), on top of the
 * others, with that check. */
QTK_PUBLIC int qtk_model_adapt(struct qtk_context *ctx, struct qtk_model *m,
                               struct qtk_tuned *tuned, int force);
/* The adapters on it, lowest first; NULL past the last. */
QTK_PUBLIC const struct qtk_tuned *qtk_model_tuned(const struct qtk_model *m, int i);
/* From now on it has none: they have been merged into its tensors. */
QTK_PUBLIC void qtk_model_unadapt(struct qtk_model *m);

/* The view that replaced tensor i lies in a map: its bytes are counted while it is held. */
void qtk_model_mapped(struct qtk_model *m, int i);

/* What its weights in memory are counted as: "weights", unless it is said. Between holds only. */
QTK_PUBLIC void qtk_model_account(struct qtk_model *m, const char *what);
const char *qtk_model_what(const struct qtk_model *m);

/* The model that this one was rounded from, for qtk_source_rows; borrowed. Set before an
 * engine is opened: adapters may start from it. NULL: none. */
QTK_PUBLIC void qtk_model_set_unquantized(struct qtk_model *m, const struct qtk_model *from);
QTK_PUBLIC const struct qtk_model *qtk_model_unquantized(const struct qtk_model *m);

/* Where qtk_site_gram has sums of: of the input of linear `name`, [cols, cols]. */
struct qtk_model_inputs {
  int (*gram)(void *arg, const char *name, int64_t cols, const float **gram);
  void *arg;
};
/* Borrowed; set before an engine is opened. NULL: there is no text. */
QTK_PUBLIC void qtk_model_set_inputs(struct qtk_model *m, const struct qtk_model_inputs *inputs);
const struct qtk_model_inputs *qtk_model_inputs(const struct qtk_model *m);

/* SHA-256 over sorted (name, encoding, shape, digest of the parts as held), 64 hex
 * digits; `tensor_digest` the same of one tensor. Hashed in parallel, once; that of a bundle
 * stands in its manifest. */
QTK_PUBLIC int qtk_model_digest(struct qtk_context *ctx, struct qtk_model *m, char hex[65]);
/* The same with the adapters that lie on it: what an adapter on top of them is bound to. */
QTK_PUBLIC int qtk_model_tuned_digest(struct qtk_context *ctx, struct qtk_model *m, char hex[65]);
QTK_PUBLIC int qtk_model_tensor_digest(struct qtk_model *m, int i, char hex[65]);

#endif
