/* SPDX-License-Identifier: BSD-3-Clause
 * Which tensors a checkpoint holds as integers, which as floats, and which it cannot. */
#include "write.h"

#include <string.h>

enum qtk_dtype gptq_dtype(const struct gptq_options *options, const struct qtk_export_tensor *t)
{
  if (strcmp(options->dtype, "f16") == 0)
    return QTK_F16;
  if (strcmp(options->dtype, "bf16") == 0)
    return QTK_BF16;
  int held = strcmp(options->dtype, "auto") == 0 && t->layout.encoding == QTK_DENSE;
  return held && t->layout.dtype != QTK_F64 ? t->layout.dtype : QTK_F32;
}

/* Why the format cannot hold a linear; NULL if it can. */
static const char *accept_reason(const struct qtk_export_tensor *t)
{
  const struct qtk_qlayout *l = &t->layout;
  size_t n = strlen(t->name), suffix = strlen(".weight");
  if (l->encoding != QTK_AFFINE)
    return "it is not held in groups of integers";
  if (l->zero == QTK_ZERO_MIN)
    return "its groups have float minima (w = s q + m)";
  if (l->scale_dtype != QTK_F16)
    return "its scales are f32";
  if (l->rows % 32 != 0 || l->cols % 32 != 0)
    return "its sides are no multiples of 32";
  if (n <= suffix || n > 400 || strcmp(t->name + n - suffix, ".weight") != 0)
    return "its name does not end in .weight";
  return NULL;
}

static enum qtk_export_how accept_rows(const struct gptq_options *options,
                                       const struct qtk_export_tensor *t)
{
  enum qtk_dtype dtype = gptq_dtype(options, t);
  if (t->layout.encoding != QTK_DENSE)
    return dtype == QTK_F32 ? QTK_EXPORT_ROWS : QTK_EXPORT_ROUNDED;
  return t->layout.dtype == dtype || (dtype == QTK_F32 && t->layout.dtype != QTK_F64)
             ? QTK_EXPORT_HELD
             : QTK_EXPORT_ROUNDED;
}

/* Readers know packed linears of blocks, and a packed head; an embedding is of floats. */
enum qtk_export_how gptq_accepts(const void *options, const struct qtk_export_tensor *t)
{
  int is_head = strcmp(t->role, "head") == 0;
  if (t->layout.encoding == QTK_DENSE || (!t->linear && !is_head))
    return accept_rows(options, t);
  const char *reason = accept_reason(t);
  if (!reason)
    return QTK_EXPORT_HELD;
  if (is_head)
    return accept_rows(options, t);
  qtk_error(QTK_EJOB,
            "[%lld, %lld]: %s: allowed are codes of 2, 3, 4 or 8 bits with f16 scales and integer "
            "zeros, and sides that are multiples of 32; a quantize stage before this one can make "
            "such, or its targets leave the linear out as floats",
            (long long)t->layout.rows, (long long)t->layout.cols, reason);
  return QTK_EXPORT_REFUSED;
}
