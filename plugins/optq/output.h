/* SPDX-License-Identifier: BSD-3-Clause
 * How large a linear's output is over the calibration text. */
#ifndef OPTQ_OUTPUT_H
#define OPTQ_OUTPUT_H

#include <qtk/quantizer.h>

/* *squares = sum of the squares of w x over all tokens, which is tr (w gram wT); w is
 * [rows, cols] in host memory. */
int optq_output(struct qtk_context *ctx, const struct qtk_linear *linear,
                const struct qtk_calibration *c, const float *w, double *squares);

#endif
