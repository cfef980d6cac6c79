/* SPDX-License-Identifier: BSD-3-Clause
 * Lays out a quantize stage: which linears, by which plugin with which options, in
 * which layout, and in which groups. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/pack.h"
#include "core/plan-stage.h"
#include "core/str.h"

/* While a stage is laid out: the expressions that choose. */
struct choice {
  struct qtk_pattern *targets; /* NULL: every linear inside the blocks */
  struct qtk_pattern **overrides;
  size_t n_overrides;
  size_t *found; /* linears that each override applies to */
};

/* ---- methods ----------------------------------------------------------------------- */

/* The options of an override stand on those of the stage, if the method is the same. */
static int quantize_merge(const struct qtk_job_stage *stage, const struct qtk_job_override *o,
                          struct qtk_toml **merged)
{
  int same = o->method == NULL || strcmp(o->method, stage->method) == 0;
  struct qtk_toml *table = same ? qtk_toml_copy(stage->table) : qtk_toml_new_table();
  int rc = table ? QTK_OK : QTK_ENOMEM;
  for (const char *const *key = qtk_job_stage_keys(stage->kind); rc == QTK_OK && *key; key++)
    qtk_toml_remove(table, *key);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(o->table); i++) {
    const struct qtk_toml *item = qtk_toml_item(o->table, i);
    rc = qtk_toml_put(table, qtk_toml_key(item), qtk_toml_copy(item));
  }
  if (rc != QTK_OK)
    qtk_toml_free(table);
  else
    *merged = table;
  return rc;
}

static int quantize_open_override(struct qtk_plan_stage *plan, size_t i)
{
  const struct qtk_job_stage *stage = plan->job;
  const struct qtk_job_override *o = &stage->overrides[i];
  struct qtk_toml *merged;
  const struct qtk_toml *named = qtk_toml_get(o->method ? o->table : stage->table, "method");
  if (o->skip)
    return QTK_OK;
  int rc = quantize_merge(stage, o, &merged);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_plan_method_open(QTK_QUANTIZER, named, merged, qtk_job_override_keys(),
                            &plan->quantize.methods[1 + i]);
  if (rc == QTK_OK)
    rc = qtk_plan_budget_method(plan, 1 + i, named, merged, qtk_job_override_keys());
  qtk_toml_free(merged);
  return rc;
}

static int quantize_open_methods(struct qtk_plan_stage *stage)
{
  struct qtk_plan_quantize *q = &stage->quantize;
  const struct qtk_job_stage *job = stage->job;
  q->methods = calloc(1 + job->n_overrides, sizeof *q->methods);
  if (q->methods == NULL)
    return qtk_error_memory(0, "methods");
  q->n_methods = 1 + job->n_overrides;
  const struct qtk_toml *named = qtk_toml_get(job->table, "method");
  const char *const *keys = qtk_job_stage_keys(job->kind);
  int rc = qtk_plan_method_open(QTK_QUANTIZER, named, job->table, keys, &q->methods[0]);
  if (rc == QTK_OK)
    rc = qtk_plan_budget_begin(stage);
  if (rc == QTK_OK)
    rc = qtk_plan_budget_method(stage, 0, named, job->table, keys);
  for (size_t i = 0; i < job->n_overrides && rc == QTK_OK; i++)
    rc = quantize_open_override(stage, i);
  for (size_t i = 0; i < q->n_methods && rc == QTK_OK; i++)
    qtk_plan_needs(&q->methods[i]);
  return rc;
}

/* ---- choosing ------------------------------------------------------------------------- */

static void choice_end(struct choice *c)
{
  qtk_pattern_free(c->targets);
  for (size_t i = 0; i < c->n_overrides; i++)
    qtk_pattern_free(c->overrides[i]);
  free(c->overrides);
  free(c->found);
}

static int choice_begin(const struct qtk_job_stage *stage, struct choice *c)
{
  int rc = QTK_OK;
  size_t n = stage->n_overrides;
  *c = (struct choice){0};
  if (n > 0) {
    c->overrides = calloc(n, sizeof *c->overrides);
    c->found = calloc(n, sizeof *c->found);
    if (c->overrides == NULL || c->found == NULL)
      return qtk_error_memory(n * sizeof *c->overrides, "overrides");
    c->n_overrides = n;
  }
  if (stage->targets != NULL)
    rc = qtk_pattern_new(qtk_toml_get(stage->table, "targets"), &c->targets);
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = qtk_pattern_new(qtk_toml_get(stage->overrides[i].table, "match"), &c->overrides[i]);
  return rc;
}

/* Whether the stage is for this tensor. An expression may also choose matrices
 * outside the blocks. */
static int choice_is_target(const struct choice *c, const struct qtk_model_tensor *t,
                            const char *name, int *target)
{
  *target = t->linear;
  if (c->targets == NULL)
    return QTK_OK;
  *target = 0;
  return t->ndim == 2 ? qtk_pattern_find(c->targets, name, target) : QTK_OK;
}

