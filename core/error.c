/* SPDX-License-Identifier: BSD-3-Clause
 * This thread's error message. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"

static _Thread_local char error_message[QTK_ERROR_SIZE];

/* Ends `text`, whose printf wanted `wanted` bytes, in "..." if it was cut, without
 * half a UTF-8 character before the dots. */
static void error_end(char text[QTK_ERROR_SIZE], size_t wanted)
{
  size_t end = QTK_ERROR_SIZE - 4;

  if (wanted < QTK_ERROR_SIZE)
    return;
  while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80)
    end--;
  memcpy(text + end, "...", 4);
}

/* Formats aside first: the arguments may hold the present message. */
static void error_format(const char *fmt, va_list args, const char *tail)
{
  char text[QTK_ERROR_SIZE] = "";
  size_t wanted = 0;
  int n = vsnprintf(text, sizeof text, fmt, args);

  if (n > 0)
    wanted = (size_t)n;
  if (tail != NULL && wanted < sizeof text) {
    n = snprintf(text + wanted, sizeof text - wanted, ": %s", tail);
    if (n > 0)
      wanted += (size_t)n;
  }
  error_end(text, wanted);
  memcpy(error_message, text, sizeof text);
}

int qtk_error(int code, const char *fmt, ...)
{
  va_list args;

  va_start(args, fmt);
  error_format(fmt, args, NULL);
  va_end(args);
  return code;
}

int qtk_error_at(int code, const char *fmt, ...)
{
  char tail[QTK_ERROR_SIZE];
  va_list args;

  memcpy(tail, error_message, sizeof tail);
  va_start(args, fmt);
  error_format(fmt, args, tail);
  va_end(args);
  return code;
}

int qtk_error_errno(int code, int err, const char *fmt, ...)
{
  char buffer[128];
  const char *reason = strerror_r(err, buffer, sizeof buffer);
  va_list args;

  va_start(args, fmt);
  error_format(fmt, args, reason);
  va_end(args);
  return code;
}

int qtk_error_text(int code, const char *text)
{
  return qtk_error(code, "%s", text);
}

int qtk_error_memory(size_t bytes, const char *what)
{
  return qtk_error(QTK_ENOMEM, "out of memory: %zu bytes wanted for %s", bytes, what);
}

const char *qtk_error_message(void)
{
  return error_message;
}

void qtk_error_clear(void)
{
  error_message[0] = '\0';
}
