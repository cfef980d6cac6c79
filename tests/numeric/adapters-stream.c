/* SPDX-License-Identifier: BSD-3-Clause
 * Toy adapters on the stream of hidden states and in the place of the loss, against the
 * same mathematics done by hand; blocks of an adapter's own. */
#include "toy.h"

/* ---- stream: hidden + alpha (sum of what was seen) ------------------------------------------------ */

static float alpha = 0.25f;
static double dalpha; /* gradient of the last pass backward */

struct stream {
  int64_t hidden;
  int layers_seen, layers;
};

static enum qtk_claim stream_claim(const void *options, const struct qtk_tensor_role *tensor)
{
  (void)options, (void)tensor;
  return QTK_CLAIM_NONE;
}

static int stream_attach(struct qtk_context *c, const void *options,
                         const struct qtk_model_info *model, const struct qtk_site *sites,
                         int n_sites, void **h)
{
  struct stream *t = calloc(1, sizeof *t);

  (void)c, (void)options, (void)sites, (void)n_sites;
  t->hidden = model->dims.hidden;
  t->layers = (int)model->layers;
  *h = t;
  return QTK_OK;
}

static int stream_sum(struct qtk_context *c, struct stream *t, struct qtk_session *s,
                      struct qtk_tensor *sum)
{
  void *memory;
  int rc = qtk_session_memory(c, s, t, 0, (size_t)t->hidden * sizeof(float), &memory);

  *sum = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), t->hidden);
  return rc;
}

static int stream_see(struct qtk_context *c, void *h, struct qtk_session *s, int layer,
                      const struct qtk_tensor *hidden)
{
  struct stream *t = h;
  struct qtk_tensor sum;
  int rc = stream_sum(c, t, s, &sum);

  t->layers_seen = layer == t->layers_seen ? layer + 1 : -100;
  if (rc != QTK_OK)
    return rc;
  return layer == 0 ? qtk_op_copy(c, hidden, &sum) : qtk_op_add(c, &sum, hidden, &sum);
}

static int stream_mix(struct qtk_context *c, void *h, struct qtk_session *s,
                      struct qtk_tensor *hidden)
{
  struct stream *t = h;
  struct qtk_tensor sum;
  int rc = stream_sum(c, t, s, &sum);

  if (rc == QTK_OK && t->layers_seen != t->layers + 1)
    return qtk_error(QTK_EINTERNAL, "layers 0 .. %d were not seen in order", t->layers);
  t->layers_seen = 0;
  return rc == QTK_OK ? qtk_op_axpy(c, alpha, &sum, hidden) : rc;
}

static int stream_mix_backward(struct qtk_context *c, void *h, struct qtk_session *s,
                               const struct qtk_tensor *dhidden)
{
  struct qtk_tensor sum;
  int rc = stream_sum(c, h, s, &sum);

  return rc == QTK_OK ? qtk_op_dot(c, dhidden, &sum, &dalpha) : rc;
}

static const struct qtk_adapter_ops stream = {.size = sizeof stream,
                                              .claim = stream_claim,
                                              .attach = stream_attach,
                                              .detach = toy_detach,
                                              .stream = stream_see,
                                              .mix = stream_mix,
                                              .mix_backward = stream_mix_backward};

/* Copies of what is seen, in host memory, for doing it by hand. */
static float *seen[8];

static int watch_see(struct qtk_context *c, void *h, struct qtk_session *s, int layer,
                     const struct qtk_tensor *hidden)
{
  const struct stream *t = h;
  size_t bytes = (size_t)(qtk_session_tokens(s) * t->hidden) * sizeof(float);

  seen[layer] = realloc(seen[layer], bytes);
  return qtk_device_download(c, seen[layer], hidden->data, bytes);
}

static const struct qtk_adapter_ops watch = {.size = sizeof watch,
                                             .claim = stream_claim,
                                             .attach = stream_attach,
                                             .detach = toy_detach,
                                             .stream = watch_see};

