/* SPDX-License-Identifier: BSD-3-Clause
 * What the format "safetensors" reads: models against sums that numpy computed
 * and against a reader of a few lines; every type against written-out values. */
#include "../conform/format.h"
#include "../tap.h"

#include <math.h>

static const struct qtk_format_ops *ops;

/* Sum and sum of magnitudes of all values, by numpy in float64. */
static const struct {
  const char *folder;
  int tensors;
  int64_t values;
  double sum, magnitudes;
} models[] = {
    {"llama", 39, 1000576, 970.368056, 24823.9102},
    {"nano/llama", 21, 141632, 449.233224, 4641.80032},
    {"mistral", 39, 1000576, 948.075346, 24739.1476},
    {"nano/mistral", 21, 141632, 450.363181, 4634.92226},
    {"qwen2", 50, 870528, 1323.8828, 21353.0361},
    {"nano/qwen2", 26, 117312, 347.513814, 4119.61859},
    {"gpt2", 52, 989952, 1175.09119, 19365.4008},
    {"nano/gpt2", 28, 157440, 319.568675, 4153.34888},
    {"gpt_neo", 56, 988416, 1283.39432, 21925.4184},
    {"nano/gpt_neo", 30, 157056, 320.815403, 4375.49209},
    {"gptj", 45, 1053440, 502.604052, 24880.4383},
    {"nano/gptj", 25, 148864, 192.858393, 4504.69411},
    {"opt", 68, 990208, 1108.02883, 22379.1121},
    {"nano/opt", 36, 157568, 369.934067, 4396.79098},
    {"opt_postln", 68, 940800, 702.926061, 20154.2667},
    {"nano/opt_postln", 36, 149248, 438.833652, 3967.71827},
};

/* ---- models ---------------------------------------------------------------------- */

/* A whole file with a zero behind it. */
static unsigned char *load(const char *path, size_t *n)
{
  FILE *f = fopen(path, "rb");
  if (!f)
    return NULL;
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  unsigned char *data = malloc(*n + 1);
  *n = fread(data, 1, *n, f);
  data[*n] = 0;
  fclose(f);
  return data;
}

/* Where a tensor's BF16 values begin, found by the text of the header alone. */
static const unsigned char *find(const unsigned char *file, const char *name, size_t *n)
{
  char key[300];
  uint64_t length;
  unsigned long begin, end;
  memcpy(&length, file, 8);
  snprintf(key, sizeof key, "\"%s\":{", name);
  const char *at = strstr((const char *)file + 8, key);
  at = at ? strstr(at, "\"data_offsets\":[") : NULL;
  if (!at || sscanf(at, "\"data_offsets\":[%lu,%lu]", &begin, &end) != 2)
    return NULL;
  *n = (end - begin) / 2;
  return file + 8 + length + begin;
}

static int same_values(const unsigned char *file, const char *name, const float *values, size_t n)
{
  size_t count = 0;
  const unsigned char *raw = find(file, name, &count);
  if (!raw || count != n)
    return 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t)raw[2 * i] << 16 | (uint32_t)raw[2 * i + 1] << 24;
    if (memcmp(&bits, &values[i], 4) != 0)
      return 0;
  }
  return 1;
}

static void check_tensors(void *h, const unsigned char *file, int k)
{
  struct qtk_tensor_info info;
  double sum = 0, magnitudes = 0;
  int64_t values = 0;
  int i = 0, wrong = 0;
  for (; ops->tensor(h, i, &info); i++) {
    int64_t cols = info.shape[info.ndim - 1], rows = info.ndim == 2 ? info.shape[0] : 1;
    float *out = malloc((size_t)(rows * cols) * sizeof *out);
    /* In two pieces, so that rows are counted from the right place. */
    int rc = ops->read(h, i, 0, rows / 2, out, cols);
    if (rc == QTK_OK)
      rc = ops->read(h, i, rows / 2, rows - rows / 2, out + rows / 2 * cols, cols);
    wrong += rc != QTK_OK || !info.dense || info.dtype != QTK_BF16 ||
             !same_values(file, info.name, out, (size_t)(rows * cols));
    for (int64_t v = 0; v < rows * cols; v++) {
      sum += (double)out[v];
      magnitudes += fabs((double)out[v]);
    }
    values += rows * cols;
    ops->drop(h, i);
    free(out);
  }
  tap_ok(wrong == 0, "%s: %d tensors, %d differ from the bytes of the file", models[k].folder, i,
         wrong);
  tap_ok(i == models[k].tensors && values == models[k].values && fabs(sum - models[k].sum) < 1e-5 &&
             fabs(magnitudes - models[k].magnitudes) < 1e-3,
         "%s: sum %.9g, magnitudes %.9g", models[k].folder, sum, magnitudes);
}

static void check_model(const char *data, int k)
{
  char folder[4096], path[4200];
  size_t n;
  void *h;
  snprintf(folder, sizeof folder, "%s/fixtures/%s", data, models[k].folder);
  snprintf(path, sizeof path, "%s/model.safetensors", folder);
  unsigned char *file = load(path, &n);
  int rc = file ? ops->open(NULL, folder, &h) : QTK_EINPUT;
  if (tap_ok(rc == QTK_OK, "%s opens %s", models[k].folder, rc ? qtk_error_message() : "")) {
    check_tensors(h, file, k);
    const char *config = ops->config(h), *tokenizer = ops->tokenizer(h);
    tap_ok(config && strstr(config, "\"model_type\"") && tokenizer &&
               strstr(tokenizer, "\"merges\""),
           "%s: its texts are there", models[k].folder);
    ops->close(h);
  }
  free(file);
}

