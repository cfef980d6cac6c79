/* SPDX-License-Identifier: BSD-3-Clause
 * How well a model with a head for labels gives those of texts. */
#include "core/eval-labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/str.h"

/* ---- coefficients --------------------------------------------------------------------------- */

double qtk_matthews(const int32_t *truth, const int32_t *guess, int64_t n, int64_t classes)
{
  int64_t *of_truth = calloc((size_t)classes, sizeof *of_truth);
  int64_t *of_guess = calloc((size_t)classes, sizeof *of_guess);
  double right = 0, both = 0, truths = 0, guesses = 0, all = (double)n * (double)n, value = NAN;

  for (int64_t i = 0; of_truth != NULL && of_guess != NULL && i < n; i++) {
    of_truth[truth[i]]++;
    of_guess[guess[i]]++;
    right += truth[i] == guess[i];
  }
  for (int64_t k = 0; of_truth != NULL && of_guess != NULL && k < classes; k++) {
    both += (double)of_truth[k] * (double)of_guess[k];
    truths += (double)of_truth[k] * (double)of_truth[k];
    guesses += (double)of_guess[k] * (double)of_guess[k];
  }
  if (of_truth != NULL && of_guess != NULL)
    value = truths >= all || guesses >= all
                ? 0
                : (right * (double)n - both) / (sqrt(all - truths) * sqrt(all - guesses));
  free(of_truth);
  free(of_guess);
  return value;
}

double qtk_f1(const int32_t *truth, const int32_t *guess, int64_t n)
{
  int64_t both = 0, either = 0;

  for (int64_t i = 0; i < n; i++) {
    both += 2 * (truth[i] == 1 && guess[i] == 1);
    either += (truth[i] == 1) + (guess[i] == 1);
  }
  return either > 0 ? (double)both / (double)either : 0;
}

double qtk_pearson(const float *truth, const float *guess, int64_t n)
{
  double mean_truth = 0, mean_guess = 0, both = 0, truths = 0, guesses = 0;

  for (int64_t i = 0; i < n; i++) {
    mean_truth += (double)truth[i] / (double)n;
    mean_guess += (double)guess[i] / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    double t = (double)truth[i] - mean_truth, g = (double)guess[i] - mean_guess;
    both += t * g;
    truths += t * t;
    guesses += g * g;
  }
  return truths > 0 && guesses > 0 ? both / (sqrt(truths) * sqrt(guesses)) : NAN;
}

/* ---- a run ---------------------------------------------------------------------------------- */

struct labels_run {
  struct qtk_context *ctx;
  const struct qtk_examples *examples;
  struct qtk_session *session;
  int64_t classes;
  float *scores;   /* [classes] */
  int32_t *truth, *guess;
  float *values;   /* [n] */
  double loss;
};

static int labels_alloc(struct labels_run *r)
{
  size_t n = (size_t)r->examples->n;

  r->scores = calloc((size_t)r->classes, sizeof *r->scores);
  r->truth = calloc(n, sizeof *r->truth);
  r->guess = calloc(n, sizeof *r->guess);
  r->values = calloc(n, sizeof *r->values);
  return r->scores && r->truth && r->guess && r->values
             ? QTK_OK
             : qtk_error_memory(n * sizeof *r->values, "labels");
}

static void labels_end(struct labels_run *r)
{
  qtk_session_free(r->session);
  free(r->scores);
  free(r->truth);
  free(r->guess);
  free(r->values);
}

/* The likeliest class of example i, the first of equals, and the loss of its own. */
static void labels_class(struct labels_run *r, int64_t i)
{
  int32_t best = 0, own = (int32_t)r->examples->labels[i];
  double sum = 0;

  for (int32_t k = 1; k < r->classes; k++)
    best = r->scores[k] > r->scores[best] ? k : best;
  for (int64_t k = 0; k < r->classes; k++)
    sum += exp((double)r->scores[k] - (double)r->scores[best]);
  r->truth[i] = own;
  r->guess[i] = best;
  r->loss += log(sum) + (double)r->scores[best] - (double)r->scores[own];
}

static void labels_value(struct labels_run *r, int64_t i)
{
  double difference = (double)r->scores[0] - (double)r->examples->labels[i];

  r->values[i] = r->scores[0];
  r->loss += difference * difference;
}

static int labels_one(struct labels_run *r, int64_t i)
{
  const struct qtk_examples *e = r->examples;
  int64_t starts[] = {0, e->starts[i + 1] - e->starts[i]};
  struct qtk_batch batch = {.tokens = starts[1], .ids = e->ids + e->starts[i], .sequences = 1,
                            .starts = starts};
  struct qtk_tensor hidden;
  int rc = qtk_check_stop(r->ctx);

  if (rc == QTK_OK)
    rc = qtk_session_forward(r->session, batch.ids, &batch.tokens, &hidden);
  if (rc == QTK_OK)
    rc = qtk_session_scores(r->session, &batch, &hidden, r->scores);
  if (rc != QTK_OK)
    return rc;
  if (r->classes > 1)
    labels_class(r, i);
  else
    labels_value(r, i);
  return isfinite(r->loss) ? QTK_OK
                           : qtk_error(QTK_ENUMERIC, "the scores of example %lld are not finite",
                                       (long long)i + 1);
}

static void labels_result(const struct labels_run *r, struct qtk_labelled *out)
{
  int64_t right = 0, n = r->examples->n;

  out->classes = r->classes;
  out->examples = n;
  out->loss = r->loss / (double)n;
  out->accuracy = out->f1 = out->matthews = out->pearson = NAN;
  if (r->classes == 1) {
    out->pearson = qtk_pearson(r->examples->labels, r->values, n);
    return;
  }
  for (int64_t i = 0; i < n; i++)
    right += r->truth[i] == r->guess[i];
  out->accuracy = (double)right / (double)n;
  if (r->classes == 2)
    out->f1 = qtk_f1(r->truth, r->guess, n);
  out->matthews = qtk_matthews(r->truth, r->guess, n, r->classes);
}

static int labels_run(struct labels_run *r, const struct qtk_eval_model *model,
                      struct qtk_labelled *result)
{
  int rc = labels_alloc(r);

  if (rc == QTK_OK)
    rc = qtk_session_new(model->engine, 1, 0, &r->session);
  for (int64_t i = 0; rc == QTK_OK && i < r->examples->n; i++)
    rc = labels_one(r, i);
  if (rc == QTK_OK)
    labels_result(r, result);
  labels_end(r);
  return rc;
}

int qtk_labels_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                       const struct qtk_dataset_recipe *recipe,
                       const struct qtk_dataset_reader *reader, struct qtk_labelled *result)
{
  struct qtk_dataset_recipe own = *recipe;
  struct qtk_dataset data;
  int rc;

  *result = (struct qtk_labelled){0};
  own.classes = qtk_engine_classes(model->engine);
  if (own.classes == 0)
    return qtk_error(QTK_EJOB, "no adapter of this model has a head for labels");
  rc = qtk_dataset_read(ctx, &own, reader, &data);
  if (rc != QTK_OK)
    return rc;
  struct labels_run run = {.ctx = ctx, .examples = &data.examples, .classes = own.classes};
  rc = labels_run(&run, model, result);
  result->truncated = data.truncated;
  memcpy(result->sha256, data.sha256, sizeof result->sha256);
  if (rc == QTK_OK && (result->data = qtk_str_copy(data.name)) == NULL)
    rc = QTK_ENOMEM;
  qtk_dataset_free(&data);
  return rc;
}

void qtk_labels_free(struct qtk_labelled *result)
{
  free(result->data);
  *result = (struct qtk_labelled){0};
}
