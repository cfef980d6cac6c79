/* SPDX-License-Identifier: BSD-3-Clause
 * The questions of a group as tokens: prompts that fit the context, and what each choice
 * adds to them. */
#include "core/eval-prompts.h"

#include <stdlib.h>
#include <string.h>

#include "core/context.h"
#include "core/error.h"

struct prompter {
  const struct qtk_tokenizer *tokenizer;
  const struct qtk_suite *suite;
  const struct qtk_suite_group *group;
  const struct qtk_question *question;
  int64_t context;
  struct qtk_str text;
  struct qtk_ids bare;                    /* the prompt alone */
  struct qtk_ids whole[QTK_CHOICES_MOST]; /* and with each choice */
};

/* The prompt's text with choice i behind it, or with none (-1). */
static int prompter_encode(struct prompter *p, int64_t shots, int i, struct qtk_ids *ids)
{
  int32_t first = qtk_tokenizer_first(p->tokenizer);
  p->text.length = ids->n = 0;
  int rc = qtk_suite_prompt(p->suite, p->group, p->question, shots, &p->text);
  if (rc == QTK_OK && i >= 0)
    rc = qtk_suite_answer(p->suite, p->group, p->question, i, &p->text);
  if (rc == QTK_OK && first >= 0) {
    if (ids->room == 0 && (ids->ids = malloc(64 * sizeof *ids->ids)) == NULL)
      return qtk_error_memory(64 * sizeof *ids->ids, "text");
    ids->room = ids->room ? ids->room : 64;
    ids->ids[ids->n++] = first;
  }
  if (rc != QTK_OK)
    return rc;
  return qtk_tokenizer_encode(p->tokenizer, p->text.data ? p->text.data : "", p->text.length, 0,
                              ids);
}

static size_t prompter_common(const struct qtk_ids *a, const struct qtk_ids *b, size_t n)
{
  n = n < a->n ? n : a->n;
  n = n < b->n ? n : b->n;
  for (size_t i = 0; i < n; i++)
    if (a->ids[i] != b->ids[i])
      return i;
  return n;
}

/* Tokens that all choices share. Letters may share more than the prompt, as where the blank
 * before them is a token; of texts only what is before the choice is left out. */
static size_t prompter_shared(const struct prompter *p)
{
  const struct qtk_ids *first = &p->whole[0];
  size_t n = p->suite->score == QTK_SCORE_LETTER ? first->n : prompter_common(&p->bare, first,
                                                                             first->n);
  for (int i = 1; i < p->question->n; i++)
    n = prompter_common(first, &p->whole[i], n);
  return n;
}

static int prompter_encode_all(struct prompter *p, int64_t shots)
{
  int rc = p->suite->score == QTK_SCORE_LETTER ? QTK_OK : prompter_encode(p, shots, -1, &p->bare);
  for (int i = 0; i < p->question->n && rc == QTK_OK; i++)
    rc = prompter_encode(p, shots, i, &p->whole[i]);
  return rc;
}

static size_t prompter_longest(const struct prompter *p)
{
  size_t n = 0;
  for (int i = 0; i < p->question->n; i++)
    n = p->whole[i].n > n ? p->whole[i].n : n;
  return n;
}

/* Encodes with as many shots as fit. */
static int prompter_fit(struct prompter *p, struct eval_prompt *prompt)
{
  int64_t shots = p->suite->shots;
  int rc = prompter_encode_all(p, shots);
  while (rc == QTK_OK && p->context > 0 && shots > 0 &&
         (int64_t)prompter_longest(p) > p->context) {
    prompt->fewer_shots = 1;
    rc = prompter_encode_all(p, --shots);
  }
  return rc;
}

/* What is wrong with question number `number` of the group. */
static int prompter_error(const struct prompter *p, size_t number, const char *what)
{
  return qtk_error(QTK_EINPUT, "%s, question %zu of \"%s\": %s", p->suite->data, number,
                   p->group->name, what);
}

static int prompter_check(const struct prompter *p, size_t shared, size_t number)
{
  if (shared == 0)
    return prompter_error(p, number, "the prompt has no token");
  for (int i = 0; i < p->question->n; i++) {
    if (p->whole[i].n == shared)
      return prompter_error(p, number, "one choice is no token, or the beginning of the others");
    for (int k = 0; p->suite->score == QTK_SCORE_LETTER && k < i; k++)
      if (p->whole[i].ids[shared] == p->whole[k].ids[shared])
        return prompter_error(p, number, "two letters are the same token");
  }
  return QTK_OK;
}

