/* SPDX-License-Identifier: BSD-3-Clause
 * A toy adapter that rescales: its parameters are the scales of quantized linears. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <stdio.h>
#include <stdlib.h>

struct toy {
  const struct qtk_site *sites;
  int n;
  struct qtk_tensor *values, *gradients; /* [n] */
};

static enum qtk_claim toy_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static void toy_detach(struct qtk_context *ctx, void *h)
{
  struct toy *toy = h;
  (void)ctx;
  free(toy->values);
  free(toy->gradients);
  free(toy);
}

static int toy_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                      void **h)
{
  struct toy *toy = calloc(1, sizeof *toy);
  (void)options, (void)model;
  for (int i = 0; i < n_sites; i++)
    if (sites[i].base->layout.encoding == QTK_DENSE ||
        sites[i].base->layout.encoding == QTK_OPAQUE) {
      free(toy);
      return qtk_error(QTK_EJOB, "%s: it is not quantized, and has no scales", sites[i].name);
    }
  if (toy == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for an adapter");
  toy->sites = sites;
  toy->n = n_sites;
  toy->values = calloc((size_t)n_sites + 1, sizeof *toy->values);
  toy->gradients = calloc((size_t)n_sites + 1, sizeof *toy->gradients);
  if (toy->values == NULL || toy->gradients == NULL) {
    toy_detach(ctx, toy);
    return qtk_error(QTK_ENOMEM, "no memory for %d scales", n_sites);
  }
  *h = toy;
  return QTK_OK;
}

static int toy_params(void *h, int i, struct qtk_param *param)
{
  const struct toy *toy = h;
  if (i >= toy->n)
    return 0;
  const struct qtk_qlayout *l = &toy->sites[i].base->layout;
  *param = (struct qtk_param){.ndim = 2,
                              .shape = {l->rows, l->groups},
                              .learning_rate = 1,
                              .disk_dtype = l->scale_dtype == QTK_F32 ? QTK_F32 : QTK_F16};
  snprintf(param->name, sizeof param->name, "%s.scales", toy->sites[i].name);
  return 1;
}

static int toy_bind(void *h, int i, const struct qtk_tensor *value,
                    const struct qtk_tensor *gradient)
{
  struct toy *toy = h;
  toy->values[i] = *value;
  toy->gradients[i] = *gradient;
  return QTK_OK;
}

static int toy_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  const struct qtk_qtensor *base = ((struct toy *)h)->sites[i].base;
  (void)ctx;
  for (int64_t row = 0; row < base->layout.rows; row++)
    for (int64_t g = 0; g < base->layout.groups; g++)
      value[row * base->layout.groups + g] = qtk_get_scale(base, row, g);
  return QTK_OK;
}

static void toy_keep(void *h, const struct qtk_site *site, struct qtk_keep_spec *spec)
{
  (void)h, (void)site;
  spec->mask = QTK_KEEP_INPUT;
}

static int toy_forward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                       const struct qtk_site *site, const struct qtk_inner *inner,
                       const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keep)
{
  (void)s, (void)keep;
  return qtk_linear_forward(ctx, inner, &((struct toy *)h)->values[site->index], x, y);
}

static int toy_backward(struct qtk_context *ctx, void *h, struct qtk_session *s,
                        const struct qtk_site *site, const struct qtk_inner *inner,
                        const struct qtk_keep *keep, const struct qtk_tensor *dy,
                        struct qtk_tensor *dx)
{
  struct toy *toy = h;
  (void)s;
  int status = qtk_linear_backward(ctx, inner, &toy->values[site->index], dy, dx);
  if (status == QTK_OK && toy->gradients[site->index].data != NULL)
    status = qtk_op_linear_dscale(ctx, dy, &keep->input, qtk_inner_weights(inner),
                                  &toy->gradients[site->index]);
  return status;
}

static int toy_fold(struct qtk_context *ctx, void *h, const struct qtk_site *site,
                    struct qtk_fold *out)
{
  const struct qtk_qlayout *l = &site->base->layout;
  const struct qtk_tensor *value = &((struct toy *)h)->values[site->index];
  if (out->kind == 0) {
    out->kind = QTK_FOLD_SCALES;
    out->exact = 1;
    return QTK_OK;
  }
  return qtk_device_download(ctx, out->scales.data, value->data,
                             (size_t)(l->rows * l->groups) * sizeof(float));
}

static const struct qtk_adapter_ops toy_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .claim = toy_claim,
                                               .attach = toy_attach,
                                               .detach = toy_detach,
                                               .params = toy_params,
                                               .bind = toy_bind,
                                               .start = toy_start,
                                               .keep = toy_keep,
                                               .forward = toy_forward,
                                               .backward = toy_backward,
                                               .fold = toy_fold};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "toy_scales", .version = "1",
           .summary = "a toy: scales of quantized linears", .adapter = &toy_ops);
