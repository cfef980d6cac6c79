/* SPDX-License-Identifier: BSD-3-Clause
 * Digests of all that a job reads. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/pipeline-output.h"
#include "core/str.h"

/* ---- files ------------------------------------------------------------------------ */

static int inputs_find(const struct qtk_inputs *inputs, const char *path)
{
  for (size_t i = 0; i < inputs->n; i++)
    if (strcmp(inputs->data[i].path, path) == 0)
      return 1;
  return 0;
}

static int inputs_add(struct qtk_inputs *inputs, const char *path)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  char hex[QTK_DIGEST_HEX];
  if (path == NULL || inputs_find(inputs, path))
    return QTK_OK;
  int rc = qtk_digest_file(path, digest);
  if (rc != QTK_OK)
    return rc;
  qtk_digest_hex(digest, hex);
  char *copy = qtk_str_copy(hex);
  if (copy == NULL)
    return QTK_ENOMEM;
  inputs->data[inputs->n++] = (struct qtk_plan_input){path, copy};
  return QTK_OK;
}

static int inputs_files(const struct qtk_plan *plan, struct qtk_inputs *inputs)
{
  int rc = QTK_OK;
  inputs->data = calloc(7 * plan->n_stages, sizeof *inputs->data);
  if (inputs->data == NULL)
    return qtk_error_memory(0, "a list of files");
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++) {
    rc = inputs_add(inputs, plan->stages[i].perplexity.data);
    if (rc == QTK_OK)
      rc = inputs_add(inputs, plan->stages[i].divergence.data);
    if (rc == QTK_OK && plan->stages[i].quantize.calibrate.wanted)
      rc = inputs_add(inputs, plan->stages[i].quantize.calibrate.data);
    if (rc == QTK_OK)
      rc = inputs_add(inputs, plan->stages[i].adapt.data.path);
    if (rc == QTK_OK)
      rc = inputs_add(inputs, plan->stages[i].adapt.validation.path);
    if (rc == QTK_OK)
      rc = inputs_add(inputs, plan->stages[i].merge.probe);
    if (rc == QTK_OK)
      rc = inputs_add(inputs, plan->stages[i].labels.recipe.path);
  }
  return rc;
}

/* ---- plugins ---------------------------------------------------------------------------- */

static void inputs_loaded(const struct qtk_loaded *loaded, struct qtk_str *out)
{
  if (loaded != NULL)
    qtk_str_printf(out, "%s %s %s\n", qtk_kind_name(loaded->kind), loaded->plugin.name,
                   loaded->plugin.version);
}

static void inputs_plugin(const struct qtk_plan_method *method, struct qtk_str *out)
{
  inputs_loaded(method->loaded, out);
}

int qtk_inputs_plugins(const struct qtk_plan *plan, struct qtk_inputs *inputs)
{
  const struct qtk_tuned *t;
  struct qtk_str out = {0};
  qtk_str_add(&out, "");
  for (int i = 0; (t = qtk_model_tuned(plan->model, i)) != NULL; i++)
    inputs_loaded(t->plugin, &out);
  for (size_t i = 0; i < plan->n_stages; i++) {
    const struct qtk_plan_quantize *q = &plan->stages[i].quantize;
    for (size_t k = 0; k < q->n_methods; k++)
      inputs_plugin(&q->methods[k], &out);
    inputs_plugin(&plan->stages[i].format, &out);
    inputs_plugin(&plan->stages[i].adapt.method, &out);
  }
  inputs->plugins = out.length > 0 ? qtk_str_take(&out) : qtk_str_copy("");
  qtk_str_free(&out);
  return inputs->plugins != NULL ? QTK_OK : QTK_ENOMEM;
}

int qtk_inputs_read(struct qtk_context *ctx, const struct qtk_plan *plan,
                    struct qtk_inputs *inputs)
{
  const struct qtk_tuned *t;
  for (int i = 0; (t = qtk_model_tuned(plan->model, i)) != NULL; i++)
    inputs->forced |= t->forced;
  int rc = qtk_model_digest(ctx, plan->model, inputs->model);
  if (rc == QTK_OK && plan->source != NULL)
    rc = qtk_model_digest(ctx, plan->source, inputs->source);
  if (rc == QTK_OK)
    rc = inputs_files(plan, inputs);
  return rc == QTK_OK ? qtk_inputs_plugins(plan, inputs) : rc;
}

void qtk_inputs_end(struct qtk_inputs *inputs)
{
  for (size_t i = 0; i < inputs->n; i++)
    free((char *)inputs->data[i].sha256);
  free(inputs->data);
  free(inputs->plugins);
}
