/* SPDX-License-Identifier: BSD-3-Clause
 * Files that are whole or absent. The temporary file has a fixed name and is
 * locked: a second writer is refused, and what a killed one left is used again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/str.h"

#define WRITE_BUFFER ((size_t)256 << 10)

static int write_failed(struct qtk_writer *w, int err)
{
  w->failed = 1;
  return qtk_error_errno(QTK_EINPUT, err, "%s: cannot write", w->path);
}

/* ---- opening ---------------------------------------------------------------------- */

static char *write_temp_name(const char *path)
{
  size_t dir = (size_t)(qtk_path_base(path) - path);

  return qtk_str_format("%.*s.%s.tmp", (int)dir, path, path + dir);
}

/* 1 if the locked file is still the one of that name, and not one that its last
 * owner renamed or removed before we got the lock. */
static int write_is_current(const struct qtk_writer *w)
{
  struct stat by_name, by_fd;

  return fstat(w->fd, &by_fd) == 0 && lstat(w->temp, &by_name) == 0 &&
         by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev;
}

static int write_lock(struct qtk_writer *w)
{
  for (int tries = 0; tries < 100; tries++) {
    w->fd = open(w->temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd < 0)
      return write_failed(w, errno);
    if (flock(w->fd, LOCK_EX | LOCK_NB) != 0) {
      int busy = errno == EWOULDBLOCK, err = errno;
      close(w->fd);
      w->fd = -1;
      return busy ? qtk_error(QTK_EINPUT, "%s: another process is writing it", w->path)
                  : write_failed(w, err);
    }
    if (write_is_current(w))
      return ftruncate(w->fd, 0) == 0 ? QTK_OK : write_failed(w, errno);
    close(w->fd);
    w->fd = -1;
  }
  return qtk_error(QTK_EINPUT, "%s: another process is writing it", w->path);
}

static int write_prepare(struct qtk_writer *w, const char *path)
{
  struct stat st;

  w->path = qtk_str_copy(path);
  if (w->path == NULL)
    return QTK_ENOMEM;
  if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "%s: exists and is not a regular file", path);
  if (*qtk_path_base(path) == '\0')
    return qtk_error(QTK_EINPUT, "\"%s\" names no file", path);
  w->temp = write_temp_name(path);
  w->buffer = malloc(WRITE_BUFFER);
  if (w->temp == NULL || w->buffer == NULL)
    return qtk_error_memory(WRITE_BUFFER, "writing a file");
  return write_lock(w);
}

static void write_end(struct qtk_writer *w)
{
  if (w->fd >= 0)
    close(w->fd);
  free(w->buffer);
  free(w->temp);
  free(w->path);
  *w = (struct qtk_writer){.fd = -1};
}

int qtk_writer_open(struct qtk_writer *w, const char *path)
{
  int rc;

  *w = (struct qtk_writer){.fd = -1};
  rc = write_prepare(w, path);
  if (rc != QTK_OK)
    qtk_writer_abort(w);
  return rc;
}

/* ---- writing ------------------------------------------------------------------------ */

static int write_all(struct qtk_writer *w, uint64_t offset, const uint8_t *data, size_t n)
{
  while (n > 0) {
    ssize_t done = pwrite(w->fd, data, n, (off_t)offset);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return write_failed(w, done == 0 ? ENOSPC : errno);
    data += done;
    offset += (uint64_t)done;
    n -= (size_t)done;
  }
  return QTK_OK;
}

static int write_flush(struct qtk_writer *w)
{
  size_t n = w->buffered;

  w->buffered = 0;
  return write_all(w, w->offset - n, w->buffer, n);
}

static int write_check(struct qtk_writer *w)
{
  if (w->path == NULL)
    return qtk_error(QTK_EINTERNAL, "writing to a file that is not open");
  if (w->failed)
    return qtk_error(QTK_EINPUT, "%s: an earlier write failed", w->path);
  return QTK_OK;
}

