/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/toml.h"

static struct qtk_toml *parse(const char *text)
{
  struct qtk_toml *root;

  if (qtk_toml_parse(text, strlen(text), "job.toml", &root) != QTK_OK)
    fail_msg("%s", qtk_error_message());
  return root;
}

static void refuses(const char *text, const char *message)
{
  struct qtk_toml *root = (void *)1;

  assert_int_equal(qtk_toml_parse(text, strlen(text), "job.toml", &root), QTK_EJOB);
  assert_null(root);
  if (strstr(qtk_error_message(), message) == NULL)
    fail_msg("\"%s\" is not in \"%s\"", message, qtk_error_message());
}

static const char job[] = "# a job\n"
                          "[job]\n"
                          "name = \"x\"\n"
                          "seed = 1\n"
                          "\n"
                          "[[stage]]\n"
                          "run = \"evaluate\"\n"
                          "perplexity = { data = \"wiki\", windows = 10 }\n"
                          "[[stage]]\n"
                          "name = \"tune\"\n"
                          "learning_rate = 1e-4\n"
                          "list = [1, -2, [3.5, true]]\n"
                          "[[stage.override]]\n"
                          "match = '\\.down$'\n"
                          "[a.b]\n"
                          "c.d = inf\n";

static void reads_a_job(void **state)
{
  struct qtk_toml *root = parse(job);
  const struct qtk_toml *stage, *node;

  (void)state;
  assert_int_equal(qtk_toml_length(root), 3);
  assert_string_equal(qtk_toml_key(qtk_toml_item(root, 0)), "job");
  assert_string_equal(qtk_toml_key(qtk_toml_item(root, 1)), "stage");
  assert_string_equal(qtk_toml_key(qtk_toml_item(root, 2)), "a");
  assert_null(qtk_toml_item(root, 3));
  stage = qtk_toml_get(root, "stage");
  assert_int_equal(qtk_toml_kind(stage), QTK_TOML_ARRAY);
  assert_int_equal(qtk_toml_length(stage), 2);
  node = qtk_toml_find(root, "stage.0.perplexity.windows");
  assert_int_equal(qtk_toml_int(node), 10);
  assert_int_equal(qtk_toml_key_line(node), 8);
  assert_int_equal(qtk_toml_key_column(node), 31);
  assert_int_equal(qtk_toml_line(node), 8);
  assert_int_equal(qtk_toml_column(node), 41);
  assert_string_equal(qtk_toml_file(node), "job.toml");
  assert_true(qtk_toml_float(qtk_toml_find(root, "stage.tune.learning_rate")) == 1e-4);
  assert_true(qtk_toml_float(qtk_toml_find(root, "stage.1.list.2.0")) == 3.5);
  assert_int_equal(qtk_toml_int(qtk_toml_find(root, "stage.1.list.1")), -2);
  assert_true(qtk_toml_float(qtk_toml_find(root, "stage.1.list.1")) == -2);
  assert_int_equal(qtk_toml_bool(qtk_toml_find(root, "stage.1.list.2.1")), 1);
  assert_string_equal(qtk_toml_text(qtk_toml_find(root, "stage.1.override.0.match")), "\\.down$");
  assert_true(isinf(qtk_toml_float(qtk_toml_find(root, "a.b.c.d"))));
  assert_null(qtk_toml_find(root, "stage.2"));
  assert_null(qtk_toml_find(root, "stage.none"));
  assert_null(qtk_toml_find(root, "job.seed.x"));
  assert_null(qtk_toml_find(root, "stage.99999999999999999999999"));
  qtk_toml_free(root);
}

static void null_is_absent(void **state)
{
  int64_t n = 7;

  (void)state;
  assert_int_equal(qtk_toml_length(NULL), 0);
  assert_null(qtk_toml_get(NULL, "a"));
  assert_null(qtk_toml_item(NULL, 0));
  assert_null(qtk_toml_find(NULL, "a.b"));
  assert_int_equal(qtk_toml_get_int(NULL, "a", &n), QTK_OK);
  assert_int_equal(n, 7);
  qtk_toml_free(NULL);
}

