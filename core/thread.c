/* SPDX-License-Identifier: BSD-3-Clause
 * The one pool of threads: indices are handed out in order by an atomic counter.
 *
 * The gate is a word of three fields: how many workers are inside the present
 * job, whether it is open, and its number. A worker enters by adding one while
 * the gate is open; the caller closes it when no index is left and waits only
 * for those inside, so that a worker which sleeps through a short job costs
 * nothing. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/thread.h"

#define THREAD_MAX 1024
#define THREAD_SPINS 2000 /* some tens of microseconds */

#define GATE_INSIDE ((uint64_t)0xffff)
#define GATE_OPEN ((uint64_t)1 << 16)
#define GATE_NUMBER ((uint64_t)1 << 17)

struct thread_start {
  struct qtk_workers *workers;
  int index;
};

struct qtk_workers {
  int count; /* with the caller */
  int spins;
  pthread_t *threads; /* count - 1 */
  struct thread_start *starts;
  pthread_mutex_t run;  /* held by the caller of the present job */
  pthread_mutex_t lock; /* of wake, done and the error */
  pthread_cond_t wake, done;
  _Atomic uint64_t gate;
  _Atomic int sleepers;
  _Atomic int caller_sleeps;
  _Atomic int stop;

  size_t n;
  int (*fn)(void *arg, size_t i);
  void *arg;
  _Atomic size_t next;
  _Atomic size_t failed; /* lowest index that failed; SIZE_MAX: none */
  int code;
  char message[QTK_ERROR_SIZE];
};

static _Thread_local int thread_inside;
static _Thread_local int thread_index;

int qtk_worker_index(void)
{
  return thread_index;
}

int qtk_cores(void)
{
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;

  if (n < 1)
    n = (int)sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > THREAD_MAX ? THREAD_MAX : n;
}

static inline void thread_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void thread_failed(struct qtk_workers *w, size_t i, int code)
{
  pthread_mutex_lock(&w->lock);
  if (i < w->failed) {
    w->failed = i;
    w->code = code;
    memcpy(w->message, qtk_error_message(), strlen(qtk_error_message()) + 1);
  }
  pthread_mutex_unlock(&w->lock);
}

/* Indices are handed out in order, so when i has failed every lower one has been
 * taken and will be finished. */
static void thread_work(struct qtk_workers *w)
{
  thread_inside = 1;
  for (;;) {
    size_t i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);
    int code;
    if (i >= w->n || i > w->failed)
      break;
    code = w->fn(w->arg, i);
    if (code != QTK_OK)
      thread_failed(w, i, code);
  }
  thread_inside = 0;
}

/* Waits until the gate's number is not `seen`: first awake, then asleep. */
static void thread_wait_for_job(struct qtk_workers *w, uint64_t seen)
{
  for (int i = 0; i < w->spins; i++) {
    if (w->gate / GATE_NUMBER != seen || w->stop)
      return;
    thread_pause();
  }
  pthread_mutex_lock(&w->lock);
  w->sleepers++;
  while (w->gate / GATE_NUMBER == seen && !w->stop)
    pthread_cond_wait(&w->wake, &w->lock);
  w->sleepers--;
  pthread_mutex_unlock(&w->lock);
}

static int thread_enter(struct qtk_workers *w, uint64_t *seen)
{
  uint64_t gate = w->gate;

  while (gate & GATE_OPEN && gate / GATE_NUMBER != *seen)
    if (atomic_compare_exchange_weak(&w->gate, &gate, gate + 1)) {
      *seen = gate / GATE_NUMBER;
      return 1;
    }
  *seen = gate / GATE_NUMBER;
  return 0;
}

static void thread_leave(struct qtk_workers *w)
{
  uint64_t gate = atomic_fetch_sub(&w->gate, 1) - 1;

  if ((gate & GATE_INSIDE) != 0 || gate & GATE_OPEN || !w->caller_sleeps)
    return;
  pthread_mutex_lock(&w->lock);
  pthread_cond_signal(&w->done);
  pthread_mutex_unlock(&w->lock);
}

static void *thread_main(void *arg)
{
  struct thread_start *start = arg;
  struct qtk_workers *w = start->workers;
  uint64_t seen = 0;

  thread_index = start->index;
  while (!w->stop) {
    if (thread_enter(w, &seen)) {
      thread_work(w);
      thread_leave(w);
    }
    thread_wait_for_job(w, seen);
  }
  return NULL;
}

