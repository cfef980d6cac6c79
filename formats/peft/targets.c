/* SPDX-License-Identifier: BSD-3-Clause
 * Which linears a configuration asks for. The tensors say where there are pairs; PEFT drops
 * those that its configuration does not ask for, without a word. */
#include "peft.h"

#include <stdlib.h>
#include <string.h>

/* The module, or the end of its name behind a point. */
static int targets_end(const char *module, const char *target)
{
  size_t n = strlen(module), end = target ? strlen(target) : n + 1;
  return end <= n && strcmp(module + n - end, target) == 0 &&
         (end == n || module[n - end - 1] == '.');
}

/* In a list of names, or the one of a text. */
static int targets_listed(const json_t *list, const char *module)
{
  for (size_t i = 0; i < json_array_size(list); i++)
    if (targets_end(module, json_string_value(json_array_get(list, i))))
      return 1;
  return 0;
}

/* ---- blocks ------------------------------------------------------------------------------- */

/* A number between two points, the n bytes before it being `pattern`, unless that is NULL. */
static const char *targets_number(const char *module, const char *pattern)
{
  size_t n = pattern ? strlen(pattern) : 0;
  for (const char *p = strchr(module, '.'); p; p = strchr(p + 1, '.')) {
    size_t digits = strspn(p + 1, "0123456789"), before = (size_t)(p - module);
    int named = pattern ? before >= n && strncmp(p - n, pattern, n) == 0 &&
                              (before == n || p[-(ptrdiff_t)n - 1] == '.')
                        : memchr(module, '.', before) != NULL;
    if (digits > 0 && p[1 + digits] == '.' && named)
      return p + 1;
  }
  return NULL;
}

/* Where the block's number stands; *known = 0 if an expression would have to say it. */
static const char *targets_block(const json_t *root, const char *module, int *known)
{
  const json_t *pattern = json_object_get(root, "layers_pattern");
  const char *number = NULL;
  size_t n = json_is_array(pattern) ? json_array_size(pattern) : json_string_length(pattern) > 0;
  if (n == 0)
    return targets_number(module, NULL);
  for (size_t i = 0; i < n && !number; i++) {
    const char *text = json_string_value(json_is_array(pattern) ? json_array_get(pattern, i)
                                                                : pattern);
    *known &= text && text[strcspn(text, "\\^$.|?*+()[]{}")] == '\0';
    number = text ? targets_number(module, text) : NULL;
  }
  return number;
}

static int targets_block_is(const json_t *root, const char *module)
{
  const json_t *blocks = json_object_get(root, "layers_to_transform");
  int known = 1;
  if (!json_is_integer(blocks) && json_array_size(blocks) == 0)
    return 1;
  const char *number = targets_block(root, module, &known);
  long block = number ? strtol(number, NULL, 10) : -1;
  if (!known)
    return 1;
  for (size_t i = 0; i < json_array_size(blocks); i++)
    if (number && json_integer_value(json_array_get(blocks, i)) == block)
      return 1;
  return number && json_is_integer(blocks) && json_integer_value(blocks) == block;
}

/* ---- the whole -------------------------------------------------------------------------------- */

int peft_targets_have(const json_t *root, const char *module)
{
  const json_t *targets = json_object_get(root, "target_modules");
  if (targets_listed(json_object_get(root, "exclude_modules"), module))
    return 0;
  if (!json_is_array(targets))
    return 1;
  for (size_t i = 0; i < json_array_size(targets); i++) {
    const char *whole = json_string_value(json_array_get(targets, i));
    if (whole && strcmp(whole, module) == 0)
      return 1;
  }
  return targets_listed(targets, module) && targets_block_is(root, module);
}
