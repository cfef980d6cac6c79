/* SPDX-License-Identifier: BSD-3-Clause
 * Tensors of the base that the engine trains itself: their gradients against differences
 * on every small model and against PyTorch's, AdamW on all of them, the same bits in every
 * way of running, and what is held meanwhile. */
#include <dirent.h>

#include "core/train.h"
#include "toy.h"

#define LENGTH 24
#define SEQUENCES 4
#define TOKENS (LENGTH * SEQUENCES)

/* ---- an adapter that claims -------------------------------------------------------------- */

/* Which tensors; NULL: all. */
static int (*claim_wanted)(const struct qtk_tensor_role *t);
static int claim_sites; /* linears are sites, through which all passes */

static enum qtk_claim claim_claim(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  if (claim_sites && t->linear)
    return QTK_CLAIM_SITE;
  return claim_wanted == NULL || claim_wanted(t) ? QTK_CLAIM_TRAIN : QTK_CLAIM_NONE;
}

static int claim_attach(struct qtk_context *c, const void *options,
                        const struct qtk_model_info *model, const struct qtk_site *sites, int n,
                        void **h)
{
  (void)c, (void)options, (void)model, (void)sites, (void)n;
  *h = NULL;
  return QTK_OK;
}

static int claim_forward(struct qtk_context *c, void *h, struct qtk_session *s,
                         const struct qtk_site *site, const struct qtk_inner *inner,
                         const struct qtk_tensor *x, struct qtk_tensor *y, struct qtk_keep *kept)
{
  (void)h, (void)s, (void)site, (void)kept;
  return qtk_linear_forward(c, inner, NULL, x, y);
}

static int claim_backward(struct qtk_context *c, void *h, struct qtk_session *s,
                          const struct qtk_site *site, const struct qtk_inner *inner,
                          const struct qtk_keep *kept, const struct qtk_tensor *dy,
                          struct qtk_tensor *dx)
{
  (void)h, (void)s, (void)site, (void)kept;
  return qtk_linear_backward(c, inner, NULL, dy, dx);
}

static const struct qtk_adapter_ops claim_ops = {.size = sizeof claim_ops,
                                                 .claim = claim_claim,
                                                 .attach = claim_attach,
                                                 .detach = toy_detach,
                                                 .forward = claim_forward,
                                                 .backward = claim_backward};
static const struct qtk_attached claim = {.name = "claim", .ops = &claim_ops};

/* ---- a batch ----------------------------------------------------------------------------- */

/* A model in training, and its first tokens in sequences. */
struct run {
  struct test_model m;
  struct qtk_session *s;
  int32_t *ids, targets[TOKENS];
  float weights[TOKENS];
  int64_t lengths[SEQUENCES], starts[SEQUENCES + 1];
  struct qtk_tensor hidden;
};

static void run_batch(struct run *r, const char *path)
{
  char file[4300];
  size_t n;

  snprintf(file, sizeof file, "%s/reference.json", path);
  json_t *reference = json_load_file(file, 0, NULL);
  r->ids = test_ids(reference, "token_ids", &n);
  json_decref(reference);
  for (int i = 0; i < TOKENS; i++) {
    int last = i % LENGTH == LENGTH - 1;
    r->targets[i] = last ? -1 : r->ids[i + 1];
    r->weights[i] = last ? 0.0f : 1.0f;
    r->lengths[i / LENGTH] = LENGTH;
    r->starts[i / LENGTH + 1] = (int64_t)(i / LENGTH + 1) * LENGTH;
  }
}

static void run_open(struct run *r, const char *path, int checkpoint)
{
  *r = (struct run){.m = test_open(ctx, path, &claim, 1)};
  run_batch(r, path);
  test_must(qtk_engine_train(r->m.engine), "gradients");
  test_must(qtk_session_new(r->m.engine, SEQUENCES, 0, &r->s), "session");
  qtk_session_train(r->s, 1, NULL);
  qtk_session_checkpoint(r->s, checkpoint);
}

static void run_close(struct run *r)
{
  qtk_session_free(r->s);
  test_close(&r->m);
  free(r->ids);
}

static struct qtk_batch run_examples(const struct run *r)
{
  return (struct qtk_batch){.tokens = TOKENS,
                            .ids = r->ids,
                            .targets = r->targets,
                            .weights = r->weights,
                            .sequences = SEQUENCES,
                            .starts = r->starts};
}

