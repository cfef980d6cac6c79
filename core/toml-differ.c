/* SPDX-License-Identifier: BSD-3-Clause
 * Where two trees first differ. */
#include "core/toml.h"

/* Whether a node's entries are looked at one by one: tables, and arrays of them. */
static int differ_inside(const struct qtk_toml *node)
{
  const struct qtk_toml *first = qtk_toml_item(node, 0);

  return node != NULL &&
         (qtk_toml_kind(node) == QTK_TOML_TABLE || (first != NULL && differ_inside(first)));
}

static void differ_step(struct qtk_str *path, const char *key, size_t i)
{
  if (path->length > 0)
    qtk_str_add_char(path, '.');
  if (key != NULL)
    qtk_str_add(path, key);
  else
    qtk_str_printf(path, "%zu", i);
}

/* The entry of `other` that stands where item i of `node` does. */
static const struct qtk_toml *differ_same(const struct qtk_toml *node, size_t i,
                                          const struct qtk_toml *other)
{
  const char *key = qtk_toml_key(qtk_toml_item(node, i));

  if (qtk_toml_kind(node) != QTK_TOML_TABLE)
    return qtk_toml_item(other, i);
  return qtk_toml_get(other, key);
}

int qtk_toml_differ(const struct qtk_toml *a, const struct qtk_toml *b, struct qtk_str *path,
                    struct qtk_toml_difference *d)
{
  *d = (struct qtk_toml_difference){a, b};
  if (a != NULL && b != NULL && qtk_toml_equal(a, b))
    return 0;
  if (!differ_inside(a) || !differ_inside(b) || qtk_toml_kind(a) != qtk_toml_kind(b))
    return 1;
  for (size_t i = 0; i < qtk_toml_length(a); i++) {
    const struct qtk_toml *item = qtk_toml_item(a, i), *other = differ_same(a, i, b);
    if (other == NULL || !qtk_toml_equal(item, other)) {
      differ_step(path, qtk_toml_key(item), i);
      return qtk_toml_differ(item, other, path, d);
    }
  }
  for (size_t i = 0; i < qtk_toml_length(b); i++)
    if (differ_same(b, i, a) == NULL) {
      differ_step(path, qtk_toml_key(qtk_toml_item(b, i)), i);
      *d = (struct qtk_toml_difference){NULL, qtk_toml_item(b, i)};
      return 1;
    }
  return 1;
}
