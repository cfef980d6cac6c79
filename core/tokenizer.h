/* SPDX-License-Identifier: BSD-3-Clause
 * Text to token ids and back, from the JSON text of a tokenizer. */
#ifndef QTK_CORE_TOKENIZER_H
#define QTK_CORE_TOKENIZER_H

#include <qtk/base.h>

#include "core/str.h"

struct qtk_tokenizer;

/* `json` in the layout of a tokenizer.json. A pre-tokenizer {"type": "Named",
 * "name": N} is looked up in the data files of the architecture path. Freed by
 * qtk_tokenizer_close. QTK_EINPUT names the JSON path that is not understood. */
QTK_PUBLIC int qtk_tokenizer_open(const char *json, struct qtk_tokenizer **t);
QTK_PUBLIC void qtk_tokenizer_close(struct qtk_tokenizer *t);

/* The same tokenizer as self-contained JSON text (no Named parts), for a bundle;
 * the same bytes for the same tokenizer. Lives as long as t. */
QTK_PUBLIC const char *qtk_tokenizer_json(const struct qtk_tokenizer *t);

/* The name that the data files have for the pre-tokenizer of a tokenizer.json, freed with
 * free; NULL if none says the same. Byte-level ones only. */
QTK_PUBLIC int qtk_tokenizer_name(const char *json, char **name);

struct qtk_ids {
  int32_t *ids;
  size_t n, room;
};
QTK_PUBLIC void qtk_ids_free(struct qtk_ids *ids);

/* Appends the ids of `text` [n bytes], which may hold NUL, and bytes that are no UTF-8:
 * each of those is a word of its own, kept as it is where the model has tokens for
 * bytes. Added tokens in the text are recognised. With `special`, what the file's
 * post-processor puts around a text (BOS, EOS) is put around. Text of any length: the
 * work is linear in it. */
QTK_PUBLIC int qtk_tokenizer_encode(const struct qtk_tokenizer *t, const char *text, size_t n,
                                    int special, struct qtk_ids *out);

/* The bytes of ids[0 .. n) as a malloc'ed text, ended by NUL. Ids without a token give
 * nothing, with `skip_special` nor do special tokens. QTK_EINPUT for an id out of
 * range. */
QTK_PUBLIC int qtk_tokenizer_decode(const struct qtk_tokenizer *t, const int32_t *ids, size_t n,
                                    int skip_special, char **text, size_t *bytes);

/* The same, token by token. Bytes that may be the start of a character are held
 * back until it is whole. Starts as {tokenizer, skip_special}; `end` gives what is
 * still held. */
struct qtk_decoder {
  const struct qtk_tokenizer *tokenizer;
  int skip_special;
  int started, stripped; /* place in the text, for decoders that treat its start apart */
  size_t n_held;
  char held[4];
  struct qtk_str work[2]; /* kept from token to token; freed by `end` */
};
QTK_PUBLIC int qtk_decoder_add(struct qtk_decoder *d, int32_t id, struct qtk_str *out);
QTK_PUBLIC int qtk_decoder_end(struct qtk_decoder *d, struct qtk_str *out);

/* The token that the post-processor puts before every text, or -1. */
QTK_PUBLIC int32_t qtk_tokenizer_first(const struct qtk_tokenizer *t);
QTK_PUBLIC int32_t qtk_tokenizer_size(const struct qtk_tokenizer *t); /* ids are below it */
/* The id of a token by its text, or -1. */
QTK_PUBLIC int32_t qtk_tokenizer_find(const struct qtk_tokenizer *t, const char *token);
/* The text of a token, freed with free; "" for an id that has none, like -1. NULL with an
 * error set. */
QTK_PUBLIC char *qtk_tokenizer_text(const struct qtk_tokenizer *t, int32_t id);

#endif
