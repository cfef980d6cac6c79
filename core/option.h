/* SPDX-License-Identifier: BSD-3-Clause
 * Option tables (struct qtk_option of <qtk/plugin.h>) against TOML tables. */
#ifndef QTK_CORE_OPTION_H
#define QTK_CORE_OPTION_H

#include <qtk/plugin.h>

#include "core/toml.h"

/* A plugin's options struct, filled; texts in it live as long as this. */
struct qtk_options {
  const struct qtk_option *table; /* NULL: no options */
  size_t size;
  void *values;
  char **texts; /* owned; one a row of the table, most of them NULL */
  size_t count;
};

QTK_PUBLIC size_t qtk_option_count(const struct qtk_option *table);
QTK_PUBLIC const struct qtk_option *qtk_option_find(const struct qtk_option *table,
                                                    const char *name);

/* QTK_EPLUGIN if the table cannot be right: a name that is empty, odd or twice
 * there, a field outside [0, size), misaligned or on another one, a default out
 * of its bounds or choices, no help. */
QTK_PUBLIC int qtk_option_check(const struct qtk_option *table, size_t size);

/* Defaults, then the keys of `stage` (NULL: none). Keys in `core_keys` (ends in
 * NULL; may be NULL) are passed over. QTK_EJOB with place for unknown keys (and
 * the nearest known one), wrong types, values out of bounds or choices. */
QTK_PUBLIC int qtk_options_parse(const struct qtk_option *table, size_t size,
                                 const struct qtk_toml *stage, const char *const *core_keys,
                                 struct qtk_options **options);
QTK_PUBLIC void qtk_options_free(struct qtk_options *options); /* NULL is fine */

/* Every option as an entry of `out`; reading that gives the same struct. A text
 * that is NULL is left out. */
QTK_PUBLIC int qtk_options_write(const struct qtk_options *options, struct qtk_toml *out);

/* "2, 3, 4, 8" of choices, else "1 .. 64", "1 and more", "any number", ... */
QTK_PUBLIC int qtk_option_allowed(const struct qtk_option *option, struct qtk_str *out);

/* 1 if the choices or bounds allow the value. */
int qtk_option_is_choice(const struct qtk_option *option, const char *text);
int qtk_option_is_int(const struct qtk_option *option, int64_t value);
/* Bytes of a field of that type; 0 if there is no such type. */
size_t qtk_option_width(enum qtk_option_type type);

#endif
