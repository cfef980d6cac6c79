/* SPDX-License-Identifier: BSD-3-Clause
 * Walks a tar that lies in memory and is as strict as bundles are. */
#ifndef QTK_CORE_BUNDLE_TAR_H
#define QTK_CORE_BUNDLE_TAR_H

#include <qtk/base.h>

#define QTK_TAR_BLOCK 512
#define QTK_TAR_NAME 256 /* of a member, with the zero byte */

struct qtk_tar {
  const uint8_t *data;
  uint64_t size;
  uint64_t at; /* of the next header */
};

struct qtk_tar_entry {
  char name[QTK_TAR_NAME];
  uint64_t offset, bytes; /* of the data */
};

/* The next member: 1, 0 at the end, or QTK_EINPUT. Allowed are regular files with harmless
 * names and, before them, pax headers with path and size. Filling is zeros, and nothing
 * but zeros follows the end. */
int qtk_tar_next(struct qtk_tar *tar, struct qtk_tar_entry *entry);

/* The header of a member as bundles have it: mode 0644, owner, group and time 0. */
void qtk_tar_header(const char *name, uint64_t bytes, uint8_t block[QTK_TAR_BLOCK]);

/* QTK_EINPUT unless `name` is a relative path of letters, digits and ".-_+:@" without
 * empty, "." and ".." parts. */
int qtk_tar_check_name(const char *name);

#endif
