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
  struct qtk_dataset_reader reader = {.tokenizer = f->tokenizer, .end = 8, .file = "a model"};
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

static void other_files_are_no_texts(void **state)
{
  struct fixture *f = *state;
  char *path = qtk_path_join(f->folder, "t.parquet");
  struct qtk_dataset_recipe recipe = {.path = path, .length = 8};
  struct qtk_dataset_reader reader = {.tokenizer = f->tokenizer, .end = 8};
  assert_int_equal(qtk_write_file(path, "PAR1\0ab", 7), QTK_OK);
  assert_int_equal(qtk_dataset_read(f->ctx, &recipe, &reader, &f->set), QTK_EINPUT);
  check_message("t.parquet: byte 4 is zero, so this is no text");
  free(path);
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
  assert_int_equal(qtk_dataset_bytes(&f->set), 12 * 100001);
  free(text);
}

/* ---- documents ---------------------------------------------------------------------------- */

static const char documents[] = "{\"text\":\"ab\",\"id\":[1]}\r\n \n{\"text\":\"\"}\n"
                                "{\"text\":\"cc\\n\"}";

/* 948, 98, 92238: the end of one and the start of the next are not scored. */
static void documents_follow_each_other(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(read_set(f, "t.jsonl", documents, (struct qtk_dataset_recipe){.length = 7}),
                   QTK_OK);
  expect(f, "9489892/48.8.2. 238/38.");
  assert_int_equal(f->set.documents, 3);
  assert_int_equal(f->set.packed, 1);
  assert_int_equal(f->set.train_on, QTK_TRAIN_ON_ALL);
}

static void documents_stand_by_themselves(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 3, .packing = QTK_PACKING_OFF};
  assert_int_equal(read_set(f, "t.ndjson", documents, recipe), QTK_OK);
  expect(f, "948/48. 98/8. 922/22. 38/8.");
  recipe.length = 4;
  assert_int_equal(read_set(f, "t.ndjson", documents, recipe), QTK_OK);
  expect(f, "948/48. 98/8. 9223/223."); /* the end alone has nothing to learn */
}

static void tokens_limit_documents(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 7, .tokens = 6};
  assert_int_equal(read_set(f, "t.jsonl", documents, recipe), QTK_OK);
  expect(f, "948989/48.8..");
  assert_int_equal(f->set.documents, 3);
  recipe.tokens = 5;
  assert_int_equal(read_set(f, "t.jsonl", documents, recipe), QTK_OK);
  expect(f, "94898/48.8.");
  assert_int_equal(f->set.documents, 2);
}

/* ---- examples ----------------------------------------------------------------------------- */

/* 9 2 4 8, 9 4 2 2 8, 9 0 8; "a" and "b" become one token, which is not what a prompt ends in. */
static const char completions[] = "[ {\"prompt\":\"c\",\"completion\":\"ab\"},\n"
                                  "  {\"prompt\":\"ab\",\"completion\":\"cc\"},\n"
                                  "  {\"prompt\":\"\",\"completion\":\"a\"} ]\n";

static void answers_are_learned(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 16};
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "9248/.48. 94228/.228. 908/08.");
  assert_int_equal(f->set.packed, 0);
  assert_int_equal(f->set.train_on, QTK_TRAIN_ON_RESPONSE);
  recipe.train_on = QTK_TRAIN_ON_ALL;
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "9248/248. 94228/4228. 908/08.");
}

static void a_prompt_keeps_its_tokens(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(read_set(f, "t.jsonl", "{\"prompt\":\"ca\",\"completion\":\"b\"}",
                            (struct qtk_dataset_recipe){.length = 16}),
                   QTK_OK);
  expect(f, "92018/..18.");
}

static void whole_examples_are_packed(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 9, .packing = QTK_PACKING_ON};
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "924894228/.48..228. 908/08.");
  recipe.length = 8;
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "9248/.48. 94228908/.228.08.");
}

static void long_examples_lose_their_end(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 4};
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "9248/.48. 9422/.22. 908/08.");
  assert_int_equal(f->set.truncated, 1);
  assert_int_equal(f->set.dropped, 0);
  recipe.length = 2;
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "90/0.");
  assert_int_equal(f->set.documents, 3);
  assert_int_equal(f->set.truncated, 1);
  assert_int_equal(f->set.dropped, 2);
}

static void tokens_take_whole_examples(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 16, .tokens = 10};
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_OK);
  expect(f, "9248/.48. 94228/.228.");
  assert_int_equal(f->set.documents, 2);
  recipe.tokens = 3;
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_EJOB);
  check_message("tokens = 3: the first example has 4");
}

