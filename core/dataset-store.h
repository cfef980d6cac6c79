/* SPDX-License-Identifier: BSD-3-Clause
 * The sequences of a data set while they are laid out. Only for its own files. */
#ifndef CORE_DATASET_STORE_H
#define CORE_DATASET_STORE_H

#include "core/dataset.h"
#include "core/vec.h"

/* A document in tokens. */
struct dataset_tokens {
  struct qtk_ids ids;
  QTK_VEC(char) scored; /* of each id: whether it is to be learned; empty: all are */
};

void qtk_dataset_tokens_free(struct dataset_tokens *t);

struct dataset_store {
  struct qtk_context *ctx;
  int64_t length; /* most tokens of a sequence */
  QTK_VEC(int64_t) starts; /* of all sequences, and the end of the last one that is closed */
  int32_t *ids, *targets;
  float *weights;
  QTK_VEC(float) labels; /* of sequences; empty: there are none */
  int64_t n, room; /* tokens, with those of the open sequence */
};

int qtk_dataset_store_new(struct qtk_context *ctx, int64_t length, struct dataset_store **store);
void qtk_dataset_store_free(struct dataset_store *s); /* NULL is fine */

/* Puts tokens [from, from + n) of a document behind the open sequence. */
int qtk_dataset_put(struct dataset_store *s, const struct dataset_tokens *t, int64_t from,
                    int64_t n);
/* Tokens of the open sequence. */
int64_t qtk_dataset_open(const struct dataset_store *s);
/* Closes it; one of which nothing is scored goes. */
int qtk_dataset_close(struct dataset_store *s);

/* Of the recipe's share, drawn by the seed, those that are held out or the others stay. */
int qtk_dataset_part(struct dataset_store *s, const struct qtk_dataset_recipe *r);

/* No more will be put: gives back what is too much, and shows the rest. */
void qtk_dataset_show(struct dataset_store *s, struct qtk_examples *e);

#endif
