/* SPDX-License-Identifier: BSD-3-Clause
 * The adapt stage of a job file: what it learns from, and how. */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/job-stage.h"
#include "core/optimizer.h"
#include "core/schedule.h"

const char *const qtk_job_adapt_keys[] = {
    "run",     "name",         "method",     "targets",        "data",     "validation", "classes",
    "steps",   "epochs",       "batch",      "micro_batch",    "length",   "learning_rate",
    "schedule", "warmup",      "optimizer",  "weight_decay",   "beta1",    "beta2",
    "epsilon", "clip",         "checkpoint", "teacher",        "teacher_top", "save_every",
    "evaluate_every", "patience", "keep_values", "change",     NULL};

static const char *const adapt_change_keys[] = {"step", "learning_rate", "clip", NULL};
static const char *const adapt_data_keys[] = {"path",    "template", "train_on",
                                              "packing", "tokens",   "columns",  "label", NULL};
static const char *const adapt_share_keys[] = {"share", NULL};
static const char *const adapt_labels_keys[] = {"path", "columns", "label", "length", "tokens", NULL};
static const char *const adapt_parts[] = {"response", "all", NULL};
static const char *const adapt_checkpoints[] = {"auto", "block", "none", NULL};
static const char *const adapt_teachers[] = {"run", "cache", NULL};
static const char *const adapt_keeps[] = {"last", "best", NULL};

/* ---- numbers and words -------------------------------------------------------------- */

/* A number that the bounds allow; those that are open are not allowed themselves. */
struct adapt_bounds {
  double lowest, highest;
  int above, below; /* the bound itself is not allowed */
  const char *allowed;
};

static const struct adapt_bounds adapt_rates = {0, 1e30, 1, 0, "numbers above 0"};
static const struct adapt_bounds adapt_norms = {0, 1e30, 0, 0, "0 (any norm) and more"};

static int adapt_number(const struct qtk_toml *table, const char *key,
                        const struct adapt_bounds *b, double *value)
{
  const struct qtk_toml *node = qtk_toml_get(table, key);
  int rc = qtk_toml_get_float(table, key, value);
  if (rc != QTK_OK || node == NULL)
    return rc;
  if (isfinite(*value) && *value >= b->lowest && *value <= b->highest &&
      !(b->above && *value == b->lowest) && !(b->below && *value == b->highest))
    return QTK_OK;
  return qtk_toml_error(node, "%s = %g: allowed are %s", key, *value, b->allowed);
}

/* One of `words`, the first one by default. */
static int adapt_word(const struct qtk_toml *table, const char *key, const char *const *words,
                      const char **value)
{
  int rc = qtk_toml_get_text(table, key, value);
  if (rc != QTK_OK || *value == NULL || qtk_job_find(words, *value) >= 0)
    return rc;
  return qtk_job_unknown(qtk_toml_get(table, key), key, words);
}

/* ---- training ------------------------------------------------------------------------ */

static int adapt_micro_batch(const struct qtk_toml *table, struct qtk_job_training *t)
{
  int rc = qtk_job_int(table, "micro_batch", 1, 1 << 20, &t->micro_batch);
  if (rc != QTK_OK || t->micro_batch <= t->batch)
    return rc;
  return qtk_toml_error(qtk_toml_get(table, "micro_batch"),
                        "micro_batch = %lld: a step has %lld sequences (batch)",
                        (long long)t->micro_batch, (long long)t->batch);
}

