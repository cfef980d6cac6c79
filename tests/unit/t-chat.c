/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/chat.h"
#include "core/fs.h"

/* The start of SmolLM2's template, with its line ends as JSON leaves them and as a file of
 * another kind has them. */
#define OWN(nl)                                                                               \
  "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system" nl          \
  "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>" nl         \
  "' }}{% endif %}{{'<|im_start|>' + message['role'] + '" nl "' + message['content'] + "      \
  "'<|im_end|>' + '" nl "'}}"

static struct qtk_chat *open_chat(const char *name, const char *own)
{
  struct qtk_chat_source source = {.name = name, .own = own, .bos = "<s>", .eos = "</s>"};
  struct qtk_chat *chat;
  assert_int_equal(qtk_chat_open(&source, &chat), QTK_OK);
  return chat;
}

static void expect_prompt(const struct qtk_chat *chat, const struct qtk_chat_turn *turn,
                          const char *want)
{
  struct qtk_str out = {0};
  assert_int_equal(qtk_chat_prompt(chat, turn, &out), QTK_OK);
  assert_string_equal(out.data, want);
  qtk_str_free(&out);
}


/* The conversation of tests/data/chat/record.py: with a system text or not, one turn or
 * two. */
static void fill(const struct qtk_chat *chat, int system, int turns, struct qtk_str *out)
{
  struct qtk_chat_turn turn = {.first = 1, .user = "  What is 2 + 2?\n"};
  turn.system = system ? " Answer in one line. " : NULL;
  assert_int_equal(qtk_chat_prompt(chat, &turn, out), QTK_OK);
  if (turns == 1)
    return;
  assert_int_equal(qtk_chat_answer(chat, " 4 ", out), QTK_OK);
  qtk_str_add(out, qtk_chat_after(chat));
  turn = (struct qtk_chat_turn){.user = "And 3 + 3?"};
  assert_int_equal(qtk_chat_prompt(chat, &turn, out), QTK_OK);
}

static void check_record(const json_t *record)
{
  static const char *const names[] = {"one", "one with system", "two", "two with system"};
  const char *name = json_string_value(json_object_get(record, "template"));
  int own = strcmp(name, "chatml") == 0; /* the only one with a default of its own */
  struct qtk_chat_source source = {.name = own ? NULL : name,
                                   .own = own ? OWN("\n") : NULL,
                                   .bos = json_string_value(json_object_get(record, "bos")),
                                   .eos = json_string_value(json_object_get(record, "eos"))};
  struct qtk_chat *chat;
  assert_int_equal(qtk_chat_open(&source, &chat), QTK_OK);
  assert_string_equal(qtk_chat_name(chat), name);
  for (int i = 0; i < 4; i++) {
    struct qtk_str out = {0};
    fill(chat, i & 1, i < 2 ? 1 : 2, &out);
    assert_string_equal(
        out.data, json_string_value(json_object_get(json_object_get(record, "texts"), names[i])));
    qtk_str_free(&out);
  }
  qtk_chat_close(chat);
}

static void same_as_recorded(void **state)
{
  json_error_t error;
  char *path = qtk_path_join(getenv("QTK_SRCDIR"), "tests/data/chat/expected.json");
  json_t *root = json_load_file(path, 0, &error), *record;
  size_t i;

  (void)state;
  assert_int_equal(json_array_size(root), 4);
  json_array_foreach(root, i, record)
    check_record(record);
  json_decref(root);
  free(path);
}

static void recognised(void **state)
{
  static const char *const texts[][2] = {
      {"chatml", OWN("\\n")},
      {"llama2", "{{ bos_token + '[INST] ' }} '<<SYS>>\\n' + system"},
      {"llama3", "'<|start_header_id|>' + role + content | trim + '<|eot_id|>'"},
      {"llama3.1", "'<|start_header_id|>' \"Cutting Knowledge Date: December 2023\" '<|eot_id|>'"},
      {"alpaca", "'### Instruction:\\n' + user + '\\n\\n### Response:\\n'"},
      {"alpaca-space", "'### Instruction:\\n' + user + '\\n\\n### Response: '"}};

  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct qtk_chat *chat = open_chat(NULL, texts[i][1]);
    assert_string_equal(qtk_chat_name(chat), texts[i][0]);
    qtk_chat_close(chat);
    chat = open_chat(texts[i][0], NULL);
    assert_string_equal(qtk_chat_name(chat), texts[i][0]);
    qtk_chat_close(chat);
  }
}

