/* SPDX-License-Identifier: BSD-3-Clause
 * What is kept of a teacher: the divergence from it against its formula in double precision, its
 * gradient against differences of that, and against the divergence of whole distributions. */
#include <math.h>
#include <qtk/ops.h>

#include "core/lesson.h"
#include "model.h"

#define TOKENS 5
#define VOCABULARY 96

static struct qtk_context *ctx;
static float teacher[TOKENS * VOCABULARY], student[TOKENS * VOCABULARY];
static int32_t kept_ids[TOKENS * VOCABULARY];
static float kept_values[TOKENS * VOCABULARY], kept_rest[TOKENS];

/* Peaked rows, a flat one, one with equal values, one of which a token has all. */
static void lesson_fill(void)
{
  for (int t = 0; t < TOKENS; t++)
    for (int i = 0; i < VOCABULARY; i++) {
      teacher[t * VOCABULARY + i] = (float)(t * sin(1.7 * i * (t + 1)));
      student[t * VOCABULARY + i] = (float)(2 * cos(0.9 * i + t));
    }
  for (int i = 0; i < VOCABULARY; i++)
    teacher[3 * VOCABULARY + i] = (float)(i / 8);
  teacher[4 * VOCABULARY + 7] = 300.0f;
}

static void lesson_softmax(const double *x, double *p)
{
  double most = -INFINITY, sum = 0.0;

  for (int i = 0; i < VOCABULARY; i++)
    most = fmax(most, x[i]);
  for (int i = 0; i < VOCABULARY; i++)
    sum += p[i] = exp(x[i] - most);
  for (int i = 0; i < VOCABULARY; i++)
    p[i] /= sum;
}

/* The formula: k tokens of the teacher and one more outcome, all others. */
static double lesson_formula(const double *p, const double *x, int64_t k, const int32_t *ids)
{
  double q[VOCABULARY], kl = 0.0, p_rest = 0.0, q_rest = 0.0;
  char known[VOCABULARY] = {0};

  lesson_softmax(x, q);
  for (int64_t i = 0; i < k; i++) {
    known[ids[i]] = 1;
    kl += p[ids[i]] > 0 ? p[ids[i]] * log(p[ids[i]] / q[ids[i]]) : 0;
  }
  for (int i = 0; i < VOCABULARY; i++)
    if (!known[i]) {
      p_rest += p[i];
      q_rest += q[i];
    }
  return p_rest > 0 ? kl + p_rest * log(p_rest / q_rest) : kl;
}

/* The slope of the formula over the student's logit i. */
static double lesson_slope(const double *p, const double *x, int64_t k, const int32_t *ids, int i)
{
  double at[VOCABULARY], up, step = 1e-5;

  memcpy(at, x, sizeof at);
  at[i] += step;
  up = lesson_formula(p, at, k, ids);
  at[i] -= 2 * step;
  return (up - lesson_formula(p, at, k, ids)) / (2 * step);
}

/* Divergence and gradient that a loss computes of these rows of a teacher. */
static void lesson_divergence(const struct qtk_tensor *from, float *kl, float *gradient)
{
  static const float ones[TOKENS] = {1, 1, 1, 1, 1};
  struct qtk_tensor x = qtk_matrix(QTK_F32, student, TOKENS, VOCABULARY);
  struct qtk_tensor values = qtk_vector(QTK_F32, kl, TOKENS);
  struct qtk_tensor dx = qtk_matrix(QTK_F32, gradient, TOKENS, VOCABULARY);

  test_must(qtk_op_divergence(ctx, from, &x, &values, ones, &dx), "divergence");
}

