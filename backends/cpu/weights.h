/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of weight matrices as floats. */
#ifndef CPU_WEIGHTS_H
#define CPU_WEIGHTS_H

#include "cpu.h"

/* Rows [row, row + n) of any encoding, `stride` floats apart. Uses `own` scratch. */
int cpu_weights_rows(struct cpu *cpu, const struct cpu_weights *w, int64_t row, int64_t n,
                     float *out, int64_t stride);

#endif
