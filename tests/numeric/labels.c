/* SPDX-License-Identifier: BSD-3-Clause
 * A head for labels: scores, losses and gradients of transformers' sequence classifiers, gradients
 * of adapters under it against differences, coefficients of scikit-learn and SciPy. */
#include "core/eval-labels.h"
#include "core/train.h"
#include "rounded.h"
#include "toy.h"

#define MOST 64 /* tokens, labels */

/* ---- sequences ------------------------------------------------------------------------------ */

struct labelled {
  int64_t n, lengths[8], starts[9];
  int32_t tokens[MOST], targets[MOST], classes[8];
  float weights[MOST], labels[8];
};

static void labelled_read(struct labelled *l, const json_t *sequences, const json_t *labels)
{
  *l = (struct labelled){.n = (int64_t)json_array_size(sequences)};
  for (int64_t i = 0; i < l->n; i++) {
    const json_t *one = json_array_get(sequences, (size_t)i);
    l->lengths[i] = (int64_t)json_array_size(one);
    l->starts[i + 1] = l->starts[i] + l->lengths[i];
    for (int64_t k = 0; k < l->lengths[i]; k++)
      l->tokens[l->starts[i] + k] =
          (int32_t)json_integer_value(json_array_get(one, (size_t)k));
    l->labels[i] = (float)json_number_value(json_array_get(labels, (size_t)i));
    l->classes[i] = (int32_t)l->labels[i];
    l->targets[l->starts[i + 1] - 1] = 0;
    l->weights[l->starts[i + 1] - 1] = 1.0f;
  }
  for (int64_t i = 0; i < l->starts[l->n]; i++)
    l->targets[i] = l->weights[i] > 0.0f ? 0 : -1;
}

static struct qtk_batch labelled_batch(const struct labelled *l, int64_t classes)
{
  return (struct qtk_batch){.tokens = l->starts[l->n], .ids = l->tokens, .targets = l->targets,
                            .weights = l->weights, .sequences = l->n, .starts = l->starts,
                            .classes = classes > 1 ? l->classes : NULL,
                            .values = classes > 1 ? NULL : l->labels};
}

/* ---- a model with a head -------------------------------------------------------------------- */

struct headed {
  struct test_model m;
  struct rounded rounded;
  const struct qtk_loaded *plugin;
  struct qtk_options *options;
  struct qtk_session *s;
  int score; /* number of its parameter */
};

static void headed_open(struct headed *h, const char *plugin, const char *options, int64_t classes,
                        int64_t sequences)
{
  struct qtk_tensor value;
  struct qtk_param param;

  *h = (struct headed){.m = {.ctx = ctx}, .score = -1};
  test_must(qtk_model_open(ctx, test_data("nano/llama"), &h->m.model), "model");
  if (strcmp(plugin, "peqa") == 0)
    rounded_linears(&h->rounded, ctx, h->m.model, "rtn", "bits = 4\ngroup = 32\n");
  test_must(qtk_registry_get(QTK_ADAPTER, plugin, &h->plugin), plugin);
  h->options = test_options(h->plugin, options);
  const struct qtk_attached adapter = {.name = plugin,
                                       .ops = &h->plugin->ops.adapter,
                                       .options = h->options->values,
                                       .classes = classes};
  test_must(qtk_engine_open(ctx, h->m.model, &adapter, 1, &h->m.engine), "engine");
  test_must(qtk_engine_train_only(h->m.engine, 0), "train");
  test_must(qtk_session_new(h->m.engine, sequences, 0, &h->s), "session");
  for (int i = 0; qtk_engine_param(h->m.engine, 0, i, &param, &value); i++)
    h->score = strcmp(param.name, "score.weight") == 0 ? i : h->score;
}

static void headed_close(struct headed *h)
{
  qtk_session_free(h->s);
  test_close(&h->m);
  qtk_options_free(h->options);
  rounded_free(&h->rounded);
}

/* The record's head. */
static struct qtk_tensor headed_fill(struct headed *h)
{
  struct qtk_tensor value = {0};
  struct qtk_param param;

  qtk_engine_param(h->m.engine, 0, h->score, &param, &value);
  for (int64_t i = 0; i < value.shape[0] * value.shape[1]; i++)
    ((float *)value.data)[i] = 0.3f * (float)sin(1.7 * (double)i);
  return value;
}

