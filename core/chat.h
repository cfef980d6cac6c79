/* SPDX-License-Identifier: BSD-3-Clause
 * How a conversation is written down as text: templates are data
 * (data/chat_templates.toml of the architecture folders, which says what is in it). */
#ifndef QTK_CORE_CHAT_H
#define QTK_CORE_CHAT_H

#include <qtk/base.h>

#include "core/str.h"

struct qtk_chat;

struct qtk_chat_source {
  const char *name; /* of a template; NULL: the one that `own` is recognised as */
  const char *own;  /* the model's own template, Jinja text, or NULL */
  const char *file; /* the model's, for messages */
  const char *bos, *eos; /* texts of the tokens around a text; NULL: there are none */
};

/* QTK_EUSAGE, with the names that there are, if there is no template of that name, or if
 * the model's own is missing or is none that is known. Nothing of `source` is kept. */
QTK_PUBLIC int qtk_chat_open(const struct qtk_chat_source *source, struct qtk_chat **chat);
QTK_PUBLIC void qtk_chat_close(struct qtk_chat *chat); /* NULL is fine */
QTK_PUBLIC const char *qtk_chat_name(const struct qtk_chat *chat);

/* What an answer is asked for with; texts that are NULL are not there. */
struct qtk_chat_turn {
  int first;          /* of the conversation */
  const char *system; /* of the first turn; NULL: the model's default, if it has one */
  const char *user;
  const char *input;  /* what an instruction is about */
};

/* Appends the text of a turn up to where the answer begins. QTK_EUSAGE if there is a system
 * text and the template has no place for it. */
QTK_PUBLIC int qtk_chat_prompt(const struct qtk_chat *chat, const struct qtk_chat_turn *turn,
                               struct qtk_str *out);
/* Appends an answer as it stands behind that, with what ends it. */
QTK_PUBLIC int qtk_chat_answer(const struct qtk_chat *chat, const char *answer,
                               struct qtk_str *out);
/* What ends an answer; what stands between an answer that has ended and the next turn. */
QTK_PUBLIC const char *qtk_chat_end(const struct qtk_chat *chat);
QTK_PUBLIC const char *qtk_chat_after(const struct qtk_chat *chat);
/* Texts at which an answer is over (tokens of their own where the tokenizer has them so);
 * the list ends in NULL. */
QTK_PUBLIC const char *const *qtk_chat_stops(const struct qtk_chat *chat);

#endif
