/* SPDX-License-Identifier: BSD-3-Clause
 * The backward pass of blocks against finite differences: a small block of every shape
 * that descriptions can say, over two sequences of different length. */
#include <math.h>
#include <qtk/ops.h>
#include <sys/stat.h>

#include "model.h"

#define HIDDEN 16
#define PARAMS 32

/* What one check works on, inside a pass of another model. */
struct gradient {
  struct qtk_block *block;
  struct qtk_tensor values[PARAMS], gradients[PARAMS];
  int64_t counts[PARAMS];
  char names[PARAMS][192];
  int n;
  struct qtk_tensor x, dx, y, r;
  double step; /* of the differences */
};

static const struct qtk_model_info *gradient_model;
static int gradient_layer;
static struct qtk_dims gradient_dims;
static double gradient_step, gradient_worst;
static char gradient_where[192];

static float noise(uint64_t i)
{
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  i ^= i >> 27;
  return (float)(i >> 40) / (float)(1 << 23) - 1.0f;
}

static struct qtk_tensor gradient_matrix(int64_t rows, int64_t cols, float scale, uint64_t seed)
{
  float *data = calloc((size_t)(rows * cols), sizeof *data);

  for (int64_t i = 0; i < rows * cols; i++)
    data[i] = scale * noise(seed * 1000003 + (uint64_t)i);
  return qtk_matrix(QTK_F32, data, rows, cols);
}

/* Parameters near what a fresh block has: norms about 1, weights by their fan-in. */
static void gradient_bind(struct gradient *g)
{
  struct qtk_param p;
  int64_t fan_in;

  while (qtk_block_param(g->block, g->n, &p, &fan_in)) {
    int i = g->n++;
    int64_t cols = p.ndim == 2 ? p.shape[1] : 1;
    int norm = fan_in == 0 && strstr(p.name, "weight") != NULL;
    float scale = fan_in > 0 ? 1.5f / sqrtf((float)fan_in) : 0.3f;
    g->counts[i] = p.shape[0] * cols;
    g->values[i] = gradient_matrix(p.shape[0], cols, scale, (uint64_t)i + 1);
    g->gradients[i] = gradient_matrix(p.shape[0], cols, 0.0f, 0);
    for (int64_t k = 0; norm && k < g->counts[i]; k++)
      ((float *)g->values[i].data)[k] += 1.0f;
    snprintf(g->names[i], sizeof g->names[i], "%s", p.name);
    test_must(qtk_block_bind(g->block, i, &g->values[i], &g->gradients[i]), "bind");
  }
}

/* sum of r y after a forward pass */
static double gradient_loss(struct gradient *g, struct qtk_context *c, struct qtk_session *s)
{
  const float *y = g->y.data, *r = g->r.data;
  double sum = 0.0;

  test_must(qtk_block_forward(c, g->block, s, &g->x, &g->y), "forward");
  for (int64_t i = 0; i < g->y.shape[0] * HIDDEN; i++)
    sum += (double)y[i] * (double)r[i];
  return sum;
}

static double gradient_loss_at(struct gradient *g, struct qtk_context *c, struct qtk_session *s,
                               float *values, const float *start, const float *way, int64_t n,
                               double step)
{
  for (int64_t i = 0; i < n; i++)
    values[i] = start[i] + (float)step * way[i];
  return gradient_loss(g, c, s);
}

/* The derivative of the loss along a random way, by differences of fourth order, against
 * the gradient's; relative to what the gradient's length allows. */
static void gradient_compare(struct gradient *g, struct qtk_context *c, struct qtk_session *s,
                             const char *name, float *values, const float *gradient, int64_t n)
{
  float *start = malloc((size_t)n * sizeof *start), *way = malloc((size_t)n * sizeof *way);
  double said = 0.0, length = 0.0, h = g->step / sqrt((double)n), near, far;

  memcpy(start, values, (size_t)n * sizeof *start);
  for (int64_t i = 0; i < n; i++) {
    way[i] = noise(77 + (uint64_t)(n * 131 + i)) < 0.0f ? -1.0f : 1.0f;
    said += (double)gradient[i] * (double)way[i];
    length += (double)gradient[i] * (double)gradient[i];
  }
  near = gradient_loss_at(g, c, s, values, start, way, n, h) -
         gradient_loss_at(g, c, s, values, start, way, n, -h);
  far = gradient_loss_at(g, c, s, values, start, way, n, 2 * h) -
        gradient_loss_at(g, c, s, values, start, way, n, -2 * h);
  memcpy(values, start, (size_t)n * sizeof *start);
  double found = (8.0 * near - far) / (12.0 * h);
  double error = fabs(found - said) / (sqrt(length) + 0.2);
  if (error > gradient_worst) {
    gradient_worst = error;
    snprintf(gradient_where, sizeof gradient_where, "%s: %.6f, differences %.6f", name, said,
             found);
  }
  free(start);
  free(way);
}

