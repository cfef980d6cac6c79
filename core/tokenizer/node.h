/* SPDX-License-Identifier: BSD-3-Clause
 * A place in a tokenizer's JSON that knows its path, for messages. */
#ifndef CORE_TOKENIZER_NODE_H
#define CORE_TOKENIZER_NODE_H

#include <jansson.h>

#include <qtk/base.h>

struct qtk_node {
  json_t *json; /* NULL: absent, or null in the file */
  int depth;
  char path[180];
};

struct qtk_node qtk_node_root(json_t *json);
struct qtk_node qtk_node_get(const struct qtk_node *node, const char *key);
struct qtk_node qtk_node_item(const struct qtk_node *node, size_t i);

/* QTK_EINPUT with "tokenizer: PATH" in front. */
int qtk_node_error(const struct qtk_node *node, const char *fmt, ...) QTK_PRINTF(2, 3);
/* The same in front of the present message. */
int qtk_node_at(const struct qtk_node *node, int code);

/* Values under a key; QTK_EINPUT if they are of another type. A text must be
 * there, the others stay as they are when it is absent. */
int qtk_node_text(const struct qtk_node *node, const char *key, const char **value);
int qtk_node_flag(const struct qtk_node *node, const char *key, int *value);
int qtk_node_id(const struct qtk_node *node, const char *key, int32_t *value);
/* The array under a key and its length; it must be there. */
int qtk_node_array(const struct qtk_node *node, const char *key, struct qtk_node *array, size_t *n);

/* The node's "type"; QTK_EINPUT too if the node is nested too deep. */
int qtk_node_type(const struct qtk_node *node, const char **type);
/* QTK_EINPUT: this type is not understood, `known` are. */
int qtk_node_unknown(const struct qtk_node *node, const char *type, const char *known);

#endif
