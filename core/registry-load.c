/* SPDX-License-Identifier: BSD-3-Clause
 * Opens one plugin file and copies what it describes, if that can be trusted. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/option.h"
#include "core/registry-load.h"
#include "core/str.h"

/* The ops pointer of each kind in the descriptor. */
static const void *load_ops(const struct qtk_plugin *plugin, enum qtk_kind kind)
{
  switch (kind) {
  case QTK_QUANTIZER:
    return plugin->quantizer;
  case QTK_ADAPTER:
    return plugin->adapter;
  case QTK_BACKEND:
    return plugin->backend;
  case QTK_FORMAT:
    return plugin->format;
  }
  return NULL;
}

static size_t load_ops_size(enum qtk_kind kind)
{
  static const size_t sizes[QTK_KINDS] = {
    [QTK_QUANTIZER] = sizeof(struct qtk_quantizer_ops),
    [QTK_ADAPTER] = sizeof(struct qtk_adapter_ops),
    [QTK_BACKEND] = sizeof(struct qtk_backend_ops),
    [QTK_FORMAT] = sizeof(struct qtk_format_ops),
  };
  return sizes[kind];
}

/* The two fields that every version of the interface has at their places. */
static int load_check_api(const struct qtk_plugin *plugin)
{
  size_t least = offsetof(struct qtk_plugin, contract_size) + sizeof plugin->contract_size;
  if (plugin->size < offsetof(struct qtk_plugin, api) + sizeof plugin->api)
    return qtk_error(QTK_EPLUGIN, "descriptor of %zu bytes: too short to be one", plugin->size);
  if (plugin->api < QTK_API_OLDEST || plugin->api > QTK_API_NEWEST)
    return qtk_error(QTK_EPLUGIN,
                     "made for plugin interface %d: this qtk loads interfaces %d to %d",
                     plugin->api, QTK_API_OLDEST, QTK_API_NEWEST);
  if (plugin->size < least)
    return qtk_error(QTK_EPLUGIN, "descriptor of %zu bytes: interface %d has at least %zu",
                     plugin->size, plugin->api, least);
  return QTK_OK;
}

static int load_check_texts(const struct qtk_plugin *plugin)
{
  if (plugin->name == NULL || plugin->name[0] == '\0')
    return qtk_error(QTK_EPLUGIN, "descriptor without a name");
  if (plugin->version == NULL || plugin->summary == NULL)
    return qtk_error(QTK_EPLUGIN, "descriptor without a %s",
                     plugin->version == NULL ? "version" : "summary");
  if (plugin->threads < QTK_THREADS_ONE || plugin->threads > QTK_THREADS_ANY)
    return qtk_error(QTK_EPLUGIN, "threads = %d: allowed are 0, 1, 2", (int)plugin->threads);
  return QTK_OK;
}

/* Exactly one of the ops pointers is set, and says the kind. */
static int load_kind(const struct qtk_plugin *plugin, enum qtk_kind *kind)
{
  int found = 0;
  for (int k = 0; k < QTK_KINDS; k++)
    if (load_ops(plugin, k) != NULL) {
      *kind = k;
      found++;
    }
  if (found != 1)
    return qtk_error(QTK_EPLUGIN, "descriptor with %d kinds of operations: one is allowed", found);
  return QTK_OK;
}

static int load_copy_ops(struct qtk_loaded *loaded)
{
  const void *ops = load_ops(&loaded->plugin, loaded->kind);
  size_t size, known = load_ops_size(loaded->kind);
  memcpy(&size, ops, sizeof size);
  int rc = qtk_contract_ops(&loaded->plugin, size, known);
  if (rc == QTK_OK)
    memcpy(&loaded->ops, ops, size < known ? size : known);
  return rc;
}

static const struct qtk_slot *load_find_slot(enum qtk_kind kind, const char *name)
{
  const struct qtk_slot *slot = qtk_registry_slots(kind);
  while (slot->name != NULL && strcmp(slot->name, name) != 0)
    slot++;
  return slot;
}

