/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of this plugin share: mapped files, their tensors, the model
 * folder, and the writer. */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#define QTK_API 1
#include <qtk/format.h>

#include <jansson.h>
#include <pthread.h>

/* Numbers are read and written in place, and the format is little endian. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "needs a little-endian machine");

/* The longest header that is read, as other readers have it. */
#define SAFETENSORS_HEADER_MAX 100000000

/* ---- types (types.c) -------------------------------------------------------- */

struct safetensors_type {
  const char *name; /* "BF16" */
  int bits;
  int dense; /* the value can be mapped as `dtype` */
  enum qtk_dtype dtype;
  /* n values, at any alignment, as floats; NULL: known but not readable */
  void (*floats)(const unsigned char *src, float *out, int64_t n);
};

const struct safetensors_type *safetensors_type_find(const char *name);
/* The type that holds floats of `dtype`, or whole numbers of it. */
const struct safetensors_type *safetensors_type_of(enum qtk_dtype dtype);

/* ---- one file (file.c, header.c) ---------------------------------------------- */

struct safetensors_file {
  unsigned char *map;
  size_t size;
};

struct safetensors_tensor {
  char *name;
  const struct safetensors_type *type;
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  int64_t rows, cols; /* all but the last dimension, the last; a scalar is 1 x 1 */
  uint64_t offset;    /* in the file's data */
  uint64_t bytes;
  const unsigned char *data;
};

struct safetensors_list {
  struct safetensors_tensor *items;
  size_t n, room;
};

int safetensors_file_open(struct safetensors_file *file, const char *path);
void safetensors_file_close(struct safetensors_file *file);
/* The pages that hold part of a tensor may go: they come back from the file. */
void safetensors_file_drop(const struct safetensors_tensor *tensor);

/* Appends the tensors of a mapped file, in the order of their data. */
int safetensors_header_read(const struct safetensors_file *file, struct safetensors_list *list);
void safetensors_list_free(struct safetensors_list *list);

/* 1 if a text can stand in a message and name a tensor: no control characters. */
int safetensors_plain(const char *text);

/* ---- texts beside the weights (text.c) ------------------------------------------- */

/* FOLDER/NAME, for free; NULL with QTK_ENOMEM set. */
char *safetensors_path(const char *folder, const char *name);
/* A whole text file of at most `max` bytes, for free. An absent file is QTK_OK
 * and NULL. */
int safetensors_text_read(const char *folder, const char *name, size_t max, char **text);
/* The same with any bytes, n of them. */
int safetensors_bytes_read(const char *folder, const char *name, size_t max, char **bytes,
                           size_t *n);
/* The chat template; the licence that the model card's head names. */
int safetensors_text_template(const char *folder, char **text);
/* generation_config.json, or what config.json says in its place. */
int safetensors_text_generation(const char *folder, char **text);
int safetensors_text_licence(const char *folder, char **text);

/* ---- the tokenizer (tokenizer.c, tokenizer-added.c, tokenizer-words.c) -------------- */

/* As JSON text, for free, from the first of tokenizer.json, tokenizer.model, and
 * vocab.json with merges.txt that is there; NULL if none is. */
int safetensors_tokenizer_read(const char *folder, char **json);

/* What lies beside a vocabulary: objects, empty where a file is absent. */
struct safetensors_beside {
  json_t *config;  /* tokenizer_config.json */
  json_t *special; /* special_tokens_map.json */
  json_t *added;   /* added_tokens.json */
};

/* FOLDER/NAME as an object, to be released; *object = NULL if it is absent. */
int safetensors_json_read(const char *folder, const char *name, size_t max, json_t **object);

/* The text of a token that is written as a text or as {"content": ...}, under a key such
 * as "bos_token"; NULL if there is none. */
