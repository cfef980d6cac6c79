/* SPDX-License-Identifier: BSD-3-Clause
 * The configuration of an adapter to write: what it is decides, and what its note says beside
 * that stays. */
#include "peft.h"

#include <stdlib.h>
#include <string.h>

static int config_memory(void)
{
  return qtk_error(QTK_ENOMEM, "out of memory for " PEFT_CONFIG);
}

size_t peft_path(const char *tensor)
{
  size_t n = strlen(tensor), end = strlen(".weight");
  return n > end && strcmp(tensor + n - end, ".weight") == 0 ? n - end : 0;
}

/* ---- linears ------------------------------------------------------------------------------- */

/* What stands behind the block's number: "self_attn.q_proj". */
static const char *config_suffix(const char *tensor)
{
  const char *suffix = tensor;
  for (const char *p = strchr(tensor, '.'); p; p = strchr(p + 1, '.')) {
    size_t digits = strspn(p + 1, "0123456789");
    if (digits > 0 && p[1 + digits] == '.')
      suffix = p + 2 + digits;
  }
  return suffix;
}

/* One of the two stands for the pair. */
static int config_is_first(const struct qtk_adapter_export *a, int i)
{
  return strcmp(a->params[i].part, a->form->a) == 0;
}

/* Linears of that kind that have a pair. */
static int64_t config_count(const struct qtk_adapter_export *a, const char *suffix)
{
  int64_t n = 0;
  for (int i = 0; i < a->n_params; i++)
    n += config_is_first(a, i) && strcmp(config_suffix(a->params[i].tensor), suffix) == 0;
  return n;
}

static int config_add(json_t *list, const char *text)
{
  int n = (int)peft_path(text);
  json_t *item = json_sprintf("%.*s", n, text), *other;
  size_t i;
  json_array_foreach(list, i, other)
    if (item && json_equal(other, item)) {
      json_decref(item);
      return QTK_OK;
    }
  return json_array_append_new(list, item) == 0 ? QTK_OK : config_memory();
}

/* A kind of linear where all blocks have it, else each by its whole name. */
static json_t *config_modules(const struct qtk_adapter_export *a)
{
  json_t *list = json_array();
  int rc = list ? QTK_OK : QTK_ENOMEM;
  for (int i = 0; i < a->n_params && rc == QTK_OK; i++) {
    const char *tensor = a->params[i].tensor, *suffix = config_suffix(tensor);
    rc = config_add(list, config_count(a, suffix) == a->layers ? suffix : tensor);
  }
  if (rc == QTK_OK)
    return list;
  json_decref(list);
  return NULL;
}

static uint64_t config_linears(const struct qtk_adapter_export *a)
{
  uint64_t linears = 0;
  for (int i = 0; i < a->n_params; i++)
    linears += peft_linear(a->params[i].tensor);
  return linears;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Steals `value`. One that says the same already stays as it is written: 8 and 8.0. */
static int config_put(json_t *root, const char *key, json_t *value)
{
  const json_t *old = json_object_get(root, key);
  int same = value && old && (json_equal(old, value) ||
                              (json_is_number(old) && json_is_number(value) &&
                               json_number_value(old) == json_number_value(value)));
  if (!same)
    return json_object_set_new(root, key, value) == 0 ? QTK_OK : config_memory();
  json_decref(value);
  return QTK_OK;
}

static json_t *config_number(double value)
{
  int whole = value > -1e15 && value < 1e15 && value == (double)(json_int_t)value;
  return whole ? json_integer((json_int_t)value) : json_real(value);
}

/* Keys that a note may have, and what PEFT takes them for if nobody says otherwise. */
static json_t *config_defaults(const struct qtk_adapter_export *a)
{
  return json_pack("{s:{}, s:s, s:b, s:b, s:n, s:n, s:n, s:{}, s:n, s:s, s:b}", "alpha_pattern",
                   "base_model_name_or_path", a->base, "inference_mode", 1, "init_lora_weights", 1,
                   "layers_pattern", "layers_to_transform", "modules_to_save", "rank_pattern",
                   "revision", "task_type", "CAUSAL_LM", "use_dora", 0);
}

/* Where there are pairs, unless the note says that of the same linears. */
static int config_put_targets(json_t *root, const struct qtk_adapter_export *a)
{
  static const char *const narrow[] = {"exclude_modules", "layers_pattern", "layers_to_transform"};
  int rc = config_put(root, "target_modules", config_modules(a));
  for (size_t i = 0; i < sizeof narrow / sizeof *narrow && rc == QTK_OK; i++)
    if (json_object_get(root, narrow[i]))
      rc = config_put(root, narrow[i], json_null());
  return rc;
}

static int config_put_form(json_t *root, const struct qtk_adapter_export *a)
{
  const struct qtk_form *f = a->form;
  int turned = 0, rc = config_put(root, "peft_type", json_string("LORA"));
  for (int i = 0; i < a->n_params; i++)
    turned |= a->params[i].turned;
  if (rc == QTK_OK)
    rc = config_put(root, "r", json_integer(f->rank));
  if (rc == QTK_OK)
    rc = config_put(root, "lora_alpha", config_number(f->alpha));
  if (rc == QTK_OK)
    rc = config_put(root, "lora_dropout", json_real(f->dropout));
  if (rc == QTK_OK)
    rc = config_put(root, "use_rslora", json_boolean(f->rooted));
  if (rc == QTK_OK)
    rc = config_put(root, "bias", json_string("none"));
  return rc == QTK_OK ? config_put(root, "fan_in_fan_out", json_boolean(turned)) : rc;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static int config_fill(json_t *root, const struct qtk_adapter_export *a, int targets)
{
  struct peft_config config;
  int rc = root ? config_put_form(root, a) : config_memory();
  if (rc == QTK_OK && targets)
    rc = config_put_targets(root, a);
  /* A note is not to say that these pairs are something else. */
  return rc == QTK_OK ? peft_config_check(root, &config) : rc;
}

int peft_config_write(const struct qtk_adapter_export *adapter, char **text, int *bf16)
{
  struct peft_note note = {0};
  int rc = adapter->note ? peft_note_read(adapter->note, &note) : QTK_OK;
  if (rc != QTK_OK)
    return rc;
  json_t *root = note.config ? json_deep_copy(note.config) : config_defaults(adapter);
  rc = config_fill(root, adapter, !note.config || note.linears != config_linears(adapter));
  *bf16 = note.bf16;
  *text = rc == QTK_OK ? peft_json(root) : NULL;
  json_decref(root);
  json_decref(note.config);
  return rc == QTK_OK && !*text ? config_memory() : rc;
}
