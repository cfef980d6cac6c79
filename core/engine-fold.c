/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters folded into the tensors that they sit on. */
#include "core/engine-inner.h"
#include "core/error.h"
#include "core/option.h"
#include "core/pack.h"
#include "core/registry.h"
#include "core/toml.h"

#include <stdlib.h>
#include <string.h>

/* ---- planned ----------------------------------------------------------------------------- */

/* What works beside the model has no tensor to be folded into. */
static int fold_check(const struct engine_adapter *a)
{
  const char *why = NULL;

  if (a->ops->stream != NULL || a->ops->mix != NULL)
    why = "works on the hidden states, beside the model's own tensors";
  else if (a->n_sites > 0 && a->ops->fold == NULL)
    why = "cannot be folded into the tensors that it sits on";
  else if (a->n_sites == 0 && a->trained.length == 0)
    why = "changes no tensor of the model";
  return why == NULL ? QTK_OK
                     : qtk_error(QTK_EJOB, "adapter %s %s: it ships as it is", a->name, why);
}

static int fold_ask(struct qtk_engine *e, int i, struct qtk_engine_folding *f)
{
  const struct engine_adapter *a = &e->adapters[0];
  struct qtk_fold out = {.kind = 0};
  int rc = a->ops->fold(e->ctx, a->h, &a->sites->sites[i], &out);

  if (rc == QTK_OK && (out.kind < QTK_FOLD_SCALES || out.kind > QTK_FOLD_ROWS))
    rc = qtk_error(QTK_EPLUGIN, "it does not say how it folds into %s",
                   a->sites->sites[i].name);
  if (rc != QTK_OK)
    return qtk_error_at(rc, "adapter %s", a->name);
  *f = (struct qtk_engine_folding){.kind = out.kind, .exact = out.exact};
  return QTK_OK;
}

int qtk_engine_foldings(struct qtk_context *ctx, struct qtk_model *model,
                        const struct qtk_qlayout *const *layouts,
                        const struct qtk_attached *adapter, struct qtk_engine_folding *foldings)
{
  const struct qtk_engine_case c = {
      .model = model, .layouts = layouts, .adapters = adapter, .n_adapters = 1, .tokens = 1};
  struct qtk_engine *e;
  int rc = qtk_engine_open_planned(ctx, &c, &e);

  if (rc != QTK_OK)
    return rc;
  const struct engine_adapter *a = &e->adapters[0];
  rc = fold_check(a);
  for (int i = 0; i < a->n_sites && rc == QTK_OK; i++)
    rc = fold_ask(e, i, &foldings[a->tensors.data[i]]);
  for (size_t i = 0; i < a->trained.length && rc == QTK_OK; i++)
    foldings[a->trained.data[i]] =
        (struct qtk_engine_folding){.kind = QTK_FOLD_ROWS, .trained = 1, .exact = 1};
  qtk_engine_close(e);
  return rc;
}

/* ---- at a site --------------------------------------------------------------------------- */

static const struct qtk_site *fold_site(const struct engine_adapter *a, int tensor)
{
  for (int i = 0; i < a->n_sites; i++)
    if (a->tensors.data[i] == tensor)
      return &a->sites->sites[i];
  return NULL;
}

int qtk_engine_fold(struct qtk_engine *e, int adapter, int tensor, struct qtk_fold *out)
{
  const struct engine_adapter *a = &e->adapters[adapter];
  const struct qtk_site *site = fold_site(a, tensor);
  int rc;

  if (site == NULL || a->ops->fold == NULL)
    return qtk_error(QTK_EINTERNAL, "adapter %s: nothing of it can be folded into %s", a->name,
                     qtk_model_tensor(e->model, tensor)->name);
  e->lost = e->whole = 0;
  rc = a->ops->fold(e->ctx, a->h, site, out);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "adapter %s", a->name);
}

void qtk_engine_lost(const struct qtk_engine *e, double *lost, double *whole)
{
  *lost = e->lost;
  *whole = e->whole;
}

/* ---- rounding again ------------------------------------------------------------------------ */

/* The options that a text of TOML says, as the plugin's struct. */
static int fold_options(const struct qtk_plugin *plugin, const char *text,
                        struct qtk_options **options)
{
  struct qtk_toml *root = NULL;
  int rc = QTK_OK;

  if (text != NULL)
    rc = qtk_toml_parse(text, strlen(text), "options", &root);
  if (rc == QTK_OK)
    rc = qtk_options_parse(plugin->options, plugin->options_size, root, NULL, options);
  qtk_toml_free(root);
  return rc;
}

static int fold_maker(const char *name, const char *text, const struct qtk_loaded **plugin,
                      struct qtk_options **options)
{
  const struct qtk_quantizer_ops *ops;
  int rc;

  *options = NULL;
  if (name == NULL)
    return qtk_error(QTK_EJOB, "no quantizer made it, so none can round it again");
  rc = qtk_registry_get(QTK_QUANTIZER, name, plugin);
  if (rc == QTK_OK)
    rc = fold_options(&(*plugin)->plugin, text, options);
  if (rc != QTK_OK)
    return rc;
  ops = &(*plugin)->ops.quantizer;
  if (ops->needs != NULL && ops->needs((*options)->values) != QTK_NEEDS_NOTHING)
    return qtk_error(QTK_EJOB, "quantizer %s needs calibration and cannot round again here",
                     name);
  return QTK_OK;
}

int qtk_engine_may_round(const char *maker, const char *options)
{
  const struct qtk_loaded *plugin;
  struct qtk_options *parsed;
  int rc = fold_maker(maker, options, &plugin, &parsed);

  qtk_options_free(parsed);
  return rc;
}

/* The quantizer may work in w; what it loses is told from a copy. */
static int fold_round(struct qtk_engine *e, const struct qtk_loaded *plugin, const void *options,
                      const struct qtk_site *site, float *w, struct qtk_qtensor *out)
{
  struct qtk_linear linear = {.name = site->name,
                              .role = site->role,
                              .layer = site->layer,
                              .rows = site->rows,
                              .cols = site->cols};
  struct qtk_quantize_result result = {0};
  size_t bytes = (size_t)(site->rows * site->cols) * sizeof(float);
  float *copy = qtk_alloc(e->ctx, bytes, "scratch");
  int rc = QTK_ENOMEM;

  if (copy != NULL) {
    memcpy(copy, w, bytes);
    rc = plugin->ops.quantizer.quantize(e->ctx, options, &linear, w, NULL, out, &result);
  }
  qtk_qtensor_seal(out);
  if (rc == QTK_OK)
    rc = qtk_qtensor_lost(out, copy, &e->lost, &e->whole);
  qtk_free(e->ctx, copy);
  return rc;
}

int qtk_requantize(struct qtk_context *ctx, const struct qtk_site *site, float *w,
                   struct qtk_qtensor *out)
{
  struct qtk_engine *e = qtk_engine_of(site);
  const char *text = NULL;
  const char *name = qtk_model_maker(e->model, qtk_model_find(e->model, site->name), &text);
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  int rc = fold_maker(name, text, &plugin, &options);

  (void)ctx;
  if (rc == QTK_OK) {
    out->dequantize = plugin->ops.quantizer.dequantize;
    rc = fold_round(e, plugin, options->values, site, w, out);
  }
  qtk_options_free(options);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", site->name);
}
