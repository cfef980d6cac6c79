/* SPDX-License-Identifier: BSD-3-Clause
 * Reads a job file: top tables here, stages in job-stage.c. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/job-stage.h"
#include "core/job.h"
#include "core/str.h"

static const char *const job_top_keys[] = {"job", "model", "stage", "output", NULL};
static const char *const job_keys[] = {"name",    "seed",         "backend",
                                       "threads", "memory_limit", NULL};
static const char *const job_model_keys[] = {"path", "source", "adapter", NULL};
static const char *const job_output_keys[] = {"bundle", "base",   "adapter",
                                              "report", "page", NULL};

/* ---- replaced keys ------------------------------------------------------------ */

/* The number of the stage with that name, or -1. */
static long job_stage_by_name(const struct qtk_toml *root, const char *name, size_t n)
{
  const struct qtk_toml *stages = qtk_toml_get(root, "stage");
  if (stages == NULL || qtk_toml_kind(stages) != QTK_TOML_ARRAY)
    return -1;
  for (size_t i = 0; i < qtk_toml_length(stages); i++) {
    const struct qtk_toml *stage = qtk_toml_item(stages, i), *key = NULL;
    if (qtk_toml_kind(stage) == QTK_TOML_TABLE)
      key = qtk_toml_get(stage, "name");
    if (key != NULL && qtk_toml_kind(key) == QTK_TOML_TEXT &&
        strlen(qtk_toml_text(key)) == n && memcmp(qtk_toml_text(key), name, n) == 0)
      return (long)i;
  }
  return -1;
}

/* No stage has that name: says which there are. */
static int job_no_stage(const struct qtk_toml *root, const char *set, const char *name, size_t n)
{
  const struct qtk_toml *stages = qtk_toml_get(root, "stage");
  struct qtk_str names = {0};
  for (size_t i = 0; i < qtk_toml_length(stages); i++) {
    const struct qtk_toml *stage = qtk_toml_item(stages, i), *key = NULL;
    if (qtk_toml_kind(stage) == QTK_TOML_TABLE)
      key = qtk_toml_get(stage, "name");
    if (key != NULL && qtk_toml_kind(key) == QTK_TOML_TEXT)
      qtk_str_printf(&names, ", %s", qtk_toml_text(key));
  }
  int rc = qtk_error(QTK_EJOB, "--set %s: no stage is called \"%.*s\": there are 0 .. %zu%s", set,
                     (int)n, name, qtk_toml_length(stages) - 1, names.data ? names.data : "");
  qtk_str_free(&names);
  return rc;
}

/* "stage.NAME.key" as "stage.NUMBER.key"; other paths as they are. */
static int job_set_path(const struct qtk_toml *root, const char *set, size_t n, char **path)
{
  const struct qtk_toml *stages = qtk_toml_get(root, "stage");
  int named = n > 6 && strncmp(set, "stage.", 6) == 0 && (set[6] < '0' || set[6] > '9') &&
              qtk_toml_length(stages) > 0 && qtk_toml_kind(stages) == QTK_TOML_ARRAY;
  size_t length = named ? strcspn(set + 6, ".=") : 0;
  long i = named ? job_stage_by_name(root, set + 6, length) : 0;
  if (i < 0)
    return job_no_stage(root, set, set + 6, length);
  *path = named ? qtk_str_format("stage.%ld%.*s", i, (int)(n - 6 - length), set + 6 + length)
                : qtk_str_format("%.*s", (int)n, set);
  return *path != NULL ? QTK_OK : QTK_ENOMEM;
}

static int job_set_one(struct qtk_toml *root, const char *set)
{
  const char *equals = strchr(set, '=');
  if (equals == NULL || equals == set)
    return qtk_error(QTK_EUSAGE, "--set %s: KEY=VALUE is wanted, like stage.1.bits=4", set);
  char *path = NULL, *origin = NULL;
  int rc = job_set_path(root, set, (size_t)(equals - set), &path);
  if (rc == QTK_OK && (origin = qtk_str_format("--set %s", set)) == NULL)
    rc = QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_toml_set_path(root, path, equals + 1, origin);
  free(path);
  free(origin);
  return rc;
}