static void gradient_check(struct qtk_context *c, struct qtk_session *s)
{
  struct gradient g = {.step = gradient_step};
  int64_t tokens = qtk_session_tokens(s);

  test_must(qtk_block_new(c, gradient_model, gradient_layer, &gradient_dims, &g.block), "block");
  gradient_bind(&g);
  g.x = gradient_matrix(tokens, HIDDEN, 1.0f, 501);
  g.r = gradient_matrix(tokens, HIDDEN, 1.0f, 502);
  g.y = gradient_matrix(tokens, HIDDEN, 0.0f, 0);
  g.dx = gradient_matrix(tokens, HIDDEN, 0.0f, 0);
  gradient_loss(&g, c, s);
  test_must(qtk_block_backward(c, g.block, s, &g.r, &g.dx), "backward");
  gradient_worst = 0.0;
  gradient_compare(&g, c, s, "x", g.x.data, g.dx.data, tokens * HIDDEN);
  for (int i = 0; i < g.n; i++)
    gradient_compare(&g, c, s, g.names[i], g.values[i].data, g.gradients[i].data, g.counts[i]);
  for (int i = 0; i < g.n; i++) {
    free(g.values[i].data);
    free(g.gradients[i].data);
  }
  free(g.x.data);
  free(g.r.data);
  free(g.y.data);
  free(g.dx.data);
  qtk_block_free(c, g.block);
}

/* ---- the pass that it runs in ------------------------------------------------------------- */

static enum qtk_claim pass_claim(const void *options, const struct qtk_tensor_role *tensor)
{
  (void)options, (void)tensor;
  return QTK_CLAIM_NONE;
}

static int pass_attach(struct qtk_context *c, const void *options,
                       const struct qtk_model_info *model, const struct qtk_site *sites,
                       int n_sites, void **h)
{
  (void)c, (void)options, (void)model, (void)sites, (void)n_sites;
  *h = NULL;
  return QTK_OK;
}

static void pass_detach(struct qtk_context *c, void *h)
{
  (void)c, (void)h;
}

static int pass_stream(struct qtk_context *c, void *h, struct qtk_session *s, int layer,
                       const struct qtk_tensor *hidden)
{
  (void)h, (void)hidden;
  if (layer == 0)
    gradient_check(c, s);
  return QTK_OK;
}

static const struct qtk_adapter_ops pass = {.size = sizeof pass,
                                            .claim = pass_claim,
                                            .attach = pass_attach,
                                            .detach = pass_detach,
                                            .stream = pass_stream};

/* Block `layer` of the model at `path`, in small. */
static void block_check(struct qtk_context *ctx, const char *name, const char *path, int layer,
                        double step, double bound)
{
  const struct qtk_attached adapter = {.name = "pass", .ops = &pass};
  struct test_model host = test_open(ctx, test_data("nano/llama"), &adapter, 1);
  const int64_t lengths[] = {70, 5};
  int32_t ids[75] = {0};
  struct qtk_model *model;
  struct qtk_session *s;
  struct qtk_tensor hidden;

  test_must(qtk_model_open(ctx, path, &model), path);
  gradient_model = qtk_model_info(model);
  gradient_layer = layer;
  gradient_dims = gradient_model->dims;
  gradient_dims.hidden = HIDDEN;
  gradient_dims.head_size = 4;
  gradient_dims.ffn = 24;
  gradient_step = step;
  test_must(qtk_session_new(host.engine, 2, 0, &s), "session");
  qtk_session_train(s, 1, NULL);
  test_must(qtk_session_forward(s, ids, lengths, &hidden), "pass");
  tap_ok(gradient_worst < bound, "%s: gradients differ by %.2g (%s)", name, gradient_worst,
         gradient_where);
  qtk_session_free(s);
  qtk_model_close(model);
  test_close(&host);
}

