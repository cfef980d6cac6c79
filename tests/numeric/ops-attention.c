/* SPDX-License-Identifier: BSD-3-Clause
 * Attention against plain softmax in double, its gradient against differences, and
 * rotary positions. */
#include "ops.h"

#include <math.h>
#include <string.h>

struct attention_case {
  const struct qtk_attention *a;
  int64_t rows_q, rows_k;
  double *q, *k, *v, *out, *lse, *dout;
};

static double score(const struct attention_case *c, int64_t q, int64_t k, int64_t head)
{
  const struct qtk_attention *a = c->a;
  int64_t d = a->head_size, kv = head / (a->heads / a->kv_heads);
  double sum = 0;

  for (int64_t i = 0; i < d; i++)
    sum += c->q[(q * a->heads + head) * d + i] * c->k[(k * a->kv_heads + kv) * d + i];
  sum *= (double)a->scale;
  return a->softcap != 0 ? (double)a->softcap * tanh(sum / (double)a->softcap) : sum;
}

/* One query and head by the definition. */
static void attend(const struct attention_case *c, const struct qtk_span *s, int64_t i,
                   int64_t head, double *p)
{
  const struct qtk_attention *a = c->a;
  int64_t d = a->head_size, kv = head / (a->heads / a->kv_heads), last = s->nk - s->nq + i;
  double max = -INFINITY, sum = 0, *out = c->out + ((s->q0 + i) * a->heads + head) * d;

  for (int64_t j = 0; j < s->nk; j++) {
    int seen = j <= last && (a->window == 0 || j > last - a->window);
    p[j] = seen ? score(c, s->q0 + i, s->k0 + j, head) : -INFINITY;
    max = fmax(max, p[j]);
  }
  for (int64_t j = 0; j < s->nk; j++)
    sum += p[j] = exp(p[j] - max);
  memset(out, 0, (size_t)d * sizeof *out);
  for (int64_t j = 0; j < s->nk; j++)
    for (int64_t e = 0; e < d; e++)
      out[e] += p[j] / sum * c->v[((s->k0 + j) * a->kv_heads + kv) * d + e];
  c->lse[(s->q0 + i) * a->heads + head] = max + log(sum);
}

static double attention_loss(void *arg)
{
  const struct attention_case *c = arg;
  double sum = 0, p[4096];

  for (int64_t n = 0; n < c->a->n_spans; n++)
    for (int64_t i = 0; i < c->a->spans[n].nq; i++)
      for (int64_t head = 0; head < c->a->heads; head++)
        attend(c, &c->a->spans[n], i, head, p);
  for (int64_t i = 0; c->dout != NULL && i < c->rows_q * c->a->heads * c->a->head_size; i++)
    sum += c->out[i] * c->dout[i];
  return sum;
}

static void backward(struct attention_case *c, struct mat *q, struct mat *k, struct mat *v,
                     struct mat *out, struct mat *lse, int differences)
{
  struct mat dout = mat_new(q->rows, q->cols, 1), dq = mat_new(q->rows, q->cols, 1);
  struct mat dk = mat_new(k->rows, k->cols, 1), dv = mat_new(k->rows, k->cols, 1);
  double *want[3] = {NULL, NULL, NULL};

  if (differences && ops_reference()) {
    c->dout = mat_doubles(&dout);
    want[0] = ops_doubles(q->rows * q->cols);
    want[1] = ops_doubles(k->rows * k->cols);
    want[2] = ops_doubles(k->rows * k->cols);
    ops_differences(attention_loss, c, c->q, q->rows * q->cols, 1e-5, want[0]);
    ops_differences(attention_loss, c, c->k, k->rows * k->cols, 1e-5, want[1]);
    ops_differences(attention_loss, c, c->v, k->rows * k->cols, 1e-5, want[2]);
  }
  ops_ok("attention_backward",
         qtk_op_attention_backward(ops_ctx, c->a, &q->t, &k->t, &v->t, &out->t, &lse->t, &dout.t,
                                   &dq.t, &dk.t, &dv.t));
  ops_check("attention_backward", &dq, want[0], 1e-5, 0);
  ops_check("attention_backward", &dk, want[1], 1e-5, 0);
  ops_check("attention_backward", &dv, want[2], 1e-5, 0);
}

