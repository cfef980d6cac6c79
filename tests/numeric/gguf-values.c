/* SPDX-License-Identifier: BSD-3-Clause
 * The values that the format "gguf" reads from each block type: against formulas
 * for one value at a time, against digests of what gguf-py computes from the same
 * bytes, and against the packed form of the types that have one. With
 * QTK_TEST_MODEL=FILE.gguf also over all tensors of that file. */
#include "../conform/format.h"
#include "../conform/gguf-make.h"
#include "../tap.h"

#include <math.h>
#include <time.h>

#define ROWS 4
#define ROW_BLOCKS 16
#define BLOCKS (ROWS * ROW_BLOCKS)

/* FNV-1a over the float32 values of 64 blocks, from gguf-py's dequantize (). */
static const uint64_t peer_digests[] = {
    0x14562d4a14d4fbd1, /* Q4_0 */
    0x6614c1d0f70c9a9b, /* Q4_1 */
    0xe6857c693186eea2, /* Q5_0 */
    0x5f0106982356c77d, /* Q5_1 */
    0xb98a19eb309ca9dc, /* Q8_0 */
    0x19b23bca525acfae, /* Q2_K */
    0x0c866a5c90360f5c, /* Q3_K */
    0x5faff570da04cf44, /* Q4_K */
    0xd2037502e32ada38, /* Q5_K */
    0xb9e5142401917fbd, /* Q6_K */
};

static const struct qtk_format_ops *ops;

/* ---- one value at a time -------------------------------------------------------- */

static float half_value(const unsigned char *at)
{
  int half = at[0] | at[1] << 8;
  int exponent = half >> 10 & 31, fraction = half & 1023;
  double value = exponent == 31  ? (fraction ? NAN : INFINITY)
                 : exponent == 0 ? ldexp(fraction, -24)
                                 : ldexp(fraction + 1024, exponent - 25);
  return (float)(half & 0x8000 ? -value : value);
}

/* Bit i of a little-endian bit field. */
static int bit(const unsigned char *bytes, int i)
{
  return bytes[i / 8] >> (i % 8) & 1;
}

static float plain_value(uint32_t id, const unsigned char *b, int e)
{
  float d = half_value(b);
  switch (id) {
  case 2: { /* Q4_0 */
    int q = b[2 + e % 16] >> (e < 16 ? 0 : 4) & 15;
    return (float)(q - 8) * d;
  }
  case 3: { /* Q4_1 */
    int q = b[4 + e % 16] >> (e < 16 ? 0 : 4) & 15;
    return (float)q * d + half_value(b + 2);
  }
  case 6: { /* Q5_0 */
    int q = (b[6 + e % 16] >> (e < 16 ? 0 : 4) & 15) + 16 * bit(b + 2, e);
    return (float)(q - 16) * d;
  }
  case 7: { /* Q5_1 */
    int q = (b[8 + e % 16] >> (e < 16 ? 0 : 4) & 15) + 16 * bit(b + 4, e);
    return (float)q * d + half_value(b + 2);
  }
  default: /* Q8_0 */
    return (float)(b[2 + e] < 128 ? b[2 + e] : b[2 + e] - 256) * d;
  }
}

/* The 6-bit scale and minimum of sub-block j in the 12 bytes of Q4_K and Q5_K. */
static void six_bits(const unsigned char *p, int j, int *scale, int *min)
{
  *scale = j < 4 ? p[j] % 64 : p[j + 4] % 16 + 16 * (p[j - 4] / 64);
  *min = j < 4 ? p[j + 4] % 64 : p[j + 4] / 16 + 16 * (p[j] / 64);
}

/* Sixteen 6-bit scales of Q3_K: their low halves fill 8 bytes, first the low
 * nibbles, and the upper two bits 4 bytes, a plane of four scales at a time. */
