/* SPDX-License-Identifier: BSD-3-Clause
 * Weights onto their grids, once a step, and gradients back through the rounding. Rows are
 * independent of each other; where the backend's memory is not the host's, copies of it
 * are worked on. */
#define QTK_API 1
#include "qat.h"

#include <string.h>

#include "grid.h"

/* ---- memory of the backend, seen by the host --------------------------------------------- */

/* A tensor without gaps, or none (data NULL), while the host works on it. */
struct qat_lent {
  struct qtk_tensor t;
  int changes;
  void *host;
};

static size_t qat_bytes(const struct qtk_tensor *t)
{
  return (size_t)(qtk_tensor_rows(t) * qtk_tensor_cols(t)) * qtk_dtype_size(t->dtype);
}

static int qat_borrow(struct qtk_context *ctx, struct qat_lent *lent, int n)
{
  int rc = QTK_OK;

  for (int i = 0; rc == QTK_OK && i < n; i++) {
    size_t bytes = qat_bytes(&lent[i].t);
    lent[i].host = lent[i].t.data;
    if (lent[i].t.data == NULL || qtk_device_is_host(ctx))
      continue;
    lent[i].host = qtk_alloc(ctx, bytes, "scratch");
    rc = lent[i].host != NULL ? qtk_device_download(ctx, lent[i].host, lent[i].t.data, bytes)
                              : QTK_ENOMEM;
  }
  return rc;
}

/* With the outcome `rc` of what was done with them; returns that, or the first failure. */
static int qat_return(struct qtk_context *ctx, struct qat_lent *lent, int n, int rc)
{
  for (int i = 0; i < n; i++) {
    if (lent[i].host == lent[i].t.data)
      continue;
    if (rc == QTK_OK && lent[i].changes)
      rc = qtk_device_upload(ctx, lent[i].t.data, lent[i].host, qat_bytes(&lent[i].t));
    qtk_free(ctx, lent[i].host);
  }
  return rc;
}

int qat_copy(struct qtk_context *ctx, const struct qtk_qtensor *what, struct qtk_qtensor *out)
{
  const struct qtk_qlayout *l = &what->layout;
  int rc = qtk_device_download(ctx, out->codes, what->codes, l->code_bytes);

  if (rc == QTK_OK)
    rc = qtk_device_download(ctx, out->scales, what->scales, l->scale_bytes);
  if (rc == QTK_OK && l->zero_bytes > 0)
    rc = qtk_device_download(ctx, out->zeros, what->zeros, l->zero_bytes);
  if (rc == QTK_OK && l->index_bytes > 0)
    rc = qtk_device_download(ctx, out->g_idx, what->g_idx, l->index_bytes);
  return rc;
}

/* ---- one matrix -------------------------------------------------------------------------- */

#define QAT_ROWS 8 /* of a piece of work */

/* A site while it is worked on; all memory is the host's. */
struct qat_work {
  struct qat *p;
  const struct qtk_qtensor *base;
  struct qtk_qtensor *what;
  const float *w, *d; /* d NULL: scales stay */
  const float *sum;
  float *dw, *dd;
};

/* The group of column j, and where its columns that stand next to each other end. */
static int64_t qat_run(const struct qtk_qtensor *t, int64_t j, int64_t *group)
{
  int64_t end = j + 1;

  *group = t->g_idx != NULL ? t->g_idx[j] : j / t->layout.group;
  if (t->g_idx == NULL)
    end = (*group + 1) * t->layout.group;
  while (t->g_idx != NULL && end < t->layout.cols && t->g_idx[end] == t->g_idx[j])
    end++;
  return end < t->layout.cols ? end : t->layout.cols;
}

/* Scales no smaller than a sixteenth of their own, so that none turns over. */
static void qat_scales(const struct qat_work *work, int64_t row)
{
  int64_t groups = work->base->layout.groups;
  const float *d = work->d + row * groups;

  for (int64_t g = 0; g < groups; g++) {
    float own = qtk_get_scale(work->base, row, g), by = 1.0f + d[g];
    qtk_set_scale(work->what, row, g, own * (by > 0.0625f ? by : 0.0625f));
    if (work->base->layout.zero == QTK_ZERO_MIN && own != 0.0f)
      qtk_set_min(work->what, row, g,
                  qtk_get_min(work->base, row, g) * (qtk_get_scale(work->what, row, g) / own));
  }
}

static void qat_row(const struct qat_work *work, int64_t row)
{
  int64_t cols = work->what->layout.cols, g;
  uint8_t *codes = work->p->codes + qtk_pool_index() * work->p->widest;
  const float *w = work->w + row * cols;

  for (int64_t j = 0, end; j < cols; j = end) {
    end = qat_run(work->what, j, &g);
    const struct qat_grid grid = qat_grid(work->what, row, g);
    for (int64_t k = j; k < end; k++)
      codes[k] = (uint8_t)qat_code(&grid, w[k]);
  }
  qtk_pack_row(work->what, row, codes);
}

static int qat_round_rows(void *arg, size_t i)
{
  const struct qat_work *work = arg;
  int64_t row = (int64_t)i * QAT_ROWS, end = row + QAT_ROWS;

  for (; row < end && row < work->what->layout.rows; row++) {
    if (work->d != NULL)
      qat_scales(work, row);
    qat_row(work, row);
  }
  return QTK_OK;
}