static void one_attention(const struct qtk_attention *a, int64_t rows_q, int64_t rows_k,
                          enum qtk_dtype cache, int differences)
{
  struct mat q = mat_new(rows_q, a->heads * a->head_size, 1);
  struct mat k = mat_typed(cache, rows_k, a->kv_heads * a->head_size, 1);
  struct mat v = mat_typed(cache, rows_k, a->kv_heads * a->head_size, 1);
  struct mat out = mat_new(rows_q, a->heads * a->head_size, 1), lse = mat_new(rows_q, a->heads, 1);
  struct attention_case c = {.a = a, .rows_q = rows_q, .rows_k = rows_k};

  c.q = mat_doubles(&q);
  c.k = mat_doubles(&k);
  c.v = mat_doubles(&v);
  c.out = mat_doubles(&out);
  c.lse = mat_doubles(&lse);
  if (ops_reference())
    attention_loss(&c);
  ops_ok("attention", qtk_op_attention(ops_ctx, a, &q.t, &k.t, &v.t, &out.t, &lse.t));
  ops_check("attention", &out, ops_reference() ? c.out : NULL, 3e-6, 0);
  ops_check("attention", &lse, ops_reference() ? c.lse : NULL, 2e-6, 0);
  if (cache == QTK_F32)
    backward(&c, &q, &k, &v, &out, &lse, differences);
  ops_ok("attention", qtk_op_attention(ops_ctx, a, &q.t, &k.t, &v.t, &out.t, NULL));
  ops_end();
}

/* Small ones, whose gradients are compared with differences. */
static void small_cases(void)
{
  const struct qtk_span one = {0, 1, 0, 1};
  const struct qtk_span both[] = {{0, 6, 0, 6}, {6, 5, 6, 9}};
  const struct qtk_span later[] = {{1, 7, 2, 12}};
  struct qtk_attention a = {
      .heads = 1, .kv_heads = 1, .head_size = 1, .scale = 1, .spans = &one, .n_spans = 1};

  one_attention(&a, 1, 1, QTK_F32, 1);
  a = (struct qtk_attention){
      .heads = 4, .kv_heads = 2, .head_size = 6, .scale = 0.4f, .spans = both, .n_spans = 2};
  one_attention(&a, 11, 15, QTK_F32, 1);
  a.window = 3;
  one_attention(&a, 11, 15, QTK_F32, 1);
  a.softcap = 1.5f;
  one_attention(&a, 11, 15, QTK_F32, 1);
  a = (struct qtk_attention){
      .heads = 3, .kv_heads = 1, .head_size = 5, .scale = 0.5f, .spans = later, .n_spans = 1};
  one_attention(&a, 8, 14, QTK_F32, 0);
  one_attention(&a, 8, 14, QTK_F16, 0);
}

/* Beyond a tile of queries and of keys; gradients against the first row only. */
static void large_cases(void)
{
  const struct qtk_span spans[] = {{0, 150, 0, 150}, {150, 1, 150, 230}, {151, 60, 380, 400}};
  const struct qtk_span step[] = {{0, 1, 0, 300}, {1, 1, 300, 17}, {2, 3, 317, 100}};
  struct qtk_attention a = {
      .heads = 6, .kv_heads = 2, .head_size = 64, .scale = 0.125f, .spans = spans, .n_spans = 3};

  one_attention(&a, 211, 780, QTK_F32, 0);
  one_attention(&a, 211, 780, QTK_F16, 0);
  a.window = 70;
  one_attention(&a, 211, 780, QTK_F32, 0);
  a.softcap = 5;
  a.head_size = 20;
  one_attention(&a, 211, 780, QTK_F32, 0);
  a = (struct qtk_attention){
      .heads = 4, .kv_heads = 4, .head_size = 33, .scale = 1, .spans = step, .n_spans = 3};
  one_attention(&a, 5, 417, QTK_F16, 0);
  one_attention(&a, 5, 417, QTK_F32, 0);
  a.window = 64;
  one_attention(&a, 5, 417, QTK_F32, 0);
}

