/* SPDX-License-Identifier: BSD-3-Clause
 * What the format "safetensors" writes, it reads again; and what goes wrong on the
 * way leaves nothing behind. */
#include "../tap.h"
#include "safetensors-make.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#define TENSORS 3

static const struct qtk_plugin *plugin;
static const struct qtk_format_ops *ops;
static char scratch[4096], folder[4200];
static float *values[TENSORS];

static const struct qtk_export_tensor tensors[TENSORS] = {
    {.name = "model.embed.weight", .ndim = 2, .shape = {500, 400}},
    {.name = "model.norm.weight", .ndim = 1, .shape = {400}},
    {.name = "lm_head.weight", .ndim = 3, .shape = {2, 250, 401}},
};
static const struct qtk_export model = {
    .family = "test",
    .config = "{\"model_type\": \"test\", \"torch_dtype\": \"float64\", \"eps\": 1e-05}",
    .tokenizer = "{\"version\": \"1.0\"}",
    .n_tensors = TENSORS,
    .tensors = tensors,
};

static int64_t rows_of(int i, int64_t *cols)
{
  int64_t rows = 1;
  for (int k = 0; k < tensors[i].ndim - 1; k++)
    rows *= tensors[i].shape[k];
  *cols = tensors[i].shape[tensors[i].ndim - 1];
  return rows;
}

/* Multiples of 1/128 up to 1, which every type holds. */
static void fill_values(void)
{
  uint32_t state = 1;
  for (int i = 0; i < TENSORS; i++) {
    int64_t cols, rows = rows_of(i, &cols);
    values[i] = malloc((size_t)(rows * cols) * sizeof(float));
    for (int64_t k = 0; k < rows * cols; k++) {
      state = state * 1664525 + 1013904223;
      values[i][k] = (float)((int)(state >> 24) - 128) / 128;
    }
  }
}

/* ---- options, files ---------------------------------------------------------------- */

/* The plugin's options with their defaults, but for the two. */
static void *options(const char *dtype, int64_t shard)
{
  char *block = calloc(1, plugin->options_size);
  for (const struct qtk_option *o = plugin->options; o->name; o++) {
    int is_dtype = strcmp(o->name, "dtype") == 0;
    if (o->type == QTK_OPTION_TEXT)
      *(const char **)(block + o->offset) = is_dtype && dtype ? dtype : o->text;
    else if (o->type == QTK_OPTION_INT)
      *(int64_t *)(block + o->offset) = strcmp(o->name, "shard") == 0 ? shard : (int64_t)o->number;
  }
  return block;
}

/* Names in a folder, sorted, one after the other; "-" if there is none. */
static const char *listing(const char *path)
{
  static char text[1024];
  struct dirent **names;
  int n = scandir(path, &names, NULL, alphasort);
  strcpy(text, n < 0 ? "-" : "");
  for (int i = 0; i < n; i++) {
    if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
      strcat(strcat(text, names[i]->d_name), " ");
    free(names[i]);
  }
  if (n >= 0)
    free(names);
  return text;
}

static void same_listing(const char *want, const char *what)
{
  const char *got = listing(folder);
  if (!tap_ok(strcmp(got, want) == 0, "%s", what))
    tap_note("got: %s", got);
}

/* ---- writing -------------------------------------------------------------------------- */

static int write_tensor(void *w, int i, int64_t piece)
{
  int64_t cols, rows = rows_of(i, &cols);
  int rc = QTK_OK;
  for (int64_t row = 0; row < rows && rc == QTK_OK; row += piece) {
    int64_t n = rows - row < piece ? rows - row : piece;
    rc = ops->write(w, i, row, n, values[i] + row * cols, NULL);
  }
  return rc;
}

static int write_model(const char *dtype, int64_t shard, struct qtk_export_result *result)
{
  void *w = NULL, *o = options(dtype, shard);
  int rc = ops->create(NULL, o, folder, &model, &w);
  for (int i = 0; i < TENSORS && rc == QTK_OK; i++)
    rc = write_tensor(w, i, 37);
  if (rc == QTK_OK)
    rc = ops->finish(w, result);
  else if (w)
    ops->abort(w);
  free(o);
  return rc;
}