static int q3_scale(const unsigned char *p, int j)
{
  int low = j < 8 ? p[j] % 16 : p[j - 8] / 16;
  int high = bit(p + 8 + j % 4, 2 * (j / 4)) + 2 * bit(p + 8 + j % 4, 2 * (j / 4) + 1);
  return low + 16 * high;
}

static float k_value(uint32_t id, const unsigned char *b, int e)
{
  int scale, min, half = e / 128, in_half = e % 128, plane = in_half / 32, j = e % 32;
  int two = (in_half / 32) * 2; /* first bit of a plane of two bits */
  switch (id) {
  case 10: { /* Q2_K */
    int q = b[16 + 32 * half + j] >> two & 3;
    float dl = half_value(b + 80) * (float)(b[e / 16] % 16);
    float ml = half_value(b + 82) * (float)(b[e / 16] / 16);
    return dl * (float)q - ml;
  }
  case 11: { /* Q3_K */
    int q = b[32 + 32 * half + j] >> two & 3;
    int high = bit(b + j, 4 * half + plane);
    float dl = half_value(b + 108) * (float)(q3_scale(b + 96, e / 16) - 32);
    return dl * (float)(q - (high ? 0 : 4));
  }
  case 12: { /* Q4_K */
    int q = b[16 + 32 * (e / 64) + j] >> (e % 64 < 32 ? 0 : 4) & 15;
    six_bits(b + 4, e / 32, &scale, &min);
    float dl = half_value(b) * (float)scale, ml = half_value(b + 2) * (float)min;
    return dl * (float)q - ml;
  }
  case 13: { /* Q5_K */
    int q =
        (b[48 + 32 * (e / 64) + j] >> (e % 64 < 32 ? 0 : 4) & 15) + 16 * bit(b + 16 + j, e / 32);
    six_bits(b + 4, e / 32, &scale, &min);
    float dl = half_value(b) * (float)scale, ml = half_value(b + 2) * (float)min;
    return dl * (float)q - ml;
  }
  default: { /* Q6_K */
    int q = b[64 * half + in_half % 64] >> (in_half < 64 ? 0 : 4) & 15;
    q += 16 * (b[128 + 32 * half + j] >> two & 3);
    int s = b[192 + e / 16] < 128 ? b[192 + e / 16] : b[192 + e / 16] - 256;
    float dl = half_value(b + 208) * (float)s;
    return dl * (float)(q - 32);
  }
  }
}

static float reference(uint32_t id, const unsigned char *block, int e)
{
  return id < 10 ? plain_value(id, block, e) : k_value(id, block, e);
}

static int same_bits(const float *a, const float *b, size_t n)
{
  return memcmp(a, b, n * sizeof *a) == 0;
}

static uint64_t digest(const float *values, size_t n)
{
  const unsigned char *p = (const unsigned char *)values;
  uint64_t h = 0xcbf29ce484222325;
  for (size_t i = 0; i < n * sizeof *values; i++)
    h = (h ^ p[i]) * 0x100000001b3;
  return h;
}

/* ---- a file with a tensor of each block type --------------------------------------- */

static void make_data(struct make *m, const struct make_type *type)
{
  unsigned char block[256];
  uint32_t state = 2463534242u + type->id;
  for (int i = 0; i < BLOCKS; i++) {
    make_block(block, type, &state);
    make_bytes(m, block, (size_t)type->bytes);
  }
}

static void make_file(struct make *m)
{
  uint64_t offset = 0;
  make_head(m, 3, MAKE_TYPES, 1);
  make_key_string(m, "general.architecture", "none");
  for (int i = 0; i < MAKE_TYPES; i++) {
    const struct make_type *t = &make_types[i];
    uint64_t dims[] = {(uint64_t)(ROW_BLOCKS * t->block), ROWS, 0};
    make_tensor(m, t->name, dims, t->id, offset);
    offset += (uint64_t)(BLOCKS * t->bytes + 31) / 32 * 32;
  }
  for (int i = 0; i < MAKE_TYPES; i++) {
    make_align(m, 32);
    make_data(m, &make_types[i]);
  }
}

