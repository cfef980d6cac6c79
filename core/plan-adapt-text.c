/* SPDX-License-Identifier: BSD-3-Clause
 * What is said of an adapt stage before the work. */
#include <string.h>

#include "core/error.h"
#include "core/plan-stage.h"

#define TEXT_KINDS 11

struct text_kind {
  const char *name;
  uint64_t bytes;
};

/* Of passes of two models, one after the other. */
static uint64_t text_scratch(const struct qtk_engine_sizes *a, const struct qtk_engine_sizes *b)
{
  return a->scratch > b->scratch ? a->scratch : b->scratch;
}

/* What memory is for, by the names under which the report of the run counts it. */
static void text_kinds(const struct qtk_plan_adapt *a, int checkpoint, int stream,
                       struct text_kind kinds[TEXT_KINDS])
{
  const struct qtk_engine_sizes *s = &a->sizes[checkpoint], *t = &a->teacher[stream];
  int beside = a->taught && !a->cached;
  const struct text_kind all[TEXT_KINDS] = {
    {"weights", s->weights},         {"parameters", s->parameters},
    {"gradients", s->gradients},     {"optimizer", s->optimizer},
    {"adapter", s->adapters},        {"activations", s->activations},
    {"logits", s->logits},           {"scratch", text_scratch(s, beside ? t : s)},
    {"teacher", a->cached ? a->page : beside ? t->weights + t->activations : 0}, {"best", a->best},
    {"data", a->text}};
  memcpy(kinds, all, sizeof all);
}

/* The same while a teacher runs before the training. */
static void text_before(const struct qtk_plan_adapt *a, int stream,
                        struct text_kind kinds[TEXT_KINDS])
{
  const struct qtk_engine_sizes *t = &a->teacher[stream];
  const struct text_kind all[TEXT_KINDS] = {
    {"teacher", t->weights + t->activations + t->logits + a->unit},
    {"scratch", t->scratch},
    {"data", a->text}};
  memcpy(kinds, all, sizeof all);
}

/* The same while the adapter starts from what linears read: beside the widest one's sums what is
 * made of them, and some rows of it. */
static void text_start(const struct qtk_plan_adapt *a, struct text_kind kinds[TEXT_KINDS])
{
  const struct text_kind all[TEXT_KINDS] = {
    {"weights", a->sizes[1].weights}, {"parameters", a->sizes[1].parameters},
    {"teacher", a->teacher[1].weights}, {"activations", a->seen},
    {"statistics", a->sums},          {"scratch", a->sizes[1].scratch + a->sums + a->sums / 2},
    {"data", a->text}};
  memcpy(kinds, all, sizeof all);
}

static uint64_t text_sum(const struct text_kind kinds[TEXT_KINDS])
{
  uint64_t bytes = 0;
  for (int i = 0; i < TEXT_KINDS; i++)
    bytes += kinds[i].bytes;
  return bytes;
}

/* At the worst moment before the training; as it is, if there is nothing before. */
static void text_earlier(const struct qtk_plan_adapt *a, int stream,
                         struct text_kind kinds[TEXT_KINDS])
{
  struct text_kind start[TEXT_KINDS];
  if (a->cached)
    text_before(a, stream, kinds);
  text_start(a, start);
  if (a->inputs && (!a->cached || text_sum(start) > text_sum(kinds)))
    memcpy(kinds, start, sizeof start);
}

uint64_t qtk_plan_adapt_bytes(const struct qtk_plan_adapt *a, int checkpoint, int stream)
{
  struct text_kind kinds[TEXT_KINDS];
  text_kinds(a, checkpoint, stream, kinds);
  return text_sum(kinds);
}

uint64_t qtk_plan_adapt_before(const struct qtk_plan_adapt *a, int stream)
{
  struct text_kind kinds[TEXT_KINDS] = {0};
  text_earlier(a, stream, kinds);
  return text_sum(kinds);
}

/* At the worst moment. */
static void text_worst(const struct qtk_plan_adapt *a, struct text_kind kinds[TEXT_KINDS])
{
  text_kinds(a, a->checkpoint, a->stream, kinds);
  if (qtk_plan_adapt_before(a, a->stream) > text_sum(kinds))
    text_earlier(a, a->stream, kinds);
}

/* The model with this adapter over the model alone. */
static double text_ratio(const struct qtk_plan_adapt *a)
{
  return a->base > 0 ? (double)(a->base + a->sizes[0].disk) / (double)a->base : 1.0;
}

