/* SPDX-License-Identifier: BSD-3-Clause
 * Plugins: found by file name, described, checked, kept for ever. */
#ifndef QTK_CORE_REGISTRY_H
#define QTK_CORE_REGISTRY_H

#include <qtk/adapter.h>
#include <qtk/backend.h>
#include <qtk/format.h>
#include <qtk/plugin.h>
#include <qtk/quantizer.h>

enum qtk_kind { QTK_QUANTIZER = 0, QTK_ADAPTER = 1, QTK_BACKEND = 2, QTK_FORMAT = 3 };
#define QTK_KINDS 4

QTK_PUBLIC const char *qtk_kind_name(enum qtk_kind kind); /* "quantizer", ... */
QTK_PUBLIC int qtk_kind_parse(const char *name, enum qtk_kind *kind);

/* A loaded plugin: its descriptor and ops, each copied into zeroed structs of
 * this library's sizes, so that older plugins read as having NULL slots. */
struct qtk_loaded {
  enum qtk_kind kind;
  char *path; /* of the file; "built in" for the core's own */
  struct qtk_plugin plugin;
  union {
    struct qtk_quantizer_ops quantizer;
    struct qtk_adapter_ops adapter;
    struct qtk_backend_ops backend;
    struct qtk_format_ops format;
  } ops;
};

/* A candidate file qtk-KIND-NAME.so in a plugin folder; listing opens nothing. */
struct qtk_candidate {
  enum qtk_kind kind;
  char *name, *path;
};

/* Folders searched, in order: QTK_PLUGIN_PATH (colon separated, read with
 * secure_getenv) replaces the compiled-in one. NULL-terminated, cached. */
QTK_PUBLIC const char *const *qtk_registry_path(void);
/* All candidates, sorted by kind and name, the first folder winning. Freed by
 * qtk_registry_candidates_free. */
QTK_PUBLIC int qtk_registry_scan(struct qtk_candidate **list, size_t *n);
QTK_PUBLIC void qtk_registry_candidates_free(struct qtk_candidate *list, size_t n);

/* KIND and NAME of a file qtk-KIND-NAME.so; 1, or 0 for any other name. */
QTK_PUBLIC int qtk_registry_parse_name(const char *path, enum qtk_kind *kind, char name[64]);

/* The plugin of that kind and name, loaded and checked once. QTK_EPLUGIN with the
 * reason (missing: names the nearest and the folders; broken; wrong api). */
QTK_PUBLIC int qtk_registry_get(enum qtk_kind kind, const char *name,
                                const struct qtk_loaded **loaded);
/* 1 if there is a plugin of that name, be it broken or not. */
QTK_PUBLIC int qtk_registry_has(enum qtk_kind kind, const char *name);
/* Loads and checks one file, whatever its folder. */
QTK_PUBLIC int qtk_registry_load(const char *path, const struct qtk_loaded **loaded);
/* Adds a plugin that lives in the core. Adding it again does nothing. */
QTK_PUBLIC int qtk_registry_add(const struct qtk_plugin *plugin);

/* What a child process, that loaded the file and ended, found out about it: a
 * plugin that crashes or hangs is a text in `problem`. */
struct qtk_probe {
  int ok;
  char name[64], version[64], summary[256];
  char problem[512];
};
/* QTK_ENOMEM or QTK_EINTERNAL when there can be no child; what is wrong with the
 * plugin is no error. */
QTK_PUBLIC int qtk_registry_probe(const char *path, struct qtk_probe *probe);

/* A slot of a kind's ops struct, and a table of them ended by a NULL name. */
struct qtk_slot {
  const char *name;
  size_t offset;
  enum qtk_slot_need { QTK_SLOT_OPTIONAL, QTK_SLOT_REQUIRED } need;
  const char *with; /* another slot that must be there if this one is, or NULL */
};
QTK_PUBLIC const struct qtk_slot *qtk_registry_slots(enum qtk_kind kind);
QTK_PUBLIC int qtk_slot_present(const struct qtk_loaded *loaded, const struct qtk_slot *slot);

#endif