static int job_set_all(struct qtk_toml *root, const char *const *set)
{
  int rc = QTK_OK;
  for (; set != NULL && *set != NULL && rc == QTK_OK; set++)
    rc = job_set_one(root, *set);
  return rc;
}

/* ---- values ---------------------------------------------------------------------- */

int qtk_job_path(const struct qtk_job *job, const struct qtk_toml *table, const char *key,
                 char **path)
{
  const char *text = NULL;
  int rc = qtk_toml_get_text(table, key, &text);
  if (rc != QTK_OK || text == NULL)
    return rc;
  if (text[0] == '\0')
    return qtk_toml_error(qtk_toml_get(table, key), "%s is empty: a path is wanted", key);
  *path = qtk_path_join(strcmp(job->folder, ".") == 0 ? NULL : job->folder, text);
  return *path != NULL ? QTK_OK : QTK_ENOMEM;
}

/* A size is a whole number of bytes or a text like "2GiB". */
static int job_size(const struct qtk_toml *table, const char *key, uint64_t *bytes)
{
  const struct qtk_toml *node = qtk_toml_get(table, key);
  if (node == NULL)
    return QTK_OK;
  if (qtk_toml_kind(node) == QTK_TOML_INT && qtk_toml_int(node) >= 0) {
    *bytes = (uint64_t)qtk_toml_int(node);
    return QTK_OK;
  }
  if (qtk_toml_kind(node) != QTK_TOML_TEXT)
    return qtk_toml_error(node, "%s: a number of bytes or a text like \"2GiB\" is wanted", key);
  if (qtk_size_parse(qtk_toml_text(node), bytes) != QTK_OK) {
    char *why = qtk_str_copy(qtk_error_message());
    int rc = qtk_toml_error(node, "%s: %s", key, why ? why : "no size");
    free(why);
    return rc;
  }
  return QTK_OK;
}

int qtk_job_int(const struct qtk_toml *table, const char *key, int64_t lowest, int64_t highest,
                int64_t *value)
{
  int rc = qtk_toml_get_int(table, key, value);
  if (rc == QTK_OK && (*value < lowest || *value > highest)) {
    if (highest == INT64_MAX)
      return qtk_toml_error(qtk_toml_get(table, key), "%s = %lld: allowed are %lld and more", key,
                            (long long)*value, (long long)lowest);
    return qtk_toml_error(qtk_toml_get(table, key), "%s = %lld: allowed are %lld .. %lld", key,
                          (long long)*value, (long long)lowest, (long long)highest);
  }
  return rc;
}

/* ---- tables ------------------------------------------------------------------------ */

/* Output names are made from it. */
static int job_check_name(const struct qtk_job *job, const struct qtk_toml *node)
{
  if (job->name[0] != '\0' && job->name[0] != '.' && strchr(job->name, '/') == NULL)
    return QTK_OK;
  if (node == NULL)
    return qtk_error(QTK_EJOB, "%s: no name for the outputs can be made from this file's: give "
                               "the job one with name in [job]",
                     job->file);
  return qtk_toml_error(node, "name = \"%s\": a file name without slashes is wanted", job->name);
}

static int job_default_name(struct qtk_job *job)
{
  const char *base = qtk_path_base(job->file);
  size_t n = strlen(base);
  if (qtk_path_ends(base, ".toml"))
    n -= 5;
  job->name = qtk_str_format("%.*s", (int)n, base);
  return job->name != NULL ? QTK_OK : QTK_ENOMEM;
}

static int job_read_name(struct qtk_job *job, const struct qtk_toml *table)
{
  const char *name = NULL;
  int rc = table ? qtk_toml_get_text(table, "name", &name) : QTK_OK;
  if (rc != QTK_OK)
    return rc;
  if (name == NULL)
    rc = job_default_name(job);
  else if ((job->name = qtk_str_copy(name)) == NULL)
    rc = QTK_ENOMEM;
  return rc == QTK_OK ? job_check_name(job, table ? qtk_toml_get(table, "name") : NULL) : rc;
}

