/* SPDX-License-Identifier: BSD-3-Clause
 * What an object of a data file says: a document, or turns with their answers. Only for a
 * data set's own files. */
#ifndef CORE_DATASET_FORM_H
#define CORE_DATASET_FORM_H

#include "core/chat.h"
#include "core/json.h"
#include "core/vec.h"

enum dataset_form {
  DATASET_MESSAGES,
  DATASET_INSTRUCTION,
  DATASET_COMPLETION,
  DATASET_TEXT,
  DATASET_FORMS
};

/* A turn with its answer. */
struct dataset_turn {
  struct qtk_chat_turn turn;
  const char *answer;
};

/* Texts are the object's. */
struct dataset_row {
  json_t *object;
  const char *text;                /* of a document; else NULL */
  QTK_VEC(struct dataset_turn) turns;
};

/* What rows of a form are called: "documents". */
const char *qtk_dataset_form_name(enum dataset_form form);

/* The form of an object's text: the first one whose keys it has. QTK_EINPUT, with what it has
 * and may have, if there is none. */
int qtk_dataset_form_find(const char *text, size_t n, enum dataset_form *form);
int qtk_dataset_form_read(const char *text, size_t n, enum dataset_form form,
                          struct dataset_row *row);
void qtk_dataset_row_free(struct dataset_row *row);

#endif
