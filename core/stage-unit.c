/* SPDX-License-Identifier: BSD-3-Clause
 * Tensors that stages make: they are the model's from then on, and lie in units of the state
 * or, without a state, in memory of the run. */
#include <stdlib.h>

#include "core/context.h"
#include "core/error.h"
#include "core/stage.h"

int qtk_stage_own(struct qtk_work *work, struct qtk_state_unit *unit)
{
  size_t n = (size_t)qtk_model_count(work->model);
  if (work->kept == NULL && (work->kept = calloc(n, sizeof *work->kept)) == NULL) {
    qtk_unit_close(unit);
    return qtk_error_memory(n * sizeof *work->kept, "a list of tensors");
  }
  int rc = qtk_vec_push(&work->units, unit);
  if (rc != QTK_OK)
    qtk_unit_close(unit);
  return rc;
}

int qtk_stage_own_block(struct qtk_work *work, void *block)
{
  int rc = qtk_vec_push(&work->blocks, block);
  if (rc != QTK_OK)
    qtk_free(work->ctx, block);
  return rc;
}

int qtk_stage_replace(struct qtk_work *work, int tensor, const struct qtk_qtensor *view,
                      const struct qtk_loaded *maker, const char *options)
{
  struct qtk_qtensor v = *view;
  v.plugin = maker ? maker->plugin.name : NULL;
  v.dequantize = maker ? maker->ops.quantizer.dequantize : NULL;
  qtk_model_drop(work->model, tensor);
  int rc = qtk_model_replace(work->model, tensor, &v, v.plugin, options);
  if (rc == QTK_OK && work->state != NULL)
    qtk_model_mapped(work->model, tensor);
  return rc;
}

int qtk_stage_sizes(const struct qtk_work *work, uint64_t bytes, uint64_t weights, json_t *entry)
{
  struct qtk_report_sizes sizes = {.target_bytes = bytes, .target_weights = weights};
  for (int i = 0; i < qtk_model_count(work->model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(work->model, i);
    sizes.total_bytes += qtk_qlayout_bytes(&t->layout);
    sizes.total_weights += (uint64_t)t->rows * (uint64_t)t->cols;
  }
  return qtk_report_sizes(entry, &sizes);
}

void qtk_stage_drop(struct qtk_work *work, int tensor)
{
  if (work->kept != NULL && work->kept[tensor].unit != NULL)
    qtk_unit_drop(work->kept[tensor].unit, work->kept[tensor].tensor);
  for (size_t i = 0; i < work->plan->n_kept; i++)
    if (work->plan->kept[i].tensor == tensor)
      qtk_model_drop(work->plan->base, work->plan->kept[i].base);
}

void qtk_stage_end(struct qtk_work *work)
{
  for (size_t i = 0; i < work->units.length; i++)
    qtk_unit_close(work->units.data[i]);
  for (size_t i = 0; i < work->blocks.length; i++)
    qtk_free(work->ctx, work->blocks.data[i]);
  qtk_vec_free(&work->units);
  qtk_vec_free(&work->blocks);
  free(work->kept);
}
