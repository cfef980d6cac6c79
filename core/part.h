/* SPDX-License-Identifier: BSD-3-Clause
 * The parts of a held tensor: their names, sizes and places, the layout as TOML,
 * the digests. Bundles, state and models hold tensors in the same parts. */
#ifndef QTK_CORE_PART_H
#define QTK_CORE_PART_H

#include <qtk/tensor.h>

#include "core/digest.h"
#include "core/toml.h"

enum qtk_part {
  QTK_PART_CODES = 0, /* all that a dense or an opaque tensor has */
  QTK_PART_SCALES = 1,
  QTK_PART_ZEROS = 2,
  QTK_PART_INDEX = 3,
  QTK_PART_TABLE = 4
};
#define QTK_PARTS 5

/* A tensor as it is stored, and who made it. `shape` is the tensor's own, the view's
 * rows are all dimensions but the last; a vector [n] may be held as [1, n] or as
 * [n, 1]. */
struct qtk_stored {
  const char *name;
  int ndim;
  int64_t shape[QTK_MAX_DIMS];
  struct qtk_qtensor view; /* host parts */
  const char *plugin;      /* who made it, or NULL */
  const char *options;     /* of the plugin, TOML text; or NULL */
};

/* "codes", "scales", "zeros", "g_idx", "table". */
QTK_PUBLIC const char *qtk_part_name(enum qtk_part part);
/* 0: tensors of this layout have no such part. */
QTK_PUBLIC uint64_t qtk_part_bytes(const struct qtk_qlayout *layout, enum qtk_part part);
QTK_PUBLIC const void *qtk_part_data(const struct qtk_qtensor *view, enum qtk_part part);

/* The view of an initialised layout with its parts at `places` (multiples of 64).
 * QTK_EINPUT if a part is missing or has contents that no kernel may meet. An
 * opaque view still lacks its `dequantize`. */
QTK_PUBLIC int qtk_part_view(const struct qtk_qlayout *layout, const void *const places[QTK_PARTS],
                             struct qtk_qtensor *view);

/* The layout as keys of a table: encoding, bits, group, zero, zero_bits, scale,
 * g_idx, dtype, bytes; those that the encoding has. Reading takes rows and cols from
 * elsewhere, and gives QTK_EINPUT for what cannot be. Other keys are left alone. */
QTK_PUBLIC int qtk_layout_write(const struct qtk_qlayout *layout, struct qtk_toml *table);
QTK_PUBLIC int qtk_layout_read(const struct qtk_toml *table, int64_t rows, int64_t cols,
                               struct qtk_qlayout *layout);

/* name, shape, the layout's keys and, where they are known, plugin and options. */
QTK_PUBLIC int qtk_stored_write(const struct qtk_stored *t, struct qtk_toml *table);
/* The other way round: the texts are those of the table, the view has a layout and no
 * places. QTK_EINPUT for what cannot be. */
QTK_PUBLIC int qtk_stored_read(const struct qtk_toml *table, struct qtk_stored *t);
/* QTK_EINPUT unless shape and layout fit each other. */
QTK_PUBLIC int qtk_stored_check(const struct qtk_stored *t);

/* ---- digests ----------------------------------------------------------------- */

/* The digest of a tensor is SHA-256 over a text: a line "NAME", a line "shape N N ...",
 * a line of the layout, and a line "PART HEX" for each part it has, in the order of
 * enum qtk_part. The names of plugins and options do not enter. */
QTK_PUBLIC int qtk_stored_digest_of_parts(const struct qtk_stored *t,
                                          const uint8_t parts[QTK_PARTS][QTK_DIGEST_BYTES],
                                          uint8_t out[QTK_DIGEST_BYTES]);
/* The same, hashing the parts. */
QTK_PUBLIC int qtk_stored_digest(const struct qtk_stored *t, uint8_t out[QTK_DIGEST_BYTES]);

/* The digest of a model is SHA-256 over the digests (32 bytes each) of its tensors, in the
 * order of their names' bytes. `digests` [n] stands in the order of `names`. */
QTK_PUBLIC int qtk_stored_digest_model(const char *const *names,
                                       const uint8_t (*digests)[QTK_DIGEST_BYTES], size_t n,
                                       uint8_t out[QTK_DIGEST_BYTES]);

#endif
