/* SPDX-License-Identifier: BSD-3-Clause
 * The conformance suites of the plugin kinds: `qtk plugin check FILE.so`. */
#ifndef QTK_CORE_CHECK_H
#define QTK_CORE_CHECK_H

#include <qtk/base.h>

/* What plugins of a kind promise, and how the trials of it ended. */
struct qtk_promise {
  const char *text; /* "gives the same bytes twice" */
  int held, broken, skipped;
  const char *why; /* the first broken trials, a line each; else why it was skipped; or "" */
};

struct qtk_check_options {
  const char *sample; /* for a format: a file or folder that it reads; or NULL */
  /* Called for each promise, once all its trials are over. */
  void (*say)(void *arg, const struct qtk_promise *promise);
  void *arg;
};

struct qtk_check_result {
  int promises, broken, skipped; /* skipped: none of its trials could be made */
};

/* Tries what the plugin file qtk-KIND-NAME.so promises. Everything is done in child
 * processes: a plugin that crashes, hangs, ends the process or prints breaks a promise,
 * and nothing else. QTK_EPLUGIN if any is broken, QTK_EUSAGE for another file name. */
QTK_PUBLIC int qtk_check_plugin(const char *path, const struct qtk_check_options *options,
                                struct qtk_check_result *result);

#endif
