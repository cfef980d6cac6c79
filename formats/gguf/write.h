/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the writing half share: options, the types that are written, the
 * head of a file, the tokenizer as metadata. */
#ifndef GGUF_WRITE_H
#define GGUF_WRITE_H

#include "gguf.h"

#define GGUF_ALIGN 32
#define GGUF_BLOCK 32

/* ---- options and types (choose.c) ----------------------------------------------- */

struct gguf_options {
  const char *type, *pretokenizer;
  int requantize;
};

extern const struct qtk_option gguf_options[];

/* The type of tensor t in the file, and how it is handed over; QTK_EJOB if it cannot be. */
struct gguf_choice {
  const struct gguf_type *type;
  enum qtk_export_how how;
};

int gguf_choose(const struct gguf_options *options, const struct qtk_export_tensor *t,
                struct gguf_choice *choice);

/* ---- values (encode.c) ------------------------------------------------------------- */

/* Row `row` of a quantized tensor, in blocks of the type that was chosen. `codes` is room
 * for a byte a column. */
int gguf_encode_row(const struct gguf_type *type, const struct qtk_qtensor *t, int64_t row,
                    uint8_t *codes, unsigned char *out);
/* n floats (whole blocks) as the type has them, with the rounding of ggml's reference.
 * QTK_ENUMERIC if a value or a scale is too large for it. */
int gguf_encode_floats(const struct gguf_type *type, const float *values, int64_t n,
                       unsigned char *out);

/* ---- bytes (bytes.c) --------------------------------------------------------------- */

struct gguf_bytes {
  unsigned char *data;
  size_t length, room;
  uint64_t keys; /* put so far */
  int failed;    /* out of memory; later calls do nothing */
};

void gguf_bytes_put(struct gguf_bytes *b, const void *data, size_t n);
void gguf_bytes_u32(struct gguf_bytes *b, uint32_t value);
void gguf_bytes_u64(struct gguf_bytes *b, uint64_t value);
void gguf_bytes_string(struct gguf_bytes *b, const char *text);
/* A key, the type of its value, and the value; of arrays, the items follow. */
void gguf_bytes_key(struct gguf_bytes *b, const char *key, enum gguf_value type);
void gguf_bytes_key_u32(struct gguf_bytes *b, const char *key, uint32_t value);
void gguf_bytes_key_bool(struct gguf_bytes *b, const char *key, int value);
void gguf_bytes_key_string(struct gguf_bytes *b, const char *key, const char *value);
void gguf_bytes_key_array(struct gguf_bytes *b, const char *key, enum gguf_value item, uint64_t n);

/* ---- the tokenizer (vocabulary.c) ----------------------------------------------------- */

/* tokenizer.ggml.* and the chat template. `rows` is how many tokens the embedding has. */
int gguf_put_tokenizer(struct gguf_bytes *b, const struct gguf_options *options,
                       const struct qtk_export *model, int64_t rows);
/* Says what of a tokenizer that can be written is lost all the same. */
void gguf_warn_tokenizer(const struct qtk_export *model);

/* ---- the whole file (image.c) ---------------------------------------------------------- */

/* The file but for its tensors' values. */
struct gguf_image {
  struct gguf_choice *choices; /* [n_tensors] */
  uint64_t *offsets;           /* in the file */
  unsigned char *head;         /* padded to where the data begin */
  uint64_t head_bytes, bytes;
};

int gguf_image_make(struct gguf_image *image, const struct gguf_options *options,
                    const struct qtk_export *model);
void gguf_image_free(struct gguf_image *image);
/* Rows and columns as they are handed over, and the bytes of a row. */
void gguf_image_sides(const struct qtk_export_tensor *t, int64_t *rows, int64_t *cols);

/* ---- slots (write.c) ------------------------------------------------------------------------ */

enum qtk_export_how gguf_accepts(const void *options, const struct qtk_export_tensor *t);
int gguf_measure(const void *options, const struct qtk_export *model, uint64_t *bytes);
int gguf_create(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **w);
int gguf_write(void *w, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized);
int gguf_finish(void *w, struct qtk_export_result *result);
void gguf_abort(void *w);

#endif