/* The number of the method for a linear: 0 for the stage's own. */
static int choice_method(const struct choice *c, const char *name, size_t *method)
{
  *method = 0;
  for (size_t i = 0; i < c->n_overrides; i++) {
    int found = 0;
    int rc = qtk_pattern_find(c->overrides[i], name, &found);
    if (rc != QTK_OK)
      return rc;
    c->found[i] += (size_t)found;
    if (found && *method == 0)
      *method = 1 + i;
  }
  return QTK_OK;
}

static int choice_check_used(const struct qtk_job_stage *stage, const struct choice *c)
{
  for (size_t i = 0; i < c->n_overrides; i++)
    if (c->found[i] == 0)
      return qtk_toml_error(qtk_toml_get(stage->overrides[i].table, "match"),
                            "match = \"%s\": finds no linear of this stage",
                            stage->overrides[i].match);
  return QTK_OK;
}

/* ---- linears ------------------------------------------------------------------------------ */

/* Canonical names without their ".weight". */
char *qtk_plan_name(const struct qtk_model_tensor *t)
{
  char *name = qtk_str_copy(t->name);
  size_t n = name ? strlen(name) : 0;
  if (n > 7 && strcmp(name + n - 7, ".weight") == 0)
    name[n - 7] = '\0';
  return name;
}

/* Who needs statistics gets all rows. */
static int quantize_by_rows(const struct qtk_plan_linear *l)
{
  const struct qtk_plugin *p = &l->method->loaded->plugin;
  return !l->method->watches && (p->flags & QTK_BY_ROWS) != 0 && p->threads == QTK_THREADS_ANY &&
         qtk_qlayout_sliced(&l->layout);
}

/* Asks the plugin whether it can, and in which layout. */
int qtk_plan_describe(struct qtk_plan_linear *l)
{
  const struct qtk_quantizer_ops *ops = &l->method->loaded->ops.quantizer;
  const void *options = l->method->options->values;
  const char *plugin = l->method->loaded->plugin.name;
  int rc = ops->check ? ops->check(options, &l->linear) : QTK_OK;
  l->layout = (struct qtk_qlayout){.rows = l->linear.rows, .cols = l->linear.cols};
  if (rc != QTK_OK || (rc = ops->describe(options, &l->linear, &l->layout)) != QTK_OK)
    return qtk_error_at(rc, "%s: %s", l->name, plugin);
  if (l->layout.rows != l->linear.rows || l->layout.cols != l->linear.cols)
    return qtk_error(QTK_EPLUGIN, "%s: %s changed the shape of the result", l->name, plugin);
  if (l->layout.encoding == QTK_OPAQUE && ops->dequantize == NULL)
    return qtk_error(QTK_EPLUGIN, "%s: %s makes opaque tensors and lacks the slot 'dequantize'",
                     l->name, plugin);
  if ((rc = qtk_qlayout_init(&l->layout)) != QTK_OK)
    return qtk_error_at(rc, "%s: %s", l->name, plugin);
  l->by_rows = quantize_by_rows(l);
  return QTK_OK;
}

static int quantize_add(struct qtk_plan *plan, struct qtk_plan_stage *stage, int tensor,
                        char *name, size_t method)
{
  struct qtk_plan_quantize *q = &stage->quantize;
  const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, tensor);
  struct qtk_plan_linear *l = &q->linears[q->n_linears++];
  *l = (struct qtk_plan_linear){
    .tensor = tensor, .method = &q->methods[method], .name = name, .order = t->order,
    .linear = {.name = name, .role = t->role, .layer = t->layer, .rows = t->rows,
               .cols = t->cols}};
  int open, rc = qtk_plan_budget_linear(q, method, l, &open);
  if (rc == QTK_OK && !open)
    rc = qtk_plan_describe(l);
  if (rc != QTK_OK)
    return rc == QTK_EJOB ? qtk_error_at(rc, "%s:%d", qtk_toml_file(stage->job->table),
                                         qtk_toml_line(stage->job->table))
                          : rc;
  plan->layouts[tensor] = &l->layout;
  q->weights += (uint64_t)t->rows * (uint64_t)t->cols;
  return QTK_OK;
}

static int quantize_consider(struct qtk_plan *plan, struct qtk_plan_stage *stage,
                             const struct choice *c, int tensor)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(plan->model, tensor);
  int target = 0;
  size_t method = 0;
  char *name = qtk_plan_name(t);
  if (name == NULL)
    return QTK_ENOMEM;
  int rc = choice_is_target(c, t, name, &target);
  if (rc == QTK_OK && target)
    rc = choice_method(c, name, &method);
  if (rc != QTK_OK || !target || stage->quantize.methods[method].loaded == NULL) {
    free(name);
    return rc;
  }
  if (plan->redone != NULL && !plan->redone[tensor]) {
    stage->quantize.weights += (uint64_t)t->rows * (uint64_t)t->cols;
    stage->quantize.kept_bytes += qtk_qlayout_bytes(plan->layouts[tensor]);
    free(name);
    return QTK_OK;
  }
  return quantize_add(plan, stage, tensor, name, method);
}

