/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/tensor.h"

static void types(void **state)
{
  (void)state;
  assert_int_equal(qtk_dtype_size(QTK_F32), 4);
  assert_int_equal(qtk_dtype_size(QTK_BF16), 2);
  assert_int_equal(qtk_dtype_size(QTK_F64), 8);
  assert_int_equal(qtk_dtype_size(QTK_U8), 1);
  assert_int_equal(qtk_dtype_size(QTK_I64), 8);
  assert_int_equal(qtk_dtype_size((enum qtk_dtype)99), 0);
  assert_int_equal(qtk_dtype_size((enum qtk_dtype) - 1), 0);
  assert_string_equal(qtk_dtype_name((enum qtk_dtype)99), "unknown");
  for (int i = QTK_F32; i <= QTK_I64; i++)
    assert_int_equal(qtk_dtype_find(qtk_dtype_name((enum qtk_dtype)i)), i);
  assert_int_equal(qtk_dtype_find("f8"), -1);
}

static void views(void **state)
{
  float data[6 * 5];
  struct qtk_tensor m = qtk_matrix(QTK_F32, data, 6, 5), r, c, v;

  (void)state;
  assert_int_equal(m.stride, 5);
  assert_int_equal(qtk_tensor_rows(&m), 6);
  assert_int_equal(qtk_tensor_cols(&m), 5);
  r = qtk_rows_of(&m, 2, 3);
  assert_ptr_equal(r.data, data + 10);
  assert_int_equal(qtk_tensor_rows(&r), 3);
  c = qtk_cols_of(&r, 1, 2);
  assert_ptr_equal(c.data, data + 11);
  assert_int_equal(c.stride, 5);
  assert_int_equal(qtk_tensor_rows(&c), 3);
  assert_int_equal(qtk_tensor_cols(&c), 2);
  r = qtk_rows_of(&c, 1, 1);
  assert_ptr_equal(r.data, data + 16);
  v = qtk_vector(QTK_F16, data, 7);
  assert_int_equal(qtk_tensor_rows(&v), 1);
  assert_int_equal(qtk_tensor_cols(&v), 7);
  c = qtk_cols_of(&v, 3, 2);
  assert_ptr_equal(c.data, (char *)data + 6);
}

static void leading_dimensions_are_rows(void **state)
{
  float data[2 * 3 * 4];
  struct qtk_tensor t = {data, QTK_F32, 3, {2, 3, 4}, 4}, r;

  (void)state;
  assert_int_equal(qtk_tensor_rows(&t), 6);
  r = qtk_rows_of(&t, 4, 2);
  assert_ptr_equal(r.data, data + 16);
  assert_int_equal(r.ndim, 2);
}

static void sizes(void **state)
{
  uint64_t out;

  (void)state;
  assert_true(qtk_size_multiply(1u << 31, (uint64_t)1 << 31, &out));
  assert_true(out == (uint64_t)1 << 62);
  assert_false(qtk_size_multiply((uint64_t)1 << 32, (uint64_t)1 << 31, &out));
  assert_false(qtk_size_multiply((uint64_t)1 << 63, 2, &out));
  assert_true(qtk_size_add(INT64_MAX - 1, 1, &out));
  assert_false(qtk_size_add(INT64_MAX, 1, &out));
  assert_false(qtk_size_add(UINT64_MAX, 1, &out));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(types),
      cmocka_unit_test(views),
      cmocka_unit_test(leading_dimensions_are_rows),
      cmocka_unit_test(sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
