/* SPDX-License-Identifier: BSD-3-Clause
 * Sums over rows. */
#ifndef CPU_REDUCE_H
#define CPU_REDUCE_H

#include "cpu.h"

#define CPU_SUM_COLUMNS 64 /* a task */

/* v[j] += sum over t of x[t, j] (times z[t, j] unless z is NULL). */
int cpu_sum_columns(struct cpu *cpu, const struct qtk_tensor *x, const struct qtk_tensor *z,
                    float *v);

#endif
