/* SPDX-License-Identifier: BSD-3-Clause
 * Tokens by id and by text, and the pairs of tokens that merge. */
#ifndef CORE_TOKENIZER_VOCAB_H
#define CORE_TOKENIZER_VOCAB_H

#include <qtk/base.h>

#include "core/str.h"

/* Ids are below it. */
#define QTK_VOCAB_MAX (1 << 22)

enum qtk_token_flags {
  QTK_TOKEN_MODEL = 1,  /* in the model's vocabulary */
  QTK_TOKEN_ADDED = 2,  /* in the list of added tokens */
  QTK_TOKEN_SPECIAL = 4 /* left out by skip_special */
};

struct qtk_token {
  size_t at; /* of the text in `texts` */
  uint32_t bytes;
  uint32_t flags; /* 0: no token has this id */
};

struct qtk_merge {
  int32_t left, right, id;
};

struct qtk_vocab {
  struct qtk_token *tokens;
  size_t size, room;
  struct qtk_str texts;
  uint32_t *by_text; /* id + 1, or 0; a power of 2 of them */
  size_t text_slots, n_texts;

  struct qtk_merge *merges; /* by rank */
  size_t n_merges, merge_room;
  uint32_t *by_pair; /* rank + 1, or 0 */
  size_t pair_slots;
};

void qtk_vocab_free(struct qtk_vocab *v); /* {0} is fine */

/* A token with its text and flags. QTK_EINPUT if the id has another text, or the
 * text another id. */
int qtk_vocab_add(struct qtk_vocab *v, int32_t id, const char *text, size_t n, uint32_t flags);
/* The id of a text, or -1. */
int32_t qtk_vocab_find(const struct qtk_vocab *v, const char *text, size_t n);
/* The texts that `text` [n bytes] starts with, shortest first: the id of the next one, of
 * prefix->bytes; -1 behind the last. */
struct qtk_vocab_prefix {
  size_t bytes;
  uint64_t hash;
};
#define QTK_VOCAB_PREFIX {0, 0xcbf29ce484222325u}
int32_t qtk_vocab_next_prefix(const struct qtk_vocab *v, const char *text, size_t n,
                              struct qtk_vocab_prefix *prefix);
/* The text of an id and its bytes; NULL if there is no such id. */
const char *qtk_vocab_text(const struct qtk_vocab *v, int32_t id, size_t *n);

/* The next merge by rank; a pair that was there already gets the new rank. */
int qtk_vocab_add_merge(struct qtk_vocab *v, struct qtk_merge merge);
/* Its rank, or UINT32_MAX. */
uint32_t qtk_vocab_rank(const struct qtk_vocab *v, int32_t left, int32_t right);

#endif
