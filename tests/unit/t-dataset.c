/* SPDX-License-Identifier: BSD-3-Clause
 * Training data: what becomes a sequence, and what of it is scored. */
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

/* ---- fixture ------------------------------------------------------------------------------ */

struct fixture {
  struct qtk_context *ctx;
  struct qtk_tokenizer *tokenizer;
  char folder[64];
  struct qtk_dataset set; /* the last that was read */
};

/* BOS 9 before texts; 8 ends them; bytes and "ab" (4). */
static const char tokenizer_json[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"added_tokens\":[{\"id\":9,\"content\":\"<s>\"},{\"id\":8,\"content\":\"</s>\"}],"
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
    "\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":[9],\"tokens\":[\"<s>\"]}}},"
    "\"model\":{\"type\":\"BPE\",\"merges\":[\"a b\"],\"vocab\":{\"a\":0,\"b\":1,\"c\":2,"
    "\"\xc4\x8a\":3,\"ab\":4}}}";

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  struct qtk_context_options options = {.threads = 1, .seed = 5};
  strcpy(f->folder, "/tmp/qtk-dataset-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  assert_int_equal(qtk_context_open(&options, &f->ctx), QTK_OK);
  assert_int_equal(qtk_tokenizer_open(tokenizer_json, &f->tokenizer), QTK_OK);
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(f->ctx->arena.used, 0);
  qtk_tokenizer_close(f->tokenizer);
  qtk_context_close(f->ctx);
  qtk_remove_tree(f->folder);
  free(f);
  return 0;
}

static int forget(void **state)
{
  struct fixture *f = *state;
  qtk_dataset_free(&f->set);
  return 0;
}

static int read_set(struct fixture *f, const char *name, const char *content,
                    struct qtk_dataset_recipe recipe)
{
  struct qtk_dataset_reader reader = {.tokenizer = f->tokenizer, .end = 8};
  char *path = qtk_path_join(f->folder, name);
  recipe.path = path;
  assert_int_equal(qtk_write_file(path, content, strlen(content)), QTK_OK);
  qtk_dataset_free(&f->set);
  int rc = qtk_dataset_read(f->ctx, &recipe, &reader, &f->set);
  free(path);
  return rc;
}

/* Sequences as "ids/targets" with "." for no target, a blank between them. */
static void expect(const struct fixture *f, const char *want)
{
  const struct qtk_examples *e = &f->set.examples;
  struct qtk_str found = {0};
  for (int64_t i = 0; i < e->n; i++) {
    qtk_str_add(&found, i > 0 ? " " : "");
    for (int64_t k = e->starts[i]; k < e->starts[i + 1]; k++)
      qtk_str_printf(&found, "%d", e->ids[k]);
    qtk_str_add(&found, "/");
    for (int64_t k = e->starts[i]; k < e->starts[i + 1]; k++) {
      assert_true(e->weights[k] == (e->targets[k] >= 0 ? 1.0f : 0.0f));
      qtk_str_add_char(&found, e->targets[k] < 0 ? '.' : (char)('0' + e->targets[k]));
    }
  }
  assert_string_equal(found.data ? found.data : "", want);
  qtk_str_free(&found);
}

static void check_message(const char *part)
{
  if (strstr(qtk_error_message(), part) == NULL)
    fail_msg("\"%s\" has no \"%s\"", qtk_error_message(), part);
}

/* ---- plain texts -------------------------------------------------------------------------- */

static void text_is_cut_into_windows(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", (struct qtk_dataset_recipe){.length = 3}),
                   QTK_OK);
  expect(f, "943/43. 224/24.");
  /* sha256sum */
  assert_string_equal(f->set.sha256,
                      "805efa0ad3b17191c486bbd9865b26c48c9e69298cd616bfbf7ee5b6445ca39d");
  assert_string_equal(f->set.name, "t.txt");
}

static void rest_is_a_shorter_window(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", (struct qtk_dataset_recipe){.length = 4}),
                   QTK_OK);
  expect(f, "9432/432. 24/4.");
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", (struct qtk_dataset_recipe){.length = 5}),
                   QTK_OK);
  expect(f, "94322/4322."); /* a token alone has no target */
}

