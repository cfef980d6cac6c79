/* SPDX-License-Identifier: BSD-3-Clause
 * Body of the product kernel: a tile of GEMM_ROWS rows and GEMM_VECTORS vectors of
 * columns stays in registers while k runs; at the edges a smaller one does, so that
 * nothing is computed in vain. Needs "vec.h" and both numbers. */
#include "../declare.h"

#define GEMM_COLS (GEMM_VECTORS * VL)

void K(tile)(int *mr, int *nr)
{
  *mr = GEMM_ROWS;
  *nr = GEMM_COLS;
}

/* `rows`, `vectors` are constants where it is called. The last vector has `lanes`
 * columns. */
static inline __attribute__((always_inline)) void gemm_tile(int rows, int vectors, int64_t lanes,
                                                            int64_t k, const float *a,
                                                            const float *b, float *c, int64_t ldc,
                                                            int accumulate)
{
  vf sum[GEMM_ROWS][GEMM_VECTORS];

#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
      sum[i][v] = vf_set(0);
  for (int64_t p = 0; p < k; p++, a += GEMM_ROWS, b += GEMM_COLS) {
    vf right[GEMM_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
      right[v] = vf_load(b + v * VL);
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
      vf left = vf_set(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++)
        sum[i][v] = vf_fma(left, right[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
      float *out = c + i * ldc + v * VL;
      int whole = v < vectors - 1 || lanes == VL;
      if (accumulate)
        sum[i][v] = vf_add(sum[i][v], whole ? vf_load(out) : vf_load_n(out, lanes));
      if (whole)
        vf_store(out, sum[i][v]);
      else
        vf_store_n(out, sum[i][v], lanes);
    }
}

#define GEMM_TILE(rows, vectors)                                                                \
  static void gemm_##rows##_##vectors(int64_t lanes, int64_t k, const float *a, const float *b, \
                                      float *c, int64_t ldc, int accumulate)                    \
  {                                                                                             \
    gemm_tile(rows, vectors, lanes, k, a, b, c, ldc, accumulate);                               \
  }
#define GEMM_TILES(rows) GEMM_TILE(rows, 1) GEMM_TILE(rows, 2) GEMM_TILE(rows, 3)
#define GEMM_NAMES(rows)                              \
  {                                                   \
    gemm_##rows##_1, gemm_##rows##_2, gemm_##rows##_3 \
  }

GEMM_TILES(1)
GEMM_TILES(2)
GEMM_TILES(3)
GEMM_TILES(4)
#if GEMM_ROWS == 8
GEMM_TILES(5)
GEMM_TILES(6)
GEMM_TILES(7)
GEMM_TILES(8)
#endif

static void (*const gemm_tiles[GEMM_ROWS][GEMM_VECTORS])(int64_t lanes, int64_t k, const float *a,
                                                         const float *b, float *c, int64_t ldc,
                                                         int accumulate) = {
    GEMM_NAMES(1), GEMM_NAMES(2), GEMM_NAMES(3), GEMM_NAMES(4),
#if GEMM_ROWS == 8
    GEMM_NAMES(5), GEMM_NAMES(6), GEMM_NAMES(7), GEMM_NAMES(8),
#endif
};

void K(gemm)(int64_t k, int64_t m, int64_t n, const float *a, const float *b, float *c, int64_t ldc,
             int accumulate)
{
  int64_t vectors = (n + VL - 1) / VL, lanes = n - (vectors - 1) * VL;

  if (n <= 0)
    return;
  for (int64_t i = 0; i < m; i += GEMM_ROWS, a += k * GEMM_ROWS, c += GEMM_ROWS * ldc) {
    int64_t rows = m - i < GEMM_ROWS ? m - i : GEMM_ROWS;
    gemm_tiles[rows - 1][vectors - 1](lanes, k, a, b, c, ldc, accumulate);
  }
}
