/* SPDX-License-Identifier: BSD-3-Clause
 * Logits and losses, by chunks of tokens: a tokens x vocabulary matrix never exists. */
#include <stdlib.h>

#include "core/engine-inner.h"
#include "core/error.h"

static const struct engine_weight *loss_head(const struct qtk_engine *e)
{
  return e->head.tensor >= 0 ? &e->head : &e->embedding;
}

/* From logits' gradients dlogits [n, vocabulary] to that of the head that gave them, over
 * rows [n, embedding width]. */
static int loss_head_back(const struct qtk_engine *e, const struct qtk_tensor *dlogits,
                          const struct qtk_tensor *rows)
{
  struct qtk_tensor dw = loss_head(e)->gradient, dbias = e->dhead_bias;
  int rc = QTK_OK;

  if (dw.data != NULL)
    rc = qtk_op_linear_dw(e->ctx, dlogits, rows, &dw);
  return rc == QTK_OK && dbias.data != NULL ? qtk_op_sum_rows(e->ctx, dlogits, &dbias) : rc;
}

int qtk_engine_logits(struct qtk_engine *e, const struct qtk_tensor *hidden, int64_t row,
                      struct qtk_tensor *logits)
{
  struct qtk_tensor rows = qtk_rows_of(hidden, row, qtk_tensor_rows(logits));

  return qtk_op_linear(e->ctx, &rows, &loss_head(e)->device, NULL, block_given(&e->head_bias),
                       logits, 0);
}

/* A batch's loss while it is added up. */
struct loss {
  struct qtk_session *s;
  const struct qtk_batch *batch;
  const struct engine_adapter *objective; /* or NULL */
  struct qtk_tensor logits;               /* [QTK_LOGIT_CHUNK, vocabulary] */
  struct qtk_tensor teacher;              /* the same of the teacher; data NULL: not wanted */
  struct qtk_tensor values;               /* [QTK_LOGIT_CHUNK] */
  float host[QTK_LOGIT_CHUNK];
  float *tokens;                    /* [batch->tokens], or NULL */
  const struct qtk_tensor *dhidden; /* its gradient is wanted, or NULL */
  double scale;                     /* of the gradient */
  double sum, weight;
};

/* That of the topmost adapter that is on, if it has one. What adapters were trained for that are
 * finished says nothing of the one above them, nor of the model that is measured with them. */
static const struct engine_adapter *loss_objective(const struct qtk_engine *e)
{
  for (int i = e->n_adapters - 1; i >= 0; i--)
    if (e->adapters[i].on)
      return e->adapters[i].tuned == NULL && e->adapters[i].ops->loss != NULL ? &e->adapters[i]
                                                                              : NULL;
  return NULL;
}

/* Weighted cross-entropy of tokens [t0, t0 + n); logits turn into their gradient where it
 * is wanted. */
static int loss_plain(struct loss *l, struct qtk_tensor *logits, int64_t t0, int64_t n)
{
  struct qtk_context *ctx = l->s->ctx;
  struct qtk_tensor values = qtk_vector(QTK_F32, l->values.data, n);
  int rc, back = l->dhidden != NULL;

  for (int64_t i = 0; back && i < n; i++)
    l->host[i] = (float)(l->scale * (double)l->batch->weights[t0 + i]);
  rc = qtk_op_cross_entropy(ctx, logits, l->batch->targets + t0, &values, back ? l->host : NULL,
                            back ? logits : NULL);

  if (rc == QTK_OK)
    rc = qtk_device_download(ctx, l->host, values.data, (size_t)n * sizeof(float));
  for (int64_t i = 0; rc == QTK_OK && i < n; i++) {
    float weight = l->batch->targets[t0 + i] < 0 ? 0.0f : l->batch->weights[t0 + i];
    l->sum += (double)weight * (double)l->host[i];
    l->weight += (double)weight;
    if (l->tokens != NULL)
      l->tokens[t0 + i] = l->host[i];
  }
  return rc;
}

