/* SPDX-License-Identifier: BSD-3-Clause
 * A job from end to end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qtk/qtk.h>

#include "core/foreign.h"
#include "core/arch.h"
#include "core/context.h"
#include "core/device.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/pipeline-output.h"
#include "core/pipeline.h"
#include "core/stage.h"

struct qtk_pipeline {
  const struct qtk_job *job;
  struct qtk_context *ctx;
  struct qtk_model *model, *source, *base; /* base: a redo's bundle */
  struct qtk_plan *plan;
  struct qtk_work work;
  struct qtk_outcome outcome;
  struct qtk_inputs inputs;
  struct qtk_base before; /* of the job's adapters */
  char *state_dir, *portable;
  double started;
};

/* ---- opening --------------------------------------------------------------------- */

static int pipeline_open_context(struct qtk_pipeline *p, const volatile sig_atomic_t *stop)
{
  struct qtk_context_options options = {
    .threads = p->job->threads, .memory_limit = p->job->memory_limit,
    .seed = (uint64_t)p->job->seed, .stop = stop};
  return qtk_context_open(&options, &p->ctx);
}

static int pipeline_adapt(struct qtk_pipeline *p)
{
  struct qtk_tuned *tuned;
  int rc = QTK_OK;
  for (char **path = p->job->adapters; path != NULL && *path != NULL && rc == QTK_OK; path++) {
    rc = qtk_foreign_load(p->ctx, p->model, *path, &tuned);
    if (rc != QTK_OK)
      return rc;
    rc = qtk_model_adapt(p->ctx, p->model, tuned, p->job->force);
    if (rc != QTK_OK)
      rc = qtk_error_at(rc, "%s", *path);
  }
  return rc;
}

static int pipeline_open_models(struct qtk_pipeline *p)
{
  int rc = qtk_model_open(p->ctx, p->job->model, &p->model);
  if (rc == QTK_OK)
    rc = pipeline_adapt(p);
  if (rc == QTK_OK && p->job->source != NULL)
    rc = qtk_model_open(p->ctx, p->job->source, &p->source);
  return rc;
}

/* The bundle of the finished job that a part of is to be done again. */
static int pipeline_open_base(struct qtk_pipeline *p)
{
  if (p->job->redo == NULL || *p->job->redo == NULL)
    return QTK_OK;
  if (p->job->bundle == NULL)
    return qtk_error(QTK_EUSAGE, "--redo: %s makes no bundle that could be kept in part",
                     p->job->file);
  if (!qtk_path_exists(p->job->bundle))
    return qtk_error(QTK_EINPUT, "--redo: there is no %s yet: run the job without it first",
                     p->job->bundle);
  return qtk_model_open(p->ctx, p->job->bundle, &p->base);
}

/* Text measured beside a reference must be cut into the same tokens. */
static int pipeline_check_source(const struct qtk_pipeline *p)
{
  if (p->source == NULL ||
      qtk_model_info(p->source)->vocabulary == qtk_model_info(p->model)->vocabulary)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "%s: a vocabulary of %lld, but that of %s has %lld", p->job->source,
                   (long long)qtk_model_info(p->source)->vocabulary, p->job->model,
                   (long long)qtk_model_info(p->model)->vocabulary);
}

/* What would only show when all work is done. */
static int pipeline_check_output(const char *path)
{
  char *folder = path ? qtk_path_dir(path) : NULL;
  int rc = QTK_OK;
  if (path == NULL)
    return QTK_OK;
  if (folder == NULL)
    rc = QTK_ENOMEM;
  else if (!qtk_path_is_dir(folder))
    rc = qtk_error(QTK_EINPUT, "%s: cannot be written: there is no folder %s", path, folder);
  else if (qtk_path_is_dir(path))
    rc = qtk_error(QTK_EINPUT, "%s: cannot be written: it is a folder", path);
  else if (access(folder, W_OK | X_OK) != 0)
    rc = qtk_error_errno(QTK_EINPUT, errno, "%s: cannot be written: folder %s", path, folder);
  free(folder);
  return rc;
}

static int pipeline_check_outputs(const struct qtk_job *job)
{
  const char *const paths[] = {job->bundle, job->base, job->adapter, job->report, job->page};
  int rc = QTK_OK;
  for (size_t i = 0; i < sizeof paths / sizeof *paths && rc == QTK_OK; i++)
    rc = pipeline_check_output(paths[i]);
  return rc;
}

