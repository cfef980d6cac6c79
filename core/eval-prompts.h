/* SPDX-License-Identifier: BSD-3-Clause
 * The questions of a group as tokens. Only for the evaluation's own files. */
#ifndef CORE_EVAL_PROMPTS_H
#define CORE_EVAL_PROMPTS_H

#include "core/eval-choices.h"

/* ids[0 .. prompt) are what all choices share. Choice i goes on with
 * ids[tails[i] .. tails[i + 1]), at least one token, and tails[0] = prompt. */
struct eval_prompt {
  int32_t *ids;
  int64_t prompt;
  int64_t tails[QTK_CHOICES_MOST + 1];
  int fewer_shots, cut;
};

struct eval_prompts {
  struct qtk_context *ctx;
  struct eval_prompt *data;
  size_t n;
  int64_t longest; /* tokens of a prompt and its longest choice */
  uint64_t bytes;  /* that are charged */
};

/* All questions of a group. To be ended with qtk_eval_prompts_free, also after an error. */
int qtk_eval_prompts(struct qtk_context *ctx, const struct qtk_tokenizer *tokenizer,
                     const struct qtk_suite *suite, const struct qtk_suite_group *group,
                     int64_t context, struct eval_prompts *prompts);
void qtk_eval_prompts_free(struct eval_prompts *prompts);

#endif
