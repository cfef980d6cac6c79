/* SPDX-License-Identifier: BSD-3-Clause
 * Stages in order: from the state if they are finished, else run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/log.h"
#include "core/stage.h"

static int (*const stage_kinds[])(struct qtk_work *work, size_t i, json_t *entry) = {
  [QTK_JOB_EVALUATE] = qtk_stage_evaluate,
  [QTK_JOB_QUANTIZE] = qtk_stage_quantize,
  [QTK_JOB_EXPORT] = qtk_stage_export,
  [QTK_JOB_ADAPT] = qtk_stage_adapt,
  [QTK_JOB_MERGE] = qtk_stage_merge,
};

#define STAGE_NAME 32

static const char *stage_unit_name(size_t i, char name[STAGE_NAME])
{
  snprintf(name, STAGE_NAME, "stage-%zu", i);
  return name;
}

/* What the finished stage said goes into its entry of this report. */
static int stage_recall(json_t *entry, const char *text)
{
  json_t *said;
  int rc = qtk_json_parse(text, strlen(text), "state", &said);
  if (rc != QTK_OK)
    return rc;
  rc = json_object_update(entry, said) == 0 ? QTK_OK : qtk_error_memory(0, "a report");
  json_decref(said);
  return rc;
}

/* *done is 1 if the state has the stage. */
static int stage_resume(struct qtk_work *work, size_t i, json_t *entry, int *done)
{
  struct qtk_state_unit *unit = NULL;
  char name[STAGE_NAME];
  *done = 0;
  if (work->state == NULL)
    return QTK_OK;
  int rc = qtk_state_get(work->state, stage_unit_name(i, name), &unit);
  if (rc != QTK_OK || unit == NULL)
    return rc;
  *done = 1;
  rc = stage_recall(entry, qtk_unit_text(unit));
  qtk_unit_close(unit);
  if (rc == QTK_OK && work->plan->stages[i].job->kind == QTK_JOB_QUANTIZE)
    rc = qtk_stage_quantize_resume(work, i);
  if (rc == QTK_OK && work->plan->stages[i].job->kind == QTK_JOB_ADAPT)
    rc = qtk_stage_adapt_resume(work, i);
  if (rc == QTK_OK && work->plan->stages[i].job->kind == QTK_JOB_MERGE)
    rc = qtk_stage_merge_resume(work, i);
  return rc;
}

static int stage_keep(struct qtk_work *work, size_t i, const json_t *entry)
{
  struct qtk_str text = {0};
  char name[STAGE_NAME];
  if (work->state == NULL)
    return QTK_OK;
  int rc = qtk_json_write(entry, QTK_JSON_COMPACT, &text);
  if (rc == QTK_OK)
    rc = qtk_state_put(work->state, stage_unit_name(i, name), text.data, NULL, 0, NULL);
  if (rc == QTK_OK && work->plan->stages[i].job->kind == QTK_JOB_ADAPT)
    rc = qtk_stage_adapt_done(work, i);
  qtk_str_free(&text);
  return rc;
}

static int stage_work(struct qtk_work *work, size_t i, json_t *entry)
{
  double start = qtk_seconds();
  int rc = stage_kinds[work->plan->stages[i].job->kind](work, i, entry);
  if (rc != QTK_OK)
    return rc;
  uint64_t peak = qtk_peak_rss();
  work->peak = peak > work->peak ? peak : work->peak;
  if ((rc = qtk_report_end_stage(entry, qtk_seconds() - start, peak)) != QTK_OK)
    return rc;
  return stage_keep(work, i, entry);
}

int qtk_stage_run(struct qtk_work *work, size_t i)
{
  const struct qtk_job_stage *job = work->plan->stages[i].job;
  const char *run = qtk_job_kind_name(job->kind);
  json_t *entry = qtk_report_stage(work->report, run, job->method);
  int done, rc = entry ? stage_resume(work, i, entry, &done) : QTK_ENOMEM;
  if (rc == QTK_OK && done)
    qtk_info("stage %zu (%s) was finished before", i, run);
  if (rc == QTK_OK && !done)
    rc = stage_work(work, i, entry);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED ? rc : qtk_error_at(rc, "stage %zu (%s)", i, run);
}
