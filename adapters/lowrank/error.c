/* SPDX-License-Identifier: BSD-3-Clause
 * The best pair of low rank beside a rounded matrix: E = source - base [rows, cols] is read a
 * few rows at a time, and its leading singular vectors are found by iterating a subspace
 * (Halko, Martinsson, Tropp, Finding Structure with Randomness). Each pass over E makes
 *
 *   Y = E V [rows, k]    Z = ET Y [cols, k]
 *
 * and the next V is Z, made orthonormal. At the end the eigenvectors P of YT Y give the singular
 * vectors Y P / s and V P. Nothing depends on the number of threads: sums go by rows.
 *
 * Where the error of the outputs counts, |(E - BA) X|, E is E L with X XT = L LT, and A is solved
 * for behind it (Zhang et al., QERA: an Analytical Framework for Quantization Error
 * Reconstruction; there the root is the symmetric one, which gives the same B A). */
#define QTK_API 1
#include <math.h>

#include "adapters/lowrank/lowrank.h"

#define ERROR_ROWS 256  /* of E at once */
#define ERROR_MORE 8    /* vectors beside those that are wanted */
#define ERROR_PASSES 8
#define ERROR_SWEEPS 40
#define ERROR_TINY 1e-9 /* of the largest eigenvalue: taken for zero */
#define ERROR_DAMP 0.01 /* of the mean of X XT's diagonal, added to it */

struct error {
  struct qtk_context *ctx;
  const struct qtk_site *site;
  int64_t k;
  float *rows, *base;          /* [ERROR_ROWS, cols] */
  struct qtk_tensor e;         /* the same in backend memory */
  struct qtk_tensor v, z, y;   /* [cols, k], [cols, k], [rows, k] */
  struct qtk_tensor root, u;   /* L [cols, cols], [cols, k]; or data NULL */
  struct qtk_tensor gram, turn; /* [k, k] */
  double *g, *p;               /* [k, k] */
  float *small;                /* [k, k] */
};

/* ---- eigenvectors of a small symmetric matrix --------------------------------------------------- */

/* Turns rows and columns i, j of g, and columns of p, so that g [i, j] becomes 0. */
static void error_rotate(double *g, double *p, int64_t k, int64_t i, int64_t j)
{
  double half = (g[j * k + j] - g[i * k + i]) / (2 * g[i * k + j]);
  double t = (half < 0 ? -1 : 1) / (fabs(half) + sqrt(half * half + 1));
  double c = 1 / sqrt(t * t + 1), s = t * c;

  for (int64_t n = 0; n < k; n++) {
    double x = g[i * k + n], y = g[j * k + n];
    g[i * k + n] = c * x - s * y;
    g[j * k + n] = s * x + c * y;
  }
  for (int64_t n = 0; n < k; n++) {
    double x = g[n * k + i], y = g[n * k + j];
    g[n * k + i] = c * x - s * y;
    g[n * k + j] = s * x + c * y;
  }
  for (int64_t n = 0; n < k; n++) {
    double x = p[n * k + i], y = p[n * k + j];
    p[n * k + i] = c * x - s * y;
    p[n * k + j] = s * x + c * y;
  }
}

/* Jacobi's method: g becomes diagonal, the columns of p are its eigenvectors. */
static void error_eigen(double *g, double *p, int64_t k)
{
  for (int64_t i = 0; i < k * k; i++)
    p[i] = i % (k + 1) == 0;
  for (int sweep = 0, moved = 1; moved && sweep < ERROR_SWEEPS; sweep++) {
    moved = 0;
    for (int64_t i = 0; i < k; i++)
      for (int64_t j = i + 1; j < k; j++)
        if (fabs(g[i * k + j]) > 1e-14 * sqrt(fabs(g[i * k + i] * g[j * k + j]))) {
          error_rotate(g, p, k, i, j);
          moved = 1;
        }
  }
}

/* Columns of p in falling order of their eigenvalues. */
static void error_order(double *g, double *p, int64_t k)
{
  for (int64_t i = 0; i < k; i++) {
    int64_t most = i;
    for (int64_t j = i + 1; j < k; j++)
      most = g[j * k + j] > g[most * k + most] ? j : most;
    double kept = g[i * k + i];
    g[i * k + i] = g[most * k + most];
    g[most * k + most] = kept;
    for (int64_t n = 0; n < k; n++) {
      kept = p[n * k + i];
      p[n * k + i] = p[n * k + most];
      p[n * k + most] = kept;
    }
  }
}

