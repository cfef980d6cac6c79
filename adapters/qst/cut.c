/* SPDX-License-Identifier: BSD-3-Clause
 * A start that is cut out of the model: reading it, and cutting. */
#define QTK_API 1
#include <stdlib.h>
#include <string.h>

#include "cut.h"

#define CUT_SLAB (1 << 18) /* floats that are read at once */

/* ---- tensors ------------------------------------------------------------------------------- */

struct cut_role {
  const char *name;
  enum cut_axis_name rows[4], cols;
};

static const struct cut_role cut_roles[] = {
    {"q", {CUT_QUERY}, CUT_HIDDEN},
    {"k", {CUT_KEY}, CUT_HIDDEN},
    {"v", {CUT_VALUE}, CUT_HIDDEN},
    {"qkv", {CUT_QUERY, CUT_KEY, CUT_VALUE}, CUT_HIDDEN},
    {"o", {CUT_HIDDEN}, CUT_OUTPUT},
    {"gate", {CUT_FFN}, CUT_HIDDEN},
    {"up", {CUT_FFN}, CUT_HIDDEN},
    {"gate_up", {CUT_FFN, CUT_FFN}, CUT_HIDDEN},
    {"down", {CUT_HIDDEN}, CUT_FFN},
    {"norm1", {CUT_HIDDEN}, CUT_NONE},
    {"norm2", {CUT_HIDDEN}, CUT_NONE},
    {"q_norm", {CUT_HEAD}, CUT_NONE},
    {"k_norm", {CUT_HEAD}, CUT_NONE},
    {"final_norm", {CUT_HIDDEN}, CUT_NONE},
    {"embedding", {CUT_WHOLE}, CUT_HIDDEN},
    {"project_in", {CUT_HIDDEN}, CUT_WHOLE},
    {"project_out", {CUT_WHOLE}, CUT_HIDDEN},
};

/* The entry of a role, whose bias has the same rows. */
static const struct cut_role *cut_role_of(const char *role)
{
  size_t n = strcspn(role, ".");

  for (size_t i = 0; i < sizeof cut_roles / sizeof cut_roles[0]; i++)
    if (strlen(cut_roles[i].name) == n && strncmp(cut_roles[i].name, role, n) == 0)
      return &cut_roles[i];
  return NULL;
}

int qst_cut_find(const struct qst_cut *cut, const char *role, int layer, struct cut_tensor *t)
{
  const struct cut_role *known = cut_role_of(role);

  if (known == NULL)
    return 0;
  memcpy(t->rows, known->rows, sizeof t->rows);
  t->cols = strchr(role, '.') == NULL ? known->cols : CUT_NONE;
  for (t->index = 0; qtk_base_tensor(cut->model, t->index, &t->role); t->index++)
    if (t->role.layer == layer && strcmp(t->role.role, role) == 0)
      return 1;
  return 0;
}

/* Rows [row, row + n) into `slab`, and from there those that are wanted. */
struct cut_reader {
  struct qtk_context *ctx;
  const struct qst_cut *cut;
  const struct cut_tensor *t;
  float *slab;
  void (*see)(void *arg, int64_t row, const float *w);
  void *arg;
};

static int cut_read_some(const struct cut_reader *r, int64_t row, int64_t n)
{
  int rc = qtk_base_rows(r->ctx, r->cut->model, r->t->index, row, n, r->slab);

  for (int64_t i = 0; rc == QTK_OK && i < n; i++)
    r->see(r->arg, row + i, r->slab + i * r->t->role.cols);
  return rc == QTK_OK ? qtk_check_stop(r->ctx) : rc;
}

int qst_cut_read(struct qtk_context *ctx, const struct qst_cut *cut, const struct cut_tensor *t,
                 const int64_t *rows, int64_t n, void (*see)(void *arg, int64_t row, const float *w),
                 void *arg)
{
  int64_t cols = t->role.cols, all = t->role.rows, step = cols < CUT_SLAB ? CUT_SLAB / cols : 1;
  struct cut_reader r = {.ctx = ctx, .cut = cut, .t = t, .see = see, .arg = arg};
  int rc = QTK_OK;

  step = rows != NULL ? 1 : step < all ? step : all;
  r.slab = qtk_alloc(ctx, (size_t)(step * cols) * sizeof *r.slab, "scratch");
  if (r.slab == NULL)
    return QTK_ENOMEM;
  for (int64_t i = 0; rows != NULL && rc == QTK_OK && i < n; i++)
    rc = cut_read_some(&r, rows[i], 1);
  for (int64_t row = 0; rows == NULL && rc == QTK_OK && row < all; row += step)
    rc = cut_read_some(&r, row, all - row < step ? all - row : step);
  qtk_free(ctx, r.slab);
  return rc;
}