/* ---- order ---------------------------------------------------------------------------------- */

struct quantize_place {
  int tensor, layer, order;
};

/* Block by block, inside a block in calibration order. */
static int quantize_compare(const void *a, const void *b)
{
  const struct quantize_place *x = a, *y = b;
  if (x->layer == y->layer && x->layer >= 0 && x->order != y->order)
    return x->order - y->order;
  return x->tensor - y->tensor;
}

static struct quantize_place *quantize_places(const struct qtk_model *model, size_t n)
{
  struct quantize_place *places = calloc(n, sizeof *places);
  for (size_t i = 0; places != NULL && i < n; i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(model, (int)i);
    places[i] = (struct quantize_place){(int)i, t->layer, t->order};
  }
  if (places != NULL)
    qsort(places, n, sizeof *places, quantize_compare);
  return places;
}

static int quantize_choose(struct qtk_plan *plan, struct qtk_plan_stage *stage,
                           const struct choice *c)
{
  struct qtk_plan_quantize *q = &stage->quantize;
  size_t n = (size_t)qtk_model_count(plan->model);
  struct quantize_place *places = quantize_places(plan->model, n);
  q->linears = calloc(n, sizeof *q->linears);
  int rc = places && q->linears ? QTK_OK : qtk_error_memory(n * sizeof *q->linears, "linears");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = quantize_consider(plan, stage, c, places[i].tensor);
  free(places);
  if (rc != QTK_OK)
    return rc;
  if (q->n_linears > 0)
    return choice_check_used(stage->job, c);
  if (stage->job->targets != NULL)
    return qtk_toml_error(qtk_toml_get(stage->job->table, "targets"),
                          "targets = \"%s\": finds no matrix of the model that is not skipped",
                          stage->job->targets);
  return qtk_toml_error(stage->job->table, "no linear is left to quantize");
}

/* ---- groups ----------------------------------------------------------------------------------- */

void qtk_plan_group_bytes(struct qtk_plan_quantize *q)
{
  for (size_t g = 0; g < q->n_groups; g++) {
    q->groups[g].bytes = 0;
    for (size_t i = 0; i < q->groups[g].n; i++)
      q->groups[g].bytes += qtk_qtensor_block_bytes(&q->linears[q->groups[g].first + i].layout);
  }
}

static int quantize_group(struct qtk_plan_quantize *q)
{
  q->groups = calloc(q->n_linears, sizeof *q->groups);
  if (q->groups == NULL)
    return qtk_error_memory(q->n_linears * sizeof *q->groups, "groups");
  for (size_t i = 0; i < q->n_linears; i++) {
    int layer = q->linears[i].linear.layer;
    if (i == 0 || layer < 0 || layer != q->linears[i - 1].linear.layer)
      q->groups[q->n_groups++].first = i;
    q->groups[q->n_groups - 1].n++;
  }
  qtk_plan_group_bytes(q);
  return QTK_OK;
}

int64_t qtk_plan_slice_rows(const struct qtk_plan_linear *linear)
{
  /* 256 Ki weights: a megabyte of floats, and enough slices for all threads. */
  int64_t rows = (256 << 10) / linear->linear.cols & ~(int64_t)7;
  if (!linear->by_rows || rows > linear->linear.rows)
    return linear->linear.rows;
  return rows < 8 ? 8 : rows;
}

int qtk_plan_quantize(struct qtk_plan *plan, struct qtk_plan_stage *stage)
{
  struct choice choice;
  qtk_plan_redo_layouts(plan);
  int rc = quantize_open_methods(stage);
  if (rc != QTK_OK)
    return rc;
  rc = choice_begin(stage->job, &choice);
  if (rc == QTK_OK)
    rc = quantize_choose(plan, stage, &choice);
  choice_end(&choice);
  if (rc == QTK_OK)
    rc = quantize_group(&stage->quantize);
  if (rc == QTK_OK)
    rc = qtk_plan_budget_fit(plan, stage);
  return rc == QTK_OK ? qtk_plan_calibrate(plan, stage) : rc;
}

void qtk_plan_quantize_end(struct qtk_plan_quantize *q)
{
  for (size_t i = 0; i < q->n_linears; i++)
    free(q->linears[i].name);
  qtk_plan_budget_end(q);
  for (size_t i = 0; i < q->n_methods; i++)
    qtk_plan_method_end(&q->methods[i]);
  free(q->linears);
  free(q->methods);
  free(q->groups);
}
