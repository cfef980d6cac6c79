/* SPDX-License-Identifier: BSD-3-Clause
 * Formats: what reads and writes model files.
 *
 * Reading never trusts a length: every size, count and offset of a file is
 * checked against the file's size before use, and a malformed file is
 * QTK_EINPUT with a message that names file, place, value and what is allowed. */
#ifndef QTK_FORMAT_H
#define QTK_FORMAT_H

#include <qtk/form.h>
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

/* How a tensor is handed to a writer: what `accepts` answers. */
enum qtk_export_how {
  QTK_EXPORT_REFUSED = 0, /* not at all */
  QTK_EXPORT_HELD = 1,    /* as it is held: quantized in its codes, dense as float rows. What
                             is read back is the same */
  QTK_EXPORT_ROWS = 2,    /* quantized, but as float rows; they are read back the same */
  QTK_EXPORT_ROUNDED = 3  /* as float rows, which the file holds with fewer digits or
                             quantizes again, since the options ask for it */
};

/* A tensor to write. */
struct qtk_export_tensor {
  const char *name; /* of the format's schema */
  int ndim;
  int64_t shape[QTK_MAX_DIMS]; /* of its rows as the schema has them: turned, if it says so */
  const char *role;            /* "q", "norm1", "embedding", ...; of the first, if it is several */
  int linear;                  /* a linear inside a block */
  /* How it is held: dense of a dtype; quantized, [out, in] whatever `shape` says, rows in
   * the order of the file; opaque if it can be had as float rows only. */
  struct qtk_qlayout layout;
  enum qtk_export_how how; /* what `accepts` answered */
};

/* 1 if tensor t is handed over quantized, as t->layout says. */
static inline int qtk_export_is_quantized(const struct qtk_export_tensor *t)
{
  return t->how == QTK_EXPORT_HELD && t->layout.encoding != QTK_DENSE;
}

/* A model to write. Strings and arrays are borrowed until finish or abort. */
struct qtk_export {
  const char *family;          /* of the architecture file */
  const char *config;          /* JSON in the names of the format's schema */
  const char *tokenizer;       /* JSON with no named parts, or NULL */
  int n_tensors;
  const struct qtk_export_tensor *tensors;
  const char *name;            /* of the job */
  /* A text that belongs to the model, named as for qtk_format_ops.text, or NULL; also
   * "pretokenizer": its name in the data files, if it has one. */
  const char *(*text)(const struct qtk_export *model, const char *name);
  const void *owner;           /* for text */
};

/* What the finished export consists of. */
struct qtk_export_result {
  uint64_t bytes;
  int n_files;
  char (*files)[256]; /* relative to the path; freed by the caller with free () */
  uint64_t rounded;   /* values that are not read back as they were handed over */
};

/* An adapter in files of another program. Strings live until it is closed. */
struct qtk_format_adapter {
  const char *method;  /* name of the adapter plugin that computes as it does */
  const char *options; /* of the plugin: a JSON object */
  /* What else the files say and the format wants to write again, as a text that the format alone
   * reads; or NULL. It is kept with the adapter, in bundles too. */
  const char *note;
};

/* A parameter of it, or of one to write. */
struct qtk_format_param {
  const char *tensor; /* of the model, that it belongs to: a name of the format's schema */
  const char *part;   /* its own name there: "down" */
  int turned;         /* the schema says that files hold the tensor [in, out] */
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  enum qtk_dtype dtype; /* f16 or f32, which holds all of its values exactly */
};

/* An adapter to write. Everything is borrowed for the call. */
struct qtk_adapter_export {
  const char *method;          /* of the plugin that made it, for people */
  const struct qtk_form *form; /* what it computes: all that counts */
  const char *note; /* of this format, if it was read with it; or NULL. A bundle's: trust nothing */
  const char *base; /* the model's name, for people */
  int64_t layers;               /* of the model */
  int n_params;
  const struct qtk_format_param *params; /* sorted by the names that the adapter has for them */
  /* Values of parameter i; not while planning. */
  int (*values)(const struct qtk_adapter_export *adapter, int i, float *out);
  const void *owner; /* for values */
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
   * exactly: 1 and *layout (initialised); else 0. Such a tensor is [out, in] even if the
   * schema says that files hold it turned. */
  int (*quantized)(void *h, int i, struct qtk_qlayout *layout);
  /* With `quantized`. Rows [row, row + n) into `out`, a tensor of n rows of that
   * layout, with its g_idx unless that is NULL; or, if `map_quantized` is there, all of
   * it where it lies. Any number of threads may read at once. */
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
   * "generation_config"; NULL if there is none; "tokenizer_files": what `tokenizer`
   * looks for, for messages. Lives until close. */
  const char *(*text)(void *h, const char *name);

  /* ---- writing, all optional together ----------------------------------------- */

  /* How tensor t (its `how` is not set yet) is to be handed over; asked for each while
   * planning, before any work. QTK_EXPORT_REFUSED, with an error that says why and what
   * would be possible, ends the job: a writer never rounds what is quantized unless its
   * options ask for that, or hold nothing but floats of a type anyway. */
  enum qtk_export_how (*accepts)(const void *options, const struct qtk_export_tensor *t);
  /* Begins to write at `path` under temporary names. */
  int (*create)(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **w);
  /* Tensor i, in order. `quantized` has all rows of one that is handed over quantized,
   * in one call; else `rows` are rows [row, row + n) of its shape, in pieces. */
  int (*write)(void *w, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized);
  /* Puts the files in place, or removes what was written. Both free w. */
  int (*finish)(void *w, struct qtk_export_result *result);
  void (*abort)(void *w);

  /* Optional. While planning, with the same model as for create: QTK_EJOB if it cannot be
   * written, and exactly how many bytes the files will have. Reads and writes nothing. */
  int (*measure)(const void *options, const struct qtk_export *model, uint64_t *bytes);

  /* ---- adapters, optional ------------------------------------------------------- */

  /* If what was opened is an adapter and no model (it has no tensors and no configuration then):
   * 1 and *adapter; else 0. */
  int (*adapter)(void *h, struct qtk_format_adapter *adapter);
  /* With `adapter`. Parameter i: 1 and *param, or 0 past the last; its values. */
  int (*param)(void *h, int i, struct qtk_format_param *param);
  int (*read_param)(void *h, int i, float *out);

  /* Both together. While planning: QTK_EJOB if the adapter cannot be written, QTK_EINPUT for a
   * note that is none, and exactly how many bytes its files will have. Then the files, put in place when all are whole. */
  int (*measure_adapter)(const void *options, const struct qtk_adapter_export *adapter,
                         uint64_t *bytes);
  int (*write_adapter)(struct qtk_context *ctx, const void *options, const char *path,
                       const struct qtk_adapter_export *adapter,
                       struct qtk_export_result *result);
};

#ifdef __cplusplus
}
#endif
#endif
