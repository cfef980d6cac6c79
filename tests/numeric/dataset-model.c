/* SPDX-License-Identifier: BSD-3-Clause
 * Whole files of training data (QTK_TEST_DATA) with a real tokenizer (QTK_TEST_MODEL,
 * SmolLM2-135M-Instruct) against what transformers makes of them, token for token
 * (tests/data/dataset/record.py). */
#include "core/dataset.h"
#include "core/digest.h"
#include "core/generate.h"
#include "core/model.h"
#include "core/tokenizer.h"
#include "model.h"

static void digest(const struct qtk_examples *e, char hex[QTK_DIGEST_HEX])
{
  size_t n = (size_t)e->starts[e->n];
  uint8_t bytes[QTK_DIGEST_BYTES];
  struct qtk_digest d;
  qtk_digest_begin(&d);
  qtk_digest_add(&d, e->starts, ((size_t)e->n + 1) * sizeof *e->starts);
  qtk_digest_add(&d, e->ids, n * sizeof *e->ids);
  qtk_digest_add(&d, e->targets, n * sizeof *e->targets);
  qtk_digest_end(&d, bytes);
  qtk_digest_hex(bytes, hex);
}

static void check_file(struct qtk_context *ctx, const struct qtk_dataset_reader *reader,
                       const char *shared, const json_t *want)
{
  const json_t *how = json_object_get(want, "recipe");
  const char *file = json_string_value(json_object_get(want, "file"));
  char path[4200], hex[QTK_DIGEST_HEX];
  struct qtk_dataset_recipe recipe = {
      .path = path,
      .template = json_string_value(json_object_get(how, "template")),
      .length = json_integer_value(json_object_get(how, "length"))};
  struct qtk_dataset set;
  snprintf(path, sizeof path, "%s/data/%s", shared, file);
  test_must(qtk_dataset_read(ctx, &recipe, reader, &set), path);
  struct qtk_examples_count c = qtk_examples_count(&set.examples);
  digest(&set.examples, hex);
  tap_ok(c.sequences == json_integer_value(json_object_get(want, "sequences")) &&
             c.tokens == json_integer_value(json_object_get(want, "tokens")) &&
             c.scored == json_integer_value(json_object_get(want, "scored")),
         "%s: %lld sequences, %lld tokens, %lld scored", file, (long long)c.sequences,
         (long long)c.tokens, (long long)c.scored);
  tap_ok(strcmp(hex, json_string_value(json_object_get(want, "sha256"))) == 0,
         "%s: every token and target as recorded", file);
  qtk_dataset_free(&set);
}

int main(void)
{
  const char *shared = getenv("QTK_TEST_DATA"), *file = getenv("QTK_TEST_MODEL");
  struct qtk_ids ends = {0};
  struct qtk_tokenizer *t;
  struct qtk_model *model;
  json_t *want;
  size_t i;

  if (shared == NULL || file == NULL) {
    printf("1..0 # SKIP QTK_TEST_DATA or QTK_TEST_MODEL is not set\n");
    return 0;
  }
  struct qtk_context *ctx = test_context(2, 0);
  json_t *all = json_load_file(test_data("dataset/files.json"), 0, NULL);
  test_must(qtk_model_open(ctx, file, &model), file);
  test_must(qtk_model_open_tokenizer(model, "data", &t), "tokenizer");
  test_must(qtk_model_ends(model, &ends), "ends");
  struct qtk_dataset_reader reader = {.tokenizer = t, .end = ends.ids[0], .file = file,
                                      .chat_template = qtk_model_text(model, "chat_template")};
  json_array_foreach(all, i, want)
    check_file(ctx, &reader, shared, want);
  tap_ok(i == 4, "all files");
  json_decref(all);
  qtk_ids_free(&ends);
  qtk_tokenizer_close(t);
  qtk_model_close(model);
  test_context_close(ctx);
  return tap_end();
}
