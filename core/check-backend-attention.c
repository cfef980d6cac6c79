/* SPDX-License-Identifier: BSD-3-Clause
 * Cases of positions and attention. */
#include "core/check-backend.h"

#define IN(r, c)                               \
  {                                            \
    QTK_USE_IN, r, c, QTK_F32, QTK_FILL_NORMAL \
  }
#define IN16(r, c)                             \
  {                                            \
    QTK_USE_IN, r, c, QTK_F16, QTK_FILL_NORMAL \
  }
#define OUT(r, c)                               \
  {                                             \
    QTK_USE_OUT, r, c, QTK_F32, QTK_FILL_NORMAL \
  }
#define BOTH(r, c)                               \
  {                                              \
    QTK_USE_BOTH, r, c, QTK_F32, QTK_FILL_NORMAL \
  }

/* ---- rotary positions ------------------------------------------------------------------- */

/* 3 heads of 16; a: style, b: dims, x: 1 turns back. */
static int attention_rope(struct qtk_side *s, const struct qtk_case *k)
{
  static const int32_t positions[] = {0, 1, 2, 3, 900};
  static const float frequency[] = {1.0f, 0.3f, 0.1f, 0.03f, 0.01f, 0.003f, 0.001f, 0.0003f};
  struct qtk_rope rope = {(enum qtk_rope_style)k->a, 3, 16, k->b, frequency, 1.2f};
  return qtk_op_rope(s->ctx, &rope, positions, &s->t[0], k->x > 0);
}

const struct qtk_case qtk_cases_rope[] = {
    {"rope", "halves", 1e-5, attention_rope, {BOTH(5, 48)}, QTK_ROPE_HALVES, 16, 0, 0},
    {"rope",
     "halves, partial, back",
     1e-5,
     attention_rope,
     {BOTH(5, 48)},
     QTK_ROPE_HALVES,
     8,
     1,
     0},
    {"rope", "interleaved", 1e-5, attention_rope, {BOTH(5, 48)}, QTK_ROPE_INTERLEAVED, 16, 0, 0},
    {"rope",
     "interleaved, partial, back",
     1e-5,
     attention_rope,
     {BOTH(5, 48)},
     QTK_ROPE_INTERLEAVED,
     12,
     1,
     0},
    {0}};

/* ---- attention ------------------------------------------------------------------------------ */

/* Two sequences: 9 new tokens behind 4 of a cache, and 20 tokens. */
static const struct qtk_span attention_spans[] = {{0, 9, 0, 13}, {9, 20, 13, 20}};
#define Q 29
#define K 33

/* 6 heads of 8, b of keys; a: window; x: softcap. */
static struct qtk_attention attention_of(const struct qtk_case *k)
{
  return (struct qtk_attention){6, k->b, 8, 0.35f, k->x, k->a, attention_spans, 2};
}

static int attention_forward(struct qtk_side *s, const struct qtk_case *k)
{
  struct qtk_attention a = attention_of(k);
  return qtk_op_attention(s->ctx, &a, &s->t[0], &s->t[1], &s->t[2], &s->t[3], &s->t[4]);
}

/* With the results of its own forward slot. */
static int attention_backward(struct qtk_side *s, const struct qtk_case *k)
{
  struct qtk_attention a = attention_of(k);
  int rc = qtk_op_attention(s->ctx, &a, &s->t[0], &s->t[1], &s->t[2], &s->t[3], &s->t[4]);
  if (rc != QTK_OK)
    return rc;
  return qtk_op_attention_backward(s->ctx, &a, &s->t[0], &s->t[1], &s->t[2], &s->t[3], &s->t[4],
                                   &s->t[5], &s->t[6], &s->t[7], &s->t[8]);
}

const struct qtk_case qtk_cases_attention[] = {
    {"attention",
     "6 heads",
     2e-5,
     attention_forward,
     {IN(Q, 48), IN(K, 48), IN(K, 48), OUT(Q, 48), OUT(Q, 6)},
     0,
     6,
     0,
     0},
    {"attention",
     "6 heads on 2, a cache of f16",
     2e-5,
     attention_forward,
     {IN(Q, 48), IN16(K, 16), IN16(K, 16), OUT(Q, 48), OUT(Q, 6)},
     0,
     2,
     0,
     0},
    {"attention",
     "a window of 5",
     2e-5,
     attention_forward,
     {IN(Q, 48), IN(K, 24), IN(K, 24), OUT(Q, 48), OUT(Q, 6)},
     5,
     3,
     0,
     0},
    {"attention",
     "a soft cap",
     2e-5,
     attention_forward,
     {IN(Q, 48), IN(K, 24), IN(K, 24), OUT(Q, 48), OUT(Q, 6)},
     0,
     3,
     2.0f,
     0},
    {0}};

#define BACKWARD(kv)                                                                           \
  {                                                                                            \
    IN(Q, 48), IN(K, kv), IN(K, kv), OUT(Q, 48), OUT(Q, 6), IN(Q, 48), OUT(Q, 48), OUT(K, kv), \
        OUT(K, kv)                                                                             \
  }

const struct qtk_case qtk_cases_attention_backward[] = {
    {"attention_backward", "6 heads", 5e-5, attention_backward, BACKWARD(48), 0, 6, 0, 0},
    {"attention_backward", "6 heads on 2", 5e-5, attention_backward, BACKWARD(16), 0, 2, 0, 0},
    {"attention_backward", "a window of 5", 5e-5, attention_backward, BACKWARD(24), 5, 3, 0, 0},
    {"attention_backward", "a soft cap", 5e-5, attention_backward, BACKWARD(24), 0, 3, 2.0f, 0},
    {0}};
