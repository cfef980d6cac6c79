/* SPDX-License-Identifier: BSD-3-Clause
 * The promises of a format about files that are cut off or damaged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/check-format.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/random.h"

#define DAMAGE_BYTES (64u << 20) /* larger samples are not copied */
#define DAMAGE_FLIPS 25          /* in a piece */
#define DAMAGE_PIECES 8
#define DAMAGE_PADDING 64 /* a file may end in so many bytes that nobody needs */
#define DAMAGE_HEAD 8192  /* the bytes that flips fall into: headers */

/* A copy of the sample, one file of which is damaged. */
struct damage {
  struct qtk_check *c;
  int small;  /* the smallest file is damaged, not the largest */
  char *copy; /* of the sample: what is opened */
  char *file; /* in it: the one to damage */
  char *data; /* of that file */
  size_t size;
};

/* ---- the copy ------------------------------------------------------------------------- */

static int damage_copy_file(const char *from, const char *to)
{
  char *data;
  size_t size;
  int status = qtk_read_file(from, DAMAGE_BYTES, &data, &size);
  if (status != QTK_OK)
    return status;
  status = qtk_write_file(to, data, size);
  free(data);
  return status;
}

/* File `name` of a folder; *most is the size of the one to damage so far, d->file it. */
static int damage_copy_name(struct damage *d, const char *sample, const char *name,
                            uint64_t *most)
{
  uint64_t size;
  char *from = qtk_path_join(sample, name), *to = qtk_path_join(d->copy, name);
  int status = from && to ? QTK_OK : QTK_ENOMEM;
  if (status == QTK_OK && !qtk_path_is_dir(from)) {
    status = damage_copy_file(from, to);
    if (status == QTK_OK && qtk_path_size(to, &size) == QTK_OK &&
        (d->small ? size <= *most : size >= *most)) {
      *most = size;
      free(d->file);
      d->file = to;
      to = NULL;
    }
  }
  free(from);
  free(to);
  return status;
}

static int damage_copy_folder(struct damage *d, const char *sample)
{
  char **names;
  size_t n;
  uint64_t most = d->small ? UINT64_MAX : 0;
  int status = qtk_list_dir(sample, &names, &n);
  if (status != QTK_OK)
    return status;
  status = qtk_make_dirs(d->copy);
  for (size_t i = 0; i < n && status == QTK_OK; i++)
    status = damage_copy_name(d, sample, names[i], &most);
  free(names);
  return status;
}

/* Keeps the name: a format may look at its end. */
static int damage_begin(struct damage *d, const char *sample)
{
  char *home = qtk_path_join(d->c->folder, "damaged");
  int status = home ? qtk_make_dirs(home) : QTK_ENOMEM;
  d->copy = home ? qtk_path_join(home, qtk_path_base(sample)) : NULL;
  free(home);
  if (status != QTK_OK || d->copy == NULL)
    return QTK_ENOMEM;
  status = qtk_remove_tree(d->copy);
  if (status != QTK_OK)
    return status;
  if (qtk_path_is_dir(sample)) {
    status = damage_copy_folder(d, sample);
  } else {
    status = damage_copy_file(sample, d->copy);
    d->file = qtk_path_join(NULL, d->copy);
  }
  if (status != QTK_OK)
    return status;
  return d->file ? qtk_read_file(d->file, DAMAGE_BYTES, &d->data, &d->size)
                 : qtk_error(QTK_EINPUT, "%s: no file in it", sample);
}

static void damage_end(struct damage *d)
{
  free(d->copy);
  free(d->file);
  free(d->data);
}

/* ---- what is done with it ------------------------------------------------------------------ */

static void damage_use_tensor(const struct qtk_format_ops *ops, void *h, int i)
{
  struct qtk_tensor_info info;
  int64_t rows, cols;
  if (ops->tensor(h, i, &info) != 1 || !qtk_check_format_rows(&info, &rows, &cols) || rows < 1 ||
      cols > 1 << 20)
    return;
  float *row = malloc((size_t)cols * sizeof *row + 1);
  if (row == NULL)
    return;
  ops->read(h, i, 0, 1, row, cols);
  ops->read(h, i, rows - 1, 1, row, cols);
  ops->read(h, i, rows / 2, 1, row, cols);
  free(row);
}

