/* SPDX-License-Identifier: BSD-3-Clause
 * qtk inspect: what a model, a bundle or a plugin is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/bundle.h"
#include "core/cli/cli.h"
#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/generate.h"
#include "core/job.h"
#include "core/json.h"
#include "core/model.h"
#include "core/tokenizer.h"

/* ---- sizes ----------------------------------------------------------------------- */

/* Tensors of one type of the file. */
struct inspect_type {
  const char *name;
  int n;
  uint64_t weights, bytes;
};

#define INSPECT_TYPES 64

static struct inspect_type *inspect_find(struct inspect_type *types, const char *name)
{
  int i = 0;
  while (i < INSPECT_TYPES - 1 && types[i].name != NULL && strcmp(types[i].name, name) != 0)
    i++;
  types[i].name = name;
  return &types[i];
}

static void inspect_count(const struct qtk_model *m, struct inspect_type *types)
{
  for (int i = 0; i < qtk_model_count(m); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(m, i);
    struct inspect_type *type = inspect_find(types, t->source_type ? t->source_type : "?");
    type->n++;
    type->weights += (uint64_t)t->rows * (uint64_t)t->cols;
    type->bytes += qtk_qlayout_bytes(&t->layout);
  }
}

static void inspect_add_type(struct cli_table *table, const struct inspect_type *type)
{
  char size[QTK_SIZE_TEXT];
  cli_table_add(table, "%s", type->name);
  cli_table_add(table, "%d", type->n);
  cli_table_add(table, "%llu", (unsigned long long)type->weights);
  cli_table_add(table, "%s", qtk_size_text(type->bytes, size));
  cli_table_add(table, "%.3f", 8.0 * (double)type->bytes / (double)type->weights);
}

static int inspect_types(const struct qtk_model *m)
{
  struct inspect_type types[INSPECT_TYPES] = {{0}}, all = {.name = "all"};
  struct cli_table table;
  inspect_count(m, types);
  cli_table_begin(&table, 5, 2 | 4 | 8 | 16);
  static const char *const head[] = {"type", "tensors", "weights", "bytes", "bits a weight"};
  for (int i = 0; i < 5; i++)
    cli_table_add(&table, "%s", head[i]);
  for (int i = 0; i < INSPECT_TYPES && types[i].name != NULL; i++) {
    inspect_add_type(&table, &types[i]);
    all.n += types[i].n;
    all.weights += types[i].weights;
    all.bytes += types[i].bytes;
  }
  if (all.weights > 0)
    inspect_add_type(&table, &all);
  return cli_table_print(&table);
}

static int inspect_tensors(const struct qtk_model *m)
{
  struct cli_table table;
  cli_table_begin(&table, 4, 4 | 8);
  for (int i = 0; i < qtk_model_count(m); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(m, i);
    cli_table_add(&table, "%s", t->name);
    cli_table_add(&table, "%s", t->source_type ? t->source_type : "?");
    if (t->ndim == 1)
      cli_table_add(&table, "%lld", (long long)t->rows);
    else
      cli_table_add(&table, "%lld x %lld", (long long)t->rows, (long long)t->cols);
    cli_table_add(&table, "%llu", (unsigned long long)qtk_qlayout_bytes(&t->layout));
  }
  return cli_table_print(&table);
}

/* ---- errors of a quantized model -------------------------------------------------------- */

struct inspect_error {
  double value;
  const char *name;
};

static int inspect_compare(const void *a, const void *b)
{
  double x = ((const struct inspect_error *)a)->value, y = ((const struct inspect_error *)b)->value;
  return (x > y) - (x < y);
}

#define INSPECT_BINS 10

