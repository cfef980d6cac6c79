/* SPDX-License-Identifier: BSD-3-Clause
 * A merge stage at work. Only for its own files. */
#ifndef QTK_CORE_STAGE_MERGE_H
#define QTK_CORE_STAGE_MERGE_H

#include "core/eval-logits.h"
#include "core/stage.h"

/* What came of one fold, until it is the model's. */
struct merge_result {
  struct qtk_state_unit *unit; /* NULL: it lies in memory of the run, or is not there */
  /* The tensor; or its scales, and its minima if it has some, as dense matrices. */
  struct qtk_qtensor views[2];
  double error; /* |w - what|^2 / |w|^2, below 0: not known */
};

struct merge {
  struct qtk_work *work;
  size_t stage;
  const struct qtk_plan_merge *plan;
  struct merge_result *results; /* [n_folds] */
  struct qtk_engine *engine;    /* with the adapter of that number alone, or NULL */
  int adapter;
};

/* ---- stage-merge-fold ---- */

/* Makes what comes of fold i, and keeps it. */
int qtk_merge_make(struct merge *m, size_t i);
/* Takes it from the state: *found 0 if it is not there. */
int qtk_merge_recall(struct merge *m, size_t i, int *found);

/* ---- stage-merge-proof ---- */

/* The model before and behind the stage. */
struct merge_proof {
  struct qtk_work *work;
  const struct qtk_plan_merge *plan;
  struct qtk_text text; /* of a file; {0}: the built-in one */
  struct qtk_ids ids;
  const char *name; /* of what was read */
  struct qtk_logits kept;
};

int qtk_proof_begin(struct merge_proof *p, struct qtk_work *work,
                    const struct qtk_plan_merge *plan);
/* QTK_EPLUGIN if what was said to be exact is not. */
int qtk_proof_finish(struct merge_proof *p, json_t *entry);
void qtk_proof_end(struct merge_proof *p); /* {0} is fine */

#endif
