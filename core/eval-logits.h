/* SPDX-License-Identifier: BSD-3-Clause
 * Logits of a model, kept to be compared with those of one that does not run beside it. */
#ifndef QTK_CORE_EVAL_LOGITS_H
#define QTK_CORE_EVAL_LOGITS_H

#include "core/eval.h"

#define QTK_LOGITS_BYTES (UINT64_C(32) << 20) /* that are kept */

/* Those of the last `rows` of a window of tokens, as many as QTK_LOGITS_BYTES hold. */
struct qtk_logits {
  const int32_t *ids; /* [tokens], borrowed */
  int64_t tokens, rows, vocabulary;
  float *values; /* [rows, vocabulary] */
};

/* How far another model's are from them. */
struct qtk_logits_change {
  double maximum, mean; /* |difference| over all that are kept */
  double largest;       /* |logit| among them */
  double mean_kl;       /* KL (kept || others) of the next token */
  double same_top;      /* share of rows with the same likeliest token */
};

/* Rows that are kept of a window of that many tokens. */
int64_t qtk_logits_rows(int64_t tokens, int64_t vocabulary);

/* Freed with qtk_logits_free, also after an error. */
int qtk_logits_keep(struct qtk_context *ctx, const struct qtk_eval_model *model,
                    const int32_t *ids, int64_t tokens, struct qtk_logits *kept);
int qtk_logits_compare(struct qtk_context *ctx, const struct qtk_eval_model *model,
                       const struct qtk_logits *kept, struct qtk_logits_change *change);
void qtk_logits_free(struct qtk_context *ctx, struct qtk_logits *kept); /* {0} is fine */

#endif
