/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out a budget: at which bits each linear may be rounded, what that would take, and
 * whether it can be done at all. The choice comes later, by measured errors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/error.h"
#include "core/log.h"
#include "core/plan-stage.h"
#include "core/str.h"

static const int budget_usual[] = {2, 3, 4, 8};

/* ---- candidates ---------------------------------------------------------------------- */

static const struct qtk_option *budget_option(const struct qtk_plan_method *method)
{
  const struct qtk_option *o = qtk_option_find(method->loaded->plugin.options, "bits");
  return o != NULL && o->type == QTK_OPTION_INT ? o : NULL;
}

static int budget_refuse(const struct qtk_toml *node, const struct qtk_plan_method *method,
                         int64_t bits)
{
  struct qtk_str allowed = {0};
  int rc = qtk_option_allowed(budget_option(method), &allowed);
  if (rc == QTK_OK)
    rc = qtk_toml_error(node, "candidates: %lld bits are not what the quantizer '%s' can do: "
                              "allowed are %s",
                        (long long)bits, method->loaded->plugin.name, allowed.data);
  qtk_str_free(&allowed);
  return rc;
}

static int budget_compare(const void *a, const void *b)
{
  return *(const int *)a - *(const int *)b;
}

static int budget_candidates(const struct qtk_plan_method *method, const struct qtk_toml *list,
                             struct qtk_plan_budget *b)
{
  size_t n = list ? qtk_toml_length(list) : sizeof budget_usual / sizeof *budget_usual;
  if (n > QTK_PLAN_CANDIDATES)
    return qtk_toml_error(list, "candidates: %zu of them, allowed are %d", n, QTK_PLAN_CANDIDATES);
  for (size_t i = 0; i < n; i++) {
    int64_t bits = list ? qtk_toml_int(qtk_toml_item(list, i)) : budget_usual[i];
    int can = qtk_option_is_int(budget_option(method), bits);
    if (!can && list != NULL)
      return budget_refuse(list, method, bits);
    if (can)
      b->bits[b->n++] = (int)bits;
  }
  qsort(b->bits, (size_t)b->n, sizeof *b->bits, budget_compare);
  return QTK_OK;
}

int qtk_plan_budget_begin(struct qtk_plan_stage *stage)
{
  struct qtk_plan_quantize *q = &stage->quantize;
  const struct qtk_job_budget *job = &stage->job->budget;
  if (job->node == NULL)
    return QTK_OK;
  if (budget_option(&q->methods[0]) == NULL)
    return qtk_toml_error(job->node, "%s: the quantizer '%s' has no option 'bits' to choose",
                          qtk_toml_key(job->node), q->methods[0].loaded->plugin.name);
  q->budget.wanted = job->bits;
  q->budget.total = job->total;
  int rc = budget_candidates(&q->methods[0], job->candidates, &q->budget);
  if (rc != QTK_OK)
    return rc;
  if (q->budget.n == 0)
    return qtk_toml_error(job->node, "%s: give candidates, bits that the quantizer '%s' can do",
                          qtk_toml_key(job->node), q->methods[0].loaded->plugin.name);
  q->budget.methods = calloc(q->n_methods * (size_t)q->budget.n, sizeof *q->budget.methods);
  return q->budget.methods ? QTK_OK : qtk_error_memory(0, "methods");
}

