/* SPDX-License-Identifier: BSD-3-Clause
 * Pairs of low rank that start at the error of rounding: against the best there can be, by
 * another method, in weights and in what comes of them. */
#include "core/calibrate.h"
#include "trial.h"

/* ---- the start at the error ------------------------------------------------------------------------ */

/* Squares of the singular values of E [rows, cols] beyond the first `rank`, added up: what the
 * best matrix of that rank leaves (Eckart and Young). By one-sided rotations of E's columns. */
static double error_best(double *e, int64_t rows, int64_t cols, int rank)
{
  double *squares = calloc((size_t)cols, sizeof *squares), rest = 0.0;

  for (int sweep = 0; sweep < 12; sweep++)
    for (int64_t i = 0; i < cols; i++)
      for (int64_t j = i + 1; j < cols; j++) {
        double a = 0.0, b = 0.0, c = 0.0;
        for (int64_t r = 0; r < rows; r++) {
          a += e[r * cols + i] * e[r * cols + i];
          b += e[r * cols + j] * e[r * cols + j];
          c += e[r * cols + i] * e[r * cols + j];
        }
        double turn = 0.5 * atan2(2 * c, a - b), co = cos(turn), si = sin(turn);
        for (int64_t r = 0; r < rows; r++) {
          double x = e[r * cols + i], y = e[r * cols + j];
          e[r * cols + i] = co * x + si * y;
          e[r * cols + j] = co * y - si * x;
        }
      }
  for (int64_t i = 0; i < cols; i++)
    for (int64_t r = 0; r < rows; r++)
      squares[i] += e[r * cols + i] * e[r * cols + i];
  for (int k = 0; k < rank; k++) {
    int64_t most = 0;
    for (int64_t i = 1; i < cols; i++)
      most = squares[i] > squares[most] ? i : most;
    squares[most] = 0.0;
  }
  for (int64_t i = 0; i < cols; i++)
    rest += squares[i];
  free(squares);
  return rest;
}

/* E = source - base of a site. */
static double *error_of(const struct trial *t, const struct qtk_site *site)
{
  size_t n = (size_t)(site->rows * site->cols);
  float *w = malloc(n * sizeof *w), *base = malloc(n * sizeof *base);
  double *e = malloc(n * sizeof *e);

  test_must(qtk_model_read(t->source, qtk_model_find(t->source, site->name), 0, site->rows, w,
                           site->cols),
            site->name);
  test_must(qtk_dequantize_rows(site->base, NULL, 0, site->rows, base, site->cols), site->name);
  for (size_t i = 0; i < n; i++)
    e[i] = (double)w[i] - (double)base[i];
  free(w);
  free(base);
  return e;
}

/* E - scale B A, in place. */
static void error_less(struct trial *t, const struct qtk_site *site, double scale, int rank,
                       double *e)
{
  struct qtk_param param;
  struct qtk_tensor a, b;

  qtk_engine_param(t->m.engine, 0, 2 * site->index, &param, &a);
  qtk_engine_param(t->m.engine, 0, 2 * site->index + 1, &param, &b);
  for (int64_t i = 0; i < site->rows; i++)
    for (int64_t j = 0; j < site->cols; j++)
      for (int k = 0; k < rank; k++)
        e[i * site->cols + j] -= scale * (double)((float *)b.data)[i * rank + k] *
                                 (double)((float *)a.data)[k * site->cols + j];
}

/* Squares of E - scale B A, added up; e is that then. */
static double error_left(struct trial *t, const struct qtk_site *site, double *e, double scale,
                         int rank)
{
  double sum = 0.0;

  error_less(t, site, scale, rank, e);
  for (int64_t k = 0; k < site->rows * site->cols; k++)
    sum += e[k] * e[k];
  return sum;
}

/* The worst site: squares that are left over those that must be, or over all of them. */
static double error_worst(struct trial *t, double scale, int rank, int full)
{
  const struct engine_adapter *adapter = &t->m.engine->adapters[0];
  double worst = 0.0;

  for (int i = 0; i < adapter->n_sites; i++) {
    const struct qtk_site *site = &adapter->sites->sites[i];
    double *e = error_of(t, site), all = 0.0;
    for (int64_t k = 0; k < site->rows * site->cols; k++)
      all += e[k] * e[k];
    double best = full ? all : error_best(e, site->rows, site->cols, rank);
    free(e);
    e = error_of(t, site);
    worst = fmax(worst, error_left(t, site, e, scale, rank) / best);
    free(e);
  }
  return worst;
}