/* More rows than are at work at a time. */
static void order_is_the_files(void **state)
{
  struct fixture *f = *state;
  struct qtk_str rows = {0};
  struct qtk_dataset_recipe recipe = {.length = 64};
  for (int i = 0; i < 500; i++)
    qtk_str_printf(&rows, "{\"prompt\":\"%.*s\",\"completion\":\"%s\"}\n", i % 7, "cccccc",
                   i % 3 ? "a" : "b");
  assert_int_equal(read_set(f, "t.jsonl", rows.data, recipe), QTK_OK);
  assert_int_equal(f->set.examples.n, 500);
  for (int i = 0; i < 500; i++) {
    const int32_t *ids = f->set.examples.ids + f->set.examples.starts[i + 1];
    assert_int_equal(f->set.examples.starts[i + 1] - f->set.examples.starts[i], i % 7 + 3);
    assert_int_equal(ids[-2], i % 3 ? 0 : 1);
  }
  qtk_str_free(&rows);
}

static void what_is_behind_enough_is_not_asked(void **state)
{
  struct fixture *f = *state;
  struct qtk_str rows = {0};
  struct qtk_dataset_recipe recipe = {.length = 64, .tokens = 20};
  for (int i = 0; i < 6; i++)
    qtk_str_add(&rows, "{\"prompt\":\"c\",\"completion\":\"a\"}\n");
  qtk_str_add(&rows, "no JSON\n");
  assert_int_equal(read_set(f, "t.jsonl", rows.data, recipe), QTK_OK);
  assert_int_equal(f->set.documents, 5);
  recipe.tokens = 24;
  assert_int_equal(read_set(f, "t.jsonl", rows.data, recipe), QTK_OK);
  recipe.tokens = 25;
  assert_int_equal(read_set(f, "t.jsonl", rows.data, recipe), QTK_EINPUT);
  check_message("t.jsonl, line 7: ");
  qtk_str_free(&rows);
}

/* ---- mistakes ----------------------------------------------------------------------------- */

