/* SPDX-License-Identifier: BSD-3-Clause
 * Quantization-aware training: a linear's weights are floats that training moves, and every
 * pass reads them rounded to the base's grid. The gradient goes straight through the rounding
 * to those that lie within the grid's range (Bengio, Leonard and Courville, Estimating or
 * Propagating Gradients Through Stochastic Neurons); scales may be learned too (Esser et al.,
 * Learned Step Size Quantization). grid.h has the arithmetic. */
#define QTK_API 1
#include "qat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct qtk_option qat_table[] = {
    QTK_OPT_TEXT(struct qat_options, scales, "frozen", "frozen learned",
                 "Whether the scales are trained as well."),
    QTK_OPT_FLOAT(struct qat_options, scale_rate, 10, 1e-6, 1e6,
                  "Learning rate of the scales' relative change, as a factor on the stage's."),
    QTK_OPT_TEXT(struct qat_options, start, "auto", "auto source base",
                 "Weights to begin with: of the unquantized model, of the base, or of the first "
                 "that is there."),
    QTK_OPT_END};

static enum qtk_claim qat_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

/* ---- an instance ------------------------------------------------------------------------- */

static int qat_check_site(const struct qtk_site *site)
{
  const struct qtk_qlayout *l = &site->base->layout;
  if (l->encoding == QTK_AFFINE && (l->scale_dtype == QTK_F16 || l->scale_dtype == QTK_F32))
    return QTK_OK;
  return qtk_error(QTK_EJOB,
                   "%s has no even grid to round to: it is %s; quantize it in affine groups "
                   "first, or leave it out of targets",
                   site->name,
                   l->encoding == QTK_DENSE      ? "not quantized"
                   : l->encoding == QTK_CODEBOOK ? "coded by a codebook"
                                                 : "held in a way that is not known here");
}

static void qat_detach(struct qtk_context *ctx, void *h)
{
  struct qat *p = h;
  for (int i = 0; i < p->n; i++)
    qtk_device_free(ctx, p->at[i].block);
  qtk_device_free(ctx, p->sum);
  qtk_free(ctx, p->codes);
  free(p->at);
  free(p);
}

static int qat_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites,
                      int n_sites, void **h)
{
  struct qat *p = calloc(1, sizeof *p);
  struct qat_site *at = calloc((size_t)n_sites + 1, sizeof *at);
  int rc = QTK_OK;
  (void)model;
  if (p == NULL || at == NULL) {
    free(p);
    free(at);
    return qtk_error(QTK_ENOMEM, "no memory for %d linears", n_sites);
  }
  *p = (struct qat){.options = options, .sites = sites, .n = n_sites, .at = at,
                    .threads = qtk_pool_size(ctx)};
  p->learned = strcmp(p->options->scales, "learned") == 0;
  for (int i = 0; i < n_sites && rc == QTK_OK; i++)
    rc = qat_check_site(&sites[i]);
  if (rc != QTK_OK)
    qat_detach(ctx, p);
  else
    *h = p;
  return rc;
}

/* ---- parameters -------------------------------------------------------------------------- */

/* Of each site its weights, and behind them the change of its scales if they are learned. */
static int qat_is_change(const struct qat *p, int i)
{
  return p->learned && i % 2 == 1;
}

static int qat_site_of(const struct qat *p, int i)
{
  return p->learned ? i / 2 : i;
}

static int qat_params(void *h, int i, struct qtk_param *param)
{
  const struct qat *p = h;
  int change = qat_is_change(p, i), k = qat_site_of(p, i);
  if (k >= p->n)
    return 0;
  *param = (struct qtk_param){.ndim = 2,
                              .learning_rate = change ? p->options->scale_rate : 1.0,
                              .decay = !change,
                              .disk_dtype = QTK_F32,
                              .estimated = 1};
  snprintf(param->name, sizeof param->name, "%s.%s", p->sites[k].name,
           change ? "change" : "float");
  param->shape[0] = p->sites[k].rows;
  param->shape[1] = change ? p->sites[k].base->layout.groups : p->sites[k].cols;
  return 1;
}

static int qat_bind(void *h, int i, const struct qtk_tensor *value,
                    const struct qtk_tensor *gradient)
{
  const struct qat *p = h;
  struct qat_site *at = &p->at[qat_site_of(p, i)];
  *(qat_is_change(p, i) ? &at->d : &at->w) = *value;
  *(qat_is_change(p, i) ? &at->dd : &at->dw) = *gradient;
  return QTK_OK;
}

