/* SPDX-License-Identifier: BSD-3-Clause
 * One linear: that its parts fit each other, and how a quantized tensor holds it. */
#include "gptq.h"

#include <string.h>

const char *const gptq_suffixes[GPTQ_PARTS] = {".qweight", ".qzeros", ".scales", ".g_idx"};

static int linear_wrong_type(const struct gptq_linear *l, int part, const char *allowed)
{
  return qtk_error(QTK_EINPUT, "tensor '%s' has dtype %s: allowed are %s", l->parts[part]->name,
                   l->parts[part]->type->name, allowed);
}

static int linear_types(const struct gptq_linear *l)
{
  static const int words[] = {GPTQ_QWEIGHT, GPTQ_QZEROS, GPTQ_G_IDX};
  const struct safetensors_type *scales = l->parts[GPTQ_SCALES]->type;
  for (int k = 0; k < 3; k++)
    if (l->parts[words[k]] && l->parts[words[k]]->type->dtype != QTK_I32)
      return linear_wrong_type(l, words[k], "I32");
  if (!scales->dense || scales->dtype == QTK_F64)
    return linear_wrong_type(l, GPTQ_SCALES, "F16, BF16, F32");
  for (int k = 0; k <= GPTQ_SCALES; k++)
    if (l->parts[k]->ndim != 2 || l->parts[k]->rows < 1 || l->parts[k]->cols < 1)
      return qtk_error(QTK_EINPUT, "tensor '%s' is no matrix", l->parts[k]->name);
  return QTK_OK;
}

/* The parts agree on outputs and groups, and the width of a field follows. */
static int linear_shape(struct gptq_linear *l)
{
  const struct safetensors_tensor *w = l->parts[GPTQ_QWEIGHT], *z = l->parts[GPTQ_QZEROS];
  const struct safetensors_tensor *s = l->parts[GPTQ_SCALES];
  if (w->cols != s->cols || z->rows != s->rows)
    return qtk_error(QTK_EINPUT,
                     "%s: qweight [%lld, %lld], qzeros [%lld, %lld] and scales [%lld, %lld] do "
                     "not fit: allowed are [in * bits / 32, out], [groups, out * bits / 32], "
                     "[groups, out]",
                     l->name, (long long)w->rows, (long long)w->cols, (long long)z->rows,
                     (long long)z->cols, (long long)s->rows, (long long)s->cols);
  int64_t bits = z->cols <= s->cols ? z->cols * 32 / s->cols : 0;
  if (bits * s->cols != z->cols * 32 || (bits != 2 && bits != 3 && bits != 4 && bits != 8))
    return qtk_error(QTK_EINPUT,
                     "tensor '%s' has %lld words a group for %lld outputs: 2, 3, 4 or 8 bits an "
                     "output are allowed (other packings, such as 3 bits ten a word, are not read)",
                     z->name, (long long)z->cols, (long long)s->cols);
  if (w->rows * 32 % bits != 0)
    return qtk_error(QTK_EINPUT, "tensor '%s' has %lld rows of words: no whole number of inputs",
                     w->name, (long long)w->rows);
  l->layout = (struct qtk_qlayout){.encoding = QTK_AFFINE, .bits = (int)bits, .rows = w->cols,
                                   .cols = w->rows * 32 / bits};
  return QTK_OK;
}

/* ---- groups ------------------------------------------------------------------------------ */

static int linear_has_groups(const struct gptq_linear *l, int64_t group)
{
  int64_t cols = l->layout.cols, size = group == -1 || group > cols ? cols : group;
  return size > 0 && (cols - 1) / size + 1 == l->parts[GPTQ_SCALES]->rows;
}

