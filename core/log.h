/* SPDX-License-Identifier: BSD-3-Clause
 * The log and the progress line. Lines go to one descriptor, never to standard
 * output; until qtk_log_open nothing is written, but warnings are counted. Any
 * thread may log. */
#ifndef QTK_CORE_LOG_H
#define QTK_CORE_LOG_H

#include <qtk/base.h>

enum qtk_log_level {
  QTK_LOG_SILENT = 0, /* neither lines nor progress */
  QTK_LOG_WARN = 1,   /* warnings and progress */
  QTK_LOG_INFO = 2,
  QTK_LOG_DEBUG = 3
};

struct qtk_log_options {
  enum qtk_log_level level;
  int json; /* a JSON object a line: {"event":"warning","text":"..."} */
  int fd;   /* 2: standard error */
};

/* Whether fd is a terminal, NO_COLOR and TERM decide how lines look. */
QTK_PUBLIC void qtk_log_open(const struct qtk_log_options *options);
QTK_PUBLIC void qtk_log_close(void);

/* Warnings since the start or qtk_log_forget. The first 100 texts are kept:
 * text i as a copy, to be freed, or NULL past the last one kept. */
QTK_PUBLIC size_t qtk_log_warnings(void);
QTK_PUBLIC char *qtk_log_warning(size_t i);
QTK_PUBLIC void qtk_log_forget(void);

/* An error as the program shows it: "qtk: TEXT", in JSON {"event":"error",...}. */
QTK_PUBLIC void qtk_log_error(const char *fmt, ...) QTK_PRINTF(1, 2);

/* A line "LABEL  done/total unit  rate  remaining". On a terminal it redraws in
 * place; elsewhere a plain line at most every few seconds; in JSON
 * {"event":"progress","label":..,"done":..,"total":..,"unit":..,"rate":..,
 * "remaining":..} at most twice a second. total 0: unknown. One line at a time;
 * begin, step and end come from one thread. */
struct qtk_progress {
  char label[64], unit[16];
  char note[64]; /* stands behind the rate; in JSON "note", if there is one */
  uint64_t done, total, skipped;
  double started, shown; /* monotonic seconds */
};

QTK_PUBLIC void qtk_progress_begin(struct qtk_progress *p, const char *label, uint64_t total,
                                   const char *unit);
/* `done` of total, not an increment. */
QTK_PUBLIC void qtk_progress_step(struct qtk_progress *p, uint64_t done);
/* What is said of the work from now on: "loss 2.31". */
QTK_PUBLIC void qtk_progress_note(struct qtk_progress *p, const char *fmt, ...) QTK_PRINTF(2, 3);
/* `done` of total were there before: they say nothing about the rate. */
QTK_PUBLIC void qtk_progress_skip(struct qtk_progress *p, uint64_t done);
QTK_PUBLIC void qtk_progress_end(struct qtk_progress *p);

/* Monotonic seconds, for rates and times in reports. */
QTK_PUBLIC double qtk_seconds(void);

#endif
