/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/mem.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#define MIB ((size_t)1 << 20)

static void aligned_and_zeroed(void **state)
{
  static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 1000000, 3 * MIB + 5};
  struct qtk_arena arena;

  (void)state;
  qtk_arena_init(&arena, 0);
  for (int round = 0; round < 2; round++)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      unsigned char *p = qtk_arena_alloc(&arena, sizes[i], "weights");
      assert_non_null(p);
      assert_int_equal((uintptr_t)p % 64, 0);
      for (size_t k = 0; k < sizes[i]; k++)
        assert_int_equal(p[k], 0);
      memset(p, 0xa5, sizes[i]);
      assert_int_equal(arena.used, sizes[i]);
      qtk_arena_free(&arena, p);
    }
  assert_int_equal(arena.used, 0);
  qtk_arena_free(&arena, NULL);
  qtk_arena_destroy(&arena);
}

static void limit_is_obeyed(void **state)
{
  struct qtk_arena arena;
  void *a, *b;

  (void)state;
  qtk_arena_init(&arena, 10 * MIB);
  a = qtk_arena_alloc(&arena, 6 * MIB, "weights");
  assert_non_null(a);
  assert_int_equal(qtk_arena_room(&arena), 4 * MIB);
  assert_null(qtk_arena_alloc(&arena, 4 * MIB + 1, "scratch"));
  assert_string_equal(qtk_error_message(), "over the memory limit: 4.0 MiB for scratch, 6.0 MiB in "
                                           "use, limit 10.0 MiB");
  assert_int_equal(arena.used, 6 * MIB);
  b = qtk_arena_alloc(&arena, 4 * MIB, "scratch");
  assert_non_null(b);
  assert_int_equal(qtk_arena_room(&arena), 0);
  qtk_arena_free(&arena, a);
  assert_int_equal(qtk_arena_charge(&arena, 6 * MIB, "map"), QTK_OK);
  assert_int_equal(qtk_arena_charge(&arena, 1, "map"), QTK_ENOMEM);
  qtk_arena_release(&arena, 6 * MIB, "map");
  qtk_arena_free(&arena, b);
  assert_int_equal(arena.used, 0);
  assert_int_equal(arena.peak, 10 * MIB);
  qtk_arena_destroy(&arena);
}

static void huge_requests_fail(void **state)
{
  struct qtk_arena arena;
  volatile size_t most = SIZE_MAX;

  (void)state;
  qtk_arena_init(&arena, 0);
  assert_null(qtk_arena_alloc(&arena, most, "x"));
  assert_null(qtk_arena_alloc(&arena, most - 100, "x"));
  assert_null(qtk_arena_alloc(NULL, most / 2, "x"));
  assert_int_equal(arena.used, 0);
  assert_int_equal(qtk_arena_charge(&arena, UINT64_MAX, "x"), QTK_OK);
  assert_int_equal(qtk_arena_charge(&arena, 1, "x"), QTK_ENOMEM);
  qtk_arena_destroy(&arena);
}

static void categories(void **state)
{
  static char names[40][8];
  struct qtk_arena arena;
  char same[] = "weights";
  void *a, *b;

  (void)state;
  qtk_arena_init(&arena, 0);
  a = qtk_arena_alloc(&arena, 1000, "weights");
  b = qtk_arena_alloc(&arena, 500, same);
  assert_int_equal(arena.n_categories, 1);
  assert_int_equal(arena.categories[0].used, 1500);
  qtk_arena_free(&arena, a);
  assert_int_equal(arena.categories[0].used, 500);
  assert_int_equal(arena.categories[0].peak, 1500);
  qtk_arena_reset_peak(&arena);
  assert_int_equal(arena.categories[0].peak, 500);
  qtk_arena_free(&arena, b);
  for (int i = 0; i < 40; i++) {
    names[i][0] = (char)('a' + i % 26);
    names[i][1] = (char)('a' + i / 26);
    assert_int_equal(qtk_arena_charge(&arena, 1, names[i]), QTK_OK);
  }
  assert_int_equal(arena.n_categories, QTK_ARENA_CATEGORIES);
  assert_string_equal(arena.categories[QTK_ARENA_CATEGORIES - 1].what, "other");
  assert_int_equal(arena.categories[QTK_ARENA_CATEGORIES - 1].used, 40 - 30);
  for (int i = 0; i < 40; i++)
    qtk_arena_release(&arena, 1, names[i]);
  for (int i = 0; i < arena.n_categories; i++)
    assert_int_equal(arena.categories[i].used, 0);
  qtk_arena_destroy(&arena);
}

/* Untouched pages cost nothing, and freed ones go back. */
static void large_blocks_are_lazy(void **state)
{
  uint64_t before = qtk_rss();
  char *p;

  (void)state;
  if (SANITIZED || before == 0 || getenv("RUNNING_ON_VALGRIND") != NULL) {
    print_message("# resident memory is not ours alone here: not tested\n");
    return;
  }
  p = qtk_arena_alloc(NULL, 256 * MIB, "x");
  assert_non_null(p);
  assert_true(qtk_rss() < before + 16 * MIB);
  memset(p, 1, 64 * MIB);
  assert_true(qtk_rss() >= before + 60 * MIB);
  qtk_arena_free(NULL, p);
  assert_true(qtk_rss() < before + 16 * MIB);
  assert_true(qtk_peak_rss() >= before + 60 * MIB);
  if (qtk_peak_rss_reset())
    assert_true(qtk_peak_rss() < before + 30 * MIB);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(aligned_and_zeroed),    cmocka_unit_test(limit_is_obeyed),
      cmocka_unit_test(huge_requests_fail),    cmocka_unit_test(categories),
      cmocka_unit_test(large_blocks_are_lazy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
