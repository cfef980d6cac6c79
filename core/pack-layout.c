/* SPDX-License-Identifier: BSD-3-Clause
 * Sizes of quantized tensors, checked, and views over their parts. */
#include <string.h>

#include "core/error.h"
#include "core/pack.h"
#include "core/tensor.h"

#define LAYOUT_ALIGN 64

static uint64_t layout_align(uint64_t bytes)
{
  return (bytes + LAYOUT_ALIGN - 1) / LAYOUT_ALIGN * LAYOUT_ALIGN;
}

static int layout_too_large(const struct qtk_qlayout *l)
{
  return qtk_error(QTK_EJOB, "rows = %lld, cols = %lld: the tensor is too large",
                   (long long)l->rows, (long long)l->cols);
}

/* a * b in *out. */
static int layout_product(const struct qtk_qlayout *l, uint64_t a, uint64_t b, uint64_t *out)
{
  return qtk_size_multiply(a, b, out) ? QTK_OK : layout_too_large(l);
}

static int layout_dense(struct qtk_qlayout *l)
{
  uint64_t row, all;
  int rc;

  if (l->dtype != QTK_F32 && l->dtype != QTK_F16 && l->dtype != QTK_BF16 && l->dtype != QTK_F64)
    return qtk_error(QTK_EJOB, "dtype = %s: a dense tensor holds f32, f16, bf16 or f64",
                     qtk_dtype_name(l->dtype));
  rc = layout_product(l, (uint64_t)l->cols, qtk_dtype_size(l->dtype), &row);
  if (rc == QTK_OK)
    rc = layout_product(l, (uint64_t)l->rows, row, &all);
  if (rc != QTK_OK)
    return rc;
  l->row_bytes = row;
  l->code_bytes = all;
  return QTK_OK;
}

static int layout_check_codes(struct qtk_qlayout *l)
{
  int u8 = l->encoding == QTK_CODEBOOK && l->scale_dtype == QTK_U8;

  if (l->bits != 2 && l->bits != 3 && l->bits != 4 && l->bits != 8)
    return qtk_error(QTK_EJOB, "bits = %d: allowed are 2, 3, 4, 8", l->bits);
  if (l->group == 0 || l->group < -1)
    return qtk_error(QTK_EJOB, "group = %lld: allowed are -1 (one group a row) and 1 or more",
                     (long long)l->group);
  if (l->scale_dtype != QTK_F16 && l->scale_dtype != QTK_F32 && !u8)
    return qtk_error(QTK_EJOB, "scale_dtype = %s: allowed are f16 and f32%s",
                     qtk_dtype_name(l->scale_dtype),
                     l->encoding == QTK_CODEBOOK ? " and u8 (double-quantized)" : "");
  if (l->group == -1 || l->group > l->cols)
    l->group = l->cols;
  return QTK_OK;
}

static int layout_check_zero(struct qtk_qlayout *l)
{
  if (l->zero != QTK_ZERO_MID && l->zero != QTK_ZERO_INT && l->zero != QTK_ZERO_MIN)
    return qtk_error(QTK_EJOB, "zero = %d: allowed are 0 (mid), 1 (int), 2 (min)", (int)l->zero);
  if (l->zero_bits == 0)
    l->zero_bits = l->bits;
  if (l->zero == QTK_ZERO_INT && l->zero_bits != l->bits && l->zero_bits != 8 && l->zero_bits != 16)
    return qtk_error(QTK_EJOB, "zero_bits = %d: allowed are %d (as the codes), 8, 16", l->zero_bits,
                     l->bits);
  return QTK_OK;
}

/* u8 scales: codes, then at the next multiple of 64 the table of 256 floats, the
 * mean, and a float a block of 256 scales. */
static uint64_t layout_double_at(uint64_t scales)
{
  return layout_align(scales);
}

static uint64_t layout_double_bytes(uint64_t scales)
{
  return layout_double_at(scales) + 4 * (256 + 1 + (scales + 255) / 256);
}

