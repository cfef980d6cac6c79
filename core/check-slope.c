/* SPDX-License-Identifier: BSD-3-Clause
 * Gradients against central differences along random directions. */
#include <math.h>
#include <stdlib.h>

#include "core/check-adapter.h"
#include "core/error.h"

#define SLOPE_DIRECTIONS 3
#define SLOPE_STEP 1e-2   /* of the values' own size */
#define SLOPE_AGREES 2e-2 /* of the gradient's length */
#define SLOPE_SMOOTH 0.1  /* two steps may differ by so much */

int64_t qtk_check_values(const struct qtk_tensor *t)
{
  int64_t n = 1;
  for (int i = 0; i < t->ndim; i++)
    n *= t->shape[i];
  return n;
}

/* Values before, along a direction, and moved. */
struct slope_work {
  float *before, *direction, *moved;
  int64_t n;
  double size; /* of the values: root of the mean square */
};

static int slope_put(const struct qtk_slope *s, const struct qtk_tensor *values, const float *from)
{
  size_t bytes = (size_t)qtk_check_values(values) * sizeof *from;
  int status = qtk_device_upload(s->trial->ctx, values->data, from, bytes);
  return status == QTK_OK ? qtk_adapter_changed(s->trial, 0) : status;
}

/* The loss at before + step * size * direction. */
static int slope_at(const struct qtk_slope *s, const struct qtk_tensor *values,
                    const struct slope_work *w, double step, double *loss, double *size)
{
  for (int64_t i = 0; i < w->n; i++)
    w->moved[i] = w->before[i] + (float)(step * w->size * w->direction[i]);
  int status = slope_put(s, values, w->moved);
  return status == QTK_OK ? s->loss(s->arg, loss, size) : status;
}

/* The slope by a step, and the noise that rounding puts on it. */
static int slope_by(const struct qtk_slope *s, const struct qtk_tensor *values,
                    const struct slope_work *w, double step, double *slope, double *noise)
{
  double up, down, size;
  int status = slope_at(s, values, w, step, &up, &size);
  if (status == QTK_OK)
    status = slope_at(s, values, w, -step, &down, &size);
  *slope = (up - down) / (2 * step);
  *noise = 1e-6 * size / step;
  return status;
}

static void slope_size(struct slope_work *w)
{
  double sum = 0;
  for (int64_t i = 0; i < w->n; i++)
    sum += (double)w->before[i] * w->before[i];
  w->size = sum > 0 ? sqrt(sum / (double)w->n) : 0.1;
}

static int slope_direction(struct qtk_check *c, const struct qtk_slope *s,
                           const struct qtk_tensor *values, const struct slope_work *w,
                           const float *gradient, const char *promise, const char *what)
{
  double wanted = 0, length = 0, slope, half, noise, noise_half;
  for (int64_t i = 0; i < w->n; i++) {
    wanted += w->size * w->direction[i] * gradient[i];
    length += (w->size * gradient[i]) * (w->size * gradient[i]);
  }
  int status = slope_by(s, values, w, SLOPE_STEP, &slope, &noise);
  if (status == QTK_OK)
    status = slope_by(s, values, w, SLOPE_STEP / 2, &half, &noise_half);
  if (status != QTK_OK)
    return status;
  double allowed = SLOPE_AGREES * sqrt(length) + noise;
  if (fabs(slope - half) > SLOPE_SMOOTH * fmax(fabs(slope), fabs(half)) + allowed)
    qtk_check_skip(c, promise, "%s: the loss is not smooth there: slopes %g and %g", what, slope,
                   half);
  else
    qtk_check_that(c, fabs(slope - wanted) <= allowed, promise,
                   "%s: slope %g, by the gradient %g (allowed: %g apart)", what, slope, wanted,
                   allowed);
  return QTK_OK;
}

int qtk_check_slopes(struct qtk_check *c, const struct qtk_slope *s,
                     const struct qtk_tensor *values, const float *gradient, const char *promise,
                     const char *what)
{
  struct slope_work w = {.n = qtk_check_values(values)};
  size_t bytes = (size_t)w.n * sizeof(float);
  w.before = malloc(3 * bytes);
  if (w.before == NULL)
    return qtk_error_memory(3 * bytes, "directions");
  w.direction = w.before + w.n;
  w.moved = w.direction + w.n;
  int status = qtk_device_download(s->trial->ctx, w.before, values->data, bytes);
  slope_size(&w);
  for (int i = 0; i < SLOPE_DIRECTIONS && status == QTK_OK; i++) {
    qtk_check_fill(w.direction, w.n, 1.0f, 900 + (uint64_t)i);
    status = slope_direction(c, s, values, &w, gradient, promise, what);
  }
  int restored = slope_put(s, values, w.before);
  free(w.before);
  return status == QTK_OK ? restored : status;
}
