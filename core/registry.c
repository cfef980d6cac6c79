/* SPDX-License-Identifier: BSD-3-Clause
 * Plugins found by file name, loaded once and kept for ever. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/registry-load.h"
#include "core/registry.h"
#include "core/str.h"
#include "core/vec.h"

static const char *const registry_kinds[] = {"quantizer", "adapter", "backend", "format", NULL};

const char *qtk_kind_name(enum qtk_kind kind)
{
  return registry_kinds[kind];
}

int qtk_kind_parse(const char *name, enum qtk_kind *kind)
{
  for (int k = 0; k < QTK_KINDS; k++)
    if (strcmp(name, registry_kinds[k]) == 0) {
      *kind = k;
      return QTK_OK;
    }
  const char *near = qtk_nearest(name, registry_kinds);
  return qtk_error(QTK_EUSAGE, "'%s' is no kind of plugin%s%s%s: there are quantizer, adapter, "
                               "backend, format",
                   name, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

/* ---- folders ----------------------------------------------------------------- */

static pthread_once_t registry_path_once = PTHREAD_ONCE_INIT;
static const char *registry_no_path[1];
static char **registry_path_list;

/* The list and its texts in one block of memory, for ever. */
static void registry_path_make(void)
{
  const char *path = secure_getenv("QTK_PLUGIN_PATH");
  if (path == NULL)
    path = QTK_PLUGIN_DIR;
  size_t most = 2;
  for (const char *p = path; *p != '\0'; p++)
    most += *p == ':';
  char **list = calloc(1, most * sizeof *list + strlen(path) + 1);
  if (list == NULL)
    return;
  char *text = strcpy((char *)(list + most), path), *save = NULL;
  size_t n = 0;
  for (char *dir = strtok_r(text, ":", &save); dir != NULL; dir = strtok_r(NULL, ":", &save))
    list[n++] = dir;
  registry_path_list = list;
}

const char *const *qtk_registry_path(void)
{
  pthread_once(&registry_path_once, registry_path_make);
  return registry_path_list ? (const char *const *)registry_path_list : registry_no_path;
}

/* ---- candidates --------------------------------------------------------------- */

static int registry_name_is_good(const char *name, size_t n)
{
  if (n == 0 || n > 63 || name[0] < 'a' || name[0] > 'z')
    return 0;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") >= n;
}

int qtk_registry_parse_name(const char *path, enum qtk_kind *kind, char name[64])
{
  const char *base = qtk_path_base(path);
  if (strncmp(base, "qtk-", 4) != 0 || !qtk_path_ends(base, ".so"))
    return 0;
  base += 4;
  for (int k = 0; k < QTK_KINDS; k++) {
    size_t n = strlen(registry_kinds[k]);
    if (strncmp(base, registry_kinds[k], n) != 0 || base[n] != '-')
      continue;
    const char *start = base + n + 1;
    if (strlen(start) < 3 || !registry_name_is_good(start, strlen(start) - 3))
      return 0;
    n = strlen(start) - 3;
    memcpy(name, start, n);
    name[n] = '\0';
    *kind = k;
    return 1;
  }
  return 0;
}

struct registry_list {
  struct qtk_candidate *data;
  size_t length, capacity;
};

static int registry_has(const struct registry_list *list, enum qtk_kind kind, const char *name)
{
  for (size_t i = 0; i < list->length; i++)
    if (list->data[i].kind == kind && strcmp(list->data[i].name, name) == 0)
      return 1;
  return 0;
}

static int registry_add_file(struct registry_list *list, const char *dir, const char *file)
{
  struct qtk_candidate c;
  char name[64];
  if (!qtk_registry_parse_name(file, &c.kind, name) || registry_has(list, c.kind, name))
    return QTK_OK;
  int rc = qtk_vec_reserve(list, 1);
  if (rc != QTK_OK)
    return rc;
  c.name = qtk_str_copy(name);
  c.path = qtk_path_join(dir, file);
  list->data[list->length++] = c;
  return c.name != NULL && c.path != NULL ? QTK_OK : QTK_ENOMEM;
}

