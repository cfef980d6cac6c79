/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of linears: the words are packed along the inputs, so a row of ours is a column
 * of theirs. Turned tile by tile, in memory of the stack. */
#include "gptq.h"

#include <math.h>
#include <string.h>

#define READ_ROWS 64
#define READ_COLS 256 /* a multiple of 32 */

typedef uint8_t read_tile[READ_ROWS][READ_COLS];

static const struct gptq_item *read_item(void *h, int i)
{
  const struct gptq_model *m = h;
  return i >= 0 && i < m->n ? &m->items[i] : NULL;
}

static int read_no_item(int i)
{
  return qtk_error(QTK_EUSAGE, "tensor %d: there is none", i);
}

/* ---- what there is -------------------------------------------------------------------- */

int gptq_tensor(void *h, int i, struct qtk_tensor_info *info)
{
  static const char *const types[] = {[2] = "GPTQ2", [3] = "GPTQ3", [4] = "GPTQ4", [8] = "GPTQ8"};
  const struct gptq_model *m = h;
  const struct gptq_item *item = read_item(h, i);
  if (!item)
    return 0;
  if (!item->linear)
    return safetensors_tensor(m->files, item->tensor, info);
  const struct qtk_qlayout *l = &item->linear->layout;
  *info = (struct qtk_tensor_info){
      .name = item->name, .ndim = 2, .shape = {l->rows, l->cols}, .type = types[l->bits]};
  for (int part = 0; part < GPTQ_PARTS; part++)
    info->bytes += item->linear->parts[part] ? item->linear->parts[part]->bytes : 0;
  return 1;
}

int gptq_map(void *h, int i, const void **data, uint64_t *bytes)
{
  const struct gptq_model *m = h;
  const struct gptq_item *item = read_item(h, i);
  if (!item)
    return read_no_item(i);
  if (item->linear)
    return qtk_error(QTK_EUSAGE, "tensor '%s' is not dense", item->name);
  return safetensors_map(m->files, item->tensor, data, bytes);
}

int gptq_quantized(void *h, int i, struct qtk_qlayout *layout)
{
  const struct gptq_item *item = read_item(h, i);
  if (!item || !item->linear)
    return 0;
  *layout = item->linear->layout;
  return 1;
}

void gptq_drop(void *h, int i)
{
  const struct gptq_model *m = h;
  const struct gptq_item *item = read_item(h, i);
  if (item && !item->linear)
    safetensors_drop(m->files, item->tensor);
  for (int part = 0; item && item->linear && part < GPTQ_PARTS; part++)
    if (item->linear->parts[part])
      safetensors_file_drop(item->linear->parts[part]);
}

/* ---- tiles ------------------------------------------------------------------------------ */

/* Codes of rows [row, row + n) and columns [col, col + cols). */
static void read_codes(const struct gptq_linear *l, int64_t row, int64_t n, int64_t col,
                       int64_t cols, read_tile tile)
{
  const struct safetensors_tensor *t = l->parts[GPTQ_QWEIGHT];
  int bits = l->layout.bits;
  size_t stride = (size_t)t->cols * 4;
  for (int64_t c = 0; c < cols; c += 32) {
    int64_t word = (col + c) / 32 * bits;
    const unsigned char *at = t->data + (size_t)word * stride + (size_t)row * 4;
    int words = t->rows - word < bits ? (int)(t->rows - word) : bits;
    for (int64_t r = 0; r < n; r++)
      gptq_unpack(at + 4 * r, stride, bits, words, &tile[r][c]);
  }
}

static int read_zero(const struct gptq_linear *l, int64_t row, int64_t g)
{
  const struct safetensors_tensor *t = l->parts[GPTQ_QZEROS];
  return (int)gptq_field(t->data + (size_t)(g * t->cols) * 4, l->layout.bits, row) + l->add;
}

/* The scale as a float, and as it lies in the file. */
static float read_scale(const struct gptq_linear *l, int64_t row, int64_t g, uint16_t *half)
{
  const struct safetensors_tensor *t = l->parts[GPTQ_SCALES];
  size_t size = (size_t)t->type->bits / 8;
  float scale;
  const unsigned char *at = t->data + (size_t)(g * t->cols + row) * size;
  if (t->type->dtype == QTK_F32) {
    memcpy(&scale, at, sizeof scale);
    return scale;
  }
  memcpy(half, at, sizeof *half);
  return t->type->dtype == QTK_F16 ? qtk_f16_to_f32(*half) : qtk_bf16_to_f32(*half);
}

static int read_check(const struct gptq_item *item, int64_t row, int64_t n)
{
  int64_t rows = item->linear->layout.rows;
  if (row < 0 || n < 0 || row > rows || n > rows - row)
    return qtk_error(QTK_EUSAGE, "tensor '%s': %lld rows from %lld on: it has %lld", item->name,
                     (long long)n, (long long)row, (long long)rows);
  return QTK_OK;
}

/* ---- as it is held ------------------------------------------------------------------------ */

