/* SPDX-License-Identifier: BSD-3-Clause
 * Norms, activations, losses, elementwise operations, reductions, the optimizer. */
#include "ops.h"

#include <math.h>
#include <string.h>

/* ---- norms ----------------------------------------------------------------------------- */

struct norm_case {
  enum qtk_norm kind;
  int64_t rows, cols;
  double eps;
  double *x, *weight, *bias, *y, *dy; /* weight, bias may be NULL */
};

static void norm_reference(const struct norm_case *c)
{
  for (int64_t t = 0; t < c->rows; t++) {
    const double *x = c->x + t * c->cols;
    double mean = 0, square = 0;
    for (int64_t j = 0; c->kind == QTK_NORM_LAYER && j < c->cols; j++)
      mean += x[j] / (double)c->cols;
    for (int64_t j = 0; j < c->cols; j++)
      square += (x[j] - mean) * (x[j] - mean) / (double)c->cols;
    for (int64_t j = 0; j < c->cols; j++)
      c->y[t * c->cols + j] =
          (x[j] - mean) / sqrt(square + c->eps) * (c->weight != NULL ? c->weight[j] : 1) +
          (c->bias != NULL ? c->bias[j] : 0);
  }
}

static double norm_loss(void *arg)
{
  const struct norm_case *c = arg;
  double sum = 0;

  norm_reference(c);
  for (int64_t i = 0; i < c->rows * c->cols; i++)
    sum += c->y[i] * c->dy[i];
  return sum;
}

static double *plus(double *base, const double *more, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    base[i] += more[i];
  return base;
}

static void norm_backward(struct norm_case *c, struct mat *x, struct mat *weight, int with,
                          struct mat *stats, struct mat *dy)
{
  struct mat dx = mat_new(c->rows, c->cols, 1);
  struct mat dweight = mat_vector(c->cols, 1), dbias = mat_vector(c->cols, 1);
  double *want_x = NULL, *want_w = NULL, *want_b = NULL, *slope = ops_doubles(c->cols);

  if (ops_reference() && c->rows * c->cols < 1000) {
    want_x = ops_doubles(c->rows * c->cols);
    ops_differences(norm_loss, c, c->x, c->rows * c->cols, 1e-5, want_x);
    want_w = mat_doubles(&dweight);
    want_b = mat_doubles(&dbias);
    if (with) {
      ops_differences(norm_loss, c, c->weight, c->cols, 1e-5, slope);
      plus(want_w, slope, c->cols);
      ops_differences(norm_loss, c, c->bias, c->cols, 1e-5, slope);
      plus(want_b, slope, c->cols);
    }
  }
  ops_ok("norm_backward",
         qtk_op_norm_backward(ops_ctx, c->kind, &x->t, with ? &weight->t : NULL, &stats->t, &dy->t,
                              &dx.t, with ? &dweight.t : NULL, with ? &dbias.t : NULL));
  ops_check("norm_backward", &dx, want_x, 3e-6, 0);
  ops_check("norm_backward", &dweight, want_w, 3e-6, 0);
  ops_check("norm_backward", &dbias, want_b, 3e-6, 0);
}

static void one_norm(enum qtk_norm kind, int64_t rows, int64_t cols, int with)
{
  struct norm_case c = {.kind = kind, .rows = rows, .cols = cols, .eps = (double)1e-5f};
  struct mat x = mat_new(rows, cols, 2), y = mat_new(rows, cols, 1), stats = mat_new(rows, 2, 1);
  struct mat weight = mat_vector(cols, 1), bias = mat_vector(cols, 1), dy = mat_new(rows, cols, 1);

  for (int64_t i = 0; i < x.rows * x.stride; i++)
    x.v[i] += 3;
  mat_put(&x);
  c.x = mat_doubles(&x);
  c.weight = with ? mat_doubles(&weight) : NULL;
  c.bias = with ? mat_doubles(&bias) : NULL;
  c.y = ops_doubles(rows * cols);
  c.dy = mat_doubles(&dy);
  norm_reference(&c);
  ops_ok("norm", qtk_op_norm(ops_ctx, kind, &x.t, with ? &weight.t : NULL, with ? &bias.t : NULL,
                             1e-5f, &y.t, &stats.t));
  ops_check("norm", &y, c.y, 2e-6, 0);
  norm_backward(&c, &x, &weight, with, &stats, &dy);
  ops_ok("norm", qtk_op_norm(ops_ctx, kind, &x.t, NULL, NULL, 1e-5f, &y.t, NULL));
  ops_end();
}

