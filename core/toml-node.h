/* SPDX-License-Identifier: BSD-3-Clause
 * The inside of TOML nodes, for the files of this module. */
#ifndef QTK_CORE_TOML_NODE_H
#define QTK_CORE_TOML_NODE_H

#include "core/toml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The name of a file or other origin, shared by the nodes that come from it. */
struct qtk_toml_origin;

struct qtk_toml {
  enum qtk_toml_kind kind;
  int inlined; /* a table that is written as { ... } */
  int line, column, key_line, key_column;
  char *key;
  struct qtk_toml_origin *origin;
  char *text;
  int64_t integer; /* int, bool */
  double number;
  struct qtk_toml **items; /* tables and arrays */
  size_t length, capacity;
};

struct qtk_toml_origin *qtk_toml_origin_new(const char *name);
struct qtk_toml_origin *qtk_toml_origin_share(struct qtk_toml_origin *origin); /* NULL is fine */
void qtk_toml_origin_free(struct qtk_toml_origin *origin);                     /* NULL is fine */
const char *qtk_toml_origin_name(const struct qtk_toml_origin *origin);

/* As qtk_toml_put, for a key that the table is known not to have. */
int qtk_toml_add(struct qtk_toml *table, const char *key, struct qtk_toml *node);

/* Whether `part` of a path (n bytes) is the number of an array's item. */
int qtk_toml_index(const char *part, size_t n, size_t *index);
/* The item that a part of a path names, or NULL. */
struct qtk_toml *qtk_toml_step(const struct qtk_toml *node, const char *part, size_t n);

#ifdef __cplusplus
}
#endif
#endif