static void block_nano(struct qtk_context *ctx, const char *name, int layer, double step,
                       double bound)
{
  char path[64];

  snprintf(path, sizeof path, "nano/%s", name);
  block_check(ctx, name, test_data(path), layer, step, bound);
}

/* ---- shapes that none of the small models has ------------------------------------------------- */

static const char block_text[] = "family = 'shape'\n"
                                 "canonical = 'hf'\n"
                                 "[parameters]\n"
                                 "[model]\n"
                                 "layers = 1\nhidden = 64\nffn = 96\nheads = 4\nvocabulary = 10\n"
                                 "context = 64\n[head]\ntied = true\n%s"
                                 "[schema.hf]\n"
                                 "match = { model_type = ['shape'] }\n"
                                 "[schema.hf.tensors]\n"
                                 "embedding = 'e'\nnorm1 = 'n1{i}'\n'norm1.bias' = 'b1{i}'\n"
                                 "norm2 = 'n2{i}'\n'norm2.bias' = 'b2{i}'\n"
                                 "q = 'q{i}'\nk = 'k{i}'\nv = 'v{i}'\nqkv = 'qkv{i}'\no = 'o{i}'\n"
                                 "q_norm = 'qn{i}'\nk_norm = 'kn{i}'\n"
                                 "gate = 'g{i}'\nup = 'u{i}'\ngate_up = 'gu{i}'\ndown = 'd{i}'\n"
                                 "final_norm = 'f'\n'final_norm.bias' = 'fb'\n";

static void block_write(const char *folder, const char *name, const char *format,
                        const char *text)
{
  char path[4200];

  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *f = fopen(path, "wb");
  if (f == NULL || fprintf(f, format, text) < 0 || fclose(f) != 0)
    exit(1);
}

/* A model of configuration alone, with a description of its own. */
static void block_shape(struct qtk_context *ctx, const char *name, const char *structure)
{
  char folder[] = "/tmp/qtk-block-XXXXXX", path[64], command[128];
  char *before = strdup(getenv("QTK_ARCH_PATH") ? getenv("QTK_ARCH_PATH") : "");
  char both[8300];

  if (mkdtemp(folder) == NULL)
    exit(1);
  snprintf(path, sizeof path, "%s/model", folder);
  mkdir(path, 0700);
  block_write(folder, "shape.toml", block_text, structure);
  block_write(path, "config.json", "{\"model_type\": \"%s\"}", "shape");
  snprintf(both, sizeof both, "%s:%s", folder, before);
  setenv("QTK_ARCH_PATH", both, 1);
  block_check(ctx, name, path, 0, 1e-2, 2e-3);
  setenv("QTK_ARCH_PATH", before, 1);
  snprintf(command, sizeof command, "rm -r %s", folder);
  if (system(command) != 0)
    exit(1);
  free(before);
}

int main(void)
{
  struct qtk_context *ctx = test_context(2, 0);

  block_nano(ctx, "llama", 0, 1e-2, 2e-3);
  block_nano(ctx, "mistral", 1, 1e-2, 2e-3);
  block_nano(ctx, "qwen2", 0, 1e-2, 2e-3);
  block_nano(ctx, "gpt2", 1, 1e-2, 2e-3);
  block_nano(ctx, "gpt_neo", 0, 1e-2, 2e-3);
  block_nano(ctx, "gpt_neo", 1, 1e-2, 2e-3);
  block_nano(ctx, "gptj", 0, 1e-2, 2e-3);
  /* A step may cross the corner of a ReLU. */
  block_nano(ctx, "opt", 0, 2e-3, 2e-2);
  block_nano(ctx, "opt_postln", 1, 2e-3, 2e-2);
  block_shape(ctx, "norms of q and k",
              "[positions]\nkind = 'rotary'\n[attention]\nquery_norm = true\n[mlp]\ngated = true\n");
  block_shape(ctx, "parallel branches with a norm each",
              "[norm]\nkind = 'layer'\n[block]\nresidual = 'parallel'\n"
              "[attention]\nfused = true\n[mlp]\nactivation = 'gelu'\n");
  block_shape(ctx, "norms behind the branches",
              "[norm]\nkind = 'layer'\n[block]\nnorm = 'after'\n[mlp]\nactivation = 'gelu'\n");
  block_shape(ctx, "fused gate and up, capped scores",
              "[attention]\nsoftcap = 3.0\n[mlp]\ngated = true\nfused = true\n"
              "activation = 'gelu_tanh'\n");
  test_context_close(ctx);
  return tap_end();
}
