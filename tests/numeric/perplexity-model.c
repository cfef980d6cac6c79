/* SPDX-License-Identifier: BSD-3-Clause
 * Perplexities of a real model (QTK_TEST_MODEL, SmolLM2-135M in GGUF) in both protocols
 * against PyTorch's (QTK_TEST_DATA), window by window. A window or two of each, or with
 * QTK_TEST_LONG all that the reference has. */
#include <math.h>

#include "core/eval.h"
#include "model.h"

struct measured {
  const char *key; /* in the reference */
  const char *name;
  int64_t windows; /* without QTK_TEST_LONG */
};

static void check_windows(const struct qtk_perplexity *p, const json_t *nll, const char *name)
{
  double worst = 0, sum = 0;
  for (int64_t w = 0; w < p->windows; w++) {
    double want = json_number_value(json_array_get(nll, (size_t)w));
    worst = fmax(worst, fabs(p->nll_per_window[w] / want - 1));
    sum += want;
  }
  double want = exp(sum / (double)p->windows);
  tap_ok(fabs(p->value / want - 1) < 1e-3 && worst < 1e-3,
         "%s: perplexity %.5f +- %.5f, PyTorch %.5f, over %lld windows that differ by at most %.2g",
         name, p->value, p->standard_error, want, (long long)p->windows, worst);
}

static void check_protocol(struct test_model *m, const struct qtk_text *text,
                           const json_t *reference, const struct measured *what)
{
  const json_t *one = json_object_get(reference, what->key);
  const json_t *nll = json_object_get(one, "nll_per_window");
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  const struct qtk_protocol *protocol;
  int64_t windows = what->windows;
  const char *name = what->name;
  struct qtk_perplexity p;

  if (getenv("QTK_TEST_LONG") != NULL)
    windows = (int64_t)json_array_size(nll);
  test_must(qtk_protocol_find(name, &protocol), name);
  test_must(qtk_perplexity_measure(m->ctx, &model, text, protocol, protocol->context, windows, &p),
            name);
  check_windows(&p, nll, name);
  if (windows == (int64_t)json_array_size(nll)) {
    double want = json_number_value(json_object_get(one, "perplexity"));
    tap_ok(fabs(p.value / want - 1) < 1e-3, "%s: %.5f is within 0.1 %% of %.5f", name, p.value,
           want);
  }
  qtk_perplexity_free(&p);
}

static void check_model(struct test_model *m, const char *shared)
{
  static const struct measured all[] = {
      {"wikitext2", "paper", 1},
      {"wikitext2_llamacpp", "llama.cpp", 2},
  };
  struct qtk_tokenizer *t;
  struct qtk_text text;
  char path[4200];

  snprintf(path, sizeof path, "%s/reference/smollm2.json", shared);
  json_t *reference = json_load_file(path, 0, NULL);
  snprintf(path, sizeof path, "%s/data/wikitext2-raw-test.txt", shared);
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(m->model), &t), "tokenizer");
  test_must(qtk_text_read(m->ctx, path, t, &text), path);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    check_protocol(m, &text, reference, &all[i]);
  qtk_text_free(m->ctx, &text);
  qtk_tokenizer_close(t);
  json_decref(reference);
}

int main(void)
{
  const char *shared = getenv("QTK_TEST_DATA"), *file = getenv("QTK_TEST_MODEL");
  if (shared == NULL || file == NULL) {
    printf("1..0 # SKIP QTK_TEST_DATA or QTK_TEST_MODEL is not set\n");
    return 0;
  }
  struct qtk_context *ctx = test_context(0, 0);
  struct test_model m = test_open(ctx, file, NULL, 0);
  check_model(&m, shared);
  test_close(&m);
  test_context_close(ctx);
  return tap_end();
}
