/* SPDX-License-Identifier: BSD-3-Clause
 * An opened model file: which format, and its tensors by name. */
#include "core/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/str.h"
#include "core/vec.h"

#define SOURCE_HEAD 4096          /* bytes that a probe sees */
#define SOURCE_MAX_TENSORS 1000000

/* ---- the best bid ------------------------------------------------------------------ */

struct source_bids {
  const char *path;
  const void *head; /* NULL for a folder */
  size_t n;
  const struct qtk_loaded *best, *tie;
  int bid;
  struct qtk_str names; /* of all formats asked */
};

static void source_bid(struct source_bids *b, const struct qtk_loaded *format)
{
  int bid = format->ops.format.probe(b->path, b->head, b->n);

  qtk_str_printf(&b->names, "%s%s", b->names.length > 0 ? ", " : "", format->plugin.name);
  if (bid <= 0 || bid < b->bid)
    return;
  b->tie = bid == b->bid ? b->best : NULL;
  b->best = format;
  b->bid = bid;
}

static int source_ask(struct source_bids *b, const char *const *built_in)
{
  struct qtk_candidate *list;
  const struct qtk_loaded *format;
  size_t n;
  int rc = qtk_registry_scan(&list, &n);

  for (; rc == QTK_OK && built_in != NULL && *built_in != NULL; built_in++)
    if (qtk_registry_get(QTK_FORMAT, *built_in, &format) == QTK_OK)
      source_bid(b, format);
  for (size_t i = 0; rc == QTK_OK && i < n; i++) {
    if (list[i].kind != QTK_FORMAT)
      continue;
    if (qtk_registry_get(QTK_FORMAT, list[i].name, &format) == QTK_OK)
      source_bid(b, format);
    else
      qtk_debug("%s", qtk_error_message());
  }
  if (rc == QTK_OK)
    qtk_registry_candidates_free(list, n);
  return rc;
}

static int source_decide(struct source_bids *b)
{
  char *names = qtk_str_take(&b->names);
  int rc = QTK_OK;

  if (names == NULL)
    return QTK_ENOMEM;
  if (b->best == NULL)
    rc = qtk_error(QTK_EINPUT, "%s: none of the formats reads it; there are: %s", b->path,
                   *names != '\0' ? names : "none (QTK_PLUGIN_PATH names their folders)");
  else if (b->tie != NULL)
    rc = qtk_error(QTK_EINPUT, "%s: two formats, %s and %s, bid %d for it", b->path,
                   b->tie->plugin.name, b->best->plugin.name, b->bid);
  free(names);
  return rc;
}

/* The first bytes of a file; a folder has none. */
static int source_head(const char *path, char head[SOURCE_HEAD], size_t *n)
{
  FILE *f = fopen(path, "rb");

  if (f == NULL)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  *n = fread(head, 1, SOURCE_HEAD, f);
  int failed = ferror(f);
  int err = errno;
  fclose(f);
  return failed ? qtk_error_errno(QTK_EINPUT, err, "%s", path) : QTK_OK;
}

static int source_format(const char *path, const char *const *built_in,
                         const struct qtk_loaded **format)
{
  char head[SOURCE_HEAD];
  struct source_bids bids = {.path = path};
  int rc = QTK_OK;

  if (!qtk_path_is_dir(path)) {
    bids.head = head;
    rc = source_head(path, head, &bids.n);
  }
  if (rc == QTK_OK)
    rc = source_ask(&bids, built_in);
  if (rc == QTK_OK)
    rc = source_decide(&bids);
  qtk_str_free(&bids.names);
  *format = bids.best;
  return rc;
}

/* ---- tensors --------------------------------------------------------------------------- */

static int source_compare(const void *a, const void *b, void *arg)
{
  const struct qtk_source *s = arg;

  return strcmp(s->tensors[*(const int *)a].name, s->tensors[*(const int *)b].name);
}

static int source_list(struct qtk_source *s)
{
  QTK_VEC(struct qtk_tensor_info) list = {0};
  struct qtk_tensor_info info = {0};
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && s->ops->tensor(s->h, i, &info); i++) {
    rc = i < SOURCE_MAX_TENSORS ? qtk_vec_push(&list, info)
                                : qtk_error(QTK_EINPUT, "%s: too many tensors", s->path);
    info = (struct qtk_tensor_info){0};
  }
  s->tensors = list.data;
  s->n = (int)list.length;
  return rc;
}

static int source_sort(struct qtk_source *s)
{
  s->by_name = calloc((size_t)s->n + 1, sizeof *s->by_name);
  if (s->by_name == NULL)
    return qtk_error_memory((size_t)s->n * sizeof *s->by_name, "names of tensors");
  for (int i = 0; i < s->n; i++)
    s->by_name[i] = i;
  if (s->n > 0)
    qsort_r(s->by_name, (size_t)s->n, sizeof *s->by_name, source_compare, s);
  return QTK_OK;
}

int qtk_source_find(const struct qtk_source *s, const char *name)
{
  int low = 0, high = s->n;

  while (low < high) {
    int middle = low + (high - low) / 2;
    int order = strcmp(s->tensors[s->by_name[middle]].name, name);
    if (order == 0)
      return s->by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return -1;
}

int64_t qtk_source_rows_of(const struct qtk_source *s, int i)
{
  int64_t rows = 1;

  for (int d = 0; d + 1 < s->tensors[i].ndim; d++)
    rows *= s->tensors[i].shape[d];
  return rows;
}

int64_t qtk_source_cols_of(const struct qtk_source *s, int i)
{
  const struct qtk_tensor_info *t = &s->tensors[i];

  return t->ndim > 0 ? t->shape[t->ndim - 1] : 1;
}

/* ---- open and close ------------------------------------------------------------------------ */

static int source_open(struct qtk_context *ctx, const char *const *built_in, struct qtk_source *s)
{
  int rc = source_format(s->path, built_in, &s->format);

  if (rc != QTK_OK)
    return rc;
  s->ops = &s->format->ops.format;
  rc = s->ops->open(ctx, s->path, &s->h);
  if (rc != QTK_OK) {
    s->h = NULL;
    return rc;
  }
  rc = source_list(s);
  return rc == QTK_OK ? source_sort(s) : rc;
}

int qtk_source_open(struct qtk_context *ctx, const char *path, const char *const *built_in,
                    struct qtk_source **source)
{
  struct qtk_source *s = calloc(1, sizeof *s);
  int rc;

  *source = NULL;
  if (s == NULL)
    return qtk_error_memory(sizeof *s, "a model file");
  s->path = qtk_str_copy(path);
  rc = s->path == NULL ? QTK_ENOMEM : source_open(ctx, built_in, s);
  if (rc != QTK_OK) {
    qtk_source_close(s);
    return rc;
  }
  *source = s;
  return QTK_OK;
}

void qtk_source_close(struct qtk_source *s)
{
  if (s == NULL)
    return;
  if (s->h != NULL)
    s->ops->close(s->h);
  free(s->by_name);
  free(s->tensors);
  free(s->path);
  free(s);
}
