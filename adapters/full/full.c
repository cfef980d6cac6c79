/* SPDX-License-Identifier: BSD-3-Clause
 * Full fine-tuning: the engine trains the tensors of the base themselves, in float32. This
 * plugin says which. */
#define QTK_API 1
#include <qtk/adapter.h>

#include <string.h>

struct full_options {
  int embedding, norms, biases;
  const char *dtype;
};

static const struct qtk_option full_table[] = {
    QTK_OPT_BOOL(struct full_options, embedding, 1,
                 "Train what is outside the blocks too: embedding, learned positions, "
                 "projections and head."),
    QTK_OPT_BOOL(struct full_options, norms, 1, "Train the weights of norms."),
    QTK_OPT_BOOL(struct full_options, biases, 1, "Train biases, of linears, norms and head."),
    QTK_OPT_TEXT(struct full_options, dtype, "f32", "f32 f16",
                 "Type that trained tensors have on disk."),
    QTK_OPT_END};

static int full_is_bias(const struct qtk_tensor_role *t)
{
  const char *dot = strrchr(t->role, '.');
  return dot != NULL && strcmp(dot, ".bias") == 0;
}

static enum qtk_claim full_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct full_options *o = options;
  int wanted;
  if (full_is_bias(t))
    wanted = o->biases;
  else if (t->linear)
    wanted = 1;
  else
    wanted = t->cols == 1 ? o->norms : o->embedding;
  return wanted ? QTK_CLAIM_TRAIN : QTK_CLAIM_NONE;
}

static void full_train(const void *options, const struct qtk_tensor_role *t,
                       struct qtk_param *param)
{
  const struct full_options *o = options;
  (void)t;
  param->disk_dtype = strcmp(o->dtype, "f16") == 0 ? QTK_F16 : QTK_F32;
}

/* All is the engine's: there is nothing to hold. */
static int full_attach(struct qtk_context *ctx, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  (void)ctx, (void)options, (void)model, (void)sites, (void)n_sites;
  *h = NULL;
  return QTK_OK;
}

static void full_detach(struct qtk_context *ctx, void *h)
{
  (void)ctx, (void)h;
}

static const struct qtk_default full_defaults[] = {
    {"learning_rate", "1e-5"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops full_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                .defaults = full_defaults,
                                                .claim = full_claim,
                                                .attach = full_attach,
                                                .detach = full_detach,
                                                .train = full_train};

QTK_PLUGIN(.threads = QTK_THREADS_ANY, .name = "full", .version = "0.1",
           .summary = "trains the weights themselves", .options = full_table,
           .options_size = sizeof(struct full_options), .adapter = &full_ops);
