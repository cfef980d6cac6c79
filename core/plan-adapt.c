/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out an adapt stage: the adapter with its options, what it trains on, how, and what
 * that takes. */
#include <stdlib.h>
#include <string.h>

#include "core/calibrate.h"
#include "core/chat.h"
#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/optimizer.h"
#include "core/plan-stage.h"

/* ---- how it trains ------------------------------------------------------------------- */

/* Keys that say how a stage trains: an adapter may have defaults for them. */
static int adapt_is_default(const char *key)
{
  static const char *const others[] = {"run",        "name",       "method",   "targets", "data",
                                       "validation", "save_every", "patience",
                                       "change",     NULL};
  int core = 0;
  for (const char *const *k = qtk_job_stage_keys(QTK_JOB_ADAPT); *k != NULL; k++)
    core |= strcmp(*k, key) == 0;
  for (const char *const *k = others; *k != NULL; k++)
    core &= strcmp(*k, key) != 0;
  return core;
}

/* How long to train is one thing, said in one of two ways. */
static int adapt_is_said(const struct qtk_toml *table, const char *key)
{
  if (strcmp(key, "steps") == 0 || strcmp(key, "epochs") == 0)
    return qtk_toml_get(table, "steps") != NULL || qtk_toml_get(table, "epochs") != NULL;
  return qtk_toml_get(table, key) != NULL;
}

/* The stage's keys over the adapter's defaults. */
static int adapt_training(const struct qtk_plan_stage *stage, struct qtk_plan_adapt *a)
{
  const struct qtk_loaded *plugin = a->method.loaded;
  const struct qtk_default *d = plugin->ops.adapter.defaults;
  int rc = QTK_OK;
  a->table = qtk_toml_copy(stage->job->table);
  if (a->table == NULL)
    return QTK_ENOMEM;
  for (; d != NULL && d->key != NULL && rc == QTK_OK; d++) {
    if (!adapt_is_default(d->key))
      return qtk_error(QTK_EPLUGIN, "adapter %s has a default for \"%s\", which is no key of how a "
                                    "stage trains",
                       plugin->plugin.name, d->key);
    if (!adapt_is_said(stage->job->table, d->key))
      rc = qtk_toml_set_path(a->table, d->key, d->value, plugin->plugin.name);
  }
  return rc == QTK_OK ? qtk_job_read_training(a->table, &a->training) : rc;
}

#define ADAPT_LENGTH 512 /* tokens of a sequence, where the model allows as many */

/* Steps are known here unless epochs are counted. */
static int adapt_warmup(const struct qtk_plan_adapt *a)
{
  const struct qtk_job_training *t = &a->training;
  if (t->steps == 0 || t->warmup < (double)t->steps)
    return QTK_OK;
  return qtk_toml_error(qtk_toml_get(a->table, "warmup"),
                        "warmup = %g: this training has %lld steps in all", t->warmup,
                        (long long)t->steps);
}

static int adapt_length(const struct qtk_plan *plan, const struct qtk_plan_stage *stage,
                        struct qtk_job_training *t)
{
  int64_t most = qtk_model_info(plan->model)->context;
  if (t->length == 0)
    t->length = most > 0 && most < ADAPT_LENGTH ? most : ADAPT_LENGTH;
  if (most == 0 || t->length <= most)
    return QTK_OK;
  return qtk_toml_error(qtk_toml_get(stage->job->table, "length"),
                        "length = %lld: this model was made for %lld and less",
                        (long long)t->length, (long long)most);
}

/* ---- data ------------------------------------------------------------------------------ */

static int adapt_template(const struct qtk_job_data *job)
{
  struct qtk_chat_source source = {.name = job->template};
  struct qtk_chat *chat = NULL;
  int rc = job->template != NULL ? qtk_chat_open(&source, &chat) : QTK_OK;
  qtk_chat_close(chat);
  if (rc == QTK_OK || rc == QTK_ENOMEM)
    return rc;
  return qtk_error_at(QTK_EJOB, "%s:%d", qtk_toml_file(job->node), qtk_toml_line(job->node));
}

static int adapt_data(const struct qtk_plan *plan, const struct qtk_job_data *job, int64_t length,
                      int64_t classes, struct qtk_dataset_recipe *recipe)
{
  static const enum qtk_packing packings[] = {QTK_PACKING_DEFAULT, QTK_PACKING_OFF,
                                              QTK_PACKING_ON};
  if (job->node == NULL)
    return QTK_OK;
  *recipe = (struct qtk_dataset_recipe){.path = job->path,
                                        .template = job->template,
                                        .packing = packings[job->packing + 1],
                                        .length = length,
                                        .tokens = job->tokens,
                                        .classes = classes,
                                        .columns = {job->columns[0], job->columns[1]},
                                        .label = job->label};
  if (job->train_on != NULL)
    recipe->train_on = strcmp(job->train_on, "all") == 0 ? QTK_TRAIN_ON_ALL
                                                         : QTK_TRAIN_ON_RESPONSE;
  if (!qtk_path_exists(job->path))
    return qtk_error(QTK_EINPUT, "%s: no such file (%s of a stage in %s)", job->path,
                     qtk_toml_key(job->node), plan->job->file);
  if (qtk_path_is_dir(job->path))
    return qtk_error(QTK_EINPUT, "%s: a folder, where a file of data is wanted (%s of a stage in %s)",
                     job->path, qtk_toml_key(job->node), plan->job->file);
  return adapt_template(job);
}

