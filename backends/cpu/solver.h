/* SPDX-License-Identifier: BSD-3-Clause
 * The inner operations of the solvers on blocks of a few dozen rows, row by row in
 * memory; ld in elements. In plain C, or of OpenBLAS with one thread. */
#ifndef CPU_SOLVER_H
#define CPU_SOLVER_H

#include <stdint.h>

#include <qtk/base.h>

struct cpu_solver {
  /* The lower triangle of a (n, n) becomes L with a = L LT. 0, or 1 if a is not
   * positive definite. The upper half is not touched. */
  int (*factor)(int64_t n, void *a, int64_t lda);
  /* The lower triangle of a becomes its inverse. */
  void (*invert)(int64_t n, void *a, int64_t lda);
  /* c (m, n) += alpha op(a) op(b), op(a) (m, k). */
  void (*multiply)(int ta, int tb, int64_t m, int64_t n, int64_t k, double alpha, const void *a,
                   int64_t lda, const void *b, int64_t ldb, void *c, int64_t ldc);
  /* b (n, m) = op(t)^-1 b, t (n, n) triangular. */
  void (*solve)(int upper, int transpose, int64_t n, int64_t m, const void *t, int64_t ldt, void *b,
                int64_t ldb);
  /* b (m, n) = b LT^-1, L (n, n) lower. */
  void (*solve_right)(int64_t m, int64_t n, const void *l, int64_t ldl, void *b, int64_t ldb);
};

extern const struct cpu_solver cpu_generic_solver_f32, cpu_generic_solver_f64;
extern const struct cpu_solver cpu_openblas_solver_f32, cpu_openblas_solver_f64;

#endif
