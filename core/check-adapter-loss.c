/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of an objective: its value, its gradient, and that chunks add up. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/error.h"

#define LOSS_TOKENS 12
#define LOSS_WORDS 50
#define LOSS_CUT 5 /* where the tokens are cut in two */

static const int32_t loss_ids[LOSS_TOKENS] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const int32_t loss_targets[LOSS_TOKENS] = {2, 3, 0, 5, -1, 7, 8, 49, 10, 11, 12, -1};
static const float loss_weights[LOSS_TOKENS] = {1, 1, 0.5f, 1, 0, 2, 1, 1, 1, 0.25f, 1, 0};
static const int64_t loss_starts[] = {0, 5, LOSS_TOKENS};
static const int32_t loss_classes[] = {1, 0};
static const float loss_values[] = {0.5f, -1.0f};

static const struct qtk_batch loss_batch = {LOSS_TOKENS, loss_ids,    loss_targets, loss_weights,
                                            2,           loss_starts, loss_classes, loss_values};

/* Logits of both models and the gradient, in backend memory. */
struct loss_run {
  struct qtk_adapter_trial *t;
  struct qtk_tensor logits, teacher, dlogits;
  int has_teacher;
};

struct loss_result {
  double sum, weight;
  float gradient[LOSS_TOKENS * LOSS_WORDS];
};

/* Tokens [t0, t0 + n). */
static int loss_chunk(struct loss_run *r, int64_t t0, int64_t n, struct qtk_tensor *dlogits,
                      double *sum, double *weight)
{
  struct qtk_tensor logits = qtk_rows_of(&r->logits, t0, n), out;
  struct qtk_tensor teacher = qtk_rows_of(&r->teacher, t0, n);
  if (dlogits != NULL)
    out = qtk_rows_of(dlogits, t0, n);
  return r->t->ops->loss(r->t->ctx, r->t->adapter->h, &loss_batch, t0, n, &logits,
                         r->has_teacher ? &teacher : NULL, dlogits ? &out : NULL, sum, weight);
}

/* All tokens, cut after `cut` of them; the gradient goes to `dlogits`. */
static int loss_all(struct loss_run *r, int64_t cut, struct qtk_tensor *dlogits,
                    struct loss_result *out)
{
  double sum = 0, weight = 0;
  int status = loss_chunk(r, 0, cut, dlogits, &out->sum, &out->weight);
  if (status == QTK_OK && cut < LOSS_TOKENS)
    status = loss_chunk(r, cut, LOSS_TOKENS - cut, dlogits, &sum, &weight);
  out->sum += sum;
  out->weight += weight;
  if (status == QTK_OK && dlogits != NULL)
    status = qtk_device_download(r->t->ctx, out->gradient, dlogits->data, sizeof out->gradient);
  return status;
}

static int loss_value(void *arg, double *value, double *size)
{
  double weight;
  int status = loss_chunk(arg, 0, LOSS_TOKENS, NULL, value, &weight);
  *size = fabs(*value);
  return status;
}

static double loss_difference(const struct loss_result *a, const struct loss_result *b)
{
  double worst = 0, most = 1e-20;
  for (int i = 0; i < LOSS_TOKENS * LOSS_WORDS; i++) {
    worst = fmax(worst, fabs((double)a->gradient[i] - b->gradient[i]));
    most = fmax(most, fabs((double)a->gradient[i]));
  }
  return worst / most;
}

/* ---- trials -------------------------------------------------------------------------------- */

static int loss_fill(struct loss_run *r)
{
  float values[LOSS_TOKENS * LOSS_WORDS];
  qtk_check_fill(values, LOSS_TOKENS * LOSS_WORDS, 2.0f, 601);
  int status = qtk_device_upload(r->t->ctx, r->logits.data, values, sizeof values);
  qtk_check_fill(values, LOSS_TOKENS * LOSS_WORDS, 2.0f, 602);
  if (status == QTK_OK)
    status = qtk_device_upload(r->t->ctx, r->teacher.data, values, sizeof values);
  return status;
}

