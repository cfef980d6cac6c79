/* SPDX-License-Identifier: BSD-3-Clause
 * The sequences of a data set while they are laid out. */
#include "core/dataset-store.h"

#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"

#define STORE_WHAT "data"
#define STORE_BYTES (2 * sizeof(int32_t) + sizeof(float)) /* a token */

void qtk_dataset_tokens_free(struct dataset_tokens *t)
{
  qtk_ids_free(&t->ids);
  qtk_vec_free(&t->scored);
}

int qtk_dataset_store_new(struct qtk_context *ctx, int64_t length, struct dataset_store **store)
{
  struct dataset_store *s = calloc(1, sizeof *s);
  if (s == NULL)
    return qtk_error_memory(sizeof *s, STORE_WHAT);
  *s = (struct dataset_store){.ctx = ctx, .length = length};
  *store = s;
  return qtk_vec_push(&s->starts, 0);
}

void qtk_dataset_store_free(struct dataset_store *s)
{
  if (s == NULL)
    return;
  qtk_arena_release(&s->ctx->arena, (uint64_t)s->room * STORE_BYTES, STORE_WHAT);
  qtk_vec_free(&s->starts);
  qtk_vec_free(&s->labels);
  free(s->ids);
  free(s->targets);
  free(s->weights);
  free(s);
}

/* ---- memory ----------------------------------------------------------------------------- */

/* Arrays of exactly `room` tokens; one that cannot grow leaves all as they were to the
 * user. Shrinking never fails. */
static int store_resize(struct dataset_store *s, int64_t room)
{
  size_t n = room > 0 ? (size_t)room : 1;
  int32_t *ids = realloc(s->ids, n * sizeof *ids);
  s->ids = ids != NULL ? ids : s->ids;
  int32_t *targets = realloc(s->targets, n * sizeof *targets);
  s->targets = targets != NULL ? targets : s->targets;
  float *weights = realloc(s->weights, n * sizeof *weights);
  s->weights = weights != NULL ? weights : s->weights;
  if (room > s->room && (ids == NULL || targets == NULL || weights == NULL))
    return qtk_error_memory(n * STORE_BYTES, STORE_WHAT);
  return QTK_OK;
}

static int store_reserve(struct dataset_store *s, int64_t more)
{
  int64_t room = s->n + more;
  if (room <= s->room)
    return QTK_OK;
  room += room / 2;
  uint64_t bytes = (uint64_t)(room - s->room) * STORE_BYTES;
  int rc = qtk_arena_charge(&s->ctx->arena, bytes, STORE_WHAT);
  if (rc != QTK_OK)
    return rc;
  if ((rc = store_resize(s, room)) == QTK_OK)
    s->room = room;
  else
    qtk_arena_release(&s->ctx->arena, bytes, STORE_WHAT);
  return rc;
}

uint64_t qtk_dataset_bytes(const struct qtk_dataset *d)
{
  return (uint64_t)d->count.tokens * STORE_BYTES;
}

/* ---- sequences ---------------------------------------------------------------------------- */

int64_t qtk_dataset_open(const struct dataset_store *s)
{
  return s->n - s->starts.data[s->starts.length - 1];
}

int qtk_dataset_put(struct dataset_store *s, const struct dataset_tokens *t, int64_t from,
                    int64_t n)
{
  int rc = store_reserve(s, n);
  if (rc != QTK_OK)
    return rc;
  for (int64_t i = from; i < from + n; i++) {
    int scored = i + 1 < from + n && (t->scored.length == 0 || t->scored.data[i + 1]);
    s->ids[s->n] = t->ids.ids[i];
    s->targets[s->n] = scored ? t->ids.ids[i + 1] : -1;
    s->weights[s->n++] = scored ? 1.0f : 0.0f;
  }
  return QTK_OK;
}

int qtk_dataset_close(struct dataset_store *s)
{
  int64_t start = s->n - qtk_dataset_open(s);
  for (int64_t i = start; i < s->n; i++)
    if (s->targets[i] >= 0)
      return qtk_vec_push(&s->starts, s->n);
  s->n = start;
  return QTK_OK;
}

void qtk_dataset_show(struct dataset_store *s, struct qtk_examples *e)
{
  store_resize(s, s->n);
  qtk_arena_release(&s->ctx->arena, (uint64_t)(s->room - s->n) * STORE_BYTES, STORE_WHAT);
  s->room = s->n;
  *e = (struct qtk_examples){.n = (int64_t)s->starts.length - 1, .starts = s->starts.data,
                             .ids = s->ids, .targets = s->targets, .weights = s->weights,
                             .labels = s->labels.data};
}