/* The teacher's logits of a chunk. */
static int loss_taught(struct loss *l, const struct qtk_tensor *logits, int64_t t0,
                       struct qtk_tensor *taught)
{
  *taught = qtk_rows_of(&l->teacher, 0, qtk_tensor_rows(logits));
  return l->s->lesson != NULL
             ? qtk_lesson_spread(l->s->ctx, l->s->lesson, t0, logits, taught)
             : qtk_engine_logits(l->s->teacher, &l->s->taught, t0, taught);
}

static int loss_adapter(struct loss *l, struct qtk_tensor *logits, int64_t t0, int64_t n)
{
  const struct engine_adapter *a = l->objective;
  struct qtk_tensor taught = {0};
  double sum = 0.0, weight = 0.0;
  int rc = QTK_OK;

  if (l->teacher.data != NULL)
    rc = loss_taught(l, logits, t0, &taught);
  if (rc == QTK_OK)
    rc = a->ops->loss(l->s->ctx, a->h, l->batch, t0, n, logits, block_given(&taught),
                      l->dhidden != NULL ? logits : NULL, &sum, &weight);
  l->sum += sum;
  l->weight += weight;
  if (rc != QTK_OK)
    return qtk_error_at(rc, "adapter %s", a->name);
  return l->dhidden != NULL ? qtk_op_scale(l->s->ctx, (float)l->scale, logits, logits) : rc;
}

/* A whole chunk is skipped if nothing of it is scored. */
static int loss_scored(const struct loss *l, int64_t t0, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    if (l->batch->targets[t0 + i] >= 0)
      return 1;
  return 0;
}

static int loss_skip(const struct loss *l, int64_t t0, int64_t n)
{
  for (int64_t i = 0; l->tokens != NULL && i < n; i++)
    l->tokens[t0 + i] = 0.0f;
  if (l->dhidden == NULL)
    return QTK_OK;
  struct qtk_tensor rows = qtk_rows_of(l->dhidden, t0, n);
  return qtk_device_zero(l->s->ctx, rows.data, (size_t)(n * rows.stride) * sizeof(float));
}

/* dlogits [n, vocabulary] of tokens from t0 on to the hidden states and the head. */
static int loss_chunk_back(const struct loss *l, const struct qtk_tensor *hidden, int64_t t0,
                           const struct qtk_tensor *dlogits)
{
  const struct qtk_engine *e = l->s->engine;
  int64_t n = qtk_tensor_rows(dlogits);
  struct qtk_tensor rows = qtk_rows_of(hidden, t0, n), drows = qtk_rows_of(l->dhidden, t0, n);
  int rc = loss_head_back(e, dlogits, &rows);

  return rc == QTK_OK ? qtk_op_linear_dx(e->ctx, dlogits, &loss_head(e)->device, NULL, &drows, 0)
                      : rc;
}

static int loss_chunk(struct loss *l, const struct qtk_tensor *hidden, int64_t t0, int64_t n)
{
  struct qtk_tensor logits = qtk_rows_of(&l->logits, 0, n);
  int rc;

  if (!loss_scored(l, t0, n))
    return loss_skip(l, t0, n);
  rc = qtk_engine_logits(l->s->engine, hidden, t0, &logits);
  if (rc == QTK_OK)
    rc = l->objective != NULL ? loss_adapter(l, &logits, t0, n) : loss_plain(l, &logits, t0, n);
  return rc == QTK_OK && l->dhidden != NULL ? loss_chunk_back(l, hidden, t0, &logits) : rc;
}

static int loss_check(const struct qtk_session *s, const struct qtk_batch *batch,
                      const struct qtk_tensor *hidden)
{
  if (batch->tokens != qtk_tensor_rows(hidden))
    return qtk_error(QTK_EINTERNAL, "a batch of %lld tokens over %lld hidden states",
                     (long long)batch->tokens, (long long)qtk_tensor_rows(hidden));
  for (int64_t i = 0; i < batch->tokens; i++)
    if (batch->targets[i] >= s->engine->arch->vocabulary)
      return qtk_error(QTK_EINPUT, "token %d: the vocabulary has %lld", batch->targets[i],
                       (long long)s->engine->arch->vocabulary);
  return QTK_OK;
}