/* head [vocabulary, hidden] times final hidden + alpha (seen 0 + seen 1 + ...) */
static float *stream_by_hand(void)
{
  const struct qtk_attached watcher = {.name = "watch", .ops = &watch};
  struct test_model m = test_open(ctx, folder, &watcher, 1);
  int64_t length = (int64_t)n_ids, width = qtk_model_info(m.model)->dims.hidden;
  int head = qtk_model_find(m.model, "lm_head.weight");
  float *w = malloc((size_t)(m.vocabulary * width) * sizeof *w);
  float *out = calloc(logits_count(), sizeof *out);
  float *final = malloc((size_t)(length * width) * sizeof *final);
  struct qtk_session *s;
  struct qtk_tensor hidden;

  test_must(qtk_model_read(m.model, head, 0, m.vocabulary, w, width), "head");
  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  test_must(qtk_device_download(ctx, final, hidden.data, (size_t)(length * width) * 4), "final");
  for (size_t p = 0; p < POSITIONS; p++)
    for (int64_t v = 0; v < m.vocabulary; v++) {
      double sum = 0.0;
      for (int64_t j = 0; j < width; j++) {
        size_t at = (size_t)(positions[p] * width + j);
        double x = (double)final[at];
        for (int64_t l = 0; l <= qtk_model_info(m.model)->layers; l++)
          x += (double)alpha * (double)seen[l][at];
        sum += x * (double)w[v * width + j];
      }
      out[p * (size_t)m.vocabulary + (size_t)v] = (float)sum;
    }
  qtk_session_free(s);
  test_close(&m);
  free(w);
  free(final);
  return out;
}

static void stream_all(void)
{
  const struct qtk_attached adapter = {.name = "stream", .ops = &stream}, watcher = {.name = "watch", .ops = &watch};
  float *found = logits_of(&adapter, 1, NULL), *want = stream_by_hand();
  float *plain = logits_of(NULL, 0, NULL), *watched = logits_of(&watcher, 1, NULL);
  double worst = distance(found, want, logits_count());

  tap_ok(worst < 1e-5, "stream and mix: differs by %.2g", worst);
  tap_ok(memcmp(plain, watched, logits_count() * sizeof *plain) == 0,
         "a stream that only looks: the same bits");
  free(found);
  free(want);
  free(plain);
  free(watched);
  for (int i = 0; i < 8; i++)
    free(seen[i]);
}

/* ---- a side block over the base's own weights ------------------------------------------------------- */

/* Runs block 1 of the base a second time, as a block of its own, on what block 0 gave, and
 * keeps the result. */
struct side {
  struct qtk_block *block;
  struct qtk_tensor values[32];
  int n;
  int64_t hidden;
  const struct qtk_model_info *model;
  double worst;
};

static int side_attach(struct qtk_context *c, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  struct side *t = calloc(1, sizeof *t);

  (void)options, (void)sites, (void)n_sites;
  t->hidden = model->dims.hidden;
  t->model = model;
  *h = t;
  return qtk_block_new(c, model, 1, &model->dims, &t->block);
}

static void side_detach(struct qtk_context *c, void *h)
{
  struct side *t = h;

  qtk_block_free(c, t->block);
  free(t);
}

static int side_params(void *h, int i, struct qtk_param *p)
{
  int64_t fan_in;

  return qtk_block_param(((struct side *)h)->block, i, p, &fan_in);
}

static int side_bind(void *h, int i, const struct qtk_tensor *value,
                     const struct qtk_tensor *gradient)
{
  return qtk_block_bind(((struct side *)h)->block, i, value, gradient);
}

/* The base's tensor of the same role. */
static int side_start(struct qtk_context *c, void *h, int i, float *value)
{
  struct side *t = h;
  const struct qtk_model *model = qtk_model_of(t->model);
  struct qtk_param p;
  char role[200];

  (void)c;
  side_params(h, i, &p);
  snprintf(role, sizeof role, "%s", p.name);
  if (strstr(role, ".weight") != NULL)
    *strstr(role, ".weight") = '\0';
  for (int k = 0; k < qtk_model_count(model); k++) {
    const struct qtk_model_tensor *m = qtk_model_tensor(model, k);
    if (m->layer == 1 && strcmp(m->role, role) == 0)
      return qtk_model_read(model, k, 0, m->rows, value, m->cols);
  }
  return qtk_error(QTK_EINTERNAL, "no tensor %s", p.name);
}

static int side_see(struct qtk_context *c, void *h, struct qtk_session *s, int layer,
                    const struct qtk_tensor *hidden)
{
  struct side *t = h;
  void *memory;
  int rc = qtk_session_memory(c, s, h, 0, (size_t)t->hidden * sizeof(float), &memory);
  struct qtk_tensor y = qtk_matrix(QTK_F32, memory, qtk_session_tokens(s), t->hidden);

  if (rc != QTK_OK || layer == 0)
    return rc;
  if (layer == 1)
    return qtk_block_forward(c, t->block, s, hidden, &y);
  int same = memcmp(y.data, hidden->data, (size_t)(y.shape[0] * t->hidden) * sizeof(float)) == 0;
  return same ? QTK_OK : qtk_error(QTK_EINTERNAL, "the block differs");
}

