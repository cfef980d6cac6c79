/* SPDX-License-Identifier: BSD-3-Clause
 * The memory budget of a run. qtk_alloc and qtk_free stand on it; mapped and
 * foreign memory is charged by hand. Any thread may call. */
#ifndef QTK_CORE_MEM_H
#define QTK_CORE_MEM_H

#include <pthread.h>

#include <qtk/base.h>

#define QTK_ARENA_CATEGORIES 32

struct qtk_arena_category {
  const char *what; /* lives for ever */
  uint64_t used, peak;
  uint64_t part; /* of the arena's peak */
};

struct qtk_arena {
  pthread_mutex_t lock;
  uint64_t limit; /* 0: none */
  uint64_t used, peak;
  uint64_t largest; /* that was asked for at once */
  struct qtk_arena_category categories[QTK_ARENA_CATEGORIES];
  int n_categories; /* past the last one all count as the last */
};

QTK_PUBLIC void qtk_arena_init(struct qtk_arena *arena, uint64_t limit);
QTK_PUBLIC void qtk_arena_destroy(struct qtk_arena *arena);

/* As qtk_alloc and qtk_free. `arena` NULL: memory that nobody counts. Blocks of
 * a MiB and more are fresh pages that cost nothing until they are touched, and
 * go back to the system when freed. */
QTK_PUBLIC void *qtk_arena_alloc(struct qtk_arena *arena, size_t bytes, const char *what);
QTK_PUBLIC void qtk_arena_free(struct qtk_arena *arena, void *memory);

/* Counts `bytes` that something else holds; QTK_ENOMEM if they do not fit. */
QTK_PUBLIC int qtk_arena_charge(struct qtk_arena *arena, uint64_t bytes, const char *what);
QTK_PUBLIC void qtk_arena_release(struct qtk_arena *arena, uint64_t bytes, const char *what);

/* Bytes that still fit; UINT64_MAX without a limit. */
QTK_PUBLIC uint64_t qtk_arena_room(struct qtk_arena *arena);

/* Makes `peak` and `largest` of the arena, and those of its categories, start again from what is
 * used. */
QTK_PUBLIC void qtk_arena_reset_peak(struct qtk_arena *arena);

/* The process's peak resident bytes as the kernel counts them (VmHWM), its
 * present ones (VmRSS); 0 if the kernel does not say. */
QTK_PUBLIC uint64_t qtk_peak_rss(void);
QTK_PUBLIC uint64_t qtk_rss(void);
/* Lets VmHWM start again from now; 1 if the kernel did. */
QTK_PUBLIC int qtk_peak_rss_reset(void);

#endif