int qtk_plan_budget_method(struct qtk_plan_stage *stage, size_t m, const struct qtk_toml *named,
                           const struct qtk_toml *table, const char *const *core_keys)
{
  struct qtk_plan_budget *b = &stage->quantize.budget;
  const struct qtk_plan_method *method = &stage->quantize.methods[m];
  if (b->n == 0 || qtk_toml_get(table, "bits") != NULL || budget_option(method) == NULL)
    return QTK_OK;
  struct qtk_toml *copy = qtk_toml_copy(table);
  int rc = copy ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < b->n && rc == QTK_OK; i++) {
    struct qtk_plan_method *at = &b->methods[m * (size_t)b->n + (size_t)i];
    if (!qtk_option_is_int(budget_option(method), b->bits[i]))
      rc = budget_refuse(named, method, b->bits[i]);
    if (rc == QTK_OK)
      rc = qtk_toml_set_int(copy, "bits", b->bits[i]);
    if (rc == QTK_OK)
      rc = qtk_plan_method_open(QTK_QUANTIZER, named, copy, core_keys, at);
    if (rc == QTK_OK)
      qtk_plan_needs(at);
  }
  qtk_toml_free(copy);
  return rc;
}

/* ---- linears ----------------------------------------------------------------------------- */

static void budget_take(struct qtk_plan_linear *l, const struct qtk_plan_candidate *c)
{
  l->method = c->method;
  l->layout = c->layout;
  l->by_rows = c->by_rows;
}

/* What is predicted is that of the largest. */
int qtk_plan_budget_linear(const struct qtk_plan_quantize *q, size_t m, struct qtk_plan_linear *l,
                           int *open)
{
  const struct qtk_plan_budget *b = &q->budget;
  int rc = QTK_OK, largest = 0;
  *open = b->n > 0 && b->methods[m * (size_t)b->n].loaded != NULL;
  if (!*open)
    return QTK_OK;
  l->candidates = calloc((size_t)b->n, sizeof *l->candidates);
  if (l->candidates == NULL)
    return qtk_error_memory(0, "candidates");
  for (int i = 0; i < b->n && rc == QTK_OK; i++) {
    l->method = &b->methods[m * (size_t)b->n + (size_t)i];
    rc = qtk_plan_describe(l);
    l->candidates[i] = (struct qtk_plan_candidate){l->method, l->layout, l->by_rows};
    if (qtk_qlayout_bytes(&l->layout) >= qtk_qlayout_bytes(&l->candidates[largest].layout))
      largest = i;
  }
  if (rc == QTK_OK)
    budget_take(l, &l->candidates[largest]);
  return rc;
}

