/* SPDX-License-Identifier: BSD-3-Clause
 * The one pool of threads. qtk_parallel of <qtk/base.h> stands on it. */
#ifndef QTK_CORE_THREAD_H
#define QTK_CORE_THREAD_H

#include <qtk/base.h>

struct qtk_workers;

/* Cores that this process may use. */
QTK_PUBLIC int qtk_cores(void);

/* `threads` counts the caller; 0: qtk_cores (). */
QTK_PUBLIC int qtk_workers_open(int threads, struct qtk_workers **workers);
QTK_PUBLIC void qtk_workers_close(struct qtk_workers *workers); /* NULL is fine */
QTK_PUBLIC int qtk_workers_count(const struct qtk_workers *workers);

/* As qtk_parallel. After an index has failed, higher ones may be left out. NULL,
 * or a call from inside fn: one index after the other. */
QTK_PUBLIC int qtk_workers_run(struct qtk_workers *workers, size_t n,
                               int (*fn)(void *arg, size_t i), void *arg);

/* Which of the pool's threads this is: 0 (the caller) .. count - 1. For scratch
 * memory by thread; results must not depend on it. */
QTK_PUBLIC int qtk_worker_index(void);

#endif
