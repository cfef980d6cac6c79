/* SPDX-License-Identifier: BSD-3-Clause
 * Pre-tokenizers known by name, from a data file. */
#ifndef CORE_TOKENIZER_NAMED_H
#define CORE_TOKENIZER_NAMED_H

#include <jansson.h>

/* In the folders of architectures. */
#define QTK_NAMED_FILE "data/pretokenizers.toml"

/* Puts expressions in the place of every {"type": "Named"} of a tokenizer's JSON,
 * and what else goes with the name. */
int qtk_named_expand(json_t *tokenizer);

#endif
