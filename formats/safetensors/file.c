/* SPDX-License-Identifier: BSD-3-Clause
 * A weight file, mapped. */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_map(struct safetensors_file *file, int fd, const char *path)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return qtk_error(QTK_EINPUT, "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "%s: not a regular file", path);
  if (st.st_size < 10)
    return qtk_error(QTK_EINPUT,
                     "%s: %lld bytes: a safetensors file begins with 8 bytes of length and a "
                     "header",
                     path, (long long)st.st_size);
  void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED)
    return qtk_error(errno == ENOMEM ? QTK_ENOMEM : QTK_EINPUT, "%s: cannot be mapped: %s", path,
                     strerror(errno));
  file->map = map;
  file->size = (size_t)st.st_size;
  return QTK_OK;
}

int safetensors_file_open(struct safetensors_file *file, const char *path)
{
  *file = (struct safetensors_file){0};
  /* A named pipe must not block here; fstat tells what it is. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return qtk_error(QTK_EINPUT, "%s: %s", path, strerror(errno));
  int rc = file_map(file, fd, path);
  close(fd);
  return rc;
}

void safetensors_file_close(struct safetensors_file *file)
{
  if (file->map)
    munmap(file->map, file->size);
  *file = (struct safetensors_file){0};
}

void safetensors_file_drop(const struct safetensors_tensor *tensor)
{
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = (uintptr_t)tensor->data & ~(page - 1);
  uintptr_t end = ((uintptr_t)tensor->data + tensor->bytes + page - 1) & ~(page - 1);
  if (tensor->bytes > 0)
    madvise((void *)begin, end - begin, MADV_DONTNEED);
}
