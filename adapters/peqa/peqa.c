/* SPDX-License-Identifier: BSD-3-Clause
 * PEQA: the scales of a quantized linear are trained, its integers and zero points stay.
 *
 *   what = s (q - z)    s [rows, groups] trained; q, z as they were
 *
 * The gradient of a scale is the sum over tokens and the group's columns of dy x (q - z):
 * nothing is rounded again, so there is no straight-through estimator (Kim et al., Memory-
 * Efficient Fine-Tuning of Compressed Large Language Models via sub-4-bit Integer
 * Quantization). What is trained is d in s = s0 (1 + d), so that one learning rate suits
 * scales of every size; or s itself. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peqa_options {
  int relative;
};

static const struct qtk_option peqa_table[] = {
    QTK_OPT_BOOL(struct peqa_options, relative, 1,
                 "Train the relative change of each scale; false: the scale itself."),
    QTK_OPT_END};

/* Of one site, [rows, groups] each, float32. */
struct peqa_scales {
  struct qtk_tensor value, gradient; /* d or s; the core's */
  struct qtk_tensor base;            /* s0 */
  struct qtk_tensor tuned;           /* s; at the end of the base's type */
};

struct peqa {
  int relative;
  const struct qtk_site *sites;
  int n;
  struct peqa_scales *scales;
  struct qtk_tensor sum; /* gradient of s, of the largest site; data NULL outside training */
};

static enum qtk_claim peqa_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

/* ---- the base's scales ------------------------------------------------------------------- */

static size_t peqa_count(const struct qtk_site *site)
{
  return (size_t)(site->rows * site->base->layout.groups);
}

static int peqa_check_site(const struct qtk_site *site)
{
  const struct qtk_qlayout *l = &site->base->layout;
  if ((l->encoding == QTK_AFFINE || l->encoding == QTK_CODEBOOK) && l->scale_dtype != QTK_U8)
    return QTK_OK;
  return qtk_error(QTK_EJOB,
                   "%s has no scales to train: it is %s; quantize it first, or leave it out of "
                   "targets",
                   site->name,
                   l->encoding == QTK_DENSE ? "not quantized"
                                            : "held in a way whose scales are not floats");
}

static int peqa_matrix(struct qtk_context *ctx, const struct qtk_site *site, struct qtk_tensor *t)
{
  *t = qtk_matrix(QTK_F32, NULL, site->rows, site->base->layout.groups);
  return qtk_device_alloc(ctx, peqa_count(site) * sizeof(float), "adapter", &t->data);
}

static void peqa_read(const struct qtk_site *site, float *scales)
{
  int64_t groups = site->base->layout.groups;
  for (int64_t i = 0; i < site->rows; i++)
    for (int64_t g = 0; g < groups; g++)
      scales[i * groups + g] = qtk_get_scale(site->base, i, g);
}

static int peqa_put_base(struct qtk_context *ctx, const struct qtk_site *site,
                         struct peqa_scales *s)
{
  size_t bytes = peqa_count(site) * sizeof(float);
  float *host = qtk_alloc(ctx, bytes, "scratch");
  int rc = host != NULL ? peqa_matrix(ctx, site, &s->base) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = peqa_matrix(ctx, site, &s->tuned);
  if (rc == QTK_OK) {
    peqa_read(site, host);
    rc = qtk_device_upload(ctx, s->base.data, host, bytes);
  }
  qtk_free(ctx, host);
  return rc;
}

/* ---- an instance ----------------------------------------------------------------------------- */

static void peqa_detach(struct qtk_context *ctx, void *h)
{
  struct peqa *p = h;
  for (int i = 0; i < p->n; i++) {
    qtk_device_free(ctx, p->scales[i].base.data);
    qtk_device_free(ctx, p->scales[i].tuned.data);
  }
  qtk_device_free(ctx, p->sum.data);
  free(p->scales);
  free(p);
}