static int loss_twice(struct loss_run *r, const struct loss_result *first)
{
  struct loss_result again;
  int status = loss_all(r, LOSS_TOKENS, &r->dlogits, &again);
  if (status == QTK_OK)
    qtk_check_that(r->t->c, again.sum == first->sum && loss_difference(&again, first) == 0,
                   "gives the same bytes twice", "loss");
  return status;
}

static int loss_cut(struct loss_run *r, const struct loss_result *first)
{
  static const char *const promise = "gives losses whose chunks add up";
  struct loss_result cut;
  int status = loss_all(r, LOSS_CUT, &r->dlogits, &cut);
  if (!qtk_check_status(r->t->c, status, promise, "loss"))
    return QTK_OK;
  qtk_check_that(r->t->c, fabs(cut.sum - first->sum) <= 1e-5 * fabs(first->sum) + 1e-9, promise,
                 "%g in two chunks, %g in one", cut.sum, first->sum);
  qtk_check_that(r->t->c, fabs(cut.weight - first->weight) <= 1e-9 * fabs(first->weight), promise,
                 "weight %g in two chunks, %g in one", cut.weight, first->weight);
  qtk_check_that(r->t->c, loss_difference(&cut, first) <= 1e-5, promise, "gradients differ by %g",
                 loss_difference(&cut, first));
  return QTK_OK;
}

/* The gradient in the logits' own memory. */
static int loss_in_place(struct loss_run *r, const struct loss_result *first)
{
  struct loss_result over;
  int status = loss_all(r, LOSS_TOKENS, &r->logits, &over);
  if (qtk_check_status(r->t->c, status, "gives the gradient in the place of the logits", "loss"))
    qtk_check_that(r->t->c, loss_difference(&over, first) <= 1e-6,
                   "gives the gradient in the place of the logits", "it differs by %g",
                   loss_difference(&over, first));
  return loss_fill(r);
}

static int loss_trials(struct loss_run *r)
{
  struct loss_result first;
  struct qtk_slope slope = {r->t, loss_value, r};
  int status = loss_all(r, LOSS_TOKENS, &r->dlogits, &first);
  if (!qtk_check_status(r->t->c, status, "computes a loss", "loss"))
    return QTK_OK;
  qtk_check_that(r->t->c, isfinite(first.sum) && isfinite(first.weight) && first.weight >= 0,
                 "computes a loss", "sum %g, weight %g", first.sum, first.weight);
  status = loss_twice(r, &first);
  if (status == QTK_OK)
    status = loss_cut(r, &first);
  if (status == QTK_OK)
    status = qtk_check_slopes(r->t->c, &slope, &r->logits, first.gradient,
                              "gives the gradient of its loss", "loss");
  return status == QTK_OK ? loss_in_place(r, &first) : status;
}

static int loss_try(struct qtk_adapter_trial *t, const void *options)
{
  struct loss_run r = {.t = t};
  struct qtk_tensor *const all[] = {&r.logits, &r.teacher, &r.dlogits};
  int status = QTK_OK;
  r.has_teacher = t->ops->teacher && t->ops->teacher(options) == QTK_TEACHER_LOGITS;
  for (int i = 0; i < 3 && status == QTK_OK; i++)
    status = qtk_device_matrix(t->ctx, LOSS_TOKENS, LOSS_WORDS, "scratch", all[i]);
  if (status == QTK_OK)
    status = loss_fill(&r);
  if (status == QTK_OK)
    status = loss_trials(&r);
  for (int i = 0; i < 3; i++)
    qtk_device_free(t->ctx, all[i]->data);
  return status;
}

/* Piece i: set i of the options. */
int qtk_check_adapter_loss(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (c->plugin->ops.adapter.loss == NULL || !qtk_adapter_has_model(c))
    return 0;
  int status = qtk_adapter_options(c, i, &options, set);
  if (status <= 0)
    return status;
  status = qtk_adapter_open(&t, c, c->ctx, options->values, set, 1);
  if (status == 1) {
    status = loss_try(&t, options->values);
    qtk_adapter_close(&t);
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
