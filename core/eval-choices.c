/* SPDX-License-Identifier: BSD-3-Clause
 * Multiple choice: the likeliest of several answers, question by question. */
#include "core/eval-choices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/eval-inner.h"
#include "core/eval-prompts.h"
#include "core/log.h"

struct choices_run {
  struct qtk_eval_runner runner;
  const struct qtk_tokenizer *tokenizer;
  const struct qtk_suite *suite;
  struct qtk_tensor loss; /* [QTK_LOGIT_CHUNK] backend */
  float *logits;          /* [V] behind the prompt, host */
  const struct eval_prompt *held; /* whose tokens are in the cache, or NULL */
  int plain;
  struct qtk_progress progress;
  uint64_t done;
};

/* ---- prompts ---------------------------------------------------------------------------- */

/* Runs ids[from .. to) of a prompt; the runner's hidden states are of the last *n of them. */
static int choices_forward(struct choices_run *r, const int32_t *ids, int64_t from, int64_t to,
                           int64_t *n)
{
  int rc = QTK_OK;
  for (; from < to && rc == QTK_OK; from += *n) {
    *n = to - from < QTK_CHOICES_CHUNK ? to - from : QTK_CHOICES_CHUNK;
    rc = qtk_eval_window(&r->runner, ids + from, *n);
  }
  return rc;
}

/* Tokens that are in the cache already, all but the last of the prompt at most. */
static int64_t choices_shared(const struct choices_run *r, const struct eval_prompt *p)
{
  const struct eval_prompt *held = r->plain ? NULL : r->held;
  int64_t n = 0, most = p->prompt - 1;
  if (held != NULL && held->prompt < most)
    most = held->prompt;
  while (held != NULL && n < most && held->ids[n] == p->ids[n])
    n++;
  return n;
}

/* The prompt in the cache, the logits behind it in r->logits. */
static int choices_prompt(struct choices_run *r, const struct eval_prompt *p)
{
  struct qtk_tensor logits;
  int64_t shared = choices_shared(r, p), rows = 0;
  qtk_session_rewind(r->runner.session, shared);
  r->held = NULL;
  int rc = choices_forward(r, p->ids, shared, p->prompt, &rows);
  if (rc != QTK_OK)
    return rc;
  r->held = p;
  rc = qtk_eval_logits(&r->runner, rows - 1, 1, &logits);
  if (rc != QTK_OK)
    return rc;
  return qtk_eval_fetch(r->runner.ctx, &logits, r->runner.model->info->vocabulary, r->logits);
}

/* ---- choices ----------------------------------------------------------------------------- */

/* ln of the probability of a token behind the prompt. */
static double choices_first(const struct choices_run *r, int32_t id)
{
  int64_t n = r->runner.model->info->vocabulary;
  double most = r->logits[0], sum = 0;
  for (int64_t i = 1; i < n; i++)
    most = r->logits[i] > most ? r->logits[i] : most;
  for (int64_t i = 0; i < n; i++)
    sum += exp(r->logits[i] - most);
  return r->logits[id] - most - log(sum);
}

/* Subtracts the losses of targets[0 .. n) behind the rows of the last pass. */
static int choices_losses(struct choices_run *r, const int32_t *targets, int64_t n, double *sum)
{
  float loss[QTK_LOGIT_CHUNK];
  struct qtk_tensor logits;
  int rc = QTK_OK;
  for (int64_t row = 0; row < n && rc == QTK_OK; row += QTK_LOGIT_CHUNK) {
    int64_t m = n - row < QTK_LOGIT_CHUNK ? n - row : QTK_LOGIT_CHUNK;
    struct qtk_tensor out = qtk_vector(QTK_F32, r->loss.data, m);
    rc = qtk_eval_logits(&r->runner, row, m, &logits);
    if (rc == QTK_OK)
      rc = qtk_op_cross_entropy(r->runner.ctx, &logits, targets + row, &out, NULL, NULL);
    if (rc == QTK_OK)
      rc = qtk_eval_fetch(r->runner.ctx, &out, m, loss);
    for (int64_t i = 0; i < m && rc == QTK_OK; i++)
      *sum -= loss[i];
  }
  return rc;
}

