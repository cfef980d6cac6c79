/* SPDX-License-Identifier: BSD-3-Clause
 * One model over all windows: what is kept between one run and the next. */
#include "core/calibrate-inner.h"
#include "core/error.h"

#define STREAM_ALL (BLOCK_BIT(BLOCK_VALUES) - 1)

/* ---- what can be kept --------------------------------------------------------------- */

static size_t stream_bytes(const struct qtk_calibrator *c, int64_t width)
{
  return (size_t)(c->batch * c->options.length * width) * sizeof(float);
}

/* Bytes of a batch that the values inside a block take: parallel branches have both at
 * once, else one is gone when the other is made. */
static size_t stream_inside(const struct qtk_calibrator *c, unsigned keeps)
{
  size_t att = keeps & BLOCK_BIT(BLOCK_ATT)
                   ? stream_bytes(c, qtk_block_width(c->arch, BLOCK_ATT))
                   : 0;
  size_t act = keeps & BLOCK_BIT(BLOCK_ACT)
                   ? stream_bytes(c, qtk_block_width(c->arch, BLOCK_ACT))
                   : 0;
  if (c->arch->residual == QTK_RESIDUAL_PARALLEL)
    return att + act;
  return att > act ? att : act;
}

static unsigned stream_keeps(const struct qtk_calibrator *c)
{
  static const unsigned choices[] = {BLOCK_BIT(BLOCK_ATT) | BLOCK_BIT(BLOCK_ACT),
                                     BLOCK_BIT(BLOCK_ATT)};
  for (int i = 0; i < 2; i++)
    if ((uint64_t)c->batches * stream_inside(c, choices[i]) <= c->options.keep)
      return choices[i];
  return 0;
}

/* Values of `need` that no later replacement changes. */
static unsigned stream_final(const struct qtk_arch_model *m, unsigned changing)
{
  static const unsigned roles[BLOCK_VALUES] = {
      [BLOCK_ATT] = 1u << QTK_ROLE_Q | 1u << QTK_ROLE_K | 1u << QTK_ROLE_V | 1u << QTK_ROLE_QKV,
      [BLOCK_MID] = 1u << QTK_ROLE_O,
      [BLOCK_ACT] = 1u << QTK_ROLE_GATE | 1u << QTK_ROLE_UP | 1u << QTK_ROLE_GATE_UP,
      [BLOCK_Y] = 1u << QTK_ROLE_DOWN};
  unsigned final = 0;

  for (int v = 0; v < BLOCK_VALUES; v++) {
    unsigned before = qtk_block_needs(m, BLOCK_BIT(v), final) & ~BLOCK_BIT(v);
    if (!(roles[v] & changing) && !(before & ~final))
      final |= BLOCK_BIT(v);
  }
  return final;
}

/* Which of the values that are made now are worth keeping. A mid takes the place of x, which
 * nobody needs then, nor the attention's output. */
static unsigned stream_stays(const struct qtk_calibrator *c, const struct calibrate_stream *s,
                             unsigned made)
{
  unsigned final = made & stream_final(c->arch, s->changing);
  unsigned stays = final & s->keeps;

  if (c->arch->residual != QTK_RESIDUAL_PARALLEL && (final & BLOCK_BIT(BLOCK_MID)))
    stays = (stays | BLOCK_BIT(BLOCK_MID)) & ~BLOCK_BIT(BLOCK_ATT);
  return stays;
}

/* ---- open and close -------------------------------------------------------------------- */

int qtk_stream_open(struct qtk_calibrator *c, struct qtk_model *model, struct calibrate_stream *s)
{
  size_t inside;
  int rc = qtk_engine_open_blocks(c->ctx, model, &s->engine);
  if (rc == QTK_OK)
    rc = qtk_session_new(s->engine, c->batch, 0, &s->session);
  if (rc == QTK_OK)
    rc = qtk_store_open(c->ctx, c->options.spill, c->batches, stream_bytes(c, c->arch->dims.hidden),
                        &s->hidden);
  s->keeps = stream_keeps(c);
  inside = stream_inside(c, s->keeps);
  if (rc == QTK_OK && inside > 0)
    rc = qtk_store_open(c->ctx, NULL, c->batches, inside, &s->inside);
  return rc;
}

void qtk_stream_close(struct calibrate_stream *s)
{
  qtk_store_close(&s->hidden);
  qtk_store_close(&s->inside);
  qtk_session_free(s->session);
  qtk_engine_close(s->engine);
}

