/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of adapters over quantized models: a plugin's options from a text, and a model
 * whose linears a quantizer has rounded. */
#ifndef TESTS_NUMERIC_ROUNDED_H
#define TESTS_NUMERIC_ROUNDED_H

#include "core/option.h"
#include "core/toml.h"
#include "model.h"

static inline struct qtk_options *test_options(const struct qtk_loaded *plugin, const char *text)
{
  struct qtk_options *options;
  struct qtk_toml *toml;

  test_must(qtk_toml_parse(text, strlen(text), "text", &toml), "options");
  test_must(qtk_options_parse(plugin->plugin.options, plugin->plugin.options_size, toml, NULL,
                              &options),
            "options");
  qtk_toml_free(toml);
  return options;
}

/* Memory of rounded tensors, until no model uses them. */
struct rounded {
  void *blocks[64];
  int n;
};

/* Float rows w of a linear, rounded; w is written over. */
static inline struct qtk_qtensor rounded_rows(struct rounded *r, struct qtk_context *ctx,
                                              const char *name, const char *text,
                                              const struct qtk_model_tensor *t, float *w)
{
  struct qtk_linear linear = {t->name, t->role, t->layer, t->rows, t->cols, 0};
  struct qtk_qlayout layout = {.rows = t->rows, .cols = t->cols};
  struct qtk_quantize_result result = {0};
  const struct qtk_loaded *plugin;
  struct qtk_options *options;

  test_must(qtk_registry_get(QTK_QUANTIZER, name, &plugin), name);
  options = test_options(plugin, text);
  test_must(plugin->ops.quantizer.describe(options->values, &linear, &layout), "describe");
  test_must(qtk_qlayout_init(&layout), "layout");
  void *block = r->blocks[r->n++] = calloc(1, qtk_qtensor_block_bytes(&layout));
  struct qtk_qtensor out = qtk_qtensor_over(&layout, block);
  test_must(plugin->ops.quantizer.quantize(ctx, options->values, &linear, w, NULL, &out, &result),
            "quantize");
  qtk_options_free(options);
  return out;
}

static inline void rounded_linears(struct rounded *r, struct qtk_context *ctx,
                                   struct qtk_model *model, const char *name, const char *text)
{
  for (int i = 0; i < qtk_model_count(model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
    if (!t->linear)
      continue;
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    test_must(qtk_model_read(model, i, 0, t->rows, w, t->cols), t->name);
    struct qtk_qtensor q = rounded_rows(r, ctx, name, text, t, w);
    test_must(qtk_model_replace(model, i, &q, name, text), t->name);
    free(w);
  }
}

static inline void rounded_free(struct rounded *r)
{
  for (int i = 0; i < r->n; i++)
    free(r->blocks[i]);
  r->n = 0;
}

#endif