static void inspect_bars(const struct inspect_error *e, size_t n)
{
  double low = e[0].value, width = (e[n - 1].value - low) / INSPECT_BINS;
  size_t i = 0, most = 1, counts[INSPECT_BINS] = {0};
  for (int b = 0; b < INSPECT_BINS; b++) {
    while (i < n && (b + 1 == INSPECT_BINS || e[i].value < low + width * (b + 1))) {
      counts[b]++;
      i++;
    }
    most = counts[b] > most ? counts[b] : most;
  }
  for (int b = 0; b < INSPECT_BINS; b++) {
    printf("  %.3e  ", low + width * b);
    for (size_t k = 0; k < (counts[b] * 50 + most - 1) / most; k++)
      putchar('#');
    printf("%s%zu\n", counts[b] ? " " : "", counts[b]);
  }
}

static void inspect_histogram(struct inspect_error *e, size_t n)
{
  qsort(e, n, sizeof *e, inspect_compare);
  printf("\nrelative error of %zu layers, |w - what|^2 / |w|^2: median %.3e\n", n, e[n / 2].value);
  printf("  least %.3e  %s\n  most  %.3e  %s\n", e[0].value, e[0].name, e[n - 1].value,
         e[n - 1].name);
  inspect_bars(e, n);
}

/* The layers of the last stage that tells of any. */
static const json_t *inspect_layers(const json_t *results)
{
  const json_t *found = NULL, *stage;
  size_t i;
  json_array_foreach(json_object_get(results, "stages"), i, stage)
  {
    const json_t *layers = json_object_get(stage, "layers");
    found = json_array_size(layers) > 0 ? layers : found;
  }
  return found;
}

static int inspect_errors(const struct qtk_model *m)
{
  const char *text = qtk_model_text(m, "results");
  json_t *results;
  if (text == NULL)
    return QTK_OK;
  int rc = qtk_json_parse(text, strlen(text), "results.json", &results);
  if (rc != QTK_OK)
    return rc;
  const json_t *layers = inspect_layers(results);
  size_t n = json_array_size(layers);
  struct inspect_error *errors = calloc(n + 1, sizeof *errors);
  for (size_t i = 0; i < n && errors != NULL; i++) {
    const json_t *layer = json_array_get(layers, i);
    const char *name = json_string_value(json_object_get(layer, "name"));
    errors[i].value = json_number_value(json_object_get(layer, "relative_error"));
    errors[i].name = name ? name : "?";
  }
  if (n > 0 && errors != NULL)
    inspect_histogram(errors, n);
  rc = errors ? QTK_OK : qtk_error_memory(n * sizeof *errors, "a histogram");
  free(errors);
  json_decref(results);
  return rc;
}

/* ---- models ----------------------------------------------------------------------------- */

/* What generating takes beside the weights. */
static void inspect_cache(const struct qtk_model_info *info)
{
  char one[2][QTK_SIZE_TEXT], all[2][QTK_SIZE_TEXT];
  for (int half = 0; half < 2; half++) {
    qtk_size_text(qtk_cache_bytes(info, 1, half), one[half]);
    qtk_size_text(qtk_cache_bytes(info, info->context, half), all[half]);
  }
  printf("cache %s a token in f16, %s in f32; %s and %s for the context\n", one[1], one[0], all[1],
         all[0]);
}

static void inspect_tokenizer(const struct qtk_model *m)
{
  struct qtk_tokenizer *t = NULL;
  int rc = qtk_model_open_tokenizer(m, NULL, &t);
  if (t != NULL)
    printf("tokenizer of %d tokens\n", qtk_tokenizer_size(t));
  else if (rc != QTK_OK)
    printf("tokenizer that cannot be used: %s\n", qtk_error_message());
  else
    printf("tokenizer none\n");
  qtk_tokenizer_close(t);
}

