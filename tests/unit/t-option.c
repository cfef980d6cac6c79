/* SPDX-License-Identifier: BSD-3-Clause */
#define QTK_API 1
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/option.h"

struct opts {
  int64_t bits, group, steps;
  double damping, rate;
  int symmetric;
  const char *clip, *note;
};

static const struct qtk_option table[] = {
    QTK_OPT_INT_OF(struct opts, bits, 4, "2 3 4 8", "Bits a weight."),
    QTK_OPT_INT(struct opts, group, 64, -1, 65536, "Columns a group."),
    QTK_OPT_INT(struct opts, steps, 0, 0, 1e18, "Steps."),
    QTK_OPT_FLOAT(struct opts, damping, 0.01, 0, 1, "Damping."),
    QTK_OPT_FLOAT(struct opts, rate, -2.5, -INFINITY, INFINITY, "A rate."),
    QTK_OPT_BOOL(struct opts, symmetric, 1, "Symmetric."),
    QTK_OPT_TEXT(struct opts, clip, "none", "none search", "Clipping."),
    QTK_OPT_TEXT(struct opts, note, NULL, NULL, "A note."),
    QTK_OPT_END,
};

static const char *const core_keys[] = {"run", "method", NULL};

static struct qtk_toml *parse(const char *text)
{
  struct qtk_toml *root;

  assert_int_equal(qtk_toml_parse(text, strlen(text), "job.toml", &root), QTK_OK);
  return root;
}

static void defaults(void **state)
{
  struct qtk_options *o;
  const struct opts *v;

  (void)state;
  assert_int_equal(qtk_option_check(table, sizeof(struct opts)), QTK_OK);
  assert_int_equal(qtk_options_parse(table, sizeof(struct opts), NULL, NULL, &o), QTK_OK);
  v = o->values;
  assert_int_equal(v->bits, 4);
  assert_int_equal(v->group, 64);
  assert_true(v->damping == 0.01 && v->rate == -2.5);
  assert_int_equal(v->symmetric, 1);
  assert_string_equal(v->clip, "none");
  assert_null(v->note);
  qtk_options_free(o);
  assert_int_equal(qtk_options_parse(NULL, 0, NULL, NULL, &o), QTK_OK);
  qtk_options_free(o);
  qtk_options_free(NULL);
}

static void values(void **state)
{
  struct qtk_toml *stage = parse("run = \"quantize\"\nmethod = \"x\"\nbits = 8\ngroup = -1\n"
                                 "damping = 1\nrate = 1e300\nsymmetric = false\n"
                                 "clip = \"search\"\nnote = \"n\\u00e9\"\n");
  struct qtk_options *o, *again;
  struct qtk_toml *out = qtk_toml_new_table();
  const struct opts *v;

  (void)state;
  assert_int_equal(qtk_options_parse(table, sizeof(struct opts), stage, core_keys, &o), QTK_OK);
  qtk_toml_free(stage); /* texts live on */
  v = o->values;
  assert_int_equal(v->bits, 8);
  assert_int_equal(v->group, -1);
  assert_true(v->damping == 1 && v->rate == 1e300);
  assert_int_equal(v->symmetric, 0);
  assert_string_equal(v->clip, "search");
  assert_string_equal(v->note, "n\xc3\xa9");
  assert_int_equal(qtk_options_write(o, out), QTK_OK);
  assert_int_equal(qtk_toml_length(out), 8);
  assert_int_equal(qtk_options_parse(table, sizeof(struct opts), out, NULL, &again), QTK_OK);
  assert_memory_equal(o->values, again->values, offsetof(struct opts, clip));
  assert_string_equal(((const struct opts *)again->values)->clip, "search");
  qtk_toml_free(out);
  qtk_options_free(o);
  qtk_options_free(again);
}

static void refused(void **state)
{
  static const struct {
    const char *stage, *message;
  } cases[] = {
      {"run = \"x\"\nbits = 5\n", "job.toml:2:1: bits = 5: allowed are 2, 3, 4, 8"},
      {"bits = 4.0\n", "job.toml:1:1: bits is a number, wanted an integer"},
      {"bits = \"4\"\n", "job.toml:1:1: bits is text, wanted an integer"},
      {"group = -2\n", "job.toml:1:1: group = -2: allowed are -1 .. 65536"},
      {"steps = -1\n", "job.toml:1:1: steps = -1: allowed are 0 and more"},
      {"damping = 1.5\n", "job.toml:1:1: damping = 1.5: allowed are 0.0 .. 1.0"},
      {"damping = nan\n", "job.toml:1:1: damping = nan: allowed are 0.0 .. 1.0"},
      {"rate = nan\n", "job.toml:1:1: rate = nan: allowed are any number"},
      {"symmetric = 1\n", "job.toml:1:1: symmetric is an integer, wanted true or false"},
      {"clip = \"sea\"\n", "job.toml:1:1: clip = \"sea\": allowed are none, search"},
      {"clip = \"\"\n", "job.toml:1:1: clip = \"\": allowed are none, search"},
      {"clip = \"none search\"\n", "clip = \"none search\": allowed are none, search"},
      {"note = 3\n", "job.toml:1:1: note is an integer, wanted text"},
      {"bits = 4\n gruop = 3\n", "job.toml:2:2: unknown key \"gruop\"; did you mean \"group\"?"},
      {"metod = 4\n", "job.toml:1:1: unknown key \"metod\"; did you mean \"method\"?"},
      {"xyzzy = 4\n", "job.toml:1:1: unknown key \"xyzzy\""},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_toml *stage = parse(cases[i].stage);
    struct qtk_options *o = (void *)1;
    assert_int_equal(qtk_options_parse(table, sizeof(struct opts), stage, core_keys, &o), QTK_EJOB);
    assert_null(o);
    if (strstr(qtk_error_message(), cases[i].message) == NULL)
      fail_msg("\"%s\" is not in \"%s\"", cases[i].message, qtk_error_message());
    qtk_toml_free(stage);
  }
}

