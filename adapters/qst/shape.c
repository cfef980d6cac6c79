/* SPDX-License-Identifier: BSD-3-Clause
 * The widths of the side network, and which reductions can be. */
#define QTK_API 1
#include <stdio.h>
#include <string.h>

#include "qst.h"

static struct qtk_dims shape_of(const struct qtk_dims *d, int64_t reduction)
{
  return (struct qtk_dims){.hidden = d->hidden / reduction,
                           .ffn = d->ffn / reduction,
                           .heads = d->heads,
                           .kv_heads = d->kv_heads,
                           .head_size = d->hidden / (reduction * d->heads)};
}

static int shape_fits(const struct qtk_model_info *model, int64_t reduction)
{
  struct qtk_dims side = shape_of(&model->dims, reduction);

  return model->dims.hidden % (reduction * model->dims.heads) == 0 && side.head_size % 2 == 0 &&
         qtk_block_fits(model, &side) == QTK_OK;
}

/* Why a reduction that does not fit does not. */
static void shape_why(const struct qtk_model_info *model, int64_t reduction, char *why, size_t room)
{
  const struct qtk_dims *d = &model->dims;
  struct qtk_dims side = shape_of(d, reduction);

  if (d->hidden % (reduction * d->heads) != 0)
    snprintf(why, room, "%lld heads of a width of %lld / %lld would not be whole",
             (long long)d->heads, (long long)d->hidden, (long long)reduction);
  else if (side.head_size % 2 != 0)
    snprintf(why, room, "heads of size %lld would be left, and it must be even",
             (long long)side.head_size);
  else
    snprintf(why, room, "%s", qtk_error_message());
}

#define SHAPE_LIST 16 /* reductions that a message names */

int qst_shape(const struct qtk_model_info *model, int64_t reduction, struct qtk_dims *side)
{
  char why[300], fits[SHAPE_LIST * 24] = "";
  size_t at = 0;
  int n = 0;

  *side = shape_of(&model->dims, reduction);
  if (shape_fits(model, reduction))
    return QTK_OK;
  shape_why(model, reduction, why, sizeof why);
  for (int64_t r = 2; r <= model->dims.hidden && n < SHAPE_LIST; r++)
    if (shape_fits(model, r)) {
      at += (size_t)snprintf(fits + at, sizeof fits - at, "%s%lld", n > 0 ? ", " : "",
                             (long long)r);
      n++;
    }
  if (n == 0)
    return qtk_error(QTK_EJOB, "reduction = %lld: %s; no reduction fits this model",
                     (long long)reduction, why);
  return qtk_error(QTK_EJOB, "reduction = %lld: %s; for this model there are %s",
                   (long long)reduction, why, fits);
}

int qst_cut_fits(const struct qtk_model_info *model, const struct qtk_dims *side)
{
  int64_t wide = model->dims.head_size, still = wide - model->rotary_dims;

  if (side->head_size <= wide && side->head_size - qst_cut_turned(model, side) <= still)
    return QTK_OK;
  return qtk_error(QTK_EJOB, "start = \"pruned\": heads of size %lld cannot be cut out of the "
                             "model's, of size %lld; a larger reduction can, or start = \"random\"",
                   (long long)side->head_size, (long long)wide);
}
