/* SPDX-License-Identifier: BSD-3-Clause
 * SentencePiece models: the file (a ModelProto) into the layout of a tokenizer.json. */
#ifndef CORE_TOKENIZER_PROTO_H
#define CORE_TOKENIZER_PROTO_H

#include <jansson.h>

/* Completes a tokenizer whose model is {"type": "SentencePiece"}; others stay as they
 * are. "data" of the model, a file's bytes in base64, becomes its pieces and switches;
 * "add_bos_token" and "add_eos_token" beside it a post-processor; control and unknown
 * pieces become added tokens. Where there is no decoder, it gets the one that goes with
 * such a model. QTK_EINPUT if the bytes are no such file. */
int qtk_proto_expand(json_t *tokenizer);

#endif