static int adapt_all_data(const struct qtk_plan *plan, const struct qtk_job_stage *job,
                          struct qtk_plan_adapt *a)
{
  const struct qtk_job_training *t = &a->training;
  int rc = adapt_data(plan, &job->data, t->length, t->classes, &a->data);
  if (rc != QTK_OK || job->validation.share <= 0)
    return rc == QTK_OK
               ? adapt_data(plan, &job->validation, t->length, t->classes, &a->validation)
               : rc;
  a->data.share = job->validation.share;
  a->validation = a->data;
  a->validation.held = 1;
  return QTK_OK;
}

/* ---- the adapter on the model -------------------------------------------------------------- */

/* With the stage's place, where the job can be changed so that it fits. */
static int adapt_failed(int rc, const struct qtk_plan_stage *stage)
{
  const struct qtk_toml *named = qtk_toml_get(stage->job->table, "method");
  if (rc != QTK_EJOB && rc != QTK_EINPUT)
    return rc;
  return qtk_error_at(QTK_EJOB, "%s:%d", qtk_toml_file(named), qtk_toml_line(named));
}

/* Tokens of a pass: those that are allowed, if the data are not read. */
static int64_t adapt_tokens(const struct qtk_plan_adapt *a)
{
  int64_t data = a->data_read.count.longest, validation = a->validation_read.count.longest;
  int64_t longest = data > validation ? data : validation;
  return (longest > 0 ? longest : a->training.length) * a->training.micro_batch;
}

/* The model that it learns from, over the same tokens; before the training over a sequence, with
 * a chunk of its logits, and that once more to be worked on. */
static int adapt_measure_teacher(struct qtk_context *ctx, const struct qtk_plan *plan,
                                 struct qtk_plan_adapt *a)
{
  uint64_t chunk = sizeof(float) * QTK_LOGIT_CHUNK *
                   (uint64_t)qtk_model_info(plan->model)->vocabulary;
  struct qtk_engine_case c = {.model = plan->source != NULL ? plan->source : plan->model,
                              .tokens = a->cached ? a->longest / a->training.micro_batch
                                                  : a->longest,
                              .backend = plan->ops,
                              .threads = qtk_workers_count(ctx->workers),
                              .look = 1};
  int rc = QTK_OK;
  for (int i = 0; i < 2 && rc == QTK_OK && (a->taught || a->inputs); i++) {
    c.stream = i;
    rc = qtk_engine_measure(ctx, &c, &a->teacher[i]);
    a->teacher[i].logits = a->cached ? 2 * chunk : 0;
  }
  return rc;
}

/* A start from what linears read in it: windows behind one another, a block of it at a time. */
static int adapt_measure_inputs(const struct qtk_plan *plan, struct qtk_plan_adapt *a,
                                struct qtk_engine_before *before)
{
  const struct qtk_model *model = plan->source != NULL ? plan->source : plan->model;
  struct qtk_inputs_sizes inputs;
  int rc = qtk_inputs_memory(qtk_model_arch(model), a->data_read.count.tokens, a->training.length,
                             &inputs);
  *before = (struct qtk_engine_before){.model = model,
                                       .tokens = inputs.windows * inputs.length,
                                       .sequences = inputs.windows,
                                       .square = inputs.widest};
  a->seen = inputs.activations;
  a->sums = sizeof(float) * (uint64_t)(inputs.widest * inputs.widest);
  return rc;
}

static int adapt_measure_model(struct qtk_context *ctx, const struct qtk_plan *plan,
                               const struct qtk_plan_stage *stage, struct qtk_plan_adapt *a)
{
  uint64_t left = qtk_plan_scratch(plan, stage);
  struct qtk_engine_case c = {.model = plan->model,
                              .layouts = plan->layouts,
                              .adapters = plan->adapters,
                              .n_adapters = plan->n_adapters,
                              .tokens = a->longest,
                              .sequences = a->training.micro_batch,
                              .backend = plan->ops,
                              .threads = qtk_workers_count(ctx->workers)};
  enum qtk_optimizer_kind optimizer;
  struct qtk_engine_before before;
  int rc = qtk_optimizer_find(a->training.optimizer, &optimizer);
  if (rc == QTK_OK && a->inputs) {
    rc = adapt_measure_inputs(plan, a, &before);
    c.before = &before;
  }
  c.coded = rc == QTK_OK && qtk_optimizer_coded(optimizer);
  for (int i = 0; i < 2 && rc == QTK_OK; i++) {
    c.checkpoint = i;
    rc = qtk_engine_measure(ctx, &c, &a->sizes[i]);
    a->sizes[i].scratch = left > a->sizes[i].scratch ? left : a->sizes[i].scratch;
  }
  return rc;
}