static int adapt_length(const struct qtk_toml *table, struct qtk_job_training *t)
{
  static const struct adapt_bounds epochs = {0, 1e6, 1, 0, "numbers above 0 up to 1e6"};
  const struct qtk_toml *both = qtk_toml_get(table, "epochs");
  int rc = QTK_OK;
  if (qtk_toml_get(table, "steps") != NULL) {
    if (both != NULL)
      return qtk_toml_error(both, "epochs beside steps: a stage has one of the two");
    rc = qtk_job_int(table, "steps", 1, INT64_C(1) << 40, &t->steps);
  }
  if (rc == QTK_OK)
    rc = adapt_number(table, "epochs", &epochs, &t->epochs);
  if (rc == QTK_OK)
    rc = qtk_job_int(table, "batch", 1, 1 << 20, &t->batch);
  if (rc == QTK_OK)
    rc = adapt_micro_batch(table, t);
  if (rc == QTK_OK && qtk_toml_get(table, "classes") != NULL)
    rc = qtk_job_int(table, "classes", 1, 4096, &t->classes);
  if (rc == QTK_OK && qtk_toml_get(table, "length") != NULL)
    rc = qtk_job_int(table, "length", 2, 1 << 24, &t->length);
  return rc;
}

static int adapt_rate(const struct qtk_toml *table, struct qtk_job_training *t)
{
  static const struct adapt_bounds warmup = {0, 1e12, 0, 0, "0 and more: a share of the steps below "
                                                             "1, else steps"};
  enum qtk_schedule_shape shape;
  int rc = adapt_number(table, "learning_rate", &adapt_rates, &t->learning_rate);
  if (rc == QTK_OK)
    rc = qtk_toml_get_text(table, "schedule", &t->schedule);
  if (rc == QTK_OK && qtk_schedule_find(t->schedule, &shape) != QTK_OK) {
    const char *names[QTK_SCHEDULE_SHAPES + 1] = {NULL};
    for (int i = 0; i < QTK_SCHEDULE_SHAPES; i++)
      names[i] = qtk_schedule_name((enum qtk_schedule_shape)i);
    return qtk_job_unknown(qtk_toml_get(table, "schedule"), "schedule", names);
  }
  return rc == QTK_OK ? adapt_number(table, "warmup", &warmup, &t->warmup) : rc;
}

static int adapt_optimizer_kind(const struct qtk_toml *table, struct qtk_job_training *t)
{
  enum qtk_optimizer_kind kind;
  int rc = qtk_toml_get_text(table, "optimizer", &t->optimizer);
  if (rc != QTK_OK || qtk_optimizer_find(t->optimizer, &kind) == QTK_OK)
    return rc;
  const char *names[QTK_OPTIMIZERS + 1] = {NULL};
  for (int i = 0; i < QTK_OPTIMIZERS; i++)
    names[i] = qtk_optimizer_name((enum qtk_optimizer_kind)i);
  return qtk_job_unknown(qtk_toml_get(table, "optimizer"), "optimizer", names);
}

static int adapt_optimizer(const struct qtk_toml *table, struct qtk_job_training *t)
{
  static const struct adapt_bounds decay = {0, 1e3, 0, 0, "0 .. 1000"};
  static const struct adapt_bounds beta = {0, 1, 0, 1, "0 and more, below 1"};
  static const struct adapt_bounds epsilon = {0, 1, 1, 0, "numbers above 0 up to 1"};
  int rc = adapt_optimizer_kind(table, t);
  if (rc == QTK_OK)
    rc = adapt_number(table, "weight_decay", &decay, &t->weight_decay);
  if (rc == QTK_OK)
    rc = adapt_number(table, "beta1", &beta, &t->beta1);
  if (rc == QTK_OK)
    rc = adapt_number(table, "beta2", &beta, &t->beta2);
  if (rc == QTK_OK)
    rc = adapt_number(table, "epsilon", &epsilon, &t->epsilon);
  return rc == QTK_OK ? adapt_number(table, "clip", &adapt_norms, &t->clip) : rc;
}