/* ---- activations ------------------------------------------------------------------------------
 */

static double act(enum qtk_activation kind, double x)
{
  switch (kind) {
  case QTK_ACT_SILU:
    return x / (1 + exp(-x));
  case QTK_ACT_GELU:
    return x * (1 + erf(x / sqrt(2))) / 2;
  case QTK_ACT_GELU_TANH:
    return x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x))) / 2;
  case QTK_ACT_RELU:
    return fmax(x, 0);
  case QTK_ACT_SIGMOID:
    return 1 / (1 + exp(-x));
  case QTK_ACT_TANH:
    return tanh(x);
  }
  return x;
}

static double act_slope(enum qtk_activation kind, double x)
{
  double h = 1e-5;

  if (kind == QTK_ACT_RELU)
    return x > 0;
  return (act(kind, x + h) - act(kind, x - h)) / (2 * h);
}

/* Every kind of argument, large ones and 0 too. */
static void spread(struct mat *x)
{
  for (int64_t i = 0; i < x->rows * x->stride; i++)
    x->v[i] = i % 11 == 10 ? 0 : (float)(ops_normal() * (i % 5 == 4 ? 30 : 2));
  mat_put(x);
}

static void one_activation(enum qtk_activation kind, int64_t rows, int64_t cols)
{
  struct mat x = mat_new(rows, cols, 1), y = mat_new(rows, cols, 1), dy = mat_new(rows, cols, 1);
  struct mat up = mat_new(rows, cols, 1), dgate = mat_new(rows, cols, 1);
  struct mat dup = mat_new(rows, cols, 1);
  double *value = ops_doubles(rows * cols), *slope = ops_doubles(rows * cols);
  double *gated = ops_doubles(rows * cols), *want_gate = ops_doubles(rows * cols);
  double *want_up = ops_doubles(rows * cols);

  spread(&x);
  for (int64_t i = 0; i < rows * cols; i++) {
    double at = mat_at(&x, i / cols, i % cols), d = mat_at(&dy, i / cols, i % cols);
    double u = mat_at(&up, i / cols, i % cols);
    value[i] = act(kind, at);
    slope[i] = d * act_slope(kind, at);
    gated[i] = value[i] * u;
    want_gate[i] = slope[i] * u;
    want_up[i] = value[i] * d;
  }
  ops_ok("activation", qtk_op_activation(ops_ctx, kind, &x.t, &y.t));
  ops_check("activation", &y, value, 5e-7, 0);
  ops_ok("activation_backward", qtk_op_activation_backward(ops_ctx, kind, &x.t, &dy.t, &dgate.t));
  ops_check("activation_backward", &dgate, slope, 2e-6, 0);
  ops_ok("gated", qtk_op_gated(ops_ctx, kind, &x.t, &up.t, &y.t));
  ops_check("gated", &y, gated, 5e-7, 0);
  ops_ok("gated_backward",
         qtk_op_gated_backward(ops_ctx, kind, &x.t, &up.t, &dy.t, &dgate.t, &dup.t));
  ops_check("gated_backward", &dgate, want_gate, 2e-6, 0);
  ops_check("gated_backward", &dup, want_up, 5e-7, 0);
  ops_end();
}

/* ---- losses
 * -------------------------------------------------------------------------------------- */