/* One row at a time is made wrong. */
static void tables_are_checked(void **state)
{
  struct qtk_option good = table[1], bad[4] = {table[0], good, {0}, {0}};
  static struct qtk_option endless[400];

  (void)state;
  assert_int_equal(qtk_option_check(bad, sizeof(struct opts)), QTK_OK);
  assert_int_equal(qtk_option_check(NULL, 0), QTK_OK);
#define REFUSED(change, text)                                                  \
  do {                                                                         \
    bad[1] = good;                                                             \
    change;                                                                    \
    assert_int_equal(qtk_option_check(bad, sizeof(struct opts)), QTK_EPLUGIN); \
    if (strstr(qtk_error_message(), text) == NULL)                             \
      fail_msg("\"%s\" is not in \"%s\"", text, qtk_error_message());          \
  } while (0)
  REFUSED(bad[1].name = "", "a name is");
  REFUSED(bad[1].name = "Group", "a name is");
  REFUSED(bad[1].name = "gr.oup", "a name is");
  REFUSED(bad[1].name = "_group", "a name is");
  REFUSED(bad[1].name = "bits", "is there twice");
  REFUSED(bad[1].help = NULL, "has no help");
  REFUSED(bad[1].help = "", "has no help");
  REFUSED(bad[1].type = 7, "its type is not known");
  REFUSED(bad[1].type = 0, "its type is not known");
  REFUSED(bad[1].offset = sizeof(struct opts), "outside the options struct");
  REFUSED(bad[1].offset = sizeof(struct opts) - 4, "outside the options struct");
  REFUSED(bad[1].offset = SIZE_MAX - 7, "outside the options struct");
  REFUSED(bad[1].offset += 4, "is not aligned");
  REFUSED(bad[1].offset = 0, "options bits and group share a field");
  REFUSED((bad[1].type = QTK_OPTION_BOOL, bad[1].number = 1, bad[1].offset = 4), "share a field");
  REFUSED(bad[1].number = -5, "the default is not allowed");
  REFUSED(bad[1].number = 0.5, "the default is not allowed");
  REFUSED(bad[1].number = NAN, "the default is not allowed");
  REFUSED(bad[1].minimum = 1e6, "the least value is above");
  REFUSED(bad[1].choices = "1 2", "the default is not allowed");
  REFUSED((bad[1].type = QTK_OPTION_FLOAT, bad[1].choices = "64"), "choices are for");
  REFUSED((bad[1].type = QTK_OPTION_BOOL), "the default is not allowed");
  REFUSED((bad[1].type = QTK_OPTION_TEXT, bad[1].text = "c", bad[1].choices = "a b"),
          "none of the choices");
#undef REFUSED
  for (size_t i = 0; i < 400; i++)
    endless[i] = good;
  assert_int_equal(qtk_option_check(endless, sizeof(struct opts)), QTK_EPLUGIN);
  assert_non_null(strstr(qtk_error_message(), "QTK_OPT_END"));
}

static void finds(void **state)
{
  (void)state;
  assert_int_equal(qtk_option_count(table), 8);
  assert_ptr_equal(qtk_option_find(table, "clip"), &table[6]);
  assert_null(qtk_option_find(table, "none"));
  assert_null(qtk_option_find(NULL, "bits"));
}

static void allowed(void **state)
{
  static const char *const texts[] = {"2, 3, 4, 8", "-1 .. 65536", "0 and more",   "0.0 .. 1.0",
                                      "any number", "true, false", "none, search", "any text"};

  (void)state;
  for (size_t i = 0; i < 8; i++) {
    struct qtk_str s = {0};
    char *text;
    assert_int_equal(qtk_option_allowed(&table[i], &s), QTK_OK);
    text = qtk_str_take(&s);
    assert_string_equal(text, texts[i]);
    free(text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),           cmocka_unit_test(values), cmocka_unit_test(refused),
      cmocka_unit_test(tables_are_checked), cmocka_unit_test(finds),  cmocka_unit_test(allowed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
