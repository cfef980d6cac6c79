/* SPDX-License-Identifier: BSD-3-Clause
 * What a model is worth on a text: its perplexity, and how far its predictions are
 * from another model's.
 *
 * A text is cut into windows of `context` tokens, side by side from its start; what
 * remains is dropped. Each window stands alone. A protocol (core/protocol.h) says how a
 * file becomes the text, and which targets of a window are scored. Where all are, the value
 * is exp (mean over windows of the mean loss in the window), and what the tokenizer puts
 * around a text is there once, at the start of the text.
 *
 * The standard error is that of the mean loss, times the value (the first-order error
 * of an exponential). Where all targets are scored the mean is one of windows, and so is its
 * error:
 * sqrt (variance of window means / windows); tokens of a window depend on one another,
 * windows hardly. With one window there is no such thing, and it is taken over
 * tokens, as it is by halves, where it is comparable with that of the program which the
 * protocol is named after.
 *
 * Sums are made in the order of tokens, whatever the number of threads. */
#ifndef QTK_CORE_EVAL_H
#define QTK_CORE_EVAL_H

#include "core/engine.h"
#include "core/protocol.h"

/* A model ready to run. */
struct qtk_eval_model {
  struct qtk_engine *engine;
  const struct qtk_model_info *info;
};

struct qtk_perplexity {
  const struct qtk_protocol *protocol;
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
                                      const struct qtk_text *text,
                                      const struct qtk_protocol *protocol,
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
