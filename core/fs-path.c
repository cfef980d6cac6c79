/* SPDX-License-Identifier: BSD-3-Clause
 * Folders and paths. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/str.h"
#include "core/vec.h"

/* ---- texts -------------------------------------------------------------------------- */

char *qtk_path_join(const char *dir, const char *name)
{
  size_t n = dir == NULL ? 0 : strlen(dir);

  if (n == 0 || name[0] == '/')
    return qtk_str_copy(name);
  return qtk_str_format("%s%s%s", dir, dir[n - 1] == '/' ? "" : "/", name);
}

const char *qtk_path_base(const char *path)
{
  const char *slash = strrchr(path, '/');

  return slash == NULL ? path : slash + 1;
}

char *qtk_path_dir(const char *path)
{
  size_t n = (size_t)(qtk_path_base(path) - path);

  while (n > 1 && path[n - 1] == '/')
    n--;
  return n == 0 ? qtk_str_copy(".") : qtk_str_format("%.*s", (int)n, path);
}

int qtk_path_ends(const char *path, const char *suffix)
{
  size_t n = strlen(path), m = strlen(suffix);

  return n >= m && strcmp(path + n - m, suffix) == 0;
}

/* ---- questions ------------------------------------------------------------------------ */

int qtk_path_exists(const char *path)
{
  struct stat st;

  return stat(path, &st) == 0;
}

int qtk_path_is_dir(const char *path)
{
  struct stat st;

  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int qtk_path_size(const char *path, uint64_t *bytes)
{
  struct stat st;

  if (stat(path, &st) != 0)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  *bytes = (uint64_t)st.st_size;
  return QTK_OK;
}

/* Goes up until something exists: the file may not be there yet, nor its folder. */
int qtk_disk_free(const char *path, uint64_t *bytes)
{
  char *at = qtk_str_copy(path);
  struct statvfs fs;
  int rc = at == NULL ? QTK_ENOMEM : QTK_OK;

  while (rc == QTK_OK && statvfs(at, &fs) != 0) {
    int err = errno;
    char *up = qtk_path_dir(at);
    if (up == NULL)
      rc = QTK_ENOMEM;
    else if (err != ENOENT || strcmp(up, at) == 0)
      rc = qtk_error_errno(QTK_EINPUT, err, "%s", path);
    free(at);
    at = up;
  }
  free(at);
  if (rc == QTK_OK)
    *bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
  return rc;
}

/* ---- folders ---------------------------------------------------------------------------- */

static int path_make(const char *path)
{
  int err;

  if (mkdir(path, 0777) == 0)
    return QTK_OK;
  err = errno;
  if (err == EEXIST && qtk_path_is_dir(path))
    return QTK_OK;
  return qtk_error_errno(QTK_EINPUT, err, "%s: cannot make the folder", path);
}

int qtk_make_dirs(const char *path)
{
  char *copy = qtk_str_copy(path);
  int rc = copy == NULL ? QTK_ENOMEM : QTK_OK;

  for (char *p = copy; rc == QTK_OK && *p != '\0'; p++)
    if (*p == '/' && p > copy && p[-1] != '/') {
      *p = '\0';
      rc = path_make(copy);
      *p = '/';
    }
  if (rc == QTK_OK)
    rc = path_make(copy);
  free(copy);
  return rc;
}

static int path_remove_in(int dir, const char *name, const char *path);

/* Empties the open folder; closes it. */
static int path_empty(DIR *folder, const char *path)
{
  struct dirent *entry;
  int rc = QTK_OK;

  while (rc == QTK_OK && (entry = readdir(folder)) != NULL)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      rc = path_remove_in(dirfd(folder), entry->d_name, path);
  closedir(folder);
  return rc;
}

/* Removes dir/name, with what is in it; `path` is for messages. */
static int path_remove_in(int dir, const char *name, const char *path)
{
  DIR *folder;
  int fd, rc;

  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
    return QTK_OK;
  fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  folder = fd < 0 ? NULL : fdopendir(fd);
  if (folder == NULL) {
    rc = qtk_error_errno(QTK_EINPUT, errno, "%s: cannot remove \"%s\"", path, name);
    if (fd >= 0)
      close(fd);
    return rc;
  }
  rc = path_empty(folder, path);
  if (rc == QTK_OK && unlinkat(dir, name, AT_REMOVEDIR) != 0)
    rc = qtk_error_errno(QTK_EINPUT, errno, "%s: cannot remove \"%s\"", path, name);
  return rc;
}

int qtk_remove_tree(const char *path)
{
  return path_remove_in(AT_FDCWD, path, path);
}

static int path_compare(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One block: pointers to `n` texts that stand one after the other in `text`. */
static int path_pack(const struct qtk_str *text, size_t n, char ***names)
{
  size_t head = (n + 1) * sizeof **names;
  char **block = malloc(head + text->length + 1);
  char *p = (char *)block + head;

  if (block == NULL)
    return qtk_error_memory(head + text->length, "a folder's names");
  if (text->length > 0)
    memcpy(p, text->data, text->length);
  for (size_t i = 0; i < n; i++, p += strlen(p) + 1)
    block[i] = p;
  block[n] = NULL;
  qsort(block, n, sizeof *block, path_compare);
  *names = block;
  return QTK_OK;
}

int qtk_list_dir(const char *path, char ***names, size_t *n)
{
  DIR *folder = opendir(path);
  struct qtk_str text = {0};
  struct dirent *entry;
  int rc = QTK_OK;

  *names = NULL;
  *n = 0;
  if (folder == NULL)
    return qtk_error_errno(QTK_EINPUT, errno, "%s", path);
  while (rc == QTK_OK && (entry = readdir(folder)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    rc = qtk_str_add_bytes(&text, entry->d_name, strlen(entry->d_name) + 1);
    ++*n;
  }
  closedir(folder);
  if (rc == QTK_OK)
    rc = path_pack(&text, *n, names);
  qtk_str_free(&text);
  return rc;
}