/* A folder that is not there holds no plugins. */
static int registry_add_dir(struct registry_list *list, const char *dir)
{
  char **names;
  size_t n;
  if (!qtk_path_is_dir(dir))
    return QTK_OK;
  int rc = qtk_list_dir(dir, &names, &n);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = registry_add_file(list, dir, names[i]);
  free(names);
  return rc;
}

static int registry_compare(const void *a, const void *b)
{
  const struct qtk_candidate *x = a, *y = b;
  return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

int qtk_registry_scan(struct qtk_candidate **list, size_t *n)
{
  struct registry_list found = {0};
  int rc = QTK_OK;
  for (const char *const *dir = qtk_registry_path(); *dir != NULL && rc == QTK_OK; dir++)
    rc = registry_add_dir(&found, *dir);
  if (rc != QTK_OK) {
    qtk_registry_candidates_free(found.data, found.length);
    return rc;
  }
  if (found.length > 0)
    qsort(found.data, found.length, sizeof *found.data, registry_compare);
  *list = found.data;
  *n = found.length;
  return QTK_OK;
}

void qtk_registry_candidates_free(struct qtk_candidate *list, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    free(list[i].name);
    free(list[i].path);
  }
  qtk_vec_release(list);
}

/* ---- what is loaded --------------------------------------------------------------- */

/* Entries are never freed or moved: callers keep pointers to them. */
struct registry_entry {
  struct registry_entry *next;
  struct qtk_loaded *loaded;
};
static struct registry_entry *registry_first;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* of the list */

static int registry_keep(struct qtk_loaded *loaded)
{
  struct registry_entry *e = malloc(sizeof *e);
  if (e == NULL) {
    qtk_loaded_free(loaded);
    return qtk_error_memory(sizeof *e, "a plugin");
  }
  e->loaded = loaded;
  e->next = registry_first;
  registry_first = e;
  return QTK_OK;
}

static const struct qtk_loaded *registry_by_path(const char *path)
{
  for (const struct registry_entry *e = registry_first; e != NULL; e = e->next)
    if (strcmp(e->loaded->path, path) == 0)
      return e->loaded;
  return NULL;
}

#define REGISTRY_BUILT_IN "built in"

static const struct qtk_loaded *registry_built_in(enum qtk_kind kind, const char *name)
{
  for (const struct registry_entry *e = registry_first; e != NULL; e = e->next)
    if (e->loaded->kind == kind && strcmp(e->loaded->plugin.name, name) == 0 &&
        strcmp(e->loaded->path, REGISTRY_BUILT_IN) == 0)
      return e->loaded;
  return NULL;
}

static int registry_load_locked(const char *path, enum qtk_kind kind, const char *name,
                                const struct qtk_loaded **loaded)
{
  struct qtk_loaded *l;
  if ((*loaded = registry_by_path(path)) != NULL)
    return QTK_OK;
  int rc = qtk_loaded_open(path, kind, name, &l);
  if (rc != QTK_OK || (rc = registry_keep(l)) != QTK_OK)
    return rc;
  *loaded = l;
  return QTK_OK;
}

int qtk_registry_load(const char *path, const struct qtk_loaded **loaded)
{
  enum qtk_kind kind;
  char name[64], real[PATH_MAX];
  if (!qtk_registry_parse_name(path, &kind, name))
    return qtk_error(QTK_EPLUGIN,
                     "%s: not the name of a plugin: that is qtk-KIND-NAME.so with a kind of "
                     "quantizer, adapter, backend, format and a name in lower case",
                     path);
  /* Also turns a bare file name into one that dlopen does not search for. */
  if (realpath(path, real) == NULL)
    return qtk_error_errno(QTK_EPLUGIN, errno, "%s", path);
  pthread_mutex_lock(&registry_lock);
  int rc = registry_load_locked(real, kind, name, loaded);
  pthread_mutex_unlock(&registry_lock);
  return rc;
}

