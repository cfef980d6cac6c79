/* SPDX-License-Identifier: BSD-3-Clause
 * Tables of questions, what is wrong with them, and the prompts made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/csv.h"
#include "core/fs.h"
#include "core/suite.h"

struct fixture {
  struct qtk_context *ctx;
  char folder[64];
};

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  struct qtk_context_options options = {.threads = 1};
  strcpy(f->folder, "/tmp/qtk-suite-XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  assert_int_equal(qtk_context_open(&options, &f->ctx), QTK_OK);
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  struct fixture *f = *state;
  assert_int_equal(f->ctx->arena.used, 0);
  qtk_context_close(f->ctx);
  qtk_remove_tree(f->folder);
  free(f);
  return 0;
}

static void check_message(const char *part)
{
  if (strstr(qtk_error_message(), part) == NULL)
    fail_msg("\"%s\" has no \"%s\"", qtk_error_message(), part);
}

/* ---- values --------------------------------------------------------------------------- */

/* Records as "line:column=text|...;". */
static int csv_text(const char *data, struct qtk_str *out)
{
  struct qtk_csv csv = {.file = "t.csv", .data = data, .size = strlen(data)};
  int more, rc;
  while ((rc = qtk_csv_next(&csv, &more)) == QTK_OK && more) {
    for (size_t i = 0; i < csv.fields.length; i++)
      qtk_str_printf(out, "%d:%d=%s|", (int)csv.fields.data[i].line,
                     (int)csv.fields.data[i].column, csv.fields.data[i].text);
    qtk_str_add(out, ";");
  }
  qtk_csv_end(&csv);
  return rc;
}

static void check_csv(const char *data, const char *want)
{
  struct qtk_str out = {0};
  qtk_str_add(&out, "");
  assert_int_equal(csv_text(data, &out), QTK_OK);
  assert_string_equal(out.data, want);
  qtk_str_free(&out);
}

static void check_bad_csv(const char *data, const char *message)
{
  struct qtk_str out = {0};
  assert_int_equal(csv_text(data, &out), QTK_EINPUT);
  check_message(message);
  qtk_str_free(&out);
}

static void values_are_parted(void **state)
{
  (void)state;
  check_csv("", "");
  check_csv("\n\r\n", "");
  check_csv("a,b\nc", "1:1=a|1:3=b|;2:1=c|;");
  check_csv("a,,\r\nb\r\n", "1:1=a|1:3=|1:4=|;2:1=b|;");
  check_csv("\xef\xbb\xbf\"a\",b", "1:1=a|1:5=b|;");
  check_csv("\"x \"\"y\"\"\nz, 1\",2\n\n3", "1:1=x \"y\"\nz, 1|2:7=2|;4:1=3|;");
  check_csv("a\"b\"c,\"\"", "1:1=a\"b\"c|1:7=|;");
  check_csv("a\rb,c", "1:1=a\rb|1:5=c|;");
}

static void broken_values_are_named(void **state)
{
  (void)state;
  check_bad_csv("a\nb,\"c\nd", "t.csv:2:3: this quote is never closed");
  check_bad_csv("a\n\"b\"c,d", "t.csv:2:4: a comma or the end of the line is wanted");
}

/* ---- suites ------------------------------------------------------------------------------ */

static void put(struct fixture *f, const char *name, const char *content)
{
  char *path = qtk_path_join(f->folder, name), *folder = qtk_path_dir(path);
  assert_int_equal(qtk_make_dirs(folder), QTK_OK);
  assert_int_equal(qtk_write_file(path, content, strlen(content)), QTK_OK);
  free(path);
  free(folder);
}

static int read_suite(struct fixture *f, const char *name, const char *file, int64_t shots,
                      int64_t limit, struct qtk_suite **suite)
{
  char *path = qtk_path_join(f->folder, file);
  struct qtk_suite_request request = {.name = name, .path = path, .shots = shots, .limit = limit};
  int rc = qtk_suite_read(f->ctx, &request, suite);
  free(path);
  return rc;
}

static void check_prompt(const struct qtk_suite *s, size_t group, size_t question, int64_t shots,
                         const char *want)
{
  struct qtk_str out = {0};
  const struct qtk_suite_group *g = &s->groups.data[group];
  assert_int_equal(qtk_suite_prompt(s, g, &g->questions.data[question], shots, &out), QTK_OK);
  assert_string_equal(out.data, want);
  qtk_str_free(&out);
}

/* Both layouts give the prompt of the reference. */
static void tables_become_prompts(void **state)
{
  struct fixture *f = *state;
  static const char *const tables[2][2] = {
    {"question,choice0,choice1,answer\n\"1,{x}?\n2\",a,b,1\nq2,c,d,0\n",
     "question,choice0,choice1,answer\nE?,\"\"\"e\"\"\",f,0\nE2?,g,h,1\n"},
    {"\"1,{x}?\n2\",a,b,B\nq2,c,d,A\n", "E?,\"\"\"e\"\"\",f,A\nE2?,g,h,B\n"}};
  for (int i = 0; i < 2; i++) {
    struct qtk_suite *s;
    put(f, "m/test/a_b_test.csv", tables[i][0]);
    put(f, "m/dev/a_b_dev.csv", tables[i][1]);
    put(f, "m/test/notes.txt", "no table");
    assert_int_equal(read_suite(f, "mmlu", "m", 2, 0, &s), QTK_OK);
    assert_int_equal(s->groups.length, 1);
    assert_string_equal(s->groups.data[0].name, "a_b");
    assert_int_equal(s->questions, 2);
    assert_int_equal(s->groups.data[0].questions.data[0].answer, 1);
    assert_int_equal(s->groups.data[0].questions.data[1].answer, 0);
    check_prompt(s, 0, 0, 2,
                 "The following are multiple choice questions (with answers) about a b.\n\n"
                 "E?\nA. \"e\"\nB. f\nAnswer: A\n\nE2?\nA. g\nB. h\nAnswer: B\n\n"
                 "1,{x}?\n2\nA. a\nB. b\nAnswer:");
    check_prompt(s, 0, 1, 0,
                 "The following are multiple choice questions (with answers) about a b.\n\n"
                 "q2\nA. c\nB. d\nAnswer:");
    qtk_suite_free(s);
    assert_int_equal(read_suite(f, "mmlu", "m", 0, 1, &s), QTK_OK);
    assert_int_equal(s->questions, 1);
    qtk_suite_free(s);
  }
}