const char *safetensors_token_text(const struct safetensors_beside *beside, const char *key);
/* 1, 0, or `absent` */
int safetensors_token_flag(const struct safetensors_beside *beside, const char *key, int absent);
/* The "added_tokens" of a tokenizer, a new reference or NULL: those the files list with
 * ids, and special ones that `vocab` (or NULL) has. */
json_t *safetensors_added_tokens(const struct safetensors_beside *beside, const json_t *vocab);

/* A byte-level BPE tokenizer of vocab.json and merges.txt; NULL if they are not there. */
int safetensors_words_read(const char *folder, const struct safetensors_beside *beside,
                           json_t **tokenizer);

/* ---- writing a tokenizer (tokenizer-write.c, pieces.c) ------------------------------- */

/* A token and its text, or NULL: none has that role. */
struct safetensors_role {
  int64_t id;
  const char *text;
};

struct safetensors_roles {
  struct safetensors_role bos, eos, pad;
  int add_bos, add_eos; /* around every text */
};

/* The "model" of a tokenizer of SentencePiece pieces as the bytes of a tokenizer.model, for
 * free. */
int safetensors_pieces_make(const json_t *model, const struct safetensors_roles *roles,
                            char **bytes, size_t *n);

struct safetensors_beside_file {
  const char *name;
  char *bytes;
  size_t n;
};

/* What is written beside config.json and the weights: the tokenizer, the chat template and
 * generation_config.json, where the model has them. */
struct safetensors_written {
  struct safetensors_beside_file items[4];
  int n;
};

/* QTK_EJOB if a tokenizer cannot be said in such files. */
int safetensors_written_make(const struct qtk_export *model, struct safetensors_written *files);
void safetensors_written_free(struct safetensors_written *files);

/* ---- a model (model.c) ------------------------------------------------------------ */

/* Texts are read when first asked for. */
enum safetensors_text {
  SAFETENSORS_TOKENIZER,
  SAFETENSORS_GENERATION,
  SAFETENSORS_TEMPLATE,
  SAFETENSORS_LICENCE,
  SAFETENSORS_TEXTS
};

struct safetensors_model {
  char *folder; /* where the weights lie */
  struct safetensors_file *files;
  int n_files;
  struct safetensors_list tensors;
  char *config;         /* NULL: there is none */
  pthread_mutex_t lock; /* of what follows */
  char *texts[SAFETENSORS_TEXTS];
  int known[SAFETENSORS_TEXTS];
};

/* `path` is a folder, or a weight file in one. In a folder the weights are NAME.safetensors,
 * or what NAME.safetensors.index.json names; `name` is "model" but for formats that have
 * files of other names. */
int safetensors_model_open(const char *path, const char *name, struct safetensors_model **model);
void safetensors_model_close(struct safetensors_model *model);
const char *safetensors_model_text(struct safetensors_model *model, enum safetensors_text which);

/* ---- slots that read a model (read.c): h is a struct safetensors_model ---------------- */

int safetensors_tensor(void *h, int i, struct qtk_tensor_info *info);
int safetensors_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride);
int safetensors_map(void *h, int i, const void **data, uint64_t *bytes);
void safetensors_drop(void *h, int i);
const char *safetensors_config(void *h);
const char *safetensors_tokenizer(void *h);
const char *safetensors_text(void *h, const char *name);

/* ---- a folder to be written (layout.c, folder.c, values.c) --------------------------- */

/* A tensor of the files. */
struct safetensors_entry {
  const char *name;
  const struct safetensors_type *type;
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
};

/* A tensor of a model as floats of a type. */
void safetensors_entry_dense(struct safetensors_entry *entry, const struct qtk_export_tensor *t,
                             enum qtk_dtype dtype);

uint64_t safetensors_entry_bytes(const struct safetensors_entry *entry);

/* A file to be: tensors [first, first + n) behind `header`. */
struct safetensors_shard {
  char name[64];
  int first, n;
  char *header; /* length, JSON, blanks up to a multiple of 64 */
  uint64_t header_bytes, bytes;
};

