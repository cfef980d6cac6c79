/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/json.h"

static json_t *parse(const char *text)
{
  json_t *root;

  if (qtk_json_parse(text, strlen(text), "x.json", &root) != QTK_OK)
    fail_msg("%s", qtk_error_message());
  return root;
}

static void values_by_path(void **state)
{
  json_t *root =
      parse("{\"a\": {\"b\": [1, {\"c\": 2.5}], \"t\": \"x\"}, \"n\": null, \"y\": true}");
  const char *text = "default";
  int64_t i = 7;
  double r = 0;
  int b = 0;
  json_t *node = NULL;

  (void)state;
  assert_int_equal(qtk_json_get_int(root, "a.b.0", &i), QTK_OK);
  assert_int_equal(i, 1);
  assert_int_equal(qtk_json_get_real(root, "a.b.1.c", &r), QTK_OK);
  assert_true(r == 2.5);
  assert_int_equal(qtk_json_get_real(root, "a.b.0", &r), QTK_OK);
  assert_true(r == 1);
  assert_int_equal(qtk_json_get_int(root, "a.b.1.c", &i), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "a.b.1.c is a number, wanted an integer");
  assert_int_equal(qtk_json_get_text(root, "a.t", &text), QTK_OK);
  assert_string_equal(text, "x");
  assert_int_equal(qtk_json_get_text(root, "n", &text), QTK_OK);
  assert_int_equal(qtk_json_get_text(root, "a.none.x", &text), QTK_OK);
  assert_string_equal(text, "x");
  assert_int_equal(qtk_json_get_text(root, "y", &text), QTK_EINPUT);
  assert_int_equal(qtk_json_get_bool(root, "y", &b), QTK_OK);
  assert_int_equal(b, 1);
  assert_int_equal(qtk_json_get_bool(root, "a.b.0", &b), QTK_EINPUT);
  assert_int_equal(qtk_json_get_object(root, "a", &node), QTK_OK);
  assert_ptr_equal(node, json_object_get(root, "a"));
  assert_int_equal(qtk_json_get_array(root, "a.b", &node), QTK_OK);
  assert_int_equal(qtk_json_get_array(root, "a", &node), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "a is an object, wanted an array");
  assert_int_equal(qtk_json_need(root, "a.b"), QTK_OK);
  assert_int_equal(qtk_json_need(root, "n"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "n is missing");
  assert_null(qtk_json_find(root, "a.b.2"));
  assert_null(qtk_json_find(root, "a.b.x"));
  assert_null(qtk_json_find(root, "a.b.99999999999999999999"));
  assert_null(qtk_json_find(NULL, "a"));
  assert_int_equal(qtk_json_get_int(NULL, "a", &i), QTK_OK);
  json_decref(root);
}

static void bad_texts(void **state)
{
  json_t *root = (void *)1;
  char *deep = malloc(100001);

  (void)state;
  assert_int_equal(qtk_json_parse("{\"a\":\n 1,}", 10, "x.json", &root), QTK_EINPUT);
  assert_null(root);
  assert_memory_equal(qtk_error_message(), "x.json:2:", 9);
  assert_int_equal(qtk_json_parse("{\"a\":1,\"a\":2}", 13, "x.json", &root), QTK_EINPUT);
  assert_int_equal(qtk_json_parse("", 0, "x.json", &root), QTK_EINPUT);
  assert_int_equal(qtk_json_parse("1", 1, "x.json", &root), QTK_EINPUT);
  assert_int_equal(qtk_json_parse("[1] 2", 5, "x.json", &root), QTK_EINPUT);
  assert_non_null(deep);
  memset(deep, '[', 100000);
  assert_int_equal(qtk_json_parse(deep, 100000, "x.json", &root), QTK_EINPUT);
  free(deep);
}

static void files(void **state)
{
  char path[] = "/tmp/qtk-t-json-XXXXXX";
  json_t *root;
  int fd = mkstemp(path);

  (void)state;
  assert_true(fd >= 0);
  assert_int_equal(write(fd, "[1, 2]", 6), 6);
  close(fd);
  assert_int_equal(qtk_json_read(path, 6, &root), QTK_OK);
  json_decref(root);
  assert_int_equal(qtk_json_read(path, 5, &root), QTK_EINPUT);
  assert_null(root);
  unlink(path);
  assert_int_equal(qtk_json_read(path, 6, &root), QTK_EINPUT);
}

static char *written(const json_t *json, unsigned flags)
{
  struct qtk_str s = {0};

  assert_int_equal(qtk_json_write(json, flags, &s), QTK_OK);
  return qtk_str_take(&s);
}

static void writes(void **state)
{
  json_t *root = json_object(), *array = json_array();
  char *text;

  (void)state;
  assert_int_equal(qtk_json_set(root, "z", json_string("a\"\n\xc3\xa9\x01")), QTK_OK);
  assert_int_equal(qtk_json_set(root, "a", array), QTK_OK);
  assert_int_equal(qtk_json_append(array, qtk_json_real(0.1)), QTK_OK);
  assert_int_equal(qtk_json_append(array, qtk_json_real(NAN)), QTK_OK);
  assert_int_equal(qtk_json_append(array, qtk_json_real(-INFINITY)), QTK_OK);
  assert_int_equal(qtk_json_append(array, json_integer(-3)), QTK_OK);
  assert_int_equal(qtk_json_append(array, json_true()), QTK_OK);
  assert_int_equal(qtk_json_append(array, json_object()), QTK_OK);
  assert_int_equal(qtk_json_append(array, NULL), QTK_ENOMEM);
  assert_int_equal(qtk_json_set(root, "bad", NULL), QTK_ENOMEM);
  text = written(root, QTK_JSON_COMPACT | QTK_JSON_SORTED);
  assert_string_equal(text, "{\"a\":[0.1,null,null,-3,true,{}],\"z\":\"a\\\"\\n\xc3\xa9\\u0001\"}");
  free(text);
  json_array_clear(array);
  assert_int_equal(qtk_json_append(array, qtk_json_real(1e300)), QTK_OK);
  assert_int_equal(qtk_json_append(array, json_array()), QTK_OK);
  text = written(root, 0);
  assert_string_equal(text, "{\n  \"z\": \"a\\\"\\n\xc3\xa9\\u0001\",\n"
                            "  \"a\": [\n    1e+300,\n    []\n  ]\n}\n");
  free(text);
  json_decref(root);
}

static void survives(void **state)
{
  static const char *const texts[] = {
      "[]", "{}", "[1.5, -0.0, 3.0, 5e-324, 1.7976931348623157e308, 0.30000000000000004]",
      "{\"\": {\"b c\": 1}, \"\\ud83d\\ude00\": [null, false, \"\\u0001\"]}",
      "[9223372036854775807, -9223372036854775808]"};

  (void)state;
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    for (unsigned flags = 0; flags < 4; flags++) {
      json_t *root, *again;
      char *text;
      root = parse(texts[i]);
      text = written(root, flags);
      again = parse(text);
      assert_true(json_equal(root, again));
      free(text);
      json_decref(root);
      json_decref(again);
    }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_by_path), cmocka_unit_test(bad_texts), cmocka_unit_test(files),
      cmocka_unit_test(writes),         cmocka_unit_test(survives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
