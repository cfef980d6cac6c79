/* SPDX-License-Identifier: BSD-3-Clause
 * Texts: plain and in lines of JSON, and what is cut from them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/fs.h"
#include "core/str.h"
#include "core/text.h"

struct fixture {
  struct qtk_context *ctx;
  struct qtk_tokenizer *tokenizer;
  char folder[64];
};

/* BOS 9 and EOS 8 around texts; bytes and nothing else. */
static const char tokenizer_json[] =
    "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"added_tokens\":[{\"id\":9,\"content\":\"<s>\"},{\"id\":8,\"content\":\"</s>\"}],"
    "\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",9],\"sep\":[\"</s>\",8]},"
    "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\xc4\x8a\":3}}"
    "}";

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  struct qtk_context_options options = {.threads = 1, .seed = 5};
  strcpy(f->folder, "/tmp/qtk-text-XXXXXX");
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

static int read_as(struct fixture *f, const char *name, const char *content,
                   const struct qtk_text_recipe *recipe, struct qtk_text *text)
{
  char *path = qtk_path_join(f->folder, name);
  assert_int_equal(qtk_write_file(path, content, strlen(content)), QTK_OK);
  int rc = qtk_text_read_as(f->ctx, path, f->tokenizer, recipe, text);
  free(path);
  return rc;
}

static int read_text(struct fixture *f, const char *name, const char *content, size_t n,
                     struct qtk_text *text)
{
  char *path = qtk_path_join(f->folder, name);
  assert_int_equal(qtk_write_file(path, content, n), QTK_OK);
  int rc = qtk_text_read(f->ctx, path, f->tokenizer, text);
  free(path);
  return rc;
}

static void check_ids(const struct qtk_text *text, const char *want)
{
  struct qtk_str found = {0};
  for (size_t i = 0; i < text->ids.n; i++)
    qtk_str_printf(&found, "%d", text->ids.ids[i]);
  assert_string_equal(found.data, want);
  qtk_str_free(&found);
}

static void plain_text_is_taken_as_it_is(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  assert_int_equal(read_text(f, "t.txt", "abc\n\nab", 7, &text), QTK_OK);
  check_ids(&text, "901233018");
  assert_string_equal(text.name, "t.txt");
  /* sha256sum */
  assert_string_equal(text.sha256,
                      "9d6b1002bac5f41bae59cbaf1bfbe024ddc992e5fce44153379d7b9773c6fbf8");
  assert_int_equal(text.bytes, 7);
  assert_int_equal(text.documents, 1);
  assert_int_equal(text.first, 9);
  qtk_text_free(f->ctx, &text);
}

static void lines_are_joined_by_a_blank_line(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  static const char lines[] =
      "{\"id\":1,\"text\":\"ab\"}\n\n  \r\n{\"text\":\"c\\nb\"}\r\n{\"text\":\"\"}";
  assert_int_equal(read_text(f, "t.jsonl", lines, sizeof lines - 1, &text), QTK_OK);
  check_ids(&text, "90133231338");
  assert_int_equal(text.documents, 3);
  assert_int_equal(text.bytes, 9);
  qtk_text_free(f->ctx, &text);
}

static void empty_files_are_texts(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  int64_t n;
  assert_int_equal(read_text(f, "t.txt", "", 0, &text), QTK_OK);
  check_ids(&text, "98");
  assert_int_equal(qtk_text_windows(&text, 3, 0, &n), QTK_EINPUT);
  qtk_text_free(f->ctx, &text);
  assert_int_equal(read_text(f, "t.jsonl", "", 0, &text), QTK_OK);
  assert_int_equal(text.documents, 0);
  qtk_text_free(f->ctx, &text);
}

static void check_message(const char *part)
{
  if (strstr(qtk_error_message(), part) == NULL)
    fail_msg("\"%s\" has no \"%s\"", qtk_error_message(), part);
}

static void bad_lines_are_named(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  assert_int_equal(read_text(f, "t.jsonl", "{\"text\":\"a\"}\n{\"text\":", 21, &text), QTK_EINPUT);
  check_message("t.jsonl, line 2");
  assert_int_equal(read_text(f, "t.jsonl", "\n\n{\"txt\":\"a\"}\n", 14, &text), QTK_EINPUT);
  check_message("t.jsonl, line 3: \"text\" is missing");
  assert_int_equal(read_text(f, "t.jsonl", "{\"text\":[]}\n", 12, &text), QTK_EINPUT);
  check_message("t.jsonl, line 1: \"text\" is missing or no text");
  assert_int_equal(qtk_text_read(f->ctx, "/no/such/file.txt", f->tokenizer, &text), QTK_EINPUT);
  check_message("/no/such/file.txt");
}

