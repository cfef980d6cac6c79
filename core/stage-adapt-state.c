/* SPDX-License-Identifier: BSD-3-Clause
 * What an adapt stage leaves in the state: checkpoints, and the finished adapter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qtk/ops.h>

#include "core/error.h"
#include "core/log.h"
#include "core/stage-adapt.h"

#define STATE_NAME 48

static const char *state_name(size_t stage, const char *what, char name[STATE_NAME])
{
  snprintf(name, STATE_NAME, "stage-%zu.%s", stage, what);
  return name;
}

/* ---- values -------------------------------------------------------------------------- */

static size_t state_floats(const struct qtk_tensor *t)
{
  return (size_t)t->shape[0];
}

static size_t state_bytes(const struct qtk_tensor *t)
{
  return qtk_dtype_size(t->dtype) * (size_t)t->shape[0];
}

/* Every parameter's values, to or from `best`. */
static int state_copy_best(struct adaptation *a, int out)
{
  struct qtk_optimizer *o = qtk_train_optimizer(a->train);
  struct qtk_param param;
  struct qtk_tensor t;
  float *at = a->best;
  int rc = QTK_OK;
  for (int i = 0; rc == QTK_OK && qtk_optimizer_part(o, i, 0, &param, &t); i++) {
    size_t bytes = state_floats(&t) * sizeof *at;
    rc = out ? qtk_device_download(a->work->ctx, at, t.data, bytes)
             : qtk_device_upload(a->work->ctx, t.data, at, bytes);
    at += state_floats(&t);
  }
  return rc;
}

static int state_best_room(struct adaptation *a)
{
  size_t bytes = (size_t)qtk_optimizer_values(qtk_train_optimizer(a->train)) * sizeof *a->best;
  if (a->best == NULL)
    a->best = qtk_alloc(a->work->ctx, bytes, "best");
  return a->best != NULL ? QTK_OK : QTK_ENOMEM;
}

int qtk_adapt_keep_best(struct adaptation *a)
{
  int rc = state_best_room(a);
  return rc == QTK_OK ? state_copy_best(a, 1) : rc;
}

int qtk_adapt_take_best(struct adaptation *a)
{
  if (a->best == NULL)
    return QTK_OK;
  int rc = state_copy_best(a, 0);
  return rc == QTK_OK ? qtk_engine_changed(a->engine, a->adapter, 0) : rc;
}

/* ---- checkpoints --------------------------------------------------------------------------- */

/* A checkpoint's tensors: each parameter's parts, then its best values, all [1, n]. What the
 * host cannot read is copied. */
struct state_tensors {
  struct qtk_context *ctx;
  struct qtk_stored *list;
  int n;
  void **copies; /* [n]; NULL where the memory is the backend's */
};

/* Floats, or codes. */
static int state_layout(enum qtk_dtype dtype, int64_t n, struct qtk_qlayout *l)
{
  *l = (struct qtk_qlayout){.encoding = QTK_DENSE, .dtype = QTK_F32, .rows = 1, .cols = n};
  if (dtype != QTK_F32) {
    l->encoding = QTK_OPAQUE;
    l->opaque_bytes = qtk_dtype_size(dtype) * (size_t)n;
  }
  return qtk_qlayout_init(l);
}

static int state_view(struct state_tensors *s, const char *name, const struct qtk_tensor *part,
                      void *data)
{
  struct qtk_stored *t = &s->list[s->n];
  *t = (struct qtk_stored){.name = name, .ndim = 2, .shape = {1, part->shape[0]}};
  t->view.codes = data;
  s->n++;
  return state_layout(part->dtype, part->shape[0], &t->view.layout);
}

static int state_add(struct state_tensors *s, const char *name, const struct qtk_tensor *t)
{
  size_t bytes = state_bytes(t);
  void *copy = NULL;
  if (qtk_device_is_host(s->ctx))
    return state_view(s, name, t, t->data);
  copy = s->copies[s->n] = qtk_alloc(s->ctx, bytes, "scratch");
  int rc = copy ? qtk_device_download(s->ctx, copy, t->data, bytes) : QTK_ENOMEM;
  return rc == QTK_OK ? state_view(s, name, t, copy) : rc;
}

