/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters in files of other programs: their names and options are put into ours, and back. */
#ifndef QTK_CORE_FOREIGN_H
#define QTK_CORE_FOREIGN_H

#include "core/engine.h"
#include "core/model.h"

/* Opens the adapter at `path`, a bundle or what a format plugin reads, for this model: with the
 * names that the model has. QTK_EINPUT for a path that holds none, or one for another model. */
QTK_PUBLIC int qtk_foreign_load(struct qtk_context *ctx, const struct qtk_model *model, const char *path,
                                struct qtk_tuned **tuned);

/* An adapter to be written by a format: names of its own files. */
struct qtk_foreign {
  const struct qtk_format_ops *ops;
  const void *options; /* of the format */
  const struct qtk_model *model;
  struct qtk_adapter_export contents;
  struct qtk_format_param *params;
  char **names;   /* of the parameters, as the adapter has them */
  char **tensors; /* theirs, in the format's schema */
  struct qtk_form form;
  char *base;
  uint64_t bytes; /* of the files */
};

/* Begins with the adapter as it is attached, for this format and its options; parameters are
 * added; then it is measured. QTK_EJOB for what the format cannot hold. Ended also after an error.
 * The adapter must outlive it. */
int qtk_foreign_begin(struct qtk_foreign *f, const struct qtk_model *model,
                      const struct qtk_loaded *format, const void *options,
                      const struct qtk_attached *adapter);
int qtk_foreign_add(struct qtk_foreign *f, const struct qtk_param *param);
int qtk_foreign_measure(struct qtk_foreign *f);
void qtk_foreign_end(struct qtk_foreign *f); /* {0} is fine */
/* Writes it with the values of `tuned`. */
int qtk_foreign_write(struct qtk_context *ctx, struct qtk_foreign *f,
                      const struct qtk_tuned *tuned, const char *path,
                      struct qtk_export_result *result);

#endif
