/* SPDX-License-Identifier: BSD-3-Clause
 * The best path by Viterbi's algorithm. As in SentencePiece, a character that is no
 * piece by itself may be passed as unknown at 10 less than the lowest score; unknown
 * characters side by side are one. */
#include "core/tokenizer/unigram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/tokenizer/bpe.h"
#include "core/tokenizer/internal.h"
#include "core/tokenizer/utf8.h"
#include "core/vec.h"

#define UNIGRAM_PENALTY 10.0

struct qtk_unigram_end {
  double score;
  size_t start;
  int32_t id; /* -1: not reached */
};

/* ---- reading ------------------------------------------------------------------------ */

void qtk_unigram_free(struct qtk_unigram *u)
{
  free(u->scores);
  *u = (struct qtk_unigram){0};
}

static int unigram_read_piece(const struct qtk_node *list, size_t id, struct qtk_vocab *vocab,
                              struct qtk_unigram *u)
{
  const json_t *item = json_array_get(list->json, id);
  const json_t *text = json_array_get(item, 0), *score = json_array_get(item, 1);
  size_t n = json_string_length(text);
  if (json_array_size(item) != 2 || !json_is_string(text) || !json_is_number(score))
    return qtk_node_error(list, "item %zu is not [text, score]", id);
  u->scores[id] = json_number_value(score) + 0.0; /* no negative zero */
  if (!isfinite(u->scores[id]))
    return qtk_node_error(list, "item %zu: the score is not finite", id);
  if (n > u->longest)
    u->longest = n;
  if (id == 0 || u->scores[id] - UNIGRAM_PENALTY < u->unknown_score)
    u->unknown_score = u->scores[id] - UNIGRAM_PENALTY;
  int rc = qtk_vocab_add(vocab, (int32_t)id, json_string_value(text), n, QTK_TOKEN_MODEL);
  return rc == QTK_OK ? rc : qtk_node_at(list, rc);
}

static void unigram_find_bytes(const struct qtk_vocab *vocab, struct qtk_unigram *u)
{
  for (int byte = 0; byte < 256; byte++) {
    char text[8];
    int n = snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    u->byte_ids[byte] = u->byte_fallback ? qtk_vocab_find(vocab, text, (size_t)n) : -1;
  }
}

int qtk_unigram_read(const struct qtk_node *model, struct qtk_vocab *vocab, struct qtk_unigram *u)
{
  struct qtk_node list, unknown = qtk_node_get(model, "unk_id");
  u->unknown = -1;
  int rc = qtk_node_array(model, "vocab", &list, &u->n);
  if (rc == QTK_OK && (u->n == 0 || u->n > QTK_VOCAB_MAX))
    rc = qtk_node_error(&list, "%zu pieces: allowed are 1 .. %d", u->n, QTK_VOCAB_MAX);
  if (rc == QTK_OK && (u->scores = calloc(u->n, sizeof *u->scores)) == NULL)
    rc = qtk_error_memory(u->n * sizeof *u->scores, "scores");
  for (size_t id = 0; rc == QTK_OK && id < u->n; id++)
    rc = unigram_read_piece(&list, id, vocab, u);
  if (rc == QTK_OK)
    rc = qtk_node_id(model, "unk_id", &u->unknown);
  if (rc == QTK_OK && u->unknown >= (int32_t)u->n)
    rc = qtk_node_error(&unknown, "%d: allowed are 0 .. %zu", u->unknown, u->n - 1);
  if (rc == QTK_OK)
    rc = qtk_node_flag(model, "byte_fallback", &u->byte_fallback);
  unigram_find_bytes(vocab, u);
  return rc;
}

/* ---- encoding ------------------------------------------------------------------------- */

void qtk_unigram_work_free(struct qtk_unigram_work *work)
{
  qtk_vec_release(work->ends);
  *work = (struct qtk_unigram_work){0};
}

static void unigram_reach(struct qtk_unigram_end *end, size_t start, int32_t id, double score)
{
  if (end->id < 0 || score > end->score)
    *end = (struct qtk_unigram_end){score, start, id};
}