int qtk_engine_needs_teacher(const struct qtk_engine *e)
{
  const struct engine_adapter *a = loss_objective(e);

  return a != NULL && a->ops->teacher != NULL &&
         a->ops->teacher(a->options) != QTK_TEACHER_NONE;
}

/* What there is of a teacher: tokens and vocabulary; 0 of nothing. */
struct loss_source {
  int64_t tokens, vocabulary;
};

static struct loss_source loss_source(const struct qtk_session *s)
{
  if (s->lesson != NULL)
    return (struct loss_source){s->lesson->tokens, s->lesson->vocabulary};
  if (s->teacher != NULL)
    return (struct loss_source){qtk_tensor_rows(&s->taught), s->teacher->arch->vocabulary};
  return (struct loss_source){0, 0};
}

/* Memory for the teacher's logits, which an objective that compares with them must have. */
static int loss_teacher(struct loss *l)
{
  const struct loss_source teacher = loss_source(l->s);
  int64_t vocabulary = l->s->engine->arch->vocabulary;

  if (!qtk_engine_needs_teacher(l->s->engine))
    return QTK_OK;
  if (teacher.vocabulary == 0)
    return qtk_error(QTK_EJOB, "adapter %s: its loss needs a teacher's logits, and there are none",
                     l->objective->name);
  if (teacher.vocabulary != vocabulary || teacher.tokens != l->batch->tokens)
    return qtk_error(QTK_EINPUT, "a teacher with a vocabulary of %lld over %lld tokens, and a "
                                 "student with %lld over %lld",
                     (long long)teacher.vocabulary, (long long)teacher.tokens,
                     (long long)vocabulary, (long long)l->batch->tokens);
  return qtk_session_matrix_of(l->s, l->s->engine, ENGINE_TAUGHT, QTK_LOGIT_CHUNK, vocabulary,
                               "logits", &l->teacher);
}

int qtk_engine_loss(struct qtk_session *s, const struct qtk_batch *batch,
                    const struct qtk_tensor *hidden, const struct qtk_tensor *dhidden,
                    double scale, float *tokens, double *sum, double *weight)
{
  struct loss l = {.s = s,
                   .batch = batch,
                   .objective = loss_objective(s->engine),
                   .tokens = tokens,
                   .dhidden = dhidden,
                   .scale = scale};
  int rc = loss_check(s, batch, hidden);

  if (rc == QTK_OK && (batch->classes != NULL || batch->values != NULL))
    return qtk_engine_label_loss(s, batch, hidden, dhidden, scale, sum, weight);
  if (rc == QTK_OK)
    rc = loss_teacher(&l);
  if (rc == QTK_OK)
    rc = qtk_session_matrix_of(s, s->engine, ENGINE_LOGITS, QTK_LOGIT_CHUNK,
                               s->engine->arch->vocabulary, "logits", &l.logits);
  if (rc == QTK_OK)
    rc = qtk_session_matrix_of(s, s->engine, ENGINE_LOSSES, 1, QTK_LOGIT_CHUNK, "logits",
                               &l.values);
  for (int64_t t = 0; rc == QTK_OK && t < batch->tokens; t += QTK_LOGIT_CHUNK) {
    int64_t n = batch->tokens - t < QTK_LOGIT_CHUNK ? batch->tokens - t : QTK_LOGIT_CHUNK;
    rc = loss_chunk(&l, hidden, t, n);
  }
  *sum = l.sum;
  *weight = l.weight;
  return rc;
}

int qtk_session_loss(struct qtk_session *s, const struct qtk_batch *batch,
                     const struct qtk_tensor *hidden, float *loss, double *sum, double *weight)
{
  return qtk_engine_loss(s, batch, hidden, NULL, 0.0, loss, sum, weight);
}