static double run_loss(struct run *r)
{
  struct qtk_batch batch = run_examples(r);
  double sum, weight;

  test_must(qtk_session_forward(r->s, r->ids, r->lengths, &r->hidden), "forward");
  test_must(qtk_session_loss(r->s, &batch, &r->hidden, NULL, &sum, &weight), "loss");
  return sum;
}

/* Gradients of the loss times `scale`. */
static double run_back(struct run *r, double scale)
{
  struct qtk_batch batch = run_examples(r);
  double sum, weight;

  test_must(qtk_session_forward(r->s, r->ids, r->lengths, &r->hidden), "forward");
  test_must(qtk_session_backward(r->s, &batch, &r->hidden, scale, &sum, &weight), "backward");
  return sum;
}

static int64_t run_count(const struct qtk_param *p)
{
  return p->shape[0] * (p->ndim == 2 ? p->shape[1] : 1);
}

/* ---- differences ------------------------------------------------------------------------- */

/* The loss with one parameter moved by `by` along its gradient's signs. */
static double slope_at(struct run *r, float *value, const float *start, const float *gradient,
                       int64_t n, double by)
{
  for (int64_t i = 0; i < n; i++)
    value[i] = start[i] + (float)(gradient[i] < 0.0f ? -by : by);
  return run_loss(r);
}

/* How far a parameter's gradient is from its differences, relative to its size; sizes below
 * 1 count as that. The steps move the loss by about `move`, but no value by more than
 * `most`. */
static double slope_by(struct run *r, float *value, const float *gradient, int64_t n,
                       double move, double most)
{
  float *start = malloc((size_t)n * sizeof *start);
  double said = 0.0, found, h;

  memcpy(start, value, (size_t)n * sizeof *start);
  for (int64_t i = 0; i < n; i++)
    said += fabs((double)gradient[i]);
  h = fmin(move / said, most);
  found = (8.0 * (slope_at(r, value, start, gradient, n, h) -
                  slope_at(r, value, start, gradient, n, -h)) -
           (slope_at(r, value, start, gradient, n, 2 * h) -
            slope_at(r, value, start, gradient, n, -2 * h))) /
          (12.0 * h);
  memcpy(value, start, (size_t)n * sizeof *start);
  free(start);
  return fabs(found - said) / fmax(said, 1.0);
}

/* Rounding spoils small steps, the corners of ReLUs large ones. */
static double slope_error(struct run *r, float *value, const float *gradient, int64_t n)
{
  double error = slope_by(r, value, gradient, n, 0.03, 2e-3);

  if (error > 1e-3)
    error = fmin(error, slope_by(r, value, gradient, n, 0.008, 2e-3));
  return error > 1e-3 ? fmin(error, slope_by(r, value, gradient, n, 0.1, 1e-2)) : error;
}

/* One tensor of each role, in blocks that differ from role to role. */
static int slope_picks(const struct qtk_model *model, const struct qtk_param *p, int layers)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, qtk_model_find(model, p->name));
  int sum = 0;

  for (const char *c = t->role; *c != '\0'; c++)
    sum += *c;
  return t->layer < 0 || t->layer == sum % layers;
}

static void slope_model(const char *path, const char *name)
{
  struct qtk_tensor value, gradient;
  struct qtk_param param, worst = {.name = "-"};
  double error, most = 0.0;
  struct run r;
  int n = 0;

  run_open(&r, path, 0);
  double loss = run_loss(&r), back = run_back(&r, 1.0);
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &param, &value); i++) {
    if (!slope_picks(r.m.model, &param, (int)qtk_model_info(r.m.model)->layers))
      continue;
    qtk_engine_gradient(r.m.engine, 0, i, &gradient);
    error = slope_error(&r, value.data, gradient.data, run_count(&param));
    n++;
    if (error > most) {
      most = error;
      worst = param;
    }
  }
  tap_ok(loss == back && n > 0 && most < 3e-3,
         "%s%s: gradients of %d tensors differ by %.2g from differences (%s)", name,
         claim_sites ? ", linears as sites" : "", n, most, worst.name);
  run_close(&r);
}