static double headed_loss(struct headed *h, const struct labelled *l, const struct qtk_batch *b,
                          int back)
{
  static const uint64_t numbers[8] = {0};
  struct qtk_tensor hidden;
  double sum, weight;

  qtk_session_train(h->s, back, numbers);
  test_must(qtk_session_forward(h->s, l->tokens, l->lengths, &hidden), "forward");
  test_must(back ? qtk_session_backward(h->s, b, &hidden, 1.0 / (double)l->n, &sum, &weight)
                 : qtk_session_loss(h->s, b, &hidden, NULL, &sum, &weight),
            "loss");
  return sum / weight;
}

/* ---- transformers --------------------------------------------------------------------------- */

static double reference_distance(const json_t *want, const float *found)
{
  double worst = 0.0, most = 0.0;

  for (size_t i = 0; i < json_array_size(want); i++) {
    double w = json_number_value(json_array_get(want, i));
    worst = fmax(worst, fabs(w - (double)found[i]));
    most = fmax(most, fabs(w));
  }
  return worst / most;
}

static void reference_case(const json_t *sequences, const json_t *c, int64_t classes)
{
  struct labelled l;
  struct headed h;
  struct qtk_tensor hidden, gradient;
  float scores[8 * 3];
  double worst = 0.0;

  labelled_read(&l, sequences, json_object_get(c, "labels"));
  headed_open(&h, "lora", "rank = 2", classes, l.n);
  headed_fill(&h);
  const struct qtk_batch batch = labelled_batch(&l, classes);
  test_must(qtk_session_forward(h.s, l.tokens, l.lengths, &hidden), "forward");
  test_must(qtk_session_scores(h.s, &batch, &hidden, scores), "scores");
  for (int64_t i = 0; i < l.n; i++)
    worst = fmax(worst, reference_distance(json_array_get(json_object_get(c, "scores"), (size_t)i),
                                           scores + i * classes));
  tap_ok(worst < 1e-4, "%d classes: scores of transformers within %.2g", (int)classes, worst);
  worst = fabs(headed_loss(&h, &l, &batch, 1) / json_number_value(json_object_get(c, "loss")) - 1);
  tap_ok(worst < 1e-5, "%d classes: its loss within %.2g", (int)classes, worst);
  qtk_engine_gradient(h.m.engine, 0, h.score, &gradient);
  worst = reference_distance(json_object_get(c, "gradient"), gradient.data);
  tap_ok(worst < 1e-4, "%d classes: the head's gradient within %.2g", (int)classes, worst);
  headed_close(&h);
}

/* ---- differences ---------------------------------------------------------------------------- */

/* Each parameter's gradient along itself plus a pattern, against a central difference. */
static void slope_param(struct headed *h, const struct labelled *l, const struct qtk_batch *b, int i,
                        double *worst)
{
  struct qtk_tensor value, gradient;
  struct qtk_param param;
  double along = 0.0, plus, minus, size = 0.0;

  qtk_engine_param(h->m.engine, 0, i, &param, &value);
  qtk_engine_gradient(h->m.engine, 0, i, &gradient);
  int64_t n = value.ndim == 2 ? value.shape[0] * value.shape[1] : value.shape[0];
  float *kept = malloc((size_t)n * sizeof *kept), *v = value.data, *g = gradient.data;
  memcpy(kept, v, (size_t)n * sizeof *kept);
  for (int64_t k = 0; k < n; k++)
    size += (double)g[k] * (double)g[k];
  size = sqrt(size);
  for (int64_t k = 0; size > 0.0 && k < n; k++)
    along += (double)g[k] * (double)g[k] / size;
  const double step = 1e-3;
  for (int64_t k = 0; size > 0.0 && k < n; k++)
    v[k] = (float)((double)kept[k] + step * (double)g[k] / size);
  test_must(qtk_engine_changed(h->m.engine, 0, 0), "changed");
  plus = headed_loss(h, l, b, 0);
  for (int64_t k = 0; size > 0.0 && k < n; k++)
    v[k] = (float)((double)kept[k] - step * (double)g[k] / size);
  test_must(qtk_engine_changed(h->m.engine, 0, 0), "changed");
  minus = headed_loss(h, l, b, 0);
  memcpy(v, kept, (size_t)n * sizeof *kept);
  if (along > 1e-2)
    *worst = fmax(*worst, fabs((plus - minus) / (2.0 * step) / along - 1.0));
  free(kept);
}