/* Why activations are kept, or made again. */
static void text_checkpoint(const struct qtk_plan_adapt *a, struct qtk_str *out)
{
  char other[QTK_SIZE_TEXT];
  int chosen = strcmp(a->training.checkpoint, "auto") == 0;
  qtk_size_text(qtk_plan_adapt_bytes(a, !a->checkpoint, a->stream), other);
  if (a->checkpoint)
    qtk_str_printf(out, "activations of a block at a time, made again for it%s: keeping all takes "
                        "%s\n",
                   chosen ? ", since those of all do not fit" : "", other);
  else
    qtk_str_printf(out, "activations of all blocks are kept%s: with checkpoint = \"block\" it "
                        "takes %s\n",
                   chosen ? ", since they fit" : "", other);
}

/* What there is to learn from, if it was read. */
static void text_data(const char *what, const struct qtk_dataset *d, struct qtk_str *out)
{
  if (d->name == NULL)
    return;
  qtk_str_printf(out, "  %s: ", what);
  qtk_dataset_line(d, out);
  qtk_str_add(out, "\n");
}

static void text_memory(const struct qtk_plan_adapt *a, struct qtk_str *out)
{
  struct text_kind kinds[TEXT_KINDS];
  char size[QTK_SIZE_TEXT];
  const char *between = ":";
  text_worst(a, kinds);
  qtk_str_printf(out, "  memory %s", qtk_size_text(text_sum(kinds), size));
  for (int i = 0; i < TEXT_KINDS; i++)
    if (kinds[i].bytes > 0) {
      qtk_str_printf(out, "%s %s %s", between, kinds[i].name, qtk_size_text(kinds[i].bytes, size));
      between = ",";
    }
}

static void text_teacher(const struct qtk_plan_adapt *a, struct qtk_str *out)
{
  const char *held = a->stream ? "; its weights are held a block at a time, since all do not fit"
                               : "";
  char size[QTK_SIZE_TEXT];
  if (a->cached)
    qtk_str_printf(out, "  learns from the unquantized model, which runs once, before the training%s: "
                        "of each token the %lld most likely next ones, %s on the disk\n",
                   held, (long long)a->training.teacher_top, qtk_size_text(a->lessons, size));
  else if (a->taught)
    qtk_str_printf(out, "  learns from the unquantized model, which runs beside this one%s\n", held);
}

int qtk_plan_adapt_text(const struct qtk_plan *plan, size_t stage, struct qtk_str *out)
{
  const struct qtk_plan_adapt *a = &plan->stages[stage].adapt;
  const struct qtk_engine_sizes *s = &a->sizes[a->checkpoint];
  char base[QTK_SIZE_TEXT];
  if (a->method.loaded == NULL)
    return QTK_OK;
  qtk_str_printf(out, "stage %zu (adapt %s): trainable %llu, adapter_bytes %llu\n", stage,
                 a->method.loaded->plugin.name, (unsigned long long)s->trainable,
                 (unsigned long long)s->disk);
  qtk_str_printf(out, "  size %.4f of the model's %s\n", text_ratio(a),
                 qtk_size_text(a->base, base));
  text_data("data", &a->data_read, out);
  text_data("validation", &a->validation_read, out);
  text_memory(a, out);
  qtk_str_add(out, "\n  ");
  text_checkpoint(a, out);
  text_teacher(a, out);
  return out->failed ? qtk_error_memory(0, "a plan") : QTK_OK;
}

int qtk_plan_adapt_json(const struct qtk_plan *plan, size_t stage, json_t *object)
{
  const struct qtk_plan_adapt *a = &plan->stages[stage].adapt;
  const struct qtk_engine_sizes *s = &a->sizes[a->checkpoint];
  struct text_kind kinds[TEXT_KINDS];
  if (a->method.loaded == NULL)
    return QTK_OK;
  json_t *memory = json_object();
  int rc = qtk_json_set(object, "trainable", json_integer((json_int_t)s->trainable));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "adapter_bytes", json_integer((json_int_t)s->disk));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "checkpoint", json_string(a->checkpoint ? "block" : "none"));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "model_bytes", json_integer((json_int_t)a->base));
  text_worst(a, kinds);
  for (int i = 0; i < TEXT_KINDS && rc == QTK_OK; i++)
    if (kinds[i].bytes > 0)
      rc = qtk_json_set(memory, kinds[i].name, json_integer((json_int_t)kinds[i].bytes));
  if (rc != QTK_OK) {
    json_decref(memory);
    return rc;
  }
  return qtk_json_set(object, "memory_bytes", memory);
}
