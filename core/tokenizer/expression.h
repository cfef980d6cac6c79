/* SPDX-License-Identifier: BSD-3-Clause
 * Regular expressions of a tokenizer, run by PCRE2. */
#ifndef CORE_TOKENIZER_EXPRESSION_H
#define CORE_TOKENIZER_EXPRESSION_H

#include <stddef.h>

struct qtk_expression;
struct qtk_matcher;

/* `pattern` in the syntax that tokenizer files are written in (Oniguruma's), or
 * with `literal` a text that stands for itself. QTK_EINPUT if it is none. */
int qtk_expression_open(const char *pattern, int literal, struct qtk_expression **e);
void qtk_expression_close(struct qtk_expression *e); /* NULL is fine */

/* What a thread needs to run expressions. */
int qtk_matcher_open(struct qtk_matcher **m);
void qtk_matcher_close(struct qtk_matcher *m); /* NULL is fine */

/* The first match in text [n bytes, valid UTF-8] at or behind `from` that is not
 * empty: 1 and its bounds, or 0; negative: an error. */
int qtk_expression_find(const struct qtk_expression *e, struct qtk_matcher *m, const char *text,
                        size_t n, size_t from, size_t *start, size_t *end);

#endif
