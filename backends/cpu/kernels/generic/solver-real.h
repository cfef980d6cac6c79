/* SPDX-License-Identifier: BSD-3-Clause
 * Plain loops of the solvers for elements of type REAL; included once for each.
 * SOLVER (name) is the name of a function for that type. No guard on purpose. */

static int SOLVER(factor)(int64_t n, void *memory, int64_t lda)
{
  REAL *a = memory;

  for (int64_t j = 0; j < n; j++)
    for (int64_t i = j; i < n; i++) {
      double sum = (double)a[i * lda + j];
      for (int64_t k = 0; k < j; k++)
        sum -= (double)a[i * lda + k] * (double)a[j * lda + k];
      if (i == j && !(sum > 0 && sum <= DBL_MAX))
        return 1;
      a[i * lda + j] = (REAL)(i == j ? sqrt(sum) : sum / (double)a[j * lda + j]);
    }
  return 0;
}

/* Column by column: L x = e. Row i of a column needs the rows above it of the inverse
 * and row i of L, so columns go from the right, rows from the bottom. */
static void SOLVER(invert)(int64_t n, void *memory, int64_t lda)
{
  REAL *a = memory;

  for (int64_t j = n - 1; j >= 0; j--) {
    double diagonal = 1 / (double)a[j * lda + j];
    for (int64_t i = n - 1; i > j; i--) {
      double sum = 0;
      for (int64_t k = j + 1; k <= i; k++)
        sum += (double)a[i * lda + k] * (double)a[k * lda + j];
      a[i * lda + j] = (REAL)(-sum * diagonal);
    }
    a[j * lda + j] = (REAL)diagonal;
  }
}

static void SOLVER(multiply)(int ta, int tb, int64_t m, int64_t n, int64_t k, double alpha,
                             const void *a_memory, int64_t lda, const void *b_memory, int64_t ldb,
                             void *c_memory, int64_t ldc)
{
  const REAL *a = a_memory, *b = b_memory;
  REAL *c = c_memory;

  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++)
        sum += (double)(ta ? a[p * lda + i] : a[i * lda + p]) *
               (double)(tb ? b[j * ldb + p] : b[p * ldb + j]);
      c[i * ldc + j] = (REAL)((double)c[i * ldc + j] + alpha * sum);
    }
}

static void SOLVER(solve)(int upper, int transpose, int64_t n, int64_t m, const void *t_memory,
                          int64_t ldt, void *b_memory, int64_t ldb)
{
  const REAL *t = t_memory;
  REAL *b = b_memory;
  int down = upper == transpose; /* op(t) is lower: from the first row down */

  for (int64_t s = 0; s < n; s++) {
    int64_t i = down ? s : n - 1 - s, from = down ? 0 : i + 1, to = down ? i : n;
    for (int64_t j = 0; j < m; j++) {
      double sum = (double)b[i * ldb + j];
      for (int64_t k = from; k < to; k++)
        sum -= (double)(transpose ? t[k * ldt + i] : t[i * ldt + k]) * (double)b[k * ldb + j];
      b[i * ldb + j] = (REAL)(sum / (double)t[i * ldt + i]);
    }
  }
}

static void SOLVER(solve_right)(int64_t m, int64_t n, const void *l_memory, int64_t ldl,
                                void *b_memory, int64_t ldb)
{
  const REAL *l = l_memory;
  REAL *b = b_memory;

  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = (double)b[i * ldb + j];
      for (int64_t k = 0; k < j; k++)
        sum -= (double)b[i * ldb + k] * (double)l[j * ldl + k];
      b[i * ldb + j] = (REAL)(sum / (double)l[j * ldl + j]);
    }
}

const struct cpu_solver SOLVER(solver) = {
    .factor = SOLVER(factor),
    .invert = SOLVER(invert),
    .multiply = SOLVER(multiply),
    .solve = SOLVER(solve),
    .solve_right = SOLVER(solve_right),
};
