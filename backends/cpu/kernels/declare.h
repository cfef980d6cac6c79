/* SPDX-License-Identifier: BSD-3-Clause
 * Declares the kernels that kernels.map lists, each of the type of its slot in
 * struct cpu_kernels. */
#ifndef CPU_KERNELS_DECLARE_H
#define CPU_KERNELS_DECLARE_H

#include "../kernels.h"

#define CPU_yes(text) text
#define CPU_no(text)
#define CPU_DECLARE(isa, name) \
  extern __typeof__(*((struct cpu_kernels *)0)->name) cpu_##isa##_##name;

#define KERNEL(name, has_avx2, has_avx512) \
  CPU_DECLARE(generic, name)               \
  CPU_##has_avx2(CPU_DECLARE(avx2, name)) CPU_##has_avx512(CPU_DECLARE(avx512, name))
#include "../kernels.map"
#undef KERNEL

/* Scale and zero of groups [g0, g1) of a row: w = scale (q - zero), with a `min` zero
 * w = scale q + zero, of a codebook w = scale table[q]. */
extern void cpu_generic_groups(const struct cpu_weights *w, int64_t row, int64_t g0, int64_t g1,
                               float *scale, float *zero);

#endif
