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

/* ---- what is there before a pass ------------------------------------------------------------ */

/* What an adapter trains is a parameter instead. */
static uint64_t measure_weights(const struct qtk_engine *e, const struct qtk_engine_case *c)
{
  uint64_t bytes = 0;

  for (int i = 0; i < qtk_model_count(c->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(c->model, i);
    if (qtk_engine_trains(e, i))
      continue;
    bytes += t->ndim == 2 ? qtk_qlayout_bytes(c->layouts[i]) : 4 * (uint64_t)t->rows;
  }
  return bytes;
}

/* Every adapter has values, the topmost alone gradients and an optimizer. */
static void measure_params(const struct qtk_engine *e, const struct qtk_engine_case *c,
                           struct qtk_engine_sizes *sizes)
{
  int desk = 0;

  for (int i = 0; i < e->n_adapters; i++) {
    const struct engine_adapter *a = &e->adapters[i];
    sizes->adapters += a->ops->memory != NULL ? a->ops->memory(a->h, c->tokens) : 0;
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
 * checkpointing the largest and what enters each; and what all of them share. */
static uint64_t measure_frames(const struct qtk_engine *e, const struct qtk_engine_case *c)
{
  const struct qtk_session s = {.training = 1};
  uint64_t tapes = 0, brief = 0, shared = 0, entering = 0;

  for (int64_t i = 0; i < e->arch->layers; i++) {
    struct block_room room = {0};
    struct block_frame frame;
    int tape = qtk_engine_tapes(e, &s, i);
    qtk_block_lay_out(&e->layers[i].block, c->tokens, tape ? BLOCK_TRAINING : BLOCK_RUN, &room,
                      &frame);
    shared = room.shared_bytes > shared ? room.shared_bytes : shared;
    brief = room.tape_bytes > brief ? room.tape_bytes : brief;
    tapes += room.tape_bytes;
    if (tape)
      entering += sizeof(float) * (uint64_t)(c->tokens * e->arch->dims.hidden);
  }
  return shared + (c->checkpoint ? brief + entering : tapes);
}

/* Floats a token of the gradients on their way through a block. */
static int64_t measure_backward(const struct qtk_arch_model *m)
{
  int64_t q = m->dims.heads * m->dims.head_size, kv = m->dims.kv_heads * m->dims.head_size;

  return 3 * m->dims.hidden + (q + 2 * kv) + q + (m->query_norm ? q : 0) + 3 * m->dims.ffn;
}

/* Floats a token outside the blocks: the stream, what the final norm gives, the projections
 * around them, and their gradients. */
static int64_t measure_outside(const struct qtk_engine *e)
{
  const struct qtk_arch_model *m = e->arch;
  int64_t hidden = m->dims.hidden, floats = 2 * hidden;
  int back = e->lowest <= m->layers;

  if (!qtk_engine_stream_ends(e))
    floats += m->embedding_width;
  if (e->project_in.tensor >= 0 || e->project_out.tensor >= 0)
    floats += m->embedding_width;
  if (back && m->final_norm)
    floats += hidden + 2;
  if (e->lowest == ENGINE_BEFORE && e->project_in.tensor >= 0)
    floats += 2 * m->embedding_width;
  return back && e->project_out.tensor >= 0 ? floats + hidden : floats;
}

static void measure_pass(const struct qtk_engine *e, const struct qtk_engine_case *c,
                         struct qtk_engine_sizes *sizes)
{
  const struct qtk_session s = {.training = 1};
  int blocks = qtk_engine_tapes(e, &s, e->arch->layers - 1);
  int64_t floats = measure_outside(e) + (blocks ? measure_backward(e->arch) : 0);

  sizes->activations = measure_frames(e, c) + sizeof(float) * (uint64_t)(floats * c->tokens);
  sizes->logits = sizeof(float) * QTK_LOGIT_CHUNK * (uint64_t)(e->arch->vocabulary + 1);
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
  qtk_engine_close(e);
  return QTK_OK;
}
