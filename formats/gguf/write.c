/* SPDX-License-Identifier: BSD-3-Clause
 * The writer: one file under a temporary name until it is whole and on the disk. */
#include "write.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_PIECE 65536        /* values encoded at a time */
#define WRITE_DROP (64u << 20)   /* bytes until what is on the disk leaves the page cache */

struct writer {
  const struct qtk_export *model;
  struct gguf_image image;
  char *path, *temporary;
  int fd;
  uint64_t at, dropped; /* bytes written; out of the page cache */
  int tensor;           /* the next to come */
  int64_t row;          /* its next row */
  uint64_t rounded;
  unsigned char *buffer;
  float *again;
  uint8_t *codes;
};

enum qtk_export_how gguf_accepts(const void *options, const struct qtk_export_tensor *t)
{
  struct gguf_choice choice;
  return gguf_choose(options, t, &choice) == QTK_OK ? choice.how : QTK_EXPORT_REFUSED;
}

int gguf_measure(const void *options, const struct qtk_export *model, uint64_t *bytes)
{
  struct gguf_image image;
  int rc = gguf_image_make(&image, options, model);
  if (rc == QTK_OK)
    gguf_warn_tokenizer(model);
  *bytes = image.bytes;
  gguf_image_free(&image);
  return rc;
}

/* ---- bytes ------------------------------------------------------------------------- */

static int writer_failed(const struct writer *w)
{
  return qtk_error(QTK_EINPUT, "%s: cannot be written: %s", w->path, strerror(errno));
}

static int writer_put(struct writer *w, const void *data, size_t n)
{
  const unsigned char *p = data;
  while (n > 0) {
    ssize_t done = write(w->fd, p, n);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return writer_failed(w);
    p += done;
    n -= (size_t)done;
    w->at += (uint64_t)done;
  }
  if (w->at - w->dropped > WRITE_DROP && fdatasync(w->fd) == 0) {
    posix_fadvise(w->fd, (off_t)w->dropped, (off_t)(w->at - w->dropped), POSIX_FADV_DONTNEED);
    w->dropped = w->at;
  }
  return QTK_OK;
}

static int writer_align(struct writer *w)
{
  static const unsigned char zeros[GGUF_ALIGN];
  return writer_put(w, zeros, (size_t)(w->image.offsets[w->tensor] - w->at));
}

/* ---- beginning ------------------------------------------------------------------------- */

/* ".NAME.tmp" beside the file. */
static char *writer_temporary(const char *path)
{
  const char *slash = strrchr(path, '/');
  int folder = slash ? (int)(slash + 1 - path) : 0;
  size_t room = strlen(path) + 8;
  char *temporary = malloc(room);
  if (temporary)
    snprintf(temporary, room, "%.*s.%s.tmp", folder, path, path + folder);
  return temporary;
}