static int adapt_change(const struct qtk_toml *node, struct qtk_job_training *t)
{
  struct qtk_job_change *c = &t->changes[t->n_changes];
  const struct qtk_toml *step;
  *c = (struct qtk_job_change){.learning_rate = -1, .clip = -1};
  if (qtk_toml_kind(node) != QTK_TOML_TABLE)
    return qtk_toml_error(node, "change: a list of tables is wanted, like "
                                "[{ step = 100, learning_rate = 1e-5 }]");
  int rc = qtk_toml_only(node, adapt_change_keys);
  if (rc == QTK_OK)
    rc = qtk_toml_need(node, "step", QTK_TOML_INT, &step);
  if (rc == QTK_OK)
    rc = qtk_job_int(node, "step", 1, t->steps > 0 ? t->steps : INT64_C(1) << 40, &c->step);
  if (rc == QTK_OK)
    rc = adapt_number(node, "learning_rate", &adapt_rates, &c->learning_rate);
  if (rc == QTK_OK)
    rc = adapt_number(node, "clip", &adapt_norms, &c->clip);
  if (rc != QTK_OK)
    return rc;
  if (c->learning_rate < 0 && c->clip < 0)
    return qtk_toml_error(node, "change: learning_rate or clip is wanted beside step");
  if (t->n_changes > 0 && c->step <= t->changes[t->n_changes - 1].step)
    return qtk_toml_error(step, "change: step = %lld behind step = %lld: they have to rise",
                          (long long)c->step, (long long)t->changes[t->n_changes - 1].step);
  t->n_changes++;
  return QTK_OK;
}

static int adapt_changes(const struct qtk_toml *table, struct qtk_job_training *t)
{
  const struct qtk_toml *list = NULL;
  int rc = qtk_toml_get_array(table, "change", &list);
  if (rc == QTK_OK && qtk_toml_length(list) > QTK_JOB_CHANGES)
    return qtk_toml_error(list, "change: %zu entries: at most %d are allowed",
                          qtk_toml_length(list), QTK_JOB_CHANGES);
  for (size_t i = 0; i < qtk_toml_length(list) && rc == QTK_OK; i++)
    rc = adapt_change(qtk_toml_item(list, i), t);
  return rc;
}

struct qtk_job_change qtk_job_at_step(const struct qtk_job_training *t, int64_t step)
{
  struct qtk_job_change now = {step, t->learning_rate, t->clip};
  for (int i = 0; i < t->n_changes && t->changes[i].step <= step; i++) {
    const struct qtk_job_change *c = &t->changes[i];
    now.learning_rate = c->learning_rate < 0 ? now.learning_rate : c->learning_rate;
    now.clip = c->clip < 0 ? now.clip : c->clip;
  }
  return now;
}

static int adapt_evaluation(const struct qtk_toml *table, struct qtk_job_training *t)
{
  int rc = qtk_job_int(table, "save_every", 1, INT64_C(1) << 40, &t->save_every);
  if (rc == QTK_OK && qtk_toml_get(table, "evaluate_every") != NULL)
    rc = qtk_job_int(table, "evaluate_every", 1, INT64_C(1) << 40, &t->evaluate_every);
  if (rc == QTK_OK)
    rc = qtk_job_int(table, "patience", 0, 1 << 20, &t->patience);
  return rc == QTK_OK ? adapt_word(table, "keep_values", adapt_keeps, &t->keep) : rc;
}

int qtk_job_read_training(const struct qtk_toml *table, struct qtk_job_training *t)
{
  *t = (struct qtk_job_training){.epochs = 1,
                                 .batch = 4,
                                 .micro_batch = 1,
                                 .learning_rate = 1e-4,
                                 .schedule = qtk_schedule_name(QTK_SCHEDULE_COSINE),
                                 .warmup = 0.03,
                                 .optimizer = qtk_optimizer_name(QTK_OPTIMIZER_ADAMW),
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .epsilon = 1e-8,
                                 .clip = 1,
                                 .checkpoint = adapt_checkpoints[0],
                                 .teacher = adapt_teachers[0],
                                 .teacher_top = 64,
                                 .save_every = 50,
                                 .keep = adapt_keeps[0]};
  int rc = adapt_length(table, t);
  if (rc == QTK_OK)
    rc = adapt_rate(table, t);
  if (rc == QTK_OK)
    rc = adapt_optimizer(table, t);
  if (rc == QTK_OK)
    rc = adapt_changes(table, t);
  if (rc == QTK_OK)
    rc = adapt_word(table, "checkpoint", adapt_checkpoints, &t->checkpoint);
  if (rc == QTK_OK)
    rc = adapt_word(table, "teacher", adapt_teachers, &t->teacher);
  if (rc == QTK_OK)
    rc = qtk_job_int(table, "teacher_top", 1, 1 << 24, &t->teacher_top);
  return rc == QTK_OK ? adapt_evaluation(table, t) : rc;
}

