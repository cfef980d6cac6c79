/* SPDX-License-Identifier: BSD-3-Clause
 * Blocks run part by part: what linears read and what blocks give are, bit by bit, those
 * of an ordinary pass, wherever the walk was interrupted. */
#include "core/arch.h"
#include "core/block.h"
#include "record.h"

static const char *const families[] = {"llama",   "mistral", "qwen2", "gpt2",
                                       "gpt_neo", "gptj",    "opt",   "opt_postln"};
#define FAMILIES (sizeof families / sizeof families[0])
#define TOKENS 48

static int32_t ids[TOKENS];

/* What walks have seen of a block that differs from the record. */
struct seen {
  const struct qtk_arch_model *model;
  int layer, values, wrong;
};

/* A linear of each value; the record has the one that the family has. */
static const struct record *walk_record(const struct seen *s, enum block_value value)
{
  static const enum qtk_role roles[] = {QTK_ROLE_Q,  QTK_ROLE_QKV,     QTK_ROLE_O,
                                        QTK_ROLE_UP, QTK_ROLE_GATE_UP, QTK_ROLE_DOWN};

  for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
    const struct record *r = record_find(s->layer, qtk_role_name(roles[i]));
    if (r != NULL && qtk_block_input(s->model, roles[i]) == value)
      return r;
  }
  return NULL;
}

static int walk_see(void *arg, enum block_value value, const struct qtk_tensor *t)
{
  struct seen *s = arg;
  const struct record *r = walk_record(s, value);

  if (r == NULL)
    return QTK_OK;
  s->values++;
  s->wrong += r->rows != qtk_tensor_rows(t) || r->cols != qtk_tensor_cols(t);
  for (int64_t i = 0; !s->wrong && i < r->rows; i++)
    s->wrong += memcmp(r->x + i * r->cols, (const float *)t->data + i * t->stride,
                       (size_t)r->cols * sizeof(float)) != 0;
  return QTK_OK;
}

/* Walks from `have` to each value of `stops` in turn and keeps what it reaches. */
static void walk_block(struct qtk_session *s, struct seen *seen, struct qtk_tensor *x,
                       const unsigned *stops, int n)
{
  const struct qtk_arch_model *m = seen->model;
  struct block_walk walk = {.x = x, .see = walk_see, .arg = seen};
  float *places[BLOCK_VALUES] = {0};

  for (int v = 0; v < BLOCK_Y; v++) {
    if (!(BLOCK_KEPT & BLOCK_BIT(v)))
      continue;
    places[v] = calloc((size_t)(TOKENS * qtk_block_width(m, v)), sizeof(float));
    walk.at[v] = qtk_matrix(QTK_F32, places[v], TOKENS, qtk_block_width(m, v));
  }
  walk.at[BLOCK_Y] = *x;
  for (int i = 0; i < n; i++) {
    walk.want = stops[i];
    test_must(qtk_session_walk(s, seen->layer, &walk), "walk");
    walk.have |= stops[i] & BLOCK_KEPT;
  }
  for (int v = 0; v < BLOCK_Y; v++)
    free(places[v]);
}

/* All blocks with these stops; what is wrong. */
static int walk_model(struct qtk_context *ctx, struct qtk_model *model, const unsigned *stops,
                      int n, int *values)
{
  struct seen seen = {.model = qtk_arch_model(qtk_model_arch(model))};
  int64_t length = TOKENS;
  struct qtk_engine *e;
  struct qtk_session *s;
  struct qtk_tensor x;

  test_must(qtk_engine_open_blocks(ctx, model, &e), "engine");
  test_must(qtk_session_new(e, 1, 0, &s), "session");
  test_must(qtk_session_embed(s, ids, &length, &x), "embed");
  for (; seen.layer < (int)seen.model->layers; seen.layer++) {
    test_must(qtk_engine_hold(e, seen.layer), "hold");
    walk_block(s, &seen, &x, stops, n);
    qtk_engine_drop(e, seen.layer);
  }
  qtk_session_free(s);
  qtk_engine_close(e);
  *values = seen.values;
  return seen.wrong;
}

#define BIT(value) BLOCK_BIT(BLOCK_##value)

static void walk_family(const char *family)
{
  static const unsigned whole[] = {BIT(N1) | BIT(ATT) | BIT(N2) | BIT(ACT) | BIT(Y)},
                        steps[] = {BIT(N1), BIT(ATT), BIT(MID), BIT(N2), BIT(ACT), BIT(Y)},
                        halves[] = {BIT(N1) | BIT(N2), BIT(ATT) | BIT(ACT), BIT(Y)};
  struct qtk_context *ctx = test_context(2, 0);
  struct qtk_model *model;
  const int32_t *window = ids;
  char name[64];
  int a, b, c, wrong;

  snprintf(name, sizeof name, "nano/%s", family);
  test_must(qtk_model_open(ctx, test_data(name), &model), family);
  record_windows(ctx, model, &window, 1, TOKENS);
  wrong = walk_model(ctx, model, whole, 1, &a);
  tap_ok(a > 0 && !wrong, "%s: whole blocks: %d inputs", family, a);
  wrong = walk_model(ctx, model, steps, 6, &b);
  tap_ok(b == a && !wrong, "%s: a value at a time", family);
  wrong = walk_model(ctx, model, halves, 3, &c);
  tap_ok(c == a && !wrong, "%s: two at a time", family);
  record_forget();
  qtk_model_close(model);
  test_context_close(ctx);
}

int main(void)
{
  for (int i = 0; i < TOKENS; i++)
    ids[i] = (i * 37 + 11) % 300;
  for (size_t i = 0; i < FAMILIES; i++)
    walk_family(families[i]);
  return tap_end();
}
