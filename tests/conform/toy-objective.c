/* SPDX-License-Identifier: BSD-3-Clause
 * A toy adapter with an objective alone: cross-entropy, mixed with the divergence from
 * the unquantized model. */
#define QTK_API 1
#include <qtk/adapter.h>

struct toy_options {
  double mix;
};

static const struct qtk_option toy_table[] = {
    QTK_OPT_FLOAT(struct toy_options, mix, 0.25, 0, 1, "Share of the divergence."), QTK_OPT_END};

struct toy {
  double mix;
};

static enum qtk_claim toy_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options, (void)t;
  return QTK_CLAIM_NONE;
}

static int toy_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                      void **h)
{
  struct toy *toy = qtk_alloc(ctx, sizeof *toy, "scratch");
  (void)model, (void)sites, (void)n_sites;
  if (toy == NULL)
    return QTK_ENOMEM;
  toy->mix = ((const struct toy_options *)options)->mix;
  *h = toy;
  return QTK_OK;
}

static void toy_detach(struct qtk_context *ctx, void *h)
{
  qtk_free(ctx, h);
}

static enum qtk_teacher toy_teacher(const void *options)
{
  return ((const struct toy_options *)options)->mix > 0 ? QTK_TEACHER_LOGITS : QTK_TEACHER_NONE;
}

/* The memory of a call: losses [n] on the device and on the host, factors [n], and a
 * second gradient [n, V]. */
struct toy_work {
  struct qtk_tensor loss, gradient;
  float *host, *factor;
};

static void toy_end(struct qtk_context *ctx, struct toy_work *w)
{
  qtk_device_free(ctx, w->loss.data);
  qtk_device_free(ctx, w->gradient.data);
  qtk_free(ctx, w->host);
}

static int toy_begin(struct qtk_context *ctx, int64_t n, int64_t vocabulary, int teacher,
                     struct toy_work *w)
{
  *w = (struct toy_work){.host = qtk_alloc(ctx, (size_t)(2 * n) * sizeof(float), "scratch")};
  int status = w->host ? qtk_device_matrix(ctx, 1, n, "scratch", &w->loss) : QTK_ENOMEM;
  if (status == QTK_OK && teacher)
    status = qtk_device_matrix(ctx, n, vocabulary, "scratch", &w->gradient);
  w->factor = w->host + n;
  return status;
}

/* *sum += share * sum of weights * losses. */
static int toy_add(struct qtk_context *ctx, const struct toy_work *w, const float *weights,
                   int64_t n, double share, double *sum)
{
  int status = qtk_device_download(ctx, w->host, w->loss.data, (size_t)n * sizeof(float));
  for (int64_t i = 0; i < n && status == QTK_OK; i++)
    *sum += weights[i] > 0 ? share * weights[i] * w->host[i] : 0;
  return status;
}

static const float *toy_factors(struct toy_work *w, const float *weights, int64_t n, double share)
{
  for (int64_t i = 0; i < n; i++)
    w->factor[i] = (float)share * weights[i];
  return w->factor;
}

static int toy_loss(struct qtk_context *ctx, void *h, const struct qtk_batch *batch, int64_t t0,
                    int64_t n, const struct qtk_tensor *logits, const struct qtk_tensor *teacher,
                    struct qtk_tensor *dlogits, double *sum, double *weight)
{
  const float *weights = batch->weights + t0;
  double mix = teacher ? ((struct toy *)h)->mix : 0;
  struct toy_work w;
  int status = toy_begin(ctx, n, qtk_tensor_cols(logits), teacher != NULL, &w);
  *sum = *weight = 0;
  for (int64_t i = 0; i < n; i++)
    *weight += weights[i];
  /* First the divergence: dlogits may be the logits' own memory. */
  if (status == QTK_OK && teacher != NULL)
    status = qtk_op_divergence(ctx, teacher, logits, &w.loss, toy_factors(&w, weights, n, mix),
                               dlogits ? &w.gradient : NULL);
  if (status == QTK_OK && teacher != NULL)
    status = toy_add(ctx, &w, weights, n, mix, sum);
  if (status == QTK_OK)
    status = qtk_op_cross_entropy(ctx, logits, batch->targets + t0, &w.loss,
                                  toy_factors(&w, weights, n, 1 - mix), dlogits);
  if (status == QTK_OK)
    status = toy_add(ctx, &w, weights, n, 1 - mix, sum);
  if (status == QTK_OK && teacher != NULL && dlogits != NULL)
    status = qtk_op_axpy(ctx, 1, &w.gradient, dlogits);
  toy_end(ctx, &w);
  return status;
}

static const struct qtk_adapter_ops toy_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .teacher = toy_teacher,
                                               .loss = toy_loss};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "toy_objective", .version = "1",
           .summary = "a toy: cross-entropy and divergence", .options = toy_table,
           .options_size = sizeof(struct toy_options), .adapter = &toy_ops);
