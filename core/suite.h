/* SPDX-License-Identifier: BSD-3-Clause
 * Suites of multiple-choice questions: where their questions and solved examples lie,
 * and what a prompt looks like. Both are data: data/suites.toml of the architecture
 * folders, described in qtk-job(5). */
#ifndef QTK_CORE_SUITE_H
#define QTK_CORE_SUITE_H

#include <qtk/base.h>

#include "core/str.h"
#include "core/toml.h"
#include "core/vec.h"

#define QTK_CHOICES_MOST 26 /* a letter each */

enum qtk_score { QTK_SCORE_LETTER, QTK_SCORE_TEXT, QTK_SCORE_NORMALIZED };
/* "letter", "text", "text_normalized", ended by NULL. */
QTK_PUBLIC const char *const *qtk_score_names(void);

struct qtk_question {
  char *context; /* "" if there is none */
  char *text;
  char **choices; /* [n] */
  int n, answer;
};

struct qtk_questions {
  struct qtk_question *data;
  size_t length, capacity;
};

/* The questions of a subject, and its solved examples. */
struct qtk_suite_group {
  char *name;
  struct qtk_questions questions, examples;
};

struct qtk_suite {
  struct qtk_context *ctx;
  uint64_t bytes;        /* that are charged */
  struct qtk_toml *root; /* of the texts below that are const */
  const char *name;
  const char *header, *question, *choice, *answer, *between;
  enum qtk_score score;
  int64_t shots; /* solved examples before a question */
  char *data;    /* the path without its folders */
  char sha256[65];
  QTK_VEC(struct qtk_suite_group) groups; /* by name */
  struct qtk_questions examples;          /* for groups that have none of their own */
  int64_t questions;
};

/* What to read. */
struct qtk_suite_request {
  const char *name;     /* in the data file */
  const char *path;     /* a folder or a file, as the suite has it */
  const char *examples; /* a file of solved examples, or NULL */
  enum qtk_score score;
  int64_t shots; /* -1: the suite's */
  int64_t limit; /* the first questions of each group; 0: all */
  const char **groups; /* which ones, ended by NULL; NULL: all */
};

/* Every row is checked, also of questions beyond the limit. QTK_EJOB for names that there
 * are not, QTK_EINPUT with file, line and column for data that cannot be used. The texts
 * are counted against the memory limit until they are freed. */
QTK_PUBLIC int qtk_suite_read(struct qtk_context *ctx, const struct qtk_suite_request *request,
                              struct qtk_suite **suite);
QTK_PUBLIC void qtk_suite_free(struct qtk_suite *suite); /* NULL is fine */

/* Appends what stands before the answer to question q of a group, behind `shots` solved
 * examples, at most the suite's. */
QTK_PUBLIC int qtk_suite_prompt(const struct qtk_suite *suite, const struct qtk_suite_group *group,
                                const struct qtk_question *q, int64_t shots, struct qtk_str *out);
/* Appends choice i as it stands behind that. */
QTK_PUBLIC int qtk_suite_answer(const struct qtk_suite *suite, const struct qtk_suite_group *group,
                                const struct qtk_question *q, int i, struct qtk_str *out);

/* Bytes of the longest prompt with its longest choice, and of all that has to be run when
 * examples are run once a group. */
QTK_PUBLIC int qtk_suite_measure(const struct qtk_suite *suite, uint64_t *longest, uint64_t *all);

#endif
