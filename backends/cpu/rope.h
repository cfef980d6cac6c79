/* SPDX-License-Identifier: BSD-3-Clause
 * The table of angles that slot rope keeps between calls. */
#ifndef CPU_ROPE_H
#define CPU_ROPE_H

#include "cpu.h"

void cpu_rope_table_free(struct cpu *cpu);

#endif
