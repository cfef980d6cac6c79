/* SPDX-License-Identifier: BSD-3-Clause
 * Side networks: against PyTorch, and against differences on every small model. */
#include <dirent.h>
#include <unistd.h>

#include "side.h"

/* ---- PyTorch ----------------------------------------------------------------------------- */

/* On the floats of the model: the reference has no quantizer. */
static void torch_open(struct side *r, const char *text)
{
  test_must(qtk_registry_get(QTK_ADAPTER, "qst", &r->plugin), "qst");
  r->options = test_options(r->plugin, text);
  const struct qtk_attached adapter = {
      .name = "qst", .ops = &r->plugin->ops.adapter, .options = r->options->values};
  r->m = test_open(ctx, folder, &adapter, 1);
  side_batch(r, folder);
  test_must(qtk_engine_train(r->m.engine), "gradients");
  test_must(qtk_session_new(r->m.engine, SEQUENCES, 0, &r->s), "session");
  qtk_session_train(r->s, 1, NULL);
}

static void torch_case(const json_t *said)
{
  const char *form = json_string_value(json_object_get(said, "form"));
  const char *down = json_string_value(json_object_get(said, "downsample"));
  const json_t *tensors = json_object_get(said, "gradients");
  double want = json_number_value(json_object_get(said, "loss")), most = 0.0, loss;
  struct qtk_tensor value, gradient;
  struct qtk_param p, worst = {.name = "-"};
  struct side r = {0};
  char text[200];
  size_t n = 0;

  snprintf(text, sizeof text, "reduction = 4\nrank = 6\nform = \"%s\"\ndownsample = \"%s\"", form,
           down);
  torch_open(&r, text);
  side_fill(&r);
  loss = side_back(&r, 1.0 / (TOKENS - SEQUENCES)) / (TOKENS - SEQUENCES);
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &p, &value); i++, n++) {
    qtk_engine_gradient(r.m.engine, 0, i, &gradient);
    double error = side_error(json_object_get(tensors, p.name), gradient.data, side_count(&p));
    if (!(error <= most)) {
      most = error;
      worst = p;
    }
  }
  tap_ok(fabs(loss - want) < 1e-6 * want, "%s, %s: loss %.7f, PyTorch's %.7f", form, down, loss,
         want);
  tap_ok(n == json_object_size(tensors) && most < 1e-4,
         "%s, %s: gradients of %zu parameters differ by %.2g from PyTorch's (%s)", form, down, n,
         most, worst.name);
  side_close(&r);
}

static void torch_all(void)
{
  json_t *all = json_load_file(test_data("qst/reference.json"), 0, NULL), *one;
  size_t i;

  json_array_foreach(all, i, one)
    torch_case(one);
  json_decref(all);
}

/* ---- differences ------------------------------------------------------------------------- */

/* What is told apart by differences: the sum of factors times the mixed hidden states. Beside a
 * loss it moves with small gradients far enough above what floats round away. */
static float slope_factor(int64_t i)
{
  return fill_value("factor", (uint64_t)i) / 0.3f;
}

static double slope_sum(struct side *r)
{
  double sum = 0.0;

  test_must(qtk_engine_changed(r->m.engine, 0, 0), "changed");
  test_must(qtk_session_forward(r->s, r->ids, r->lengths, &r->hidden), "forward");
  for (int64_t i = 0; i < TOKENS * qtk_tensor_cols(&r->hidden); i++)
    sum += (double)slope_factor(i) * (double)((const float *)r->hidden.data)[i];
  return sum;
}

static void slope_back(struct side *r)
{
  const struct engine_adapter *a = &r->m.engine->adapters[0];
  struct qtk_tensor dhidden;

  slope_sum(r);
  dhidden = r->hidden;
  float *factors = malloc((size_t)(TOKENS * qtk_tensor_cols(&dhidden)) * sizeof *factors);
  for (int64_t i = 0; i < TOKENS * qtk_tensor_cols(&dhidden); i++)
    factors[i] = slope_factor(i);
  dhidden.data = factors;
  test_must(a->ops->mix_backward(ctx, a->h, r->s, &dhidden), "mix_backward");
  free(factors);
}

static double slope_at(struct side *r, float *value, const float *start, const float *gradient,
                       int64_t n, double by)
{
  for (int64_t i = 0; i < n; i++)
    value[i] = start[i] + (float)(by * (double)gradient[i]);
  return slope_sum(r);
}

/* How far a parameter's gradient is from its differences along itself, relative to its length.
 * Values move by `move`. */