/* Opens the copy and, if that works, looks at all of it; what `open` returned. */
static int damage_use(struct damage *d)
{
  const struct qtk_format_ops *ops = &d->c->plugin->ops.format;
  struct qtk_tensor_info info;
  void *h = NULL;
  int status = ops->open(d->c->ctx, d->copy, &h);
  if (status != QTK_OK)
    return status;
  for (int i = 0; i < 4096 && ops->tensor(h, i, &info) == 1; i++)
    damage_use_tensor(ops, h, i);
  qtk_check_format_is_adapter(d->c, h);
  ops->config(h);
  if (ops->tokenizer != NULL)
    ops->tokenizer(h);
  if (ops->text != NULL)
    ops->text(h, "chat_template");
  ops->close(h);
  return QTK_OK;
}

static int damage_cut(struct damage *d)
{
  const double shares[] = {0, 0.0001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98};
  int status = QTK_OK;
  for (size_t i = 0; i < sizeof shares / sizeof *shares && status == QTK_OK; i++) {
    size_t n = (size_t)((double)d->size * shares[i]);
    if (n + DAMAGE_PADDING > d->size)
      continue;
    qtk_check_doing(d->c, "a file cut off after %zu of %zu bytes", n, d->size);
    status = qtk_write_file(d->file, d->data, n);
    if (status != QTK_OK)
      break;
    int opened = damage_use(d);
    qtk_check_that(d->c, opened == QTK_EINPUT && *qtk_error_message(),
                   "refuses a file that is cut off", "after %zu of %zu bytes: open returned %d", n,
                   d->size, opened);
  }
  return status;
}

static int damage_flip(struct damage *d, int piece)
{
  struct qtk_random_key key = {9, 9, (uint64_t)piece};
  size_t room = d->size < DAMAGE_HEAD ? d->size : DAMAGE_HEAD;
  int status = QTK_OK;
  for (uint64_t i = 0; i < DAMAGE_FLIPS && status == QTK_OK && room > 0; i++) {
    uint64_t bits = qtk_random_seeded_bits(1, &key, i);
    size_t at = (size_t)((bits >> 8) % room);
    char kept = d->data[at];
    d->data[at] = (char)(kept ^ (1 << (bits & 7)));
    qtk_check_doing(d->c, "bit %d of byte %zu flipped", (int)(bits & 7), at);
    status = qtk_write_file(d->file, d->data, d->size);
    d->data[at] = kept;
    if (status != QTK_OK)
      break;
    int opened = damage_use(d);
    qtk_check_that(d->c, opened == QTK_OK || (opened == QTK_EINPUT && *qtk_error_message()),
                   "opens a damaged file, or refuses it with QTK_EINPUT",
                   "bit %d of byte %zu: open returned %d", (int)(bits & 7), at, opened);
  }
  return status;
}

static int damage_sample(struct qtk_check *c, const char *sample, int piece, int small)
{
  struct damage d = {.c = c, .small = small};
  uint64_t size = 0;
  if (!qtk_path_is_dir(sample) && qtk_path_size(sample, &size) == QTK_OK && size > DAMAGE_BYTES) {
    qtk_check_skip(c, "refuses a file that is cut off", "the sample is larger than %u MiB",
                   DAMAGE_BYTES >> 20);
    return 0;
  }
  int status = damage_begin(&d, sample);
  if (status == QTK_OK)
    status = piece == 0 ? damage_cut(&d) : damage_flip(&d, piece);
  damage_end(&d);
  return status < 0 ? status : 1;
}

/* Adapters are read whole when they are opened, and so the other file of a folder too. */
static int damage_is_small(const struct qtk_check *c, const char *sample)
{
  const struct qtk_format_ops *ops = &c->plugin->ops.format;
  return ops->adapter != NULL && ops->create == NULL && qtk_path_is_dir(sample);
}

int qtk_check_format_damage(struct qtk_check *c, int i)
{
  int small = i > DAMAGE_PIECES, piece = small ? i - DAMAGE_PIECES - 1 : i;
  if (piece > DAMAGE_PIECES)
    return 0;
  char *sample = qtk_check_format_sample(c, "refuses a file that is cut off");
  int status = sample && (!small || damage_is_small(c, sample))
                   ? damage_sample(c, sample, piece, small)
                   : 0;
  free(sample);
  return status;
}
