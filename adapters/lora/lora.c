/* SPDX-License-Identifier: BSD-3-Clause
 * LoRA: pairs of low rank beside linears, trained for what the data say (Hu et al., LoRA:
 * Low-Rank Adaptation of Large Language Models; Kalajdzievski, A Rank Stabilization Scaling
 * Factor for Fine-Tuning with LoRA). Over a quantized base this is the setting of QLoRA
 * (Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs). */
#define QTK_API 1
#include "adapters/lowrank/lowrank.h"

static const struct qtk_option lora_table[] = {
    QTK_OPT_INT(struct lowrank_options, rank, 8, 1, 1024, "Rows of A and columns of B."),
    QTK_OPT_FLOAT(struct lowrank_options, alpha, 16, 1e-3, 1e6,
                  "The pair's product is multiplied by alpha / rank."),
    QTK_OPT_FLOAT(struct lowrank_options, dropout, 0, 0, 0.95,
                  "Share of a pair's inputs that training leaves out."),
    QTK_OPT_BOOL(struct lowrank_options, rslora, 0,
                 "Multiply by alpha / sqrt(rank) instead of alpha / rank."),
    QTK_OPT_TEXT(struct lowrank_options, start, "zero", "zero loftq qera",
                 "Begin at the base, or at the error of its rounding: in the weights, or in what "
                 "comes of them."),
    QTK_OPT_TEXT(struct lowrank_options, roles, "", NULL,
                 "Roles of the linears that get a pair, such as 'q v'; empty: all."),
    QTK_OPT_TEXT(struct lowrank_options, dtype, "f16", "f16 f32", "Type of A and B in the bundle."),
    QTK_OPT_END};

static enum qtk_claim lora_claim(const void *options, const struct qtk_tensor_role *t)
{
  const struct lowrank_options *o = options;

  return t->linear && lowrank_wants(o->roles, t->role) ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static int lora_attach(struct qtk_context *ctx, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  (void)ctx, (void)model;
  return lowrank_attach(sizeof(struct lowrank), options, sites, n_sites, h);
}

static const struct qtk_default lora_defaults[] = {
    {"learning_rate", "2e-4"}, {"weight_decay", "0.0"}, {NULL, NULL}};

static const struct qtk_adapter_ops lora_ops = {.size = sizeof(struct qtk_adapter_ops),
                                                .defaults = lora_defaults,
                                                .claim = lora_claim,
                                                .attach = lora_attach,
                                                .detach = lowrank_detach,
                                                .params = lowrank_params,
                                                .bind = lowrank_bind,
                                                .start = lowrank_start,
                                                .keep = lowrank_keep,
                                                .forward = lowrank_forward,
                                                .backward = lowrank_backward,
                                                .fold = lowrank_fold,
                                                .memory = lowrank_memory,
                                                .unquantized = lowrank_unquantized,
                                                .inputs = lowrank_inputs,
                                                .form = lowrank_form};

QTK_PLUGIN(.threads = QTK_THREADS_HANDLE, .name = "lora", .version = "0.1",
           .summary = "trains pairs of low rank beside linears", .options = lora_table,
           .options_size = sizeof(struct lowrank_options), .adapter = &lora_ops);
