/* SPDX-License-Identifier: BSD-3-Clause
 * A data set while it is read. Only for its own files. */
#ifndef CORE_DATASET_INNER_H
#define CORE_DATASET_INNER_H

#include "core/dataset-encode.h"

struct dataset {
  struct qtk_context *ctx;
  const struct qtk_dataset_recipe *recipe;
  const struct qtk_dataset_reader *reader;
  struct qtk_dataset *out;
  enum dataset_form form;
  struct dataset_encoder encoder;
};

/* What the recipe leaves open, once the form is known. QTK_EJOB if they do not fit. */
int qtk_dataset_choose(struct dataset *d);

/* Puts the next document or example; *full is set once the recipe asks for no more. */
int qtk_dataset_add(struct dataset *d, const struct dataset_tokens *t, int *full);

/* Of a file of objects: all of it. */
int qtk_dataset_read_rows(struct dataset *d);
/* Of a file of labelled texts. */
int qtk_dataset_read_labels(struct dataset *d);

#endif
