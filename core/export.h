/* SPDX-License-Identifier: BSD-3-Clause
 * A model in the names and shapes of a format's files: which of our tensors make up
 * which of its, and how each is handed over. Made while planning, constant then. */
#ifndef QTK_CORE_EXPORT_H
#define QTK_CORE_EXPORT_H

#include "core/arch.h"
#include "core/model.h"

/* Where one of our tensors lies. */
struct qtk_export_part {
  int tensor; /* of the model */
  int to;     /* of the files */
  struct qtk_arch_place place;
};

struct qtk_export_plan {
  struct qtk_model *model;
  const struct qtk_format_ops *ops;
  const void *options;
  struct qtk_export_part *parts; /* [n_parts], those of one tensor of the files together */
  int n_parts;
  int *first; /* [contents.n_tensors + 1] part of each tensor of the files */
  struct qtk_export_tensor *tensors;
  char *config, *name, *pretokenizer;
  struct qtk_tokenizer *tokenizer; /* NULL: none, or one that is not understood */
  struct qtk_export contents;
  uint64_t bytes; /* that the files will have; 0: the format does not say */
  int rounded;    /* tensors */
};

/* `layouts` are those of the model's tensors when the export begins; `name` the job's. QTK_EJOB
 * if the format cannot hold a tensor, or the description does not name it. */
int qtk_export_plan_make(struct qtk_model *model, const struct qtk_qlayout *const *layouts,
                         const char *name, const struct qtk_format_ops *ops, const void *options,
                         struct qtk_export_plan **plan);
void qtk_export_plan_free(struct qtk_export_plan *plan); /* NULL is fine */

/* 1 if tensor `to` is one of ours as it lies. */
int qtk_export_is_straight(const struct qtk_export_plan *plan, int to);
/* The row of the files' tensor that row `row` of a part becomes (the column, if it is turned). */
int64_t qtk_export_row(const struct qtk_export_plan *plan, const struct qtk_export_part *part,
                       int64_t row);
/* Bytes of memory that writing takes beside the model's tensors. */
uint64_t qtk_export_memory(const struct qtk_export_plan *plan);

/* Floats that are made at once of a tensor that is written by rows, if its rows allow. */
#define QTK_EXPORT_TILE (1 << 20)

#endif
