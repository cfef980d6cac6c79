/* SPDX-License-Identifier: BSD-3-Clause
 * The folder of installed data. */
#include <stdlib.h>

#include "core/data.h"
#include "core/fs.h"

char *qtk_data_path(const char *name)
{
  const char *folder = secure_getenv("QTK_DATA_PATH");
  return qtk_path_join(folder != NULL && *folder != '\0' ? folder : QTK_DATA_DIR, name);
}