/* The file's order, whatever the names. */
static void order_of_keys(void **state)
{
  struct qtk_toml *root = parse("z = 1\nb.y = 2\na = 3\n[c.q]\n[c]\nm = 1\nb = 2\n");
  static const char *const names[] = {"z", "b", "a", "c"};

  (void)state;
  assert_int_equal(qtk_toml_length(root), 4);
  for (size_t i = 0; i < 4; i++)
    assert_string_equal(qtk_toml_key(qtk_toml_item(root, i)), names[i]);
  qtk_toml_free(root);
}

static void bad_texts(void **state)
{
  char *deep = malloc(200001);
  struct qtk_toml *root;

  (void)state;
  refuses("a = \n", "job.toml:1:");
  refuses("x = 1\ny = [1, 2\nz = 3\n", "job.toml:3:");
  refuses("a = 1\na = 2\n", "job.toml:2:");
  refuses("a = 1'x'\n", "job.toml:1:6: a quote within a value");
  refuses("a = 1\nb = x\xef\xbb\xbe\n",
          "job.toml:2:6: characters beyond ASCII stand in quotes only");
  refuses("a = 1\n\n[[[stage]]]\n", "job.toml:3:3: this is no TOML");
  refuses("a = \"unfinished\n", "job.toml:1:");
  refuses("a = 99999999999999999999\n", "job.toml:1:");
  refuses("a = 1\nd = 2024-01-01\n", "job.toml:2:5: dates and times are not used here");
  refuses("a = 07:32:00\n", "dates and times");
  refuses("a = \"x\\u0000y\"\n", "job.toml:1:5: a zero byte in a text");
  refuses("\"x\\u0000y\" = 1\n", "job.toml:1:1: a zero byte in a key");
  refuses("a = \"\xff\"\n", "job.toml:1:");
  assert_int_equal(qtk_toml_parse("a = 1\0b", 7, "f", &root), QTK_EJOB);

  assert_non_null(deep);
  memset(deep, '[', 100000);
  memcpy(deep, "a=", 2);
  deep[100000] = '\0';
  refuses(deep, "job.toml:1:");
  for (int i = 0; i < 40; i++)
    memcpy(deep + 2 + i, "[", 1), memcpy(deep + 42 + i, "]", 2);
  refuses(deep, "too many levels");
  for (int i = 0; i < 100000; i++)
    memcpy(deep + 2 * i, "a.", 3);
  refuses(deep, "job.toml:1:66: a key of too many parts");
  deep[0] = '[';
  refuses(deep, "a key of too many parts");
  assert_int_equal(qtk_toml_parse(deep, QTK_TOML_BYTES + 1, "f", &root), QTK_EJOB);
  free(deep);
}

/* Letters of every kind in texts, right behind joined lines too. */
static void letters(void **state)
{
  static const char *const letters[] = {"\xc3\xa9",     "\xc5\xbe",        "\xd2\x8d",
                                        "\xe2\x82\xac", "\xef\xbb\xbe",    "\xef\xb4\x80",
                                        "\xe3\x81\x82", "\xf0\x9f\x98\x80"};

  (void)state;
  for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
    const char *l = letters[i];
    char text[200], expected[20];
    struct qtk_toml *root;
    snprintf(text, sizeof text,
             "a = \"%s\" # %s\nb = '''%s'''\nc = \"\"\"x\\\n  %s\"\"\"\n\"%s\" = 1\n", l, l, l, l,
             l);
    root = parse(text);
    assert_string_equal(qtk_toml_text(qtk_toml_get(root, "a")), l);
    assert_string_equal(qtk_toml_text(qtk_toml_get(root, "b")), l);
    snprintf(expected, sizeof expected, "x%s", l);
    assert_string_equal(qtk_toml_text(qtk_toml_get(root, "c")), expected);
    assert_int_equal(qtk_toml_int(qtk_toml_get(root, l)), 1);
    qtk_toml_free(root);
  }
}

