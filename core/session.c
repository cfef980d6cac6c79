/* SPDX-License-Identifier: BSD-3-Clause
 * A batch in flight. */
#include "core/session.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tensor.h"

int qtk_session_init(struct qtk_session *s, struct qtk_context *ctx, int64_t n, int64_t capacity)
{
  if (n < 1 || capacity < 0 || capacity > INT32_MAX || n > INT32_MAX / (capacity + 1))
    return qtk_error(QTK_EINTERNAL, "a session of %lld sequences of %lld tokens", (long long)n,
                     (long long)capacity);
  *s = (struct qtk_session){.ctx = ctx, .n = n, .capacity = capacity, .cache_dtype = QTK_F32};
  s->past = calloc((size_t)n, sizeof *s->past);
  s->rows = calloc((size_t)n + 1, sizeof *s->rows);
  s->numbers = calloc((size_t)n, sizeof *s->numbers);
  s->spans = calloc((size_t)n, sizeof *s->spans);
  if (s->past == NULL || s->rows == NULL || s->numbers == NULL || s->spans == NULL) {
    qtk_session_destroy(s);
    return qtk_error_memory((size_t)n * sizeof *s->spans, "a session");
  }
  for (int64_t i = 0; i < n; i++)
    s->numbers[i] = (uint64_t)i;
  return QTK_OK;
}

void qtk_session_destroy(struct qtk_session *s)
{
  for (size_t i = 0; i < s->caches.length; i++) {
    qtk_device_free(s->ctx, s->caches.data[i].k.data);
    qtk_device_free(s->ctx, s->caches.data[i].v.data);
  }
  for (size_t i = 0; i < s->memories.length; i++)
    qtk_device_free(s->ctx, s->memories.data[i].data);
  qtk_vec_free(&s->caches);
  qtk_vec_free(&s->memories);
  free(s->positions);
  free(s->ids);
  free(s->spans);
  free(s->numbers);
  free(s->rows);
  free(s->past);
  *s = (struct qtk_session){0};
}

/* ---- a pass ----------------------------------------------------------------------- */

static int session_check(const struct qtk_session *s, const int64_t *lengths, int64_t *tokens)
{
  *tokens = 0;
  for (int64_t i = 0; i < s->n; i++) {
    if (lengths[i] < 0 || lengths[i] > INT32_MAX - *tokens)
      return qtk_error(QTK_EINTERNAL, "sequence %lld has %lld tokens", (long long)i,
                       (long long)lengths[i]);
    if (s->capacity > 0 && lengths[i] > s->capacity - s->past[i])
      return qtk_error(QTK_EINPUT,
                       "sequence %lld: %lld tokens more than %lld do not fit a cache of %lld",
                       (long long)i, (long long)lengths[i], (long long)s->past[i],
                       (long long)s->capacity);
    *tokens += lengths[i];
  }
  return QTK_OK;
}

static int session_grow(struct qtk_session *s, int64_t tokens)
{
  size_t bytes = (size_t)tokens * sizeof *s->ids;
  int32_t *positions, *ids;

  if (tokens <= s->room)
    return QTK_OK;
  positions = realloc(s->positions, bytes);
  s->positions = positions != NULL ? positions : s->positions;
  ids = realloc(s->ids, bytes);
  s->ids = ids != NULL ? ids : s->ids;
  if (positions == NULL || ids == NULL)
    return qtk_error_memory(bytes, "positions");
  s->room = tokens;
  return QTK_OK;
}

int qtk_session_begin(struct qtk_session *s, const int64_t *lengths)
{
  int64_t tokens, row = 0;
  int rc = session_check(s, lengths, &tokens);

  if (rc == QTK_OK)
    rc = session_grow(s, tokens);
  if (rc != QTK_OK)
    return rc;
  s->tokens = tokens;
  for (int64_t i = 0; i < s->n; i++) {
    s->rows[i] = row;
    s->spans[i] = (struct qtk_span){.q0 = row,
                                    .nq = lengths[i],
                                    .k0 = s->capacity > 0 ? i * s->capacity : row,
                                    .nk = s->past[i] + lengths[i]};
    for (int64_t j = 0; j < lengths[i]; j++)
      s->positions[row + j] = (int32_t)(s->past[i] + j);
    row += lengths[i];
  }
  s->rows[s->n] = row;
  return QTK_OK;
}

void qtk_session_commit(struct qtk_session *s)
{
  for (int64_t i = 0; s->capacity > 0 && i < s->n; i++)
    s->past[i] = s->spans[i].nk;
}

