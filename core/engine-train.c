/* SPDX-License-Identifier: BSD-3-Clause
 * Tensors of the base that an adapter lets the engine train: parameters like its own, in
 * float32, that the blocks compute with in place of what the base holds. */
#include <math.h>
#include <string.h>

#include "core/engine-inner.h"
#include "core/error.h"

/* ---- claims ------------------------------------------------------------------------------ */

static int train_listed(const int *tensors, size_t n, int tensor)
{
  for (size_t i = 0; i < n; i++)
    if (tensors[i] == tensor)
      return 1;
  return 0;
}

int qtk_engine_trains(const struct qtk_engine *e, int tensor)
{
  for (int i = 0; i < e->n_adapters; i++)
    if (train_listed(e->adapters[i].trained.data, e->adapters[i].trained.length, tensor))
      return 1;
  return 0;
}

/* `other` is at tensor i, which `a` trains. */
static int train_refuse(const struct qtk_engine *e, const struct engine_adapter *a,
                        const struct engine_adapter *other, int i)
{
  return qtk_error(QTK_EJOB, "%s: adapter %s trains the tensor itself, and adapter %s is at it "
                             "too; leave it out of the targets of one",
                   qtk_model_tensor(e->model, i)->name, a->name, other->name);
}

int qtk_engine_check_claims(const struct qtk_engine *e)
{
  for (int k = 0; k < e->n_adapters; k++) {
    const struct engine_adapter *a = &e->adapters[k];
    for (size_t i = 0; i < a->trained.length; i++)
      for (int m = 0; m < e->n_adapters; m++) {
        const struct engine_adapter *other = &e->adapters[m];
        int tensor = a->trained.data[i];
        if (m != k && (train_listed(other->tensors.data, other->tensors.length, tensor) ||
                       train_listed(other->trained.data, other->trained.length, tensor)))
          return train_refuse(e, a, other, tensor);
      }
  }
  return QTK_OK;
}

/* ---- places ------------------------------------------------------------------------------ */

static int64_t train_place(const struct qtk_engine *e, int tensor)
{
  const struct qtk_arch_tensor *t = qtk_arch_tensor(qtk_model_arch(e->model), tensor);

  if (t->layer >= 0)
    return t->layer;
  switch (t->role) {
  case QTK_ROLE_FINAL_NORM:
  case QTK_ROLE_PROJECT_OUT:
    return e->arch->layers + ENGINE_BEHIND;
  case QTK_ROLE_HEAD:
    return e->arch->layers + ENGINE_HEAD;
  default:
    return ENGINE_BEFORE;
  }
}

void qtk_engine_find_lowest(struct qtk_engine *e)
{
  e->lowest = e->arch->layers + ENGINE_HEAD;
  for (int k = 0; k < e->n_adapters; k++) {
    const struct engine_adapter *a = &e->adapters[k];
    for (size_t i = 0; i < a->tensors.length + a->trained.length; i++) {
      int64_t place = train_place(e, i < a->tensors.length
                                         ? a->tensors.data[i]
                                         : a->trained.data[i - a->tensors.length]);
      if (place < e->lowest)
        e->lowest = place;
    }
  }
}

/* ---- parameters -------------------------------------------------------------------------- */

/* What an adapter may say about such a parameter; its name and shape are the tensor's. */
static int train_ask(const struct qtk_engine *e, const struct engine_adapter *a, int tensor,
                     struct qtk_param *param)
{
  const struct qtk_tensor_role role = qtk_engine_role(e, tensor);
  struct qtk_param said = *param;

  if (a->ops->train == NULL)
    return QTK_OK;
  a->ops->train(a->options, &role, &said);
  param->learning_rate = said.learning_rate;
  param->decay = said.decay;
  param->disk_dtype = said.disk_dtype;
  if (!(said.learning_rate > 0.0) || !isfinite(said.learning_rate) ||
      (said.disk_dtype != QTK_F32 && said.disk_dtype != QTK_F16))
    return qtk_error(QTK_EPLUGIN, "adapter %s: %s: it cannot be trained at a rate of %g or be kept "
                                  "on disk as %s",
                     a->name, role.name, said.learning_rate, qtk_dtype_name(said.disk_dtype));
  return QTK_OK;
}

int qtk_engine_describe_training(const struct qtk_engine *e, const struct engine_adapter *a,
                                 int tensor, struct qtk_param *param)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->model, tensor);

  *param = (struct qtk_param){.ndim = t->ndim,
                              .shape = {t->rows, t->ndim == 2 ? t->cols : 0},
                              .learning_rate = 1.0,
                              .decay = t->ndim == 2,
                              .disk_dtype = QTK_F32};
  if (strlen(t->name) >= sizeof param->name)
    return qtk_error(QTK_EINPUT,
                     "%s: a name of %zu characters cannot be a parameter's: at most %zu",
                     t->name, strlen(t->name), sizeof param->name - 1);
  strcpy(param->name, t->name);
  return train_ask(e, a, tensor, param);
}

/* Floats of a tensor that are read at once. */
#define TRAIN_SLAB (1 << 18)

int qtk_engine_start_training(struct qtk_engine *e, const struct engine_param *p)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->model, p->tensor);
  int64_t step = t->cols < TRAIN_SLAB ? TRAIN_SLAB / t->cols : 1;
  float *rows, *value = p->value.data;
  int rc = QTK_OK;

  step = step < t->rows ? step : t->rows;
  rows = qtk_alloc(e->ctx, (size_t)(step * t->cols) * sizeof *rows, "scratch");
  if (rows == NULL)
    return QTK_ENOMEM;
  for (int64_t i = 0; rc == QTK_OK && i < t->rows; i += step) {
    int64_t n = t->rows - i < step ? t->rows - i : step;
    rc = qtk_model_read(e->model, p->tensor, i, n, rows, t->cols);
    if (rc == QTK_OK)
      rc = qtk_device_upload(e->ctx, value + i * t->cols, rows,
                             (size_t)(n * t->cols) * sizeof *rows);
  }
  qtk_free(e->ctx, rows);
  qtk_model_drop(e->model, p->tensor);
  return rc;
}