static int peqa_attach(struct qtk_context *ctx, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  struct peqa *p = calloc(1, sizeof *p);
  struct peqa_scales *scales = calloc((size_t)n_sites + 1, sizeof *scales);
  int rc = QTK_OK;
  (void)model;
  if (p == NULL || scales == NULL) {
    free(p);
    free(scales);
    return qtk_error(QTK_ENOMEM, "no memory for the scales of %d linears", n_sites);
  }
  *p = (struct peqa){((const struct peqa_options *)options)->relative, sites, n_sites, scales,
                     {0}};
  for (int i = 0; i < n_sites && rc == QTK_OK; i++)
    rc = peqa_check_site(&sites[i]);
  if (rc != QTK_OK)
    peqa_detach(ctx, p);
  else
    *h = p;
  return rc;
}

/* ---- parameters -------------------------------------------------------------------------------- */

static int peqa_params(void *h, int i, struct qtk_param *param)
{
  const struct peqa *p = h;
  if (i >= p->n)
    return 0;
  *param = (struct qtk_param){.ndim = 2, .learning_rate = 1, .disk_dtype = QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.%s", p->sites[i].name,
           p->relative ? "change" : "scales");
  param->shape[0] = p->sites[i].rows;
  param->shape[1] = p->sites[i].base->layout.groups;
  return 1;
}

static int peqa_bind(void *h, int i, const struct qtk_tensor *value,
                     const struct qtk_tensor *gradient)
{
  struct peqa_scales *s = &((struct peqa *)h)->scales[i];
  s->value = *value;
  s->gradient = *gradient;
  return QTK_OK;
}

/* d = 0, or s = s0. */
static int peqa_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct peqa *p = h;
  (void)ctx;
  if (!p->relative)
    peqa_read(&p->sites[i], value);
  return QTK_OK;
}

/* As the merged tensor will hold them: its minima are then rounded as well. */
static int peqa_round(struct qtk_context *ctx, const struct qtk_site *site, struct qtk_tensor *s)
{
  size_t n = peqa_count(site);
  float *host = qtk_alloc(ctx, n * sizeof *host, "scratch");
  uint16_t *half = qtk_alloc(ctx, n * sizeof *half, "scratch");
  int rc = host && half ? qtk_device_download(ctx, host, s->data, n * sizeof *host) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_convert(QTK_F16, half, QTK_F32, host, n);
  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, s->data, half, n * sizeof *half);
  s->dtype = QTK_F16;
  qtk_free(ctx, half);
  qtk_free(ctx, host);
  return rc;
}

static int peqa_changed(struct qtk_context *ctx, void *h, int final)
{
  struct peqa *p = h;
  int rc = QTK_OK;
  for (int i = 0; i < p->n && rc == QTK_OK; i++) {
    struct peqa_scales *s = &p->scales[i];
    if (s->base.data == NULL)
      rc = peqa_put_base(ctx, &p->sites[i], s);
    if (rc != QTK_OK)
      return rc;
    s->tuned.dtype = QTK_F32;
    rc = p->relative ? qtk_op_multiply(ctx, &s->base, &s->value, &s->tuned)
                     : qtk_op_copy(ctx, &s->value, &s->tuned);
    if (rc == QTK_OK && p->relative)
      rc = qtk_op_add(ctx, &s->base, &s->tuned, &s->tuned);
    if (rc == QTK_OK && final && p->sites[i].base->layout.scale_dtype == QTK_F16)
      rc = peqa_round(ctx, &p->sites[i], &s->tuned);
  }
  return rc;
}

/* ---- forward and backward ------------------------------------------------------------------------- */

static void peqa_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
  spec->gradients = QTK_GRADIENT_SCALES;
}

static int peqa_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  const struct peqa *p = h;
  (void)s, (void)keep;
  return qtk_linear_forward(ctx, inner, &p->scales[site->index].tuned, x, y);
}

/* Memory for the gradient of s of any site. */
static int peqa_sum(struct qtk_context *ctx, struct peqa *p, const struct qtk_site *site,
                    struct qtk_tensor *sum)
{
  size_t most = 0;
  int rc = QTK_OK;
  for (int i = 0; i < p->n; i++)
    most = peqa_count(&p->sites[i]) > most ? peqa_count(&p->sites[i]) : most;
  if (p->sum.data == NULL)
    rc = qtk_device_alloc(ctx, most * sizeof(float), "adapter", &p->sum.data);
  *sum = qtk_matrix(QTK_F32, p->sum.data, site->rows, site->base->layout.groups);
  return rc == QTK_OK ? qtk_device_zero(ctx, sum->data, peqa_count(site) * sizeof(float)) : rc;
}

