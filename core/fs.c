/* SPDX-License-Identifier: BSD-3-Clause
 * Reading files, and maps of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/str.h"

static int fs_too_large(const char *path, size_t max)
{
  return qtk_error(QTK_EINPUT, "%s: larger than the %zu bytes allowed", path, max);
}

/* Reads to the end of fd, whatever its size was said to be. */
static int fs_read(int fd, const char *path, size_t max, struct qtk_str *text)
{
  static const size_t piece = 64 << 10;
  char *buffer = malloc(piece);
  ssize_t n = 1;
  int rc = buffer == NULL ? qtk_error_memory(piece, path) : QTK_OK;

  while (rc == QTK_OK && n != 0) {
    n = read(fd, buffer, piece);
    if (n < 0 && errno != EINTR)
      rc = qtk_error_errno(QTK_EINPUT, errno, "%s", path);
    else if (n > 0 && (size_t)n > max - text->length)
      rc = fs_too_large(path, max);
    else if (n > 0)
      rc = qtk_str_add_bytes(text, buffer, (size_t)n);
  }
  free(buffer);
  return rc;
}

int qtk_read_file(const char *path, size_t max, char **data, size_t *size)
{
  struct qtk_str text = {0};
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int rc = QTK_OK;

  *data = NULL;
  *size = 0;
  if (fd < 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
    rc = fs_too_large(path, max);
  if (rc == QTK_OK)
    rc = fs_read(fd, path, max, &text);
  close(fd);
  if (rc == QTK_OK) {
    *size = text.length;
    *data = qtk_str_take(&text);
    rc = *data == NULL ? QTK_ENOMEM : QTK_OK;
  }
  qtk_str_free(&text);
  return rc;
}

/* ---- maps ------------------------------------------------------------------------- */

static int fs_map(int fd, const char *path, struct qtk_map *map)
{
  struct stat st;
  void *data;

  if (fstat(fd, &st) != 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  if (!S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "%s: not a regular file", path);
  map->size = (size_t)st.st_size;
  if (map->size == 0)
    return QTK_OK;
  data = mmap(NULL, map->size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED)
    return qtk_error_errno(errno == ENOMEM ? QTK_ENOMEM : QTK_EINPUT, errno, "%s", path);
  map->data = data;
  return QTK_OK;
}

int qtk_map_open(const char *path, struct qtk_map *map)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int rc;

  *map = (struct qtk_map){0};
  if (fd < 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  map->path = qtk_str_copy(path);
  rc = map->path == NULL ? QTK_ENOMEM : fs_map(fd, path, map);
  close(fd);
  if (rc != QTK_OK)
    qtk_map_close(map);
  return rc;
}

void qtk_map_close(struct qtk_map *map)
{
  if (map->data != NULL)
    munmap((void *)(uintptr_t)map->data, map->size);
  free(map->path);
  *map = (struct qtk_map){0};
}

const void *qtk_map_at(const struct qtk_map *map, uint64_t offset, uint64_t bytes)
{
  if (offset > map->size || bytes > map->size - offset) {
    qtk_error(QTK_EINPUT, "%s: ends after %zu bytes, %llu wanted from %llu on: truncated?",
              map->path, map->size, (unsigned long long)bytes, (unsigned long long)offset);
    return NULL;
  }
  return map->data == NULL ? (const void *)"" : map->data + offset;
}

/* The whole pages within a range of the map; 0 bytes if there are none. Pages that
 * begin before the range are left alone: a neighbour may be using them. */
static size_t fs_pages(const struct qtk_map *map, uint64_t offset, uint64_t bytes, void **at)
{
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t first, last;

  if (map->data == NULL || offset > map->size || bytes > map->size - offset)
    return 0;
  first = (offset + page - 1) / page * page;
  last = offset + bytes;
  last = last == map->size ? last : last / page * page;
  if (first >= last)
    return 0;
  *at = (void *)(uintptr_t)(map->data + first);
  return (size_t)(last - first);
}

void qtk_map_drop(const struct qtk_map *map, uint64_t offset, uint64_t bytes)
{
  void *at;
  size_t n = fs_pages(map, offset, bytes, &at);

  if (n > 0)
    madvise(at, n, MADV_DONTNEED);
}

void qtk_map_want(const struct qtk_map *map, uint64_t offset, uint64_t bytes)
{
  void *at;
  size_t n = fs_pages(map, offset, bytes, &at);

  if (n > 0)
    madvise(at, n, MADV_WILLNEED);
}
