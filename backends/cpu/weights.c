/* SPDX-License-Identifier: BSD-3-Clause
 * Weight matrices: rows as floats, embedding. */
#include <string.h>

#include "weights.h"

struct cpu_weights cpu_weights(const struct qtk_qtensor *t, const struct qtk_tensor *scales)
{
  struct cpu_weights w = {.t = t,
                          .scales = t->scales,
                          .scale_dtype = t->layout.scale_dtype,
                          .scale_stride = t->layout.groups,
                          .own = 1};

  if (scales != NULL) {
    w.scales = scales->data;
    w.scale_dtype = scales->dtype;
    w.scale_stride = scales->stride;
    w.own = 0;
  }
  return w;
}

/* ---- rows of any encoding ----------------------------------------------------- */

struct weights_rows {
  struct cpu *cpu;
  struct cpu_weights w;
  int64_t first;
  const int32_t *ids; /* the rows, or NULL: from `first` on */
  float *out;
  int64_t stride;
  int64_t rows, block;
};

static int weights_rows(void *arg, size_t i)
{
  const struct weights_rows *r = arg;
  const struct qtk_qtensor *t = r->w.t;
  int64_t row = (int64_t)i * r->block, end = cpu_min(row + r->block, r->rows);
  int rc = QTK_OK;

  for (; row < end && rc == QTK_OK; row++) {
    int64_t from = r->ids != NULL ? r->ids[row] : r->first + row;
    float *out = r->out + row * r->stride;
    if (t->layout.encoding == QTK_OPAQUE)
      rc = qtk_dequantize_rows(t, NULL, from, 1, out, t->layout.cols);
    else
      r->cpu->k.dequantize(&r->w, from, 0, t->layout.cols, cpu_own(r->cpu), out);
  }
  return rc;
}

static int weights_run(struct weights_rows *r)
{
  const struct qtk_qlayout *l = &r->w.t->layout;
  int rc = cpu_reserve(r->cpu, 0, (size_t)cpu_row_work(l) * sizeof(float));

  if (rc != QTK_OK)
    return rc;
  r->block = cpu_ceil(CPU_PIECE, l->cols > 0 ? l->cols : 1);
  return cpu_parallel(r->cpu, cpu_ceil(r->rows, r->block), weights_rows, r);
}

int cpu_weights_rows(struct cpu *cpu, const struct cpu_weights *w, int64_t row, int64_t n,
                     float *out, int64_t stride)
{
  struct weights_rows r = {
      .cpu = cpu, .w = *w, .first = row, .out = out, .stride = stride, .rows = n};

  return weights_run(&r);
}

int cpu_dequantize(void *h, const struct qtk_qtensor *w, const struct qtk_tensor *scales,
                   int64_t row, struct qtk_tensor *out)
{
  struct cpu_weights view = cpu_weights(w, scales);

  return cpu_weights_rows(h, &view, row, qtk_tensor_rows(out), out->data, out->stride);
}

/* ---- embedding ------------------------------------------------------------------- */

int cpu_embedding(void *h, const struct qtk_qtensor *w, const int32_t *ids, struct qtk_tensor *y)
{
  struct weights_rows r = {.cpu = h,
                           .w = cpu_weights(w, NULL),
                           .ids = ids,
                           .out = y->data,
                           .stride = y->stride,
                           .rows = qtk_tensor_rows(y)};

  return weights_run(&r);
}

struct weights_scatter {
  const struct cpu *cpu;
  const int32_t *ids;
  const struct qtk_tensor *dy;
  struct qtk_tensor *dw;
};

#define SCATTER_COLUMNS 64

/* A task owns some columns of all rows, so that equal ids add in their order. */
static int weights_scatter(void *arg, size_t i)
{
  const struct weights_scatter *s = arg;
  int64_t col = (int64_t)i * SCATTER_COLUMNS;
  int64_t n = cpu_min(SCATTER_COLUMNS, qtk_tensor_cols(s->dy) - col);

  for (int64_t t = 0; t < qtk_tensor_rows(s->dy); t++) {
    float *out = cpu_row(s->dw, s->ids[t]) + col;
    s->cpu->k.add(n, out, cpu_row(s->dy, t) + col, out);
  }
  return QTK_OK;
}

int cpu_embedding_backward(void *h, const int32_t *ids, const struct qtk_tensor *dy,
                           struct qtk_tensor *dw)
{
  struct weights_scatter s = {h, ids, dy, dw};

  return cpu_parallel(h, cpu_ceil(qtk_tensor_cols(dy), SCATTER_COLUMNS), weights_scatter, &s);
}
