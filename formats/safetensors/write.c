/* SPDX-License-Identifier: BSD-3-Clause
 * The writer: every file of the folder under a temporary name until all are
 * whole and on the disk, then all renamed, config.json last. */
#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_PIECE 16384 /* values converted at a time */

struct writer {
  const struct qtk_export *model;
  struct safetensors_layout layout;
  char *path;
  int folder; /* descriptor of it */
  int made;   /* by us */

  int fd;      /* of the file being written, or -1 */
  int shard;   /* its number */
  int tensor;  /* the next to come */
  int64_t row; /* its next row */

  char (*files)[256]; /* those whole under their temporary names */
  int n_files, n_renamed;
  uint64_t bytes, rounded;
  float again[WRITE_PIECE];
  unsigned char buffer[WRITE_PIECE * sizeof(float)];
};

static void writer_temporary(char temporary[280], const char *name)
{
  snprintf(temporary, 280, ".%s.tmp", name);
}

static int writer_failed(const struct writer *w, const char *name)
{
  return qtk_error(QTK_EINPUT, "%s/%s: cannot be written: %s", w->path, name, strerror(errno));
}

/* ---- bytes ------------------------------------------------------------------ */

/* Opens the next file for `bytes`, and claims them, so that a full disk is known
 * before the work. */
