/* SPDX-License-Identifier: BSD-3-Clause
 * Texts that models are evaluated and calibrated on: read, tokenised once as a
 * whole, cut into windows.
 *
 * A file whose name ends in .jsonl or .ndjson holds a JSON object a line; its
 * documents, the texts under "text", are joined by a blank line ("\n\n"). Lines
 * of blanks alone are no documents. Any other file is one text, taken byte by byte
 * as it is. At most QTK_TEXT_BYTES are read. */
#ifndef QTK_CORE_TEXT_H
#define QTK_CORE_TEXT_H

#include "core/tokenizer.h"

#define QTK_TEXT_BYTES (UINT64_C(1) << 30)

struct qtk_text {
  char *name;         /* of the file, without its folders */
  char sha256[65];    /* of the file, hex */
  uint64_t bytes;     /* of the text */
  int64_t documents;  /* 1 unless lines of JSON */
  struct qtk_ids ids; /* with what the tokenizer puts around a text, once */
  int32_t first;      /* what it puts before every text (BOS), or -1 */
};

/* The tokens are counted against the memory limit until they are freed, the text
 * while it is read. */
QTK_PUBLIC int qtk_text_read(struct qtk_context *ctx, const char *path,
                             const struct qtk_tokenizer *tokenizer, struct qtk_text *text);
QTK_PUBLIC void qtk_text_free(struct qtk_context *ctx, struct qtk_text *text); /* {0} is fine */

/* How many windows of `length` tokens to take, side by side from the start, without
 * the remainder: all if `wanted` is 0. QTK_EINPUT if the text has fewer than wanted,
 * or none. */
QTK_PUBLIC int qtk_text_windows(const struct qtk_text *text, int64_t length, int64_t wanted,
                                int64_t *windows);

/* starts[i] = the first token of sample i of `length` tokens, i < samples, at a place
 * that the context's seed and i decide. QTK_EINPUT if the text is shorter than one. */
QTK_PUBLIC int qtk_text_sample(struct qtk_context *ctx, const struct qtk_text *text, int64_t length,
                               int64_t samples, int64_t *starts);

#endif
