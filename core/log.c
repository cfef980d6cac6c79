/* SPDX-License-Identifier: BSD-3-Clause
 * The log: one line, one write. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/str.h"

#define LOG_KEPT 100
#define LOG_TEXT 4096

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct qtk_log_options log_options = {QTK_LOG_SILENT, 0, -1};
static int log_terminal, log_color;
static int log_line_open; /* a progress line stands on the terminal's last line */
static size_t log_count;
static char *log_kept[LOG_KEPT];

void qtk_log_open(const struct qtk_log_options *options)
{
  const char *term = getenv("TERM");
  const char *no_color = getenv("NO_COLOR");

  pthread_mutex_lock(&log_lock);
  log_options = *options;
  log_terminal = !options->json && isatty(options->fd) && term != NULL && strcmp(term, "dumb") != 0;
  log_color = log_terminal && (no_color == NULL || no_color[0] == '\0');
  log_line_open = 0;
  pthread_mutex_unlock(&log_lock);
}

void qtk_log_close(void)
{
  const struct qtk_log_options silent = {QTK_LOG_SILENT, 0, -1};

  qtk_log_open(&silent);
  qtk_log_forget();
}

double qtk_seconds(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Sends and frees the line. A log that cannot be written is no reason to fail. */
static void log_write(struct qtk_str *line)
{
  size_t done = 0;

  while (!line->failed && done < line->length) {
    ssize_t n = write(log_options.fd, line->data + done, line->length - done);
    if (n <= 0)
      break;
    done += (size_t)n;
  }
  qtk_str_free(line);
}

/* `event` in JSON, `label` in front of plain text, `color` of the label. */
static void log_put(const char *event, const char *label, const char *color, const char *text)
{
  struct qtk_str line = {0};

  if (log_options.json) {
    qtk_str_printf(&line, "{\"event\":\"%s\",\"text\":", event);
    qtk_str_add_quoted(&line, text);
    qtk_str_add(&line, "}\n");
  } else {
    if (log_line_open)
      qtk_str_add(&line, "\r\033[K");
    if (log_color && color != NULL)
      qtk_str_printf(&line, "\033[%sm%s\033[0m%s\n", color, label, text);
    else
      qtk_str_printf(&line, "%s%s\n", label, text);
    log_line_open = 0;
  }
  log_write(&line);
}

static void log_keep(const char *text)
{
  if (log_count < LOG_KEPT)
    log_kept[log_count] = strdup(text);
  log_count++;
}

/* A kind of message: `event` in JSON, `label` and `color` of plain text. */
struct log_kind {
  const char *event, *label, *color;
  enum qtk_log_level level; /* from which it is written */
  int kept;
};

static void log_say(const struct log_kind *kind, const char *fmt, va_list args)
{
  char text[LOG_TEXT];

  vsnprintf(text, sizeof text, fmt, args);
  pthread_mutex_lock(&log_lock);
  if (kind->kept)
    log_keep(text);
  if (log_options.fd >= 0 && log_options.level >= kind->level)
    log_put(kind->event, kind->label, kind->color, text);
  pthread_mutex_unlock(&log_lock);
}

void qtk_warn(const char *fmt, ...)
{
  static const struct log_kind kind = {"warning", "warning: ", "33", QTK_LOG_WARN, 1};
  va_list args;

  va_start(args, fmt);
  log_say(&kind, fmt, args);
  va_end(args);
}

void qtk_info(const char *fmt, ...)
{
  static const struct log_kind kind = {"info", "", NULL, QTK_LOG_INFO, 0};
  va_list args;

  va_start(args, fmt);
  log_say(&kind, fmt, args);
  va_end(args);
}

void qtk_debug(const char *fmt, ...)
{
  static const struct log_kind kind = {"debug", "debug: ", "2", QTK_LOG_DEBUG, 0};
  va_list args;

  va_start(args, fmt);
  log_say(&kind, fmt, args);
  va_end(args);
}

void qtk_log_error(const char *fmt, ...)
{
  static const struct log_kind kind = {"error", "qtk: ", "31", QTK_LOG_SILENT, 0};
  va_list args;

  va_start(args, fmt);
  log_say(&kind, fmt, args);
  va_end(args);
}

size_t qtk_log_warnings(void)
{
  size_t n;

  pthread_mutex_lock(&log_lock);
  n = log_count;
  pthread_mutex_unlock(&log_lock);
  return n;
}

char *qtk_log_warning(size_t i)
{
  char *text = NULL;

  pthread_mutex_lock(&log_lock);
  if (i < LOG_KEPT && i < log_count && log_kept[i] != NULL)
    text = strdup(log_kept[i]);
  pthread_mutex_unlock(&log_lock);
  return text;
}

void qtk_log_forget(void)
{
  pthread_mutex_lock(&log_lock);
  for (size_t i = 0; i < LOG_KEPT; i++) {
    free(log_kept[i]);
    log_kept[i] = NULL;
  }
  log_count = 0;
  pthread_mutex_unlock(&log_lock);
}

/* ---- progress ---------------------------------------------------------------- */

static double log_interval(void)
{
  return log_options.json ? 0.5 : log_terminal ? 0.1 : 5.0;
}

/* "1:02:03" or "2:03" or "0:03". */
static void log_duration(struct qtk_str *line, double seconds)
{
  uint64_t s = seconds < 0 ? 0 : seconds > 1e9 ? 1000000000 : (uint64_t)(seconds + 0.5);

  if (s >= 3600)
    qtk_str_printf(line, "%u:%02u:%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
                   (unsigned)(s % 60));
  else
    qtk_str_printf(line, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

static void log_progress_text(struct qtk_str *line, const struct qtk_progress *p, double elapsed,
                              int ended)
{
  double rate = elapsed > 0 ? (double)(p->done - p->skipped) / elapsed : 0;

  qtk_str_printf(line, "%s  %llu", p->label, (unsigned long long)p->done);
  if (p->total > 0)
    qtk_str_printf(line, "/%llu", (unsigned long long)p->total);
  qtk_str_printf(line, " %s", p->unit);
  if (rate > 0)
    qtk_str_printf(line, "  %.3g/s", rate);
  if (p->note[0] != '\0')
    qtk_str_printf(line, "  %s", p->note);
  if (ended) {
    qtk_str_add(line, "  in ");
    log_duration(line, elapsed);
  } else if (rate > 0 && p->total > p->done) {
    qtk_str_add(line, "  ");
    log_duration(line, (double)(p->total - p->done) / rate);
    qtk_str_add(line, " left");
  }
}

static void log_progress_json(struct qtk_str *line, const struct qtk_progress *p, double elapsed,
                              int ended)
{
  char rate[QTK_REAL_SIZE], remaining[QTK_REAL_SIZE], seconds[QTK_REAL_SIZE];
  double per_second = elapsed > 0 ? (double)(p->done - p->skipped) / elapsed : 0;
  double left = p->total > p->done ? (double)(p->total - p->done) : 0;

  qtk_str_real(per_second, rate);
  qtk_str_real(elapsed, seconds);
  qtk_str_real(per_second > 0 ? left / per_second : 0, remaining);
  qtk_str_add(line, "{\"event\":\"progress\",\"label\":");
  qtk_str_add_quoted(line, p->label);
  qtk_str_printf(line, ",\"done\":%llu,\"total\":%llu,\"unit\":", (unsigned long long)p->done,
                 (unsigned long long)p->total);
  qtk_str_add_quoted(line, p->unit);
  if (p->note[0] != '\0') {
    qtk_str_add(line, ",\"note\":");
    qtk_str_add_quoted(line, p->note);
  }
  qtk_str_printf(line, ",\"rate\":%s,\"remaining\":%s,\"seconds\":%s,\"ended\":%s}\n", rate,
                 remaining, seconds, ended ? "true" : "false");
}

/* Cuts the line to the terminal's width, so that it never wraps. */
static void log_clip(struct qtk_str *line)
{
  struct winsize size;

  if (ioctl(log_options.fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 2 || line->failed)
    return;
  if (line->length < size.ws_col)
    return;
  line->length = size.ws_col - 1u;
  line->data[line->length] = '\0';
}

static void log_progress(struct qtk_progress *p, int ended)
{
  double now = qtk_seconds();
  struct qtk_str line = {0}, text = {0};

  if (log_options.level < QTK_LOG_WARN || (!ended && now - p->shown < log_interval()))
    return;
  p->shown = now;
  if (log_options.json) {
    log_progress_json(&line, p, now - p->started, ended);
    log_write(&line);
    return;
  }
  log_progress_text(&text, p, now - p->started, ended);
  if (log_terminal) {
    log_clip(&text);
    qtk_str_add(&line, "\r\033[K");
  }
  qtk_str_printf(&line, "%s%s", text.failed ? "" : text.data, log_terminal && !ended ? "" : "\n");
  log_line_open = log_terminal && !ended;
  qtk_str_free(&text);
  log_write(&line);
}

void qtk_progress_begin(struct qtk_progress *p, const char *label, uint64_t total, const char *unit)
{
  *p = (struct qtk_progress){.total = total, .started = qtk_seconds()};
  snprintf(p->label, sizeof p->label, "%s", label);
  snprintf(p->unit, sizeof p->unit, "%s", unit);
  p->shown = p->started;
}

void qtk_progress_step(struct qtk_progress *p, uint64_t done)
{
  p->done = done;
  pthread_mutex_lock(&log_lock);
  log_progress(p, 0);
  pthread_mutex_unlock(&log_lock);
}

void qtk_progress_note(struct qtk_progress *p, const char *fmt, ...)
{
  va_list args;

  va_start(args, fmt);
  vsnprintf(p->note, sizeof p->note, fmt, args);
  va_end(args);
}

void qtk_progress_skip(struct qtk_progress *p, uint64_t done)
{
  p->done = p->skipped = done;
  p->started = qtk_seconds();
}

void qtk_progress_end(struct qtk_progress *p)
{
  pthread_mutex_lock(&log_lock);
  log_progress(p, 1);
  pthread_mutex_unlock(&log_lock);
}
