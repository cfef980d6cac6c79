/* SPDX-License-Identifier: BSD-3-Clause
 * Byte-pair encoding: the pair of neighbours with the lowest rank merges first,
 * of equal ones the leftmost. Symbols are a linked list and pairs a heap, so a
 * word of n symbols takes n log n steps however long it is. */
#include "core/tokenizer/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tokenizer/alphabet.h"
#include "core/tokenizer/utf8.h"
#include "core/vec.h"

#define BPE_NONE UINT32_MAX

/* ---- words already seen ------------------------------------------------------- */

#define BPE_WORD_BYTES 128
#define BPE_WORDS (1 << 16)

struct qtk_bpe_word {
  uint64_t hash; /* 0: an empty slot */
  size_t text, ids;
  uint32_t bytes, n_ids;
};

void qtk_bpe_work_free(struct qtk_bpe_work *w)
{
  qtk_vec_release(w->id);
  free(w->next);
  free(w->before);
  free(w->rank);
  free(w->heap);
  free(w->words);
  qtk_str_free(&w->mapped);
  qtk_str_free(&w->word_texts);
  qtk_ids_free(&w->word_ids);
  *w = (struct qtk_bpe_work){0};
}

static uint64_t bpe_hash(const char *word, size_t n)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)word[i]) * 0x100000001b3u;
  return (h ^ h >> 31) | 1;
}

static struct qtk_bpe_word *bpe_word_slot(const struct qtk_bpe_work *w, uint64_t hash,
                                          const char *word, size_t n)
{
  size_t slot = (hash >> 1) & (w->word_slots - 1);
  for (;; slot = (slot + 1) & (w->word_slots - 1)) {
    struct qtk_bpe_word *seen = &w->words[slot];
    if (seen->hash == 0 || (seen->hash == hash && seen->bytes == n &&
                            memcmp(w->word_texts.data + seen->text, word, n) == 0))
      return seen;
  }
}

static int bpe_words_grow(struct qtk_bpe_work *w)
{
  size_t old_slots = w->word_slots;
  struct qtk_bpe_word *old = w->words;
  size_t slots = old_slots == 0 ? 256 : 2 * old_slots;
  struct qtk_bpe_word *words = calloc(slots, sizeof *words);
  if (words == NULL)
    return qtk_error_memory(slots * sizeof *words, "a table of words");
  w->words = words;
  w->word_slots = slots;
  for (size_t i = 0; i < old_slots; i++) {
    const struct qtk_bpe_word *o = &old[i];
    if (o->hash != 0)
      *bpe_word_slot(w, o->hash, w->word_texts.data + o->text, o->bytes) = *o;
  }
  free(old);
  return QTK_OK;
}

/* The word gave the ids of `out` from `start` on. */
static int bpe_remember(struct qtk_bpe_work *w, uint64_t hash, const char *word, size_t n,
                        const struct qtk_ids *out, size_t start)
{
  if (w->n_words >= BPE_WORDS)
    return QTK_OK;
  int rc = QTK_OK;
  if (2 * (w->n_words + 1) > w->word_slots)
    rc = bpe_words_grow(w);
  struct qtk_bpe_word seen = {.hash = hash,
                              .text = w->word_texts.length,
                              .ids = w->word_ids.n,
                              .bytes = (uint32_t)n,
                              .n_ids = (uint32_t)(out->n - start)};
  if (rc == QTK_OK)
    rc = qtk_str_add_bytes(&w->word_texts, word, n);
  if (rc == QTK_OK && seen.n_ids > 0)
    rc = qtk_ids_add(&w->word_ids, out->ids + start, seen.n_ids);
  if (rc == QTK_OK) {
    *bpe_word_slot(w, hash, word, n) = seen;
    w->n_words++;
  }
  return rc;
}

/* ---- a word into symbols ------------------------------------------------------- */

static int32_t bpe_token(const struct qtk_bpe *b, const char *text, size_t n)
{
  int32_t id = qtk_vocab_find(b->vocab, text, n);
  return id >= 0 && (b->vocab->tokens[id].flags & QTK_TOKEN_MODEL) ? id : -1;
}