static double lse(const double *x, int64_t n)
{
  double m = x[0], sum = 0;

  for (int64_t i = 1; i < n; i++)
    m = fmax(m, x[i]);
  for (int64_t i = 0; i < n; i++)
    sum += exp(x[i] - m);
  return m + log(sum);
}

static void one_cross_entropy(int64_t rows, int64_t cols, double size)
{
  struct mat x = mat_new(rows, cols, size), loss = mat_vector(rows, 1), dx = mat_new(rows, cols, 1);
  int32_t *targets = ops_memory((size_t)rows * sizeof *targets);
  float *scale = ops_memory((size_t)rows * sizeof *scale);
  double *want = ops_doubles(rows), *want_dx = ops_doubles(rows * cols), *all = mat_doubles(&x);

  for (int64_t t = 0; t < rows; t++) {
    const double *row = all + t * cols;
    double sum = lse(row, cols);
    targets[t] = t % 7 == 3 ? -1 : (int32_t)(ops_random() % (uint64_t)cols);
    scale[t] = (float)ops_uniform(0.1, 2);
    if (targets[t] < 0)
      continue;
    want[t] = sum - row[targets[t]];
    for (int64_t j = 0; j < cols; j++)
      want_dx[t * cols + j] = (double)scale[t] * (exp(row[j] - sum) - (j == targets[t]));
  }
  ops_ok("cross_entropy", qtk_op_cross_entropy(ops_ctx, &x.t, targets, &loss.t, scale, &dx.t));
  ops_check("cross_entropy", &loss, want, 1e-6, 0);
  ops_check("cross_entropy", &dx, want_dx, 1e-6, 0);
  ops_ok("cross_entropy", qtk_op_cross_entropy(ops_ctx, &x.t, targets, &loss.t, NULL, NULL));
  ops_check("cross_entropy", &loss, want, 1e-6, 0);
  ops_ok("cross_entropy", qtk_op_cross_entropy(ops_ctx, &x.t, targets, &loss.t, scale, &x.t));
  ops_check("cross_entropy", &x, want_dx, 1e-6, 0);
  ops_end();
}

/* Of a cross-entropy whose differences are taken: the gradient is not assumed. */
struct loss_case {
  double *x, *teacher;
  int64_t n;
  int64_t target;
};

static double cross_loss(void *arg)
{
  const struct loss_case *c = arg;

  return lse(c->x, c->n) - c->x[c->target];
}

static double divergence_loss(void *arg)
{
  const struct loss_case *c = arg;
  double a = lse(c->teacher, c->n), b = lse(c->x, c->n), sum = 0;

  for (int64_t i = 0; i < c->n; i++)
    sum += exp(c->teacher[i] - a) * (c->teacher[i] - a - (c->x[i] - b));
  return sum;
}

static void one_cross_slope(int64_t cols)
{
  struct mat x = mat_new(1, cols, 2), loss = mat_vector(1, 1), dx = mat_new(1, cols, 1);
  struct loss_case c = {mat_doubles(&x), NULL, cols, cols / 2};
  int32_t target = (int32_t)c.target;
  double *want = ops_doubles(cols);
  float one = 1;

  ops_differences(cross_loss, &c, c.x, cols, 1e-5, want);
  ops_ok("cross_entropy", qtk_op_cross_entropy(ops_ctx, &x.t, &target, &loss.t, &one, &dx.t));
  ops_check("cross_entropy", &dx, want, 1e-6, 1);
  ops_end();
}

