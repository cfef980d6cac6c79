/* SPDX-License-Identifier: BSD-3-Clause
 * What the parts of the suite of formats share. */
#ifndef QTK_CORE_CHECK_FORMAT_H
#define QTK_CORE_CHECK_FORMAT_H

#include "core/check-suite.h"
#include "core/digest.h"

#define QTK_CHECK_ADAPTER "adapter" /* in the folder: one that the format wrote */

/* Pieces of sections; see struct qtk_check_section. */
int qtk_check_format_write(struct qtk_check *c, int i);
int qtk_check_format_adapter(struct qtk_check *c, int i);
int qtk_check_format_read(struct qtk_check *c, int i);
int qtk_check_format_damage(struct qtk_check *c, int i);

/* What there is to read: the sample of the options, or what the plugin wrote itself in
 * an earlier piece. NULL: nothing, and then it was said that `promise` is skipped. Freed
 * with free. */
char *qtk_check_format_sample(struct qtk_check *c, const char *promise);

/* The digest of all that lies under the path, to compare two writings. */
int qtk_check_format_digest(const char *path, uint8_t out[QTK_DIGEST_BYTES]);
/* That these files are there, with so many bytes. */
void qtk_check_format_result(struct qtk_check *c, const char *path, const char *set,
                             const struct qtk_export_result *result);

/* 1 if what is open is an adapter and no model; then it has looked at its parameters. */
int qtk_check_format_is_adapter(struct qtk_check *c, void *h);

/* The bid for a file or folder that is there. */
int qtk_check_format_probe(struct qtk_check *c, const char *path, int *bid);

/* Rows and columns of a tensor; 0 if that cannot be said in 63 bits. */
int qtk_check_format_rows(const struct qtk_tensor_info *info, int64_t *rows, int64_t *cols);

/* The whole of a tensor, freed with free; NULL with an error set. */
float *qtk_check_format_all(const struct qtk_format_ops *ops, void *h, int tensor,
                            const struct qtk_tensor_info *info);

#endif
