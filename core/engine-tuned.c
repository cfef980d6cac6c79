/* SPDX-License-Identifier: BSD-3-Clause
 * Values of an engine's parameters, from a tuned adapter and into one. */
#include "core/device.h"
#include "core/engine-inner.h"
#include "core/error.h"
#include "core/half.h"

static int64_t tuned_values(const struct qtk_stored *p)
{
  return p->view.layout.rows * p->view.layout.cols;
}

/* ---- in ------------------------------------------------------------------------------------ */

static int tuned_same_shape(const struct qtk_param *p, const struct qtk_stored *stored)
{
  int same = p->ndim == stored->ndim;

  for (int i = 0; same && i < p->ndim; i++)
    same = p->shape[i] == stored->shape[i];
  return same;
}

static int tuned_upload(struct qtk_engine *e, const struct qtk_stored *stored,
                        struct qtk_tensor *value)
{
  size_t n = (size_t)tuned_values(stored);
  float *host = qtk_alloc(e->ctx, n * sizeof *host, "scratch");
  int rc = host != NULL ? qtk_convert(QTK_F32, host, stored->view.layout.dtype,
                                      stored->view.codes, n)
                        : QTK_ENOMEM;

  if (rc == QTK_OK)
    rc = qtk_device_upload(e->ctx, value->data, host, n * sizeof *host);
  qtk_free(e->ctx, host);
  return rc;
}

static int tuned_load(struct qtk_engine *e, const struct qtk_tuned *t,
                      const struct qtk_param *p, struct qtk_tensor *value)
{
  int i = qtk_tuned_find(t, p->name);

  if (i < 0)
    return qtk_error(QTK_EINPUT, "adapter %s: it has no values for %s, which %s trains on this "
                                 "model",
                     t->name, p->name, t->plugin->plugin.name);
  if (!tuned_same_shape(p, &t->params[i]))
    return qtk_error(QTK_EINPUT, "adapter %s: %s has %lld values of %d dimensions, and this model "
                                 "wants another shape",
                     t->name, p->name, (long long)tuned_values(&t->params[i]),
                     t->params[i].ndim);
  return tuned_upload(e, &t->params[i], value);
}

int qtk_engine_load(struct qtk_engine *e, int adapter, const struct qtk_tuned *tuned)
{
  struct qtk_param p;
  struct qtk_tensor value;
  int rc = QTK_OK, n = 0;

  for (; rc == QTK_OK && qtk_engine_param(e, adapter, n, &p, &value); n++)
    rc = tuned_load(e, tuned, &p, &value);
  if (rc == QTK_OK && n != tuned->n_params)
    rc = qtk_error(QTK_EINPUT, "adapter %s: it has %d parameters, and %s trains %d on this model",
                   tuned->name, tuned->n_params, tuned->plugin->plugin.name, n);
  return rc == QTK_OK ? qtk_engine_changed(e, adapter, 1) : rc;
}

/* ---- out ------------------------------------------------------------------------------------ */

static int tuned_download(struct qtk_engine *e, const struct qtk_param *p,
                          const struct qtk_tensor *value, void *out)
{
  size_t n = 1;

  for (int i = 0; i < p->ndim; i++)
    n *= (size_t)p->shape[i];
  float *host = qtk_alloc(e->ctx, n * sizeof *host, "scratch");
  int rc = host != NULL ? qtk_device_download(e->ctx, host, value->data, n * sizeof *host)
                        : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_convert(p->disk_dtype, out, QTK_F32, host, n);
  qtk_free(e->ctx, host);
  return rc;
}

int qtk_engine_save(struct qtk_engine *e, int adapter, struct qtk_tuned *tuned)
{
  struct qtk_param p;
  struct qtk_tensor value;
  void *out;
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && qtk_engine_param(e, adapter, i, &p, &value); i++) {
    rc = qtk_tuned_add(tuned, &p, &out);
    if (rc == QTK_OK)
      rc = tuned_download(e, &p, &value, out);
  }
  return rc == QTK_OK ? qtk_engine_load(e, adapter, tuned) : rc;
}
