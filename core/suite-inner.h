/* SPDX-License-Identifier: BSD-3-Clause
 * How a suite is read. Only for the suite's own files. */
#ifndef CORE_SUITE_INNER_H
#define CORE_SUITE_INNER_H

#include "core/digest.h"
#include "core/suite.h"

#define SUITE_FILE_BYTES (UINT64_C(1) << 30)

struct suite_reader {
  struct qtk_suite *suite;
  const struct qtk_suite_request *request;
  const struct qtk_toml *entry; /* of the data file */
  struct qtk_str digests;       /* "DIGEST  NAME\n" of each file that was read */
  size_t files;
};

/* Finds the suite in the data files and takes its texts over. */
int suite_define(struct suite_reader *r);

/* The two layouts. */
int suite_read_tables(struct suite_reader *r);
int suite_read_lines(struct suite_reader *r);

/* The whole file in *data, freed with free; its digest is noted. */
int suite_file(struct suite_reader *r, const char *path, char **data, size_t *size);

struct qtk_suite_group *suite_find(struct qtk_suite *suite, const char *name); /* or NULL */
/* The group of that name, new if there is none; NULL with QTK_ENOMEM set. */
struct qtk_suite_group *suite_group(struct qtk_suite *suite, const char *name);
/* 1 if the request wants the group. */
int suite_wanted(const struct suite_reader *r, const char *group);
/* Takes the question over, also when it fails; drops it if the group is full. */
int suite_add(struct suite_reader *r, struct qtk_questions *to, struct qtk_question *q,
              int64_t limit);
void suite_question_free(struct qtk_question *q);

/* A letter or a number from 0 as the index of one of n choices; -1 if it is neither. */
int suite_answer_index(const char *text, int n);

#endif
