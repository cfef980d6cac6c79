/* SPDX-License-Identifier: BSD-3-Clause
 * Adds up what a job will need: memory at its worst moment, disk, the bundle. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/bundle.h"
#include "core/context.h"
#include "core/error.h"
#include "core/eval-logits.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/plan-stage.h"

/* ---- the bundle -------------------------------------------------------------------- */

static void sizes_linears(const struct qtk_plan_quantize *q, int i, struct qtk_stored *t)
{
  for (size_t k = 0; k < q->n_linears; k++)
    if (q->linears[k].tensor == i) {
      t->plugin = q->linears[k].method->loaded->plugin.name;
      t->options = q->linears[k].method->text;
    }
}

/* Floats that were merged are nobody's. */
static void sizes_folds(const struct qtk_plan_merge *m, int i, struct qtk_stored *t)
{
  for (size_t k = 0; k < m->n_folds; k++)
    if (m->folds[k].tensor == i && m->folds[k].kind == QTK_FOLD_ROWS)
      t->plugin = t->options = NULL;
}

/* The last stage that makes it, or whoever did before the job. */
void qtk_plan_maker(const struct qtk_plan *plan, size_t stage, int i, struct qtk_stored *t)
{
  t->plugin = qtk_model_maker(plan->model, i, &t->options);
  for (size_t k = 0; k < plan->n_kept; k++)
    if (plan->kept[k].tensor == i)
      t->plugin = qtk_model_maker(plan->base, plan->kept[k].base, &t->options);
  for (size_t s = 0; s < stage; s++) {
    sizes_linears(&plan->stages[s].quantize, i, t);
    sizes_folds(&plan->stages[s].merge, i, t);
  }
}

static int sizes_tensor(const struct qtk_plan *plan, int i, struct qtk_stored *t)
{
  const struct qtk_model_tensor *m = qtk_model_tensor(plan->model, i);
  t->name = m->name;
  t->ndim = m->ndim;
  t->shape[0] = m->rows;
  if (m->ndim > 1)
    t->shape[1] = m->cols;
  qtk_plan_maker(plan, plan->n_stages, i, t);
  t->view.layout = *plan->layouts[i];
  if (t->view.layout.encoding != QTK_OPAQUE || t->plugin != NULL)
    return QTK_OK;
  t->view.layout = (struct qtk_qlayout){
    .encoding = QTK_DENSE, .dtype = QTK_F16, .rows = m->rows, .cols = m->cols};
  return qtk_qlayout_init(&t->view.layout);
}

int qtk_plan_tensors(const struct qtk_plan *plan, struct qtk_stored **tensors)
{
  int n = qtk_model_count(plan->model), rc = QTK_OK;
  struct qtk_stored *list = calloc((size_t)n + 1, sizeof *list);
  if (list == NULL)
    return qtk_error_memory((size_t)n * sizeof *list, "a list of tensors");
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = sizes_tensor(plan, i, &list[i]);
  if (rc != QTK_OK)
    free(list);
  else
    *tensors = list;
  return rc;
}

/* Of the texts only the results are not known yet: a line of numbers a layer, or so. */
static uint64_t sizes_texts(const struct qtk_plan *plan)
{
  const char *tokenizer = qtk_model_tokenizer(plan->model);
  uint64_t bytes = 8192 + strlen(qtk_arch_text(qtk_model_arch(plan->model)));
  for (size_t s = 0; s < plan->n_stages; s++)
    bytes += 200 * plan->stages[s].quantize.n_linears + 1024;
  return bytes + (tokenizer ? strlen(tokenizer) : 0);
}

/* What a stage's linears, taken as large as they can be, have too much for its budget. */
static uint64_t sizes_over_budget(const struct qtk_plan *plan)
{
  uint64_t over = 0;
  for (size_t s = 0; s < plan->n_stages; s++) {
    const struct qtk_plan_quantize *q = &plan->stages[s].quantize;
    uint64_t most = 0;
    for (size_t i = 0; i < q->n_linears; i++)
      if (q->linears[i].candidates != NULL && plan->layouts[q->linears[i].tensor] ==
                                                  &q->linears[i].layout)
        most += qtk_qlayout_bytes(&q->linears[i].layout);
    over += most > q->budget.bytes ? most - q->budget.bytes : 0;
  }
  return over;
}

