/* SPDX-License-Identifier: BSD-3-Clause
 * Whether a stage takes in what the job measures on. */
#include <string.h>

#include "core/log.h"
#include "core/stage.h"

/* `path` is a text that the job measures on. */
static int overlap_compare(const struct qtk_work *work, const char *what,
                           const struct qtk_text *text, const char *path)
{
  struct qtk_text other = {0};
  double share = 0;
  int rc = qtk_text_read(work->ctx, path, work->tokenizer, &other);
  if (rc == QTK_OK)
    rc = qtk_text_overlap(work->ctx, &other, text, &share);
  if (rc == QTK_OK && share > 0)
    qtk_warn("%s: %.3g %% of %s, which this job measures on, also stands in %s: what is measured "
             "there is too good",
             what, 100 * share, other.name, text->name);
  qtk_text_free(work->ctx, &other);
  return rc;
}

/* Text i of all that the job measures on, two a stage; NULL if there is none, or if it came
 * before. */
static const char *overlap_path(const struct qtk_plan *plan, size_t i)
{
  const struct qtk_plan_stage *s = &plan->stages[i / 2];
  const char *path = i % 2 ? s->divergence.data : s->perplexity.data;
  for (size_t k = 0; path != NULL && k < i; k++) {
    const struct qtk_plan_stage *t = &plan->stages[k / 2];
    const char *before = k % 2 ? t->divergence.data : t->perplexity.data;
    if (before != NULL && strcmp(before, path) == 0)
      return NULL;
  }
  return path;
}

int qtk_stage_overlaps(const struct qtk_work *work, const char *what, const struct qtk_text *text)
{
  int rc = QTK_OK;
  for (size_t i = 0; i < 2 * work->plan->n_stages && rc == QTK_OK; i++) {
    const char *path = overlap_path(work->plan, i);
    if (path != NULL)
      rc = overlap_compare(work, what, text, path);
  }
  return rc;
}
