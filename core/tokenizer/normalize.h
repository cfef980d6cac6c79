/* SPDX-License-Identifier: BSD-3-Clause
 * What a tokenizer does to a text before it splits it. */
#ifndef CORE_TOKENIZER_NORMALIZE_H
#define CORE_TOKENIZER_NORMALIZE_H

#include "core/str.h"
#include "core/tokenizer/expression.h"
#include "core/tokenizer/node.h"

struct qtk_normalizer {
  struct qtk_normalizer_step *steps;
  size_t n, room;
};

int qtk_normalizer_read(const struct qtk_node *node, struct qtk_normalizer *out);
void qtk_normalizer_free(struct qtk_normalizer *normalizer);

/* *out = text [n bytes] normalized. Bytes that are no UTF-8 stay where they are. */
int qtk_normalizer_run(const struct qtk_normalizer *normalizer, struct qtk_matcher *m,
                       const char *text, size_t n, struct qtk_str *out);

struct qtk_charsmap;

/* Appends text [n bytes, valid UTF-8] through a map of characters (normalize-map.c). */
int qtk_normalizer_map(const struct qtk_charsmap *map, const char *text, size_t n,
                       struct qtk_str *out);

/* "pattern": {"Regex": ...} or {"String": ...}; shared with the splitting. */
int qtk_pattern_read(const struct qtk_node *node, struct qtk_expression **e);

#endif
