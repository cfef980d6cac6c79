/* SPDX-License-Identifier: BSD-3-Clause
 * The memory budget of a run. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"

#define MEM_ALIGN 64
#define MEM_PAGES_FROM ((size_t)1 << 20)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MEM_SANITIZED 1
#endif
#ifndef MEM_SANITIZED
#define MEM_SANITIZED 0 /* the sanitizer watches malloc's blocks, not mmap's */
#endif

/* In the 64 bytes before each block. */
struct mem_head {
  void *base;   /* what malloc gave, or the mapping */
  size_t total; /* bytes of the mapping, 0 for malloc's */
  size_t bytes; /* as asked for */
  const char *what;
};

_Static_assert(sizeof(struct mem_head) <= MEM_ALIGN, "the head fits before the block");

void qtk_arena_init(struct qtk_arena *arena, uint64_t limit)
{
  *arena = (struct qtk_arena){.limit = limit};
  pthread_mutex_init(&arena->lock, NULL);
}

void qtk_arena_destroy(struct qtk_arena *arena)
{
  pthread_mutex_destroy(&arena->lock);
}

/* The category of that name, new if need be; past the last one, the last. */
static struct qtk_arena_category *mem_category(struct qtk_arena *arena, const char *what)
{
  for (int i = 0; i < arena->n_categories; i++)
    if (arena->categories[i].what == what || strcmp(arena->categories[i].what, what) == 0)
      return &arena->categories[i];
  if (arena->n_categories == QTK_ARENA_CATEGORIES)
    return &arena->categories[QTK_ARENA_CATEGORIES - 1];
  arena->n_categories++;
  arena->categories[arena->n_categories - 1].what =
      arena->n_categories == QTK_ARENA_CATEGORIES ? "other" : what;
  return &arena->categories[arena->n_categories - 1];
}

/* "1.5 GiB" for messages. */
static const char *mem_text(uint64_t bytes, char text[32])
{
  static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = (double)bytes;
  int unit = 0;

  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit++;
  }
  if (unit == 0)
    snprintf(text, 32, "%llu bytes", (unsigned long long)bytes);
  else
    snprintf(text, 32, "%.1f %s", value, units[unit]);
  return text;
}

/* What is used has become the arena's peak. */
static void mem_at_peak(struct qtk_arena *arena)
{
  arena->peak = arena->used;
  for (int i = 0; i < arena->n_categories; i++)
    arena->categories[i].part = arena->categories[i].used;
}

static void mem_add(struct qtk_arena *arena, uint64_t bytes, const char *what)
{
  struct qtk_arena_category *c = mem_category(arena, what);

  arena->used += bytes;
  c->used += bytes;
  if (c->used > c->peak)
    c->peak = c->used;
  if (arena->used > arena->peak)
    mem_at_peak(arena);
  if (bytes > arena->largest)
    arena->largest = bytes;
}

int qtk_arena_charge(struct qtk_arena *arena, uint64_t bytes, const char *what)
{
  char wanted[32], used[32], limit[32];
  uint64_t sum;
  int over;

  pthread_mutex_lock(&arena->lock);
  over =
      __builtin_add_overflow(arena->used, bytes, &sum) || (arena->limit != 0 && sum > arena->limit);
  if (over)
    mem_text(arena->used, used);
  else
    mem_add(arena, bytes, what);
  pthread_mutex_unlock(&arena->lock);
  if (over)
    return qtk_error(QTK_ENOMEM, "over the memory limit: %s for %s, %s in use, limit %s",
                     mem_text(bytes, wanted), what, used, mem_text(arena->limit, limit));
  return QTK_OK;
}

void qtk_arena_release(struct qtk_arena *arena, uint64_t bytes, const char *what)
{
  pthread_mutex_lock(&arena->lock);
  arena->used -= bytes;
  mem_category(arena, what)->used -= bytes;
  pthread_mutex_unlock(&arena->lock);
}

uint64_t qtk_arena_room(struct qtk_arena *arena)
{
  uint64_t room = UINT64_MAX;

  pthread_mutex_lock(&arena->lock);
  if (arena->limit != 0)
    room = arena->limit > arena->used ? arena->limit - arena->used : 0;
  pthread_mutex_unlock(&arena->lock);
  return room;
}

void qtk_arena_reset_peak(struct qtk_arena *arena)
{
  pthread_mutex_lock(&arena->lock);
  mem_at_peak(arena);
  arena->largest = 0;
  for (int i = 0; i < arena->n_categories; i++)
    arena->categories[i].peak = arena->categories[i].used;
  pthread_mutex_unlock(&arena->lock);
}

/* Zeroed memory of `total` bytes, in head->base; the block begins at a multiple of
 * 64 with room for a head before it. */
static char *mem_get(size_t total, struct mem_head *head)
{
  uintptr_t at;

  if (total >= MEM_PAGES_FROM && !MEM_SANITIZED) {
    head->base = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    head->total = total;
    return head->base == MAP_FAILED ? NULL : (char *)head->base + MEM_ALIGN;
  }
  head->base = calloc(1, total);
  head->total = 0;
  at = (uintptr_t)head->base;
  at = (at + MEM_ALIGN + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN;
  return head->base == NULL ? NULL : (char *)head->base + (at - (uintptr_t)head->base);
}

void *qtk_arena_alloc(struct qtk_arena *arena, size_t bytes, const char *what)
{
  struct mem_head head = {.bytes = bytes, .what = what};
  size_t total;
  char *block;

  if (__builtin_add_overflow(bytes, (size_t)2 * MEM_ALIGN, &total) || total > PTRDIFF_MAX) {
    qtk_error_memory(bytes, what);
    return NULL;
  }
  if (arena != NULL && qtk_arena_charge(arena, bytes, what) != QTK_OK)
    return NULL;
  block = mem_get(total, &head);
  if (block == NULL) {
    if (arena != NULL)
      qtk_arena_release(arena, bytes, what);
    qtk_error_memory(bytes, what);
    return NULL;
  }
  memcpy(block - MEM_ALIGN, &head, sizeof head);
  return block;
}

void qtk_arena_free(struct qtk_arena *arena, void *memory)
{
  struct mem_head head;

  if (memory == NULL)
    return;
  memcpy(&head, (char *)memory - MEM_ALIGN, sizeof head);
  if (arena != NULL)
    qtk_arena_release(arena, head.bytes, head.what);
  if (head.total != 0)
    munmap(head.base, head.total);
  else
    free(head.base);
}

/* A line "KEY:   123 kB" of /proc/self/status, in bytes; 0 if it is not there. */
static uint64_t mem_status(const char *key)
{
  char line[256];
  unsigned long long kib = 0;
  size_t n = strlen(key);
  FILE *f = fopen("/proc/self/status", "re");

  if (f == NULL)
    return 0;
  while (fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, key, n) == 0 && line[n] == ':') {
      sscanf(line + n + 1, "%llu", &kib);
      break;
    }
  fclose(f);
  return (uint64_t)kib * 1024;
}

uint64_t qtk_peak_rss(void)
{
  return mem_status("VmHWM");
}

uint64_t qtk_rss(void)
{
  return mem_status("VmRSS");
}

int qtk_peak_rss_reset(void)
{
  int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  int done;

  if (fd < 0)
    return 0;
  done = write(fd, "5", 1) == 1;
  close(fd);
  return done;
}
