/* SPDX-License-Identifier: BSD-3-Clause
 * Perplexity and divergence against the same computed plainly from logits, in double
 * precision; with QTK_TEST_DATA also against PyTorch's perplexities of the small models
 * of every family. */
#include <math.h>
#include <signal.h>

#include "core/eval.h"
#include "core/fs.h"
#include "core/str.h"
#include "model.h"

#define CONTEXT 80
#define WINDOWS 5

/* ---- texts ------------------------------------------------------------------------ */

static struct qtk_text text_of(struct test_model *m, const char *name, const char *data, size_t n)
{
  char folder[] = "/tmp/qtk-eval-XXXXXX";
  struct qtk_tokenizer *tokenizer;
  struct qtk_text text;
  if (mkdtemp(folder) == NULL) {
    printf("Bail out! no folder in /tmp\n");
    exit(1);
  }
  char *path = qtk_path_join(folder, name);
  test_must(qtk_write_file(path, data, n), path);
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(m->model), &tokenizer), "tokenizer");
  test_must(qtk_text_read(m->ctx, path, tokenizer, &text), "text");
  qtk_tokenizer_close(tokenizer);
  qtk_remove_tree(folder);
  free(path);
  return text;
}

/* Words in no order. */
static struct qtk_text text_make(struct test_model *m)
{
  static const char *const words[] = {"the ",  "king ",  "hath ", "no\n",  "more, ",  "good: ",
                                      "lord ", "speak ", "And ",  "thou ", "death. ", "WAR\n\n"};
  struct qtk_str made = {0};
  for (uint32_t i = 0, x = 7; i < 600; i++, x = x * 1664525u + 1013904223u)
    qtk_str_add(&made, words[(x >> 16) % 12]);
  struct qtk_text text = text_of(m, "made.txt", made.data, made.length);
  qtk_str_free(&made);
  return text;
}

/* ---- the plain way ----------------------------------------------------------------- */

/* Log-probabilities [CONTEXT, vocabulary] of a window; freed by the caller. */
static double *plain_window(struct test_model *m, const int32_t *ids)
{
  int64_t v = m->vocabulary;
  int32_t positions[CONTEXT];
  for (int i = 0; i < CONTEXT; i++)
    positions[i] = i;
  float *logits = test_logits(m, ids, CONTEXT, positions, CONTEXT);
  double *p = calloc((size_t)(CONTEXT * v), sizeof *p);
  for (int row = 0; row < CONTEXT; row++) {
    const float *x = logits + row * v;
    double sum = 0;
    for (int64_t i = 0; i < v; i++)
      sum += exp((double)x[i]);
    for (int64_t i = 0; i < v; i++)
      p[row * v + i] = (double)x[i] - log(sum);
  }
  free(logits);
  return p;
}

/* Losses of the targets behind rows [first, CONTEXT - 1). */
static void plain_losses(struct test_model *m, const int32_t *ids, int first, double *loss)
{
  double *p = plain_window(m, ids);
  for (int row = first; row < CONTEXT - 1; row++)
    *loss++ = -p[row * m->vocabulary + ids[row + 1]];
  free(p);
}

static double plain_mean(const double *x, int n)
{
  double sum = 0;
  for (int i = 0; i < n; i++)
    sum += x[i];
  return sum / n;
}

static double plain_error(const double *x, int n)
{
  double mean = plain_mean(x, n), sum = 0;
  for (int i = 0; i < n; i++)
    sum += (x[i] - mean) * (x[i] - mean);
  return sqrt(sum / (n - 1) / n);
}

static int near(double found, double want, double tolerance)
{
  return fabs(found - want) <= tolerance * fabs(want);
}

/* ---- perplexity ----------------------------------------------------------------------- */

static const struct qtk_protocol *protocol_of(const char *name)
{
  const struct qtk_protocol *protocol;

  test_must(qtk_protocol_find(name, &protocol), name);
  return protocol;
}

