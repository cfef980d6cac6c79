/* SPDX-License-Identifier: BSD-3-Clause
 * The optimizers: against PyTorch's, and moments in 8 bits against those of bitsandbytes. */
#include "core/moment.h"
#include "core/train.h"
#include "trial.h"

/* ---- five numbers --------------------------------------------------------------------- */

static enum qtk_claim five_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options, (void)t;
  return QTK_CLAIM_NONE;
}

static int five_attach(struct qtk_context *c, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites, int n,
                       void **h)
{
  (void)c, (void)options, (void)model, (void)sites, (void)n;
  *h = calloc(1, 1);
  return QTK_OK;
}

static int64_t five_count = 5;
static double five_rate = 2.0;

static int five_params(void *h, int i, struct qtk_param *p)
{
  (void)h;
  *p = (struct qtk_param){.name = "five", .ndim = 1, .shape = {five_count},
                          .learning_rate = five_rate, .decay = 1, .disk_dtype = QTK_F32};
  return i == 0;
}

static int five_bind(void *h, int i, const struct qtk_tensor *value,
                     const struct qtk_tensor *gradient)
{
  (void)h, (void)i, (void)value, (void)gradient;
  return QTK_OK;
}

static const struct qtk_adapter_ops five = {.size = sizeof five,
                                            .claim = five_claim,
                                            .attach = five_attach,
                                            .detach = toy_detach,
                                            .params = five_params,
                                            .bind = five_bind};

/* torch.optim.AdamW and Adam (lr 0.01, betas 0.9 and 0.95, eps 1e-8, weight_decay 0.1) after
 * torch.nn.utils.clip_grad_norm_ (.., 1.0), PyTorch 2.15. */
static const float five_start[] = {1.0f, -2.0f, 0.5f, 3.0f, -0.25f};
static const float five_gradients[3][5] = {{0.1f, -0.2f, 0.3f, -4.0f, 1e-3f},
                                           {0.05f, 0.5f, -0.3f, 2.0f, -1e-3f},
                                           {-1.0f, 0.25f, 0.0f, 1.0f, 5e-4f}};
static const double five_norms[] = {4.017462253570557, 2.083866834640503, 1.436140775680542};
static const float five_values[2][3][5] = {
    {{0.9890000224113464f, -1.9880000352859497f, 0.4895000159740448f, 3.006999969482422f,
      -0.2597495913505554f},
     {0.9780176877975464f, -1.991870641708374f, 0.49250757694244385f, 3.003650188446045f,
      -0.2559928596019745f},
     {0.9828914999961853f, -1.9972578287124634f, 0.49475324153900146f, 2.99751877784729f,
      -0.2569044828414917f}},
    {{0.9900000095367432f, -1.9900000095367432f, 0.49000000953674316f, 3.009999990463257f,
      -0.24000000953674316f},
     {0.9800023436546326f, -1.98452627658844f, 0.48917824029922485f, 3.006741523742676f,
      -0.23000165820121765f},
     {0.9838767647743225f, -1.9796340465545654f, 0.48663777112960815f, 3.001042366027832f,
      -0.2200254499912262f}}};

/* An optimizer of one parameter. */
struct many {
  struct test_model m;
  struct qtk_optimizer *o;
  float *value, *gradient;
};

static void many_open(struct many *m, const struct qtk_optimizer_rule *rule)
{
  const struct qtk_attached adapter = {.name = "five", .ops = &five};
  struct qtk_tensor value, gradient;
  struct qtk_param param;

  m->m = test_open(ctx, folder, &adapter, 1);
  test_must(qtk_engine_train(m->m.engine), "gradients");
  test_must(qtk_optimizer_new(ctx, m->m.engine, 0, rule, &m->o), "optimizer");
  qtk_engine_param(m->m.engine, 0, 0, &param, &value);
  qtk_engine_gradient(m->m.engine, 0, 0, &gradient);
  m->value = value.data;
  m->gradient = gradient.data;
}

static void many_close(struct many *m)
{
  qtk_optimizer_free(m->o);
  test_close(&m->m);
}

static void five_steps(struct many *m, const float want[3][5], const char *name)
{
  double norm;

  memcpy(m->value, five_start, sizeof five_start);
  for (int step = 0; step < 3; step++) {
    double worst = 0.0;
    memcpy(m->gradient, five_gradients[step], sizeof five_start);
    test_must(qtk_optimizer_step(m->o, step + 1, 1.0, &norm), "step");
    for (int i = 0; i < 5; i++)
      worst = fmax(worst, fabs((double)m->value[i] - (double)want[step][i]));
    tap_ok(worst < 1e-6 && fabs(norm - five_norms[step]) < 1e-6,
           "%s, step %d: PyTorch's values within %.1g, norm %.6f", name, step + 1, worst, norm);
  }
}

static void five_all(enum qtk_optimizer_kind kind)
{
  const struct qtk_optimizer_rule rule = {0.005, 0.9, 0.95, 1e-8, 0.1, 1.0, kind}; /* factor 2 */
  struct many m;
  float before[5];
  double norm;

  many_open(&m, &rule);
  five_steps(&m, five_values[kind], qtk_optimizer_name(kind));
  memcpy(before, m.value, sizeof before);
  m.gradient[3] = NAN;
  int rc = qtk_optimizer_step(m.o, 4, 1.0, &norm);
  tap_ok(rc == QTK_ENUMERIC && memcmp(m.value, before, sizeof before) == 0,
         "a gradient that is no number changes nothing: %s", qtk_error_message());
  many_close(&m);
}

/* ---- moments in 8 bits ---------------------------------------------------------------------- */

#define CODED_VALUES (33 * QTK_MOMENT_BLOCK)
#define CODED_STEPS 4

