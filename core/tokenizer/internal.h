/* SPDX-License-Identifier: BSD-3-Clause
 * The parts of a tokenizer. */
#ifndef CORE_TOKENIZER_INTERNAL_H
#define CORE_TOKENIZER_INTERNAL_H

#include "core/tokenizer.h"
#include "core/tokenizer/added.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/decode.h"
#include "core/tokenizer/normalize.h"
#include "core/tokenizer/pieces.h"
#include "core/tokenizer/pretokenize.h"
#include "core/tokenizer/unigram.h"
#include "core/tokenizer/vocab.h"

struct qtk_tokenizer {
  struct qtk_added_list added;
  struct qtk_normalizer normalizer;
  struct qtk_pretokenizer pretokenizer;
  struct qtk_vocab vocab;
  struct qtk_bpe bpe;
  struct qtk_pieces pieces;   /* in the place of bpe, if it has any */
  struct qtk_unigram unigram; /* in the place of bpe, if it has pieces */
  struct qtk_ids before, after; /* what the post-processor puts around a text */
  struct qtk_detokenizer detokenizer;
  char *json; /* canonical */
};

/* Fills a zeroed tokenizer from a file's JSON, in which no Named is left. */
int qtk_tokenizer_read(json_t *json, struct qtk_tokenizer *t);

/* Its vocabulary and merges; of the model's object (without "model" in its path). */
int qtk_tokenizer_read_model(const struct qtk_node *model, struct qtk_tokenizer *t);

/* The canonical text. Components as they are in `json`, keys sorted; vocabulary by id,
 * merges by rank as pairs; added tokens by id with every flag. */
int qtk_tokenizer_write(const struct qtk_tokenizer *t, const json_t *json, struct qtk_str *out);
/* The text of a token in quotes. */
int qtk_tokenizer_write_token(const struct qtk_vocab *v, int32_t id, struct qtk_str *out);

#endif
