/* SPDX-License-Identifier: BSD-3-Clause
 * Documents into windows, examples into sequences. */
#include <inttypes.h>
#include <string.h>

#include "core/dataset-inner.h"
#include "core/error.h"

/* Tokens of the recipe's that are still to come. */
static int64_t lay_left(const struct dataset *d)
{
  return d->recipe->tokens > 0 ? d->recipe->tokens - d->out->store->n : INT64_MAX;
}

/* A document goes through windows, from where the open one ends. */
static int lay_cut(struct dataset *d, const struct dataset_tokens *t)
{
  struct dataset_store *s = d->out->store;
  int64_t all = (int64_t)t->ids.n, left = lay_left(d), rest = all < left ? all : left;
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

static int lay_scored(const struct dataset_tokens *t, int64_t n)
{
  return n > 1 && memchr(t->scored.data + 1, 1, (size_t)n - 1) != NULL;
}

/* An example stands in one sequence, as a whole or without its end. */
static int lay_place(struct dataset *d, const struct dataset_tokens *t, int *full)
{
  struct dataset_store *s = d->out->store;
  int64_t all = (int64_t)t->ids.n, n = all < s->length ? all : s->length;
  int scored = lay_scored(t, n), rc = QTK_OK;
  *full = scored && n > lay_left(d);
  if (*full && s->n == 0)
    return qtk_error(QTK_EJOB, "tokens = %" PRId64 ": the first example has %" PRId64,
                     d->recipe->tokens, n);
  if (*full)
    return QTK_OK;
  d->out->documents++;
  d->out->dropped += !scored;
  d->out->truncated += scored && n < all;
  if (!scored)
    return QTK_OK;
  if (qtk_dataset_open(s) + n > s->length)
    rc = qtk_dataset_close(s);
  if (rc == QTK_OK)
    rc = qtk_dataset_put(s, t, 0, n);
  *full = lay_left(d) <= 0;
  return rc == QTK_OK && !d->out->packed ? qtk_dataset_close(s) : rc;
}

int qtk_dataset_add(struct dataset *d, const struct dataset_tokens *t, int *full)
{
  if (d->form != DATASET_TEXT)
    return lay_place(d, t, full);
  d->out->documents++;
  int rc = lay_cut(d, t);
  *full = lay_left(d) <= 0;
  return rc;
}