static void adapt_measure_rest(const struct qtk_plan *plan, struct qtk_plan_adapt *a)
{
  if (a->validation.path != NULL && strcmp(a->training.keep, "best") == 0)
    a->best = sizeof(float) * a->sizes[0].trainable;
  a->text = qtk_dataset_bytes(&a->data_read) + qtk_dataset_bytes(&a->validation_read);
  for (int i = 0; i < qtk_model_count(plan->model); i++)
    a->base += qtk_qlayout_bytes(plan->layouts[i]);
}

static int adapt_measure(struct qtk_context *ctx, struct qtk_plan *plan,
                         struct qtk_plan_stage *stage)
{
  struct qtk_plan_adapt *a = &stage->adapt;
  a->longest = adapt_tokens(a);
  int rc = adapt_measure_model(ctx, plan, stage, a);
  if (rc == QTK_OK)
    rc = adapt_measure_teacher(ctx, plan, a);
  if (rc != QTK_OK)
    return adapt_failed(rc, stage);
  adapt_measure_rest(plan, a);
  if (a->sizes[0].trainable > 0)
    return QTK_OK;
  const char *key = stage->job->targets != NULL ? "targets" : "method";
  return qtk_toml_error(qtk_toml_get(stage->job->table, key),
                        "%s = \"%s\": there is nothing in this model that %s would train", key,
                        qtk_toml_text(qtk_toml_get(stage->job->table, key)),
                        a->method.loaded->plugin.name);
}

/* On top of what lies on the model already. */
static int adapt_add(struct qtk_plan *plan, const struct qtk_plan_stage *stage)
{
  const struct qtk_plan_method *m = &stage->adapt.method;
  size_t bytes = (size_t)(plan->n_adapters + 1) * sizeof *plan->adapters;
  struct qtk_attached *all = realloc(plan->adapters, bytes);
  if (all == NULL)
    return qtk_error_memory(bytes, "adapters");
  all[plan->n_adapters++] = (struct qtk_attached){.name = m->loaded->plugin.name,
                                                  .ops = &m->loaded->ops.adapter,
                                                  .options = m->options->values,
                                                  .text = m->text,
                                                  .targets = stage->job->targets,
                                                  .classes = stage->adapt.training.classes};
  plan->adapters = all;
  return QTK_OK;
}

/* It is the job's source, or the model that the job starts from, if that holds floats. */
static int adapt_unquantized(const struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_plan_method *m = &stage->adapt.method;
  const struct qtk_adapter_ops *ops = &m->loaded->ops.adapter;
  const void *options = m->options != NULL ? m->options->values : NULL;
  stage->adapt.inputs = ops->inputs != NULL && ops->inputs(options);
  if (ops->unquantized == NULL || !ops->unquantized(options) || plan->source != NULL)
    return QTK_OK;
  for (int i = 0; i < qtk_model_count(plan->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, i);
    if (t->linear && t->layout.encoding != QTK_DENSE)
      return qtk_toml_error(qtk_toml_get(stage->job->table, "method"),
                            "method = \"%s\": with these options it starts from the unquantized "
                            "weights, and %s is quantized: name the model that it was made of in "
                            "[model] source",
                            m->loaded->plugin.name, plan->job->model);
  }
  return QTK_OK;
}

/* It is the job's source, or the file that the job starts from, if stages before have made
 * another model of it. */
static int adapt_teacher(const struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  struct qtk_plan_adapt *a = &stage->adapt;
  const struct qtk_adapter_ops *ops = &a->method.loaded->ops.adapter;
  int changed = plan->source != NULL;
  a->taught = ops->teacher != NULL && ops->teacher(a->method.options != NULL
                                                       ? a->method.options->values
                                                       : NULL) != QTK_TEACHER_NONE;
  for (const struct qtk_plan_stage *s = plan->stages; s < stage; s++)
    changed |= s->job->kind == QTK_JOB_QUANTIZE || s->job->kind == QTK_JOB_MERGE;
  if (a->taught && a->training.classes > 0)
    return qtk_toml_error(qtk_toml_get(stage->job->table, "classes"),
                          "classes beside method = \"%s\": it learns from the unquantized model's "
                          "predictions, and not from labels",
                          a->method.loaded->plugin.name);
  if (!a->taught || changed)
    return QTK_OK;
  return qtk_toml_error(qtk_toml_get(stage->job->table, "method"),
                        "method = \"%s\": it learns from the unquantized model, and %s is the one "
                        "that it tunes: name the model that this one was made of in [model] source",
                        a->method.loaded->plugin.name, plan->job->model);
}

