/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of this plugin share: the parsed file, its metadata, its
 * tensors and their block types. */
#ifndef GGUF_H
#define GGUF_H

#define QTK_API 1
#include <qtk/format.h>

#include <pthread.h>

/* Numbers are read in place, and the files that are read are little endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "needs a little-endian machine");

/* ---- block types (types.c, blocks.c, kblocks.c) ------------------------------- */

/* How a type is handed out as a quantized tensor (packed.c). */
enum gguf_packing { GGUF_PACK_NONE, GGUF_PACK_Q4_0, GGUF_PACK_Q4_1, GGUF_PACK_Q8_0 };

struct gguf_type {
  uint32_t id;
  const char *name;
  int block, bytes; /* values and bytes of a block */
  int dense;
  enum qtk_dtype dtype;
  enum gguf_packing packing;
  /* values of `blocks` blocks; NULL: known, but only its size */
  void (*floats)(const unsigned char *src, float *out, int64_t blocks);
};

const struct gguf_type *gguf_type_find(uint32_t id);

void gguf_q4_0(const unsigned char *src, float *out, int64_t blocks);
void gguf_q4_1(const unsigned char *src, float *out, int64_t blocks);
void gguf_q5_0(const unsigned char *src, float *out, int64_t blocks);
void gguf_q5_1(const unsigned char *src, float *out, int64_t blocks);
void gguf_q8_0(const unsigned char *src, float *out, int64_t blocks);
void gguf_q2_k(const unsigned char *src, float *out, int64_t blocks);
void gguf_q3_k(const unsigned char *src, float *out, int64_t blocks);
void gguf_q4_k(const unsigned char *src, float *out, int64_t blocks);
void gguf_q5_k(const unsigned char *src, float *out, int64_t blocks);
void gguf_q6_k(const unsigned char *src, float *out, int64_t blocks);

/* ---- a file's header (cursor.c, meta.c, tensors.c) ------------------------------- */

/* Where in a file reading stands. */
struct gguf_cursor {
  const unsigned char *begin, *at, *end;
};

struct gguf_string {
  const char *text; /* in the map: no zero byte behind it */
  uint64_t length;
};

/* The next n bytes, or an error that names `what`. */
int gguf_take(struct gguf_cursor *c, uint64_t n, const unsigned char **bytes, const char *what);
int gguf_take_u32(struct gguf_cursor *c, uint32_t *value, const char *what);
int gguf_take_u64(struct gguf_cursor *c, uint64_t *value, const char *what);
int gguf_take_string(struct gguf_cursor *c, struct gguf_string *string, const char *what);
/* A key or a tensor's name: 1 .. max bytes of printable UTF-8. */
int gguf_take_name(struct gguf_cursor *c, struct gguf_string *name, uint64_t max, const char *what);
uint64_t gguf_left(const struct gguf_cursor *c);

/* Bytes of the UTF-8 character at text, 1 .. 4, or 0 if it is none. */
int gguf_utf8(const unsigned char *text, uint64_t left);

enum gguf_value {
  GGUF_U8,
  GGUF_I8,
  GGUF_U16,
  GGUF_I16,
  GGUF_U32,
  GGUF_I32,
  GGUF_F32,
  GGUF_BOOL,
  GGUF_STRING,
  GGUF_ARRAY,
  GGUF_U64,
  GGUF_I64,
  GGUF_F64,
  GGUF_VALUES
};

/* A checked key and value. */
struct gguf_kv {
  struct gguf_string key;
  uint32_t type;
  uint32_t item;              /* arrays: type of the items */
  uint64_t count;             /* and how many */
  const unsigned char *value; /* first byte; of arrays, of the first item */
};

struct gguf_meta {
  struct gguf_kv *kvs;
  uint64_t n;
};

int gguf_meta_read(struct gguf_cursor *c, uint64_t n, struct gguf_meta *meta);
const struct gguf_kv *gguf_meta_find(const struct gguf_meta *meta, const char *key);
/* The value of a key of that type: 1, 0 if there is no such key, or an error if it
 * is of another type. gguf_meta_uint takes every integer type, but no negatives. */
