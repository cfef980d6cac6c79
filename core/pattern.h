/* SPDX-License-Identifier: BSD-3-Clause
 * Regular expressions that choose tensors by name. */
#ifndef QTK_CORE_PATTERN_H
#define QTK_CORE_PATTERN_H

#include "core/toml.h"

struct qtk_pattern;

/* `node` is where a job file has it, for messages: QTK_EJOB if it is none. */
int qtk_pattern_new(const struct qtk_toml *node, struct qtk_pattern **pattern);
/* One that comes from elsewhere: QTK_EINPUT. */
int qtk_pattern_of(const char *text, struct qtk_pattern **pattern);
void qtk_pattern_free(struct qtk_pattern *pattern); /* NULL is fine */

/* *found is 1 if it matches somewhere in `text`. */
int qtk_pattern_find(const struct qtk_pattern *pattern, const char *text, int *found);
/* The same of a tensor's canonical name, without its ".weight". NULL finds every tensor. */
int qtk_pattern_find_tensor(const struct qtk_pattern *pattern, const char *name, int *found);

#endif
