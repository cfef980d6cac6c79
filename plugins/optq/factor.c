/* SPDX-License-Identifier: BSD-3-Clause
 * Factors the Gram matrix.
 *
 * U is wanted with inverse (H) = UT U. Then H = R RT with R = inverse (U), upper: one
 * Cholesky factor of H with rows and columns from the last to the first, L, whose
 * inverse X, read from the end to the beginning, is U. No inverse of H is formed, and
 * the error grows with the root of the condition number only, so float32 is enough; and
 * errors of an element are relative to its own row and column, so that a few strong
 * inputs do not drown the others. */
#include "plugins/optq/factor.h"

#include <math.h>
#include <string.h>

#define FACTOR_LADDER 2.0     /* damping that fails is multiplied by this */
#define FACTOR_FIRST 0.01     /* and is at least this */
#define FACTOR_ITERATIONS 10  /* of the power method */
#define FACTOR_ROWS 16        /* to a piece of parallel work */

static float factor_scale(const struct qtk_calibration *c)
{
  return c->sequences > 0 ? 2.0f / (float)c->sequences : 2.0f;
}

static int factor_finite(const float *gram, int64_t n)
{
  for (int64_t i = 0; i < n; i++) {
    float odd = 0.0f;
    for (int64_t j = 0; j < n; j++)
      odd += gram[i * n + j] * 0.0f;
    for (int64_t j = 0; odd != 0.0f && j < n; j++)
      if (!isfinite(gram[i * n + j]))
        return qtk_error(QTK_ENUMERIC,
                         "the Gram matrix of the inputs is %g at (%lld, %lld), not a finite "
                         "number: an activation overflowed",
                         (double)gram[i * n + j], (long long)i, (long long)j);
  }
  return QTK_OK;
}

int optq_strength(const struct qtk_calibration *c, int64_t n, float *strength, int64_t *dead)
{
  int rc = factor_finite(c->gram, n);
  *dead = 0;
  for (int64_t i = 0; i < n && rc == QTK_OK; i++) {
    float own = c->gram[i * (n + 1)];
    if (own < 0.0f)
      rc = qtk_error(QTK_ENUMERIC, "the Gram matrix of the inputs is %g at (%lld, %lld): a sum of "
                     "squares is not below zero", (double)own, (long long)i, (long long)i);
    strength[i] = own > 0.0f ? own * factor_scale(c) : 1.0f;
    *dead += !(own > 0.0f);
  }
  return rc;
}

/* ---- matrices from the last position to the first -------------------------------------- */

struct factor_fill {
  const struct optq_order *order;
  const float *from; /* gram or cross, by column */
  const float *strength, *gram;
  float *to;
  float scale, more; /* what is added to the diagonal */
  int gram_wanted;
};

static int factor_fill_rows(void *arg, size_t task)
{
  const struct factor_fill *f = arg;
  int64_t n = f->order->n, first = (int64_t)task * FACTOR_ROWS;
  for (int64_t a = first; a < n && a < first + FACTOR_ROWS; a++) {
    int64_t i = f->order->column[n - 1 - a];
    const float *from = f->from + i * n;
    for (int64_t b = 0; b < n; b++)
      f->to[a * n + b] = f->scale * from[f->order->column[n - 1 - b]];
    if (f->gram_wanted)
      f->to[a * n + a] = f->strength[i] + f->more;
  }
  return QTK_OK;
}

static size_t factor_tasks(int64_t n)
{
  return (size_t)((n + FACTOR_ROWS - 1) / FACTOR_ROWS);
}

/* A matrix of the backend, and where the host may write it. */
static int factor_room(struct qtk_context *ctx, int64_t n, struct qtk_tensor *t, float **host)
{
  int rc = qtk_device_matrix(ctx, n, n, "scratch", t);
  if (rc != QTK_OK || qtk_device_is_host(ctx)) {
    *host = t->data;
    return rc;
  }
  *host = qtk_alloc(ctx, (size_t)(n * n) * sizeof **host, "scratch");
  return *host ? QTK_OK : QTK_ENOMEM;
}

static int factor_send(struct qtk_context *ctx, struct qtk_tensor *t, const float *host)
{
  if (t->data == host)
    return QTK_OK;
  return qtk_device_upload(ctx, t->data, host,
                           (size_t)(t->shape[0] * t->shape[1]) * sizeof *host);
}

