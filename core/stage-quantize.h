/* SPDX-License-Identifier: BSD-3-Clause
 * A quantize stage at work. Only for its own files. */
#ifndef QTK_CORE_STAGE_QUANTIZE_H
#define QTK_CORE_STAGE_QUANTIZE_H

#include "core/calibrate.h"
#include "core/stage.h"

/* What came of one linear. */
struct quantize_outcome {
  double lost, whole; /* sum (w - what)^2, sum w^2 */
  double seconds;
  struct qtk_quantize_result result;
};

/* One group of linears at work: a block's, or one outside the blocks. */
struct quantize_block {
  struct qtk_work *work;
  const struct qtk_plan_quantize *plan;
  const struct qtk_plan_group *group;
  void *memory;              /* that the views lie in */
  /* [group->n] each: */
  struct qtk_qtensor *views;
  struct quantize_outcome *outcomes;
  struct qtk_calibration *calibrations;
};

/* A stage with statistics; {0} without. */
struct quantize_calibration {
  struct qtk_work *work;
  const struct qtk_plan_quantize *plan;
  struct qtk_calibrator *calibrator; /* opened when first needed */
  struct qtk_model *opened;          /* the model's file once more, as source */
  size_t last;                       /* group that needs statistics */
  int measures;                      /* for a budget; what is said of the text comes later */
  double seconds;
};

static inline const struct qtk_plan_linear *quantize_linear(const struct quantize_block *b,
                                                            size_t i)
{
  return &b->plan->linears[b->group->first + i];
}

/* What a budget came to. */
struct quantize_budget {
  double *errors; /* [n_linears, candidates]; of linears without candidates 0 */
  int *choice;    /* [n_linears] */
};

/* ---- stage-budget ---- */

/* Measures what linears of stage `stage` lose at each candidate, or takes it from the state,
 * and settles the plan. Without a budget nothing is done. */
int qtk_quantize_budget(struct qtk_work *work, size_t stage, struct quantize_budget *budget);
void qtk_quantize_budget_end(struct quantize_budget *budget);
int qtk_quantize_budget_report(const struct qtk_work *work, size_t stage,
                               const struct quantize_budget *budget, json_t *entry);

/* ---- stage-redo ---- */

/* Puts what a redo keeps of the bundle under the model; without one nothing is done. */
int qtk_redo_keep(struct qtk_work *work);
/* What the bundle's report says of the layers that are kept. */
int qtk_redo_report(const struct qtk_work *work, const struct qtk_plan_quantize *quantize,
                    json_t *entry);

/* ---- stage-round ---- */

/* Rounds those linears of the group for which in[i] is not 0. */
int qtk_quantize_round(struct quantize_block *b, const char *in);

/* ---- stage-calibrate ---- */

void qtk_calibration_begin(struct quantize_calibration *c, struct qtk_work *work, size_t stage);
void qtk_calibration_end(struct quantize_calibration *c);
/* Rounds a group with statistics of what its linears read. */
int qtk_calibration_quantize(struct quantize_calibration *c, struct quantize_block *b);
/* Statistics of what the linears with candidates read in the group as it is, all at once. The
 * calibration may then enter only groups behind it. */
int qtk_calibration_look(struct quantize_calibration *c, struct quantize_block *b);
/* Ends what was looked at for. */
void qtk_calibration_forget(struct quantize_block *b);
/* Group `group` is done: its tensors are about to be the model's. */
void qtk_calibration_done(struct quantize_calibration *c, size_t group);
/* Whether the group needs statistics. */
int qtk_calibration_wanted(const struct qtk_plan_quantize *q, size_t group);
int qtk_calibration_report(const struct quantize_calibration *c, json_t *entry);

#endif
