/* SPDX-License-Identifier: BSD-3-Clause
 * Growing text, and the nearest of several names. */
#ifndef CORE_STR_H
#define CORE_STR_H

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
int qtk_str_printf(struct qtk_str *s, const char *fmt, ...) QTK_PRINTF(2, 3);
int qtk_str_add(struct qtk_str *s, const char *text);
int qtk_str_add_bytes(struct qtk_str *s, const void *bytes, size_t n);
int qtk_str_add_char(struct qtk_str *s, char c);

/* The text, to be freed with free; NULL with QTK_ENOMEM set if any addition
 * failed. *s is empty afterwards. */
char *qtk_str_take(struct qtk_str *s);
void qtk_str_free(struct qtk_str *s);

/* printf into new memory, freed with free; NULL with QTK_ENOMEM set. */
char *qtk_str_format(const char *fmt, ...) QTK_PRINTF(1, 2);
/* strdup with an error set. */
char *qtk_str_copy(const char *text);

/* The shortest decimal text (at most 17 digits) that reads back as `value`:
 * "0.1", "1e-05", "3.0"; "inf", "-inf", "nan". Always has a point, an exponent
 * or letters, so that it stays a real number. */
#define QTK_REAL_SIZE 32
void qtk_str_real(double value, char text[QTK_REAL_SIZE]);

/* Insertions, deletions, substitutions and swaps of neighbours that turn a into b. */
size_t qtk_edit_distance(const char *a, const char *b);

/* The name nearest to `word`, or NULL if none is near enough to be meant.
 * `names` ends in NULL. */
const char *qtk_nearest(const char *word, const char *const *names);

#endif
