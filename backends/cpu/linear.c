/* SPDX-License-Identifier: BSD-3-Clause
 * Products with weight matrices: forward, and back to the input. */
#include "weights.h"

/* Tokens that are better multiplied row by row of w: of codes, and of floats. */
#define LINEAR_FEW_CODES 32
#define LINEAR_FEW_FLOATS 8
#define LINEAR_SLAB (1 << 20) /* floats of an opaque matrix that are at hand at once */
#define LINEAR_SLAB_LEAST 64  /* and rows */

/* ---- few tokens: each row of the weights is read once -------------------------------- */

struct linear_few {
  struct cpu *cpu;
  const struct cpu_weights *w;
  const struct qtk_tensor *x;
  struct qtk_tensor *y;
  int accumulate;
  int64_t block; /* rows of w a task */
};

static void linear_few_add(const struct linear_few *f, int64_t t, int64_t row, int64_t n,
                           const float *sums)
{
  float *y = cpu_row(f->y, t) + row;

  for (int64_t i = 0; i < n; i++)
    y[i] = f->accumulate ? y[i] + sums[i] : sums[i];
}

static int linear_few_task(void *arg, size_t i)
{
  const struct linear_few *f = arg;
  int64_t row = (int64_t)i * f->block, n = cpu_min(f->block, f->w->t->layout.rows - row);
  int64_t tokens = qtk_tensor_rows(f->x);
  float *sums = cpu_own(f->cpu), *work = sums + CPU_DOT_TOKENS * f->block;

  for (int64_t t0 = 0; t0 < tokens; t0 += CPU_DOT_TOKENS) {
    int64_t few = cpu_min(CPU_DOT_TOKENS, tokens - t0);
    f->cpu->k.dot_rows(f->w, row, n, few, cpu_row(f->x, t0), f->x->stride, work, sums, f->block);
    for (int64_t t = 0; t < few; t++)
      linear_few_add(f, t0 + t, row, n, sums + t * f->block);
  }
  return QTK_OK;
}

static int linear_few(struct cpu *cpu, const struct qtk_tensor *x, const struct cpu_weights *w,
                      struct qtk_tensor *y, int accumulate)
{
  const struct qtk_qlayout *l = &w->t->layout;
  struct linear_few f = {cpu, w, x, y, accumulate, 8};
  int rc;

  if (l->cols > 0)
    f.block = cpu_round_up(cpu_ceil(2 * CPU_PIECE, l->cols), 8);
  rc = cpu_reserve(cpu, 0, (size_t)(CPU_DOT_TOKENS * f.block + cpu_row_work(l)) * sizeof(float));
  if (rc != QTK_OK)
    return rc;
  return cpu_parallel(cpu, cpu_ceil(l->rows, f.block), linear_few_task, &f);
}

/* ---- many tokens ------------------------------------------------------------------------ */

static int linear_many(struct cpu *cpu, const struct qtk_tensor *x, const struct cpu_weights *w,
                       struct qtk_tensor *y, int accumulate)
{
  const struct qtk_qlayout *l = &w->t->layout;
  struct cpu_product p = {.m = qtk_tensor_rows(x),
                          .n = l->rows,
                          .k = l->cols,
                          .alpha = 1,
                          .a = x->data,
                          .lda = x->stride,
                          .w = w,
                          .b_rows = 1,
                          .c = y->data,
                          .ldc = y->stride,
                          .accumulate = accumulate};

  if (l->encoding == QTK_DENSE && l->dtype == QTK_F32) {
    p.w = NULL;
    p.b = w->t->codes;
    p.ldb = (int64_t)(l->row_bytes / sizeof(float));
  }
  return cpu_product(cpu, &p);
}

static int linear_readable(struct cpu *cpu, const struct qtk_tensor *x, const struct cpu_weights *w,
                           struct qtk_tensor *y, int accumulate)
{
  int64_t few = w->t->layout.encoding == QTK_DENSE ? LINEAR_FEW_FLOATS : LINEAR_FEW_CODES;

  if (qtk_tensor_rows(x) <= few)
    return linear_few(cpu, x, w, y, accumulate);
  return linear_many(cpu, x, w, y, accumulate);
}

static int linear_back(struct cpu *cpu, const struct qtk_tensor *dy, const struct cpu_weights *w,
                       struct qtk_tensor *dx, int accumulate)
{
  const struct qtk_qlayout *l = &w->t->layout;
  struct cpu_product p = {.m = qtk_tensor_rows(dy),
                          .n = l->cols,
                          .k = l->rows,
                          .alpha = 1,
                          .a = dy->data,
                          .lda = dy->stride,
                          .w = w,
                          .c = dx->data,
                          .ldc = dx->stride,
                          .accumulate = accumulate};

