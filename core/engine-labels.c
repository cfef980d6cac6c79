/* SPDX-License-Identifier: BSD-3-Clause
 * A head for labels: one more matrix of the adapter that trains, [classes, embedding width], over
 * the last token of each sequence. Its loss is the cross-entropy of classes, or the squared error
 * of a value. */
#include <math.h>

#include "core/engine-inner.h"
#include "core/error.h"

static const struct engine_adapter *labels_adapter(const struct qtk_engine *e)
{
  for (int i = e->n_adapters - 1; i >= 0; i--)
    if (e->adapters[i].on && e->adapters[i].classes > 0)
      return &e->adapters[i];
  return NULL;
}

int64_t qtk_engine_classes(const struct qtk_engine *e)
{
  const struct engine_adapter *a = labels_adapter(e);

  return a != NULL ? a->classes : 0;
}

/* ---- the parameter ------------------------------------------------------------------------- */

void qtk_engine_describe_score(const struct qtk_engine *e, const struct engine_adapter *a,
                               struct qtk_param *param)
{
  *param = (struct qtk_param){.name = QTK_SCORE_NAME,
                              .ndim = 2,
                              .shape = {a->classes, e->arch->embedding_width},
                              .learning_rate = 1.0,
                              .decay = 1,
                              .disk_dtype = QTK_F32};
}

#define LABELS_SITE (UINT64_MAX - 1) /* of its draws: no site, and not the order of the data */
#define LABELS_DEVIATION 0.02

void qtk_engine_start_score(struct qtk_engine *e, float *values, int64_t n)
{
  const struct qtk_random_key key = {.site = LABELS_SITE};

  for (int64_t i = 0; i < n; i++)
    values[i] = (float)(LABELS_DEVIATION * qtk_random_normal(e->ctx, &key, (uint64_t)i));
}

/* ---- scores --------------------------------------------------------------------------------- */

/* A batch on its way through the head. */
struct labels {
  struct qtk_session *s;
  const struct qtk_batch *batch;
  const struct engine_adapter *adapter;
  struct qtk_tensor rows;   /* [sequences, embedding width] */
  struct qtk_tensor scores; /* [sequences, classes] */
};

/* Rows of last tokens out of `all`, or into it. */
static int labels_move(const struct labels *l, const struct qtk_tensor *all, int into)
{
  int rc = QTK_OK;

  for (int64_t i = 0; rc == QTK_OK && i < l->batch->sequences; i++) {
    struct qtk_tensor last = qtk_rows_of(all, l->batch->starts[i + 1] - 1, 1);
    struct qtk_tensor row = qtk_rows_of(&l->rows, i, 1);
    rc = into ? qtk_op_copy(l->s->ctx, &row, &last) : qtk_op_copy(l->s->ctx, &last, &row);
  }
  return rc;
}

static int labels_open(struct labels *l, struct qtk_session *s, const struct qtk_batch *batch,
                       const struct qtk_tensor *hidden)
{
  int64_t n = batch->sequences;
  int rc;

  *l = (struct labels){.s = s, .batch = batch, .adapter = labels_adapter(s->engine)};
  if (l->adapter == NULL)
    return qtk_error(QTK_EJOB, "no adapter of this model has a head for labels");
  for (int64_t i = 0; i < n; i++)
    if (batch->starts[i + 1] <= batch->starts[i])
      return qtk_error(QTK_EINTERNAL, "a labelled sequence without tokens");
  rc = qtk_session_matrix(s, s->engine, ENGINE_LABELLED, n, qtk_tensor_cols(hidden), &l->rows);
  if (rc == QTK_OK)
    rc = qtk_session_matrix(s, s->engine, ENGINE_SCORES, n, l->adapter->classes, &l->scores);
  if (rc == QTK_OK)
    rc = labels_move(l, hidden, 0);
  return rc == QTK_OK
             ? qtk_op_matmul(s->ctx, 0, 1, 1, &l->rows, &l->adapter->score, 0, &l->scores)
             : rc;
}

int qtk_session_scores(struct qtk_session *s, const struct qtk_batch *batch,
                       const struct qtk_tensor *hidden, float *scores)
{
  struct labels l;
  int rc = labels_open(&l, s, batch, hidden);

  if (rc != QTK_OK)
    return rc;
  return qtk_device_download(s->ctx, scores, l.scores.data,
                             (size_t)(batch->sequences * l.adapter->classes) * sizeof *scores);
}

