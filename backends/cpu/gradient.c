/* SPDX-License-Identifier: BSD-3-Clause
 * Gradients of weights and scales, dense products, sums over calibration tokens. */
#include "weights.h"

int cpu_matmul(void *h, int ta, int tb, float alpha, const struct qtk_tensor *a,
               const struct qtk_tensor *b, float beta, struct qtk_tensor *y)
{
  struct cpu_product p = {.m = qtk_tensor_rows(y),
                          .n = qtk_tensor_cols(y),
                          .k = ta ? qtk_tensor_rows(a) : qtk_tensor_cols(a),
                          .alpha = alpha,
                          .a = a->data,
                          .lda = a->stride,
                          .a_cols = ta,
                          .b = b->data,
                          .ldb = b->stride,
                          .b_rows = tb,
                          .c = y->data,
                          .ldc = y->stride,
                          .accumulate = beta != 0};
  int rc;

  if (beta != 0 && beta != 1 && (rc = cpu_scale(h, beta, y, y)) != QTK_OK)
    return rc;
  return cpu_product(h, &p);
}

/* c += alpha aT b. */
static int gradient_add(struct cpu *cpu, float alpha, const struct qtk_tensor *a,
                        const struct qtk_tensor *b, struct qtk_tensor *c, int lower)
{
  struct cpu_product p = {.m = qtk_tensor_cols(a),
                          .n = qtk_tensor_cols(b),
                          .k = qtk_tensor_rows(a),
                          .alpha = alpha,
                          .a = a->data,
                          .lda = a->stride,
                          .a_cols = 1,
                          .b = b->data,
                          .ldb = b->stride,
                          .c = c->data,
                          .ldc = c->stride,
                          .accumulate = 1,
                          .lower = lower};

  return cpu_product(cpu, &p);
}

int cpu_linear_dw(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                  struct qtk_tensor *dw)
{
  return gradient_add(h, 1, dy, x, dw, 0);
}

int cpu_cross(void *h, float alpha, const struct qtk_tensor *a, const struct qtk_tensor *b,
              struct qtk_tensor *C)
{
  return gradient_add(h, alpha, a, b, C, 0);
}

#define MIRROR_TILE 32

/* Row r of tiles above the diagonal from the column below it. */
static int gradient_mirror(void *arg, size_t r)
{
  const struct qtk_tensor *t = arg;
  int64_t n = qtk_tensor_rows(t), i0 = (int64_t)r * MIRROR_TILE;

  for (int64_t j0 = i0; j0 < n; j0 += MIRROR_TILE)
    for (int64_t i = i0; i < n && i < i0 + MIRROR_TILE; i++)
      for (int64_t j = j0 > i ? j0 : i + 1; j < n && j < j0 + MIRROR_TILE; j++)
        cpu_row(t, i)[j] = cpu_row(t, j)[i];
  return QTK_OK;
}

int cpu_gram(void *h, float alpha, const struct qtk_tensor *x, struct qtk_tensor *H)
{
  int rc = gradient_add(h, alpha, x, x, H, 1);

  if (rc != QTK_OK)
    return rc;
  return cpu_parallel(h, cpu_ceil(qtk_tensor_rows(H), MIRROR_TILE), gradient_mirror, H);
}

/* ---- scales ----------------------------------------------------------------------------- */

/* The product xT dy [cols, rows] of w is made in tiles; each is contracted with the
 * weights at scales of 1 within the groups. Columns of the product, rows of w, belong
 * to one task. */
struct gradient_scales {
  struct cpu_weights w;
  struct qtk_tensor *ds;
};

#define SCALES_ROWS 48 /* of w in a tile */

static void gradient_flush(const struct gradient_scales *s, int64_t row, int64_t rows,
                           int64_t group, double *sums)
{
  for (int64_t r = 0; r < rows; r++) {
    float *ds = cpu_row(s->ds, row + r) + group;
    *ds = (float)((double)*ds + sums[r]);
    sums[r] = 0;
  }
}

/* u [cols, SCALES_ROWS]: the weights of columns [col, col + cols) and rows [row, ..)
 * side by side. */
static void gradient_units(const struct gradient_scales *s, struct cpu *cpu, int64_t col,
                           int64_t cols, int64_t row, int64_t rows, float *u, float *work)
{
  float *one = u + cols * SCALES_ROWS;

  for (int64_t r = 0; r < rows; r++) {
    cpu->k.dequantize(&s->w, row + r, col, cols, work, one);
    cpu->k.pack_rows(cols, 1, 1, SCALES_ROWS, 1, one, cols, u + r);
  }
}

static void gradient_contract(const struct cpu_product *p, struct cpu *cpu, int64_t col,
                              int64_t cols, int64_t row, int64_t rows, const float *tile,
                              int64_t ldc, float *work)
{
  const struct gradient_scales *s = p->arg;
  const struct qtk_qtensor *t = s->w.t;
  float *u = work + cpu_row_work(&t->layout);
  double sums[SCALES_ROWS] = {0};
  int64_t group = -1;

  gradient_units(s, cpu, col, cols, row, rows, u, work);
  for (int64_t i = 0; i < cols; i++) {
    int64_t g = t->g_idx != NULL ? t->g_idx[col + i] : (col + i) / t->layout.group;
    if (g != group && group >= 0)
      gradient_flush(s, row, rows, group, sums);
    group = g;
    for (int64_t r = 0; r < rows; r++)
      sums[r] += (double)tile[i * ldc + r] * (double)u[i * SCALES_ROWS + r];
  }
  gradient_flush(s, row, rows, group, sums);
}

int cpu_linear_dscale(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                      const struct qtk_qtensor *w, struct qtk_tensor *ds)
{
  struct gradient_scales s = {cpu_weights(w, NULL), ds};
  int64_t tile = CPU_PRODUCT_ROWS * (SCALES_ROWS + 1);
  struct cpu_product p = {.m = qtk_tensor_cols(x),
                          .n = qtk_tensor_cols(dy),
                          .k = qtk_tensor_rows(x),
                          .alpha = 1,
                          .a = x->data,
                          .lda = x->stride,
                          .a_cols = 1,
                          .b = dy->data,
                          .ldb = dy->stride,
                          .sink = gradient_contract,
                          .arg = &s};

  s.w.unit = 1;
  p.sink_bytes = (size_t)(cpu_row_work(&w->layout) + tile) * sizeof(float);
  return p.k > 0 ? cpu_product(h, &p) : QTK_OK;
}
