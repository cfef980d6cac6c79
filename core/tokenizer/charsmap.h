/* SPDX-License-Identifier: BSD-3-Clause
 * Precompiled maps of characters: which byte sequences become which, as a double-array
 * trie and a pool of texts (SentencePiece's precompiled_charsmap). */
#ifndef CORE_TOKENIZER_CHARSMAP_H
#define CORE_TOKENIZER_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

struct qtk_charsmap {
  uint32_t *units;
  size_t n_units;
  char *texts; /* [n_texts], ends in NUL */
  size_t n_texts;
};

/* Copies and checks a map [n bytes]: whatever text is looked up later, nothing is read
 * beyond it, here and in other readers of it. QTK_EINPUT if it is none. */
int qtk_charsmap_read(const unsigned char *blob, size_t n, struct qtk_charsmap *map);
void qtk_charsmap_free(struct qtk_charsmap *map); /* {0} is fine */

/* The shortest and the longest key that text [n bytes] starts with: their bytes, 0 if
 * there is none, and what they become (NULL is fine). */
size_t qtk_charsmap_shortest(const struct qtk_charsmap *map, const char *text, size_t n,
                             const char **becomes);
size_t qtk_charsmap_longest(const struct qtk_charsmap *map, const char *text, size_t n,
                            const char **becomes);

#endif
