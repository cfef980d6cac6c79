/* SPDX-License-Identifier: BSD-3-Clause
 * Which kernels run on this processor. */
#ifndef CPU_DISPATCH_H
#define CPU_DISPATCH_H

#include "kernels.h"

enum cpu_isa { CPU_GENERIC = 0, CPU_AVX2 = 1, CPU_AVX512 = 2 };

const char *cpu_isa_name(enum cpu_isa isa);
/* The best row that was built and that this processor has. */
enum cpu_isa cpu_isa_best(void);
/* That, or the lower one that QTK_CPU names. QTK_EUSAGE for one that is not there. */
int cpu_isa_choose(enum cpu_isa *isa);
/* Fills the table for a row: generic first, then what the rows up to it override. */
void cpu_kernels_fill(enum cpu_isa isa, struct cpu_kernels *k);

#endif