static int pipeline_fill(struct qtk_pipeline *p, const volatile sig_atomic_t *stop)
{
  int rc = pipeline_open_context(p, stop);
  if (rc == QTK_OK)
    rc = pipeline_check_outputs(p->job);
  if (rc == QTK_OK)
    rc = pipeline_open_models(p);
  if (rc == QTK_OK)
    rc = pipeline_check_source(p);
  if (rc == QTK_OK)
    rc = pipeline_open_base(p);
  return rc == QTK_OK ? qtk_plan_make(p->ctx, p->job, p->model, p->source, p->base, &p->plan) : rc;
}

int qtk_pipeline_open(const struct qtk_job *job, const volatile sig_atomic_t *stop,
                      struct qtk_pipeline **pipeline)
{
  struct qtk_pipeline *p = calloc(1, sizeof *p);
  if (p == NULL)
    return qtk_error_memory(sizeof *p, "a pipeline");
  p->job = job;
  p->started = qtk_seconds();
  int rc = pipeline_fill(p, stop);
  if (rc != QTK_OK) {
    qtk_pipeline_close(p);
    return rc;
  }
  *pipeline = p;
  return QTK_OK;
}

void qtk_pipeline_close(struct qtk_pipeline *p)
{
  if (p == NULL)
    return;
  qtk_state_close(p->work.state);
  qtk_model_close(p->model);
  qtk_model_close(p->source);
  qtk_model_close(p->base);
  qtk_stage_end(&p->work);
  qtk_tokenizer_close(p->work.tokenizer);
  qtk_plan_free(p->plan);
  qtk_inputs_end(&p->inputs);
  qtk_base_end(&p->before);
  json_decref(p->outcome.report);
  free(p->state_dir);
  free(p->portable);
  if (p->ctx != NULL)
    qtk_device_close(p->ctx);
  qtk_context_close(p->ctx);
  free(p);
}

static int pipeline_start_device(struct qtk_pipeline *p)
{
  if (!qtk_plan_needs_device(p->plan) || p->ctx->device != NULL)
    return QTK_OK;
  return qtk_device_start(p->ctx, p->plan->backend);
}

int qtk_pipeline_plan(struct qtk_pipeline *p, const struct qtk_plan **plan)
{
  int rc = pipeline_start_device(p);
  if (rc == QTK_OK)
    rc = qtk_plan_time(p->ctx, p->plan);
  *plan = p->plan;
  return rc;
}

/* ---- what the results depend on ------------------------------------------------------ */

static int pipeline_portable(struct qtk_pipeline *p)
{
  struct qtk_str text = {0};
  int rc = qtk_inputs_read(p->ctx, p->plan, &p->inputs);
  if (rc == QTK_OK)
    rc = qtk_plan_portable(p->plan, p->inputs.model, p->source ? p->inputs.source : NULL,
                           p->inputs.data, p->inputs.n, &text);
  if (rc == QTK_OK && p->base != NULL)
    rc = qtk_redo_portable(p->ctx, p->plan, &text);
  if (rc == QTK_OK && (p->portable = qtk_str_take(&text)) == NULL)
    rc = QTK_ENOMEM;
  if (rc == QTK_OK && p->job->base != NULL)
    rc = qtk_base_begin(p->plan, &p->inputs, &p->before);
  qtk_str_free(&text);
  return rc;
}

/* Beside the bundle; where a job makes none, beside the job. */
static char *pipeline_state_dir(const struct qtk_job *job)
{
  if (job->bundle != NULL)
    return qtk_str_format("%s.work", job->bundle);
  char *name = qtk_str_format("%s.qtk.work", job->name);
  char *dir = name ? qtk_path_join(job->folder, name) : NULL;
  free(name);
  return dir;
}

static int pipeline_begin_state(struct qtk_pipeline *p, int resume)
{
  char *machine = qtk_str_format("%s %s", qtk_device_plugin(p->ctx), qtk_device_describe(p->ctx));
  struct qtk_str key = {0};
  int rc = machine != NULL ? qtk_plan_key(p->portable, &key) : QTK_ENOMEM;
  const struct qtk_state_input inputs[] = {
    {"the job", key.data ? key.data : ""},
    {"the version of qtk", qtk_version()},
    {"the backend", machine ? machine : ""},
    {"the list of plugins", p->inputs.plugins}};
  if (rc == QTK_OK && (p->state_dir = pipeline_state_dir(p->job)) == NULL)
    rc = QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_state_begin(p->state_dir, inputs, sizeof inputs / sizeof *inputs, resume,
                         &p->work.state);
  qtk_str_free(&key);
  free(machine);
  return rc;
}

