/* SPDX-License-Identifier: BSD-3-Clause
 * Rows of a quantized tensor as floats: the meaning of every encoding, which all
 * kernels are checked against. */
#include "core/error.h"
#include "core/half.h"
#include "core/pack.h"

/* What the columns of one (row, group) share. */
struct dequantize_group {
  float scale;
  int zero;  /* int, mid */
  float min; /* min */
};

static float dequantize_other_scale(const struct qtk_tensor *scales, int64_t row, int64_t group)
{
  size_t k = (size_t)(row * scales->stride + group);

  if (scales->dtype == QTK_F32)
    return ((const float *)scales->data)[k];
  return qtk_half_to_f32(((const uint16_t *)scales->data)[k]);
}

static struct dequantize_group dequantize_group(const struct qtk_qtensor *t,
                                                const struct qtk_tensor *scales, int64_t row,
                                                int64_t group)
{
  struct dequantize_group g = {0};
  float own;

  g.scale =
      scales == NULL ? qtk_get_scale(t, row, group) : dequantize_other_scale(scales, row, group);
  if (t->layout.encoding != QTK_AFFINE)
    return g;
  if (t->layout.zero != QTK_ZERO_MIN) {
    g.zero = qtk_get_zero(t, row, group);
    return g;
  }
  g.min = qtk_get_min(t, row, group);
  if (scales == NULL)
    return g;
  own = qtk_get_scale(t, row, group);
  if (own != 0)
    g.min *= g.scale / own;
  if (scales->dtype == QTK_F16)
    g.min = qtk_half_to_f32(qtk_half_from_f32(g.min));
  return g;
}

/* n columns of one group. */
static void dequantize_run(const struct qtk_qtensor *t, const struct dequantize_group *g,
                           const uint8_t *codes, int n, float *out)
{
  if (t->layout.encoding == QTK_CODEBOOK)
    for (int i = 0; i < n; i++)
      out[i] = g->scale * t->table[codes[i]];
  else if (t->layout.zero == QTK_ZERO_MIN)
    for (int i = 0; i < n; i++)
      out[i] = g->scale * (float)codes[i] + g->min;
  else
    for (int i = 0; i < n; i++)
      out[i] = g->scale * (float)(codes[i] - g->zero);
}

/* Columns from `col` on that share its group, at most n. */
static int dequantize_span(const struct qtk_qtensor *t, int64_t col, int n)
{
  int span = 1;

  if (t->g_idx != NULL) {
    while (span < n && t->g_idx[col + span] == t->g_idx[col])
      span++;
    return span;
  }
  return t->layout.group - col % t->layout.group < n
             ? (int)(t->layout.group - col % t->layout.group)
             : n;
}

static void dequantize_row(const struct qtk_qtensor *t, const struct qtk_tensor *scales,
                           int64_t row, float *out)
{
  const struct qtk_qlayout *l = &t->layout;
  const uint8_t *packed = (const uint8_t *)t->codes + (size_t)row * l->row_bytes;
  struct dequantize_group g = {0};
  int64_t known = -1; /* the group that g is of */

  for (int64_t chunk = 0; chunk < l->cols; chunk += QTK_CHUNK, packed += 4 * l->bits) {
    uint8_t codes[QTK_CHUNK];
    int n = l->cols - chunk < QTK_CHUNK ? (int)(l->cols - chunk) : QTK_CHUNK;
    qtk_chunk_unpack(l->bits, packed, codes);
    for (int i = 0; i < n;) {
      int64_t group = qtk_group_of(t, chunk + i);
      int span = dequantize_span(t, chunk + i, n - i);
      if (group != known)
        g = dequantize_group(t, scales, row, group);
      known = group;
      dequantize_run(t, &g, codes + i, span, out + chunk + i);
      i += span;
    }
  }
}

static int dequantize_check(const struct qtk_qtensor *t, const struct qtk_tensor *scales,
                            int64_t row, int64_t n)
{
  const struct qtk_qlayout *l = &t->layout;

  if (row < 0 || n < 0 || row > l->rows || n > l->rows - row)
    return qtk_error(QTK_EINTERNAL, "%lld rows from %lld of a tensor of %lld", (long long)n,
                     (long long)row, (long long)l->rows);
  if (l->encoding == QTK_OPAQUE && t->dequantize == NULL)
    return qtk_error(QTK_EPLUGIN, "only plugin %s can read this tensor, and it is not there",
                     t->plugin == NULL ? "(unnamed)" : t->plugin);
  if (scales == NULL)
    return QTK_OK;
  if (l->encoding == QTK_OPAQUE || l->encoding == QTK_DENSE)
    return qtk_error(QTK_EPLUGIN, "%s tensor has no scales to replace",
                     l->encoding == QTK_OPAQUE ? "an opaque" : "a dense");
  if (qtk_tensor_rows(scales) != l->rows || qtk_tensor_cols(scales) != l->groups ||
      (scales->dtype != QTK_F32 && scales->dtype != QTK_F16))
    return qtk_error(QTK_EINTERNAL, "scales are %s [%lld, %lld], wanted f16 or f32 [%lld, %lld]",
                     qtk_dtype_name(scales->dtype), (long long)qtk_tensor_rows(scales),
                     (long long)qtk_tensor_cols(scales), (long long)l->rows, (long long)l->groups);
  return QTK_OK;
}

int qtk_dequantize_rows(const struct qtk_qtensor *t, const struct qtk_tensor *scales, int64_t row,
                        int64_t n, float *out, int64_t stride)
{
  const struct qtk_qlayout *l = &t->layout;
  int rc = dequantize_check(t, scales, row, n);

  if (rc == QTK_OK)
    rc = qtk_qtensor_check(t);
  if (rc != QTK_OK)
    return rc;
  if (l->encoding == QTK_OPAQUE)
    return t->dequantize(t, row, n, out, stride);
  for (int64_t i = 0; i < n && rc == QTK_OK; i++) {
    if (l->encoding == QTK_DENSE)
      rc = qtk_convert(QTK_F32, out + i * stride, l->dtype,
                       (const char *)t->codes + (size_t)(row + i) * l->row_bytes, (size_t)l->cols);
    else
      dequantize_row(t, scales, row + i, out + i * stride);
  }
  return rc;
}
