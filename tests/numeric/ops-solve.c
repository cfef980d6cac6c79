/* SPDX-License-Identifier: BSD-3-Clause
 * Sums over calibration tokens, Cholesky factors, inverses, triangular systems. */
#include "ops.h"

#include <math.h>
#include <string.h>

static void one_gram(int64_t tokens, int64_t n, int64_t m)
{
  struct mat x = mat_new(tokens, n, 1), b = mat_new(tokens, m, 1);
  struct mat H = mat_new(n, n, 0), C = mat_new(n, m, 1);
  double *want = ops_doubles(n * n), *want_c = mat_doubles(&C), *xs = mat_doubles(&x);

  for (int64_t t = 0; t < tokens && ops_reference(); t++)
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++)
        want[i * n + j] += 2 * 0.5 * xs[t * n + i] * xs[t * n + j];
      for (int64_t j = 0; j < m; j++)
        want_c[i * m + j] += -0.25 * xs[t * n + i] * mat_at(&b, t, j);
    }
  ops_ok("gram", qtk_op_gram(ops_ctx, 0.5f, &x.t, &H.t));
  ops_ok("gram", qtk_op_gram(ops_ctx, 0.5f, &x.t, &H.t));
  ops_check("gram", &H, ops_reference() ? want : NULL, 3e-6, 0);
  ops_ok("cross", qtk_op_cross(ops_ctx, -0.25f, &x.t, &b.t, &C.t));
  ops_check("cross", &C, ops_reference() ? want_c : NULL, 3e-6, 0);
  ops_end();
}

/* A matrix of float64 is put and got as it is. */
static struct qtk_tensor square(enum qtk_dtype dtype, const double *a, int64_t n, int64_t m)
{
  struct mat room = mat_new(n, 2 * m + 3, 1);
  struct qtk_tensor t = room.t;
  char *bytes = ops_memory((size_t)(n * m) * sizeof(double));

  t = qtk_matrix(dtype, room.t.data, n, m);
  if (qtk_convert(dtype, bytes, QTK_F64, a, (size_t)(n * m)) != QTK_OK)
    ops_ok("convert", QTK_EINTERNAL);
  ops_ok("upload",
         qtk_device_upload(ops_ctx, t.data, bytes, (size_t)(n * m) * qtk_dtype_size(dtype)));
  return t;
}

static double *fetch(const struct qtk_tensor *t)
{
  int64_t n = qtk_tensor_rows(t) * qtk_tensor_cols(t);
  char *bytes = ops_memory((size_t)n * sizeof(double));
  double *out = ops_doubles(n);

  ops_ok("download",
         qtk_device_download(ops_ctx, bytes, t->data, (size_t)n * qtk_dtype_size(t->dtype)));
  ops_ok("convert", qtk_convert(QTK_F64, out, t->dtype, bytes, (size_t)n));
  return out;
}

/* A well-conditioned positive definite matrix. */
static double *definite(int64_t n)
{
  double *a = ops_doubles(n * n), *r = ops_doubles(n * n);

  for (int64_t i = 0; i < n * n; i++)
    r[i] = ops_normal();
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) {
      double sum = i == j ? (double)n : 0;
      for (int64_t k = 0; k < n; k++)
        sum += r[i * n + k] * r[j * n + k];
      a[i * n + j] = a[j * n + i] = (double)(float)sum;
    }
  return a;
}

static double *lower_of(const double *a, int64_t n)
{
  double *l = ops_doubles(n * n);

  for (int64_t j = 0; j < n; j++)
    for (int64_t i = j; i < n; i++) {
      double sum = a[i * n + j];
      for (int64_t k = 0; k < j; k++)
        sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
    }
  return l;
}

static double *transposed(const double *a, int64_t n)
{
  double *t = ops_doubles(n * n);

  for (int64_t i = 0; i < n * n; i++)
    t[i % n * n + i / n] = a[i];
  return t;
}

/* The half that is not to be read holds nonsense. */
static double *spoiled(const double *a, int64_t n, int upper)
{
  double *s = ops_doubles(n * n);

  for (int64_t i = 0; i < n * n; i++)
    s[i] = (upper ? i / n > i % n : i / n < i % n) ? 1e9 : a[i];
  return s;
}

/* How far the product of the inverse and the matrix is from 1. */
static double inverse_error(const double *a, const double *inverse, int64_t n)
{
  double worst = 0;

  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = -(double)(i == j);
      for (int64_t k = 0; k < n; k++)
        sum += a[i * n + k] * inverse[k * n + j];
      worst = fmax(worst, fabs(sum));
    }
  return worst;
}

