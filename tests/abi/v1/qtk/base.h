/* SPDX-License-Identifier: BSD-3-Clause
 * What every user and every plugin needs: status codes, errors, log, memory,
 * the thread pool, random numbers. */
#ifndef QTK_BASE_H
#define QTK_BASE_H

#include <stddef.h>
#include <stdint.h>

#include <qtk/version.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QTK_PUBLIC __attribute__((visibility("default")))
#define QTK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define QTK_PUBLIC
#define QTK_PRINTF(fmt, args)
#endif

/* Functions return QTK_OK or one of these. The negative of a status is the
 * exit status of the program. */
enum qtk_status {
  QTK_OK = 0,
  QTK_EUSAGE = -1,       /* wrong command line or wrong call */
  QTK_EJOB = -2,         /* the job file, or an option, asks for what cannot be */
  QTK_EINPUT = -3,       /* a model, text or bundle is missing or malformed */
  QTK_ENOMEM = -4,       /* out of memory, or over the job's limit */
  QTK_ENUMERIC = -5,     /* not a number, not positive definite, ... */
  QTK_EINTERRUPTED = -6, /* stopped on request; the run can be resumed */
  QTK_EPLUGIN = -7,      /* a plugin is missing, broken or lacks an operation */
  QTK_EMISMATCH = -8,    /* wrong base or wrong signature */
  QTK_EINTERNAL = -70    /* a defect of qtk */
};

/* What a run holds: the pool, the memory budget, the backend, the seed. Made
 * by the core and handed to every slot; plugins pass it on. */
struct qtk_context;

/* ---- errors and log ------------------------------------------------------ */

/* Sets this thread's error message and returns `code`, so that a failure is
 * `return qtk_error(QTK_EJOB, "bits = %d: allowed are 2, 3, 4, 8", bits);`.
 * The text says what, the value and what is allowed, without a final dot. */
QTK_PUBLIC int qtk_error(int code, const char *fmt, ...) QTK_PRINTF(2, 3);

/* Puts "PLACE: " in front of this thread's message on the way up and returns
 * `code` unchanged. */
QTK_PUBLIC int qtk_error_at(int code, const char *fmt, ...) QTK_PRINTF(2, 3);

/* This thread's last message; "" if there is none. Valid until the next error
 * of this thread. */
QTK_PUBLIC const char *qtk_error_message(void);

/* A line in the log. Warnings are counted into the report. */
QTK_PUBLIC void qtk_warn(const char *fmt, ...) QTK_PRINTF(1, 2);
QTK_PUBLIC void qtk_info(const char *fmt, ...) QTK_PRINTF(1, 2);
QTK_PUBLIC void qtk_debug(const char *fmt, ...) QTK_PRINTF(1, 2);

/* ---- memory -------------------------------------------------------------- */

/* `bytes` of zeroed memory at a multiple of 64, counted against the job's
 * memory limit; `what` (a string that lives for ever) names the category in
 * the report: "weights", "activations", "scratch", ... NULL with an error of
 * QTK_ENOMEM set when it does not fit. Freed with qtk_free by who asked. */
QTK_PUBLIC void *qtk_alloc(struct qtk_context *ctx, size_t bytes, const char *what);
QTK_PUBLIC void qtk_free(struct qtk_context *ctx, void *memory); /* NULL is fine */

/* ---- work ---------------------------------------------------------------- */

/* Runs fn(arg, i) for i = 0 .. n-1 on the pool and waits. Each index runs once,
 * on any thread; results must not depend on which. Returns the error of the
 * lowest index that failed, with its message. Calls from inside fn run their
 * indices one after the other. Plugins start no threads of their own. */
QTK_PUBLIC int qtk_parallel(struct qtk_context *ctx, size_t n,
                            int (*fn)(void *arg, size_t i), void *arg);

/* Threads of the pool, the caller of qtk_parallel counted, and which of them runs
 * this code, 0 .. size - 1: for scratch memory by thread. Results must not depend
 * on either. */
QTK_PUBLIC int qtk_pool_size(struct qtk_context *ctx);
QTK_PUBLIC int qtk_pool_index(void);

/* QTK_EINTERRUPTED with a message once the user has asked to stop, else QTK_OK.
 * Slots that work for seconds call it between pieces of work. */
QTK_PUBLIC int qtk_check_stop(struct qtk_context *ctx);

/* ---- random numbers ------------------------------------------------------ */

/* Counter-based: the same seed and the same four numbers give the same value on
 * every machine, whatever ran before. */
struct qtk_random_key {
  uint64_t step, sequence, site;
};
/* 64 random bits for element `element`. The seed is the job's. */
QTK_PUBLIC uint64_t qtk_random_bits(struct qtk_context *ctx, const struct qtk_random_key *key,
                                    uint64_t element);
/* Uniform in [0, 1); standard normal. */
QTK_PUBLIC double qtk_random_uniform(struct qtk_context *ctx, const struct qtk_random_key *key,
                                     uint64_t element);
QTK_PUBLIC double qtk_random_normal(struct qtk_context *ctx, const struct qtk_random_key *key,
                                    uint64_t element);

/* The library's version, "0.1.0". */
QTK_PUBLIC const char *qtk_version(void);

#ifdef __cplusplus
}
#endif
#endif