static int job_read_job(struct qtk_job *job)
{
  const struct qtk_toml *table = NULL;
  int64_t threads = 0;
  job->backend = "auto";
  job->seed = 1;
  int rc = qtk_toml_get_table(job->root, "job", &table);
  if (rc != QTK_OK || (rc = job_read_name(job, table)) != QTK_OK || table == NULL)
    return rc;
  if ((rc = qtk_toml_only(table, job_keys)) != QTK_OK ||
      (rc = qtk_job_int(table, "seed", 0, INT64_MAX, &job->seed)) != QTK_OK ||
      (rc = qtk_toml_get_text(table, "backend", &job->backend)) != QTK_OK ||
      (rc = qtk_job_int(table, "threads", 0, 1024, &threads)) != QTK_OK ||
      (rc = job_size(table, "memory_limit", &job->memory_limit)) != QTK_OK)
    return rc;
  job->threads = (int)threads;
  return QTK_OK;
}

static int job_adapter(struct qtk_job *job, const struct qtk_toml *node, char **path)
{
  if (qtk_toml_kind(node) != QTK_TOML_TEXT || qtk_toml_text(node)[0] == '\0')
    return qtk_toml_error(node, "adapter: a path, or a list of paths, is wanted");
  *path = qtk_path_join(strcmp(job->folder, ".") == 0 ? NULL : job->folder, qtk_toml_text(node));
  return *path != NULL ? QTK_OK : QTK_ENOMEM;
}

/* A path, or a list of them. */
static int job_read_adapters(struct qtk_job *job, const struct qtk_toml *node)
{
  int list = node != NULL && qtk_toml_kind(node) == QTK_TOML_ARRAY, rc = QTK_OK;
  size_t n = list ? qtk_toml_length(node) : 1;
  if (node == NULL)
    return QTK_OK;
  if (n == 0)
    return qtk_toml_error(node, "adapter: the list is empty");
  job->adapters = calloc(n + 1, sizeof *job->adapters);
  if (job->adapters == NULL)
    return qtk_error_memory(n * sizeof *job->adapters, "a list of adapters");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = job_adapter(job, list ? qtk_toml_item(node, i) : node, &job->adapters[i]);
  return rc;
}

static int job_read_model(struct qtk_job *job)
{
  const struct qtk_toml *table = NULL, *path = NULL;
  int rc = qtk_toml_need(job->root, "model", QTK_TOML_TABLE, &table);
  if (rc != QTK_OK || (rc = qtk_toml_only(table, job_model_keys)) != QTK_OK ||
      (rc = qtk_toml_need(table, "path", QTK_TOML_TEXT, &path)) != QTK_OK ||
      (rc = qtk_job_path(job, table, "path", &job->model)) != QTK_OK ||
      (rc = job_read_adapters(job, qtk_toml_get(table, "adapter"))) != QTK_OK)
    return rc;
  return qtk_job_path(job, table, "source", &job->source);
}

/* An output by its key, or `otherwise`; "" says that none is wanted. */
static int job_output(struct qtk_job *job, const struct qtk_toml *table, const char *key,
                      const char *otherwise, char **path)
{
  const struct qtk_toml *node = table ? qtk_toml_get(table, key) : NULL;
  if (node != NULL && qtk_toml_kind(node) == QTK_TOML_TEXT && qtk_toml_text(node)[0] == '\0')
    return QTK_OK;
  if (node != NULL)
    return qtk_job_path(job, table, key, path);
  if (otherwise == NULL)
    return QTK_OK;
  char *name = qtk_str_format("%s%s", job->name, otherwise);
  if (name != NULL)
    *path = qtk_path_join(strcmp(job->folder, ".") == 0 ? NULL : job->folder, name);
  free(name);
  return *path != NULL ? QTK_OK : QTK_ENOMEM;
}

