/* SPDX-License-Identifier: BSD-3-Clause
 * Tiles of attention, forward and backward.
 *
 * A tile of scores has keys as rows and queries as columns (backward to k and v: the
 * other way round), so that maxima and sums run down the columns, and so that a tile
 * of probabilities is a packed panel for the next product. Keys and values are packed
 * once, by all threads; work is cut by span, head and tile of columns. */
#ifndef CPU_ATTENTION_H
#define CPU_ATTENTION_H

#include "cpu.h"

#define ATTENTION_TILE 96        /* rows of a tile of scores */
#define ATTENTION_ROOM (8 << 20) /* floats of packed operands at hand at once */

/* The heads of a span that share keys: a unit of work. */
struct attention_unit {
  struct qtk_span span;
  int64_t kv_head;
  int64_t first_key; /* that any query sees, rounded down to a tile */
  float *packed;     /* in shared memory */
};

/* First and past the last key that query i of a span sees. */
static inline int64_t attention_from(const struct qtk_attention *a, const struct qtk_span *s,
                                     int64_t i)
{
  int64_t from = s->nk - s->nq + i - a->window + 1;

  return a->window == 0 || from < 0 ? 0 : from;
}

static inline int64_t attention_to(const struct qtk_span *s, int64_t i)
{
  return s->nk - s->nq + i + 1;
}

static inline int64_t attention_first_key(const struct qtk_attention *a, const struct qtk_span *s)
{
  return attention_from(a, s, 0) / ATTENTION_TILE * ATTENTION_TILE;
}

/* -INFINITY for what is not seen of a tile (rows, nr) of scores, and for columns from `cols`
 * on. Rows from `row` are keys and columns from `col` queries, or (by_row) the other way
 * round. */
void attention_hide(const struct qtk_attention *a, const struct qtk_span *span, int by_row,
                    int64_t row, int64_t rows, int64_t col, int64_t cols, int64_t nr, float *s);

/* Scores capped, and the slope of the cap at a capped score. */
void attention_cap(const struct qtk_attention *a, float *s, int64_t n);
void attention_cap_slope(const struct qtk_attention *a, const float *capped, float *ds, int64_t n);

#endif
