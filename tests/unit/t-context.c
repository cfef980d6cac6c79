/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/error.h"

static int square(void *arg, size_t i)
{
  ((size_t *)arg)[i] = i * i;
  return i == 70 ? qtk_error(QTK_ENUMERIC, "at %zu", i) : QTK_OK;
}

static void a_run(void **state)
{
  volatile sig_atomic_t stop = 0;
  struct qtk_context_options options = {2, 1 << 20, 42, &stop};
  struct qtk_random_key key = {1, 2, 3};
  struct qtk_context *ctx;
  size_t squares[100];
  void *p;

  (void)state;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  assert_int_equal(qtk_parallel(ctx, 70, square, squares), QTK_OK);
  assert_int_equal(squares[69], 69 * 69);
  assert_int_equal(qtk_parallel(ctx, 100, square, squares), QTK_ENUMERIC);
  assert_string_equal(qtk_error_message(), "at 70");
  p = qtk_alloc(ctx, 1 << 20, "scratch");
  assert_non_null(p);
  assert_null(qtk_alloc(ctx, 1, "scratch"));
  qtk_free(ctx, p);
  assert_int_equal(qtk_check_stop(ctx), QTK_OK);
  stop = 1;
  assert_int_equal(qtk_check_stop(ctx), QTK_EINTERRUPTED);
  assert_string_equal(qtk_error_message(), "stopped on request");
  assert_true(qtk_random_bits(ctx, &key, 4) != qtk_random_bits(NULL, &key, 4));
  qtk_context_close(ctx);
  qtk_context_close(NULL);
}

static void no_context(void **state)
{
  size_t squares[3];
  void *p = qtk_alloc(NULL, 10, "scratch");

  (void)state;
  assert_non_null(p);
  qtk_free(NULL, p);
  assert_int_equal(qtk_parallel(NULL, 3, square, squares), QTK_OK);
  assert_int_equal(squares[2], 4);
  assert_int_equal(qtk_check_stop(NULL), QTK_OK);
}

static void bad_threads(void **state)
{
  struct qtk_context_options options = {.threads = -3};
  struct qtk_context *ctx;

  (void)state;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_EJOB);
  assert_null(ctx);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run),
      cmocka_unit_test(no_context),
      cmocka_unit_test(bad_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
