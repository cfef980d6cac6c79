/* SPDX-License-Identifier: BSD-3-Clause
 * What a job reads, by digest, and what it leaves. Only for the pipeline's own
 * files. */
#ifndef QTK_CORE_PIPELINE_OUTPUT_H
#define QTK_CORE_PIPELINE_OUTPUT_H

#include "core/bundle.h"
#include "core/stage.h"

/* What the results of a job depend on besides its text. */
struct qtk_inputs {
  char model[QTK_DIGEST_HEX], source[QTK_DIGEST_HEX];
  struct qtk_plan_input *data; /* files that stages read */
  size_t n;
  int forced;    /* an adapter was put on another base than its own */
  char *plugins; /* kind, name and version of those that stages use, a line each */
};
int qtk_inputs_read(struct qtk_context *ctx, const struct qtk_plan *plan,
                    struct qtk_inputs *inputs);
/* inputs->plugins, a new text. */
int qtk_inputs_plugins(const struct qtk_plan *plan, struct qtk_inputs *inputs);
void qtk_inputs_end(struct qtk_inputs *inputs);

/* What the base of a job's adapters depends on, known before the stages. */
struct qtk_base {
  char *portable, *plugins;
};
int qtk_base_begin(const struct qtk_plan *plan, const struct qtk_inputs *inputs,
                   struct qtk_base *base);
void qtk_base_end(struct qtk_base *base);

/* A redo: QTK_EMISMATCH if the bundle was made of other inputs; then what is done again, and
 * the job that the rest was made by, are put into the text. */
int qtk_redo_portable(struct qtk_context *ctx, const struct qtk_plan *plan, struct qtk_str *text);

/* Writes the model as the stages left it. */
int qtk_output_bundle(struct qtk_work *work, const char *path, const char *portable,
                      const struct qtk_inputs *inputs, struct qtk_bundle_result *result);
/* The same without the adapters that the job trained and left on it: what a job that ends before
 * them makes. */
int qtk_output_base(const struct qtk_work *work, const char *path, const struct qtk_base *base,
                    const struct qtk_inputs *inputs, struct qtk_bundle_result *result);
/* Writes the topmost adapter that lies on it. */
int qtk_output_adapter(struct qtk_work *work, const char *path, const char *portable,
                       const struct qtk_inputs *inputs, uint64_t *bytes);
int qtk_output_report(const json_t *report, const char *path);
int qtk_output_page(const json_t *report, const char *path);

#endif
