/* SPDX-License-Identifier: BSD-3-Clause
 * Where the files lie that qtk is installed with: templates, examples. */
#ifndef QTK_CORE_DATA_H
#define QTK_CORE_DATA_H

#include <qtk/base.h>

/* The path of a file or folder in the data folder, freed with free; NULL with QTK_ENOMEM
 * set. QTK_DATA_PATH (read with secure_getenv) replaces the compiled-in folder. */
QTK_PUBLIC char *qtk_data_path(const char *name);

#endif
