/* SPDX-License-Identifier: BSD-3-Clause
 * Reading what a model is trained on. */
#include "core/dataset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/dataset-inner.h"
#include "core/dataset-rows.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/fs.h"

/* ---- what the recipe leaves open ------------------------------------------------------------ */

static int dataset_texts(const struct dataset *d)
{
  const struct qtk_dataset_recipe *r = d->recipe;
  if (r->train_on == QTK_TRAIN_ON_RESPONSE)
    return qtk_error(QTK_EJOB, "train_on = \"response\": %s holds texts, of which only \"all\" can "
                               "be learned",
                     r->path);
  if (r->template != NULL)
    return qtk_error(QTK_EJOB, "template = \"%s\": %s holds texts, which have no turns to write "
                               "down by one",
                     r->template, r->path);
  return QTK_OK;
}

int qtk_dataset_choose(struct dataset *d)
{
  const struct qtk_dataset_recipe *r = d->recipe;
  int texts = d->form == DATASET_TEXT;
  d->out->packed = r->packing == QTK_PACKING_DEFAULT ? texts : r->packing == QTK_PACKING_ON;
  d->out->train_on = r->train_on != QTK_TRAIN_ON_DEFAULT ? r->train_on
                     : texts                             ? QTK_TRAIN_ON_ALL
                                                         : QTK_TRAIN_ON_RESPONSE;
  return texts ? dataset_texts(d) : QTK_OK;
}

/* ---- a file that is one text -------------------------------------------------------------- */

/* Longer texts are to be given in rows. */
#define DATASET_TEXT_BYTES ((size_t)1 << 30)

/* A file of another program would be taken for a text otherwise. */
static int dataset_is_text(const struct qtk_map *map)
{
  const uint8_t *zero = map->size > 0 ? memchr(map->data, 0, map->size) : NULL;
  if (map->size > DATASET_TEXT_BYTES)
    return qtk_error(QTK_EINPUT, "%s: %zu bytes in one text: at most %zu are read; lines of JSON "
                                 "(.jsonl) may be longer together",
                     map->path, map->size, DATASET_TEXT_BYTES);
  if (zero != NULL)
    return qtk_error(QTK_EINPUT, "%s: byte %td is zero, so this is no text: data are texts, or "
                                 "JSON by their names (.json, .jsonl, .ndjson)",
                     map->path, zero - map->data);
  return QTK_OK;
}

/* It is read as the evaluation reads it. */
static int dataset_encode_text(struct dataset *d, const struct qtk_map *map)
{
  struct dataset_tokens tokens = {0};
  struct qtk_arena *arena = &d->ctx->arena;
  uint64_t bytes = 0;
  int full, rc = qtk_tokenizer_encode(d->reader->tokenizer, (const char *)map->data, map->size, 1,
                                      &tokens.ids);
  if (rc == QTK_OK) {
    bytes = tokens.ids.room * sizeof *tokens.ids.ids;
    rc = qtk_arena_charge(arena, bytes, "text");
    bytes = rc == QTK_OK ? bytes : 0;
  }
  if (rc == QTK_OK)
    rc = qtk_dataset_add(d, &tokens, &full);
  qtk_arena_release(arena, bytes, "text");
  qtk_dataset_tokens_free(&tokens);
  return rc == QTK_OK ? rc : qtk_error_at(rc, "%s", d->recipe->path);
}

static int dataset_plain(struct dataset *d)
{
  struct qtk_map map = {0};
  int rc = qtk_map_open(d->recipe->path, &map);
  if (rc != QTK_OK)
    return rc;
  rc = dataset_is_text(&map);
  if (rc == QTK_OK && (rc = qtk_arena_charge(&d->ctx->arena, map.size, "text")) == QTK_OK) {
    rc = dataset_encode_text(d, &map);
    qtk_arena_release(&d->ctx->arena, map.size, "text");
  }
  qtk_map_close(&map);
  return rc;
}

static int dataset_read_plain(struct dataset *d)
{
  d->form = DATASET_TEXT;
  d->out->form = "text";
  int rc = qtk_dataset_choose(d);
  return rc == QTK_OK ? dataset_plain(d) : rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int dataset_check(const struct qtk_dataset_recipe *r)
{
  if (r->length < 2)
    return qtk_error(QTK_EJOB, "length = %" PRId64 ": sequences to learn from have at least 2 "
                               "tokens",
                     r->length);
  if (r->tokens < 0 || r->tokens == 1)
    return qtk_error(QTK_EJOB, "tokens = %" PRId64 ": allowed are 0 (all), 2 and more", r->tokens);
  return QTK_OK;
}

static int dataset_describe(struct dataset *d)
{
  uint8_t digest[QTK_DIGEST_BYTES];
  int rc = qtk_digest_file(d->recipe->path, digest);
  if (rc != QTK_OK)
    return rc;
  qtk_digest_hex(digest, d->out->sha256);
  d->out->name = qtk_str_copy(qtk_path_base(d->recipe->path));
  return d->out->name != NULL ? QTK_OK : QTK_ENOMEM;
}

static int dataset_end(struct dataset *d)
{
  int rc = qtk_dataset_close(d->out->store);
  if (rc == QTK_OK)
    rc = qtk_dataset_part(d->out->store, d->recipe);
  if (rc != QTK_OK)
    return rc;
  d->out->held = d->recipe->held ? d->recipe->share : 0;
  qtk_dataset_show(d->out->store, &d->out->examples);
  d->out->examples.classes = d->recipe->classes;
  d->out->count = qtk_examples_count(&d->out->examples);
  if (d->out->examples.n == 0)
    return qtk_error(QTK_EINPUT, "%s: there is nothing to learn from: no token is scored (%s: %" PRId64
                                 ", dropped because nothing of the answer fits in length = %" PRId64
                                 ": %" PRId64 ")",
                     d->recipe->path, d->out->form, d->out->documents, d->recipe->length,
                     d->out->dropped);
  return QTK_OK;
}

int qtk_dataset_read(struct qtk_context *ctx, const struct qtk_dataset_recipe *recipe,
                     const struct qtk_dataset_reader *reader, struct qtk_dataset *dataset)
{
  struct dataset d = {.ctx = ctx, .recipe = recipe, .reader = reader, .out = dataset};
  *dataset = (struct qtk_dataset){0};
  int rc = dataset_check(recipe);
  if (rc == QTK_OK)
    rc = dataset_describe(&d);
  if (rc == QTK_OK)
    rc = qtk_dataset_store_new(ctx, recipe->length, &dataset->store);
  if (rc == QTK_OK)
    rc = recipe->classes > 0                 ? qtk_dataset_read_labels(&d)
         : qtk_dataset_is_rows(recipe->path) ? qtk_dataset_read_rows(&d)
                                             : dataset_read_plain(&d);
  if (rc == QTK_OK)
    rc = dataset_end(&d);
  if (rc != QTK_OK)
    qtk_dataset_free(dataset);
  return rc;
}

void qtk_dataset_drop(struct qtk_dataset *d)
{
  qtk_dataset_store_free(d->store);
  d->store = NULL;
  d->examples = (struct qtk_examples){0};
}

void qtk_dataset_free(struct qtk_dataset *d)
{
  qtk_dataset_drop(d);
  free(d->name);
  *d = (struct qtk_dataset){0};
}
