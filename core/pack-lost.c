/* SPDX-License-Identifier: BSD-3-Clause
 * What a tensor has lost of the weights that it was made of. */
#include <stdlib.h>

#include "core/error.h"
#include "core/pack.h"

#define LOST_FLOATS (1 << 16) /* rows that are read at once */

/* Eight sums, added up in a fixed order: quick, and the same everywhere. */
void qtk_sum_lost(const float *w, const float *what, size_t n, double *lost, double *whole)
{
  double l[8] = {0}, s[8] = {0};
  size_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (size_t k = 0; k < 8; k++) {
      double a = w[i + k], d = a - what[i + k];
      l[k] += d * d;
      s[k] += a * a;
    }
  for (; i < n; i++) {
    double a = w[i], d = a - what[i];
    l[0] += d * d;
    s[0] += a * a;
  }
  *lost += ((l[0] + l[1]) + (l[2] + l[3])) + ((l[4] + l[5]) + (l[6] + l[7]));
  *whole += ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

int qtk_qtensor_lost(const struct qtk_qtensor *t, const float *w, double *lost, double *whole)
{
  int64_t rows = t->layout.rows, cols = t->layout.cols;
  int64_t step = LOST_FLOATS / cols + 1;
  float *what = malloc((size_t)(step * cols) * sizeof *what);
  int rc = what ? QTK_OK : qtk_error_memory((size_t)(step * cols) * sizeof *what, "rows");

  *lost = *whole = 0;
  for (int64_t row = 0; row < rows && rc == QTK_OK; row += step) {
    int64_t n = rows - row < step ? rows - row : step;
    rc = qtk_dequantize_rows(t, NULL, row, n, what, cols);
    if (rc == QTK_OK)
      qtk_sum_lost(w + row * cols, what, (size_t)(n * cols), lost, whole);
  }
  free(what);
  return rc;
}