/* Dots in strings and comments are no levels. */
static void dots_are_free_elsewhere(void **state)
{
  struct qtk_toml *root = parse(
      "a = \"........................................\" # .....................................\n"
      "b = '........................................'\n"
      "c = \"\"\"\\\"\"\" ........................................\n\"\"\"\n"
      "d = '''\n.......................................'.\n'''\n"
      "\"........................................\" = 1.5\n"
      "# ' ........................................ \n");

  (void)state;
  assert_int_equal(qtk_toml_length(root), 5);
  qtk_toml_free(root);
}

static void typed_getters(void **state)
{
  struct qtk_toml *root = parse("i = 3\nf = 2.5\nb = true\nt = \"x\"\na = [1]\n[s]\nq = 1\n");
  const struct qtk_toml *node = NULL;
  const char *text = "default";
  int64_t i = 7;
  double f = 8;
  int b = 0;

  (void)state;
  assert_int_equal(qtk_toml_get_int(root, "i", &i), QTK_OK);
  assert_int_equal(i, 3);
  assert_int_equal(qtk_toml_get_int(root, "none", &i), QTK_OK);
  assert_int_equal(i, 3);
  assert_int_equal(qtk_toml_get_int(root, "f", &i), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "job.toml:2:1: f is a number, wanted an integer");
  assert_int_equal(qtk_toml_get_float(root, "i", &f), QTK_OK);
  assert_true(f == 3);
  assert_int_equal(qtk_toml_get_float(root, "t", &f), QTK_EJOB);
  assert_int_equal(qtk_toml_get_bool(root, "b", &b), QTK_OK);
  assert_int_equal(b, 1);
  assert_int_equal(qtk_toml_get_bool(root, "i", &b), QTK_EJOB);
  assert_int_equal(qtk_toml_get_text(root, "t", &text), QTK_OK);
  assert_string_equal(text, "x");
  assert_int_equal(qtk_toml_get_text(root, "s", &text), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "job.toml:6:2: s is a table, wanted text");
  assert_int_equal(qtk_toml_get_table(root, "s", &node), QTK_OK);
  assert_int_equal(qtk_toml_length(node), 1);
  assert_int_equal(qtk_toml_get_array(root, "a", &node), QTK_OK);
  assert_int_equal(qtk_toml_get_array(root, "s", &node), QTK_EJOB);
  assert_int_equal(qtk_toml_need(root, "t", QTK_TOML_TEXT, &node), QTK_OK);
  assert_int_equal(qtk_toml_need(qtk_toml_get(root, "s"), "path", QTK_TOML_TEXT, &node), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "job.toml:6:2: path is missing");
  qtk_toml_free(root);
}

static void unknown_keys(void **state)
{
  static const char *const keys[] = {"bits", "group", "seed", NULL};
  struct qtk_toml *root = parse("bits = 4\n\n  gruop = 5\n");

  (void)state;
  assert_int_equal(qtk_toml_only(root, keys), QTK_EJOB);
  assert_string_equal(qtk_error_message(),
                      "job.toml:3:3: unknown key \"gruop\"; did you mean \"group\"?");
  qtk_toml_remove(root, "gruop");
  assert_int_equal(qtk_toml_only(root, keys), QTK_OK);
  assert_int_equal(qtk_toml_set_int(root, "temperature", 1), QTK_OK);
  assert_int_equal(qtk_toml_only(root, keys), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "unknown key \"temperature\"");
  qtk_toml_free(root);
}

/* ---- writing ---------------------------------------------------------------------------- */

static char *written(const struct qtk_toml *root)
{
  struct qtk_str s = {0};

  assert_int_equal(qtk_toml_write(root, &s), QTK_OK);
  return qtk_str_take(&s);
}

