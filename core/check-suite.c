/* SPDX-License-Identifier: BSD-3-Clause
 * Verdicts, contexts and values of the suites. */
#include "core/check-suite.h"

#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/check-child.h"
#include "core/device.h"
#include "core/random.h"

/* ---- verdicts ---------------------------------------------------------------------- */

/* A parent that is gone has no more use for this process. */
static void suite_send(struct qtk_check *c, const struct qtk_check_record *r)
{
  ssize_t n;
  do
    n = write(c->fd, r, sizeof *r);
  while (n < 0 && errno == EINTR);
  if (n != (ssize_t)sizeof *r)
    _exit(1);
}

static void suite_say(struct qtk_check *c, enum qtk_check_verdict verdict, const char *text,
                      const char *fmt, va_list args)
{
  struct qtk_check_record r = {verdict, "", ""};
  snprintf(r.text, sizeof r.text, "%s", text);
  if (fmt != NULL)
    vsnprintf(r.why, sizeof r.why, fmt, args);
  suite_send(c, &r);
}

int qtk_check_that(struct qtk_check *c, int held, const char *promise, const char *why, ...)
{
  va_list args;
  va_start(args, why);
  suite_say(c, held ? QTK_CHECK_HELD : QTK_CHECK_BROKEN, promise, held ? NULL : why, args);
  va_end(args);
  return held;
}

void qtk_check_skip(struct qtk_check *c, const char *promise, const char *why, ...)
{
  va_list args;
  va_start(args, why);
  suite_say(c, QTK_CHECK_SKIPPED, promise, why, args);
  va_end(args);
}

void qtk_check_doing(struct qtk_check *c, const char *what, ...)
{
  va_list args;
  va_start(args, what);
  vsnprintf(c->doing, sizeof c->doing, what, args);
  va_end(args);
  va_start(args, what);
  suite_say(c, QTK_CHECK_DOING, "", what, args);
  va_end(args);
}

static int suite_status_known(int status)
{
  return (status <= QTK_OK && status >= QTK_EMISMATCH) || status == QTK_EINTERNAL;
}

int qtk_check_status(struct qtk_check *c, int status, const char *promise, const char *what)
{
  static const char *const proper = "returns 0, or a status code with a message";
  qtk_check_that(c, suite_status_known(status) && (status == QTK_OK || *qtk_error_message()),
                 proper, "%s: %d%s", what, status,
                 suite_status_known(status) ? " without a message" : " is no status");
  return qtk_check_that(c, status == QTK_OK, promise, "%s: %s", what,
                        status < 0 ? qtk_error_message() : "its status is positive");
}

/* ---- contexts ------------------------------------------------------------------------ */

int qtk_check_context_open(int threads, uint64_t memory_limit, struct qtk_context **ctx)
{
  struct qtk_context_options options = {threads, memory_limit, 1, NULL};
  const struct qtk_loaded *plain;
  int status = qtk_context_open(&options, ctx);
  if (status != QTK_OK || !qtk_registry_has(QTK_BACKEND, "cpu"))
    return status;
  status = qtk_registry_get(QTK_BACKEND, "cpu", &plain);
  if (status == QTK_OK)
    status = qtk_device_open(*ctx, &plain->plugin, NULL, 0);
  if (status != QTK_OK) {
    qtk_context_close(*ctx);
    *ctx = NULL;
  }
  return status;
}

void qtk_check_context_close(struct qtk_context *ctx)
{
  qtk_device_close(ctx);
  qtk_context_close(ctx);
}

/* The backend keeps scratch memory until it is closed. */
void qtk_check_context_end(struct qtk_check *c, struct qtk_context *ctx)
{
  qtk_device_close(ctx);
  qtk_check_that(c, ctx->arena.used == 0, "frees what it allocates",
                 "%llu bytes are left after: %s", (unsigned long long)ctx->arena.used, c->doing);
  qtk_context_close(ctx);
}

/* ---- values ---------------------------------------------------------------------------- */

/* Bytes of malloc and the like, freed ones that it keeps for threads counted too; 0 where
 * that cannot be known. */
static size_t suite_malloced(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

/* What malloc keeps for later grows or shrinks at first, and for a while where a library
 * hashes with a seed of its own, which can hide a leak in a window or two: a leak grows in
 * nearly all of the last sixteen windows, and by as much over them all. */
int qtk_check_leaks(struct qtk_check *c, int (*work)(void *arg), void *arg, const char *what)
{
  const int windows = 21, counted = 16, enough = 13, calls = 8;
  int grown = 0, status = QTK_OK;
  size_t first = 0, last = 0;
  for (int w = 0; w < windows && status == QTK_OK; w++) {
    size_t before = suite_malloced();
    for (int i = 0; i < calls && status == QTK_OK; i++)
      status = work(arg);
    last = suite_malloced();
    first = w == windows - counted ? before : first;
    grown += w >= windows - counted && last >= before + 16 * (size_t)calls;
  }
  if (status == QTK_OK)
    qtk_check_that(c, grown < enough || last < first + 16 * (size_t)(calls * counted),
                   "frees what it allocates", "%s: after %d calls malloc holds %zu bytes more", what,
                   calls * counted, last > first ? last - first : 0);
  return status;
}

void qtk_check_fill(float *x, int64_t n, float scale, uint64_t stream)
{
  struct qtk_random_key key = {0, 0, stream};
  for (int64_t i = 0; i < n; i++)
    x[i] = scale * (float)qtk_random_seeded_normal(1, &key, (uint64_t)i);
}
