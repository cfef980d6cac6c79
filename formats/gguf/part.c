/* SPDX-License-Identifier: BSD-3-Clause
 * One file: mapped, its header read. */
#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_HEAD 24 /* magic, version, two counts */
#define PART_ALIGN_MAX 65536
#define PART_KV_LEAST 14     /* bytes of the shortest key and value */
#define PART_TENSOR_LEAST 25 /* and tensor */

static int part_map_fd(struct gguf_part *part, int fd)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return qtk_error(QTK_EINPUT, "%s", strerror(errno));
  if (!S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "not a regular file");
  if (st.st_size < PART_HEAD)
    return qtk_error(QTK_EINPUT, "%lld bytes: a GGUF file begins with a head of %d",
                     (long long)st.st_size, PART_HEAD);
  void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED)
    return qtk_error(errno == ENOMEM ? QTK_ENOMEM : QTK_EINPUT, "cannot be mapped: %s",
                     strerror(errno));
  part->map = map;
  part->size = (size_t)st.st_size;
  return QTK_OK;
}

static int part_map(struct gguf_part *part, const char *path)
{
  /* A named pipe must not block here; fstat tells what it is. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return qtk_error(QTK_EINPUT, "%s", strerror(errno));
  int rc = part_map_fd(part, fd);
  close(fd);
  return rc;
}

/* Versions are small numbers: one with its low half empty was written the other
 * way round. */
static int part_version(struct gguf_cursor *c)
{
  uint32_t version = 0;
  const unsigned char *magic;
  int rc = gguf_take(c, 4, &magic, "the magic");
  if (rc == QTK_OK && memcmp(magic, "GGUF", 4) != 0 && memcmp(magic, "FUGG", 4) != 0)
    rc = qtk_error(QTK_EINPUT, "does not begin with GGUF");
  if (rc == QTK_OK)
    rc = gguf_take_u32(c, &version, "the version");
  if (rc)
    return rc;
  if (*magic == 'F' || (version != 0 && (version & 0xffff) == 0))
    return qtk_error(QTK_EINPUT, "a big-endian GGUF file: only little-endian ones are read");
  if (version == 1)
    return qtk_error(QTK_EINPUT, "GGUF version 1, which had other lengths: 2 and 3 are read");
  if (version != 2 && version != 3)
    return qtk_error(QTK_EINPUT, "GGUF version %u: 2 and 3 are read", version);
  return QTK_OK;
}

static int part_count(struct gguf_cursor *c, uint64_t *n, uint64_t least, const char *what)
{
  int rc = gguf_take_u64(c, n, what);
  if (rc == QTK_OK && *n > gguf_left(c) / least)
    rc = qtk_error(QTK_EINPUT, "%s is %llu: the file's other %llu bytes have no room for them (cut off?)",
                   what, (unsigned long long)*n, (unsigned long long)gguf_left(c));
  return rc;
}

static int part_align(const struct gguf_meta *meta, uint64_t *align)
{
  *align = 32;
  int rc = gguf_meta_uint(meta, "general.alignment", align);
  if (rc < 0)
    return rc;
  if (*align < 1 || *align > PART_ALIGN_MAX || (*align & (*align - 1)) != 0)
    return qtk_error(QTK_EINPUT, "general.alignment is %llu: a power of two up to %d is allowed",
                     (unsigned long long)*align, PART_ALIGN_MAX);
  return QTK_OK;
}

static int part_parse(struct gguf_part *part, struct gguf_tensors *tensors)
{
  struct gguf_cursor c = {part->map, part->map, part->map + part->size};
  uint64_t n_tensors = 0, n_kvs = 0, align;
  size_t first = tensors->n;
  int rc = part_version(&c);
  if (rc == QTK_OK)
    rc = part_count(&c, &n_tensors, PART_TENSOR_LEAST, "the number of tensors");
  if (rc == QTK_OK)
    rc = part_count(&c, &n_kvs, PART_KV_LEAST, "the number of keys");
  if (rc == QTK_OK)
    rc = gguf_meta_read(&c, n_kvs, &part->meta);
  if (rc == QTK_OK)
    rc = gguf_tensors_read(&c, n_tensors, tensors);
  if (rc == QTK_OK)
    rc = part_align(&part->meta, &align);
  if (rc)
    return rc;
  uint64_t begin = ((uint64_t)(c.at - c.begin) + align - 1) / align * align;
  if (begin > part->size) /* nothing follows the header: fine without tensors */
    begin = part->size;
  return gguf_tensors_place(tensors, first, part->map + begin, part->size - begin, align);
}

int gguf_part_open(struct gguf_part *part, const char *path, struct gguf_tensors *tensors)
{
  *part = (struct gguf_part){0};
  int rc = part_map(part, path);
  if (rc == QTK_OK)
    rc = part_parse(part, tensors);
  return rc ? qtk_error_at(rc, "%s", path) : QTK_OK;
}

void gguf_part_close(struct gguf_part *part)
{
  if (part->map)
    munmap(part->map, part->size);
  free(part->meta.kvs);
  *part = (struct gguf_part){0};
}

/* Pages that the tensor shares with its neighbours go too: they come back from
 * the file when they are touched. */
void gguf_part_drop(const struct gguf_tensor *tensor)
{
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = (uintptr_t)tensor->data & ~(page - 1);
  uintptr_t end = ((uintptr_t)tensor->data + tensor->bytes + page - 1) & ~(page - 1);
  madvise((void *)begin, end - begin, MADV_DONTNEED);
}
