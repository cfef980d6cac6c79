/* SPDX-License-Identifier: BSD-3-Clause
 * What a run holds: pool, memory budget, seed, backend. */
#ifndef QTK_CORE_CONTEXT_H
#define QTK_CORE_CONTEXT_H

#include <signal.h>

#include <qtk/base.h>

#include "core/mem.h"
#include "core/thread.h"

struct qtk_device; /* core/device.h */

struct qtk_context {
  struct qtk_arena arena;
  struct qtk_workers *workers;
  uint64_t seed;
  const volatile sig_atomic_t *stop; /* not 0: the user asked to stop; NULL: never */
  struct qtk_device *device;         /* set and ended by who opens the backend */
};

struct qtk_context_options {
  int threads;           /* 0: all cores */
  uint64_t memory_limit; /* bytes; 0: none */
  uint64_t seed;
  const volatile sig_atomic_t *stop;
};

QTK_PUBLIC int qtk_context_open(const struct qtk_context_options *options,
                                struct qtk_context **ctx);
QTK_PUBLIC void qtk_context_close(struct qtk_context *ctx); /* NULL is fine */

#endif