static void one_divergence(int64_t rows, int64_t cols, double difference)
{
  struct mat teacher = mat_new(rows, cols, 3), student = mat_new(rows, cols, difference);
  struct mat kl = mat_vector(rows, 1), dx = mat_new(rows, cols, 1);
  double *want = ops_doubles(rows), *want_dx = NULL, *p = mat_doubles(&teacher), *q;
  float *scale = ops_memory((size_t)rows * sizeof *scale);

  for (int64_t t = 0; t < rows; t++)
    for (int64_t j = 0; j < cols; j++)
      student.v[t * student.stride + j] += teacher.v[t * teacher.stride + j];
  mat_put(&student);
  q = mat_doubles(&student);
  if (cols < 100)
    want_dx = ops_doubles(rows * cols);
  for (int64_t t = 0; t < rows; t++) {
    struct loss_case c = {q + t * cols, p + t * cols, cols, 0};
    scale[t] = t % 2 ? 1 : 0.5f;
    want[t] = divergence_loss(&c);
    if (want_dx == NULL)
      continue;
    ops_differences(divergence_loss, &c, c.x, cols, 1e-5, want_dx + t * cols);
    for (int64_t j = 0; j < cols; j++)
      want_dx[t * cols + j] *= (double)scale[t];
  }
  ops_ok("divergence", qtk_op_divergence(ops_ctx, &teacher.t, &student.t, &kl.t, scale, &dx.t));
  ops_check("divergence", &kl, want, 3e-6, 0.01);
  ops_check("divergence", &dx, want_dx, 1e-6, 0.1);
  ops_ok("divergence", qtk_op_divergence(ops_ctx, &teacher.t, &teacher.t, &kl.t, NULL, NULL));
  ops_check("divergence of equals", &kl, ops_doubles(rows), 1e-30, 0);
  ops_end();
}

/* ---- elementwise
 * ------------------------------------------------------------------------------------ */

static void one_elementwise(int64_t rows, int64_t cols)
{
  struct mat a = mat_new(rows, cols, 1), b = mat_new(rows, cols, 1), y = mat_new(rows, cols, 1);
  struct mat v = mat_vector(cols, 1);
  double *want[6], *before = mat_doubles(&y);
  int64_t n = rows * cols;

  for (int k = 0; k < 6; k++)
    want[k] = ops_doubles(n);
  for (int64_t i = 0; i < n; i++) {
    double p = mat_at(&a, i / cols, i % cols), q = mat_at(&b, i / cols, i % cols);
    double c = mat_at(&v, 0, i % cols);
    want[0][i] = p + q;
    want[1][i] = before[i] + 0.75 * p;
    want[2][i] = -1.5 * p;
    want[3][i] = p * q;
    want[4][i] = p * c;
    want[5][i] = p + c;
  }
  ops_ok("axpy", qtk_op_axpy(ops_ctx, 0.75f, &a.t, &y.t));
  ops_check("axpy", &y, want[1], 2e-7, 0);
  ops_ok("add", qtk_op_add(ops_ctx, &a.t, &b.t, &y.t));
  ops_check("add", &y, want[0], 2e-7, 0);
  ops_ok("scale", qtk_op_scale(ops_ctx, -1.5f, &a.t, &y.t));
  ops_check("scale", &y, want[2], 2e-7, 0);
  ops_ok("multiply", qtk_op_multiply(ops_ctx, &a.t, &b.t, &y.t));
  ops_check("multiply", &y, want[3], 2e-7, 0);
  ops_ok("multiply_columns", qtk_op_multiply_columns(ops_ctx, &a.t, &v.t, &y.t));
  ops_check("multiply_columns", &y, want[4], 2e-7, 0);
  ops_ok("add_columns", qtk_op_add_columns(ops_ctx, &a.t, &v.t, &a.t));
  ops_check("add_columns", &a, want[5], 2e-7, 0);
  ops_end();
}