static void default_system(void **state)
{
  const struct qtk_chat_turn turn = {.first = 1, .user = "u"}, later = {.user = "v"};
  const char *const own[] = {OWN("\n"), OWN("\\n")};

  (void)state;
  for (int i = 0; i < 2; i++) {
    struct qtk_chat *chat = open_chat(NULL, own[i]);
    expect_prompt(chat, &turn,
                  "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                  "Hugging Face<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
    expect_prompt(chat, &later, "<|im_start|>user\nv<|im_end|>\n<|im_start|>assistant\n");
    qtk_chat_close(chat);
  }
  struct qtk_chat *chat = open_chat("chatml", own[0]); /* by name: the plain template */
  expect_prompt(chat, &turn, "<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
  assert_string_equal(qtk_chat_end(chat), "<|im_end|>");
  assert_string_equal(qtk_chat_stops(chat)[0], "<|im_end|>");
  assert_null(qtk_chat_stops(chat)[1]);
  qtk_chat_close(chat);
}

static void inputs(void **state)
{
  struct qtk_chat_turn turn = {.first = 1, .user = "Add.", .input = "1 2"};
  struct qtk_chat *chat = open_chat("alpaca", NULL);

  (void)state;
  expect_prompt(chat, &turn,
                "<s>Below is an instruction that describes a task, paired with an input that "
                "provides further context. Write a response that appropriately completes the "
                "request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n");
  turn.input = "";
  expect_prompt(chat, &turn,
                "<s>Below is an instruction that describes a task. Write a response that "
                "appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Response:\n");
  assert_string_equal(qtk_chat_end(chat), "</s>");
  qtk_chat_close(chat);
  chat = open_chat("chatml", NULL); /* no place for an input: a line of its own */
  turn.input = "1 2";
  expect_prompt(chat, &turn, "<|im_start|>user\nAdd.\n1 2<|im_end|>\n<|im_start|>assistant\n");
  qtk_chat_close(chat);
}

static void unknown(void **state)
{
  struct qtk_chat_source source = {.name = "chatmk", .file = "m.bin"};
  struct qtk_chat *chat;

  (void)state;
  assert_int_equal(qtk_chat_open(&source, &chat), QTK_EUSAGE);
  assert_non_null(strstr(qtk_error_message(), "did you mean 'chatml'"));
  assert_null(chat);
  source.name = NULL;
  assert_int_equal(qtk_chat_open(&source, &chat), QTK_EUSAGE);
  assert_non_null(strstr(qtk_error_message(), "m.bin: it has no chat template of its own"));
  assert_non_null(strstr(qtk_error_message(), "chatml, llama2"));
  source.own = "{{ messages }}";
  assert_int_equal(qtk_chat_open(&source, &chat), QTK_EUSAGE);
  assert_non_null(strstr(qtk_error_message(), "none that is known"));
}

/* ---- data files of one's own ------------------------------------------------------------ */

#define GOOD "[[template]]\nname = \"mine\"\nanswer = \"{assistant}\"\nafter = \"\"\n"

static void with_file(const char *text, const char *error)
{
  char folder[] = "/tmp/t-chat-XXXXXX";
  char *before = strdup(getenv("QTK_ARCH_PATH"));
  struct qtk_chat_source source = {.name = "mine"};
  struct qtk_chat *chat;
  assert_non_null(mkdtemp(folder));
  char *data = qtk_path_join(folder, "data"), *path = qtk_path_join(data, "chat_templates.toml");
  assert_int_equal(qtk_make_dirs(data), QTK_OK);
  assert_int_equal(qtk_write_file(path, text, strlen(text)), QTK_OK);
  setenv("QTK_ARCH_PATH", folder, 1);
  int rc = qtk_chat_open(&source, &chat);
  setenv("QTK_ARCH_PATH", before, 1);
  if (error == NULL) {
    assert_int_equal(rc, QTK_OK);
    const struct qtk_chat_turn turn = {.first = 1, .user = " a b "};
    expect_prompt(chat, &turn, "{User}: a b>");
  } else {
    assert_int_equal(rc, QTK_EJOB);
    assert_non_null(strstr(qtk_error_message(), error));
    assert_non_null(strstr(qtk_error_message(), "chat_templates.toml:"));
  }
  qtk_chat_close(chat);
  assert_int_equal(qtk_remove_tree(folder), QTK_OK);
  free(path);
  free(data);
  free(before);
}

static void own_files(void **state)
{
  (void)state;
  with_file(GOOD "turn = [{text = \"{{User}: {user|trim}>\"}]\n", NULL);
  with_file(GOOD "turn = [{text = \"{usr}\"}]\n", "is no place for a text");
  with_file(GOOD "turn = [{text = \"{user|upper}\"}]\n", "is no place for a text");
  with_file(GOOD "turn = [{text = \"{user\"}]\n", "is no place for a text");
  with_file(GOOD "turn = []\n", "the last turn must be one without");
  with_file(GOOD "turn = [{when = [\"first\"], text = \"\"}]\n", "the last turn must be one");
  with_file(GOOD "turn = [{when = [\"last\"], text = \"\"}]\n", "allowed are first, system, input");
  with_file(GOOD "turn = [1]\n", "turn must hold tables only");
  with_file(GOOD "turn = [{text = 1}]\n", "text");
  with_file(GOOD "turn = [{text = \"\"}]\nmarkers = [1]\n", "must hold texts only");
  with_file(GOOD "turn = [{text = \"\"}]\ndefault_system = [\"a\"]\n", "must hold two texts");
  with_file(GOOD "turn = [{text = \"\"}]\nstops = []\n", "stop");
  with_file("[[template]]\nname = \"mine\"\nafter = \"\"\nanswer = \"x\"\nturn = [{text = \"\"}]\n",
            "without a place for {assistant}");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_as_recorded), cmocka_unit_test(recognised),
      cmocka_unit_test(default_system),   cmocka_unit_test(inputs),
      cmocka_unit_test(unknown),          cmocka_unit_test(own_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
