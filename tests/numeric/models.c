/* SPDX-License-Identifier: BSD-3-Clause
 * One model in several files: a folder, GGUF with permuted rows in two types, a bundle.
 * Each gives the same rows however it is read, and the same logits. */
#include <math.h>
#include <unistd.h>

#include "../conform/gguf-make.h"
#include "core/arch.h"
#include "core/bundle.h"
#include "model.h"

#define LAYERS 2
#define HEADS 4
#define KV_HEADS 2
#define HEAD 16

static struct qtk_context *ctx;
static char folder[] = "/tmp/qtk-models-XXXXXX";

static const int32_t ids[] = {31, 199, 199, 39, 50, 37, 45, 41, 47, 26, 199, 39, 374, 262, 271, 82};
static const int32_t positions[] = {0, 7, 15};

static float *models_logits(struct qtk_model *model)
{
  struct test_model m = {.ctx = ctx, .model = model, .vocabulary = 384};
  float *logits;

  test_must(qtk_engine_open(ctx, model, NULL, 0, &m.engine), "engine");
  logits = test_logits(&m, ids, 16, positions, 3);
  qtk_engine_close(m.engine);
  return logits;
}

static double models_distance(const float *a, const float *b)
{
  double largest = 0.0, worst = 0.0;

  for (int i = 0; i < 3 * 384; i++) {
    largest = fmax(largest, fabs((double)b[i]));
    worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
  }
  return worst / largest;
}

/* ---- the rows of all tensors, read and held -------------------------------------------------- */

/* 1 if what is held says the same as what is read, whole and in pieces. */
static int models_rows_agree(struct qtk_model *model, int i)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  size_t n = (size_t)(t->rows * t->cols);
  float *whole = malloc(n * sizeof *whole), *parts = malloc(n * sizeof *parts);
  float *held = malloc(n * sizeof *held);
  struct qtk_qtensor view;
  int64_t step = 5;

  test_must(qtk_model_read(model, i, 0, t->rows, whole, t->cols), t->name);
  for (int64_t r = 0; r < t->rows; r += step)
    test_must(qtk_model_read(model, i, r, r + step > t->rows ? t->rows - r : step,
                             parts + r * t->cols, t->cols),
              t->name);
  test_must(qtk_model_hold(ctx, model, i, &view), t->name);
  test_must(qtk_dequantize_rows(&view, NULL, 0, t->rows, held, t->cols), t->name);
  qtk_model_release(ctx, model, i);
  int same = memcmp(whole, parts, n * sizeof *whole) == 0 &&
             memcmp(whole, held, n * sizeof *whole) == 0;
  free(whole);
  free(parts);
  free(held);
  return same;
}

static void models_rows(const char *name, struct qtk_model *model)
{
  int bad = -1;

  for (int i = 0; i < qtk_model_count(model); i++)
    if (!models_rows_agree(model, i))
      bad = i;
  tap_ok(bad < 0, "%s: %d tensors, the same held as read%s%s", name, qtk_model_count(model),
         bad < 0 ? "" : ", but for ", bad < 0 ? "" : qtk_model_tensor(model, bad)->name);
}

static void models_nano(void)
{
  static const char *const names[] = {"llama",   "mistral", "qwen2", "gpt2",
                                      "gpt_neo", "gptj",    "opt",   "opt_postln"};
  struct qtk_model *model;
  char path[64];

  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(path, sizeof path, "nano/%s", names[i]);
    test_must(qtk_model_open(ctx, test_data(path), &model), path);
    models_rows(names[i], model);
    qtk_model_close(model);
  }
}

/* ---- GGUF -------------------------------------------------------------------------------------- */

/* Row r of ours lies in row models_place of the file. */
static int64_t models_place(const char *role, int64_t r)
{
  int64_t j = r % HEAD;

  if (strcmp(role, "q") != 0 && strcmp(role, "k") != 0)
    return r;
  return r - j + (j < HEAD / 2 ? 2 * j : 2 * (j - HEAD / 2) + 1);
}

static void models_gguf_name(const struct qtk_model_tensor *t, char name[64])
{
  static const char *const names[][2] = {
      {"embedding", "token_embd"}, {"norm1", "attn_norm"}, {"q", "attn_q"},  {"k", "attn_k"},
      {"v", "attn_v"},             {"o", "attn_output"},   {"norm2", "ffn_norm"},
      {"gate", "ffn_gate"},        {"up", "ffn_up"},       {"down", "ffn_down"},
      {"final_norm", "output_norm"}, {"head", "output"}};
  char block[32] = "";

  if (t->layer >= 0)
    snprintf(block, sizeof block, "blk.%d.", t->layer);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i][0], t->role) == 0)
      snprintf(name, 64, "%s%s.weight", block, names[i][1]);
}