/* Tokens of the prompt that go from its start, so that it fits with its longest choice. */
static int prompter_cut(const struct prompter *p, size_t shared, size_t number,
                        struct eval_prompt *prompt, size_t *from)
{
  size_t longest = prompter_longest(p);
  *from = 0;
  if (p->context == 0 || longest <= (size_t)p->context)
    return QTK_OK;
  *from = longest - (size_t)p->context;
  prompt->cut = 1;
  return *from < shared ? QTK_OK : prompter_error(p, number, "a choice is longer than the context");
}

static int prompter_lay_out(const struct prompter *p, size_t number, struct eval_prompt *prompt)
{
  size_t shared = prompter_shared(p), total = shared, from;
  int letters = p->suite->score == QTK_SCORE_LETTER;
  int rc = prompter_check(p, shared, number);
  if (rc == QTK_OK)
    rc = prompter_cut(p, shared, number, prompt, &from);
  if (rc != QTK_OK)
    return rc;
  for (int i = 0; i < p->question->n; i++)
    total += letters ? 1 : p->whole[i].n - shared;
  prompt->ids = malloc(total * sizeof *prompt->ids);
  if (prompt->ids == NULL)
    return qtk_error_memory(total * sizeof *prompt->ids, "text");
  prompt->prompt = prompt->tails[0] = (int64_t)(shared - from);
  memcpy(prompt->ids, p->whole[0].ids + from, (shared - from) * sizeof *prompt->ids);
  for (int i = 0; i < p->question->n; i++) {
    size_t n = letters ? 1 : p->whole[i].n - shared;
    memcpy(prompt->ids + prompt->tails[i], p->whole[i].ids + shared, n * sizeof *prompt->ids);
    prompt->tails[i + 1] = prompt->tails[i] + (int64_t)n;
  }
  return QTK_OK;
}

static int prompts_add(struct prompter *p, size_t number, struct eval_prompts *prompts)
{
  struct eval_prompt *prompt = &prompts->data[prompts->n++];
  p->question = &p->group->questions.data[number];
  int rc = prompter_fit(p, prompt);
  if (rc == QTK_OK)
    rc = prompter_lay_out(p, number, prompt);
  if (rc != QTK_OK)
    return rc;
  for (int i = 0; i < p->question->n; i++) {
    int64_t n = prompt->prompt + prompt->tails[i + 1] - prompt->tails[i];
    prompts->longest = n > prompts->longest ? n : prompts->longest;
  }
  uint64_t bytes = (uint64_t)prompt->tails[p->question->n] * sizeof *prompt->ids;
  rc = qtk_arena_charge(&prompts->ctx->arena, bytes, "text");
  prompts->bytes += rc == QTK_OK ? bytes : 0;
  return rc;
}

int qtk_eval_prompts(struct qtk_context *ctx, const struct qtk_tokenizer *tokenizer,
                     const struct qtk_suite *suite, const struct qtk_suite_group *group,
                     int64_t context, struct eval_prompts *prompts)
{
  struct prompter p = {
    .tokenizer = tokenizer, .suite = suite, .group = group, .context = context};
  size_t n = group->questions.length;
  *prompts = (struct eval_prompts){.ctx = ctx, .data = calloc(n, sizeof *prompts->data)};
  int rc = prompts->data ? QTK_OK : qtk_error_memory(n * sizeof *prompts->data, "prompts");
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    if ((rc = qtk_check_stop(ctx)) == QTK_OK)
      rc = prompts_add(&p, i, prompts);
  qtk_str_free(&p.text);
  qtk_ids_free(&p.bare);
  for (int i = 0; i < QTK_CHOICES_MOST; i++)
    qtk_ids_free(&p.whole[i]);
  return rc;
}

void qtk_eval_prompts_free(struct eval_prompts *prompts)
{
  for (size_t i = 0; i < prompts->n; i++)
    free(prompts->data[i].ids);
  free(prompts->data);
  if (prompts->ctx != NULL)
    qtk_arena_release(&prompts->ctx->arena, prompts->bytes, "text");
  *prompts = (struct eval_prompts){0};
}
