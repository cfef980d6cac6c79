/* SPDX-License-Identifier: BSD-3-Clause
 * How well a model with a head for labels gives those of texts. */
#ifndef QTK_CORE_EVAL_LABELS_H
#define QTK_CORE_EVAL_LABELS_H

#include "core/dataset.h"
#include "core/eval.h"

struct qtk_labelled {
  int64_t classes;  /* 1: values */
  int64_t examples, truncated;
  double loss;      /* mean cross-entropy, or squared error */
  double accuracy;  /* of classes */
  double f1;        /* of class 1 of two; NAN of more */
  double matthews;
  double pearson;   /* of values; NAN where it is not defined */
  char *data;       /* the file's name, without its folders */
  char sha256[65];
};

/* recipe->classes is not read: they are the head's. Freed with qtk_labels_free, also after an
 * error. */
int qtk_labels_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                       const struct qtk_dataset_recipe *recipe,
                       const struct qtk_dataset_reader *reader, struct qtk_labelled *result);
void qtk_labels_free(struct qtk_labelled *result); /* {0} is fine */

/* Matthews's coefficient of n pairs of classes, for two classes or more (Gorodkin's R_K); 0 where
 * either is always the same. NAN if there is no memory. */
QTK_PUBLIC double qtk_matthews(const int32_t *truth, const int32_t *guess, int64_t n,
                               int64_t classes);
/* F1 of class 1: the harmonic mean of the shares of it that are found, and of what is found that is
 * it; 0 where none of either is 1. */
QTK_PUBLIC double qtk_f1(const int32_t *truth, const int32_t *guess, int64_t n);
/* Pearson's coefficient; NAN where either is always the same. */
QTK_PUBLIC double qtk_pearson(const float *truth, const float *guess, int64_t n);

#endif
