/* SPDX-License-Identifier: BSD-3-Clause
 * What an evaluate stage takes: the model over the tokens of each of its measures, with the adapters
 * that lie on it, and with each of those that are measured as well. */
#include <stdlib.h>

#include "core/context.h"
#include "core/error.h"
#include "core/eval-choices.h"
#include "core/fs.h"
#include "core/plan-stage.h"

/* A measure of the stage. */
struct run_measure {
  int wanted;
  int64_t tokens; /* of a pass */
  int64_t cached; /* tokens whose keys and values are kept */
  int compares;   /* with another model, which stays open behind it */
  int labels;     /* scores in the place of logits */
  uint64_t text, data; /* bytes of what is read */
};

struct run_plan {
  struct qtk_context *ctx;
  const struct qtk_plan *plan;
  const struct qtk_plan_stage *stage;
  struct qtk_attached *adapters; /* those of the plan, and one of the stage's */
  int n;
  int stream;
  struct qtk_engine_sizes teacher; /* of that which a measure before has opened */
};

/* ---- what stays ------------------------------------------------------------------------------ */

uint64_t qtk_plan_scratch(const struct qtk_plan *plan, const struct qtk_plan_stage *stage)
{
  uint64_t most = 0;
  for (const struct qtk_plan_stage *s = plan->stages; s < stage; s++) {
    const uint64_t all[] = {s->run[0].scratch, s->adapt.sizes[0].scratch,
                            s->adapt.sizes[1].scratch, s->adapt.teacher[0].scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      most = all[i] > most ? all[i] : most;
  }
  return most;
}

/* ---- measures --------------------------------------------------------------------------- */

static struct run_measure run_text(const struct qtk_plan_text *t)
{
  struct run_measure m = {.wanted = t->wanted, .tokens = t->context};
  if (t->wanted && qtk_path_size(t->data, &m.text) != QTK_OK)
    m.text = 0;
  return m;
}

/* The tokens that are run at a time, beside the cache of the longest prompt; a token is taken for
 * 3 bytes, fewer than most are. */
static struct run_measure run_choices(const struct qtk_plan_choices *choices)
{
  uint64_t longest, all;
  if (choices->suite == NULL || qtk_suite_measure(choices->suite, &longest, &all) != QTK_OK)
    return (struct run_measure){0};
  int64_t tokens = (int64_t)(longest / 3 + 8);
  if (choices->context > 0 && tokens > choices->context)
    tokens = choices->context;
  return (struct run_measure){.wanted = 1,
                              .tokens = tokens < QTK_CHOICES_CHUNK ? tokens : QTK_CHOICES_CHUNK,
                              .cached = tokens};
}

static struct run_measure run_labels(const struct qtk_plan_labels *l)
{
  if (l->recipe.path == NULL)
    return (struct run_measure){0};
  return (struct run_measure){.wanted = 1,
                              .tokens = l->longest > 0 ? l->longest : l->recipe.length,
                              .labels = 1,
                              .data = l->bytes};
}

/* ---- what they take ------------------------------------------------------------------------ */

static int run_engine(const struct run_plan *r, struct qtk_model *model, int64_t tokens,
                      struct qtk_engine_sizes *sizes)
{
  int own = model == r->plan->model && r->n >= 0;
  const struct qtk_engine_case c = {.model = model,
                                    .layouts = own ? r->plan->layouts : NULL,
                                    .adapters = r->adapters,
                                    .n_adapters = own ? r->n : 0,
                                    .tokens = tokens,
                                    .look = 1,
                                    .stream = r->stream,
                                    .backend = r->plan->ops,
                                    .threads = qtk_workers_count(r->ctx->workers)};
  return qtk_engine_measure(r->ctx, &c, sizes);
}

/* The model that the job names, or the file that it started from. */
static int run_teacher(struct run_plan *r, const struct run_measure *m)
{
  struct run_plan alone = *r;
  alone.n = -1;
  return run_engine(&alone, r->plan->source != NULL ? r->plan->source : r->plan->model, m->tokens,
                    &r->teacher);
}

static uint64_t run_cache(const struct qtk_plan *plan, int64_t tokens)
{
  const struct qtk_model_info *info = qtk_model_info(plan->model);
  return 2 * sizeof(float) * (uint64_t)(tokens * info->layers * info->dims.kv_heads *
                                        info->dims.head_size);
}

static int run_measure(struct run_plan *r, const struct run_measure *m, struct qtk_plan_run *run)
{
  uint64_t before = qtk_plan_scratch(r->plan, r->stage);
  uint64_t row = sizeof(float) * (uint64_t)qtk_model_info(r->plan->model)->vocabulary;
  struct qtk_engine_sizes s;
  int rc = m->compares ? run_teacher(r, m) : QTK_OK;
  if (rc == QTK_OK)
    rc = run_engine(r, r->plan->model, m->tokens, &s);
  if (rc != QTK_OK)
    return rc;
  *run = (struct qtk_plan_run){
    .weights = s.weights + r->teacher.weights,
    .parameters = s.parameters,
    .adapter = s.adapters,
    .activations = s.activations + (m->compares ? r->teacher.activations : 0),
    .cache = m->cached > 0 ? run_cache(r->plan, m->cached) : 0,
    .logits = m->labels ? 0 : (uint64_t)(QTK_LOGIT_CHUNK * (1 + m->compares)) * row,
    .scratch = s.scratch > r->teacher.scratch ? s.scratch : r->teacher.scratch,
    .text = m->text,
    .data = m->data};
  run->scratch = before > run->scratch ? before : run->scratch;
  return QTK_OK;
}

static void run_more(struct qtk_plan_run *most, const struct qtk_plan_run *run)
{
  if (qtk_plan_run_bytes(run) > qtk_plan_run_bytes(most))
    *most = *run;
}

/* All measures in their order, with the stage's adapter number `extra`, or with none (-1). */
static int run_measures(struct run_plan *r, int extra, struct qtk_plan_run *most)
{
  struct run_measure all[] = {run_text(&r->stage->perplexity), run_text(&r->stage->divergence),
                              run_choices(&r->stage->choices), run_labels(&r->stage->labels)};
  struct qtk_plan_run run;
  int rc = QTK_OK;
  all[1].compares = 1;
  r->n = r->plan->n_adapters;
  if (extra >= 0) {
    r->adapters[r->n] = qtk_attached_of(r->stage->adapters[extra]);
    r->adapters[r->n++].tuned = NULL; /* a plan needs no values */
  }
  *most = (struct qtk_plan_run){0};
  for (size_t i = 0; i < sizeof all / sizeof *all && rc == QTK_OK; i++)
    if (all[i].wanted && (rc = run_measure(r, &all[i], &run)) == QTK_OK)
      run_more(most, &run);
  return rc;
}

/* Values of all are held, whichever takes part. What does not fit this model is left to the stage,
 * which says what it is bound to. */
static int run_stage(struct run_plan *r, struct qtk_plan_run *most)
{
  struct qtk_plan_run with;
  int rc = run_measures(r, -1, most);
  uint64_t alone = most->parameters, values = alone;
  for (int k = 0; k < (int)r->stage->n_adapters && rc == QTK_OK; k++) {
    rc = run_measures(r, k, &with);
    if (rc == QTK_EJOB || rc == QTK_EINPUT) {
      rc = QTK_OK;
      continue;
    }
    values += with.parameters - alone;
    with.parameters = most->parameters = 0;
    run_more(most, &with);
  }
  most->parameters = values;
  return rc;
}

int qtk_plan_run(struct qtk_context *ctx, const struct qtk_plan *plan,
                 struct qtk_plan_stage *stage)
{
  struct run_plan r = {.ctx = ctx, .plan = plan, .stage = stage};
  size_t n = (size_t)plan->n_adapters;
  int rc = QTK_OK;
  r.adapters = calloc(n + 1, sizeof *r.adapters);
  if (r.adapters == NULL)
    return qtk_error_memory((n + 1) * sizeof *r.adapters, "adapters");
  for (size_t i = 0; i < n; i++)
    r.adapters[i] = plan->adapters[i];
  for (r.stream = 0; r.stream < 2 && rc == QTK_OK; r.stream++) {
    r.teacher = (struct qtk_engine_sizes){0};
    rc = run_stage(&r, &stage->run[r.stream]);
  }
  free(r.adapters);
  return rc;
}

/* ---- what is said of it -------------------------------------------------------------------- */

#define RUN_KINDS 9

struct run_kind {
  const char *name;
  uint64_t bytes;
};

static void run_kinds(const struct qtk_plan_run *r, struct run_kind kinds[RUN_KINDS])
{
  const struct run_kind all[RUN_KINDS] = {
    {"weights", r->weights},         {"parameters", r->parameters}, {"adapter", r->adapter},
    {"activations", r->activations}, {"cache", r->cache},           {"logits", r->logits},
    {"scratch", r->scratch},         {"text", r->text},             {"data", r->data}};
  for (int i = 0; i < RUN_KINDS; i++)
    kinds[i] = all[i];
}

uint64_t qtk_plan_run_bytes(const struct qtk_plan_run *r)
{
  struct run_kind kinds[RUN_KINDS];
  uint64_t bytes = 0;
  run_kinds(r, kinds);
  for (int i = 0; i < RUN_KINDS; i++)
    bytes += kinds[i].bytes;
  return bytes;
}

int qtk_plan_run_json(const struct qtk_plan *plan, size_t stage, json_t *object)
{
  struct run_kind kinds[RUN_KINDS];
  int rc = QTK_OK;
  if (plan->stages[stage].job->kind != QTK_JOB_EVALUATE)
    return rc;
  json_t *memory = json_object();
  run_kinds(&plan->stages[stage].run[0], kinds);
  for (int i = 0; i < RUN_KINDS && rc == QTK_OK; i++)
    if (kinds[i].bytes > 0)
      rc = qtk_json_set(memory, kinds[i].name, json_integer((json_int_t)kinds[i].bytes));
  if (rc == QTK_OK)
    return qtk_json_set(object, "memory_bytes", memory);
  json_decref(memory);
  return rc;
}
