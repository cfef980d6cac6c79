/* SPDX-License-Identifier: BSD-3-Clause
 * What a teacher said of tokens, kept in a few numbers: the k most likely next tokens with the
 * logarithms of their probabilities p_i, and that of the mass p_r of all others.
 *
 * A loss that compares with a teacher's logits is given logits made of these: the student's own,
 * but for the k tokens that are known. The rest has then the mass p_r, spread as the student
 * spreads it, and the divergence of a student q is
 *
 *   sum of p_i log (p_i / q_i) over the k tokens + p_r log (p_r / q_r)
 *
 * with q_r the student's mass of the others: that of distributions which have all others as one
 * more outcome. It is at most the divergence of the whole distributions, and equal to it where
 * the student spreads the rest as the teacher does, or where nothing is left of it. Its gradient
 * is the one that a loss computes which takes these logits for constants. */
#ifndef QTK_CORE_LESSON_H
#define QTK_CORE_LESSON_H

#include <qtk/ops.h>

/* Of tokens one behind the other; a view. */
struct qtk_lesson {
  int64_t tokens, vocabulary;
  int64_t k;           /* at most the vocabulary */
  const int32_t *ids;  /* [tokens, k], the most likely first */
  const float *values; /* [tokens, k] logarithms of their probabilities */
  const float *rest;   /* [tokens] that of the mass of all others; 0 tokens others: any number */
};

/* Bytes of sequences that are kept together, or of one that has more. */
#define QTK_LESSON_UNIT (INT64_C(8) << 20)

/* Bytes of a token. */
QTK_PUBLIC uint64_t qtk_lesson_bytes(int64_t k);

/* From a teacher's logits [n, vocabulary] to n rows of ids, values and rest. */
QTK_PUBLIC int qtk_lesson_make(struct qtk_context *ctx, const struct qtk_tensor *logits, int64_t k,
                               int32_t *ids, float *values, float *rest);
/* Tokens [t0, t0 + n) as logits [n, vocabulary] for a student that has `student` for them. */
QTK_PUBLIC int qtk_lesson_spread(struct qtk_context *ctx, const struct qtk_lesson *lesson,
                                 int64_t t0, const struct qtk_tensor *student,
                                 struct qtk_tensor *logits);

/* The lessons of sequences, copied one behind the other. */
struct qtk_lesson_page {
  struct qtk_lesson lesson;
  int64_t room; /* tokens */
  void *memory;
};

/* Sequences numbers[i] of `all`, n of them. QTK_EINTERNAL if one was not taught. */
QTK_PUBLIC int qtk_lesson_copy(struct qtk_context *ctx, const struct qtk_lesson *all,
                               const uint64_t *numbers, int64_t n, struct qtk_lesson_page *page);
QTK_PUBLIC void qtk_lesson_page_free(struct qtk_context *ctx, struct qtk_lesson_page *page);

#endif
