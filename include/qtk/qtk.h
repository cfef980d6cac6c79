/* SPDX-License-Identifier: BSD-3-Clause
 * For programs that use qtk: a job in, a report and a bundle out. */
#ifndef QTK_QTK_H
#define QTK_QTK_H

#include <qtk/base.h>
#include <qtk/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How to run a job. Start from QTK_RUN_INIT; `size` lets later versions add
 * fields at the end. */
struct qtk_run {
  size_t size;
  const char *const *set; /* "stage.1.bits=4", ended by NULL; or NULL */
  int resume;             /* go on from the state of an interrupted run */
  int dry_run;            /* plan only */
  volatile int *stop;     /* set it (in a signal handler) to stop cleanly; or NULL */
  const char *const *redo; /* expressions, ended by NULL: these linears of the finished job
                              again, the rest of its bundle stays; or NULL */
  int force;               /* put adapters on other bases than their own */
};
#define QTK_RUN_INIT { sizeof(struct qtk_run), 0, 0, 0, 0, 0, 0 }

/* Runs the job file at `path`. *report, unless NULL, is the report as JSON text,
 * freed by the caller with free (). Expected: QTK_EJOB, QTK_EINPUT, QTK_ENOMEM,
 * QTK_EINTERRUPTED (state is kept; run again with resume). */
QTK_PUBLIC int qtk_run_job(const char *path, const struct qtk_run *run, char **report);

#ifdef __cplusplus
}
#endif
#endif
