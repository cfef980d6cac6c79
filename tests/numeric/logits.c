/* SPDX-License-Identifier: BSD-3-Clause
 * Models of every described family, and what their configurations may change, against
 * what PyTorch computes for them: logits, and greedy continuations through the cache. */
#include <math.h>

#include "model.h"

static float *logits_reference(const char *folder, size_t n)
{
  char path[4200];
  float *values = calloc(n, sizeof *values);

  snprintf(path, sizeof path, "%s/reference_logits.f32", folder);
  FILE *f = fopen(path, "rb");
  if (f == NULL || fread(values, sizeof *values, n, f) != n) {
    printf("Bail out! %s cannot be read\n", path);
    exit(1);
  }
  fclose(f);
  return values;
}

static void logits_compare(struct test_model *m, const char *name, const char *folder,
                           const json_t *reference)
{
  size_t n_ids, n;
  int32_t *ids = test_ids(reference, "token_ids", &n_ids);
  int32_t *positions = test_ids(reference, "logit_positions", &n);
  size_t values = n * (size_t)m->vocabulary;
  float *want = logits_reference(folder, values);
  float *found = test_logits(m, ids, n_ids, positions, n);
  double largest = 0.0, worst = 0.0;

  for (size_t i = 0; i < values; i++) {
    largest = fmax(largest, fabs((double)want[i]));
    worst = fmax(worst, fabs((double)found[i] - (double)want[i]));
  }
  tap_ok(n > 0 && worst <= 1e-4 * largest, "%s: logits differ by %.2g of the largest, %.1f", name,
         worst / largest, largest);
  free(ids);
  free(positions);
  free(want);
  free(found);
}

static void logits_continue(struct test_model *m, const char *name, const json_t *reference)
{
  const json_t *greedy = json_object_get(reference, "greedy");
  size_t n_prompt, n, same = 0;
  int32_t *prompt = test_ids(greedy, "prompt", &n_prompt);
  int32_t *want = test_ids(greedy, "output", &n);
  int32_t *found = test_greedy(m, prompt, n_prompt, n - n_prompt);

  while (same < n - n_prompt && found[same] == want[n_prompt + same])
    same++;
  tap_ok(n > n_prompt && same == n - n_prompt, "%s: %zu of %zu greedy tokens are the same", name,
         same, n - n_prompt);
  free(prompt);
  free(want);
  free(found);
}

/* The model in `file` against what was recorded in `folder`. */
static void logits_file(struct qtk_context *ctx, const char *name, const char *file,
                        const char *folder)
{
  char path[4200];
  json_error_t error;
  struct test_model m = test_open(ctx, file, NULL, 0);

  snprintf(path, sizeof path, "%s/reference.json", folder);
  json_t *reference = json_load_file(path, 0, &error);
  if (reference == NULL) {
    printf("Bail out! %s: %s\n", path, error.text);
    exit(1);
  }
  logits_compare(&m, name, folder, reference);
  logits_continue(&m, name, reference);
  json_decref(reference);
  test_close(&m);
}

static void logits_folder(struct qtk_context *ctx, const char *name, const char *folder)
{
  logits_file(ctx, name, folder, folder);
}

/* In three sizes: nano and random ones are here. */
static const char *const logits_models[] = {"llama",   "mistral", "qwen2", "gpt2",
                                            "gpt_neo", "gptj",    "opt",   "opt_postln"};
static const char *const logits_random[] = {
    "nano/qwen3", "nano/gpt_neox", "families/llama-head-size",
    "families/llama-tied", "families/mistral-bands", "families/qwen2-window",
    "families/qwen3-window", "families/gpt_neox-sequential", "families/gpt_neox-plain",
    "families/gpt2-scales", "families/gpt2-untied", "families/opt-no-final-norm",
    "families/opt-after", "families/gpt_neo-global", "families/gptj-full",
    "families/llama-ramp", "families/qwen3-ramp"};

/* The same weights in files that the gguf package wrote, in its names. */
static const char *const logits_gguf[] = {"llama-linear", "llama-bands",  "mistral-full",
                                          "qwen2-linear", "qwen3-linear", "gpt2-plain",
                                          "gpt_neox-gelu", "gptj-part"};

static void logits_of_gguf(struct qtk_context *ctx, const char *model)
{
  char name[64], file[80];

  snprintf(name, sizeof name, "families/%s", model);
  snprintf(file, sizeof file, "families/gguf/%s.gguf", model);
  logits_folder(ctx, name, test_data(name));
  logits_file(ctx, file, test_data(file), test_data(name));
}

static void logits_trained(struct qtk_context *ctx, const char *model)
{
  const char *shared = getenv("QTK_TEST_DATA");
  char name[64], path[4096];

  snprintf(name, sizeof name, "nano/%s", model);
  logits_folder(ctx, name, test_data(name));
  if (shared == NULL) {
    tap_skip("QTK_TEST_DATA is not set: no larger models");
    return;
  }
  snprintf(path, sizeof path, "%s/fixtures/%s", shared, model);
  logits_folder(ctx, model, path);
}

int main(void)
{
  struct qtk_context *ctx = test_context(2, 0);

  for (size_t i = 0; i < sizeof logits_models / sizeof logits_models[0]; i++)
    logits_trained(ctx, logits_models[i]);
  for (size_t i = 0; i < sizeof logits_random / sizeof logits_random[0]; i++)
    logits_folder(ctx, logits_random[i], test_data(logits_random[i]));
  for (size_t i = 0; i < sizeof logits_gguf / sizeof logits_gguf[0]; i++)
    logits_of_gguf(ctx, logits_gguf[i]);
  test_context_close(ctx);
  return tap_end();
}