/* A middle size with differences in a few numbers would cost minutes; instead: dv is
 * linear, so its differences are exact, and dq, dk follow from tiles compared above. */

/* ---- rotary positions -------------------------------------------------------------------------
 */

struct rope_case {
  const struct qtk_rope *r;
  const int32_t *positions;
  int64_t rows;
  double *x, *y, *dy;
};

static void rope_reference(const struct rope_case *c)
{
  const struct qtk_rope *r = c->r;

  memcpy(c->y, c->x, (size_t)(c->rows * r->heads * r->head_size) * sizeof *c->y);
  for (int64_t t = 0; t < c->rows; t++)
    for (int64_t h = 0; h < r->heads; h++)
      for (int64_t i = 0; i < r->dims / 2; i++) {
        int halves = r->style == QTK_ROPE_HALVES;
        int64_t at = (t * r->heads + h) * r->head_size;
        int64_t a = at + (halves ? i : 2 * i), b = at + (halves ? i + r->dims / 2 : 2 * i + 1);
        double angle = (double)((float)c->positions[t] * r->inverse_frequency[i]);
        double re = cos(angle) * (double)r->factor, im = sin(angle) * (double)r->factor;
        c->y[a] = c->x[a] * re - c->x[b] * im;
        c->y[b] = c->x[a] * im + c->x[b] * re;
      }
}

static double rope_loss(void *arg)
{
  const struct rope_case *c = arg;
  double sum = 0;

  rope_reference(c);
  for (int64_t i = 0; i < c->rows * c->r->heads * c->r->head_size; i++)
    sum += c->y[i] * c->dy[i];
  return sum;
}

static void one_rope(enum qtk_rope_style style, int64_t rows, int64_t heads, int64_t head_size,
                     int64_t dims, float factor)
{
  float frequency[64];
  int32_t positions[300];
  struct qtk_rope r = {style, heads, head_size, dims, frequency, factor};
  struct mat x = mat_new(rows, heads * head_size, 1), dy = mat_new(rows, heads * head_size, 1);
  struct rope_case c = {&r, positions, rows, mat_doubles(&x), NULL, mat_doubles(&dy)};
  double *slope = NULL;

  for (int64_t i = 0; i < dims / 2; i++)
    frequency[i] = (float)pow(10000, -2.0 * (double)i / (double)dims);
  for (int64_t t = 0; t < rows; t++)
    positions[t] = (int32_t)(t * 13 % 4000);
  c.y = ops_doubles(rows * heads * head_size);
  if (ops_reference() && rows * heads * head_size < 1000) {
    slope = ops_doubles(rows * heads * head_size);
    ops_differences(rope_loss, &c, c.x, rows * heads * head_size, 1e-3, slope);
  }
  rope_reference(&c);
  ops_ok("rope", qtk_op_rope(ops_ctx, &r, positions, &x.t, 0));
  ops_check("rope", &x, c.y, 3e-7, 0);
  ops_ok("rope", qtk_op_rope(ops_ctx, &r, positions, &dy.t, 1));
  ops_check("rope", &dy, slope, 3e-7, 0);
  ops_end();
}

static void cases(void)
{
  small_cases();
  large_cases();
  one_rope(QTK_ROPE_HALVES, 1, 1, 2, 2, 1);
  one_rope(QTK_ROPE_HALVES, 7, 3, 10, 6, 1);
  one_rope(QTK_ROPE_INTERLEAVED, 7, 3, 10, 6, 1.5f);
  one_rope(QTK_ROPE_HALVES, 300, 4, 64, 64, 1);
  one_rope(QTK_ROPE_INTERLEAVED, 200, 4, 80, 64, 1);
}

int main(void)
{
  return ops_main(cases);
}