/* Rows from `row` on of the file to rows from `to` on of `out`. */
static void read_pack(const struct gptq_linear *l, int64_t row, int64_t n,
                      const struct qtk_qtensor *out, int64_t to)
{
  read_tile tile;
  struct qtk_qtensor piece = *out;
  for (int64_t col = 0; col < l->layout.cols; col += READ_COLS) {
    piece.layout.cols = l->layout.cols - col < READ_COLS ? l->layout.cols - col : READ_COLS;
    piece.codes = (unsigned char *)out->codes + col / 32 * 4 * l->layout.bits;
    read_codes(l, row, n, col, piece.layout.cols, tile);
    for (int64_t r = 0; r < n; r++)
      qtk_pack_row(&piece, to + r, tile[r]);
  }
}

static int read_groups(const struct gptq_linear *l, int64_t row, int64_t n,
                       struct qtk_qtensor *out, int64_t to)
{
  uint16_t half = 0;
  int64_t groups = l->layout.groups;
  for (int64_t r = 0; r < n; r++)
    for (int64_t g = 0; g < groups; g++) {
      float scale = read_scale(l, row + r, g, &half);
      if (!isfinite(scale))
        return qtk_error(QTK_EINPUT, "tensor '%s.scales': the scale of output %lld, group %lld is %g",
                         l->name, (long long)(row + r), (long long)g, (double)scale);
      if (l->layout.scale_dtype == QTK_F16)
        ((uint16_t *)out->scales)[(to + r) * groups + g] = half;
      else
        ((float *)out->scales)[(to + r) * groups + g] = scale;
      if (l->layout.zero == QTK_ZERO_INT)
        qtk_set_zero(out, to + r, g, read_zero(l, row + r, g));
    }
  return QTK_OK;
}

int gptq_read_quantized(void *h, int i, int64_t row, int64_t n, struct qtk_qtensor *out)
{
  const struct gptq_item *item = read_item(h, i);
  if (!item || !item->linear)
    return read_no_item(i);
  const struct gptq_linear *l = item->linear;
  int rc = read_check(item, row, n);
  if (rc)
    return rc;
  if (out->layout.rows != n || out->layout.cols != l->layout.cols ||
      out->layout.bits != l->layout.bits || out->layout.groups != l->layout.groups)
    return qtk_error(QTK_EUSAGE, "tensor '%s': %lld rows do not fit into %lld of another layout",
                     item->name, (long long)n, (long long)out->layout.rows);
  for (int64_t r = 0; r < n && rc == QTK_OK; r += READ_ROWS) {
    int64_t some = n - r < READ_ROWS ? n - r : READ_ROWS;
    read_pack(l, row + r, some, out, r);
    rc = read_groups(l, row + r, some, out, r);
  }
  if (l->layout.has_g_idx && out->g_idx)
    memcpy(out->g_idx, l->parts[GPTQ_G_IDX]->data, l->layout.index_bytes);
  return rc;
}

/* ---- as floats ------------------------------------------------------------------------------ */

static int64_t read_group_of(const struct gptq_linear *l, int64_t col)
{
  int32_t group;
  if (!l->layout.has_g_idx)
    return col / l->layout.group;
  memcpy(&group, l->parts[GPTQ_G_IDX]->data + 4 * col, sizeof group);
  return group;
}

/* One row of codes, `cols` of them from `col` on. */
static void read_floats(const struct gptq_linear *l, int64_t row, int64_t col, int64_t cols,
                        const uint8_t *codes, float *out)
{
  int64_t group = -1;
  float scale = 0, zero = 0;
  uint16_t half;
  for (int64_t c = 0; c < cols; c++) {
    int64_t g = read_group_of(l, col + c);
    if (g != group) {
      group = g;
      scale = read_scale(l, row, g, &half);
      zero = (float)read_zero(l, row, g);
    }
    out[c] = scale * ((float)codes[c] - zero);
  }
}

static void read_linear(const struct gptq_linear *l, int64_t row, int64_t n, float *out,
                        int64_t stride)
{
  read_tile tile;
  for (int64_t col = 0; col < l->layout.cols; col += READ_COLS) {
    int64_t cols = l->layout.cols - col < READ_COLS ? l->layout.cols - col : READ_COLS;
    read_codes(l, row, n, col, cols, tile);
    for (int64_t r = 0; r < n; r++)
      read_floats(l, row + r, col, cols, tile[r], out + r * stride + col);
  }
}

int gptq_read(void *h, int i, int64_t row, int64_t n, float *out, int64_t stride)
{
  const struct gptq_model *m = h;
  const struct gptq_item *item = read_item(h, i);
  if (!item)
    return read_no_item(i);
  if (!item->linear)
    return safetensors_read(m->files, item->tensor, row, n, out, stride);
  int rc = read_check(item, row, n);
  if (rc == QTK_OK && stride < item->linear->layout.cols)
    rc = qtk_error(QTK_EUSAGE, "tensor '%s': stride %lld: it has %lld columns", item->name,
                   (long long)stride, (long long)item->linear->layout.cols);
  for (int64_t r = 0; r < n && rc == QTK_OK; r += READ_ROWS)
    read_linear(item->linear, row + r, n - r < READ_ROWS ? n - r : READ_ROWS, out + r * stride,
                stride);
  return rc;
}
