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

#include "core/chat.h"
#include "core/tokenizer.h"

#define QTK_TEXT_BYTES (UINT64_C(1) << 30)

struct qtk_text {
  char *name;         /* of the file, without its folders */
  char sha256[65];    /* of the file, hex */
  uint64_t bytes;     /* of the text */
  int64_t documents;  /* rows that were read: 1 of a plain text */
  struct qtk_ids ids; /* with what the tokenizer puts around a text, once */
  int32_t first;      /* what it puts before every text (BOS), or -1 */
};

/* What the rows of a file are. */
enum qtk_rows {
  QTK_ROWS_FILE,     /* the file is one text, or documents by its name: see above */
  QTK_ROWS_LINES,    /* each line, without the blanks around it */
  QTK_ROWS_DOCUMENTS, /* the text of each line of JSON, whatever the file's name */
  QTK_ROWS_EXAMPLES   /* a JSON array of objects with instruction, input and output, written
                         down by the recipe's template; an empty input is none */
};

/* How a file becomes a text. */
struct qtk_text_recipe {
  enum qtk_rows rows;
  const char *join; /* stands between rows */
  int64_t most;     /* rows to take, from the first; 0: all */
  /* Instead of joined rows: this many crops of `length` tokens, one behind the other, each
   * at a random place of a random one of the documents that have more tokens than that,
   * tokenised by itself. The context's seed and the number of the crop decide. */
  int64_t crops, length;
  const struct qtk_chat *chat; /* the template of examples */
};

/* The tokens are counted against the memory limit until they are freed, the text
 * while it is read. */
QTK_PUBLIC int qtk_text_read(struct qtk_context *ctx, const char *path,
                             const struct qtk_tokenizer *tokenizer, struct qtk_text *text);
/* The same by a recipe; NULL: {QTK_ROWS_FILE}. */
QTK_PUBLIC int qtk_text_read_as(struct qtk_context *ctx, const char *path,
                                const struct qtk_tokenizer *tokenizer,
                                const struct qtk_text_recipe *recipe, struct qtk_text *text);
QTK_PUBLIC void qtk_text_free(struct qtk_context *ctx, struct qtk_text *text); /* {0} is fine */

/* How many windows of `length` tokens to take, side by side from the start, without
 * the remainder: all if `wanted` is 0. QTK_EINPUT if the text has fewer than wanted,
 * or none. */
QTK_PUBLIC int qtk_text_windows(const struct qtk_text *text, int64_t length, int64_t wanted,
                                int64_t *windows);

/* Which share of the stretches of 32 tokens of `text` also stands somewhere in `other`. */
QTK_PUBLIC int qtk_text_overlap(struct qtk_context *ctx, const struct qtk_text *text,
                                const struct qtk_text *other, double *share);

/* starts[i] = the first token of sample i of `length` tokens, i < samples, at a place
 * that the context's seed and i decide. QTK_EINPUT if the text is shorter than one. */
QTK_PUBLIC int qtk_text_sample(struct qtk_context *ctx, const struct qtk_text *text, int64_t length,
                               int64_t samples, int64_t *starts);

#endif
