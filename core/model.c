/* SPDX-License-Identifier: BSD-3-Clause
 * A model: its file, its description, its tensors. */
#include "core/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/bundle.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/model-inner.h"

#define MODEL_DESCRIPTION (1u << 20) /* bytes of one */

/* ---- what resolving a description asks -------------------------------------------------- */

static int model_shape(void *arg, const char *name, int64_t *rows, int64_t *cols)
{
  const struct qtk_source *s = arg;
  int i = qtk_source_find(s, name);

  if (i < 0)
    return 0;
  *rows = qtk_source_rows_of(s, i);
  *cols = qtk_source_cols_of(s, i);
  return 1;
}

static int model_values(void *arg, const char *name, float *out)
{
  const struct qtk_source *s = arg;
  int i = qtk_source_find(s, name);

  if (i < 0)
    return qtk_error(QTK_EINPUT, "%s: there is no tensor %s", s->path, name);
  return s->ops->read(s->h, i, 0, qtk_source_rows_of(s, i), out, qtk_source_cols_of(s, i));
}

static int model_resolve(struct qtk_model *m)
{
  const struct qtk_source *s = m->source;
  struct qtk_arch_source source = {.file = s->path,
                                   .schema = s->ops->schema,
                                   .config = s->ops->config(s->h),
                                   .text = m->description,
                                   .text_file = m->description_file,
                                   .arg = m->source,
                                   .shape = model_shape,
                                   .values = model_values};
  struct qtk_format_adapter adapter;

  if (s->ops->adapter != NULL && s->ops->adapter(s->h, &adapter))
    return qtk_error(QTK_EINPUT, "%s: an adapter, not a model: [model] adapter is for it",
                     s->path);
  if (source.config == NULL)
    return qtk_error(QTK_EINPUT, "%s: the weights come without a configuration (config.json)",
                     s->path);
  if (source.text == NULL && s->ops->text != NULL)
    source.text = s->ops->text(s->h, "arch");
  return qtk_arch_resolve(&source, &m->arch);
}

/* ---- open and close -------------------------------------------------------------------------- */

static void model_fill_info(struct qtk_model *m)
{
  const struct qtk_arch_model *a = qtk_arch_model(m->arch);

  m->info = (struct qtk_model_info){.dims = a->dims,
                                    .layers = a->layers,
                                    .vocabulary = a->vocabulary,
                                    .context = a->context,
                                    .embedding_width = a->embedding_width,
                                    .family = qtk_arch_family(m->arch),
                                    .norm = (enum qtk_norm)a->norm,
                                    .norm_bias = a->norm_bias,
                                    .final_norm = a->final_norm,
                                    .epsilon = a->epsilon};
  if (a->positions == QTK_POSITIONS_ROTARY) {
    m->info.rotary_dims = a->rotary.dims;
    m->info.rotary_style = (enum qtk_rope_style)a->rotary.style;
  }
}

/* The bundle that it was opened from, or NULL. */
static const struct qtk_bundle *model_bundle(const struct qtk_model *m)
{
  int is = strcmp(m->source->format->plugin.name, qtk_bundle_format()->name) == 0;

  return is ? m->source->h : NULL;
}

/* A bundle says who made its tensors. */
static int model_read_makers(struct qtk_model *m, const struct qtk_bundle *b)
{
  for (int i = 0; i < qtk_bundle_tensor_count(b); i++) {
    const struct qtk_stored *stored = qtk_bundle_tensor(b, i);
    int k = qtk_model_find(m, stored->name);
    if (k < 0 || stored->plugin == NULL)
      continue;
    m->tensors[k].plugin = strdup(stored->plugin);
    m->tensors[k].options = stored->options != NULL ? strdup(stored->options) : NULL;
    if (m->tensors[k].plugin == NULL || (stored->options != NULL && m->tensors[k].options == NULL))
      return qtk_error_memory(strlen(stored->plugin), "a tensor's maker");
  }
  return QTK_OK;
}

/* ... what their digest is, and which adapters lie on them. */
static int model_read_adapters(struct qtk_model *m, const struct qtk_bundle *b)
{
  struct qtk_tuned *tuned;
  int rc = QTK_OK;

  snprintf(m->digest, sizeof m->digest, "%s", qtk_bundle_model_digest(b));
  for (int i = 0; rc == QTK_OK && i < qtk_bundle_adapter_count(b); i++) {
    rc = qtk_bundle_tuned(m->ctx, b, i, &tuned);
    if (rc == QTK_OK)
      rc = qtk_model_adapt(m->ctx, m, tuned, tuned->forced);
  }
  return rc;
}

