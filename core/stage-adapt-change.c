/* SPDX-License-Identifier: BSD-3-Clause
 * What is otherwise from some step of a training on: in a checkpoint, and as a way out for a
 * training whose numbers run away. */
#include "core/error.h"
#include "core/stage-adapt.h"

json_t *qtk_changes_of(const struct qtk_job_training *t, int64_t step)
{
  json_t *list = json_array();
  for (int i = 0; list != NULL && i < t->n_changes && t->changes[i].step <= step; i++) {
    const struct qtk_job_change *c = &t->changes[i];
    json_t *one = json_pack("[I, f, f]", (json_int_t)c->step, c->learning_rate, c->clip);
    if (qtk_json_append(list, one) != QTK_OK) {
      json_decref(list);
      return NULL;
    }
  }
  if (list == NULL)
    qtk_error_memory(0, "a checkpoint");
  return list;
}

int qtk_changes_check(const struct qtk_job_training *t, int64_t step, const json_t *said)
{
  json_t *now = qtk_changes_of(t, step);
  int same = now != NULL && json_equal(now, said);
  json_decref(now);
  if (now == NULL || same)
    return now == NULL ? QTK_ENOMEM : QTK_OK;
  if (step == INT64_MAX)
    return qtk_error(QTK_EJOB, "cannot resume, because change was another one in the training that "
                               "is finished; undo that, or remove the folder to start again");
  return qtk_error(QTK_EJOB, "cannot resume, because change says something else of steps that are "
                             "done, up to step %lld; what it says of those behind may differ",
                   (long long)step);
}

/* The job's changes up to the last checkpoint, and then a tenth of the rate. */
static void change_advice(const struct adaptation *a, struct qtk_str *out)
{
  const struct qtk_job_training *t = &a->plan->training;
  struct qtk_job_change now = qtk_job_at_step(t, a->course.step + 1);
  for (int i = 0; i < t->n_changes && t->changes[i].step <= a->saved; i++) {
    const struct qtk_job_change *c = &t->changes[i];
    qtk_str_printf(out, "{step=%lld", (long long)c->step);
    if (c->learning_rate >= 0)
      qtk_str_printf(out, ",learning_rate=%g", c->learning_rate);
    if (c->clip >= 0)
      qtk_str_printf(out, ",clip=%g", c->clip);
    qtk_str_add(out, "},");
  }
  qtk_str_printf(out, "{step=%lld,learning_rate=%g}", (long long)a->saved + 1,
                 now.learning_rate / 10);
}

int qtk_adapt_diverged(const struct adaptation *a)
{
  const json_t *last = json_array_get(a->course.loss, json_array_size(a->course.loss) - 1);
  double rate = qtk_job_at_step(&a->plan->training, a->course.step + 1).learning_rate;
  struct qtk_str advice = {0};
  if (a->work->state != NULL) {
    qtk_str_printf(&advice, "; to go on from %s with another rate: --resume --set "
                            "'stage.%zu.change=[",
                   a->saved > 0 ? "the last checkpoint" : "the start of this stage", a->stage);
    change_advice(a, &advice);
    qtk_str_add(&advice, "]'");
  }
  int rc = qtk_error_at(QTK_ENUMERIC, "training does not converge (the last loss was %g): try a "
                                      "learning_rate below %g, a longer warmup, or a clip%s",
                        json_number_value(json_object_get(last, "loss")), rate,
                        advice.data != NULL ? advice.data : "");
  qtk_str_free(&advice);
  return rc;
}
