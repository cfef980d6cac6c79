/* SPDX-License-Identifier: BSD-3-Clause
 * Sorts columns by the strength of their inputs, as a whole or group by group. */
#include "plugins/optq/order.h"

#include <stdlib.h>

struct order_key {
  float group, own; /* strength of the group, of the column */
  int32_t column;
};

/* Strongest first; the lower column first where they are equal. */
static int order_compare(const void *left, const void *right)
{
  const struct order_key *a = left, *b = right;
  if (a->group != b->group)
    return a->group > b->group ? -1 : 1;
  if (a->own != b->own)
    return a->own > b->own ? -1 : 1;
  return a->column < b->column ? -1 : a->column > b->column;
}

/* Groups of the same strength are not mixed: the lower columns, and so the lower group,
 * first. */
static int order_compare_groups(const void *left, const void *right)
{
  const struct order_key *a = left, *b = right;
  if (a->group != b->group)
    return a->group > b->group ? -1 : 1;
  return a->column < b->column ? -1 : a->column > b->column;
}

static float order_strongest(const float *strength, int64_t from, int64_t to)
{
  float most = strength[from];
  for (int64_t i = from + 1; i < to; i++)
    most = strength[i] > most ? strength[i] : most;
  return most;
}

/* Whole groups by their strongest columns, then columns inside each. */
static void order_groups(struct order_key *keys, const float *strength, int64_t n, int64_t group)
{
  for (int64_t i = 0; i < n; i += group) {
    int64_t end = n - i < group ? n : i + group;
    float most = order_strongest(strength, i, end);
    for (int64_t j = i; j < end; j++)
      keys[j] = (struct order_key){most, strength[j], (int32_t)j};
  }
  qsort(keys, (size_t)n, sizeof *keys, order_compare_groups);
  for (int64_t i = 0, end; i < n; i = end) {
    for (end = i; end < n && keys[end].column / group == keys[i].column / group; end++)
      ;
    qsort(keys + i, (size_t)(end - i), sizeof *keys, order_compare);
  }
}

static void order_all(struct order_key *keys, const float *strength, int64_t n)
{
  for (int64_t i = 0; i < n; i++)
    keys[i] = (struct order_key){0, strength[i], (int32_t)i};
  qsort(keys, (size_t)n, sizeof *keys, order_compare);
}

static int order_sort(struct qtk_context *ctx, enum optq_reorder reorder, const float *strength,
                      int64_t group, struct optq_order *order)
{
  struct order_key *keys = qtk_alloc(ctx, (size_t)order->n * sizeof *keys, "scratch");
  if (!keys)
    return QTK_ENOMEM;
  if (reorder == OPTQ_GROUPS)
    order_groups(keys, strength, order->n, group);
  else
    order_all(keys, strength, order->n);
  for (int64_t p = 0; p < order->n; p++)
    order->column[p] = keys[p].column;
  qtk_free(ctx, keys);
  return QTK_OK;
}

int optq_order_make(struct qtk_context *ctx, enum optq_reorder reorder, int fixed,
                    const float *strength, int64_t n, int64_t group, struct optq_order *order)
{
  int rc = QTK_OK;
  *order = (struct optq_order){.n = n, .fixed = fixed};
  order->column = qtk_alloc(ctx, (size_t)n * sizeof *order->column, "scratch");
  order->group = qtk_alloc(ctx, (size_t)n * sizeof *order->group, "scratch");
  if (!order->column || !order->group)
    return QTK_ENOMEM;
  for (int64_t p = 0; p < n; p++)
    order->column[p] = (int32_t)p;
  if (reorder != OPTQ_NATURAL)
    rc = order_sort(ctx, reorder, strength, group, order);
  int runs = reorder == OPTQ_ACTIVATION && !fixed;
  for (int64_t p = 0; p < n; p++)
    order->group[p] = (int32_t)((runs ? p : order->column[p]) / group);
  return rc;
}

void optq_order_free(struct qtk_context *ctx, struct optq_order *order)
{
  qtk_free(ctx, order->column);
  qtk_free(ctx, order->group);
  *order = (struct optq_order){0};
}

int optq_order_begins(const struct optq_order *order, int64_t p)
{
  return p == 0 || order->group[p] != order->group[p - 1];
}

int64_t optq_order_run(const struct optq_order *order, int64_t p)
{
  int64_t end = p + 1;
  while (end < order->n && order->group[end] == order->group[p])
    end++;
  return end;
}

int64_t optq_order_block(const struct optq_order *order, int64_t p, int64_t block)
{
  int64_t end = p, most = order->n - p < block ? order->n : p + block;
  if (order->fixed)
    return most;
  while (end < most) {
    int64_t next = optq_order_run(order, end);
    if (next > most)
      break;
    end = next;
  }
  return end > p ? end : most;
}
