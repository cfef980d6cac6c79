/* SPDX-License-Identifier: BSD-3-Clause
 * Texts with places for others: "[INST] {user|trim} [/INST]". */
#ifndef CORE_CHAT_PATTERN_H
#define CORE_CHAT_PATTERN_H

#include "core/str.h"
#include "core/toml.h"

enum chat_place {
  CHAT_SYSTEM,
  CHAT_USER,
  CHAT_INPUT,
  CHAT_ASSISTANT,
  CHAT_BOS,
  CHAT_EOS,
  CHAT_PLACES
};

/* Appends the pattern with texts[] in its places; NULL is nothing. */
int qtk_chat_fill(const char *pattern, const char *const texts[CHAT_PLACES], struct qtk_str *out);
/* QTK_EJOB with the node's place if its text is no pattern. */
int qtk_chat_check_pattern(const struct qtk_toml *node);
/* Whether the pattern has the place. */
int qtk_chat_has(const char *pattern, enum chat_place place);
/* What stands behind the last such place, or all of the pattern. */
const char *qtk_chat_behind(const char *pattern, enum chat_place place);

#endif
