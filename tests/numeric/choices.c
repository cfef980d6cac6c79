/* SPDX-License-Identifier: BSD-3-Clause
 * Multiple choice against the same computed plainly: each prompt by itself, without a
 * cache, in double precision from logits; and that what is kept from prompt to prompt
 * changes nothing. */
#include <math.h>

#include "core/eval-choices.h"
#include "core/fs.h"
#include "model.h"

#define QUESTIONS 12

static char folder[] = "/tmp/qtk-choices-XXXXXX";

/* ---- questions ------------------------------------------------------------------------- */

static const char *const words[] = {"the king", "no more", "good lord", "speak", "and thou",
                                    "death",    "war",     "hath",      "queen", "O my heart"};

static const char *word(uint32_t *x)
{
  *x = *x * 1664525u + 1013904223u;
  return words[(*x >> 16) % 10];
}

/* Lines of questions with three choices of one and more words. */
static void make_lines(const char *name, int n, uint32_t x)
{
  struct qtk_str text = {0};
  char *path = qtk_path_join(folder, name);
  for (int i = 0; i < n; i++) {
    qtk_str_printf(&text, "{\"question\": \"%s, %s %s %d?\", ", word(&x), word(&x), word(&x), i);
    qtk_str_printf(&text, "\"choices\": [\"%s\", \"%s %s\", \"x %s\"], \"answer\": %d}\n", word(&x),
                   word(&x), word(&x), word(&x), i % 3);
  }
  test_must(qtk_write_file(path, text.data, text.length), path);
  qtk_str_free(&text);
  free(path);
}

static struct qtk_suite *read_suite(struct qtk_context *ctx, enum qtk_score score, int64_t shots)
{
  char *path = qtk_path_join(folder, "questions.jsonl");
  char *examples = qtk_path_join(folder, "examples.jsonl");
  struct qtk_suite_request request = {
    .name = "plain", .path = path, .examples = examples, .score = score, .shots = shots};
  struct qtk_suite *suite;
  test_must(qtk_suite_read(ctx, &request, &suite), "suite");
  free(path);
  free(examples);
  return suite;
}

/* ---- the plain way ------------------------------------------------------------------------ */

static struct qtk_ids encode(const struct qtk_tokenizer *t, const char *text)
{
  struct qtk_ids ids = {0};
  test_must(qtk_tokenizer_encode(t, text, strlen(text), 0, &ids), "encode");
  return ids;
}

/* Sum of ln p of tokens [from, n) of ids. */
static double log_likelihood(struct test_model *m, const struct qtk_ids *ids, size_t from)
{
  double total = 0;
  for (size_t i = from; i < ids->n; i++) {
    int32_t position = (int32_t)i - 1;
    float *logits = test_logits(m, ids->ids, i, &position, 1);
    double sum = 0;
    for (int64_t k = 0; k < m->vocabulary; k++)
      sum += exp((double)logits[k]);
    total += logits[ids->ids[i]] - log(sum);
    free(logits);
  }
  return total;
}

/* The prompt as the manual describes it, written down here once more. */
static void plain_prompt(const struct qtk_suite *s, const struct qtk_question *q, int letters,
                         struct qtk_str *out)
{
  qtk_str_add(out, q->text);
  for (int i = 0; letters && i < q->n; i++)
    qtk_str_printf(out, "%s%c. %s", "\n", 'A' + i, q->choices[i]);
  qtk_str_add(out, letters ? "\nAnswer:" : "");
  (void)s;
}

static void plain_shots(const struct qtk_suite *s, int letters, int64_t shots, struct qtk_str *out)
{
  for (int64_t i = 0; i < shots; i++) {
    const struct qtk_question *q = &s->examples.data[i];
    plain_prompt(s, q, letters, out);
    if (letters)
      qtk_str_printf(out, " %c\n\n", 'A' + q->answer);
    else
      qtk_str_printf(out, " %s\n\n", q->choices[q->answer]);
  }
}