static void survives_writing(const char *text)
{
  struct qtk_toml *root = parse(text), *again;
  char *first = written(root), *second;

  again = parse(first);
  if (!qtk_toml_equal(root, again))
    fail_msg("not equal:\n%s\n---\n%s", text, first);
  second = written(again);
  assert_string_equal(first, second);
  free(first);
  free(second);
  qtk_toml_free(root);
  qtk_toml_free(again);
}

static void writes_what_it_read(void **state)
{
  char *text;
  struct qtk_toml *root = parse(job);

  (void)state;
  survives_writing(job);
  survives_writing("");
  survives_writing("a = [[], {}, [{a = 1}], [1, \"x\"]]\nb = {}\n[c]\n[d.e]\n");
  survives_writing("\"a b\" = 1\n\"\" = 2\n\"\xc3\xa9\" = 3\n[\"x.y\".'z\"']\nq = 1\n");
  survives_writing("[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\n[a.d]\n[[a]]\n[a.d]\nx = 1\n");
  survives_writing("a = nan\nb = -inf\nc = -0.0\nd = 1e300\ne = 5e-324\nf = 0.1\ng = 3.0\n");
  survives_writing("a = -9223372036854775808\nb = 9223372036854775807\nc = 0xff\nd = true\n");
  survives_writing(
      "a = \"\\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u007f \xf0\x9f\x98\x80\"\nb = '''\n'x' '''\n");
  text = written(root);
  assert_string_equal(text, "[job]\nname = \"x\"\nseed = 1\n\n"
                            "[[stage]]\nrun = \"evaluate\"\n"
                            "perplexity = { data = \"wiki\", windows = 10 }\n\n"
                            "[[stage]]\nname = \"tune\"\nlearning_rate = 0.0001\n"
                            "list = [1, -2, [3.5, true]]\n\n"
                            "[[stage.override]]\nmatch = \"\\\\.down$\"\n\n"
                            "[a]\n\n[a.b]\n\n[a.b.c]\nd = inf\n");
  free(text);
  qtk_toml_free(root);
}

static void builds(void **state)
{
  struct qtk_toml *root = qtk_toml_new_table(), *table, *array, *again;
  char *text;

  (void)state;
  assert_int_equal(qtk_toml_set_int(root, "a", 1), QTK_OK);
  assert_int_equal(qtk_toml_set_text(root, "b", "x"), QTK_OK);
  assert_int_equal(qtk_toml_set_float(root, "a", 2), QTK_OK); /* replaces, in its place */
  table = qtk_toml_set_table(root, "t");
  assert_non_null(table);
  assert_int_equal(qtk_toml_set_bool(table, "yes", 5), QTK_OK);
  array = qtk_toml_set_array(table, "list");
  assert_non_null(array);
  assert_int_equal(qtk_toml_append(array, qtk_toml_new_int(3)), QTK_OK);
  assert_int_equal(qtk_toml_append(array, qtk_toml_new_text("four")), QTK_OK);
  assert_int_equal(qtk_toml_append(array, NULL), QTK_ENOMEM);
  text = written(root);
  assert_string_equal(text, "a = 2.0\nb = \"x\"\n\n[t]\nyes = true\nlist = [3, \"four\"]\n");
  again = qtk_toml_copy(root);
  assert_true(qtk_toml_equal(root, again));
  assert_int_equal(qtk_toml_set_bool(qtk_toml_set_table(again, "t"), "yes", 1), QTK_OK);
  assert_false(qtk_toml_equal(root, again));
  qtk_toml_remove(root, "a");
  qtk_toml_remove(root, "none");
  assert_int_equal(qtk_toml_length(root), 2);
  assert_string_equal(qtk_toml_key(qtk_toml_item(root, 0)), "b");
  free(text);
  qtk_toml_free(root);
  qtk_toml_free(again);
}

