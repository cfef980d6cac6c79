/* SPDX-License-Identifier: BSD-3-Clause
 * A teacher that runs once, before the training: what it says of each sequence lies in units of
 * the state, in the order of the sequences, and is read from there in every epoch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qtk/ops.h>

#include "core/block.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/stage-adapt.h"
#include "core/state-unit.h"

#define LESSON_NAME 64
#define LESSON_PARTS 3 /* ids, values, rest */

/* The work on a set of data. */
struct lesson_work {
  struct adaptation *a;
  const struct qtk_examples *examples;
  struct adapt_lessons *lessons;
  char *used; /* [n sequences] */
  int unit;   /* number of the next one */
  int64_t k, vocabulary;
  struct qtk_progress *progress;
  int64_t done; /* tokens */
};

static const char *lesson_name(size_t stage, int unit, char name[LESSON_NAME])
{
  snprintf(name, LESSON_NAME, "stage-%zu.lesson-%d", stage, unit);
  return name;
}

static int64_t lesson_length(const struct qtk_examples *e, int64_t i)
{
  return e->starts[i + 1] - e->starts[i];
}

/* ---- which sequences ---------------------------------------------------------------------- */

/* All that are measured; of those that are learned the ones that a first epoch takes, which may
 * end before it has all. */
static int lesson_uses(struct lesson_work *w)
{
  struct adaptation *a = w->a;
  int64_t n = w->examples->n, take = a->steps * a->plan->training.batch;
  int64_t *order = calloc((size_t)n, sizeof *order);
  w->used = calloc((size_t)n, 1);
  if (order == NULL || w->used == NULL) {
    free(order);
    return qtk_error_memory((size_t)n * sizeof *order, "an order");
  }
  take = w->examples != &a->data.examples || take > n ? n : take;
  qtk_train_order(a->work->ctx, 0, n, order);
  for (int64_t i = 0; i < take; i++)
    w->used[order[i]] = 1;
  free(order);
  return QTK_OK;
}

/* The sequences from `first` on that are in one unit: up to the number that is returned. */
static int64_t lesson_last(const struct lesson_work *w, int64_t first, int64_t *tokens)
{
  int64_t most = QTK_LESSON_UNIT / (int64_t)qtk_lesson_bytes(w->k), i = first;
  for (*tokens = 0; i < w->examples->n; i++) {
    int64_t more = w->used[i] ? lesson_length(w->examples, i) : 0;
    if (*tokens > 0 && *tokens + more > most)
      break;
    *tokens += more;
  }
  return i;
}

/* ---- teaching --------------------------------------------------------------------------------- */

/* What is said of the sequences of a unit, while it is made. */
struct lesson_rows {
  int32_t *ids;
  float *values, *rest;
};

/* The teacher, opened for the first unit that is not there yet. */
static int lesson_teacher(struct lesson_work *w)
{
  struct adaptation *a = w->a;
  struct qtk_model *model = a->work->source != NULL ? a->work->source : a->opened;
  struct qtk_context *ctx = a->work->ctx;
  int rc = QTK_OK;
  if (a->teacher != NULL)
    return QTK_OK;
  qtk_model_account(model, "teacher");
  rc = a->plan->stream ? qtk_engine_open_blocks(ctx, model, &a->teacher)
                       : qtk_engine_open(ctx, model, NULL, 0, &a->teacher);
  if (rc == QTK_OK)
    rc = qtk_session_new(a->teacher, 1, 0, &a->lesson);
  if (rc == QTK_OK)
    qtk_session_account(a->lesson, "teacher");
  return rc == QTK_OK ? qtk_device_matrix(ctx, QTK_LOGIT_CHUNK, w->vocabulary, "teacher",
                                          &a->spoken)
                      : rc;
}

static int lesson_sequence(struct lesson_work *w, int64_t number, const struct lesson_rows *to)
{
  struct adaptation *a = w->a;
  int64_t n = lesson_length(w->examples, number);
  struct qtk_tensor hidden;
  int rc = qtk_check_stop(a->work->ctx);
  if (rc == QTK_OK)
    rc = qtk_session_forward(a->lesson, w->examples->ids + w->examples->starts[number], &n,
                             &hidden);
  for (int64_t t = 0; rc == QTK_OK && t < n; t += QTK_LOGIT_CHUNK) {
    struct qtk_tensor logits =
        qtk_rows_of(&a->spoken, 0, n - t < QTK_LOGIT_CHUNK ? n - t : QTK_LOGIT_CHUNK);
    rc = qtk_engine_logits(a->teacher, &hidden, t, &logits);
    if (rc == QTK_OK)
      rc = qtk_lesson_make(a->work->ctx, &logits, w->k, to->ids + t * w->k, to->values + t * w->k,
                           to->rest + t);
  }
  w->done += n;
  qtk_progress_step(w->progress, (uint64_t)w->done);
  return rc;
}

