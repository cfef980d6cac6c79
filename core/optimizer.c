/* SPDX-License-Identifier: BSD-3-Clause
 * The optimizer. Sums go over parameters in their order. */
#include "core/optimizer.h"

#include <math.h>
#include <stdlib.h>

#include "core/device.h"
#include "core/error.h"
#include "core/vec.h"

#include <qtk/ops.h>

/* Vectors of the same length. */
struct optimizer_param {
  struct qtk_param param;
  struct qtk_tensor value, gradient, m, v;
};

struct qtk_optimizer {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  int adapter;
  struct qtk_optimizer_rule rule;
  QTK_VEC(struct optimizer_param) params;
  uint64_t values;
};

/* ---- parameters --------------------------------------------------------------------- */

static struct qtk_tensor optimizer_vector(const struct qtk_param *p, void *data)
{
  int64_t n = 1;

  for (int i = 0; i < p->ndim; i++)
    n *= p->shape[i];
  return qtk_vector(QTK_F32, data, n);
}

static size_t optimizer_bytes(const struct optimizer_param *p)
{
  return (size_t)p->value.shape[0] * sizeof(float);
}

static int optimizer_moment(struct qtk_optimizer *o, const struct optimizer_param *p,
                            struct qtk_tensor *moment)
{
  *moment = p->value;
  moment->data = NULL;
  int rc = qtk_device_alloc(o->ctx, optimizer_bytes(p), "optimizer", &moment->data);
  return rc == QTK_OK ? qtk_device_zero(o->ctx, moment->data, optimizer_bytes(p)) : rc;
}

static int optimizer_add(struct qtk_optimizer *o, const struct qtk_param *param,
                         const struct qtk_tensor *value, const struct qtk_tensor *gradient)
{
  struct optimizer_param p = {.param = *param,
                              .value = optimizer_vector(param, value->data),
                              .gradient = optimizer_vector(param, gradient->data)};
  int rc = gradient->data != NULL
               ? optimizer_moment(o, &p, &p.m)
               : qtk_error(QTK_EINTERNAL, "parameter %s has no gradient", param->name);

  if (rc == QTK_OK)
    rc = optimizer_moment(o, &p, &p.v);
  if (rc == QTK_OK)
    rc = qtk_vec_push(&o->params, p);
  if (rc != QTK_OK) {
    qtk_device_free(o->ctx, p.m.data);
    qtk_device_free(o->ctx, p.v.data);
  }
  o->values += (uint64_t)p.value.shape[0];
  return rc;
}

int qtk_optimizer_new(struct qtk_context *ctx, struct qtk_engine *engine, int adapter,
                      const struct qtk_optimizer_rule *rule, struct qtk_optimizer **optimizer)
{
  struct qtk_optimizer *o = calloc(1, sizeof *o);
  struct qtk_tensor value, gradient;
  struct qtk_param param;
  int rc = QTK_OK;

  if (o == NULL)
    return qtk_error_memory(sizeof *o, "an optimizer");
  o->ctx = ctx;
  o->engine = engine;
  o->adapter = adapter;
  o->rule = *rule;
  for (int i = 0; rc == QTK_OK && qtk_engine_param(engine, adapter, i, &param, &value); i++) {
    qtk_engine_gradient(engine, adapter, i, &gradient);
    rc = optimizer_add(o, &param, &value, &gradient);
  }
  if (rc != QTK_OK) {
    qtk_optimizer_free(o);
    return rc;
  }
  *optimizer = o;
  return QTK_OK;
}

void qtk_optimizer_free(struct qtk_optimizer *o)
{
  if (o == NULL)
    return;
  for (size_t i = 0; i < o->params.length; i++) {
    qtk_device_free(o->ctx, o->params.data[i].m.data);
    qtk_device_free(o->ctx, o->params.data[i].v.data);
  }
  qtk_vec_free(&o->params);
  free(o);
}

int qtk_optimizer_part(struct qtk_optimizer *o, int i, int part, struct qtk_param *param,
                       struct qtk_tensor *t)
{
  if (i < 0 || (size_t)i >= o->params.length)
    return 0;
  const struct optimizer_param *p = &o->params.data[i];
  *param = p->param;
  *t = part == 0 ? p->value : part == 1 ? p->m : p->v;
  return 1;
}

uint64_t qtk_optimizer_values(const struct qtk_optimizer *o)
{
  return o->values;
}

/* ---- a step ----------------------------------------------------------------------------- */

int qtk_optimizer_zero(struct qtk_optimizer *o)
{
  int rc = QTK_OK;

  for (size_t i = 0; rc == QTK_OK && i < o->params.length; i++) {
    const struct optimizer_param *p = &o->params.data[i];
    rc = qtk_device_zero(o->ctx, p->gradient.data, optimizer_bytes(p));
  }
  return rc;
}

/* Names the first parameter whose gradient is not finite, before anything changes. */
static int optimizer_norm(const struct qtk_optimizer *o, double *norm)
{
  double sum = 0.0, squares;

  for (size_t i = 0; i < o->params.length; i++) {
    const struct optimizer_param *p = &o->params.data[i];
    int rc = qtk_op_dot(o->ctx, &p->gradient, &p->gradient, &squares);
    if (rc != QTK_OK)
      return rc;
    if (!isfinite(squares))
      return qtk_error(QTK_ENUMERIC, "the gradient of %s is not finite", p->param.name);
    sum += squares;
  }
  *norm = sqrt(sum);
  return QTK_OK;
}

static int optimizer_update(const struct qtk_optimizer *o, struct optimizer_param *p,
                            int64_t step, double factor)
{
  const struct qtk_optimizer_rule *r = &o->rule;
  const struct qtk_adamw a = {.learning_rate = r->learning_rate * factor * p->param.learning_rate,
                              .beta1 = r->beta1,
                              .beta2 = r->beta2,
                              .epsilon = r->epsilon,
                              .decay = p->param.decay ? r->weight_decay : 0.0,
                              .step = step};

  return qtk_op_adamw(o->ctx, &a, &p->gradient, &p->m, &p->v, &p->value);
}

int qtk_optimizer_step(struct qtk_optimizer *o, int64_t step, double factor, double *norm)
{
  int rc = optimizer_norm(o, norm);
  float down = 1.0f;

  if (rc == QTK_OK && o->rule.clip > 0.0 && *norm > o->rule.clip)
    down = (float)(o->rule.clip / (*norm + 1e-6));
  for (size_t i = 0; rc == QTK_OK && i < o->params.length; i++) {
    struct optimizer_param *p = &o->params.data[i];
    if (down < 1.0f)
      rc = qtk_op_scale(o->ctx, down, &p->gradient, &p->gradient);
    if (rc == QTK_OK)
      rc = optimizer_update(o, p, step, factor);
  }
  return rc == QTK_OK ? qtk_engine_changed(o->engine, o->adapter, 0) : rc;
}
