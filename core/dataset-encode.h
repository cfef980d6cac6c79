/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of a data file to tokens. Only for a data set's own files. */
#ifndef CORE_DATASET_ENCODE_H
#define CORE_DATASET_ENCODE_H

#include "core/dataset-form.h"
#include "core/dataset-store.h"

struct dataset_encoder {
  const struct qtk_tokenizer *tokenizer;
  int32_t end;
  struct qtk_chat *chat; /* NULL: texts stand as they are */
  int all;               /* prompts are scored too */
};

/* The template that the recipe names, or the model's own. */
int qtk_dataset_encoder_open(const struct qtk_dataset_recipe *recipe,
                             const struct qtk_dataset_reader *reader, enum dataset_form form,
                             enum qtk_train_on train_on, struct dataset_encoder *e);
void qtk_dataset_encoder_close(struct dataset_encoder *e);

/* Any thread may call. */
int qtk_dataset_encode(const struct dataset_encoder *e, const struct dataset_row *row,
                       struct dataset_tokens *t);

#endif