static int same_model(const char *type)
{
  void *h;
  struct qtk_tensor_info info;
  int same = ops->open(NULL, folder, &h) == QTK_OK;
  for (int i = 0; i < TENSORS && same; i++) {
    int64_t cols, rows = rows_of(i, &cols);
    float *out = malloc((size_t)(rows * cols) * sizeof *out);
    int k = 0; /* files are read in the order of their names, as they were cut */
    while (ops->tensor(h, k, &info) && strcmp(info.name, tensors[i].name) != 0)
      k++;
    same = ops->tensor(h, k, &info) && strcmp(info.type, type) == 0 &&
           info.ndim == tensors[i].ndim && ops->read(h, k, 0, rows, out, cols) == QTK_OK &&
           memcmp(out, values[i], (size_t)(rows * cols) * sizeof *out) == 0;
    free(out);
  }
  if (same)
    ops->close(h);
  return same;
}

static void check_types(void)
{
  static const char *const names[][3] = {
      {"f32", "F32", "\"torch_dtype\": \"float32\""},
      {"bf16", "BF16", "\"torch_dtype\": \"bfloat16\""},
      {NULL, "F16", "\"torch_dtype\": \"float16\""},
  };
  for (int i = 0; i < 3; i++) {
    struct qtk_export_result result = {0};
    void *h;
    int rc = write_model(names[i][0], 0, &result);
    tap_ok(rc == QTK_OK && same_model(names[i][1]), "%s: written and read again %s", names[i][1],
           rc ? qtk_error_message() : "");
    same_listing("config.json model.safetensors tokenizer.json ", "three files");
    tap_ok(rc == QTK_OK && result.n_files == 3 && result.bytes > 0, "and so says the result");
    tap_ok(ops->open(NULL, folder, &h) == QTK_OK && strstr(ops->config(h), names[i][2]) &&
               strstr(ops->config(h), "\"model_type\": \"test\"") &&
               strcmp(ops->tokenizer(h), model.tokenizer) == 0,
           "the configuration names the type; the tokenizer is as it was");
    ops->close(h);
    free(result.files);
  }
}

/* 800000, 1600 and 802000 bytes: the first two fit into a MB together. */
static void check_shards(void)
{
  struct qtk_export_result result = {0};
  int rc = write_model("f32", 1, &result);
  tap_ok(rc == QTK_OK && result.n_files == 5 && same_model("F32"), "in shards of 1 MB %s",
         rc ? qtk_error_message() : "");
  same_listing("config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
               "model.safetensors.index.json tokenizer.json ",
               "the file of the export before is gone");
  free(result.files);
  result = (struct qtk_export_result){0};
  rc = write_model("f32", 2, &result);
  tap_ok(rc == QTK_OK && same_model("F32"), "in one file again");
  same_listing("config.json model.safetensors tokenizer.json ", "the shards before are gone");
  free(result.files);
}

/* ---- what goes wrong -------------------------------------------------------------------- */

static void remove_folder(void)
{
  format_scratch_remove(folder);
}

static void check_abort(void)
{
  void *w = NULL, *o = options("f32", 1);
  struct qtk_export_result result;
  remove_folder();
  int rc = ops->create(NULL, o, folder, &model, &w);
  tap_ok(rc == QTK_OK && write_tensor(w, 0, 500) == QTK_OK, "half an export");
  tap_ok(ops->write(w, 0, 0, 1, values[0], NULL) == QTK_EUSAGE &&
             ops->write(w, 2, 0, 1, values[2], NULL) == QTK_EUSAGE &&
             ops->write(w, 1, 0, 2, values[1], NULL) == QTK_EUSAGE &&
             ops->write(w, 3, 0, 1, values[1], NULL) == QTK_EUSAGE,
         "tensors and rows come in order");
  ops->abort(w);
  same_listing("-", "abort leaves nothing");
  rc = ops->create(NULL, o, folder, &model, &w);
  tap_ok(rc == QTK_OK && ops->finish(w, &result) == QTK_EUSAGE &&
             strstr(qtk_error_message(), "only 0 of its rows were written"),
         "finish before the end is an error");
  same_listing("-", "and leaves nothing");
  mkdir(folder, 0777);
  make_text(folder, "mine", "x");
  rc = ops->create(NULL, o, folder, &model, &w);
  ops->abort(w);
  same_listing("mine ", "a folder that was there stays");
  free(o);
}

