/* SPDX-License-Identifier: BSD-3-Clause
 * The configuration of a checkpoint: what most linears have, and rules for the others. */
#include "write.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* -1: one group a row. */
static int64_t describe_group(const struct qtk_qlayout *l)
{
  return l->groups == 1 ? -1 : l->group;
}

static int describe_fits(const struct qtk_qlayout *l, int bits, int64_t group)
{
  int64_t size = group == -1 || group > l->cols ? l->cols : group;
  return l->bits == bits && l->groups == (l->cols - 1) / size + 1 &&
         (l->groups == 1 || l->group == size);
}

/* The linear whose bits and group fit most of them; the first of such. */
static const struct qtk_qlayout *describe_usual(const struct qtk_export *model)
{
  const struct qtk_qlayout *best = NULL;
  int most = 0;
  for (int i = 0; i < model->n_tensors; i++) {
    const struct qtk_qlayout *l = &model->tensors[i].layout;
    int fits = 0;
    if (!qtk_export_is_quantized(&model->tensors[i]))
      continue;
    for (int k = 0; k < model->n_tensors; k++)
      fits += qtk_export_is_quantized(&model->tensors[k]) &&
              describe_fits(&model->tensors[k].layout, l->bits, describe_group(l));
    if (fits > most) {
      most = fits;
      best = l;
    }
  }
  return best;
}

/* ---- rules for single linears ----------------------------------------------------------- */

/* SIGN:^NAME$, the dots of the name escaped. */
static void describe_pattern(char pattern[1024], char sign, const char *name)
{
  size_t n = strlen(name) - strlen(".weight"), at = 3;
  memcpy(pattern, "+:^", 3);
  pattern[0] = sign;
  for (size_t i = 0; i < n && at < 1000; i++) {
    if (name[i] == '.')
      pattern[at++] = '\\';
    pattern[at++] = name[i];
  }
  strcpy(pattern + at, "$");
}

static json_t *describe_rules(const struct qtk_export *model, const struct qtk_qlayout *usual)
{
  char pattern[1024];
  json_t *rules = json_object();
  for (int i = 0; i < model->n_tensors; i++) {
    const struct qtk_export_tensor *t = &model->tensors[i];
    size_t n = strlen(t->name);
    int packed = qtk_export_is_quantized(t);
    if (n <= strlen(".weight") || strcmp(t->name + n - strlen(".weight"), ".weight") != 0 ||
        (packed && describe_fits(&t->layout, usual->bits, describe_group(usual))) ||
        (!packed && (!t->linear || t->ndim != 2)))
      continue;
    describe_pattern(pattern, packed ? '+' : '-', t->name);
    json_object_set_new(rules, pattern,
                        packed ? json_pack("{s:i, s:I}", "bits", t->layout.bits, "group_size",
                                           (json_int_t)describe_group(&t->layout))
                               : json_object());
  }
  return rules;
}

char *gptq_describe(const struct gptq_writer *w)
{
  const struct qtk_qlayout *usual = describe_usual(w->model);
  int order = 0, symmetric = 1, head = 0;
  if (!usual) {
    qtk_error(QTK_EJOB, "no linear is quantized to integers that a checkpoint holds");
    return NULL;
  }
  for (int i = 0; i < w->model->n_tensors; i++) {
    const struct qtk_export_tensor *t = &w->model->tensors[i];
    if (!qtk_export_is_quantized(t))
      continue;
    order |= t->layout.has_g_idx;
    symmetric &= t->layout.zero == QTK_ZERO_MID;
    head |= !t->linear;
  }
  json_t *rules = describe_rules(w->model, usual);
  json_t *root = json_pack(
      "{s:i, s:I, s:b, s:b, s:b, s:s, s:s, s:s, s:{s:[s]}}", "bits", usual->bits, "group_size",
      (json_int_t)describe_group(usual), "desc_act", order, "sym", symmetric, "lm_head", head,
      "quant_method", "gptq", "checkpoint_format", w->is_v2 ? "gptq_v2" : "gptq", "pack_dtype",
      "int32", "meta", "quantizer", "qtk:" QTK_VERSION);
  if (json_object_size(rules) > 0)
    json_object_set(root, "dynamic", rules);
  json_decref(rules);
  char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
  json_decref(root);
  if (!text)
    qtk_error(QTK_ENOMEM, "out of memory for a JSON text");
  return text;
}
