/* SPDX-License-Identifier: BSD-3-Clause
 * The objects of a JSON file one by one, as the bytes that they take in it. Only for a data
 * set's own files. */
#ifndef CORE_DATASET_ROWS_H
#define CORE_DATASET_ROWS_H

#include "core/fs.h"

/* A longer object is refused. */
#define DATASET_ROW_BYTES ((size_t)64 << 20)

struct dataset_rows {
  struct qtk_map map;
  const char *path;
  int array;         /* the objects are items of one array; else each is a line */
  size_t at, line;   /* behind what was read; lines are counted from 1 */
  size_t n, dropped; /* objects so far; bytes that need not be in memory any more */
  int ended;         /* an array has */
};

/* An object, or what stands in its place. */
struct dataset_slice {
  const char *text;
  size_t n;
  size_t number, line; /* from 1: among the objects; where it begins in the file */
};

/* Whether a file of that name holds objects. */
int qtk_dataset_is_rows(const char *path);

int qtk_dataset_rows_open(const char *path, struct dataset_rows *rows);
void qtk_dataset_rows_close(struct dataset_rows *rows);
/* The next one; *more is 0 behind the last. */
int qtk_dataset_rows_next(struct dataset_rows *rows, struct dataset_slice *slice, int *more);
/* Slices that were given are not needed any more. */
void qtk_dataset_rows_drop(struct dataset_rows *rows);

/* Puts file and place of a slice before this thread's message; returns `code`. */
int qtk_dataset_rows_at(int code, const struct dataset_rows *rows,
                        const struct dataset_slice *slice);

#endif
