/* SPDX-License-Identifier: BSD-3-Clause
 * The weights of a running model: held for as long as it runs, or block by block. */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/device.h"
#include "core/engine-inner.h"
#include "core/error.h"

/* ---- one weight --------------------------------------------------------------------- */

static int weights_hold(struct qtk_engine *e, struct engine_weight *w)
{
  int rc;

  if (w->tensor < 0 || w->held || w->trained)
    return QTK_OK;
  rc = qtk_model_hold(e->ctx, e->model, w->tensor, &w->host);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_device_hold(e->ctx, &w->host, &w->device);
  if (rc != QTK_OK) {
    qtk_model_release(e->ctx, e->model, w->tensor);
    return rc;
  }
  w->held = 1;
  return QTK_OK;
}

static void weights_release(struct qtk_engine *e, struct engine_weight *w)
{
  if (!w->held)
    return;
  qtk_device_release(e->ctx, &w->device);
  qtk_model_release(e->ctx, e->model, w->tensor);
  w->held = 0;
}

/* A vector of the model in backend memory. */
static int weights_vector(struct qtk_engine *e, int tensor, struct qtk_tensor *vector)
{
  int64_t n = qtk_model_tensor(e->model, tensor)->rows;
  size_t bytes = (size_t)n * sizeof(float);
  float *values = malloc(bytes);
  void *memory = NULL;
  int rc = values == NULL ? qtk_error_memory(bytes, "a vector") : QTK_OK;

  if (rc == QTK_OK)
    rc = qtk_model_read(e->model, tensor, 0, n, values, 1);
  if (rc == QTK_OK)
    rc = qtk_device_alloc(e->ctx, bytes, qtk_model_what(e->model), &memory);
  if (rc == QTK_OK)
    rc = qtk_device_upload(e->ctx, memory, values, bytes);
  if (rc == QTK_OK)
    rc = qtk_vec_push(&e->vectors, memory);
  if (rc != QTK_OK)
    qtk_device_free(e->ctx, memory);
  free(values);
  *vector = qtk_vector(QTK_F32, rc == QTK_OK ? memory : NULL, n);
  return rc;
}

/* ---- finding ---------------------------------------------------------------------------- */

static struct engine_weight *weights_matrix(struct qtk_engine *e, const struct qtk_arch_tensor *t)
{
  switch (t->role) {
  case QTK_ROLE_EMBEDDING:
    return &e->embedding;
  case QTK_ROLE_POSITIONS:
    return &e->positions;
  case QTK_ROLE_PROJECT_IN:
    return &e->project_in;
  case QTK_ROLE_PROJECT_OUT:
    return &e->project_out;
  case QTK_ROLE_HEAD:
    return &e->head;
  default:
    return &e->layers[t->layer].weights[t->role];
  }
}

static struct qtk_tensor *weights_place(struct qtk_engine *e, const struct qtk_arch_tensor *t)
{
  struct block_norm *n;

  if (t->role == QTK_ROLE_HEAD)
    return &e->head_bias;
  if (t->role < QTK_ROLE_LINEARS)
    return &e->layers[t->layer].block.linears[t->role].bias;
  n = t->role == QTK_ROLE_FINAL_NORM
          ? &e->final_norm
          : &e->layers[t->layer].block.norms[t->role - QTK_ROLE_NORM1];
  return t->bias ? &n->bias : &n->weight;
}

static void weights_none(struct qtk_engine *e)
{
  e->embedding.tensor = e->positions.tensor = e->project_in.tensor = e->project_out.tensor =
      e->head.tensor = -1;
  for (int64_t i = 0; i < e->arch->layers; i++)
    for (int role = 0; role < QTK_ROLE_LINEARS; role++)
      e->layers[i].weights[role].tensor = -1;
}

int qtk_engine_find_weights(struct qtk_engine *e)
{
  const struct qtk_arch *arch = qtk_model_arch(e->model);
  int rc = QTK_OK;

  weights_none(e);
  for (int i = 0; rc == QTK_OK && i < qtk_arch_tensors(arch); i++) {
    const struct qtk_arch_tensor *t = qtk_arch_tensor(arch, i);
    int trained = qtk_engine_trains(e, i);
    if (t->ndim == 1 && !trained)
      rc = weights_vector(e, i, weights_place(e, t));
    else if (t->ndim == 2) {
      weights_matrix(e, t)->tensor = i;
      weights_matrix(e, t)->trained = trained;
    }
  }
  return rc;
}

int qtk_engine_put(struct qtk_engine *e, int tensor, const struct qtk_tensor *value,
                   const struct qtk_tensor *gradient)
{
  const struct qtk_arch_tensor *t = qtk_arch_tensor(qtk_model_arch(e->model), tensor);

  if (t->layer >= 0)
    return qtk_block_place(&e->layers[t->layer].block, t->role, t->bias, value, gradient);
  if (t->ndim == 2) {
    weights_matrix(e, t)->gradient = *gradient;
    return qtk_block_floats(t->rows, t->cols, value, &weights_matrix(e, t)->device);
  }
  *weights_place(e, t) = *value;
  if (t->role == QTK_ROLE_HEAD)
    e->dhead_bias = *gradient;
  else
    *(t->bias ? &e->final_norm.dbias : &e->final_norm.dweight) = *gradient;
  return QTK_OK;
}

