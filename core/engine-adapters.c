/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters on a running model: what they claim, their instances and parameters. */
#include <stdlib.h>
#include <string.h>

#include "core/device.h"
#include "core/engine-inner.h"
#include "core/error.h"
#include "core/log.h"

/* ---- claims -------------------------------------------------------------------------- */

struct qtk_tensor_role qtk_engine_role(const struct qtk_engine *e, int tensor)
{
  struct qtk_tensor_role role = {0};

  (void)qtk_base_tensor(qtk_model_info(e->model), tensor, &role);
  return role;
}

static int adapters_claim_tensor(struct qtk_engine *e, struct engine_adapter *a, int i)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(e->model, i);
  const struct qtk_tensor_role role = qtk_engine_role(e, i);

  switch (a->ops->claim(a->options, &role)) {
  case QTK_CLAIM_NONE:
    return QTK_OK;
  case QTK_CLAIM_SITE:
    if (!t->linear)
      return qtk_error(QTK_EPLUGIN, "adapter %s: %s is no linear inside a block and cannot be a "
                                    "site",
                       a->name, t->name);
    if (a->ops->forward == NULL)
      return qtk_error(QTK_EPLUGIN, "adapter %s claims sites and has no forward", a->name);
    return qtk_vec_push(&a->tensors, i);
  case QTK_CLAIM_TRAIN:
    return qtk_vec_push(&a->trained, i);
  default:
    return qtk_error(QTK_EPLUGIN, "adapter %s claims %s in a way that is not known", a->name,
                     t->name);
  }
}

static int adapters_claim_all(struct qtk_engine *e, struct engine_adapter *a)
{
  int offered, rc = QTK_OK;

  if (a->ops->check != NULL)
    rc = a->ops->check(a->options, qtk_model_info(e->model));
  for (int i = 0; rc == QTK_OK && i < qtk_model_count(e->model); i++) {
    rc = qtk_pattern_find_tensor(a->targets, qtk_model_tensor(e->model, i)->name, &offered);
    if (rc == QTK_OK && offered)
      rc = adapters_claim_tensor(e, a, i);
  }
  a->n_sites = (int)a->tensors.length;
  return rc;
}

static int adapters_add(struct qtk_engine *e, const struct qtk_attached *attached)
{
  struct engine_adapter *a = &e->adapters[e->n_adapters++];
  int rc = QTK_OK;

  a->name = attached->name;
  a->ops = attached->ops;
  a->options = attached->options;
  a->tuned = attached->tuned;
  a->starts = attached->tuned == NULL && !attached->later;
  a->classes = attached->classes;
  a->on = !attached->off;
  if (attached->targets != NULL)
    rc = qtk_pattern_of(attached->targets, &a->targets);
  if (rc == QTK_OK)
    rc = adapters_claim_all(e, a);
  return rc == QTK_OK && !a->on ? qtk_engine_check_off(a) : rc;
}

struct qtk_attached qtk_attached_of(const struct qtk_tuned *t)
{
  int score = qtk_tuned_find(t, QTK_SCORE_NAME);

  return (struct qtk_attached){.name = t->plugin->plugin.name,
                               .ops = &t->plugin->ops.adapter,
                               .options = t->options != NULL ? t->options->values : NULL,
                               .targets = t->targets,
                               .origin = t->origin,
                               .note = t->note,
                               .tuned = t,
                               .classes = score >= 0 ? t->params[score].shape[0] : 0};
}

static int adapters_add_tuned(struct qtk_engine *e, const struct qtk_tuned *t)
{
  const struct qtk_attached attached = qtk_attached_of(t);

  return adapters_add(e, &attached);
}

