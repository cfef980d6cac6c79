/* SPDX-License-Identifier: BSD-3-Clause
 * What the suites of the kinds share. All of it runs in a child process. */
#ifndef QTK_CORE_CHECK_SUITE_H
#define QTK_CORE_CHECK_SUITE_H

#include "core/check.h"
#include "core/context.h"
#include "core/option.h"
#include "core/registry.h"

/* A run of a section of a suite. */
struct qtk_check {
  const struct qtk_loaded *plugin;
  const struct qtk_check_options *options;
  const char *folder;      /* empty when the suite begins, removed at its end */
  struct qtk_context *ctx; /* of one thread, with the plain backend if there is one */
  int fd;                  /* to the parent */
  char doing[160];         /* what was tried last */
};

/* A part of a suite. Piece i of it, from 0, runs in a process of its own: what it did
 * before is not seen, and what it breaks is not felt. `run` returns 1, 0 past the last
 * piece, or an error, which is told as a broken promise. */
struct qtk_check_section {
  const char *name;
  int (*run)(struct qtk_check *c, int i);
};

/* The suite of each kind, ended by a NULL name. */
extern const struct qtk_check_section qtk_check_quantizer[];
extern const struct qtk_check_section qtk_check_adapter[];
extern const struct qtk_check_section qtk_check_backend[];
extern const struct qtk_check_section qtk_check_format[];

/* One trial of a promise. `why` is only looked at when it is broken. Returns `held`. */
int qtk_check_that(struct qtk_check *c, int held, const char *promise, const char *why, ...)
    QTK_PRINTF(4, 5);
/* The trial cannot be made here. */
void qtk_check_skip(struct qtk_check *c, const char *promise, const char *why, ...)
    QTK_PRINTF(3, 4);
/* What is about to be tried, for the message if it crashes. */
void qtk_check_doing(struct qtk_check *c, const char *what, ...) QTK_PRINTF(2, 3);

/* A status that a slot may return: not positive, and if negative with one of the public
 * codes and a message. Says so as a promise; returns 1 for QTK_OK. */
int qtk_check_status(struct qtk_check *c, int status, const char *promise, const char *what);

/* Another context, with the plain backend; ended by qtk_check_context_close. */
int qtk_check_context_open(int threads, uint64_t memory_limit, struct qtk_context **ctx);
void qtk_check_context_close(struct qtk_context *ctx);
/* The same, and nothing that was allocated may be left. */
void qtk_check_context_end(struct qtk_check *c, struct qtk_context *ctx);

/* Sets of options that a suite tries: the defaults, and each option at its bounds and
 * choices with the others at their defaults. Set i: 1 and *options (to be freed), 0 past
 * the last, or an error. `what` says what differs: "bits = 2". */
#define QTK_CHECK_WHAT 128
int qtk_check_options_set(const struct qtk_plugin *plugin, int i, struct qtk_options **options,
                          char what[QTK_CHECK_WHAT]);
/* The same with other defaults: a set of its own as `what` gives it, or "". */
int qtk_check_options_over(const struct qtk_plugin *plugin, const char *base, int i,
                           struct qtk_options **options, char what[QTK_CHECK_WHAT]);

/* Calls `work` again and again; what malloc holds must not grow with every call. An error of
 * `work` ends it. */
int qtk_check_leaks(struct qtk_check *c, int (*work)(void *arg), void *arg, const char *what);

/* Seeded values around zero, of a deviation of `scale`; `stream` keeps them apart. */
void qtk_check_fill(float *x, int64_t n, float scale, uint64_t stream);

#endif