static void slope_folder(const char *which)
{
  char path[4300], *in = strdup(test_data(which));
  struct dirent **names;
  int n = scandir(in, &names, NULL, alphasort);

  for (int i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s/%s/reference_logits.f32", in, names[i]->d_name);
    if (access(path, R_OK) == 0) {
      *strrchr(path, '/') = '\0';
      slope_model(path, names[i]->d_name);
    }
    free(names[i]);
  }
  free(names);
  free(in);
}

/* A description that scales what it looks up, which none of the families does. */
static void slope_scaled(void)
{
  char place[] = "/tmp/qtk-base-XXXXXX", command[8500], path[8500];
  char *before = strdup(getenv("QTK_ARCH_PATH"));

  if (mkdtemp(place) == NULL)
    exit(1);
  snprintf(command, sizeof command,
           "{ cat '%s/arch/llama.toml' && printf '[embedding]\\nscale = 3.0\\n'; } >%s/llama.toml",
           getenv("QTK_SRCDIR"), place);
  if (system(command) != 0)
    exit(1);
  snprintf(path, sizeof path, "%s:%s", place, before);
  setenv("QTK_ARCH_PATH", path, 1);
  slope_model(folder, "a scaled embedding");
  setenv("QTK_ARCH_PATH", before, 1);
  free(before);
  snprintf(command, sizeof command, "rm -r %s", place);
  if (system(command) != 0)
    exit(1);
}

/* ---- PyTorch ----------------------------------------------------------------------------- */

/* The same as in data/gradients/make-gradients.py. */
static double torch_sign(uint64_t i, uint64_t which)
{
  i = (i * 2 + which) * 2654435761u & 0xffffffffu;
  i = (i ^ (i >> 16)) * 0x45d9f3bu & 0xffffffffu;
  return (i ^ (i >> 16)) & 1 ? 1.0 : -1.0;
}

static double torch_number(const json_t *list, size_t i)
{
  return json_number_value(json_array_get(list, i));
}

/* How far a gradient is from what is recorded, relative to its length. */
static double torch_error(const json_t *said, const float *gradient, int64_t n, double least)
{
  const json_t *products = json_object_get(said, "products"), *values, *value;
  double length = json_number_value(json_object_get(said, "norm")), sums[3] = {0}, worst;
  size_t k;

  for (int64_t i = 0; i < n; i++) {
    sums[0] += torch_sign((uint64_t)i, 0) * (double)gradient[i];
    sums[1] += torch_sign((uint64_t)i, 1) * (double)gradient[i];
    sums[2] += (double)gradient[i] * (double)gradient[i];
  }
  worst = fabs(sqrt(sums[2]) - length);
  for (k = 0; k < 2; k++)
    worst = fmax(worst, fabs(sums[k] - torch_number(products, k)));
  values = json_object_get(said, "values");
  json_array_foreach(values, k, value)
    worst = fmax(worst, fabs((double)gradient[(size_t)torch_number(value, 0)] -
                             torch_number(value, 1)));
  return worst / fmax(length, least);
}

static void torch_gradients(const char *name, const char *path, const json_t *said)
{
  const json_t *tensors = json_object_get(said, "gradients");
  double norm = torch_number(json_object_get(said, "norms"), 0), most = 0.0;
  struct qtk_tensor value, gradient;
  struct qtk_param param;
  struct run r;
  size_t n = 0;

  run_open(&r, path, 0);
  run_back(&r, 1.0 / (TOKENS - SEQUENCES));
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &param, &value); i++) {
    const json_t *tensor = json_object_get(tensors, param.name);
    qtk_engine_gradient(r.m.engine, 0, i, &gradient);
    n += tensor != NULL;
    if (tensor != NULL)
      most = fmax(most, torch_error(tensor, gradient.data, run_count(&param), 1e-3 * norm));
  }
  tap_ok(n == json_object_size(tensors) && most < 1e-5,
         "%s: gradients of %zu tensors differ by %.2g from PyTorch's", name, n, most);
  run_close(&r);
}