static void equality(void **state)
{
  static const struct {
    const char *a, *b;
    int equal;
  } cases[] = {
      {"a = 1\nb = 2\n", "b = 2\na = 1\n", 1},
      {"a = 1\n", "a = 1.0\n", 0},
      {"a = nan\n", "a = nan\n", 1},
      {"a = 0.0\n", "a = -0.0\n", 0},
      {"a = [1, 2]\n", "a = [2, 1]\n", 0},
      {"a = {b = 1}\n", "[a]\nb = 1\n", 1},
      {"a = 1\n", "a = 1\nb = 1\n", 0},
      {"a = \"x\"\n", "a = 'x'\n", 1},
      {"a = true\n", "a = 1\n", 0},
      {"a = \"x\"\n", "a = \"y\"\n", 0},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_toml *a = parse(cases[i].a), *b = parse(cases[i].b);
    assert_int_equal(qtk_toml_equal(a, b), cases[i].equal);
    assert_int_equal(qtk_toml_equal(b, a), cases[i].equal);
    qtk_toml_free(a);
    qtk_toml_free(b);
  }
}

static void differences(void **state)
{
  static const struct {
    const char *a, *b, *path, *was, *is; /* NULL: none */
  } cases[] = {
      {"a = 1\nb = 2\n", "b = 2\na = 1\n", NULL, NULL, NULL},
      {"a = 1\nb = 2\n", "b = 2\na = 3\n", "a", "1", "3"},
      {"a = 1\n[t]\nx = 1\ny = [1, 2]\n", "a = 1\n[t]\nx = 1\ny = [1, 3]\n", "t.y", "[1, 2]",
       "[1, 3]"},
      {"[[s]]\nx = 1\n[[s]]\nx = \"q\"\n", "[[s]]\nx = 1\n[[s]]\nx = 2\n", "s.1.x", "\"q\"", "2"},
      {"[[s]]\nx = 1\n", "[[s]]\nx = 1\n[[s]]\nx = 2\n", "s.1", NULL, "{ x = 2 }"},
      {"[[s]]\nx = 1\ny = 2\n", "[[s]]\nx = 1\n", "s.0.y", "2", NULL},
      {"x = 1\n", "x = { y = 1 }\n", "x", "1", "{ y = 1 }"},
      {"x = []\n", "[[x]]\ny = 1\n", "x", "[]", "[{ y = 1 }]"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_toml *a = parse(cases[i].a), *b = parse(cases[i].b);
    struct qtk_toml_difference d;
    struct qtk_str path = {0}, was = {0}, is = {0};
    assert_int_equal(qtk_toml_differ(a, b, &path, &d), cases[i].path != NULL);
    if (cases[i].path != NULL) {
      assert_string_equal(path.data, cases[i].path);
      assert_int_equal(d.a == NULL, cases[i].was == NULL);
      assert_int_equal(d.b == NULL, cases[i].is == NULL);
      if (d.a != NULL && qtk_toml_write_value(d.a, &was) == QTK_OK)
        assert_string_equal(was.data, cases[i].was);
      if (d.b != NULL && qtk_toml_write_value(d.b, &is) == QTK_OK)
        assert_string_equal(is.data, cases[i].is);
    }
    qtk_str_free(&path);
    qtk_str_free(&was);
    qtk_str_free(&is);
    qtk_toml_free(a);
    qtk_toml_free(b);
  }
}

/* ---- values by path ------------------------------------------------------------------------ */

static void sets(const char *path, const char *value, const char *expected)
{
  struct qtk_toml *root = parse("[[stage]]\nbits = 3\nname = \"q\"\n[[stage]]\nname = \"tune\"\n");
  const struct qtk_toml *node;
  struct qtk_str s = {0};
  char *text;

  if (qtk_toml_set_path(root, path, value, "--set it") != QTK_OK)
    fail_msg("%s", qtk_error_message());
  node = qtk_toml_find(root, path);
  assert_non_null(node);
  assert_int_equal(qtk_toml_line(node), 0);
  qtk_toml_write_value(node, &s);
  text = qtk_str_take(&s);
  assert_string_equal(text, expected);
  free(text);
  qtk_toml_free(root);
}

static void cannot_set(const char *path, const char *value, const char *message)
{
  struct qtk_toml *root = parse("[[stage]]\nbits = 3\n");

  assert_int_equal(qtk_toml_set_path(root, path, value, "--set it"), QTK_EJOB);
  assert_string_equal(qtk_error_message(), message);
  qtk_toml_free(root);
}

static void values_by_path(void **state)
{
  struct qtk_toml *root = parse("[job]\nseed = 1\n");
  int64_t n;

  (void)state;
  sets("stage.0.bits", "4", "4");
  sets("stage.0.bits", "abc", "\"abc\"");
  sets("stage.0.bits", "\"4\"", "\"4\"");
  sets("stage.0.bits", "1e-3", "0.001");
  sets("stage.0.bits", "true", "true");
  sets("stage.0.bits", "", "\"\"");
  sets("stage.0.bits", "2024-01-01", "\"2024-01-01\"");
  sets("stage.0.bits", "a b/c.d", "\"a b/c.d\"");
  sets("stage.0.bits", "1\nx = 2", "\"1\\nx = 2\"");
  sets("stage.tune.data.path", "x.json", "\"x.json\"");
  sets("stage.1", "{run = \"merge\"}", "{ run = \"merge\" }");
  sets("stage.2", "{a = [1, 2]}", "{ a = [1, 2] }");
  sets("stage.2.run", "merge", "\"merge\"");
  sets("new.0.a", "1", "1");
  sets("output.bundle", "x.qtk", "\"x.qtk\"");
  cannot_set("stage.3.run", "x", "--set it: \"3\" is none of the 1 items, which count from 0");
  cannot_set("stage.none.run", "x",
             "--set it: \"none\" is none of the 1 items, which count from 0");
  cannot_set("stage.0.bits.x", "x", "--set it: \"x\" of an integer");
  cannot_set("", "x", "--set it: \"\" is no path of keys and dots");
  cannot_set("a..b", "x", "--set it: \"a..b\" is no path of keys and dots");
  cannot_set(".a", "x", "--set it: \".a\" is no path of keys and dots");
  cannot_set("a.", "x", "--set it: \"a.\" is no path of keys and dots");
  cannot_set("stage.0.bits", "[1, 2", "--set it: the value is no TOML");
  cannot_set("stage.0.bits", "\"x", "--set it: the value is no TOML");
  assert_int_equal(qtk_toml_set_path(root, "job.seed", "x", "--set job.seed=x"), QTK_OK);
  assert_int_equal(qtk_toml_get_int(qtk_toml_get(root, "job"), "seed", &n), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "--set job.seed=x: seed is text, wanted an integer");
  qtk_toml_free(root);
}

static void files(void **state)
{
  char path[] = "/tmp/qtk-t-toml-XXXXXX";
  struct qtk_toml *root;
  int fd = mkstemp(path);

  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "a = 1\n", 6), 6);
  close(fd);
  assert_int_equal(qtk_toml_read(path, &root), QTK_OK);
  assert_string_equal(qtk_toml_file(root), path);
  qtk_toml_free(root);
  unlink(path);
  assert_int_equal(qtk_toml_read(path, &root), QTK_EJOB);
  assert_null(root);
  assert_non_null(strstr(qtk_error_message(), "No such file"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_a_job),
      cmocka_unit_test(null_is_absent),
      cmocka_unit_test(order_of_keys),
      cmocka_unit_test(bad_texts),
      cmocka_unit_test(typed_getters),
      cmocka_unit_test(letters),
      cmocka_unit_test(dots_are_free_elsewhere),
      cmocka_unit_test(unknown_keys),
      cmocka_unit_test(writes_what_it_read),
      cmocka_unit_test(builds),
      cmocka_unit_test(equality),
      cmocka_unit_test(differences),
      cmocka_unit_test(values_by_path),
      cmocka_unit_test(files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