/* Scales and zeros of `n` groups in all, n <= 2^60. */
static void layout_groups(struct qtk_qlayout *l, uint64_t n)
{
  uint64_t size = qtk_dtype_size(l->scale_dtype);

  l->scale_bytes = l->scale_dtype == QTK_U8 ? layout_double_bytes(n) : n * size;
  l->zero_bytes = 0;
  if (l->encoding != QTK_AFFINE)
    return;
  if (l->zero == QTK_ZERO_INT)
    l->zero_bytes = n * (uint64_t)l->zero_bits / 8 + (n * (uint64_t)l->zero_bits % 8 != 0);
  else if (l->zero == QTK_ZERO_MIN)
    l->zero_bytes = n * size;
}

static int layout_codes(struct qtk_qlayout *l)
{
  uint64_t chunks = ((uint64_t)l->cols + QTK_CHUNK - 1) / QTK_CHUNK;
  uint64_t row, all, n;
  int rc = layout_check_codes(l);

  if (rc == QTK_OK && l->encoding == QTK_AFFINE)
    rc = layout_check_zero(l);
  if (rc != QTK_OK)
    return rc;
  l->groups = (l->cols - 1) / l->group + 1;
  rc = layout_product(l, chunks, 4 * (uint64_t)l->bits, &row);
  if (rc == QTK_OK)
    rc = layout_product(l, (uint64_t)l->rows, row, &all);
  if (rc == QTK_OK)
    rc = layout_product(l, (uint64_t)l->rows, (uint64_t)l->groups, &n);
  if (rc == QTK_OK && n > (uint64_t)1 << 56)
    rc = layout_too_large(l);
  if (rc != QTK_OK)
    return rc;
  l->row_bytes = row;
  l->code_bytes = all;
  layout_groups(l, n);
  l->index_bytes = l->has_g_idx ? (size_t)l->cols * sizeof(int32_t) : 0;
  l->table_bytes = l->encoding == QTK_CODEBOOK ? sizeof(float) << l->bits : 0;
  return QTK_OK;
}

/* That the parts together, each rounded up to 64, can be counted. */
static int layout_check_sum(const struct qtk_qlayout *l)
{
  const uint64_t parts[] = {l->code_bytes, l->scale_bytes, l->zero_bytes, l->index_bytes,
                            l->table_bytes};
  uint64_t sum = 0;

  for (int i = 0; i < 5; i++)
    if (!qtk_size_add(sum, parts[i], &sum) || !qtk_size_add(sum, LAYOUT_ALIGN, &sum))
      return layout_too_large(l);
  return QTK_OK;
}

int qtk_qlayout_init(struct qtk_qlayout *l)
{
  int rc = QTK_OK;

  if (l->rows < 1 || l->cols < 1)
    return qtk_error(QTK_EJOB, "rows = %lld, cols = %lld: allowed are 1 and more",
                     (long long)l->rows, (long long)l->cols);
  if (l->cols > INT64_MAX / 64)
    return layout_too_large(l);
  l->groups = 0;
  l->row_bytes = l->code_bytes = l->scale_bytes = 0;
  l->zero_bytes = l->index_bytes = l->table_bytes = 0;
  if (l->encoding == QTK_DENSE)
    rc = layout_dense(l);
  else if (l->encoding == QTK_AFFINE || l->encoding == QTK_CODEBOOK)
    rc = layout_codes(l);
  else if (l->encoding == QTK_OPAQUE)
    l->code_bytes = l->opaque_bytes;
  else
    rc =
        qtk_error(QTK_EJOB, "encoding = %d: allowed are 0 (dense) .. 3 (opaque)", (int)l->encoding);
  return rc == QTK_OK ? layout_check_sum(l) : rc;
}

size_t qtk_qlayout_bytes(const struct qtk_qlayout *l)
{
  return l->code_bytes + l->scale_bytes + l->zero_bytes + l->index_bytes + l->table_bytes;
}