/* ln of the probability of choice i's tokens behind the prompt, which is in the cache before
 * and after. */
static int choices_text(struct choices_run *r, const struct eval_prompt *p, int i, double *sum)
{
  const int32_t *ids = p->ids + p->tails[i];
  int64_t n = p->tails[i + 1] - p->tails[i];
  int rc = QTK_OK;
  *sum = choices_first(r, ids[0]);
  for (int64_t at = 0, m; at < n - 1 && rc == QTK_OK; at += m) {
    m = n - 1 - at < QTK_CHOICES_CHUNK ? n - 1 - at : QTK_CHOICES_CHUNK;
    rc = qtk_eval_window(&r->runner, ids + at, m);
    if (rc == QTK_OK)
      rc = choices_losses(r, ids + at + 1, m, sum);
  }
  qtk_session_rewind(r->runner.session, p->prompt);
  return rc;
}

static int choices_score(struct choices_run *r, const struct eval_prompt *p,
                         const struct qtk_question *q, int i, double *score)
{
  if (r->suite->score == QTK_SCORE_LETTER) {
    *score = r->logits[p->ids[p->tails[i]]];
    return QTK_OK;
  }
  int rc = choices_text(r, p, i, score);
  size_t bytes = strlen(q->choices[i]);
  if (rc == QTK_OK && r->suite->score == QTK_SCORE_NORMALIZED)
    *score /= (double)(bytes > 0 ? bytes : 1);
  return rc;
}

static int choices_question(struct choices_run *r, const struct eval_prompt *p,
                            const struct qtk_question *q, int *chosen)
{
  double best = 0, score = 0;
  int rc = choices_prompt(r, p);
  *chosen = 0;
  for (int i = 0; i < q->n && rc == QTK_OK; i++) {
    rc = choices_score(r, p, q, i, &score);
    if (rc == QTK_OK && !isfinite(score))
      rc = qtk_error(QTK_ENUMERIC, "%s: the score of a choice is not a number", r->suite->data);
    if (i == 0 || score > best) {
      best = score;
      *chosen = i;
    }
  }
  return rc;
}

/* ---- groups -------------------------------------------------------------------------------- */

static int choices_check_ids(const struct choices_run *r, const struct eval_prompt *p, int n)
{
  int64_t most = r->runner.model->info->vocabulary;
  for (int64_t i = 0; i < p->tails[n]; i++)
    if (p->ids[i] >= most)
      return qtk_error(QTK_EINPUT, "%s: token number %d, but the model has %lld tokens",
                       r->suite->data, p->ids[i], (long long)most);
  return QTK_OK;
}

static int choices_questions(struct choices_run *r, const struct qtk_suite_group *group,
                             const struct eval_prompts *prompts, struct qtk_choices_group *out)
{
  int rc = QTK_OK;
  r->held = NULL;
  for (size_t i = 0; i < prompts->n && rc == QTK_OK; i++) {
    const struct qtk_question *q = &group->questions.data[i];
    const struct eval_prompt *p = &prompts->data[i];
    rc = choices_check_ids(r, p, q->n);
    if (rc == QTK_OK)
      rc = choices_question(r, p, q, &out->chosen[i]);
    out->correct += out->chosen[i] == q->answer;
    out->fewer_shots += p->fewer_shots;
    out->cut += p->cut;
    qtk_progress_step(&r->progress, ++r->done);
  }
  return rc;
}