/* ---- memory -------------------------------------------------------------------------- */

/* Keys or values of all sequences. */
static int session_cache_new(struct qtk_session *s, int64_t width, struct qtk_tensor *t)
{
  int64_t rows = s->n * s->capacity;
  uint64_t bytes;

  *t = qtk_matrix(s->cache_dtype, NULL, rows, width);
  if (!qtk_size_multiply((uint64_t)(rows * width), qtk_dtype_size(s->cache_dtype), &bytes))
    return qtk_error(QTK_ENOMEM, "a cache of %lld tokens is too large", (long long)rows);
  return qtk_device_alloc(s->ctx, bytes, "cache", &t->data);
}

int qtk_session_cached(struct qtk_session *s, const void *owner, int64_t width,
                       struct session_cache *cache)
{
  int rc;

  for (size_t i = 0; i < s->caches.length; i++)
    if (s->caches.data[i].owner == owner) {
      *cache = s->caches.data[i];
      return QTK_OK;
    }
  *cache = (struct session_cache){.owner = owner};
  rc = session_cache_new(s, width, &cache->k);
  if (rc == QTK_OK)
    rc = session_cache_new(s, width, &cache->v);
  if (rc == QTK_OK)
    rc = qtk_vec_push(&s->caches, *cache);
  if (rc != QTK_OK) {
    qtk_device_free(s->ctx, cache->k.data);
    qtk_device_free(s->ctx, cache->v.data);
  }
  return rc;
}

static struct session_memory *session_find(struct qtk_session *s, const void *owner, int slot)
{
  for (size_t i = 0; i < s->memories.length; i++)
    if (s->memories.data[i].owner == owner && s->memories.data[i].slot == slot)
      return &s->memories.data[i];
  if (qtk_vec_push(&s->memories, ((struct session_memory){.owner = owner, .slot = slot})) != QTK_OK)
    return NULL;
  return &s->memories.data[s->memories.length - 1];
}

int qtk_session_bytes(struct qtk_session *s, const void *owner, int slot, size_t bytes,
                      const char *what, void **memory)
{
  struct session_memory *m = session_find(s, owner, slot);
  int rc = m == NULL ? QTK_ENOMEM : QTK_OK;

  *memory = NULL;
  if (rc == QTK_OK && (bytes > m->bytes || m->data == NULL)) {
    qtk_device_free(s->ctx, m->data);
    m->data = NULL;
    m->bytes = 0;
    rc = qtk_device_alloc(s->ctx, bytes > 0 ? bytes : 1, s->what != NULL ? s->what : what,
                          &m->data);
    if (rc == QTK_OK)
      m->bytes = bytes;
  }
  if (rc == QTK_OK)
    *memory = m->data;
  return rc;
}

int qtk_session_matrix_of(struct qtk_session *s, const void *owner, int slot, int64_t rows,
                          int64_t cols, const char *what, struct qtk_tensor *t)
{
  void *memory;
  int rc = qtk_session_bytes(s, owner, slot, (size_t)(rows * cols) * sizeof(float), what, &memory);

  *t = qtk_matrix(QTK_F32, memory, rows, cols);
  return rc;
}

int qtk_session_matrix(struct qtk_session *s, const void *owner, int slot, int64_t rows,
                       int64_t cols, struct qtk_tensor *t)
{
  return qtk_session_matrix_of(s, owner, slot, rows, cols, "activations", t);
}

/* ---- what adapters ask ------------------------------------------------------------------ */

int64_t qtk_session_tokens(const struct qtk_session *s)
{
  return s->tokens;
}

int64_t qtk_session_sequences(const struct qtk_session *s)
{
  return s->n;
}

void qtk_session_sequence(const struct qtk_session *s, int64_t i, int64_t *row, int64_t *n,
                          uint64_t *number)
{
  *row = s->rows[i];
  *n = s->rows[i + 1] - s->rows[i];
  *number = s->numbers[i];
}

const int32_t *qtk_session_positions(const struct qtk_session *s)
{
  return s->positions;
}

int qtk_session_training(const struct qtk_session *s)
{
  return s->training;
}

int64_t qtk_session_step(const struct qtk_session *s)
{
  return s->step;
}

int qtk_session_memory(struct qtk_context *ctx, struct qtk_session *s, const void *h, int slot,
                       size_t bytes_per_token, void **memory)
{
  (void)ctx;
  return qtk_session_bytes(s, h, slot, (size_t)s->tokens * bytes_per_token, "adapter", memory);
}
