/* SPDX-License-Identifier: BSD-3-Clause
 * tr (w gram wT), in pieces of rows. */
#include "plugins/optq/output.h"

#include <qtk/ops.h>

#define OUTPUT_ROWS 256

/* What the pieces share, in backend memory. */
struct output {
  struct qtk_context *ctx;
  struct qtk_tensor gram; /* [cols, cols] */
  struct qtk_tensor w, y; /* [OUTPUT_ROWS, cols] */
};

static int output_open(struct output *o, int64_t cols, const float *gram)
{
  int rc = qtk_device_matrix(o->ctx, OUTPUT_ROWS, cols, "scratch", &o->w);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(o->ctx, OUTPUT_ROWS, cols, "scratch", &o->y);
  o->gram = qtk_matrix(QTK_F32, (void *)(uintptr_t)gram, cols, cols);
  if (rc != QTK_OK || qtk_device_is_host(o->ctx))
    return rc;
  rc = qtk_device_matrix(o->ctx, cols, cols, "scratch", &o->gram);
  if (rc != QTK_OK)
    return rc;
  return qtk_device_upload(o->ctx, o->gram.data, gram, (size_t)(cols * cols) * sizeof *gram);
}

static void output_close(struct output *o, const float *gram)
{
  qtk_device_free(o->ctx, o->w.data);
  qtk_device_free(o->ctx, o->y.data);
  if (o->gram.data != gram)
    qtk_device_free(o->ctx, o->gram.data);
}

static int output_piece(const struct output *o, const float *w, int64_t rows, double *squares)
{
  struct qtk_tensor x = qtk_rows_of(&o->w, 0, rows), y = qtk_rows_of(&o->y, 0, rows);
  double sum = 0;
  int rc = qtk_device_upload(o->ctx, x.data, w,
                             (size_t)(rows * qtk_tensor_cols(&x)) * sizeof *w);
  if (rc == QTK_OK)
    rc = qtk_op_matmul(o->ctx, 0, 0, 1, &x, &o->gram, 0, &y);
  if (rc == QTK_OK)
    rc = qtk_op_dot(o->ctx, &x, &y, &sum);
  *squares += sum;
  return rc;
}

int optq_output(struct qtk_context *ctx, const struct qtk_linear *linear,
                const struct qtk_calibration *c, const float *w, double *squares)
{
  struct output o = {.ctx = ctx};
  int rc = output_open(&o, linear->cols, c->gram);
  *squares = 0;
  for (int64_t row = 0; row < linear->rows && rc == QTK_OK; row += OUTPUT_ROWS) {
    int64_t left = linear->rows - row;
    rc = output_piece(&o, w + row * linear->cols, left < OUTPUT_ROWS ? left : OUTPUT_ROWS,
                      squares);
  }
  output_close(&o, c->gram);
  return rc;
}