static int factor_fetch(struct qtk_context *ctx, const struct qtk_tensor *t, float *host)
{
  if (t->data == host)
    return QTK_OK;
  return qtk_device_download(ctx, host, t->data,
                             (size_t)(t->shape[0] * t->shape[1]) * sizeof *host);
}

/* Element i and element n n - 1 - i change places. */
static void factor_reverse(float *m, int64_t n)
{
  for (int64_t i = 0, j = n * n - 1; i < j; i++, j--) {
    float kept = m[i];
    m[i] = m[j];
    m[j] = kept;
  }
}

/* ---- condition --------------------------------------------------------------------------- */

/* x / |x|; *length is |x|. */
static int factor_unit(struct qtk_context *ctx, struct qtk_tensor *x, double *length)
{
  double sum = 0;
  int rc = qtk_op_dot(ctx, x, x, &sum);
  *length = sqrt(sum);
  if (rc == QTK_OK && sum > 0 && isfinite(sum))
    rc = qtk_op_scale(ctx, (float)(1 / *length), x, x);
  return rc;
}

/* The largest eigenvalue of m (inverse = 0), or of mT m (1), from below: by the power
 * method from a vector with all frequencies in it. x and y are rows [1, n]. */
static int factor_largest(struct qtk_context *ctx, const struct qtk_tensor *m, int inverse,
                          struct qtk_tensor *x, struct qtk_tensor *y, double *value)
{
  int64_t n = qtk_tensor_rows(m);
  float *start = qtk_alloc(ctx, (size_t)n * sizeof *start, "scratch");
  if (!start)
    return QTK_ENOMEM;
  for (int64_t i = 0; i < n; i++)
    start[i] = 1.0f + (float)((i * 7919) % 101) / 101.0f;
  int rc = qtk_device_upload(ctx, x->data, start, (size_t)n * sizeof *start);
  qtk_free(ctx, start);
  for (int i = 0; i < FACTOR_ITERATIONS && rc == QTK_OK; i++) {
    if ((rc = factor_unit(ctx, x, value)) || (rc = qtk_op_matmul(ctx, 0, inverse, 1, x, m, 0, y)))
      break;
    rc = inverse ? qtk_op_matmul(ctx, 0, 0, 1, y, m, 0, x) : qtk_op_copy(ctx, y, x);
  }
  return rc == QTK_OK ? factor_unit(ctx, x, value) : rc;
}

static int factor_condition(struct qtk_context *ctx, const struct qtk_tensor *m, int inverse,
                            double *value)
{
  int64_t n = qtk_tensor_rows(m);
  struct qtk_tensor x = {0}, y = {0};
  int rc = qtk_device_matrix(ctx, 1, n, "scratch", &x);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, 1, n, "scratch", &y);
  if (rc == QTK_OK)
    rc = factor_largest(ctx, m, inverse, &x, &y, value);
  qtk_device_free(ctx, x.data);
  qtk_device_free(ctx, y.data);
  return rc;
}

/* ---- U ------------------------------------------------------------------------------------- */

/* The factor of H with this much damping, in f->u_memory; QTK_ENUMERIC if there is none. */
static int factor_try(struct qtk_context *ctx, struct factor_fill *fill, double damping,
                      struct optq_factor *f, double *largest)
{
  double sum = 0;
  for (int64_t i = 0; i < f->n; i++)
    sum += (double)fill->strength[i];
  fill->more = (float)(damping * sum / (double)f->n);
  fill->to = f->u;
  int rc = qtk_parallel(ctx, factor_tasks(f->n), factor_fill_rows, fill);
  if (rc == QTK_OK)
    rc = factor_send(ctx, &f->u_memory, f->u);
  if (rc == QTK_OK)
    rc = factor_condition(ctx, &f->u_memory, 0, largest);
  return rc == QTK_OK ? qtk_op_cholesky(ctx, 0, &f->u_memory) : rc;
}

static double factor_more(double damping)
{
  double next = damping * FACTOR_LADDER < FACTOR_FIRST ? FACTOR_FIRST : damping * FACTOR_LADDER;
  return damping < 1 && next > 1 ? 1 : next;
}

static int factor_hopeless(const struct qtk_calibration *c, const struct optq_factor *f)
{
  return qtk_error(QTK_ENUMERIC,
                   "the Gram matrix of the inputs is not positive definite, even with damping %g "
                   "(%lld tokens, %lld inputs): more or other calibration text may help",
                   f->damping, (long long)c->tokens, (long long)f->n);
}