static void check_packed(void *h, int i, const struct qtk_tensor_info *info, const float *want)
{
  struct qtk_qlayout layout;
  int64_t cols = info->shape[1];
  int packed = ops->quantized(h, i, &layout);
  int should = strcmp(info->type, "Q4_0") == 0 || strcmp(info->type, "Q4_1") == 0 ||
               strcmp(info->type, "Q8_0") == 0;
  tap_ok(packed == should, "%s: %s as a quantized tensor", info->type, should ? "comes" : "no");
  if (!packed)
    return;
  void *block = qtk_alloc(NULL, qtk_qtensor_block_bytes(&layout), "test");
  float *out = malloc((size_t)(ROWS * cols) * sizeof *out);
  struct qtk_qtensor t = qtk_qtensor_over(&layout, block);
  int rc = ops->read_quantized(h, i, 0, ROWS, &t);
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&t, NULL, 0, ROWS, out, cols);
  tap_ok(rc == QTK_OK && layout.encoding == QTK_AFFINE && layout.group == 32 &&
             same_bits(out, want, (size_t)(ROWS * cols)),
         "%s: the packed form has the same values to the last bit", info->type);
  layout.rows = 2;
  qtk_qlayout_init(&layout);
  t = qtk_qtensor_over(&layout, block);
  rc = ops->read_quantized(h, i, 1, 2, &t);
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&t, NULL, 0, 2, out, cols);
  tap_ok(rc == QTK_OK && same_bits(out, want + cols, (size_t)(2 * cols)),
         "%s: so has a slice of rows", info->type);
  tap_ok(ops->read_quantized(h, i, 0, ROWS, &t) == QTK_EUSAGE, "%s: but not into too few rows",
         info->type);
  free(out);
  qtk_free(NULL, block);
}

static void check_type(void *h, int i)
{
  const struct make_type *type = &make_types[i];
  struct qtk_tensor_info info;
  int64_t cols = ROW_BLOCKS * type->block;
  size_t n = (size_t)(ROWS * cols), different = 0;
  const void *data;
  uint64_t bytes;
  float *out = malloc(n * sizeof *out), *part = malloc(3 * (n + 5) * sizeof *part);
  tap_ok(ops->tensor(h, i, &info) == 1 && strcmp(info.type, type->name) == 0 && info.ndim == 2 &&
             info.shape[0] == ROWS && info.shape[1] == cols && !info.dense &&
             info.bytes == (uint64_t)(BLOCKS * type->bytes),
         "%s: %d bytes for %d values", type->name, type->bytes, type->block);
  int rc = ops->read(h, i, 0, ROWS, out, cols);
  ops->map(h, i, &data, &bytes);
  for (size_t k = 0; k < n; k++) {
    const unsigned char *block =
        (const unsigned char *)data + k / (size_t)type->block * (size_t)type->bytes;
    float want = reference(type->id, block, (int)(k % (size_t)type->block));
    different += !same_bits(&want, &out[k], 1);
  }
  tap_ok(rc == QTK_OK && different == 0, "%s: %zu values, %zu differ from the formula", type->name,
         n, different);
  tap_ok(digest(out, n) == peer_digests[i], "%s: as gguf-py reads the same bytes", type->name);
  rc = ops->read(h, i, 1, 2, part, cols + 5);
  tap_ok(rc == QTK_OK && same_bits(part, out + cols, (size_t)cols) &&
             same_bits(part + cols + 5, out + 2 * cols, (size_t)cols),
         "%s: rows apart", type->name);
  check_packed(h, i, &info, out);
  ops->drop(h, i);
  rc = ops->read(h, i, 0, 1, part, cols);
  tap_ok(rc == QTK_OK && same_bits(part, out, (size_t)cols), "%s: dropped pages come back",
         type->name);
  free(part);
  free(out);
}