static int writer_open(struct writer *w, const char *name, uint64_t bytes)
{
  char temporary[280];
  writer_temporary(temporary, name);
  w->fd = openat(w->folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (w->fd < 0)
    return writer_failed(w, name);
  snprintf(w->files[w->n_files++], sizeof *w->files, "%s", name);
  if (bytes && fallocate(w->fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    return writer_failed(w, name);
  return QTK_OK;
}

static int writer_put(struct writer *w, const void *data, size_t n)
{
  const unsigned char *p = data;
  while (n > 0) {
    ssize_t done = write(w->fd, p, n);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return writer_failed(w, w->files[w->n_files - 1]);
    p += done;
    n -= (size_t)done;
    w->bytes += (uint64_t)done;
  }
  return QTK_OK;
}

static int writer_close(struct writer *w)
{
  int fd = w->fd;
  w->fd = -1;
  int failed = fsync(fd) != 0;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  failed |= close(fd) != 0;
  return failed ? writer_failed(w, w->files[w->n_files - 1]) : QTK_OK;
}

static int writer_text(struct writer *w, const char *name, const char *text)
{
  int rc = writer_open(w, name, strlen(text));
  if (rc == QTK_OK)
    rc = writer_put(w, text, strlen(text));
  return rc ? rc : writer_close(w);
}

/* ---- beginning ---------------------------------------------------------------- */

static int writer_folder(struct writer *w)
{
  w->made = mkdir(w->path, 0777) == 0;
  if (!w->made && errno != EEXIST)
    return qtk_error(QTK_EINPUT, "%s: the folder cannot be made: %s", w->path, strerror(errno));
  w->folder = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (w->folder < 0)
    return qtk_error(QTK_EINPUT, "%s: cannot be opened as a folder: %s", w->path, strerror(errno));
  return QTK_OK;
}

static int writer_texts(struct writer *w)
{
  char *config = safetensors_layout_config(&w->layout, w->model->config);
  int rc = config ? writer_text(w, "config.json", config) : QTK_EINPUT;
  free(config);
  if (rc == QTK_OK && w->model->tokenizer)
    rc = writer_text(w, "tokenizer.json", w->model->tokenizer);
  if (rc || w->layout.n_shards == 1)
    return rc;
  char *index = safetensors_layout_index(&w->layout, w->model);
  rc = index ? writer_text(w, "model.safetensors.index.json", index) : QTK_ENOMEM;
  free(index);
  return rc;
}

static int writer_shard(struct writer *w)
{
  struct safetensors_shard *shard = &w->layout.shards[w->shard];
  int rc = writer_open(w, shard->name, shard->header_bytes + shard->bytes);
  return rc ? rc : writer_put(w, shard->header, shard->header_bytes);
}

static int writer_begin(struct writer *w, const struct safetensors_options *options)
{
  int rc = safetensors_layout_make(&w->layout, options, w->model);
  if (rc)
    return rc;
  w->files = calloc((size_t)w->layout.n_shards + 3, sizeof *w->files);
  if (!w->files)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of files");
  rc = writer_folder(w);
  if (rc == QTK_OK)
    rc = writer_texts(w);
  return rc ? rc : writer_shard(w);
}

int safetensors_create(struct qtk_context *ctx, const void *options, const char *path,
                       const struct qtk_export *model, void **out)
{
  (void)ctx;
  *out = NULL;
  struct writer *w = calloc(1, sizeof *w);
  if (!w)
    return qtk_error(QTK_ENOMEM, "out of memory for a writer");
  w->model = model;
  w->folder = w->fd = -1;
  w->path = strdup(path);
  int rc = w->path ? writer_begin(w, options) : qtk_error(QTK_ENOMEM, "out of memory for a path");
  if (rc)
    safetensors_abort(w);
  else
    *out = w;
  return rc;
}

/* ---- tensors --------------------------------------------------------------------- */

/* The first value that the type cannot hold: 65520 rounds up past the largest f16. */
static int writer_check(const struct writer *w, const float *rows, size_t n)
{
  float limit = w->layout.dtype == QTK_F32   ? INFINITY
                : w->layout.dtype == QTK_F16 ? 65520.0f
                                             : 0x1.ffp127f;
  for (size_t i = 0; i < n; i++)
    if (!(fabsf(rows[i]) < limit))
      return qtk_error(QTK_ENUMERIC, "tensor '%s': the value %g cannot be written as %s",
                       w->model->tensors[w->tensor].name, (double)rows[i],
                       qtk_dtype_name(w->layout.dtype));
  return QTK_OK;
}

/* Counts the values that are not read back as they are. */
static int writer_compare(struct writer *w, const float *rows, size_t n)
{
  int rc = qtk_convert(QTK_F32, w->again, w->layout.dtype, w->buffer, n);
  for (size_t i = 0; i < n && w->layout.dtype != QTK_F32; i++)
    w->rounded += w->again[i] != rows[i];
  return rc;
}

static int writer_rows(struct writer *w, const float *rows, size_t n)
{
  size_t size = qtk_dtype_size(w->layout.dtype);
  int rc = QTK_OK;
  for (size_t i = 0; i < n && rc == QTK_OK; i += WRITE_PIECE) {
    size_t piece = n - i < WRITE_PIECE ? n - i : WRITE_PIECE;
    rc = writer_check(w, rows + i, piece);
    if (rc == QTK_OK)
      rc = qtk_convert(w->layout.dtype, w->buffer, QTK_F32, rows + i, piece);
    if (rc == QTK_OK)
      rc = writer_compare(w, rows + i, piece);
    if (rc == QTK_OK)
      rc = writer_put(w, w->buffer, piece * size);
  }
  return rc;
}

/* On to the next tensor, and to the next file after the last one of a shard. */
static int writer_next(struct writer *w)
{
  const struct safetensors_shard *shard = &w->layout.shards[w->shard];
  w->row = 0;
  w->tensor++;
  if (w->tensor < shard->first + shard->n)
    return QTK_OK;
  int rc = writer_close(w);
  w->shard++;
  return rc || w->shard == w->layout.n_shards ? rc : writer_shard(w);
}

int safetensors_write(void *out, int i, int64_t row, int64_t n, const float *rows,
                      const struct qtk_qtensor *quantized)
{
  struct writer *w = out;
  if (i < 0 || i >= w->model->n_tensors)
    return qtk_error(QTK_EUSAGE, "tensor %d: the export has %d", i, w->model->n_tensors);
  const struct qtk_export_tensor *t = &w->model->tensors[i];
  int64_t cols = t->ndim ? t->shape[t->ndim - 1] : 1, total = 1;
  for (int k = 0; k < t->ndim - 1; k++)
    total *= t->shape[k];
  if (quantized || !rows)
    return qtk_error(QTK_EUSAGE, "tensor '%s': only float rows can be written", t->name);
  if (i != w->tensor || row != w->row || n < 0 || n > total - row)
    return qtk_error(QTK_EUSAGE,
                     "%lld rows from %lld on of tensor %d: tensor %d, row %lld is the next to be "
                     "written",
                     (long long)n, (long long)row, i, w->tensor, (long long)w->row);
  int rc = writer_rows(w, rows, (size_t)(n * cols));
  w->row += n;
  return rc || w->row < total ? rc : writer_next(w);
}

/* ---- ending ------------------------------------------------------------------------- */

static int writer_ours(const struct writer *w, const char *name)
{
  for (int i = 0; i < w->n_files; i++)
    if (strcmp(w->files[i], name) == 0)
      return 1;
  return 0;
}

/* "model-00002-of-00003.safetensors" and its like. */
static int writer_is_weights(const char *name)
{
  int part, parts, end = 0;
  if (strcmp(name, "model.safetensors") == 0 || strcmp(name, "model.safetensors.index.json") == 0)
    return 1;
  return sscanf(name, "model-%5d-of-%5d.safetensors%n", &part, &parts, &end) == 2 && end > 0 &&
         name[end] == 0;
}

/* Weights of an earlier export would be read instead of, or beside, these. */
static void writer_remove_old(struct writer *w)
{
  unlinkat(w->folder, "config.json", 0);
  int fd = dup(w->folder);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir)
    return;
  rewinddir(dir);
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
    if (writer_is_weights(entry->d_name) && !writer_ours(w, entry->d_name))
      unlinkat(w->folder, entry->d_name, 0);
  closedir(dir);
}

static int writer_rename(struct writer *w, int i)
{
  char temporary[280];
  writer_temporary(temporary, w->files[i]);
  if (renameat(w->folder, temporary, w->folder, w->files[i]) != 0)
    return writer_failed(w, w->files[i]);
  w->n_renamed++;
  return QTK_OK;
}

/* config.json is file 0 and comes last: a folder without it is no model. */
static int writer_place(struct writer *w)
{
  writer_remove_old(w);
  int rc = QTK_OK;
  for (int i = w->n_files - 1; i >= 0 && rc == QTK_OK; i--)
    rc = writer_rename(w, i);
  if (rc == QTK_OK && fsync(w->folder) != 0)
    rc = qtk_error(QTK_EINPUT, "%s: cannot be synced: %s", w->path, strerror(errno));
  return rc;
}

static void writer_free(struct writer *w)
{
  if (w->fd >= 0)
    close(w->fd);
  if (w->folder >= 0)
    close(w->folder);
  safetensors_layout_free(&w->layout);
  free(w->files);
  free(w->path);
  free(w);
}

void safetensors_abort(void *out)
{
  struct writer *w = out;
  if (!w)
    return;
  for (int i = 0; i < w->n_files; i++) {
    char temporary[280];
    writer_temporary(temporary, w->files[i]);
    int renamed = i >= w->n_files - w->n_renamed;
    unlinkat(w->folder, renamed ? w->files[i] : temporary, 0);
  }
  if (w->made)
    rmdir(w->path);
  writer_free(w);
}

int safetensors_finish(void *out, struct qtk_export_result *result)
{
  struct writer *w = out;
  int rc = QTK_OK;
  if (w->tensor < w->model->n_tensors)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': only %lld of its rows were written",
                   w->model->tensors[w->tensor].name, (long long)w->row);
  else if (w->fd >= 0) /* an export without tensors has an open file */
    rc = writer_close(w);
  if (rc == QTK_OK)
    rc = writer_place(w);
  if (rc) {
    safetensors_abort(w);
    return rc;
  }
  result->bytes = w->bytes;
  result->n_files = w->n_files;
  result->files = w->files;
  result->rounded = w->rounded;
  w->files = NULL;
  writer_free(w);
  return QTK_OK;
}