/* How much of it is kept, if it runs once. */
static int adapt_lessons(const struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  struct qtk_plan_adapt *a = &stage->adapt;
  const struct qtk_toml *how = qtk_toml_get(stage->job->table, "teacher");
  const struct qtk_toml *top = qtk_toml_get(stage->job->table, "teacher_top");
  int64_t vocabulary = qtk_model_info(plan->model)->vocabulary;
  a->cached = a->taught && strcmp(a->training.teacher, "cache") == 0;
  if (!a->taught && (how != NULL || top != NULL))
    return qtk_toml_error(how != NULL ? how : top, "%s: with its options here %s has no teacher",
                          qtk_toml_key(how != NULL ? how : top),
                          a->method.loaded->plugin.name);
  if (top != NULL && !a->cached)
    return qtk_toml_error(top, "teacher_top: nothing is kept of a teacher that runs beside the "
                               "model; it needs teacher = \"cache\"");
  if (a->cached && a->training.teacher_top > vocabulary)
    return qtk_toml_error(top != NULL ? top : how, "teacher_top = %lld: the vocabulary has %lld "
                                                   "tokens",
                          (long long)a->training.teacher_top, (long long)vocabulary);
  return QTK_OK;
}

static int adapt_targets(const struct qtk_plan_stage *stage)
{
  struct qtk_pattern *pattern = NULL;
  int rc = stage->job->targets != NULL
               ? qtk_pattern_new(qtk_toml_get(stage->job->table, "targets"), &pattern)
               : QTK_OK;
  qtk_pattern_free(pattern);
  return rc;
}

int qtk_plan_adapt(struct qtk_context *ctx, struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  const struct qtk_job_stage *job = stage->job;
  struct qtk_plan_adapt *a = &stage->adapt;
  int rc = qtk_plan_method_open(QTK_ADAPTER, qtk_toml_get(job->table, "method"), job->table,
                                qtk_job_stage_keys(job->kind), &a->method);
  if (rc == QTK_OK)
    rc = adapt_training(stage, a);
  if (rc == QTK_OK)
    rc = adapt_warmup(a);
  if (rc == QTK_OK)
    rc = adapt_length(plan, stage, &a->training);
  if (rc == QTK_OK)
    rc = adapt_all_data(plan, job, a);
  if (rc == QTK_OK)
    rc = adapt_targets(stage);
  if (rc == QTK_OK)
    rc = adapt_unquantized(plan, stage);
  if (rc == QTK_OK)
    rc = adapt_teacher(plan, stage);
  if (rc == QTK_OK)
    rc = adapt_lessons(plan, stage);
  if (rc == QTK_OK)
    rc = adapt_add(plan, stage);
  if (rc == QTK_OK)
    rc = qtk_plan_data(ctx, plan, stage);
  return rc == QTK_OK ? adapt_measure(ctx, plan, stage) : rc;
}

void qtk_plan_adapt_end(struct qtk_plan_adapt *a)
{
  qtk_plan_method_end(&a->method);
  qtk_dataset_free(&a->data_read);
  qtk_dataset_free(&a->validation_read);
  qtk_toml_free(a->table);
}

int qtk_plan_adapt_begin(struct qtk_plan *plan)
{
  const struct qtk_tuned *t;
  int n = 0;
  while (qtk_model_tuned(plan->model, n) != NULL)
    n++;
  plan->adapters = calloc((size_t)n + 1, sizeof *plan->adapters);
  if (plan->adapters == NULL)
    return qtk_error_memory((size_t)n * sizeof *plan->adapters, "adapters");
  for (; (t = qtk_model_tuned(plan->model, plan->n_adapters)) != NULL; plan->n_adapters++) {
    struct qtk_attached *a = &plan->adapters[plan->n_adapters];
    *a = qtk_attached_of(t);
    a->text = t->text;
    a->tuned = NULL; /* a plan needs no values */
  }
  return QTK_OK;
}

int qtk_plan_adapt_none(const struct qtk_plan *plan, const struct qtk_plan_stage *stage)
{
  const struct qtk_toml *run = qtk_toml_get(stage->job->table, "run");
  if (plan->n_adapters == 0)
    return QTK_OK;
  return qtk_toml_error(run, "%s: the adapter %s lies on the model, and what it adds to would "
                             "change under it: merge first, with a stage run = \"merge\"",
                        qtk_toml_text(run), plan->adapters[plan->n_adapters - 1].name);
}