static int job_changes_model(const struct qtk_job *job)
{
  int changes = 0;
  for (size_t i = 0; i < job->n_stages; i++)
    changes |= job->stages[i].kind == QTK_JOB_QUANTIZE || job->stages[i].kind == QTK_JOB_ADAPT ||
               job->stages[i].kind == QTK_JOB_MERGE;
  return changes;
}

/* The keys of [output] in the order of job_output_keys: what each is if it is not named, and
 * where it goes. A bundle is only made unasked where a stage changes the model. */
static int job_read_output(struct qtk_job *job)
{
  const struct {
    const char *otherwise;
    char **path;
  } outputs[] = {{job_changes_model(job) ? ".qtk" : NULL, &job->bundle},
                 {NULL, &job->base},
                 {NULL, &job->adapter},
                 {".json", &job->report},
                 {NULL, &job->page}};
  const struct qtk_toml *table = NULL;
  int rc = qtk_toml_get_table(job->root, "output", &table);
  if (rc == QTK_OK && table != NULL)
    rc = qtk_toml_only(table, job_output_keys);
  for (size_t i = 0; i < sizeof outputs / sizeof *outputs && rc == QTK_OK; i++) {
    rc = job_output(job, table, job_output_keys[i], outputs[i].otherwise, outputs[i].path);
    for (size_t k = 0; k < i && rc == QTK_OK && *outputs[i].path != NULL; k++)
      if (*outputs[k].path != NULL && strcmp(*outputs[k].path, *outputs[i].path) == 0)
        rc = qtk_toml_error(table, "%s and %s have one path, %s: each wants one of its own",
                            job_output_keys[k], job_output_keys[i], *outputs[i].path);
  }
  return rc;
}

/* ---- whole jobs ------------------------------------------------------------------------ */

void qtk_job_free(struct qtk_job *job)
{
  if (job == NULL)
    return;
  for (size_t i = 0; i < job->n_stages; i++)
    qtk_job_stage_end(&job->stages[i]);
  free(job->stages);
  free(job->file);
  free(job->folder);
  free(job->name);
  free(job->model);
  free(job->source);
  for (char **a = job->adapters; a != NULL && *a != NULL; a++)
    free(*a);
  free(job->adapters);
  free(job->base);
  free(job->adapter);
  free(job->bundle);
  free(job->report);
  free(job->page);
  qtk_toml_free(job->root);
  free(job);
}

static int job_fill(struct qtk_job *job, const char *file, const char *const *set)
{
  job->file = qtk_str_copy(file);
  job->folder = qtk_path_dir(file);
  if (job->file == NULL || job->folder == NULL)
    return QTK_ENOMEM;
  int rc = job_set_all(job->root, set);
  if (rc != QTK_OK || (rc = qtk_toml_only(job->root, job_top_keys)) != QTK_OK ||
      (rc = job_read_job(job)) != QTK_OK || (rc = job_read_model(job)) != QTK_OK ||
      (rc = qtk_job_read_stages(job)) != QTK_OK)
    return rc;
  return job_read_output(job);
}

int qtk_job_make(struct qtk_toml *root, const char *file, const char *const *set,
                 struct qtk_job **job)
{
  struct qtk_job *j = calloc(1, sizeof *j);
  if (j == NULL) {
    qtk_toml_free(root);
    return qtk_error_memory(sizeof *j, "a job");
  }
  j->root = root;
  int rc = job_fill(j, file, set);
  if (rc != QTK_OK) {
    qtk_job_free(j);
    return rc;
  }
  *job = j;
  return QTK_OK;
}

int qtk_job_read(const char *file, const char *const *set, struct qtk_job **job)
{
  struct qtk_toml *root;
  int rc = qtk_toml_read(file, &root);
  return rc == QTK_OK ? qtk_job_make(root, file, set, job) : rc;
}

int qtk_job_parse(const char *text, size_t n, const char *file, const char *const *set,
                  struct qtk_job **job)
{
  struct qtk_toml *root;
  int rc = qtk_toml_parse(text, n, file, &root);
  return rc == QTK_OK ? qtk_job_make(root, file, set, job) : rc;
}
