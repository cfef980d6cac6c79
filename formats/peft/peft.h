/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of this plugin share: an opened adapter. */
#ifndef PEFT_H
#define PEFT_H

#include "../safetensors/safetensors.h"

#define PEFT_CONFIG "adapter_config.json"
#define PEFT_WEIGHTS "adapter_model.safetensors"
#define PEFT_PREFIX "base_model.model."
#define PEFT_METHOD "lora" /* the plugin that computes as these adapters do */

/* What the configuration says that matters here. */
struct peft_config {
  int64_t rank;
  double alpha, dropout;
  int scaled; /* by the root of the rank */
};

struct peft_param {
  char *tensor;     /* "model.layers.0.self_attn.q_proj.weight" */
  const char *part; /* "lora_A" */
  const struct safetensors_tensor *data;
};

struct peft_model {
  struct safetensors_file file;
  struct safetensors_list tensors;
  struct peft_config config;
  struct peft_param *params; /* [tensors.n] */
  char *options;
};

/* ---- config.c ---- */

/* QTK_EINPUT for what would compute otherwise than a pair of low rank. */
int peft_config_read(const char *folder, struct peft_config *config);

/* ---- read.c ---- */

int peft_open(struct qtk_context *ctx, const char *path, void **h);
void peft_close(void *h);
int peft_adapter(void *h, struct qtk_format_adapter *adapter);
int peft_param(void *h, int i, struct qtk_format_param *param);
int peft_read_param(void *h, int i, float *out);

/* ---- write.c ---- */

int peft_measure(const void *options, const struct qtk_adapter_export *adapter, uint64_t *bytes);
int peft_write(struct qtk_context *ctx, const void *options, const char *path,
               const struct qtk_adapter_export *adapter, struct qtk_export_result *result);

#endif