static int linear_group(struct gptq_linear *l, const struct gptq_config *c)
{
  if (l->layout.bits != c->bits && !c->dynamic)
    return qtk_error(QTK_EINPUT, "%s: its tensors have %d bits, but the configuration says %d",
                     l->name, l->layout.bits, c->bits);
  l->layout.group = c->group;
  for (size_t i = 0; i < c->n_groups && !linear_has_groups(l, l->layout.group); i++)
    l->layout.group = c->groups[i];
  if (!linear_has_groups(l, l->layout.group))
    return qtk_error(QTK_EINPUT,
                     "%s: its tensors have %lld groups for %lld inputs, but the configuration says "
                     "group_size %lld",
                     l->name, (long long)l->parts[GPTQ_SCALES]->rows, (long long)l->layout.cols,
                     (long long)c->group);
  return QTK_OK;
}

/* An index that says what is so without it is left out. */
static int linear_index(struct gptq_linear *l, const struct gptq_config *c)
{
  const struct safetensors_tensor *t = l->parts[GPTQ_G_IDX];
  int64_t cols = l->layout.cols, groups = l->parts[GPTQ_SCALES]->rows;
  int64_t group = l->layout.group < 1 ? cols : l->layout.group;
  if (!t && c->desc_act && groups > 1)
    return qtk_error(QTK_EINPUT, "tensor '%s.g_idx' is missing: desc_act is true", l->name);
  if (t && (t->ndim != 1 || t->cols != cols))
    return qtk_error(QTK_EINPUT, "tensor '%s' has %lld values for %lld inputs", t->name,
                     (long long)(t->rows * t->cols), (long long)cols);
  for (int64_t i = 0; t && i < cols; i++) {
    int32_t value;
    memcpy(&value, t->data + 4 * i, sizeof value);
    if (value < 0 || value >= groups)
      return qtk_error(QTK_EINPUT, "tensor '%s': input %lld is of group %d: allowed are 0 .. %lld",
                       t->name, (long long)i, (int)value, (long long)groups - 1);
    l->layout.has_g_idx |= value != i / group;
  }
  return QTK_OK;
}

/* ---- zeros -------------------------------------------------------------------------------- */

static void linear_zeros(struct gptq_linear *l)
{
  const struct safetensors_tensor *t = l->parts[GPTQ_QZEROS];
  int bits = l->layout.bits, low = 256, high = 0;
  uint8_t values[32];
  for (int64_t g = 0; g < t->rows; g++)
    for (int64_t word = 0; word < t->cols; word += bits) {
      int words = t->cols - word < bits ? (int)(t->cols - word) : bits;
      gptq_unpack(t->data + 4 * (g * t->cols + word), 4, bits, words, values);
      for (int k = 0; k < words * 32 / bits; k++) {
        low = values[k] < low ? values[k] : low;
        high = values[k] > high ? values[k] : high;
      }
    }
  l->zero_min = low + l->add;
  l->zero_max = high + l->add;
}

static void linear_choose_zero(struct gptq_linear *l)
{
  struct qtk_qlayout *layout = &l->layout;
  int mid = 1 << (layout->bits - 1), top = 1 << layout->bits;
  layout->zero = l->zero_min == mid && l->zero_max == mid ? QTK_ZERO_MID : QTK_ZERO_INT;
  layout->zero_bits = l->zero_max < top ? layout->bits : layout->bits == 8 ? 16 : 8;
}

int gptq_linear_check(struct gptq_linear *l, const struct gptq_config *c)
{
  int rc = linear_types(l);
  if (rc == QTK_OK)
    rc = linear_shape(l);
  if (rc == QTK_OK)
    rc = linear_group(l, c);
  if (rc == QTK_OK)
    rc = linear_index(l, c);
  if (rc)
    return rc;
  l->add = !c->is_v2;
  linear_zeros(l);
  linear_choose_zero(l);
  l->layout.scale_dtype = l->parts[GPTQ_SCALES]->type->dtype == QTK_F16 ? QTK_F16 : QTK_F32;
  return qtk_qlayout_init(&l->layout) == QTK_OK ? QTK_OK : qtk_error_at(QTK_EINPUT, "%s", l->name);
}
