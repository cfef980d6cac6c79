/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/thread.h"

#define N 5000

static struct qtk_workers *open_pool(int threads)
{
  struct qtk_workers *w;

  assert_int_equal(qtk_workers_open(threads, &w), QTK_OK);
  return w;
}

static int count_one(void *arg, size_t i)
{
  atomic_int *counts = arg;

  counts[i]++;
  return QTK_OK;
}

static void each_index_once(void **state)
{
  static const int threads[] = {0, 1, 2, 3, 8};
  atomic_int *counts = calloc(N, sizeof *counts);

  (void)state;
  assert_non_null(counts);
  for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
    struct qtk_workers *w = open_pool(threads[t]);
    assert_int_equal(qtk_workers_count(w), threads[t] == 0 ? qtk_cores() : threads[t]);
    for (size_t n = 0; n < 40; n++) {
      memset(counts, 0, N * sizeof *counts);
      assert_int_equal(qtk_workers_run(w, n, count_one, counts), QTK_OK);
      for (size_t i = 0; i < 50; i++)
        assert_int_equal(counts[i], i < n);
    }
    memset(counts, 0, N * sizeof *counts);
    assert_int_equal(qtk_workers_run(w, N, count_one, counts), QTK_OK);
    for (size_t i = 0; i < N; i++)
      assert_int_equal(counts[i], 1);
    qtk_workers_close(w);
  }
  assert_int_equal(qtk_workers_run(NULL, 3, count_one, counts), QTK_OK);
  free(counts);
}

/* Jobs that follow each other with and without a pause, so that workers are met
 * awake, falling asleep and asleep. */
static void many_short_jobs(void **state)
{
  struct qtk_workers *w = open_pool(4);
  atomic_int counts[8];

  (void)state;
  memset(counts, 0, sizeof counts);
  for (int job = 0; job < 20000; job++) {
    assert_int_equal(qtk_workers_run(w, 8, count_one, counts), QTK_OK);
    for (int i = 0; i < 8; i++)
      assert_int_equal(counts[i], job + 1);
    if (job % 100 == 0)
      usleep((useconds_t)(job % 7) * 50);
  }
  qtk_workers_close(w);
}

static int fails_at(void *arg, size_t i)
{
  size_t *bad = arg;

  if (i >= bad[0] && i % 3 == bad[0] % 3) {
    usleep((useconds_t)(200 - i % 150)); /* later ones fail sooner */
    return qtk_error(QTK_ENUMERIC - (int)(i % 3), "index %zu", i);
  }
  return QTK_OK;
}

static void lowest_error_wins(void **state)
{
  (void)state;
  for (int threads = 1; threads <= 8; threads++) {
    struct qtk_workers *w = open_pool(threads);
    for (size_t bad = 0; bad < 60; bad++) {
      char expected[32];
      snprintf(expected, sizeof expected, "index %zu", bad);
      qtk_error_clear();
      assert_int_equal(qtk_workers_run(w, 200, fails_at, &bad), QTK_ENUMERIC - (int)(bad % 3));
      assert_string_equal(qtk_error_message(), expected);
    }
    qtk_workers_close(w);
  }
}

struct nest {
  struct qtk_workers *w;
  atomic_int total;
  atomic_int foreign; /* inner indices that ran on another thread */
};

struct inner {
  struct nest *nest;
  pthread_t thread;
  size_t last;
};

static int inner_one(void *arg, size_t i)
{
  struct inner *inner = arg;

  if (!pthread_equal(inner->thread, pthread_self()) || (i > 0 && inner->last != i - 1))
    inner->nest->foreign++;
  inner->last = i;
  inner->nest->total++;
  return i == 17 ? qtk_error(QTK_EINPUT, "inner %zu", i) : QTK_OK;
}

static int outer_one(void *arg, size_t i)
{
  struct inner inner = {arg, pthread_self(), 0};
  int rc = qtk_workers_run(inner.nest->w, i == 5 ? 30 : 10, inner_one, &inner);

  return rc == QTK_OK ? QTK_OK : qtk_error_at(rc, "outer %zu", i);
}

static void nested_calls_are_serial(void **state)
{
  struct nest nest = {.w = open_pool(4)};

  (void)state;
  assert_int_equal(qtk_workers_run(nest.w, 5, outer_one, &nest), QTK_OK);
  assert_int_equal(nest.total, 50);
  assert_int_equal(qtk_workers_run(nest.w, 40, outer_one, &nest), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "outer 5: inner 17");
  assert_int_equal(nest.foreign, 0);
  qtk_workers_close(nest.w);
}

static int worker_seen(void *arg, size_t i)
{
  atomic_int *seen = arg;

  (void)i;
  seen[qtk_worker_index()]++;
  usleep(100);
  return QTK_OK;
}

static void work_is_shared(void **state)
{
  struct qtk_workers *w = open_pool(3);
  atomic_int seen[3];

  (void)state;
  memset(seen, 0, sizeof seen);
  assert_int_equal(qtk_workers_run(w, 600, worker_seen, seen), QTK_OK);
  assert_int_equal(seen[0] + seen[1] + seen[2], 600);
  assert_true(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
  assert_int_equal(qtk_worker_index(), 0);
  qtk_workers_close(w);
}

struct caller {
  struct qtk_workers *w;
  atomic_int counts[64];
};

static void *foreign_caller(void *arg)
{
  struct caller *c = arg;

  for (int i = 0; i < 500; i++)
    qtk_workers_run(c->w, 64, count_one, c->counts);
  return NULL;
}

static void two_callers_take_turns(void **state)
{
  static struct caller a, b;
  pthread_t thread;

  (void)state;
  a.w = b.w = open_pool(3);
  assert_int_equal(pthread_create(&thread, NULL, foreign_caller, &b), 0);
  foreign_caller(&a);
  pthread_join(thread, NULL);
  for (int i = 0; i < 64; i++) {
    assert_int_equal(a.counts[i], 500);
    assert_int_equal(b.counts[i], 500);
  }
  qtk_workers_close(a.w);
}

static void bounds(void **state)
{
  struct qtk_workers *w = NULL;

  (void)state;
  assert_int_equal(qtk_workers_open(-1, &w), QTK_EJOB);
  assert_null(w);
  assert_int_equal(qtk_workers_open(100000, &w), QTK_EJOB);
  qtk_workers_close(NULL);
  assert_true(qtk_cores() >= 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_index_once),
      cmocka_unit_test(many_short_jobs),
      cmocka_unit_test(lowest_error_wins),
      cmocka_unit_test(nested_calls_are_serial),
      cmocka_unit_test(work_is_shared),
      cmocka_unit_test(two_callers_take_turns),
      cmocka_unit_test(bounds),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
