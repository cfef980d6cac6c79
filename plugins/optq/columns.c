/* SPDX-License-Identifier: BSD-3-Clause
 * The loop over columns.
 *
 * Blocks of columns go from left to right. Inside a block a slice of rows is the work
 * of one thread, with rows side by side: the slice is turned, and column j becomes
 *
 *   w[j] - sum over k < j of e[k] U[k, j] (+ v[k] P[k, j])
 *
 * just before it is rounded, e the errors over U[k, k], v the weights as they were
 * rounded. After the block one product brings all columns behind it up to date. Groups
 * never straddle the blocks but where they begin with one, so that the weights from
 * which a grid is chosen are always up to date. Sums go by k, whatever the threads. */
#include "plugins/optq/columns.h"

#include <string.h>

struct block {
  struct optq_columns *k;
  int64_t start, n;
  float *u, *p;   /* [n, n], turned: u[j * n + k] = U[start + k, start + j]; p or NULL */
  float *e, *v;   /* [rows, n]; v or NULL */
  double *losses; /* [slices] */
};

/* A slice of rows, turned: [column][row]. */
struct slice {
  const struct block *b;
  int64_t row, rows; /* rows <= OPTQ_SLICE; those beyond are zeros */
  float scale[OPTQ_SLICE], zero[OPTQ_SLICE];
  float w[OPTQ_BLOCK][OPTQ_SLICE], e[OPTQ_BLOCK][OPTQ_SLICE];
  double loss[OPTQ_SLICE];
};

static int64_t columns_top(const struct optq_columns *k)
{
  return (1 << k->rule.bits) - 1;
}

/* ---- grids --------------------------------------------------------------------------------- */

static int columns_grid(const struct optq_columns *k, const float *x, const float *value,
                        int64_t n, int64_t row, int64_t column, int64_t group)
{
  struct grid grid;
  if (!grid_choose(&k->rule, x, value, n, &grid))
    return grid_refuse(&k->rule, x, n, k->linear->row + row, column);
  qtk_set_scale(k->out, row, group, grid.scale);
  if (!k->rule.symmetric)
    qtk_set_zero(k->out, row, group, grid.zero);
  return QTK_OK;
}

struct columns_grids {
  const struct optq_columns *k;
  int64_t group;
};

static int columns_grids_slice(void *arg, size_t task)
{
  const struct columns_grids *g = arg;
  const struct optq_columns *k = g->k;
  int64_t row = (int64_t)task * OPTQ_SLICE, end = row + OPTQ_SLICE, cols = k->linear->cols;
  int rc = QTK_OK;
  for (; row < end && row < k->linear->rows; row++)
    for (int64_t col = 0; col < cols && rc == QTK_OK; col += g->group) {
      int64_t n = cols - col < g->group ? cols - col : g->group;
      rc = columns_grid(k, k->w + row * cols + col, k->value + col, n, row, col, col / g->group);
    }
  return rc;
}

static size_t columns_slices(const struct optq_columns *k)
{
  return (size_t)((k->linear->rows + OPTQ_SLICE - 1) / OPTQ_SLICE);
}

int optq_columns_grids(struct qtk_context *ctx, const struct optq_columns *k, int64_t group)
{
  struct columns_grids g = {k, group};
  return qtk_parallel(ctx, columns_slices(k), columns_grids_slice, &g);
}

/* The grids of the run that begins at column j of the block. If it does so at the block's
 * first column, it may be longer than the block; its weights are in place then. */
static int slice_choose(const struct slice *s, int64_t j)
{
  const struct block *b = s->b;
  const struct optq_order *o = b->k->order;
  int64_t p = b->start + j, n = optq_order_run(o, p) - p, cols = o->n;
  float x[OPTQ_BLOCK];
  int rc = QTK_OK;
  for (int64_t r = 0; r < s->rows && rc == QTK_OK; r++) {
    const float *row = x;
    if (j == 0)
      row = b->k->w + (s->row + r) * cols + p;
    else
      for (int64_t c = 0; c < n; c++)
        x[c] = s->w[j + c][r];
    rc = columns_grid(b->k, row, b->k->value + p, n, s->row + r, o->column[p], o->group[p]);
  }
  return rc;
}

static void slice_read_grids(struct slice *s, int64_t group)
{
  const struct optq_columns *k = s->b->k;
  for (int64_t r = 0; r < OPTQ_SLICE; r++) {
    int64_t row = s->row + (r < s->rows ? r : 0);
    s->scale[r] = qtk_get_scale(k->out, row, group);
    s->zero[r] = (float)(k->rule.symmetric ? 1 << (k->rule.bits - 1)
                                           : qtk_get_zero(k->out, row, group));
  }
}

/* ---- columns -------------------------------------------------------------------------------- */

