/* SPDX-License-Identifier: BSD-3-Clause
 * The tokenizer that lies in a model file (QTK_TEST_MODEL, SmolLM2-135M in GGUF), known
 * there only by name, against reference ids (QTK_TEST_DATA). */
#include "core/text.h"
#include "model.h"

static int same_ids(const struct qtk_ids *ids, size_t n, const json_t *want)
{
  int same = n == json_array_size(want) && n <= ids->n;
  for (size_t i = 0; same && i < n; i++)
    same = ids->ids[i] == json_integer_value(json_array_get(want, i));
  return same;
}

static void check_text(const struct qtk_tokenizer *t, const json_t *all, size_t i)
{
  const json_t *text = json_array_get(json_object_get(all, "texts"), i);
  const json_t *want = json_array_get(json_object_get(all, "smollm2"), i);
  const json_t *decoded = json_array_get(json_object_get(all, "smollm2_decode"), i);
  struct qtk_ids ids = {0};
  char *back;
  size_t n;

  test_must(qtk_tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &ids),
            "encode");
  tap_ok(same_ids(&ids, ids.n, want), "ids of text %zu", i);
  test_must(qtk_tokenizer_decode(t, ids.ids, ids.n, 0, &back, &n), "decode");
  tap_ok(n == json_string_length(decoded) && memcmp(back, json_string_value(decoded), n) == 0,
         "text %zu comes back", i);
  free(back);
  qtk_ids_free(&ids);
}

static void check_corpus(struct qtk_context *ctx, const struct qtk_tokenizer *t,
                         const json_t *reference, const char *shared)
{
  const json_t *wiki = json_object_get(reference, "wikitext2");
  const json_t *first = json_object_get(wiki, "first_tokens");
  struct qtk_text text;
  char path[4200];

  snprintf(path, sizeof path, "%s/%s", shared, json_string_value(json_object_get(wiki, "file")));
  test_must(qtk_text_read(ctx, path, t, &text), path);
  long long want = json_integer_value(json_object_get(wiki, "tokens"));
  tap_ok((long long)text.ids.n == want, "%zu tokens, reference %lld", text.ids.n, want);
  tap_ok(same_ids(&text.ids, json_array_size(first), first), "the first %zu tokens",
         json_array_size(first));
  qtk_text_free(ctx, &text);
}

static json_t *load(const char *shared, const char *name)
{
  json_error_t error;
  char path[4200];
  snprintf(path, sizeof path, "%s/reference/%s", shared, name);
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
  if (root == NULL) {
    printf("Bail out! %s: %s\n", path, error.text);
    exit(1);
  }
  return root;
}

int main(void)
{
  const char *shared = getenv("QTK_TEST_DATA"), *file = getenv("QTK_TEST_MODEL");
  struct qtk_tokenizer *t;
  struct qtk_model *model;

  if (shared == NULL || file == NULL) {
    printf("1..0 # SKIP QTK_TEST_DATA or QTK_TEST_MODEL is not set\n");
    return 0;
  }
  struct qtk_context *ctx = test_context(1, 0);
  json_t *all = load(shared, "tokenizers.json"), *reference = load(shared, "smollm2.json");
  test_must(qtk_model_open(ctx, file, &model), file);
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(model), &t), "tokenizer");
  for (size_t i = 0; i < json_array_size(json_object_get(all, "texts")); i++)
    check_text(t, all, i);
  check_corpus(ctx, t, reference, shared);
  qtk_tokenizer_close(t);
  qtk_model_close(model);
  json_decref(all);
  json_decref(reference);
  test_context_close(ctx);
  return tap_end();
}
