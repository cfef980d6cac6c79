/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a format about files that are not its own, and what the other parts
 * of its suite share. */
#include "core/check-format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/random.h"

/* ---- shared ------------------------------------------------------------------------ */

char *qtk_check_format_sample(struct qtk_check *c, const char *promise)
{
  char *path = c->options->sample ? qtk_path_join(NULL, c->options->sample)
                                  : qtk_path_join(c->folder, "model");
  if (path != NULL && qtk_path_exists(path))
    return path;
  free(path);
  path = c->options->sample ? NULL : qtk_path_join(c->folder, QTK_CHECK_ADAPTER);
  if (path != NULL && qtk_path_exists(path))
    return path;
  free(path);
  qtk_check_skip(c, promise, "there is no file to read: name one with --sample");
  return NULL;
}

int qtk_check_format_probe(struct qtk_check *c, const char *path, int *bid)
{
  const struct qtk_format_ops *ops = &c->plugin->ops.format;
  struct qtk_map map;
  *bid = 0;
  if (qtk_path_is_dir(path)) {
    *bid = ops->probe(path, NULL, 0);
  } else {
    int status = qtk_map_open(path, &map);
    if (status != QTK_OK)
      return status;
    /* What lies behind the head must not be looked at. */
    size_t n = map.size < 4096 ? map.size : 4096;
    void *head = malloc(n + 1);
    if (head != NULL && n > 0)
      memcpy(head, map.data, n);
    qtk_map_close(&map);
    if (head == NULL)
      return qtk_error_memory(n, "the head of a file");
    *bid = ops->probe(path, head, n);
    free(head);
  }
  qtk_check_that(c, *bid >= 0 && *bid <= 100, "bids 0 .. 100", "%d for %s", *bid,
                 qtk_path_base(path));
  return QTK_OK;
}

int qtk_check_format_rows(const struct qtk_tensor_info *info, int64_t *rows, int64_t *cols)
{
  *rows = 1;
  *cols = 1;
  if (info->ndim < 0 || info->ndim > QTK_MAX_DIMS)
    return 0;
  for (int k = 0; k < info->ndim; k++) {
    int64_t *side = k == info->ndim - 1 ? cols : rows;
    if (info->shape[k] < 0 || __builtin_mul_overflow(*side, info->shape[k], side))
      return 0;
  }
  int64_t both;
  return !__builtin_mul_overflow(*rows, *cols, &both);
}

float *qtk_check_format_all(const struct qtk_format_ops *ops, void *h, int tensor,
                            const struct qtk_tensor_info *info)
{
  int64_t rows, cols;
  if (!qtk_check_format_rows(info, &rows, &cols) || rows * cols > INT64_C(1) << 28) {
    qtk_error(QTK_EINPUT, "the tensor is too large");
    return NULL;
  }
  float *all = malloc((size_t)(rows * cols) * sizeof *all + 1);
  if (all == NULL) {
    qtk_error_memory((size_t)(rows * cols) * sizeof *all, "a tensor");
    return NULL;
  }
  if (ops->read(h, tensor, 0, rows, all, cols) == QTK_OK)
    return all;
  free(all);
  return NULL;
}

/* ---- what is not its own --------------------------------------------------------------- */

/* A path that is of no format: missing, a folder, or n bytes. */
struct stranger {
  const char *what, *name;
  int is_folder, is_missing, is_text;
  size_t n;
};

static const struct stranger strangers[] = {
    {"a missing file", "missing", 0, 1, 0, 0},
    {"an empty file", "empty", 0, 0, 0, 0},
    {"a file of 1 byte", "one", 0, 0, 0, 1},
    {"a file of 7 bytes", "seven", 0, 0, 0, 7},
    {"a file of 65536 random bytes", "random", 0, 0, 0, 65536},
    {"a text", "text", 0, 0, 1, 5000},
    {"an empty folder", "folder", 1, 0, 0, 0},
};

static int stranger_make(const struct stranger *s, const char *path)
{
  static const char words[] = "Neither weights nor a configuration. ";
  struct qtk_random_key key = {7, 7, 7};
  if (s->is_missing)
    return QTK_OK;
  if (s->is_folder)
    return qtk_make_dirs(path);
  uint8_t *data = malloc(s->n + 1);
  if (data == NULL)
    return qtk_error_memory(s->n, "a file");
  for (size_t i = 0; i < s->n; i++)
    data[i] = s->is_text ? (uint8_t)words[i % (sizeof words - 1)]
                         : (uint8_t)qtk_random_seeded_bits(1, &key, i);
  int status = qtk_write_file(path, data, s->n);
  free(data);
  return status;
}

static void stranger_open(struct qtk_check *c, const struct stranger *s, const char *path)
{
  static const char *const promise = "refuses what is not of its format with QTK_EINPUT";
  const struct qtk_format_ops *ops = &c->plugin->ops.format;
  void *h = NULL;
  qtk_check_doing(c, "open of %s", s->what);
  int status = ops->open(c->ctx, path, &h);
  qtk_check_that(c, status == QTK_EINPUT, promise, "open of %s returned %d", s->what, status);
  qtk_check_that(c, status == QTK_OK || strstr(qtk_error_message(), s->name) != NULL,
                 "names the file in its messages", "%s: '%s'", s->what, qtk_error_message());
  if (status == QTK_OK)
    ops->close(h);
}

static int stranger_try(struct qtk_check *c, const struct stranger *s, const char *path)
{
  int bid, status = stranger_make(s, path);
  if (status != QTK_OK)
    return status;
  if (!s->is_missing) {
    qtk_check_doing(c, "probe of %s", s->what);
    status = qtk_check_format_probe(c, path, &bid);
    if (status != QTK_OK)
      return status;
    qtk_check_that(c, bid == 0, "bids 0 for what is not of its format", "%d for %s", bid, s->what);
  }
  stranger_open(c, s, path);
  return 1;
}

static int strangers_run(struct qtk_check *c, int i)
{
  if (i >= (int)(sizeof strangers / sizeof *strangers))
    return 0;
  char *path = qtk_path_join(c->folder, strangers[i].name);
  int status = path ? stranger_try(c, &strangers[i], path) : QTK_ENOMEM;
  free(path);
  return status;
}

const struct qtk_check_section qtk_check_format[] = {{"strangers", strangers_run},
                                                     {"writing", qtk_check_format_write},
                                                     {"adapters", qtk_check_format_adapter},
                                                     {"reading", qtk_check_format_read},
                                                     {"damage", qtk_check_format_damage},
                                                     {NULL, NULL}};
