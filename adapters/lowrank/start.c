/* SPDX-License-Identifier: BSD-3-Clause
 * What A and B begin with. */
#define QTK_API 1
#include <math.h>
#include <string.h>

#include "adapters/lowrank/lowrank.h"

uint64_t lowrank_stream(const struct qtk_site *site)
{
  uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

  for (const char *c = site->name; *c != '\0'; c++)
    hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
  return hash;
}

void lowrank_uniform(struct qtk_context *ctx, const struct qtk_site *site, int64_t first,
                     int64_t rank, float *a)
{
  const struct qtk_random_key key = {.site = lowrank_stream(site)};
  double bound = 1 / sqrt((double)site->cols);

  for (int64_t i = first * site->cols; i < rank * site->cols; i++)
    a[i] = (float)(bound * (2 * qtk_random_uniform(ctx, &key, (uint64_t)i) - 1));
}

static size_t start_values(const struct lowrank *l, int i)
{
  const struct qtk_site *site = &l->sites[i / 2];

  return (size_t)(l->options->rank * (i % 2 ? site->rows : site->cols));
}

static void start_forget(struct qtk_context *ctx, struct lowrank *l)
{
  qtk_free(ctx, l->begun);
  l->begun = NULL;
}

/* A of parameter i, and B into l->begun. */
static int start_pair(struct qtk_context *ctx, struct lowrank *l, int i, float *a)
{
  const struct lowrank_options *o = l->options;

  start_forget(ctx, l);
  l->begun = qtk_alloc(ctx, start_values(l, i | 1) * sizeof *a, "scratch");
  l->begun_site = i / 2;
  if (l->begun == NULL)
    return QTK_ENOMEM;
  return lowrank_error(ctx, &l->sites[i / 2], o->rank, lowrank_scale(o), lowrank_inputs(o), a,
                       l->begun);
}

/* Both come out of one computation: B is made with A, and waits until it is asked for. */
static int start_error(struct qtk_context *ctx, struct lowrank *l, int i, float *value)
{
  int rc = QTK_OK;

  if (i % 2 == 0)
    return start_pair(ctx, l, i, value);
  if (l->begun == NULL || l->begun_site != i / 2) {
    float *a = qtk_alloc(ctx, start_values(l, i - 1) * sizeof *a, "scratch");
    rc = a != NULL ? start_pair(ctx, l, i - 1, a) : QTK_ENOMEM;
    qtk_free(ctx, a);
  }
  if (rc == QTK_OK)
    memcpy(value, l->begun, start_values(l, i) * sizeof *value);
  start_forget(ctx, l);
  return rc;
}

int lowrank_start(struct qtk_context *ctx, void *h, int i, float *value)
{
  struct lowrank *l = h;

  if (lowrank_unquantized(l->options))
    return start_error(ctx, l, i, value);
  if (i % 2 == 0)
    lowrank_uniform(ctx, &l->sites[i / 2], 0, l->options->rank, value);
  return QTK_OK;
}
