/* SPDX-License-Identifier: BSD-3-Clause
 * Crops at random places of random documents, one behind the other. */
#include "core/text-crops.h"

#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/vec.h"

/* For random places: any number that no other user of random numbers has. */
#define CROPS_SITE UINT64_C(0x63726f7073616d70)

/* A document that is long enough: where its tokens lie in the pool. */
struct crops_place {
  size_t first, n;
};

struct crops {
  struct qtk_ids pool;
  QTK_VEC(struct crops_place) places;
};

/* A number below `below`, one of the two of crop i. */
static size_t crops_draw(struct qtk_context *ctx, int64_t i, uint64_t which, size_t below)
{
  struct qtk_random_key key = {.sequence = (uint64_t)i, .site = CROPS_SITE};
  uint64_t bits = qtk_random_bits(ctx, &key, which);
  return (size_t)((unsigned __int128)bits * below >> 64);
}

/* Tokens of every document that has more than `length`. */
static int crops_collect(struct text_rows *rows, const struct qtk_tokenizer *tokenizer,
                         struct qtk_text *text, size_t length, struct crops *c)
{
  int more, rc;
  while ((rc = qtk_text_row(rows, &more)) == QTK_OK && more) {
    size_t first = c->pool.n;
    rc = qtk_tokenizer_encode(tokenizer, rows->row.data ? rows->row.data : "", rows->row.length, 1,
                              &c->pool);
    if (rc != QTK_OK)
      return rc;
    text->documents++;
    text->bytes += rows->row.length;
    size_t n = c->pool.n - first;
    if (n <= length)
      c->pool.n = first;
    else if ((rc = qtk_vec_push(&c->places, ((struct crops_place){first, n}))) != QTK_OK)
      return rc;
  }
  return rc;
}

static int crops_cut(struct qtk_context *ctx, const struct qtk_text_recipe *recipe,
                     const struct crops *c, struct qtk_text *text)
{
  size_t length = (size_t)recipe->length, n = (size_t)recipe->crops * length;
  text->ids.ids = malloc(n * sizeof *text->ids.ids);
  if (text->ids.ids == NULL)
    return qtk_error_memory(n * sizeof *text->ids.ids, "text");
  text->ids.n = text->ids.room = n;
  for (int64_t i = 0; i < recipe->crops; i++) {
    const struct crops_place *p = &c->places.data[crops_draw(ctx, i, 0, c->places.length)];
    size_t start = p->first + crops_draw(ctx, i, 1, p->n - length);
    memcpy(text->ids.ids + (size_t)i * length, c->pool.ids + start, length * sizeof(int32_t));
  }
  return QTK_OK;
}

int qtk_text_crops(struct qtk_context *ctx, struct text_rows *rows,
                   const struct qtk_tokenizer *tokenizer, const struct qtk_text_recipe *recipe,
                   struct qtk_text *text)
{
  struct crops c = {0};
  uint64_t bytes = 0;
  int rc = crops_collect(rows, tokenizer, text, (size_t)recipe->length, &c);
  if (rc == QTK_OK && (rc = qtk_arena_charge(&ctx->arena, c.pool.room * sizeof *c.pool.ids,
                                             "text")) == QTK_OK)
    bytes = c.pool.room * sizeof *c.pool.ids;
  if (rc == QTK_OK && c.places.length == 0)
    rc = qtk_error(QTK_EINPUT, "none of %lld documents has more than %lld tokens, as crops of %lld "
                               "need",
                   (long long)text->documents, (long long)recipe->length,
                   (long long)recipe->length);
  if (rc == QTK_OK)
    rc = crops_cut(ctx, recipe, &c, text);
  qtk_arena_release(&ctx->arena, bytes, "text");
  qtk_ids_free(&c.pool);
  qtk_vec_free(&c.places);
  return rc;
}