/* Views of the parts as a unit keeps them. */
static int lesson_stored(const struct lesson_work *w, const struct lesson_rows *rows, int64_t tokens,
                         struct qtk_stored parts[LESSON_PARTS])
{
  const char *const names[] = {"ids", "values", "rest"};
  void *const data[] = {rows->ids, rows->values, rows->rest};
  int rc = QTK_OK;
  for (int i = 0; rc == QTK_OK && i < LESSON_PARTS; i++) {
    int64_t cols = i < 2 ? w->k : 1;
    struct qtk_stored *t = &parts[i];
    *t = (struct qtk_stored){.name = names[i], .ndim = 2, .shape = {tokens, cols}};
    t->view.layout = (struct qtk_qlayout){.encoding = i == 0 ? QTK_OPAQUE : QTK_DENSE,
                                          .dtype = QTK_F32, .rows = tokens, .cols = cols};
    if (i == 0)
      t->view.layout.opaque_bytes = (size_t)(tokens * cols) * sizeof(int32_t);
    t->view.codes = data[i];
    rc = qtk_qlayout_init(&t->view.layout);
  }
  return rc;
}

static int lesson_teach(struct lesson_work *w, const struct lesson_rows *rows, int64_t first,
                        int64_t last, int64_t tokens, struct qtk_state_unit **unit)
{
  struct qtk_stored parts[LESSON_PARTS];
  struct lesson_rows at = *rows;
  char name[LESSON_NAME];
  int rc = lesson_teacher(w);
  for (int64_t i = first; rc == QTK_OK && i < last; i++) {
    if (!w->used[i])
      continue;
    rc = lesson_sequence(w, i, &at);
    at.ids += lesson_length(w->examples, i) * w->k;
    at.values += lesson_length(w->examples, i) * w->k;
    at.rest += lesson_length(w->examples, i);
  }
  if (rc == QTK_OK)
    rc = lesson_stored(w, rows, tokens, parts);
  return rc == QTK_OK ? qtk_state_put(w->a->work->state, lesson_name(w->a->stage, w->unit, name),
                                      NULL, parts, LESSON_PARTS, unit)
                      : rc;
}

static int lesson_make(struct lesson_work *w, int64_t first, int64_t last, int64_t tokens,
                       struct qtk_state_unit **unit)
{
  struct qtk_context *ctx = w->a->work->ctx;
  size_t n = (size_t)(tokens * w->k);
  float *memory = qtk_alloc(ctx, (size_t)tokens * (size_t)qtk_lesson_bytes(w->k), "teacher");
  struct lesson_rows rows = {(int32_t *)memory, memory + n, memory + 2 * n};
  int rc = memory != NULL ? lesson_teach(w, &rows, first, last, tokens, unit) : QTK_ENOMEM;
  qtk_free(ctx, memory);
  return rc;
}

/* ---- units ------------------------------------------------------------------------------------- */

static int lesson_is_whole(const struct lesson_work *w, const struct qtk_state_unit *unit,
                           int64_t tokens)
{
  if (qtk_unit_count(unit) != LESSON_PARTS)
    return 0;
  const struct qtk_qlayout *ids = &qtk_unit_tensor(unit, 0)->view.layout;
  const struct qtk_qlayout *values = &qtk_unit_tensor(unit, 1)->view.layout;
  const struct qtk_qlayout *rest = &qtk_unit_tensor(unit, 2)->view.layout;
  return ids->code_bytes == (size_t)(tokens * w->k) * sizeof(int32_t) && values->rows == tokens &&
         values->cols == w->k && values->dtype == QTK_F32 && rest->rows == tokens &&
         rest->cols == 1 && rest->dtype == QTK_F32;
}

/* The unit's rows are those of the sequences, in their order. */
static void lesson_show(struct lesson_work *w, const struct qtk_state_unit *unit, int64_t first,
                        int64_t last)
{
  const int32_t *ids = qtk_unit_tensor(unit, 0)->view.codes;
  const float *values = qtk_unit_tensor(unit, 1)->view.codes;
  const float *rest = qtk_unit_tensor(unit, 2)->view.codes;
  for (int64_t i = first; i < last; i++) {
    int64_t n = w->used[i] ? lesson_length(w->examples, i) : 0;
    w->lessons->list[i] = (struct qtk_lesson){.tokens = n, .vocabulary = w->vocabulary,
                                              .k = w->k, .ids = ids, .values = values,
                                              .rest = rest};
    ids += n * w->k;
    values += n * w->k;
    rest += n;
  }
}

