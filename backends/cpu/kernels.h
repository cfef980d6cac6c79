/* SPDX-License-Identifier: BSD-3-Clause
 * The contract of each kernel: the inner loops that exist in plain C and, where
 * it pays, once more by instruction set. Kernels know neither threads nor
 * tensors; sizes are checked by who calls. n may be 0 where nothing else is said,
 * and no pointer needs to be aligned. */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <qtk/backend.h>

/* A weight matrix with the scales in use. */
struct cpu_weights {
  const struct qtk_qtensor *t;
  const void *scales; /* [rows, groups]; NULL: none (dense, opaque) */
  enum qtk_dtype scale_dtype;
  int64_t scale_stride; /* elements from row to row */
  int own;              /* the scales are the tensor's own */
  int unit;             /* as if every scale were 1: what gradients of scales need */
};

/* At most so many tokens go through `dot_rows` at once. */
#define CPU_DOT_TOKENS 8

/* Floats of scratch memory that dequantize and dot_rows need: scales and zeros of so
 * many rows, and a row of floats. */
#define CPU_WORK_ROWS 4
static inline int64_t cpu_row_work(const struct qtk_qlayout *l)
{
  return CPU_WORK_ROWS * 2 * (l->groups + 16) + l->cols + 64;
}

/* And those of panels: besides, a few rows of k (or n, the larger) floats. */
static inline int64_t cpu_panel_work(const struct qtk_qlayout *l, int64_t k)
{
  return cpu_row_work(l) + 16 * (k + 32);
}

struct cpu_kernels {
  const char *name;

  /* ---- products ------------------------------------------------------------- */

  /* Rows and columns of a tile: c [mr, nr] is what stays in registers. */
  void (*tile)(int *mr, int *nr);

  /* c (m, n) (=, or += with `accumulate`) sum over p < k of a[i, p] b[p, j]. a is
   * m / mr panels one after the other, each (k, mr) with zeros past m; b is one
   * panel (k, nr), n <= nr. The sum of a c is one chain, added to c at its end,
   * whatever m and n. */
  void (*gemm)(int64_t k, int64_t m, int64_t n, const float *a, const float *b, float *c,
               int64_t ldc, int accumulate);