  if (l->encoding == QTK_DENSE && l->dtype == QTK_F32) {
    p.w = NULL;
    p.b = w->t->codes;
    p.ldb = (int64_t)(l->row_bytes / sizeof(float));
  }
  return cpu_product(cpu, &p);
}

/* ---- opaque matrices: some rows at a time are made dense ----------------------------------- */

static int64_t linear_slab_rows(const struct qtk_qlayout *l)
{
  int64_t rows = l->cols > 0 ? LINEAR_SLAB / l->cols : l->rows;

  return rows < LINEAR_SLAB_LEAST ? LINEAR_SLAB_LEAST : rows;
}

size_t cpu_slab_bytes(const struct qtk_qlayout *l)
{
  return (size_t)(cpu_min(linear_slab_rows(l), l->rows) * l->cols) * sizeof(float);
}

/* Rows [row, row + n) of an opaque matrix as a dense one in the slab. */
static int linear_slab(struct cpu *cpu, const struct cpu_weights *w, int64_t row, int64_t n,
                       struct qtk_qtensor *dense)
{
  const struct qtk_qlayout *l = &w->t->layout;
  struct qtk_qlayout layout = {.encoding = QTK_DENSE,
                               .rows = n,
                               .cols = l->cols,
                               .dtype = QTK_F32,
                               .row_bytes = (size_t)l->cols * sizeof(float)};
  int rc = cpu_reserve_slab(cpu, (size_t)(n * l->cols) * sizeof(float));

  if (rc != QTK_OK)
    return rc;
  *dense = (struct qtk_qtensor){.layout = layout, .codes = cpu->slab.memory};
  return cpu_weights_rows(cpu, w, row, n, cpu->slab.memory, l->cols);
}

/* out = in w^T in slabs, or in w where it goes back: then what out gets from slabs adds up. */
static int linear_opaque(struct cpu *cpu, const struct qtk_tensor *in, const struct cpu_weights *w,
                         struct qtk_tensor *out, int accumulate, int back)
{
  int64_t rows = w->t->layout.rows, block = linear_slab_rows(&w->t->layout);
  int rc = QTK_OK;

  for (int64_t row = 0; row < rows && rc == QTK_OK; row += block) {
    int64_t n = cpu_min(block, rows - row);
    struct qtk_tensor part = qtk_cols_of(back ? in : out, row, n);
    struct qtk_qtensor dense;
    rc = linear_slab(cpu, w, row, n, &dense);
    if (rc != QTK_OK)
      return rc;
    struct cpu_weights view = cpu_weights(&dense, NULL);
    rc = back ? linear_back(cpu, &part, &view, out, accumulate || row > 0)
              : linear_readable(cpu, in, &view, &part, accumulate);
  }
  return rc;
}

/* ---- slots ------------------------------------------------------------------------------------
 */

struct linear_bias {
  const struct cpu *cpu;
  const float *bias;
  struct qtk_tensor *y;
  int accumulate;
};

static void linear_bias(void *arg, int64_t row, int64_t n)
{
  const struct linear_bias *b = arg;
  int64_t cols = qtk_tensor_cols(b->y);

  for (int64_t t = row; t < row + n; t++) {
    float *y = cpu_row(b->y, t);
    if (b->accumulate)
      b->cpu->k.add(cols, y, b->bias, y);
    else
      b->cpu->k.scale(cols, 1, b->bias, y);
  }
}

int cpu_linear(void *h, const struct qtk_tensor *x, const struct qtk_qtensor *w,
               const struct qtk_tensor *scales, const struct qtk_tensor *bias, struct qtk_tensor *y,
               int accumulate)
{
  struct cpu_weights view = cpu_weights(w, scales);

  if (bias != NULL) {
    struct linear_bias b = {h, bias->data, y, accumulate};
    int rc = cpu_by_rows(h, qtk_tensor_rows(y), qtk_tensor_cols(y), linear_bias, &b);
    if (rc != QTK_OK)
      return rc;
    accumulate = 1;
  }
  if (w->layout.encoding == QTK_OPAQUE)
    return linear_opaque(h, x, &view, y, accumulate, 0);
  return linear_readable(h, x, &view, y, accumulate);
}

int cpu_linear_dx(void *h, const struct qtk_tensor *dy, const struct qtk_qtensor *w,
                  const struct qtk_tensor *scales, struct qtk_tensor *dx, int accumulate)
{
  struct cpu_weights view = cpu_weights(w, scales);

  if (w->layout.encoding == QTK_OPAQUE)
    return linear_opaque(h, dy, &view, dx, accumulate, 1);
  return linear_back(h, dy, &view, dx, accumulate);
}