/* ---- data ---------------------------------------------------------------------------- */

/* The columns of a text, or of a pair of them. */
static int adapt_columns(const struct qtk_toml *table, const char *columns[2])
{
  const struct qtk_toml *list = qtk_toml_get(table, "columns");
  size_t n = qtk_toml_length(list);
  if (list == NULL)
    return QTK_OK;
  if (qtk_toml_kind(list) != QTK_TOML_ARRAY || n < 1 || n > 2)
    return qtk_toml_error(list, "columns: a list of one name, or of two, is wanted");
  for (size_t i = 0; i < n; i++) {
    if (qtk_toml_kind(qtk_toml_item(list, i)) != QTK_TOML_TEXT)
      return qtk_toml_error(list, "columns: a list of texts is wanted");
    columns[i] = qtk_toml_text(qtk_toml_item(list, i));
  }
  return QTK_OK;
}

int qtk_job_read_labels(const struct qtk_job *job, const struct qtk_toml *stage,
                        struct qtk_job_data *d)
{
  const struct qtk_toml *path;
  *d = (struct qtk_job_data){.packing = -1};
  int rc = qtk_toml_get_table(stage, "labels", &d->node);
  if (rc != QTK_OK || d->node == NULL)
    return rc;
  if ((rc = qtk_toml_only(d->node, adapt_labels_keys)) != QTK_OK ||
      (rc = qtk_toml_need(d->node, "path", QTK_TOML_TEXT, &path)) != QTK_OK ||
      (rc = qtk_job_path(job, d->node, "path", &d->path)) != QTK_OK ||
      (rc = adapt_columns(d->node, d->columns)) != QTK_OK ||
      (rc = qtk_toml_get_text(d->node, "label", &d->label)) != QTK_OK ||
      (rc = qtk_job_int(d->node, "tokens", 0, INT64_MAX, &d->tokens)) != QTK_OK)
    return rc;
  return qtk_toml_get(d->node, "length") != NULL
             ? qtk_job_int(d->node, "length", 2, 1 << 24, &d->length)
             : QTK_OK;
}

/* Labelled texts are not learned as texts are, and the other way round. */
static int adapt_check_data(const struct qtk_job_data *d, int64_t classes)
{
  static const char *const labelled[] = {"columns", "label", NULL};
  static const char *const others[] = {"template", "train_on", "packing", NULL};
  const char *const *wrong = classes > 0 ? others : labelled;
  for (; *wrong != NULL && d->node != NULL; wrong++)
    if (qtk_toml_get(d->node, *wrong) != NULL)
      return qtk_toml_error(qtk_toml_get(d->node, *wrong), "%s %s classes, which makes data "
                            "labelled texts", *wrong, classes > 0 ? "beside" : "without");
  return QTK_OK;
}