/* Column j less what columns [from, to) of the block owe it. */
static void slice_update(struct slice *s, int64_t j, int64_t from, int64_t to)
{
  const struct block *b = s->b;
  const float *u = b->u + j * b->n, *p = b->p ? b->p + j * b->n : NULL;
  float own[OPTQ_SLICE];
  memcpy(own, s->w[j], sizeof own);
  for (int64_t k = from; k < to; k++) {
    const float *e = s->e[k], *v = s->w[k];
    for (int r = 0; r < OPTQ_SLICE; r++)
      own[r] -= e[r] * u[k];
    for (int r = 0; p && r < OPTQ_SLICE; r++)
      own[r] += v[r] * p[k];
  }
  memcpy(s->w[j], own, sizeof own);
}

/* Rounds column j: its errors to s->e, its codes to `codes`. */
static void slice_round(struct slice *s, int64_t j, float codes[OPTQ_SLICE])
{
  const struct block *b = s->b;
  float diagonal = b->u[j * b->n + j], top = (float)columns_top(b->k);
  for (int r = 0; r < OPTQ_SLICE; r++) {
    float w = s->w[j][r], zero = s->zero[r];
    float least = -zero, most = top - zero, q = w / s->scale[r];
    q = q > least ? q : least;
    q = q < most ? q : most;
    q = (q + 0x1.8p23f) - 0x1.8p23f; /* to nearest, ties to even */
    codes[r] = q + zero;
    s->e[j][r] = (w - s->scale[r] * q) / diagonal;
  }
  for (int r = 0; r < OPTQ_SLICE; r++)
    s->loss[r] += (double)s->e[j][r] * (double)s->e[j][r];
}

static void slice_load(struct slice *s)
{
  const struct block *b = s->b;
  int64_t cols = b->k->order->n;
  for (int64_t r = 0; r < OPTQ_SLICE; r++)
    for (int64_t j = 0; j < b->n; j++)
      s->w[j][r] = r < s->rows ? b->k->w[(s->row + r) * cols + b->start + j] : 0.0f;
}

/* Codes of column j into w; errors and rounded weights to where the product finds them. */
static void slice_store(const struct slice *s, int64_t j, const float codes[OPTQ_SLICE])
{
  const struct block *b = s->b;
  int64_t cols = b->k->order->n;
  for (int64_t r = 0; r < s->rows; r++) {
    int64_t row = s->row + r;
    b->k->w[row * cols + b->start + j] = codes[r];
    b->e[row * b->n + j] = s->e[j][r];
    if (b->v)
      b->v[row * b->n + j] = s->w[j][r];
  }
}

static int slice_column(struct slice *s, int64_t j, int64_t *since)
{
  const struct optq_order *o = s->b->k->order;
  int64_t p = s->b->start + j;
  int rc = QTK_OK;
  float codes[OPTQ_SLICE];
  if (!o->fixed && optq_order_begins(o, p)) {
    for (int64_t c = j; j > 0 && c < j + optq_order_run(o, p) - p; c++)
      slice_update(s, c, 0, j);
    *since = j;
    rc = slice_choose(s, j);
  }
  if (rc != QTK_OK)
    return rc;
  if (j == 0 || optq_order_begins(o, p))
    slice_read_grids(s, o->group[p]);
  slice_update(s, j, *since, j);
  slice_round(s, j, codes);
  slice_store(s, j, codes);
  return QTK_OK;
}

static int block_slice(void *arg, size_t task)
{
  const struct block *b = arg;
  int64_t row = (int64_t)task * OPTQ_SLICE, left = b->k->linear->rows - row, since = 0;
  struct slice s = {.b = b, .row = row, .rows = left < OPTQ_SLICE ? left : OPTQ_SLICE};
  int rc = QTK_OK;
  slice_load(&s);
  for (int64_t j = 0; j < b->n && rc == QTK_OK; j++)
    rc = slice_column(&s, j, &since);
  for (int64_t r = 0; r < s.rows; r++)
    b->losses[task] += 0.5 * s.loss[r];
  return rc;
}

/* ---- columns behind the block ------------------------------------------------------------------ */

