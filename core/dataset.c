/* SPDX-License-Identifier: BSD-3-Clause
 * Reading what a model is trained on. */
#include "core/dataset.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/context.h"
#include "core/dataset-store.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/fs.h"

/* A reading under way. */
struct dataset {
  struct qtk_context *ctx;
  const struct qtk_dataset_recipe *recipe;
  const struct qtk_dataset_reader *reader;
  struct qtk_dataset *out;
};

/* ---- documents ----------------------------------------------------------------------------- */

/* Tokens of the recipe's that are still to come. */
static int64_t dataset_left(const struct dataset *d)
{
  return d->recipe->tokens > 0 ? d->recipe->tokens - d->out->store->n : INT64_MAX;
}

/* A document goes through windows, from where the open one ends. */
static int dataset_cut(struct dataset *d, const struct dataset_tokens *t)
{
  struct dataset_store *s = d->out->store;
  int64_t all = (int64_t)t->ids.n, left = dataset_left(d), rest = all < left ? all : left;
  int64_t from = 0;
  int rc = QTK_OK;
  while (rc == QTK_OK && rest > 0) {
    int64_t room = s->length - qtk_dataset_open(s), n = rest < room ? rest : room;
    rc = qtk_dataset_put(s, t, from, n);
    if (rc == QTK_OK && qtk_dataset_open(s) == s->length)
      rc = qtk_dataset_close(s);
    from += n;
    rest -= n;
  }
  return rc == QTK_OK && !d->out->packed ? qtk_dataset_close(s) : rc;
}

/* A file that is one text; it is read as the evaluation reads it. */
static int dataset_plain(struct dataset *d)
{
  struct dataset_tokens tokens = {0};
  struct qtk_map map = {0};
  int rc = qtk_map_open(d->recipe->path, &map);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_arena_charge(&d->ctx->arena, map.size, "text");
  if (rc == QTK_OK) {
    rc = qtk_tokenizer_encode(d->reader->tokenizer, (const char *)map.data, map.size, 1,
                              &tokens.ids);
    if (rc == QTK_OK)
      rc = dataset_cut(d, &tokens);
    qtk_arena_release(&d->ctx->arena, map.size, "text");
  }
  d->out->documents = 1;
  d->out->form = "text";
  qtk_dataset_tokens_free(&tokens);
  qtk_map_close(&map);
  return rc;
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
  if (rc != QTK_OK)
    return rc;
  qtk_dataset_show(d->out->store, &d->out->examples);
  if (d->out->examples.n == 0)
    return qtk_error(QTK_EINPUT, "%s: there is nothing to learn from: no token is scored",
                     d->recipe->path);
  return QTK_OK;
}

int qtk_dataset_read(struct qtk_context *ctx, const struct qtk_dataset_recipe *recipe,
                     const struct qtk_dataset_reader *reader, struct qtk_dataset *dataset)
{
  struct dataset d = {ctx, recipe, reader, dataset};
  *dataset = (struct qtk_dataset){.packed = recipe->packing != QTK_PACKING_OFF,
                                  .train_on = QTK_TRAIN_ON_ALL};
  int rc = dataset_check(recipe);
  if (rc == QTK_OK)
    rc = dataset_describe(&d);
  if (rc == QTK_OK)
    rc = qtk_dataset_store_new(ctx, recipe->length, &dataset->store);
  if (rc == QTK_OK)
    rc = dataset_plain(&d);
  if (rc == QTK_OK)
    rc = dataset_end(&d);
  if (rc != QTK_OK)
    qtk_dataset_free(dataset);
  return rc;
}

void qtk_dataset_free(struct qtk_dataset *d)
{
  qtk_dataset_store_free(d->store);
  free(d->name);
  *d = (struct qtk_dataset){0};
}
