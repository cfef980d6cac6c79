/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of an adapter about what it claims and attaches to, with every set of
 * options; and the parts of its suite. */
#include <stdlib.h>
#include <string.h>

#include "core/check-adapter.h"
#include "core/error.h"

/* ---- claims ------------------------------------------------------------------------- */

static enum qtk_claim claims_ask(const struct qtk_adapter_trial *t, const void *options, int i)
{
  const struct qtk_model_tensor *from = qtk_model_tensor(t->model, i);
  struct qtk_tensor_role role = {from->name,   from->role, from->layer,
                                 from->linear, from->rows, from->cols};
  return t->ops->claim(options, &role);
}

static void claims_look(struct qtk_adapter_trial *t, const void *options)
{
  for (int i = 0; i < qtk_model_count(t->model); i++) {
    const struct qtk_model_tensor *from = qtk_model_tensor(t->model, i);
    enum qtk_claim claim = claims_ask(t, options, i);
    qtk_check_that(t->c,
                   claim == QTK_CLAIM_NONE || claim == QTK_CLAIM_TRAIN ||
                       (claim == QTK_CLAIM_SITE && from->linear),
                   "claims none, linears of blocks as sites, or tensors to train", "%s: %s: %d",
                   t->text, from->name, (int)claim);
    qtk_check_that(t->c, claim == claims_ask(t, options, i), "claims the same tensors again",
                   "%s: %s", t->text, from->name);
  }
}

/* Piece i: set i of the options, on quantized linears and on floats. */
static int claims_run(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (!qtk_adapter_has_model(c)) {
    qtk_check_skip(c, "attaches to a model, or refuses it with QTK_EJOB",
                   "there is no model to try on: name one with --sample");
    return 0;
  }
  int status = qtk_adapter_options(c, i, &options, set);
  if (status <= 0)
    return status;
  for (int quantized = 0; quantized < 2 && status >= 0; quantized++) {
    status = qtk_adapter_open(&t, c, c->ctx, options->values, set, quantized);
    if (status == 1) {
      claims_look(&t, options->values);
      qtk_adapter_close(&t);
    }
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}

/* ---- memory --------------------------------------------------------------------------- */

struct instances {
  const struct qtk_adapter_trial *t;
  const void *options;
};

/* Another instance beside the engine's own. */
static int instances_once(void *arg)
{
  const struct instances *s = arg;
  const struct engine_adapter *a = s->t->adapter;
  struct qtk_param param;
  void *h = NULL;
  int status = s->t->ops->attach(s->t->ctx, s->options, qtk_model_info(s->t->model),
                                 a->sites->sites, a->n_sites, &h);
  if (status != QTK_OK)
    return status;
  for (int i = 0; s->t->ops->params != NULL && s->t->ops->params(h, i, &param) == 1; i++)
    continue;
  s->t->ops->detach(s->t->ctx, h);
  return QTK_OK;
}

static int instances_run(struct qtk_check *c, int i)
{
  struct qtk_adapter_trial t;
  struct qtk_options *options;
  char set[QTK_CHECK_WHAT];
  if (i > 0 || !qtk_adapter_has_model(c))
    return 0;
  int status = qtk_adapter_options(c, 0, &options, set);
  if (status < 0)
    return status;
  status = qtk_adapter_open(&t, c, c->ctx, options->values, "forty instances", 1);
  if (status == 1) {
    struct instances instances = {&t, options->values};
    status = qtk_check_leaks(c, instances_once, &instances, "attach and detach");
    qtk_adapter_close(&t);
  }
  qtk_options_free(options);
  return status < 0 ? status : 1;
}

const struct qtk_check_section qtk_check_adapter[] = {{"claims", claims_run},
                                                      {"plan", qtk_check_adapter_plan},
                                                      {"sites", qtk_check_adapter_sites},
                                                      {"stream", qtk_check_adapter_stream},
                                                      {"objective", qtk_check_adapter_loss},
                                                      {"instances", instances_run},
                                                      {NULL, NULL}};
