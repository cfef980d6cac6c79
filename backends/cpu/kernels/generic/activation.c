/* SPDX-License-Identifier: BSD-3-Clause
 * Activations and their derivatives, in double. */
#include <math.h>

#include "../declare.h"

#define SQRT_2_PI 0.79788456080286535588 /* sqrt(2 / pi) */
#define SQRT_HALF 0.70710678118654752440

static double activation_sigmoid(double x)
{
  return 1 / (1 + exp(-x));
}

static double activation_value(enum qtk_activation kind, double x)
{
  switch (kind) {
  case QTK_ACT_SILU:
    return x * activation_sigmoid(x);
  case QTK_ACT_GELU:
    return x * erfc(-x * SQRT_HALF) / 2;
  case QTK_ACT_GELU_TANH: /* (1 + tanh u) / 2 is the sigmoid of 2 u */
    return x * activation_sigmoid(2 * SQRT_2_PI * (x + 0.044715 * x * x * x));
  case QTK_ACT_RELU:
    return x > 0 ? x : 0;
  case QTK_ACT_SIGMOID:
    return activation_sigmoid(x);
  case QTK_ACT_TANH:
    return tanh(x);
  }
  return x;
}

static double activation_slope(enum qtk_activation kind, double x)
{
  double s;

  switch (kind) {
  case QTK_ACT_SILU:
    s = activation_sigmoid(x);
    return s * (1 + x * (1 - s));
  case QTK_ACT_GELU:
    return erfc(-x * SQRT_HALF) / 2 + x * exp(-x * x / 2) * SQRT_2_PI / 2;
  case QTK_ACT_GELU_TANH:
    s = activation_sigmoid(2 * SQRT_2_PI * (x + 0.044715 * x * x * x));
    return s + x * s * (1 - s) * 2 * SQRT_2_PI * (1 + 3 * 0.044715 * x * x);
  case QTK_ACT_RELU:
    return x > 0 ? 1 : 0;
  case QTK_ACT_SIGMOID:
    s = activation_sigmoid(x);
    return s * (1 - s);
  case QTK_ACT_TANH:
    s = tanh(x);
    return 1 - s * s;
  }
  return 1;
}

void cpu_generic_activation(enum qtk_activation kind, int64_t n, const float *x, float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] = (float)activation_value(kind, (double)x[i]);
}

void cpu_generic_activation_backward(enum qtk_activation kind, int64_t n, const float *x,
                                     const float *dy, float *dx)
{
  for (int64_t i = 0; i < n; i++)
    dx[i] = (float)((double)dy[i] * activation_slope(kind, (double)x[i]));
}

void cpu_generic_gated(enum qtk_activation kind, int64_t n, const float *gate, const float *up,
                       float *y)
{
  for (int64_t i = 0; i < n; i++)
    y[i] = (float)(activation_value(kind, (double)gate[i]) * (double)up[i]);
}

void cpu_generic_gated_backward(enum qtk_activation kind, int64_t n, const float *gate,
                                const float *up, const float *dy, float *dgate, float *dup)
{
  for (int64_t i = 0; i < n; i++) {
    double g = (double)gate[i], u = (double)up[i], d = (double)dy[i];
    dgate[i] = (float)(d * u * activation_slope(kind, g));
    dup[i] = (float)(d * activation_value(kind, g));
  }
}
