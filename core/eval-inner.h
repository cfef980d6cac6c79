/* SPDX-License-Identifier: BSD-3-Clause
 * A model run over windows of tokens: what the measures share. */
#ifndef QTK_CORE_EVAL_INNER_H
#define QTK_CORE_EVAL_INNER_H

#include "core/eval.h"

struct qtk_eval_runner {
  struct qtk_context *ctx;
  const struct qtk_eval_model *model;
  struct qtk_session *session;
  struct qtk_tensor hidden; /* of the last window */
  struct qtk_tensor logits; /* [QTK_LOGIT_CHUNK, V], backend memory */
};

/* {0} before; closed in any case. */
int qtk_eval_open(struct qtk_eval_runner *r, struct qtk_context *ctx,
                  const struct qtk_eval_model *model);
void qtk_eval_close(struct qtk_eval_runner *r);

/* QTK_EINPUT if the first n tokens of a text hold one that the model does not know. */
int qtk_eval_check(const struct qtk_eval_model *model, const struct qtk_text *text, int64_t n);

/* Runs the blocks over a window; then logits of rows [row, row + n) of it, n at most
 * QTK_LOGIT_CHUNK. */
int qtk_eval_window(struct qtk_eval_runner *r, const int32_t *ids, int64_t context);
int qtk_eval_logits(struct qtk_eval_runner *r, int64_t row, int64_t n, struct qtk_tensor *logits);

/* n numbers of the backend's memory as floats of the host. */
int qtk_eval_fetch(struct qtk_context *ctx, const struct qtk_tensor *t, int64_t n, float *out);

/* Standard error of the mean of n values with this sum and sum of squares; 0 for one. */
double qtk_eval_error(double sum, double squares, int64_t n);

#endif