static void bad_rows_are_named(void **state)
{
  struct fixture *f = *state;
  static const struct {
    const char *name, *content, *part;
  } cases[] = {
      {"t.jsonl", "{\"text\":\"a\"}\n\n{\"text\":", "t.jsonl, line 3: JSON:1:8"},
      {"t.jsonl", "{\"text\":\"a\"}\n[1]\n", "line 2: found an array, wanted: an object"},
      {"t.jsonl", "{\"text\":7}\n", "line 1: text is an integer, wanted text"},
      {"t.jsonl", "{\"text\":\"\xff\"}\n", "line 1: JSON:1:"},
      {"t.jsonl", "{\"text\":\"a\"}\n{\"txt\":\"a\"}\n",
       "line 2: the object has txt (txt: did you mean text?); wanted, as in the file's first: text"},
      {"t.jsonl", "{\"mesages\":[],\"a\":1,\"b\":null}\n",
       "line 1: the object has mesages, a, b (null) (mesages: did you mean messages?); wanted: "
       "messages; or instruction and output; or prompt and completion; or text"},
      {"t.jsonl", "{}\n", "line 1: the object has nothing; wanted: "},
      {"t.jsonl", "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1}",
       "has a, b, c, d, e, f, g, h, ...; wanted"},
      {"t.json", "[{\"text\":\"a\"},\n5]", "t.json, item 2 (line 2): found '5', wanted: an object"},
      {"t.json", "[{\"text\":\"a\"}\n{\"text\":\"a\"}]",
       "item 2 (line 2): found '{', wanted: a comma, or ']'"},
      {"t.json", "[{\"text\":\"a\"},]", "item 2 (line 1): found ']', wanted: an object"},
      {"t.json", "[{\"text\":\"a\"},", "item 2 (line 1): found the end, wanted: an object"},
      {"t.json", "[{\"text\":\"a\"}", "item 2 (line 1): found the end, wanted: a comma, or ']'"},
      {"t.json", "[{\"text\":\"a\\\"}]", "item 1 (line 1): the file ends within the object"},
      {"t.json", "[{\"text\":\"a\"}]\n[]", "line 2: there is more behind the array"},
      {"t.json", "[\xff", "t.json, item 1 (line 1): found byte 0xff, wanted: an object"},
      {"t.json", "[]", "t.json: there is nothing to learn from"},
      {"t.jsonl", "\n", "t.jsonl: there is nothing to learn from"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_dataset_recipe recipe = {.length = 8};
    assert_int_equal(read_set(f, cases[i].name, cases[i].content, recipe), QTK_EINPUT);
    check_message(cases[i].part);
    assert_int_equal(f->ctx->arena.used, 0);
  }
}

static void bad_messages_are_named(void **state)
{
  struct fixture *f = *state;
  static const struct {
    const char *messages, *part;
  } cases[] = {
      {"5", "messages: wanted: an array of objects with role and content"},
      {"[]", "messages: wanted: an array"},
      {"[5]", "line 1: messages, item 1: wanted: an object with role and content"},
      {"[{\"content\":\"a\"}]", "messages, item 1: role is missing"},
      {"[{\"role\":\"user\"}]", "messages, item 1: content is missing"},
      {"[{\"role\":\"user\",\"content\":[]}]", "item 1: content is an array, wanted text"},
      {"[{\"role\":\"tool\",\"content\":\"a\"}]",
       "item 1: role = \"tool\": wanted here: user (first a system message or none, then"},
      {"[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"a\"}]",
       "item 2: role = \"user\": wanted here: assistant"},
      {"[{\"role\":\"user\",\"content\":\"a\"}]",
       "messages: the last one is the user's; wanted: the assistant's"},
      {"[{\"role\":\"system\",\"content\":\"a\"}]", "messages: the last one is the system's"},
      {"[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"a\"},"
       "{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"a\"}]",
       "item 4: role = \"system\": wanted here: user"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_dataset_recipe recipe = {.length = 8, .template = "chatml"};
    char *row = qtk_str_format("{\"messages\":%s}", cases[i].messages);
    assert_int_equal(read_set(f, "t.jsonl", row, recipe), QTK_EINPUT);
    check_message(cases[i].part);
    free(row);
  }
}

static void bad_recipes_are_named(void **state)
{
  struct fixture *f = *state;
  struct qtk_dataset_recipe recipe = {.length = 8, .train_on = QTK_TRAIN_ON_RESPONSE};
  assert_int_equal(read_set(f, "t.txt", "abc", recipe), QTK_EJOB);
  check_message("t.txt holds texts, of which only \"all\" can be learned");
  recipe = (struct qtk_dataset_recipe){.length = 8, .template = "chatml"};
  assert_int_equal(read_set(f, "t.jsonl", documents, recipe), QTK_EJOB);
  check_message("template = \"chatml\": ");
  recipe.template = "chatmel";
  assert_int_equal(read_set(f, "t.json", completions, recipe), QTK_EJOB);
  check_message("chat template 'chatmel': did you mean 'chatml'?");
  recipe.template = NULL;
  assert_int_equal(
      read_set(f, "t.jsonl", "{\"instruction\":\"a\",\"output\":\"b\"}", recipe), QTK_EJOB);
  check_message("a model: it has no chat template of its own: name the chat template to use");
  recipe.length = 2;
  assert_int_equal(
      read_set(f, "t.jsonl", "{\"prompt\":\"ab\",\"completion\":\"c\"}", recipe), QTK_EINPUT);
  check_message("no token is scored (completions: 1, dropped because nothing of the answer fits in "
                "length = 2: 1)");
  assert_int_equal(qtk_dataset_read(f->ctx, &(struct qtk_dataset_recipe){.path = "/no/such.json",
                                                                        .length = 8},
                                    &(struct qtk_dataset_reader){.tokenizer = f->tokenizer},
                                    &f->set),
                   QTK_EINPUT);
  check_message("/no/such.json");
}

/* ---- counts ------------------------------------------------------------------------------- */

static void counts_are_reported(void **state)
{
  struct fixture *f = *state;
  struct qtk_str line = {0};
  json_t *report = json_object();
  assert_int_equal(read_set(f, "t.txt", "ab\nccab", (struct qtk_dataset_recipe){.length = 4}),
                   QTK_OK);
  qtk_dataset_drop(&f->set);
  assert_int_equal(f->ctx->arena.used, 0);
  assert_int_equal(qtk_dataset_report(&f->set, report), QTK_OK);
  static const struct {
    const char *key;
    int value;
  } want[] = {{"documents", 1}, {"sequences", 2}, {"tokens", 6},    {"scored", 4},
              {"shortest", 2},  {"longest", 4},   {"truncated", 0}, {"dropped", 0}};
  for (size_t i = 0; i < sizeof want / sizeof *want; i++)
    assert_int_equal(json_integer_value(json_object_get(report, want[i].key)), want[i].value);
  json_decref(report);
  assert_int_equal(qtk_dataset_line(&f->set, &line), QTK_OK);
  assert_string_equal(line.data, "t.txt, text: 1; sequences: 2 of 2 .. 4 tokens, packed; tokens: "
                                 "6, scored 4 (all); truncated 0, dropped 0");
  qtk_str_free(&line);
}

/* ---- shares that are held out -------------------------------------------------------------- */

#define ROWS 40

/* The numbers of the documents that were read, in their order: their four letters are the digits
 * of a number to the base 3. */
static int part_of(struct fixture *f, double share, int held, int numbers[ROWS])
{
  struct qtk_str rows = {0};
  for (int i = 0; i < ROWS; i++)
    qtk_str_printf(&rows, "{\"text\":\"%c%c%c%c\"}\n", "acb"[i / 27], "acb"[i / 9 % 3],
                   "acb"[i / 3 % 3], "acb"[i % 3]);
  assert_int_equal(read_set(f, "rows.jsonl", rows.data,
                            (struct qtk_dataset_recipe){.length = 16,
                                                        .packing = QTK_PACKING_OFF,
                                                        .share = share,
                                                        .held = held}),
                   QTK_OK);
  qtk_str_free(&rows);
  const struct qtk_examples *e = &f->set.examples;
  for (int64_t i = 0; i < e->n; i++) {
    const int digits[] = {0, 2, 1};
    int number = 0;
    for (int64_t k = e->starts[i] + 1; e->ids[k] != 8; k++)
      number = e->ids[k] == 4 ? 9 * number + 2 : 3 * number + digits[e->ids[k]];
    numbers[i] = number;
  }
  return (int)e->n;
}

/* Each document is in one of the two parts, whole; the seed alone says in which. */
static void a_share_is_held_out(void **state)
{
  struct fixture *f = *state;
  struct qtk_context *own = f->ctx;
  struct qtk_context_options options = {.threads = 1, .seed = 6};
  int whole[ROWS], held[ROWS], rest[ROWS], other[ROWS], h = 0, r = 0;
  assert_int_equal(part_of(f, 0, 0, whole), ROWS);
  assert_int_equal(part_of(f, 0.25, 1, held), 10);
  assert_true(f->set.held == 0.25);
  assert_int_equal(part_of(f, 0.25, 0, rest), 30);
  assert_int_equal(f->set.count.tokens, f->set.examples.starts[30]);
  for (int i = 0; i < ROWS; i++) {
    assert_int_equal(whole[i], i);
    if (h < 10 && held[h] == i)
      h++;
    else
      assert_int_equal(rest[r++], i);
  }
  assert_int_equal(h, 10);
  assert_int_equal(part_of(f, 0.25, 1, other), 10);
  assert_memory_equal(other, held, 10 * sizeof *held);
  assert_int_equal(qtk_context_open(&options, &f->ctx), QTK_OK);
  assert_int_equal(part_of(f, 0.25, 1, other), 10);
  assert_memory_not_equal(other, held, 10 * sizeof *held);
  qtk_dataset_free(&f->set);
  qtk_context_close(f->ctx);
  f->ctx = own;
}

/* At least one on either side; one sequence cannot be two parts. */
static void a_share_leaves_some(void **state)
{
  struct fixture *f = *state;
  int numbers[ROWS];
  assert_int_equal(part_of(f, 1e-6, 1, numbers), 1);
  assert_int_equal(part_of(f, 1e-6, 0, numbers), ROWS - 1);
  assert_int_equal(part_of(f, 0.999, 1, numbers), ROWS - 1);
  assert_int_equal(part_of(f, 0.999, 0, numbers), 1);
  assert_int_equal(read_set(f, "t.txt", "abc",
                            (struct qtk_dataset_recipe){.length = 8, .share = 0.5}),
                   QTK_EINPUT);
  check_message("t.txt: share = 0.5: there is 1 sequence, and none can be set apart");
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
  const struct CMUnitTest tests[] = {
      TEST(text_is_cut_into_windows), TEST(rest_is_a_shorter_window),
      TEST(tokens_limit_a_text),      TEST(nothing_to_learn_is_an_error),
      TEST(other_files_are_no_texts),
      TEST(limit_is_obeyed),          TEST(counts_are_reported),
      TEST(documents_follow_each_other),
      TEST(documents_stand_by_themselves), TEST(tokens_limit_documents),
      TEST(answers_are_learned),      TEST(a_prompt_keeps_its_tokens),
      TEST(whole_examples_are_packed), TEST(long_examples_lose_their_end),
      TEST(tokens_take_whole_examples), TEST(order_is_the_files),
      TEST(what_is_behind_enough_is_not_asked),
      TEST(bad_rows_are_named),       TEST(bad_messages_are_named),
      TEST(bad_recipes_are_named),    TEST(a_share_is_held_out),
      TEST(a_share_leaves_some),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