/* dw += the gradient by what, where it goes through. */
static void qat_through(const struct qat_grid *grid, const float *w, const float *sum, float *dw,
                        int64_t n)
{
  float inside, slope;

  for (int64_t k = 0; k < n; k++) {
    qat_slopes(grid, w[k], &inside, &slope);
    dw[k] += sum[k] * inside;
  }
}

static double qat_scale(const struct qat_grid *grid, const float *w, const float *sum, int64_t n)
{
  float inside, slope;
  double ds = 0.0;

  for (int64_t k = 0; k < n; k++) {
    qat_slopes(grid, w[k], &inside, &slope);
    ds += (double)sum[k] * (double)slope;
  }
  return ds;
}

static void qat_back_row(const struct qat_work *work, int64_t row)
{
  const struct qtk_qlayout *l = &work->what->layout;
  int64_t start = row * l->cols, g;

  for (int64_t j = 0, end; j < l->cols; j = end) {
    int64_t k = start + j;
    end = qat_run(work->what, j, &g);
    const struct qat_grid grid = qat_grid(work->what, row, g);
    qat_through(&grid, work->w + k, work->sum + k, work->dw + k, end - j);
    if (work->dd != NULL)
      work->dd[row * l->groups + g] +=
          (float)(qat_scale(&grid, work->w + k, work->sum + k, end - j) *
                  (double)qtk_get_scale(work->base, row, g));
  }
}

static int qat_back_rows(void *arg, size_t i)
{
  const struct qat_work *work = arg;
  int64_t row = (int64_t)i * QAT_ROWS, end = row + QAT_ROWS;

  for (; row < end && row < work->what->layout.rows; row++)
    qat_back_row(work, row);
  return QTK_OK;
}

static size_t qat_pieces(const struct qtk_site *site)
{
  return (size_t)((site->rows + QAT_ROWS - 1) / QAT_ROWS);
}

/* ---- a step ------------------------------------------------------------------------------ */

static void qat_part(void *part, size_t bytes, const void *from)
{
  if (bytes > 0)
    memcpy(part, from, bytes);
}

/* All of the base's grids. */
static void qat_grids(const struct qtk_qtensor *base, struct qtk_qtensor *what)
{
  qat_part(what->scales, base->layout.scale_bytes, base->scales);
  qat_part(what->zeros, base->layout.zero_bytes, base->zeros);
  qat_part(what->g_idx, base->layout.index_bytes, base->g_idx);
}

static int qat_take(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site)
{
  struct qat_site *at = &p->at[site->index];
  int rc = QTK_OK;

  for (int i = 0; p->codes == NULL && i < p->n; i++)
    p->widest = p->sites[i].cols > p->widest ? p->sites[i].cols : p->widest;
  if (p->codes == NULL)
    p->codes = qtk_alloc(ctx, (size_t)(qtk_pool_size(ctx) * p->widest), "adapter");
  if (p->codes == NULL)
    return QTK_ENOMEM;
  if (at->block == NULL)
    rc = qtk_device_alloc(ctx, qtk_qtensor_block_bytes(&site->base->layout), "adapter",
                          &at->block);
  at->what = qtk_qtensor_over(&site->base->layout, at->block);
  return rc;
}

static struct qtk_tensor qat_block(const struct qat_site *at)
{
  return qtk_vector(QTK_U8, at->block, (int64_t)qtk_qtensor_block_bytes(&at->what.layout));
}

int qat_round(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site)
{
  struct qat_site *at = &p->at[site->index];
  int rc = qat_take(ctx, p, site);

  if (rc != QTK_OK)
    return rc;
  struct qat_lent lent[] = {{.t = at->w}, {.t = at->d}, {.t = qat_block(at), .changes = 1}};
  rc = qat_borrow(ctx, lent, 3);
  if (rc == QTK_OK) {
    struct qtk_qtensor what = qtk_qtensor_over(&site->base->layout, lent[2].host);
    struct qat_work work = {
        .p = p, .base = site->base, .what = &what, .w = lent[0].host, .d = lent[1].host};
    qat_grids(site->base, &what);
    rc = qtk_parallel(ctx, qat_pieces(site), qat_round_rows, &work);
  }
  return qat_return(ctx, lent, 3, rc);
}

int qat_gradients(struct qtk_context *ctx, struct qat *p, const struct qtk_site *site,
                  const struct qtk_tensor *sum)
{
  struct qat_site *at = &p->at[site->index];
  struct qat_lent lent[] = {{.t = at->w},
                            {.t = qat_block(at)},
                            {.t = *sum},
                            {.t = at->dw, .changes = 1},
                            {.t = at->dd, .changes = 1}};
  int rc = qat_borrow(ctx, lent, 5);

  if (rc == QTK_OK) {
    struct qtk_qtensor what = qtk_qtensor_over(&site->base->layout, lent[1].host);
    struct qat_work work = {.p = p,
                            .base = site->base,
                            .what = &what,
                            .w = lent[0].host,
                            .sum = lent[2].host,
                            .dw = lent[3].host,
                            .dd = lent[4].host};
    rc = qtk_parallel(ctx, qat_pieces(site), qat_back_rows, &work);
  }
  return qat_return(ctx, lent, 5, rc);
}