static int qat_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct qat *p = h;
  const struct qtk_site *site = &p->sites[qat_site_of(p, i)];
  int rc = QTK_EJOB;
  if (qat_is_change(p, i))
    return QTK_OK;
  if (strcmp(p->options->start, "base") != 0)
    rc = qtk_source_rows(ctx, site, 0, site->rows, value);
  if (rc == QTK_EJOB && strcmp(p->options->start, "source") != 0)
    rc = qtk_dequantize_rows(site->base, NULL, 0, site->rows, value, site->cols);
  return rc;
}

static int qat_changed(struct qtk_context *ctx, void *h, int final)
{
  struct qat *p = h;
  int rc = QTK_OK;
  (void)final; /* grids have their types on disk at all times */
  for (int i = 0; i < p->n && rc == QTK_OK; i++)
    rc = qat_round(ctx, p, &p->sites[i]);
  return rc;
}

/* ---- forward and backward ---------------------------------------------------------------- */

static void qat_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->replaces = 1;
  spec->gradients = QTK_GRADIENT_WEIGHTS;
}

static int qat_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  const struct qat *p = h;
  (void)s, (void)keep;
  return qtk_linear_replace(ctx, inner, &p->at[site->index].what, x, y);
}

/* Memory for the gradient by the rounded weights of any site, zeroed. */
static int qat_sum(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site,
                   struct qtk_tensor *sum)
{
  int64_t most = 0, n = site->rows * site->cols;
  int rc = QTK_OK;
  for (int i = 0; i < p->n; i++)
    most = p->sites[i].rows * p->sites[i].cols > most ? p->sites[i].rows * p->sites[i].cols : most;
  if (p->sum == NULL)
    rc = qtk_device_alloc(ctx, (size_t)most * sizeof(float), "adapter", &p->sum);
  *sum = qtk_matrix(QTK_F32, p->sum, site->rows, site->cols);
  return rc == QTK_OK ? qtk_device_zero(ctx, p->sum, (size_t)n * sizeof(float)) : rc;
}

static int qat_learn(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site,
                     const struct qtk_tensor *x, const struct qtk_tensor *dy)
{
  struct qtk_tensor sum;
  int rc = qat_sum(ctx, p, site, &sum);
  if (rc == QTK_OK)
    rc = qtk_op_linear_dw(ctx, dy, x, &sum);
  return rc == QTK_OK ? qat_gradients(ctx, p, site, &sum) : rc;
}

static int qat_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_keep *keep, const struct qtk_tensor *dy,
                        struct qtk_tensor *dx)
{
  struct qat *p = h;
  int rc = QTK_OK;
  (void)s;
  if (p->at[site->index].dw.data != NULL)
    rc = qat_learn(ctx, p, site, &keep->input, dy);
  return rc == QTK_OK ? qtk_linear_replace_back(ctx, inner, &p->at[site->index].what, dy, dx) : rc;
}

/* ---- merging ----------------------------------------------------------------------------- */

static int qat_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                    struct qtk_fold *out)
{
  const struct qat *p = h;
  if (out->kind != 0)
    return qat_copy(ctx, &p->at[site->index].what, &out->tensor);
  out->kind = QTK_FOLD_QUANTIZED;
  out->exact = 1;
  return QTK_OK;
}

/* The rounded weights; the gradient by those of one site at a time; a row of codes a thread. */
static size_t qat_memory(void *h, int64_t tokens, int training)
{
  const struct qat *p = h;
  size_t bytes = 0, most = 0, widest = 0;
  (void)tokens;
  (void)training;
  for (int i = 0; i < p->n; i++) {
    size_t values = (size_t)(p->sites[i].rows * p->sites[i].cols);
    bytes += qtk_qtensor_block_bytes(&p->sites[i].base->layout);
    most = values > most ? values : most;
    widest = (size_t)p->sites[i].cols > widest ? (size_t)p->sites[i].cols : widest;
  }
  return bytes + most * sizeof(float) + widest * (size_t)p->threads;
}

static int qat_unquantized(const void *options)
{
  return strcmp(((const struct qat_options *)options)->start, "source") == 0;
}

static const struct qtk_default qat_defaults[] = {
    {"learning_rate", "1e-5"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops qat_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .defaults = qat_defaults,
                                               .claim = qat_claim,
                                               .attach = qat_attach,
                                               .detach = qat_detach,
                                               .params = qat_params,
                                               .bind = qat_bind,
                                               .start = qat_start,
                                               .keep = qat_keep,
                                               .forward = qat_forward,
                                               .backward = qat_backward,
                                               .fold = qat_fold,
                                               .changed = qat_changed,
                                               .memory = qat_memory,
                                               .unquantized = qat_unquantized};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "qat", .version = "0.1",
           .summary = "trains floats that every pass reads rounded", .options = qat_table,
           .options_size = sizeof(struct qat_options), .adapter = &qat_ops);