/* Blocks of 32: a half scale and bytes. */
static void models_q8(struct make *m, const float *row, int64_t cols)
{
  for (int64_t b = 0; b < cols; b += 32) {
    float largest = 0.0f;
    for (int j = 0; j < 32; j++)
      largest = fmaxf(largest, fabsf(row[b + j]));
    uint16_t scale = qtk_f32_to_f16(largest / 127.0f);
    float s = qtk_f16_to_f32(scale);
    make_bytes(m, &scale, 2);
    for (int j = 0; j < 32; j++) {
      int8_t q = (int8_t)fmaxf(-127.0f, fminf(127.0f, s > 0.0f ? rintf(row[b + j] / s) : 0.0f));
      make_bytes(m, &q, 1);
    }
  }
}

static int models_is_q8(const struct qtk_model_tensor *t, int q8)
{
  return q8 && t->ndim == 2 && t->cols % 32 == 0;
}

static uint64_t models_gguf_bytes(const struct qtk_model_tensor *t, int q8)
{
  uint64_t n = (uint64_t)(t->rows * t->cols);
  uint64_t bytes = models_is_q8(t, q8) ? n / 32 * 34 : n * 4;

  return (bytes + 31) / 32 * 32;
}

static void models_gguf_head(struct make *m, const struct qtk_model *model, int q8)
{
  uint64_t offset = 0;

  make_head(m, 3, (uint64_t)qtk_model_count(model), 9);
  make_key_string(m, "general.architecture", "llama");
  make_key_u32(m, "llama.block_count", LAYERS);
  make_key_u32(m, "llama.embedding_length", 64);
  make_key_u32(m, "llama.feed_forward_length", 176);
  make_key_u32(m, "llama.attention.head_count", HEADS);
  make_key_u32(m, "llama.attention.head_count_kv", KV_HEADS);
  make_key_u32(m, "llama.context_length", 512);
  make_key_f32(m, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
  make_key_f32(m, "llama.rope.freq_base", 10000.0f);
  for (int i = 0; i < qtk_model_count(model); i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
    uint64_t dims[3] = {(uint64_t)t->cols, (uint64_t)t->rows, 0};
    uint64_t vector[2] = {(uint64_t)t->rows, 0};
    char name[64];
    models_gguf_name(t, name);
    make_tensor(m, name, t->ndim == 1 ? vector : dims, models_is_q8(t, q8) ? 8 : 0, offset);
    offset += models_gguf_bytes(t, q8);
  }
  make_align(m, 32);
}

static void models_gguf_tensor(struct make *m, const struct qtk_model *model, int i, int q8)
{
  const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
  float *ours = malloc((size_t)(t->rows * t->cols) * sizeof *ours);
  float *file = malloc((size_t)(t->rows * t->cols) * sizeof *file);

  test_must(qtk_model_read(model, i, 0, t->rows, ours, t->cols), t->name);
  for (int64_t r = 0; r < t->rows; r++)
    memcpy(file + models_place(t->role, r) * t->cols, ours + r * t->cols,
           (size_t)t->cols * sizeof *file);
  for (int64_t r = 0; r < t->rows; r++)
    if (models_is_q8(t, q8))
      models_q8(m, file + r * t->cols, t->cols);
    else
      make_bytes(m, file + r * t->cols, (size_t)t->cols * sizeof *file);
  make_align(m, 32);
  free(ours);
  free(file);
}

static void models_gguf(const struct qtk_model *model, int q8, char path[64])
{
  struct make m = {0};

  models_gguf_head(&m, model, q8);
  for (int i = 0; i < qtk_model_count(model); i++)
    models_gguf_tensor(&m, model, i, q8);
  snprintf(path, 64, "%s/%s.gguf", folder, q8 ? "q8" : "f32");
  FILE *f = fopen(path, "wb");
  if (f == NULL || fwrite(m.data, 1, m.n, f) != m.n || fclose(f) != 0)
    exit(1);
  make_free(&m);
}

/* ---- a bundle -------------------------------------------------------------------------------------- */

static int models_bundle_hold(void *arg, int i, struct qtk_qtensor *view)
{
  return qtk_model_hold(ctx, arg, i, view);
}

static void models_bundle_release(void *arg, int i)
{
  qtk_model_release(ctx, arg, i);
}

/* The model's tensors as it holds them, its description and its parameters. */
static void models_bundle(struct qtk_model *model, char path[64], char digest[65])
{
  int n = qtk_model_count(model);
  struct qtk_stored *tensors = calloc((size_t)n, sizeof *tensors);
  const struct qtk_arch *arch = qtk_model_arch(model);
  struct qtk_bundle_result result;
  char *config;

  test_must(qtk_arch_config(arch, QTK_ARCH_SCHEMA, &config), "config");
  for (int i = 0; i < n; i++) {
    const struct qtk_model_tensor *t = qtk_model_tensor(model, i);
    tensors[i] = (struct qtk_stored){.name = t->name, .ndim = t->ndim, .shape = {t->rows, t->cols}};
    tensors[i].view.layout = t->layout;
  }
  const struct qtk_bundle_text texts[] = {
      {"arch.toml", qtk_arch_text(arch), strlen(qtk_arch_text(arch))},
      {"config.json", config, strlen(config)}};
  const struct qtk_bundle_contents contents = {.kind = "model",
                                               .tensors = tensors,
                                               .n_tensors = n,
                                               .texts = texts,
                                               .n_texts = 2,
                                               .hold = models_bundle_hold,
                                               .release = models_bundle_release,
                                               .arg = model};
  snprintf(path, 64, "%s/model.qtk", folder);
  test_must(qtk_bundle_write(ctx, path, &contents, &result), "bundle");
  snprintf(digest, 65, "%s", result.model_digest);
  free(config);
  free(tensors);
}

/* ---- all of them ------------------------------------------------------------------------------------- */

static struct qtk_model *models_open(const char *name, const char *path)
{
  struct qtk_model *model;

  test_must(qtk_model_open(ctx, path, &model), path);
  models_rows(name, model);
  return model;
}

/* The bundle reads where no description can be found but its own. */
static void models_from_bundle(struct qtk_model *model, const float *want)
{
  char path[64], written[65], read[65], before[65], *arch = strdup(getenv("QTK_ARCH_PATH"));

  models_bundle(model, path, written);
  setenv("QTK_ARCH_PATH", "/nowhere", 1);
  struct qtk_model *bundle = models_open("bundle", path);
  setenv("QTK_ARCH_PATH", arch, 1);
  float *logits = models_logits(bundle);
  tap_ok(memcmp(logits, want, 3 * 384 * sizeof *want) == 0, "bundle: the same bits");
  test_must(qtk_model_digest(ctx, bundle, read), "digest");
  test_must(qtk_model_digest(ctx, model, before), "digest");
  tap_ok(strcmp(written, read) == 0 && strcmp(read, before) == 0,
         "bundle: the digest written is the one read, and the model's it was made from");
  qtk_model_close(bundle);
  free(logits);
  free(arch);
}

static void models_all(void)
{
  struct qtk_model *hf = models_open("folder", test_data("nano/llama")), *f32, *q8;
  char path[64], one[65], two[65];
  float *want = models_logits(hf), *found;

  models_gguf(hf, 0, path);
  f32 = models_open("GGUF in floats", path);
  found = models_logits(f32);
  tap_ok(models_distance(found, want) < 1e-6, "GGUF in floats: differs by %.2g",
         models_distance(found, want));
  free(found);
  models_gguf(hf, 1, path);
  q8 = models_open("GGUF in 8 bits", path);
  found = models_logits(q8);
  tap_ok(models_distance(found, want) < 2e-2 && models_distance(found, want) > 1e-5,
         "GGUF in 8 bits: differs by %.2g", models_distance(found, want));
  models_from_bundle(q8, found);
  test_must(qtk_model_digest(ctx, f32, one), "digest");
  test_must(qtk_model_digest(ctx, q8, two), "digest");
  tap_ok(strcmp(one, two) != 0, "other values, another digest");
  free(found);
  free(want);
  qtk_model_close(f32);
  qtk_model_close(q8);
  qtk_model_close(hf);
}

int main(void)
{
  char command[64];

  ctx = test_context(2, 0);
  if (mkdtemp(folder) == NULL)
    exit(1);
  models_nano();
  models_all();
  snprintf(command, sizeof command, "rm -r %s", folder);
  if (system(command) != 0)
    exit(1);
  test_context_close(ctx);
  return tap_end();
}
