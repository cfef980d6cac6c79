/* SPDX-License-Identifier: BSD-3-Clause
 * What a model is worth on a text: its perplexity, and how far its predictions are
 * from another model's.
 *
 * A text is cut into windows of `context` tokens, side by side from its start; what
 * remains is dropped. Each window stands alone. Protocols:
 *
 *   paper      (context 2048) All context - 1 targets of a window are scored. The value
 *              is exp (mean over windows of the mean loss in the window). What the
 *              tokenizer puts around a text is there once, at the start of the text.
 *   by halves  (QTK_PROTOCOL_SECOND_HALF, context 512) Targets context / 2 + 1 ..
 *              context - 1 of a window are scored (257 .. 511: 255 of 512), all with the
 *              same weight. Where the tokenizer puts a token before texts, it takes the
 *              place of each window's first.
 *   ptb, ptb-new, c4, c4-new
 *              As `paper`, over texts that are made of the file in a way of their own:
 *              qtk_protocol_recipe. c4 and c4-new take 256 windows unless told.
 *
 * The standard error is that of the mean loss, times the value (the first-order error
 * of an exponential). In `paper` the mean is one of windows, and so is its error:
 * sqrt (variance of window means / windows); tokens of a window depend on one another,
 * windows hardly. With one window there is no such thing, and it is taken over
 * tokens, as it is by halves, where it is comparable with that of the program which the
 * protocol is named after.
 *
 * Sums are made in the order of tokens, whatever the number of threads. */
#ifndef QTK_CORE_EVAL_H
#define QTK_CORE_EVAL_H

#include "core/engine.h"
#include "core/text.h"

enum qtk_protocol {
  QTK_PROTOCOL_PAPER,
  QTK_PROTOCOL_SECOND_HALF,
  QTK_PROTOCOL_PTB,
  QTK_PROTOCOL_PTB_NEW,
  QTK_PROTOCOL_C4,
  QTK_PROTOCOL_C4_NEW
};

/* The names stand in core/eval.c alone. QTK_EJOB for any other one. */
QTK_PUBLIC const char *qtk_protocol_name(enum qtk_protocol protocol);
QTK_PUBLIC int qtk_protocol_find(const char *name, enum qtk_protocol *protocol);
QTK_PUBLIC const char *const *qtk_protocol_names(void);              /* all, ended by NULL */
QTK_PUBLIC int64_t qtk_protocol_context(enum qtk_protocol protocol); /* default */
QTK_PUBLIC int64_t qtk_protocol_windows(enum qtk_protocol protocol); /* default; 0: all */
/* How a file becomes the text of a protocol, for windows of `context` tokens:
 *
 *   paper, by halves  the file as it is; documents joined by a blank line
 *   ptb               lines joined by two newlines (of the validation split of the Penn
 *                     Treebank)
 *   ptb-new           lines joined by a space (of its test split)
 *   c4                `windows` crops at random places of random documents
 *   c4-new            the first 1100 documents joined by a space */
QTK_PUBLIC struct qtk_text_recipe qtk_protocol_recipe(enum qtk_protocol protocol, int64_t context,
                                                      int64_t windows);

/* A model ready to run. */
struct qtk_eval_model {
  struct qtk_engine *engine;
  const struct qtk_model_info *info;
};

struct qtk_perplexity {
  enum qtk_protocol protocol;
  int64_t context;
  int64_t windows;
  int64_t tokens; /* scored */
  double value, standard_error;
  double mean_loss;       /* ln value */
  double *nll_per_window; /* [windows] mean loss of each */
};

/* `windows` 0: all that the text has. The result is freed with
 * qtk_perplexity_free, also after an error. QTK_EINPUT if the text is too short or
 * holds tokens that the model does not know, QTK_ENUMERIC if a loss is no number. */
QTK_PUBLIC int qtk_perplexity_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                                      const struct qtk_text *text, enum qtk_protocol protocol,
                                      int64_t context, int64_t windows,
                                      struct qtk_perplexity *result);
QTK_PUBLIC void qtk_perplexity_free(struct qtk_perplexity *result); /* {0} is fine */

/* KL (teacher || student) of the next token, at every position of every window. */
struct qtk_divergence {
  int64_t context;
  int64_t windows;
  int64_t tokens; /* compared */
  double mean_kl;
  double standard_error; /* of the mean, over tokens */
  double p99, maximum;   /* p99: the smallest value that 99 of 100 do not exceed */
  double same_top;       /* share of tokens with the same likeliest next token */
  double *kl_per_window; /* [windows] mean of each */
};

/* The models may be one and the same. QTK_EINPUT if their vocabularies differ. */
QTK_PUBLIC int qtk_divergence_measure(struct qtk_context *ctx, const struct qtk_eval_model *teacher,
                                      const struct qtk_eval_model *student,
                                      const struct qtk_text *text, int64_t context, int64_t windows,
                                      struct qtk_divergence *result);
QTK_PUBLIC void qtk_divergence_free(struct qtk_divergence *result); /* {0} is fine */

#endif
