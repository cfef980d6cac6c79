/* SPDX-License-Identifier: BSD-3-Clause
 * Sums of one linear's input after the other, for adapters that start from them: the windows go
 * through a model once, from block to block, as linears are asked for. */
#include <stdlib.h>

#include "core/calibrate-inner.h"
#include "core/error.h"
#include "core/model.h"

#define INPUTS_TOKENS 8192 /* that are looked at, of longer texts */

struct qtk_inputs {
  struct qtk_model *model;
  struct qtk_calibrator *calibrator;
  int layer;              /* of what was asked last */
  enum block_value value; /* and its input */
};

/* Windows of at most `length` tokens, of a text that has `tokens`. */
static struct qtk_calibrator_options inputs_options(int64_t tokens, int64_t length)
{
  int64_t most = tokens < INPUTS_TOKENS ? tokens : INPUTS_TOKENS;
  struct qtk_calibrator_options o = {.length = length < most ? length : most};

  o.samples = o.length > 0 ? most / o.length : 0;
  return o;
}

int qtk_inputs_open(struct qtk_context *ctx, struct qtk_model *model, const struct qtk_text *text,
                    int64_t length, struct qtk_inputs **out)
{
  struct qtk_calibrator_options options = inputs_options((int64_t)text->ids.n, length);
  struct qtk_inputs *in = calloc(1, sizeof *in);
  int rc;

  if (in == NULL)
    return qtk_error_memory(sizeof *in, "statistics");
  *in = (struct qtk_inputs){.model = model, .layer = -1};
  rc = qtk_calibrator_open(ctx, model, NULL, text, &options, &in->calibrator);
  if (rc == QTK_OK)
    *out = in;
  else
    qtk_inputs_close(in);
  return rc;
}

void qtk_inputs_close(struct qtk_inputs *in)
{
  if (in == NULL)
    return;
  qtk_calibrator_close(in->calibrator);
  free(in);
}

/* Whether the windows have left behind what it reads: where branches run side by side both begin
 * at what stays to the end of the block. */
static int inputs_passed(const struct qtk_inputs *in, const struct qtk_arch_tensor *t)
{
  const struct qtk_arch_model *m = qtk_arch_model(qtk_model_arch(in->model));

  return t->layer < in->layer || (t->layer == in->layer && m->residual != QTK_RESIDUAL_PARALLEL &&
                                  qtk_block_input(m, t->role) < in->value);
}

static int inputs_find(const struct qtk_inputs *in, const char *name, int64_t cols,
                       const struct qtk_arch_tensor **out)
{
  const struct qtk_arch *arch = qtk_model_arch(in->model);
  int i = qtk_model_find(in->model, name);
  const struct qtk_model_tensor *held = i >= 0 ? qtk_model_tensor(in->model, i) : NULL;
  const struct qtk_arch_tensor *t = i >= 0 ? qtk_arch_tensor(arch, i) : NULL;

  if (t == NULL || !held->linear || t->layer < 0 || held->cols != cols)
    return qtk_error(QTK_EINPUT, "%s: a linear %s that reads %lld values is not there",
                     qtk_model_path(in->model), name, (long long)cols);
  if (inputs_passed(in, t))
    return qtk_error(QTK_EPLUGIN, "%s: what it reads is asked for after what later linears read",
                     name);
  *out = t;
  return QTK_OK;
}

static int inputs_run(struct qtk_inputs *in, const struct qtk_arch_tensor *t,
                      enum block_value value)
{
  const struct qtk_watch watch = {.role = (int)t->role, .needs = QTK_NEEDS_GRAM};
  int rc = qtk_calibrator_enter(in->calibrator, t->layer, 0);

  if (rc == QTK_OK)
    rc = qtk_calibrator_run(in->calibrator, &watch, 1);
  in->layer = t->layer;
  in->value = value;
  return rc;
}

int qtk_inputs_gram(void *arg, const char *name, int64_t cols, const float **gram)
{
  struct qtk_inputs *in = arg;
  const struct qtk_arch_tensor *t = NULL;
  struct qtk_calibration found;
  int rc = inputs_find(in, name, cols, &t);

  if (rc != QTK_OK)
    return rc;
  enum block_value value = qtk_block_input(qtk_arch_model(qtk_model_arch(in->model)), t->role);
  if (t->layer != in->layer || value != in->value)
    rc = inputs_run(in, t, value);
  qtk_calibrator_statistics(in->calibrator, (int)t->role, &found);
  *gram = found.gram;
  return rc;
}

int qtk_inputs_memory(const struct qtk_arch *arch, int64_t tokens, int64_t length,
                      struct qtk_inputs_sizes *sizes)
{
  struct qtk_calibrator_options options =
      inputs_options(tokens > 0 ? tokens : INPUTS_TOKENS, length);
  const struct qtk_dims *d = &qtk_arch_model(arch)->dims;
  uint64_t disk;

  *sizes = (struct qtk_inputs_sizes){.widest = d->ffn > d->hidden ? d->ffn : d->hidden,
                                     .length = options.length,
                                     .windows = qtk_calibrator_batch(&options)};
  return qtk_calibrator_memory(arch, &options, &sizes->activations, &disk);
}
