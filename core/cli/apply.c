/* SPDX-License-Identifier: BSD-3-Clause
 * qtk bundle apply: an adapter merged into its base. */
#include <stdio.h>

#include "core/cli/cli.h"
#include "core/error.h"
#include "core/pipeline.h"

struct apply {
  const char *output, *type, *backend, *log;
  int64_t threads;
  int force, quiet;
};

/* ---- the job that a user would write ---------------------------------------------------- */

static int apply_model(char **words, int n, struct qtk_toml *root)
{
  struct qtk_toml *table = qtk_toml_set_table(root, "model");
  int rc = table ? qtk_toml_set_text(table, "path", words[0]) : QTK_ENOMEM;
  struct qtk_toml *list = rc == QTK_OK && n > 1 ? qtk_toml_set_array(table, "adapter") : NULL;
  if (rc == QTK_OK && n > 1 && list == NULL)
    rc = QTK_ENOMEM;
  for (int i = 1; i < n && rc == QTK_OK; i++)
    rc = qtk_toml_append(list, qtk_toml_new_text(words[i]));
  return rc;
}

static int apply_merge(const struct apply *a, struct qtk_toml *root)
{
  struct qtk_toml *list = qtk_toml_set_array(root, "stage"), *stage = qtk_toml_new_table();
  int rc = list && stage ? qtk_toml_set_text(stage, "run", "merge") : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(stage, "type", a->type);
  if (rc == QTK_OK)
    return qtk_toml_append(list, stage);
  qtk_toml_free(stage);
  return rc;
}

static int apply_rest(const struct apply *a, struct qtk_toml *root)
{
  struct qtk_toml *table = qtk_toml_set_table(root, "job");
  int rc = table ? qtk_toml_set_text(table, "backend", a->backend) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "threads", a->threads);
  if (rc == QTK_OK)
    rc = (table = qtk_toml_set_table(root, "output")) ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "bundle", a->output);
  return rc == QTK_OK ? qtk_toml_set_text(table, "report", "") : rc;
}

static int apply_job(const struct apply *a, char **words, int n, struct qtk_job **job)
{
  struct qtk_toml *root = qtk_toml_new_table();
  int rc = root ? apply_model(words, n, root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = apply_merge(a, root);
  if (rc == QTK_OK)
    rc = apply_rest(a, root);
  if (rc == QTK_OK)
    return qtk_job_make(root, "qtk bundle apply", NULL, job);
  qtk_toml_free(root);
  return rc;
}

/* ---- done ----------------------------------------------------------------------------------- */

static int apply_say(const struct qtk_outcome *outcome)
{
  struct qtk_str table = {0};
  char size[QTK_SIZE_TEXT];
  int rc = qtk_report_table(outcome->report, &table);
  if (rc == QTK_OK) {
    printf("%sbundle  %s  %s\n", table.data ? table.data : "", outcome->bundle,
           qtk_size_text(outcome->bundle_bytes, size));
    rc = cli_flush();
  }
  qtk_str_free(&table);
  return rc;
}

static int apply_run(const struct qtk_job *job)
{
  struct qtk_pipeline_options options = {.no_state = 1};
  const struct qtk_outcome *outcome;
  struct qtk_pipeline *pipeline;
  int rc = qtk_pipeline_open(job, cli_stop_flag(), &pipeline);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_pipeline_run(pipeline, &options, &outcome);
  if (rc == QTK_OK)
    rc = apply_say(outcome);
  qtk_pipeline_close(pipeline);
  return rc;
}

int cli_bundle_apply(int argc, char **argv)
{
  struct apply a = {.type = "base", .backend = "auto", .log = "text"};
  struct qtk_job *job;
  const struct cli_option options[] = {
    {"output", CLI_TEXT, &a.output, "OUT.qtk", "the bundle to write; must be given"},
    {"type", CLI_TEXT, &a.type, "TYPE", "what floats become: base (default), f32, f16, bf16"},
    {"force", CLI_FLAG, &a.force, NULL, "take an adapter of another base"},
    {"backend", CLI_TEXT, &a.backend, "NAME", "what computes; the best that works if not given"},
    {"threads", CLI_INT, &a.threads, "N", "0: all cores; does not change the bundle"},
    {"log", CLI_TEXT, &a.log, "text|json", "how progress is shown on standard error"},
    {"quiet", CLI_FLAG, &a.quiet, NULL, "no progress and no warnings"},
    {0}};
  const struct cli_usage usage = {
    "bundle apply", "BASE [ADAPTER ...]", 1, -1, options,
    "Writes the model in BASE with the adapters that it has, and those given, lowest first, merged\n"
    "into it, and prints how far its logits are from those before."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc == QTK_OK && a.output == NULL)
    rc = qtk_error(QTK_EUSAGE, "qtk bundle apply: --output OUT.qtk is missing");
  if (rc != QTK_OK || (rc = cli_log_open(a.log, a.quiet, 0)) != QTK_OK ||
      (rc = apply_job(&a, argv, argc, &job)) != QTK_OK)
    return rc;
  job->force = a.force;
  rc = apply_run(job);
  qtk_job_free(job);
  return rc;
}