size_t qtk_qtensor_block_bytes(const struct qtk_qlayout *l)
{
  return layout_align(l->code_bytes) + layout_align(l->scale_bytes) + layout_align(l->zero_bytes) +
         layout_align(l->index_bytes) + layout_align(l->table_bytes);
}

void qtk_qtensor_unseal(struct qtk_qtensor *t)
{
  uint64_t n = (uint64_t)t->layout.rows * (uint64_t)t->layout.groups;

  if (t->layout.scale_dtype != QTK_U8 || t->layout.encoding != QTK_CODEBOOK)
    return;
  t->scale_table = (float *)((char *)t->scales + layout_double_at(n));
  t->scale_mean = t->scale_table[256];
  t->scale_blocks = t->scale_table + 257;
}

void qtk_qtensor_seal(struct qtk_qtensor *t)
{
  if (t->layout.scale_dtype == QTK_U8 && t->layout.encoding == QTK_CODEBOOK)
    t->scale_table[256] = t->scale_mean;
}

static void *layout_part(char **at, size_t bytes)
{
  void *part = bytes > 0 ? *at : NULL;

  *at += layout_align(bytes);
  return part;
}

struct qtk_qtensor qtk_qtensor_over(const struct qtk_qlayout *layout, void *block)
{
  struct qtk_qtensor t = {.layout = *layout};
  char *at = block;

  t.codes = layout_part(&at, layout->code_bytes);
  t.scales = layout_part(&at, layout->scale_bytes);
  t.zeros = layout_part(&at, layout->zero_bytes);
  t.g_idx = layout_part(&at, layout->index_bytes);
  t.table = layout_part(&at, layout->table_bytes);
  qtk_qtensor_unseal(&t);
  return t;
}

struct qtk_qtensor qtk_qtensor_rows(const struct qtk_qtensor *t, int64_t row, int64_t n)
{
  struct qtk_qtensor part = *t;
  size_t k = (size_t)row * (size_t)t->layout.groups; /* groups before */
  int u8 = t->layout.encoding == QTK_CODEBOOK && t->layout.scale_dtype == QTK_U8;

  part.layout.rows = n;
  if (qtk_qlayout_init(&part.layout) != QTK_OK || t->layout.encoding == QTK_OPAQUE ||
      row % 8 != 0 || (u8 && k % 256 != 0)) {
    part.codes = NULL;
    return part;
  }
  part.codes = (char *)t->codes + (size_t)row * t->layout.row_bytes;
  if (t->scales != NULL)
    part.scales = (char *)t->scales + k * qtk_dtype_size(t->layout.scale_dtype);
  if (t->zeros != NULL && t->layout.zero == QTK_ZERO_INT)
    part.zeros = (char *)t->zeros + k * (size_t)t->layout.zero_bits / 8;
  else if (t->zeros != NULL)
    part.zeros = (char *)t->zeros + k * qtk_dtype_size(t->layout.scale_dtype);
  if (u8)
    part.scale_blocks = t->scale_blocks + k / 256;
  return part;
}

int qtk_qlayout_sliced(const struct qtk_qlayout *l)
{
  return (l->encoding == QTK_AFFINE || l->encoding == QTK_CODEBOOK) &&
         (l->scale_dtype == QTK_F16 || l->scale_dtype == QTK_F32) && !l->has_g_idx;
}

int qtk_qtensor_check(const struct qtk_qtensor *t)
{
  if (t->g_idx == NULL)
    return QTK_OK;
  for (int64_t c = 0; c < t->layout.cols; c++)
    if (t->g_idx[c] < 0 || t->g_idx[c] >= t->layout.groups)
      return qtk_error(QTK_EINPUT, "column %lld names group %d of %lld", (long long)c,
                       (int)t->g_idx[c], (long long)t->layout.groups);
  return QTK_OK;
}
