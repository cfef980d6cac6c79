/* SPDX-License-Identifier: BSD-3-Clause
 * Sequences that go through a model together, packed one behind the other. */
#ifndef QTK_CORE_TRAIN_GROUP_H
#define QTK_CORE_TRAIN_GROUP_H

#include <qtk/adapter.h>

#include "core/dataset.h"

struct train_group {
  int64_t room;            /* sequences */
  int64_t *lengths;        /* [room] 0 of those that are not there */
  uint64_t *numbers;       /* [room] in the data */
  int64_t *starts;         /* [room + 1] */
  struct qtk_batch batch;  /* what it holds now */
  int32_t *ids, *targets;  /* copies of several */
  float *weights;
  int32_t *classes;        /* [room] labels */
  float *values;           /* [room] */
  int64_t tokens;          /* room of the copies */
};

int train_group_init(struct train_group *g, int64_t room);
void train_group_free(struct train_group *g); /* {0} is fine */
/* Holds these sequences of the data, n of at most `room`. */
int train_group_take(struct train_group *g, const struct qtk_examples *e, const int64_t *numbers,
                     int64_t n);

#endif