int qtk_engine_claim(struct qtk_engine *e, const struct qtk_attached *attached, int n)
{
  int tuned = 0, on = 0, rc = QTK_OK;

  while (qtk_engine_tuned(e, tuned) != NULL)
    tuned++;
  for (int i = 0; i < n; i++)
    on += !attached[i].off;
  if (on + tuned > BLOCK_ADAPTERS)
    return qtk_error(QTK_EJOB, "%d adapters: at most %d can stack", on + tuned, BLOCK_ADAPTERS);
  e->adapters = calloc((size_t)(n + tuned) + 1, sizeof *e->adapters);
  if (e->adapters == NULL)
    return qtk_error_memory((size_t)(n + tuned) * sizeof *e->adapters, "adapters");
  for (int i = 0; rc == QTK_OK && i < tuned; i++)
    rc = adapters_add_tuned(e, qtk_engine_tuned(e, i));
  for (int i = 0; rc == QTK_OK && i < n; i++)
    rc = adapters_add(e, &attached[i]);
  qtk_engine_find_lowest(e);
  return rc == QTK_OK ? qtk_engine_check_claims(e) : rc;
}

/* ---- sites ------------------------------------------------------------------------------ */

static int adapters_make_sites(struct qtk_engine *e, struct engine_adapter *a)
{
  size_t bytes = sizeof *a->sites + (size_t)a->n_sites * sizeof a->sites->sites[0];

  a->sites = calloc(1, bytes);
  if (a->sites == NULL)
    return qtk_error_memory(bytes, "sites");
  a->sites->engine = e;
  for (int i = 0; i < a->n_sites; i++) {
    const struct qtk_arch_tensor *t =
        qtk_arch_tensor(qtk_model_arch(e->model), a->tensors.data[i]);
    a->sites->sites[i] = (struct qtk_site){.index = i,
                                           .name = t->name,
                                           .role = qtk_role_name(t->role),
                                           .layer = t->layer,
                                           .rows = t->rows,
                                           .cols = t->cols,
                                           .base = &e->layers[t->layer].weights[t->role].host};
  }
  return QTK_OK;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static int64_t adapters_values(const struct qtk_param *p)
{
  int64_t n = 1;

  for (int i = 0; i < p->ndim; i++)
    n *= p->shape[i];
  return n;
}

static int adapters_check_param(const struct engine_adapter *a, const struct qtk_param *p)
{
  int good = p->ndim >= 1 && p->ndim <= QTK_MAX_DIMS && p->name[0] != '\0' &&
             memchr(p->name, '\0', sizeof p->name) != NULL;
  int64_t n = 1;

  for (int i = 0; good && i < p->ndim; i++)
    good = p->shape[i] >= 1 && !__builtin_mul_overflow(n, p->shape[i], &n) && n < INT64_MAX / 64;
  for (size_t i = 0; good && i < a->params.length; i++)
    if (strcmp(a->params.data[i].param.name, p->name) == 0)
      return qtk_error(QTK_EPLUGIN, "adapter %s: two parameters have the name %s", a->name,
                       p->name);
  return good ? QTK_OK
              : qtk_error(QTK_EPLUGIN, "adapter %s: parameter %zu has no name or shape that can be",
                          a->name, a->params.length);
}

static int adapters_start(struct qtk_engine *e, struct engine_adapter *a, struct engine_param *p)
{
  size_t bytes = (size_t)adapters_values(&p->param) * sizeof(float);
  float *values;
  int rc;

  if (!a->starts)
    return QTK_OK;
  if (p->plugin == ENGINE_BASE)
    return qtk_engine_start_training(e, p);
  if (p->plugin >= 0 && a->ops->start == NULL)
    return QTK_OK;
  values = qtk_alloc(e->ctx, bytes, "scratch");
  if (values == NULL)
    return QTK_ENOMEM;
  if (p->plugin == ENGINE_SCORE)
    qtk_engine_start_score(e, values, adapters_values(&p->param));
  rc = p->plugin >= 0 ? a->ops->start(e->ctx, a->h, p->plugin, values) : QTK_OK;
  if (rc == QTK_OK)
    rc = qtk_device_upload(e->ctx, p->value.data, values, bytes);
  qtk_free(e->ctx, values);
  return rc;
}

static int adapters_bind(struct qtk_engine *e, struct engine_adapter *a,
                         const struct engine_param *p)
{
  if (p->plugin == ENGINE_SCORE) {
    a->score = p->value;
    a->dscore = p->gradient;
    return QTK_OK;
  }
  if (p->plugin == ENGINE_BASE)
    return qtk_engine_put(e, p->tensor, &p->value, &p->gradient);
  return a->ops->bind(a->h, p->plugin, &p->value, &p->gradient);
}

static int adapters_add_param(struct qtk_engine *e, struct engine_adapter *a,
                              const struct qtk_param *param, int plugin, int tensor)
{
  struct engine_param p = {.param = *param, .plugin = plugin, .tensor = tensor};
  void *memory;
  int rc = adapters_check_param(a, param);

  if (rc == QTK_OK && e->planned)
    return qtk_vec_push(&a->params, p);
  if (rc == QTK_OK)
    rc = qtk_device_alloc(e->ctx, (size_t)adapters_values(param) * sizeof(float), "parameters",
                          &memory);
  if (rc != QTK_OK)
    return rc;
  p.value = (struct qtk_tensor){.data = memory, .dtype = QTK_F32, .ndim = param->ndim};
  memcpy(p.value.shape, param->shape, sizeof p.value.shape);
  p.value.stride = param->shape[param->ndim - 1];
  p.gradient = p.value;
  p.gradient.data = NULL;
  rc = qtk_vec_push(&a->params, p);
  if (rc != QTK_OK) {
    qtk_device_free(e->ctx, memory);
    return rc;
  }
  rc = adapters_bind(e, a, &p);
  return rc == QTK_OK ? adapters_start(e, a, &p) : rc;
}

static int adapters_count_params(struct engine_adapter *a)
{
  struct qtk_param param = {.learning_rate = 1.0};
  int n = 0;

  while (a->ops->params != NULL && a->ops->params(a->h, n, &param))
    n++;
  return n;
}

/* Those of the plugin. A start that compares with the unquantized model may take long. */
static int adapters_make_own(struct qtk_engine *e, struct engine_adapter *a)
{
  int shows = !e->planned && a->starts && a->ops->unquantized != NULL &&
              a->ops->unquantized(a->options);
  struct qtk_param param = {.learning_rate = 1.0};
  struct qtk_progress progress;
  int rc = QTK_OK;

  if (shows)
    qtk_progress_begin(&progress, "start", (uint64_t)adapters_count_params(a), "parameters");
  for (int i = 0; rc == QTK_OK && a->ops->params != NULL && a->ops->params(a->h, i, &param); i++) {
    rc = adapters_add_param(e, a, &param, i, -1);
    if (rc == QTK_OK && shows)
      qtk_progress_step(&progress, (uint64_t)i + 1);
    param = (struct qtk_param){.learning_rate = 1.0};
  }
  if (shows)
    qtk_progress_end(&progress);
  return rc;
}

static int adapters_make_params(struct qtk_engine *e, struct engine_adapter *a)
{
  struct qtk_param param = {.learning_rate = 1.0};
  int rc;

  if (a->ops->params != NULL && a->ops->bind == NULL)
    return qtk_error(QTK_EPLUGIN, "adapter %s has params and no bind", a->name);
  rc = adapters_make_own(e, a);
  for (size_t i = 0; rc == QTK_OK && i < a->trained.length; i++) {
    rc = qtk_engine_describe_training(e, a, a->trained.data[i], &param);
    if (rc == QTK_OK)
      rc = adapters_add_param(e, a, &param, ENGINE_BASE, a->trained.data[i]);
  }
  if (rc == QTK_OK && a->classes > 0) {
    qtk_engine_describe_score(e, a, &param);
    rc = adapters_add_param(e, a, &param, ENGINE_SCORE, -1);
  }
  return rc;
}

int qtk_engine_attach(struct qtk_engine *e)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < e->n_adapters; i++) {
    struct engine_adapter *a = &e->adapters[i];
    rc = adapters_make_sites(e, a);
    if (rc == QTK_OK)
      rc = a->ops->attach(e->ctx, a->options, qtk_model_info(e->model), a->sites->sites,
                          a->n_sites, &a->h);
    a->attached = rc == QTK_OK;
    if (rc == QTK_OK)
      rc = adapters_make_params(e, a);
    if (rc == QTK_OK)
      rc = qtk_engine_find_stacks(e, a);
    if (rc == QTK_OK && a->starts && !e->planned)
      rc = qtk_engine_changed(e, i, 0);
    if (rc != QTK_OK)
      return qtk_error_at(rc, "adapter %s", a->name);
    if (a->tuned != NULL)
      rc = qtk_engine_load(e, i, a->tuned);
  }
  return rc == QTK_OK ? qtk_engine_stack(e) : rc;
}

