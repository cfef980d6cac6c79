/* SPDX-License-Identifier: BSD-3-Clause
 * The byte alphabet of byte-level tokens: a printable character for each byte. */
#ifndef CORE_TOKENIZER_ALPHABET_H
#define CORE_TOKENIZER_ALPHABET_H

#include "core/str.h"

/* The code point that stands for a byte; the byte of a code point, or -1. */
uint32_t qtk_alphabet_code(unsigned char byte);
int qtk_alphabet_byte(uint32_t code);

/* Bytes into the alphabet. Back: 1, or 0 with *out as it was if the text has
 * characters beside the alphabet; negative: an error. */
int qtk_alphabet_encode(const char *bytes, size_t n, struct qtk_str *out);
int qtk_alphabet_decode(const char *text, size_t n, struct qtk_str *out);

#endif
