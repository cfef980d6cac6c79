/* SPDX-License-Identifier: BSD-3-Clause
 * Side networks that start as a part of the model: which part, against numpy, on models of
 * floats and of codes; what they leave alone; what cannot be cut. */
#include <unistd.h>

#include "side.h"

/* ---- numpy -------------------------------------------------------------------------------- */

/* On the floats of the model. */
static void cut_open(struct side *r, const char *path, const char *text)
{
  *r = (struct side){0};
  test_must(qtk_registry_get(QTK_ADAPTER, "qst", &r->plugin), "qst");
  r->options = test_options(r->plugin, text);
  const struct qtk_attached adapter = {
      .name = "qst", .ops = &r->plugin->ops.adapter, .options = r->options->values};
  r->m = test_open(ctx, path, &adapter, 1);
}

/* What numpy has not recorded starts at 0: gates and biases. */
static double cut_none(const float *values, int64_t n)
{
  double most = 0.0;

  for (int64_t i = 0; i < n; i++)
    most = fmax(most, fabs((double)values[i]));
  return most;
}

static void cut_case(const json_t *said)
{
  const char *model = json_string_value(json_object_get(said, "model"));
  int reduction = (int)json_integer_value(json_object_get(said, "reduction"));
  const json_t *values = json_object_get(said, "values");
  struct qtk_param p, worst = {.name = "-"};
  char path[100], text[100];
  struct qtk_tensor value;
  double most = 0.0;
  struct side r;
  size_t n = 0;

  snprintf(path, sizeof path, "nano/%s", model);
  snprintf(text, sizeof text,
           "start = \"pruned\"\nform = \"lst\"\ndownsample = \"linear\"\nreduction = %d", reduction);
  cut_open(&r, test_data(path), text);
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &p, &value); i++) {
    const json_t *one = json_object_get(values, p.name);
    double error = one != NULL ? side_error(one, value.data, side_count(&p))
                               : cut_none(value.data, side_count(&p));
    n += one != NULL;
    if (!(error <= most)) {
      most = error;
      worst = p;
    }
  }
  tap_ok(n == json_object_size(values) && most < 1e-6,
         "%s / %d: %zu parameters are numpy's, off by %.2g (%s)", model, reduction, n, most,
         worst.name);
  side_close(&r);
}

static void cut_all(void)
{
  json_t *all = json_load_file(test_data("qst/pruned.json"), 0, NULL), *one;
  size_t i;

  tap_ok(json_array_size(all) == 10, "numpy's are %zu cases", json_array_size(all));
  json_array_foreach(all, i, one)
    cut_case(one);
  json_decref(all);
}

/* ---- codes ---------------------------------------------------------------------------------- */

/* The channels that a row of the cut took out of a row of the model, or 0: each follows the one
 * before it. */
static int codes_within(const float *row, int64_t cols, const float *cut, int64_t n)
{
  int64_t k = 0;

  for (int64_t i = 0; i < cols && k < n; i++)
    k += row[i] == cut[k];
  return k == n;
}

/* Each row of the cut is in a row of the tensor as it is rounded, in their order. */
static void codes_rows(struct side *r, const char *param, const char *tensor)
{
  int i = side_find(r, param), t = qtk_model_find(r->m.model, tensor);
  const struct qtk_model_tensor *from = qtk_model_tensor(r->m.model, t);
  float *row = malloc((size_t)from->cols * sizeof *row);
  struct qtk_tensor value;
  struct qtk_param p;
  int64_t k = 0;

  qtk_engine_param(r->m.engine, 0, i, &p, &value);
  for (int64_t j = 0; j < from->rows && k < p.shape[0]; j++) {
    test_must(qtk_model_read(r->m.model, t, j, 1, row, from->cols), tensor);
    k += codes_within(row, from->cols, (const float *)value.data + k * p.shape[1], p.shape[1]);
  }
  tap_ok(k == p.shape[0], "codes: %lld of %lld rows of %s are the model's",
         (long long)k, (long long)p.shape[0], param);
  free(row);
}

static void codes_all(void)
{
  struct side r;

  test_must(side_try(&r, folder, "start = \"pruned\"\nreduction = 4"), "codes");
  codes_rows(&r, "side.layers.1.block.up.weight", "model.layers.0.mlp.up_proj.weight");
  codes_rows(&r, "side.layers.2.block.q.weight", "model.layers.1.self_attn.q_proj.weight");
  codes_rows(&r, "side.layers.2.block.down.weight", "model.layers.1.mlp.down_proj.weight");
  side_close(&r);
}

/* ---- what is left alone ---------------------------------------------------------------------- */

