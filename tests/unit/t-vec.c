/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/vec.h"

static void pushes_in_order(void **state)
{
  QTK_VEC(int) v = {0};

  (void)state;
  for (int i = 0; i < 10000; i++)
    assert_int_equal(qtk_vec_push(&v, 3 * i), QTK_OK);
  assert_int_equal(v.length, 10000);
  assert_true(v.capacity < 20000);
  for (int i = 0; i < 10000; i++)
    assert_int_equal(v.data[i], 3 * i);
  qtk_vec_free(&v);
  assert_null(v.data);
  assert_int_equal(v.length, 0);
}

static void structs_and_room(void **state)
{
  struct pair {
    int64_t a;
    char b;
  };
  QTK_VEC(struct pair) v = {0};

  (void)state;
  assert_int_equal(qtk_vec_reserve(&v, 100), QTK_OK);
  assert_true(v.capacity >= 100);
  assert_int_equal(qtk_vec_push(&v, ((struct pair){1, 'x'})), QTK_OK);
  assert_int_equal(v.data[0].b, 'x');
  qtk_vec_free(&v);
}

static void too_much_is_an_error(void **state)
{
  QTK_VEC(int64_t) v = {0};

  (void)state;
  assert_int_equal(qtk_vec_push(&v, 7), QTK_OK);
  assert_int_equal(qtk_vec_reserve(&v, SIZE_MAX / 16), QTK_ENOMEM);
  assert_int_equal(qtk_vec_reserve(&v, SIZE_MAX / 2), QTK_ENOMEM);
  assert_int_equal(v.length, 1);
  assert_int_equal(v.data[0], 7);
  qtk_vec_free(&v);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pushes_in_order),
      cmocka_unit_test(structs_and_room),
      cmocka_unit_test(too_much_is_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
