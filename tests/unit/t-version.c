/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <qtk/base.h>

static void version_is_the_header_s(void **state)
{
  (void)state;
  assert_string_equal(qtk_version(), QTK_VERSION);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(version_is_the_header_s),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
