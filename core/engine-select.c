/* SPDX-License-Identifier: BSD-3-Clause
 * Which of the adapters take part. Every linear has a stack of them, a few pointers; a switch
 * makes the stacks anew, and touches no weight. */
#include <stdlib.h>

#include "core/engine-inner.h"
#include "core/error.h"

int qtk_engine_check_off(const struct engine_adapter *a)
{
  if (a->trained.length == 0)
    return QTK_OK;
  return qtk_error(QTK_EJOB, "adapter %s trains tensors of the base itself: it cannot be switched "
                             "off and on",
                   a->name);
}

int qtk_engine_find_stacks(struct qtk_engine *e, struct engine_adapter *a)
{
  a->stacked = calloc((size_t)a->n_sites + 1, sizeof *a->stacked);
  if (a->stacked == NULL)
    return qtk_error_memory((size_t)a->n_sites * sizeof *a->stacked, "sites");
  for (int i = 0; i < a->n_sites; i++) {
    const struct qtk_arch_tensor *t =
        qtk_arch_tensor(qtk_model_arch(e->model), a->tensors.data[i]);
    struct block_linear *l = &e->layers[t->layer].block.linears[t->role];
    struct engine_stacked *s = &a->stacked[i];
    *s = (struct engine_stacked){l, {.ops = a->ops, .h = a->h, .site = &a->sites->sites[i]}};
    if (l->sites == NULL)
      l->sites = calloc(BLOCK_ADAPTERS, sizeof *l->sites);
    if (l->sites == NULL)
      return qtk_error_memory(BLOCK_ADAPTERS * sizeof *l->sites, "sites");
    if (a->ops->keep != NULL)
      a->ops->keep(a->h, s->site.site, &s->site.keep);
  }
  return QTK_OK;
}

static int select_stack(const struct engine_adapter *a, int k)
{
  const struct block_site *site = &a->stacked[k].site;
  struct block_linear *l = a->stacked[k].linear;

  if (site->keep.replaces && l->n_sites > 0)
    return qtk_error(QTK_EJOB, "adapter %s replaces the weights of %s and must be the lowest "
                               "there; merge what lies below it first",
                     a->name, site->site->name);
  l->sites[l->n_sites++] = *site;
  return QTK_OK;
}

int qtk_engine_stack(struct qtk_engine *e)
{
  int rc = QTK_OK;

  for (int i = 0; i < e->n_adapters; i++)
    for (int k = 0; k < e->adapters[i].n_sites; k++)
      e->adapters[i].stacked[k].linear->n_sites = 0;
  for (int i = 0; i < e->n_adapters; i++) {
    const struct engine_adapter *a = &e->adapters[i];
    for (int k = 0; rc == QTK_OK && a->on && k < a->n_sites; k++)
      rc = select_stack(a, k);
  }
  return rc;
}

int qtk_engine_select(struct qtk_engine *e, const char *on)
{
  int n = 0, rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < e->n_adapters; i++) {
    n += on[i] != 0;
    rc = on[i] ? QTK_OK : qtk_engine_check_off(&e->adapters[i]);
  }
  if (rc != QTK_OK)
    return rc;
  if (n > BLOCK_ADAPTERS)
    return qtk_error(QTK_EJOB, "%d adapters: at most %d can stack", n, BLOCK_ADAPTERS);
  for (int i = 0; i < e->n_adapters; i++)
    e->adapters[i].on = on[i] != 0;
  return qtk_engine_stack(e);
}
