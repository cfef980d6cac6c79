/* SPDX-License-Identifier: BSD-3-Clause
 * TOML 1.0 texts as a tree of nodes. A node belongs to the one it was put into;
 * only a root is freed. Nodes that were parsed know file, line and column; const
 * nodes are never changed, so trees can be shared between threads. Dates, texts
 * with a zero byte, more than QTK_TOML_DEPTH levels and more than QTK_TOML_BYTES
 * bytes are refused. */
#ifndef QTK_CORE_TOML_H
#define QTK_CORE_TOML_H

#include <qtk/base.h>

#include "core/str.h"

#define QTK_TOML_DEPTH 32
#define QTK_TOML_BYTES (4u << 20)

#ifdef __cplusplus
extern "C" {
#endif

enum qtk_toml_kind {
  QTK_TOML_TABLE,
  QTK_TOML_ARRAY,
  QTK_TOML_TEXT,
  QTK_TOML_INT,
  QTK_TOML_FLOAT,
  QTK_TOML_BOOL
};

struct qtk_toml;

/* ---- reading ------------------------------------------------------------------ */

/* QTK_EJOB with "FILE:LINE:COLUMN: text" if `text` is no TOML. `file` is only for
 * messages and is copied. */
QTK_PUBLIC int qtk_toml_parse(const char *text, size_t n, const char *file, struct qtk_toml **root);
/* The same of a file; QTK_EJOB as well if it cannot be read. */
QTK_PUBLIC int qtk_toml_read(const char *path, struct qtk_toml **root);
QTK_PUBLIC void qtk_toml_free(struct qtk_toml *root); /* NULL is fine */

/* All of these take NULL for "absent": kind must not, length is 0, get, item and
 * find are NULL. */
QTK_PUBLIC enum qtk_toml_kind qtk_toml_kind(const struct qtk_toml *node);
QTK_PUBLIC const char *qtk_toml_kind_name(enum qtk_toml_kind kind); /* "a table", "text", ... */
QTK_PUBLIC size_t qtk_toml_length(const struct qtk_toml *node); /* entries of a table or array */
QTK_PUBLIC const struct qtk_toml *qtk_toml_item(const struct qtk_toml *node,
                                                size_t i); /* file's order */
QTK_PUBLIC const struct qtk_toml *qtk_toml_get(const struct qtk_toml *table, const char *key);
/* "stage.1.bits": keys of tables and indices of arrays. In an array of tables a part
 * that is no number is the `name` of one of them: "stage.tune.steps". */
QTK_PUBLIC const struct qtk_toml *qtk_toml_find(const struct qtk_toml *root, const char *path);
QTK_PUBLIC const char *qtk_toml_key(const struct qtk_toml *node); /* in its table, else NULL */

/* Of the node; of its key. 0 if it was not parsed. */
QTK_PUBLIC int qtk_toml_line(const struct qtk_toml *node);
QTK_PUBLIC int qtk_toml_column(const struct qtk_toml *node);
QTK_PUBLIC int qtk_toml_key_line(const struct qtk_toml *node);
QTK_PUBLIC int qtk_toml_key_column(const struct qtk_toml *node);
/* Where the node comes from: the file, or the origin given to qtk_toml_set_path. */
QTK_PUBLIC const char *qtk_toml_file(const struct qtk_toml *node);

/* Values; the node must be of that kind. A float may also be read from an int. */
QTK_PUBLIC const char *qtk_toml_text(const struct qtk_toml *node);
QTK_PUBLIC int64_t qtk_toml_int(const struct qtk_toml *node);
QTK_PUBLIC double qtk_toml_float(const struct qtk_toml *node);
QTK_PUBLIC int qtk_toml_bool(const struct qtk_toml *node);

/* QTK_EJOB with "FILE:LINE:COLUMN: " of the key (or of the node if it has none)
 * in front of the text. */
QTK_PUBLIC int qtk_toml_error(const struct qtk_toml *node, const char *fmt, ...) QTK_PRINTF(2, 3);

/* The value of a key in *value, which stays as it is when the key is absent;
 * QTK_EJOB, with place and key, if it is of another kind. `need` variants: absent
 * is an error too. */
QTK_PUBLIC int qtk_toml_get_text(const struct qtk_toml *table, const char *key, const char **value);
QTK_PUBLIC int qtk_toml_get_int(const struct qtk_toml *table, const char *key, int64_t *value);
QTK_PUBLIC int qtk_toml_get_float(const struct qtk_toml *table, const char *key, double *value);
QTK_PUBLIC int qtk_toml_get_bool(const struct qtk_toml *table, const char *key, int *value);
QTK_PUBLIC int qtk_toml_get_table(const struct qtk_toml *table, const char *key,
                                  const struct qtk_toml **value);
QTK_PUBLIC int qtk_toml_get_array(const struct qtk_toml *table, const char *key,
                                  const struct qtk_toml **value);
QTK_PUBLIC int qtk_toml_need(const struct qtk_toml *table, const char *key, enum qtk_toml_kind kind,
                             const struct qtk_toml **value);

/* QTK_EJOB with place and nearest name if a key is not among `keys`, which ends
 * in NULL. */
QTK_PUBLIC int qtk_toml_only(const struct qtk_toml *table, const char *const *keys);

QTK_PUBLIC int qtk_toml_equal(const struct qtk_toml *a,
                              const struct qtk_toml *b); /* order of keys aside */

/* Where b first differs from a, in a's order: 1, with the path (as for qtk_toml_find) behind
 * what *path has, and the nodes there, NULL where there is none; or 0. */
struct qtk_toml_difference {
  const struct qtk_toml *a, *b;
};
int qtk_toml_differ(const struct qtk_toml *a, const struct qtk_toml *b, struct qtk_str *path,
                    struct qtk_toml_difference *d);

/* ---- making -------------------------------------------------------------------- */

/* NULL with QTK_ENOMEM set. */
QTK_PUBLIC struct qtk_toml *qtk_toml_new_table(void);
QTK_PUBLIC struct qtk_toml *qtk_toml_new_array(void);
QTK_PUBLIC struct qtk_toml *qtk_toml_new_text(const char *text);
QTK_PUBLIC struct qtk_toml *qtk_toml_new_int(int64_t value);
QTK_PUBLIC struct qtk_toml *qtk_toml_new_float(double value);
QTK_PUBLIC struct qtk_toml *qtk_toml_new_bool(int value);
QTK_PUBLIC struct qtk_toml *qtk_toml_copy(const struct qtk_toml *node); /* deep; places are kept */

/* Own `node` from now on, also when they fail; NULL is passed through as
 * QTK_ENOMEM, so that calls nest. `put` replaces what the key had. */
QTK_PUBLIC int qtk_toml_put(struct qtk_toml *table, const char *key, struct qtk_toml *node);
QTK_PUBLIC int qtk_toml_append(struct qtk_toml *array, struct qtk_toml *node);

QTK_PUBLIC int qtk_toml_set_text(struct qtk_toml *table, const char *key, const char *value);
QTK_PUBLIC int qtk_toml_set_int(struct qtk_toml *table, const char *key, int64_t value);
QTK_PUBLIC int qtk_toml_set_float(struct qtk_toml *table, const char *key, double value);
QTK_PUBLIC int qtk_toml_set_bool(struct qtk_toml *table, const char *key, int value);
/* The new empty table or array under `key`, owned by `table`. */
QTK_PUBLIC struct qtk_toml *qtk_toml_set_table(struct qtk_toml *table, const char *key);
QTK_PUBLIC struct qtk_toml *qtk_toml_set_array(struct qtk_toml *table, const char *key);
QTK_PUBLIC void qtk_toml_remove(struct qtk_toml *table, const char *key);

/* Sets "stage.1.bits" (a path as for qtk_toml_find) to what `value` says as a TOML
 * value, or to `value` as a text if it is none and begins none ("[{\"'"). Missing
 * tables on the way are made; an array grows by one at most. `origin` stands in
 * messages in the place of file and line. */
QTK_PUBLIC int qtk_toml_set_path(struct qtk_toml *root, const char *path, const char *value,
                                 const char *origin);

/* ---- writing ------------------------------------------------------------------- */

/* The table as a TOML document: values first, then tables, each in its order. What
 * was inline stays inline. Reading it gives an equal tree. */
QTK_PUBLIC int qtk_toml_write(const struct qtk_toml *table, struct qtk_str *out);
/* One value as it stands behind "key = "; tables inline. */
QTK_PUBLIC int qtk_toml_write_value(const struct qtk_toml *node, struct qtk_str *out);

#ifdef __cplusplus
}
#endif
#endif
