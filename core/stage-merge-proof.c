/* SPDX-License-Identifier: BSD-3-Clause
 * What merging changed: logits of a short text before and behind it. */
#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/stage-merge.h"

/* Logits that are said to be the same may differ by this much of the largest: what float32 sums
 * of other numbers lose. */
#define PROOF_EXACT 1e-3

/* Read where a job names no text: words, names, numbers, code. */
static const char proof_text[] =
    "The ferry left the harbour at six in the morning, half an hour late. On deck were forty "
    "passengers, two dogs and a crate of oranges from Valencia. \"We will be there by noon,\" said "
    "the captain, and nobody believed her; the sea had been rough since Tuesday.\n\n"
    "A triangle with sides of 3, 4 and 5 has a right angle, because 9 + 16 = 25. Water boils at "
    "100 degrees Celsius, at sea level; on a mountain of 3000 metres it boils at about 90.\n\n"
    "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n"
    "    return total / len(values)\n\n"
    "Dear Dr. Okafor, thank you for your letter of 14 May. The results of the second survey are "
    "not what we expected: of 212 households, only 57 had heard of the new bus line, and fewer "
    "than a third of these had ever used it. We should talk about what that means for the plan.\n";

/* ---- what is read ------------------------------------------------------------------------ */

/* Without a tokenizer any tokens will do, always the same. */
static int proof_draw(struct merge_proof *p, int64_t n)
{
  const struct qtk_random_key key = {0};
  uint64_t vocabulary = (uint64_t)qtk_model_info(p->work->model)->vocabulary;
  p->name = "random tokens";
  p->ids.ids = malloc((size_t)n * sizeof *p->ids.ids);
  if (p->ids.ids == NULL)
    return qtk_error_memory((size_t)n * sizeof *p->ids.ids, "tokens");
  p->ids.n = p->ids.room = (size_t)n;
  for (int64_t i = 0; i < n; i++)
    p->ids.ids[i] = (int32_t)(qtk_random_bits(p->work->ctx, &key, (uint64_t)i) % vocabulary);
  return QTK_OK;
}

static int proof_read(struct merge_proof *p)
{
  const struct qtk_tokenizer *tokenizer = p->work->tokenizer;
  int rc;
  if (p->plan->probe == NULL && tokenizer == NULL)
    return proof_draw(p, p->plan->probe_context);
  if (p->plan->probe == NULL) {
    p->name = "the built-in text";
    return qtk_tokenizer_encode(tokenizer, proof_text, strlen(proof_text), 1, &p->ids);
  }
  p->name = qtk_path_base(p->plan->probe);
  rc = qtk_text_read(p->work->ctx, p->plan->probe, tokenizer, &p->text);
  if (rc == QTK_OK && p->text.ids.n == 0)
    rc = qtk_error(QTK_EINPUT, "%s: there is no text in it", p->plan->probe);
  return rc;
}

/* Whole windows: a text may be shorter. */
static int proof_tokens(const struct merge_proof *p, const int32_t **ids, int64_t *n)
{
  const struct qtk_ids *all = p->text.ids.n > 0 ? &p->text.ids : &p->ids;
  int64_t most = p->plan->probe_context, have = (int64_t)all->n;
  *ids = all->ids;
  *n = have < most ? have : most;
  for (int64_t i = 0; i < *n; i++)
    if (all->ids[i] >= qtk_model_info(p->work->model)->vocabulary)
      return qtk_error(QTK_EINPUT, "%s: token %lld is number %d, but the model has %lld tokens",
                       p->name, (long long)i, all->ids[i],
                       (long long)qtk_model_info(p->work->model)->vocabulary);
  return QTK_OK;
}

/* ---- before and behind ---------------------------------------------------------------------- */

static int proof_open(struct merge_proof *p, struct qtk_eval_model *model)
{
  model->info = qtk_model_info(p->work->model);
  return qtk_engine_open(p->work->ctx, p->work->model, NULL, 0, &model->engine);
}

int qtk_proof_begin(struct merge_proof *p, struct qtk_work *work,
                    const struct qtk_plan_merge *plan)
{
  struct qtk_eval_model model = {0};
  const int32_t *ids;
  int64_t n;
  *p = (struct merge_proof){.work = work, .plan = plan};
  int rc = proof_read(p);
  if (rc == QTK_OK)
    rc = proof_tokens(p, &ids, &n);
  if (rc == QTK_OK)
    rc = proof_open(p, &model);
  if (rc == QTK_OK)
    rc = qtk_logits_keep(work->ctx, &model, ids, n, &p->kept);
  qtk_engine_close(model.engine);
  return rc;
}

static int proof_check(const struct merge_proof *p, const struct qtk_logits_change *c)
{
  if (!p->plan->exact || c->maximum <= PROOF_EXACT * (c->largest > 1 ? c->largest : 1))
    return QTK_OK;
  return qtk_error(QTK_EPLUGIN, "what the adapters said to be exact is not: logits of the merged "
                                "model differ by %.3g (the largest is %.3g)",
                   c->maximum, c->largest);
}

static void proof_say(const struct merge_proof *p, const struct qtk_logits_change *c)
{
  if (c->maximum == 0)
    qtk_info("merged: all logits of %lld tokens of %s are the same bits",
             (long long)p->kept.rows, p->name);
  else
    qtk_info("merged: logits of %lld tokens of %s differ by %.3g at most, %.3g on average; mean "
             "KL %.3g",
             (long long)p->kept.rows, p->name, c->maximum, c->mean, c->mean_kl);
}

int qtk_proof_finish(struct merge_proof *p, json_t *entry)
{
  struct qtk_eval_model model = {0};
  struct qtk_logits_change change;
  int rc = proof_open(p, &model);
  if (rc == QTK_OK)
    rc = qtk_logits_compare(p->work->ctx, &model, &p->kept, &change);
  qtk_engine_close(model.engine);
  if (rc == QTK_OK)
    rc = proof_check(p, &change);
  if (rc != QTK_OK)
    return rc;
  proof_say(p, &change);
  return qtk_report_merge(entry, &(struct qtk_report_merge){.adapters = p->plan->names,
                                                            .exact = p->plan->exact,
                                                            .tensors = p->plan->n_tensors,
                                                            .probe = p->name,
                                                            .tokens = p->kept.rows,
                                                            .change = &change});
}

void qtk_proof_end(struct merge_proof *p)
{
  if (p->work == NULL)
    return;
  qtk_logits_free(p->work->ctx, &p->kept);
  qtk_text_free(p->work->ctx, &p->text);
  qtk_ids_free(&p->ids);
}