int qtk_registry_add(const struct qtk_plugin *plugin)
{
  struct qtk_loaded *l;
  int rc = qtk_loaded_copy(plugin, REGISTRY_BUILT_IN, &l);
  if (rc != QTK_OK)
    return rc;
  pthread_mutex_lock(&registry_lock);
  if (registry_built_in(l->kind, l->plugin.name) != NULL)
    qtk_loaded_free(l);
  else
    rc = registry_keep(l);
  pthread_mutex_unlock(&registry_lock);
  return rc;
}

/* ---- by name ------------------------------------------------------------------------ */

/* The folders as a list for people. */
static void registry_say_path(struct qtk_str *out)
{
  const char *const *dir = qtk_registry_path();
  if (*dir == NULL)
    qtk_str_add(out, "no folder: QTK_PLUGIN_PATH is empty");
  for (; *dir != NULL; dir++)
    qtk_str_printf(out, "%s%s", *dir, dir[1] != NULL ? ", " : "");
}

static int registry_missing(enum qtk_kind kind, const char *name,
                            const struct qtk_candidate *list, size_t n)
{
  struct qtk_str path = {0};
  const char **names = calloc(n + 1, sizeof *names), *other = NULL, *near = NULL;
  size_t k = 0;
  for (size_t i = 0; i < n && names != NULL; i++)
    if (list[i].kind == kind)
      names[k++] = list[i].name;
    else if (strcmp(list[i].name, name) == 0)
      other = qtk_kind_name(list[i].kind);
  if (names != NULL)
    near = qtk_nearest(name, names);
  registry_say_path(&path);
  if (near == NULL && other != NULL)
    qtk_error(QTK_EPLUGIN, "no %s '%s': it is a %s (looked in %s)", qtk_kind_name(kind), name,
              other, path.data ? path.data : "");
  else
    qtk_error(QTK_EPLUGIN, "no %s '%s'%s%s%s (looked in %s)", qtk_kind_name(kind), name,
              near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "",
              path.data ? path.data : "");
  qtk_str_free(&path);
  free(names);
  return QTK_EPLUGIN;
}

/* Its place in the list, or n. */
static size_t registry_find(const struct qtk_candidate *list, size_t n, enum qtk_kind kind,
                            const char *name)
{
  size_t i = 0;
  while (i < n && (list[i].kind != kind || strcmp(list[i].name, name) != 0))
    i++;
  return i;
}

static const struct qtk_loaded *registry_get_built_in(enum qtk_kind kind, const char *name)
{
  pthread_mutex_lock(&registry_lock);
  const struct qtk_loaded *loaded = registry_built_in(kind, name);
  pthread_mutex_unlock(&registry_lock);
  return loaded;
}

int qtk_registry_get(enum qtk_kind kind, const char *name, const struct qtk_loaded **loaded)
{
  struct qtk_candidate *list;
  size_t n;
  if ((*loaded = registry_get_built_in(kind, name)) != NULL)
    return QTK_OK;
  int rc = qtk_registry_scan(&list, &n);
  if (rc != QTK_OK)
    return rc;
  size_t i = registry_find(list, n, kind, name);
  rc = i < n ? qtk_registry_load(list[i].path, loaded) : registry_missing(kind, name, list, n);
  qtk_registry_candidates_free(list, n);
  return rc;
}

int qtk_registry_has(enum qtk_kind kind, const char *name)
{
  struct qtk_candidate *list;
  size_t n;
  if (registry_get_built_in(kind, name) != NULL)
    return 1;
  if (qtk_registry_scan(&list, &n) != QTK_OK)
    return 0;
  int has = registry_find(list, n, kind, name) < n;
  qtk_registry_candidates_free(list, n);
  return has;
}
