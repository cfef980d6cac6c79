/* SPDX-License-Identifier: BSD-3-Clause
 * Models of SentencePiece: pieces with scores and types, encoded by its library. */
#ifndef CORE_TOKENIZER_PIECES_H
#define CORE_TOKENIZER_PIECES_H

#include "core/tokenizer.h"
#include "core/tokenizer/charsmap.h"
#include "core/tokenizer/node.h"
#include "core/tokenizer/vocab.h"

/* As SentencePiece's files count them. */
enum qtk_piece_type {
  QTK_PIECE_NORMAL = 1,
  QTK_PIECE_UNKNOWN = 2,
  QTK_PIECE_CONTROL = 3,
  QTK_PIECE_USER = 4,
  QTK_PIECE_UNUSED = 5,
  QTK_PIECE_BYTE = 6
};

/* Which texts between added tokens get a space in front. */
enum qtk_piece_prefix { QTK_PREFIX_ALWAYS, QTK_PREFIX_FIRST, QTK_PREFIX_NEVER };

struct qtk_pieces {
  size_t n; /* pieces, the first ids of the vocabulary; 0: the model is of another kind */
  int unigram;
  enum qtk_piece_prefix prefix;
  int remove_extra_whitespaces;
  int byte_fallback;
  int32_t unknown;
  float *scores;        /* [n] */
  unsigned char *types; /* [n] */
  char *charsmap_text;  /* base64, or NULL */
  struct qtk_charsmap charsmap;

  int cuttable;                      /* pieces do not reach over the end of a word */
  int32_t byte_ids[256];             /* with byte_fallback */
  struct qtk_sentencepiece *with;    /* puts a space in front; NULL if never wanted */
  struct qtk_sentencepiece *without; /* does not */
};

/* Of the model's object, whose type is SentencePiece. Texts go into the vocabulary. */
int qtk_pieces_read(const struct qtk_node *model, struct qtk_vocab *vocab, struct qtk_pieces *p);
void qtk_pieces_free(struct qtk_pieces *p); /* {0} is fine */

/* Appends the ids of text [n bytes, any]. `first`: this is where the whole text starts. */
int qtk_pieces_encode(const struct qtk_pieces *p, const char *text, size_t n, int first,
                      struct qtk_ids *out);

/* The model's object as canonical text. */
int qtk_pieces_write(const struct qtk_pieces *p, const struct qtk_vocab *vocab,
                     struct qtk_str *out);

/* A serialized ModelProto of it, with or without a space put in front (pieces-proto.c). */
int qtk_pieces_proto(const struct qtk_pieces *p, const struct qtk_vocab *vocab, int prefix,
                     const unsigned char *charsmap, size_t n_charsmap, struct qtk_str *out);

#endif
