/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of an adapter to a plan: that it can be asked for its size while there are
 * neither weights nor a backend. */
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/error.h"

/* Sites with layouts and no data. */
struct bare {
  struct engine_sites *sites;
  struct qtk_qtensor *bases;
};

static int bare_make(const struct engine_adapter *a, struct bare *b)
{
  size_t n = (size_t)a->n_sites, bytes = sizeof *b->sites + n * sizeof b->sites->sites[0];
  b->sites = calloc(1, bytes);
  b->bases = calloc(n + 1, sizeof *b->bases);
  if (b->sites == NULL || b->bases == NULL)
    return qtk_error_memory(bytes, "sites");
  for (size_t i = 0; i < n; i++) {
    b->bases[i].layout = a->sites->sites[i].base->layout;
    b->sites->sites[i] = a->sites->sites[i];
    b->sites->sites[i].base = &b->bases[i];
  }
  return QTK_OK;
}

/* The parameters are those that it has on the model with its weights. */
static void bare_params(struct qtk_adapter_trial *t, void *h)
{
  int n = 0;
  for (size_t i = 0; i < t->adapter->params.length; i++) {
    const struct engine_param *p = &t->adapter->params.data[i];
    struct qtk_param bare = {.learning_rate = 1};
    if (p->plugin < 0)
      continue;
    int same = t->ops->params(h, p->plugin, &bare) == 1 && bare.ndim == p->param.ndim;
    for (int d = 0; same && d < bare.ndim; d++)
      same = bare.shape[d] == p->param.shape[d];
    qtk_check_that(t->c, same && strcmp(bare.name, p->param.name) == 0,
                   "has the same parameters without weights", "%s: %s", t->text, p->param.name);
    n++;
  }
  struct qtk_param more = {.learning_rate = 1};
  qtk_check_that(t->c, t->ops->params == NULL || t->ops->params(h, n, &more) == 0,
                 "has the same parameters without weights", "%s: there are more than %d", t->text,
                 n);
}

static void bare_memory(struct qtk_adapter_trial *t, void *h)
{
  for (int64_t tokens = 1; t->ops->memory != NULL && tokens < 4096; tokens *= 2) {
    size_t less = t->ops->memory(h, tokens, 1), more = t->ops->memory(h, 2 * tokens, 1);
    size_t runs = t->ops->memory(h, tokens, 0);
    qtk_check_that(t->c, less <= more, "takes no less memory for more tokens",
                   "%s: %zu bytes for %lld tokens, %zu for twice as many", t->text, less,
                   (long long)tokens, more);
    qtk_check_that(t->c, runs <= less, "takes no less memory to train",
                   "%s: %zu bytes for %lld tokens, %zu to run over them", t->text, less,
                   (long long)tokens, runs);
  }
}

static int bare_ask(struct qtk_adapter_trial *t, const void *options, struct qtk_context *ctx,
                    const struct bare *b)
{
  void *h = NULL;
  int n = t->adapter->n_sites;
  qtk_check_doing(t->c, "%s: attach while there are no weights", t->text);
  int status =
      t->ops->attach(ctx, options, qtk_model_info(t->model), b->sites->sites, n, &h);
  if (!qtk_check_status(t->c, status, "attaches while there are neither weights nor a backend",
                        t->text))
    return QTK_OK;
  bare_params(t, h);
  for (int i = 0; t->ops->keep != NULL && i < n; i++) {
    struct qtk_keep_spec bare = {0}, held = {0};
    t->ops->keep(h, &b->sites->sites[i], &bare);
    t->ops->keep(t->adapter->h, &t->adapter->sites->sites[i], &held);
    qtk_check_that(t->c, bare.mask == held.mask && bare.bytes_per_token == held.bytes_per_token &&
                       bare.replaces == held.replaces,
                   "keeps the same without weights", "%s: %s", t->text, b->sites->sites[i].name);
  }
  bare_memory(t, h);
  t->ops->detach(ctx, h);
  return QTK_OK;
}

static int plan_try(struct qtk_adapter_trial *t, const void *options)
{
  const struct qtk_context_options one = {.threads = 1};
  struct qtk_context *ctx;
  struct bare b = {0};
  int status = qtk_context_open(&one, &ctx);
  if (status != QTK_OK)
    return status;
  status = bare_make(t->adapter, &b);
  if (status == QTK_OK)
    status = bare_ask(t, options, ctx, &b);
  free(b.sites);
  free(b.bases);
  qtk_check_context_end(t->c, ctx);
  return status;
}

/* Piece i: set i of the options. */
int qtk_check_adapter_plan(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (!qtk_adapter_has_model(c))
    return 0;
  int status = qtk_adapter_options(c, i, &options, set);
  if (status <= 0)
    return status;
  status = qtk_adapter_open(&t, c, c->ctx, options->values, set, 1);
  if (status == 1) {
    status = plan_try(&t, options->values);
    qtk_adapter_close(&t);
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}
