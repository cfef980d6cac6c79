/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of this plugin share: a configuration, and an opened adapter. */
#ifndef PEFT_H
#define PEFT_H

#include "../safetensors/safetensors.h"

#define PEFT_CONFIG "adapter_config.json"
#define PEFT_WEIGHTS "adapter_model.safetensors"
#define PEFT_PREFIX "base_model.model."
#define PEFT_METHOD "lora" /* the plugin that what is read here becomes an adapter of */

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
  json_t *root; /* of the configuration */
  struct peft_config config;
  struct peft_param *params; /* [tensors.n] */
  char *options, *note;
};

/* ---- config.c ---- */

/* QTK_EINPUT for what would compute otherwise than pairs of low rank. */
int peft_config_check(const json_t *root, struct peft_config *config);
/* The file of a folder, checked, to be released. What is not known is a warning. */
int peft_config_read(const char *folder, json_t **root, struct peft_config *config);

/* ---- targets.c ---- */

/* 1 if a pair at the linear `module` is one that the configuration asks for, as far as it says so
 * without expressions: PEFT leaves out the others. */
int peft_targets_have(const json_t *root, const char *module);

/* ---- note.c: what a folder says beside its pairs, kept for the next folder ---- */

struct peft_note {
  json_t *config;   /* all of it */
  uint64_t linears; /* peft_linear of each, added up */
  int bf16;         /* all values were BF16 */
};
uint64_t peft_linear(const char *tensor);
/* As a text, for free; NULL without memory. */
char *peft_note_write(const struct peft_note *note);
/* QTK_EINPUT for what is none. config is to be released. */
int peft_note_read(const char *text, struct peft_note *note);

/* ---- json.c ---- */

/* As Python's json.dumps (value, indent=2, sort_keys=True) has it, byte by byte; for free, NULL
 * without memory. */
char *peft_json(const json_t *value);

/* ---- read.c ---- */

int peft_open(struct qtk_context *ctx, const char *path, void **h);
void peft_close(void *h);
int peft_adapter(void *h, struct qtk_format_adapter *adapter);
int peft_param(void *h, int i, struct qtk_format_param *param);
int peft_read_param(void *h, int i, float *out);

/* ---- write-config.c ---- */

/* The length of a tensor's name without its ".weight"; 0 if it ends otherwise. */
size_t peft_path(const char *tensor);
/* The configuration of an adapter, for free; *bf16: its values are to be written so. */
int peft_config_write(const struct qtk_adapter_export *adapter, char **text, int *bf16);

/* ---- write.c ---- */

int peft_measure(const void *options, const struct qtk_adapter_export *adapter, uint64_t *bytes);
int peft_write(struct qtk_context *ctx, const void *options, const char *path,
               const struct qtk_adapter_export *adapter, struct qtk_export_result *result);

#endif