/* ---- cutting -------------------------------------------------------------------------------- */

struct cut_piece {
  const struct cut_axis *cols; /* NULL: a vector */
  const int64_t *rows;         /* [n], rising */
  int64_t n, next;
  float *to;
};

/* Where rows are all shown, those that are not kept are passed over. */
static void cut_see(void *arg, int64_t row, const float *w)
{
  struct cut_piece *p = arg;

  if (p->next == p->n || row != p->rows[p->next])
    return;
  p->next++;
  if (p->cols == NULL) {
    *p->to++ = w[0];
    return;
  }
  for (int64_t k = 0; k < p->cols->n; k++)
    *p->to++ = w[p->cols->kept[k]];
}

/* A vector is read whole: each of its rows would be. */
static int cut_into(struct qtk_context *ctx, const struct qst_cut *cut, const struct cut_tensor *t,
                    const int64_t *rows, int64_t n, float *value)
{
  int vector = t->cols == CUT_NONE;
  struct cut_piece piece = {
      .cols = vector ? NULL : &cut->axes[t->cols], .rows = rows, .n = n, .to = value};

  return qst_cut_read(ctx, cut, t, vector ? NULL : rows, n, cut_see, &piece);
}

/* The rows that are kept, those of one axis behind those of another; freed by the caller. */
static int64_t *cut_rows(const struct qst_cut *cut, const struct cut_tensor *t, int64_t *n)
{
  int64_t *rows, from = 0;

  *n = 0;
  for (int s = 0; t->rows[s] != CUT_NONE; s++)
    *n += cut->axes[t->rows[s]].n;
  rows = malloc((size_t)*n * sizeof *rows);
  *n = 0;
  for (int s = 0; rows != NULL && t->rows[s] != CUT_NONE; s++) {
    const struct cut_axis *a = &cut->axes[t->rows[s]];
    for (int64_t i = 0; i < a->n; i++)
      rows[(*n)++] = from + a->kept[i];
    from += a->wide;
  }
  return rows;
}

static int cut_begin(struct qtk_context *ctx, struct qst *q)
{
  struct cut_tensor norm;

  q->cut = calloc(1, sizeof *q->cut);
  if (q->cut == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for the start of a side network");
  q->cut->model = q->model;
  q->cut->side = q->side;
  q->cut->layer = -1;
  q->cut->shared = qst_cut_find(q->cut, "q_norm", 0, &norm);
  return qst_cut_choose_hidden(ctx, q->cut);
}

static int cut_out(struct qtk_context *ctx, const struct qst_cut *cut, const char *role, int layer,
                   float *value)
{
  struct cut_tensor t;
  int64_t *rows, n;
  int rc;

  if (!qst_cut_find(cut, role, layer, &t))
    return qtk_error(QTK_EINTERNAL, "the model has no %s to cut from", role);
  rows = cut_rows(cut, &t, &n);
  if (rows == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for %lld rows", (long long)n);
  rc = cut_into(ctx, cut, &t, rows, n, value);
  free(rows);
  return rc;
}

/* Where the model projects what enters the head, that is cut; else a kept channel goes where it
 * was. */
static int cut_put(struct qtk_context *ctx, const struct qst_cut *cut, float *value)
{
  const struct cut_axis *hidden = &cut->axes[CUT_HIDDEN];
  struct cut_tensor t;

  if (qst_cut_find(cut, "project_out", -1, &t))
    return cut_out(ctx, cut, "project_out", -1, value);
  for (int64_t k = 0; k < hidden->n; k++)
    value[hidden->kept[k] * hidden->n + k] = 1;
  return QTK_OK;
}

static int cut_pick(const struct qst_cut *cut, float *value)
{
  const struct cut_axis *hidden = &cut->axes[CUT_HIDDEN];

  for (int64_t k = 0; k < hidden->n; k++)
    value[k * hidden->wide + hidden->kept[k]] = 1;
  return QTK_OK;
}

int qst_cut_value(struct qtk_context *ctx, struct qst *q, const struct qst_param *p, float *value)
{
  int rc = q->cut == NULL ? cut_begin(ctx, q) : QTK_OK;

  if (rc == QTK_OK && p->layer >= 0 && q->cut->layer != p->layer)
    rc = qst_cut_choose(ctx, q->cut, p->layer);
  if (rc != QTK_OK)
    return rc;
  switch (p->begin) {
  case QST_PICK:
    return cut_pick(q->cut, value);
  case QST_PUT:
    return cut_put(ctx, q->cut, value);
  default:
    return cut_out(ctx, q->cut, p->role, p->layer, value);
  }
}

void qst_cut_free(struct qst_cut *cut)
{
  for (int a = 0; cut != NULL && a < CUT_AXES; a++)
    free(cut->axes[a].kept);
  free(cut);
}