static void one_reduction(int64_t rows, int64_t cols)
{
  struct mat x = mat_new(rows, cols, 1), y = mat_new(rows, cols, 1);
  struct mat s = mat_vector(cols, 1), d = mat_vector(cols, 1);
  double *want_s = mat_doubles(&s), *want_d = mat_doubles(&d), want = 0, got;

  for (int64_t t = 0; t < rows; t++)
    for (int64_t j = 0; j < cols; j++) {
      double product = mat_at(&x, t, j) * mat_at(&y, t, j);
      want_s[j] += mat_at(&x, t, j);
      want_d[j] += product;
      want += product;
    }
  ops_ok("sum_rows", qtk_op_sum_rows(ops_ctx, &x.t, &s.t));
  ops_check("sum_rows", &s, want_s, 1e-6, 0);
  ops_ok("dot_columns", qtk_op_dot_columns(ops_ctx, &x.t, &y.t, &d.t));
  ops_check("dot_columns", &d, want_d, 1e-6, 0);
  ops_ok("dot", qtk_op_dot(ops_ctx, &x.t, &y.t, &got));
  ops_check_numbers("dot", &got, &want, 1, 1e-6, sqrt((double)(rows * cols)));
  ops_end();
}

static void one_copy(enum qtk_dtype from, enum qtk_dtype to)
{
  struct mat x = mat_typed(from, 9, 70, 100), y = mat_typed(to, 9, 70, 1);
  struct mat z = mat_typed(to, 5, 70, 1);
  int32_t rows[5] = {8, 0, 3, 3, 1};
  double *want = ops_doubles(9 * 70), *gathered = ops_doubles(5 * 70);

  for (int64_t i = 0; i < 9 * 70; i++) {
    float value = x.v[i / 70 * x.stride + i % 70], back;
    uint16_t half;
    qtk_convert(to, to == QTK_F32 ? (void *)&back : (void *)&half, QTK_F32, &value, 1);
    qtk_convert(QTK_F32, &back, to, to == QTK_F32 ? (void *)&back : (void *)&half, 1);
    want[i] = (double)back;
  }
  for (int64_t i = 0; i < 5 * 70; i++)
    gathered[i] = want[rows[i / 70] * 70 + i % 70];
  ops_ok("copy", qtk_op_copy(ops_ctx, &x.t, &y.t));
  ops_check("copy", &y, want, 1e-30, 0);
  ops_ok("gather", qtk_op_gather(ops_ctx, &x.t, rows, &z.t));
  ops_check("gather", &z, gathered, 1e-30, 0);
  ops_end();
}

static void one_pool(enum qtk_pool kind, int64_t rows, int64_t width, int64_t windows)
{
  struct mat x = mat_new(rows, width * windows, 1), y = mat_new(rows, windows, 1);
  struct mat dx = mat_new(rows, width * windows, 1);
  double *want = ops_doubles(rows * windows), *want_dx = ops_doubles(rows * width * windows);

  for (int64_t i = 0; i < rows * windows; i++) {
    int64_t t = i / windows, j = i % windows * width, best = 0;
    double sum = 0;
    for (int64_t k = 0; k < width; k++) {
      sum += mat_at(&x, t, j + k) / (double)width;
      best = mat_at(&x, t, j + k) > mat_at(&x, t, j + best) ? k : best;
    }
    want[i] = kind == QTK_POOL_MAX ? mat_at(&x, t, j + best) : sum;
    for (int64_t k = 0; k < width; k++)
      want_dx[t * width * windows + j + k] =
          mat_at(&y, t, i % windows) * (kind == QTK_POOL_MAX ? k == best : 1 / (double)width);
  }
  ops_ok("pool_backward", qtk_op_pool_backward(ops_ctx, kind, width, &x.t, &y.t, &dx.t));
  ops_check("pool_backward", &dx, want_dx, 3e-7, 0);
  ops_ok("pool", qtk_op_pool(ops_ctx, kind, width, &x.t, &y.t));
  ops_check("pool", &y, want, 3e-7, 0);
  ops_end();
}