static void check_protocol(struct test_model *m, struct qtk_text *text, const struct qtk_protocol *protocol)
{
  const char *name = protocol->name;
  int half = protocol->half, first = half ? CONTEXT / 2 : 0;
  int scored = CONTEXT - 1 - first, good = 1;
  double loss[WINDOWS * CONTEXT], mean[WINDOWS];
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_perplexity p;
  int32_t ids[CONTEXT];

  test_must(qtk_perplexity_measure(m->ctx, &model, text, protocol, CONTEXT, WINDOWS, &p), name);
  for (int w = 0; w < WINDOWS; w++) {
    memcpy(ids, text->ids.ids + w * CONTEXT, sizeof ids);
    if (half && text->first >= 0)
      ids[0] = text->first;
    plain_losses(m, ids, first, loss + w * scored);
    mean[w] = plain_mean(loss + w * scored, scored);
    good = good && near(p.nll_per_window[w], mean[w], 1e-5);
  }
  double error = half ? plain_error(loss, WINDOWS * scored) : plain_error(mean, WINDOWS);
  double value = exp(plain_mean(mean, WINDOWS));
  tap_ok(good, "%s: losses of windows", name);
  tap_ok(near(p.value, value, 1e-5) && near(log(p.value), p.mean_loss, 1e-12),
         "%s: perplexity %.6f, plainly %.6f", name, p.value, value);
  tap_ok(near(p.standard_error, error * value, 1e-4), "%s: error %.6f, plainly %.6f", name,
         p.standard_error, error * value);
  tap_ok(p.windows == WINDOWS && p.context == CONTEXT && p.tokens == WINDOWS * scored,
         "%s: %lld tokens in %lld windows", name, (long long)p.tokens, (long long)p.windows);
  qtk_perplexity_free(&p);
}

/* One window has no spread: the error is that of tokens. */
static void check_one_window(struct test_model *m, struct qtk_text *text)
{
  double loss[CONTEXT];
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_perplexity p;

  test_must(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("paper"), CONTEXT, 1, &p), "");
  plain_losses(m, text->ids.ids, 0, loss);
  tap_ok(near(p.standard_error, plain_error(loss, CONTEXT - 1) * p.value, 1e-4),
         "one window: error %.6f", p.standard_error);
  qtk_perplexity_free(&p);
}

/* ---- divergence ------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static int64_t argmax(const double *x, int64_t n)
{
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[best])
      best = i;
  return best;
}

/* KL of each token of a window; counts those with the same likeliest token. */
static void plain_divergence(struct test_model *m, struct test_model *other, const int32_t *ids,
                             double *kl, int *same)
{
  int64_t v = m->vocabulary;
  double *p = plain_window(m, ids), *q = plain_window(other, ids);
  for (int row = 0; row < CONTEXT; row++) {
    const double *a = p + row * v, *b = q + row * v;
    kl[row] = 0;
    for (int64_t i = 0; i < v; i++)
      kl[row] += exp(a[i]) * (a[i] - b[i]);
    *same += argmax(a, v) == argmax(b, v);
  }
  free(p);
  free(q);
}

static void check_divergence(struct test_model *m, struct test_model *other, struct qtk_text *text)
{
  enum { N = WINDOWS * CONTEXT };
  struct qtk_eval_model teacher = {m->engine, qtk_model_info(m->model)};
  struct qtk_eval_model student = {other->engine, qtk_model_info(other->model)};
  struct qtk_divergence d;
  double kl[N];
  int same = 0, good = 1;

  test_must(qtk_divergence_measure(m->ctx, &teacher, &student, text, CONTEXT, WINDOWS, &d), "");
  for (int w = 0; w < WINDOWS; w++) {
    plain_divergence(m, other, text->ids.ids + w * CONTEXT, kl + w * CONTEXT, &same);
    good = good && near(d.kl_per_window[w], plain_mean(kl + w * CONTEXT, CONTEXT), 1e-4);
  }
  tap_ok(good, "divergence of windows");
  tap_ok(near(d.mean_kl, plain_mean(kl, N), 1e-4), "divergence %.6f, plainly %.6f", d.mean_kl,
         plain_mean(kl, N));
  tap_ok(near(d.standard_error, plain_error(kl, N), 1e-3), "its error %.6f", d.standard_error);
  tap_ok(near(d.same_top, (double)same / N, 1e-12), "%d of %d likeliest tokens are the same", same,
         N);
  qsort(kl, N, sizeof *kl, compare);
  tap_ok(near(d.maximum, kl[N - 1], 1e-4), "largest %.6f", d.maximum);
  tap_ok(near(d.p99, kl[N * 99 / 100 - 1], 1e-4), "99 of 100 are not above %.6f", d.p99);
  tap_ok(d.tokens == N && d.windows == WINDOWS, "%lld tokens", (long long)d.tokens);
  qtk_divergence_free(&d);
}

