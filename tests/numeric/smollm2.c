/* SPDX-License-Identifier: BSD-3-Clause
 * SmolLM2-135M from a GGUF file (QTK_TEST_MODEL) against what PyTorch computes from the
 * same weights (QTK_TEST_DATA): the ten largest logits, the log of the sum of
 * exponentials, greedy continuations. */
#include <math.h>

#include "core/tokenizer.h"
#include "model.h"

static double smollm2_logsumexp(const float *logits, int64_t n)
{
  double largest = -INFINITY, sum = 0.0;

  for (int64_t i = 0; i < n; i++)
    largest = fmax(largest, (double)logits[i]);
  for (int64_t i = 0; i < n; i++)
    sum += exp((double)logits[i] - largest);
  return largest + log(sum);
}

/* Largest relative distance of the logits that the reference names. */
static double smollm2_distance(const float *logits, const json_t *top)
{
  double worst = 0.0;
  size_t i;
  json_t *pair;

  json_array_foreach(top, i, pair) {
    double want = json_number_value(json_array_get(pair, 1));
    double found = (double)logits[json_integer_value(json_array_get(pair, 0))];
    worst = fmax(worst, fabs(found - want) / fabs(want));
  }
  return worst;
}

static void smollm2_logits(struct test_model *m, const json_t *reference, const int32_t *ids)
{
  const json_t *logits = json_object_get(reference, "logits");
  size_t n;
  int32_t *positions = test_ids(logits, "positions", &n);
  float *found = test_logits(m, ids, 300, positions, n);

  for (size_t i = 0; i < n; i++) {
    const float *row = found + i * (size_t)m->vocabulary;
    double top = smollm2_distance(row, json_array_get(json_object_get(logits, "top10"), i));
    double want = json_number_value(json_array_get(json_object_get(logits, "logsumexp"), i));
    double sum = fabs(smollm2_logsumexp(row, m->vocabulary) - want) / fabs(want);
    tap_ok(top < 1e-3 && sum < 1e-3, "position %d: top 10 differ by %.2g, logsumexp by %.2g",
           positions[i], top, sum);
  }
  free(positions);
  free(found);
}

static void smollm2_greedy(struct test_model *m, const json_t *item)
{
  size_t n_prompt, n, same = 0;
  int32_t *prompt = test_ids(item, "prompt_tokens", &n_prompt);
  int32_t *want = test_ids(item, "output_tokens", &n);
  int32_t *found = test_greedy(m, prompt, n_prompt, n);

  while (same < n && found[same] == want[same])
    same++;
  tap_ok(n > 0 && same == n, "%zu of %zu greedy tokens are the same", same, n);
  free(prompt);
  free(want);
  free(found);
}

/* The ids of the first bytes of a file. */
static struct qtk_ids smollm2_ids(const struct test_model *m, const char *path, size_t bytes)
{
  struct qtk_tokenizer *t;
  struct qtk_ids ids = {0};
  char *text = calloc(1, bytes);
  FILE *f = fopen(path, "rb");

  if (f == NULL || (bytes = fread(text, 1, bytes, f)) == 0) {
    printf("Bail out! %s cannot be read\n", path);
    exit(1);
  }
  fclose(f);
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(m->model), &t), "tokenizer");
  test_must(qtk_tokenizer_encode(t, text, bytes, 0, &ids), "text");
  qtk_tokenizer_close(t);
  free(text);
  return ids;
}

int main(void)
{
  const char *shared = getenv("QTK_TEST_DATA"), *path = getenv("QTK_TEST_MODEL");
  char file[4096];
  size_t i;
  json_t *item;

  if (shared == NULL || path == NULL) {
    printf("1..0 # SKIP QTK_TEST_MODEL and QTK_TEST_DATA are not both set\n");
    return 0;
  }
  snprintf(file, sizeof file, "%s/reference/smollm2.json", shared);
  json_t *reference = json_load_file(file, 0, NULL);
  struct qtk_context *ctx = test_context(2, 0);
  struct test_model m = test_open(ctx, path, NULL, 0);

  snprintf(file, sizeof file, "%s/data/wikitext2-raw-test.txt", shared);
  struct qtk_ids ids = smollm2_ids(&m, file, 4000);
  smollm2_logits(&m, reference, ids.ids);
  json_array_foreach(json_object_get(reference, "greedy"), i, item)
    smollm2_greedy(&m, item);
  qtk_ids_free(&ids);
  test_close(&m);
  test_context_close(ctx);
  json_decref(reference);
  return tap_end();
}
