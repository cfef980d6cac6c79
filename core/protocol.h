/* SPDX-License-Identifier: BSD-3-Clause
 * Protocols of perplexity: how a file becomes a text, how long windows are, and which of
 * their tokens are scored. data/protocols.toml of the architecture folders has them, by
 * the names under which others measure; qtk-job(5) describes them.
 *
 * A name means one thing: folders may add names, and none may have one twice. */
#ifndef QTK_CORE_PROTOCOL_H
#define QTK_CORE_PROTOCOL_H

#include "core/text.h"

/* Where a job names none; calibration takes windows as long as its, too. */
#define QTK_PROTOCOL_DEFAULT "paper"

struct qtk_protocol {
  const char *name;
  int64_t context, windows; /* defaults; windows 0: all */
  /* Targets context / 2 + 1 .. context - 1 of a window are scored, all with the same weight, and
   * where the tokenizer puts a token before texts, it takes the place of each window's first.
   * Else all context - 1 targets are, and the mean is one of windows. */
  int half;
  int crops; /* windows are crops at random places of random documents */
  struct qtk_text_recipe recipe;
};

/* *protocol lives as long as the program. QTK_EJOB if no protocol has that name, QTK_EINPUT
 * for data files that cannot be read. */
QTK_PUBLIC int qtk_protocol_find(const char *name, const struct qtk_protocol **protocol);
/* All, ended by NULL. */
QTK_PUBLIC int qtk_protocol_names(const char *const **names);
/* How a file becomes the protocol's text, for so many windows of `context` tokens. */
QTK_PUBLIC struct qtk_text_recipe qtk_protocol_recipe(const struct qtk_protocol *protocol,
                                                      int64_t context, int64_t windows);

#endif
