/* SPDX-License-Identifier: BSD-3-Clause
 * A start that is cut out of the model: which channels are kept.
 *
 * A channel counts for the sum of the magnitudes of its weights at what is kept of hidden states:
 * one of the MLP for its rows of gate and up and its column of down, a value of a head for its
 * rows of v and its columns of o, one that is not turned for its rows of q and k. Of equals the
 * first is kept. */
#define QTK_API 1
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cut.h"

/* ---- the largest ------------------------------------------------------------------------------ */

struct choose_score {
  double sum;
  int64_t channel;
};

static int choose_larger(const void *a, const void *b)
{
  const struct choose_score *x = a, *y = b;

  if (x->sum != y->sum)
    return x->sum > y->sum ? -1 : 1;
  return x->channel < y->channel ? -1 : 1;
}

static int choose_rising(const void *a, const void *b)
{
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

  return x < y ? -1 : x > y;
}

/* The `want` channels with the largest of n sums, rising, counted from `first`. */
static int choose_top(const double *sums, int64_t n, int64_t want, int64_t first, int64_t *kept)
{
  struct choose_score *scores;
  int finite = 1;

  if (want == 0)
    return QTK_OK;
  scores = malloc((size_t)n * sizeof *scores);
  if (scores == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for %lld channels", (long long)n);
  for (int64_t i = 0; i < n; i++) {
    finite &= isfinite(sums[i]) != 0;
    scores[i] = (struct choose_score){sums[i], first + i};
  }
  if (finite)
    qsort(scores, (size_t)n, sizeof *scores, choose_larger);
  for (int64_t i = 0; i < want; i++)
    kept[i] = scores[i].channel;
  free(scores);
  qsort(kept, (size_t)want, sizeof *kept, choose_rising);
  return finite ? QTK_OK : qtk_error(QTK_ENUMERIC, "the model's weights are not finite");
}

/* ---- sums of magnitudes ------------------------------------------------------------------------ */

/* While one tensor is read. */
struct choose {
  const struct qst_cut *cut;
  const struct cut_tensor *t;
  double *ffn, *value, *turned; /* [ffn], [kv_heads * head_size], the same */
};

/* The place of channel i, which all heads that read the same keys share. */
static int64_t choose_place(const struct qst_cut *cut, int64_t i, int shared)
{
  const struct qtk_dims *d = &cut->model->dims;
  int64_t head = i / d->head_size / (d->heads / d->kv_heads);

  return (shared ? 0 : head * d->head_size) + i % d->head_size;
}

/* The sum of channel i of an axis. */
static double *choose_sum(const struct choose *c, enum cut_axis_name axis, int64_t i)
{
  switch (axis) {
  case CUT_FFN:
    return &c->ffn[i];
  case CUT_VALUE:
    return &c->value[i];
  case CUT_OUTPUT:
    return &c->value[choose_place(c->cut, i, 0)];
  case CUT_KEY:
    return &c->turned[c->cut->shared ? i % c->cut->model->dims.head_size : i];
  default:
    return &c->turned[choose_place(c->cut, i, c->cut->shared)];
  }
}

/* A row that reads hidden states. */
static void choose_row(void *arg, int64_t row, const float *w)
{
  const struct choose *c = arg;
  const struct cut_axis *hidden = &c->cut->axes[CUT_HIDDEN];
  double sum = 0;
  int s = 0;

  for (; row >= c->cut->axes[c->t->rows[s]].wide; s++)
    row -= c->cut->axes[c->t->rows[s]].wide;
  for (int64_t k = 0; k < hidden->n; k++)
    sum += fabs((double)w[hidden->kept[k]]);
  *choose_sum(c, c->t->rows[s], row) += sum;
}

/* A row that is added to hidden states. */
static void choose_column(void *arg, int64_t row, const float *w)
{
  const struct choose *c = arg;

  (void)row;
  for (int64_t i = 0; i < c->t->role.cols; i++)
    *choose_sum(c, c->t->cols, i) += fabs((double)w[i]);
}

static int choose_count(struct qtk_context *ctx, struct choose *c, int layer)
{
  static const char *const readers[] = {"q", "k", "v", "qkv", "gate", "up", "gate_up"};
  static const char *const writers[] = {"o", "down"};
  const struct cut_axis *hidden = &c->cut->axes[CUT_HIDDEN];
  struct cut_tensor t;
  int rc = QTK_OK;

  c->t = &t;
  for (size_t i = 0; rc == QTK_OK && i < sizeof readers / sizeof readers[0]; i++)
    if (qst_cut_find(c->cut, readers[i], layer, &t))
      rc = qst_cut_read(ctx, c->cut, &t, NULL, 0, choose_row, c);
  for (size_t i = 0; rc == QTK_OK && i < sizeof writers / sizeof writers[0]; i++)
    if (qst_cut_find(c->cut, writers[i], layer, &t))
      rc = qst_cut_read(ctx, c->cut, &t, hidden->kept, hidden->n, choose_column, c);
  return rc;
}

/* ---- hidden states ------------------------------------------------------------------------------ */

struct choose_entry {
  double *sums;
  int64_t cols;
  int by_row;
};

static void choose_enter(void *arg, int64_t row, const float *w)
{
  const struct choose_entry *e = arg;

  for (int64_t i = 0; i < e->cols; i++)
    e->sums[e->by_row ? row : i] += fabs((double)w[i]);
}

static int choose_axis(struct qst_cut *cut, enum cut_axis_name name, int64_t wide, int64_t n)
{
  struct cut_axis *a = &cut->axes[name];

  *a = (struct cut_axis){.wide = wide, .n = n, .kept = calloc((size_t)n, sizeof *a->kept)};
  return a->kept != NULL ? QTK_OK
                         : qtk_error(QTK_ENOMEM, "no memory for %lld channels", (long long)n);
}

static int choose_axes(struct qst_cut *cut)
{
  const struct qtk_dims *d = &cut->model->dims, *s = &cut->side;
  int64_t whole = cut->model->embedding_width;
  int rc = choose_axis(cut, CUT_HIDDEN, d->hidden, s->hidden);

  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_FFN, d->ffn, s->ffn);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_QUERY, d->heads * d->head_size, d->heads * s->head_size);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_KEY, d->kv_heads * d->head_size, d->kv_heads * s->head_size);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_VALUE, d->kv_heads * d->head_size, d->kv_heads * s->head_size);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_OUTPUT, d->heads * d->head_size, d->heads * s->head_size);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_HEAD, d->head_size, s->head_size);
  if (rc == QTK_OK)
    rc = choose_axis(cut, CUT_WHOLE, whole, whole);
  for (int64_t i = 0; rc == QTK_OK && i < whole; i++)
    cut->axes[CUT_WHOLE].kept[i] = i;
  return rc;
}

