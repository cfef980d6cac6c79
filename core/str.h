/* SPDX-License-Identifier: BSD-3-Clause
 * Growing text, and the nearest of several names. */
#ifndef QTK_CORE_STR_H
#define QTK_CORE_STR_H

#include <qtk/base.h>

/* Starts as {0}. `data` is NULL or ends in a zero byte that `length` does not
 * count. A failed addition is kept in `failed`, so that many may be made before
 * one check. */
struct qtk_str {
  char *data;
  size_t length, capacity;
  int failed;
};

/* Each returns QTK_OK or QTK_ENOMEM; after a failure they do nothing. */
QTK_PUBLIC int qtk_str_printf(struct qtk_str *s, const char *fmt, ...) QTK_PRINTF(2, 3);
QTK_PUBLIC int qtk_str_add(struct qtk_str *s, const char *text);
QTK_PUBLIC int qtk_str_add_bytes(struct qtk_str *s, const void *bytes, size_t n);
QTK_PUBLIC int qtk_str_add_char(struct qtk_str *s, char c);
/* Room for n more bytes, so that adding them allocates nothing. */
QTK_PUBLIC int qtk_str_reserve(struct qtk_str *s, size_t n);
/* `text` in double quotes, escaped as both JSON and TOML read it. What is not
 * UTF-8 becomes U+FFFD. */
QTK_PUBLIC int qtk_str_add_quoted(struct qtk_str *s, const char *text);

/* The text, to be freed with free; NULL with QTK_ENOMEM set if any addition
 * failed. *s is empty afterwards. */
QTK_PUBLIC char *qtk_str_take(struct qtk_str *s);
QTK_PUBLIC void qtk_str_free(struct qtk_str *s);

/* printf into new memory, freed with free; NULL with QTK_ENOMEM set. */
QTK_PUBLIC char *qtk_str_format(const char *fmt, ...) QTK_PRINTF(1, 2);
/* strdup with an error set. */
QTK_PUBLIC char *qtk_str_copy(const char *text);

/* The shortest decimal text (at most 17 digits) that reads back as `value`:
 * "0.1", "1e-05", "3.0"; "inf", "-inf", "nan". Always has a point, an exponent
 * or letters, so that it stays a real number. */
#define QTK_REAL_SIZE 32
QTK_PUBLIC void qtk_str_real(double value, char text[QTK_REAL_SIZE]);

/* Insertions, deletions, substitutions and swaps of neighbours that turn a into b. */
QTK_PUBLIC size_t qtk_edit_distance(const char *a, const char *b);

/* The name nearest to `word`, or NULL if none is near enough to be meant.
 * `names` ends in NULL. */
QTK_PUBLIC const char *qtk_nearest(const char *word, const char *const *names);

#endif
