/* SPDX-License-Identifier: BSD-3-Clause
 * How each kind of stage is laid out. Only for the plan's own files. */
#ifndef QTK_CORE_PLAN_STAGE_H
#define QTK_CORE_PLAN_STAGE_H

#include "core/pattern.h"
#include "core/plan.h"

/* ---- a plugin with its options ---------------------------------------------------- */

/* The plugin that `named` names; its options are the keys of `table` that are not in
 * `core_keys`. QTK_EJOB if there is none, QTK_EPLUGIN if it is broken. */
int qtk_plan_method_open(enum qtk_kind kind, const struct qtk_toml *named,
                         const struct qtk_toml *table, const char *const *core_keys,
                         struct qtk_plan_method *method);
/* Puts the place in front of the message of a plugin that could not be had: QTK_EJOB
 * if no plugin has that name, else `rc`. */
int qtk_plan_method_failed(int rc, enum qtk_kind kind, const struct qtk_toml *named);
void qtk_plan_method_end(struct qtk_plan_method *method);

/* ---- stages -------------------------------------------------------------------------- */

/* Each fills what it owns of `stage`; ended by qtk_plan_free, also after an error.
 * plan->layouts are those that the stage finds, and after it those that it leaves. */
int qtk_plan_quantize(struct qtk_plan *plan, struct qtk_plan_stage *stage);
int qtk_plan_evaluate(struct qtk_context *ctx, struct qtk_plan *plan,
                      struct qtk_plan_stage *stage);
int qtk_plan_export(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage);
/* The same of an adapter, once the format is open. */
int qtk_plan_foreign(struct qtk_context *ctx, struct qtk_plan *plan,
                     struct qtk_plan_stage *stage);
void qtk_plan_foreign_end(struct qtk_plan_stage *stage);
int qtk_plan_adapt(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage);
void qtk_plan_adapt_end(struct qtk_plan_adapt *adapt);
int qtk_plan_merge(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage);
void qtk_plan_merge_end(struct qtk_plan_merge *merge);
/* All of it, in memory at once; with checkpoints, with a teacher that is streamed. */
uint64_t qtk_plan_adapt_bytes(const struct qtk_plan_adapt *a, int checkpoint, int stream);
/* What a teacher takes that runs before the training alone. */
uint64_t qtk_plan_adapt_before(const struct qtk_plan_adapt *a, int stream);
/* stage->run, of an evaluate stage that is laid out. */
int qtk_plan_run(struct qtk_context *ctx, const struct qtk_plan *plan,
                 struct qtk_plan_stage *stage);
/* Bytes of the backend's own that stages before this one leave to it. */
uint64_t qtk_plan_scratch(const struct qtk_plan *plan, const struct qtk_plan_stage *stage);
uint64_t qtk_plan_run_bytes(const struct qtk_plan_run *run);
/* plan->adapters: those of the model as it is opened. */
int qtk_plan_adapt_begin(struct qtk_plan *plan);
/* plan->left, n_left; the error that [output] asks for an adapter, or for its base, and the job
 * does not leave such a one. */
int qtk_plan_left(struct qtk_plan *plan);
/* The error that a stage cannot run over adapters that are not merged, if there are any. */
int qtk_plan_adapt_none(const struct qtk_plan *plan, const struct qtk_plan_stage *stage);
/* The part of it that depends on layouts; may be done again. */
int qtk_plan_export_tensors(struct qtk_plan *plan, struct qtk_plan_stage *stage);
/* What the methods of a quantize stage need, once they are known; what the stage gives
 * them, once its linears are. */
void qtk_plan_needs(struct qtk_plan_method *method);
int qtk_plan_calibrate(struct qtk_plan *plan, struct qtk_plan_stage *stage);
/* Chooses how the stage's statistics are made so that they take at most `room` bytes, if
 * that can be: calibrate.memory, .disk. `weights` are the bytes of a block's. */
int qtk_plan_calibrate_fit(const struct qtk_plan *plan, struct qtk_plan_quantize *q,
                           uint64_t weights, uint64_t room);
/* Under a budget: its candidates, once the stage's own method is open; method `m` at each of
 * them, whose options are those of `table`; those of a linear that has method m, *open 0 if its
 * bits are given; the bytes that are allowed, once the linears are known. */
int qtk_plan_budget_begin(struct qtk_plan_stage *stage);
int qtk_plan_budget_method(struct qtk_plan_stage *stage, size_t m, const struct qtk_toml *named,
                           const struct qtk_toml *table, const char *const *core_keys);
int qtk_plan_budget_linear(const struct qtk_plan_quantize *quantize, size_t m,
                           struct qtk_plan_linear *linear, int *open);
int qtk_plan_budget_fit(const struct qtk_plan *plan, struct qtk_plan_stage *stage);
void qtk_plan_budget_end(struct qtk_plan_quantize *quantize);
/* A redo: what is done again, and what is kept. Then the layouts of that. */
int qtk_plan_redo(struct qtk_plan *plan);
void qtk_plan_redo_layouts(struct qtk_plan *plan);
/* Asks a linear's plugin whether it can, and in which layout. */
int qtk_plan_describe(struct qtk_plan_linear *linear);
/* Sums up the groups' bytes. */
void qtk_plan_group_bytes(struct qtk_plan_quantize *quantize);
void qtk_plan_quantize_end(struct qtk_plan_quantize *quantize);

/* Reads what an evaluate stage gives labels to, where the model has a head by then. */
int qtk_plan_labels(struct qtk_context *ctx, const struct qtk_plan *plan,
                    struct qtk_plan_stage *stage);
/* Reads the data of an adapt stage. */
int qtk_plan_data(struct qtk_context *ctx, const struct qtk_plan *plan,
                  struct qtk_plan_stage *stage);
/* plan->resolved. */
int qtk_plan_resolve(struct qtk_plan *plan);
/* memory, bundle_bytes, disk; QTK_ENOMEM if the limit is too low. */
int qtk_plan_sizes(struct qtk_context *ctx, struct qtk_plan *plan);

#endif
