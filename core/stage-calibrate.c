/* SPDX-License-Identifier: BSD-3-Clause
 * Rounding with statistics: the linears of a block in rounds, each after a run of the
 * windows through what the rounds before have left. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/context.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/stage-quantize.h"

/* ---- begin and end --------------------------------------------------------------------- */

int qtk_calibration_wanted(const struct qtk_plan_quantize *q, size_t group)
{
  const struct qtk_plan_group *g = &q->groups[group];
  for (size_t i = 0; i < g->n; i++)
    if (q->linears[g->first + i].method->watches)
      return 1;
  return 0;
}

void qtk_calibration_begin(struct quantize_calibration *c, struct qtk_work *work, size_t stage)
{
  const struct qtk_plan_quantize *q = &work->plan->stages[stage].quantize;
  *c = (struct quantize_calibration){.work = work, .plan = q};
  for (size_t g = 0; g < q->n_groups; g++)
    if (qtk_calibration_wanted(q, g))
      c->last = g;
}

void qtk_calibration_end(struct quantize_calibration *c)
{
  qtk_calibrator_close(c->calibrator);
  qtk_model_close(c->opened);
  c->calibrator = NULL;
  c->opened = NULL;
}

/* The unquantized model: the one that the job names, or the file that it started from. */
static int calibration_source(struct quantize_calibration *c, struct qtk_model **source)
{
  int rc = QTK_OK;
  *source = c->work->source;
  if (!c->plan->calibrate.cross || *source != NULL)
    return QTK_OK;
  rc = qtk_model_open(c->work->ctx, c->work->plan->job->model, &c->opened);
  *source = c->opened;
  return rc;
}

static int calibration_read(struct quantize_calibration *c, struct qtk_text *text)
{
  const struct qtk_plan_calibrate *plan = &c->plan->calibrate;
  struct qtk_chat_source source = {.name = plan->template};
  struct qtk_chat *chat = NULL;
  int rc = plan->template != NULL ? qtk_chat_open(&source, &chat) : QTK_OK;
  struct qtk_text_recipe recipe = {.rows = QTK_ROWS_EXAMPLES, .join = "\n\n", .chat = chat};
  if (rc == QTK_OK)
    rc = qtk_text_read_as(c->work->ctx, plan->data, c->work->tokenizer,
                          chat != NULL ? &recipe : NULL, text);
  qtk_chat_close(chat);
  return rc;
}

static int calibration_open(struct quantize_calibration *c)
{
  const struct qtk_plan_calibrate *plan = &c->plan->calibrate;
  struct qtk_calibrator_options options = {.samples = plan->samples,
                                           .length = plan->length,
                                           .cross = plan->cross,
                                           .keep = plan->keep};
  struct qtk_model *source;
  struct qtk_text text = {0};
  if (plan->spill && c->work->state != NULL)
    options.spill = qtk_state_dir(c->work->state);
  int rc = calibration_source(c, &source);
  if (rc == QTK_OK)
    rc = calibration_read(c, &text);
  if (rc == QTK_OK && !c->measures)
    rc = qtk_stage_overlaps(c->work, "calibrate", &text);
  if (rc == QTK_OK)
    rc = qtk_calibrator_open(c->work->ctx, c->work->model, source, &text, &options,
                             &c->calibrator);
  qtk_text_free(c->work->ctx, &text);
  return rc;
}

/* ---- what plugins see themselves ----------------------------------------------------------- */

struct calibration_watch {
  struct quantize_block *b;
  size_t linear;
};

static int calibration_observe(void *arg, const struct qtk_tensor *x)
{
  const struct calibration_watch *w = arg;
  const struct qtk_plan_linear *l = quantize_linear(w->b, w->linear);
  const struct qtk_plan_method *m = l->method;
  int rc = m->loaded->ops.quantizer.observe(w->b->work->ctx, m->options->values, &l->linear, x,
                                            &w->b->calibrations[w->linear].state);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s: %s", l->name, m->loaded->plugin.name);
}