static void left_bits(const char *name, const char *text)
{
  char path[100];
  struct side r;

  snprintf(path, sizeof path, "nano/%s", name);
  test_must(side_try(&r, test_data(path), text), path);
  struct test_model plain = {.ctx = ctx, .model = r.m.model, .vocabulary = r.m.vocabulary};
  test_must(qtk_engine_open(ctx, plain.model, NULL, 0, &plain.engine), "engine");
  float *beside = test_logits(&r.m, r.ids, 64, positions, 3);
  float *alone = test_logits(&plain, r.ids, 64, positions, 3);
  tap_ok(memcmp(beside, alone, 3 * (size_t)r.m.vocabulary * sizeof *alone) == 0,
         "%s: the form of the paper starts at the base, bit by bit", name);
  free(beside);
  free(alone);
  qtk_engine_close(plain.engine);
  side_close(&r);
}

/* What is not cut starts as it does without. */
static void left_drawn(void)
{
  struct side plain, r;
  struct qtk_tensor x, y;
  struct qtk_param p;
  int same = 0, other = 0;

  cut_open(&plain, folder, "reduction = 4");
  cut_open(&r, folder, "start = \"pruned\"\nreduction = 4");
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &p, &y); i++) {
    int cut = strstr(p.name, ".block.") != NULL || strcmp(p.name, "side.norm.weight") == 0 ||
              strncmp(p.name, "side.up.", 8) == 0;
    qtk_engine_param(plain.m.engine, 0, i, &p, &x);
    same += !cut && memcmp(x.data, y.data, (size_t)side_count(&p) * sizeof(float)) == 0;
    other += !cut;
  }
  tap_ok(same == other && other > 0, "%d of %d parameters that are not cut start as they do",
         same, other);
  side_close(&plain);
  side_close(&r);
}

/* ---- what cannot be ---------------------------------------------------------------------------- */

/* Heads of 4 in a width of 64: those of half the width, of 8, are no part of them. A plan asks
 * while there is a configuration alone. */
static void refuse_heads(void)
{
  char place[] = "/tmp/qtk-qst-XXXXXX", command[5000];
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  struct qtk_model *model;

  if (mkdtemp(place) == NULL)
    exit(1);
  snprintf(command, sizeof command,
           "sed 's/\"head_dim\": 24/\"head_dim\": 4/' '%s' >%s/config.json && grep -q ': 4' "
           "%s/config.json",
           test_data("nano/qwen3/config.json"), place, place);
  if (system(command) != 0)
    exit(1);
  test_must(qtk_registry_get(QTK_ADAPTER, "qst", &plugin), "qst");
  test_must(qtk_model_open(ctx, place, &model), place);
  options = test_options(plugin, "start = \"pruned\"\nreduction = 2");
  tap_ok(plugin->ops.adapter.check(options->values, qtk_model_info(model)) == QTK_EJOB &&
             strstr(qtk_error_message(), "heads of size 8 cannot be cut out") != NULL,
         "refused: %s", qtk_error_message());
  qtk_options_free(options);
  options = test_options(plugin, "start = \"pruned\"\nreduction = 4");
  tap_ok(plugin->ops.adapter.check(options->values, qtk_model_info(model)) == QTK_OK,
         "heads of the same size are whole");
  qtk_options_free(options);
  qtk_model_close(model);
  snprintf(command, sizeof command, "rm -r %s", place);
  if (system(command) != 0)
    exit(1);
}

/* ---- the interface ------------------------------------------------------------------------------ */

/* Every tensor, vectors too, as the model holds it. */
static void base_rows(void)
{
  const struct qtk_model_info *info;
  struct qtk_tensor_role role;
  int good = 0, n = 0;
  struct side r;

  test_must(side_try(&r, folder, "reduction = 4"), folder);
  info = qtk_model_info(r.m.model);
  for (; qtk_base_tensor(info, n, &role); n++) {
    size_t count = (size_t)(role.rows * role.cols);
    float *want = malloc(2 * count * sizeof *want), *got = want + count;
    test_must(qtk_model_read(r.m.model, n, 0, role.rows, want, role.cols), role.name);
    test_must(qtk_base_rows(ctx, info, n, 0, role.rows, got), role.name);
    good += memcmp(want, got, count * sizeof *want) == 0 &&
            qtk_model_find(r.m.model, role.name) == n;
    free(want);
  }
  tap_ok(n == qtk_model_count(r.m.model) && good == n, "%d of %d tensors are the model's", good, n);
  tap_ok(qtk_base_rows(ctx, info, n, 0, 1, NULL) == QTK_EINTERNAL &&
             qtk_base_rows(ctx, info, 0, -1, 1, NULL) == QTK_EINTERNAL &&
             qtk_base_rows(ctx, info, 0, info->vocabulary, 1, NULL) == QTK_EINTERNAL,
         "rows that are not there: %s", qtk_error_message());
  side_close(&r);
}

int main(void)
{
  toy_begin();
  cut_all();
  codes_all();
  left_bits("llama", "start = \"pruned\"\nreduction = 4");
  left_bits("gpt2", "start = \"pruned\"\nreduction = 4");
  left_bits("gpt_neox", "start = \"pruned\"\nreduction = 2");
  left_drawn();
  refuse_heads();
  base_rows();
  toy_end();
  return tap_end();
}