static int adapt_data(const struct qtk_job *job, const struct qtk_toml *stage, const char *key,
                      struct qtk_job_data *d)
{
  const struct qtk_toml *path;
  *d = (struct qtk_job_data){.packing = -1};
  const struct qtk_toml *given = qtk_toml_get(stage, key);
  if (given != NULL && qtk_toml_kind(given) == QTK_TOML_TEXT)
    return qtk_toml_error(given, "%s is text, wanted a table: %s = { path = \"%s\" }", key, key,
                          qtk_toml_text(given));
  int rc = qtk_toml_get_table(stage, key, &d->node);
  if (rc != QTK_OK || d->node == NULL)
    return rc;
  if ((rc = qtk_toml_only(d->node, adapt_data_keys)) != QTK_OK ||
      (rc = adapt_columns(d->node, d->columns)) != QTK_OK ||
      (rc = qtk_toml_get_text(d->node, "label", &d->label)) != QTK_OK ||
      (rc = qtk_toml_need(d->node, "path", QTK_TOML_TEXT, &path)) != QTK_OK ||
      (rc = qtk_job_path(job, d->node, "path", &d->path)) != QTK_OK ||
      (rc = qtk_toml_get_text(d->node, "template", &d->template)) != QTK_OK ||
      (rc = adapt_word(d->node, "train_on", adapt_parts, &d->train_on)) != QTK_OK ||
      (rc = qtk_job_int(d->node, "tokens", 0, INT64_MAX, &d->tokens)) != QTK_OK)
    return rc;
  return qtk_toml_get(d->node, "packing") != NULL
             ? qtk_toml_get_bool(d->node, "packing", &d->packing)
             : QTK_OK;
}

/* What is measured on: other data, or a share of those that are learned from. */
static int adapt_validation(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  static const struct adapt_bounds share = {0, 1, 1, 1, "numbers above 0 and below 1"};
  struct qtk_job_data *d = &stage->validation;
  const struct qtk_toml *node = NULL;
  node = qtk_toml_get(stage->table, "validation");
  if (node == NULL || qtk_toml_kind(node) != QTK_TOML_TABLE || qtk_toml_get(node, "share") == NULL)
    return adapt_data(job, stage->table, "validation", d);
  *d = (struct qtk_job_data){.node = node, .packing = -1};
  if (qtk_toml_get(node, "path") != NULL)
    return qtk_toml_error(qtk_toml_get(node, "path"), "path beside share: validation has a file of "
                                                      "its own, or a share of the stage's data");
  int rc = qtk_toml_only(node, adapt_share_keys);
  return rc == QTK_OK ? adapt_number(node, "share", &share, &d->share) : rc;
}

/* Keys that only mean something beside validation data. */
static int adapt_check_validation(const struct qtk_job_stage *stage)
{
  static const char *const keys[] = {"evaluate_every", "patience"};
  const struct qtk_toml *node = NULL;
  for (size_t i = 0; i < sizeof keys / sizeof *keys && node == NULL; i++)
    node = qtk_toml_get(stage->table, keys[i]);
  if (node == NULL && strcmp(stage->training.keep, "best") == 0)
    node = qtk_toml_get(stage->table, "keep_values");
  if (node == NULL || stage->validation.node != NULL)
    return QTK_OK;
  return qtk_toml_error(node, "%s without data to measure on: give the stage validation = "
                              "{ path = \"...\" }, or { share = 0.05 } of its data",
                        qtk_toml_key(node));
}

int qtk_job_read_adapt(const struct qtk_job *job, struct qtk_job_stage *stage)
{
  const struct qtk_toml *method, *table = stage->table;
  int rc = qtk_job_need(table, "method", &method);
  if (rc != QTK_OK || (rc = qtk_toml_get_text(table, "targets", &stage->targets)) != QTK_OK ||
      (rc = adapt_data(job, table, "data", &stage->data)) != QTK_OK ||
      (rc = adapt_validation(job, stage)) != QTK_OK ||
      (rc = qtk_job_read_training(table, &stage->training)) != QTK_OK ||
      (rc = adapt_check_data(&stage->data, stage->training.classes)) != QTK_OK ||
      (rc = adapt_check_data(&stage->validation, stage->training.classes)) != QTK_OK)
    return rc;
  stage->method = qtk_toml_text(method);
  if (stage->data.node == NULL)
    return qtk_toml_error(table, "nothing to learn from: give this stage data = { path = \"...\" }");
  return adapt_check_validation(stage);
}
