/* SPDX-License-Identifier: BSD-3-Clause
 * Crops at random places of random documents. Only for the text's own files. */
#ifndef CORE_TEXT_CROPS_H
#define CORE_TEXT_CROPS_H

#include "core/text-rows.h"

/* Fills ids, documents and bytes of `text`. QTK_EINPUT if no document is long enough. */
int qtk_text_crops(struct qtk_context *ctx, struct text_rows *rows,
                   const struct qtk_tokenizer *tokenizer, const struct qtk_text_recipe *recipe,
                   struct qtk_text *text);

#endif
