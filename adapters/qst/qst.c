/* SPDX-License-Identifier: BSD-3-Clause
 * QST: a thin copy of the model beside it, which reads its hidden states and alone is trained
 * (Zhang et al., Quantized Side Tuning: Fast and Memory-Efficient Tuning of Quantized Large
 * Language Models). The base runs without a tape. Also LST, where it comes from (Sung et al.,
 * LST: Ladder Side-Tuning for Parameter and Memory Efficient Transfer Learning). */
#define QTK_API 1
#include "qst.h"

#include <stdlib.h>
#include <string.h>

static const struct qtk_option qst_table[] = {
    QTK_OPT_INT(struct qst_options, reduction, 16, 2, 1024,
                "Widths of the side network are the model's, divided by this."),
    QTK_OPT_TEXT(struct qst_options, downsample, "adapter", "linear lora adapter maxpool avgpool",
                 "How hidden states of the model come to the side network's width."),
    QTK_OPT_INT(struct qst_options, rank, 16, 1, 1024,
                "Width between the two matrices of the downsamplers lora and adapter."),
    QTK_OPT_TEXT(struct qst_options, form, "paper", "paper code lst",
                 "Gates, mix and first downsampler: of the paper, of its code, or of LST."),
    QTK_OPT_TEXT(struct qst_options, start, "random", "random pruned",
                 "Where the network's blocks start: at random, or cut out of the model's."),
    QTK_OPT_TEXT(struct qst_options, keep, "hidden", "hidden recompute",
                 "Training keeps the hidden states in 16 bits, or runs the model once more."),
    QTK_OPT_TEXT(struct qst_options, dtype, "f16", "f16 f32",
                 "Type of the parameters in the bundle."),
    QTK_OPT_END};

static int qst_choice(const char *const *names, const char *name)
{
  int i = 0;

  while (names[i + 1] != NULL && strcmp(names[i], name) != 0)
    i++;
  return i;
}

static int qst_cuts(const struct qst_options *o)
{
  return strcmp(o->start, "pruned") == 0;
}

static int qst_check(const void *options, const struct qtk_model_info *model)
{
  const struct qst_options *o = options;
  struct qtk_dims side;
  int rc = qst_shape(model, o->reduction, &side);

  return rc == QTK_OK && qst_cuts(o) ? qst_cut_fits(model, &side) : rc;
}

static enum qtk_claim qst_claim(const void *options, const struct qtk_tensor_role *tensor)
{
  (void)options, (void)tensor;
  return QTK_CLAIM_NONE;
}

/* ---- an instance ----------------------------------------------------------------------------- */

static void qst_detach(struct qtk_context *ctx, void *h)
{
  struct qst *q = h;

  for (int i = 0; q->layer != NULL && i <= q->layers; i++) {
    qst_gate_free(ctx, &q->layer[i].gate);
    qtk_block_free(ctx, q->layer[i].block);
  }
  qst_gate_free(ctx, &q->mix);
  qst_cut_free(q->cut);
  free(q->layer);
  free(q->params);
  free(q);
}

static void qst_fill(struct qst *q, const struct qst_options *o, const struct qtk_model_info *model)
{
  static const char *const forms[] = {"paper", "code", "lst", NULL};
  static const char *const kinds[] = {"linear", "lora", "adapter", "maxpool", "avgpool", NULL};

  q->options = o;
  q->model = model;
  q->cuts = qst_cuts(o);
  q->form = (enum qst_form)qst_choice(forms, o->form);
  q->kind = (enum qst_kind)qst_choice(kinds, o->downsample);
  q->again = strcmp(o->keep, "recompute") == 0;
  q->wide = model->dims.hidden;
  q->narrow = q->side.hidden;
  q->out = model->embedding_width;
  q->norm = model->norm;
  q->epsilon = (float)model->epsilon;
  q->layers = (int)model->layers;
}

/* In the code's form the first downsampler is used for the embedding, too. */
static int qst_layers(struct qtk_context *ctx, struct qst *q, const struct qtk_model_info *model)
{
  int rc = QTK_OK;

  q->layer = calloc((size_t)q->layers + 1, sizeof *q->layer);
  if (q->layer == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for %d layers", q->layers);
  for (int i = 0; i <= q->layers; i++)
    q->layer[i].down = &q->layer[i == 0 && q->form == QST_CODE ? 1 : i].own;
  for (int i = 1; rc == QTK_OK && i <= q->layers; i++)
    rc = qtk_block_new(ctx, model, i - 1, &q->side, &q->layer[i].block);
  return rc;
}

static int qst_attach(struct qtk_context *ctx, const void *options,
                      const struct qtk_model_info *model, const struct qtk_site *sites, int n_sites,
                      void **h)
{
  const struct qst_options *o = options;
  struct qst *q = calloc(1, sizeof *q);
  int rc;

  (void)sites, (void)n_sites;
  if (q == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for a side network");
  rc = qst_shape(model, o->reduction, &q->side);
  qst_fill(q, o, model);
  if (rc == QTK_OK)
    rc = qst_layers(ctx, q, model);
  if (rc == QTK_OK)
    rc = qst_params_make(q, model);
  if (rc != QTK_OK)
    qst_detach(ctx, q);
  else
    *h = q;
  return rc;
}

static int qst_changed(struct qtk_context *ctx, void *h, int final)
{
  struct qst *q = h;
  int rc = QTK_OK;

  (void)final;
  for (int i = 1; rc == QTK_OK && i <= q->layers; i++)
    rc = qst_gate_changed(ctx, &q->layer[i].gate);
  return rc == QTK_OK && q->form != QST_LST ? qst_gate_changed(ctx, &q->mix) : rc;
}

static const struct qtk_default qst_defaults[] = {
    {"learning_rate", "2e-4"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops qst_ops = {.size = sizeof(struct qtk_adapter_ops),
                                               .defaults = qst_defaults,
                                               .check = qst_check,
                                               .claim = qst_claim,
                                               .attach = qst_attach,
                                               .detach = qst_detach,
                                               .params = qst_params,
                                               .bind = qst_bind,
                                               .start = qst_start,
                                               .changed = qst_changed,
                                               .memory = qst_memory,
                                               .stream = qst_stream,
                                               .mix = qst_mix,
                                               .mix_backward = qst_mix_backward};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "qst", .version = "0.1",
           .summary = "trains a thin network beside the model, which only runs forward",
           .options = qst_table, .options_size = sizeof(struct qst_options), .adapter = &qst_ops);
