/* SPDX-License-Identifier: BSD-3-Clause
 * Prompts: the texts of a suite with a question's words put in. */
#include <string.h>

#include "core/suite.h"

/* What the words in braces stand for. */
struct prompt {
  const struct qtk_suite *suite;
  const struct qtk_suite_group *group;
  const struct qtk_question *question;
  int choice;
  struct qtk_str *out;
};

static void prompt_text(const struct prompt *p, const char *text);

static void prompt_group(const struct prompt *p)
{
  for (const char *c = p->group->name; *c != '\0'; c++)
    qtk_str_add_char(p->out, *c == '_' ? ' ' : *c);
}

static void prompt_choices(const struct prompt *p)
{
  struct prompt each = *p;
  for (each.choice = 0; each.choice < p->question->n; each.choice++)
    prompt_text(&each, p->suite->choice);
}

static void prompt_word(const struct prompt *p, const char *word, size_t n)
{
  if (n == 5 && memcmp(word, "group", n) == 0)
    prompt_group(p);
  else if (n == 7 && memcmp(word, "context", n) == 0)
    qtk_str_printf(p->out, "%s%s", p->question->context, *p->question->context ? "\n" : "");
  else if (n == 8)
    qtk_str_add(p->out, p->question->text);
  else if (n == 7)
    prompt_choices(p);
  else if (memcmp(word, "letter", n) == 0)
    qtk_str_add_char(p->out, (char)('A' + p->choice));
  else
    qtk_str_add(p->out, p->question->choices[p->choice]);
}

/* The data file's words were checked when it was read. */
static void prompt_text(const struct prompt *p, const char *text)
{
  while (*text != '\0') {
    size_t n = strcspn(text, "{");
    qtk_str_add_bytes(p->out, text, n);
    text += n;
    if (*text == '{') {
      n = strcspn(text, "}");
      prompt_word(p, text + 1, n - 1);
      text += n + 1;
    }
  }
}

int qtk_suite_prompt(const struct qtk_suite *suite, const struct qtk_suite_group *group,
                     const struct qtk_question *q, int64_t shots, struct qtk_str *out)
{
  const struct qtk_questions *examples =
    group->examples.length > 0 ? &group->examples : &suite->examples;
  struct prompt p = {suite, group, q, 0, out};
  prompt_text(&p, suite->header);
  for (int64_t i = 0; i < shots; i++) {
    p.question = &examples->data[i];
    p.choice = p.question->answer;
    prompt_text(&p, suite->question);
    prompt_text(&p, suite->answer);
    prompt_text(&p, suite->between);
  }
  p.question = q;
  p.choice = 0;
  prompt_text(&p, suite->question);
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

int qtk_suite_answer(const struct qtk_suite *suite, const struct qtk_suite_group *group,
                     const struct qtk_question *q, int i, struct qtk_str *out)
{
  struct prompt p = {suite, group, q, i, out};
  prompt_text(&p, suite->answer);
  return out->failed ? QTK_ENOMEM : QTK_OK;
}

/* Bytes of the longest choice and of all of them. */
static void prompt_measure_choices(const struct qtk_question *q, uint64_t *longest, uint64_t *all)
{
  *longest = *all = 0;
  for (int i = 0; i < q->n; i++) {
    uint64_t bytes = strlen(q->choices[i]) + 1;
    *longest = bytes > *longest ? bytes : *longest;
    *all += bytes;
  }
}

int qtk_suite_measure(const struct qtk_suite *suite, uint64_t *longest, uint64_t *all)
{
  struct qtk_str text = {0};
  int rc = QTK_OK;
  *longest = *all = 0;
  for (size_t g = 0; g < suite->groups.length; g++) {
    const struct qtk_suite_group *group = &suite->groups.data[g];
    for (size_t i = 0; i < group->questions.length && rc == QTK_OK; i++) {
      const struct qtk_question *q = &group->questions.data[i];
      uint64_t choice, choices;
      text.length = 0;
      prompt_measure_choices(q, &choice, &choices);
      rc = qtk_suite_prompt(suite, group, q, suite->shots, &text);
      *longest = text.length + choice > *longest ? text.length + choice : *longest;
      if (i > 0) {
        text.length = 0;
        rc = rc == QTK_OK ? qtk_suite_prompt(suite, group, q, 0, &text) : rc;
      }
      *all += text.length + (suite->score == QTK_SCORE_LETTER ? 0 : choices);
    }
  }
  qtk_str_free(&text);
  return rc;
}
