/* SPDX-License-Identifier: BSD-3-Clause
 * A piece of a suite in a child process, and what comes back from it. */
#ifndef QTK_CORE_CHECK_CHILD_H
#define QTK_CORE_CHECK_CHILD_H

#include "core/check-suite.h"

#define QTK_CHECK_TEXT 96
#define QTK_CHECK_WHY 400

enum qtk_check_verdict {
  QTK_CHECK_BROKEN = 0,
  QTK_CHECK_HELD = 1,
  QTK_CHECK_SKIPPED = 2,
  QTK_CHECK_DOING = 3, /* `why` says what is about to be tried */
  QTK_CHECK_ERROR = 4  /* `why`: the suite itself failed */
};

/* What the child writes; small enough for a pipe to take it whole. */
struct qtk_check_record {
  enum qtk_check_verdict verdict;
  char text[QTK_CHECK_TEXT], why[QTK_CHECK_WHY];
};

struct qtk_check_job {
  const char *path; /* of the plugin */
  const struct qtk_check_options *options;
  char *folder;
};

/* The promises of the descriptor, for every kind. */
extern const struct qtk_check_section qtk_check_descriptor;

/* Runs piece i of a section and hands each verdict to `add`. 1, 2 if the child came to a
 * bad end, 0 past the last piece, or an error of the suite or of `add`. */
int qtk_check_child(const struct qtk_check_job *job, const struct qtk_check_section *section, int i,
                    int (*add)(void *arg, const struct qtk_check_record *r), void *arg);

/* A new empty folder under TMPDIR or /tmp. */
int qtk_check_folder_make(char **folder);
void qtk_check_folder_remove(char *folder);

#endif