static const struct qtk_adapter_ops side = {.size = sizeof side,
                                            .claim = stream_claim,
                                            .attach = side_attach,
                                            .detach = side_detach,
                                            .params = side_params,
                                            .bind = side_bind,
                                            .start = side_start,
                                            .stream = side_see};

/* All at once and token by token through the caches. */
static void side_model(const char *name)
{
  const struct qtk_attached adapter = {.name = "side", .ops = &side};
  char path[64];
  struct qtk_session *s;
  struct qtk_tensor hidden;
  int64_t length = 40, one = 1;
  int rc;

  snprintf(path, sizeof path, "nano/%s", name);
  struct test_model m = test_open(ctx, test_data(path), &adapter, 1);
  test_must(qtk_session_new(m.engine, 1, 44, &s), "session");
  rc = qtk_session_forward(s, ids, &length, &hidden);
  for (int i = 0; rc == QTK_OK && i < 4; i++)
    rc = qtk_session_forward(s, ids + 40 + i, &one, &hidden);
  tap_ok(rc == QTK_OK, "%s: a block of the adapter's own gives what the base's gives%s%s", name,
         rc == QTK_OK ? "" : ": ", rc == QTK_OK ? "" : qtk_error_message());
  tap_ok(qtk_session_forward(s, ids, &one, &hidden) == QTK_EINPUT, "%s: the cache is full", name);
  qtk_session_free(s);
  test_close(&m);
}

/* ---- objective: the square of the target's logit, weighted ------------------------------------------- */

static int objective_loss(struct qtk_context *c, void *h, const struct qtk_batch *batch,
                          int64_t t0, int64_t n, const struct qtk_tensor *logits,
                          const struct qtk_tensor *teacher, struct qtk_tensor *dlogits,
                          double *sum, double *weight)
{
  int64_t v = qtk_tensor_cols(logits);
  float *rows = malloc((size_t)(n * v) * sizeof *rows);
  int rc = qtk_device_download(c, rows, logits->data, (size_t)(n * v) * sizeof *rows);

  (void)h;
  if (teacher != NULL || dlogits != NULL || n > QTK_LOGIT_CHUNK)
    rc = qtk_error(QTK_EINTERNAL, "a chunk of another kind");
  *sum = *weight = 0.0;
  for (int64_t i = 0; rc == QTK_OK && i < n; i++) {
    double x = batch->targets[t0 + i] < 0 ? 0.0 : (double)rows[i * v + batch->targets[t0 + i]];
    *sum += (double)batch->weights[t0 + i] * x * x;
    *weight += (double)batch->weights[t0 + i];
  }
  free(rows);
  return rc;
}

static const struct qtk_adapter_ops objective = {.size = sizeof objective,
                                                 .claim = stream_claim,
                                                 .attach = stream_attach,
                                                 .detach = toy_detach,
                                                 .loss = objective_loss};

/* A batch over the reference's tokens: every third is not scored. */
static struct qtk_batch objective_batch(int32_t *targets, float *weights)
{
  struct qtk_batch batch = {
      .tokens = (int64_t)n_ids, .ids = ids, .targets = targets, .weights = weights};

  for (size_t i = 0; i < n_ids; i++) {
    targets[i] = i + 1 < n_ids && i % 3 != 0 ? ids[i + 1] : -1;
    weights[i] = targets[i] < 0 ? 0.0f : 0.5f + 0.001f * (float)i;
  }
  return batch;
}

/* The two losses of the batch, from whole logits. */
static void objective_by_hand(struct test_model *m, const struct qtk_batch *batch, double *squares,
                              double *entropy, double *weight)
{
  *squares = *entropy = *weight = 0.0;
  for (int32_t i = 0; i < (int32_t)n_ids; i++) {
    if (batch->targets[i] < 0)
      continue;
    float *row = test_logits(m, ids, n_ids, &i, 1);
    double x = (double)row[batch->targets[i]], sum = 0.0;
    for (int64_t v = 0; v < m->vocabulary; v++)
      sum += exp((double)row[v] - x);
    *squares += (double)batch->weights[i] * x * x;
    *entropy += (double)batch->weights[i] * log(sum);
    *weight += (double)batch->weights[i];
    free(row);
  }
}

