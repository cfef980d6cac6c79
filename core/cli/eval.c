/* SPDX-License-Identifier: BSD-3-Clause
 * qtk eval: a model measured on a text, without a job file. */
#include <stdio.h>
#include <string.h>

#include "core/cli/adapters.h"
#include "core/error.h"
#include "core/eval.h"
#include "core/pipeline.h"

struct eval {
  const char *protocol, *source, *backend, *report, *log;
  const char *choices, *suite, *examples, *score;
  int64_t context, windows, threads, shots, limit;
  int quiet, force;
  struct cli_list words; /* of adapters */
  struct cli_adapters adapters;
};

/* The job that a user would write. */
static int eval_model(const struct eval *e, const char *model, struct qtk_toml *root)
{
  struct qtk_toml *table = qtk_toml_set_table(root, "model");
  int rc = table ? qtk_toml_set_text(table, "path", model) : QTK_ENOMEM;
  if (rc == QTK_OK && e->source != NULL)
    rc = qtk_toml_set_text(table, "source", e->source);
  if (rc == QTK_OK)
    rc = (table = qtk_toml_set_table(root, "job")) ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "backend", e->backend);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "threads", e->threads);
  if (rc == QTK_OK)
    rc = (table = qtk_toml_set_table(root, "output")) ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(table, "report", e->report ? e->report : "");
  return rc;
}

static int eval_text(const struct eval *e, const char *key, const char *data,
                     struct qtk_toml *stage)
{
  struct qtk_toml *table = qtk_toml_set_table(stage, key);
  int rc = table ? qtk_toml_set_text(table, "data", data) : QTK_ENOMEM;
  if (rc == QTK_OK && strcmp(key, "perplexity") == 0)
    rc = qtk_toml_set_text(table, "protocol", e->protocol);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "context", e->context);
  return rc == QTK_OK ? qtk_toml_set_int(table, "windows", e->windows) : rc;
}

static int eval_choices(const struct eval *e, struct qtk_toml *stage)
{
  struct qtk_toml *table = qtk_toml_set_table(stage, "choices");
  int rc = table ? qtk_toml_set_text(table, "path", e->choices) : QTK_ENOMEM;
  if (rc == QTK_OK && e->suite != NULL)
    rc = qtk_toml_set_text(table, "suite", e->suite);
  if (rc == QTK_OK && e->examples != NULL)
    rc = qtk_toml_set_text(table, "examples", e->examples);
  if (rc == QTK_OK && e->score != NULL)
    rc = qtk_toml_set_text(table, "score", e->score);
  if (rc == QTK_OK && e->shots >= 0)
    rc = qtk_toml_set_int(table, "shots", e->shots);
  if (rc == QTK_OK)
    rc = qtk_toml_set_int(table, "context", e->context);
  return rc == QTK_OK ? qtk_toml_set_int(table, "limit", e->limit) : rc;
}

static int eval_adapters(const struct eval *e, struct qtk_toml *stage)
{
  struct qtk_toml *table = e->adapters.n > 0 ? qtk_toml_set_table(stage, "adapters") : NULL;
  int rc = e->adapters.n > 0 && table == NULL ? QTK_ENOMEM : QTK_OK;
  for (size_t i = 0; i < e->adapters.n && rc == QTK_OK; i++)
    rc = qtk_toml_set_text(table, e->adapters.list[i].name, e->adapters.list[i].path);
  return rc;
}

static int eval_stage(const struct eval *e, const char *data, struct qtk_toml *root)
{
  struct qtk_toml *list = qtk_toml_set_array(root, "stage"), *stage = qtk_toml_new_table();
  int rc = list && stage ? qtk_toml_set_text(stage, "run", "evaluate") : QTK_ENOMEM;
  if (rc == QTK_OK && data != NULL)
    rc = eval_text(e, "perplexity", data, stage);
  if (rc == QTK_OK && data != NULL && e->source != NULL)
    rc = eval_text(e, "divergence", data, stage);
  if (rc == QTK_OK && e->choices != NULL)
    rc = eval_choices(e, stage);
  if (rc == QTK_OK)
    rc = eval_adapters(e, stage);
  if (rc == QTK_OK)
    return qtk_toml_append(list, stage);
  qtk_toml_free(stage);
  return rc;
}

/* `data` NULL: no text. */
static int eval_job(const struct eval *e, const char *model, const char *data,
                    struct qtk_job **job)
{
  struct qtk_toml *root = qtk_toml_new_table();
  int rc = root ? eval_model(e, model, root) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = eval_stage(e, data, root);
  if (rc == QTK_OK)
    return qtk_job_make(root, "qtk eval", NULL, job);
  qtk_toml_free(root);
  return rc;
}

