/* SPDX-License-Identifier: BSD-3-Clause
 * Doing a part of a finished job again: which linears, and what is kept of the bundle. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/plan-stage.h"
#include "core/str.h"

/* One quantize stage: between two of them there is a model that the bundle does not have. */
static int redo_check_stages(const struct qtk_plan *plan)
{
  size_t n = 0;
  for (size_t i = 0; i < plan->n_stages; i++) {
    if (plan->stages[i].job->kind == QTK_JOB_ADAPT)
      return qtk_error(QTK_EUSAGE, "--redo: stage %zu of %s trains on what would be done again",
                       i, plan->job->file);
    if (plan->stages[i].job->kind == QTK_JOB_MERGE)
      return qtk_error(QTK_EUSAGE, "--redo: stage %zu of %s merges into what would be done again",
                       i, plan->job->file);
    n += plan->stages[i].job->kind == QTK_JOB_QUANTIZE;
  }
  return n == 1 ? QTK_OK
                : qtk_error(QTK_EUSAGE, "--redo: %s has %zu stages that quantize; it is for jobs "
                                        "with one",
                            plan->job->file, n);
}

/* Marks the linears whose names one of the expressions finds. */
static int redo_mark(struct qtk_plan *plan, const struct qtk_pattern *pattern, size_t *n)
{
  int rc = QTK_OK;
  for (int i = 0; i < qtk_model_count(plan->model) && rc == QTK_OK; i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, i);
    char *name = qtk_plan_name(t);
    int found = 0;
    rc = name ? QTK_OK : QTK_ENOMEM;
    if (rc == QTK_OK && t->ndim == 2)
      rc = qtk_pattern_find(pattern, name, &found);
    plan->redone[i] |= (char)found;
    *n += (size_t)found;
    free(name);
  }
  return rc;
}

/* The name of a linear that is nearest to what was given, or of the first one. */
static int redo_none(const struct qtk_plan *plan, const char *text)
{
  size_t n = 0, all = (size_t)qtk_model_count(plan->model);
  const char **names = calloc(all + 1, sizeof *names);
  if (names == NULL)
    return qtk_error_memory(all * sizeof *names, "names");
  for (size_t i = 0; i < all; i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, (int)i);
    if (t->linear)
      names[n++] = t->name;
  }
  const char *near = qtk_nearest(text, names);
  near = near ? near : n > 0 ? names[0] : "model.layers.0.mlp.up_proj";
  const char *end = strstr(near, ".weight");
  int rc = qtk_error(QTK_EUSAGE, "--redo %s: finds no matrix of the model; names are like %.*s",
                     text, end ? (int)(end - near) : (int)strlen(near), near);
  free(names);
  return rc;
}

static int redo_find(struct qtk_plan *plan)
{
  int rc = QTK_OK;
  for (const char *const *text = plan->job->redo; *text != NULL && rc == QTK_OK; text++) {
    struct qtk_toml *node = qtk_toml_new_text(*text);
    struct qtk_pattern *pattern = NULL;
    size_t n = 0;
    rc = node ? qtk_pattern_new(node, &pattern) : QTK_ENOMEM;
    if (rc == QTK_OK)
      rc = redo_mark(plan, pattern, &n);
    if (rc != QTK_OK)
      rc = qtk_error_at(QTK_EUSAGE, "--redo");
    else if (n == 0)
      rc = redo_none(plan, *text);
    qtk_pattern_free(pattern);
    qtk_toml_free(node);
  }
  return rc;
}

static int redo_keep(struct qtk_plan *plan, int i)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, i);
  int base = qtk_model_find(plan->base, t->name);
  const struct qtk_model_tensor *b = base < 0 ? NULL : qtk_model_tensor(plan->base, base);
  if (b == NULL || b->rows != t->rows || b->cols != t->cols)
    return qtk_error(QTK_EMISMATCH, "%s: %s %s: it is a bundle of another model", plan->job->bundle,
                     b ? "another shape for" : "has no", t->name);
  if (plan->redone[i] || qtk_model_maker(plan->base, base, NULL) == NULL)
    return QTK_OK;
  plan->kept[plan->n_kept++] = (struct qtk_plan_kept){i, base};
  return QTK_OK;
}

int qtk_plan_redo(struct qtk_plan *plan)
{
  size_t n = (size_t)qtk_model_count(plan->model);
  if (plan->base == NULL)
    return QTK_OK;
  plan->redone = calloc(n + 1, 1);
  plan->kept = calloc(n + 1, sizeof *plan->kept);
  if (plan->redone == NULL || plan->kept == NULL)
    return qtk_error_memory(n * sizeof *plan->kept, "a list of tensors");
  int rc = redo_check_stages(plan);
  if (rc == QTK_OK)
    rc = redo_find(plan);
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = redo_keep(plan, (int)i);
  return rc;
}

void qtk_plan_redo_layouts(struct qtk_plan *plan)
{
  for (size_t i = 0; i < plan->n_kept; i++)
    plan->layouts[plan->kept[i].tensor] =
        &qtk_model_tensor(plan->base, plan->kept[i].base)->layout;
}
