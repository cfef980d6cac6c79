/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters are written for other programs. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/context.h"
#include "core/error.h"
#include "core/foreign.h"
#include "core/fs.h"

int qtk_foreign_begin(struct qtk_foreign *f, const struct qtk_model *model,
                      const struct qtk_loaded *format, const void *options,
                      const struct qtk_attached *adapter)
{
  *f = (struct qtk_foreign){.ops = &format->ops.format, .options = options, .model = model};
  f->contents = (struct qtk_adapter_export){.method = adapter->name, .form = &f->form,
                                            .layers = qtk_model_info(model)->layers};
  if (adapter->ops->form != NULL)
    adapter->ops->form(adapter->options, &f->form);
  if (adapter->note != NULL && strcmp(adapter->origin, format->plugin.name) == 0)
    f->contents.note = adapter->note;
  f->base = strdup(qtk_path_base(qtk_model_path(model)));
  f->contents.base = f->base;
  return f->base ? QTK_OK : qtk_error_memory(0, "a name");
}

/* ---- parameters -------------------------------------------------------------------------------- */

/* The tensor that a parameter's name begins with, and what stands behind it. */
static int foreign_tensor(const struct qtk_foreign *f, const char *name, const char **part)
{
  for (int i = 0; i < qtk_model_count(f->model); i++) {
    const char *tensor = qtk_model_tensor(f->model, i)->name;
    size_t n = strlen(tensor);
    if (strncmp(tensor, name, n) != 0 || name[n] != '.')
      continue;
    *part = name + n + 1;
    return i;
  }
  return -1;
}

static int foreign_locate(const struct qtk_foreign *f, int tensor, struct qtk_format_param *p,
                          char **name)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(f->model, tensor);
  struct qtk_arch_place place;
  int rc = qtk_arch_locate(qtk_model_arch(f->model), f->ops->schema, tensor, &place);
  if (rc != QTK_OK)
    return rc;
  p->turned = place.transpose;
  if (place.within != t->rows || place.rows != QTK_ROWS_SAME)
    rc = qtk_error(QTK_EJOB, "%s is a part of %s in its files, or has its rows in another order: "
                             "an adapter at it cannot be written",
                   t->name, place.names[0]);
  else if ((*name = strdup(place.names[0])) == NULL)
    rc = qtk_error_memory(0, "a name");
  free(place.names);
  return rc;
}

static int foreign_room(struct qtk_foreign *f)
{
  size_t n = (size_t)f->contents.n_params + 1;
  struct qtk_format_param *params = realloc(f->params, n * sizeof *params);
  char **names = realloc(f->names, n * sizeof *names);
  char **tensors = realloc(f->tensors, n * sizeof *tensors);
  f->params = params ? params : f->params;
  f->names = names ? names : f->names;
  f->tensors = tensors ? tensors : f->tensors;
  return params && names && tensors ? QTK_OK : qtk_error_memory(n * sizeof *params, "parameters");
}

int qtk_foreign_add(struct qtk_foreign *f, const struct qtk_param *param)
{
  const char *part = NULL;
  int tensor = foreign_tensor(f, param->name, &part), i = f->contents.n_params;
  if (tensor < 0)
    return qtk_error(QTK_EJOB, "parameter %s is of no tensor: only what sits at linears can be "
                               "written",
                     param->name);
  int rc = foreign_room(f);
  if (rc != QTK_OK)
    return rc;
  f->names[i] = strdup(param->name);
  f->tensors[i] = NULL;
  f->contents.n_params++;
  struct qtk_format_param *p = &f->params[i];
  *p = (struct qtk_format_param){.ndim = param->ndim, .dtype = param->disk_dtype};
  memcpy(p->shape, param->shape, sizeof p->shape);
  rc = f->names[i] ? foreign_locate(f, tensor, p, &f->tensors[i]) : qtk_error_memory(0, "a name");
  p->tensor = f->tensors[i];
  p->part = f->names[i] ? f->names[i] + (part - param->name) : NULL;
  f->contents.params = f->params;
  return rc;
}

int qtk_foreign_measure(struct qtk_foreign *f)
{
  return f->ops->measure_adapter(f->options, &f->contents, &f->bytes);
}

void qtk_foreign_end(struct qtk_foreign *f)
{
  for (int i = 0; i < f->contents.n_params; i++) {
    free(f->names[i]);
    free(f->tensors[i]);
  }
  free(f->names);
  free(f->tensors);
  free(f->params);
  free(f->base);
  *f = (struct qtk_foreign){0};
}

/* ---- values -------------------------------------------------------------------------------------- */

struct foreign_write {
  const struct qtk_foreign *f;
  const struct qtk_tuned *tuned;
};

static int foreign_give(const struct qtk_adapter_export *adapter, int i, float *out)
{
  const struct foreign_write *w = adapter->owner;
  int k = qtk_tuned_find(w->tuned, w->f->names[i]);
  if (k < 0)
    return qtk_error(QTK_EINTERNAL, "adapter %s: it has no %s", w->tuned->name, w->f->names[i]);
  const struct qtk_qtensor *from = &w->tuned->params[k].view;
  return qtk_convert(QTK_F32, out, from->layout.dtype, from->codes,
                     (size_t)(from->layout.rows * from->layout.cols));
}

int qtk_foreign_write(struct qtk_context *ctx, struct qtk_foreign *f,
                      const struct qtk_tuned *tuned, const char *path,
                      struct qtk_export_result *result)
{
  const struct foreign_write w = {f, tuned};
  f->contents.values = foreign_give;
  f->contents.owner = &w;
  int rc = f->ops->write_adapter(ctx, f->options, path, &f->contents, result);
  f->contents.owner = NULL;
  return rc;
}
