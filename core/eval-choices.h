/* SPDX-License-Identifier: BSD-3-Clause
 * How often a model chooses the right one of several answers.
 *
 *   letter           the prompt shows the choices under letters; the one whose letter is
 *                    the likeliest next token wins. Which token stands for a letter is what
 *                    the tokenizer makes of the letter behind this prompt.
 *   text             the choice whose text is the likeliest continuation of the prompt wins:
 *                    the sum of the log-probabilities of its tokens.
 *   text_normalized  the same, each sum over the number of bytes of the choice's text.
 *
 * Of equals the first wins. What the tokenizer puts before texts stands before a prompt;
 * what it puts behind them does not stand behind it. Where a prompt is longer than the
 * context, solved examples are left out, the last one first; if it is too long
 * without any, its last `context` tokens are taken.
 *
 * Tokens that a prompt shares with the one before it (the examples of a subject) are
 * computed once a group. Each group starts afresh, so its result depends on nothing but
 * its own questions. */
#ifndef QTK_CORE_EVAL_CHOICES_H
#define QTK_CORE_EVAL_CHOICES_H

#include "core/eval.h"
#include "core/suite.h"

struct qtk_choices_group {
  const char *name; /* of the suite */
  int64_t questions, correct;
  int64_t fewer_shots, cut; /* prompts that lost examples; that lost their start, too */
  int *chosen;              /* [questions] */
};

struct qtk_choices {
  const struct qtk_suite *suite;
  int64_t context;
  int64_t questions, correct, fewer_shots, cut;
  struct qtk_choices_group *groups; /* [n_groups], in the suite's order */
  size_t n_groups;
};

/* context 0: any length. `plain`: nothing is kept from prompt to prompt (for tests). The
 * result is freed with qtk_choices_free, also after an error; it borrows the suite.
 * QTK_EINPUT if the tokenizer makes the same of two choices, QTK_ENUMERIC if the model gives
 * no numbers. */
QTK_PUBLIC int qtk_choices_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                                   const struct qtk_tokenizer *tokenizer,
                                   const struct qtk_suite *suite, int64_t context, int plain,
                                   struct qtk_choices *result);
QTK_PUBLIC void qtk_choices_free(struct qtk_choices *result); /* {0} is fine */

/* Share of right answers of a group, and its standard error (0 for one question). */
QTK_PUBLIC double qtk_choices_accuracy(int64_t correct, int64_t questions, double *error);
/* By question: over all of them. By group: the mean of the groups' shares; its error is made
 * of theirs, the groups taken as given. */
QTK_PUBLIC double qtk_choices_by_group(const struct qtk_choices *c, double *error);

/* Tokens that are run at a time: what an evaluation needs beside the cache. */
#define QTK_CHOICES_CHUNK 512

#endif
