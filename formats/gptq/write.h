/* SPDX-License-Identifier: BSD-3-Clause
 * A checkpoint being written: what the files of the writer share. */
#ifndef GPTQ_WRITE_H
#define GPTQ_WRITE_H

#include "gptq.h"

struct gptq_options {
  const char *version, *dtype;
  int64_t shard;
};

struct gptq_writer {
  struct qtk_context *ctx;
  const struct qtk_export *model;
  const struct gptq_options *options;
  struct safetensors_entry *entries;
  char (*names)[512]; /* of entries that are parts of linears */
  int *first;         /* [n_tensors] the first entry of each tensor */
  int n_entries;
  struct safetensors_folder folder;
  struct safetensors_values values;
  int tensor;  /* the next to come */
  int64_t row; /* its next row */
  int is_v2;
  const char *lowest, *highest; /* linears with a zero of 0, of 2^bits */
};

/* The type that the floats of a tensor are written in (accept.c). */
enum qtk_dtype gptq_dtype(const struct gptq_options *options, const struct qtk_export_tensor *t);
enum qtk_export_how gptq_accepts(const void *options, const struct qtk_export_tensor *t);

/* The parts of linear i, one after the other (parts.c). */
int gptq_write_linear(struct gptq_writer *w, int i, const struct qtk_qtensor *t);

/* How the linears are packed, as JSON for free; NULL with an error set (describe.c). */
char *gptq_describe(const struct gptq_writer *w);

/* Slots (write.c). */
extern const struct qtk_option gptq_options[];
int gptq_create(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **w);
int gptq_write(void *w, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized);
int gptq_finish(void *w, struct qtk_export_result *result);
void gptq_abort(void *w);

#endif
