/* SPDX-License-Identifier: BSD-3-Clause
 * A tensor of the file with other scales: its codes stay where they are. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/model-inner.h"

int qtk_model_rescale(struct qtk_model *m, int i, const void *scales, const void *minima)
{
  struct model_tensor *t = &m->tensors[i];
  enum qtk_encoding encoding = t->t.layout.encoding;

  if (t->holds > 0 || (!t->replaced && !t->quantized) ||
      (encoding != QTK_AFFINE && encoding != QTK_CODEBOOK))
    return qtk_error(QTK_EINTERNAL, "%s has no scales that could be others", t->t.name);
  m->digest[0] = '\0';
  if (t->replaced) {
    t->view.scales = (void *)(uintptr_t)scales;
    t->view.zeros = minima != NULL ? (void *)(uintptr_t)minima : t->view.zeros;
    return QTK_OK;
  }
  t->scales = scales;
  t->minima = minima;
  return QTK_OK;
}

void qtk_model_put_scales(const struct model_tensor *t, struct qtk_qtensor *view)
{
  if (t->scales != NULL)
    view->scales = (void *)(uintptr_t)t->scales;
  if (t->minima != NULL)
    view->zeros = (void *)(uintptr_t)t->minima;
}

/* ---- rows of the file ------------------------------------------------------------------- */

/* The parts of rows from `row` on, of the scales' size each. */
static const void *rescale_rows(const struct model_tensor *t, const void *part, int64_t row)
{
  const struct qtk_qlayout *l = &t->t.layout;

  return (const char *)part + (size_t)(row * l->groups) * qtk_dtype_size(l->scale_dtype);
}

/* n rows that follow each other in the file. */
static int rescale_run(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                       int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  struct qtk_qlayout layout = t->t.layout;
  int rc;

  layout.rows = n;
  rc = qtk_qlayout_init(&layout);
  void *block = rc == QTK_OK ? malloc(qtk_qtensor_block_bytes(&layout)) : NULL;
  if (rc == QTK_OK && block == NULL)
    return qtk_error_memory(qtk_qtensor_block_bytes(&layout), "rows of a tensor");
  if (rc != QTK_OK)
    return rc;
  struct qtk_qtensor view = qtk_qtensor_over(&layout, block);
  rc = s->ops->read_quantized(s->h, t->file, qtk_model_file_row(t, row), n, &view);
  view.scales = (void *)(uintptr_t)rescale_rows(t, t->scales, row);
  if (t->minima != NULL)
    view.zeros = (void *)(uintptr_t)rescale_rows(t, t->minima, row);
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&view, NULL, 0, n, out, stride);
  free(block);
  return rc;
}

int qtk_model_read_rescaled(const struct model_tensor *t, int64_t row, int64_t n, float *out,
                            int64_t stride)
{
  const struct qtk_source *s = t->m->source;
  struct qtk_qtensor view;
  int rc = QTK_OK;

  if (qtk_model_maps_quantized(t)) {
    rc = s->ops->map_quantized(s->h, t->file, &view);
    qtk_model_put_scales(t, &view);
    if (rc == QTK_OK)
      rc = qtk_dequantize_rows(&view, NULL, row, n, out, stride);
    return rc == QTK_OK ? rc : qtk_model_at(t, rc);
  }
  for (int64_t r = 0; rc == QTK_OK && r < n;) {
    int64_t run = qtk_model_run(t, row + r, n - r);
    rc = rescale_run(t, row + r, run, out + r * stride, stride);
    r += run;
  }
  return rc == QTK_OK ? rc : qtk_model_at(t, rc);
}
