/* SPDX-License-Identifier: BSD-3-Clause
 * Expressions from the syntax of tokenizer files into that of PCRE2. */
#ifndef CORE_TOKENIZER_SYNTAX_H
#define CORE_TOKENIZER_SYNTAX_H

#include "core/str.h"

/* QTK_EINPUT for what cannot be said. */
int qtk_syntax_translate(const char *pattern, struct qtk_str *out);

#endif