static void windows_are_counted(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  int64_t n;
  assert_int_equal(read_text(f, "t.txt", "abcabcabc", 9, &text), QTK_OK); /* 11 tokens */
  assert_int_equal(qtk_text_windows(&text, 4, 0, &n), QTK_OK);
  assert_int_equal(n, 2);
  assert_int_equal(qtk_text_windows(&text, 4, 1, &n), QTK_OK);
  assert_int_equal(n, 1);
  assert_int_equal(qtk_text_windows(&text, 11, 0, &n), QTK_OK);
  assert_int_equal(n, 1);
  assert_int_equal(qtk_text_windows(&text, 4, 3, &n), QTK_EINPUT);
  check_message("t.txt: 11 tokens are 2 windows of 4, wanted: 3");
  assert_int_equal(qtk_text_windows(&text, 12, 0, &n), QTK_EINPUT);
  check_message("t.txt: 11 tokens are 0 windows of 12, wanted: 1");
  assert_int_equal(qtk_text_windows(&text, 0, 0, &n), QTK_EJOB);
  assert_int_equal(qtk_text_windows(&text, 4, -1, &n), QTK_EJOB);
  qtk_text_free(f->ctx, &text);
}

/* Every place occurs, none beyond the last, and more samples begin as fewer do. */
static void samples_are_drawn(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  int64_t starts[200], again[10];
  int seen[5] = {0};
  assert_int_equal(read_text(f, "t.txt", "abcabcabc", 9, &text), QTK_OK);
  assert_int_equal(qtk_text_sample(f->ctx, &text, 7, 200, starts), QTK_OK);
  for (int i = 0; i < 200; i++) {
    assert_in_range(starts[i], 0, 4);
    seen[starts[i]] = 1;
  }
  for (int i = 0; i < 5; i++)
    assert_int_equal(seen[i], 1);
  assert_int_equal(qtk_text_sample(f->ctx, &text, 7, 10, again), QTK_OK);
  assert_memory_equal(starts, again, sizeof again);
  assert_int_equal(qtk_text_sample(f->ctx, &text, 12, 1, again), QTK_EINPUT);
  qtk_text_free(f->ctx, &text);
}

static void lines_are_joined_as_a_recipe_says(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  const struct qtk_text_recipe lines = {.rows = QTK_ROWS_LINES, .join = "\n\n"};
  const struct qtk_text_recipe two = {.rows = QTK_ROWS_LINES, .join = "c", .most = 2};
  assert_int_equal(read_as(f, "t.txt", " ab \n \nc\r\na", &lines, &text), QTK_OK);
  check_ids(&text, "9013323308");
  assert_int_equal(text.documents, 3);
  qtk_text_free(f->ctx, &text);
  assert_int_equal(read_as(f, "t.txt", "a\nb\na\n", &two, &text), QTK_OK);
  check_ids(&text, "90218");
  assert_int_equal(text.documents, 2);
  qtk_text_free(f->ctx, &text);
}

static void documents_are_read_whatever_the_name(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  const struct qtk_text_recipe recipe = {.rows = QTK_ROWS_DOCUMENTS, .join = "c", .most = 2};
  static const char lines[] = "{\"text\":\"a\"}\n{\"text\":\"\"}\n{\"text\":\"b\"}\n";
  assert_int_equal(read_as(f, "t.json", lines, &recipe, &text), QTK_OK);
  check_ids(&text, "9028");
  qtk_text_free(f->ctx, &text);
  assert_int_equal(read_as(f, "t.txt", "plain\n", &recipe, &text), QTK_EINPUT);
  check_message("t.txt, line 1");
}

