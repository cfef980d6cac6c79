/* SPDX-License-Identifier: BSD-3-Clause
 * Digests of held tensors, and of models made of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/part.h"
#include "core/str.h"

static int part_add_layout(const struct qtk_qlayout *l, struct qtk_str *text)
{
  static const char *const zeros[] = {"mid", "int", "min"};
  int64_t group = l->groups == 1 ? -1 : l->group;
  switch (l->encoding) {
  case QTK_DENSE:
    return qtk_str_printf(text, "dense %s\n", qtk_dtype_name(l->dtype));
  case QTK_AFFINE:
    return qtk_str_printf(text, "affine bits %d group %" PRId64 " zero %s %d scale %s index %d\n",
                          l->bits, group, zeros[l->zero],
                          l->zero == QTK_ZERO_INT ? l->zero_bits : 0,
                          qtk_dtype_name(l->scale_dtype), l->has_g_idx != 0);
  case QTK_CODEBOOK:
    return qtk_str_printf(text, "codebook bits %d group %" PRId64 " scale %s index %d\n", l->bits,
                          group, qtk_dtype_name(l->scale_dtype), l->has_g_idx != 0);
  default:
    return qtk_str_printf(text, "opaque\n");
  }
}

int qtk_stored_digest_of_parts(const struct qtk_stored *t,
                               const uint8_t parts[QTK_PARTS][QTK_DIGEST_BYTES],
                               uint8_t out[QTK_DIGEST_BYTES])
{
  struct qtk_str text = {0};
  qtk_str_printf(&text, "%s\nshape", t->name);
  for (int i = 0; i < t->ndim; i++)
    qtk_str_printf(&text, " %" PRId64, t->shape[i]);
  qtk_str_add(&text, "\n");
  part_add_layout(&t->view.layout, &text);
  for (int part = 0; part < QTK_PARTS; part++) {
    char hex[QTK_DIGEST_HEX];
    if (qtk_part_bytes(&t->view.layout, part) == 0)
      continue;
    qtk_digest_hex(parts[part], hex);
    qtk_str_printf(&text, "%s %s\n", qtk_part_name(part), hex);
  }
  int rc = text.failed ? QTK_ENOMEM : QTK_OK;
  if (rc == QTK_OK)
    qtk_digest_of(text.data, text.length, out);
  qtk_str_free(&text);
  return rc;
}

int qtk_stored_digest(const struct qtk_stored *t, uint8_t out[QTK_DIGEST_BYTES])
{
  uint8_t parts[QTK_PARTS][QTK_DIGEST_BYTES] = {{0}};
  for (int part = 0; part < QTK_PARTS; part++) {
    uint64_t bytes = qtk_part_bytes(&t->view.layout, part);
    if (bytes > 0)
      qtk_digest_of(qtk_part_data(&t->view, part), bytes, parts[part]);
  }
  return qtk_stored_digest_of_parts(t, (const uint8_t(*)[QTK_DIGEST_BYTES])parts, out);
}

struct part_named {
  const char *name;
  const uint8_t *digest;
};

static int part_compare(const void *a, const void *b)
{
  const struct part_named *x = a, *y = b;
  return strcmp(x->name, y->name);
}

int qtk_stored_digest_model(const char *const *names, const uint8_t (*digests)[QTK_DIGEST_BYTES],
                            size_t n, uint8_t out[QTK_DIGEST_BYTES])
{
  struct part_named *sorted = calloc(n + 1, sizeof *sorted);
  if (!sorted)
    return qtk_error(QTK_ENOMEM, "out of memory");
  for (size_t i = 0; i < n; i++)
    sorted[i] = (struct part_named){names[i], digests[i]};
  qsort(sorted, n, sizeof *sorted, part_compare);
  struct qtk_digest digest;
  qtk_digest_begin(&digest);
  for (size_t i = 0; i < n; i++)
    qtk_digest_add(&digest, sorted[i].digest, QTK_DIGEST_BYTES);
  qtk_digest_end(&digest, out);
  free(sorted);
  return QTK_OK;
}
