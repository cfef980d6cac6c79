/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of this plugin share: the words that hold codes and zeros, the
 * configuration, the linears of a folder, and the writer.
 *
 * A linear NAME of n outputs and m inputs with b-bit codes in G groups is held as
 *   NAME.qweight  I32 [m b / 32, n]  codes, packed along the inputs
 *   NAME.qzeros   I32 [G, n b / 32]  zeros, packed along the outputs
 *   NAME.scales   F16 [G, n]
 *   NAME.g_idx    I32 [m]            group of each input; input / group if absent
 * and is NAME.weight [n, m] to the rest of qtk: w = scale (q - zero). Version 1 of
 * the format stores zero - 1, version 2 the zero. */
#ifndef GPTQ_H
#define GPTQ_H

#include "../safetensors/safetensors.h"

/* ---- fields in words (codes.c) ------------------------------------------------ */

/* 32 fields of `bits` are one little-endian stream in `bits` words. The words lie
 * `stride` bytes apart, at any alignment. The last ones of a row that is no multiple
 * of 32 fields are fewer: `words`, and what they do not hold is 0. */
void gptq_unpack(const unsigned char *at, size_t stride, int bits, int words, uint8_t values[32]);
void gptq_pack(const uint8_t values[32], int bits, uint32_t words[8]);
/* Field i of a stream of words that lie together. */
unsigned gptq_field(const unsigned char *at, int bits, int64_t i);

/* ---- the configuration (config.c) ------------------------------------------------ */

struct gptq_config {
  int is_v2;
  int bits;
  int64_t group; /* -1: a row has one */
  int sym, desc_act;
  int64_t *groups; /* others that rules of single linears name; with them bits may differ too */
  size_t n_groups;
  int dynamic; /* there are such rules */
};

/* Whether a folder's configuration says that its weights are packed: 1 by this format's
 * method, -1 by another, 0 no. */
int gptq_config_probe(const char *folder);
int gptq_config_read(const char *folder, struct gptq_config *config);
void gptq_config_free(struct gptq_config *config);
/* The name that weight files of a folder begin with, "model" if there are none. */
void gptq_config_weights(const char *folder, const struct gptq_config *config, char name[64]);

/* ---- a model (model.c, linear.c) ---------------------------------------------------- */

enum gptq_part { GPTQ_QWEIGHT, GPTQ_QZEROS, GPTQ_SCALES, GPTQ_G_IDX, GPTQ_PARTS };
extern const char *const gptq_suffixes[GPTQ_PARTS]; /* ".qweight", ... */

struct gptq_linear {
  const char *name;                                 /* without a suffix: for messages */
  const struct safetensors_tensor *parts[GPTQ_PARTS]; /* g_idx may be NULL */
  struct qtk_qlayout layout;
  int add;               /* to a stored zero */
  int zero_min, zero_max; /* of all zeros */
};

/* Checks sizes, zeros and indices of a linear whose parts are there, and makes its layout. */
int gptq_linear_check(struct gptq_linear *linear, const struct gptq_config *config);

struct gptq_item {
  char *name;                 /* of a linear's weight; NULL: the file's own */
  int tensor;                 /* number in the files; a linear's qweight */
  struct gptq_linear *linear; /* NULL: a tensor as it lies there */
};

struct gptq_model {
  struct safetensors_model *files;
  struct gptq_config config;
  struct gptq_item *items;
  int n;
};

int gptq_model_open(const char *path, struct gptq_model **model);
void gptq_model_close(struct gptq_model *model);

/* ---- slots that read (read.c) --------------------------------------------------------- */

int gptq_tensor(void *h, int i, struct qtk_tensor_info *info);
int gptq_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride);
int gptq_map(void *h, int i, const void **data, uint64_t *bytes);
int gptq_quantized(void *h, int i, struct qtk_qlayout *layout);
int gptq_read_quantized(void *h, int i, int64_t row, int64_t n, struct qtk_qtensor *out);
void gptq_drop(void *h, int i);

#endif
