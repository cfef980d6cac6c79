/* SPDX-License-Identifier: BSD-3-Clause
 * The vocabulary: an array by id, and two open hash tables over it. */
#include "core/tokenizer/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/vec.h"

void qtk_vocab_free(struct qtk_vocab *v)
{
  qtk_vec_release(v->tokens);
  qtk_vec_release(v->merges);
  qtk_str_free(&v->texts);
  free(v->by_text);
  free(v->by_pair);
  *v = (struct qtk_vocab){0};
}

static uint64_t vocab_mix(uint64_t h)
{
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

static uint64_t vocab_hash_add(uint64_t h, char c)
{
  return (h ^ (unsigned char)c) * 0x100000001b3u;
}

static uint64_t vocab_hash(const char *text, size_t n)
{
  struct qtk_vocab_prefix p = QTK_VOCAB_PREFIX;
  for (size_t i = 0; i < n; i++)
    p.hash = vocab_hash_add(p.hash, text[i]);
  return p.hash;
}

static uint64_t vocab_hash_pair(int32_t left, int32_t right)
{
  return vocab_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
}

const char *qtk_vocab_text(const struct qtk_vocab *v, int32_t id, size_t *n)
{
  if (id < 0 || (size_t)id >= v->size || v->tokens[id].flags == 0)
    return NULL;
  *n = v->tokens[id].bytes;
  return v->texts.data + v->tokens[id].at;
}

/* The slot of a text with this hash, or the empty one where it would be. */
static size_t vocab_hashed_slot(const struct qtk_vocab *v, uint64_t hash, const char *text,
                                size_t n)
{
  size_t slot = vocab_mix(hash) & (v->text_slots - 1);
  while (v->by_text[slot] != 0) {
    const struct qtk_token *t = &v->tokens[v->by_text[slot] - 1];
    if (t->bytes == n && memcmp(v->texts.data + t->at, text, n) == 0)
      break;
    slot = (slot + 1) & (v->text_slots - 1);
  }
  return slot;
}

static size_t vocab_text_slot(const struct qtk_vocab *v, const char *text, size_t n)
{
  return vocab_hashed_slot(v, vocab_hash(text, n), text, n);
}

int32_t qtk_vocab_next_prefix(const struct qtk_vocab *v, const char *text, size_t n,
                              struct qtk_vocab_prefix *p)
{
  while (v->text_slots > 0 && p->bytes < n) {
    p->hash = vocab_hash_add(p->hash, text[p->bytes++]);
    uint32_t found = v->by_text[vocab_hashed_slot(v, p->hash, text, p->bytes)];
    if (found != 0)
      return (int32_t)found - 1;
  }
  return -1;
}

int32_t qtk_vocab_find(const struct qtk_vocab *v, const char *text, size_t n)
{
  return v->text_slots == 0 ? -1 : (int32_t)v->by_text[vocab_text_slot(v, text, n)] - 1;
}

static int vocab_rehash_texts(struct qtk_vocab *v)
{
  size_t slots = v->text_slots == 0 ? 1024 : 2 * v->text_slots;
  uint32_t *table = calloc(slots, sizeof *table);
  if (table == NULL)
    return qtk_error_memory(slots * sizeof *table, "a vocabulary");
  free(v->by_text);
  v->by_text = table;
  v->text_slots = slots;
  for (size_t id = 0; id < v->size; id++) {
    const struct qtk_token *t = &v->tokens[id];
    if (t->flags != 0)
      table[vocab_text_slot(v, v->texts.data + t->at, t->bytes)] = (uint32_t)id + 1;
  }
  return QTK_OK;
}

/* Makes ids up to `id` exist, without texts. */
static int vocab_reach(struct qtk_vocab *v, int32_t id)
{
  size_t want = (size_t)id + 1;
  if (want <= v->size)
    return QTK_OK;
  if (want > v->room) {
    struct qtk_token *tokens = qtk_vec_grown(v->tokens, &v->room, want, sizeof *tokens);
    if (tokens == NULL)
      return QTK_ENOMEM;
    v->tokens = tokens;
  }
  memset(v->tokens + v->size, 0, (want - v->size) * sizeof *v->tokens);
  v->size = want;
  return QTK_OK;
}

int qtk_vocab_add(struct qtk_vocab *v, int32_t id, const char *text, size_t n, uint32_t flags)
{
  if (id < 0 || id >= QTK_VOCAB_MAX)
    return qtk_error(QTK_EINPUT, "the id %d of \"%s\": allowed are 0 .. %d", id, text,
                     QTK_VOCAB_MAX - 1);
  int32_t known = qtk_vocab_find(v, text, n);
  if (known >= 0 && known != id)
    return qtk_error(QTK_EINPUT, "\"%s\" has two ids, %d and %d", text, known, id);
  int rc = vocab_reach(v, id);
  if (rc != QTK_OK)
    return rc;
  struct qtk_token *t = &v->tokens[id];
  if (t->flags != 0 && known != id)
    return qtk_error(QTK_EINPUT, "the id %d has two texts, \"%.*s\" and \"%s\"", id, (int)t->bytes,
                     v->texts.data + t->at, text);
  t->flags |= flags;
  if (known == id)
    return QTK_OK;
  t->at = v->texts.length;
  t->bytes = (uint32_t)n;
  rc = qtk_str_add_bytes(&v->texts, text, n);
  if (rc == QTK_OK && 2 * ++v->n_texts > v->text_slots)
    return vocab_rehash_texts(v);
  if (rc == QTK_OK)
    v->by_text[vocab_text_slot(v, text, n)] = (uint32_t)id + 1;
  return rc;
}

static size_t vocab_pair_slot(const struct qtk_vocab *v, int32_t left, int32_t right)
{
  size_t slot = vocab_hash_pair(left, right) & (v->pair_slots - 1);
  while (v->by_pair[slot] != 0) {
    const struct qtk_merge *m = &v->merges[v->by_pair[slot] - 1];
    if (m->left == left && m->right == right)
      break;
    slot = (slot + 1) & (v->pair_slots - 1);
  }
  return slot;
}

static int vocab_rehash_pairs(struct qtk_vocab *v)
{
  size_t slots = v->pair_slots == 0 ? 1024 : 2 * v->pair_slots;
  uint32_t *table = calloc(slots, sizeof *table);
  if (table == NULL)
    return qtk_error_memory(slots * sizeof *table, "a table of merges");
  free(v->by_pair);
  v->by_pair = table;
  v->pair_slots = slots;
  for (size_t rank = 0; rank < v->n_merges; rank++)
    table[vocab_pair_slot(v, v->merges[rank].left, v->merges[rank].right)] = (uint32_t)rank + 1;
  return QTK_OK;
}

int qtk_vocab_add_merge(struct qtk_vocab *v, struct qtk_merge merge)
{
  if (v->n_merges == v->merge_room) {
    struct qtk_merge *merges =
        qtk_vec_grown(v->merges, &v->merge_room, v->n_merges + 1, sizeof *merges);
    if (merges == NULL)
      return QTK_ENOMEM;
    v->merges = merges;
  }
  v->merges[v->n_merges++] = merge;
  if (2 * v->n_merges > v->pair_slots)
    return vocab_rehash_pairs(v);
  v->by_pair[vocab_pair_slot(v, merge.left, merge.right)] = (uint32_t)v->n_merges;
  return QTK_OK;
}

uint32_t qtk_vocab_rank(const struct qtk_vocab *v, int32_t left, int32_t right)
{
  return v->pair_slots == 0 ? UINT32_MAX : v->by_pair[vocab_pair_slot(v, left, right)] - 1;
}
