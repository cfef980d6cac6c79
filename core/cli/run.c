/* SPDX-License-Identifier: BSD-3-Clause
 * qtk run: a job file from end to end. */
#include <string.h>

#include "core/cli/cli.h"
#include "core/error.h"
#include "core/log.h"
#include "core/pipeline.h"

struct run {
  struct cli_list set, redo;
  int dry_run, resume, force, quiet, verbose;
  int64_t threads;
  const char *log;
};

/* ---- output --------------------------------------------------------------------- */

/* Stages that train, as comments too. */
static int run_print_adapters(const struct qtk_plan *plan)
{
  struct qtk_str lines = {0};
  int rc = QTK_OK;
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++)
    rc = qtk_plan_adapt_text(plan, i, &lines);
  for (const char *line = lines.data; rc == QTK_OK && line != NULL && *line != '\0';) {
    size_t n = strcspn(line, "\n");
    printf("# %.*s\n", (int)n, line);
    line += line[n] != '\0' ? n + 1 : n;
  }
  qtk_str_free(&lines);
  return rc;
}

/* The resolved job is what goes to standard output; what is predicted stands behind it
 * as comments, so that the whole is a job file. */
static int run_print_plan(struct qtk_pipeline *pipeline)
{
  const struct qtk_plan *plan;
  struct qtk_str text = {0};
  char memory[QTK_SIZE_TEXT], disk[QTK_SIZE_TEXT], kept[QTK_SIZE_TEXT];
  int rc = qtk_pipeline_plan(pipeline, &plan);
  if (rc == QTK_OK)
    rc = qtk_toml_write(plan->resolved, &text);
  if (rc == QTK_OK) {
    printf("%s\n# predicted memory: %s at the worst moment\n", text.data,
           qtk_size_text(plan->memory, memory));
    printf("# predicted disk: %s", qtk_size_text(plan->disk, disk));
    if (plan->bundle_bytes > 0)
      printf(", of which the bundle keeps %s", qtk_size_text(plan->bundle_bytes, kept));
    if (plan->base_bytes > 0)
      printf("%s the base keeps %s", plan->bundle_bytes > 0 ? " and" : ", of which",
             qtk_size_text(plan->base_bytes, kept));
    printf("\n");
    printf("# predicted time: about %.2g seconds\n", plan->seconds);
    rc = run_print_adapters(plan);
  }
  if (rc == QTK_OK)
    rc = cli_flush();
  qtk_str_free(&text);
  return rc;
}

static int run_print_outcome(const struct qtk_outcome *outcome)
{
  struct qtk_str table = {0};
  char size[QTK_SIZE_TEXT];
  int rc = qtk_report_table(outcome->report, &table);
  if (rc == QTK_OK) {
    printf("%s", table.data ? table.data : "");
    if (outcome->bundle != NULL)
      printf("bundle  %s  %s\n", outcome->bundle, qtk_size_text(outcome->bundle_bytes, size));
    if (outcome->base != NULL)
      printf("base  %s  %s\n", outcome->base, qtk_size_text(outcome->base_bytes, size));
    if (outcome->adapter != NULL)
      printf("adapter  %s  %s\n", outcome->adapter, qtk_size_text(outcome->adapter_bytes, size));
    if (outcome->report_path != NULL)
      printf("report  %s\n", outcome->report_path);
    if (outcome->page != NULL)
      printf("page  %s\n", outcome->page);
    rc = cli_flush();
  }
  qtk_str_free(&table);
  return rc;
}

/* A word as a shell reads it. */
static void run_quote(struct qtk_str *out, const char *word)
{
  if (word[0] != '\0' && strpbrk(word, " \t\n\"'\\$`*?[](){}<>|&;#~!") == NULL) {
    qtk_str_add(out, word);
    return;
  }
  qtk_str_add(out, "'");
  for (; *word != '\0'; word++)
    if (*word == '\'')
      qtk_str_add(out, "'\\''");
    else
      qtk_str_add_char(out, *word);
  qtk_str_add(out, "'");
}