int qtk_stream_memory(const struct qtk_calibrator *c, uint64_t *memory, uint64_t *disk)
{
  uint64_t hidden = stream_bytes(c, c->arch->dims.hidden), batches = (uint64_t)c->batches;
  struct block_room room = {0};
  struct block_frame f;
  struct qtk_block b;
  int rc = qtk_block_init(&b, c->description, 0, &c->arch->dims);
  if (rc != QTK_OK)
    return rc;
  /* The embedding's output, and a mid that has no other place. */
  qtk_block_lay_out(&b, c->batch * c->options.length, BLOCK_WALK, &room, &f);
  *memory = room.shared_bytes + 2 * hidden;
  *memory += batches * stream_inside(c, stream_keeps(c));
  *memory += c->options.spill != NULL ? hidden : batches * hidden;
  *disk = c->options.spill != NULL ? batches * hidden : 0;
  qtk_block_destroy(&b);
  return QTK_OK;
}

int qtk_stream_embed(struct qtk_calibrator *c, struct calibrate_stream *s, int64_t i,
                     const int32_t *ids)
{
  struct qtk_tensor hidden, to;
  void *memory;
  int rc = qtk_session_embed(s->session, ids, c->lengths, &hidden);
  if (rc == QTK_OK)
    rc = qtk_store_get(&s->hidden, i, &memory);
  if (rc != QTK_OK)
    return rc;
  to = qtk_matrix(QTK_F32, memory, calibrate_tokens(c), c->arch->dims.hidden);
  rc = qtk_op_copy(c->ctx, &hidden, &to);
  return rc == QTK_OK ? qtk_store_put(&s->hidden, i) : rc;
}

/* ---- a run ------------------------------------------------------------------------------- */

/* Where kept values of a batch lie. */
static int stream_places(struct qtk_calibrator *c, struct calibrate_stream *s, int64_t i,
                         unsigned stays, struct block_walk *walk)
{
  unsigned there = (walk->have | stays) & s->keeps;
  int parallel = c->arch->residual == QTK_RESIDUAL_PARALLEL;
  int64_t tokens = calibrate_tokens(c);
  void *memory = NULL;
  int rc = there != 0 ? qtk_store_get(&s->inside, i, &memory) : QTK_OK;

  for (int v = BLOCK_ATT; rc == QTK_OK && v <= BLOCK_ACT; v++) {
    size_t at = parallel && v == BLOCK_ACT ? stream_inside(c, BLOCK_BIT(BLOCK_ATT)) : 0;
    if (there & BLOCK_BIT(v))
      walk->at[v] = qtk_matrix(QTK_F32, (char *)memory + at, tokens,
                               qtk_block_width(c->arch, (enum block_value)v));
  }
  if ((walk->have | stays) & BLOCK_BIT(BLOCK_MID))
    walk->at[BLOCK_MID] = *walk->x;
  walk->at[BLOCK_Y] = (struct qtk_tensor){0};
  if (walk->want & BLOCK_BIT(BLOCK_Y))
    walk->at[BLOCK_Y] = *walk->x;
  return rc;
}

int qtk_stream_run(struct qtk_calibrator *c, struct calibrate_stream *s, int64_t i, unsigned want,
                   int (*see)(void *arg, enum block_value value, const struct qtk_tensor *t),
                   unsigned *kept)
{
  struct qtk_tensor x;
  struct block_walk walk = {.x = &x, .want = want, .have = s->have, .see = see, .arg = c};
  unsigned made = qtk_block_needs(c->arch, want, s->have) & ~s->have & STREAM_ALL;
  unsigned stays = want & BLOCK_BIT(BLOCK_Y) ? 0 : stream_stays(c, s, made);
  void *memory;
  int rc = qtk_store_get(&s->hidden, i, &memory);

  if (rc != QTK_OK)
    return rc;
  x = qtk_matrix(QTK_F32, memory, calibrate_tokens(c), c->arch->dims.hidden);
  rc = stream_places(c, s, i, stays, &walk);
  if (rc == QTK_OK)
    rc = qtk_session_pass(s->session, c->lengths);
  if (rc == QTK_OK)
    rc = qtk_session_walk(s->session, c->layer, &walk);
  if (rc == QTK_OK && ((stays & BLOCK_BIT(BLOCK_MID)) || (want & BLOCK_BIT(BLOCK_Y))))
    rc = qtk_store_put(&s->hidden, i);
  *kept = s->have | stays;
  if (stays & BLOCK_BIT(BLOCK_MID))
    *kept &= ~BLOCK_BIT(BLOCK_ATT);
  return rc;
}