/* Signals stay with the threads that the program made. */
static int thread_start_all(struct qtk_workers *w)
{
  sigset_t all, old;
  int started = 1;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  for (; started < w->count; started++) {
    w->starts[started - 1] = (struct thread_start){w, started};
    if (pthread_create(&w->threads[started - 1], NULL, thread_main, &w->starts[started - 1]) != 0)
      break;
  }
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (started == w->count)
    return QTK_OK;
  w->count = started;
  return qtk_error(QTK_ENOMEM, "thread %d cannot be started", started);
}

int qtk_workers_open(int threads, struct qtk_workers **workers)
{
  struct qtk_workers *w;
  int rc;

  *workers = NULL;
  if (threads < 0 || threads > THREAD_MAX)
    return qtk_error(QTK_EJOB, "threads = %d: allowed are 0 (all cores) .. %d", threads,
                     THREAD_MAX);
  w = calloc(1, sizeof *w);
  if (w == NULL)
    return qtk_error_memory(sizeof *w, "the thread pool");
  w->count = threads == 0 ? qtk_cores() : threads;
  w->spins = w->count > qtk_cores() ? 0 : THREAD_SPINS;
  w->gate = GATE_NUMBER;
  pthread_mutex_init(&w->run, NULL);
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->wake, NULL);
  pthread_cond_init(&w->done, NULL);
  w->threads = calloc((size_t)w->count, sizeof *w->threads);
  w->starts = calloc((size_t)w->count, sizeof *w->starts);
  if (w->threads == NULL || w->starts == NULL) {
    w->count = 1;
    rc = qtk_error_memory(sizeof *w->threads, "the thread pool");
  } else {
    rc = thread_start_all(w);
  }
  if (rc != QTK_OK) {
    qtk_workers_close(w);
    return rc;
  }
  *workers = w;
  return QTK_OK;
}

void qtk_workers_close(struct qtk_workers *w)
{
  if (w == NULL)
    return;
  pthread_mutex_lock(&w->lock);
  w->stop = 1;
  pthread_cond_broadcast(&w->wake);
  pthread_mutex_unlock(&w->lock);
  for (int i = 0; i + 1 < w->count; i++)
    pthread_join(w->threads[i], NULL);
  pthread_cond_destroy(&w->done);
  pthread_cond_destroy(&w->wake);
  pthread_mutex_destroy(&w->lock);
  pthread_mutex_destroy(&w->run);
  free(w->starts);
  free(w->threads);
  free(w);
}

int qtk_workers_count(const struct qtk_workers *w)
{
  return w == NULL ? 1 : w->count;
}

static int thread_serial(size_t n, int (*fn)(void *arg, size_t i), void *arg)
{
  for (size_t i = 0; i < n; i++) {
    int rc = fn(arg, i);
    if (rc != QTK_OK)
      return rc;
  }
  return QTK_OK;
}

static void thread_open_gate(struct qtk_workers *w)
{
  uint64_t number = w->gate / GATE_NUMBER + 1;

  w->gate = number * GATE_NUMBER | GATE_OPEN;
  if (w->sleepers == 0)
    return;
  pthread_mutex_lock(&w->lock);
  pthread_cond_broadcast(&w->wake);
  pthread_mutex_unlock(&w->lock);
}

/* No index is left: nobody may enter any more; waits for those inside. */
static void thread_close_gate(struct qtk_workers *w)
{
  atomic_fetch_and(&w->gate, ~GATE_OPEN);
  for (int i = 0; i < w->spins; i++) {
    if ((w->gate & GATE_INSIDE) == 0)
      return;
    thread_pause();
  }
  pthread_mutex_lock(&w->lock);
  w->caller_sleeps = 1;
  while ((w->gate & GATE_INSIDE) != 0)
    pthread_cond_wait(&w->done, &w->lock);
  w->caller_sleeps = 0;
  pthread_mutex_unlock(&w->lock);
}

int qtk_workers_run(struct qtk_workers *w, size_t n, int (*fn)(void *arg, size_t i), void *arg)
{
  char message[QTK_ERROR_SIZE];
  int code = QTK_OK;

  if (w == NULL || w->count == 1 || n <= 1 || thread_inside)
    return thread_serial(n, fn, arg);
  pthread_mutex_lock(&w->run);
  w->n = n;
  w->fn = fn;
  w->arg = arg;
  w->next = 0;
  w->failed = SIZE_MAX;
  thread_open_gate(w);
  thread_work(w);
  thread_close_gate(w);
  if (w->failed != SIZE_MAX) {
    code = w->code;
    memcpy(message, w->message, sizeof message);
  }
  pthread_mutex_unlock(&w->run);
  return code == QTK_OK ? QTK_OK : qtk_error_text(code, message);
}
