/* SPDX-License-Identifier: BSD-3-Clause
 * A calibration: windows, and blocks one after the other. */
#include "core/calibrate.h"

#include <stdlib.h>
#include <string.h>

#include "core/calibrate-inner.h"
#include "core/error.h"
#include "core/model.h"

/* Shorter windows run a few at a time, so that products have rows enough. */
#define CALIBRATE_TOKENS 2048

/* ---- open and close --------------------------------------------------------------------- */

int64_t qtk_calibrator_batch(const struct qtk_calibrator_options *o)
{
  int64_t batch = CALIBRATE_TOKENS / o->length;
  return batch < 1 ? 1 : batch > o->samples ? o->samples : batch;
}

static void calibrate_batches(struct qtk_calibrator *c)
{
  c->batch = qtk_calibrator_batch(&c->options);
  c->batches = (c->options.samples + c->batch - 1) / c->batch;
}

/* The batch at hand is number i. */
static void calibrate_batch(struct qtk_calibrator *c, int64_t i)
{
  int64_t left = c->options.samples - i * c->batch;
  c->windows = left < c->batch ? left : c->batch;
  for (int64_t k = 0; k < c->batch; k++)
    c->lengths[k] = k < c->windows ? c->options.length : 0;
}

static int calibrate_check_source(const struct qtk_calibrator *c, const struct qtk_model *source)
{
  if (source == NULL)
    return qtk_error(QTK_EINTERNAL, "a calibration without the unquantized model");
  const struct qtk_arch_model *m = qtk_arch_model(qtk_model_arch(source));
  if (m->layers == c->arch->layers && m->vocabulary == c->arch->vocabulary &&
      m->residual == c->arch->residual && memcmp(&m->dims, &c->arch->dims, sizeof m->dims) == 0)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "%s: blocks of other shapes than the model's: it cannot be what "
                               "the model was made from",
                   qtk_model_path(source));
}

static int calibrate_embed(struct qtk_calibrator *c, const struct qtk_text *text,
                           const int64_t *starts, int32_t *ids)
{
  int64_t length = c->options.length;
  int rc = QTK_OK;
  for (int64_t i = 0; i < c->batches && rc == QTK_OK; i++) {
    calibrate_batch(c, i);
    for (int64_t k = 0; k < c->windows; k++)
      memcpy(ids + k * length, text->ids.ids + starts[i * c->batch + k],
             (size_t)length * sizeof *ids);
    rc = qtk_stream_embed(c, &c->model, i, ids);
    if (rc == QTK_OK && c->options.cross)
      rc = qtk_stream_embed(c, &c->source, i, ids);
  }
  qtk_engine_drop(c->model.engine, -1);
  if (c->options.cross)
    qtk_engine_drop(c->source.engine, -1);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", text->name);
}

static int calibrate_windows(struct qtk_calibrator *c, const struct qtk_text *text)
{
  size_t tokens = (size_t)(c->batch * c->options.length);
  int64_t *starts = calloc((size_t)c->options.samples, sizeof *starts);
  int32_t *ids = calloc(tokens, sizeof *ids);
  int rc = starts && ids ? QTK_OK : qtk_error_memory(tokens * sizeof *ids, "windows");
  if (rc == QTK_OK)
    rc = qtk_text_sample(c->ctx, text, c->options.length, c->options.samples, starts);
  if (rc == QTK_OK)
    rc = calibrate_embed(c, text, starts, ids);
  free(starts);
  free(ids);
  return rc;
}

static int calibrate_open(struct qtk_calibrator *c, struct qtk_model *model,
                          struct qtk_model *source, const struct qtk_text *text)
{
  int rc;
  calibrate_batches(c);
  c->lengths = calloc((size_t)c->batch, sizeof *c->lengths);
  if (c->lengths == NULL)
    return qtk_error_memory((size_t)c->batch * sizeof *c->lengths, "windows");
  rc = qtk_stream_open(c, model, &c->model);
  if (rc == QTK_OK && c->options.cross)
    rc = calibrate_check_source(c, source);
  if (rc == QTK_OK && c->options.cross)
    rc = qtk_stream_open(c, source, &c->source);
  return rc == QTK_OK ? calibrate_windows(c, text) : rc;
}

int qtk_calibrator_open(struct qtk_context *ctx, struct qtk_model *model, struct qtk_model *source,
                        const struct qtk_text *text, const struct qtk_calibrator_options *options,
                        struct qtk_calibrator **out)
{
  struct qtk_calibrator *c = calloc(1, sizeof *c);
  if (c == NULL)
    return qtk_error_memory(sizeof *c, "a calibration");
  c->ctx = ctx;
  c->options = *options;
  c->description = qtk_model_arch(model);
  c->arch = qtk_arch_model(c->description);
  c->layer = -1;
  int rc = calibrate_open(c, model, source, text);
  if (rc == QTK_OK)
    *out = c;
  else
    qtk_calibrator_close(c);
  return rc;
}

