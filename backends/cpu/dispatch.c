/* SPDX-License-Identifier: BSD-3-Clause
 * Chooses the kernels by the processor's features. Compiled for any processor. */
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "kernels/declare.h"

static const char *const dispatch_names[] = {"generic", "avx2", "avx512"};

const char *cpu_isa_name(enum cpu_isa isa)
{
  return dispatch_names[isa];
}

static int dispatch_has(enum cpu_isa isa)
{
#if CPU_BUILD_AVX2
  if (isa == CPU_AVX2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
#endif
#if CPU_BUILD_AVX512
  if (isa == CPU_AVX512)
    return dispatch_has(CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#endif
  return isa == CPU_GENERIC;
}

enum cpu_isa cpu_isa_best(void)
{
  return dispatch_has(CPU_AVX512) ? CPU_AVX512 : dispatch_has(CPU_AVX2) ? CPU_AVX2 : CPU_GENERIC;
}

int cpu_isa_choose(enum cpu_isa *isa)
{
  const char *wanted = getenv("QTK_CPU");
  enum cpu_isa best = cpu_isa_best();

  *isa = best;
  if (wanted == NULL || *wanted == '\0')
    return QTK_OK;
  for (int i = CPU_GENERIC; i <= (int)best; i++)
    if (strcmp(wanted, dispatch_names[i]) == 0) {
      *isa = (enum cpu_isa)i;
      return QTK_OK;
    }
  return qtk_error(QTK_EUSAGE, "QTK_CPU = %s: this processor and this build have generic%s%s",
                   wanted, best >= CPU_AVX2 ? ", avx2" : "", best >= CPU_AVX512 ? ", avx512" : "");
}

void cpu_kernels_fill(enum cpu_isa isa, struct cpu_kernels *k)
{
  k->name = dispatch_names[isa];
#define KERNEL(name, has_avx2, has_avx512) k->name = cpu_generic_##name;
#include "kernels.map"
#undef KERNEL
#if CPU_BUILD_AVX2
#define KERNEL(name, has_avx2, has_avx512) CPU_##has_avx2(k->name = cpu_avx2_##name;)
  if (isa >= CPU_AVX2) {
#include "kernels.map"
  }
#undef KERNEL
#endif
#if CPU_BUILD_AVX512
#define KERNEL(name, has_avx2, has_avx512) CPU_##has_avx512(k->name = cpu_avx512_##name;)
  if (isa >= CPU_AVX512) {
#include "kernels.map"
  }
#undef KERNEL
#endif
}
