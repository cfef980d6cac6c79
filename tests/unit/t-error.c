/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"

static void sets_message_and_returns_code(void **state)
{
  (void)state;
  assert_int_equal(qtk_error(QTK_EJOB, "bits = %d: allowed are 2, 3, 4, 8", 5), QTK_EJOB);
  assert_string_equal(qtk_error_message(), "bits = 5: allowed are 2, 3, 4, 8");
  qtk_error_clear();
  assert_string_equal(qtk_error_message(), "");
}

static void places_pile_up_in_front(void **state)
{
  (void)state;
  qtk_error(QTK_EINPUT, "short");
  assert_int_equal(qtk_error_at(QTK_EINPUT, "layer %d", 3), QTK_EINPUT);
  assert_int_equal(qtk_error_at(QTK_EINPUT, "model"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "model: layer 3: short");
}

static void own_message_may_be_an_argument(void **state)
{
  (void)state;
  qtk_error(QTK_EINPUT, "inner");
  qtk_error(QTK_EINPUT, "outer (%s)", qtk_error_message());
  assert_string_equal(qtk_error_message(), "outer (inner)");
  qtk_error_text(QTK_EINPUT, "100 %d");
  assert_string_equal(qtk_error_message(), "100 %d");
}

static void long_messages_end_in_dots(void **state)
{
  char text[3 * QTK_ERROR_SIZE];

  (void)state;
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  qtk_error(QTK_EINPUT, "%s", text);
  assert_int_equal(strlen(qtk_error_message()), QTK_ERROR_SIZE - 1);
  assert_string_equal(qtk_error_message() + QTK_ERROR_SIZE - 5, "a...");
  qtk_error_at(QTK_EINPUT, "place");
  assert_int_equal(strlen(qtk_error_message()), QTK_ERROR_SIZE - 1);
  assert_memory_equal(qtk_error_message(), "place: aaa", 10);
  text[QTK_ERROR_SIZE - 1] = '\0';
  qtk_error(QTK_EINPUT, "%s", text);
  assert_string_equal(qtk_error_message(), text);
}

static void truncation_keeps_characters_whole(void **state)
{
  char text[2 * QTK_ERROR_SIZE];

  (void)state;
  for (int shift = 0; shift < 3; shift++) {
    const char *message = qtk_error_message();
    size_t n;
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
      memcpy(text + i, "\xe2\x82\xac", 4);
    qtk_error(QTK_EINPUT, "%.*s%s", shift, "xyz", text);
    n = strlen(message);
    assert_true(n > QTK_ERROR_SIZE - 8 && n < QTK_ERROR_SIZE);
    assert_int_equal((n - 3 - (size_t)shift) % 3, 0);
    assert_string_equal(message + n - 3, "...");
  }
}

static void errno_and_memory(void **state)
{
  (void)state;
  assert_int_equal(qtk_error_errno(QTK_EINPUT, ENOENT, "%s", "a/b"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "a/b: No such file or directory");
  assert_int_equal(qtk_error_memory(123, "weights"), QTK_ENOMEM);
  assert_non_null(strstr(qtk_error_message(), "123"));
  assert_non_null(strstr(qtk_error_message(), "weights"));
}

static void *other_thread(void *arg)
{
  (void)arg;
  if (strcmp(qtk_error_message(), "") != 0)
    return (void *)1;
  qtk_error(QTK_EINPUT, "theirs");
  return NULL;
}

static void each_thread_has_its_own(void **state)
{
  pthread_t thread;
  void *result;

  (void)state;
  qtk_error(QTK_EINPUT, "mine");
  assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
  pthread_join(thread, &result);
  assert_null(result);
  assert_string_equal(qtk_error_message(), "mine");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sets_message_and_returns_code),
      cmocka_unit_test(places_pile_up_in_front),
      cmocka_unit_test(own_message_may_be_an_argument),
      cmocka_unit_test(long_messages_end_in_dots),
      cmocka_unit_test(truncation_keeps_characters_whole),
      cmocka_unit_test(errno_and_memory),
      cmocka_unit_test(each_thread_has_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