static void check_same(struct test_model *m, struct qtk_text *text)
{
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_divergence d;

  test_must(qtk_divergence_measure(m->ctx, &model, &model, text, CONTEXT, WINDOWS, &d), "");
  tap_ok(d.mean_kl == 0 && d.standard_error == 0 && d.p99 == 0 && d.maximum == 0 && d.same_top == 1,
         "a model does not differ from itself");
  qtk_divergence_free(&d);
}

/* ---- threads, errors ---------------------------------------------------------------------- */

/* The backend keeps its scratch memory until it ends. */
static void check_memory(struct qtk_context *ctx)
{
  uint64_t used = ctx->arena.used;
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, "scratch") == 0)
      used -= ctx->arena.categories[i].used;
  tap_ok(used == 0, "%llu bytes are still counted", (unsigned long long)used);
}

static void check_threads(const struct qtk_text *text)
{
  struct qtk_perplexity p[2];
  struct qtk_divergence d[2];
  for (int i = 0; i < 2; i++) {
    struct qtk_context *ctx = test_context(i == 0 ? 1 : 3, 0);
    struct test_model a = test_open(ctx, test_data("nano/llama"), NULL, 0);
    struct test_model b = test_open(ctx, test_data("nano/mistral"), NULL, 0);
    struct qtk_eval_model x = {a.engine, qtk_model_info(a.model)};
    struct qtk_eval_model y = {b.engine, qtk_model_info(b.model)};
    test_must(qtk_perplexity_measure(ctx, &x, text, protocol_of("paper"), CONTEXT, 0, &p[i]), "");
    test_must(qtk_divergence_measure(ctx, &x, &y, text, CONTEXT, 0, &d[i]), "");
    test_close(&a);
    test_close(&b);
    check_memory(ctx);
    test_context_close(ctx);
  }
  size_t bytes = (size_t)p[0].windows * sizeof(double);
  tap_ok(p[0].windows == (int64_t)text->ids.n / CONTEXT && p[0].windows == p[1].windows &&
             memcmp(p[0].nll_per_window, p[1].nll_per_window, bytes) == 0 &&
             p[0].value == p[1].value && p[0].standard_error == p[1].standard_error,
         "perplexity is the same, bit by bit, with 1 and 3 threads");
  tap_ok(memcmp(d[0].kl_per_window, d[1].kl_per_window, bytes) == 0 &&
             d[0].mean_kl == d[1].mean_kl && d[0].p99 == d[1].p99 && d[0].same_top == d[1].same_top,
         "and so is divergence");
  for (int i = 0; i < 2; i++) {
    qtk_perplexity_free(&p[i]);
    qtk_divergence_free(&d[i]);
  }
}

static void check_error(int rc, int want, const char *part)
{
  tap_ok(rc == want && strstr(qtk_error_message(), part) != NULL, "%d: %s", rc,
         qtk_error_message());
}

static void check_errors(struct test_model *m, struct qtk_text *text)
{
  static volatile sig_atomic_t stop = 1;
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_perplexity p;
  struct qtk_divergence d;
  const struct qtk_protocol *protocol;

  check_error(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("paper"), 1, 0, &p), QTK_EJOB,
              "context = 1");
  check_error(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("llama.cpp"), 2, 0, &p),
              QTK_EJOB, "context = 2: no token of such a window is scored");
  check_error(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("paper"), 100000, 0, &p),
              QTK_EINPUT, "0 windows of 100000");
  check_error(qtk_divergence_measure(m->ctx, &model, &model, text, 64, 1000, &d), QTK_EINPUT,
              "wanted: 1000");
  check_error(qtk_protocol_find("papers", &protocol), QTK_EJOB, "protocol \"papers\"");
  text->ids.ids[9] += 100000;
  check_error(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("paper"), 16, 1, &p),
              QTK_EINPUT, "token 9 is number 100");
  text->ids.ids[9] -= 100000;
  m->ctx->stop = &stop;
  check_error(qtk_perplexity_measure(m->ctx, &model, text, protocol_of("paper"), 16, 1, &p),
              QTK_EINTERRUPTED, "stopped");
  qtk_perplexity_free(&p);
  check_error(qtk_divergence_measure(m->ctx, &model, &model, text, 16, 1, &d), QTK_EINTERRUPTED,
              "stopped");
  qtk_divergence_free(&d);
  m->ctx->stop = NULL;
}

