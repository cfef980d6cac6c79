/* SPDX-License-Identifier: BSD-3-Clause
 * Formulas of descriptions: values, what is left unevaluated, what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/arch-formula.h"

static int formula_shape(void *arg, const char *name, int64_t *rows, int64_t *cols)
{
  (void)arg;
  *rows = 3;
  *cols = 2;
  return strcmp(name, "factors") == 0;
}

static int formula_values(void *arg, const char *name, float *out)
{
  (void)arg, (void)name;
  for (int i = 0; i < 6; i++)
    out[i] = (float)i + 0.5f;
  return QTK_OK;
}

static const struct qtk_arch_source formula_source = {.shape = formula_shape,
                                                      .values = formula_values};

/* The value of a formula as JSON text, or the message. */
static const char *formula_of(const char *text)
{
  static char out[1100];
  struct qtk_formula_scope scope = {.source = &formula_source, .layer = 5};
  json_t *value;
  char *dump;

  scope.names = json_pack("{s:i, s:i, s:f, s:b, s:s, s:[s,s], s:[[[s,s],i],[[s],i]]}", "hidden", 64,
                          "heads", 4, "theta", 0.5, "yes", 1, "word", "silu", "types", "global",
                          "local", "pairs", "a", "b", 2, "c", 1);
  value = qtk_formula_value(text, &scope);
  json_decref(scope.names);
  if (value == NULL)
    return qtk_error_message();
  dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  snprintf(out, sizeof out, "%s", dump);
  free(dump);
  json_decref(value);
  return out;
}

static void formula_computes(void **state)
{
  (void)state;
  assert_string_equal(formula_of(" hidden / heads"), "16");
  assert_string_equal(formula_of("hidden / 128"), "0.5");
  assert_string_equal(formula_of("1 + 2 * 3 - 4 % 3"), "6");
  assert_string_equal(formula_of("-(2 - 5) * 1.5"), "4.5");
  assert_string_equal(formula_of("- - 2"), "2");
  assert_string_equal(formula_of("4 * hidden"), "256");
  assert_string_equal(formula_of("sqrt(hidden)"), "8.0");
  assert_string_equal(formula_of("floor(7 / 2)"), "3");
  assert_string_equal(formula_of("min(heads, 3) + max(1, 2)"), "5");
  assert_string_equal(formula_of("layer % 2 == 1 ? 64 : 0"), "64");
  assert_string_equal(formula_of("9223372036854775807 + 1"), "9.2233720368547758e18");
}

static void formula_decides(void **state)
{
  (void)state;
  assert_string_equal(formula_of("word == 'silu'"), "true");
  assert_string_equal(formula_of("word != 'relu' and not (heads > 4)"), "true");
  assert_string_equal(formula_of("heads <= 4 or 1 / 0 > 1"), "true");
  assert_string_equal(formula_of("heads < 4 and types[9] == 'a'"), "false");
  assert_string_equal(formula_of("true ? 1 : 1 / 0"), "1");
  assert_string_equal(formula_of("false ? types[9] : yes ? 'a' : 'b'"), "\"a\"");
  assert_string_equal(formula_of("1 == 1.0"), "true");
}

static void formula_reads_lists(void **state)
{
  (void)state;
  assert_string_equal(formula_of("types[1]"), "\"local\"");
  assert_string_equal(formula_of("length(types)"), "2");
  assert_string_equal(formula_of("repeat(pairs)"), "[\"a\",\"b\",\"a\",\"b\",\"c\"]");
  assert_string_equal(formula_of("repeat(pairs)[layer - 1]"), "\"c\"");
}

static void formula_asks_the_file(void **state)
{
  (void)state;
  assert_string_equal(formula_of("has('factors')"), "true");
  assert_string_equal(formula_of("not has('other')"), "true");
  assert_string_equal(formula_of("rows('factors') * 10 + cols('factors')"), "32");
  assert_string_equal(formula_of("rows('other')"), "0");
  assert_string_equal(formula_of("values('factors')"), "[0.5,1.5,2.5,3.5,4.5,5.5]");
  assert_string_equal(formula_of("values('other')"), "[]");
}

static void formula_refuses(void **state)
{
  static const char *const cases[][2] = {
      {"hidden / 0", "division by zero"},
      {"hiden", "did you mean 'hidden'"},
      {"sqr(4)", "did you mean 'sqrt'"},
      {"1 +", "a value is expected"},
      {"(1", "')' is expected"},
      {"1 2", "something else is expected"},
      {"'open", "the text has no end"},
      {"types[2]", "the list is too short"},
      {"types[-1]", "the list is too short"},
      {"heads[0]", "[] needs a list"},
      {"word + 1", "a number is needed"},
      {"word < 1", "only numbers are compared"},
      {"5.5 % 2", "% needs whole numbers"},
      {"yes ? 1", "':' is expected"},
      {"length(heads)", "the function needs a list"},
      {"min(1)", "',' is expected"},
      {"sqrt(0 - 1)", "the result is not finite"},
      {"repeat(types)", "repeat needs a list of pairs"},
      {"", "a value is expected"},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    if (strstr(formula_of(cases[i][0]), cases[i][1]) == NULL)
      fail_msg("'%s': %s", cases[i][0], formula_of(cases[i][0]));
}

static void formula_refuses_depth(void **state)
{
  char text[4001];

  (void)state;
  memset(text, '(', 4000);
  text[4000] = '\0';
  assert_non_null(strstr(formula_of(text), "too deep"));
  memset(text, '-', 4000);
  assert_non_null(strstr(formula_of(text), "too deep"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(formula_computes),      cmocka_unit_test(formula_decides),
      cmocka_unit_test(formula_reads_lists),   cmocka_unit_test(formula_asks_the_file),
      cmocka_unit_test(formula_refuses),       cmocka_unit_test(formula_refuses_depth),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