/* How many parameters there are, and how many parts all of them have. */
struct state_counts {
  int params, parts;
};

static struct state_counts state_count(struct qtk_optimizer *o)
{
  struct state_counts n = {0, 0};
  struct qtk_param param;
  struct qtk_tensor t;
  for (; qtk_optimizer_part(o, n.params, 0, &param, &t); n.params++)
    for (int part = 0; qtk_optimizer_part(o, n.params, part, &param, &t); part++)
      n.parts++;
  return n;
}

static int state_gather(struct adaptation *a, struct qtk_param *params, struct state_tensors *s)
{
  struct qtk_optimizer *o = qtk_train_optimizer(a->train);
  struct qtk_tensor t;
  float *best = a->best;
  int rc = QTK_OK;
  for (int i = 0; rc == QTK_OK && qtk_optimizer_part(o, i, 0, &params[i], &t); i++) {
    const struct qtk_tensor value = t;
    for (int part = 0; rc == QTK_OK && qtk_optimizer_part(o, i, part, &params[i], &t); part++)
      rc = state_add(s, params[i].name, &t);
    if (rc == QTK_OK && best != NULL) {
      rc = state_view(s, params[i].name, &value, best);
      best += state_floats(&value);
    }
  }
  return rc;
}

static int state_put(struct adaptation *a, const struct state_tensors *s)
{
  struct qtk_str text = {0};
  char name[STATE_NAME];
  int rc = qtk_course_write(&a->course, &text);
  if (rc == QTK_OK)
    rc = qtk_state_put(a->work->state, state_name(a->stage, "train", name), text.data, s->list,
                       s->n, NULL);
  qtk_str_free(&text);
  return rc;
}

int qtk_adapt_save(struct adaptation *a)
{
  if (a->work->state == NULL || a->course.step == a->saved)
    return QTK_OK;
  struct state_counts n = state_count(qtk_train_optimizer(a->train));
  size_t all = (size_t)n.parts + (size_t)n.params;
  struct qtk_param *params = calloc((size_t)n.params + 1, sizeof *params);
  struct state_tensors s = {.ctx = a->work->ctx,
                            .list = calloc(all + 1, sizeof *s.list),
                            .copies = calloc(all + 1, sizeof *s.copies)};
  int rc = params && s.list && s.copies ? state_gather(a, params, &s)
                                        : qtk_error_memory(all * sizeof *s.list, "a checkpoint");
  if (rc == QTK_OK)
    rc = state_put(a, &s);
  for (size_t i = 0; s.copies != NULL && i < all; i++)
    qtk_free(a->work->ctx, s.copies[i]);
  free(s.copies);
  free(s.list);
  free(params);
  if (rc == QTK_OK)
    a->saved = a->course.step;
  return rc;
}

static int state_fits(const struct qtk_stored *stored, const char *name,
                      const struct qtk_tensor *part)
{
  struct qtk_qlayout want;
  return state_layout(part->dtype, part->shape[0], &want) == QTK_OK &&
         strcmp(stored->name, name) == 0 && stored->view.layout.encoding == want.encoding &&
         stored->view.layout.cols == want.cols && stored->view.layout.code_bytes == want.code_bytes;
}

/* A parameter's tensors from number *k of the unit on. */
static int state_load(struct adaptation *a, const struct qtk_state_unit *unit, int i, int *k)
{
  struct qtk_optimizer *o = qtk_train_optimizer(a->train);
  struct qtk_param param;
  struct qtk_tensor t;
  int rc = QTK_OK;
  for (int part = 0; rc == QTK_OK && qtk_optimizer_part(o, i, part, &param, &t); part++) {
    const struct qtk_stored *stored = qtk_unit_tensor(unit, (*k)++);
    if (!state_fits(stored, param.name, &t))
      return qtk_error(QTK_EINTERNAL, "a checkpoint has other values for %s", param.name);
    rc = qtk_device_upload(a->work->ctx, t.data, stored->view.codes, state_bytes(&t));
  }
  return rc;
}