static void check_blocks(void)
{
  struct make m = {0};
  struct format_memory memory = format_memory();
  void *h = NULL;
  make_file(&m);
  format_memory_set(&memory, m.data, m.n);
  int rc = ops->open(NULL, memory.path, &h);
  if (tap_ok(rc == QTK_OK, "a file with ten block types opens %s", rc ? qtk_error_message() : ""))
    for (int i = 0; i < MAKE_TYPES; i++)
      check_type(h, i);
  struct qtk_tensor_info info;
  tap_ok(h && ops->tensor(h, MAKE_TYPES, &info) == 0, "no tensor past the last");
  if (h)
    ops->close(h);
  make_free(&m);
  close(memory.fd);
}

/* ---- dense types --------------------------------------------------------------------- */

#define DENSE 7

static void check_dense_values(void *h)
{
  float *out = malloc(65536 * sizeof *out);
  size_t different = 0;
  ops->read(h, 0, 0, 1, out, 65536);
  for (int i = 0; i < 65536; i++) {
    unsigned char bytes[2] = {(unsigned char)i, (unsigned char)(i >> 8)};
    float want = half_value(bytes);
    different += !(isnan(want) ? isnan(out[i]) : same_bits(&want, &out[i], 1));
  }
  tap_ok(different == 0, "all 65536 values of F16: %zu differ", different);
  different = 0;
  ops->read(h, 1, 0, 1, out, 65536);
  for (uint32_t i = 0; i < 65536; i++)
    different += memcmp(&out[i], &(uint32_t){i << 16}, 4) != 0;
  tap_ok(different == 0, "all 65536 values of BF16: %zu differ", different);
  static const float want[] = {-3, 2, -1, 0, 1, 2, 3, 4};
  for (int i = 2; i < DENSE; i++) {
    struct qtk_tensor_info info;
    ops->tensor(h, i, &info);
    ops->read(h, i, 0, 1, out, 8);
    tap_ok(same_bits(out, want, 8) && info.dense == (i < 4), "values of %s", info.type);
  }
  free(out);
}

static void make_dense(struct make *m)
{
  static const uint32_t ids[DENSE] = {1, 30, 0, 28, 24, 25, 26};
  static const uint64_t offsets[DENSE] = {0, 131072, 262144, 262176, 262240, 262272, 262304};
  static const double values[] = {-3, 2, -1, 0, 1, 2, 3, 4};
  make_head(m, 2, DENSE, 0);
  for (int i = 0; i < DENSE; i++) {
    char name[8];
    snprintf(name, sizeof name, "t%d", i);
    make_tensor(m, name, (const uint64_t[]){i < 2 ? 65536 : 8, 0}, ids[i], offsets[i]);
  }
  make_align(m, 32);
  for (int twice = 0; twice < 2; twice++)
    for (uint32_t i = 0; i < 65536; i++)
      make_bytes(m, &(uint16_t){(uint16_t)i}, 2);
  for (int i = 2; i < DENSE; i++) {
    make_align(m, 32);
    for (int k = 0; k < 8; k++)
      switch (ids[i]) {
      case 0:
        make_bytes(m, &(float){(float)values[k]}, 4);
        break;
      case 28:
        make_bytes(m, &values[k], 8);
        break;
      case 24:
        make_bytes(m, &(int8_t){(int8_t)values[k]}, 1);
        break;
      case 25:
        make_bytes(m, &(int16_t){(int16_t)values[k]}, 2);
        break;
      default:
        make_bytes(m, &(int32_t){(int32_t)values[k]}, 4);
      }
  }
}

static void check_dense(void)
{
  struct make m = {0};
  struct format_memory memory = format_memory();
  void *h;
  make_dense(&m);
  /* The data section begins at a multiple of 32, offsets count from there. */
  format_memory_set(&memory, m.data, m.n);
  if (tap_ok(ops->open(NULL, memory.path, &h) == QTK_OK, "a file with dense types opens")) {
    check_dense_values(h);
    ops->close(h);
  } else {
    tap_note("%s", qtk_error_message());
  }
  make_free(&m);
  close(memory.fd);
}