/* ---- the loss ------------------------------------------------------------------------------- */

/* Loss of a sequence; its scores [classes] become `scale` times their gradient. */
static double labels_class(float *scores, int64_t n, int32_t label, double scale)
{
  double most = scores[0], sum = 0.0, loss;

  for (int64_t k = 1; k < n; k++)
    most = scores[k] > most ? scores[k] : most;
  for (int64_t k = 0; k < n; k++)
    sum += exp(scores[k] - most);
  loss = log(sum) + most - scores[label];
  for (int64_t k = 0; k < n; k++)
    scores[k] = (float)(scale * (exp(scores[k] - most) / sum - (k == label)));
  return loss;
}

static double labels_value(float *score, double label, double scale)
{
  double difference = *score - label;

  *score = (float)(scale * 2.0 * difference);
  return difference * difference;
}

/* Losses of all sequences; scores become their gradients. */
static int labels_losses(struct labels *l, double scale, double *sum)
{
  int64_t n = l->batch->sequences, classes = l->adapter->classes;
  size_t bytes = (size_t)(n * classes) * sizeof(float);
  float *host = qtk_alloc(l->s->ctx, bytes, "scratch");
  int rc = host != NULL ? qtk_device_download(l->s->ctx, host, l->scores.data, bytes) : QTK_ENOMEM;

  for (int64_t i = 0; rc == QTK_OK && i < n; i++)
    if (classes == 1)
      *sum += labels_value(host + i, l->batch->values[i], scale);
    else
      *sum += labels_class(host + i * classes, classes, l->batch->classes[i], scale);
  if (rc == QTK_OK)
    rc = qtk_device_upload(l->s->ctx, l->scores.data, host, bytes);
  qtk_free(l->s->ctx, host);
  return rc;
}

/* From the gradients of scores to the head and to hidden states, of which only the last of each
 * sequence has one. */
static int labels_back(struct labels *l, const struct qtk_tensor *dhidden)
{
  struct qtk_context *ctx = l->s->ctx;
  struct qtk_tensor dscore = l->adapter->dscore;
  size_t bytes = (size_t)(qtk_tensor_rows(dhidden) * dhidden->stride) * sizeof(float);
  int rc = dscore.data != NULL ? qtk_op_matmul(ctx, 1, 0, 1, &l->scores, &l->rows, 1, &dscore)
                               : QTK_OK;

  if (rc == QTK_OK)
    rc = qtk_op_matmul(ctx, 0, 0, 1, &l->scores, &l->adapter->score, 0, &l->rows);
  if (rc == QTK_OK)
    rc = qtk_device_zero(ctx, dhidden->data, bytes);
  return rc == QTK_OK ? labels_move(l, dhidden, 1) : rc;
}

static int labels_check(const struct labels *l)
{
  int64_t classes = l->adapter->classes;

  if (classes == 1 ? l->batch->values == NULL : l->batch->classes == NULL)
    return qtk_error(QTK_EJOB, "labels are %s, and the head is one of %s",
                     classes == 1 ? "classes" : "values", classes == 1 ? "a value" : "classes");
  for (int64_t i = 0; classes > 1 && i < l->batch->sequences; i++)
    if (l->batch->classes[i] < 0 || l->batch->classes[i] >= classes)
      return qtk_error(QTK_EINPUT, "label %d: the head has %lld classes", l->batch->classes[i],
                       (long long)classes);
  return QTK_OK;
}

int qtk_engine_label_loss(struct qtk_session *s, const struct qtk_batch *batch,
                          const struct qtk_tensor *hidden, const struct qtk_tensor *dhidden,
                          double scale, double *sum, double *weight)
{
  struct labels l;
  int rc = labels_open(&l, s, batch, hidden);

  *sum = 0.0;
  *weight = (double)batch->sequences;
  if (rc == QTK_OK)
    rc = labels_check(&l);
  if (rc == QTK_OK)
    rc = labels_losses(&l, scale, sum);
  return rc == QTK_OK && dhidden != NULL ? labels_back(&l, dhidden) : rc;
}
