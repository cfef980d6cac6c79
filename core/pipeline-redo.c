/* SPDX-License-Identifier: BSD-3-Clause
 * Doing a part of a finished job again: whether the bundle is of that job's inputs, and what
 * is written down about it. */
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/pipeline-output.h"

/* A digest that both texts have must be the same. */
static int redo_compare(const char *bundle, const struct qtk_toml *then, const struct qtk_toml *now,
                        const char *what, const char *path)
{
  const struct qtk_toml *a = qtk_toml_find(then, path), *b = qtk_toml_find(now, path);
  if (a == NULL || b == NULL || qtk_toml_kind(a) != QTK_TOML_TEXT ||
      strcmp(qtk_toml_text(a), qtk_toml_text(b)) == 0)
    return QTK_OK;
  return qtk_error(QTK_EMISMATCH, "--redo: %s was made with another %s: its digest was %s and is %s",
                   bundle, what, qtk_toml_text(a), qtk_toml_text(b));
}

static int redo_compare_stage(const char *bundle, const struct qtk_toml *then,
                              const struct qtk_toml *now, size_t stage)
{
  static const char *const keys[] = {"calibrate", "perplexity", "divergence", "choices"};
  int rc = QTK_OK;
  for (size_t k = 0; k < sizeof keys / sizeof *keys && rc == QTK_OK; k++) {
    char path[64], what[64];
    snprintf(path, sizeof path, "stage.%zu.%s.sha256", stage, keys[k]);
    snprintf(what, sizeof what, "text (%s of stage %zu)", keys[k], stage);
    rc = redo_compare(bundle, then, now, what, path);
  }
  return rc;
}

static int redo_check(const struct qtk_plan *plan, const struct qtk_toml *then,
                      const struct qtk_toml *now)
{
  const char *bundle = plan->job->bundle;
  int rc = redo_compare(bundle, then, now, "model", "model.digest");
  if (rc == QTK_OK)
    rc = redo_compare(bundle, then, now, "source", "model.source_digest");
  for (size_t i = 0; i < plan->n_stages && rc == QTK_OK; i++)
    rc = redo_compare_stage(bundle, then, now, i);
  return rc;
}

/* The bundle's own job without what was done again before, as text. */
static int redo_job(const struct qtk_toml *then, struct qtk_str *text)
{
  struct qtk_toml *copy = qtk_toml_copy(then);
  int rc = copy ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK) {
    qtk_toml_remove(copy, "redo");
    rc = qtk_toml_write(copy, text);
  }
  qtk_toml_free(copy);
  return rc;
}

/* A [[redo]]: match, the digest of the bundle, and the job that it was made by. */
static int redo_entry(const struct qtk_plan *plan, const char *digest, const struct qtk_toml *then,
                      struct qtk_toml *entry)
{
  struct qtk_toml *list = qtk_toml_set_array(entry, "match");
  struct qtk_str job = {0};
  int rc = list ? QTK_OK : QTK_ENOMEM;
  for (const char *const *m = plan->job->redo; *m != NULL && rc == QTK_OK; m++)
    rc = qtk_toml_append(list, qtk_toml_new_text(*m));
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(entry, "bundle_digest", digest);
  if (rc == QTK_OK)
    rc = redo_job(then, &job);
  if (rc == QTK_OK)
    rc = qtk_toml_set_text(entry, "job", job.data ? job.data : "");
  qtk_str_free(&job);
  return rc;
}

/* The bundle's entries, and one more. */
static int redo_entries(const struct qtk_plan *plan, const char *digest,
                        const struct qtk_toml *then, struct qtk_toml *root)
{
  const struct qtk_toml *before = qtk_toml_get(then, "redo");
  struct qtk_toml *list = qtk_toml_set_array(root, "redo"), *entry = qtk_toml_new_table();
  int rc = list && entry ? QTK_OK : QTK_ENOMEM;
  for (size_t i = 0; before != NULL && i < qtk_toml_length(before) && rc == QTK_OK; i++)
    rc = qtk_toml_append(list, qtk_toml_copy(qtk_toml_item(before, i)));
  if (rc == QTK_OK)
    rc = redo_entry(plan, digest, then, entry);
  if (rc == QTK_OK)
    return qtk_toml_append(list, entry);
  qtk_toml_free(entry);
  return rc;
}

static int redo_write(struct qtk_context *ctx, const struct qtk_plan *plan,
                      const struct qtk_toml *then, struct qtk_toml *now, struct qtk_str *text)
{
  char digest[QTK_DIGEST_HEX];
  int rc = redo_check(plan, then, now);
  if (rc == QTK_OK)
    rc = qtk_model_digest(ctx, plan->base, digest);
  if (rc == QTK_OK)
    rc = redo_entries(plan, digest, then, now);
  qtk_str_free(text);
  return rc == QTK_OK ? qtk_toml_write(now, text) : rc;
}

int qtk_redo_portable(struct qtk_context *ctx, const struct qtk_plan *plan, struct qtk_str *text)
{
  const char *bundle = plan->job->bundle, *job = qtk_model_text(plan->base, "job");
  struct qtk_toml *then = NULL, *now = NULL;
  if (job == NULL)
    return qtk_error(QTK_EINPUT, "%s: has no job.toml: it cannot be known what it was made from",
                     bundle);
  int rc = qtk_toml_parse(job, strlen(job), bundle, &then);
  if (rc == QTK_OK)
    rc = qtk_toml_parse(text->data, text->length, plan->job->file, &now);
  if (rc == QTK_OK)
    rc = redo_write(ctx, plan, then, now, text);
  qtk_toml_free(then);
  qtk_toml_free(now);
  return rc;
}