/* All steps from a character of `size` bytes at `start`. */
static void unigram_step(const struct qtk_unigram *u, const struct qtk_vocab *vocab,
                         struct qtk_unigram_end *ends, const char *word, size_t n, size_t start,
                         size_t size)
{
  struct qtk_vocab_prefix prefix = QTK_VOCAB_PREFIX;
  double score = start > 0 ? ends[start].score : 0;
  size_t most = n - start < u->longest ? n - start : u->longest;
  int single = 0;
  int32_t id;
  while ((id = qtk_vocab_next_prefix(vocab, word + start, most, &prefix)) >= 0) {
    if ((size_t)id >= u->n)
      continue;
    unigram_reach(&ends[start + prefix.bytes], start, id, score + u->scores[id]);
    single |= prefix.bytes == size;
  }
  if (!single) /* n is no id */
    unigram_reach(&ends[start + size], start, (int32_t)u->n, score + u->unknown_score);
}

/* Ids of word [start, end), characters that are no pieces. */
static int unigram_unknown(const struct qtk_unigram *u, const char *word, size_t start, size_t end,
                           struct qtk_ids *out)
{
  size_t known = start;
  int rc = QTK_OK;
  while (known < end && u->byte_ids[(unsigned char)word[known]] >= 0)
    known++;
  if (known < end && u->unknown < 0)
    return qtk_error(QTK_EINPUT, "a text has characters that the tokenizer has no pieces for");
  if (known < end)
    return qtk_ids_add(out, &u->unknown, 1);
  for (size_t i = start; i < end && rc == QTK_OK; i++)
    rc = qtk_ids_add(out, &u->byte_ids[(unsigned char)word[i]], 1);
  return rc;
}

/* Turns the path around: each end gets to know where the next piece ends. */
static void unigram_turn(struct qtk_unigram_end *ends, size_t n)
{
  size_t next = n;
  for (size_t at = n; at > 0;) {
    size_t start = ends[at].start;
    ends[at].start = next;
    next = at;
    at = start;
  }
  ends[0].start = next;
}

static int unigram_collect(const struct qtk_unigram *u, struct qtk_unigram_end *ends,
                           const char *word, size_t n, struct qtk_ids *out)
{
  int rc = QTK_OK;
  for (size_t at = 0, end; at < n && rc == QTK_OK; at = end) {
    end = ends[at].start;
    int32_t id = ends[end].id;
    if (id < (int32_t)u->n && id != u->unknown) {
      rc = qtk_ids_add(out, &id, 1);
      continue;
    }
    for (size_t next = end; end < n && rc == QTK_OK; end = next) {
      next = ends[end].start;
      if (ends[next].id < (int32_t)u->n && ends[next].id != u->unknown)
        break;
    }
    rc = unigram_unknown(u, word, at, end, out);
  }
  return rc;
}

int qtk_unigram_encode(const struct qtk_unigram *u, const struct qtk_vocab *vocab,
                       struct qtk_unigram_work *work, const char *word, size_t n,
                       struct qtk_ids *out)
{
  if (n + 1 > work->room) {
    struct qtk_unigram_end *ends =
        qtk_vec_grown(work->ends, &work->room, n + 1, sizeof *work->ends);
    if (ends == NULL)
      return QTK_ENOMEM;
    work->ends = ends;
  }
  for (size_t i = 0; i <= n; i++)
    work->ends[i].id = -1;
  for (size_t i = 0, size; i < n; i += size) {
    size = qtk_utf8_char(word + i, n - i);
    size += size == 0;
    unigram_step(u, vocab, work->ends, word, n, i, size);
  }
  if (n == 0)
    return QTK_OK;
  unigram_turn(work->ends, n);
  return unigram_collect(u, work->ends, word, n, out);
}

/* ---- writing ---------------------------------------------------------------------------- */

int qtk_unigram_write(const struct qtk_unigram *u, const struct qtk_vocab *vocab,
                      struct qtk_str *out)
{
  qtk_str_add(out, "{\"type\":\"Unigram\",\"unk_id\":");
  if (u->unknown >= 0)
    qtk_str_printf(out, "%d", u->unknown);
  else
    qtk_str_add(out, "null");
  int rc = qtk_str_printf(out, ",\"byte_fallback\":%s,\"vocab\":[",
                          u->byte_fallback ? "true" : "false");
  for (size_t id = 0; id < u->n && rc == QTK_OK; id++) {
    char score[QTK_REAL_SIZE];
    qtk_str_real(u->scores[id], score);
    qtk_str_add(out, id > 0 ? ",[" : "[");
    qtk_tokenizer_write_token(vocab, (int32_t)id, out);
    rc = qtk_str_printf(out, ",%s]", score);
  }
  return rc == QTK_OK ? qtk_str_add(out, "]}") : rc;
}
