/* SPDX-License-Identifier: BSD-3-Clause
 * How much of one text also stands in another. */
#include <stdlib.h>

#include "core/mem.h"
#include "core/text.h"

#define OVERLAP_TOKENS 32        /* in a stretch that counts */
#define OVERLAP_MOST (1 << 20)   /* stretches to remember: of longer texts one of a few */
#define OVERLAP_BASE UINT64_C(0x9e3779b97f4a7c15)

/* Goes over the stretches of a text: *hash is the next one's. */
struct overlap_walk {
  const struct qtk_ids *ids;
  size_t at;      /* behind the stretch */
  uint64_t hash;  /* sum of (id + 1) base^(31 - i) */
  uint64_t first; /* base^32 */
};

static struct overlap_walk overlap_walk(const struct qtk_ids *ids)
{
  struct overlap_walk w = {.ids = ids, .first = 1};
  for (int i = 0; i < OVERLAP_TOKENS; i++)
    w.first *= OVERLAP_BASE;
  return w;
}

static int overlap_next(struct overlap_walk *w, uint64_t *hash)
{
  while (w->at < w->ids->n) {
    w->hash = w->hash * OVERLAP_BASE + (uint64_t)w->ids->ids[w->at] + 1;
    if (w->at >= OVERLAP_TOKENS)
      w->hash -= w->first * ((uint64_t)w->ids->ids[w->at - OVERLAP_TOKENS] + 1);
    if (++w->at >= OVERLAP_TOKENS) {
      *hash = (w->hash ^ w->hash >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
      return 1;
    }
  }
  return 0;
}

static int overlap_compare(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

int qtk_text_overlap(struct qtk_context *ctx, const struct qtk_text *text,
                     const struct qtk_text *other, double *share)
{
  uint64_t every = 1 + other->ids.n / OVERLAP_MOST, hash;
  size_t room = other->ids.n / every * 2 + 64, n = 0, found = 0, all = 0;
  uint64_t *known = qtk_alloc(ctx, room * sizeof *known, "text");
  struct overlap_walk w = overlap_walk(&other->ids);
  if (known == NULL)
    return QTK_ENOMEM;
  while (n < room && overlap_next(&w, &hash))
    if ((hash >> 32) % every == 0)
      known[n++] = hash;
  qsort(known, n, sizeof *known, overlap_compare);
  w = overlap_walk(&text->ids);
  while (overlap_next(&w, &hash)) {
    if ((hash >> 32) % every != 0)
      continue;
    all++;
    found += bsearch(&hash, known, n, sizeof *known, overlap_compare) != NULL;
  }
  qtk_free(ctx, known);
  *share = all > 0 ? (double)found / (double)all : 0;
  return QTK_OK;
}
