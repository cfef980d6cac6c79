/* SPDX-License-Identifier: BSD-3-Clause
 * Scratch memory, and how work is cut into tasks: by shapes alone. */
#include <stdlib.h>

#include "cpu.h"

static int work_grow(struct cpu *cpu, struct cpu_scratch *s, size_t bytes)
{
  if (bytes <= s->bytes)
    return QTK_OK;
  qtk_free(cpu->ctx, s->memory);
  s->bytes = 0;
  s->memory = qtk_alloc(cpu->ctx, bytes, "scratch");
  if (s->memory == NULL)
    return QTK_ENOMEM;
  s->bytes = bytes;
  return QTK_OK;
}

int cpu_reserve(struct cpu *cpu, size_t shared, size_t own)
{
  int rc = work_grow(cpu, &cpu->shared, shared);

  for (int i = 0; rc == QTK_OK && i < cpu->threads; i++)
    rc = work_grow(cpu, &cpu->own[i], own);
  return rc;
}

int cpu_reserve_slab(struct cpu *cpu, size_t bytes)
{
  return work_grow(cpu, &cpu->slab, bytes);
}

void cpu_room_for(struct cpu_room *room, size_t shared, size_t own)
{
  room->shared = shared > room->shared ? shared : room->shared;
  room->own = own > room->own ? own : room->own;
}

void *cpu_own(struct cpu *cpu)
{
  return cpu->own[qtk_pool_index()].memory;
}

void cpu_scratch_free(struct cpu *cpu)
{
  for (int i = 0; cpu->own != NULL && i < cpu->threads; i++)
    qtk_free(cpu->ctx, cpu->own[i].memory);
  free(cpu->own);
  qtk_free(cpu->ctx, cpu->shared.memory);
  qtk_free(cpu->ctx, cpu->slab.memory);
}

int cpu_parallel(struct cpu *cpu, int64_t n, int (*fn)(void *arg, size_t i), void *arg)
{
  if (n == 1)
    return fn(arg, 0);
  return qtk_parallel(cpu->ctx, (size_t)n, fn, arg);
}

struct work_rows {
  int64_t rows, block;
  void (*fn)(void *arg, int64_t row, int64_t n);
  void *arg;
};

static int work_rows(void *arg, size_t i)
{
  const struct work_rows *w = arg;
  int64_t row = (int64_t)i * w->block;

  w->fn(w->arg, row, cpu_min(w->block, w->rows - row));
  return QTK_OK;
}

int cpu_by_rows(struct cpu *cpu, int64_t rows, int64_t cost,
                void (*fn)(void *arg, int64_t row, int64_t n), void *arg)
{
  struct work_rows w = {rows, 1, fn, arg};

  if (cost > 0)
    w.block = cpu_ceil(CPU_PIECE, cost);
  return cpu_parallel(cpu, cpu_ceil(rows, w.block), work_rows, &w);
}

struct work_pieces {
  int64_t cols;
  int64_t per_row; /* pieces a row */
  void (*fn)(void *arg, int64_t row, int64_t col, int64_t n);
  void *arg;
};

static void work_pieces(void *arg, int64_t piece, int64_t n)
{
  const struct work_pieces *w = arg;

  for (int64_t i = piece; i < piece + n; i++) {
    int64_t row = i / w->per_row, col = i % w->per_row * CPU_PIECE;
    w->fn(w->arg, row, col, cpu_min(CPU_PIECE, w->cols - col));
  }
}

int cpu_by_pieces(struct cpu *cpu, int64_t rows, int64_t cols, int flat,
                  void (*fn)(void *arg, int64_t row, int64_t col, int64_t n), void *arg)
{
  struct work_pieces w = {cols, 1, fn, arg};

  if (rows <= 0 || cols <= 0)
    return QTK_OK;
  if (flat) {
    w.cols = rows * cols;
    rows = 1;
  }
  w.per_row = cpu_ceil(w.cols, CPU_PIECE);
  return cpu_by_rows(cpu, rows * w.per_row, cpu_min(w.cols, CPU_PIECE), work_pieces, &w);
}

int cpu_is_flat(const struct qtk_tensor *t)
{
  return t->stride == qtk_tensor_cols(t) || qtk_tensor_rows(t) <= 1;
}
