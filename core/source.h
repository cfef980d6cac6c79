/* SPDX-License-Identifier: BSD-3-Clause
 * An opened model file behind the format plugin that reads it. */
#ifndef CORE_SOURCE_H
#define CORE_SOURCE_H

#include <qtk/format.h>

#include "core/registry.h"

struct qtk_source {
  char *path;
  const struct qtk_loaded *format;
  const struct qtk_format_ops *ops;
  void *h;
  struct qtk_tensor_info *tensors; /* [n], in the file's order */
  int n;
  int *by_name; /* [n], numbers of tensors sorted by name */
};

/* Asks every format (plugins, and the built-in ones that `built_in` names, ended by
 * NULL) for its bid and opens the file with the best. QTK_EINPUT if none bids or two
 * bid the same. */
int qtk_source_open(struct qtk_context *ctx, const char *path, const char *const *built_in,
                    struct qtk_source **source);
void qtk_source_close(struct qtk_source *s); /* NULL is fine */

/* The number of a tensor of that name, or -1. */
int qtk_source_find(const struct qtk_source *s, const char *name);
/* All dimensions but the last, and the last. */
int64_t qtk_source_rows_of(const struct qtk_source *s, int i);
int64_t qtk_source_cols_of(const struct qtk_source *s, int i);

#endif
