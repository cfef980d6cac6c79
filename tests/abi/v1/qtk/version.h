/* SPDX-License-Identifier: BSD-3-Clause
 * Version of the library and of the plugin interface. */
#ifndef QTK_VERSION_H
#define QTK_VERSION_H

#define QTK_VERSION "0.1.0"

/* Plugin interface numbers that this library can load, oldest and newest. */
#define QTK_API_OLDEST 1
#define QTK_API_NEWEST 1

#endif