static void one_dropout(float p, int64_t rows, int64_t cols)
{
  struct mat x = mat_new(rows, cols, 1), y = mat_new(rows, cols, 1);
  double *want = ops_doubles(rows * cols);
  int64_t kept = 0;

  for (int64_t i = 0; i < rows * cols; i++) {
    uint64_t z = 77 + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    if ((double)(z >> 40) < (double)p * 16777216)
      continue;
    want[i] = mat_at(&x, i / cols, i % cols) / (1 - (double)p);
    kept++;
  }
  ops_ok("dropout", qtk_op_dropout(ops_ctx, p, 77, &x.t, &y.t));
  ops_check("dropout", &y, want, 3e-7, 0);
  if (ops_reference() && rows * cols > 10000 &&
      fabs((double)kept / (double)(rows * cols) - 1 + (double)p) > 0.02)
    ops_ok("dropout",
           qtk_error(QTK_ENUMERIC, "%lld of %lld kept", (long long)kept, (long long)(rows * cols)));
  ops_end();
}

static void one_adamw(int64_t rows, int64_t cols)
{
  struct qtk_adamw a = {1e-2, 0.9, 0.999, 1e-8, 0.1, 0};
  struct mat w = mat_new(rows, cols, 1), m = mat_new(rows, cols, 0), v = mat_new(rows, cols, 0);
  double *value = mat_doubles(&w), *mean = mat_doubles(&m), *square = mat_doubles(&v);

  for (a.step = 1; a.step <= 3; a.step++) {
    struct mat g = mat_new(rows, cols, 1);
    for (int64_t i = 0; i < rows * cols; i++) {
      double slope = mat_at(&g, i / cols, i % cols);
      mean[i] = 0.9 * mean[i] + 0.1 * slope;
      square[i] = 0.999 * square[i] + 0.001 * slope * slope;
      value[i] -=
          a.learning_rate * (mean[i] / (1 - pow(0.9, (double)a.step)) /
                                 (sqrt(square[i] / (1 - pow(0.999, (double)a.step))) + a.epsilon) +
                             a.decay * value[i]);
    }
    ops_ok("adamw", qtk_op_adamw(ops_ctx, &a, &g.t, &m.t, &v.t, &w.t));
  }
  ops_check("adamw", &w, value, 1e-6, 0);
  ops_check("adamw", &m, mean, 1e-6, 0);
  ops_check("adamw", &v, square, 1e-6, 0);
  ops_end();
}

/* ---- cases
 * -------------------------------------------------------------------------------------------- */

static void row_cases(void)
{
  static const int64_t shapes[][2] = {{1, 1}, {3, 17}, {5, 64}, {40, 577}, {300, 129}};

  for (int s = 0; s < 5; s++) {
    for (int kind = 0; kind < 2; kind++) {
      if (shapes[s][1] > 1)
        one_norm((enum qtk_norm)kind, shapes[s][0], shapes[s][1], s % 2);
      one_pool((enum qtk_pool)kind, shapes[s][0], s + 1, shapes[s][1]);
    }
    for (int kind = 0; kind <= QTK_ACT_TANH; kind++)
      one_activation((enum qtk_activation)kind, shapes[s][0], shapes[s][1]);
    one_elementwise(shapes[s][0], shapes[s][1]);
    one_reduction(shapes[s][0], shapes[s][1]);
    one_dropout(s % 2 ? 0.1f : 0.5f, shapes[s][0], shapes[s][1]);
    one_adamw(shapes[s][0], shapes[s][1]);
  }
  one_dropout(0, 3, 5);
  one_elementwise(1, 40000);
  one_reduction(2, 40000);
}

static void cases(void)
{
  static const enum qtk_dtype types[] = {QTK_F32, QTK_F16, QTK_BF16};

  row_cases();
  one_cross_entropy(1, 1, 1);
  one_cross_entropy(9, 33, 3);
  one_cross_entropy(20, 5000, 8);
  one_cross_entropy(4, 49152, 50);
  one_cross_slope(50);
  one_divergence(1, 1, 1);
  one_divergence(6, 50, 1);
  one_divergence(5, 5003, 0.1);
  one_divergence(3, 49152, 0.01);
  for (int i = 0; i < 9; i++)
    one_copy(types[i / 3], types[i % 3]);
}

int main(void)
{
  return ops_main(cases);
}
