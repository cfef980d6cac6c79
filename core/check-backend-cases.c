/* SPDX-License-Identifier: BSD-3-Clause
 * A case or more of each operation that takes no weights: norms, activations, losses,
 * elementwise, reductions, solvers, the optimizer. */
#include "core/check-backend.h"

#define RUN(name) static int case_##name(struct qtk_side *s, const struct qtk_case *k)

#define MATRIX(r, c) r, c, QTK_F32, QTK_FILL_NORMAL
#define IN(r, c)             \
  {                          \
    QTK_USE_IN, MATRIX(r, c) \
  }
#define OUT(r, c)             \
  {                           \
    QTK_USE_OUT, MATRIX(r, c) \
  }
#define BOTH(r, c)             \
  {                            \
    QTK_USE_BOTH, MATRIX(r, c) \
  }
#define OF(use, r, c, type, fill)   \
  {                                 \
    QTK_USE_##use, r, c, type, fill \
  }

/* ---- products -------------------------------------------------------------------------- */

RUN(linear_dw)
{
  (void)k;
  return qtk_op_linear_dw(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(matmul)
{
  return qtk_op_matmul(s->ctx, (int)k->a, (int)k->b, 0.5f, &s->t[0], &s->t[1], k->x, &s->t[2]);
}

static const struct qtk_case cases_linear_dw[] = {{"linear_dw",
                                                   "[33, 20] and [33, 70]",
                                                   1e-5,
                                                   case_linear_dw,
                                                   {IN(33, 20), IN(33, 70), BOTH(20, 70)},
                                                   0,
                                                   0,
                                                   0,
                                                   0},
                                                  {"linear_dw",
                                                   "[1, 5] and [1, 9]",
                                                   1e-5,
                                                   case_linear_dw,
                                                   {IN(1, 5), IN(1, 9), BOTH(5, 9)},
                                                   0,
                                                   0,
                                                   0,
                                                   0},
                                                  {0}};

static const struct qtk_case cases_matmul[] = {
    {"matmul", "a b", 1e-5, case_matmul, {IN(17, 40), IN(40, 23), OUT(17, 23)}, 0, 0, 0, 0},
    {"matmul", "aT b + y", 1e-5, case_matmul, {IN(40, 17), IN(40, 23), BOTH(17, 23)}, 1, 0, 1, 0},
    {"matmul", "a bT", 1e-5, case_matmul, {IN(17, 40), IN(23, 40), OUT(17, 23)}, 0, 1, 0, 0},
    {"matmul",
     "aT bT - 2 y",
     1e-5,
     case_matmul,
     {IN(40, 17), IN(23, 40), BOTH(17, 23)},
     1,
     1,
     -2,
     0},
    {0}};

/* ---- embedding --------------------------------------------------------------------------- */

RUN(embedding_backward)
{
  static const int32_t ids[] = {2, 5, 2, 0, 2};
  (void)k;
  return qtk_op_embedding_backward(s->ctx, ids, &s->t[0], &s->t[1]);
}

static const struct qtk_case cases_embedding_backward[] = {{"embedding_backward",
                                                            "an id three times",
                                                            1e-6,
                                                            case_embedding_backward,
                                                            {IN(5, 19), BOTH(6, 19)},
                                                            0,
                                                            0,
                                                            0,
                                                            0},
                                                           {0}};

/* ---- norms --------------------------------------------------------------------------------- */

RUN(norm)
{
  return qtk_op_norm(s->ctx, (enum qtk_norm)k->a, &s->t[0], k->b ? &s->t[3] : NULL,
                     k->b == 2 ? &s->t[4] : NULL, 1e-5f, &s->t[1], &s->t[2]);
}

/* With the statistics of its own forward slot. */
RUN(norm_backward)
{
  enum qtk_norm kind = (enum qtk_norm)k->a;
  int rc = qtk_op_norm(s->ctx, kind, &s->t[0], &s->t[4], NULL, 1e-5f, &s->t[3], &s->t[2]);
  if (rc != QTK_OK)
    return rc;
  return qtk_op_norm_backward(s->ctx, kind, &s->t[0], &s->t[4], &s->t[2], &s->t[1], &s->t[3],
                              &s->t[5], kind == QTK_NORM_LAYER ? &s->t[6] : NULL);
}

static const struct qtk_case cases_norm[] = {
    {"norm",
     "rms",
     1e-5,
     case_norm,
     {IN(7, 50), OUT(7, 50), OUT(7, 2), IN(0, 50), IN(0, 50)},
     QTK_NORM_RMS,
     1,
     0,
     0},
    {"norm",
     "rms without weights",
     1e-5,
     case_norm,
     {IN(7, 64), OUT(7, 64), OUT(7, 2)},
     QTK_NORM_RMS,
     0,
     0,
     0},
    {"norm",
     "layer",
     1e-5,
     case_norm,
     {IN(7, 50), OUT(7, 50), OUT(7, 2), IN(0, 50), IN(0, 50)},
     QTK_NORM_LAYER,
     2,
     0,
     0},
    {0}};

static const struct qtk_case cases_norm_backward[] = {
    {"norm_backward",
     "rms",
     2e-5,
     case_norm_backward,
     {IN(7, 50), IN(7, 50), OUT(7, 2), OUT(7, 50), IN(0, 50), BOTH(0, 50), BOTH(0, 50)},
     QTK_NORM_RMS,
     0,
     0,
     0},
    {"norm_backward",
     "layer",
     2e-5,
     case_norm_backward,
     {IN(7, 50), IN(7, 50), OUT(7, 2), OUT(7, 50), IN(0, 50), BOTH(0, 50), BOTH(0, 50)},
     QTK_NORM_LAYER,
     0,
     0,
     0},
    {0}};

/* ---- activations ----------------------------------------------------------------------------- */

RUN(activation)
{
  return qtk_op_activation(s->ctx, (enum qtk_activation)k->a, &s->t[0], &s->t[1]);
}

RUN(activation_backward)
{
  return qtk_op_activation_backward(s->ctx, (enum qtk_activation)k->a, &s->t[0], &s->t[1],
                                    &s->t[2]);
}

RUN(gated)
{
  return qtk_op_gated(s->ctx, (enum qtk_activation)k->a, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(gated_backward)
{
  return qtk_op_gated_backward(s->ctx, (enum qtk_activation)k->a, &s->t[0], &s->t[1], &s->t[2],
                               &s->t[3], &s->t[4]);
}

#define EACH_ACTIVATION(op, ...)                                                           \
  static const struct qtk_case cases_##op[] = {                                            \
      {#op, "silu", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_SILU, 0, 0, 0},                \
      {#op, "gelu", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_GELU, 0, 0, 0},                \
      {#op, "gelu with tanh", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_GELU_TANH, 0, 0, 0}, \
      {#op, "relu", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_RELU, 0, 0, 0},                \
      {#op, "sigmoid", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_SIGMOID, 0, 0, 0},          \
      {#op, "tanh", 1e-5, case_##op, {__VA_ARGS__}, QTK_ACT_TANH, 0, 0, 0},                \
      {0}}

EACH_ACTIVATION(activation, IN(9, 37), OUT(9, 37));
EACH_ACTIVATION(activation_backward, IN(9, 37), IN(9, 37), OUT(9, 37));
EACH_ACTIVATION(gated, IN(9, 37), IN(9, 37), OUT(9, 37));
EACH_ACTIVATION(gated_backward, IN(9, 37), IN(9, 37), IN(9, 37), OUT(9, 37), OUT(9, 37));

/* ---- losses ------------------------------------------------------------------------------------
 */

static const float case_factors[] = {1.0f, 0.5f, 0.25f, 2.0f, 0.0f, 1.0f};

RUN(cross_entropy)
{
  static const int32_t targets[] = {3, 0, -1, 100, 57, 99};
  return qtk_op_cross_entropy(s->ctx, &s->t[0], targets, &s->t[1], case_factors,
                              k->a ? &s->t[2] : NULL);
}

RUN(divergence)
{
  return qtk_op_divergence(s->ctx, &s->t[0], &s->t[1], &s->t[2], case_factors,
                           k->a ? &s->t[3] : NULL);
}

static const struct qtk_case cases_cross_entropy[] = {{"cross_entropy",
                                                       "the loss alone",
                                                       1e-5,
                                                       case_cross_entropy,
                                                       {IN(6, 101), OUT(0, 6)},
                                                       0,
                                                       0,
                                                       0,
                                                       0},
                                                      {"cross_entropy",
                                                       "with its gradient",
                                                       1e-5,
                                                       case_cross_entropy,
                                                       {IN(6, 101), OUT(0, 6), OUT(6, 101)},
                                                       1,
                                                       0,
                                                       0,
                                                       0},
                                                      {0}};

static const struct qtk_case cases_divergence[] = {
    {"divergence",
     "the value alone",
     1e-5,
     case_divergence,
     {IN(6, 101), IN(6, 101), OUT(0, 6)},
     0,
     0,
     0,
     0},
    {"divergence",
     "with its gradient",
     1e-5,
     case_divergence,
     {IN(6, 101), IN(6, 101), OUT(0, 6), OUT(6, 101)},
     1,
     0,
     0,
     0},
    {0}};

/* ---- elementwise and reductions -------------------------------------------------------------- */

RUN(add)
{
  (void)k;
  return qtk_op_add(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(axpy)
{
  return qtk_op_axpy(s->ctx, k->x, &s->t[0], &s->t[1]);
}

RUN(scale)
{
  return qtk_op_scale(s->ctx, k->x, &s->t[0], &s->t[1]);
}

RUN(multiply)
{
  (void)k;
  return qtk_op_multiply(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(multiply_columns)
{
  (void)k;
  return qtk_op_multiply_columns(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(add_columns)
{
  (void)k;
  return qtk_op_add_columns(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(sum_rows)
{
  (void)k;
  return qtk_op_sum_rows(s->ctx, &s->t[0], &s->t[1]);
}

RUN(dot_columns)
{
  (void)k;
  return qtk_op_dot_columns(s->ctx, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(dot)
{
  (void)k;
  return qtk_op_dot(s->ctx, &s->t[0], &s->t[1], &s->number);
}

RUN(gather)
{
  static const int32_t rows[] = {4, 0, 4, 2};
  (void)k;
  return qtk_op_gather(s->ctx, &s->t[0], rows, &s->t[1]);
}

RUN(copy)
{
  (void)k;
  return qtk_op_copy(s->ctx, &s->t[0], &s->t[1]);
}

RUN(pool)
{
  return qtk_op_pool(s->ctx, (enum qtk_pool)k->a, k->b, &s->t[0], &s->t[1]);
}

RUN(pool_backward)
{
  return qtk_op_pool_backward(s->ctx, (enum qtk_pool)k->a, k->b, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(dropout)
{
  return qtk_op_dropout(s->ctx, k->x, UINT64_C(0x0123456789abcdef), &s->t[0], &s->t[1]);
}

#define TWO_IN_ONE_OUT(op, tolerance)                                                             \
  static const struct qtk_case cases_##op[] = {                                                   \
      {#op, "[11, 45]", tolerance, case_##op, {IN(11, 45), IN(11, 45), OUT(11, 45)}, 0, 0, 0, 0}, \
      {0}}

TWO_IN_ONE_OUT(add, 1e-6);
TWO_IN_ONE_OUT(multiply, 1e-6);

static const struct qtk_case cases_axpy[] = {
    {"axpy", "[11, 45]", 1e-6, case_axpy, {IN(11, 45), BOTH(11, 45)}, 0, 0, -1.5f, 0}, {0}};
static const struct qtk_case cases_scale[] = {
    {"scale", "[11, 45]", 1e-6, case_scale, {IN(11, 45), OUT(11, 45)}, 0, 0, 0.3f, 0}, {0}};
static const struct qtk_case cases_multiply_columns[] = {{"multiply_columns",
                                                          "[11, 45]",
                                                          1e-6,
                                                          case_multiply_columns,
                                                          {IN(11, 45), IN(0, 45), OUT(11, 45)},
                                                          0,
                                                          0,
                                                          0,
                                                          0},
                                                         {0}};
static const struct qtk_case cases_add_columns[] = {{"add_columns",
                                                     "[11, 45]",
                                                     1e-6,
                                                     case_add_columns,
                                                     {IN(11, 45), IN(0, 45), OUT(11, 45)},
                                                     0,
                                                     0,
                                                     0,
                                                     0},
                                                    {0}};
static const struct qtk_case cases_sum_rows[] = {
    {"sum_rows", "[70, 45]", 1e-5, case_sum_rows, {IN(70, 45), BOTH(0, 45)}, 0, 0, 0, 0}, {0}};
static const struct qtk_case cases_dot_columns[] = {{"dot_columns",
                                                     "[70, 45]",
                                                     1e-5,
                                                     case_dot_columns,
                                                     {IN(70, 45), IN(70, 45), BOTH(0, 45)},
                                                     0,
                                                     0,
                                                     0,
                                                     0},
                                                    {0}};
static const struct qtk_case cases_dot[] = {
    {"dot", "[70, 45]", 1e-5, case_dot, {IN(70, 45), IN(70, 45)}, 0, 0, 0, 0}, {0}};

#define CAST(op, from, to, rows)                         \
  {                                                      \
#op, #from " to " #to, 1e-6, case_##op,              \
        {OF(IN, 5, 45, QTK_##from, QTK_FILL_NORMAL),     \
         OF(OUT, rows, 45, QTK_##to, QTK_FILL_NORMAL) }, \
         0, 0, 0, 0                                      \
  }

static const struct qtk_case cases_gather[] = {CAST(gather, F32, F32, 4),
                                               CAST(gather, F16, F32, 4),
                                               CAST(gather, F32, F16, 4),
                                               CAST(gather, BF16, F32, 4),
                                               {0}};
static const struct qtk_case cases_copy[] = {CAST(copy, F32, F32, 5),  CAST(copy, F16, F32, 5),
                                             CAST(copy, F32, F16, 5),  CAST(copy, F32, BF16, 5),
                                             CAST(copy, BF16, F32, 5), {0}};

static const struct qtk_case cases_pool[] = {
    {"pool", "average", 1e-6, case_pool, {IN(6, 40), OUT(6, 10)}, QTK_POOL_AVERAGE, 4, 0, 0},
    {"pool", "max", 1e-6, case_pool, {IN(6, 40), OUT(6, 8)}, QTK_POOL_MAX, 5, 0, 0},
    {0}};
static const struct qtk_case cases_pool_backward[] = {{"pool_backward",
                                                       "average",
                                                       1e-6,
                                                       case_pool_backward,
                                                       {IN(6, 40), IN(6, 10), OUT(6, 40)},
                                                       QTK_POOL_AVERAGE,
                                                       4,
                                                       0,
                                                       0},
                                                      {"pool_backward",
                                                       "max",
                                                       1e-6,
                                                       case_pool_backward,
                                                       {IN(6, 40), IN(6, 8), OUT(6, 40)},
                                                       QTK_POOL_MAX,
                                                       5,
                                                       0,
                                                       0},
                                                      {0}};
static const struct qtk_case cases_dropout[] = {
    {"dropout", "p = 0.3", 1e-6, case_dropout, {IN(9, 37), OUT(9, 37)}, 0, 0, 0.3f, 0},
    {"dropout", "p = 0", 1e-6, case_dropout, {IN(9, 37), OUT(9, 37)}, 0, 0, 0, 0},
    {0}};

/* ---- calibration and solvers -------------------------------------------------------------------
 */

RUN(gram)
{
  return qtk_op_gram(s->ctx, k->x, &s->t[0], &s->t[1]);
}

RUN(cross)
{
  return qtk_op_cross(s->ctx, k->x, &s->t[0], &s->t[1], &s->t[2]);
}

RUN(cholesky)
{
  return qtk_op_cholesky(s->ctx, (int)k->a, &s->t[0]);
}

RUN(cholesky_inverse)
{
  (void)k;
  int rc = qtk_op_cholesky(s->ctx, 0, &s->t[0]);
  return rc == QTK_OK ? qtk_op_cholesky_inverse(s->ctx, &s->t[0]) : rc;
}

RUN(triangular_inverse)
{
  (void)k;
  int rc = qtk_op_cholesky(s->ctx, 0, &s->t[0]);
  return rc == QTK_OK ? qtk_op_triangular_inverse(s->ctx, &s->t[0]) : rc;
}

RUN(solve_triangular)
{
  return qtk_op_solve_triangular(s->ctx, (int)k->a, (int)k->b, &s->t[0], &s->t[1]);
}

static const struct qtk_case cases_gram[] = {
    {"gram", "[33, 70]", 1e-5, case_gram, {IN(33, 70), BOTH(70, 70)}, 0, 0, 0.5f, 0}, {0}};
static const struct qtk_case cases_cross[] = {{"cross",
                                               "[33, 70] and [33, 20]",
                                               1e-5,
                                               case_cross,
                                               {IN(33, 70), IN(33, 20), BOTH(70, 20)},
                                               0,
                                               0,
                                               0.5f,
                                               0},
                                              {0}};

#define SPD(n, type) OF(BOTH, n, n, type, QTK_FILL_GRAM)

static const struct qtk_case cases_cholesky[] = {
    {"cholesky", "lower, f32", 1e-4, case_cholesky, {SPD(70, QTK_F32)}, 0, 0, 0, 0},
    {"cholesky", "upper, f32", 1e-4, case_cholesky, {SPD(33, QTK_F32)}, 1, 0, 0, 0},
    {"cholesky", "lower, f64", 1e-10, case_cholesky, {SPD(70, QTK_F64)}, 0, 0, 0, 0},
    {"cholesky", "upper, f64", 1e-10, case_cholesky, {SPD(33, QTK_F64)}, 1, 0, 0, 0},
    {"cholesky", "not positive definite", 1e-4, case_cholesky, {BOTH(20, 20)}, 0, 0, 0, 0},
    {0}};
static const struct qtk_case cases_cholesky_inverse[] = {
    {"cholesky_inverse", "f32", 1e-4, case_cholesky_inverse, {SPD(50, QTK_F32)}, 0, 0, 0, 0},
    {"cholesky_inverse", "f64", 1e-10, case_cholesky_inverse, {SPD(50, QTK_F64)}, 0, 0, 0, 0},
    {0}};

static const struct qtk_case cases_triangular_inverse[] = {
    {"triangular_inverse", "f32", 1e-4, case_triangular_inverse, {SPD(50, QTK_F32)}, 0, 0, 0, 0},
    {"triangular_inverse", "f64", 1e-10, case_triangular_inverse, {SPD(50, QTK_F64)}, 0, 0, 0, 0},
    {0}};

#define TRIANGLE(n) OF(IN, n, n, QTK_F32, QTK_FILL_TRIANGLE)

static const struct qtk_case cases_solve_triangular[] = {{"solve_triangular",
                                                          "lower",
                                                          1e-3,
                                                          case_solve_triangular,
                                                          {TRIANGLE(12), BOTH(12, 9)},
                                                          0,
                                                          0,
                                                          0,
                                                          0},
                                                         {"solve_triangular",
                                                          "lower, transposed",
                                                          1e-3,
                                                          case_solve_triangular,
                                                          {TRIANGLE(12), BOTH(12, 9)},
                                                          0,
                                                          1,
                                                          0,
                                                          0},
                                                         {"solve_triangular",
                                                          "upper",
                                                          1e-3,
                                                          case_solve_triangular,
                                                          {TRIANGLE(12), BOTH(12, 9)},
                                                          1,
                                                          0,
                                                          0,
                                                          0},
                                                         {"solve_triangular",
                                                          "upper, transposed",
                                                          1e-3,
                                                          case_solve_triangular,
                                                          {TRIANGLE(12), BOTH(12, 9)},
                                                          1,
                                                          1,
                                                          0,
                                                          0},
                                                         {0}};

/* ---- optimizer
 * ------------------------------------------------------------------------------------ */

RUN(adamw)
{
  const struct qtk_adamw a = {1e-2, 0.9, 0.999, 1e-8, 0.1, k->a};
  return qtk_op_adamw(s->ctx, &a, &s->t[0], &s->t[1], &s->t[2], &s->t[3]);
}

static const struct qtk_case cases_adamw[] = {
    {"adamw",
     "step 3",
     1e-5,
     case_adamw,
     {IN(0, 333), BOTH(0, 333), OF(BOTH, 0, 333, QTK_F32, QTK_FILL_POSITIVE), BOTH(0, 333)},
     3,
     0,
     0,
     0},
    {0}};

const struct qtk_case *const qtk_cases[] = {cases_linear_dw,
                                            cases_matmul,
                                            cases_embedding_backward,
                                            cases_norm,
                                            cases_norm_backward,
                                            qtk_cases_rope,
                                            qtk_cases_attention,
                                            qtk_cases_attention_backward,
                                            cases_activation,
                                            cases_activation_backward,
                                            cases_gated,
                                            cases_gated_backward,
                                            cases_cross_entropy,
                                            cases_divergence,
                                            cases_add,
                                            cases_axpy,
                                            cases_scale,
                                            cases_multiply,
                                            cases_multiply_columns,
                                            cases_add_columns,
                                            cases_sum_rows,
                                            cases_dot_columns,
                                            cases_dot,
                                            cases_gather,
                                            cases_copy,
                                            cases_pool,
                                            cases_pool_backward,
                                            cases_dropout,
                                            cases_gram,
                                            cases_cross,
                                            cases_cholesky,
                                            cases_cholesky_inverse,
                                            cases_triangular_inverse,
                                            cases_solve_triangular,
                                            cases_adamw,
                                            NULL};
