/* SPDX-License-Identifier: BSD-3-Clause
 * A job from end to end: opens what it names, lays it out, runs its stages, writes
 * bundle and report. qtk_run_job of <qtk/qtk.h> stands on it. */
#ifndef QTK_CORE_PIPELINE_H
#define QTK_CORE_PIPELINE_H

#include <signal.h>

#include "core/plan.h"
#include "core/report.h"

struct qtk_pipeline;

/* What came of it. */
struct qtk_outcome {
  json_t *report;
  const char *state;     /* the folder that an interrupted run left, or NULL */
  const char *bundle;    /* path, or NULL */
  uint64_t bundle_bytes;
  char model_digest[65]; /* of the bundle's tensors */
  const char *base;      /* path, or NULL */
  uint64_t base_bytes;
  const char *adapter;   /* path, or NULL */
  uint64_t adapter_bytes;
  const char *report_path, *page;
};

struct qtk_pipeline_options {
  int resume;   /* go on from the state of an interrupted run */
  int no_state; /* keep none: short work that is not worth it */
};

/* Opens the models and plans; `stop` may be NULL. The job is borrowed. */
QTK_PUBLIC int qtk_pipeline_open(const struct qtk_job *job, const volatile sig_atomic_t *stop,
                                 struct qtk_pipeline **pipeline);
QTK_PUBLIC void qtk_pipeline_close(struct qtk_pipeline *pipeline); /* NULL is fine */
/* What is planned, with a guess of the time that it will take. */
QTK_PUBLIC int qtk_pipeline_plan(struct qtk_pipeline *pipeline, const struct qtk_plan **plan);

/* Does the work, once. *outcome is the pipeline's and is filled as far as the work
 * got, also on an error. */
QTK_PUBLIC int qtk_pipeline_run(struct qtk_pipeline *pipeline,
                                const struct qtk_pipeline_options *options,
                                const struct qtk_outcome **outcome);

#endif
