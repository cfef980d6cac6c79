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
  int slot = QST_TAPE + (int)kept + (qst_trains(q, s) ? QST_KEPT * (layer + 1) : 0);
  int64_t cols = kept == QST_LOW ? q->options->rank : q->narrow;
  void *memory;
  int rc = qtk_session_memory(ctx, s, q, slot, (size_t)cols * sizeof(float), &memory);

  *t = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), cols);
  return rc;
}

/* Bytes a token of a matrix of at most QST_PIECE rows. */
static size_t room_piece(int64_t tokens, size_t row_bytes)
{
  size_t bytes = (size_t)qst_piece(tokens, 0) * row_bytes;

  return (bytes + (size_t)tokens - 1) / (size_t)tokens;
}

int qst_wide(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int64_t cols,
             struct qtk_tensor *t)
{
  int64_t tokens = qtk_session_tokens(s), widest = q->wide > q->out ? q->wide : q->out;
  size_t bytes = room_piece(tokens, (size_t)widest * sizeof(float));
  void *memory;
  int rc = qtk_session_memory(ctx, s, q, QST_WIDE, bytes, &memory);

  *t = qtk_matrix(QTK_F32, memory, qst_piece(tokens, 0), cols);
  return rc;
}

int qst_hidden(struct qtk_context *ctx, const struct qst *q, struct qtk_session *s, int layer,
               int64_t row, struct qtk_tensor *t)
{
  int64_t tokens = qtk_session_tokens(s);
  int kept = qst_trains(q, s) && !q->again;
  int slot = QST_TAPE + QST_HIDDEN + (kept ? QST_KEPT * (layer + 1) : 0);
  size_t row_bytes = (size_t)q->wide * qtk_dtype_size(QTK_BF16);
  void *memory;
  int rc = qtk_session_memory(ctx, s, q, slot, kept ? row_bytes : room_piece(tokens, row_bytes),
                              &memory);
  char *at = memory;

  if (rc == QTK_OK && kept)
    at += (size_t)row * row_bytes;
  *t = qtk_matrix(QTK_BF16, at, qst_piece(tokens, row), q->wide);
  return rc;
}

/* ---- for plans ---------------------------------------------------------------------------- */

/* Bytes a token of what all layers share; forward alone has no gradients, and what is normed only
 * where there is a norm. */
static size_t room_shared(const struct qst *q, int64_t tokens, int training)
{
  size_t widest = (size_t)(q->wide > q->out ? q->wide : q->out);
  size_t narrow = (size_t)q->narrow, floats = 2 * narrow + (size_t)q->out, pieces = 0;

  if (qst_reads(q) || q->form != QST_LST)
    pieces += room_piece(tokens, widest * sizeof(float));
  if (training)
    floats += narrow;
  if (training || q->normed)
    floats += narrow + 2;
  if (q->kind == QST_ADAPTER)
    floats += (1 + (size_t)training) * (size_t)q->options->rank;
  if (qst_reads(q) && (q->again || !training))
    pieces += room_piece(tokens, 2 * (size_t)q->wide);
  return floats * sizeof(float) + pieces;
}

/* Bytes a token of what each layer keeps. */
static size_t room_layer(const struct qst *q, int again)
{
  size_t floats = (size_t)q->narrow;

  if (q->kind == QST_LORA || q->kind == QST_ADAPTER)
    floats += (size_t)q->options->rank;
  return floats * sizeof(float) + (qst_reads(q) && !again ? 2 * (size_t)q->wide : 0);
}

/* What one layer keeps the next one takes over where nothing runs backward. */
size_t qst_memory(void *h, int64_t tokens, int training)
{
  const struct qst *q = h;
  int again = q->again || !training;
  size_t layers = training ? (size_t)q->layers + 1 : 1, bytes = 0, most = 0;

  for (int i = 1; i <= q->layers; i++) {
    size_t work = qtk_block_work(q->layer[i].block, tokens, training);
    bytes += training ? qtk_block_tape(q->layer[i].block, tokens) : 0;
    most = work > most ? work : most;
  }
  return bytes + most +
         (size_t)tokens * (room_shared(q, tokens, training) + layers * room_layer(q, again));
}