int qst_cut_choose_hidden(struct qtk_context *ctx, struct qst_cut *cut)
{
  struct choose_entry e = {0};
  struct cut_tensor t;
  int rc = choose_axes(cut);

  if (rc != QTK_OK)
    return rc;
  e.by_row = qst_cut_find(cut, "project_in", -1, &t);
  if (!e.by_row && !qst_cut_find(cut, "embedding", -1, &t))
    return qtk_error(QTK_EINTERNAL, "the model has no embedding to choose channels by");
  e.cols = t.role.cols;
  e.sums = calloc((size_t)cut->model->dims.hidden, sizeof *e.sums);
  if (e.sums == NULL)
    return qtk_error(QTK_ENOMEM, "no memory for the sums of an embedding");
  rc = qst_cut_read(ctx, cut, &t, NULL, 0, choose_enter, &e);
  if (rc == QTK_OK)
    rc = choose_top(e.sums, cut->model->dims.hidden, cut->side.hidden, 0,
                    cut->axes[CUT_HIDDEN].kept);
  free(e.sums);
  return rc;
}

/* ---- a block ------------------------------------------------------------------------------------ */

/* Values of a head that are turned: pairs of the speeds that the side network's have. */
static void choose_pairs(const struct qst_cut *cut, int64_t turned, int64_t *kept)
{
  int64_t pairs = cut->model->rotary_dims / 2, n = turned / 2;

  for (int64_t i = 0; i < n; i++) {
    int64_t from = i * pairs / n;
    if (cut->model->rotary_style == QTK_ROPE_HALVES) {
      kept[i] = from;
      kept[i + n] = from + pairs;
    } else {
      kept[2 * i] = 2 * from;
      kept[2 * i + 1] = 2 * from + 1;
    }
  }
}

