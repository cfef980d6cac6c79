/* SPDX-License-Identifier: BSD-3-Clause
 * Parameters: names, shapes, starts. */
#define QTK_API 1
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qst.h"

/* ---- the list --------------------------------------------------------------------------- */

static struct qst_param *params_push(struct qst *q)
{
  struct qst_param *p = q->params;
  int room = q->room > 0 ? 2 * q->room : 64;

  if (q->n_params == q->room) {
    p = realloc(p, (size_t)room * sizeof *p);
    if (p == NULL)
      return NULL;
    q->params = p;
    q->room = room;
  }
  p = &q->params[q->n_params++];
  *p = (struct qst_param){.param = {.learning_rate = 1}, .layer = -1};
  return p;
}

/* A matrix [rows, cols], or a vector [rows] where cols is 0, that starts within 1 / sqrt(fan_in)
 * of 0, or at `start` where fan_in is 0. */
struct params_shape {
  int64_t rows, cols, fan_in;
  float start;
  int exact; /* kept in 32 bits: few values, whose small changes matter */
};

static int params_add(struct qst *q, struct qst_value *to, const struct params_shape *shape,
                      const char *name, int layer)
{
  struct qst_param *p = params_push(q);

  if (p == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for the list of parameters");
  p->to = to;
  p->start = shape->start;
  p->bound = shape->fan_in > 0 ? 1 / sqrt((double)shape->fan_in) : 0;
  p->param.ndim = shape->cols > 0 ? 2 : 1;
  p->param.shape[0] = shape->rows;
  p->param.shape[1] = shape->cols;
  p->param.decay = shape->cols > 0;
  p->param.disk_dtype =
      shape->exact || strcmp(q->options->dtype, "f32") == 0 ? QTK_F32 : QTK_F16;
  if (layer < 0)
    snprintf(p->param.name, sizeof p->param.name, "side.%s", name);
  else
    snprintf(p->param.name, sizeof p->param.name, "side.layers.%d.%s", layer, name);
  return QTK_OK;
}

/* Says of the last one which tensor of the model it is a part of. */
static void params_cut(struct qst *q, const char *role, const char *part, int layer)
{
  struct qst_param *p = &q->params[q->n_params - 1];

  if (!q->cuts)
    return;
  p->begin = QST_CUT_OUT;
  snprintf(p->role, sizeof p->role, "%s%s", role, part);
  p->layer = layer;
}

/* ---- what there is ----------------------------------------------------------------------- */

static int params_down_first(struct qst *q, struct qst_down *d, int layer)
{
  struct params_shape first = {.cols = q->wide, .fan_in = q->wide};
  struct params_shape second = {.rows = q->narrow, .cols = q->options->rank,
                                .fan_in = q->options->rank};
  int rc;

  first.rows = q->kind == QST_LINEAR ? q->narrow : q->options->rank;
  rc = params_add(q, &d->first, &first, "downsample.first", layer);
  if (rc == QTK_OK && q->kind != QST_LINEAR)
    return params_add(q, &d->second, &second, "downsample.second", layer);
  if (rc == QTK_OK && q->cuts)
    q->params[q->n_params - 1].begin = QST_PICK;
  return rc;
}

static int params_down(struct qst *q, struct qst_down *d, int layer)
{
  const struct params_shape bias = {.rows = q->narrow, .fan_in = q->cuts ? 0 : q->wide};
  const struct params_shape ones = {.rows = q->narrow, .start = 1}, zeros = {.rows = q->narrow};
  int rc = qst_reads(q) ? params_down_first(q, d, layer) : QTK_OK;

  if (rc == QTK_OK && q->kind == QST_LINEAR && q->form == QST_LST)
    rc = params_add(q, &d->bias, &bias, "downsample.bias", layer);
  if (rc != QTK_OK || q->kind != QST_ADAPTER)
    return rc;
  rc = params_add(q, &d->norm_weight, &ones, "downsample.norm.weight", layer);
  return rc == QTK_OK ? params_add(q, &d->norm_bias, &zeros, "downsample.norm.bias", layer) : rc;
}

static int params_block(struct qst *q, struct qtk_block *block, int layer)
{
  struct params_shape shape;
  struct qtk_param of;
  char name[192 + 8];
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && qtk_block_param(block, i, &of, &shape.fan_in); i++) {
    size_t n = strlen(of.name);
    int bias = n > 5 && strcmp(of.name + n - 5, ".bias") == 0;
    shape.rows = of.shape[0];
    shape.cols = of.ndim == 2 ? of.shape[1] : 0;
    shape.start = bias ? 0 : 1;
    shape.exact = 0;
    snprintf(name, sizeof name, "block.%s", of.name);
    rc = params_add(q, NULL, &shape, name, layer);
    if (rc == QTK_OK) {
      q->params[q->n_params - 1].block = block;
      q->params[q->n_params - 1].index = i;
      of.name[strcspn(of.name, ".")] = '\0';
      params_cut(q, of.name, bias ? ".bias" : "", layer - 1);
    }
  }
  return rc;
}

