/* SPDX-License-Identifier: BSD-3-Clause
 * From a descriptor to a checked copy. Only for the registry's own files. */
#ifndef QTK_CORE_REGISTRY_LOAD_H
#define QTK_CORE_REGISTRY_LOAD_H

#include "core/registry.h"

/* Opens a plugin file whose name has been taken apart. */
int qtk_loaded_open(const char *path, enum qtk_kind kind, const char *name,
                    struct qtk_loaded **loaded);
/* A descriptor from anywhere; its kind is that of its ops. */
int qtk_loaded_copy(const struct qtk_plugin *plugin, const char *path,
                    struct qtk_loaded **loaded);
/* QTK_EPLUGIN if the plugin was compiled with headers that are not this library's, with or
 * without additions. */
int qtk_contract_check(const struct qtk_plugin *plugin);
/* The same if its operations, `size` bytes of `known` here, are not of its own headers. */
int qtk_contract_ops(const struct qtk_plugin *plugin, size_t size, size_t known);
void qtk_loaded_free(struct qtk_loaded *loaded);

#endif