static void one_cholesky(enum qtk_dtype dtype, int64_t n, double tolerance)
{
  double *a = definite(n), *l = lower_of(a, n), zero = 0, error;
  struct qtk_tensor t = square(dtype, spoiled(a, n, 0), n, n);

  ops_ok("cholesky", qtk_op_cholesky(ops_ctx, 0, &t));
  ops_check_numbers("cholesky", fetch(&t), l, n * n, tolerance, 0);
  ops_ok("cholesky_inverse", qtk_op_cholesky_inverse(ops_ctx, &t));
  error = ops_reference() ? inverse_error(a, fetch(&t), n) : 0;
  ops_ok("cholesky_inverse",
         error > 20 * tolerance ? qtk_error(QTK_ENUMERIC, "error %g", error) : QTK_OK);
  ops_check_numbers("cholesky_inverse", fetch(&t), NULL, n * n, tolerance, 0);
  t = square(dtype, spoiled(a, n, 1), n, n);
  ops_ok("cholesky", qtk_op_cholesky(ops_ctx, 1, &t));
  ops_check_numbers("cholesky", fetch(&t), transposed(l, n), n * n, tolerance, zero);
  ops_end();
}

static void one_triangular_inverse(enum qtk_dtype dtype, int64_t n, double tolerance)
{
  double *l = lower_of(definite(n), n), error;
  struct qtk_tensor t = square(dtype, spoiled(l, n, 0), n, n);

  ops_ok("triangular_inverse", qtk_op_triangular_inverse(ops_ctx, &t));
  error = ops_reference() ? inverse_error(l, fetch(&t), n) : 0;
  ops_ok("triangular_inverse",
         error > 20 * tolerance ? qtk_error(QTK_ENUMERIC, "error %g", error) : QTK_OK);
  ops_check_numbers("triangular_inverse", fetch(&t), NULL, n * n, tolerance, 0);
  ops_end();
}

static void not_definite(enum qtk_dtype dtype, int64_t n)
{
  double *a = definite(n);
  struct qtk_tensor t;
  int rc;

  a[(n - 1) * n + n - 1] = -1;
  t = square(dtype, a, n, n);
  rc = qtk_op_cholesky(ops_ctx, 0, &t);
  if (rc != QTK_ENUMERIC)
    ops_ok("cholesky", qtk_error(QTK_ENUMERIC, "status %d for a matrix that is not definite", rc));
  ops_end();
}

static void one_solve(enum qtk_dtype dtype, int upper, int transpose, int64_t n, int64_t m,
                      double tolerance)
{
  double *l = lower_of(definite(n), n), *t = upper ? transposed(l, n) : l, *b = ops_doubles(n * m);
  double *op = transpose ? transposed(t, n) : t, *want = ops_doubles(n * m);
  struct qtk_tensor triangle = square(dtype, spoiled(t, n, upper), n, n), right;

  for (int64_t i = 0; i < n * m; i++)
    want[i] = ops_normal();
  for (int64_t i = 0; i < n; i++)
    for (int64_t k = 0; k < n; k++)
      for (int64_t j = 0; j < m; j++)
        b[i * m + j] += op[i * n + k] * want[k * m + j];
  right = square(dtype, b, n, m);
  ops_ok("solve_triangular", qtk_op_solve_triangular(ops_ctx, upper, transpose, &triangle, &right));
  ops_check_numbers("solve_triangular", fetch(&right), want, n * m, tolerance, 0);
  ops_end();
}

static void cases(void)
{
  static const int64_t sizes[] = {1, 5, 96, 97, 250};

  one_gram(1, 1, 1);
  one_gram(70, 33, 20);
  one_gram(530, 130, 100);
  for (int s = 0; s < 5; s++) {
    one_cholesky(QTK_F32, sizes[s], 3e-6);
    one_cholesky(QTK_F64, sizes[s], 1e-7);
    one_triangular_inverse(QTK_F32, sizes[s], 3e-6);
    one_triangular_inverse(QTK_F64, sizes[s], 1e-7);
    not_definite(QTK_F32, sizes[s]);
    not_definite(QTK_F64, sizes[s]);
    for (int k = 0; k < 4; k++) {
      one_solve(QTK_F32, k & 1, k >> 1, sizes[s], s * 30 + 1, 1e-5);
      one_solve(QTK_F64, k & 1, k >> 1, sizes[s], s * 30 + 1, 1e-7);
    }
  }
}

int main(void)
{
  return ops_main(cases);
}