/* Eigenvalues of tT t on the diagonal of w->g, falling, and eigenvectors in w->p. */
static int error_gram(struct error *w, const struct qtk_tensor *t)
{
  size_t bytes = (size_t)(w->k * w->k) * sizeof(float);
  int rc = qtk_device_zero(w->ctx, w->gram.data, bytes);

  if (rc == QTK_OK)
    rc = qtk_op_gram(w->ctx, 1, t, &w->gram);
  if (rc == QTK_OK)
    rc = qtk_device_download(w->ctx, w->small, w->gram.data, bytes);
  if (rc != QTK_OK)
    return rc;
  for (int64_t i = 0; i < w->k * w->k; i++) {
    w->g[i] = w->small[i];
    if (!isfinite(w->g[i]))
      return qtk_error(QTK_ENUMERIC, "%s: its weights, or those of [model] source, are not finite",
                       w->site->name);
  }
  error_eigen(w->g, w->p, w->k);
  error_order(w->g, w->p, w->k);
  return QTK_OK;
}

static int error_is_tiny(const struct error *w, int64_t i)
{
  return !(w->g[i * w->k + i] > ERROR_TINY * w->g[0]);
}

/* ---- products ------------------------------------------------------------------------------------- */

/* to [.., n] = from times the first n columns of p, column i multiplied by its eigenvalue to
 * that power; of tiny ones 0. */
static int error_turn(struct error *w, const struct qtk_tensor *from, int64_t n, double power,
                      double factor, struct qtk_tensor *to)
{
  struct qtk_tensor turn = qtk_matrix(QTK_F32, w->turn.data, w->k, n);
  int rc;

  for (int64_t i = 0; i < n; i++) {
    double size = error_is_tiny(w, i) ? 0 : factor * pow(w->g[i * w->k + i], power);
    for (int64_t j = 0; j < w->k; j++)
      w->small[j * n + i] = (float)(size * w->p[j * w->k + i]);
  }
  rc = qtk_device_upload(w->ctx, turn.data, w->small, (size_t)(w->k * n) * sizeof(float));
  return rc == QTK_OK ? qtk_op_matmul(w->ctx, 0, 0, 1, from, &turn, 0, to) : rc;
}

/* Rows [row, row + n) of E into w->e. */
static int error_read(struct error *w, int64_t row, int64_t n)
{
  int64_t cols = w->site->cols;
  int rc = qtk_source_rows(w->ctx, w->site, row, n, w->rows);

  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(w->site->base, NULL, row, n, w->base, cols);
  for (int64_t i = 0; rc == QTK_OK && i < n * cols; i++)
    w->rows[i] -= w->base[i];
  return rc == QTK_OK
             ? qtk_device_upload(w->ctx, w->e.data, w->rows, (size_t)(n * cols) * sizeof(float))
             : rc;
}

/* Y = E V, Z = ET Y. */
static int error_multiply(struct error *w, const struct qtk_tensor *v, struct qtk_tensor *z)
{
  int rc = qtk_device_zero(w->ctx, z->data, (size_t)(w->site->cols * w->k) * sizeof(float));

  for (int64_t row = 0; rc == QTK_OK && row < w->site->rows; row += ERROR_ROWS) {
    int64_t n = w->site->rows - row < ERROR_ROWS ? w->site->rows - row : ERROR_ROWS;
    struct qtk_tensor e = qtk_rows_of(&w->e, 0, n), y = qtk_rows_of(&w->y, row, n);
    rc = error_read(w, row, n);
    if (rc == QTK_OK)
      rc = qtk_op_matmul(w->ctx, 0, 0, 1, &e, v, 0, &y);
    if (rc == QTK_OK)
      rc = qtk_op_matmul(w->ctx, 1, 0, 1, &e, &y, 1, z);
    if (rc == QTK_OK)
      rc = qtk_check_stop(w->ctx);
  }
  return rc;
}

/* The same of E, or of E L: Y = E (L V), Z = LT (ET Y). */
static int error_pass(struct error *w)
{
  struct qtk_tensor sums = w->z;
  int rc;

  if (w->root.data == NULL)
    return error_multiply(w, &w->v, &w->z);
  rc = qtk_op_matmul(w->ctx, 0, 0, 1, &w->root, &w->v, 0, &w->u);
  if (rc == QTK_OK)
    rc = error_multiply(w, &w->u, &sums);
  w->z = w->u;
  w->u = sums;
  return rc == QTK_OK ? qtk_op_matmul(w->ctx, 1, 0, 1, &w->root, &sums, 0, &w->z) : rc;
}