static void check_bad_table(struct fixture *f, const char *table, const char *message)
{
  struct qtk_suite *s;
  put(f, "bad/test/x_test.csv", table);
  assert_int_equal(read_suite(f, "mmlu", "bad", 0, 1, &s), QTK_EINPUT);
  check_message(message);
}

static void broken_tables_are_named(void **state)
{
  struct fixture *f = *state;
  struct qtk_suite *s;
  check_bad_table(f, "q,a,b,A\nq,a,b,C\n",
                  "x_test.csv:2:7: answer \"C\": allowed are A .. B and 0 .. 1");
  check_bad_table(f, "q,a,b,2\n", "allowed are A .. B and 0 .. 1");
  check_bad_table(f, "q,a,b,\n", "answer \"\"");
  check_bad_table(f, "q,a,b,A\nq,a,A\n", "x_test.csv:2:5: 3 columns: the rows before it have 4");
  check_bad_table(f, "q,a,b,A\nq,a,b,c,A\n", "x_test.csv:2:9: 5 columns");
  check_bad_table(f, "q,a,A\n", "3 columns: a question, 2 to 26 choices and an answer");
  check_bad_table(f, "question,choice0,choice1,answer\n", "no questions for \"x\"");
  check_bad_table(f, "q,\"a,b,A\n", "x_test.csv:1:3: this quote is never closed");
  put(f, "empty/test/none.txt", "");
  assert_int_equal(read_suite(f, "mmlu", "empty", 0, 0, &s), QTK_EINPUT);
  check_message("no files test/*_test.csv");
  put(f, "bad/test/x_test.csv", "q,a,b,A\n");
  put(f, "bad/dev/x_dev.csv", "q,a,b,A\n");
  assert_int_equal(read_suite(f, "mmlu", "bad", 5, 0, &s), QTK_EINPUT);
  check_message("shots = 5, but there are 1 solved examples for \"x\"");
  assert_int_equal(read_suite(f, "nolu", "bad", 0, 0, &s), QTK_EJOB);
  check_message("there are \"mmlu\", \"plain\"");
}

static void lines_become_prompts(void **state)
{
  struct fixture *f = *state;
  struct qtk_suite *s;
  put(f, "q.jsonl", "{\"question\":\"x\",\"choices\":[\"p\",\"q\",\"r\"],\"answer\":\"c\"}\n\n"
                    "{\"question\":\"y\",\"choices\":[\"s\",\"t\"],\"answer\":0,\"group\":\"B\","
                    "\"context\":\"Once.\"}\n");
  assert_int_equal(read_suite(f, "plain", "q.jsonl", -1, 0, &s), QTK_OK);
  assert_int_equal(s->groups.length, 2);
  assert_string_equal(s->groups.data[0].name, "B");
  assert_string_equal(s->groups.data[1].name, "all");
  assert_int_equal(s->groups.data[1].questions.data[0].answer, 2);
  check_prompt(s, 0, 0, 0, "Once.\ny\nA. s\nB. t\nAnswer:");
  check_prompt(s, 1, 0, 0, "x\nA. p\nB. q\nC. r\nAnswer:");
  qtk_suite_free(s);
}

static void check_bad_line(struct fixture *f, const char *line, const char *message)
{
  struct qtk_suite *s;
  put(f, "bad.jsonl", line);
  assert_int_equal(read_suite(f, "plain", "bad.jsonl", 0, 0, &s), QTK_EINPUT);
  check_message(message);
}

static void broken_lines_are_named(void **state)
{
  struct fixture *f = *state;
  check_bad_line(f, "", "no questions");
  check_bad_line(f, "\n{\"question\":", "bad.jsonl, line 2");
  check_bad_line(f, "{\"choices\":[\"a\",\"b\"],\"answer\":0}", "line 1: \"question\" is missing");
  check_bad_line(f, "{\"question\":\"q\",\"choices\":[\"a\"],\"answer\":0}", "2 to 26 texts");
  check_bad_line(f, "{\"question\":\"q\",\"choices\":[\"a\",1],\"answer\":0}", "choice 1 is no text");
  check_bad_line(f, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"],\"answer\":2}",
                 "allowed are 0 .. 1 and \"A\" .. \"B\"");
  check_bad_line(f, "{\"question\":\"q\",\"choices\":[\"a\",\"b\"]}", "\"answer\"");
  check_bad_line(f, "[]", "\"question\" is missing");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(values_are_parted),       cmocka_unit_test(broken_values_are_named),
    cmocka_unit_test(tables_become_prompts),   cmocka_unit_test(broken_tables_are_named),
    cmocka_unit_test(lines_become_prompts),    cmocka_unit_test(broken_lines_are_named),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
