/* SPDX-License-Identifier: BSD-3-Clause
 * A model's tensors and where they lie: what the files of the module share. */
#ifndef CORE_MODEL_INNER_H
#define CORE_MODEL_INNER_H

#include <pthread.h>

#include "core/arch.h"
#include "core/model.h"
#include "core/source.h"
#include "core/vec.h"

struct model_tensor {
  struct qtk_model_tensor t;
  struct qtk_model *m;
  int index; /* in the model */

  int file;      /* number in the file; -1: it has none */
  int quantized; /* the format hands it out as it is */
  enum qtk_arch_rows rows;
  int transpose;
  int64_t start, within; /* rows of the file's tensor */

  int replaced;
  int mapped;              /* and the view is of a file */
  struct qtk_qtensor view; /* if replaced */
  /* Instead of the file's, if it is not replaced; or NULL. */
  const void *scales, *minima;
  char *plugin, *options;  /* who made it, or NULL */

  pthread_mutex_t lock; /* of what follows */
  int holds;
  struct qtk_qtensor held;
  void *block;      /* of the arena, or NULL */
  uint64_t charged; /* bytes of the map */
};

struct qtk_model {
  struct qtk_context *ctx;
  struct qtk_source *source;
  struct qtk_arch *arch;
  const char *what; /* that its weights are counted as */
  char *description; /* of the user's, instead of one that is found, or NULL */
  const char *description_file;
  struct qtk_model_info info;
  struct model_tensor *tensors; /* [n] */
  int n;
  int *by_name; /* [n], sorted */
  int64_t parameters;
  QTK_VEC(struct qtk_tuned *) tuned; /* owned, lowest first */
  const struct qtk_model *unquantized; /* or NULL */
  const struct qtk_model_inputs *inputs; /* or NULL */
  char digest[QTK_DIGEST_HEX];       /* of the tensors as they are; "" if it is not known */
  char tokenizer_digest[QTK_DIGEST_HEX]; /* "" if it has none */
  int tokenizer_known;
};

/* ---- model-open: finding tensors ---- */

/* Finds each tensor in the file and how it can be held. */
int qtk_model_find_tensors(struct qtk_model *m);
/* What the description says of tensor i; then the tensor in the file, QTK_EINPUT if it
 * is missing (`file` is -1) or of another shape. */
void qtk_model_describe(struct qtk_model *m, int i, struct model_tensor *t);
int qtk_model_locate(struct model_tensor *t);

/* Rows of such a tensor lie apart from each other's, each in whole bytes. */
int qtk_model_sliceable(const struct qtk_qlayout *layout);
/* The file's rows are ours, one after the other from `start` on; they are all of them. */
int qtk_model_in_order(const struct model_tensor *t);
int qtk_model_whole(const struct model_tensor *t);
/* It is quantized, and the file has it as we do. */
int qtk_model_maps_quantized(const struct model_tensor *t);

/* ---- model-fit: all that does not fit ---- */

/* QTK_EINPUT if anything does not, and then `fit` lists it. */
int qtk_model_fit(struct qtk_model *m, struct qtk_model_fit *fit);

/* ---- model-read: rows of the file ---- */

/* Rows of the file's tensor as floats, whatever lies on top. */
int qtk_model_read_file(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                    int64_t stride);
/* The same with the scales that are given instead of the file's; and these, put into a view of
 * the whole tensor. */
int qtk_model_read_rescaled(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                            int64_t stride);
void qtk_model_put_scales(const struct model_tensor *t, struct qtk_qtensor *view);
/* The row of the file's tensor that holds row `row`. */
int64_t qtk_model_file_row(const struct model_tensor *t, int64_t row);
/* How many rows from `row` on, at most n, lie next to each other in the file. */
int64_t qtk_model_run(const struct model_tensor *t, int64_t row, int64_t n);
/* Puts the tensor's place in front of this thread's message. */
int qtk_model_at(const struct model_tensor *t, int code);

#endif