/* Of row t: how far value and slopes are from the formula's. */
static double lesson_row(int t, int64_t k, const float *kl, const float *gradient)
{
  const int32_t *ids = kept_ids + t * k;
  double p[VOCABULARY], r[VOCABULARY], x[VOCABULARY], worst;

  for (int i = 0; i < VOCABULARY; i++) {
    r[i] = (double)teacher[t * VOCABULARY + i];
    x[i] = (double)student[t * VOCABULARY + i];
  }
  lesson_softmax(r, p);
  worst = fabs(lesson_formula(p, x, k, ids) - (double)kl[t]);
  for (int i = 0; i < VOCABULARY; i++)
    worst = fmax(worst, fabs(lesson_slope(p, x, k, ids, i) -
                             (double)gradient[t * VOCABULARY + i]));
  return worst;
}

static void lesson_all(int64_t k)
{
  static float spread[TOKENS * VOCABULARY], gradient[TOKENS * VOCABULARY];
  struct qtk_tensor whole = qtk_matrix(QTK_F32, teacher, TOKENS, VOCABULARY);
  struct qtk_tensor x = qtk_matrix(QTK_F32, student, TOKENS, VOCABULARY);
  struct qtk_tensor out = qtk_matrix(QTK_F32, spread, TOKENS, VOCABULARY);
  const struct qtk_lesson lesson = {TOKENS, VOCABULARY, k, kept_ids, kept_values, kept_rest};
  float all[TOKENS], kl[TOKENS];
  double worst = 0.0, equal = 0.0;
  int below = 1, ordered = 1;

  test_must(qtk_lesson_make(ctx, &whole, k, kept_ids, kept_values, kept_rest), "make");
  for (int64_t i = 0; i < TOKENS * k; i++)
    ordered &= i % k == 0 || kept_values[i] <= kept_values[i - 1];
  lesson_divergence(&whole, all, gradient);
  test_must(qtk_lesson_spread(ctx, &lesson, 0, &x, &out), "spread");
  lesson_divergence(&out, kl, gradient);
  for (int t = 0; t < TOKENS; t++) {
    worst = fmax(worst, lesson_row(t, k, kl, gradient));
    below &= kl[t] < all[t] + 1e-5f;
    equal = fmax(equal, fabs((double)kl[t] - (double)all[t]));
  }
  tap_ok(ordered && worst < 1e-4, "%lld of %d tokens kept: value and gradient within %.1g",
         (long long)k, VOCABULARY, worst);
  tap_ok(below && (k + 1 < VOCABULARY ? equal > 1e-3 : equal < 2e-5),
         "%lld kept: at most the divergence of all, apart by %.1g", (long long)k, equal);
}

/* A page holds the lessons of the sequences that it is asked for, in their order. */
static void lesson_pages(void)
{
  struct qtk_lesson list[3];
  struct qtk_lesson_page page = {0};
  const uint64_t some[] = {2, 0}, none[] = {1};
  int64_t k = 4;

  for (int i = 0; i < 3; i++)
    list[i] = (struct qtk_lesson){i == 1 ? 0 : i + 1, VOCABULARY, k, kept_ids + i * k,
                                  kept_values + i * k, kept_rest + i};
  test_must(qtk_lesson_copy(ctx, list, some, 2, &page), "copy");
  tap_ok(page.lesson.tokens == 4 &&
             memcmp(page.lesson.ids, kept_ids + 2 * k, (size_t)(3 * k) * sizeof *kept_ids) == 0 &&
             memcmp(page.lesson.values + 3 * k, kept_values, (size_t)k * sizeof *kept_values) == 0 &&
             page.lesson.rest[0] == kept_rest[2] && page.lesson.rest[3] == kept_rest[0],
         "a page of two sequences");
  tap_ok(qtk_lesson_copy(ctx, list, none, 1, &page) == QTK_EINTERNAL, "one that is not there: %s",
         qtk_error_message());
  qtk_lesson_page_free(ctx, &page);
}

int main(void)
{
  ctx = test_context(2, 0);
  lesson_fill();
  lesson_all(1);
  lesson_all(9);
  lesson_all(VOCABULARY - 1);
  lesson_all(VOCABULARY);
  lesson_pages();
  test_context_close(ctx);
  return tap_end();
}