/* Four sequences a step, one after the other. */
static void torch_steps(const char *name, const char *path, const json_t *said)
{
  const struct qtk_train_rule rule = {.optimizer = {2e-3, 0.9, 0.99, 1e-8, 0.1, 1.0},
                                      .schedule = {QTK_SCHEDULE_CONSTANT, 10, 0},
                                      .batch = SEQUENCES};
  const json_t *losses = json_object_get(said, "losses"), *norms = json_object_get(said, "norms");
  struct run r = {.m = test_open(ctx, path, &claim, 1)};
  struct qtk_train_step step;
  struct qtk_train *train;
  double most = 0.0;

  run_batch(&r, path);
  const struct qtk_examples examples = {.n = SEQUENCES,
                                        .starts = r.starts,
                                        .ids = r.ids,
                                        .targets = r.targets,
                                        .weights = r.weights};
  test_must(qtk_train_new(ctx, r.m.engine, 0, &rule, &examples, &train), "training");
  for (size_t i = 0; i < 4; i++) {
    test_must(qtk_train_next(train, &step), "step");
    most = fmax(most, fabs(step.loss - torch_number(losses, i)));
    most = fmax(most, fabs(step.norm / torch_number(norms, i) - 1.0));
  }
  tap_ok(most < 1e-4 && step.loss < 0.95 * torch_number(losses, 0),
         "%s: losses and norms of 4 steps differ by %.2g from PyTorch's", name, most);
  qtk_train_free(train);
  run_close(&r);
}

static void torch_all(void)
{
  json_t *reference = json_load_file(test_data("gradients/reference.json"), 0, NULL);
  const char *name;
  json_t *said;
  char path[64];

  json_object_foreach(reference, name, said) {
    snprintf(path, sizeof path, "nano/%s", name);
    torch_gradients(name, test_data(path), said);
    torch_steps(name, test_data(path), said);
  }
  json_decref(reference);
}

/* ---- the same bits ----------------------------------------------------------------------- */

/* All gradients, one behind the other. */
static float *bits_run(const char *path, int threads, int checkpoint, size_t *n)
{
  struct qtk_context *kept = ctx;
  struct qtk_tensor value, gradient;
  struct qtk_param param;
  float *all = NULL;
  struct run r;

  ctx = test_context(threads, 0);
  run_open(&r, path, checkpoint);
  run_back(&r, 0.25);
  *n = 0;
  for (int i = 0; qtk_engine_param(r.m.engine, 0, i, &param, &value); i++) {
    size_t more = (size_t)run_count(&param);
    qtk_engine_gradient(r.m.engine, 0, i, &gradient);
    all = realloc(all, (*n + more) * sizeof *all);
    memcpy(all + *n, gradient.data, more * sizeof *all);
    *n += more;
  }
  run_close(&r);
  test_context_close(ctx);
  ctx = kept;
  return all;
}

static void bits_model(const char *name)
{
  size_t n, m;
  char path[64];

  snprintf(path, sizeof path, "nano/%s", name);
  float *want = bits_run(test_data(path), 2, 0, &n);
  for (int threads = 1; threads <= 3; threads++) {
    float *got = bits_run(test_data(path), threads, 1, &m);
    tap_ok(n == m && memcmp(want, got, n * sizeof *want) == 0,
           "%s: %d threads and checkpoints: the same bits", name, threads);
    free(got);
  }
  free(want);
}

/* ---- what is held ------------------------------------------------------------------------ */

static uint64_t held_bytes(const char *what)
{
  for (int i = 0; i < ctx->arena.n_categories; i++)
    if (strcmp(ctx->arena.categories[i].what, what) == 0)
      return ctx->arena.categories[i].used;
  return 0;
}

static int held_head(const struct qtk_tensor_role *t)
{
  return strcmp(t->role, "head") == 0;
}

static int held_second(const struct qtk_tensor_role *t)
{
  return t->layer == 1;
}

/* The tape of a run that trains what `wanted` says. */
static uint64_t held_tape(int (*wanted)(const struct qtk_tensor_role *t))
{
  struct run r;
  uint64_t bytes;

  claim_wanted = wanted;
  run_open(&r, folder, 0);
  run_back(&r, 1.0);
  bytes = held_bytes("tape");
  run_close(&r);
  claim_wanted = NULL;
  return bytes;
}

/* Everything is a parameter, from the values that the model reads, and no weight lies
 * anywhere else. */