/* Of adapters that lie on the model at the end: values, and a line of the manifest each. */
static uint64_t sizes_adapters(const struct qtk_plan *plan)
{
  const struct qtk_tuned *t;
  uint64_t bytes = 0;
  if (plan->n_adapters == 0)
    return 0;
  for (int i = 0; (t = qtk_model_tuned(plan->model, i)) != NULL; i++)
    bytes += qtk_tuned_bytes(t) + 128 * (uint64_t)t->n_params + (t->note ? strlen(t->note) : 0);
  for (size_t s = 0; s < plan->n_stages; s++)
    bytes += plan->stages[s].adapt.sizes[0].disk + plan->stages[s].adapt.sizes[0].disk / 16;
  return bytes;
}

static int sizes_bundle(const struct qtk_plan *plan, uint64_t *bytes)
{
  struct qtk_stored *tensors;
  int rc = qtk_plan_tensors(plan, &tensors);
  if (rc != QTK_OK)
    return rc;
  struct qtk_bundle_contents contents = {
    .kind = "model", .tensors = tensors, .n_tensors = qtk_model_count(plan->model)};
  rc = qtk_bundle_size(&contents, bytes);
  *bytes += sizes_texts(plan) + sizes_adapters(plan) - sizes_over_budget(plan);
  free(tensors);
  return rc;
}

static int sizes_base(struct qtk_plan *plan)
{
  struct qtk_plan base;
  int rc = qtk_plan_base(plan, &base);
  if (rc == QTK_OK)
    rc = sizes_bundle(&base, &plan->base_bytes);
  qtk_plan_base_end(&base);
  return rc;
}

/* ---- disk --------------------------------------------------------------------------------- */

/* What of a fold is kept: the tensor, or its scales and minima. */
static uint64_t sizes_fold(const struct qtk_plan_fold *f)
{
  int minima = f->layout.encoding == QTK_AFFINE && f->layout.zero == QTK_ZERO_MIN;
  if (f->kind != QTK_FOLD_SCALES)
    return qtk_qlayout_bytes(&f->layout);
  return f->layout.scale_bytes + (minima ? f->layout.zero_bytes : 0);
}

/* Tokens of a set of data; if it was not read, those that steps can take. */
static int64_t sizes_tokens(const struct qtk_plan_adapt *a, const struct qtk_dataset *d)
{
  const struct qtk_job_training *t = &a->training;
  int64_t steps = t->steps * t->batch * t->length;
  if (d->name == NULL)
    return d == &a->data_read ? steps : 0;
  return d != &a->data_read || t->steps == 0 || steps > d->count.tokens ? d->count.tokens : steps;
}

/* What a teacher says before the training. */
static uint64_t sizes_lessons(const struct qtk_plan_adapt *a)
{
  int64_t tokens = sizes_tokens(a, &a->data_read) + sizes_tokens(a, &a->validation_read);
  return (uint64_t)tokens * qtk_lesson_bytes(a->training.teacher_top);
}

/* Values, moments and the best values; then the finished adapter. */
static uint64_t sizes_checkpoint(const struct qtk_plan_adapt *a)
{
  int best = a->method.loaded != NULL && strcmp(a->training.keep, "best") == 0;
  return (1 + (uint64_t)best) * sizeof(float) * a->sizes[0].trainable + a->sizes[0].moments +
         a->sizes[0].disk;
}

static uint64_t sizes_state(const struct qtk_plan *plan)
{
  uint64_t bytes = 0;
  for (size_t s = 0; s < plan->n_stages; s++) {
    const struct qtk_plan_quantize *q = &plan->stages[s].quantize;
    bytes += 4096 + q->calibrate.disk + sizes_checkpoint(&plan->stages[s].adapt) +
             plan->stages[s].adapt.lessons;
    for (size_t g = 0; g < q->n_groups; g++)
      bytes += q->groups[g].bytes + 4096;
    for (size_t k = 0; k < plan->stages[s].merge.n_folds; k++)
      bytes += sizes_fold(&plan->stages[s].merge.folds[k]) + 4096;
  }
  return bytes;
}