/* V = Z, orthonormal. Y's own eigenvectors first, so that Z is ET times orthonormal vectors. */
static int error_next(struct error *w)
{
  struct qtk_tensor kept;
  int rc = error_gram(w, &w->y);

  if (rc == QTK_OK)
    rc = error_turn(w, &w->z, w->k, -0.5, 1, &w->v);
  if (rc == QTK_OK)
    rc = error_gram(w, &w->v);
  if (rc == QTK_OK)
    rc = error_turn(w, &w->v, w->k, -0.5, 1, &w->z);
  kept = w->v;
  w->v = w->z;
  w->z = kept;
  return rc;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static int error_begin(struct error *w)
{
  const struct qtk_random_key key = {.sequence = 1, .site = lowrank_stream(w->site)};
  size_t n = (size_t)(w->site->cols * w->k);
  float *normal = qtk_alloc(w->ctx, n * sizeof *normal, "scratch");
  int rc = QTK_ENOMEM;

  for (size_t i = 0; normal != NULL && i < n; i++)
    normal[i] = (float)qtk_random_normal(w->ctx, &key, i);
  if (normal != NULL)
    rc = qtk_device_upload(w->ctx, w->v.data, normal, n * sizeof *normal);
  qtk_free(w->ctx, normal);
  return rc;
}

/* host [.., n] = from P with eigenvalues to a power, as error_turn says; `solve`: L-T times it. */
static int error_take(struct error *w, const struct qtk_tensor *from, int64_t n, double power,
                      double factor, int solve, float *host)
{
  struct qtk_tensor out;
  int64_t rows = qtk_tensor_rows(from);
  int rc = qtk_device_matrix(w->ctx, rows, n, "scratch", &out);

  if (rc == QTK_OK)
    rc = error_turn(w, from, n, power, factor, &out);
  if (rc == QTK_OK && solve)
    rc = qtk_op_solve_triangular(w->ctx, 0, 1, &w->root, &out);
  if (rc == QTK_OK)
    rc = qtk_device_download(w->ctx, host, out.data, (size_t)(rows * n) * sizeof *host);
  qtk_device_free(w->ctx, out.data);
  return rc;
}

/* Rows of A and columns of B of the same length, two by two, as they are without L. */
static void error_balance(const struct error *w, int64_t n, int64_t rank, float *a, float *b)
{
  int64_t rows = w->site->rows, cols = w->site->cols;

  for (int64_t k = 0; k < n; k++) {
    double of_a = 0, of_b = 0;
    for (int64_t i = 0; i < cols; i++)
      of_a += (double)a[k * cols + i] * a[k * cols + i];
    for (int64_t i = 0; i < rows; i++)
      of_b += (double)b[i * rank + k] * b[i * rank + k];
    double by = of_a > 0 && of_b > 0 ? pow(of_a / of_b, 0.25) : 1;
    for (int64_t i = 0; i < cols; i++)
      a[k * cols + i] = (float)(a[k * cols + i] / by);
    for (int64_t i = 0; i < rows; i++)
      b[i * rank + k] = (float)(b[i * rank + k] * by);
  }
}

/* B = Y P / sqrt(s), A = sqrt(s) PT VT L-1, both over sqrt(scale). Where s is 0, or there are more
 * vectors than E can have, B is zero and A starts as it does beside zeros. */
static int error_end(struct error *w, int64_t rank, double scale, float *a, float *b)
{
  int64_t n = rank < w->k ? rank : w->k, rows = w->site->rows, cols = w->site->cols;
  size_t most = (size_t)((rows > cols ? rows : cols) * n);
  float *host = qtk_alloc(w->ctx, most * sizeof *host, "scratch");
  int rc = host != NULL ? error_gram(w, &w->y) : QTK_ENOMEM;

  if (rc == QTK_OK)
    rc = error_take(w, &w->y, n, -0.25, 1 / sqrt(scale), 0, host);
  for (int64_t i = 0; rc == QTK_OK && i < rows * n; i++)
    b[i / n * rank + i % n] = host[i];
  if (rc == QTK_OK)
    rc = error_take(w, &w->v, n, 0.25, 1 / sqrt(scale), w->root.data != NULL, host);
  for (int64_t i = 0; rc == QTK_OK && i < cols * n; i++)
    a[i % n * cols + i / n] = host[i];
  while (rc == QTK_OK && n > 0 && error_is_tiny(w, n - 1))
    n--;
  if (rc == QTK_OK && w->root.data != NULL)
    error_balance(w, n, rank, a, b);
  if (rc == QTK_OK)
    lowrank_uniform(w->ctx, w->site, n, rank, a);
  qtk_free(w->ctx, host);
  return rc;
}

/* L from what the site reads: of sums over their mean on the diagonal, so that rows of A and
 * columns of B have sizes of the same kind. Nothing read at all: L is 1. */
static int error_root(struct error *w)
{
  int64_t n = w->site->cols;
  size_t bytes = (size_t)(n * n) * sizeof(float);
  float *sums = qtk_alloc(w->ctx, bytes, "scratch");
  const float *gram;
  double mean = 0;
  int rc = sums != NULL ? qtk_site_gram(w->ctx, w->site, &gram) : QTK_ENOMEM;

  for (int64_t i = 0; rc == QTK_OK && i < n; i++)
    mean += (double)gram[i * (n + 1)] / (double)n;
  if (rc == QTK_OK && !(isfinite(mean) && mean >= 0))
    rc = qtk_error(QTK_ENUMERIC, "%s: what it reads in the unquantized model is not finite",
                   w->site->name);
  for (int64_t i = 0; rc == QTK_OK && i < n * n; i++)
    sums[i] = (float)((mean > 0 ? gram[i] / mean : 0) + (i % (n + 1) ? 0 : ERROR_DAMP));
  if (rc == QTK_OK)
    rc = qtk_device_upload(w->ctx, w->root.data, sums, bytes);
  qtk_free(w->ctx, sums);
  return rc == QTK_OK ? qtk_op_cholesky(w->ctx, 0, &w->root) : rc;
}

static int error_run(struct error *w, int64_t rank, double scale, float *a, float *b)
{
  int rc = w->root.data != NULL ? error_root(w) : QTK_OK;

  if (rc == QTK_OK)
    rc = error_begin(w);
  for (int i = 0; rc == QTK_OK && i < ERROR_PASSES; i++) {
    rc = error_pass(w);
    if (rc == QTK_OK)
      rc = error_next(w);
  }
  if (rc == QTK_OK)
    rc = error_pass(w);
  return rc == QTK_OK ? error_end(w, rank, scale, a, b) : rc;
}

static int error_memory_inputs(struct error *w)
{
  int64_t cols = w->site->cols;
  int rc = qtk_device_matrix(w->ctx, cols, cols, "scratch", &w->root);

  return rc == QTK_OK ? qtk_device_matrix(w->ctx, cols, w->k, "scratch", &w->u) : rc;
}

static int error_memory(struct error *w)
{
  int64_t cols = w->site->cols, k = w->k;
  size_t rows = (size_t)(ERROR_ROWS * cols) * sizeof(float);
  int rc = qtk_device_matrix(w->ctx, ERROR_ROWS, cols, "scratch", &w->e);

  w->rows = qtk_alloc(w->ctx, rows, "scratch");
  w->base = qtk_alloc(w->ctx, rows, "scratch");
  w->g = qtk_alloc(w->ctx, (size_t)(k * k) * sizeof *w->g, "scratch");
  w->p = qtk_alloc(w->ctx, (size_t)(k * k) * sizeof *w->p, "scratch");
  w->small = qtk_alloc(w->ctx, (size_t)(k * k) * sizeof *w->small, "scratch");
  if (w->rows == NULL || w->base == NULL || w->g == NULL || w->p == NULL || w->small == NULL)
    return QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_device_matrix(w->ctx, cols, k, "scratch", &w->v);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(w->ctx, cols, k, "scratch", &w->z);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(w->ctx, w->site->rows, k, "scratch", &w->y);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(w->ctx, k, k, "scratch", &w->gram);
  return rc == QTK_OK ? qtk_device_matrix(w->ctx, k, k, "scratch", &w->turn) : rc;
}

static void error_free(struct error *w)
{
  struct qtk_tensor *const held[] = {&w->e,    &w->v,    &w->z,    &w->y,
                                     &w->gram, &w->turn, &w->root, &w->u};

  for (size_t i = 0; i < sizeof held / sizeof *held; i++)
    qtk_device_free(w->ctx, held[i]->data);
  qtk_free(w->ctx, w->rows);
  qtk_free(w->ctx, w->base);
  qtk_free(w->ctx, w->g);
  qtk_free(w->ctx, w->p);
  qtk_free(w->ctx, w->small);
}

int lowrank_error(struct qtk_context *ctx, const struct qtk_site *site, int64_t rank, double scale,
                  int inputs, float *a, float *b)
{
  int64_t side = site->rows < site->cols ? site->rows : site->cols;
  struct error w = {.ctx = ctx, .site = site};
  int rc;

  w.k = rank + ERROR_MORE < side ? rank + ERROR_MORE : side;
  rc = error_memory(&w);
  if (rc == QTK_OK && inputs)
    rc = error_memory_inputs(&w);
  if (rc == QTK_OK)
    rc = error_run(&w, rank, scale, a, b);
  error_free(&w);
  return rc;
}
