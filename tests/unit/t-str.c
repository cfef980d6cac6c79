/* SPDX-License-Identifier: BSD-3-Clause */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/str.h"

static void grows(void **state)
{
  struct qtk_str s = {0};
  char *text;

  (void)state;
  for (int i = 0; i < 1000; i++)
    assert_int_equal(qtk_str_printf(&s, "%03d,", i), QTK_OK);
  assert_int_equal(s.length, 4000);
  assert_memory_equal(s.data + 4 * 517, "517,", 4);
  qtk_str_add_bytes(&s, "a\0b", 3);
  assert_int_equal(s.length, 4003);
  text = qtk_str_take(&s);
  assert_memory_equal(text + 4000, "a\0b", 4);
  assert_null(s.data);
  free(text);
}

static void empty_is_a_text(void **state)
{
  struct qtk_str s = {0};
  char *text = qtk_str_take(&s);

  (void)state;
  assert_string_equal(text, "");
  free(text);
  text = qtk_str_format("%s-%d", "x", 4);
  assert_string_equal(text, "x-4");
  free(text);
}

static void failure_stays(void **state)
{
  struct qtk_str s = {0};

  (void)state;
  qtk_str_add(&s, "abc");
  assert_int_equal(qtk_str_add_bytes(&s, "", SIZE_MAX - 2), QTK_ENOMEM);
  assert_int_equal(qtk_str_add(&s, "d"), QTK_ENOMEM);
  assert_null(qtk_str_take(&s));
  assert_int_equal(s.failed, 0);
  qtk_str_free(&s);
}

static void quotes(void **state)
{
  static const struct {
    const char *in, *out;
  } cases[] = {
      {"plain", "\"plain\""},
      {"a\"b\\c", "\"a\\\"b\\\\c\""},
      {"\t\n\r\b\f\x01\x7f", "\"\\t\\n\\r\\b\\f\\u0001\\u007F\""},
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {"a\xff"
       "b",
       "\"a\xef\xbf\xbd"
       "b\""},
      {"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* overlong */
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* surrogate */
      {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* cut */
      {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct qtk_str s = {0};
    char *text;
    qtk_str_add_quoted(&s, cases[i].in);
    text = qtk_str_take(&s);
    assert_string_equal(text, cases[i].out);
    free(text);
  }
}

static void reals_are_short_and_exact(void **state)
{
  static const struct {
    double value;
    const char *text;
  } cases[] = {
      {0.1, "0.1"},
      {1e-4, "0.0001"},
      {1e-5, "1e-05"},
      {3, "3.0"},
      {-0.0, "-0.0"},
      {1e300, "1e+300"},
      {INFINITY, "inf"},
      {-INFINITY, "-inf"},
      {NAN, "nan"},
      {1.0 / 3, "0.3333333333333333"},
      {0.1 + 0.2, "0.30000000000000004"},
      {123456789012345680.0, "1.2345678901234568e+17"},
      {5e-324, "4.94065645841247e-324"},
  };
  char text[QTK_REAL_SIZE];
  uint64_t x = 88172645463325252u;

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    qtk_str_real(cases[i].value, text);
    assert_string_equal(text, cases[i].text);
  }
  for (int i = 0; i < 20000; i++) {
    double value;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    memcpy(&value, &x, sizeof value);
    if (!isfinite(value))
      continue;
    qtk_str_real(value, text);
    assert_true(strlen(text) < QTK_REAL_SIZE - 4);
    assert_true(strtod(text, NULL) == value);
  }
}

static void reals_ignore_the_locale(void **state)
{
  char text[QTK_REAL_SIZE];

  (void)state;
  if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL) {
    print_message("# no locale with a decimal comma: not tested\n");
    return;
  }
  qtk_str_real(0.5, text);
  setlocale(LC_NUMERIC, "C");
  assert_string_equal(text, "0.5");
}

static void distances(void **state)
{
  (void)state;
  assert_int_equal(qtk_edit_distance("", ""), 0);
  assert_int_equal(qtk_edit_distance("", "abc"), 3);
  assert_int_equal(qtk_edit_distance("kitten", "sitting"), 3);
  assert_int_equal(qtk_edit_distance("sunday", "saturday"), 3);
  assert_int_equal(qtk_edit_distance("gruop", "group"), 1); /* a swap */
  assert_int_equal(qtk_edit_distance("ca", "abc"), 3);
}

static void nearest(void **state)
{
  const char *const names[] = {"bits", "group", "learning_rate", "steps", "run", NULL};

  (void)state;
  assert_string_equal(qtk_nearest("bit", names), "bits");
  assert_string_equal(qtk_nearest("gruop", names), "group");
  assert_string_equal(qtk_nearest("learn_rate", names), "learning_rate");
  assert_null(qtk_nearest("xyzzy", names));
  assert_null(qtk_nearest("q", names));
  assert_null(qtk_nearest("temperature", names));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(grows),
      cmocka_unit_test(empty_is_a_text),
      cmocka_unit_test(failure_stays),
      cmocka_unit_test(quotes),
      cmocka_unit_test(reals_are_short_and_exact),
      cmocka_unit_test(reals_ignore_the_locale),
      cmocka_unit_test(distances),
      cmocka_unit_test(nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