/* d of the change is s0 times that of the scale. */
static int peqa_gradient(struct qtk_context *ctx, struct peqa *p, const struct qtk_site *site,
                         const struct qtk_inner *inner, const struct qtk_tensor *x,
                         const struct qtk_tensor *dy)
{
  struct peqa_scales *s = &p->scales[site->index];
  struct qtk_tensor sum;
  if (s->gradient.data == NULL)
    return QTK_OK;
  if (!p->relative)
    return qtk_op_linear_dscale(ctx, dy, x, qtk_inner_weights(inner), &s->gradient);
  int rc = peqa_sum(ctx, p, site, &sum);
  if (rc == QTK_OK)
    rc = qtk_op_linear_dscale(ctx, dy, x, qtk_inner_weights(inner), &sum);
  if (rc == QTK_OK)
    rc = qtk_op_multiply(ctx, &sum, &s->base, &sum);
  return rc == QTK_OK ? qtk_op_add(ctx, &s->gradient, &sum, &s->gradient) : rc;
}

static int peqa_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                         const struct qtk_site *site, const struct qtk_inner *inner,
                         const struct qtk_keep *keep, const struct qtk_tensor *dy,
                         struct qtk_tensor *dx)
{
  struct peqa *p = h;
  int rc = peqa_gradient(ctx, p, site, inner, &keep->input, dy);
  (void)s;
  if (rc == QTK_OK && dx != NULL)
    rc = qtk_linear_backward(ctx, inner, &p->scales[site->index].tuned, dy, dx);
  return rc;
}

/* ---- merging ------------------------------------------------------------------------------------------ */

/* The scales as floats of the host, whatever they are held in. */
static int peqa_give(struct qtk_context *ctx, const struct qtk_tensor *tuned, size_t n, float *out)
{
  size_t bytes = n * qtk_dtype_size(tuned->dtype);
  void *host = qtk_alloc(ctx, bytes, "scratch");
  int rc = host ? qtk_device_download(ctx, host, tuned->data, bytes) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_convert(QTK_F32, out, tuned->dtype, host, n);
  qtk_free(ctx, host);
  return rc;
}

static int peqa_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                     struct qtk_fold *out)
{
  const struct peqa *p = h;
  if (out->kind == 0) {
    out->kind = QTK_FOLD_SCALES;
    out->exact = 1;
    return QTK_OK;
  }
  return peqa_give(ctx, &p->scales[site->index].tuned, peqa_count(site), out->scales.data);
}

/* The base's scales and the tuned ones; the sum of a gradient, of one site at a time. */
static size_t peqa_memory(void *h, int64_t tokens, int training)
{
  const struct peqa *p = h;
  size_t values = 0, most = 0;
  (void)tokens;
  for (int i = 0; i < p->n; i++) {
    size_t n = peqa_count(&p->sites[i]);
    values += 2 * n;
    most = n > most ? n : most;
  }
  return (values + (training && p->relative ? most : 0)) * sizeof(float);
}

static const struct qtk_default peqa_defaults[] = {
    {"learning_rate", "1e-3"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops peqa_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                .defaults = peqa_defaults,
                                                .claim = peqa_claim,
                                                .attach = peqa_attach,
                                                .detach = peqa_detach,
                                                .params = peqa_params,
                                                .bind = peqa_bind,
                                                .start = peqa_start,
                                                .keep = peqa_keep,
                                                .forward = peqa_forward,
                                                .backward = peqa_backward,
                                                .fold = peqa_fold,
                                                .changed = peqa_changed,
                                                .memory = peqa_memory};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "peqa", .version = "0.1",
           .summary = "trains the scales, keeps the integers", .options = peqa_table,
           .options_size = sizeof(struct peqa_options), .adapter = &peqa_ops);