static void check_made_text(struct qtk_context *ctx)
{
  struct test_model m = test_open(ctx, test_data("nano/llama"), NULL, 0);
  struct test_model other = test_open(ctx, test_data("nano/mistral"), NULL, 0);
  struct qtk_text text = text_make(&m);

  check_protocol(&m, &text, protocol_of("paper"));
  check_protocol(&m, &text, protocol_of("llama.cpp"));
  text.first = 0; /* as if the tokenizer put token 0 before texts */
  check_protocol(&m, &text, protocol_of("llama.cpp"));
  text.first = -1;
  check_one_window(&m, &text);
  check_divergence(&m, &other, &text);
  check_same(&m, &text);
  check_threads(&text);
  check_errors(&m, &text);
  qtk_text_free(ctx, &text);
  test_close(&other);
  test_close(&m);
}

/* ---- PyTorch's ------------------------------------------------------------------------------ */

/* The text behind the first nine tenths, which the models were trained on. */
static struct qtk_text last_tenth(struct test_model *m, const char *shared)
{
  char *path = qtk_path_join(shared, "data/tinyshakespeare.txt"), *data;
  size_t n;
  test_must(qtk_read_file(path, 1 << 24, &data, &n), path);
  size_t start = n / 10 * 9 + n % 10 * 9 / 10; /* it is ASCII: a character is a byte */
  struct qtk_text text = text_of(m, "tenth.txt", data + start, n - start);
  free(data);
  free(path);
  return text;
}

static void check_reference(struct qtk_context *ctx, const char *folder, const char *shared)
{
  json_error_t json_error;
  struct test_model m = test_open(ctx, folder, NULL, 0);
  struct qtk_eval_model model = {m.engine, qtk_model_info(m.model)};
  struct qtk_text text = last_tenth(&m, shared);
  char *path = qtk_path_join(folder, "reference.json");
  json_t *reference = json_load_file(path, 0, &json_error);
  int64_t window = json_integer_value(json_object_get(reference, "window"));
  const json_t *nll = json_object_get(reference, "window_nll");
  double want = json_number_value(json_object_get(reference, "perplexity")), worst = 0;
  struct qtk_perplexity p;

  test_must(qtk_perplexity_measure(ctx, &model, &text, protocol_of("paper"), window,
                                   (int64_t)json_array_size(nll), &p),
            folder);
  for (int64_t w = 0; w < p.windows; w++)
    worst = fmax(worst,
                 fabs(p.nll_per_window[w] / json_number_value(json_array_get(nll, (size_t)w)) - 1));
  tap_ok(p.windows == 40 && near(p.value, want, 5e-4) && worst < 5e-4,
         "%s: perplexity %.6f, PyTorch %.6f; windows differ by %.2g", folder, p.value, want, worst);
  qtk_perplexity_free(&p);
  json_decref(reference);
  free(path);
  qtk_text_free(ctx, &text);
  test_close(&m);
}

static void check_references(struct qtk_context *ctx)
{
  static const char *const families[] = {"llama",   "mistral", "qwen2", "gpt2",
                                         "gpt_neo", "gptj",    "opt",   "opt_postln"};
  const char *shared = getenv("QTK_TEST_DATA");
  char path[4200];

  if (shared == NULL) {
    tap_skip("QTK_TEST_DATA is not set");
    return;
  }
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    snprintf(path, sizeof path, "%s/%s", test_data("nano"), families[i]);
    check_reference(ctx, path, shared);
    snprintf(path, sizeof path, "%s/fixtures/%s", shared, families[i]);
    check_reference(ctx, path, shared);
  }
}

int main(void)
{
  struct qtk_context *ctx = test_context(2, 0);
  check_made_text(ctx);
  check_references(ctx);
  check_memory(ctx);
  test_context_close(ctx);
  return tap_end();
}