void qtk_calibrator_close(struct qtk_calibrator *c)
{
  if (c == NULL)
    return;
  qtk_sums_end(c);
  qtk_stream_close(&c->model);
  qtk_stream_close(&c->source);
  free(c->lengths);
  free(c);
}

int qtk_calibrator_memory(const struct qtk_arch *arch, const struct qtk_calibrator_options *options,
                          uint64_t *memory, uint64_t *disk)
{
  struct qtk_calibrator c = {
      .options = *options, .description = arch, .arch = qtk_arch_model(arch)};
  const struct qtk_dims *d = &c.arch->dims;
  uint64_t widest = (uint64_t)(d->ffn > d->hidden ? d->ffn : d->hidden);
  calibrate_batches(&c);
  int rc = qtk_stream_memory(&c, memory, disk);
  if (rc != QTK_OK || !options->cross)
    return rc;
  /* Both models, and one input of each at a time. */
  *memory = 2 * *memory + 2 * 4 * widest * (uint64_t)(c.batch * options->length);
  *disk *= 2;
  return QTK_OK;
}

/* ---- blocks ------------------------------------------------------------------------------ */

/* Every batch as far as `want`, and the source's beside it as far as `source_want`. */
static int calibrate_run(struct qtk_calibrator *c, unsigned want, unsigned source_want, int leave)
{
  unsigned have = 0, source_have = c->source.have;
  int rc = qtk_engine_hold(c->model.engine, c->layer);
  if (rc == QTK_OK && source_want != 0)
    rc = qtk_engine_hold(c->source.engine, c->layer);
  for (int64_t i = 0; i < c->batches && rc == QTK_OK; i++) {
    calibrate_batch(c, i);
    rc = qtk_stream_run(c, &c->model, i, want, leave ? NULL : qtk_sums_see, &have);
    if (rc == QTK_OK && source_want != 0)
      rc = qtk_stream_run(c, &c->source, i, source_want, leave ? NULL : qtk_sums_see_source,
                          &source_have);
  }
  c->model.have = have;
  c->source.have = source_have;
  return rc;
}

int qtk_calibrator_run(struct qtk_calibrator *c, const struct qtk_watch *watches, size_t n)
{
  unsigned want = 0, cross = 0;
  c->watches = watches;
  c->n_watches = n;
  int rc = qtk_sums_begin(c);
  for (size_t i = 0; i < n; i++) {
    unsigned bit = BLOCK_BIT(qtk_block_input(c->arch, (enum qtk_role)watches[i].role));
    want |= bit;
    if (watches[i].needs & QTK_NEEDS_CROSS)
      cross |= bit;
  }
  if (rc == QTK_OK)
    rc = calibrate_run(c, want, cross, 0);
  c->n_watches = 0;
  return rc == QTK_OK ? qtk_sums_fetch(c) : rc;
}

void qtk_calibrator_statistics(const struct qtk_calibrator *c, int role,
                               struct qtk_calibration *out)
{
  const struct calibrate_input *in = &c->inputs[qtk_block_input(c->arch, (enum qtk_role)role)];
  *out = (struct qtk_calibration){.gram = in->host_gram,
                                  .cross = in->host_cross,
                                  .tokens = c->options.samples * c->options.length,
                                  .sequences = c->options.samples};
}

void qtk_calibrator_replace(struct qtk_calibrator *c, int tensor)
{
  const struct qtk_arch_tensor *t = qtk_arch_tensor(c->description, tensor);
  if (t->layer == c->layer)
    c->model.changing &= ~(1u << t->role);
  qtk_engine_release(c->model.engine, tensor);
}

/* ---- from block to block ----------------------------------------------------------------- */

static int calibrate_leave(struct qtk_calibrator *c)
{
  unsigned y = BLOCK_BIT(BLOCK_Y);
  qtk_sums_end(c);
  int rc = calibrate_run(c, y, c->options.cross ? y : 0, 1);
  qtk_engine_drop(c->model.engine, c->layer);
  if (c->options.cross)
    qtk_engine_drop(c->source.engine, c->layer);
  return rc;
}

int qtk_calibrator_enter(struct qtk_calibrator *c, int layer, unsigned changing)
{
  int rc = QTK_OK;
  while (c->layer < layer && rc == QTK_OK) {
    if (c->layer >= 0)
      rc = calibrate_leave(c);
    c->layer++;
    c->model.have = c->source.have = 0;
    c->model.changing = c->layer == layer ? changing : 0;
  }
  return rc;
}