  /* Panels: out[p * stride + i] = alpha x[i * ld + p] (rows side by side) or alpha
   * x[p * ld + i] (columns) for p < k, i < n; 0 for n <= i < width. */
  void (*pack_rows)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha,
                    const float *x, int64_t ld, float *out);
  void (*pack_cols)(int64_t k, int64_t n, int64_t width, int64_t stride, float alpha,
                    const float *x, int64_t ld, float *out);

  /* out[j] = w[row, col + j], j < n; col is a multiple of 32. Any encoding but
   * opaque. work: cpu_row_work floats. */
  void (*dequantize)(const struct cpu_weights *w, int64_t row, int64_t col, int64_t n, float *work,
                     float *out);

  /* Panels of weights, each (k, nr) with zeros behind the last column, of any encoding but
   * opaque: rows [row, row + k) and columns [col, col + n) as they lie; and rows [row,
   * row + n) and columns [col, col + k) with the rows as columns of the panels. col is a
   * multiple of 32. work: cpu_panel_work floats. */
  void (*panel_cols)(const struct cpu_weights *w, int64_t row, int64_t k, int64_t col, int64_t n,
                     int64_t nr, float *work, float *out);
  void (*panel_rows)(const struct cpu_weights *w, int64_t row, int64_t n, int64_t col, int64_t k,
                     int64_t nr, float *work, float *out);

  /* y[t * ldy + r] = sum over j of w[row + r, j] x[t * ldx + j], r < rows, t < tokens
   * <= CPU_DOT_TOKENS; codes are read once. Any encoding but opaque. */
  void (*dot_rows)(const struct cpu_weights *w, int64_t row, int64_t rows, int64_t tokens,
                   const float *x, int64_t ldx, float *work, float *y, int64_t ldy);

  /* ---- rows of floats -------------------------------------------------------- */

  /* To and from the 16-bit types (QTK_F16, QTK_BF16), rounding to nearest even. */
  void (*from_half)(enum qtk_dtype dtype, int64_t n, const uint16_t *x, float *y);
  void (*to_half)(enum qtk_dtype dtype, int64_t n, const float *x, uint16_t *y);

  void (*add)(int64_t n, const float *a, const float *b, float *y);      /* y = a + b */
  void (*multiply)(int64_t n, const float *a, const float *b, float *y); /* y = a b */
  void (*scale)(int64_t n, float alpha, const float *x, float *y);       /* y = alpha x */
  void (*axpy)(int64_t n, float alpha, const float *x, float *y);        /* y += alpha x */
  double (*dot)(int64_t n, const float *x, const float *y);
  /* y[j] += sum over i < rows of x[i * ld + j] (times z[i * ldz + j] unless z is NULL),
   * j < n, summed in double by the order of i. */
  void (*sum_rows)(int64_t rows, int64_t n, const float *x, int64_t ld, const float *z, int64_t ldz,
                   float *y);

  /* ---- attention ------------------------------------------------------------- */

  /* y[r] = alpha sum over j < n of x[j] rows[r, j]; and y[j] += sum over r of p[r]
   * rows[r, j]. rows are f32 or f16, `ld` elements apart. */
  void (*row_dots)(int64_t rows, int64_t n, float alpha, const float *x, const void *k,
                   enum qtk_dtype dtype, int64_t ld, float *y);
  void (*row_sums)(int64_t rows, int64_t n, const float *p, const void *v, enum qtk_dtype dtype,
                   int64_t ld, float *y);

  /* A step of the online softmax over scores s (rows, width): a column is a query,
   * a row a key; -INFINITY is masked. With m = max (max[j], column j): s becomes
   * exp (s - m), factor[j] exp (max[j] - m), sum[j] = sum[j] factor[j] + sum of the
   * new column, max[j] = m. Columns all masked so far keep max -INFINITY, s becomes 0
   * and the factor 1. Returns 1 if a factor is not 1. */
  int (*softmax_step)(int64_t rows, int64_t width, float *s, float *max, float *sum, float *factor);
  /* For the gradient: p = exp (s - lse), s = p (dp - delta) in place, and p is written
   * to `p` unless NULL. lse and delta are by column (by_row 0) or by row. */
  void (*softmax_gradient)(int64_t rows, int64_t width, float *s, const float *dp, const float *lse,
                           const float *delta, int by_row, float *p);

  /* ---- softmax over long rows --------------------------------------------------- */

  float (*max)(int64_t n, const float *x); /* n > 0 */
  /* The sum of exp (x - shift); y, unless NULL, becomes alpha exp (x - shift). y may be x. */
  double (*exp_sum)(int64_t n, const float *x, float shift, float alpha, float *y);
  /* With p = exp (x - x_max) / x_sum and q likewise of y: the sum of p ((x - y) -
   * (log-sum of x - that of y)), which is 0 for equal rows; dy, unless NULL, becomes
   * alpha (q - p) and may be y. */
  double (*divergence)(int64_t n, const float *x, float x_max, double x_sum, const float *y,
                       float y_max, double y_sum, float alpha, float *dy);

  /* ---- norms, positions, activations ---------------------------------------------- */

  /* One row of slot norm; stats [2] is written. weight, bias may be NULL. */
  void (*norm)(enum qtk_norm kind, int64_t n, const float *x, const float *weight,
               const float *bias, float eps, float *y, float *stats);
  void (*norm_backward)(enum qtk_norm kind, int64_t n, const float *x, const float *weight,
                        const float *stats, const float *dy, float *dx);
  /* One head: pairs of `style` turned by the angles of cosine and sine [dims / 2]. */
  void (*rope)(enum qtk_rope_style style, int64_t dims, const float *cosine, const float *sine,
               float *x);

  void (*activation)(enum qtk_activation kind, int64_t n, const float *x, float *y);
  void (*activation_backward)(enum qtk_activation kind, int64_t n, const float *x, const float *dy,
                              float *dx);
  void (*gated)(enum qtk_activation kind, int64_t n, const float *gate, const float *up, float *y);
  void (*gated_backward)(enum qtk_activation kind, int64_t n, const float *gate, const float *up,
                         const float *dy, float *dgate, float *dup);

  /* ---- optimizer -------------------------------------------------------------------- */

  void (*adamw)(const struct qtk_adamw *a, int64_t n, const float *g, float *m, float *v,
                float *value);
};

#endif