/* Sequences [first, last): from the state, or from the teacher. */
static int lesson_unit(struct lesson_work *w, int64_t first, int64_t last, int64_t tokens)
{
  struct qtk_state_unit *unit = NULL;
  char name[LESSON_NAME];
  int rc = qtk_state_get(w->a->work->state, lesson_name(w->a->stage, w->unit, name), &unit);
  if (rc == QTK_OK && unit != NULL && !lesson_is_whole(w, unit, tokens)) {
    qtk_unit_close(unit);
    unit = NULL;
  }
  if (rc == QTK_OK && unit == NULL)
    rc = lesson_make(w, first, last, tokens, &unit);
  else
    w->done += tokens;
  if (rc == QTK_OK && (rc = qtk_vec_push(&w->lessons->units, unit)) != QTK_OK)
    qtk_unit_close(unit);
  if (rc == QTK_OK)
    lesson_show(w, unit, first, last);
  w->unit++;
  return rc;
}

static int lesson_data(struct lesson_work *w, const struct qtk_examples *examples,
                       struct adapt_lessons *lessons)
{
  int64_t tokens, last;
  w->examples = examples;
  w->lessons = lessons;
  lessons->list = calloc((size_t)examples->n + 1, sizeof *lessons->list);
  if (lessons->list == NULL)
    return qtk_error_memory((size_t)examples->n * sizeof *lessons->list, "a teacher");
  int rc = lesson_uses(w);
  for (int64_t i = 0; rc == QTK_OK && i < examples->n; i = last) {
    last = lesson_last(w, i, &tokens);
    if (tokens > 0)
      rc = lesson_unit(w, i, last, tokens);
  }
  free(w->used);
  w->used = NULL;
  return rc;
}

/* ---- all ------------------------------------------------------------------------------------------ */

static void lesson_dismiss(struct adaptation *a)
{
  qtk_device_free(a->work->ctx, a->spoken.data);
  qtk_session_free(a->lesson);
  qtk_engine_close(a->teacher);
  if (a->work->source != NULL)
    qtk_model_account(a->work->source, "weights");
  a->spoken = (struct qtk_tensor){0};
  a->lesson = NULL;
  a->teacher = NULL;
}

int qtk_adapt_lessons(struct adaptation *a)
{
  struct qtk_progress progress;
  struct lesson_work w = {.a = a, .k = a->plan->training.teacher_top, .progress = &progress,
                          .vocabulary = qtk_model_info(a->work->model)->vocabulary};
  if (!a->plan->cached)
    return QTK_OK;
  if (a->work->state == NULL)
    return qtk_error(QTK_EUSAGE, "teacher = \"cache\": this run keeps no state, where it would lie");
  qtk_progress_begin(&progress, "teacher",
                     (uint64_t)(a->data.count.tokens + a->validation.count.tokens), "tokens");
  int rc = lesson_data(&w, &a->data.examples, &a->lessons[0]);
  if (rc == QTK_OK && a->validation.examples.n > 0)
    rc = lesson_data(&w, &a->validation.examples, &a->lessons[1]);
  qtk_progress_end(&progress);
  lesson_dismiss(a);
  return rc;
}

int qtk_adapt_learn(struct adaptation *a)
{
  int rc = qtk_train_learn(a->train, &a->data.examples, a->lessons[0].list);
  return rc == QTK_OK && a->lessons[1].list != NULL
             ? qtk_train_learn(a->train, &a->validation.examples, a->lessons[1].list)
             : rc;
}

void qtk_adapt_lessons_end(struct adaptation *a)
{
  lesson_dismiss(a);
  for (int i = 0; i < 2; i++) {
    struct adapt_lessons *l = &a->lessons[i];
    for (size_t k = 0; k < l->units.length; k++)
      qtk_unit_close(l->units.data[k]);
    qtk_vec_free(&l->units);
    free(l->list);
    l->list = NULL;
  }
}

int qtk_adapt_lessons_remove(struct qtk_work *work, size_t stage)
{
  char name[LESSON_NAME];
  for (int unit = 0, there = 1, rc; there; unit++) {
    lesson_name(stage, unit, name);
    char *path = qtk_str_format("%s/%s%s", qtk_state_dir(work->state), name, QTK_UNIT_SUFFIX);
    if (path == NULL)
      return QTK_ENOMEM;
    there = qtk_path_exists(path);
    free(path);
    if (there && (rc = qtk_state_remove(work->state, name)) != QTK_OK)
      return rc;
  }
  return QTK_OK;
}
