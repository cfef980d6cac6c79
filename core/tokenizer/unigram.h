/* SPDX-License-Identifier: BSD-3-Clause
 * Unigram models: the pieces of a word whose scores have the largest sum. */
#ifndef CORE_TOKENIZER_UNIGRAM_H
#define CORE_TOKENIZER_UNIGRAM_H

#include "core/tokenizer.h"
#include "core/tokenizer/node.h"
#include "core/tokenizer/vocab.h"

struct qtk_unigram {
  size_t n;       /* pieces, the first ids of the vocabulary; 0: the model is another one */
  double *scores; /* [n] */
  double unknown_score;
  size_t longest; /* bytes of a piece */
  int32_t unknown; /* or -1: unknown characters are an error */
  int byte_fallback;
  int32_t byte_ids[256]; /* of "<0xXX>", or -1 */
};

/* Of the model's object. Texts go into the vocabulary. */
int qtk_unigram_read(const struct qtk_node *model, struct qtk_vocab *vocab, struct qtk_unigram *u);
void qtk_unigram_free(struct qtk_unigram *u); /* {0} is fine */

/* Ends of the best paths through a word, kept from word to word. Starts as {0}. */
struct qtk_unigram_work {
  struct qtk_unigram_end *ends;
  size_t room;
};
void qtk_unigram_work_free(struct qtk_unigram_work *work);

/* Appends the ids of a word [n bytes, any]. */
int qtk_unigram_encode(const struct qtk_unigram *u, const struct qtk_vocab *vocab,
                       struct qtk_unigram_work *work, const char *word, size_t n,
                       struct qtk_ids *out);

/* The model's object as canonical text. */
int qtk_unigram_write(const struct qtk_unigram *u, const struct qtk_vocab *vocab,
                      struct qtk_str *out);

#endif
