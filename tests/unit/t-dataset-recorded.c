/* SPDX-License-Identifier: BSD-3-Clause
 * Training data against what transformers makes of it (tests/data/dataset/record.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/dataset.h"
#include "core/fs.h"

static char *recorded(const char *name)
{
  const char *srcdir = getenv("QTK_SRCDIR");
  char *path = qtk_str_format("%s/tests/data/dataset/%s", srcdir ? srcdir : ".", name), *text;
  size_t n;
  assert_int_equal(qtk_read_file(path, 1u << 20, &text, &n), QTK_OK);
  free(path);
  return text;
}

static struct qtk_dataset_recipe recipe_of(const json_t *want, const char *path)
{
  const json_t *packing = json_object_get(want, "packing");
  const char *train_on = json_string_value(json_object_get(want, "train_on"));
  return (struct qtk_dataset_recipe){
      .path = path,
      .template = json_string_value(json_object_get(want, "template")),
      .length = json_integer_value(json_object_get(want, "length")),
      .packing = json_is_true(packing) ? QTK_PACKING_ON : QTK_PACKING_DEFAULT,
      .train_on = train_on != NULL ? QTK_TRAIN_ON_ALL : QTK_TRAIN_ON_DEFAULT};
}

/* Labels are not shifted; the first of a sequence is never a target. */
static void check_sequence(const char *name, const struct qtk_examples *e, int64_t i,
                           const json_t *want)
{
  const json_t *ids = json_object_get(want, "ids"), *labels = json_object_get(want, "labels");
  int64_t start = e->starts[i], n = e->starts[i + 1] - start;
  if (n != (int64_t)json_array_size(ids))
    fail_msg("%s, sequence %d: %d tokens, recorded: %zu", name, (int)i, (int)n,
             json_array_size(ids));
  for (int64_t k = 0; k < n; k++) {
    json_int_t label = k + 1 < n ? json_integer_value(json_array_get(labels, (size_t)k + 1)) : -100;
    int32_t target = label < 0 ? -1 : (int32_t)label;
    if (e->ids[start + k] != json_integer_value(json_array_get(ids, (size_t)k)) ||
        e->targets[start + k] != target || e->weights[start + k] != (target < 0 ? 0.0f : 1.0f))
      fail_msg("%s, sequence %d, token %d: %d to %d with weight %g, recorded: %d to %d", name,
               (int)i, (int)k, e->ids[start + k], e->targets[start + k],
               (double)e->weights[start + k],
               (int)json_integer_value(json_array_get(ids, (size_t)k)), target);
  }
}

static void check_case(struct qtk_context *ctx, const struct qtk_dataset_reader *reader,
                       const char *folder, const json_t *c)
{
  const char *name = json_string_value(json_object_get(c, "name"));
  const json_t *content = json_object_get(c, "content"), *want = json_object_get(c, "sequences");
  char *path = qtk_path_join(folder, json_string_value(json_object_get(c, "file")));
  struct qtk_dataset_recipe recipe = recipe_of(json_object_get(c, "recipe"), path);
  struct qtk_dataset set;
  assert_int_equal(qtk_write_file(path, json_string_value(content), json_string_length(content)),
                   QTK_OK);
  if (qtk_dataset_read(ctx, &recipe, reader, &set) != QTK_OK)
    fail_msg("%s: %s", name, qtk_error_message());
  if (set.examples.n != (int64_t)json_array_size(want))
    fail_msg("%s: %d sequences, recorded: %zu", name, (int)set.examples.n, json_array_size(want));
  for (int64_t i = 0; i < set.examples.n; i++)
    check_sequence(name, &set.examples, i, json_array_get(want, (size_t)i));
  qtk_dataset_free(&set);
  free(path);
}

/* The tokenizers of all cases: by the name of their file, with the token that ends texts. */
static const char *const tokenizers[][2] = {{"tokenizer", "<|im_end|>"}, {"spaces", "</s>"}};

static void check_cases(struct qtk_context *ctx, const char *folder, const json_t *all, int which)
{
  char *name = qtk_str_format("%s.json", tokenizers[which][0]), *json = recorded(name);
  struct qtk_dataset_reader reader = {
      .file = "a model",
      .chat_template = json_string_value(json_object_get(all, "chat_template"))};
  struct qtk_tokenizer *t;
  json_t *c;
  size_t i;
  assert_int_equal(qtk_tokenizer_open(json, &t), QTK_OK);
  reader.tokenizer = t;
  reader.end = qtk_tokenizer_find(t, tokenizers[which][1]);
  json_array_foreach(json_object_get(all, "cases"), i, c)
    if (strcmp(json_string_value(json_object_get(c, "tokenizer")), tokenizers[which][0]) == 0)
      check_case(ctx, &reader, folder, c);
  qtk_tokenizer_close(t);
  free(json);
  free(name);
}

static void same_as_recorded(void **state)
{
  struct qtk_context_options options = {.threads = *(int *)*state};
  char folder[] = "/tmp/qtk-dataset-XXXXXX", *text = recorded("expected.json");
  struct qtk_context *ctx;
  json_t *all;
  assert_non_null(mkdtemp(folder));
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  assert_int_equal(qtk_json_parse(text, strlen(text), "expected.json", &all), QTK_OK);
  assert_int_equal(json_array_size(json_object_get(all, "cases")), 14);
  check_cases(ctx, folder, all, 0);
  check_cases(ctx, folder, all, 1);
  assert_int_equal(ctx->arena.used, 0);
  json_decref(all);
  qtk_context_close(ctx);
  qtk_remove_tree(folder);
  free(text);
}

int main(void)
{
  int one = 1, three = 3;
  const struct CMUnitTest tests[] = {
      {"same_as_recorded", same_as_recorded, NULL, NULL, &one},
      {"same_with_three_threads", same_as_recorded, NULL, NULL, &three},
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
