/* SPDX-License-Identifier: BSD-3-Clause
 * A teacher's words in a few numbers. Rows are worked on each by itself, so that nothing depends
 * on threads. */
#include "core/lesson.h"

#include <math.h>
#include <string.h>

#include "core/error.h"

#define LESSON_LEAST -80.0f /* logarithm of a mass that is as good as none */

uint64_t qtk_lesson_bytes(int64_t k)
{
  return (uint64_t)k * (sizeof(int32_t) + sizeof(float)) + sizeof(float);
}

/* ---- rows of logits in the host's memory ------------------------------------------------------ */

struct lesson_rows {
  struct qtk_context *ctx;
  const struct qtk_tensor *tensor;
  float *data; /* of the tensor, or a copy */
  int64_t n, cols, stride;
  int copied;
};

static int rows_open(struct qtk_context *ctx, const struct qtk_tensor *t, int copy,
                     struct lesson_rows *r)
{
  *r = (struct lesson_rows){.ctx = ctx, .tensor = t, .data = t->data, .n = qtk_tensor_rows(t),
                            .cols = qtk_tensor_cols(t), .stride = t->stride};
  r->copied = copy || !qtk_device_is_host(ctx);
  if (!r->copied)
    return QTK_OK;
  size_t bytes = (size_t)(r->n * r->stride) * sizeof(float);
  r->data = qtk_alloc(ctx, bytes, "teacher");
  return r->data != NULL ? qtk_device_download(ctx, r->data, t->data, bytes) : QTK_ENOMEM;
}

static int rows_close(struct lesson_rows *r, int rc, int back)
{
  size_t bytes = (size_t)(r->n * r->stride) * sizeof(float);

  if (!r->copied)
    return rc;
  if (rc == QTK_OK && back)
    rc = qtk_device_upload(r->ctx, r->tensor->data, r->data, bytes);
  qtk_free(r->ctx, r->data);
  return rc;
}

/* The logarithm of the sum of exponentials; -INFINITY of nothing. */
static double row_sum(const float *x, int64_t n)
{
  float most = -INFINITY;
  double sum = 0.0;

  for (int64_t i = 0; i < n; i++)
    most = x[i] > most ? x[i] : most;
  if (most == -INFINITY)
    return -INFINITY;
  for (int64_t i = 0; i < n; i++)
    sum += (double)expf(x[i] - most);
  return (double)most + log(sum);
}

/* ---- making ------------------------------------------------------------------------------------ */

struct lesson_make {
  struct lesson_rows rows;
  int64_t k;
  int32_t *ids;
  float *values, *rest;
};

/* A heap of the k likeliest of a row so far, the least likely at its root; of equal ones the
 * first. */
static int heap_below(const float *x, int32_t a, int32_t b)
{
  return x[a] < x[b] || (x[a] == x[b] && a > b);
}

static void heap_sink(const float *x, int32_t *heap, int64_t i, int64_t n)
{
  for (int64_t child; (child = 2 * i + 1) < n; i = child) {
    int32_t id = heap[i];
    if (child + 1 < n && heap_below(x, heap[child + 1], heap[child]))
      child++;
    if (!heap_below(x, heap[child], id))
      return;
    heap[i] = heap[child];
    heap[child] = id;
  }
}

static void heap_select(const float *x, int64_t n, int32_t *heap, int64_t k)
{
  for (int64_t i = 0; i < k; i++)
    heap[i] = (int32_t)i;
  for (int64_t i = k / 2; i-- > 0;)
    heap_sink(x, heap, i, k);
  for (int64_t i = k; i < n; i++)
    if (x[i] > x[heap[0]]) {
      heap[0] = (int32_t)i;
      heap_sink(x, heap, 0, k);
    }
  for (int64_t i = k - 1; i > 0; i--) { /* the least likely to the end */
    int32_t least = heap[0];
    heap[0] = heap[i];
    heap[i] = least;
    heap_sink(x, heap, 0, i);
  }
}

/* The row is spoiled. */
static int make_row(void *arg, size_t row)
{
  const struct lesson_make *m = arg;
  float *x = m->rows.data + (int64_t)row * m->rows.stride;
  int32_t *ids = m->ids + (int64_t)row * m->k;
  float *values = m->values + (int64_t)row * m->k;
  double all = row_sum(x, m->rows.cols), rest;

  if (!isfinite(all))
    return qtk_error(QTK_ENUMERIC, "the teacher's logits are not finite");
  heap_select(x, m->rows.cols, ids, m->k);
  for (int64_t i = 0; i < m->k; i++) {
    values[i] = (float)((double)x[ids[i]] - all);
    x[ids[i]] = -INFINITY;
  }
  rest = row_sum(x, m->rows.cols) - all;
  m->rest[row] = rest > (double)LESSON_LEAST ? (float)rest : LESSON_LEAST;
  return QTK_OK;
}

