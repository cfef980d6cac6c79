/* SPDX-License-Identifier: BSD-3-Clause
 * An instance of the backend, its scratch memory, how work is cut, and the slots. */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include "kernels.h"

struct cpu_scratch {
  void *memory;
  size_t bytes;
};

struct cpu_rope_table; /* rope.c */

struct cpu {
  struct qtk_context *ctx;
  struct cpu_kernels k;
  int mr, nr; /* of k.tile */
  int threads;
  struct cpu_scratch shared, slab; /* of the call; of rows made floats ahead of it */
  struct cpu_scratch *own;         /* [threads] */
  struct cpu_rope_table *rope;
  char describe[96];
};

/* ---- scratch memory ---------------------------------------------------------- */

/* Makes room, before the work begins, of `shared` bytes for all and `own` bytes for
 * each thread. It grows to what the largest call needs and then stays. */
int cpu_reserve(struct cpu *cpu, size_t shared, size_t own);
int cpu_reserve_slab(struct cpu *cpu, size_t bytes);
void *cpu_own(struct cpu *cpu); /* of the thread that asks */
void cpu_scratch_free(struct cpu *cpu);

/* What a call will reserve; grows to the largest of several. */
struct cpu_room {
  size_t shared, own, slab;
};
void cpu_room_for(struct cpu_room *room, size_t shared, size_t own);

/* ---- cutting work -------------------------------------------------------------- */

#define CPU_PIECE 16384 /* elements that are worth a task */

static inline int64_t cpu_min(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static inline int64_t cpu_ceil(int64_t a, int64_t b)
{
  return (a + b - 1) / b;
}

static inline int64_t cpu_round_up(int64_t a, int64_t b)
{
  return cpu_ceil(a, b) * b;
}

static inline float *cpu_row(const struct qtk_tensor *t, int64_t row)
{
  return (float *)t->data + row * t->stride;
}

int cpu_parallel(struct cpu *cpu, int64_t n, int (*fn)(void *arg, size_t i), void *arg);
/* fn(arg, row, n): n rows from `row` on, of `cost` elements each, as a task. */
int cpu_by_rows(struct cpu *cpu, int64_t rows, int64_t cost,
                void (*fn)(void *arg, int64_t row, int64_t n), void *arg);
/* fn(arg, row, col, n): n elements of a row, of all rows [rows, cols]. `flat`: all
 * operands are contiguous, so they may be taken for one long row. */
int cpu_by_pieces(struct cpu *cpu, int64_t rows, int64_t cols, int flat,
                  void (*fn)(void *arg, int64_t row, int64_t col, int64_t n), void *arg);
int cpu_clear(struct cpu *cpu, struct qtk_tensor *t); /* writes zeros */
int cpu_is_flat(const struct qtk_tensor *t);

/* ---- weights ------------------------------------------------------------------- */

struct cpu_weights cpu_weights(const struct qtk_qtensor *t, const struct qtk_tensor *scales);

/* ---- products -------------------------------------------------------------------- */

#define CPU_PRODUCT_ROWS 512 /* of c that a sink may see at once */

/* c [m, n] = (or +=) alpha a b. a is [m, k], or with a_cols [k, m]. b is dense or
 * weights (not opaque); [k, n], or with b_rows [n, k]. */
struct cpu_product {
  int64_t m, n, k;
  float alpha;
  const float *a;
  int64_t lda;
  int a_cols;
  const struct cpu_weights *w; /* b, or NULL */
  const float *b;
  int64_t ldb;
  int b_rows;
  float *c;
  int64_t ldc;
  int accumulate;
  int lower; /* only the tiles that hold c[i, j] with i >= j */
  /* Takes a tile [rows, n] (ldc floats apart) from (i, j) on in the place of c, once
   * for each block of rows and stretch of k. Calls for the same columns come one
   * after the other. */
  void (*sink)(const struct cpu_product *p, struct cpu *cpu, int64_t i, int64_t rows, int64_t j,
               int64_t n, const float *tile, int64_t ldc, float *work);
  const void *arg;   /* of sink */
  size_t sink_bytes; /* of its `work` */
};
int cpu_product(struct cpu *cpu, const struct cpu_product *p);
void cpu_product_room(struct cpu *cpu, const struct cpu_product *p, struct cpu_room *room);

/* ---- room of other calls --------------------------------------------------------- */

void cpu_dscale_room(struct cpu *cpu, const struct qtk_qlayout *w, int64_t tokens,
                     struct cpu_room *room);
/* `times` such spans each. */
void cpu_attention_room(struct cpu *cpu, const struct qtk_attention *a, int64_t times,
                        struct cpu_room *room);
void cpu_attention_backward_room(struct cpu *cpu, const struct qtk_attention *a,
                                 struct cpu_room *room);
size_t cpu_slab_bytes(const struct qtk_qlayout *w); /* of rows of an opaque matrix */
size_t cpu_rope_bytes(int64_t dims, int64_t rows);

/* ---- slots -------------------------------------------------------------------------- */

#define CPU_SLOT(name) extern __typeof__(*((struct qtk_backend_ops *)0)->name) cpu_##name;
CPU_SLOT(linear)
CPU_SLOT(linear_dx)
CPU_SLOT(linear_dw)
CPU_SLOT(linear_dscale)
CPU_SLOT(matmul)
CPU_SLOT(dequantize)
CPU_SLOT(embedding)
CPU_SLOT(embedding_backward)
CPU_SLOT(norm)
CPU_SLOT(norm_backward)
CPU_SLOT(rope)
CPU_SLOT(attention)
CPU_SLOT(attention_backward)
CPU_SLOT(activation)
CPU_SLOT(activation_backward)
CPU_SLOT(gated)
CPU_SLOT(gated_backward)
CPU_SLOT(cross_entropy)
CPU_SLOT(divergence)
CPU_SLOT(add)
CPU_SLOT(axpy)
CPU_SLOT(scale)
CPU_SLOT(multiply)
CPU_SLOT(multiply_columns)
CPU_SLOT(add_columns)
CPU_SLOT(sum_rows)
CPU_SLOT(dot_columns)
CPU_SLOT(dot)
CPU_SLOT(gather)
CPU_SLOT(copy)
CPU_SLOT(pool)
CPU_SLOT(pool_backward)
CPU_SLOT(dropout)
CPU_SLOT(gram)
CPU_SLOT(cross)
CPU_SLOT(cholesky)
CPU_SLOT(cholesky_inverse)
CPU_SLOT(triangular_inverse)
CPU_SLOT(solve_triangular)
CPU_SLOT(adamw)
CPU_SLOT(scratch)

#endif