static void run_say_resume(const struct run *run, const char *job, const char *state)
{
  struct qtk_str command = {0};
  if (state == NULL) {
    qtk_info("nothing was finished: run it again from the start");
    return;
  }
  qtk_str_add(&command, "qtk run ");
  run_quote(&command, job);
  for (size_t i = 0; i < run->set.n; i++) {
    qtk_str_add(&command, " --set ");
    run_quote(&command, run->set.items[i]);
  }
  for (size_t i = 0; i < run->redo.n; i++) {
    qtk_str_add(&command, " --redo ");
    run_quote(&command, run->redo.items[i]);
  }
  qtk_str_add(&command, run->force ? " --force --resume" : " --resume");
  qtk_info("what is finished is in %s; to go on: %s", state, command.data ? command.data : "");
  qtk_str_free(&command);
}

/* Not after a mistake of the job or its numbers, with which it would come to the same end; a disk
 * may get room, a limit be raised. */
static int run_can_go_on(int rc, const struct qtk_outcome *outcome)
{
  return rc == QTK_EINTERRUPTED ||
         ((rc == QTK_EINPUT || rc == QTK_ENOMEM) && outcome->state != NULL);
}

/* ---- work ------------------------------------------------------------------------------ */

static int run_pipeline(const struct run *run, const struct qtk_job *job)
{
  struct qtk_pipeline_options options = {.resume = run->resume};
  const struct qtk_outcome *outcome;
  struct qtk_pipeline *pipeline;
  int rc = qtk_pipeline_open(job, cli_stop_flag(), &pipeline);
  if (rc != QTK_OK)
    return rc;
  if (run->dry_run) {
    rc = run_print_plan(pipeline);
  } else {
    rc = qtk_pipeline_run(pipeline, &options, &outcome);
    if (rc == QTK_OK)
      rc = run_print_outcome(outcome);
    else if (run_can_go_on(rc, outcome))
      run_say_resume(run, job->file, outcome->state);
  }
  qtk_pipeline_close(pipeline);
  return rc;
}

static int run_job(struct run *run, const char *file)
{
  struct qtk_job *job;
  int rc = cli_log_open(run->log, run->quiet, run->verbose);
  if (rc != QTK_OK)
    return rc;
  if ((rc = qtk_job_read(file, run->set.items, &job)) != QTK_OK)
    return rc;
  if (run->threads >= 0)
    job->threads = (int)run->threads;
  if (run->redo.n > 0)
    job->redo = run->redo.items;
  job->force = run->force;
  rc = run_pipeline(run, job);
  qtk_job_free(job);
  return rc;
}

int cli_run(int argc, char **argv)
{
  struct run run = {.threads = -1, .log = "text"};
  const struct cli_option options[] = {
    {"set", CLI_LIST, &run.set, "KEY=VALUE", "another value for a key: stage.1.bits=4"},
    {"dry-run", CLI_FLAG, &run.dry_run, NULL, "print the job with nothing left open, and what "
                                              "it needs"},
    {"resume", CLI_FLAG, &run.resume, NULL, "go on where a run of this job was stopped"},
    {"redo", CLI_LIST, &run.redo, "REGEX", "do these linears of the finished job again, keep the "
                                           "rest of its bundle"},
    {"force", CLI_FLAG, &run.force, NULL, "put adapters on other bases than their own"},
    {"threads", CLI_INT, &run.threads, "N", "0: all cores; does not change results"},
    {"log", CLI_TEXT, &run.log, "text|json", "how progress is shown on standard error"},
    {"quiet", CLI_FLAG, &run.quiet, NULL, "no progress and no warnings"},
    {"verbose", CLI_FLAG, &run.verbose, NULL, "say more"},
    {0}};
  const struct cli_usage usage = {
    "run", "JOB", 1, 1, options,
    "Runs the stages of a job file, qtk-job(5), and prints what came of them. Bundle and\n"
    "report are written beside the job unless it says otherwise."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc == QTK_OK && run.threads > 1024)
    rc = qtk_error(QTK_EUSAGE, "qtk run: --threads %lld: allowed are 0 .. 1024",
                   (long long)run.threads);
  if (rc == QTK_OK)
    rc = run_job(&run, argv[0]);
  cli_list_free(&run.set);
  cli_list_free(&run.redo);
  return rc;
}