void qtk_engine_plan_weights(struct qtk_engine *e, const struct qtk_qlayout *const *layouts)
{
  const struct qtk_arch *arch = qtk_model_arch(e->model);

  weights_none(e);
  for (int i = 0; i < qtk_arch_tensors(arch); i++) {
    const struct qtk_arch_tensor *t = qtk_arch_tensor(arch, i);
    if (t->ndim != 2)
      continue;
    struct engine_weight *w = weights_matrix(e, t);
    *w = (struct engine_weight){.tensor = i, .host.layout = qtk_model_tensor(e->model, i)->layout};
    if (layouts != NULL)
      w->host.layout = *layouts[i];
    if (t->layer >= 0)
      e->layers[t->layer].block.linears[t->role].w = w->host;
  }
}

/* ---- holding ---------------------------------------------------------------------------------- */

#define WEIGHTS_OUTSIDE 5

/* Weight i outside the blocks. */
static struct engine_weight *weights_outside(struct qtk_engine *e, int i)
{
  struct engine_weight *all[WEIGHTS_OUTSIDE] = {&e->embedding, &e->positions, &e->project_in,
                                                &e->project_out, &e->head};

  return all[i];
}

int qtk_engine_hold(struct qtk_engine *e, int64_t layer)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && layer < 0 && i < WEIGHTS_OUTSIDE; i++)
    rc = weights_hold(e, weights_outside(e, i));
  for (int role = 0; rc == QTK_OK && layer >= 0 && role < QTK_ROLE_LINEARS; role++) {
    struct engine_weight *w = &e->layers[layer].weights[role];
    rc = weights_hold(e, w);
    if (rc == QTK_OK && w->held)
      e->layers[layer].block.linears[role].w = w->device;
  }
  return rc;
}

/* Pages of the file that nobody reads any more do not stay beside what comes next. */
static void weights_drop(struct qtk_engine *e, struct engine_weight *w)
{
  weights_release(e, w);
  if (w->tensor >= 0)
    qtk_model_drop(e->model, w->tensor);
}

void qtk_engine_drop(struct qtk_engine *e, int64_t layer)
{
  for (int i = 0; layer < 0 && i < WEIGHTS_OUTSIDE; i++)
    weights_drop(e, weights_outside(e, i));
  for (int role = 0; layer >= 0 && role < QTK_ROLE_LINEARS; role++)
    weights_drop(e, &e->layers[layer].weights[role]);
}

void qtk_engine_release(struct qtk_engine *e, int tensor)
{
  const struct qtk_arch_tensor *t = qtk_arch_tensor(qtk_model_arch(e->model), tensor);

  if (t->ndim == 2)
    weights_release(e, weights_matrix(e, t));
}

/* A quarter of the room is left for activations. */
static int weights_must_stream(const struct qtk_engine *e)
{
  uint64_t room = qtk_arena_room(&e->ctx->arena), bytes = 0;

  for (int i = 0; i < qtk_model_count(e->model); i++)
    bytes += qtk_qlayout_bytes(&qtk_model_tensor(e->model, i)->layout);
  return bytes > room - room / 4;
}

/* A site shows its base's integers for as long as it lives, and gradients on their way to
 * a tensor that is trained go through the others. */
int qtk_engine_may_stream(const struct qtk_engine *e)
{
  for (int i = 0; i < e->n_adapters; i++)
    if (e->adapters[i].n_sites > 0 || e->adapters[i].trained.length > 0)
      return 0;
  return 1;
}

int qtk_engine_stream(struct qtk_engine *e)
{
  if (e->streaming || !qtk_engine_may_stream(e))
    return 0;
  e->streaming = 1;
  for (int64_t i = 0; i < e->arch->layers; i++)
    qtk_engine_drop(e, i);
  return 1;
}

int qtk_engine_hold_all(struct qtk_engine *e)
{
  int rc;

  e->streaming = qtk_engine_may_stream(e) && (e->streaming || weights_must_stream(e));
  rc = qtk_engine_hold(e, -1);
  for (int64_t i = 0; rc == QTK_OK && !e->streaming && i < e->arch->layers; i++)
    rc = qtk_engine_hold(e, i);
  return rc;
}

void qtk_engine_free_weights(struct qtk_engine *e)
{
  qtk_engine_drop(e, -1);
  for (int64_t i = 0; e->layers != NULL && i < e->arch->layers; i++) {
    qtk_engine_drop(e, i);
    qtk_block_destroy(&e->layers[i].block);
  }
  for (size_t i = 0; i < e->vectors.length; i++)
    qtk_device_free(e->ctx, e->vectors.data[i]);
  qtk_vec_free(&e->vectors);
  free(e->layers);
  e->layers = NULL;
}
