/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters in files of their own. */
#ifndef QTK_CORE_ADAPTER_H
#define QTK_CORE_ADAPTER_H

#include "core/tuned.h"

/* Opens the adapter in the file at `path`; its values stay in the map of the file. QTK_EINPUT for
 * a file that holds none. */
QTK_PUBLIC int qtk_adapter_load(struct qtk_context *ctx, const char *path,
                                struct qtk_tuned **tuned);

#endif
