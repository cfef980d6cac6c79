/* SPDX-License-Identifier: BSD-3-Clause
 * libsentencepiece in C. */
#ifndef CORE_TOKENIZER_SENTENCEPIECE_H
#define CORE_TOKENIZER_SENTENCEPIECE_H

#include "core/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qtk_sentencepiece;

/* From a serialized ModelProto [n bytes], which must be well-formed: the library does
 * not look at all that it reads. QTK_EINPUT with the library's own message. */
int qtk_sentencepiece_open(const void *proto, size_t n, struct qtk_sentencepiece **out);
void qtk_sentencepiece_close(struct qtk_sentencepiece *s); /* NULL is fine */

/* Appends the ids of text [n bytes]. Any number of threads at once. */
int qtk_sentencepiece_encode(const struct qtk_sentencepiece *s, const char *text, size_t n,
                             struct qtk_ids *out);

#ifdef __cplusplus
}
#endif
#endif
