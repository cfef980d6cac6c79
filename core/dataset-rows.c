/* SPDX-License-Identifier: BSD-3-Clause
 * The objects of a JSON file one by one, as the bytes that they take in it. */
#include "core/dataset-rows.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"

int qtk_dataset_is_rows(const char *path)
{
  return qtk_path_ends(path, ".jsonl") || qtk_path_ends(path, ".ndjson") ||
         qtk_path_ends(path, ".json");
}

static int rows_is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next byte that is no blank, or NULL at the end. */
static const char *rows_peek(struct dataset_rows *r)
{
  const char *data = (const char *)r->map.data;
  for (; r->at < r->map.size; r->at++) {
    if (!rows_is_blank(data[r->at]))
      return data + r->at;
    r->line += data[r->at] == '\n';
  }
  return NULL;
}

int qtk_dataset_rows_open(const char *path, struct dataset_rows *rows)
{
  static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as some editors leave it */
  *rows = (struct dataset_rows){.path = path, .line = 1};
  int rc = qtk_map_open(path, &rows->map);
  if (rc != QTK_OK)
    return rc;
  if (rows->map.size >= 3 && memcmp(rows->map.data, mark, 3) == 0)
    rows->at = 3;
  const char *first = rows_peek(rows);
  rows->array = qtk_path_ends(path, ".json") && first != NULL && *first == '[';
  rows->at += (size_t)rows->array;
  return QTK_OK;
}

void qtk_dataset_rows_close(struct dataset_rows *rows)
{
  qtk_map_close(&rows->map);
}

void qtk_dataset_rows_drop(struct dataset_rows *rows)
{
  qtk_map_drop(&rows->map, rows->dropped, rows->at - rows->dropped);
  rows->dropped = rows->at & ~(size_t)65535; /* what shares a page with the next stays */
}

int qtk_dataset_rows_at(int code, const struct dataset_rows *rows,
                        const struct dataset_slice *slice)
{
  if (rows->array)
    return qtk_error_at(code, "%s, item %zu (line %zu)", rows->path, slice->number, slice->line);
  return qtk_error_at(code, "%s, line %zu", rows->path, slice->line);
}

/* ---- lines ---------------------------------------------------------------------------------- */

static void rows_line(struct dataset_rows *r, const char *begin, struct dataset_slice *slice)
{
  size_t left = r->map.size - r->at;
  const char *newline = memchr(begin, '\n', left);
  slice->text = begin;
  slice->n = newline != NULL ? (size_t)(newline - begin) : left;
  r->at += slice->n;
  while (slice->n > 0 && rows_is_blank(begin[slice->n - 1]))
    slice->n--;
}

/* ---- an array ------------------------------------------------------------------------------- */

/* Behind the text in quotes that begins at `at`. */
static size_t rows_skip_text(const struct dataset_rows *r, size_t at)
{
  const char *data = (const char *)r->map.data;
  for (at++; at < r->map.size && data[at] != '"'; at++)
    at += data[at] == '\\';
  return at + 1;
}

/* Bytes of the object at `begin`, up to its last bracket; 0 if the file ends before. */
static size_t rows_object(struct dataset_rows *r)
{
  const char *data = (const char *)r->map.data;
  size_t begin = r->at, at = begin, depth = 0;
  while (at < r->map.size) {
    char c = data[at];
    size_t next = c == '"' ? rows_skip_text(r, at) : at + 1;
    depth += c == '{' || c == '[';
    depth -= c == '}' || c == ']';
    if (depth == 0)
      return next - begin;
    r->line += c == '\n';
    at = next;
  }
  return 0;
}

/* `at` NULL: the end of the file. */
static int rows_odd(const char *at, const char *wanted)
{
  char found[16] = "the end";
  if (at != NULL && *at > ' ' && *at < 0x7f)
    snprintf(found, sizeof found, "'%c'", *at);
  else if (at != NULL)
    snprintf(found, sizeof found, "byte 0x%02x", (unsigned char)*at);
  return qtk_error(QTK_EINPUT, "found %s, wanted: %s", found, wanted);
}

/* The comma between items, or what ends them. */
static int rows_between(struct dataset_rows *r, struct dataset_slice *slice, int *more)
{
  const char *at = rows_peek(r);
  *more = at != NULL && *at != ']';
  slice->line = r->line;
  if (at == NULL)
    return rows_odd(at, "a comma, or ']'");
  if (!*more) {
    r->at++;
    r->ended = 1;
    return rows_peek(r) == NULL ? QTK_OK
                                : qtk_error(QTK_EINPUT, "line %zu: there is more behind the array",
                                            r->line);
  }
  if (slice->number > 1 && *at != ',')
    return rows_odd(at, "a comma, or ']'");
  r->at += slice->number > 1;
  return QTK_OK;
}

static int rows_item(struct dataset_rows *r, struct dataset_slice *slice, int *more)
{
  int rc = rows_between(r, slice, more);
  if (rc != QTK_OK || !*more)
    return rc;
  const char *begin = rows_peek(r);
  slice->line = r->line;
  if (begin == NULL || *begin != '{')
    return rows_odd(begin, "an object");
  slice->text = begin;
  slice->n = rows_object(r);
  if (slice->n == 0)
    return qtk_error(QTK_EINPUT, "the file ends within the object");
  r->at += slice->n;
  return QTK_OK;
}

/* ---- both ----------------------------------------------------------------------------------- */

int qtk_dataset_rows_next(struct dataset_rows *rows, struct dataset_slice *slice, int *more)
{
  int rc = QTK_OK;
  const char *begin = rows->ended ? NULL : rows_peek(rows);
  *slice = (struct dataset_slice){.number = rows->n + 1, .line = rows->line};
  *more = begin != NULL;
  if (rows->array && !rows->ended)
    rc = rows_item(rows, slice, more);
  else if (*more)
    rows_line(rows, begin, slice);
  if (rc == QTK_OK && slice->n > DATASET_ROW_BYTES)
    rc = qtk_error(QTK_EINPUT, "an object of %zu bytes: at most %zu are read", slice->n,
                   DATASET_ROW_BYTES);
  rows->n += (size_t)*more;
  return rc == QTK_OK ? rc : qtk_dataset_rows_at(rc, rows, slice);
}