void qtk_bpe_init(struct qtk_bpe *b)
{
  for (int byte = 0; byte < 256; byte++) {
    char text[8];
    size_t n = 6;
    if (b->bytes)
      n = qtk_utf8_put(qtk_alphabet_code((unsigned char)byte), text);
    else
      snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
    b->byte_ids[byte] = b->bytes || b->byte_fallback ? bpe_token(b, text, n) : -1;
  }
}

static int bpe_reserve(struct qtk_bpe_work *w, size_t n)
{
  if (n <= w->room)
    return QTK_OK;
  if (n >= BPE_NONE / 4)
    return qtk_error(QTK_EINPUT, "a word of %zu bytes: at most %u are allowed", n, BPE_NONE / 4);
  free(w->next);
  free(w->before);
  free(w->rank);
  free(w->heap);
  int32_t *id = qtk_vec_grown(w->id, &w->room, n, sizeof *id);
  w->id = id != NULL ? id : w->id;
  w->next = malloc(w->room * sizeof *w->next);
  w->before = malloc(w->room * sizeof *w->before);
  w->rank = malloc(w->room * sizeof *w->rank);
  w->heap = malloc(3 * w->room * sizeof *w->heap);
  if (id != NULL && w->next != NULL && w->before != NULL && w->rank != NULL && w->heap != NULL)
    return QTK_OK;
  w->room = 0;
  return qtk_error_memory(n * 40, "a word");
}

/* Symbols of a character that is no token: bytes, or the unknown token once
 * (*unknown counts those just before it), or nothing. */
static void bpe_unknown(const struct qtk_bpe *b, struct qtk_bpe_work *w, const char *c, size_t size,
                        size_t *unknown)
{
  size_t known = 0;
  while (known < size && b->byte_ids[(unsigned char)c[known]] >= 0)
    known++;
  if (known == size) {
    *unknown = 0;
    for (size_t i = 0; i < size; i++)
      w->id[w->n++] = b->byte_ids[(unsigned char)c[i]];
  } else if (b->unknown >= 0 && !(b->fuse_unknown && (*unknown)++ > 0)) {
    w->id[w->n++] = b->unknown;
  }
}

static void bpe_symbols(const struct qtk_bpe *b, struct qtk_bpe_work *w, const char *word, size_t n)
{
  size_t unknown = 0;
  w->n = 0;
  for (size_t i = 0, size; i < n; i += size) {
    size = b->bytes ? 0 : qtk_utf8_char(word + i, n - i);
    int32_t id = size == 0 ? -1 : bpe_token(b, word + i, size);
    size += size == 0;
    if (id < 0) {
      bpe_unknown(b, w, word + i, size, &unknown);
    } else {
      w->id[w->n++] = id;
      unknown = 0;
    }
  }
}

/* ---- merging --------------------------------------------------------------------- */

static void bpe_heap_push(struct qtk_bpe_work *w, uint64_t key)
{
  size_t i = w->n_heap++;
  for (size_t up; i > 0 && w->heap[up = (i - 1) / 2] > key; i = up)
    w->heap[i] = w->heap[up];
  w->heap[i] = key;
}

static uint64_t bpe_heap_pop(struct qtk_bpe_work *w)
{
  uint64_t top = w->heap[0], key = w->heap[--w->n_heap];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
    if (child + 1 < w->n_heap && w->heap[child + 1] < w->heap[child])
      child++;
    if (w->heap[child] >= key)
      break;
    w->heap[i] = w->heap[child];
  }
  w->heap[i] = key;
  return top;
}

static void bpe_rank_pair(const struct qtk_bpe *b, struct qtk_bpe_work *w, uint32_t i)
{
  uint32_t j = w->next[i];
  w->rank[i] = j == BPE_NONE ? BPE_NONE : qtk_vocab_rank(b->vocab, w->id[i], w->id[j]);
  if (w->rank[i] != BPE_NONE)
    bpe_heap_push(w, (uint64_t)w->rank[i] << 32 | i);
}

/* Symbol i takes in the one behind it. Pushes at most two pairs, and the word
 * has at most n - 1 merges: 3 n places do for the heap. */
