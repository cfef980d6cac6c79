/* SPDX-License-Identifier: BSD-3-Clause
 * TAP output for tests that are plain programs: tap_ok, ..., return tap_end (). */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdio.h>

static int tap_count, tap_failures;

__attribute__((format(printf, 2, 3))) static inline int tap_ok(int ok, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  printf("%s %d - ", ok ? "ok" : "not ok", ++tap_count);
  vprintf(format, args);
  printf("\n");
  fflush(stdout);
  va_end(args);
  tap_failures += !ok;
  return ok;
}

__attribute__((format(printf, 1, 2))) static inline void tap_note(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  printf("# ");
  vprintf(format, args);
  printf("\n");
  fflush(stdout);
  va_end(args);
}

/* One test that does not run, and why. */
static inline void tap_skip(const char *why)
{
  printf("ok %d # SKIP %s\n", ++tap_count, why);
}

static inline int tap_end(void)
{
  printf("1..%d\n", tap_count);
  return tap_failures > 0;
}

#endif
