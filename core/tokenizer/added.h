/* SPDX-License-Identifier: BSD-3-Clause
 * Added tokens: texts that are tokens wherever they stand. */
#ifndef CORE_TOKENIZER_ADDED_H
#define CORE_TOKENIZER_ADDED_H

#include "core/tokenizer/node.h"
#include "core/tokenizer/normalize.h"
#include "core/tokenizer/vocab.h"

struct qtk_added {
  int32_t id;
  char *text; /* what is looked for; normalized if the text is */
  size_t bytes;
  int special, normalized, lstrip, rstrip, single_word;
};

/* Tokens that are looked for together. */
struct qtk_added_set {
  const struct qtk_added **items; /* by text */
  size_t n;
  unsigned char starts[256]; /* 1: some text starts with this byte */
};

struct qtk_added_list {
  struct qtk_added *items; /* by id */
  size_t n;
  struct qtk_added_set raw;        /* in the text as it is given */
  struct qtk_added_set normalized; /* in the normalized text */
};

/* Reads "added_tokens", puts them into the vocabulary, normalizes the texts of
 * those that are looked for in normalized text. */
int qtk_added_read(const struct qtk_node *node, const struct qtk_normalizer *normalizer,
                   struct qtk_vocab *vocab, struct qtk_added_list *list);
void qtk_added_free(struct qtk_added_list *list);

struct qtk_added_match {
  size_t start, end;
  int32_t id;
};

/* The first of the longest matches in text at or behind `from`: 1 or 0. It may
 * take in spaces around it, but none before `from`. */
int qtk_added_find(const struct qtk_added_set *set, const char *text, size_t n, size_t from,
                   struct qtk_added_match *match);

#endif
