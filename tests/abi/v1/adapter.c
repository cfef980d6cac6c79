/* SPDX-License-Identifier: BSD-3-Clause
 * A v1 adapter that rescales: its parameters are the scales of quantized linears. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <stdio.h>
#include <stdlib.h>

struct v1 {
  const struct qtk_site *sites;
  int n;
  struct qtk_tensor *values, *gradients; /* [n] */
};

static enum qtk_claim v1_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static void v1_detach(struct qtk_context *ctx, void *h)
{
  struct v1 *v1 = h;
  (void)ctx;
  free(v1->values);
  free(v1->gradients);
  free(v1);
}

static int v1_attach(struct qtk_context *ctx, const void *options,
                     const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                     void **h)
{
  struct v1 *v1 = calloc(1, sizeof *v1);
  (void)options, (void)model;
  for (int i = 0; i < n_sites; i++)
    if (sites[i].base->layout.encoding == QTK_DENSE ||
        sites[i].base->layout.encoding == QTK_OPAQUE) {
      free(v1);
      return qtk_error(QTK_EJOB, "%s: it is not quantized, and has no scales", sites[i].name);
    }
  if (v1 == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for an adapter");
  v1->sites = sites;
  v1->n = n_sites;
  v1->values = calloc((size_t)n_sites + 1, sizeof *v1->values);
  v1->gradients = calloc((size_t)n_sites + 1, sizeof *v1->gradients);
  if (v1->values == NULL || v1->gradients == NULL) {
    v1_detach(ctx, v1);
    return qtk_error(QTK_ENOMEM, "no memory for %d scales", n_sites);
  }
  *h = v1;
  return QTK_OK;
}

static int v1_params(void *h, int i, struct qtk_param *param)
{
  const struct v1 *v1 = h;
  if (i >= v1->n)
    return 0;
  const struct qtk_qlayout *l = &v1->sites[i].base->layout;
  *param = (struct qtk_param){.ndim = 2,
                              .shape = {l->rows, l->groups},
                              .learning_rate = 1,
                              .disk_dtype = l->scale_dtype == QTK_F32 ? QTK_F32 : QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.scales", v1->sites[i].name);
  return 1;
}

static int v1_bind(void *h, int i, const struct qtk_tensor *value,
                   const struct qtk_tensor *gradient)
{
  struct v1 *v1 = h;
  v1->values[i] = *value;
  v1->gradients[i] = *gradient;
  return QTK_OK;
}

static int v1_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct qtk_qtensor *base = ((struct v1 *)h)->sites[i].base;
  (void)ctx;
  for (int64_t row = 0; row < base->layout.rows; row++)
    for (int64_t g = 0; g < base->layout.groups; g++)
      value[row * base->layout.groups + g] = qtk_get_scale(base, row, g);
  return QTK_OK;
}

static void v1_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
}

static int v1_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                      const struct qtk_site *site, const struct qtk_inner *inner,
                      const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  (void)s, (void)keep;
  return qtk_linear_forward(ctx, inner, &((struct v1 *)h)->values[site->index], x, y);
}

static int v1_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_keep *keep, const struct qtk_tensor *dy,
                       struct qtk_tensor *dx)
{
  struct v1 *v1 = h;
  (void)s;
  int status = qtk_linear_backward(ctx, inner, &v1->values[site->index], dy, dx);
  if (status == QTK_OK && v1->gradients[site->index].data != NULL)
    status = qtk_op_linear_dscale(ctx, dy, &keep->input, qtk_inner_weights(inner),
                                  &v1->gradients[site->index]);
  return status;
}

static int v1_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                   struct qtk_fold *out)
{
  const struct qtk_qlayout *l = &site->base->layout;
  const struct qtk_tensor *value = &((struct v1 *)h)->values[site->index];
  if (out->kind == 0) {
    out->kind = QTK_FOLD_SCALES;
    out->exact = 1;
    return QTK_OK;
  }
  return qtk_device_download(ctx, out->scales.data, value->data,
                             (size_t)(l->rows * l->groups) * sizeof(float));
}

static const struct qtk_adapter_ops v1_ops = {.size = sizeof(struct qtk_adapter_ops),
                                              .claim = v1_claim,
                                              .attach = v1_attach,
                                              .detach = v1_detach,
                                              .params = v1_params,
                                              .bind = v1_bind,
                                              .start = v1_start,
                                              .keep = v1_keep,
                                              .forward = v1_forward,
                                              .backward = v1_backward,
                                              .fold = v1_fold};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "v1", .version = "1",
           .summary = "a v1: scales of quantized linears", .adapter = &v1_ops);