static void held_model(const char *what, void (*change)(struct qtk_model *model))
{
  struct run r = {.m = {.ctx = ctx}};
  struct qtk_tensor value;
  struct qtk_param param;
  int same = 1, i;

  test_must(qtk_model_open(ctx, folder, &r.m.model), folder);
  if (change != NULL)
    change(r.m.model);
  test_must(qtk_engine_open(ctx, r.m.model, &claim, 1, &r.m.engine), "engine");
  for (i = 0; qtk_engine_param(r.m.engine, 0, i, &param, &value); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(r.m.model, i);
    float *rows = malloc((size_t)(t->rows * t->cols) * sizeof *rows);
    test_must(qtk_model_read(r.m.model, i, 0, t->rows, rows, t->cols), t->name);
    same = same && strcmp(t->name, param.name) == 0 && param.ndim == t->ndim &&
           param.decay == (t->ndim == 2) && param.disk_dtype == QTK_F32 &&
           memcmp(rows, value.data, (size_t)(t->rows * t->cols) * sizeof *rows) == 0;
    free(rows);
  }
  tap_ok(same && i == qtk_model_count(r.m.model), "%s: %d tensors, all of the model, as they were",
         what, i);
  tap_ok(held_bytes("weights") == 0 && held_bytes("parameters") > 0, "%s: held nowhere else", what);
  test_close(&r.m);
}

/* Floats in place of integers give the logits that the integers give. */
static void held_integers(void)
{
  float *floats = logits_of(&claim, 1, toy_quantize), *integers = logits_of(NULL, 0, toy_quantize);

  tap_ok(distance(floats, integers, logits_count()) < 1e-5,
         "logits of a quantized model with its tensors trained differ by %.2g",
         distance(floats, integers, logits_count()));
  free(floats);
  free(integers);
}

static void held_all(void)
{
  held_model("floats", NULL);
  held_model("4 bits", toy_quantize);
  held_integers();
  uint64_t all = held_tape(NULL), half = held_tape(held_second), none = held_tape(held_head);
  tap_ok(none == 0 && 0 < half && half < all,
         "only what lies above the lowest tensor keeps a tape: %llu of %llu bytes",
         (unsigned long long)half, (unsigned long long)all);
}

/* ---- what is refused --------------------------------------------------------------------- */

static int refuse_mix(struct qtk_context *c, void *h, struct qtk_session *s,
                      struct qtk_tensor *hidden)
{
  (void)c, (void)h, (void)s, (void)hidden;
  return QTK_OK;
}

static enum qtk_claim refuse_none(const void *options, const struct qtk_tensor_role *t)
{
  (void)options, (void)t;
  return QTK_CLAIM_NONE;
}

static enum qtk_claim refuse_sites(const void *options, const struct qtk_tensor_role *t)
{
  (void)options;
  return t->linear ? QTK_CLAIM_SITE : QTK_CLAIM_NONE;
}

static void refuse_beside(const char *what, enum qtk_claim (*second)(const void *options,
                                                  const struct qtk_tensor_role *t),
                          int mixes)
{
  struct qtk_adapter_ops ops = claim_ops;
  const struct qtk_attached both[] = {claim, {.name = "second", .ops = &ops}};
  struct qtk_model *model;
  struct qtk_engine *engine;

  ops.claim = second;
  ops.mix = mixes ? refuse_mix : NULL;
  test_must(qtk_model_open(ctx, folder, &model), folder);
  int rc = qtk_engine_open(ctx, model, both, 2, &engine);
  if (rc == QTK_OK)
    rc = qtk_engine_train(engine);
  tap_ok(rc == QTK_EJOB && strstr(qtk_error_message(), "second") != NULL, "%s: %s", what,
         qtk_error_message());
  qtk_engine_close(engine);
  qtk_model_close(model);
}

int main(void)
{
  toy_begin();
  slope_folder("nano");
  slope_folder("families");
  slope_scaled();
  claim_sites = 1;
  slope_folder("nano");
  claim_sites = 0;
  torch_all();
  bits_model("llama");
  bits_model("gpt2");
  bits_model("opt_postln");
  held_all();
  refuse_beside("trained twice", claim_claim, 0);
  refuse_beside("trained under a site", refuse_sites, 0);
  refuse_beside("trained under what mixes", refuse_none, 1);
  toy_end();
  return tap_end();
}