static void objective_run(const struct qtk_attached *adapters, int n,
                          const struct qtk_batch *batch, float *tokens, double *sum,
                          double *weight)
{
  struct test_model m = test_open(ctx, folder, adapters, n);
  int64_t length = (int64_t)n_ids;
  struct qtk_session *s;
  struct qtk_tensor hidden;

  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  test_must(qtk_session_loss(s, batch, &hidden, tokens, sum, weight), "loss");
  qtk_session_free(s);
  test_close(&m);
}

static void objective_all(void)
{
  const struct qtk_attached adapter = {.name = "objective", .ops = &objective};
  int32_t *targets = calloc(n_ids, sizeof *targets);
  float *weights = calloc(n_ids, sizeof *weights), *tokens = calloc(n_ids, sizeof *tokens);
  struct qtk_batch batch = objective_batch(targets, weights);
  struct test_model m = test_open(ctx, folder, NULL, 0);
  double squares, entropy, weight, sum, total;

  objective_by_hand(&m, &batch, &squares, &entropy, &weight);
  objective_run(&adapter, 1, &batch, NULL, &sum, &total);
  tap_ok(fabs(sum / squares - 1.0) < 1e-6 && fabs(total / weight - 1.0) < 1e-12,
         "an adapter's loss: %.6f, by hand %.6f", sum, squares);
  objective_run(NULL, 0, &batch, tokens, &sum, &total);
  tap_ok(fabs(sum / entropy - 1.0) < 1e-6 && fabs(total / weight - 1.0) < 1e-12,
         "cross-entropy: %.6f, by hand %.6f", sum, entropy);
  for (size_t i = 0; i < n_ids; i++)
    sum -= (double)weights[i] * (double)tokens[i];
  tap_ok(fabs(sum) < 1e-3, "the losses of the tokens add up");
  test_close(&m);
  free(targets);
  free(weights);
  free(tokens);
}

/* ---- a teacher ------------------------------------------------------------------------------------------ */

/* KL (teacher || student), summed over the scored tokens. */
static int taught_loss(struct qtk_context *c, void *h, const struct qtk_batch *batch, int64_t t0,
                       int64_t n, const struct qtk_tensor *logits,
                       const struct qtk_tensor *teacher, struct qtk_tensor *dlogits, double *sum,
                       double *weight)
{
  float kl[QTK_LOGIT_CHUNK];
  struct qtk_tensor values = qtk_vector(QTK_F32, kl, n);

  (void)h, (void)dlogits;
  if (teacher == NULL)
    return qtk_error(QTK_EINTERNAL, "no teacher");
  test_must(qtk_op_divergence(c, teacher, logits, &values, NULL, NULL), "divergence");
  for (int64_t i = 0; i < n; i++) {
    *sum += batch->targets[t0 + i] < 0 ? 0.0 : (double)kl[i];
    *weight += batch->targets[t0 + i] < 0 ? 0.0 : 1.0;
  }
  return QTK_OK;
}

static enum qtk_teacher taught_teacher(const void *options)
{
  (void)options;
  return QTK_TEACHER_LOGITS;
}

static const struct qtk_adapter_ops taught = {.size = sizeof taught,
                                              .claim = stream_claim,
                                              .attach = stream_attach,
                                              .detach = toy_detach,
                                              .teacher = taught_teacher,
                                              .loss = taught_loss};

/* KL by hand, from whole logits. */
static double taught_by_hand(struct test_model *teacher, struct test_model *student,
                             const struct qtk_batch *batch)
{
  double kl = 0.0;

  for (int32_t i = 0; i < (int32_t)n_ids; i++) {
    if (batch->targets[i] < 0)
      continue;
    float *r = test_logits(teacher, ids, n_ids, &i, 1), *s = test_logits(student, ids, n_ids, &i, 1);
    double zr = 0.0, zs = 0.0;
    for (int64_t v = 0; v < student->vocabulary; v++) {
      zr += exp((double)r[v]);
      zs += exp((double)s[v]);
    }
    for (int64_t v = 0; v < student->vocabulary; v++)
      kl += exp((double)r[v]) / zr * ((double)r[v] - log(zr) - (double)s[v] + log(zs));
    free(r);
    free(s);
  }
  return kl;
}