/* w [rows, behind] += alpha e [rows, n] m [n, behind], where the backend's memory is its own. */
static int behind_sent(struct qtk_context *ctx, const struct block *b, float alpha,
                       const struct qtk_tensor *e, const struct qtk_tensor *m,
                       struct qtk_tensor *w)
{
  int64_t rows = b->k->linear->rows, cols = b->k->order->n, behind = qtk_tensor_cols(w);
  struct qtk_tensor e_there = {0}, m_there = {0}, w_there = {0}, part;
  size_t bytes = (size_t)(rows * behind) * sizeof(float);
  float *sum = qtk_alloc(ctx, bytes, "scratch"), *to = w->data;
  int rc = sum ? qtk_device_matrix(ctx, rows, b->n, "scratch", &e_there) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, b->n, cols, "scratch", &m_there);
  if (rc == QTK_OK)
    rc = qtk_device_matrix(ctx, rows, behind, "scratch", &w_there);
  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, e_there.data, e->data, (size_t)(rows * b->n) * sizeof *sum);
  if (rc == QTK_OK)
    rc = qtk_device_upload(ctx, m_there.data, (const float *)m->data - (cols - behind),
                           (size_t)(b->n * cols) * sizeof *sum);
  if (rc == QTK_OK) {
    part = qtk_cols_of(&m_there, cols - behind, behind);
    rc = qtk_op_matmul(ctx, 0, 0, alpha, &e_there, &part, 0, &w_there);
  }
  if (rc == QTK_OK)
    rc = qtk_device_download(ctx, sum, w_there.data, bytes);
  for (int64_t i = 0; i < rows && rc == QTK_OK; i++)
    for (int64_t j = 0; j < behind; j++)
      to[i * cols + j] += sum[i * behind + j];
  qtk_device_free(ctx, e_there.data);
  qtk_device_free(ctx, m_there.data);
  qtk_device_free(ctx, w_there.data);
  qtk_free(ctx, sum);
  return rc;
}

static int block_behind(struct qtk_context *ctx, const struct block *b, float alpha, float *e,
                        float *m)
{
  int64_t rows = b->k->linear->rows, cols = b->k->order->n, end = b->start + b->n;
  if (end == cols || !m)
    return QTK_OK;
  struct qtk_tensor left = qtk_matrix(QTK_F32, e, rows, b->n);
  struct qtk_tensor all = qtk_matrix(QTK_F32, m + b->start * cols, b->n, cols);
  struct qtk_tensor w = qtk_matrix(QTK_F32, b->k->w, rows, cols);
  all = qtk_cols_of(&all, end, cols - end);
  w = qtk_cols_of(&w, end, cols - end);
  if (!qtk_device_is_host(ctx))
    return behind_sent(ctx, b, alpha, &left, &all, &w);
  return qtk_op_matmul(ctx, 0, 0, alpha, &left, &all, 1, &w);
}

/* ---- blocks -------------------------------------------------------------------------------------- */

/* The block's part of the triangle m, turned. */
static void block_turn(const struct block *b, const float *m, float *to)
{
  int64_t cols = b->k->order->n;
  for (int64_t j = 0; j < b->n && m; j++)
    for (int64_t k = 0; k < b->n; k++)
      to[j * b->n + k] = m[(b->start + k) * cols + b->start + j];
}

static int block_round(struct qtk_context *ctx, struct block *b)
{
  const struct optq_factor *f = b->k->factor;
  int rc = qtk_check_stop(ctx);
  block_turn(b, f->u, b->u);
  block_turn(b, f->p, b->p);
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, columns_slices(b->k), block_slice, b);
  if (rc == QTK_OK)
    rc = block_behind(ctx, b, -1, b->e, f->u);
  return rc == QTK_OK ? block_behind(ctx, b, 1, b->v, f->p) : rc;
}

static void block_close(struct qtk_context *ctx, struct block *b)
{
  qtk_free(ctx, b->u);
  qtk_free(ctx, b->p);
  qtk_free(ctx, b->e);
  qtk_free(ctx, b->v);
  qtk_free(ctx, b->losses);
}

static int block_open(struct qtk_context *ctx, struct optq_columns *k, struct block *b)
{
  size_t square = (size_t)(k->block * k->block) * sizeof(float);
  size_t tall = (size_t)(k->linear->rows * k->block) * sizeof(float);
  int drift = k->factor->p != NULL;
  *b = (struct block){.k = k};
  b->u = qtk_alloc(ctx, square, "scratch");
  b->e = qtk_alloc(ctx, tall, "scratch");
  b->losses = qtk_alloc(ctx, columns_slices(k) * sizeof *b->losses, "scratch");
  b->p = drift ? qtk_alloc(ctx, square, "scratch") : NULL;
  b->v = drift ? qtk_alloc(ctx, tall, "scratch") : NULL;
  return b->u && b->e && b->losses && (!drift || (b->p && b->v)) ? QTK_OK : QTK_ENOMEM;
}

int optq_columns_round(struct qtk_context *ctx, struct optq_columns *k)
{
  struct block b;
  int rc = block_open(ctx, k, &b);
  for (int64_t p = 0; p < k->order->n && rc == QTK_OK; p = b.start + b.n) {
    b.start = p;
    b.n = optq_order_block(k->order, p, k->block) - p;
    rc = block_round(ctx, &b);
  }
  k->objective = 0;
  for (size_t i = 0; i < columns_slices(k) && rc == QTK_OK; i++)
    k->objective += b.losses[i];
  block_close(ctx, &b);
  return rc;
}
