/* SPDX-License-Identifier: BSD-3-Clause
 * A folder being written: every file under a temporary name until all are whole and on
 * the disk, then all renamed, config.json last. */
#include "safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void folder_temporary(char temporary[280], const char *name)
{
  snprintf(temporary, 280, ".%s.tmp", name);
}

static int folder_failed(const struct safetensors_folder *f, const char *name)
{
  return qtk_error(QTK_EINPUT, "%s/%s: cannot be written: %s", f->path, name, strerror(errno));
}

/* ---- bytes ------------------------------------------------------------------ */

/* Opens the next file for `bytes`, and claims them, so that a full disk is known
 * before the work. */
static int folder_open(struct safetensors_folder *f, const char *name, uint64_t bytes)
{
  char temporary[280];
  folder_temporary(temporary, name);
  f->fd = openat(f->folder, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (f->fd < 0)
    return folder_failed(f, name);
  snprintf(f->files[f->n_files++], sizeof *f->files, "%s", name);
  if (bytes && fallocate(f->fd, 0, 0, (off_t)bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    return folder_failed(f, name);
  return QTK_OK;
}

static int folder_put(struct safetensors_folder *f, const void *data, size_t n)
{
  const unsigned char *p = data;
  while (n > 0) {
    ssize_t done = write(f->fd, p, n);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return folder_failed(f, f->files[f->n_files - 1]);
    p += done;
    n -= (size_t)done;
    f->bytes += (uint64_t)done;
  }
  return QTK_OK;
}

static int folder_close(struct safetensors_folder *f)
{
  int fd = f->fd;
  f->fd = -1;
  int failed = fsync(fd) != 0;
  posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  failed |= close(fd) != 0;
  return failed ? folder_failed(f, f->files[f->n_files - 1]) : QTK_OK;
}

static int folder_file(struct safetensors_folder *f, const char *name, const void *bytes, size_t n)
{
  int rc = folder_open(f, name, n);
  if (rc == QTK_OK)
    rc = folder_put(f, bytes, n);
  return rc ? rc : folder_close(f);
}

int safetensors_folder_text(struct safetensors_folder *f, const char *name, const char *text)
{
  return folder_file(f, name, text, strlen(text));
}

int safetensors_folder_measure(const struct safetensors_entry *entries, int n, uint64_t limit,
                               const struct qtk_export *model, uint64_t *bytes)
{
  struct safetensors_layout layout;
  struct safetensors_written files = {0};
  int rc = safetensors_layout_make(&layout, entries, n, limit);
  char *index = rc || layout.n_shards == 1 ? NULL : safetensors_layout_index(&layout);
  if (rc == QTK_OK)
    rc = safetensors_written_make(model, &files);
  *bytes += layout.bytes + (index ? strlen(index) : 0);
  for (int i = 0; i < layout.n_shards; i++)
    *bytes += layout.shards[i].header_bytes;
  for (int i = 0; i < files.n; i++)
    *bytes += files.items[i].n;
  free(index);
  safetensors_written_free(&files);
  safetensors_layout_free(&layout);
  return rc;
}

int safetensors_folder_texts(struct safetensors_folder *f, const struct qtk_export *model)
{
  struct safetensors_written files;
  int rc = safetensors_written_make(model, &files);
  if (rc)
    return rc;
  for (int i = 0; i < files.n && rc == QTK_OK; i++)
    rc = folder_file(f, files.items[i].name, files.items[i].bytes, files.items[i].n);
  safetensors_written_free(&files);
  return rc;
}

/* ---- beginning ---------------------------------------------------------------- */

static int folder_make(struct safetensors_folder *f)
{
  f->made = mkdir(f->path, 0777) == 0;
  if (!f->made && errno != EEXIST)
    return qtk_error(QTK_EINPUT, "%s: the folder cannot be made: %s", f->path, strerror(errno));
  f->folder = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (f->folder < 0)
    return qtk_error(QTK_EINPUT, "%s: cannot be opened as a folder: %s", f->path, strerror(errno));
  return QTK_OK;
}

static int folder_index(struct safetensors_folder *f)
{
  if (f->layout.n_shards == 1)
    return QTK_OK;
  char *index = safetensors_layout_index(&f->layout);
  int rc = index ? safetensors_folder_text(f, "model.safetensors.index.json", index) : QTK_ENOMEM;
  free(index);
  return rc;
}

int safetensors_folder_begin(struct safetensors_folder *f, const char *path,
                             const struct safetensors_entry *entries, int n, uint64_t limit)
{
  *f = (struct safetensors_folder){.folder = -1, .fd = -1, .path = strdup(path)};
  int rc = f->path ? safetensors_layout_make(&f->layout, entries, n, limit)
                   : qtk_error(QTK_ENOMEM, "out of memory for a path");
  if (rc)
    return rc;
  f->files = calloc((size_t)f->layout.n_shards + SAFETENSORS_FOLDER_TEXTS, sizeof *f->files);
  if (!f->files)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of files");
  rc = folder_make(f);
  return rc ? rc : folder_index(f);
}

/* ---- tensors --------------------------------------------------------------------- */

static int folder_shard(struct safetensors_folder *f)
{
  struct safetensors_shard *shard = &f->layout.shards[f->shard];
  f->left = shard->bytes;
  int rc = folder_open(f, shard->name, shard->header_bytes + shard->bytes);
  return rc ? rc : folder_put(f, shard->header, shard->header_bytes);
}

int safetensors_folder_data(struct safetensors_folder *f, const void *data, size_t n)
{
  int rc = f->fd < 0 ? folder_shard(f) : QTK_OK;
  if (rc == QTK_OK)
    rc = folder_put(f, data, n);
  f->left -= n;
  if (rc || f->left > 0)
    return rc;
  f->shard++;
  return folder_close(f);
}

int safetensors_folder_reopen(const struct safetensors_folder *f, int entry, int *fd,
                              uint64_t *offset)
{
  char temporary[280];
  int k = 0;
  while (entry >= f->layout.shards[k].first + f->layout.shards[k].n)
    k++;
  *offset = f->layout.shards[k].header_bytes;
  for (int i = f->layout.shards[k].first; i < entry; i++)
    *offset += safetensors_entry_bytes(&f->layout.entries[i]);
  folder_temporary(temporary, f->layout.shards[k].name);
  *fd = openat(f->folder, temporary, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  return *fd < 0 ? folder_failed(f, f->layout.shards[k].name) : QTK_OK;
}

/* ---- ending ------------------------------------------------------------------------- */

static int folder_ours(const struct safetensors_folder *f, const char *name)
{
  for (int i = 0; i < f->n_files; i++)
    if (strcmp(f->files[i], name) == 0)
      return 1;
  return 0;
}

/* "model-00002-of-00003.safetensors" and its like; what says how weights are packed; a
 * tokenizer, of which a reader takes the first kind that it finds. */
static int folder_is_model(const char *name)
{
  static const char *const names[] = {"model.safetensors", "model.safetensors.index.json",
                                      "quantize_config.json", "tokenizer.json", "tokenizer.model"};
  int part, parts, end = 0;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0)
      return 1;
  return sscanf(name, "model-%5d-of-%5d.safetensors%n", &part, &parts, &end) == 2 && end > 0 &&
         name[end] == 0;
}

/* Files of an earlier export would be read instead of, or beside, these. */
static void folder_remove_old(struct safetensors_folder *f)
{
  unlinkat(f->folder, "config.json", 0);
  int fd = dup(f->folder);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir)
    return;
  rewinddir(dir);
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
    if (folder_is_model(entry->d_name) && !folder_ours(f, entry->d_name))
      unlinkat(f->folder, entry->d_name, 0);
  closedir(dir);
}

static int folder_rename(struct safetensors_folder *f, int i)
{
  char temporary[280];
  folder_temporary(temporary, f->files[i]);
  if (renameat(f->folder, temporary, f->folder, f->files[i]) != 0)
    return folder_failed(f, f->files[i]);
  f->n_renamed++;
  return QTK_OK;
}

/* A folder without config.json is no model, so that it comes last. */
static int folder_place(struct safetensors_folder *f)
{
  char last[256];
  int rc = QTK_OK;
  for (int i = 0; i + 1 < f->n_files; i++)
    if (strcmp(f->files[i], "config.json") == 0) {
      memcpy(last, f->files[i], sizeof last);
      memcpy(f->files[i], f->files[f->n_files - 1], sizeof last);
      memcpy(f->files[f->n_files - 1], last, sizeof last);
    }
  folder_remove_old(f);
  for (int i = 0; i < f->n_files && rc == QTK_OK; i++)
    rc = folder_rename(f, i);
  if (rc == QTK_OK && fsync(f->folder) != 0)
    rc = qtk_error(QTK_EINPUT, "%s: cannot be synced: %s", f->path, strerror(errno));
  return rc;
}

/* A model without tensors has one file all the same. */
static int folder_last(struct safetensors_folder *f)
{
  int rc = QTK_OK;
  if (f->shard < f->layout.n_shards && f->layout.shards[f->shard].bytes == 0) {
    rc = folder_shard(f);
    f->shard++;
    if (rc == QTK_OK)
      rc = folder_close(f);
  }
  if (rc == QTK_OK && f->shard < f->layout.n_shards)
    rc = qtk_error(QTK_EUSAGE, "%s: %llu bytes of tensors are missing", f->path,
                   (unsigned long long)f->left);
  return rc;
}

int safetensors_folder_finish(struct safetensors_folder *f, struct qtk_export_result *result)
{
  int rc = folder_last(f);
  if (rc == QTK_OK)
    rc = folder_place(f);
  if (rc)
    return rc;
  result->bytes = f->bytes;
  result->n_files = f->n_files;
  result->files = f->files;
  f->files = NULL;
  f->n_files = 0;
  f->made = 0;
  return QTK_OK;
}

void safetensors_folder_end(struct safetensors_folder *f)
{
  for (int i = 0; i < f->n_files; i++) {
    char temporary[280];
    folder_temporary(temporary, f->files[i]);
    unlinkat(f->folder, i < f->n_renamed ? f->files[i] : temporary, 0);
  }
  if (f->fd >= 0)
    close(f->fd);
  if (f->folder >= 0)
    close(f->folder);
  if (f->made)
    rmdir(f->path);
  safetensors_layout_free(&f->layout);
  free(f->files);
  free(f->path);
}
