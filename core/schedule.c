/* SPDX-License-Identifier: BSD-3-Clause
 * Learning-rate schedules. */
#include "core/schedule.h"

#include <math.h>
#include <string.h>

#include "core/error.h"

static const char *const schedule_names[] = {
    [QTK_SCHEDULE_CONSTANT] = "constant",
    [QTK_SCHEDULE_LINEAR] = "linear",
    [QTK_SCHEDULE_COSINE] = "cosine",
};

const char *qtk_schedule_name(enum qtk_schedule_shape shape)
{
  return schedule_names[shape];
}

int qtk_schedule_find(const char *name, enum qtk_schedule_shape *shape)
{
  for (int i = 0; i < QTK_SCHEDULE_SHAPES; i++)
    if (strcmp(schedule_names[i], name) == 0) {
      *shape = (enum qtk_schedule_shape)i;
      return QTK_OK;
    }
  return qtk_error(QTK_EJOB, "schedule \"%s\": known are constant, linear, cosine", name);
}

double qtk_schedule_factor(const struct qtk_schedule *s, int64_t step)
{
  double u;

  if (step <= s->warmup)
    return (double)step / (double)s->warmup;
  u = (double)(step - 1 - s->warmup) / (double)(s->steps - s->warmup);
  switch (s->shape) {
  case QTK_SCHEDULE_LINEAR:
    return 1.0 - u;
  case QTK_SCHEDULE_COSINE:
    return 0.5 * (1.0 + cos(3.14159265358979323846 * u));
  default:
    return 1.0;
  }
}
