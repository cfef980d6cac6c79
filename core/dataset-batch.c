/* SPDX-License-Identifier: BSD-3-Clause
 * The rows of a data file, some at a time: read in order, tokenised side by side, laid out in
 * order. */
#include <stdlib.h>

#include "core/context.h"
#include "core/dataset-inner.h"
#include "core/dataset-rows.h"
#include "core/error.h"

/* Rows that are at work together: at most so many, and few of long ones. The numbers decide
 * nothing but time and memory. */
#define BATCH_ROWS 64
#define BATCH_BYTES ((size_t)1 << 20)
#define BATCH_COST 16 /* bytes of memory for a byte of the file: JSON, texts, ids */

struct batch {
  struct dataset *d;
  struct dataset_rows rows;
  struct dataset_slice slices[BATCH_ROWS];
  struct dataset_tokens tokens[BATCH_ROWS];
  char failed[BATCH_ROWS];
  size_t n, bytes;
};

/* Parses and tokenises row i of the batch. */
static int batch_row(void *arg, size_t i)
{
  struct batch *b = arg;
  const struct dataset_slice *slice = &b->slices[i];
  struct dataset_row row;
  int rc = qtk_dataset_form_read(slice->text, slice->n, b->d->form, &row);
  if (rc == QTK_OK)
    rc = qtk_dataset_encode(&b->d->encoder, &row, &b->tokens[i]);
  qtk_dataset_row_free(&row);
  return rc == QTK_OK ? rc : qtk_dataset_rows_at(rc, &b->rows, slice);
}

/* A mistake counts once the rows before it are laid out: they may be enough. */
static int batch_try(void *arg, size_t i)
{
  struct batch *b = arg;
  b->failed[i] = batch_row(arg, i) != QTK_OK;
  return QTK_OK;
}

static int batch_fill(struct batch *b)
{
  int more = 1, rc = QTK_OK;
  b->n = b->bytes = 0;
  while (rc == QTK_OK && more && b->n < BATCH_ROWS && b->bytes < BATCH_BYTES) {
    rc = qtk_dataset_rows_next(&b->rows, &b->slices[b->n], &more);
    b->bytes += b->slices[b->n].n;
    b->n += (size_t)more;
  }
  return rc;
}

static int batch_run(struct batch *b, int *full)
{
  int rc = qtk_parallel(b->d->ctx, b->n, batch_try, b);
  for (size_t i = 0; rc == QTK_OK && !*full && i < b->n; i++) {
    rc = b->failed[i] ? batch_row(b, i) : QTK_OK;
    if (rc == QTK_OK)
      rc = qtk_dataset_add(b->d, &b->tokens[i], full);
  }
  qtk_dataset_rows_drop(&b->rows);
  return rc == QTK_OK ? qtk_check_stop(b->d->ctx) : rc;
}

/* The first row says what all are. */
static int batch_begin(struct batch *b)
{
  struct dataset *d = b->d;
  int rc = batch_fill(b);
  if (rc != QTK_OK || b->n == 0)
    return rc;
  rc = qtk_dataset_form_find(b->slices[0].text, b->slices[0].n, &d->form);
  if (rc != QTK_OK)
    return qtk_dataset_rows_at(rc, &b->rows, &b->slices[0]);
  d->out->form = qtk_dataset_form_name(d->form);
  rc = qtk_dataset_choose(d);
  return rc == QTK_OK ? qtk_dataset_encoder_open(d->recipe, d->reader, d->form, d->out->train_on,
                                                 &d->encoder)
                      : rc;
}

static int batch_all(struct batch *b)
{
  struct qtk_arena *arena = &b->d->ctx->arena;
  int full = 0, rc = batch_begin(b);
  while (rc == QTK_OK && b->n > 0) {
    size_t cost = b->bytes * BATCH_COST;
    if ((rc = qtk_arena_charge(arena, cost, "text")) != QTK_OK)
      break;
    rc = batch_run(b, &full);
    qtk_arena_release(arena, cost, "text");
    if (rc != QTK_OK || full)
      break;
    rc = batch_fill(b);
  }
  return rc;
}

int qtk_dataset_read_rows(struct dataset *d)
{
  struct batch *b = calloc(1, sizeof *b);
  if (b == NULL)
    return qtk_error_memory(sizeof *b, "rows");
  b->d = d;
  d->out->form = "rows"; /* until there is one */
  int rc = qtk_dataset_rows_open(d->recipe->path, &b->rows);
  if (rc == QTK_OK)
    rc = batch_all(b);
  for (size_t i = 0; i < BATCH_ROWS; i++)
    qtk_dataset_tokens_free(&b->tokens[i]);
  qtk_dataset_rows_close(&b->rows);
  qtk_dataset_encoder_close(&d->encoder);
  free(b);
  return rc;
}