static void check_values(void)
{
  static const float bad[] = {70000, NAN, -INFINITY, 65520};
  void *w = NULL, *o = options("f16", 0);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    float keep = values[0][7];
    values[0][7] = bad[i];
    int rc = ops->create(NULL, o, folder, &model, &w);
    rc = rc ? rc : write_tensor(w, 0, 500);
    tap_ok(rc == QTK_ENUMERIC && strstr(qtk_error_message(), "model.embed.weight"),
           "%g is not written as f16", (double)bad[i]);
    ops->abort(w);
    values[0][7] = keep;
  }
  free(o);
  same_listing("mine ", "nothing is left");
}

static void check_names(void)
{
  struct qtk_export_tensor twice[2] = {tensors[1], tensors[1]};
  struct qtk_export wrong = model;
  void *w = NULL, *o = options("f16", 0);
  wrong.tensors = twice;
  wrong.n_tensors = 2;
  tap_ok(ops->create(NULL, o, folder, &wrong, &w) == QTK_EINPUT && !w &&
             strstr(qtk_error_message(), "the same name"),
         "two tensors of one name");
  wrong = model;
  wrong.config = "{";
  tap_ok(ops->create(NULL, o, folder, &wrong, &w) == QTK_EINPUT && !w,
         "a configuration that is no JSON");
  same_listing("mine ", "nothing is left");
  tap_ok(ops->create(NULL, o, "/nonexistent/folder", &model, &w) == QTK_EINPUT && !w &&
             strstr(qtk_error_message(), "/nonexistent/folder: the folder cannot be made"),
         "a folder that cannot be made");
  free(o);
}

/* A limit on the size of files stands for a full disk. */
static void check_full(rlim_t limit, int64_t shard)
{
  struct rlimit old, low;
  struct qtk_export_result result = {0};
  remove_folder();
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &old);
  low = (struct rlimit){limit, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &low);
  int rc = write_model("f32", shard, &result);
  setrlimit(RLIMIT_FSIZE, &old);
  tap_ok(rc == QTK_EINPUT && strstr(qtk_error_message(), "cannot be written"),
         "no room past %d bytes: an error", (int)limit);
  same_listing("-", "and nothing is left");
}

static void check_accepts(void)
{
  struct qtk_export_tensor t = {.layout = {.encoding = QTK_DENSE, .dtype = QTK_F16}};
  void *f16 = options(NULL, 0), *bf16 = options("bf16", 0), *f32 = options("f32", 0);
  tap_ok(ops->accepts(f16, &t) == QTK_EXPORT_HELD && ops->accepts(f32, &t) == QTK_EXPORT_HELD &&
             ops->accepts(bf16, &t) == QTK_EXPORT_ROUNDED,
         "f16 lies in f16 and f32, not in bf16");
  t.layout.encoding = QTK_AFFINE;
  tap_ok(ops->accepts(f32, &t) == QTK_EXPORT_ROWS && ops->accepts(f16, &t) == QTK_EXPORT_ROUNDED,
         "codes become floats");
  free(f16);
  free(bf16);
  free(f32);
}

int main(void)
{
  plugin = format_plugin("safetensors");
  ops = plugin->format;
  format_scratch(scratch, "safetensors-write");
  snprintf(folder, sizeof folder, "%s/out", scratch);
  fill_values();
  check_types();
  check_shards();
  check_abort();
  check_values();
  check_names();
  check_full(20, 0);
  check_full(1000, 0);
  check_full(801000, 1);
  check_accepts();
  for (int i = 0; i < TENSORS; i++)
    free(values[i]);
  format_scratch_remove(scratch);
  return tap_end();
}