static int model_open(struct qtk_model *m, const char *path, struct qtk_model_fit *fit)
{
  const char *built_in[] = {qtk_bundle_format()->name, NULL};
  int rc = qtk_registry_add(qtk_bundle_format());

  if (rc == QTK_OK)
    rc = qtk_source_open(m->ctx, path, built_in, &m->source);
  if (rc == QTK_OK)
    rc = model_resolve(m);
  if (rc == QTK_OK && fit != NULL)
    rc = qtk_model_fit(m, fit);
  if (rc == QTK_OK)
    rc = qtk_model_find_tensors(m);
  if (rc != QTK_OK)
    return rc;
  model_fill_info(m);
  const struct qtk_bundle *b = model_bundle(m);
  rc = b != NULL ? model_read_makers(m, b) : QTK_OK;
  return b != NULL && rc == QTK_OK ? model_read_adapters(m, b) : rc;
}

static int model_new(struct qtk_context *ctx, const char *path, const char *arch,
                     struct qtk_model_fit *fit, struct qtk_model **model)
{
  struct qtk_model *m = calloc(1, sizeof *m);
  size_t n;
  int rc = QTK_OK;

  *model = NULL;
  if (m == NULL)
    return qtk_error_memory(sizeof *m, "a model");
  m->ctx = ctx;
  m->what = "weights";
  m->description_file = arch;
  if (arch != NULL)
    rc = qtk_read_file(arch, MODEL_DESCRIPTION, &m->description, &n);
  if (rc == QTK_OK)
    rc = model_open(m, path, fit);
  if (rc != QTK_OK) {
    qtk_model_close(m);
    return rc;
  }
  *model = m;
  return QTK_OK;
}

int qtk_model_open(struct qtk_context *ctx, const char *path, struct qtk_model **model)
{
  return model_new(ctx, path, NULL, NULL, model);
}

int qtk_model_open_as(struct qtk_context *ctx, const char *path, const char *arch,
                      struct qtk_model_fit *fit, struct qtk_model **model)
{
  return model_new(ctx, path, arch, fit, model);
}

void qtk_model_close(struct qtk_model *m)
{
  if (m == NULL)
    return;
  qtk_model_unadapt(m);
  for (int i = 0; i < m->n; i++) {
    while (m->tensors[i].holds > 0)
      qtk_model_release(m->ctx, m, i);
    pthread_mutex_destroy(&m->tensors[i].lock);
    free(m->tensors[i].plugin);
    free(m->tensors[i].options);
  }
  free(m->tensors);
  free(m->by_name);
  free(m->description);
  qtk_arch_free(m->arch);
  qtk_source_close(m->source);
  free(m);
}

void qtk_model_account(struct qtk_model *m, const char *what)
{
  m->what = what;
}

const char *qtk_model_what(const struct qtk_model *m)
{
  return m->what;
}

void qtk_model_set_unquantized(struct qtk_model *m, const struct qtk_model *from)
{
  m->unquantized = from;
}

const struct qtk_model *qtk_model_unquantized(const struct qtk_model *m)
{
  return m->unquantized;
}

void qtk_model_set_inputs(struct qtk_model *m, const struct qtk_model_inputs *inputs)
{
  m->inputs = inputs;
}

const struct qtk_model_inputs *qtk_model_inputs(const struct qtk_model *m)
{
  return m->inputs;
}

/* ---- what it is ---------------------------------------------------------------------------------- */

const char *qtk_model_path(const struct qtk_model *m)
{
  return m->source->path;
}

const char *qtk_model_format(const struct qtk_model *m)
{
  return m->source->format->plugin.name;
}

int qtk_model_has_weights(const struct qtk_model *m)
{
  return m->source->n > 0;
}

const struct qtk_arch *qtk_model_arch(const struct qtk_model *m)
{
  return m->arch;
}

const struct qtk_model_info *qtk_model_info(const struct qtk_model *m)
{
  return &m->info;
}

struct qtk_model *qtk_model_of(const struct qtk_model_info *info)
{
  return (struct qtk_model *)((uintptr_t)info - offsetof(struct qtk_model, info));
}

int64_t qtk_model_parameters(const struct qtk_model *m)
{
  return m->parameters;
}

const char *qtk_model_tokenizer(const struct qtk_model *m)
{
  const struct qtk_source *s = m->source;

  return s->ops->tokenizer != NULL ? s->ops->tokenizer(s->h) : NULL;
}

const char *qtk_model_text(const struct qtk_model *m, const char *name)
{
  const struct qtk_source *s = m->source;

  return s->ops->text != NULL ? s->ops->text(s->h, name) : NULL;
}

int qtk_model_count(const struct qtk_model *m)
{
  return m->n;
}

const struct qtk_model_tensor *qtk_model_tensor(const struct qtk_model *m, int i)
{
  return &m->tensors[i].t;
}

int qtk_model_find(const struct qtk_model *m, const char *name)
{
  int low = 0, high = m->n;

  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(m->tensors[m->by_name[middle]].t.name, name);
    if (order == 0)
      return m->by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}