/* ---- running --------------------------------------------------------------------------- */

static int pipeline_begin_report(struct qtk_pipeline *p)
{
  struct qtk_str job = {0};
  json_t *report = p->outcome.report = qtk_report_new();
  int rc = report ? qtk_toml_write(p->plan->resolved, &job) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_report_set_job(report, job.data);
  if (rc == QTK_OK)
    rc = qtk_report_set_model(report, qtk_model_info(p->model)->family,
                              qtk_model_parameters(p->model), p->inputs.model);
  for (int i = 0; rc == QTK_OK && qtk_model_tuned(p->model, i) != NULL; i++)
    rc = qtk_report_add_adapter(report, qtk_model_tuned(p->model, i));
  if (rc == QTK_OK)
    rc = qtk_report_set_machine(report, qtk_device_plugin(p->ctx), qtk_device_describe(p->ctx),
                                qtk_workers_count(p->ctx->workers));
  qtk_str_free(&job);
  return rc;
}

/* Opened before the work, for texts to be evaluated on and for the bundle. */
static int pipeline_open_tokenizer(struct qtk_pipeline *p)
{
  int needed = qtk_plan_needs_tokenizer(p->plan);
  return qtk_model_open_tokenizer(p->model, needed ? "texts cannot be read without one" : NULL,
                                  &p->work.tokenizer);
}

static int pipeline_begin(struct qtk_pipeline *p, const struct qtk_pipeline_options *options)
{
  if (!qtk_model_has_weights(p->model))
    return qtk_error(QTK_EINPUT, "%s: has a configuration and no weights: only --dry-run can use it",
                     p->job->model);
  int rc = pipeline_open_tokenizer(p);
  if (rc == QTK_OK)
    rc = pipeline_start_device(p);
  if (rc == QTK_OK)
    rc = pipeline_portable(p);
  if (rc == QTK_OK)
    rc = pipeline_begin_report(p);
  if (rc == QTK_OK && !options->no_state)
    rc = pipeline_begin_state(p, options->resume);
  return rc;
}

static int pipeline_stages(struct qtk_pipeline *p)
{
  int rc = QTK_OK;
  p->work.ctx = p->ctx;
  p->work.plan = p->plan;
  p->work.model = p->model;
  p->work.source = p->source;
  p->work.report = p->outcome.report;
  p->work.recipe = p->portable;
  for (size_t i = 0; i < p->plan->n_stages && rc == QTK_OK; i++)
    rc = qtk_stage_run(&p->work, i);
  return rc;
}

/* With the time and memory of everything. */
static int pipeline_reports(struct qtk_pipeline *p)
{
  struct qtk_outcome *o = &p->outcome;
  uint64_t peak = qtk_peak_rss();
  int rc = qtk_report_end(o->report, qtk_seconds() - p->started,
                          peak > p->work.peak ? peak : p->work.peak);
  if (rc == QTK_OK && p->job->page != NULL)
    rc = qtk_output_page(o->report, p->job->page);
  if (rc == QTK_OK && p->job->report != NULL)
    rc = qtk_output_report(o->report, p->job->report);
  if (rc != QTK_OK)
    return rc;
  o->page = p->job->page;
  o->report_path = p->job->report;
  return QTK_OK;
}

/* The bundle holds the report without what differs from run to run; the report's own
 * file is written last. */
static int pipeline_outputs(struct qtk_pipeline *p)
{
  struct qtk_outcome *o = &p->outcome;
  struct qtk_bundle_result result = {0}, base = {0};
  int rc = QTK_OK;
  if (p->job->base != NULL)
    rc = qtk_output_base(&p->work, p->job->base, &p->before, &p->inputs, &base);
  if (rc == QTK_OK && p->job->bundle != NULL)
    rc = qtk_output_bundle(&p->work, p->job->bundle, p->portable, &p->inputs, &result);
  if (rc == QTK_OK && p->job->adapter != NULL)
    rc = qtk_output_adapter(&p->work, p->job->adapter, p->portable, &p->inputs, &o->adapter_bytes);
  if (rc != QTK_OK)
    return rc;
  o->adapter = p->job->adapter;
  o->base = p->job->base;
  o->base_bytes = base.bytes;
  o->bundle = p->job->bundle;
  o->bundle_bytes = result.bytes;
  memcpy(o->model_digest, result.model_digest, sizeof o->model_digest);
  return pipeline_reports(p);
}