static int choices_group(struct choices_run *r, const struct qtk_suite_group *group,
                         int64_t context, struct qtk_choices_group *out)
{
  struct qtk_context *ctx = r->runner.ctx;
  struct eval_prompts prompts = {0};
  size_t n = group->questions.length;
  *out = (struct qtk_choices_group){.name = group->name, .questions = (int64_t)n,
                                    .chosen = calloc(n, sizeof *out->chosen)};
  if (out->chosen == NULL)
    return qtk_error_memory(n * sizeof *out->chosen, "answers");
  int rc = qtk_eval_prompts(ctx, r->tokenizer, r->suite, group, context, &prompts);
  if (rc == QTK_OK) {
    qtk_session_free(r->runner.session);
    rc = qtk_session_new(r->runner.model->engine, 1, prompts.longest, &r->runner.session);
  }
  if (rc == QTK_OK)
    rc = choices_questions(r, group, &prompts, out);
  qtk_eval_prompts_free(&prompts);
  return rc == QTK_OK || rc == QTK_EINTERRUPTED ? rc : qtk_error_at(rc, "%s", group->name);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int choices_run(struct choices_run *r, int64_t context, struct qtk_choices *c)
{
  int rc = QTK_OK;
  qtk_progress_begin(&r->progress, "choices", (uint64_t)r->suite->questions, "questions");
  for (size_t i = 0; i < r->suite->groups.length && rc == QTK_OK; i++) {
    struct qtk_choices_group *g = &c->groups[c->n_groups++];
    rc = choices_group(r, &r->suite->groups.data[i], context, g);
    c->questions += g->questions;
    c->correct += g->correct;
    c->fewer_shots += g->fewer_shots;
    c->cut += g->cut;
  }
  qtk_progress_end(&r->progress);
  return rc;
}

static int choices_open(struct choices_run *r, struct qtk_context *ctx,
                        const struct qtk_eval_model *model, struct qtk_choices *c)
{
  size_t n = r->suite->groups.length;
  c->groups = calloc(n, sizeof *c->groups);
  if (c->groups == NULL)
    return qtk_error_memory(n * sizeof *c->groups, "groups");
  int rc = qtk_eval_open(&r->runner, ctx, model);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, 1, QTK_LOGIT_CHUNK, "logits", &r->loss);
  if (rc != QTK_OK)
    return rc;
  r->logits = qtk_alloc(ctx, (size_t)model->info->vocabulary * sizeof *r->logits, "logits");
  return r->logits ? QTK_OK : QTK_ENOMEM;
}

int qtk_choices_measure(struct qtk_context *ctx, const struct qtk_eval_model *model,
                        const struct qtk_tokenizer *tokenizer, const struct qtk_suite *suite,
                        int64_t context, int plain, struct qtk_choices *c)
{
  struct choices_run r = {.tokenizer = tokenizer, .suite = suite, .plain = plain};
  *c = (struct qtk_choices){.suite = suite, .context = context};
  int rc = choices_open(&r, ctx, model, c);
  if (rc == QTK_OK)
    rc = choices_run(&r, context, c);
  if (r.loss.data != NULL)
    qtk_device_free(ctx, r.loss.data);
  qtk_free(ctx, r.logits);
  qtk_eval_close(&r.runner);
  return rc;
}

void qtk_choices_free(struct qtk_choices *c)
{
  for (size_t i = 0; i < c->n_groups; i++)
    free(c->groups[i].chosen);
  free(c->groups);
  *c = (struct qtk_choices){0};
}

double qtk_choices_accuracy(int64_t correct, int64_t questions, double *error)
{
  double n = (double)(questions > 0 ? questions : 1);
  *error = qtk_eval_error((double)correct, (double)correct, questions);
  return (double)correct / n;
}

double qtk_choices_by_group(const struct qtk_choices *c, double *error)
{
  double sum = 0, squares = 0, of_group;
  for (size_t i = 0; i < c->n_groups; i++) {
    sum += qtk_choices_accuracy(c->groups[i].correct, c->groups[i].questions, &of_group);
    squares += of_group * of_group;
  }
  double n = (double)(c->n_groups > 0 ? c->n_groups : 1);
  *error = sqrt(squares) / n;
  return sum / n;
}