/* ---- a real model -------------------------------------------------------------------- */

static double seconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct model_sums {
  int64_t values;
  size_t different, packed_different;
  int packed;
  double reading, packing;
};

static void model_packed(void *h, int i, int64_t rows, int64_t cols, const float *want,
                         struct model_sums *sums)
{
  struct qtk_qlayout layout;
  if (ops->quantized(h, i, &layout) != 1)
    return;
  void *block = qtk_alloc(NULL, qtk_qtensor_block_bytes(&layout), "test");
  float *out = malloc((size_t)(rows * cols) * sizeof *out);
  struct qtk_qtensor t = qtk_qtensor_over(&layout, block);
  double start = seconds();
  int rc = ops->read_quantized(h, i, 0, rows, &t);
  sums->packing += seconds() - start;
  if (rc == QTK_OK)
    rc = qtk_dequantize_rows(&t, NULL, 0, rows, out, cols);
  sums->packed++;
  sums->packed_different += rc != QTK_OK || !same_bits(out, want, (size_t)(rows * cols));
  free(out);
  qtk_free(NULL, block);
}

static void model_tensor(void *h, int i, const struct qtk_tensor_info *info,
                         struct model_sums *sums)
{
  int64_t cols = info->shape[info->ndim - 1], rows = 1;
  const struct make_type *type = NULL;
  const void *data;
  uint64_t bytes;
  for (int k = 0; k < info->ndim - 1; k++)
    rows *= info->shape[k];
  for (int k = 0; k < MAKE_TYPES; k++)
    if (strcmp(make_types[k].name, info->type) == 0)
      type = &make_types[k];
  float *out = malloc((size_t)(rows * cols) * sizeof *out);
  memset(out, 1, (size_t)(rows * cols) * sizeof *out); /* its pages are there */
  double start = seconds();
  ops->read(h, i, 0, rows, out, cols);
  sums->reading += seconds() - start;
  sums->values += rows * cols;
  ops->map(h, i, &data, &bytes);
  for (int64_t k = 0; type && k < rows * cols; k++) {
    const unsigned char *block = (const unsigned char *)data + k / type->block * type->bytes;
    float want = reference(type->id, block, (int)(k % type->block));
    sums->different += !same_bits(&want, &out[k], 1);
  }
  model_packed(h, i, rows, cols, out, sums);
  free(out);
  ops->drop(h, i);
}

static void check_model(void)
{
  const char *path = getenv("QTK_TEST_MODEL");
  struct model_sums sums = {0};
  struct qtk_tensor_info info;
  void *h;
  if (!path) {
    tap_skip("QTK_TEST_MODEL does not name a GGUF file");
    return;
  }
  int rc = ops->open(NULL, path, &h);
  if (!tap_ok(rc == QTK_OK, "QTK_TEST_MODEL opens %s", rc ? qtk_error_message() : ""))
    return;
  int n = 0;
  for (; ops->tensor(h, n, &info); n++)
    model_tensor(h, n, &info, &sums);
  tap_ok(sums.different == 0, "%d tensors, %lld values, %zu differ from the formula", n,
         (long long)sums.values, sums.different);
  tap_ok(sums.packed_different == 0, "%d packed tensors, %zu differ", sums.packed,
         sums.packed_different);
  double start = seconds();
  const char *tokenizer = ops->tokenizer(h);
  tap_note("%.3f s for %lld values, %.3f s to unpack blocks, %.3f s for a tokenizer of %zu bytes",
           sums.reading, (long long)sums.values, sums.packing, seconds() - start,
           tokenizer ? strlen(tokenizer) : 0);
  ops->close(h);
}

int main(void)
{
  ops = format_plugin("gguf")->format;
  check_blocks();
  check_dense();
  check_model();
  return tap_end();
}
