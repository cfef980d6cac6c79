/* SPDX-License-Identifier: BSD-3-Clause
 * qtk_run_job, as a program that uses the library sees it. */
#include "../tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qtk/qtk.h>

static char scratch[4096], job[4200], bundle[4200], state[4200];

static void write_job(const char *model)
{
  FILE *f = fopen(job, "w");
  fprintf(f,
          "[model]\npath = \"%s\"\n[[stage]]\nrun = \"quantize\"\nmethod = \"rtn\"\n"
          "[output]\nreport = \"\"\n",
          model);
  fclose(f);
}

static int exists(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0;
}

static void run_plan(void)
{
  struct qtk_run run = QTK_RUN_INIT;
  char *report = NULL;
  run.dry_run = 1;
  int rc = qtk_run_job(job, &run, &report);
  tap_ok(rc == QTK_OK && report != NULL && strstr(report, "\"predicted\"") != NULL,
         "a plan tells what it predicts");
  tap_ok(!exists(bundle) && !exists(state), "and leaves nothing");
  free(report);
}

static void run_work(void)
{
  const char *const set[] = {"stage.0.bits=3", NULL};
  struct qtk_run run = QTK_RUN_INIT;
  char *report = NULL;
  run.set = set;
  int rc = qtk_run_job(job, &run, &report);
  tap_ok(rc == QTK_OK && exists(bundle), "a job makes a bundle: %s", qtk_error_message());
  tap_ok(report != NULL && strstr(report, "\"bits\": 3") != NULL, "and a report");
  free(report);
  const char *const redo[] = {"v_proj", NULL}, *const eight[] = {"stage.0.bits=8", NULL};
  run.redo = redo;
  run.set = eight;
  report = NULL;
  rc = qtk_run_job(job, &run, &report);
  tap_ok(rc == QTK_OK && report != NULL && strstr(report, "\"bits\": 8") != NULL &&
             strstr(report, "\"bits\": 3") != NULL,
         "a part of it is done again: %s", qtk_error_message());
  free(report);
  unlink(bundle);
  tap_ok(qtk_run_job(job, NULL, NULL) == QTK_OK && exists(bundle), "how and report may be NULL");
  unlink(bundle);
}

static void run_stopped(void)
{
  volatile int stop = 1;
  struct qtk_run run = QTK_RUN_INIT;
  char *report = (char *)"";
  run.stop = &stop;
  tap_ok(qtk_run_job(job, &run, &report) == QTK_EINTERRUPTED && report == NULL, "a job is stopped");
  tap_ok(!exists(bundle), "and leaves no bundle");
  run.stop = NULL;
  run.resume = 1;
  tap_ok(qtk_run_job(job, &run, NULL) == QTK_OK && exists(bundle) && !exists(state),
         "and goes on");
  unlink(bundle);
}

static void run_refused(void)
{
  const char *const set[] = {"stage.0.bits=5", NULL};
  struct qtk_run run = QTK_RUN_INIT;
  run.set = set;
  tap_ok(qtk_run_job(job, &run, NULL) == QTK_EJOB, "a mistake: %s", qtk_error_message());
  tap_ok(qtk_run_job("/nowhere/job.toml", NULL, NULL) == QTK_EJOB, "no job: %s",
         qtk_error_message());
}

int main(void)
{
  const char *source = getenv("QTK_SRCDIR"), *build = getenv("QTK_BUILDDIR");
  char model[4200];
  if (source == NULL || build == NULL)
    return 77;
  snprintf(scratch, sizeof scratch, "%s/tests/run-job-XXXXXX", build);
  if (mkdtemp(scratch) == NULL)
    return 99;
  snprintf(job, sizeof job, "%s/job.toml", scratch);
  snprintf(bundle, sizeof bundle, "%s/job.qtk", scratch);
  snprintf(state, sizeof state, "%s/job.qtk.work", scratch);
  snprintf(model, sizeof model, "%s/tests/data/nano/llama", source);
  write_job(model);
  run_plan();
  run_work();
  run_stopped();
  run_refused();
  unlink(job);
  tap_ok(rmdir(scratch) == 0, "nothing else is left");
  return tap_end();
}