int qtk_writer_put(struct qtk_writer *w, const void *data, size_t n)
{
  int rc = write_check(w);

  if (rc == QTK_OK && n > WRITE_BUFFER - w->buffered)
    rc = write_flush(w);
  if (rc != QTK_OK || n == 0)
    return rc;
  if (n >= WRITE_BUFFER) {
    rc = write_all(w, w->offset, data, n);
  } else {
    memcpy(w->buffer + w->buffered, data, n);
    w->buffered += n;
  }
  w->offset += n;
  return rc;
}

int qtk_writer_put_at(struct qtk_writer *w, uint64_t offset, const void *data, size_t n)
{
  int rc = write_check(w);

  if (rc == QTK_OK && (offset > w->offset || n > w->offset - offset))
    rc = qtk_error(QTK_EINTERNAL, "%s: writing over bytes that were not written", w->path);
  if (rc == QTK_OK)
    rc = write_flush(w);
  return rc == QTK_OK ? write_all(w, offset, data, n) : rc;
}

int qtk_writer_align(struct qtk_writer *w, size_t align)
{
  static const uint8_t zeros[64];
  size_t rest = align > 0 ? (size_t)((align - w->offset % align) % align) : 0;
  int rc = QTK_OK;

  while (rc == QTK_OK && rest > 0) {
    size_t n = rest < sizeof zeros ? rest : sizeof zeros;
    rc = qtk_writer_put(w, zeros, n);
    rest -= n;
  }
  return rc;
}

static int write_sync(struct qtk_writer *w, uint64_t from, uint64_t to, unsigned flags)
{
  if (to > from && sync_file_range(w->fd, (off_t)from, (off_t)(to - from), flags) != 0 &&
      errno != ENOSYS && errno != ESPIPE && errno != EINVAL)
    return write_failed(w, errno);
  return QTK_OK;
}

int qtk_writer_drop(struct qtk_writer *w)
{
  int rc = write_check(w);

  if (rc == QTK_OK)
    rc = write_flush(w);
  /* The disk works on the new bytes while we wait for the old ones. */
  if (rc == QTK_OK)
    rc = write_sync(w, w->sent, w->offset, SYNC_FILE_RANGE_WRITE);
  if (rc == QTK_OK)
    rc = write_sync(w, w->dropped, w->sent,
                    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                        SYNC_FILE_RANGE_WAIT_AFTER);
  if (rc != QTK_OK)
    return rc;
  if (w->sent > w->dropped)
    posix_fadvise(w->fd, (off_t)w->dropped, (off_t)(w->sent - w->dropped), POSIX_FADV_DONTNEED);
  w->dropped = w->sent;
  w->sent = w->offset / 4096 * 4096;
  return QTK_OK;
}

/* ---- ending ------------------------------------------------------------------------- */

static int write_sync_dir(struct qtk_writer *w)
{
  char *dir = qtk_path_dir(w->path);
  int fd, rc = QTK_OK;

  if (dir == NULL)
    return QTK_ENOMEM;
  fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  /* Some file systems cannot sync a folder; the file itself is safe by now. */
  if (fd >= 0 && fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)
    rc = write_failed(w, errno);
  if (fd >= 0)
    close(fd);
  free(dir);
  return rc;
}

int qtk_writer_commit(struct qtk_writer *w)
{
  int rc = write_check(w);

  if (rc == QTK_OK)
    rc = write_flush(w);
  if (rc == QTK_OK && fsync(w->fd) != 0)
    rc = write_failed(w, errno);
  if (rc == QTK_OK && rename(w->temp, w->path) != 0)
    rc = write_failed(w, errno);
  if (rc != QTK_OK) {
    qtk_writer_abort(w);
    return rc;
  }
  rc = write_sync_dir(w);
  write_end(w);
  return rc;
}

void qtk_writer_abort(struct qtk_writer *w)
{
  if (w->path == NULL)
    return;
  if (w->fd >= 0)
    unlink(w->temp);
  write_end(w);
}

int qtk_write_file(const char *path, const void *data, size_t n)
{
  struct qtk_writer w;
  int rc = qtk_writer_open(&w, path);

  if (rc != QTK_OK)
    return rc;
  rc = qtk_writer_put(&w, data, n);
  if (rc == QTK_OK)
    return qtk_writer_commit(&w);
  qtk_writer_abort(&w);
  return rc;
}
