/* SPDX-License-Identifier: BSD-3-Clause
 * What came of the steps of an adapt stage so far. */
#include <string.h>

#include "core/error.h"
#include "core/stage-adapt.h"

int qtk_course_begin(struct adapt_course *c, const struct qtk_job_training *training)
{
  *c = (struct adapt_course){.training = training, .loss = json_array(),
                             .validation = json_array(), .measured = -1, .best = {.step = -1}};
  return c->loss && c->validation ? QTK_OK : qtk_error_memory(0, "a curve");
}

void qtk_course_end(struct adapt_course *c)
{
  json_decref(c->loss);
  json_decref(c->validation);
  c->loss = c->validation = NULL;
}

int qtk_course_step(struct adapt_course *c, const struct qtk_train_step *s, int64_t every,
                    double seconds)
{
  c->step = s->step;
  c->tokens += s->tokens;
  c->seconds += seconds;
  c->sum += s->loss;
  c->count++;
  if (s->step % every != 0)
    return QTK_OK;
  json_t *point = json_pack("{s:I, s:o, s:o}", "step", (json_int_t)s->step, "loss",
                            qtk_json_real(c->sum / (double)c->count), "learning_rate",
                            qtk_json_real(s->learning_rate));
  c->sum = 0;
  c->count = 0;
  return qtk_json_append(c->loss, point);
}

int qtk_course_measured(struct adapt_course *c, double loss, int *better)
{
  json_t *point = json_pack("{s:I, s:o}", "step", (json_int_t)c->step, "loss",
                            qtk_json_real(loss));
  *better = c->best.step < 0 || loss < c->best.loss;
  c->measured = c->step;
  c->waited = *better ? 0 : c->waited + 1;
  if (*better)
    c->best = (struct adapt_best){c->step, loss};
  return qtk_json_append(c->validation, point);
}

/* ---- in a checkpoint ---------------------------------------------------------------- */

int qtk_course_write(const struct adapt_course *c, struct qtk_str *out)
{
  json_t *root = json_pack("{s:I, s:I, s:o, s:o, s:I, s:O, s:O, s:I, s:I, s:o, s:I, s:o}", "step",
                           (json_int_t)c->step, "tokens", (json_int_t)c->tokens, "seconds",
                           qtk_json_real(c->seconds), "sum", qtk_json_real(c->sum), "count",
                           (json_int_t)c->count, "loss", c->loss, "validation", c->validation,
                           "measured", (json_int_t)c->measured, "best_step",
                           (json_int_t)c->best.step, "best_loss", qtk_json_real(c->best.loss),
                           "waited", (json_int_t)c->waited, "changes",
                           qtk_changes_of(c->training, c->step));
  int rc = root ? qtk_json_write(root, QTK_JSON_COMPACT, out) : qtk_error_memory(0, "a checkpoint");
  json_decref(root);
  return rc;
}

/* The array under `key` in the place of *array. */
static int course_array(const json_t *root, const char *key, json_t **array)
{
  json_t *found = NULL;
  int rc = qtk_json_get_array(root, key, &found);
  if (rc != QTK_OK || found == NULL)
    return rc;
  json_decref(*array);
  *array = json_incref(found);
  return QTK_OK;
}

static int course_numbers(const json_t *root, struct adapt_course *c)
{
  const struct {
    const char *key;
    int64_t *value;
  } ints[] = {{"step", &c->step},         {"tokens", &c->tokens},       {"count", &c->count},
              {"measured", &c->measured}, {"best_step", &c->best.step}, {"waited", &c->waited}};
  int rc = QTK_OK;
  for (size_t i = 0; i < sizeof ints / sizeof *ints && rc == QTK_OK; i++)
    rc = qtk_json_get_int(root, ints[i].key, ints[i].value);
  if (rc == QTK_OK)
    rc = qtk_json_get_real(root, "seconds", &c->seconds);
  if (rc == QTK_OK)
    rc = qtk_json_get_real(root, "sum", &c->sum);
  return rc == QTK_OK ? qtk_json_get_real(root, "best_loss", &c->best.loss) : rc;
}

int qtk_course_read(struct adapt_course *c, const char *text)
{
  json_t *root;
  int rc = qtk_json_parse(text, strlen(text), "checkpoint", &root);
  if (rc != QTK_OK)
    return rc;
  rc = course_numbers(root, c);
  if (rc == QTK_OK)
    rc = qtk_changes_check(c->training, c->step, json_object_get(root, "changes"));
  if (rc == QTK_OK)
    rc = course_array(root, "loss", &c->loss);
  if (rc == QTK_OK)
    rc = course_array(root, "validation", &c->validation);
  json_decref(root);
  return rc;
}