/* Claims the file's bytes, so that a full disk is known before the work. */
static int writer_open(struct writer *w)
{
  struct stat st;
  if (stat(w->path, &st) == 0 && !S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "%s: is there, and is no file; the path of a file is wanted",
                     w->path);
  w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (w->fd < 0)
    return writer_failed(w);
  if (fallocate(w->fd, 0, 0, (off_t)w->image.bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    return writer_failed(w);
  return writer_put(w, w->image.head, (size_t)w->image.head_bytes);
}

static int writer_rooms(struct writer *w)
{
  int64_t most = 0;
  for (int i = 0; i < w->model->n_tensors; i++) {
    int64_t rows, cols;
    gguf_image_sides(&w->model->tensors[i], &rows, &cols);
    most = cols > most ? cols : most;
  }
  size_t values = (size_t)(most > WRITE_PIECE ? most : WRITE_PIECE);
  w->buffer = malloc(values * sizeof(float));
  w->again = malloc(WRITE_PIECE * sizeof *w->again);
  w->codes = malloc(values);
  return w->buffer && w->again && w->codes
             ? QTK_OK
             : qtk_error(QTK_ENOMEM, "out of memory for rows of %lld values", (long long)most);
}

int gguf_create(struct qtk_context *ctx, const void *options, const char *path,
                const struct qtk_export *model, void **out)
{
  (void)ctx;
  struct writer *w = calloc(1, sizeof *w);
  *out = NULL;
  if (!w)
    return qtk_error(QTK_ENOMEM, "out of memory for a writer");
  w->model = model;
  w->fd = -1;
  w->path = strdup(path);
  w->temporary = writer_temporary(path);
  int rc = w->path && w->temporary ? gguf_image_make(&w->image, options, model)
                                   : qtk_error(QTK_ENOMEM, "out of memory for a path");
  if (rc == QTK_OK)
    rc = writer_rooms(w);
  if (rc == QTK_OK)
    rc = writer_open(w);
  if (rc)
    gguf_abort(w);
  else
    *out = w;
  return rc;
}

/* ---- tensors ------------------------------------------------------------------------------ */

static const struct gguf_type *writer_type(const struct writer *w)
{
  return w->image.choices[w->tensor].type;
}

/* Counts the values that are not read back as they are. */
static void writer_compare(struct writer *w, const float *values, int64_t n)
{
  const struct gguf_type *type = writer_type(w);
  type->floats(w->buffer, w->again, n / type->block);
  for (int64_t i = 0; i < n; i++)
    w->rounded += w->again[i] != values[i];
}

static int writer_rows(struct writer *w, const float *values, int64_t n)
{
  const struct gguf_type *type = writer_type(w);
  int rc = QTK_OK;
  for (int64_t i = 0; i < n && rc == QTK_OK; i += WRITE_PIECE) {
    int64_t piece = n - i < WRITE_PIECE ? n - i : WRITE_PIECE;
    rc = gguf_encode_floats(type, values + i, piece, w->buffer);
    if (rc)
      return qtk_error_at(rc, "tensor '%s'", w->model->tensors[w->tensor].name);
    if (type->id != 0)
      writer_compare(w, values + i, piece);
    rc = writer_put(w, w->buffer, (size_t)(piece / type->block) * (size_t)type->bytes);
  }
  return rc;
}

static int writer_quantized(struct writer *w, const struct qtk_qtensor *t)
{
  const struct gguf_type *type = writer_type(w);
  size_t row_bytes = (size_t)(t->layout.cols / type->block) * (size_t)type->bytes;
  int rc = QTK_OK;
  for (int64_t row = 0; row < t->layout.rows && rc == QTK_OK; row++) {
    rc = gguf_encode_row(type, t, row, w->codes, w->buffer);
    if (rc)
      return qtk_error_at(rc, "tensor '%s'", w->model->tensors[w->tensor].name);
    rc = writer_put(w, w->buffer, row_bytes);
  }
  return rc;
}

/* That the call is the one that is next. */
static int writer_expects(const struct writer *w, int i, int64_t row, int64_t n, int64_t rows,
                          int quantized)
{
  const struct qtk_export_tensor *t = &w->model->tensors[i];
  if (quantized != qtk_export_is_quantized(t))
    return qtk_error(QTK_EUSAGE, "tensor '%s': %s wanted", t->name,
                     quantized ? "float rows are" : "the quantized tensor is");
  if (i == w->tensor && row == w->row && n >= 0 && n <= rows - row && (!quantized || n == rows))
    return QTK_OK;
  return qtk_error(QTK_EUSAGE,
                   "%lld rows from %lld on of tensor %d: tensor %d, row %lld is the next to be "
                   "written",
                   (long long)n, (long long)row, i, w->tensor, (long long)w->row);
}

int gguf_write(void *out, int i, int64_t row, int64_t n, const float *rows,
               const struct qtk_qtensor *quantized)
{
  struct writer *w = out;
  int64_t all, cols;
  if (i < 0 || i >= w->model->n_tensors)
    return qtk_error(QTK_EUSAGE, "tensor %d: the export has %d", i, w->model->n_tensors);
  gguf_image_sides(&w->model->tensors[i], &all, &cols);
  int rc = writer_expects(w, i, row, n, all, quantized != NULL);
  if (rc == QTK_OK && row == 0)
    rc = writer_align(w);
  if (rc == QTK_OK)
    rc = quantized ? writer_quantized(w, quantized) : writer_rows(w, rows, n * cols);
  if (rc)
    return rc;
  w->row += n;
  if (w->row == all) {
    w->row = 0;
    w->tensor++;
  }
  return QTK_OK;
}

/* ---- ending ----------------------------------------------------------------------------------- */

static void writer_free(struct writer *w)
{
  if (w->fd >= 0)
    close(w->fd);
  gguf_image_free(&w->image);
  free(w->path);
  free(w->temporary);
  free(w->buffer);
  free(w->again);
  free(w->codes);
  free(w);
}

void gguf_abort(void *out)
{
  struct writer *w = out;
  if (!w)
    return;
  if (w->fd >= 0)
    unlink(w->temporary);
  writer_free(w);
}

/* The folder's entry is on the disk too. */
static int writer_sync_folder(const struct writer *w)
{
  const char *slash = strrchr(w->path, '/');
  char *folder = slash == w->path ? strdup("/")
                 : slash          ? strndup(w->path, (size_t)(slash - w->path))
                                  : strdup(".");
  int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int failed = fd < 0 || fsync(fd) != 0;
  if (fd >= 0)
    close(fd);
  free(folder);
  return failed ? writer_failed(w) : QTK_OK;
}

static int writer_place(struct writer *w)
{
  int rc = writer_align(w);
  if (rc == QTK_OK && fsync(w->fd) != 0)
    rc = writer_failed(w);
  posix_fadvise(w->fd, 0, 0, POSIX_FADV_DONTNEED);
  if (rc == QTK_OK && rename(w->temporary, w->path) != 0)
    rc = writer_failed(w);
  return rc ? rc : writer_sync_folder(w);
}

static int writer_result(struct writer *w, struct qtk_export_result *result)
{
  const char *slash = strrchr(w->path, '/');
  result->files = calloc(1, sizeof *result->files);
  if (!result->files)
    return qtk_error(QTK_ENOMEM, "out of memory for the name of a file");
  snprintf(result->files[0], sizeof result->files[0], "%s", slash ? slash + 1 : w->path);
  result->n_files = 1;
  result->bytes = w->at;
  result->rounded = w->rounded;
  return QTK_OK;
}

int gguf_finish(void *out, struct qtk_export_result *result)
{
  struct writer *w = out;
  int rc = QTK_OK;
  if (w->tensor < w->model->n_tensors)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': only %lld of its rows were written",
                   w->model->tensors[w->tensor].name, (long long)w->row);
  if (rc == QTK_OK)
    rc = writer_result(w, result);
  if (rc == QTK_OK && (rc = writer_place(w)) != QTK_OK) {
    free(result->files);
    result->files = NULL;
  }
  if (rc)
    gguf_abort(w);
  else
    writer_free(w);
  return rc;
}
