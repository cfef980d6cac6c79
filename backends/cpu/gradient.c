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

/* n columns of the tile are of one group: adds their part to its gradients. */
static void gradient_group(const struct gradient_scales *s, const struct cpu *cpu, int64_t row,
                           int64_t rows, int64_t group, int64_t n, const float *tile, int64_t ldc,
                           const float *u)
{
  float sums[SCALES_ROWS] = {0};

  cpu->k.sum_rows(n, rows, tile, ldc, u, SCALES_ROWS, sums);
  for (int64_t r = 0; r < rows; r++)
    cpu_row(s->ds, row + r)[group] += sums[r];
}

static int64_t gradient_group_of(const struct qtk_qtensor *t, int64_t col)
{
  return t->g_idx != NULL ? t->g_idx[col] : col / t->layout.group;
}

static void gradient_contract(const struct cpu_product *p, struct cpu *cpu, int64_t col,
                              int64_t cols, int64_t row, int64_t rows, const float *tile,
                              int64_t ldc, float *work)
{
  const struct gradient_scales *s = p->arg;
  float *u = work + cpu_panel_work(&s->w.t->layout, cols);

  /* u [cols, SCALES_ROWS]: the weights of these columns and rows side by side. */
  cpu->k.panel_rows(&s->w, row, rows, col, cols, SCALES_ROWS, work, u);
  for (int64_t i = 0, end; i < cols; i = end) {
    int64_t group = gradient_group_of(s->w.t, col + i);
    for (end = i + 1; end < cols && gradient_group_of(s->w.t, col + end) == group;)
      end++;
    gradient_group(s, cpu, row, rows, group, end - i, tile + i * ldc, ldc, u + i * SCALES_ROWS);
  }
}

/* The product's shape; operands are the caller's to put in. */
static struct cpu_product gradient_product(const struct qtk_qlayout *w, int64_t tokens)
{
  int64_t tile = CPU_PRODUCT_ROWS * SCALES_ROWS;
  size_t work = (size_t)(cpu_panel_work(w, CPU_PRODUCT_ROWS) + tile) * sizeof(float);

  return (struct cpu_product){.m = w->cols,
                              .n = w->rows,
                              .k = tokens,
                              .alpha = 1,
                              .a_cols = 1,
                              .sink = gradient_contract,
                              .sink_bytes = work};
}

void cpu_dscale_room(struct cpu *cpu, const struct qtk_qlayout *w, int64_t tokens,
                     struct cpu_room *room)
{
  struct cpu_product p = gradient_product(w, tokens);

  cpu_product_room(cpu, &p, room);
}

int cpu_linear_dscale(void *h, const struct qtk_tensor *dy, const struct qtk_tensor *x,
                      const struct qtk_qtensor *w, struct qtk_tensor *ds)
{
  struct gradient_scales s = {cpu_weights(w, NULL), ds};
  struct cpu_product p = gradient_product(&w->layout, qtk_tensor_rows(x));

  s.w.unit = 1;
  p.a = x->data;
  p.lda = x->stride;
  p.b = dy->data;
  p.ldb = dy->stride;
  p.arg = &s;
  return p.k > 0 ? cpu_product(h, &p) : QTK_OK;
}