void qtk_engine_detach(struct qtk_engine *e)
{
  for (int i = e->n_adapters - 1; i >= 0; i--) {
    struct engine_adapter *a = &e->adapters[i];
    if (a->attached)
      a->ops->detach(e->ctx, a->h);
    for (size_t k = 0; k < a->params.length; k++) {
      qtk_device_free(e->ctx, a->params.data[k].value.data);
      qtk_device_free(e->ctx, a->params.data[k].gradient.data);
    }
    qtk_vec_free(&a->params);
    qtk_vec_free(&a->tensors);
    qtk_pattern_free(a->targets);
    qtk_vec_free(&a->trained);
    free(a->stacked);
    free(a->sites);
  }
  free(e->adapters);
  e->adapters = NULL;
  e->n_adapters = 0;
}

/* ---- from outside ------------------------------------------------------------------------------ */

static struct engine_param *adapters_param(const struct qtk_engine *e, int adapter, int i)
{
  if (adapter < 0 || adapter >= e->n_adapters || i < 0 ||
      (size_t)i >= e->adapters[adapter].params.length)
    return NULL;
  return &e->adapters[adapter].params.data[i];
}

int qtk_engine_param(struct qtk_engine *e, int adapter, int i, struct qtk_param *param,
                     struct qtk_tensor *value)
{
  const struct engine_param *p = adapters_param(e, adapter, i);