static void slope_case(const json_t *sequences, const char *plugin, const char *options,
                       int64_t classes)
{
  json_t *labels = classes > 1 ? json_pack("[i,i,i]", 2, 0, 1) : json_pack("[f,f,f]", 0.5, -1.0, 3.0);
  struct labelled l;
  struct headed h;
  struct qtk_tensor value;
  struct qtk_param param;
  double worst = 0.0;

  labelled_read(&l, sequences, labels);
  headed_open(&h, plugin, options, classes, l.n);
  headed_fill(&h);
  for (int i = 0; strcmp(plugin, "lora") == 0 && qtk_engine_param(h.m.engine, 0, i, &param, &value);
       i++)
    for (int64_t k = 0; k < value.shape[0] * value.shape[1]; k++)
      ((float *)value.data)[k] += 0.03f * (float)cos((double)(k + 31 * i));
  test_must(qtk_engine_changed(h.m.engine, 0, 0), "changed");
  const struct qtk_batch batch = labelled_batch(&l, classes);
  headed_loss(&h, &l, &batch, 1);
  for (int i = 0; qtk_engine_param(h.m.engine, 0, i, &param, &value); i++)
    slope_param(&h, &l, &batch, i, &worst);
  tap_ok(worst > 0.0 && worst < 2e-2, "%s, %d classes: gradients are the differences within %.2g",
         plugin, (int)classes, worst);
  headed_close(&h);
  json_decref(labels);
}

/* ---- coefficients --------------------------------------------------------------------------- */

static void coefficient_classes(const json_t *c)
{
  int32_t truth[MOST], guess[MOST];
  int64_t n = (int64_t)json_array_size(json_object_get(c, "truth"));
  double want = json_number_value(json_object_get(c, "matthews"));

  for (int64_t i = 0; i < n; i++) {
    truth[i] = (int32_t)json_integer_value(
        json_array_get(json_object_get(c, "truth"), (size_t)i));
    guess[i] = (int32_t)json_integer_value(
        json_array_get(json_object_get(c, "guess"), (size_t)i));
  }
  double found =
      qtk_matthews(truth, guess, n, json_integer_value(json_object_get(c, "classes")));
  tap_ok(fabs(found - want) < 1e-12, "Matthews's coefficient of %d: %.6f as scikit-learn has it",
         (int)n, found);
  const json_t *f1 = json_object_get(c, "f1");
  if (json_is_null(f1))
    return;
  found = qtk_f1(truth, guess, n);
  tap_ok(fabs(found - json_number_value(f1)) < 1e-12, "F1 of %d: %.6f as scikit-learn has it",
         (int)n, found);
}

static void coefficient_values(const json_t *c)
{
  float truth[MOST], guess[MOST];
  const json_t *want = json_object_get(c, "pearson");
  int64_t n = (int64_t)json_array_size(json_object_get(c, "truth"));

  for (int64_t i = 0; i < n; i++) {
    truth[i] = (float)json_number_value(json_array_get(json_object_get(c, "truth"), (size_t)i));
    guess[i] = (float)json_number_value(json_array_get(json_object_get(c, "guess"), (size_t)i));
  }
  double found = qtk_pearson(truth, guess, n);
  tap_ok(json_is_null(want) ? isnan(found) : fabs(found - json_number_value(want)) < 1e-6,
         "Pearson's coefficient of %d: %.6f as SciPy has it", (int)n, found);
}

int main(void)
{
  json_t *all = json_load_file(test_data("labels/reference.json"), 0, NULL);
  const json_t *sequences = json_object_get(all, "sequences"), *one;
  size_t i;

  toy_begin();
  reference_case(sequences, json_array_get(json_object_get(all, "classifiers"), 0), 3);
  reference_case(sequences, json_array_get(json_object_get(all, "classifiers"), 1), 1);
  for (int64_t classes = 1; classes <= 3; classes += 2) {
    slope_case(sequences, "lora", "rank = 2", classes);
    slope_case(sequences, "peqa", "", classes);
    slope_case(sequences, "qst", "reduction = 4\nform = \"code\"", classes);
  }
  json_array_foreach(json_object_get(all, "classes"), i, one) coefficient_classes(one);
  json_array_foreach(json_object_get(all, "values"), i, one) coefficient_values(one);
  tap_ok(json_array_size(json_object_get(all, "classes")) == 11 &&
             json_array_size(json_object_get(all, "values")) == 5,
         "eleven and five cases");
  toy_end();
  json_decref(all);
  return tap_end();
}