static void inspect_head(const struct qtk_model *m, const char *path)
{
  const struct qtk_model_info *info = qtk_model_info(m);
  const struct qtk_dims *d = &info->dims;
  printf("%s: format %s, family %s\n", path, qtk_model_format(m), info->family);
  printf("parameters %lld, layers %lld, hidden %lld, feed-forward %lld\n",
         (long long)qtk_model_parameters(m), (long long)info->layers, (long long)d->hidden,
         (long long)d->ffn);
  printf("heads %lld of %lld (%lld for keys and values), vocabulary %lld, context %lld\n",
         (long long)d->heads, (long long)d->head_size, (long long)d->kv_heads,
         (long long)info->vocabulary, (long long)info->context);
  inspect_cache(info);
  inspect_tokenizer(m);
  printf("%s\n", qtk_model_has_weights(m) ? "" : "a configuration without weights\n");
}

/* With a description of the user's: everything that does not fit it, on standard output. */
static int inspect_open(struct qtk_context *ctx, const char *path, const char *arch,
                        struct qtk_model **m)
{
  struct qtk_model_fit fit = {0};
  if (arch == NULL)
    return qtk_model_open(ctx, path, m);
  int rc = qtk_model_open_as(ctx, path, arch, &fit, m);
  for (size_t i = 0; i < fit.n; i++)
    printf("%s\n", fit.lines[i]);
  qtk_model_fit_free(&fit);
  if (rc == QTK_OK && qtk_model_has_weights(*m))
    printf("%s fits %s: all %d tensors, and nothing else\n", path, arch, qtk_model_count(*m));
  return rc;
}

static int inspect_model(const char *path, const char *arch, int tensors)
{
  struct qtk_context_options options = {.threads = 1};
  struct qtk_context *ctx;
  struct qtk_model *m;
  int rc = qtk_context_open(&options, &ctx);
  if (rc != QTK_OK)
    return rc;
  rc = inspect_open(ctx, path, arch, &m);
  if (rc == QTK_OK) {
    inspect_head(m, path);
    rc = tensors ? inspect_tensors(m) : inspect_types(m);
    if (rc == QTK_OK && !tensors)
      rc = inspect_errors(m);
    qtk_model_close(m);
  }
  qtk_context_close(ctx);
  return rc == QTK_OK ? cli_flush() : rc;
}

/* ---- bundles ------------------------------------------------------------------------------- */

/* What a manifest says that a model does not. */
static int inspect_bundle(const char *path, int *is_model)
{
  struct qtk_bundle *b;
  *is_model = 1;
  if (!qtk_path_ends(path, ".qtk"))
    return QTK_OK;
  int rc = qtk_bundle_open(path, &b);
  if (rc != QTK_OK)
    return rc;
  *is_model = strcmp(qtk_bundle_kind(b), "model") == 0;
  printf("%s: a bundle with %s\n", path, *is_model ? "a model" : "an adapter");
  if (*is_model)
    printf("model digest %s\n", qtk_bundle_model_digest(b));
  cli_print_redo(b);
  cli_print_signature(b);
  rc = cli_print_adapters(b);
  qtk_bundle_close(b);
  return rc == QTK_OK ? cli_flush() : rc;
}

int cli_inspect(int argc, char **argv)
{
  int tensors = 0, is_model;
  const struct qtk_loaded *loaded;
  const char *arch = NULL;
  const struct cli_option options[] = {
    {"arch", CLI_TEXT, &arch, "FILE", "this description of its family; says what does not fit"},
    {"tensors", CLI_FLAG, &tensors, NULL, "every tensor with type, shape and bytes"},
    {0}};
  const struct cli_usage usage = {
    "inspect", "PATH", 1, 1, options,
    "Says what a model file, a model folder, a bundle or a plugin is: sizes, types of\n"
    "tensors, bits a weight, and of a quantized bundle a histogram of its layers' errors."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  if (qtk_path_ends(argv[0], ".so"))
    return (rc = cli_plugin_open(argv[0], NULL, &loaded)) == QTK_OK ? cli_describe(loaded, 0) : rc;
  rc = inspect_bundle(argv[0], &is_model);
  return rc == QTK_OK && is_model ? inspect_model(argv[0], arch, tensors) : rc;
}
