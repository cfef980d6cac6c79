/* SPDX-License-Identifier: BSD-3-Clause
 * For tests of format plugins: the plugin's slots, and files to open with them. */
#ifndef TESTS_FORMAT_H
#define TESTS_FORMAT_H

#define QTK_API 1
#include <qtk/format.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The plugin of that name in the folders of QTK_PLUGIN_PATH; ends the program if
 * it cannot be had. */
static inline const struct qtk_plugin *format_plugin(const char *name)
{
  const char *folders = getenv("QTK_PLUGIN_PATH");
  const struct qtk_plugin *(*entry)(void) = NULL;
  while (folders && *folders && !entry) {
    char path[4096];
    int n = (int)strcspn(folders, ":");
    snprintf(path, sizeof path, "%.*s/qtk-format-%s.so", n, folders, name);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (so)
      *(void **)&entry = dlsym(so, "qtk_plugin_entry");
    folders += n + (folders[n] == ':');
  }
  if (!entry) {
    printf("Bail out! qtk-format-%s.so is not in QTK_PLUGIN_PATH\n", name);
    exit(1);
  }
  return entry();
}

/* A file without a name, to be opened again and again with other bytes. */
struct format_memory {
  int fd;
  char path[64];
};

static inline struct format_memory format_memory(void)
{
  struct format_memory m = {.fd = memfd_create("format", MFD_CLOEXEC)};
  if (m.fd < 0)
    exit(1);
  snprintf(m.path, sizeof m.path, "/proc/self/fd/%d", m.fd);
  return m;
}

static inline void format_memory_set(struct format_memory *m, const void *data, size_t n)
{
  if (ftruncate(m->fd, 0) != 0 || pwrite(m->fd, data, n, 0) != (ssize_t)n)
    exit(1);
}

/* A folder of this test's own in the build folder, empty. */
static inline void format_scratch(char path[4096], const char *name)
{
  const char *build = getenv("QTK_BUILDDIR");
  char command[3 * 4096];
  snprintf(path, 4096, "%s/tests/scratch/%s", build ? build : ".", name);
  snprintf(command, sizeof command, "rm -rf '%s' && mkdir -p '%s'", path, path);
  if (system(command) != 0)
    exit(1);
}

static inline void format_scratch_remove(const char *path)
{
  char command[4400];
  snprintf(command, sizeof command, "rm -rf '%s'", path);
  if (system(command) != 0)
    exit(1);
}

static inline void format_file(const char *folder, const char *name, const void *data, size_t n)
{
  char path[4400];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, n, f) != n || fclose(f) != 0)
    exit(1);
}

/* Uses all that an opened file offers. 0, or the first slot's error. */
static inline int format_use(const struct qtk_format_ops *ops, void *h)
{
  static const char *const texts[] = {"chat_template", "licence", "generation_config", "other"};
  struct qtk_tensor_info info;
  for (int i = 0; ops->tensor(h, i, &info); i++) {
    int64_t rows = 1, cols = info.ndim ? info.shape[info.ndim - 1] : 1;
    for (int k = 0; k < info.ndim - 1; k++)
      rows *= info.shape[k];
    const void *data;
    uint64_t bytes;
    if (rows * cols > 1 << 20)
      continue;
    float *out = malloc((size_t)(rows * cols) * sizeof *out + 1);
    int rc = ops->read(h, i, 0, rows, out, cols);
    free(out);
    if (rc && !strstr(qtk_error_message(), "cannot be read"))
      return rc;
    if (ops->map(h, i, &data, &bytes) != QTK_OK)
      return QTK_EINTERNAL;
    ops->drop(h, i);
  }
  ops->config(h);
  ops->tokenizer(h);
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    ops->text(h, texts[i]);
  return QTK_OK;
}

#endif