static int load_check_slots(const struct qtk_loaded *loaded)
{
  const char *kind = qtk_kind_name(loaded->kind);
  for (const struct qtk_slot *s = qtk_registry_slots(loaded->kind); s->name != NULL; s++) {
    int present = qtk_slot_present(loaded, s);
    if (s->need == QTK_SLOT_REQUIRED && !present)
      return qtk_error(QTK_EPLUGIN, "lacks the slot '%s', which every %s has", s->name, kind);
    if (present && s->with != NULL &&
        !qtk_slot_present(loaded, load_find_slot(loaded->kind, s->with)))
      return qtk_error(QTK_EPLUGIN, "has the slot '%s' but not '%s', which belongs to it",
                       s->name, s->with);
  }
  return QTK_OK;
}

static int load_fill(const struct qtk_plugin *plugin, struct qtk_loaded *loaded)
{
  int rc = load_check_api(plugin);
  if (rc != QTK_OK)
    return rc;
  size_t size = plugin->size < sizeof *plugin ? plugin->size : sizeof *plugin;
  memcpy(&loaded->plugin, plugin, size);
  if ((rc = load_check_texts(&loaded->plugin)) != QTK_OK ||
      (rc = load_kind(&loaded->plugin, &loaded->kind)) != QTK_OK ||
      (rc = load_copy_ops(loaded)) != QTK_OK || (rc = load_check_slots(loaded)) != QTK_OK)
    return rc;
  return qtk_option_check(loaded->plugin.options, loaded->plugin.options_size);
}

void qtk_loaded_free(struct qtk_loaded *loaded)
{
  if (loaded == NULL)
    return;
  free(loaded->path);
  free(loaded);
}

int qtk_loaded_copy(const struct qtk_plugin *plugin, const char *path, struct qtk_loaded **loaded)
{
  struct qtk_loaded *l = calloc(1, sizeof *l);
  if (l == NULL)
    return qtk_error_memory(sizeof *l, "a plugin");
  int rc = QTK_ENOMEM;
  if ((l->path = qtk_str_copy(path)) != NULL)
    rc = load_fill(plugin, l);
  if (rc != QTK_OK) {
    qtk_loaded_free(l);
    return qtk_error_at(rc, "%s", path);
  }
  *loaded = l;
  return QTK_OK;
}

/* dlerror often begins with the path itself. */
static int load_dl_error(const char *path)
{
  const char *text = dlerror();
  size_t n = strlen(path);
  if (text == NULL)
    text = "cannot be opened";
  if (strncmp(text, path, n) == 0 && text[n] == ':')
    return qtk_error(QTK_EPLUGIN, "%s", text);
  return qtk_error(QTK_EPLUGIN, "%s: %s", path, text);
}

static int load_entry(const char *path, const struct qtk_plugin **plugin)
{
  /* Never closed: libraries that plugins pull in keep threads alive. */
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL)
    return load_dl_error(path);
  const struct qtk_plugin *(*entry)(void);
  void *symbol = dlsym(handle, "qtk_plugin_entry");
  if (symbol == NULL)
    return qtk_error(QTK_EPLUGIN, "%s: no plugin: it has no symbol qtk_plugin_entry", path);
  memcpy(&entry, &symbol, sizeof entry);
  *plugin = entry();
  if (*plugin == NULL)
    return qtk_error(QTK_EPLUGIN, "%s: qtk_plugin_entry gave no descriptor", path);
  return QTK_OK;
}

static int load_check_headers(const struct qtk_plugin *plugin, const char *path)
{
  int rc = load_check_api(plugin);
  if (rc == QTK_OK)
    rc = qtk_contract_check(plugin);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", path);
}

int qtk_loaded_open(const char *path, enum qtk_kind kind, const char *name,
                    struct qtk_loaded **loaded)
{
  const struct qtk_plugin *plugin;
  struct qtk_loaded *l;
  int rc = load_entry(path, &plugin);
  if (rc != QTK_OK || (rc = load_check_headers(plugin, path)) != QTK_OK ||
      (rc = qtk_loaded_copy(plugin, path, &l)) != QTK_OK)
    return rc;
  if (l->kind != kind)
    rc = qtk_error(QTK_EPLUGIN, "%s: is a %s, but its file name says %s", path,
                   qtk_kind_name(l->kind), qtk_kind_name(kind));
  else if (strcmp(l->plugin.name, name) != 0)
    rc = qtk_error(QTK_EPLUGIN, "%s: calls itself '%s', but its file name says '%s'", path,
                   l->plugin.name, name);
  if (rc != QTK_OK) {
    qtk_loaded_free(l);
    return rc;
  }
  *loaded = l;
  return QTK_OK;
}
