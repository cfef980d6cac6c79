/* SPDX-License-Identifier: BSD-3-Clause
 * Runs the stages of a plan, one after the other, over one model. What a stage has
 * finished is durable: a run that goes on skips it. */
#ifndef QTK_CORE_STAGE_H
#define QTK_CORE_STAGE_H

#include "core/plan.h"
#include "core/report.h"
#include "core/state.h"
#include "core/tokenizer.h"
#include "core/vec.h"

/* Where a tensor that a stage made lies in the state. */
struct qtk_kept {
  const struct qtk_state_unit *unit;
  int tensor;
};

/* What the stages work on. */
struct qtk_work {
  struct qtk_context *ctx;
  struct qtk_plan *plan; /* a budget's choice is the one thing that stages put in */
  struct qtk_model *model;
  struct qtk_model *source; /* the unquantized model; NULL: the file of `model` */
  struct qtk_tokenizer *tokenizer; /* NULL: the model has none */
  struct qtk_state *state;  /* NULL: nothing is kept */
  json_t *report;
  const char *recipe;       /* what the results depend on: qtk_plan_portable */
  uint64_t peak;            /* resident bytes at the worst moment of a finished stage */
  QTK_VEC(struct qtk_state_unit *) units; /* that hold tensors of the model */
  QTK_VEC(void *) blocks;                 /* the same without a state */
  struct qtk_kept *kept;                  /* of each tensor of the model; unit NULL: elsewhere */
};

/* Runs stage i and adds it to the report; or takes it from the state. */
int qtk_stage_run(struct qtk_work *work, size_t i);
/* The pages of the state that hold tensor `tensor` will not be needed soon. */
void qtk_stage_drop(struct qtk_work *work, int tensor);
/* Gives back what the stages have put under the model, which must be closed. */
void qtk_stage_end(struct qtk_work *work);

/* ---- for the stages' own files --------------------------------------------------- */

/* A unit that holds tensors of the model, or memory of the arena, is the work's from now on,
 * also if this fails. */
int qtk_stage_own(struct qtk_work *work, struct qtk_state_unit *unit);
int qtk_stage_own_block(struct qtk_work *work, void *block);
/* The model's tensor is this view from now on; who made it, or NULL, with which options. */
int qtk_stage_replace(struct qtk_work *work, int tensor, const struct qtk_qtensor *view,
                      const struct qtk_loaded *maker, const char *options);
/* Reports bits a weight of a stage's own tensors, and of the model as it is now. */
int qtk_stage_sizes(const struct qtk_work *work, uint64_t bytes, uint64_t weights, json_t *entry);

/* Warns if the job measures on what also stands in `text`, which `what` takes in. */
int qtk_stage_overlaps(const struct qtk_work *work, const char *what, const struct qtk_text *text);

/* Fill the stage's entry of the report. */
int qtk_stage_quantize(struct qtk_work *work, size_t i, json_t *entry);
int qtk_stage_evaluate(struct qtk_work *work, size_t i, json_t *entry);
int qtk_stage_export(struct qtk_work *work, size_t i, json_t *entry);
int qtk_stage_adapt(struct qtk_work *work, size_t i, json_t *entry);
int qtk_stage_merge(struct qtk_work *work, size_t i, json_t *entry);

/* Puts what a stage that ran before made back under the model, or on it. */
int qtk_stage_quantize_resume(struct qtk_work *work, size_t i);
int qtk_stage_adapt_resume(struct qtk_work *work, size_t i);
int qtk_stage_merge_resume(struct qtk_work *work, size_t i);
/* The stage is in the state: its checkpoint is not needed any more. */
int qtk_stage_adapt_done(struct qtk_work *work, size_t i);

#endif
