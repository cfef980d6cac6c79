/* SPDX-License-Identifier: BSD-3-Clause
 * What is said of an adapt stage before the work. */
#include <string.h>

#include "core/error.h"
#include "core/plan-stage.h"

uint64_t qtk_plan_adapt_bytes(const struct qtk_engine_sizes *s)
{
  return s->weights + s->parameters + s->gradients + s->optimizer + s->adapters + s->activations +
         s->logits;
}

/* Why activations are kept, or made again. */
static void text_checkpoint(const struct qtk_plan_adapt *a, struct qtk_str *out)
{
  char other[QTK_SIZE_TEXT];
  int chosen = strcmp(a->training.checkpoint, "auto") == 0;
  qtk_size_text(qtk_plan_adapt_bytes(&a->sizes[!a->checkpoint]) + a->teacher, other);
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

int qtk_plan_adapt_text(const struct qtk_plan *plan, size_t stage, struct qtk_str *out)
{
  const struct qtk_plan_adapt *a = &plan->stages[stage].adapt;
  const struct qtk_engine_sizes *s = &a->sizes[a->checkpoint];
  const struct {
    const char *name;
    uint64_t bytes;
  } kinds[] = {{"weights", s->weights},       {"parameters", s->parameters},
               {"gradients", s->gradients},   {"optimizer", s->optimizer},
               {"adapter", s->adapters},      {"activations", s->activations},
               {"logits", s->logits},         {"teacher", a->teacher}};
  size_t n = sizeof kinds / sizeof *kinds - !a->taught;
  char size[QTK_SIZE_TEXT];
  if (a->method.loaded == NULL)
    return QTK_OK;
  qtk_str_printf(out, "stage %zu (adapt %s): trainable %llu, adapter_bytes %llu\n", stage,
                 a->method.loaded->plugin.name, (unsigned long long)s->trainable,
                 (unsigned long long)s->disk);
  text_data("data", &a->data_read, out);
  text_data("validation", &a->validation_read, out);
  qtk_str_printf(out, "  memory %s:", qtk_size_text(qtk_plan_adapt_bytes(s) + a->teacher, size));
  for (size_t i = 0; i < n; i++)
    qtk_str_printf(out, "%s %s %s", i > 0 ? "," : "", kinds[i].name,
                   qtk_size_text(kinds[i].bytes, size));
  qtk_str_add(out, "\n  ");
  text_checkpoint(a, out);
  if (a->taught)
    qtk_str_printf(out, "  learns from the unquantized model, which runs beside this one%s\n",
                   a->stream ? "; its weights are held a block at a time, since all do not fit"
                             : "");
  return out->failed ? qtk_error_memory(0, "a plan") : QTK_OK;
}

int qtk_plan_adapt_json(const struct qtk_plan *plan, size_t stage, json_t *object)
{
  const struct qtk_plan_adapt *a = &plan->stages[stage].adapt;
  const struct qtk_engine_sizes *s = &a->sizes[a->checkpoint];
  if (a->method.loaded == NULL)
    return QTK_OK;
  json_t *memory = json_pack(
    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)s->weights, "parameters",
    (json_int_t)s->parameters, "gradients", (json_int_t)s->gradients, "optimizer",
    (json_int_t)s->optimizer, "adapter", (json_int_t)s->adapters, "activations",
    (json_int_t)s->activations, "logits", (json_int_t)s->logits);
  int rc = qtk_json_set(object, "trainable", json_integer((json_int_t)s->trainable));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "adapter_bytes", json_integer((json_int_t)s->disk));
  if (rc == QTK_OK)
    rc = qtk_json_set(object, "checkpoint", json_string(a->checkpoint ? "block" : "none"));
  if (rc == QTK_OK && a->taught)
    rc = qtk_json_set(memory, "teacher", json_integer((json_int_t)a->teacher));
  if (rc != QTK_OK) {
    json_decref(memory);
    return rc;
  }
  return qtk_json_set(object, "memory_bytes", memory);
}
