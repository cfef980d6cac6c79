/* SPDX-License-Identifier: BSD-3-Clause
 * Texts that end a text, in a text that comes in pieces. */
#ifndef CORE_GENERATE_STOP_H
#define CORE_GENERATE_STOP_H

#include "core/str.h"

/* The first place in text [n bytes] where one of the stops stands: 1, 0 if there is none. */
int qtk_stop_find(const char *const *stops, const char *text, size_t n, size_t *at);
/* Bytes at the end of the text that may begin a stop. */
size_t qtk_stop_begun(const char *const *stops, const char *text, size_t n);

#endif
