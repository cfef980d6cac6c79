/* SPDX-License-Identifier: BSD-3-Clause
 * Byte-pair encoding of one word. */
#ifndef CORE_TOKENIZER_BPE_H
#define CORE_TOKENIZER_BPE_H

#include "core/tokenizer.h"
#include "core/tokenizer/vocab.h"

struct qtk_bpe {
  const struct qtk_vocab *vocab;
  int bytes;             /* words start as bytes in the byte alphabet, else as characters */
  int byte_fallback;     /* a character that is no token becomes tokens "<0xXX>" */
  int fuse_unknown;      /* unknown characters side by side give one token */
  int whole_words;       /* a word that is a token needs no merges to be it */
  int32_t unknown;       /* or -1: unknown characters give nothing */
  int32_t byte_ids[256]; /* of the byte alphabet, or of "<0xXX>"; -1: none */
};

/* Fills byte_ids from the vocabulary. */
void qtk_bpe_init(struct qtk_bpe *bpe);

/* What encoding needs, and words already seen. Starts as {0}. */
struct qtk_bpe_work {
  int32_t *id;             /* [room] of each symbol */
  uint32_t *next, *before; /* [room] neighbours */
  uint32_t *rank;          /* [room] of the pair (symbol, next) */
  uint64_t *heap;          /* [3 room] rank << 32 | symbol */
  size_t n, n_heap, room;
  struct qtk_str mapped; /* a word in the byte alphabet */

  struct qtk_bpe_word *words;
  size_t word_slots, n_words;
  struct qtk_str word_texts;
  struct qtk_ids word_ids;
};

void qtk_bpe_work_free(struct qtk_bpe_work *work);

/* Appends the ids of a word [n bytes, any]. */
int qtk_bpe_encode(const struct qtk_bpe *bpe, struct qtk_bpe_work *work, const char *word, size_t n,
                   struct qtk_ids *out);

int qtk_ids_add(struct qtk_ids *out, const int32_t *ids, size_t n);

#endif