/* What bitsandbytes has: data/optimizer. */
struct coded_record {
  float tables[2][QTK_MOMENT_CODES]; /* with a sign, without */
  float values[CODED_VALUES];
};

static void coded_read(struct coded_record *r)
{
  FILE *f = fopen(test_data("optimizer/coded.f32"), "rb");

  if (f == NULL || fread(r, sizeof *r, 1, f) != 1) {
    printf("Bail out! optimizer/coded.f32 cannot be read\n");
    exit(1);
  }
  fclose(f);
}

static void coded_gradient(float *g, int step)
{
  for (int64_t i = 0; i < CODED_VALUES; i++) {
    g[i] = noise((uint64_t)(100000 * step + i)) - 0.1f;
    g[i] += g[i] < 0 ? -0.05f : 0.05f;
    if (i / QTK_MOMENT_BLOCK % 7 == 6)
      g[i] *= 1e-3f;
  }
}

/* Values after CODED_STEPS steps. */
static void coded_run(enum qtk_optimizer_kind kind, float *values)
{
  const struct qtk_optimizer_rule rule = {.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999,
                                          .epsilon = 1e-8, .kind = kind};
  struct many m;
  double norm;

  five_count = CODED_VALUES;
  five_rate = 1.0;
  many_open(&m, &rule);
  for (int64_t i = 0; i < CODED_VALUES; i++)
    m.value[i] = noise((uint64_t)i);
  for (int step = 1; step <= CODED_STEPS; step++) {
    coded_gradient(m.gradient, step);
    test_must(qtk_optimizer_step(m.o, step, 1.0, &norm), "step");
  }
  memcpy(values, m.value, CODED_VALUES * sizeof *values);
  many_close(&m);
}

static double coded_distance(const float *a, const float *b)
{
  double worst = 0.0;

  for (int64_t i = 0; i < CODED_VALUES; i++)
    worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
  return worst;
}

static void coded_tables(const struct coded_record *r)
{
  float table[QTK_MOMENT_CODES];

  for (int sign = 0; sign < 2; sign++) {
    double worst = 0.0;
    qtk_moment_table(sign, table);
    for (int i = 0; i < QTK_MOMENT_CODES; i++) {
      double want = (double)r->tables[!sign][i];
      worst = fmax(worst, fabs((double)table[i] - want) / (want == 0.0 ? 1.0 : fabs(want)));
    }
    tap_ok(worst < 1e-6, "the table %s: that of bitsandbytes within %.1g",
           sign ? "with a sign" : "without one", worst);
  }
}

/* The share of values that lie further apart than rounding. */
static double coded_apart(const float *a, const float *b)
{
  int64_t n = 0;

  for (int64_t i = 0; i < CODED_VALUES; i++)
    n += fabsf(a[i] - b[i]) > 1e-6f;
  return (double)n / CODED_VALUES;
}

/* Steps are of 1e-2, four of them; a moment that is coded is wrong by a part in 30. Its search
 * takes, on the processor, now and then the neighbour of the nearest code. */
static void coded_all(void)
{
  struct coded_record *r = malloc(sizeof *r);
  float *coded = malloc(sizeof r->values), *floats = malloc(sizeof r->values);

  coded_read(r);
  coded_tables(r);
  coded_run(QTK_OPTIMIZER_ADAMW_8BIT, coded);
  coded_run(QTK_OPTIMIZER_ADAMW, floats);
  double same = coded_distance(coded, r->values), apart = coded_distance(coded, floats);
  double other = coded_apart(coded, r->values);
  tap_ok(other < 0.02 && same < 1e-3,
         "adamw8bit: the values of bitsandbytes but for %.1f %%, and those within %.1g",
         100 * other, same);
  tap_ok(apart > 1e-5 && apart < 4e-2 / 30, "adamw8bit: those of adamw within %.1g", apart);
  free(r);
  free(coded);
  free(floats);
}

/* There and back, with what could go wrong: blocks of zeros, a lone value, a last block that is
 * not whole, a second moment far below the largest. */
static void coded_back(void)
{
  enum { N = 3 * QTK_MOMENT_BLOCK + 5 };
  static float in[N], out[N];
  struct qtk_moment_desk *desk;
  struct qtk_moment m;
  struct qtk_tensor from = qtk_vector(QTK_F32, in, N), to = qtk_vector(QTK_F32, out, N);
  int zeros = 1, above = 1;

  in[QTK_MOMENT_BLOCK] = 7.0f;
  in[QTK_MOMENT_BLOCK + 1] = 1e-9f;
  in[N - 1] = 3.0f;
  test_must(qtk_moment_desk_new(ctx, &desk), "desk");
  test_must(qtk_moment_new(ctx, N, 1, 0, &m), "moment");
  test_must(qtk_moment_write(ctx, desk, &m, 0, &from), "write");
  test_must(qtk_moment_read(ctx, desk, &m, 0, &to), "read");
  for (int i = 0; i < N; i++) {
    zeros &= in[i] != 0.0f || out[i] == 0.0f;
    above &= in[i] == 0.0f || out[i] > 0.0f;
  }
  tap_ok(zeros && above && out[QTK_MOMENT_BLOCK] == 7.0f && out[N - 1] == 3.0f,
         "zeros stay zeros, the largest of a block is exact, no second moment becomes 0");
  tap_ok(qtk_moment_bytes(N, 1) == N + 4 * 4, "%llu bytes for %d values",
         (unsigned long long)qtk_moment_bytes(N, 1), N);
  qtk_moment_free(ctx, &m);
  qtk_moment_desk_free(ctx, desk);
}

int main(void)
{
  toy_begin();
  five_all(QTK_OPTIMIZER_ADAMW);
  five_all(QTK_OPTIMIZER_ADAM);
  coded_all();
  coded_back();
  toy_end();
  return tap_end();
}
