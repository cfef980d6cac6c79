/* SPDX-License-Identifier: BSD-3-Clause
 * Sequences that are set apart, so that data can be measured on which nothing is learned from. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/dataset-store.h"
#include "core/error.h"

/* Draws of these must meet no others. */
#define PART_SITE (UINT64_MAX - 1)

/* Marks `some` of n, each as likely as the others: the first steps of a shuffle. */
static int part_draw(struct qtk_context *ctx, int64_t n, int64_t some, char *apart)
{
  const struct qtk_random_key key = {.site = PART_SITE};
  int64_t *order = malloc((size_t)n * sizeof *order);
  if (order == NULL)
    return qtk_error_memory((size_t)n * sizeof *order, "an order");
  for (int64_t i = 0; i < n; i++)
    order[i] = i;
  for (int64_t i = 0; i < some; i++) {
    double u = qtk_random_uniform(ctx, &key, (uint64_t)i);
    int64_t k = i + (int64_t)(u * (double)(n - i));
    apart[order[k]] = 1;
    order[k] = order[i];
  }
  free(order);
  return QTK_OK;
}

/* The sequences whose mark is `held` move up to the start. */
static void part_keep(struct dataset_store *s, const char *apart, int held)
{
  size_t all = s->starts.length - 1, kept = 0;
  int64_t at = 0;
  for (size_t i = 0; i < all; i++) {
    int64_t from = s->starts.data[i], n = s->starts.data[i + 1] - from;
    if (apart[i] != held)
      continue;
    memmove(s->ids + at, s->ids + from, (size_t)n * sizeof *s->ids);
    memmove(s->targets + at, s->targets + from, (size_t)n * sizeof *s->targets);
    memmove(s->weights + at, s->weights + from, (size_t)n * sizeof *s->weights);
    if (s->labels.length > 0)
      s->labels.data[kept] = s->labels.data[i];
    at += n;
    s->starts.data[++kept] = at;
  }
  s->starts.length = kept + 1;
  s->n = at;
}

int qtk_dataset_part(struct dataset_store *s, const struct qtk_dataset_recipe *r)
{
  int64_t n = (int64_t)s->starts.length - 1;
  int64_t some = (int64_t)round(r->share * (double)n);
  if (r->share <= 0 || n == 0)
    return QTK_OK;
  if (n < 2)
    return qtk_error(QTK_EINPUT, "%s: share = %g: there is 1 sequence, and none can be set apart",
                     r->path, r->share);
  some = some < 1 ? 1 : some >= n ? n - 1 : some;
  char *apart = calloc((size_t)n, 1);
  int rc = apart ? part_draw(s->ctx, n, some, apart) : qtk_error_memory((size_t)n, "an order");
  if (rc == QTK_OK)
    part_keep(s, apart, r->held);
  free(apart);
  return rc;
}
