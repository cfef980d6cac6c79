/* SPDX-License-Identifier: BSD-3-Clause
 * From tokens back to bytes. */
#ifndef CORE_TOKENIZER_DECODE_H
#define CORE_TOKENIZER_DECODE_H

#include "core/str.h"
#include "core/tokenizer.h"
#include "core/tokenizer/node.h"

struct qtk_detokenizer {
  struct qtk_detokenizer_step *steps;
  size_t n, room;
  int fused; /* while reading: what follows works on the whole text */
};

int qtk_detokenizer_read(const struct qtk_node *node, struct qtk_detokenizer *out);
void qtk_detokenizer_free(struct qtk_detokenizer *d);

/* Appends what the token with this text gives; of `state` only the place in the text,
 * which moves, and the work are used. */
int qtk_detokenizer_run(const struct qtk_detokenizer *d, struct qtk_decoder *state,
                        const char *token, size_t n, struct qtk_str *out);

#endif