/* Where each tensor of an export will lie. */
struct safetensors_layout {
  const struct safetensors_entry *entries; /* [n], borrowed */
  int n;
  struct safetensors_shard *shards;
  int n_shards;
  uint64_t bytes; /* of all tensors */
};

/* Files of at most `limit` bytes, unless a tensor is larger; 0: one file. */
int safetensors_layout_make(struct safetensors_layout *layout,
                            const struct safetensors_entry *entries, int n, uint64_t limit);
void safetensors_layout_free(struct safetensors_layout *layout);
/* JSON texts, for free; NULL with an error set. The configuration with its floats' type and,
 * if `key` is not NULL, the JSON text `value` under that key. */
char *safetensors_layout_index(const struct safetensors_layout *layout);
char *safetensors_layout_config(const char *config, enum qtk_dtype dtype, const char *key,
                                const char *value);

#define SAFETENSORS_FOLDER_TEXTS 8 /* files besides shards, at most */

struct safetensors_folder {
  struct safetensors_layout layout;
  char *path;
  int folder; /* descriptor of it, or -1 */
  int made;   /* by us */
  int fd;     /* of the file being written, or -1 */
  int shard;  /* the one being written, or the next */
  uint64_t left; /* of its data */
  char (*files)[256]; /* those whole under their temporary names */
  int n_files, n_renamed;
  uint64_t bytes;
};

/* Begins; after an error too it is ended by safetensors_folder_end, which removes what was
 * written unless it was finished. */
int safetensors_folder_begin(struct safetensors_folder *f, const char *path,
                             const struct safetensors_entry *entries, int n, uint64_t limit);
/* A whole text file, between shards; the tokenizer and what else belongs to a model. */
int safetensors_folder_text(struct safetensors_folder *f, const char *name, const char *text);
/* Adds the bytes of the shards, their index and the texts that folder_texts writes. */
int safetensors_folder_measure(const struct safetensors_entry *entries, int n, uint64_t limit,
                               const struct qtk_export *model, uint64_t *bytes);
int safetensors_folder_texts(struct safetensors_folder *f, const struct qtk_export *model);
/* The next bytes of the tensors; none may go beyond the last tensor of a shard. */
int safetensors_folder_data(struct safetensors_folder *f, const void *data, size_t n);
/* The file where a tensor that was written before lies, opened, and its place in it. */
int safetensors_folder_reopen(const struct safetensors_folder *f, int entry, int *fd,
                              uint64_t *offset);
/* Puts all files in place. */
int safetensors_folder_finish(struct safetensors_folder *f, struct qtk_export_result *result);
void safetensors_folder_end(struct safetensors_folder *f);

#define SAFETENSORS_PIECE 16384 /* values converted at a time */

struct safetensors_values {
  uint64_t rounded; /* values so far that are not read back as they were */
  float again[SAFETENSORS_PIECE];
  unsigned char buffer[SAFETENSORS_PIECE * sizeof(float)];
};

/* n values of tensor `name` as f32, f16 or bf16. */
int safetensors_values_put(struct safetensors_values *v, struct safetensors_folder *f,
                           enum qtk_dtype dtype, const char *name, const float *rows, size_t n);

/* ---- slots that write floats (write.c) ------------------------------------------------ */

struct safetensors_options {
  const char *dtype;
  int64_t shard;
};

extern const struct qtk_option safetensors_options[];

enum qtk_export_how safetensors_accepts(const void *options, const struct qtk_export_tensor *t);
int safetensors_measure(const void *options, const struct qtk_export *model, uint64_t *bytes);
int safetensors_create(struct qtk_context *ctx, const void *options, const char *path,
                       const struct qtk_export *model, void **w);
int safetensors_write(void *w, int i, int64_t row, int64_t n, const float *rows,
                      const struct qtk_qtensor *quantized);
int safetensors_finish(void *w, struct qtk_export_result *result);
void safetensors_abort(void *w);

#endif
