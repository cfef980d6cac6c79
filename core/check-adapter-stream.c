/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of an adapter on the stream: the whole model with it beside. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/error.h"

/* A pass over the model; the loss is sum (c hidden). */
struct stream_run {
  struct qtk_adapter_trial *t;
  struct qtk_tensor hidden; /* the session's */
  size_t bytes;             /* of it */
  float *c, *host;
};

static int stream_forward(struct stream_run *r)
{
  static const int64_t lengths[] = {4, QTK_TRIAL_TOKENS - 4};
  int32_t ids[QTK_TRIAL_TOKENS];
  int64_t vocabulary = qtk_model_info(r->t->model)->vocabulary;
  for (int i = 0; i < QTK_TRIAL_TOKENS; i++)
    ids[i] = (int32_t)((7 * i + 3) % vocabulary);
  int status = qtk_session_forward(r->t->session, ids, lengths, &r->hidden);
  return status == QTK_OK ? qtk_device_sync(r->t->ctx) : status;
}

static int stream_read(struct stream_run *r, float *host)
{
  int status = stream_forward(r);
  return status == QTK_OK ? qtk_device_download(r->t->ctx, host, r->hidden.data, r->bytes) : status;
}

static int stream_loss(void *arg, double *value, double *size)
{
  struct stream_run *r = arg;
  int status = stream_read(r, r->host);
  *value = *size = 0;
  for (size_t i = 0; i < r->bytes / sizeof(float); i++) {
    double term = (double)r->c[i] * r->host[i];
    *value += term;
    *size += fabs(term);
  }
  return status;
}

static int stream_begin(struct stream_run *r, struct qtk_adapter_trial *t)
{
  *r = (struct stream_run){.t = t};
  qtk_check_doing(t->c, "%s: a pass", t->text);
  int status = stream_forward(r);
  if (!qtk_check_status(t->c, status, "runs beside the model", t->text))
    return 0;
  r->bytes = (size_t)qtk_check_values(&r->hidden) * sizeof(float);
  r->c = malloc(2 * r->bytes);
  if (r->c == NULL)
    return qtk_error_memory(2 * r->bytes, "a pass");
  r->host = r->c + r->bytes / sizeof(float);
  qtk_check_fill(r->c, (int64_t)(r->bytes / sizeof(float)), 1.0f, 501);
  return 1;
}

/* ---- forward ------------------------------------------------------------------------------- */

static int stream_twice(struct stream_run *r)
{
  float *again = malloc(r->bytes);
  int finite = 1, status = again ? stream_read(r, r->host) : QTK_ENOMEM;
  for (size_t i = 0; status == QTK_OK && i < r->bytes / sizeof(float); i++)
    finite &= isfinite(r->host[i]) != 0;
  if (status == QTK_OK)
    status = stream_read(r, again);
  if (status == QTK_OK) {
    qtk_check_that(r->t->c, finite, "gives finite outputs", "%s: after mix", r->t->text);
    qtk_check_that(r->t->c, memcmp(again, r->host, r->bytes) == 0, "gives the same bytes twice",
                   "%s: after mix", r->t->text);
  }
  free(again);
  return status;
}

/* The same pass on a pool of 3 threads. */
static int stream_threads(struct stream_run *r, const void *options)
{
  struct stream_run other = {.c = NULL};
  struct qtk_adapter_trial t;
  struct qtk_context *three;
  int status = qtk_check_context_open(3, 0, &three);
  if (status != QTK_OK)
    return status;
  float *again = malloc(r->bytes);
  status = again ? qtk_adapter_open(&t, r->t->c, three, options, "on 3 threads", 1) : QTK_ENOMEM;
  if (status == 1) {
    other.t = &t;
    other.bytes = r->bytes;
    status = stream_read(&other, again);
    qtk_check_that(r->t->c, status == QTK_OK && memcmp(again, r->host, r->bytes) == 0,
                   "gives the same bytes on 3 threads", "%s: after mix", r->t->text);
    qtk_adapter_close(&t);
  }
  free(again);
  qtk_check_context_end(r->t->c, three);
  return status;
}

/* ---- backward -------------------------------------------------------------------------------- */

static int stream_backward(struct stream_run *r)
{
  struct qtk_context *ctx = r->t->ctx;
  struct qtk_tensor dhidden = r->hidden;
  int status = qtk_adapter_zero(r->t);
  if (status == QTK_OK)
    status = stream_forward(r);
  if (status == QTK_OK)
    status = qtk_device_alloc(ctx, r->bytes, "scratch", &dhidden.data);
  if (status != QTK_OK)
    return status;
  status = qtk_device_upload(ctx, dhidden.data, r->c, r->bytes);
  if (status == QTK_OK)
    status = r->t->ops->mix_backward(ctx, r->t->adapter->h, r->t->session, &dhidden);
  if (status == QTK_OK)
    status = qtk_device_sync(ctx);
  qtk_device_free(ctx, dhidden.data);
  return status;
}

static int stream_slope(struct stream_run *r, const struct engine_param *p)
{
  struct qtk_slope slope = {r->t, stream_loss, r};
  size_t bytes = (size_t)qtk_check_values(&p->gradient) * sizeof(float);
  float *gradient = malloc(bytes);
  int status = gradient ? qtk_device_download(r->t->ctx, gradient, p->gradient.data, bytes)
                        : qtk_error_memory(bytes, "a gradient");
  if (status == QTK_OK)
    status = qtk_check_slopes(r->t->c, &slope, &p->value, gradient,
                              "gives the gradients of its parameters", p->param.name);
  free(gradient);
  return status;
}

static int stream_gradients(struct stream_run *r)
{
  qtk_check_doing(r->t->c, "%s: mix_backward", r->t->text);
  int status = stream_backward(r);
  if (!qtk_check_status(r->t->c, status, "runs backward beside the model", r->t->text))
    return QTK_OK;
  for (size_t i = 0; i < r->t->adapter->params.length && status == QTK_OK; i++)
    status = stream_slope(r, &r->t->adapter->params.data[i]);
  return status;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static int stream_try(struct qtk_adapter_trial *t, const void *options)
{
  struct stream_run r;
  int status = stream_begin(&r, t);
  if (status != 1)
    return status;
  status = stream_twice(&r);
  if (status == QTK_OK)
    status = stream_threads(&r, options);
  if (status == QTK_OK && t->ops->mix_backward != NULL)
    status = stream_gradients(&r);
  free(r.c);
  return status;
}

/* Piece i: set i of the options, for adapters at sites as well: forward runs in the whole
 * model. */
int qtk_check_adapter_stream(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (!qtk_adapter_has_model(c))
    return 0;
  int status = qtk_adapter_options(c, i, &options, set);
  if (status <= 0)
    return status;
  status = qtk_adapter_open(&t, c, c->ctx, options->values, set, 1);
  if (status == 1) {
    status = stream_try(&t, options->values);
    qtk_adapter_close(&t);
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
