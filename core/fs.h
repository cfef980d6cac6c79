/* SPDX-License-Identifier: BSD-3-Clause
 * Files: bounded reading, read-only maps, writing that is whole or absent.
 * Messages name the path and the system's reason; missing or unreadable input
 * is QTK_EINPUT, and so is output that cannot be written. Paths are freed with
 * free. */
#ifndef QTK_CORE_FS_H
#define QTK_CORE_FS_H

#include <qtk/base.h>

/* ---- reading --------------------------------------------------------------- */

/* The whole file in new memory (freed with free) with a zero byte behind it.
 * More than `max` bytes is an error. */
QTK_PUBLIC int qtk_read_file(const char *path, size_t max, char **data, size_t *size);

/* A file mapped read-only. The empty file has data NULL. */
struct qtk_map {
  const uint8_t *data;
  size_t size;
  char *path;
};

QTK_PUBLIC int qtk_map_open(const char *path, struct qtk_map *map);
QTK_PUBLIC void qtk_map_close(struct qtk_map *map); /* {0} is fine */
/* Where bytes [offset, offset + bytes) lie, or NULL with QTK_EINPUT set if the
 * file does not have them. */
QTK_PUBLIC const void *qtk_map_at(const struct qtk_map *map, uint64_t offset, uint64_t bytes);
/* Tells the kernel that the whole pages of a range will not (drop) or will soon
 * (want) be used. Dropped pages come back from the file when touched. */
QTK_PUBLIC void qtk_map_drop(const struct qtk_map *map, uint64_t offset, uint64_t bytes);
QTK_PUBLIC void qtk_map_want(const struct qtk_map *map, uint64_t offset, uint64_t bytes);

/* ---- writing ---------------------------------------------------------------- */

/* A file that appears under its name, whole and synced, when committed. Until
 * then it is ".NAME.tmp" beside it, locked; what a killed run left there is
 * written over. */
struct qtk_writer {
  int fd;
  char *path, *temp;
  uint64_t offset; /* bytes put so far */
  uint64_t sent, dropped; /* up to here to the disk; out of the page cache */
  uint8_t *buffer;
  size_t buffered;
  int failed; /* a put failed: commit will too */
};

QTK_PUBLIC int qtk_writer_open(struct qtk_writer *w, const char *path);
QTK_PUBLIC int qtk_writer_put(struct qtk_writer *w, const void *data, size_t n);
/* Writes over bytes already put (a header that is filled in last). */
QTK_PUBLIC int qtk_writer_put_at(struct qtk_writer *w, uint64_t offset, const void *data, size_t n);
/* Zero bytes up to the next multiple of `align`. */
QTK_PUBLIC int qtk_writer_align(struct qtk_writer *w, size_t align);
/* Sends what was put to the disk, without waiting for it, and gives the page cache of what
 * earlier calls sent back. To be called every few MiB. */
QTK_PUBLIC int qtk_writer_drop(struct qtk_writer *w);
/* fsync, rename, fsync of the folder. Ends the writer, whatever it returns; on an
 * error the temporary file is gone. */
QTK_PUBLIC int qtk_writer_commit(struct qtk_writer *w);
/* Ends the writer and removes the temporary file. After a commit, or on {0},
 * nothing happens. */
QTK_PUBLIC void qtk_writer_abort(struct qtk_writer *w);

/* All of the above in one. */
QTK_PUBLIC int qtk_write_file(const char *path, const void *data, size_t n);

/* ---- folders and paths ------------------------------------------------------- */

QTK_PUBLIC int qtk_make_dirs(const char *path);   /* mkdir -p */
QTK_PUBLIC int qtk_remove_tree(const char *path); /* absent is fine; links are not followed */
/* The names in a folder, sorted by bytes, without "." and ".."; one block of
 * memory, ended by NULL, freed with free. */
QTK_PUBLIC int qtk_list_dir(const char *path, char ***names, size_t *n);

QTK_PUBLIC int qtk_path_exists(const char *path);
QTK_PUBLIC int qtk_path_is_dir(const char *path);
QTK_PUBLIC int qtk_path_size(const char *path, uint64_t *bytes);
/* dir/name; `name` alone if it is absolute or dir is NULL or "". NULL with
 * QTK_ENOMEM set. */
QTK_PUBLIC char *qtk_path_join(const char *dir, const char *name);
/* "a/b" of "a/b/c", "." of "c", "/" of "/c". NULL with QTK_ENOMEM set. */
QTK_PUBLIC char *qtk_path_dir(const char *path);
/* What follows the last slash, inside `path`. */
QTK_PUBLIC const char *qtk_path_base(const char *path);
QTK_PUBLIC int qtk_path_ends(const char *path, const char *suffix); /* 1 or 0 */

/* Bytes that this user may still write where `path` lies (or would lie). */
QTK_PUBLIC int qtk_disk_free(const char *path, uint64_t *bytes);

#endif