/* Errors are added up, so they must be in the same unit. */
static int budget_check_units(const struct qtk_plan_stage *stage)
{
  const struct qtk_plan_quantize *q = &stage->quantize;
  const struct qtk_plan_linear *first = NULL;
  for (size_t i = 0; i < q->n_linears; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    if (l->candidates != NULL && first == NULL)
      first = l;
    if (l->candidates != NULL && l->method->loaded != first->method->loaded)
      return qtk_toml_error(stage->job->budget.node,
                            "%s: errors that the quantizers '%s' (%s) and '%s' (%s) measure cannot "
                            "be added up: give bits in the overrides that name another method",
                            qtk_toml_key(stage->job->budget.node),
                            first->method->loaded->plugin.name, first->name,
                            l->method->loaded->plugin.name, l->name);
  }
  if (first != NULL || q->kept_bytes > 0)
    return QTK_OK;
  return qtk_toml_error(stage->job->budget.node,
                        "%s: there is nothing to choose, the bits of every linear are given",
                        qtk_toml_key(stage->job->budget.node));
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* Bytes with the smallest and with the largest candidates, of which `fixed` are of what has no
 * candidates; and weights, of what the budget counts. */
struct budget_sums {
  uint64_t weights, fixed, least, most;
};

static void budget_sum_linears(const struct qtk_plan_quantize *q, struct budget_sums *s)
{
  s->fixed = s->least = s->most = q->kept_bytes;
  for (size_t i = 0; i < q->n_linears; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    uint64_t least = UINT64_MAX, most = 0;
    for (int k = 0; k < q->budget.n && l->candidates != NULL; k++) {
      uint64_t bytes = qtk_qlayout_bytes(&l->candidates[k].layout);
      least = bytes < least ? bytes : least;
      most = bytes > most ? bytes : most;
    }
    if (l->candidates == NULL)
      least = most = qtk_qlayout_bytes(&l->layout);
    s->fixed += l->candidates == NULL ? least : 0;
    s->least += least;
    s->most += most;
  }
  s->weights = q->weights;
}

static struct budget_sums budget_sums(const struct qtk_plan *plan,
                                      const struct qtk_plan_quantize *q)
{
  struct budget_sums s = {0};
  uint64_t others = 0;
  budget_sum_linears(q, &s);
  if (!q->budget.total)
    return s;
  s.weights = 0;
  for (int i = 0; i < qtk_model_count(plan->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, i);
    others += qtk_qlayout_bytes(plan->layouts[i]);
    s.weights += (uint64_t)t->rows * (uint64_t)t->cols;
  }
  for (size_t i = 0; i < q->n_linears; i++)
    others -= qtk_qlayout_bytes(&q->linears[i].layout);
  others -= q->kept_bytes; /* which are among all */
  s.fixed += others;
  s.least += others;
  s.most += others;
  return s;
}

static double budget_bits(uint64_t bytes, uint64_t weights)
{
  return 8.0 * (double)bytes / (double)weights;
}

int qtk_plan_budget_fit(const struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  struct qtk_plan_budget *b = &stage->quantize.budget;
  const struct qtk_toml *node = stage->job->budget.node;
  int rc = b->n > 0 ? budget_check_units(stage) : QTK_OK;
  if (rc != QTK_OK || b->n == 0)
    return rc;
  struct budget_sums s = budget_sums(plan, &stage->quantize);
  double room = b->wanted * (double)s.weights / 8;
  double least = ceil(1e4 * budget_bits(s.least, s.weights)) / 1e4;
  if (room < (double)s.least)
    return qtk_toml_error(node, "%s = %g: the smallest is %.4f, with %d bits for all that may have "
                                "them",
                          qtk_toml_key(node), b->wanted, least, b->bits[0]);
  b->bytes = (room < (double)s.most ? (uint64_t)room : s.most) - s.fixed;
  if (room >= (double)s.most)
    qtk_info("%s = %g: %d bits for all that may have them are %.4f, so that is what they get",
             qtk_toml_key(node), b->wanted, b->bits[b->n - 1], budget_bits(s.most, s.weights));
  return QTK_OK;
}

/* ---- the choice --------------------------------------------------------------------------- */

/* What stages find, and exports with it, from stage `from` on. */
static int budget_replay(struct qtk_plan *plan, size_t from)
{
  int rc = QTK_OK;
  for (int i = 0; i < qtk_model_count(plan->model); i++)
    plan->layouts[i] = &qtk_model_tensor(plan->model, i)->layout;
  for (size_t s = from; s < plan->n_stages && rc == QTK_OK; s++) {
    struct qtk_plan_stage *stage = &plan->stages[s];
    for (size_t i = 0; i < stage->quantize.n_linears; i++)
      plan->layouts[stage->quantize.linears[i].tensor] = &stage->quantize.linears[i].layout;
    if (stage->export != NULL)
      rc = qtk_plan_export_tensors(plan, stage);
  }
  return rc;
}

int qtk_plan_settle(struct qtk_plan *plan, size_t stage, const int *choice)
{
  struct qtk_plan_quantize *q = &plan->stages[stage].quantize;
  for (size_t i = 0; i < q->n_linears; i++)
    if (q->linears[i].candidates != NULL)
      budget_take(&q->linears[i], &q->linears[i].candidates[choice[i]]);
  qtk_plan_group_bytes(q);
  return budget_replay(plan, stage);
}

void qtk_plan_budget_end(struct qtk_plan_quantize *q)
{
  for (size_t i = 0; i < q->n_linears; i++)
    free(q->linears[i].candidates);
  for (size_t i = 0; q->budget.methods != NULL && i < q->n_methods * (size_t)q->budget.n; i++)
    qtk_plan_method_end(&q->budget.methods[i]);
  free(q->budget.methods);
}