int gguf_meta_uint(const struct gguf_meta *meta, const char *key, uint64_t *value);
int gguf_meta_bool(const struct gguf_meta *meta, const char *key, int *value);
int gguf_meta_string(const struct gguf_meta *meta, const char *key, struct gguf_string *value);
int gguf_meta_array(const struct gguf_meta *meta, const char *key, uint32_t item,
                    const struct gguf_kv **kv);
uint64_t gguf_value_bytes(uint32_t type); /* 0 for strings and arrays */
/* Scalars as numbers. */
int64_t gguf_value_int(uint32_t type, const unsigned char *value);
double gguf_value_float(uint32_t type, const unsigned char *value);
/* The string at `value`, which moves behind it; it has been checked. */
struct gguf_string gguf_value_string(const unsigned char **value);

struct gguf_tensor {
  char *name;
  const struct gguf_type *type;
  int ndim;
  int64_t shape[QTK_MAX_DIMS]; /* last dimension together in memory */
  int64_t rows, cols;
  uint64_t offset, bytes; /* in the part's data */
  const unsigned char *data;
};

struct gguf_tensors {
  struct gguf_tensor *items;
  size_t n, room;
};

/* Appends n tensors. Their data pointers are set by gguf_tensors_place. */
int gguf_tensors_read(struct gguf_cursor *c, uint64_t n, struct gguf_tensors *list);
/* The tensors from `first` on must lie in `room` bytes of data, aligned, apart. */
int gguf_tensors_place(struct gguf_tensors *list, size_t first, const unsigned char *data,
                       uint64_t room, uint64_t align);
/* All names must differ. */
int gguf_tensors_distinct(const struct gguf_tensors *list);
void gguf_tensors_free(struct gguf_tensors *list);

/* ---- a model: one file, or all parts of a split one (part.c, model.c) --------------- */

struct gguf_part {
  unsigned char *map;
  size_t size;
  struct gguf_meta meta;
};

int gguf_part_open(struct gguf_part *part, const char *path, struct gguf_tensors *tensors);
void gguf_part_close(struct gguf_part *part);
void gguf_part_drop(const struct gguf_tensor *tensor);

struct gguf_model {
  struct gguf_part *parts; /* the first one has the metadata */
  int n_parts;
  struct gguf_tensors tensors;
  char *config, *template, *licence, *generation;
  pthread_mutex_t lock; /* of the tokenizer, which is made when asked for */
  char *tokenizer;
  int tokenizer_known;
};

int gguf_model_open(const char *path, struct gguf_model **model);
void gguf_model_close(struct gguf_model *model);

/* JSON texts for free; QTK_OK and NULL if there is no tokenizer. */
int gguf_config_make(const struct gguf_meta *meta, char **json);
/* NULL as well if it names no token that ends a text. */
int gguf_generation_make(const struct gguf_meta *meta, char **json);
int gguf_tokenizer_make(const struct gguf_meta *meta, char **json);

/* ---- packed tensors (packed.c) ---------------------------------------------------------- */

int gguf_packed_layout(const struct gguf_tensor *t, struct qtk_qlayout *layout);
int gguf_packed_read(const struct gguf_tensor *t, int64_t row, int64_t n, struct qtk_qtensor *out);

/* ---- growing text (text.c) ---------------------------------------------------------------- */

struct gguf_text {
  char *data;
  size_t length, room;
  int failed; /* out of memory; later calls do nothing */
};

void gguf_put(struct gguf_text *t, const char *text);
void gguf_put_int(struct gguf_text *t, int64_t value);
/* `digits` significant ones, as %g has them; whole numbers with a point. */
void gguf_put_real(struct gguf_text *t, int digits, double value);
/* A JSON string. 0, or -1 if it is not UTF-8. */
int gguf_put_string(struct gguf_text *t, struct gguf_string string);
/* The text, for free; or NULL with QTK_ENOMEM set. */
char *gguf_text_end(struct gguf_text *t);

/* For "%.*s" of names in messages. */
#define GGUF_SHOW(s) (int)((s).length < 200 ? (s).length : 200), (s).text

#endif