/* The best choice, and how much better than the second it is. */
static int plain_answer(struct test_model *m, const struct qtk_tokenizer *t,
                        const struct qtk_suite *s, const struct qtk_question *q, int64_t shots,
                        double *margin)
{
  int letters = s->score == QTK_SCORE_LETTER, best = 0;
  double score[QTK_CHOICES_MOST];
  for (int i = 0; i < q->n; i++) {
    struct qtk_str text = {0};
    plain_shots(s, letters, shots, &text);
    plain_prompt(s, q, letters, &text);
    struct qtk_ids bare = encode(t, text.data);
    if (letters)
      qtk_str_printf(&text, " %c", 'A' + i);
    else
      qtk_str_printf(&text, " %s", q->choices[i]);
    struct qtk_ids whole = encode(t, text.data);
    score[i] = log_likelihood(m, &whole, bare.n);
    if (s->score == QTK_SCORE_NORMALIZED)
      score[i] /= (double)strlen(q->choices[i]);
    best = score[i] > score[best] ? i : best;
    qtk_ids_free(&bare);
    qtk_ids_free(&whole);
    qtk_str_free(&text);
  }
  *margin = INFINITY;
  for (int i = 0; i < q->n; i++)
    if (i != best)
      *margin = fmin(*margin, score[best] - score[i]);
  return best;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static int same_answers(const struct qtk_choices *a, const struct qtk_choices *b)
{
  return memcmp(a->groups[0].chosen, b->groups[0].chosen,
                (size_t)a->groups[0].questions * sizeof(int)) == 0;
}

static void check_score(struct test_model *m, const struct qtk_tokenizer *t, enum qtk_score score,
                        int64_t shots)
{
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_suite *s = read_suite(m->ctx, score, shots);
  struct qtk_choices kept, plain;
  const char *name = qtk_score_names()[score];
  int wrong = 0, right = 0;
  test_must(qtk_choices_measure(m->ctx, &model, t, s, 0, 0, &kept), name);
  test_must(qtk_choices_measure(m->ctx, &model, t, s, 0, 1, &plain), name);
  for (int i = 0; i < QUESTIONS; i++) {
    const struct qtk_question *q = &s->groups.data[0].questions.data[i];
    double margin;
    int answer = plain_answer(m, t, s, q, shots, &margin);
    wrong += answer != kept.groups[0].chosen[i] && margin > 1e-4;
    right += kept.groups[0].chosen[i] == q->answer;
  }
  tap_ok(wrong == 0, "%s, %d shots: %d answers differ from the plain ones", name, (int)shots,
         wrong);
  tap_ok(same_answers(&kept, &plain), "%s, %d shots: with and without a cache", name, (int)shots);
  tap_ok(kept.correct == right && kept.questions == QUESTIONS, "%s: %d right of %d", name, right,
         QUESTIONS);
  qtk_choices_free(&kept);
  qtk_choices_free(&plain);
  qtk_suite_free(s);
}

/* Prompts that do not fit lose examples, then their start. */
static void check_context(struct test_model *m, const struct qtk_tokenizer *t)
{
  struct qtk_eval_model model = {m->engine, qtk_model_info(m->model)};
  struct qtk_suite *five = read_suite(m->ctx, QTK_SCORE_LETTER, 2);
  struct qtk_suite *none = read_suite(m->ctx, QTK_SCORE_LETTER, 0);
  struct qtk_choices all, tight, bare, cut;
  struct qtk_str text = {0};
  int64_t most = 0;
  for (int i = 0; i < QUESTIONS; i++) {
    text.length = 0;
    plain_prompt(none, &none->groups.data[0].questions.data[i], 1, &text);
    qtk_str_add(&text, " A");
    struct qtk_ids ids = encode(t, text.data);
    most = (int64_t)ids.n > most ? (int64_t)ids.n : most;
    qtk_ids_free(&ids);
  }
  test_must(qtk_choices_measure(m->ctx, &model, t, five, 0, 0, &all), "all");
  test_must(qtk_choices_measure(m->ctx, &model, t, five, most, 0, &tight), "tight");
  test_must(qtk_choices_measure(m->ctx, &model, t, none, 0, 0, &bare), "bare");
  test_must(qtk_choices_measure(m->ctx, &model, t, five, 10, 0, &cut), "cut");
  tap_ok(all.fewer_shots == 0 && all.cut == 0, "everything fits");
  tap_ok(tight.fewer_shots == QUESTIONS && tight.cut == 0, "%d questions have fewer shots",
         (int)tight.fewer_shots);
  tap_ok(same_answers(&tight, &bare), "without room the answers are those without examples");
  tap_ok(cut.cut == QUESTIONS, "%d questions lose their start", (int)cut.cut);
  qtk_choices_free(&all);
  qtk_choices_free(&tight);
  qtk_choices_free(&bare);
  qtk_choices_free(&cut);
  qtk_suite_free(five);
  qtk_suite_free(none);
  qtk_str_free(&text);
}

/* 3 of 4 and 1 of 3: 4/7; the mean of 3/4 and 1/3. */
static void check_averages(void)
{
  struct qtk_choices_group groups[] = {{.questions = 4, .correct = 3}, {.questions = 3, .correct = 1}};
  struct qtk_choices c = {.groups = groups, .n_groups = 2};
  double error, share = qtk_choices_accuracy(4, 7, &error);
  tap_ok(fabs(share - 4.0 / 7) < 1e-12 && fabs(error - sqrt(4.0 / 7 * 3 / 7 / 6)) < 1e-12,
         "by question: %.6f +- %.6f", share, error);
  share = qtk_choices_by_group(&c, &error);
  double want = sqrt(3.0 / 16 / 3 + 2.0 / 9 / 2) / 2;
  tap_ok(fabs(share - 13.0 / 24) < 1e-12 && fabs(error - want) < 1e-12, "by group: %.6f +- %.6f",
         share, error);
}

static void check_model(const char *name)
{
  struct qtk_context *ctx = test_context(2, 0);
  struct test_model m = test_open(ctx, test_data(name), NULL, 0);
  struct qtk_tokenizer *t;
  test_must(qtk_tokenizer_open(qtk_model_tokenizer(m.model), &t), "tokenizer");
  check_score(&m, t, QTK_SCORE_LETTER, 0);
  check_score(&m, t, QTK_SCORE_LETTER, 2);
  check_score(&m, t, QTK_SCORE_TEXT, 1);
  check_score(&m, t, QTK_SCORE_NORMALIZED, 1);
  check_context(&m, t);
  qtk_tokenizer_close(t);
  test_close(&m);
  test_context_close(ctx);
}

int main(void)
{
  if (mkdtemp(folder) == NULL) {
    printf("Bail out! no folder in /tmp\n");
    return 1;
  }
  make_lines("questions.jsonl", QUESTIONS, 7);
  make_lines("examples.jsonl", 2, 99);
  check_averages();
  check_model("nano/llama");
  check_model("nano/gpt2");
  qtk_remove_tree(folder);
  return tap_end();
}