static int factor_u(struct qtk_context *ctx, const struct qtk_calibration *c,
                    struct factor_fill *fill, double damping, struct optq_factor *f)
{
  double largest = 0, smallest = 0;
  int rc = factor_room(ctx, f->n, &f->u_memory, &f->u);
  if (rc != QTK_OK)
    return rc;
  for (f->damping = damping;; f->damping = factor_more(f->damping)) {
    rc = factor_try(ctx, fill, f->damping, f, &largest);
    if (rc != QTK_ENUMERIC || f->damping >= 1)
      break;
  }
  if (rc == QTK_ENUMERIC)
    return factor_hopeless(c, f);
  if (rc == QTK_OK)
    rc = qtk_op_triangular_inverse(ctx, &f->u_memory);
  if (rc == QTK_OK)
    rc = factor_condition(ctx, &f->u_memory, 1, &smallest);
  f->condition = largest * smallest;
  return rc;
}

/* ---- P: correction of drifted inputs ----------------------------------------------------------
 *
 * P = strict upper part (alpha D UT) U with D = 2 / sequences * cross. With everything from
 * the last position to the first that is strict lower part (alpha D XT) X. */

static int factor_strict(struct qtk_context *ctx, struct qtk_tensor *t)
{
  int64_t n = qtk_tensor_rows(t);
  float *host = t->data;
  int own = !qtk_device_is_host(ctx), rc = QTK_OK;
  if (own && !(host = qtk_alloc(ctx, (size_t)(n * n) * sizeof *host, "scratch")))
    return QTK_ENOMEM;
  rc = factor_fetch(ctx, t, host);
  for (int64_t i = 0; i < n && rc == QTK_OK; i++)
    memset(host + i * n + i, 0, (size_t)(n - i) * sizeof *host);
  if (rc == QTK_OK)
    rc = factor_send(ctx, t, host);
  if (own)
    qtk_free(ctx, host);
  return rc;
}

static int factor_p(struct qtk_context *ctx, struct factor_fill *fill, struct optq_factor *f)
{
  struct qtk_tensor product = {0};
  int rc = factor_room(ctx, f->n, &f->p_memory, &f->p);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, f->n, f->n, "scratch", &product);
  fill->to = f->p;
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, factor_tasks(f->n), factor_fill_rows, fill);
  if (rc == QTK_OK)
    rc = factor_send(ctx, &f->p_memory, f->p);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 1, 1, &f->p_memory, &f->u_memory, 0, &product);
  if (rc == QTK_OK)
    rc = factor_strict(ctx, &product);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, &product, &f->u_memory, 0, &f->p_memory);
  qtk_device_free(ctx, product.data);
  return rc;
}

/* The backend's matrix to where the host reads it; its memory is not needed any more. */
static int factor_land(struct qtk_context *ctx, struct qtk_tensor *t, float *host, int64_t n)
{
  int rc = host ? factor_fetch(ctx, t, host) : QTK_OK;
  if (host && rc == QTK_OK)
    factor_reverse(host, n);
  if (t->data != host) {
    qtk_device_free(ctx, t->data);
    t->data = NULL;
  }
  return rc;
}

int optq_factor_make(struct qtk_context *ctx, const struct qtk_calibration *c,
                     const struct optq_order *order, const float *strength, double damping,
                     double correction, struct optq_factor *f)
{
  struct factor_fill gram = {.order = order, .from = c->gram, .strength = strength,
                             .scale = factor_scale(c), .gram_wanted = 1};
  struct factor_fill cross = {.order = order, .from = c->cross,
                              .scale = (float)correction * factor_scale(c)};
  *f = (struct optq_factor){.n = order->n};
  int rc = factor_u(ctx, c, &gram, damping, f);
  if (rc == QTK_OK && correction > 0)
    rc = factor_p(ctx, &cross, f);
  if (rc == QTK_OK)
    rc = factor_land(ctx, &f->u_memory, f->u, f->n);
  if (rc == QTK_OK)
    rc = factor_land(ctx, &f->p_memory, f->p, f->n);
  return rc;
}

static void factor_drop(struct qtk_context *ctx, struct qtk_tensor *t, float *host)
{
  if (host != t->data)
    qtk_free(ctx, host);
  qtk_device_free(ctx, t->data);
}

void optq_factor_free(struct qtk_context *ctx, struct optq_factor *f)
{
  factor_drop(ctx, &f->u_memory, f->u);
  factor_drop(ctx, &f->p_memory, f->p);
  *f = (struct optq_factor){0};
}
