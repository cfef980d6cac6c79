/* SPDX-License-Identifier: BSD-3-Clause
 * Statistics of what the linears of a model read, over windows of a calibration text,
 * block by block.
 *
 * Hidden states of all windows stand at the border of one block. Inside it a run goes as
 * far as the inputs that are asked for, and what cannot change any more stays there: the
 * next run goes on from it. Windows run one after the other (short ones a few at a time)
 * and are added up in their order, each by itself: the sums depend neither on threads nor on
 * how many windows run at once, nor on where hidden states lie. */
#ifndef QTK_CORE_CALIBRATE_H
#define QTK_CORE_CALIBRATE_H

#include <qtk/quantizer.h>

#include "core/engine.h"
#include "core/text.h"

struct qtk_arch;
struct qtk_calibrator;

struct qtk_calibrator_options {
  int64_t samples, length; /* windows, and tokens of each */
  int cross;               /* QTK_NEEDS_CROSS will be asked for */
  const char *spill;       /* hidden states lie in a file of this folder; NULL: in memory */
  uint64_t keep;           /* bytes that may be kept inside a block, instead of made again */
};

/* The windows of `text` are drawn by the context's seed, and embedded. `source`, the
 * unquantized model, is needed for `cross` alone. All are borrowed; the text may go after
 * this. QTK_EINPUT if the text is too short, or the source is another model. */
QTK_PUBLIC int qtk_calibrator_open(struct qtk_context *ctx, struct qtk_model *model,
                                   struct qtk_model *source, const struct qtk_text *text,
                                   const struct qtk_calibrator_options *options,
                                   struct qtk_calibrator **c);
QTK_PUBLIC void qtk_calibrator_close(struct qtk_calibrator *c); /* NULL is fine */

/* Bytes of hidden states and activations for such a model; on the disk if they spill. */
QTK_PUBLIC int qtk_calibrator_memory(const struct qtk_arch *arch,
                                     const struct qtk_calibrator_options *options,
                                     uint64_t *memory, uint64_t *disk);

/* Windows that run at once. */
int64_t qtk_calibrator_batch(const struct qtk_calibrator_options *options);

/* Runs the windows through the blocks up to `layer`, as they are now, and enters it; only
 * forward. `changing` says which of its linears, bits of enum qtk_role, are to be replaced. */
QTK_PUBLIC int qtk_calibrator_enter(struct qtk_calibrator *c, int layer, unsigned changing);

/* What is wanted of a linear's input. */
struct qtk_watch {
  int role;       /* enum qtk_role */
  unsigned needs; /* enum qtk_needs */
  /* Sees the input of all windows, x [tokens, cols] in backend memory; or NULL. */
  int (*observe)(void *arg, const struct qtk_tensor *x);
  void *arg;
};
/* Runs the windows through the block as it is, as far as is needed for n watches.
 * Statistics of the run before are gone then. */
QTK_PUBLIC int qtk_calibrator_run(struct qtk_calibrator *c, const struct qtk_watch *watches,
                                  size_t n);
/* What the last run found of the input of `role`; constant until the next one. */
QTK_PUBLIC void qtk_calibrator_statistics(const struct qtk_calibrator *c, int role,
                                          struct qtk_calibration *out);
/* Tensor `tensor`, a linear of the block, is about to be replaced in the model. */
QTK_PUBLIC void qtk_calibrator_replace(struct qtk_calibrator *c, int tensor);

/* ---- what adapters start from ------------------------------------------------------------- */

/* The inputs of a model's linears, one after the other: windows of at most `length` tokens of
 * `text`, drawn by the context's seed, which go through it once. */
struct qtk_inputs;

/* The model is borrowed, and should be counted as what it is before; the text may go after
 * this. */
QTK_PUBLIC int qtk_inputs_open(struct qtk_context *ctx, struct qtk_model *model,
                               const struct qtk_text *text, int64_t length,
                               struct qtk_inputs **inputs);
QTK_PUBLIC void qtk_inputs_close(struct qtk_inputs *inputs); /* NULL is fine */
/* For struct qtk_model_inputs: H of what linear `name` reads, until the next call; linears in the
 * order in which a block runs. */
QTK_PUBLIC int qtk_inputs_gram(void *inputs, const char *name, int64_t cols, const float **gram);
struct qtk_inputs_sizes {
  uint64_t activations;    /* bytes */
  int64_t widest;          /* H is at most [widest, widest] */
  int64_t windows, length; /* at once */
};
/* Of a text for such a model. `tokens` 0: of a long one. */
QTK_PUBLIC int qtk_inputs_memory(const struct qtk_arch *arch, int64_t tokens, int64_t length,
                                 struct qtk_inputs_sizes *sizes);

#endif
