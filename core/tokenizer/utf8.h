/* SPDX-License-Identifier: BSD-3-Clause
 * UTF-8: which bytes are a character, and what kind of character it is. */
#ifndef CORE_TOKENIZER_UTF8_H
#define CORE_TOKENIZER_UTF8_H

#include <qtk/base.h>

/* Bytes of the character at text [n bytes], 1 .. 4, or 0 if there is no valid one
 * (overlong forms, surrogates and values above 0x10FFFF are not valid). */
size_t qtk_utf8_char(const char *text, size_t n);
/* Bytes of the longest valid start of text. */
QTK_PUBLIC size_t qtk_utf8_valid(const char *text, size_t n);
/* Bytes from the start of text up to the next valid character or the end. */
size_t qtk_utf8_invalid(const char *text, size_t n);
/* Bytes of the valid character that ends at text + n, or 0. */
size_t qtk_utf8_last(const char *text, size_t n);
/* Bytes at the end of text that more bytes could still make a character, 0 .. 3. */
size_t qtk_utf8_unfinished(const char *text, size_t n);

/* The code point of a valid character of `size` bytes. */
uint32_t qtk_utf8_code(const char *text, size_t size);
/* Writes a code point; returns its bytes. */
size_t qtk_utf8_put(uint32_t code, char out[4]);

int qtk_utf8_is_space(uint32_t code); /* Unicode's White_Space */
int qtk_utf8_is_word(uint32_t code);  /* letters, marks, digits, connectors */

#endif