static void bpe_merge_pair(const struct qtk_bpe *b, struct qtk_bpe_work *w, uint32_t i)
{
  uint32_t j = w->next[i], after = w->next[j];
  w->id[i] = b->vocab->merges[w->rank[i]].id;
  w->rank[j] = BPE_NONE;
  w->next[i] = after;
  if (after != BPE_NONE)
    w->before[after] = i;
  bpe_rank_pair(b, w, i);
  if (w->before[i] != BPE_NONE)
    bpe_rank_pair(b, w, w->before[i]);
}

static void bpe_merge(const struct qtk_bpe *b, struct qtk_bpe_work *w)
{
  w->n_heap = 0;
  for (size_t i = 0; i < w->n; i++) {
    w->before[i] = i == 0 ? BPE_NONE : (uint32_t)i - 1;
    w->next[i] = i + 1 == w->n ? BPE_NONE : (uint32_t)i + 1;
  }
  for (size_t i = 0; i < w->n; i++)
    bpe_rank_pair(b, w, (uint32_t)i);
  while (w->n_heap > 0) {
    uint64_t key = bpe_heap_pop(w);
    uint32_t i = (uint32_t)key;
    if (w->rank[i] == key >> 32) /* else the pair has changed since */
      bpe_merge_pair(b, w, i);
  }
}

/* ---- encoding --------------------------------------------------------------------- */

int qtk_ids_add(struct qtk_ids *out, const int32_t *ids, size_t n)
{
  if (n > out->room - out->n) {
    int32_t *grown = qtk_vec_grown(out->ids, &out->room, out->n + n, sizeof *grown);
    if (grown == NULL)
      return QTK_ENOMEM;
    out->ids = grown;
  }
  if (n > 0)
    memcpy(out->ids + out->n, ids, n * sizeof *ids);
  out->n += n;
  return QTK_OK;
}

/* 1 and the id if the word as it is is a token; 0; negative: an error. */
static int bpe_whole_word(const struct qtk_bpe *b, struct qtk_bpe_work *w, const char *word,
                          size_t n, int32_t *id)
{
  if (b->bytes) {
    w->mapped.length = 0;
    int rc = qtk_alphabet_encode(word, n, &w->mapped);
    if (rc != QTK_OK)
      return rc;
    word = w->mapped.data;
    n = w->mapped.length;
  }
  *id = bpe_token(b, word, n);
  return *id >= 0;
}

static int bpe_new_word(const struct qtk_bpe *b, struct qtk_bpe_work *w, const char *word, size_t n,
                        struct qtk_ids *out)
{
  int32_t id;
  int rc = b->whole_words ? bpe_whole_word(b, w, word, n, &id) : 0;
  if (rc > 0)
    return qtk_ids_add(out, &id, 1);
  if (rc == 0)
    rc = bpe_reserve(w, n);
  if (rc != QTK_OK)
    return rc;
  bpe_symbols(b, w, word, n);
  if (w->n == 0)
    return QTK_OK;
  bpe_merge(b, w);
  for (uint32_t i = 0; i != BPE_NONE && rc == QTK_OK; i = w->next[i])
    rc = qtk_ids_add(out, &w->id[i], 1);
  return rc;
}

int qtk_bpe_encode(const struct qtk_bpe *b, struct qtk_bpe_work *w, const char *word, size_t n,
                   struct qtk_ids *out)
{
  if (n == 0 || n > BPE_WORD_BYTES)
    return n == 0 ? QTK_OK : bpe_new_word(b, w, word, n, out);
  uint64_t hash = bpe_hash(word, n);
  if (w->word_slots > 0) {
    const struct qtk_bpe_word *seen = bpe_word_slot(w, hash, word, n);
    if (seen->hash != 0)
      return seen->n_ids == 0 ? QTK_OK : qtk_ids_add(out, w->word_ids.ids + seen->ids, seen->n_ids);
  }
  size_t start = out->n;
  int rc = bpe_new_word(b, w, word, n, out);
  if (rc == QTK_OK)
    rc = bpe_remember(w, hash, word, n, out, start);
  return rc;
}