static int eval_run(const struct qtk_job *job)
{
  struct qtk_pipeline_options options = {.no_state = 1};
  const struct qtk_outcome *outcome;
  struct qtk_pipeline *pipeline;
  struct qtk_str table = {0};
  int rc = qtk_pipeline_open(job, cli_stop_flag(), &pipeline);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_pipeline_run(pipeline, &options, &outcome);
  if (rc == QTK_OK)
    rc = qtk_report_table(outcome->report, &table);
  if (rc == QTK_OK) {
    printf("%s", table.data ? table.data : "");
    rc = cli_flush();
  }
  qtk_str_free(&table);
  qtk_pipeline_close(pipeline);
  return rc;
}

/* What belongs to a text, or to questions, means nothing without. */
static int eval_check(const struct eval *e, int text)
{
  const struct {
    const char *name;
    int given;
  } wants[] = {{"--suite", e->suite != NULL}, {"--examples", e->examples != NULL},
               {"--score", e->score != NULL}, {"--shots", e->shots >= 0}, {"--limit", e->limit > 0}};
  if (!text && e->source != NULL)
    return qtk_error(QTK_EUSAGE, "qtk eval: --source wants a text to measure the divergence on");
  if (!text && e->choices == NULL)
    return qtk_error(QTK_EUSAGE,
                     "qtk eval: a text or --choices PATH is wanted: see qtk eval --help");
  for (size_t i = 0; e->choices == NULL && i < sizeof wants / sizeof *wants; i++)
    if (wants[i].given)
      return qtk_error(QTK_EUSAGE, "qtk eval: %s wants questions: --choices PATH", wants[i].name);
  return QTK_OK;
}

/* "paper (default), ...": what --protocol may be. */
static const char *eval_protocols(char *text, size_t size)
{
  const char *const *names;
  int n = snprintf(text, size, QTK_PROTOCOL_DEFAULT " (default)");
  if (qtk_protocol_names(&names) != QTK_OK)
    return text;
  for (int i = 0; names[i] != NULL && n < (int)size; i++)
    if (strcmp(names[i], QTK_PROTOCOL_DEFAULT) != 0)
      n += snprintf(text + n, size - (size_t)n, ", %s", names[i]);
  return text;
}

static int eval_parsed(struct eval *e, int words, char **argv)
{
  struct qtk_job *job;
  int rc = eval_check(e, words > 1);
  if (rc == QTK_OK)
    rc = cli_adapters_parse(&e->words, &e->adapters);
  if (rc == QTK_OK)
    rc = cli_log_open(e->log, e->quiet, 0);
  if (rc == QTK_OK)
    rc = eval_job(e, argv[0], words > 1 ? argv[1] : NULL, &job);
  if (rc != QTK_OK)
    return rc;
  job->force = e->force;
  rc = eval_run(job);
  qtk_job_free(job);
  return rc;
}

int cli_eval(int argc, char **argv)
{
  struct eval e = {.protocol = QTK_PROTOCOL_DEFAULT, .backend = "auto", .log = "text", .shots = -1};
  char protocols[128];
  const struct cli_option options[] = {
    {"protocol", CLI_TEXT, &e.protocol, "NAME", eval_protocols(protocols, sizeof protocols)},
    {"context", CLI_INT, &e.context, "N", "tokens of a window (default: the protocol's) or a prompt"},
    {"windows", CLI_INT, &e.windows, "N", "how many windows; all if not given"},
    {"source", CLI_TEXT, &e.source, "MODEL", "the unquantized model: measure the divergence too"},
    {"choices", CLI_TEXT, &e.choices, "PATH", "ask the multiple-choice questions there"},
    {"suite", CLI_TEXT, &e.suite, "NAME", "what they are, qtk-job(5); plain if not given"},
    {"examples", CLI_TEXT, &e.examples, "FILE", "solved examples, where the suite has none"},
    {"score", CLI_TEXT, &e.score, "HOW", "letter (default), text or text_normalized"},
    {"shots", CLI_INT, &e.shots, "N", "solved examples before a question; the suite's number"},
    {"limit", CLI_INT, &e.limit, "N", "the first N questions of each subject; all if not given"},
    {"adapter", CLI_LIST, &e.words, "[NAME=]PATH", "measure this adapter on it too; may be given "
                                                   "again"},
    {"force", CLI_FLAG, &e.force, NULL, "put adapters on another base than their own"},
    {"backend", CLI_TEXT, &e.backend, "NAME", "what computes; the best that works if not given"},
    {"threads", CLI_INT, &e.threads, "N", "0: all cores; does not change results"},
    {"report", CLI_TEXT, &e.report, "FILE", "write the report there, qtk-report(5)"},
    {"log", CLI_TEXT, &e.log, "text|json", "how progress is shown on standard error"},
    {"quiet", CLI_FLAG, &e.quiet, NULL, "no progress and no warnings"},
    {0}};
  const struct cli_usage usage = {
    "eval", "MODEL [TEXT]", 1, 2, options,
    "Measures a model, a file, folder or bundle: its perplexity on a text file, or the\n"
    "answers that it chooses."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc == QTK_OK)
    rc = eval_parsed(&e, argc, argv);
  cli_adapters_free(&e.adapters);
  cli_list_free(&e.words);
  return rc > 0 ? QTK_OK : rc;
}
