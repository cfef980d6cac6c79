/* SPDX-License-Identifier: BSD-3-Clause
 * Protocols, as data files say them. They are read once. */
#include "core/protocol.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/toml.h"
#include "core/vec.h"

#define PROTOCOL_DATA "data/protocols.toml"

static const char *const protocol_keys[] = {"name", "context", "windows", "scored", "rows",
                                            "join", "most",    "crops",   NULL};

/* All that were read; they stay. */
static struct {
  pthread_mutex_t lock;
  int read;
  QTK_VEC(struct qtk_toml *) roots;
  QTK_VEC(struct qtk_protocol) list;
  QTK_VEC(const char *) names; /* of the list, ended by NULL */
} protocols = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- an entry ---------------------------------------------------------------------------- */

/* The number of a text among `names`, which `allowed` lists; the first if it is absent. */
static int protocol_choose(const struct qtk_toml *entry, const char *key,
                           const char *const *names, const char *allowed, int *chosen)
{
  const char *text = names[0];
  int rc = qtk_toml_get_text(entry, key, &text);
  if (rc != QTK_OK)
    return rc;
  for (*chosen = 0; names[*chosen] != NULL; ++*chosen)
    if (strcmp(names[*chosen], text) == 0)
      return QTK_OK;
  return qtk_toml_error(qtk_toml_get(entry, key), "%s = \"%s\": allowed are %s", key, text,
                        allowed);
}

static int protocol_number(const struct qtk_toml *entry, const char *key, int64_t low,
                           int64_t *value)
{
  int rc = qtk_toml_get_int(entry, key, value);
  if (rc == QTK_OK && *value < low)
    rc = qtk_toml_error(qtk_toml_get(entry, key), "%s = %lld: %lld and more are allowed", key,
                        (long long)*value, (long long)low);
  return rc;
}

static int protocol_texts(const struct qtk_toml *entry, struct qtk_protocol *p)
{
  static const char *const scored[] = {"all", "half", NULL};
  static const char *const rows[] = {
    [QTK_ROWS_FILE] = "file", [QTK_ROWS_LINES] = "lines", [QTK_ROWS_DOCUMENTS] = "documents",
    [QTK_ROWS_DOCUMENTS + 1] = NULL};
  const struct qtk_toml *name;
  int kind = 0;
  int rc = qtk_toml_only(entry, protocol_keys);
  if (rc == QTK_OK)
    rc = qtk_toml_need(entry, "name", QTK_TOML_TEXT, &name);
  if (rc != QTK_OK)
    return rc;
  p->name = qtk_toml_text(name);
  for (size_t i = 0; i < protocols.list.length; i++)
    if (strcmp(protocols.list.data[i].name, p->name) == 0)
      return qtk_toml_error(name, "there is a protocol \"%s\" already", p->name);
  if ((rc = protocol_choose(entry, "scored", scored, "all, half", &p->half)) != QTK_OK ||
      (rc = protocol_choose(entry, "rows", rows, "file, lines, documents", &kind)) != QTK_OK)
    return rc;
  p->recipe.rows = (enum qtk_rows)kind;
  return qtk_toml_get_text(entry, "join", &p->recipe.join);
}

static int protocol_read(const struct qtk_toml *entry)
{
  struct qtk_protocol p = {.context = 2048};
  int rc = protocol_texts(entry, &p);
  if (rc != QTK_OK || (rc = protocol_number(entry, "context", 2, &p.context)) != QTK_OK ||
      (rc = protocol_number(entry, "windows", 0, &p.windows)) != QTK_OK ||
      (rc = protocol_number(entry, "most", 0, &p.recipe.most)) != QTK_OK ||
      (rc = qtk_toml_get_bool(entry, "crops", &p.crops)) != QTK_OK)
    return rc;
  return qtk_vec_push(&protocols.list, p);
}

/* ---- files --------------------------------------------------------------------------------- */

static int protocols_read_file(const char *path)
{
  const struct qtk_toml *list = NULL;
  struct qtk_toml *root;
  int rc = qtk_toml_read(path, &root);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_vec_push(&protocols.roots, root);
  if (rc != QTK_OK) {
    qtk_toml_free(root);
    return rc;
  }
  rc = qtk_toml_need(root, "protocol", QTK_TOML_ARRAY, &list);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(list); i++)
    rc = protocol_read(qtk_toml_item(list, i));
  return rc;
}

static int protocols_read_folder(const char *folder)
{
  char *path = qtk_path_join(folder, PROTOCOL_DATA);
  int rc = path != NULL ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK && qtk_path_exists(path))
    rc = protocols_read_file(path);
  free(path);
  return rc == QTK_EJOB ? QTK_EINPUT : rc;
}

static int protocols_name(void)
{
  int rc = QTK_OK;
  for (size_t i = 0; rc == QTK_OK && i < protocols.list.length; i++)
    rc = qtk_vec_push(&protocols.names, protocols.list.data[i].name);
  return rc == QTK_OK ? qtk_vec_push(&protocols.names, (const char *)NULL) : rc;
}

/* After a mistake the next call reads again. */
static void protocols_forget(void)
{
  for (size_t i = 0; i < protocols.roots.length; i++)
    qtk_toml_free(protocols.roots.data[i]);
  qtk_vec_free(&protocols.roots);
  qtk_vec_free(&protocols.list);
  qtk_vec_free(&protocols.names);
}

static int protocols_read(void)
{
  char **folders = NULL;
  int rc = qtk_arch_folders(&folders);
  for (size_t i = 0; rc == QTK_OK && folders[i] != NULL; i++)
    rc = protocols_read_folder(folders[i]);
  free(folders);
  if (rc == QTK_OK)
    rc = protocols_name();
  if (rc != QTK_OK)
    protocols_forget();
  protocols.read = rc == QTK_OK;
  return rc;
}

static int protocols_need(void)
{
  pthread_mutex_lock(&protocols.lock);
  int rc = protocols.read ? QTK_OK : protocols_read();
  pthread_mutex_unlock(&protocols.lock);
  return rc;
}

/* ---- from outside ---------------------------------------------------------------------------- */

int qtk_protocol_find(const char *name, const struct qtk_protocol **protocol)
{
  int rc = protocols_need();
  for (size_t i = 0; rc == QTK_OK && i < protocols.list.length; i++)
    if (strcmp(protocols.list.data[i].name, name) == 0) {
      *protocol = &protocols.list.data[i];
      return QTK_OK;
    }
  return rc == QTK_OK ? qtk_error(QTK_EJOB, "protocol \"%s\" is not known (" PROTOCOL_DATA
                                            " of the architecture folders)",
                                  name)
                      : rc;
}

int qtk_protocol_names(const char *const **names)
{
  int rc = protocols_need();
  *names = rc == QTK_OK ? protocols.names.data : NULL;
  return rc;
}

struct qtk_text_recipe qtk_protocol_recipe(const struct qtk_protocol *protocol, int64_t context,
                                           int64_t windows)
{
  struct qtk_text_recipe recipe = protocol->recipe;
  if (protocol->crops) {
    recipe.crops = windows;
    recipe.length = context;
  }
  return recipe;
}
