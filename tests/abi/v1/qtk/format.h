/* SPDX-License-Identifier: BSD-3-Clause
 * Formats: what reads and writes model files.
 *
 * Reading never trusts a length: every size, count and offset of a file is
 * checked against the file's size before use, and a malformed file is
 * QTK_EINPUT with a message that names file, place, value and what is allowed. */
#ifndef QTK_FORMAT_H
#define QTK_FORMAT_H

#include <qtk/plugin.h>
#include <qtk/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor as a file holds it. The last dimension is the one that lies
 * together in memory, so a linear weight is [out, in]. */
struct qtk_tensor_info {
  const char *name;   /* as in the file; lives until the file is closed */
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  const char *type;   /* the file's own type name, "F16", "Q4_1": for people */
  uint64_t bytes;     /* in the file */
  int dense;          /* 1: floats of `dtype`, that `map` can point at */
  enum qtk_dtype dtype;
};

/* A model to write. Strings and arrays are borrowed until finish or abort. */
struct qtk_export {
  const char *family;          /* of the architecture file */
  const char *config;          /* JSON in the names of the format's schema */
  const char *tokenizer;       /* JSON, or NULL */
  int n_tensors;
  const struct qtk_tensor_info *tensors; /* names of the schema, shapes as written */
};

/* What the finished export consists of. */
struct qtk_export_result {
  uint64_t bytes;
  int n_files;
  char (*files)[256]; /* relative to the path; freed by the caller with free () */
};

struct qtk_format_ops {
  size_t size; /* sizeof (struct qtk_format_ops) */

  /* Required. The set of names that files of this format use for tensors and
   * configuration: the [schema.NAME] of the architecture files. */
  const char *schema;

  /* ---- reading -------------------------------------------------------------- */

  /* Required. How surely `path` is of this format, 0 .. 100. `head` holds its
   * first n <= 4096 bytes; for a folder head is NULL. Cheap; opens nothing but
   * small files in a folder. */
  int (*probe)(const char *path, const void *head, size_t n);

  /* Required. Maps a file or folder; reads no weights. `ctx` may be NULL (no
   * accounting). A folder with a configuration and no weights opens, with no
   * tensors. Closed by close. */
  int (*open)(struct qtk_context *ctx, const char *path, void **h);
  void (*close)(void *h);

  /* Required. Tensor i: 1 and *info, or 0 past the last. The order is the file's. */
  int (*tensor)(void *h, int i, struct qtk_tensor_info *info);

  /* Required. Rows [row, row + n) of tensor i, all leading dimensions counted as
   * rows, as floats `stride` apart. Any number of threads may read at once. */
  int (*read)(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride);

  /* Optional. Where the bytes of a dense tensor lie in the map (any alignment),
   * valid until close. Required if any tensor says `dense`. */
  int (*map)(void *h, int i, const void **data, uint64_t *bytes);

  /* Optional. If tensor i is held in a way that a quantized tensor expresses
   * exactly: 1 and *layout (initialised); else 0. */
  int (*quantized)(void *h, int i, struct qtk_qlayout *layout);
  /* With `quantized`. Rows [row, row + n) into `out`, a tensor of n rows of that
   * layout; or, if `map_quantized` is there, all of it where it lies. */
  int (*read_quantized)(void *h, int i, int64_t row, int64_t n, struct qtk_qtensor *out);
  int (*map_quantized)(void *h, int i, struct qtk_qtensor *out);

  /* Optional. The pages of tensor i will not be needed soon. */
  void (*drop)(void *h, int i);

  /* Required. The configuration as JSON text: config.json, or an object of the
   * metadata's keys and values. Lives until close. */
  const char *(*config)(void *h);
  /* Optional. The tokenizer as JSON text in the layout of a tokenizer.json. A
   * pre-tokenizer known only by name is {"type": "Named", "name": NAME}. NULL
   * with no error set if the file has none. */
  const char *(*tokenizer)(void *h);
  /* Optional. A text that belongs to the model: "chat_template", "licence",
   * "generation_config"; NULL if there is none. Lives until close. */
  const char *(*text)(void *h, const char *name);

  /* ---- writing, all optional together ----------------------------------------- */

  /* Whether tensors of this layout can be written exactly; 1 or 0. Dense ones are
   * asked for too. */
  int (*accepts)(const void *options, const struct qtk_qlayout *layout);
  /* Begins to write at `path` under temporary names. */
  int (*create)(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **w);
  /* Tensor i, in order; float rows for dense ones, else as it is held. Called
   * once for all rows of a quantized tensor, in pieces of rows for a dense one. */
  int (*write)(void *w, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized);
  /* Puts the files in place, or removes what was written. Both free w. */
  int (*finish)(void *w, struct qtk_export_result *result);
  void (*abort)(void *w);
};

#ifdef __cplusplus
}
#endif
#endif