static void params_gates(struct qst *q)
{
  int by_column = q->form == QST_CODE;

  for (int i = 1; i <= q->layers; i++)
    q->layer[i].gate = (struct qst_gate){.squash = QST_SIGMOID,
                                         .sharpness = q->form == QST_LST ? 10 : 1,
                                         .n = by_column ? q->narrow : 1};
  q->mix = (struct qst_gate){.squash = by_column ? QST_SIGMOID : QST_RAW,
                             .sharpness = 1,
                             .n = by_column ? q->out : 1};
}

static int params_layer(struct qst *q, int layer)
{
  struct qst_layer *l = &q->layer[layer];
  const struct params_shape gate = {
      .rows = l->gate.n, .start = q->form == QST_CODE ? 0.5f : 0, .exact = 1};
  int rc = l->down == &l->own ? params_down(q, &l->own, layer) : QTK_OK;

  if (rc == QTK_OK && layer > 0)
    rc = params_add(q, &l->gate.value, &gate, "gate", layer);
  return rc == QTK_OK && layer > 0 ? params_block(q, l->block, layer) : rc;
}

static int params_norm(struct qst *q, int has_bias)
{
  const struct params_shape ones = {.rows = q->narrow, .start = 1}, zeros = {.rows = q->narrow};
  int rc = params_add(q, &q->final_weight, &ones, "norm.weight", -1);

  if (rc != QTK_OK)
    return rc;
  params_cut(q, "final_norm", "", -1);
  if (!has_bias)
    return QTK_OK;
  rc = params_add(q, &q->final_bias, &zeros, "norm.bias", -1);
  if (rc == QTK_OK)
    params_cut(q, "final_norm", ".bias", -1);
  return rc;
}

/* Behind the last block. */
static int params_end(struct qst *q, const struct qtk_model_info *model)
{
  const struct params_shape up = {.rows = q->out, .cols = q->narrow, .fan_in = q->narrow};
  const struct params_shape bias = {.rows = q->out, .fan_in = q->cuts ? 0 : q->narrow};
  const struct params_shape mix = {.rows = q->mix.n, .start = 1, .exact = 1};
  int rc = QTK_OK;

  q->normed = model->final_norm;
  if (q->normed)
    rc = params_norm(q, model->norm_bias);
  if (rc == QTK_OK)
    rc = params_add(q, &q->up, &up, "up.weight", -1);
  if (rc == QTK_OK && q->cuts)
    q->params[q->n_params - 1].begin = QST_PUT;
  if (rc == QTK_OK)
    rc = params_add(q, &q->up_bias, &bias, "up.bias", -1);
  return rc == QTK_OK && q->form != QST_LST ? params_add(q, &q->mix.value, &mix, "alpha", -1) : rc;
}

int qst_params_make(struct qst *q, const struct qtk_model_info *model)
{
  int rc = QTK_OK;

  params_gates(q);
  for (int i = 0; rc == QTK_OK && i <= q->layers; i++)
    rc = params_layer(q, i);
  return rc == QTK_OK ? params_end(q, model) : rc;
}

/* ---- slots ---------------------------------------------------------------------------------- */

int qst_params(void *h, int i, struct qtk_param *param)
{
  const struct qst *q = h;

  if (i >= q->n_params)
    return 0;
  *param = q->params[i].param;
  return 1;
}

int qst_bind(void *h, int i, const struct qtk_tensor *value, const struct qtk_tensor *gradient)
{
  const struct qst_param *p = &((struct qst *)h)->params[i];

  if (p->to == NULL)
    return qtk_block_bind(p->block, p->index, value, gradient);
  *p->to = (struct qst_value){.value = *value, .gradient = *gradient};
  return QTK_OK;
}

/* Draws of a parameter follow from its name. */
static uint64_t params_stream(const char *name)
{
  uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

  for (; *name != '\0'; name++)
    hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
  return hash;
}

int qst_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct qst_param *p = &((struct qst *)h)->params[i];
  const struct qtk_random_key key = {.site = params_stream(p->param.name)};
  int64_t n = p->param.shape[0] * (p->param.ndim == 2 ? p->param.shape[1] : 1);

  if (p->begin != QST_DRAWN)
    return qst_cut_value(ctx, h, p, value);
  for (int64_t k = 0; k < n; k++)
    value[k] = p->bound > 0
                   ? (float)(p->bound * (2 * qtk_random_uniform(ctx, &key, (uint64_t)k) - 1))
                   : p->start;
  return QTK_OK;
}
