/* SPDX-License-Identifier: BSD-3-Clause
 * The next token from logits. In this order, each on what the one before left:
 *
 *   repetition penalty p   logits of tokens seen, prompt included: l / p if l > 0, else l * p
 *                          (Keskar et al., "CTRL", 2019, section 4.1, with the sign
 *                          looked at, as everybody does since)
 *   temperature t          l / t; 0: the largest logit, and nothing below
 *   top-k                  the k largest (Fan et al., "Hierarchical neural story
 *                          generation", 2018)
 *   top-p                  the fewest largest whose probabilities sum to p or more
 *                          (Holtzman et al., "The curious case of neural text
 *                          degeneration", 2019)
 *   a draw                 by the probabilities of what is left
 *
 * Among equal logits the lower id comes first. Draws are counted: token number i of a
 * seed is the same however many threads run. */
#ifndef QTK_CORE_SAMPLE_H
#define QTK_CORE_SAMPLE_H

#include <qtk/base.h>

struct qtk_sample_options {
  double temperature;        /* 0 and more */
  int64_t top_k;             /* 0: all */
  double top_p;              /* above 0, up to 1: all */
  double repetition_penalty; /* above 0; 1: none */
};

/* QTK_EUSAGE with name, value and what is allowed. */
QTK_PUBLIC int qtk_sample_check(const struct qtk_sample_options *options);

struct qtk_sampler;

/* For logits [vocabulary]; all memory that it will need is taken now. */
QTK_PUBLIC int qtk_sampler_new(struct qtk_context *ctx, const struct qtk_sample_options *options,
                               int64_t vocabulary, struct qtk_sampler **sampler);
QTK_PUBLIC void qtk_sampler_free(struct qtk_sampler *s); /* NULL is fine */
/* The tokens are part of the text: the penalty is for them. */
QTK_PUBLIC void qtk_sampler_see(struct qtk_sampler *s, const int32_t *ids, size_t n);
/* The next token. `logits` are changed on the way. QTK_ENUMERIC if they are no numbers. */
QTK_PUBLIC int qtk_sampler_pick(struct qtk_sampler *s, float *logits, int32_t *id);

#endif
