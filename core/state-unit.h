/* SPDX-License-Identifier: BSD-3-Clause
 * One file of the durable state: a finished unit. */
#ifndef QTK_CORE_STATE_UNIT_H
#define QTK_CORE_STATE_UNIT_H

#include "core/fs.h"
#include "core/state.h"

#define QTK_UNIT_SUFFIX ".unit"

/* Writes a unit at `path`, synced. */
int qtk_unit_write(const char *path, const char *text, const struct qtk_stored *tensors,
                   int n_tensors);
/* Maps the unit at `path`. With `check` its digest is compared. QTK_EINPUT if anything is
 * wrong with it. */
int qtk_unit_open(const char *path, int check, struct qtk_state_unit **unit);

#endif