/* in NULL: of all. */
static void calibration_forget(struct quantize_block *b, const char *in)
{
  for (size_t i = 0; i < b->group->n; i++) {
    const struct qtk_quantizer_ops *ops = &quantize_linear(b, i)->method->loaded->ops.quantizer;
    if ((in == NULL || in[i]) && b->calibrations[i].state != NULL && ops->forget != NULL)
      ops->forget(b->work->ctx, b->calibrations[i].state);
    b->calibrations[i].state = NULL;
  }
}

/* ---- rounds ------------------------------------------------------------------------------------ */

/* A round at work: arrays of the group's length, the watches those of `n` of them. */
struct calibration_round {
  char *in;
  struct qtk_watch *watches;
  struct calibration_watch *args;
  size_t n;
};

static int calibration_role(const struct quantize_block *b, size_t i)
{
  const struct qtk_arch *arch = qtk_model_arch(b->work->model);
  return (int)qtk_arch_tensor(arch, quantize_linear(b, i)->tensor)->role;
}

static void calibration_watch(struct quantize_block *b, struct calibration_round *r)
{
  r->n = 0;
  for (size_t i = 0; i < b->group->n; i++) {
    const struct qtk_plan_method *m = quantize_linear(b, i)->method;
    if (!r->in[i] || !m->watches)
      continue;
    r->args[r->n] = (struct calibration_watch){b, i};
    r->watches[r->n] = (struct qtk_watch){
        .role = calibration_role(b, i), .needs = m->needs, .arg = &r->args[r->n],
        .observe = m->loaded->ops.quantizer.observe != NULL ? calibration_observe : NULL};
    r->n++;
  }
}

static void calibration_take(struct quantize_calibration *c, struct quantize_block *b,
                             const struct calibration_round *r)
{
  for (size_t k = 0; k < r->n; k++) {
    size_t i = r->args[k].linear;
    struct qtk_calibration found;
    qtk_calibrator_statistics(c->calibrator, r->watches[k].role, &found);
    found.state = b->calibrations[i].state;
    if (!(r->watches[k].needs & QTK_NEEDS_CROSS))
      found.cross = NULL;
    if (r->watches[k].needs == QTK_NEEDS_NOTHING)
      found.gram = NULL;
    b->calibrations[i] = found;
  }
}

static int calibration_round(struct quantize_calibration *c, struct quantize_block *b,
                             struct calibration_round *r)
{
  double start = qtk_seconds();
  int rc = QTK_OK;
  calibration_watch(b, r);
  if (r->n > 0)
    rc = qtk_calibrator_run(c->calibrator, r->watches, r->n);
  c->seconds += qtk_seconds() - start;
  if (rc == QTK_OK) {
    calibration_take(c, b, r);
    rc = qtk_quantize_round(b, r->in);
  }
  calibration_forget(b, r->in);
  return rc;
}

/* What a round has made is what the next run goes through. */
static int calibration_apply(struct quantize_calibration *c, struct quantize_block *b,
                             const char *in)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++) {
    const struct qtk_plan_linear *l = quantize_linear(b, i);
    if (!in[i])
      continue;
    qtk_calibrator_replace(c->calibrator, l->tensor);
    rc = qtk_model_replace(b->work->model, l->tensor, &b->views[i], b->views[i].plugin,
                           l->method->text);
  }
  return rc;
}

/* The lowest order above `order` in the group; -1: none. */
static int calibration_next(const struct quantize_block *b, int order)
{
  int next = -1;
  for (size_t i = 0; i < b->group->n; i++) {
    int o = quantize_linear(b, i)->order;
    if (o > order && (next < 0 || o < next))
      next = o;
  }
  return next;
}