/* What linears of the source read over some text. */
static struct qtk_inputs *inputs_open(struct trial *t, struct qtk_model_inputs *from)
{
  static int32_t tokens[1500];
  const struct qtk_text text = {.name = (char *)(uintptr_t)"text",
                                .ids = {.ids = tokens, .n = sizeof tokens / sizeof *tokens}};
  struct qtk_inputs *inputs;

  for (size_t i = 0; i < text.ids.n; i++)
    tokens[i] = (int32_t)((noise(i) + 1) * 0.4999f * (float)t->m.vocabulary);
  test_must(qtk_inputs_open(ctx, t->source, &text, 32, &inputs), "inputs");
  *from = (struct qtk_model_inputs){.gram = qtk_inputs_gram, .arg = inputs};
  return inputs;
}

static void error_open(struct trial *t, const char *round, const char *text)
{
  struct qtk_model_inputs from;
  trial_model(t, folder, round);
  test_must(qtk_model_open(ctx, folder, &t->source), folder);
  qtk_model_set_unquantized(t->m.model, t->source);
  struct qtk_inputs *inputs = inputs_open(t, &from);
  qtk_model_set_inputs(t->m.model, &from);
  test_must(trial_engine(t, text), text);
  qtk_model_set_inputs(t->m.model, NULL);
  qtk_inputs_close(inputs);
}

static void error_ranks(void)
{
  struct trial t;
  double worst;

  error_open(&t, "bits = 2\ngroup = 16", "rank = 6\nstart = \"loftq\"");
  worst = error_worst(&t, 16.0 / 6.0, 6, 0);
  tap_ok(worst < 1.02 && worst > 1 - 1e-6,
         "start at the error: at most %.4f of what the best pair leaves", worst);
  trial_close(&t);
  error_open(&t, "bits = 2\ngroup = 16",
             "rank = 64\nalpha = 4\nrslora = true\nstart = \"loftq\"\nroles = \"q v\"");
  worst = error_worst(&t, 0.5, 64, 1);
  tap_ok(worst < 1e-8, "with full rank the error is gone, but for %.1g of it", worst);
  trial_close(&t);
}

/* L with L LT = H over the mean of its diagonal, and a hundredth on the diagonal. */
static double *inputs_root(const float *h, int64_t n)
{
  double *l = calloc((size_t)(n * n), sizeof *l), mean = 0.0;

  for (int64_t i = 0; i < n; i++)
    mean += (double)h[i * n + i] / (double)n;
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = j; i < n; i++) {
      double sum = (double)h[i * n + j] / mean + (i == j ? 0.01 : 0.0);
      for (int64_t k = 0; k < j; k++)
        sum -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i == j ? sqrt(sum) : sum / l[j * n + j];
    }
  return l;
}

/* e [rows, n] times l, in place. */
static void inputs_weigh(double *e, int64_t rows, int64_t n, const double *l)
{
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0.0;
      for (int64_t k = j; k < n; k++)
        sum += e[r * n + k] * l[k * n + j];
      e[r * n + j] = sum;
    }
}

/* The worst site: what the error of outputs is left at, over the least that a matrix of that rank
 * leaves of it. */
static double outputs_worst(struct trial *t, double scale, int rank)
{
  const struct engine_adapter *adapter = &t->m.engine->adapters[0];
  struct qtk_model_inputs from;
  struct qtk_inputs *inputs = inputs_open(t, &from);
  double worst = 0.0;

  for (int i = 0; i < adapter->n_sites; i++) {
    const struct qtk_site *site = &adapter->sites->sites[i];
    int64_t rows = site->rows, cols = site->cols;
    const float *gram;
    test_must(from.gram(from.arg, site->name, cols, &gram), site->name);
    double *l = inputs_root(gram, cols), *best = error_of(t, site), *e = error_of(t, site);
    double left = 0.0;
    error_less(t, site, scale, rank, e);
    inputs_weigh(e, rows, cols, l);
    inputs_weigh(best, rows, cols, l);
    for (int64_t k = 0; k < rows * cols; k++)
      left += e[k] * e[k];
    worst = fmax(worst, left / error_best(best, rows, cols, rank));
    free(e);
    free(best);
    free(l);
  }
  qtk_inputs_close(inputs);
  return worst;
}

