/* SPDX-License-Identifier: BSD-3-Clause
 * A linear with seeded weights and statistics, for the suite of quantizers. */
#ifndef QTK_CORE_CHECK_TRIAL_H
#define QTK_CORE_CHECK_TRIAL_H

#include "core/check-suite.h"

struct qtk_trial {
  struct qtk_check *c;
  const struct qtk_quantizer_ops *ops;
  const void *options;
  const char *text; /* what is tried, for messages */
  struct qtk_linear linear;
  struct qtk_qlayout layout;
  struct qtk_calibration calibration; /* what the quantizer needs, no more */
  float *w, *gram, *cross;            /* [rows, cols], [cols, cols], [cols, cols] */
};

/* Weights and statistics of a linear [rows, cols]; and the layout, if the quantizer can do
 * it: 1, 0 if it says no (or breaks a promise while it does), or an error. */
int qtk_trial_begin(struct qtk_trial *t, struct qtk_check *c, const void *options, const char *text,
                    int64_t rows, int64_t cols);
void qtk_trial_end(struct qtk_trial *t);

/* A packed result between guards, freed with free; NULL with QTK_ENOMEM set. *status is
 * what `quantize` returned, called for slices of `step` rows one after the other, or at
 * once on the pool of ctx. The weights stay as they are. */
struct qtk_trial_result {
  uint8_t *block;
  size_t bytes; /* with the guards */
  struct qtk_qtensor tensor;
};
int qtk_trial_run(struct qtk_trial *t, struct qtk_context *ctx, int64_t step, int at_once,
                  struct qtk_trial_result *result, int *status);
/* 1 if nothing was written outside the result's parts. */
int qtk_trial_guards_hold(const struct qtk_trial_result *result);

/* Relative squared error of the result against the weights, below 0 if it does not decode
 * or has values that are not finite. */
double qtk_trial_error(const struct qtk_trial *t, struct qtk_trial_result *result);

#endif