/* What an export will take, where it will lie. */
static int sizes_exports(struct qtk_plan *plan)
{
  char want[QTK_SIZE_TEXT], have[QTK_SIZE_TEXT];
  uint64_t room;
  for (size_t s = 0; s < plan->n_stages; s++) {
    const struct qtk_plan_stage *stage = &plan->stages[s];
    uint64_t bytes = stage->export ? stage->export->bytes : 0;
    bytes += stage->foreign ? stage->foreign->bytes : 0;
    plan->disk += bytes;
    const char *path = stage->job->path;
    if (path && qtk_disk_free(path, &room) == QTK_OK && room < bytes)
      return qtk_error(QTK_EINPUT, "%s: the disk is too full: %s are needed, %s are free", path,
                       qtk_size_text(bytes, want), qtk_size_text(room, have));
  }
  return QTK_OK;
}

static int sizes_disk(struct qtk_plan *plan)
{
  const char *path = plan->job->bundle ? plan->job->bundle : plan->job->file;
  uint64_t room;
  char want[QTK_SIZE_TEXT], have[QTK_SIZE_TEXT];
  plan->disk = sizes_state(plan) + plan->bundle_bytes + plan->base_bytes;
  plan->disk += plan->job->adapter != NULL ? sizes_adapters(plan) : 0;
  if (qtk_disk_free(path, &room) != QTK_OK || room >= plan->disk)
    return sizes_exports(plan);
  return qtk_error(QTK_EINPUT, "%s: the disk is too full: %s are needed, %s are free", path,
                   qtk_size_text(plan->disk, want), qtk_size_text(room, have));
}

/* ---- memory --------------------------------------------------------------------------------- */

/* What a stage takes where there is room, and what it can do with. */
struct sizes_need {
  uint64_t usual, least;
};

/* Bytes that the weights take: each block's, the widest; the largest tensor; all. */
struct sizes_weights {
  uint64_t block, tensor, all;
};

