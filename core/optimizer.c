/* SPDX-License-Identifier: BSD-3-Clause
 * The optimizer. Sums go over parameters in their order. */
#include "core/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/moment.h"
#include "core/vec.h"

/* Vectors of the same length. */
struct optimizer_param {
  struct qtk_param param;
  struct qtk_tensor value, gradient;
  struct qtk_moment moments[2];
};

struct qtk_optimizer {
  struct qtk_context *ctx;
  struct qtk_engine *engine;
  int adapter;
  struct qtk_optimizer_rule rule;
  QTK_VEC(struct optimizer_param) params;
  uint64_t values;
  struct qtk_moment_desk *desk;  /* NULL: no moment is coded */
  struct qtk_tensor chunks[2];   /* of coded moments, as floats */
};

/* ---- kinds ---------------------------------------------------------------------------- */

static const char *const optimizer_names[] = {
    [QTK_OPTIMIZER_ADAMW] = "adamw",
    [QTK_OPTIMIZER_ADAM] = "adam",
    [QTK_OPTIMIZER_ADAMW_8BIT] = "adamw8bit",
};

const char *qtk_optimizer_name(enum qtk_optimizer_kind kind)
{
  return optimizer_names[kind];
}

int qtk_optimizer_find(const char *name, enum qtk_optimizer_kind *kind)
{
  for (int i = 0; i < QTK_OPTIMIZERS; i++)
    if (strcmp(optimizer_names[i], name) == 0) {
      *kind = (enum qtk_optimizer_kind)i;
      return QTK_OK;
    }
  return qtk_error(QTK_EJOB, "optimizer \"%s\": known are adamw, adam, adamw8bit", name);
}

int qtk_optimizer_coded(enum qtk_optimizer_kind kind)
{
  return kind == QTK_OPTIMIZER_ADAMW_8BIT;
}

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

/* The first of both may be below 0, the second not. */
static int optimizer_moments(struct qtk_optimizer *o, struct optimizer_param *p)
{
  int64_t n = p->value.shape[0];
  int coded = qtk_optimizer_coded(o->rule.kind) && qtk_moment_codes(n);
  int rc = qtk_moment_new(o->ctx, n, coded, 1, &p->moments[0]);

  if (rc == QTK_OK)
    rc = qtk_moment_new(o->ctx, n, coded, 0, &p->moments[1]);
  if (rc == QTK_OK && coded && o->desk == NULL)
    rc = qtk_moment_desk_new(o->ctx, &o->desk);
  for (int i = 0; rc == QTK_OK && coded && i < 2; i++)
    if (o->chunks[i].data == NULL)
      rc = qtk_device_matrix(o->ctx, 1, QTK_MOMENT_CHUNK, "optimizer", &o->chunks[i]);
  return rc;
}

static int optimizer_add(struct qtk_optimizer *o, const struct qtk_param *param,
                         const struct qtk_tensor *value, const struct qtk_tensor *gradient)
{
  struct optimizer_param p = {.param = *param,
                              .value = optimizer_vector(param, value->data),
                              .gradient = optimizer_vector(param, gradient->data)};
  int rc = gradient->data != NULL
               ? optimizer_moments(o, &p)
               : qtk_error(QTK_EINTERNAL, "parameter %s has no gradient", param->name);

  if (rc == QTK_OK)
    rc = qtk_vec_push(&o->params, p);
  if (rc != QTK_OK) {
    qtk_moment_free(o->ctx, &p.moments[0]);
    qtk_moment_free(o->ctx, &p.moments[1]);
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
    qtk_moment_free(o->ctx, &o->params.data[i].moments[0]);
    qtk_moment_free(o->ctx, &o->params.data[i].moments[1]);
  }
  qtk_vec_free(&o->params);
  qtk_moment_desk_free(o->ctx, o->desk);
  qtk_device_free(o->ctx, o->chunks[0].data);
  qtk_device_free(o->ctx, o->chunks[1].data);
  free(o);
}

int qtk_optimizer_part(struct qtk_optimizer *o, int i, int part, struct qtk_param *param,
                       struct qtk_tensor *t)
{
  if (i < 0 || (size_t)i >= o->params.length)
    return 0;
  const struct optimizer_param *p = &o->params.data[i];
  const struct qtk_moment *m = p->moments;
  const struct qtk_tensor *floats[] = {&p->value, &m[0].values, &m[1].values};
  const struct qtk_tensor *coded[] = {&p->value, &m[0].values, &m[0].scales, &m[1].values,
                                      &m[1].scales};
  if (part < 0 || part >= (m->coded ? 5 : 3))
    return 0;
  *param = p->param;
  *t = *(m->coded ? coded : floats)[part];
  return 1;
}

uint64_t qtk_optimizer_values(const struct qtk_optimizer *o)
{
  return o->values;
}

/* ---- a step ----------------------------------------------------------------------------- */

void qtk_optimizer_change(struct qtk_optimizer *o, double learning_rate, double clip)
{
  o->rule.learning_rate = learning_rate;
  o->rule.clip = clip;
}

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

/* Values [at, at + n) of a parameter whose moments are codes. */
static int optimizer_chunk(const struct qtk_optimizer *o, const struct qtk_adamw *a,
                           struct optimizer_param *p, int64_t at, int64_t n)
{
  struct qtk_tensor value = qtk_vector(QTK_F32, (float *)p->value.data + at, n);
  const struct qtk_tensor gradient = qtk_vector(QTK_F32, (float *)p->gradient.data + at, n);
  struct qtk_tensor floats[2];
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < 2; i++) {
    floats[i] = qtk_vector(QTK_F32, o->chunks[i].data, n);
    rc = qtk_moment_read(o->ctx, o->desk, &p->moments[i], at, &floats[i]);
  }
  if (rc == QTK_OK)
    rc = qtk_op_adamw(o->ctx, a, &gradient, &floats[0], &floats[1], &value);
  for (int i = 0; rc == QTK_OK && i < 2; i++)
    rc = qtk_moment_write(o->ctx, o->desk, &p->moments[i], at, &floats[i]);
  return rc;
}

static int optimizer_chunks(const struct qtk_optimizer *o, const struct qtk_adamw *a,
                            struct optimizer_param *p)
{
  int64_t all = p->value.shape[0];
  int rc = QTK_OK;

  for (int64_t at = 0; rc == QTK_OK && at < all; at += QTK_MOMENT_CHUNK)
    rc = optimizer_chunk(o, a, p, at, all - at < QTK_MOMENT_CHUNK ? all - at : QTK_MOMENT_CHUNK);
  return rc;
}

static int optimizer_update(const struct qtk_optimizer *o, struct optimizer_param *p,
                            int64_t step, double factor)
{
  const struct qtk_optimizer_rule *r = &o->rule;
  double decay = p->param.decay ? r->weight_decay : 0.0;
  int coupled = r->kind == QTK_OPTIMIZER_ADAM;
  const struct qtk_adamw a = {.learning_rate = r->learning_rate * factor * p->param.learning_rate,
                              .beta1 = r->beta1,
                              .beta2 = r->beta2,
                              .epsilon = r->epsilon,
                              .decay = coupled ? 0.0 : decay,
                              .step = step};
  int rc = coupled && decay > 0.0
               ? qtk_op_axpy(o->ctx, (float)decay, &p->value, &p->gradient)
               : QTK_OK;

  if (rc != QTK_OK)
    return rc;
  return p->moments[0].coded ? optimizer_chunks(o, &a, p)
                             : qtk_op_adamw(o->ctx, &a, &p->gradient, &p->moments[0].values,
                                            &p->moments[1].values, &p->value);
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