static int state_load_all(struct adaptation *a, const struct qtk_state_unit *unit)
{
  struct state_counts n = state_count(qtk_train_optimizer(a->train));
  int best = qtk_unit_count(unit) == n.parts + n.params, k = 0, rc = QTK_OK;
  float *at;
  if (!best && qtk_unit_count(unit) != n.parts)
    return qtk_error(QTK_EINTERNAL, "a checkpoint has %d tensors for %d parameters",
                     qtk_unit_count(unit), n.params);
  if (best && (rc = state_best_room(a)) != QTK_OK)
    return rc;
  at = a->best;
  for (int i = 0; rc == QTK_OK && i < n.params; i++) {
    rc = state_load(a, unit, i, &k);
    if (rc == QTK_OK && best) {
      const struct qtk_stored *stored = qtk_unit_tensor(unit, k++);
      memcpy(at, stored->view.codes, (size_t)stored->view.layout.cols * sizeof *at);
      at += stored->view.layout.cols;
    }
  }
  return rc;
}

/* NULL: there is none. */
static int state_checkpoint(const struct adaptation *a, struct qtk_state_unit **unit)
{
  char name[STATE_NAME];
  *unit = NULL;
  if (a->work->state == NULL)
    return QTK_OK;
  return qtk_state_get(a->work->state, state_name(a->stage, "train", name), unit);
}

int qtk_adapt_resumes(const struct adaptation *a, int *resumes)
{
  struct qtk_state_unit *unit;
  int rc = state_checkpoint(a, &unit);
  *resumes = unit != NULL;
  qtk_unit_close(unit);
  return rc;
}

int qtk_adapt_restore(struct adaptation *a)
{
  struct qtk_state_unit *unit;
  int rc = state_checkpoint(a, &unit);
  if (rc != QTK_OK || unit == NULL)
    return rc;
  rc = qtk_course_read(&a->course, qtk_unit_text(unit));
  if (rc == QTK_OK)
    rc = state_load_all(a, unit);
  qtk_unit_close(unit);
  if (rc != QTK_OK)
    return rc;
  a->saved = a->course.step;
  qtk_info("stage %zu (adapt) goes on from step %lld", a->stage, (long long)a->saved);
  qtk_train_resume(a->train, a->course.step);
  return qtk_engine_changed(a->engine, a->adapter, 0);
}

/* ---- the finished adapter ----------------------------------------------------------------------- */

/* The unit's text. */
static int state_bound(const struct qtk_tuned *t, const struct qtk_job_training *training,
                       struct qtk_str *out)
{
  json_t *root = json_pack("{s:s, s:s, s:s, s:s?, s:o}", "base", t->base, "tokenizer",
                           t->tokenizer, "recipe", t->recipe, "base_name", t->base_name, "changes",
                           qtk_changes_of(training, INT64_MAX));
  int rc = root ? qtk_json_write(root, QTK_JSON_COMPACT, out) : qtk_error_memory(0, "an adapter");
  json_decref(root);
  return rc;
}

static int state_digest(const json_t *root, const char *key, char hex[QTK_DIGEST_HEX])
{
  const char *text = "";
  int rc = qtk_json_get_text(root, key, &text);
  snprintf(hex, QTK_DIGEST_HEX, "%s", text);
  return rc;
}

static int state_unbind(const char *text, const struct qtk_job_training *training,
                        struct qtk_tuned *t)
{
  const char *name = NULL;
  json_t *root;
  int rc = qtk_json_parse(text, strlen(text), "state", &root);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_changes_check(training, INT64_MAX, json_object_get(root, "changes"));
  if (rc == QTK_OK)
    rc = state_digest(root, "base", t->base);
  if (rc == QTK_OK)
    rc = state_digest(root, "tokenizer", t->tokenizer);
  if (rc == QTK_OK)
    rc = state_digest(root, "recipe", t->recipe);
  if (rc == QTK_OK)
    rc = qtk_json_get_text(root, "base_name", &name);
  if (rc == QTK_OK && name != NULL && (t->base_name = qtk_str_copy(name)) == NULL)
    rc = QTK_ENOMEM;
  json_decref(root);
  return rc;
}

