/* SPDX-License-Identifier: BSD-3-Clause
 * What training takes, from shapes alone: an engine whose weights and parameters have no
 * places is asked for what a pass forward and backward would take. */
#include <stdlib.h>

#include "core/engine-inner.h"
#include "core/error.h"
#include "core/moment.h"

#define MEASURE_MOMENTS 2 /* of the optimizer */

static uint64_t measure_values(const struct qtk_param *p)
{
  uint64_t n = 1;

  for (int i = 0; i < p->ndim; i++)
    n *= (uint64_t)p->shape[i];
  return n;
}

static uint64_t measure_max(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* ---- what is there before a pass ------------------------------------------------------------ */

static const struct qtk_qlayout *measure_layout(const struct qtk_engine_case *c, int tensor)
{
  return c->layouts != NULL ? c->layouts[tensor] : &qtk_model_tensor(c->model, tensor)->layout;
}

/* What an adapter trains is a parameter instead. Of matrices in blocks those of one alone are
 * held where weights are streamed. */
static uint64_t measure_weights(const struct qtk_engine *e, const struct qtk_engine_case *c)
{
  uint64_t bytes = 0, block = 0, most = 0;
  int layer = -1, stream = c->stream && qtk_engine_may_stream(e);

  for (int i = 0; i < qtk_model_count(c->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(c->model, i);
    uint64_t own = t->ndim == 2 ? qtk_qlayout_bytes(measure_layout(c, i)) : 4 * (uint64_t)t->rows;
    if (qtk_engine_trains(e, i))
      continue;
    if (!stream || t->ndim != 2 || t->layer < 0) {
      bytes += own;
      continue;
    }
    block = t->layer == layer ? block + own : own;
    layer = t->layer;
    most = measure_max(most, block);
  }
  return bytes + most;
}

/* Every adapter has values, the topmost alone gradients and an optimizer. */
static void measure_params(const struct qtk_engine *e, const struct qtk_engine_case *c,
                           struct qtk_engine_sizes *sizes)
{
  int desk = 0;

  for (int i = 0; i < e->n_adapters; i++) {
    const struct engine_adapter *a = &e->adapters[i];
    sizes->adapters += a->ops->memory != NULL ? a->ops->memory(a->h, c->tokens, !c->look) : 0;
    for (size_t k = 0; k < a->params.length; k++) {
      const struct qtk_param *p = &a->params.data[k].param;
      uint64_t n = measure_values(p);
      int coded = c->coded && qtk_moment_codes((int64_t)n);
      sizes->parameters += sizeof(float) * n;
      if (i + 1 < e->n_adapters)
        continue;
      sizes->trainable += n;
      sizes->disk += qtk_dtype_size(p->disk_dtype) * n;
      sizes->optimizer += MEASURE_MOMENTS * qtk_moment_bytes((int64_t)n, coded);
      desk |= coded;
    }
  }
  sizes->gradients = sizeof(float) * sizes->trainable;
  sizes->moments = sizes->optimizer;
  if (desk)
    sizes->optimizer += qtk_moment_desk_bytes() +
                        MEASURE_MOMENTS * sizeof(float) * QTK_MOMENT_CHUNK;
}

/* ---- a pass ------------------------------------------------------------------------------------ */

/* What the blocks take: a tape each of those that keep what backward needs, or under
 * checkpointing the largest and what enters each, whose first run keeps nothing; and what all of
 * them share. */
static uint64_t measure_frames(const struct qtk_engine *e, const struct qtk_engine_case *c)
{
  const struct qtk_session s = {.training = !c->look};
  uint64_t tapes = 0, brief = 0, shared = 0, entering = 0;

  for (int64_t i = 0; i < e->arch->layers; i++) {
    struct block_room room = {0}, first = {0};
    struct block_frame frame;
    int tape = qtk_engine_tapes(e, &s, i);
    qtk_block_lay_out(&e->layers[i].block, c->tokens, tape ? BLOCK_TRAINING : BLOCK_RUN, &room,
                      &frame);
    qtk_block_lay_out(&e->layers[i].block, c->tokens,
                      tape && !c->checkpoint ? BLOCK_TRAINING : BLOCK_RUN, &first, &frame);
    shared = measure_max(shared, measure_max(room.shared_bytes, first.shared_bytes));
    brief = measure_max(brief, room.tape_bytes);
    tapes += room.tape_bytes;
    if (tape)
      entering += sizeof(float) * (uint64_t)(c->tokens * e->arch->dims.hidden);
  }
  return shared + (c->checkpoint ? brief + entering : tapes);
}

/* Floats a token that enter and leave the blocks. */
static int64_t measure_forward(const struct qtk_engine *e)
{
  const struct qtk_arch_model *m = e->arch;
  int64_t floats = m->dims.hidden;

  if (m->final_norm || m->positions == QTK_POSITIONS_LEARNED)
    floats += m->dims.hidden;
  if (e->project_in.tensor >= 0 || e->project_out.tensor >= 0)
    floats += m->embedding_width;
  return floats;
}

/* ... and those of their gradients; beside an adapter that mixes only what it is given. */
static int64_t measure_gradients(const struct qtk_engine *e, const struct qtk_session *s)
{
  const struct qtk_arch_model *m = e->arch;
  int64_t floats = qtk_engine_stream_ends(e) ? 0 : m->embedding_width;

  if (!qtk_engine_tapes(e, s, m->layers + ENGINE_BEHIND) || e->lowest > m->layers)
    return floats;
  if (m->final_norm)
    floats += m->dims.hidden + 2;
  if (e->project_out.tensor >= 0)
    floats += m->dims.hidden;
  if (e->lowest == ENGINE_BEFORE && e->project_in.tensor >= 0)
    floats += 2 * m->embedding_width;
  return floats;
}

/* What the teacher's rows take stands beside the model's own. */
static uint64_t measure_logits(const struct qtk_engine *e)
{
  uint64_t rows = sizeof(float) * QTK_LOGIT_CHUNK * (uint64_t)e->arch->vocabulary;

  return rows * (qtk_engine_needs_teacher(e) ? 2 : 1) + sizeof(float) * QTK_LOGIT_CHUNK;
}

static void measure_pass(const struct qtk_engine *e, const struct qtk_engine_case *c,
                         struct qtk_engine_sizes *sizes)
{
  const struct qtk_session s = {.training = !c->look};
  int64_t floats = measure_forward(e) + (c->look ? 0 : measure_gradients(e, &s));

  sizes->activations = measure_frames(e, c) + sizeof(float) * (uint64_t)(floats * c->tokens);
  if (qtk_engine_tapes(e, &s, e->arch->layers - 1))
    sizes->activations += qtk_block_back(&e->layers[0].block, c->tokens);
  sizes->logits = c->look ? 0 : measure_logits(e);
}

/* ---- what the backend takes ------------------------------------------------------------------- */

/* Gradients that adapters at a linear ask for. */
static void measure_sites(const struct block_linear *l, struct qtk_load_product *p)
{
  for (int i = 0; i < l->n_sites; i++) {
    p->gradient |= (l->sites[i].keep.gradients & QTK_GRADIENT_WEIGHTS) != 0;
    p->scales |= (l->sites[i].keep.gradients & QTK_GRADIENT_SCALES) != 0;
  }
}

/* Floats, where a tensor is trained. */
static void measure_product(const struct qtk_engine *e, const struct qtk_engine_case *c, int tensor,
                            struct qtk_qlayout *floats, struct qtk_load_product *p)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(c->model, tensor);

  *floats = (struct qtk_qlayout){
      .encoding = QTK_DENSE, .dtype = QTK_F32, .rows = t->rows, .cols = t->cols};
  *p = (struct qtk_load_product){.w = floats, .tokens = c->tokens};
  p->gradient = qtk_engine_trains(e, tensor);
  if (!p->gradient)
    p->w = measure_layout(c, tensor);
  if (t->layer >= 0)
    measure_sites(&e->layers[t->layer].block.linears[qtk_arch_tensor(
                      qtk_model_arch(c->model), tensor)->role],
                  p);
  if (t->layer < 0 && c->tokens > QTK_LOGIT_CHUNK)
    p->tokens = QTK_LOGIT_CHUNK;
}

/* A load with room for the products of a model, and two more. */
static int measure_load(const struct qtk_engine *e, const struct qtk_model *model, int64_t tokens,
                        int64_t sequences, struct qtk_load *load)
{
  const struct qtk_dims *d = &e->arch->dims;
  size_t n = (size_t)qtk_model_count(model) + 2;
  struct qtk_load_product *products = calloc(n, sizeof *products);

  *load = (struct qtk_load){.tokens = tokens,
                            .sequences = sequences > 0 ? sequences : 1,
                            .heads = d->heads,
                            .kv_heads = d->kv_heads,
                            .head_size = d->head_size,
                            .rotary = e->layers[0].block.rotary_dims,
                            .products = products};
  return products != NULL ? QTK_OK : qtk_error_memory(n * sizeof *products, "a plan");
}

/* What the instance has run before. `square` is the layout of its sums. */
static int measure_before(const struct qtk_engine *e, const struct qtk_engine_before *b,
                          struct qtk_qlayout *square, struct qtk_load *load)
{
  int rc = measure_load(e, b->model, b->tokens, b->sequences, load);
  struct qtk_load_product *products = (struct qtk_load_product *)load->products;
  int64_t length = b->tokens / load->sequences;

  if (rc != QTK_OK)
    return rc;
  for (int i = 0; i < qtk_model_count(b->model); i++)
    if (qtk_model_tensor(b->model, i)->ndim == 2 && qtk_model_tensor(b->model, i)->layer >= 0)
      products[load->n_products++] = (struct qtk_load_product){
          .w = &qtk_model_tensor(b->model, i)->layout, .tokens = b->tokens};
  *square = (struct qtk_qlayout){
      .encoding = QTK_DENSE, .dtype = QTK_F32, .rows = b->square, .cols = b->square};
  products[load->n_products++] =
      (struct qtk_load_product){.w = square, .tokens = length, .gradient = 1};
  products[load->n_products++] =
      (struct qtk_load_product){.w = square, .tokens = b->square, .gradient = 1};
  return QTK_OK;
}

/* Passes of this model. */
static void measure_products(const struct qtk_engine *e, const struct qtk_engine_case *c,
                             struct qtk_qlayout *floats, struct qtk_load *load)
{
  struct qtk_load_product *products = (struct qtk_load_product *)load->products;

  load->training = !c->look;
  for (int i = 0; i < qtk_model_count(c->model); i++)
    if (qtk_model_tensor(c->model, i)->ndim == 2)
      measure_product(e, c, i, &floats[i], &products[load->n_products++]);
}

static int measure_scratch(const struct qtk_engine *e, const struct qtk_engine_case *c,
                           struct qtk_engine_sizes *sizes)
{
  size_t n = (size_t)qtk_model_count(c->model);
  struct qtk_qlayout *floats = calloc(n + 1, sizeof *floats), square;
  struct qtk_load load = {0}, before = {0};
  int rc = floats == NULL ? qtk_error_memory(n * sizeof *floats, "a plan")
                          : measure_load(e, c->model, c->tokens, c->sequences, &load);

  if (rc == QTK_OK && c->before != NULL) {
    rc = measure_before(e, c->before, &square, &before);
    load.before = &before;
  }
  if (rc == QTK_OK) {
    measure_products(e, c, floats, &load);
    sizes->scratch = c->backend->scratch(&load, c->threads);
  }
  free(floats);
  free((void *)(uintptr_t)load.products);
  free((void *)(uintptr_t)before.products);
  return rc;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static int measure_open(struct qtk_engine *e, const struct qtk_engine_case *c)
{
  int rc = qtk_engine_make_blocks(e);

  if (rc != QTK_OK)
    return rc;
  qtk_engine_plan_weights(e, c->layouts);
  rc = qtk_engine_claim(e, c->adapters, c->n_adapters);
  return rc == QTK_OK ? qtk_engine_attach(e) : rc;
}

int qtk_engine_open_planned(struct qtk_context *ctx, const struct qtk_engine_case *c,
                            struct qtk_engine **engine)
{
  struct qtk_engine *e = calloc(1, sizeof *e);
  int rc;

  if (e == NULL)
    return qtk_error_memory(sizeof *e, "an engine");
  e->ctx = ctx;
  e->model = c->model;
  e->arch = qtk_arch_model(qtk_model_arch(c->model));
  e->planned = 1;
  rc = measure_open(e, c);
  if (rc != QTK_OK)
    qtk_engine_close(e);
  else
    *engine = e;
  return rc;
}

int qtk_engine_measure(struct qtk_context *ctx, const struct qtk_engine_case *c,
                       struct qtk_engine_sizes *sizes)
{
  struct qtk_engine *e;
  int rc = qtk_engine_open_planned(ctx, c, &e);

  *sizes = (struct qtk_engine_sizes){0};
  if (rc != QTK_OK)
    return rc;
  sizes->weights = measure_weights(e, c);
  measure_params(e, c, sizes);
  measure_pass(e, c, sizes);
  if (c->backend != NULL && c->backend->scratch != NULL)
    rc = measure_scratch(e, c, sizes);
  qtk_engine_close(e);
  return rc;
}
