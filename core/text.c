/* SPDX-License-Identifier: BSD-3-Clause
 * Reading texts, and cutting their tokens into windows. */
#include "core/text.h"

#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/digest.h"
#include "core/fs.h"
#include "core/mem.h"
#include "core/text-crops.h"

/* For random places: any number that no other user of random numbers has. */
#define TEXT_SITE UINT64_C(0x7465787473616d70)

/* ---- lines of JSON ------------------------------------------------------------------- */

static int text_is_lines(const char *path)
{
  return qtk_path_ends(path, ".jsonl") || qtk_path_ends(path, ".ndjson");
}

/* What is to be done by a file's name where the recipe leaves it open. */
static struct qtk_text_recipe text_recipe(const char *path, const struct qtk_text_recipe *recipe)
{
  struct qtk_text_recipe r = {0};
  if (recipe != NULL)
    r = *recipe;
  if (r.rows == QTK_ROWS_FILE && text_is_lines(path)) {
    r.rows = QTK_ROWS_DOCUMENTS;
    r.join = "\n\n";
  }
  return r;
}

static int text_join(struct text_rows *rows, const struct qtk_text_recipe *recipe,
                     struct qtk_text *text, struct qtk_str *out)
{
  int more, rc = qtk_str_add(out, "");
  while (rc == QTK_OK && (recipe->most == 0 || text->documents < recipe->most)) {
    rc = qtk_text_row(rows, &more);
    if (rc != QTK_OK || !more)
      break;
    if (text->documents++ > 0)
      rc = qtk_str_add(out, recipe->join);
    if (rc == QTK_OK)
      rc = qtk_str_add_bytes(out, rows->row.data ? rows->row.data : "", rows->row.length);
  }
  return rc;
}

/* ---- reading ---------------------------------------------------------------------------- */

static int text_whole(const struct qtk_map *map, const struct qtk_tokenizer *tokenizer,
                      struct qtk_text *text)
{
  text->documents = 1;
  text->bytes = map->size;
  return qtk_tokenizer_encode(tokenizer, (const char *)map->data, map->size, 1, &text->ids);
}

static int text_joined(struct text_rows *rows, const struct qtk_tokenizer *tokenizer,
                       const struct qtk_text_recipe *recipe, struct qtk_text *text)
{
  struct qtk_str joined = {0};
  int rc = text_join(rows, recipe, text, &joined);
  text->bytes = joined.length;
  if (rc == QTK_OK)
    rc = qtk_tokenizer_encode(tokenizer, joined.data, joined.length, 1, &text->ids);
  qtk_str_free(&joined);
  return rc;
}

static int text_tokenize(struct qtk_context *ctx, const char *path, const struct qtk_map *map,
                         const struct qtk_tokenizer *tokenizer,
                         const struct qtk_text_recipe *recipe, struct qtk_text *text)
{
  struct text_rows rows = {.path = path, .kind = recipe->rows, .chat = recipe->chat,
                           .data = (const char *)map->data, .size = map->size};
  int rc;
  if (recipe->rows == QTK_ROWS_FILE)
    rc = text_whole(map, tokenizer, text);
  else if (recipe->crops > 0)
    rc = qtk_text_crops(ctx, &rows, tokenizer, recipe, text);
  else
    rc = text_joined(&rows, tokenizer, recipe, text);
  qtk_text_rows_end(&rows);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", path);
}

static int text_describe(const char *path, const struct qtk_map *map, struct qtk_text *text)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  qtk_digest_of(map->data, map->size, digest);
  qtk_digest_hex(digest, text->sha256);
  text->name = qtk_str_copy(qtk_path_base(path));
  return text->name != NULL ? QTK_OK : QTK_ENOMEM;
}

int qtk_text_read(struct qtk_context *ctx, const char *path, const struct qtk_tokenizer *tokenizer,
                  struct qtk_text *text)
{
  return qtk_text_read_as(ctx, path, tokenizer, NULL, text);
}

int qtk_text_read_as(struct qtk_context *ctx, const char *path,
                     const struct qtk_tokenizer *tokenizer, const struct qtk_text_recipe *recipe,
                     struct qtk_text *text)
{
  struct qtk_text_recipe how = text_recipe(path, recipe);
  struct qtk_map map = {0};
  *text = (struct qtk_text){.first = qtk_tokenizer_first(tokenizer)};
  int rc = qtk_map_open(path, &map);
  if (rc != QTK_OK)
    return rc;
  if (map.size > QTK_TEXT_BYTES)
    rc = qtk_error(QTK_EINPUT, "%s: %zu bytes of text: at most %llu are read", path, map.size,
                   (unsigned long long)QTK_TEXT_BYTES);
  if (rc == QTK_OK)
    rc = qtk_arena_charge(&ctx->arena, map.size, "text");
  if (rc == QTK_OK) {
    rc = text_describe(path, &map, text);
    if (rc == QTK_OK)
      rc = text_tokenize(ctx, path, &map, tokenizer, &how, text);
    qtk_arena_release(&ctx->arena, map.size, "text");
  }
  qtk_map_close(&map);
  if (rc == QTK_OK)
    rc = qtk_arena_charge(&ctx->arena, text->ids.room * sizeof *text->ids.ids, "text");
  if (rc != QTK_OK) {
    qtk_ids_free(&text->ids); /* not charged */
    qtk_text_free(ctx, text);
  }
  return rc;
}

void qtk_text_free(struct qtk_context *ctx, struct qtk_text *text)
{
  qtk_arena_release(&ctx->arena, text->ids.room * sizeof *text->ids.ids, "text");
  qtk_ids_free(&text->ids);
  free(text->name);
  *text = (struct qtk_text){0};
}

/* ---- windows ------------------------------------------------------------------------------ */

int qtk_text_windows(const struct qtk_text *text, int64_t length, int64_t wanted, int64_t *windows)
{
  int64_t tokens = (int64_t)text->ids.n;
  if (length < 1 || wanted < 0)
    return qtk_error(QTK_EJOB,
                     "%lld windows of %lld tokens: neither can be negative, nor the "
                     "length 0",
                     (long long)wanted, (long long)length);
  int64_t there = tokens / length;
  if (there < (wanted > 0 ? wanted : 1))
    return qtk_error(QTK_EINPUT, "%s: %lld tokens are %lld windows of %lld, wanted: %lld",
                     text->name, (long long)tokens, (long long)there, (long long)length,
                     (long long)(wanted > 0 ? wanted : 1));
  *windows = wanted > 0 ? wanted : there;
  return QTK_OK;
}

int qtk_text_sample(struct qtk_context *ctx, const struct qtk_text *text, int64_t length,
                    int64_t samples, int64_t *starts)
{
  int64_t windows;
  int rc = qtk_text_windows(text, length, 1, &windows);
  if (rc != QTK_OK)
    return rc;
  uint64_t places = (uint64_t)text->ids.n - (uint64_t)length + 1;
  for (int64_t i = 0; i < samples; i++) {
    struct qtk_random_key key = {.sequence = (uint64_t)i, .site = TEXT_SITE};
    uint64_t bits = qtk_random_bits(ctx, &key, 0);
    starts[i] = (int64_t)((unsigned __int128)bits * places >> 64);
  }
  return QTK_OK;
}
