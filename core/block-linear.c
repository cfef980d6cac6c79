/* SPDX-License-Identifier: BSD-3-Clause
 * Linears with a stack of adapters: each one calls the product below it. */
#include "core/block.h"

/* The scales that reach the base: at most one adapter may set them. */
static int linear_scales(const struct qtk_inner *inner, const struct qtk_tensor *scales,
                         const struct qtk_tensor **out)
{
  *out = scales != NULL ? scales : inner->scales;
  if (scales != NULL && inner->scales != NULL)
    return qtk_error(QTK_EPLUGIN, "%s: two adapters rescale it; one may",
                     inner->linear->sites[0].site->name);
  return QTK_OK;
}

int qtk_linear_forward(struct qtk_context *ctx, const struct qtk_inner *inner,
                       const struct qtk_tensor *scales, const struct qtk_tensor *x,
                       struct qtk_tensor *y)
{
  const struct block_linear *l = inner->linear;
  struct qtk_inner below = *inner;
  struct qtk_keep *keep;
  int rc = linear_scales(inner, scales, &below.scales);

  if (rc != QTK_OK)
    return rc;
  if (inner->level == 0)
    return qtk_op_linear(ctx, x, &l->w, below.scales, block_given(&l->bias), y, 0);
  const struct block_site *site = &l->sites[--below.level];
  keep = inner->keeps != NULL ? &inner->keeps[below.level] : NULL;
  rc = site->ops->forward(ctx, site->h, inner->session, site->site, &below, x, y, keep);
  if (rc == QTK_OK && keep != NULL && keep->output.data != NULL)
    rc = qtk_op_copy(ctx, y, &keep->output);
  return rc;
}

/* Gradients of the base's own weight and bias, where they are wanted. */
static int linear_gradients(struct qtk_context *ctx, const struct qtk_inner *inner,
                            const struct qtk_tensor *dy)
{
  const struct block_linear *l = inner->linear;
  struct qtk_tensor dw = l->dw, dbias = l->dbias;
  int rc = QTK_OK;

  if (dw.data != NULL)
    rc = qtk_op_linear_dw(ctx, dy, inner->input, &dw);
  if (rc == QTK_OK && dbias.data != NULL)
    rc = qtk_op_sum_rows(ctx, dy, &dbias);
  return rc;
}

int qtk_linear_backward(struct qtk_context *ctx, const struct qtk_inner *inner,
                        const struct qtk_tensor *scales, const struct qtk_tensor *dy,
                        struct qtk_tensor *dx)
{
  const struct block_linear *l = inner->linear;
  struct qtk_inner below = *inner;
  int rc = linear_scales(inner, scales, &below.scales);

  if (rc != QTK_OK)
    return rc;
  if (inner->level > 0) {
    const struct block_site *site = &l->sites[--below.level];
    return site->ops->backward(ctx, site->h, inner->session, site->site, &below,
                               &inner->keeps[below.level], dy, dx);
  }
  rc = linear_gradients(ctx, inner, dy);
  if (rc == QTK_OK && dx != NULL)
    rc = qtk_op_linear_dx(ctx, dy, &l->w, below.scales, dx, 0);
  return rc;
}

static int linear_bottom(const struct qtk_inner *inner)
{
  if (inner->level == 0)
    return QTK_OK;
  return qtk_error(QTK_EPLUGIN, "%s: an adapter replaces its weights and has not said so",
                   inner->linear->sites[0].site->name);
}

int qtk_linear_replace(struct qtk_context *ctx, const struct qtk_inner *inner,
                       const struct qtk_qtensor *w, const struct qtk_tensor *x,
                       struct qtk_tensor *y)
{
  int rc = linear_bottom(inner);

  return rc == QTK_OK ? qtk_op_linear(ctx, x, w, inner->scales, block_given(&inner->linear->bias),
                                      y, 0)
                      : rc;
}

int qtk_linear_replace_back(struct qtk_context *ctx, const struct qtk_inner *inner,
                            const struct qtk_qtensor *w, const struct qtk_tensor *dy,
                            struct qtk_tensor *dx)
{
  int rc = linear_bottom(inner);

  if (rc == QTK_OK)
    rc = linear_gradients(ctx, inner, dy);
  return rc == QTK_OK && dx != NULL ? qtk_op_linear_dx(ctx, dy, w, inner->scales, dx, 0) : rc;
}

const struct qtk_qtensor *qtk_inner_weights(const struct qtk_inner *inner)
{
  return &inner->linear->w;
}

int qtk_block_linear(const struct block_linear *l, struct qtk_session *s,
                     const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *keeps)
{
  struct qtk_inner inner = {.linear = l, .session = s, .level = l->n_sites, .keeps = keeps};

  return qtk_linear_forward(s->ctx, &inner, NULL, x, y);
}

int qtk_block_linear_back(const struct block_linear *l, struct qtk_session *s,
                          const struct qtk_tensor *x, const struct qtk_tensor *dy,
                          struct qtk_tensor *dx, struct qtk_keep *keeps)
{
  struct qtk_inner inner = {
      .linear = l, .session = s, .level = l->n_sites, .input = x, .keeps = keeps};

  return qtk_linear_backward(s->ctx, &inner, NULL, dy, dx);
}
