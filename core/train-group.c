/* SPDX-License-Identifier: BSD-3-Clause
 * Sequences that go through a model together. */
#include "core/train-group.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"

int train_group_init(struct train_group *g, int64_t room)
{
  *g = (struct train_group){.room = room};
  g->lengths = calloc((size_t)room, sizeof *g->lengths);
  g->numbers = calloc((size_t)room, sizeof *g->numbers);
  g->starts = calloc((size_t)room + 1, sizeof *g->starts);
  g->classes = calloc((size_t)room, sizeof *g->classes);
  g->values = calloc((size_t)room, sizeof *g->values);
  return g->lengths && g->numbers && g->starts && g->classes && g->values
             ? QTK_OK
             : qtk_error_memory((size_t)room * sizeof *g->starts, "sequences");
}

void train_group_free(struct train_group *g)
{
  free(g->lengths);
  free(g->numbers);
  free(g->starts);
  free(g->ids);
  free(g->targets);
  free(g->weights);
  free(g->classes);
  free(g->values);
  *g = (struct train_group){0};
}

static int group_grow(struct train_group *g, int64_t tokens)
{
  if (tokens <= g->tokens)
    return QTK_OK;
  free(g->ids);
  free(g->targets);
  free(g->weights);
  g->tokens = 0;
  g->ids = malloc((size_t)tokens * sizeof *g->ids);
  g->targets = malloc((size_t)tokens * sizeof *g->targets);
  g->weights = malloc((size_t)tokens * sizeof *g->weights);
  if (g->ids == NULL || g->targets == NULL || g->weights == NULL)
    return qtk_error_memory((size_t)tokens * sizeof *g->ids, "sequences");
  g->tokens = tokens;
  return QTK_OK;
}

static void group_copy(struct train_group *g, const struct qtk_examples *e, int64_t from,
                       int64_t to, int64_t n)
{
  memcpy(g->ids + to, e->ids + from, (size_t)n * sizeof *g->ids);
  memcpy(g->targets + to, e->targets + from, (size_t)n * sizeof *g->targets);
  memcpy(g->weights + to, e->weights + from, (size_t)n * sizeof *g->weights);
}

/* One sequence is taken where it lies. */
static int group_gather(struct train_group *g, const struct qtk_examples *e, int64_t n)
{
  int64_t first = e->starts[g->numbers[0]];
  int rc;

  if (n == 1) {
    g->batch.ids = e->ids + first;
    g->batch.targets = e->targets + first;
    g->batch.weights = e->weights + first;
    return QTK_OK;
  }
  rc = group_grow(g, g->starts[n]);
  for (int64_t i = 0; rc == QTK_OK && i < n; i++)
    group_copy(g, e, e->starts[g->numbers[i]], g->starts[i], g->lengths[i]);
  g->batch.ids = g->ids;
  g->batch.targets = g->targets;
  g->batch.weights = g->weights;
  return rc;
}

static void group_label(struct train_group *g, const struct qtk_examples *e, int64_t n)
{
  for (int64_t i = 0; e->labels != NULL && i < n; i++) {
    g->values[i] = e->labels[g->numbers[i]];
    g->classes[i] = e->classes > 1 ? (int32_t)g->values[i] : 0;
  }
  if (e->labels != NULL && e->classes > 1)
    g->batch.classes = g->classes;
  else if (e->labels != NULL)
    g->batch.values = g->values;
}

int train_group_take(struct train_group *g, const struct qtk_examples *e, const int64_t *numbers,
                     int64_t n)
{
  for (int64_t i = 0; i < g->room; i++) {
    int64_t number = i < n ? numbers[i] : 0;
    g->numbers[i] = (uint64_t)number;
    g->lengths[i] = i < n ? e->starts[number + 1] - e->starts[number] : 0;
    g->starts[i + 1] = g->starts[i] + g->lengths[i];
  }
  g->batch = (struct qtk_batch){.tokens = g->starts[n], .sequences = n, .starts = g->starts};
  group_label(g, e, n);
  return group_gather(g, e, n);
}