/* Crops of 3 out of 9abc8 (two places but the last: 9ab, abc) and 9bbbb8; "a" is too short. */
static void crops_lie_in_documents(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text, again;
  const struct qtk_text_recipe recipe = {.rows = QTK_ROWS_DOCUMENTS, .crops = 60, .length = 3};
  static const char lines[] = "{\"text\":\"abc\"}\n{\"text\":\"a\"}\n{\"text\":\"bbbb\"}\n";
  static const int32_t all[][3] = {{9, 0, 1}, {0, 1, 2}, {9, 1, 1}, {1, 1, 1}};
  int seen[4] = {0};
  assert_int_equal(read_as(f, "t.jsonl", lines, &recipe, &text), QTK_OK);
  assert_int_equal(text.ids.n, 180);
  assert_int_equal(text.documents, 3);
  for (int i = 0; i < 60; i++) {
    int k = 0;
    while (k < 4 && memcmp(text.ids.ids + 3 * i, all[k], sizeof all[k]) != 0)
      k++;
    assert_in_range(k, 0, 3);
    seen[k]++;
  }
  for (int k = 0; k < 4; k++)
    assert_in_range(seen[k], 1, 59);
  assert_int_equal(read_as(f, "t.jsonl", lines, &recipe, &again), QTK_OK);
  assert_memory_equal(text.ids.ids, again.ids.ids, 180 * sizeof(int32_t));
  qtk_text_free(f->ctx, &again);
  qtk_text_free(f->ctx, &text);
  const struct qtk_text_recipe longer = {.rows = QTK_ROWS_DOCUMENTS, .crops = 1, .length = 6};
  assert_int_equal(read_as(f, "t.jsonl", lines, &longer, &text), QTK_EINPUT);
  check_message("none of 3 documents has more than 6 tokens");
}

/* A text that does not fit is refused, and nothing stays counted. */
/* Every token is another one: stretches of 32 that are shared can be counted. */
static void overlaps_are_counted(void **state)
{
  int32_t a[200], b[300];
  struct qtk_text text = {.ids = {.ids = a, .n = 200}}, other = {.ids = {.ids = b, .n = 300}};
  struct qtk_context_options options = {.threads = 1};
  struct qtk_context *ctx;
  double share;
  (void)state;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  for (int i = 0; i < 200; i++)
    a[i] = i;
  for (int i = 0; i < 300; i++)
    b[i] = 1000 + i;
  assert_int_equal(qtk_text_overlap(ctx, &text, &other, &share), QTK_OK);
  assert_true(share == 0.0);
  for (int i = 0; i < 31; i++)
    b[100 + i] = 50 + i;
  assert_int_equal(qtk_text_overlap(ctx, &text, &other, &share), QTK_OK);
  assert_true(share == 0.0); /* one token too few */
  for (int i = 0; i < 41; i++)
    b[100 + i] = 50 + i;
  assert_int_equal(qtk_text_overlap(ctx, &text, &other, &share), QTK_OK);
  assert_true(fabs(share - 10.0 / 169.0) < 1e-12);
  assert_int_equal(qtk_text_overlap(ctx, &text, &text, &share), QTK_OK);
  assert_true(share == 1.0);
  other.ids.n = 20;
  assert_int_equal(qtk_text_overlap(ctx, &text, &other, &share), QTK_OK);
  assert_true(share == 0.0);
  qtk_context_close(ctx);
}

static void limit_is_obeyed(void **state)
{
  struct fixture *f = *state;
  struct qtk_text text;
  char *long_text = malloc(100000);
  memset(long_text, 'a', 100000);
  f->ctx->arena.limit = 120000;
  assert_int_equal(read_text(f, "t.txt", long_text, 100000, &text), QTK_ENOMEM);
  f->ctx->arena.limit = 50000;
  assert_int_equal(read_text(f, "t.txt", long_text, 100000, &text), QTK_ENOMEM);
  f->ctx->arena.limit = 0;
  free(long_text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_text_is_taken_as_it_is),
      cmocka_unit_test(lines_are_joined_by_a_blank_line),
      cmocka_unit_test(empty_files_are_texts),
      cmocka_unit_test(bad_lines_are_named),
      cmocka_unit_test(windows_are_counted),
      cmocka_unit_test(samples_are_drawn),
      cmocka_unit_test(lines_are_joined_as_a_recipe_says),
      cmocka_unit_test(documents_are_read_whatever_the_name),
      cmocka_unit_test(crops_lie_in_documents),
      cmocka_unit_test(overlaps_are_counted),
      cmocka_unit_test(limit_is_obeyed),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
