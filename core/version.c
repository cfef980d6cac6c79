/* SPDX-License-Identifier: BSD-3-Clause
 * The library's version. */
#include <qtk/base.h>

const char *qtk_version(void)
{
  return QTK_VERSION;
}
