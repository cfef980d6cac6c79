/* SPDX-License-Identifier: BSD-3-Clause
 * Digests of a model and its tensors, as they are held. */
#include <stdlib.h>
#include <string.h>

#include "core/digest.h"
#include "core/error.h"
#include "core/model-inner.h"
#include "core/part.h"

#define DIGEST_FLOATS (1 << 16) /* hashed at once where there are only rows */

/* Rows of a tensor that has no bytes of its own here, as f16. */
static int digest_halves(const struct qtk_qtensor *view, struct qtk_digest *d)
{
  int64_t rows = view->layout.rows, cols = view->layout.cols;
  int64_t at_once = cols < DIGEST_FLOATS ? DIGEST_FLOATS / cols : 1;
  size_t most = (size_t)(at_once * cols);
  float *floats = malloc(most * sizeof *floats);
  uint16_t *halves = malloc(most * sizeof *halves);
  int rc = floats && halves ? QTK_OK : qtk_error_memory(most * 6, "a digest");

  for (int64_t row = 0; rc == QTK_OK && row < rows; row += at_once) {
    int64_t n = rows - row < at_once ? rows - row : at_once;
    rc = view->dequantize(view, row, n, floats, cols);
    if (rc == QTK_OK)
      rc = qtk_convert(QTK_F16, halves, QTK_F32, floats, (size_t)(n * cols));
    if (rc == QTK_OK)
      qtk_digest_add(d, halves, (size_t)(n * cols) * sizeof *halves);
  }
  free(floats);
  free(halves);
  return rc;
}

/* As a bundle will hold it, so that what is bound to the model is bound to its bundle, too. */
static int digest_rows(const struct qtk_stored *stored, uint8_t out[QTK_DIGEST_BYTES])
{
  uint8_t parts[QTK_PARTS][QTK_DIGEST_BYTES] = {0};
  struct qtk_stored held = *stored;
  struct qtk_digest d;
  int rc;

  held.view.layout = (struct qtk_qlayout){.encoding = QTK_DENSE,
                                          .dtype = QTK_F16,
                                          .rows = stored->view.layout.rows,
                                          .cols = stored->view.layout.cols};
  qtk_digest_begin(&d);
  rc = digest_halves(&stored->view, &d);
  qtk_digest_end(&d, parts[QTK_PART_CODES]);
  if (rc == QTK_OK)
    rc = qtk_qlayout_init(&held.view.layout);
  return rc == QTK_OK ? qtk_stored_digest_of_parts(&held, (const uint8_t(*)[QTK_DIGEST_BYTES])parts,
                                                   out)
                      : rc;
}

static int digest_tensor(struct qtk_model *m, int i, uint8_t out[QTK_DIGEST_BYTES])
{
  const struct qtk_model_tensor *t = &m->tensors[i].t;
  struct qtk_stored stored = {.name = t->name, .ndim = t->ndim, .shape = {t->rows, t->cols}};
  int rc = qtk_model_hold(m->ctx, m, i, &stored.view);

  if (rc != QTK_OK)
    return rc;
  if (stored.view.layout.encoding == QTK_OPAQUE && stored.view.codes == NULL)
    rc = digest_rows(&stored, out);
  else
    rc = qtk_stored_digest(&stored, out);
  qtk_model_release(m->ctx, m, i);
  qtk_model_drop(m, i);
  return rc;
}

struct digest_all {
  struct qtk_model *m;
  uint8_t (*digests)[QTK_DIGEST_BYTES];
};

static int digest_one(void *arg, size_t i)
{
  struct digest_all *all = arg;

  return digest_tensor(all->m, (int)i, all->digests[i]);
}

/* Of the tensors as they are held now. */
static int digest_hash(struct qtk_context *ctx, struct qtk_model *m)
{
  struct digest_all all = {m, calloc((size_t)m->n, QTK_DIGEST_BYTES)};
  const char **names = calloc((size_t)m->n, sizeof *names);
  uint8_t digest[QTK_DIGEST_BYTES];
  int rc = QTK_OK;

  if (all.digests == NULL || names == NULL)
    rc = qtk_error_memory((size_t)m->n * QTK_DIGEST_BYTES, "digests");
  for (int i = 0; rc == QTK_OK && i < m->n; i++)
    names[i] = m->tensors[i].t.name;
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, (size_t)m->n, digest_one, &all);
  if (rc == QTK_OK)
    rc = qtk_stored_digest_model(names, (const uint8_t(*)[QTK_DIGEST_BYTES])all.digests,
                                 (size_t)m->n, digest);
  if (rc == QTK_OK)
    qtk_digest_hex(digest, m->digest);
  free(names);
  free(all.digests);
  return rc;
}

int qtk_model_digest(struct qtk_context *ctx, struct qtk_model *m, char hex[65])
{
  int rc = m->digest[0] != '\0' ? QTK_OK : digest_hash(ctx, m);

  if (rc == QTK_OK)
    memcpy(hex, m->digest, QTK_DIGEST_HEX);
  return rc;
}

int qtk_model_tensor_digest(struct qtk_model *m, int i, char hex[65])
{
  uint8_t digest[QTK_DIGEST_BYTES];
  int rc = digest_tensor(m, i, digest);

  if (rc == QTK_OK)
    qtk_digest_hex(digest, hex);
  return rc;
}
