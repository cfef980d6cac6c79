/* SPDX-License-Identifier: BSD-3-Clause
 * The solvers' inner operations by OpenBLAS, which runs them in the calling thread.
 * A lower triangle by rows is an upper one by columns, as LAPACK sees it. */
#include <cblas.h>

#include "../../solver.h"

extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void strtri_(const char *uplo, const char *diag, const int *n, float *a, const int *lda,
                    int *info);
extern void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda,
                    int *info);

#define SOLVERS(s, real, suffix)                                                                   \
  static int solver_factor_##suffix(int64_t n, void *a, int64_t lda)                               \
  {                                                                                                \
    int size = (int)n, ld = (int)lda, info = 0;                                                    \
    s##potrf_("U", &size, a, &ld, &info);                                                          \
    return info != 0;                                                                              \
  }                                                                                                \
  static void solver_invert_##suffix(int64_t n, void *a, int64_t lda)                              \
  {                                                                                                \
    int size = (int)n, ld = (int)lda, info = 0;                                                    \
    s##trtri_("U", "N", &size, a, &ld, &info);                                                     \
  }                                                                                                \
  static void solver_multiply_##suffix(int ta, int tb, int64_t m, int64_t n, int64_t k,            \
                                       double alpha, const void *a, int64_t lda, const void *b,    \
                                       int64_t ldb, void *c, int64_t ldc)                          \
  {                                                                                                \
    cblas_##s##gemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, \
                    (int)m, (int)n, (int)k, (real)alpha, a, (int)lda, b, (int)ldb, 1, c,           \
                    (int)ldc);                                                                     \
  }                                                                                                \
  static void solver_solve_##suffix(int upper, int transpose, int64_t n, int64_t m, const void *t, \
                                    int64_t ldt, void *b, int64_t ldb)                             \
  {                                                                                                \
    cblas_##s##trsm(CblasRowMajor, CblasLeft, upper ? CblasUpper : CblasLower,                     \
                    transpose ? CblasTrans : CblasNoTrans, CblasNonUnit, (int)n, (int)m, 1, t,     \
                    (int)ldt, b, (int)ldb);                                                        \
  }                                                                                                \
  static void solver_solve_right_##suffix(int64_t m, int64_t n, const void *l, int64_t ldl,        \
                                          void *b, int64_t ldb)                                    \
  {                                                                                                \
    cblas_##s##trsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)m,       \
                    (int)n, 1, l, (int)ldl, b, (int)ldb);                                          \
  }                                                                                                \
  const struct cpu_solver cpu_openblas_solver_##suffix = {                                         \
      .factor = solver_factor_##suffix,                                                            \
      .invert = solver_invert_##suffix,                                                            \
      .multiply = solver_multiply_##suffix,                                                        \
      .solve = solver_solve_##suffix,                                                              \
      .solve_right = solver_solve_right_##suffix,                                                  \
  };

SOLVERS(s, float, f32)
SOLVERS(d, double, f64)