static void tokens_limit_a_text(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 3, .tokens = 5};
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", recipe), QTK_OK);
  expect(f, "943/43. 22/2.");
  recipe.tokens = 100;
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", recipe), QTK_OK);
  expect(f, "943/43. 224/24.");
}

static void nothing_to_learn_is_an_error(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(read_set(f, "t.txt", "", (struct qtk_dataset_recipe){.length = 3}),
                   QTK_EINPUT);
  check_message("t.txt: there is nothing to learn from");
  assert_int_equal(read_set(f, "t.txt", "a", (struct qtk_dataset_recipe){.length = 1}), QTK_EJOB);
  check_message("length = 1: ");
  assert_int_equal(
      read_set(f, "t.txt", "a", (struct qtk_dataset_recipe){.length = 2, .tokens = -3}), QTK_EJOB);
  check_message("tokens = -3: allowed are 0 (all), 2 and more");
}

static void limit_is_obeyed(void **state)
{
  struct fixture *f = *state;
  char *text = malloc(100001);
  memset(text, 'a', 100000);
  text[100000] = '\0';
  f->ctx->arena.limit = 50000;
  assert_int_equal(read_set(f, "t.txt", text, (struct qtk_dataset_recipe){.length = 64}),
                   QTK_ENOMEM);
  f->ctx->arena.limit = 1200000;
  assert_int_equal(read_set(f, "t.txt", text, (struct qtk_dataset_recipe){.length = 64}),
                   QTK_ENOMEM);
  f->ctx->arena.limit = 2500000;
  assert_int_equal(read_set(f, "t.txt", text, (struct qtk_dataset_recipe){.length = 64}), QTK_OK);
  f->ctx->arena.limit = 0;
  assert_int_equal(f->ctx->arena.used, 12 * 100001);
  free(text);
}

/* ---- counts ------------------------------------------------------------------------------- */

static void counts_are_reported(void **state)
{
  struct fixture *f = *state;
  struct qtk_str lines = {0};
  json_t *report = json_object();
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", (struct qtk_dataset_recipe){.length = 4}),
                   QTK_OK);
  assert_int_equal(qtk_dataset_report(&f->set, report), QTK_OK);
  static const struct {
    const char *key;
    int value;
  } want[] = {{"documents", 1}, {"sequences", 2}, {"tokens", 6},    {"scored", 4},
              {"shortest", 2},  {"longest", 4},   {"truncated", 0}, {"dropped", 0}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++)
    assert_int_equal(json_integer_value(json_object_get(report, want[i].key)), want[i].value);
  json_decref(report);
  assert_int_equal(qtk_dataset_lines(&f->set, &lines), QTK_OK);
  assert_string_equal(lines.data, "data       t.txt: 1 of text\n"
                                  "sequences  2, 2 .. 4 tokens each, packed\n"
                                  "tokens     6, scored: 4 (all)\n"
                                  "truncated  0, dropped: 0\n");
  qtk_str_free(&lines);
}

static void sequences_are_set_apart(void **state)
{
  struct fixture *f = *state;
  struct qtk_examples rest;
  assert_int_equal(read_set(f, "t.txt", "abcabcab", (struct qtk_dataset_recipe){.length = 2}),
                   QTK_OK);
  expect(f, "94/4. 24/4. 24/4.");
  assert_int_equal(qtk_examples_split(&f->set.examples, 0.01, &rest), QTK_OK);
  expect(f, "94/4. 24/4.");
  assert_int_equal(rest.n, 1);
  assert_int_equal(rest.starts[0], 4);
  assert_int_equal(rest.starts[1], 6);
  assert_int_equal(qtk_examples_count(&rest).tokens, 2);
  assert_int_equal(qtk_examples_split(&f->set.examples, 0.99, &rest), QTK_OK);
  expect(f, "94/4.");
  assert_int_equal(qtk_examples_split(&f->set.examples, 0.5, &rest), QTK_EINPUT);
  assert_int_equal(qtk_examples_split(&f->set.examples, 1.0, &rest), QTK_EJOB);
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(text_is_cut_into_windows), TEST(rest_is_a_shorter_window),
      TEST(tokens_limit_a_text),      TEST(nothing_to_learn_is_an_error),
      TEST(limit_is_obeyed),          TEST(counts_are_reported),
      TEST(sequences_are_set_apart),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
