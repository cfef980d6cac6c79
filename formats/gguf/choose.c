/* SPDX-License-Identifier: BSD-3-Clause
 * Which type a tensor gets in the file. Codes stay what they are where a type of
 * blocks of 32 holds them exactly; they are rounded again only on request. */
#include "write.h"

#include <string.h>

const struct qtk_option gguf_options[] = {
    QTK_OPT_TEXT(struct gguf_options, type, "auto", "auto f32 f16 bf16 q8_0 q4_0 q4_1",
                 "Type of matrices that are not written in their codes; auto: as they are held, "
                 "and q8_0 for what is quantized again."),
    QTK_OPT_BOOL(struct gguf_options, requantize, 0,
                 "Quantize again, to `type`, what no type of the format holds exactly."),
    QTK_OPT_TEXT(struct gguf_options, pretokenizer, "", 0,
                 "Name of the pre-tokenizer, where it is not found out."),
    QTK_OPT_END,
};

enum { CHOOSE_F32 = 0, CHOOSE_F16 = 1, CHOOSE_Q4_0 = 2, CHOOSE_Q4_1 = 3, CHOOSE_Q5_0 = 6,
       CHOOSE_Q8_0 = 8, CHOOSE_BF16 = 30 };

/* ---- codes --------------------------------------------------------------------- */

/* The type that holds s (q - z) or s q + m as it is, by what q - z may be: Q4_0 holds
 * -8 .. 7, Q5_0 -16 .. 15, Q8_0 -128 .. 127, Q4_1 codes 0 .. 15 with a minimum; or 0. */
static uint32_t choose_exact(const struct qtk_qlayout *l)
{
  if (l->zero == QTK_ZERO_MIN)
    return l->bits <= 4 ? CHOOSE_Q4_1 : 0;
  if (l->zero == QTK_ZERO_MID)
    return l->bits <= 4 ? CHOOSE_Q4_0 : CHOOSE_Q8_0;
  return l->bits <= 3 ? CHOOSE_Q4_0 : l->bits == 4 ? CHOOSE_Q5_0 : 0;
}

/* Why no type holds the tensor, or NULL. */
static const char *choose_obstacle(const struct qtk_qlayout *l)
{
  if (l->encoding == QTK_CODEBOOK)
    return "codes that index a table";
  if (l->encoding != QTK_AFFINE)
    return "parts that are held in different ways, or bytes of another kind";
  if (l->has_g_idx)
    return "columns that are not in the order of their groups (g_idx)";
  if (l->scale_dtype != QTK_F16)
    return "scales of f32, and blocks have f16";
  if (l->cols % GGUF_BLOCK != 0)
    return "rows that are no whole number of blocks of 32";
  if (l->groups > 1 && l->group % GGUF_BLOCK != 0)
    return "groups that are no whole number of blocks of 32";
  if (choose_exact(l) == 0)
    return "8 bits with a zero point or minimum of each group";
  return NULL;
}

/* ---- floats ----------------------------------------------------------------------- */

static uint32_t choose_dense(enum qtk_dtype dtype)
{
  return dtype == QTK_F16 ? CHOOSE_F16 : dtype == QTK_BF16 ? CHOOSE_BF16 : CHOOSE_F32;
}

static uint32_t choose_named(const char *name)
{
  static const struct {
    const char *name;
    uint32_t id;
  } types[] = {{"f32", CHOOSE_F32},   {"f16", CHOOSE_F16},   {"bf16", CHOOSE_BF16},
               {"q4_0", CHOOSE_Q4_0}, {"q4_1", CHOOSE_Q4_1}, {"q8_0", CHOOSE_Q8_0}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (strcmp(types[i].name, name) == 0)
      return types[i].id;
  return CHOOSE_Q8_0;
}

/* Blocks want rows of whole blocks; what has none is f16. */
static uint32_t choose_fitting(uint32_t id, const struct qtk_export_tensor *t)
{
  int64_t cols = t->shape[t->ndim - 1];
  return cols % gguf_type_find(id)->block == 0 ? id : CHOOSE_F16;
}

/* Vectors are f32, as readers expect. */
static struct gguf_choice choose_floats(const struct gguf_options *options,
                                        const struct qtk_export_tensor *t)
{
  struct gguf_choice c = {0};
  enum qtk_dtype held = t->layout.dtype;
  uint32_t id = t->ndim == 1 ? CHOOSE_F32
                : strcmp(options->type, "auto") == 0
                    ? choose_dense(held)
                    : choose_fitting(choose_named(options->type), t);
  c.type = gguf_type_find(id);
  c.how = held != QTK_F64 && (id == CHOOSE_F32 || (c.type->dense && c.type->dtype == held))
              ? QTK_EXPORT_HELD
              : QTK_EXPORT_ROUNDED;
  return c;
}

/* Codes that no type holds: floats lose nothing, all else is on request. */
static int choose_again(const struct gguf_options *options, const struct qtk_export_tensor *t,
                        const char *obstacle, struct gguf_choice *c)
{
  uint32_t id = choose_fitting(choose_named(options->type), t);
  *c = (struct gguf_choice){gguf_type_find(id), QTK_EXPORT_ROUNDED};
  if (id == CHOOSE_F32)
    c->how = QTK_EXPORT_ROWS;
  if (id == CHOOSE_F32 || options->requantize)
    return QTK_OK;
  return qtk_error(QTK_EJOB,
                   "it has %s, which no type of the format holds exactly; with requantize = true it "
                   "is quantized again to %s, with type = \"f32\" it is written as floats",
                   obstacle, c->type->name);
}

int gguf_choose(const struct gguf_options *options, const struct qtk_export_tensor *t,
                struct gguf_choice *c)
{
  if (strlen(t->name) > 63)
    return qtk_error(QTK_EJOB, "its name has %zu bytes: at most 63 are allowed", strlen(t->name));
  if (t->layout.encoding == QTK_DENSE) {
    *c = choose_floats(options, t);
    return QTK_OK;
  }
  const char *obstacle = choose_obstacle(&t->layout);
  if (obstacle)
    return choose_again(options, t, obstacle, c);
  *c = (struct gguf_choice){gguf_type_find(choose_exact(&t->layout)), QTK_EXPORT_HELD};
  return QTK_OK;
}