static void state_release(void *unit)
{
  qtk_unit_close(unit);
}

/* The unit's tensors are the adapter's, in their order. */
static int state_borrow(struct qtk_tuned *t, const struct qtk_job_training *training,
                        struct qtk_state_unit *unit)
{
  int n = qtk_unit_count(unit);
  t->owner = unit;
  t->release = state_release;
  t->params = calloc((size_t)n + 1, sizeof *t->params);
  if (t->params == NULL)
    return qtk_error_memory((size_t)n * sizeof *t->params, "parameters");
  for (; t->n_params < n; t->n_params++) {
    struct qtk_stored *p = &t->params[t->n_params];
    *p = *qtk_unit_tensor(unit, t->n_params);
    p->name = qtk_str_copy(p->name);
    if (p->name == NULL)
      return QTK_ENOMEM;
  }
  return state_unbind(qtk_unit_text(unit), training, t);
}

int qtk_adapt_tuned(const struct qtk_work *work, size_t stage, struct qtk_tuned **tuned)
{
  const struct qtk_plan_stage *s = &work->plan->stages[stage];
  const struct qtk_plan_method *m = &s->adapt.method;
  const char *name = s->job->name != NULL ? s->job->name : work->plan->job->name;
  return qtk_tuned_new(work->ctx, name, m->loaded, m->text, s->job->targets, tuned);
}

/* Takes the unit over. */
static int state_adopt(struct qtk_work *work, size_t stage, struct qtk_state_unit *unit)
{
  struct qtk_tuned *t;
  int rc = qtk_adapt_tuned(work, stage, &t);
  if (rc != QTK_OK) {
    qtk_unit_close(unit);
    return rc;
  }
  rc = state_borrow(t, &work->plan->stages[stage].adapt.training, unit);
  if (rc == QTK_OK)
    return qtk_model_adapt(work->ctx, work->model, t, 0);
  qtk_tuned_free(t);
  return rc;
}

int qtk_adapt_finish(struct qtk_work *work, size_t stage, struct qtk_tuned *tuned)
{
  struct qtk_state_unit *unit = NULL;
  struct qtk_str text = {0};
  char name[STATE_NAME];
  if (work->state == NULL)
    return qtk_model_adapt(work->ctx, work->model, tuned, 0);
  int rc = state_bound(tuned, &work->plan->stages[stage].adapt.training, &text);
  if (rc == QTK_OK)
    rc = qtk_state_put(work->state, state_name(stage, "adapter", name), text.data, tuned->params,
                       tuned->n_params, &unit);
  qtk_str_free(&text);
  qtk_tuned_free(tuned);
  if (rc == QTK_OK)
    return state_adopt(work, stage, unit);
  qtk_unit_close(unit);
  return rc;
}

int qtk_stage_adapt_done(struct qtk_work *work, size_t i)
{
  char name[STATE_NAME];
  int rc = qtk_adapt_lessons_remove(work, i);
  return rc == QTK_OK ? qtk_state_remove(work->state, state_name(i, "train", name)) : rc;
}

int qtk_stage_adapt_resume(struct qtk_work *work, size_t i)
{
  struct qtk_state_unit *unit = NULL;
  char name[STATE_NAME];
  int rc = qtk_state_get(work->state, state_name(i, "adapter", name), &unit);
  if (rc != QTK_OK)
    return rc;
  if (unit == NULL)
    return qtk_error(QTK_EINPUT, "%s: the adapter that stage %zu has made is not there any more; "
                                 "remove the folder to start again",
                     qtk_state_dir(work->state), i);
  return state_adopt(work, i, unit);
}
