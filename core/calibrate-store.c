/* SPDX-License-Identifier: BSD-3-Clause
 * Where hidden states of a calibration lie between one block and the next. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/calibrate-inner.h"
#include "core/error.h"
#include "core/str.h"

/* A file without a name: nothing is left of it, however the run ends. */
static int store_create(const char *dir, struct calibrate_store *s)
{
  char *path = qtk_str_format("%s/.activations.XXXXXX.tmp", dir);
  if (path == NULL)
    return QTK_ENOMEM;
  s->file = mkostemps(path, 4, O_CLOEXEC);
  int rc = s->file >= 0 ? QTK_OK
                        : qtk_error_errno(QTK_EINPUT, errno, "%s: cannot make a file there", dir);
  if (rc == QTK_OK)
    unlink(path);
  free(path);
  return rc;
}

int qtk_store_open(struct qtk_context *ctx, const char *dir, int64_t pieces, size_t piece,
                   struct calibrate_store *s)
{
  *s = (struct calibrate_store){.ctx = ctx, .piece = piece, .pieces = pieces, .file = -1};
  int rc = dir != NULL ? store_create(dir, s) : QTK_OK;
  if (rc == QTK_OK && dir != NULL && !qtk_device_is_host(ctx)) {
    s->host = qtk_alloc(ctx, piece, "activations");
    rc = s->host != NULL ? QTK_OK : QTK_ENOMEM;
  }
  if (rc == QTK_OK)
    rc = qtk_device_alloc(ctx, piece * (dir != NULL ? 1 : (size_t)pieces), "activations",
                          &s->memory);
  return rc;
}

void qtk_store_close(struct calibrate_store *s)
{
  if (s->ctx == NULL)
    return;
  qtk_device_free(s->ctx, s->memory);
  qtk_free(s->ctx, s->host);
  if (s->file >= 0)
    close(s->file);
  *s = (struct calibrate_store){0};
}

/* Reads or writes a whole piece of the file. */
static int store_move(struct calibrate_store *s, int64_t i, int write)
{
  char *place = s->host != NULL ? s->host : s->memory;
  for (size_t done = 0; done < s->piece;) {
    off_t at = (off_t)((size_t)i * s->piece + done);
    ssize_t n = write ? pwrite(s->file, place + done, s->piece - done, at)
                      : pread(s->file, place + done, s->piece - done, at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return qtk_error_errno(QTK_EINPUT, n < 0 ? errno : EIO, "hidden states cannot be %s a file",
                             write ? "written to" : "read from");
    done += (size_t)n;
  }
  return QTK_OK;
}

int qtk_store_get(struct calibrate_store *s, int64_t i, void **memory)
{
  *memory = (char *)s->memory + (s->file < 0 ? (size_t)i * s->piece : 0);
  if (s->file < 0)
    return QTK_OK;
  off_t end = lseek(s->file, 0, SEEK_END);
  if (end < (off_t)((size_t)(i + 1) * s->piece)) /* nothing was put there yet */
    return QTK_OK;
  int rc = store_move(s, i, 0);
  if (rc != QTK_OK || s->host == NULL)
    return rc;
  return qtk_device_upload(s->ctx, s->memory, s->host, s->piece);
}

int qtk_store_put(struct calibrate_store *s, int64_t i)
{
  int rc = QTK_OK;
  if (s->file < 0)
    return QTK_OK;
  if (s->host != NULL)
    rc = qtk_device_download(s->ctx, s->host, s->memory, s->piece);
  return rc == QTK_OK ? store_move(s, i, 1) : rc;
}