  if (p == NULL)
    return 0;
  *param = p->param;
  *value = p->value;
  return 1;
}

int qtk_engine_gradient(struct qtk_engine *e, int adapter, int i, struct qtk_tensor *gradient)
{
  const struct engine_param *p = adapters_param(e, adapter, i);

  if (p == NULL)
    return 0;
  *gradient = p->gradient;
  return 1;
}

int qtk_engine_changed(struct qtk_engine *e, int adapter, int final)
{
  const struct engine_adapter *a = &e->adapters[adapter];

  return a->ops->changed != NULL ? a->ops->changed(e->ctx, a->h, final) : QTK_OK;
}

int qtk_engine_want_gradient(struct qtk_engine *e, struct engine_adapter *a,
                             struct engine_param *p)
{
  size_t bytes = (size_t)adapters_values(&p->param) * sizeof(float);
  int rc;

  if (p->gradient.data != NULL)
    return QTK_OK;
  rc = qtk_device_alloc(e->ctx, bytes, "gradients", &p->gradient.data);
  return rc == QTK_OK ? adapters_bind(e, a, p) : rc;
}

/* What an adapter mixes into the hidden states ends the base's gradient there. */
static int adapters_check_train(const struct qtk_engine *e, const struct engine_adapter *a)
{
  if (a->n_sites > 0 && a->ops->backward == NULL)
    return qtk_error(QTK_EPLUGIN, "adapter %s has sites and no backward", a->name);
  for (int i = 0; a->trained.length > 0 && i < e->n_adapters; i++)
    if (e->adapters[i].ops->mix != NULL)
      return qtk_error(QTK_EJOB, "adapter %s trains tensors of the base, which get no gradient "
                                 "beside adapter %s",
                       a->name, e->adapters[i].name);
  return QTK_OK;
}

static int adapters_train(struct qtk_engine *e, struct engine_adapter *a)
{
  int rc = adapters_check_train(e, a);

  for (size_t i = 0; rc == QTK_OK && i < a->params.length; i++)
    rc = qtk_engine_want_gradient(e, a, &a->params.data[i]);
  return rc;
}

int qtk_engine_train(struct qtk_engine *e)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < e->n_adapters; i++)
    rc = adapters_train(e, &e->adapters[i]);
  return rc;
}

int qtk_engine_train_only(struct qtk_engine *e, int adapter)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < e->n_adapters; i++)
    rc = i == adapter ? adapters_train(e, &e->adapters[i])
                      : adapters_check_train(e, &e->adapters[i]);
  return rc;
}