/* ---- types -------------------------------------------------------------------------- */

#define TYPES 13

/* A file with one tensor [2, 2] of each readable type, and its values -1 or 1, 0, 1, 2. */
static size_t types_file(unsigned char *file, const char *const *names)
{
  /* clang-format off */
  static const unsigned char data[] = {
    /* F32, F16, BF16, F64 */
    0, 0, 0x80, 0xbf, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40,
    0, 0xbc, 0, 0, 0, 0x3c, 0, 0x40,
    0x80, 0xbf, 0, 0, 0x80, 0x3f, 0, 0x40,
    0, 0, 0, 0, 0, 0, 0xf0, 0xbf, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40,
    /* I8, U8, BOOL */
    255, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2,
    /* I16, U16 */
    255, 255, 0, 0, 1, 0, 2, 0, 1, 0, 0, 0, 1, 0, 2, 0,
    /* I32, U32 */
    255, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
    /* I64, U64 */
    255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
  };
  /* clang-format on */
  static const int sizes[TYPES] = {4, 2, 2, 8, 1, 1, 1, 2, 2, 4, 4, 8, 8};
  char *text = (char *)file + 8;
  int offset = 0, n = sprintf(text, "{");
  for (int i = 0; i < TYPES; i++) {
    n +=
        sprintf(text + n, "%s\"t%02d\":{\"dtype\":\"%s\",\"shape\":[2,2],\"data_offsets\":[%d,%d]}",
                i ? "," : "", i, names[i], offset, offset + 4 * sizes[i]);
    offset += 4 * sizes[i];
  }
  n += sprintf(text + n, "}");
  memcpy(file, &(uint64_t){(uint64_t)n}, 8);
  memcpy(text + n, data, sizeof data);
  return 8 + (size_t)n + sizeof data;
}

static void check_types(void)
{
  static const char *const names[TYPES] = {"F32", "F16", "BF16", "F64", "I8",  "U8", "BOOL",
                                           "I16", "U16", "I32",  "U32", "I64", "U64"};
  unsigned char file[4096];
  struct format_memory memory = format_memory();
  struct qtk_tensor_info info;
  void *h = NULL;
  format_memory_set(&memory, file, types_file(file, names));
  int rc = ops->open(NULL, memory.path, &h);
  tap_ok(rc == QTK_OK, "a file with every type opens %s", rc ? qtk_error_message() : "");
  for (int i = 0; i < TYPES && h; i++) {
    int is_unsigned = *names[i] == 'U' || strcmp(names[i], "BOOL") == 0;
    float want[4] = {is_unsigned ? 1 : -1, 0, 1, 2}, out[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    rc = ops->tensor(h, i, &info) == 1 ? ops->read(h, i, 0, 2, out, 2) : QTK_EINTERNAL;
    tap_ok(rc == QTK_OK && memcmp(out, want, sizeof want) == 0 && out[4] == 9 &&
               strcmp(info.type, names[i]) == 0 && info.dense == (i < 4),
           "%s: %g %g %g %g", names[i], (double)out[0], (double)out[1], (double)out[2],
           (double)out[3]);
    ops->read(h, i, 1, 1, out + 4, 3);
    tap_ok(memcmp(out + 4, want + 2, 8) == 0 && out[6] == 9, "%s: a row of it", names[i]);
  }
  if (h)
    ops->close(h);
  close(memory.fd);
}

/* Each half, against the definition of the format. */
static void check_halves(void)
{
  static unsigned char file[200 + 131072];
  float *out = malloc(65536 * sizeof *out);
  struct format_memory memory = format_memory();
  void *h = NULL;
  int n = sprintf((char *)file + 8,
                  "{\"h\":{\"dtype\":\"F16\",\"shape\":[65536],\"data_offsets\":[0,131072]}}");
  memcpy(file, &(uint64_t){(uint64_t)n}, 8);
  for (int i = 0; i < 65536; i++) {
    file[8 + n + 2 * i] = (unsigned char)i;
    file[8 + n + 2 * i + 1] = (unsigned char)(i >> 8);
  }
  format_memory_set(&memory, file, (size_t)(8 + n + 131072));
  int different = ops->open(NULL, memory.path, &h) != QTK_OK || ops->read(h, 0, 0, 1, out, 65536);
  for (int i = 0; i < 65536 && h; i++) {
    int exponent = i >> 10 & 31, fraction = i & 1023;
    double want = exponent == 31  ? (fraction ? NAN : INFINITY)
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(fraction + 1024, exponent - 25);
    want = i & 0x8000 ? -want : want;
    different += isnan(want) ? !isnan(out[i]) : !((double)out[i] == want);
  }
  tap_ok(different == 0, "all 65536 values of F16: %d differ", different);
  if (h)
    ops->close(h);
  free(out);
  close(memory.fd);
}

int main(void)
{
  const char *data = getenv("QTK_TEST_DATA");
  ops = format_plugin("safetensors")->format;
  check_types();
  check_halves();
  for (int k = 0; data && k < (int)(sizeof models / sizeof *models); k++)
    check_model(data, k);
  if (!data)
    tap_skip("QTK_TEST_DATA is not set");
  return tap_end();
}