static double taught_run(struct test_model *m, struct test_model *teacher,
                         const struct qtk_batch *batch)
{
  int64_t length = (int64_t)n_ids;
  struct qtk_session *s, *lesson;
  struct qtk_tensor hidden, from;
  double sum, weight;

  test_must(qtk_session_new(m->engine, 1, 0, &s), "session");
  test_must(qtk_session_new(teacher->engine, 1, 0, &lesson), "session");
  test_must(qtk_session_forward(lesson, ids, &length, &from), "teacher");
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  int rc = qtk_session_loss(s, batch, &hidden, NULL, &sum, &weight);
  tap_ok(rc == QTK_EJOB, "a loss without its teacher is refused: %s", qtk_error_message());
  qtk_session_teach(s, teacher->engine, &from);
  test_must(qtk_session_loss(s, batch, &hidden, NULL, &sum, &weight), "loss");
  qtk_session_free(lesson);
  qtk_session_free(s);
  return sum;
}

static void taught_all(void)
{
  const struct qtk_attached adapter = {.name = "taught", .ops = &taught};
  int32_t *targets = calloc(n_ids, sizeof *targets);
  float *weights = calloc(n_ids, sizeof *weights);
  struct qtk_batch batch = objective_batch(targets, weights);
  struct test_model m = test_open(ctx, folder, &adapter, 1), same = test_open(ctx, folder, NULL, 0);
  struct test_model other = test_open(ctx, test_data("nano/mistral"), NULL, 0);
  double sum = taught_run(&m, &same, &batch);

  tap_ok(fabs(sum) < 1e-6, "a teacher that is the model itself: KL %.2g", sum);
  sum = taught_run(&m, &other, &batch);
  double want = taught_by_hand(&other, &same, &batch);
  tap_ok(fabs(sum / want - 1.0) < 1e-5, "another model as the teacher: KL %.6f, by hand %.6f", sum,
         want);
  test_close(&other);
  test_close(&same);
  test_close(&m);
  free(targets);
  free(weights);
}

/* ---- the gradient of a mix ------------------------------------------------------------------------------ */

static uint64_t mix_tape(void)
{
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, "tape") == 0)
      return ctx->arena.categories[i].peak;
  return 0;
}

static double mix_loss(struct test_model *m, struct qtk_session *s, const struct qtk_batch *batch,
                       int back)
{
  int64_t length = (int64_t)n_ids;
  struct qtk_tensor hidden;
  double sum, weight;

  (void)m;
  test_must(qtk_session_forward(s, ids, &length, &hidden), "forward");
  if (back)
    test_must(qtk_session_backward(s, batch, &hidden, 0.5, &sum, &weight), "backward");
  else
    test_must(qtk_session_loss(s, batch, &hidden, NULL, &sum, &weight), "loss");
  return sum;
}

/* Half of the loss's slope along alpha; the base keeps nothing for it. */
static void mix_all(const char *name)
{
  const struct qtk_attached adapter = {.name = "stream", .ops = &stream};
  int32_t *targets = calloc(n_ids, sizeof *targets);
  float *weights = calloc(n_ids, sizeof *weights);
  struct qtk_batch batch = objective_batch(targets, weights);
  char path[64];
  struct qtk_session *s;

  snprintf(path, sizeof path, "nano/%s", name);
  struct test_model m = test_open(ctx, test_data(path), &adapter, 1);
  test_must(qtk_session_new(m.engine, 1, 0, &s), "session");
  qtk_session_train(s, 1, NULL);
  mix_loss(&m, s, &batch, 1);
  alpha = 0.26f;
  double slope = mix_loss(&m, s, &batch, 0);
  alpha = 0.24f;
  slope = (slope - mix_loss(&m, s, &batch, 0)) / 0.02;
  alpha = 0.25f;
  tap_ok(fabs(dalpha / (0.5 * slope) - 1.0) < 1e-3 && mix_tape() == 0,
         "%s: the gradient of a mix: %.5f, by differences %.5f; no tape", name, dalpha,
         0.5 * slope);
  qtk_session_free(s);
  test_close(&m);
  free(targets);
  free(weights);
}

int main(void)
{
  toy_begin();
  stream_all();
  mix_all("llama");
  mix_all("gptj");
  side_model("llama");
  side_model("gpt2");
  side_model("gptj");
  side_model("opt_postln");
  objective_all();
  taught_all();
  toy_end();
  return tap_end();
}
