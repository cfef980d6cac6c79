/* SPDX-License-Identifier: BSD-3-Clause
 * Cutting a text into words, which merges do not cross. */
#ifndef CORE_TOKENIZER_PRETOKENIZE_H
#define CORE_TOKENIZER_PRETOKENIZE_H

#include "core/tokenizer/expression.h"
#include "core/tokenizer/node.h"

/* What ByteLevel cuts with, if it does. */
extern const char qtk_pretokenizer_words[];

struct qtk_pretokenizer {
  struct qtk_pretokenizer_step *steps;
  size_t n, room;
  int bytes; /* words go into the byte alphabet */
};

int qtk_pretokenizer_read(const struct qtk_node *node, struct qtk_pretokenizer *out);
void qtk_pretokenizer_free(struct qtk_pretokenizer *p);

/* Takes a word [n bytes]. */
struct qtk_word_sink {
  int (*word)(void *arg, const char *text, size_t n);
  void *arg;
};

/* Gives the words of text [n bytes] to the sink, in order. Each byte that is part
 * of no valid UTF-8 is a word of its own. `first`: this is where the whole text
 * starts. */
int qtk_pretokenizer_run(const struct qtk_pretokenizer *p, struct qtk_matcher *m, const char *text,
                         size_t n, int first, const struct qtk_word_sink *sink);

#endif