static int pipeline_work(struct qtk_pipeline *p, const struct qtk_pipeline_options *options)
{
  int rc = pipeline_begin(p, options);
  if (rc == QTK_OK)
    rc = pipeline_stages(p);
  if (rc == QTK_OK)
    rc = qtk_check_stop(p->ctx);
  if (rc == QTK_OK)
    rc = pipeline_outputs(p);
  if (rc != QTK_OK || p->work.state == NULL)
    return rc;
  struct qtk_state *state = p->work.state;
  p->work.state = NULL;
  return qtk_state_finish(state);
}

int qtk_pipeline_run(struct qtk_pipeline *p, const struct qtk_pipeline_options *options,
                     const struct qtk_outcome **outcome)
{
  int rc = pipeline_work(p, options);
  if (rc != QTK_OK && p->work.state != NULL) {
    qtk_state_close(p->work.state);
    p->work.state = NULL;
    p->outcome.state = qtk_path_exists(p->state_dir) ? p->state_dir : NULL;
  }
  *outcome = &p->outcome;
  return rc;
}

/* ---- for programs ------------------------------------------------------------------------- */

static int run_text(const json_t *json, char **text)
{
  struct qtk_str s = {0};
  int rc = qtk_report_write(json, &s);
  if (rc == QTK_OK && (*text = qtk_str_take(&s)) == NULL)
    rc = QTK_ENOMEM;
  qtk_str_free(&s);
  return rc;
}

/* An object a stage, with what is known of it before the work. */
static int run_stages(const struct qtk_plan *plan, json_t *predicted)
{
  json_t *list = json_array();
  int rc = qtk_json_set(predicted, "stages", list);
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++) {
    json_t *stage = json_pack("{s:s}", "run", qtk_job_kind_name(plan->stages[i].job->kind));
    rc = qtk_json_append(list, stage);
    if (rc == QTK_OK)
      rc = qtk_plan_adapt_json(plan, i, stage);
    if (rc == QTK_OK)
      rc = qtk_plan_run_json(plan, i, stage);
  }
  return rc;
}

static int run_plan(struct qtk_pipeline *p, char **report)
{
  const struct qtk_plan *plan;
  struct qtk_str job = {0};
  int rc = qtk_pipeline_plan(p, &plan);
  if (rc == QTK_OK)
    rc = qtk_toml_write(plan->resolved, &job);
  json_t *json = rc == QTK_OK
                   ? json_pack("{s:s, s:{s:I, s:I, s:f}}", "job", job.data, "predicted",
                               "peak_bytes", (json_int_t)plan->memory, "disk_bytes",
                               (json_int_t)plan->disk, "seconds", plan->seconds)
                   : NULL;
  if (rc == QTK_OK)
    rc = json ? run_stages(plan, json_object_get(json, "predicted"))
              : qtk_error_memory(0, "a report");
  if (rc == QTK_OK)
    rc = run_text(json, report);
  json_decref(json);
  qtk_str_free(&job);
  return rc;
}

static int run_job(const struct qtk_job *job, const struct qtk_run *run, char **report)
{
  struct qtk_pipeline_options options = {.resume = run->resume};
  const struct qtk_outcome *outcome;
  struct qtk_pipeline *p;
  int rc = qtk_pipeline_open(job, run->stop, &p);
  if (rc != QTK_OK)
    return rc;
  if (run->dry_run)
    rc = report ? run_plan(p, report) : QTK_OK;
  else if ((rc = qtk_pipeline_run(p, &options, &outcome)) == QTK_OK && report != NULL)
    rc = run_text(outcome->report, report);
  qtk_pipeline_close(p);
  return rc;
}

int qtk_run_job(const char *path, const struct qtk_run *run, char **report)
{
  struct qtk_run known = QTK_RUN_INIT;
  struct qtk_job *job;
  if (run != NULL)
    memcpy(&known, run, run->size < sizeof known ? run->size : sizeof known);
  if (report != NULL)
    *report = NULL;
  int rc = qtk_job_read(path, known.set, &job);
  if (rc != QTK_OK)
    return rc;
  job->redo = known.redo;
  job->force = known.force;
  rc = run_job(job, &known, report);
  qtk_job_free(job);
  return rc;
}