int qtk_lesson_make(struct qtk_context *ctx, const struct qtk_tensor *logits, int64_t k,
                    int32_t *ids, float *values, float *rest)
{
  struct lesson_make m = {.k = k, .ids = ids, .values = values, .rest = rest};
  int rc = rows_open(ctx, logits, 1, &m.rows);

  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, (size_t)m.rows.n, make_row, &m);
  return rows_close(&m.rows, rc, 0);
}

/* ---- spreading ----------------------------------------------------------------------------------- */

struct lesson_spread {
  struct lesson_rows rows;
  const struct qtk_lesson *lesson;
  int64_t t0;
};

/* The student's row becomes the teacher's. */
static int spread_row(void *arg, size_t row)
{
  const struct lesson_spread *s = arg;
  const struct qtk_lesson *l = s->lesson;
  int64_t t = s->t0 + (int64_t)row;
  float *x = s->rows.data + (int64_t)row * s->rows.stride;
  const int32_t *ids = l->ids + t * l->k;
  const float *values = l->values + t * l->k;
  double shift = 0.0;

  for (int64_t i = 0; i < l->k; i++)
    x[ids[i]] = -INFINITY;
  if (l->k < s->rows.cols)
    shift = row_sum(x, s->rows.cols) - (double)l->rest[t];
  if (!isfinite(shift))
    return qtk_error(QTK_ENUMERIC, "the logits of token %lld are not finite", (long long)t);
  for (int64_t i = 0; i < l->k; i++)
    x[ids[i]] = (float)((double)values[i] + shift);
  return QTK_OK;
}

int qtk_lesson_spread(struct qtk_context *ctx, const struct qtk_lesson *lesson, int64_t t0,
                      const struct qtk_tensor *student, struct qtk_tensor *logits)
{
  struct lesson_spread s = {.lesson = lesson, .t0 = t0};
  int rc = qtk_op_copy(ctx, student, logits);

  if (rc == QTK_OK)
    rc = rows_open(ctx, logits, 0, &s.rows);
  if (rc == QTK_OK)
    rc = qtk_parallel(ctx, (size_t)s.rows.n, spread_row, &s);
  return rows_close(&s.rows, rc, 1);
}

/* ---- pages ----------------------------------------------------------------------------------------- */

static int page_room(struct qtk_context *ctx, struct qtk_lesson_page *page, int64_t tokens,
                     int64_t k)
{
  if (tokens <= page->room && k == page->lesson.k)
    return QTK_OK;
  qtk_lesson_page_free(ctx, page);
  page->memory = qtk_alloc(ctx, (size_t)tokens * (size_t)qtk_lesson_bytes(k), "teacher");
  page->room = page->memory != NULL ? tokens : 0;
  return page->memory != NULL ? QTK_OK : QTK_ENOMEM;
}

int qtk_lesson_copy(struct qtk_context *ctx, const struct qtk_lesson *all, const uint64_t *numbers,
                    int64_t n, struct qtk_lesson_page *page)
{
  int64_t tokens = 0, k = all[numbers[0]].k, at = 0;
  int rc;

  for (int64_t i = 0; i < n; i++) {
    if (all[numbers[i]].tokens == 0 || all[numbers[i]].k != k)
      return qtk_error(QTK_EINTERNAL, "sequence %llu: the teacher has said nothing of it",
                       (unsigned long long)numbers[i]);
    tokens += all[numbers[i]].tokens;
  }
  if ((rc = page_room(ctx, page, tokens, k)) != QTK_OK)
    return rc;
  float *values = page->memory, *rest = values + page->room * k;
  int32_t *ids = (int32_t *)(rest + page->room);
  for (int64_t i = 0; i < n; i++) {
    const struct qtk_lesson *l = &all[numbers[i]];
    memcpy(values + at * k, l->values, (size_t)(l->tokens * k) * sizeof *values);
    memcpy(ids + at * k, l->ids, (size_t)(l->tokens * k) * sizeof *ids);
    memcpy(rest + at, l->rest, (size_t)l->tokens * sizeof *rest);
    at += l->tokens;
  }
  page->lesson = (struct qtk_lesson){.tokens = tokens, .vocabulary = all[numbers[0]].vocabulary,
                                     .k = k, .ids = ids, .values = values, .rest = rest};
  return QTK_OK;
}

void qtk_lesson_page_free(struct qtk_context *ctx, struct qtk_lesson_page *page)
{
  qtk_free(ctx, page->memory);
  *page = (struct qtk_lesson_page){0};
}