static int calibration_rounds(struct quantize_calibration *c, struct quantize_block *b,
                              struct calibration_round *r)
{
  int rc = QTK_OK;
  if (!c->plan->calibrate.sequential) {
    memset(r->in, 1, b->group->n);
    return calibration_round(c, b, r);
  }
  for (int order = calibration_next(b, -1); order >= 0 && rc == QTK_OK;
       order = calibration_next(b, order)) {
    for (size_t i = 0; i < b->group->n; i++)
      r->in[i] = quantize_linear(b, i)->order == order;
    rc = calibration_round(c, b, r);
    if (rc == QTK_OK)
      rc = calibration_apply(c, b, r->in);
  }
  return rc;
}

/* ---- a block ------------------------------------------------------------------------------------- */

static int calibration_enter(struct quantize_calibration *c, struct quantize_block *b, int changes)
{
  double start = qtk_seconds();
  unsigned changing = 0;
  int rc = c->calibrator == NULL ? calibration_open(c) : QTK_OK;
  for (size_t i = 0; changes && i < b->group->n; i++)
    changing |= 1u << calibration_role(b, i);
  if (rc == QTK_OK)
    rc = qtk_calibrator_enter(c->calibrator, quantize_linear(b, 0)->linear.layer, changing);
  c->seconds += qtk_seconds() - start;
  return rc;
}

static int calibration_room(size_t n, struct calibration_round *r)
{
  *r = (struct calibration_round){.in = calloc(n, sizeof *r->in),
                                  .watches = calloc(n, sizeof *r->watches),
                                  .args = calloc(n, sizeof *r->args)};
  return r->in && r->watches && r->args ? QTK_OK
                                        : qtk_error_memory(n * sizeof *r->args, "a round");
}

static void calibration_room_end(struct calibration_round *r)
{
  free(r->in);
  free(r->watches);
  free(r->args);
}

int qtk_calibration_quantize(struct quantize_calibration *c, struct quantize_block *b)
{
  struct calibration_round r;
  int rc = calibration_room(b->group->n, &r);
  if (rc == QTK_OK)
    rc = calibration_enter(c, b, 1);
  if (rc == QTK_OK)
    rc = calibration_rounds(c, b, &r);
  calibration_room_end(&r);
  return rc;
}

int qtk_calibration_look(struct quantize_calibration *c, struct quantize_block *b)
{
  struct calibration_round r;
  int rc = calibration_room(b->group->n, &r);
  if (rc == QTK_OK)
    rc = calibration_enter(c, b, 0);
  for (size_t i = 0; i < b->group->n && rc == QTK_OK; i++)
    r.in[i] = quantize_linear(b, i)->candidates != NULL;
  if (rc == QTK_OK) {
    calibration_watch(b, &r);
    rc = qtk_calibrator_run(c->calibrator, r.watches, r.n);
  }
  if (rc == QTK_OK)
    calibration_take(c, b, &r);
  calibration_room_end(&r);
  return rc;
}

void qtk_calibration_forget(struct quantize_block *b)
{
  calibration_forget(b, NULL);
}

void qtk_calibration_done(struct quantize_calibration *c, size_t group)
{
  const struct qtk_plan_group *g = &c->plan->groups[group];
  if (c->calibrator == NULL)
    return;
  for (size_t i = 0; i < g->n; i++)
    qtk_calibrator_replace(c->calibrator, c->plan->linears[g->first + i].tensor);
  if (group >= c->last)
    qtk_calibration_end(c);
}

int qtk_calibration_report(const struct quantize_calibration *c, json_t *entry)
{
  const struct qtk_plan_calibrate *plan = &c->plan->calibrate;
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  if (!plan->wanted)
    return QTK_OK;
  int rc = qtk_digest_file(plan->data, digest);
  if (rc != QTK_OK)
    return rc;
  qtk_digest_hex(digest, hex);
  struct qtk_report_calibration r = {.data = qtk_path_base(plan->data),
                                     .sha256 = hex,
                                     .samples = plan->samples,
                                     .length = plan->length,
                                     .sequential = plan->sequential,
                                     .seconds = c->seconds};
  return qtk_report_calibration(entry, &r);
}
