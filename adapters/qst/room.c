/* SPDX-License-Identifier: BSD-3-Clause
 * Memory of a session. */
#define QTK_API 1
#include "qst.h"

int qst_trains(const struct qst *q, const struct qtk_session *s)
{
  return qtk_session_training(s) && q->up.gradient.data != NULL;
}

int qst_matrix(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s,
               enum qst_slot slot, int64_t cols, struct qtk_tensor *t)
{
  void *memory;
  int rc = qtk_session_memory(ctx, s, q, (int)slot, (size_t)cols * sizeof(float), &memory);

  *t = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), cols);
  return rc;
}

int qst_kept(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int layer,
             enum qst_kept kept, struct qtk_tensor *t)
{
  /* Hidden states that are made again are kept nowhere. */
  int own = qst_trains(q, s) && !(kept == QST_HIDDEN && q->again);
  int slot = QST_TAPE + (int)kept + (own ? QST_KEPT * (layer + 1) : 0);
  enum qtk_dtype dtype = kept == QST_HIDDEN ? QTK_BF16 : QTK_F32;
  int64_t cols = kept == QST_HIDDEN ? q->wide : kept == QST_LOW ? q->options->rank : q->narrow;
  void *memory;
  int rc = qtk_session_memory(ctx, s, q, slot, (size_t)cols * qtk_dtype_size(dtype), &memory);

  *t = qtk_matrix(dtype, memory, qtk_session_tokens(s), cols);
  return rc;
}

/* ---- for plans ---------------------------------------------------------------------------- */

/* Bytes a token of what all layers share. */
static size_t room_shared(const struct qst *q)
{
  size_t widest = (size_t)(q->wide > q->out ? q->wide : q->out);
  size_t floats = 4 * (size_t)q->narrow + (size_t)q->out + 2;

  if (qst_reads(q) || q->form != QST_LST)
    floats += widest;
  if (q->kind == QST_ADAPTER)
    floats += 2 * (size_t)q->options->rank;
  return floats * sizeof(float) + (qst_reads(q) && q->again ? 2 * (size_t)q->wide : 0);
}

/* Bytes a token of what each layer keeps. */
static size_t room_layer(const struct qst *q)
{
  size_t floats = (size_t)q->narrow;

  if (q->kind == QST_LORA || q->kind == QST_ADAPTER)
    floats += (size_t)q->options->rank;
  return floats * sizeof(float) + (qst_reads(q) && !q->again ? 2 * (size_t)q->wide : 0);
}

size_t qst_memory(void *h, int64_t tokens)
{
  const struct qst *q = h;
  size_t layers = (size_t)q->layers + 1, bytes = 0;

  for (int i = 1; i <= q->layers; i++)
    bytes += qtk_block_tape(q->layer[i].block, tokens);
  return bytes + (size_t)tokens * (room_shared(q) + layers * room_layer(q));
}