static double slope_by(struct side *r, float *value, const float *gradient, int64_t n, double move)
{
  float *start = malloc((size_t)n * sizeof *start);
  double said = 0.0, found, h;

  memcpy(start, value, (size_t)n * sizeof *start);
  for (int64_t i = 0; i < n; i++)
    said += (double)gradient[i] * (double)gradient[i];
  h = move / sqrt(said);
  found = (8.0 * (slope_at(r, value, start, gradient, n, h) -
                  slope_at(r, value, start, gradient, n, -h)) -
           (slope_at(r, value, start, gradient, n, 2 * h) -
            slope_at(r, value, start, gradient, n, -2 * h))) /
          (12.0 * h);
  memcpy(value, start, (size_t)n * sizeof *start);
  free(start);
  return fabs(found - said) / said;
}

/* Rounding spoils small steps, bends and corners large ones. */
static double slope_error(struct side *r, float *value, const float *gradient, int64_t n)
{
  static const double moves[] = {0.05, 0.02, 0.1, 0.01, 0.2, 0.005, 0.4, 0.8};
  double error = INFINITY;

  for (size_t i = 0; i < sizeof moves / sizeof moves[0] && error > 3e-5; i++)
    error = fmin(error, slope_by(r, value, gradient, n, moves[i]));
  return error;
}

/* Everything around the side blocks, and of each of them one weight. */
static int slope_picks(const struct qtk_param *p)
{
  return strstr(p->name, ".block.") == NULL || strstr(p->name, ".block.down.weight") != NULL;
}

/* The side network has most of the say, so that what it does is far above rounding. */
static void slope_say(struct side *r)
{
  int i = side_find(r, "side.alpha");
  struct qtk_tensor value;
  struct qtk_param p;

  side_fill(r);
  if (qtk_engine_param(r->m.engine, 0, i, &p, &value))
    for (int64_t k = 0; k < side_count(&p); k++)
      ((float *)value.data)[k] -= 0.6f;
}

static void slope_model(const char *path, const char *name, const char *text)
{
  struct qtk_param p, worst = {.name = "-"};
  struct qtk_tensor value, gradient;
  double error, most = 0.0;
  struct side r;
  int n = 0;

  side_open(&r, path, text);
  slope_say(&r);
  slope_back(&r);
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &p, &value); i++) {
    if (!slope_picks(&p))
      continue;
    qtk_engine_gradient(r.m.engine, 0, i, &gradient);
    error = slope_error(&r, value.data, gradient.data, side_count(&p));
    n++;
    if (!(error <= most)) {
      most = error;
      worst = p;
    }
  }
  tap_ok(n > 0 && most < 1e-4, "%s: gradients of %d parameters differ by %.2g from differences (%s)",
         name, n, most, worst.name);
  side_close(&r);
}

/* Differences across the corners of ReLUs say little: models that have them are run with GELUs
 * on the same weights. */
static void slope_round(const char *path, const char *name)
{
  char place[] = "/tmp/qtk-qst-XXXXXX", command[13000];

  if (mkdtemp(place) == NULL)
    exit(1);
  snprintf(command, sizeof command,
           "cp '%s'/* %s && sed -i 's/\"activation_function\": \"relu\"/\"activation_function\": "
           "\"gelu\"/' %s/config.json && grep -q gelu %s/config.json",
           path, place, place, place);
  if (system(command) != 0)
    exit(1);
  slope_model(place, name, "reduction = 4");
  snprintf(command, sizeof command, "rm -r %s", place);
  if (system(command) != 0)
    exit(1);
}

/* A reduction of 4; of 2 where too little of a head would turn. */
static void slope_folder(const char *path, const char *name)
{
  struct side r;
  int rc = side_try(&r, path, "reduction = 4");

  if (rc == QTK_OK) {
    side_close(&r);
    if (strncmp(name, "opt", 3) == 0)
      slope_round(path, name);
    else
      slope_model(path, name, "reduction = 4");
    return;
  }
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "for this model there are 2") != NULL,
         "%s: %s", name, qtk_error_message());
  r.m.engine = NULL;
  side_close(&r);
  slope_model(path, name, "reduction = 2");
}

static void slope_all(void)
{
  char path[4300], *in = strdup(test_data("nano"));
  struct dirent **names;
  int n = scandir(in, &names, NULL, alphasort);

  for (int i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s/%s/config.json", in, names[i]->d_name);
    if (access(path, R_OK) == 0) {
      *strrchr(path, '/') = '\0';
      slope_folder(path, names[i]->d_name);
    }
    free(names[i]);
  }
  free(names);
  free(in);
}

int main(int argc, char **argv)
{
  (void)argc, (void)argv;
  toy_begin();
  torch_all();
  slope_all();
  slope_model(folder, "code", "reduction = 4\nform = \"code\"");
  slope_model(folder, "lst, linear", "reduction = 4\nform = \"lst\"\ndownsample = \"linear\"");
  slope_model(folder, "lora", "reduction = 2\ndownsample = \"lora\"");
  slope_model(folder, "maxpool", "reduction = 4\ndownsample = \"maxpool\"");
  toy_end();
  return tap_end();
}