/* Values of q and k of one head, from 0. */
static int choose_turned(const struct qst_cut *cut, const double *sums, int64_t *kept)
{
  const struct qtk_dims *d = &cut->model->dims, *s = &cut->side;
  int64_t first = cut->model->rotary_dims, turned = qst_cut_turned(cut->model, s);

  choose_pairs(cut, turned, kept);
  return choose_top(sums + first, d->head_size - first, s->head_size - turned, first,
                    kept + turned);
}

/* The same values for each head of `axis`, of which `of` heads share those of one of `from`. */
static void choose_spread(struct qst_cut *cut, const int64_t *from, enum cut_axis_name axis,
                          int64_t of)
{
  int64_t wide = cut->model->dims.head_size, n = cut->side.head_size;
  struct cut_axis *a = &cut->axes[axis];

  for (int64_t i = 0; i < a->n; i++)
    a->kept[i] = i / n * wide + from[i / n / of * n + i % n];
}

static int choose_heads(struct qst_cut *cut, const struct choose *c, int64_t *one)
{
  const struct qtk_dims *d = &cut->model->dims, *s = &cut->side;
  int64_t group = d->heads / d->kv_heads;
  int rc = QTK_OK;

  for (int64_t h = 0; rc == QTK_OK && h < d->kv_heads; h++)
    rc = choose_top(c->value + h * d->head_size, d->head_size, s->head_size, 0,
                    one + h * s->head_size);
  choose_spread(cut, one, CUT_VALUE, 1);
  choose_spread(cut, one, CUT_OUTPUT, group);
  for (int64_t h = 0; rc == QTK_OK && h < d->kv_heads; h++)
    rc = choose_turned(cut, c->turned + (cut->shared ? 0 : h * d->head_size),
                       one + h * s->head_size);
  choose_spread(cut, one, CUT_KEY, 1);
  choose_spread(cut, one, CUT_QUERY, group);
  memcpy(cut->axes[CUT_HEAD].kept, one, (size_t)s->head_size * sizeof *one);
  return rc;
}

int qst_cut_choose(struct qtk_context *ctx, struct qst_cut *cut, int layer)
{
  const struct qtk_dims *d = &cut->model->dims;
  int64_t heads = d->kv_heads * d->head_size;
  double *sums = calloc((size_t)(d->ffn + 2 * heads), sizeof *sums);
  int64_t *one = calloc((size_t)(d->kv_heads * cut->side.head_size), sizeof *one);
  struct choose c = {.cut = cut, .ffn = sums};
  int rc = QTK_OK;

  if (sums == NULL || one == NULL)
    rc = qtk_error(QTK_ENOMEM, "no memory for the sums of a block");
  if (rc == QTK_OK) {
    c.value = sums + d->ffn;
    c.turned = c.value + heads;
    rc = choose_count(ctx, &c, layer);
  }
  if (rc == QTK_OK)
    rc = choose_top(c.ffn, d->ffn, cut->side.ffn, 0, cut->axes[CUT_FFN].kept);
  if (rc == QTK_OK)
    rc = choose_heads(cut, &c, one);
  free(sums);
  free(one);
  cut->layer = rc == QTK_OK ? layer : -1;
  return rc == QTK_OK ? QTK_OK : qtk_error_at(rc, "block %d", layer);
}
