/* SPDX-License-Identifier: BSD-3-Clause
 * A model run over windows of tokens. */
#include <math.h>

#include "core/eval-inner.h"

int qtk_eval_open(struct qtk_eval_runner *r, struct qtk_context *ctx,
                  const struct qtk_eval_model *model)
{
  r->ctx = ctx;
  r->model = model;
  int rc = qtk_session_new(model->engine, 1, 0, &r->session);
  if (rc != QTK_OK)
    return rc;
  return qtk_device_matrix(ctx, QTK_LOGIT_CHUNK, model->info->vocabulary, "logits", &r->logits);
}

void qtk_eval_close(struct qtk_eval_runner *r)
{
  if (r->logits.data != NULL)
    qtk_device_free(r->ctx, r->logits.data);
  if (r->session != NULL)
    qtk_session_free(r->session);
  *r = (struct qtk_eval_runner){0};
}

int qtk_eval_check(const struct qtk_eval_model *model, const struct qtk_text *text, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    if (text->ids.ids[i] >= model->info->vocabulary)
      return qtk_error(QTK_EINPUT, "%s: token %lld is number %d, but the model has %lld tokens",
                       text->name, (long long)i, text->ids.ids[i],
                       (long long)model->info->vocabulary);
  return QTK_OK;
}

int qtk_eval_window(struct qtk_eval_runner *r, const int32_t *ids, int64_t context)
{
  int rc = qtk_check_stop(r->ctx);
  return rc == QTK_OK ? qtk_session_forward(r->session, ids, &context, &r->hidden) : rc;
}

int qtk_eval_logits(struct qtk_eval_runner *r, int64_t row, int64_t n, struct qtk_tensor *logits)
{
  *logits = qtk_rows_of(&r->logits, 0, n);
  return qtk_engine_logits(r->model->engine, &r->hidden, row, logits);
}

int qtk_eval_fetch(struct qtk_context *ctx, const struct qtk_tensor *t, int64_t n, float *out)
{
  return qtk_device_download(ctx, out, t->data, (size_t)n * sizeof *out);
}

double qtk_eval_error(double sum, double squares, int64_t n)
{
  if (n < 2)
    return 0;
  double mean = sum / (double)n;
  double variance = (squares - sum * mean) / (double)(n - 1);
  return variance > 0 ? sqrt(variance / (double)n) : 0;
}