static struct sizes_weights sizes_weights(const struct qtk_model *model)
{
  struct sizes_weights w = {0};
  uint64_t block = 0;
  int layer = -1;
  for (int i = 0; i < qtk_model_count(model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
    uint64_t bytes = qtk_qlayout_bytes(&t->layout);
    block = t->layer == layer ? block + bytes : bytes;
    layer = t->layer;
    w.block = layer >= 0 && block > w.block ? block : w.block;
    w.tensor = bytes > w.tensor ? bytes : w.tensor;
    w.all += bytes;
  }
  return w;
}

/* Every tensor is hashed before the work, and written behind it. */
static struct sizes_need sizes_files(const struct qtk_plan *plan)
{
  uint64_t bytes = sizes_weights(plan->model).tensor;
  return (struct sizes_need){bytes, bytes};
}

/* A slice of floats, before and after, for each thread, and what the plugin says that it
 * takes itself; with statistics that is counted beside them. */
static uint64_t sizes_slices(const struct qtk_plan_linear *l, int threads)
{
  const struct qtk_plan_method *method = l->method;
  struct qtk_linear slice = l->linear;
  uint64_t own = 0;
  slice.rows = qtk_plan_slice_rows(l);
  if (method->loaded->ops.quantizer.memory != NULL && !method->watches)
    own = method->loaded->ops.quantizer.memory(method->options->values, &slice);
  own += 2 * sizeof(float) * (uint64_t)slice.rows * (uint64_t)slice.cols;
  return own * (l->by_rows ? (uint64_t)threads : 1);
}

/* The slices at work; the group's result; and the pages of the file that they are read
 * from. */
static struct sizes_need sizes_quantize(const struct qtk_plan *plan, int threads,
                                        const struct qtk_plan_quantize *q)
{
  uint64_t scratch = 0, group = 0;
  for (size_t i = 0; i < q->n_linears; i++) {
    const struct qtk_plan_linear *l = &q->linears[i];
    uint64_t bytes = sizes_slices(l, threads);
    scratch = bytes > scratch ? bytes : scratch;
    /* Whole, as it is and as it is worked on, and the result: while it is measured. */
    uint64_t whole = 4 * (uint64_t)l->linear.rows * (uint64_t)l->linear.cols;
    if (l->candidates != NULL)
      whole = 3 * whole + qtk_qtensor_block_bytes(&l->layout);
    scratch = l->candidates != NULL && whole > scratch ? whole : scratch;
  }
  for (size_t i = 0; i < q->n_groups; i++)
    group = q->groups[i].bytes > group ? q->groups[i].bytes : group;
  if (q->n_linears > 0)
    group += sizes_weights(plan->model).block;
  return (struct sizes_need){scratch + group, scratch + group};
}

/* A model over that many tokens: hidden states, heads and the wide layer; logits by chunks. */
static struct sizes_need sizes_run(const struct qtk_model *model, int64_t tokens)
{
  const struct qtk_model_info *info = qtk_model_info(model);
  const struct qtk_dims *d = &info->dims;
  struct sizes_weights w = sizes_weights(model);
  uint64_t token = (uint64_t)(4 * d->hidden + 2 * d->head_size * (d->heads + d->kv_heads) +
                              3 * d->ffn);
  uint64_t bytes = 4 * (token * (uint64_t)tokens + 2 * 64 * (uint64_t)info->vocabulary);
  return (struct sizes_need){w.all + bytes, w.block + w.tensor + bytes};
}

static struct sizes_need sizes_text(const struct qtk_plan *plan, const struct qtk_plan_text *text)
{
  return text->wanted ? sizes_run(plan->model, text->context) : (struct sizes_need){0};
}

static void sizes_more(struct sizes_need *most, struct sizes_need need)
{
  most->usual = need.usual > most->usual ? need.usual : most->usual;
  most->least = need.least > most->least ? need.least : most->least;
}

static struct sizes_need sizes_export(const struct qtk_export_plan *plan)
{
  uint64_t bytes = plan != NULL ? qtk_export_memory(plan) : 0;
  return (struct sizes_need){bytes, bytes};
}

/* Weights are streamed if all of them do not fit. */
static struct sizes_need sizes_evaluate(const struct qtk_plan_stage *stage)
{
  return (struct sizes_need){qtk_plan_run_bytes(&stage->run[0]),
                             qtk_plan_run_bytes(&stage->run[1])};
}

/* Statistics are made in the way that fits; `room` is what a limit leaves. */
static int sizes_calibrate(struct qtk_plan *plan, struct qtk_plan_quantize *q, uint64_t room,
                           struct sizes_need *need)
{
  *need = (struct sizes_need){0};
  if (!q->calibrate.wanted)
    return QTK_OK;
  struct sizes_weights w = sizes_weights(plan->model);
  int rc = qtk_plan_calibrate_fit(plan, q, w.block, room);
  uint64_t outside = q->calibrate.memory - w.block + w.tensor; /* while tokens are looked up */
  need->usual = outside > q->calibrate.memory ? outside : q->calibrate.memory;
  need->least = q->calibrate.memory;
  return rc;
}

/* What is at hand of a teacher that runs before: a unit while it is made, a pass's later. */
static void sizes_said(struct qtk_plan_adapt *a)
{
  if (!a->cached)
    return;
  uint64_t sequence = (uint64_t)(a->longest / a->training.micro_batch) *
                      qtk_lesson_bytes(a->training.teacher_top);
  uint64_t unit = sequence > QTK_LESSON_UNIT ? sequence : QTK_LESSON_UNIT;
  a->lessons = sizes_lessons(a);
  a->unit = a->lessons < unit ? a->lessons : unit;
  a->page = (uint64_t)a->training.micro_batch * sequence;
}

/* Activations are made again, block by block, if that is asked for, or if all of them do not
 * fit; the teacher's weights are held a block at a time before that. Its own stay: sites show
 * their base's integers. A teacher that runs before is not there any more. */
static struct sizes_need sizes_adapt(struct qtk_plan_adapt *a, uint64_t room)
{
  const struct qtk_job_training *t = &a->training;
  if (a->method.loaded == NULL)
    return (struct sizes_need){0};
  sizes_said(a);
  uint64_t least = qtk_plan_adapt_bytes(a, 0, 1);
  a->checkpoint = strcmp(t->checkpoint, "auto") == 0 ? least > room
                                                     : strcmp(t->checkpoint, "block") == 0;
  uint64_t whole = a->cached ? qtk_plan_adapt_before(a, 0) : qtk_plan_adapt_bytes(a, a->checkpoint, 0);
  a->stream = a->taught && whole > room;
  uint64_t need = qtk_plan_adapt_bytes(a, a->checkpoint, a->stream);
  uint64_t before = qtk_plan_adapt_before(a, a->stream);
  if (need < before)
    need = before;
  return (struct sizes_need){need, need};
}

/* The model over the probe, whose logits are kept; or beside the weights a tensor that is
 * folded: as floats, as what comes of it, and as the adapter works on it. */
static struct sizes_need sizes_merge(const struct qtk_plan *plan, const struct qtk_plan_merge *m)
{
  int64_t vocabulary = qtk_model_info(plan->model)->vocabulary;
  struct qtk_plan_text probe = {.wanted = m->n_folds > 0, .context = m->probe_context};
  struct sizes_need need = sizes_text(plan, &probe);
  uint64_t fold = 0, logits;
  for (size_t i = 0; i < m->n_folds; i++) {
    const struct qtk_qlayout *l = &m->folds[i].layout;
    uint64_t floats = m->folds[i].kind == QTK_FOLD_SCALES ? (uint64_t)(l->rows * l->groups)
                                                          : (uint64_t)(l->rows * l->cols);
    uint64_t bytes = 3 * sizeof(float) * floats + sizes_fold(&m->folds[i]);
    fold = bytes > fold ? bytes : fold;
  }
  if (m->n_folds == 0)
    return need;
  logits = sizeof(float) * (uint64_t)(vocabulary * (qtk_logits_rows(m->probe_context, vocabulary) +
                                                    QTK_LOGIT_CHUNK));
  need.usual += m->sizes.parameters + (fold > logits ? fold : logits);
  return (struct sizes_need){need.usual, need.usual};
}

#define SIZES_REST (UINT64_C(3) << 20) /* code that was not called yet, and what is too small to count */

static int sizes_memory(struct qtk_context *ctx, struct qtk_plan *plan)
{
  struct sizes_need most = sizes_files(plan), need;
  uint64_t here = qtk_rss() + SIZES_REST, most_allowed = plan->job->memory_limit;
  uint64_t room = most_allowed > here ? most_allowed - here : 0;
  char want[QTK_SIZE_TEXT], limit[QTK_SIZE_TEXT];
  int rc = QTK_OK;
  for (size_t s = 0; s < plan->n_stages && rc == QTK_OK; s++) {
    struct qtk_plan_stage *stage = &plan->stages[s];
    rc = sizes_calibrate(plan, &stage->quantize, most_allowed == 0 ? UINT64_MAX : room, &need);
    sizes_more(&most, need);
    sizes_more(&most, sizes_quantize(plan, qtk_workers_count(ctx->workers), &stage->quantize));
    sizes_more(&most, sizes_export(stage->export));
    sizes_more(&most, sizes_merge(plan, &stage->merge));
    sizes_more(&most, sizes_adapt(&stage->adapt, most_allowed == 0 ? UINT64_MAX : room));
    sizes_more(&most, sizes_evaluate(stage));
  }
  plan->memory = most.usual + here;
  if (rc != QTK_OK || most_allowed == 0 || plan->memory <= most_allowed)
    return rc;
  plan->memory = most_allowed;
  if (most.least + here <= most_allowed)
    return QTK_OK;
  return qtk_error(QTK_ENOMEM, "memory_limit = %s: this job needs about %s at least",
                   qtk_size_text(most_allowed, limit), qtk_size_text(most.least + here, want));
}

int qtk_plan_sizes(struct qtk_context *ctx, struct qtk_plan *plan)
{
  int rc = plan->job->bundle ? sizes_bundle(plan, &plan->bundle_bytes) : QTK_OK;
  if (rc == QTK_OK && plan->job->base != NULL)
    rc = sizes_base(plan);
  if (rc == QTK_OK)
    rc = sizes_memory(ctx, plan);
  return rc == QTK_OK ? sizes_disk(plan) : rc;
}