static void error_outputs(void)
{
  struct trial t;
  double worst, weights;

  error_open(&t, "bits = 2\ngroup = 16", "rank = 6\nstart = \"qera\"");
  worst = outputs_worst(&t, 16.0 / 6.0, 6);
  trial_close(&t);
  error_open(&t, "bits = 2\ngroup = 16", "rank = 6\nstart = \"loftq\"");
  weights = outputs_worst(&t, 16.0 / 6.0, 6);
  trial_close(&t);
  tap_ok(worst < 1.02 && worst > 1 - 1e-6 && weights > worst,
         "start at the error of outputs: at most %.4f of what the best pair leaves, %.2f from the "
         "error of weights",
         worst, weights);
}

/* Without an error a pair starts as it does at zero; rows beyond the error's rank as well. */
static void error_none(void)
{
  struct trial t, zero;
  struct qtk_param param;
  struct qtk_tensor found, want;
  int same = 1, n = 0;

  error_open(&t, NULL, "rank = 70\nstart = \"loftq\"");
  trial_open(&zero, folder, NULL, "rank = 70");
  for (; qtk_engine_param(t.m.engine, 0, n, &param, &found); n++) {
    qtk_engine_param(zero.m.engine, 0, n, &param, &want);
    same &= memcmp(found.data, want.data,
                   (size_t)(want.shape[0] * want.shape[1]) * sizeof(float)) == 0;
  }
  tap_ok(n > 0 && same, "where nothing was rounded: the start at zero");
  trial_close(&t);
  trial_close(&zero);
}

/* Values that an engine has started with, of all parameters. */
static float *error_values(const char *options, size_t *n)
{
  struct trial t;
  struct qtk_param param;
  struct qtk_tensor value;
  float *all = NULL;

  *n = 0;
  error_open(&t, "bits = 3\ngroup = -1", options);
  for (int i = 0; qtk_engine_param(t.m.engine, 0, i, &param, &value); i++) {
    size_t more = (size_t)(value.shape[0] * value.shape[1]);
    all = realloc(all, (*n + more) * sizeof *all);
    memcpy(all + *n, value.data, more * sizeof *all);
    *n += more;
  }
  trial_close(&t);
  return all;
}

static void error_threads(const char *options)
{
  struct qtk_context *kept = ctx;
  size_t n, m;
  float *want = error_values(options, &n);

  ctx = test_context(3, 0);
  float *found = error_values(options, &m);
  test_context_close(ctx);
  ctx = kept;
  tap_ok(n == m && memcmp(want, found, n * sizeof *want) == 0,
         "start at the error of %s, 3 threads: the same bits",
         strstr(options, "qera") != NULL ? "outputs" : "weights");
  free(want);
  free(found);
}

/* Nearer to the unquantized model than the base; loaded without that model. */
static void error_logits(void)
{
  static const char text[] = "rank = 16\nalpha = 16\nstart = \"loftq\"\ndtype = \"f32\"";
  struct trial t;
  struct test_model other = {.ctx = ctx};
  struct qtk_tuned *tuned;
  size_t n = logits_count();
  float *source = logits_of(NULL, 0, NULL), *base, *found, *loaded;

  trial_open(&t, folder, "bits = 2\ngroup = 16", "rank = 1");
  base = trial_logits(&t);
  trial_close(&t);
  error_open(&t, "bits = 2\ngroup = 16", text);
  found = trial_logits(&t);
  tap_ok(distance(found, source, n) < 0.8 * distance(base, source, n),
         "start at the error: %.3f from the unquantized model's logits, the base %.3f",
         distance(found, source, n), distance(base, source, n));
  test_must(qtk_tuned_new(ctx, "task", t.plugin, text, NULL, &tuned), "adapter");
  test_must(qtk_engine_save(t.m.engine, 0, tuned), "save");
  qtk_model_set_unquantized(t.m.model, NULL);
  test_must(qtk_model_adapt(ctx, t.m.model, tuned, 0), "adapt");
  test_must(qtk_engine_open(ctx, t.m.model, NULL, 0, &other.engine), "engine");
  other.vocabulary = t.m.vocabulary;
  loaded = test_logits(&other, ids, n_ids, positions, POSITIONS);
  tap_ok(memcmp(loaded, found, n * sizeof *found) == 0,
         "loaded again it needs no unquantized model");
  qtk_engine_close(other.engine);
  free(source);
  free(base);
  free(found);
  free(loaded);
  trial_close(&t);
}

int main(void)
{
  toy_begin();
  error_ranks();
  error_none();
  error_outputs();
  error_threads("rank = 5\nstart = \"loftq\"");
  error_threads("rank = 5\nstart = \"qera\"");
  error_logits();
  toy_end();
  return tap_end();
}
