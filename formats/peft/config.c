/* SPDX-License-Identifier: BSD-3-Clause
 * adapter_config.json: what it must say, may say and must not. */
#include "peft.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONFIG_MAX (1u << 20)

static int config_refuse(const char *key, const char *why)
{
  return qtk_error(QTK_EINPUT, "%s: \"%s\": %s", PEFT_CONFIG, key, why);
}

/* null, false, 0 and what is empty say nothing. */
static int config_says(const json_t *value)
{
  switch (json_typeof(value)) {
  case JSON_OBJECT:
    return json_object_size(value) > 0;
  case JSON_ARRAY:
    return json_array_size(value) > 0;
  case JSON_STRING:
    return json_string_length(value) > 0;
  case JSON_INTEGER:
    return json_integer_value(value) != 0;
  case JSON_REAL:
    return json_real_value(value) != 0;
  case JSON_TRUE:
    return 1;
  default:
    return 0;
  }
}

/* ---- numbers --------------------------------------------------------------------------- */

static int config_rank(const json_t *root, struct peft_config *c)
{
  const json_t *rank = json_object_get(root, "r");
  c->rank = json_integer_value(rank);
  return json_is_integer(rank) && c->rank >= 1 && c->rank <= 1 << 20
             ? QTK_OK
             : config_refuse("r", "a whole number from 1 on is wanted");
}

static int config_number(const json_t *root, const char *key, double otherwise, double *value)
{
  const json_t *number = json_object_get(root, key);
  *value = number ? json_number_value(number) : otherwise;
  return number == NULL || json_is_number(number) ? QTK_OK
                                                  : config_refuse(key, "a number is wanted");
}

static int config_numbers(const json_t *root, struct peft_config *c)
{
  int rc = config_rank(root, c);
  if (rc == QTK_OK)
    rc = config_number(root, "lora_alpha", 8, &c->alpha);
  if (rc == QTK_OK)
    rc = config_number(root, "lora_dropout", 0, &c->dropout);
  if (rc == QTK_OK && !(c->alpha > 0))
    rc = config_refuse("lora_alpha", "a number above 0 is wanted");
  c->scaled = json_is_true(json_object_get(root, "use_rslora"));
  return rc;
}

/* ---- what computes otherwise ---------------------------------------------------------------- */

/* A pattern that says for some linears what holds for all is no pattern. */
static int config_pattern(const json_t *root, const char *key, double all)
{
  const char *name;
  json_t *value;
  json_object_foreach(json_object_get(root, key), name, value)
    if (json_number_value(value) != all)
      return qtk_error(QTK_EINPUT, "%s: \"%s\": \"%.100s\" has another value than the rest: all "
                                   "pairs of an adapter are alike here",
                       PEFT_CONFIG, key, safetensors_plain(name) ? name : "?");
  return QTK_OK;
}

/* Starts that leave the base as it is. PEFT begins with the start when it loads an adapter too, so
 * one that puts other weights under it is no pair alone, and one that is not known may. */
static int config_start(const json_t *root)
{
  static const char *const starts[] = {"gaussian", "eva", "orthogonal", "mica"};
  const json_t *value = json_object_get(root, "init_lora_weights");
  const char *start = json_string_value(value);
  for (size_t i = 0; start && i < sizeof starts / sizeof *starts; i++)
    if (strcasecmp(start, starts[i]) == 0)
      return QTK_OK;
  if (!value || json_is_boolean(value) || json_is_null(value))
    return QTK_OK;
  return config_refuse("init_lora_weights",
                       "it must be true, false, \"gaussian\", \"eva\", \"orthogonal\" or \"mica\": "
                       "others change the base, which the adapter alone does not say; save it as "
                       "plain pairs");
}

static int config_texts(const json_t *root)
{
  const char *type = json_string_value(json_object_get(root, "peft_type"));
  const json_t *bias = json_object_get(root, "bias");
  if (type == NULL || strcmp(type, "LORA") != 0)
    return config_refuse("peft_type", "only \"LORA\" is known");
  if (config_says(bias ? bias : json_null()) &&
      (!json_is_string(bias) || strcmp(json_string_value(bias), "none") != 0))
    return config_refuse("bias", "trained biases are not supported: \"none\" is");
  return config_start(root);
}

/* Objects that are there and empty say that all is as by default, and lists in their place say
 * nothing. */
static int config_asks(const json_t *value)
{
  return json_is_object(value) || config_says(value);
}

static int config_unsupported(const json_t *root)
{
  static const char *const keys[] = {
      "use_dora",       "use_qalora",        "use_bdlora",  "lora_bias",
      "modules_to_save", "layer_replication", "arrow_config", "alora_invocation_tokens",
      "target_parameters", "trainable_token_indices", "kasa_config", "velora_config",
      "monteclora_config"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    const json_t *value = json_object_get(root, keys[i]);
    if (value && config_asks(value))
      return config_refuse(keys[i], "it changes what the adapter computes, and is not supported");
  }
  return QTK_OK;
}

/* What says nothing about arithmetic, or is said by the tensors themselves. */
static int config_is_known(const char *key)
{
  static const char *const keys[] = {
      "peft_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "rank_pattern",
      "alpha_pattern", "init_lora_weights", "target_modules", "exclude_modules", "fan_in_fan_out",
      "layers_to_transform", "layers_pattern", "base_model_name_or_path", "revision", "task_type",
      "inference_mode", "auto_mapping", "peft_version", "megatron_core", "megatron_config",
      "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size",
      "runtime_config", "ensure_weight_tying"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (strcmp(keys[i], key) == 0)
      return 1;
  return 0;
}

static void config_warn(const json_t *root)
{
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)root, key, value)
    if (!config_is_known(key) && config_says(value))
      qtk_warn("%s: \"%.60s\" is not known: it is kept, and left out of account", PEFT_CONFIG,
               safetensors_plain(key) ? key : "?");
}

/* ---- the whole ---------------------------------------------------------------------------------- */

int peft_config_check(const json_t *root, struct peft_config *c)
{
  int rc = json_is_object(root) ? config_texts(root)
                                : qtk_error(QTK_EINPUT, "%s: no JSON object", PEFT_CONFIG);
  if (rc == QTK_OK)
    rc = config_unsupported(root);
  if (rc == QTK_OK)
    rc = config_numbers(root, c);
  if (rc == QTK_OK)
    rc = config_pattern(root, "rank_pattern", (double)c->rank);
  return rc == QTK_OK ? config_pattern(root, "alpha_pattern", c->alpha) : rc;
}

/* What is read can be written, a line for each value, and is then not too long to be read. */
static int config_measure(const json_t *root)
{
  char *text = peft_json(root);
  size_t n = text ? strlen(text) : 0;
  free(text);
  if (!text)
    return qtk_error(QTK_ENOMEM, "out of memory for " PEFT_CONFIG);
  return n <= CONFIG_MAX / 2 ? QTK_OK
                             : qtk_error(QTK_EINPUT, "%s: %zu bytes, a line for each value: at "
                                                     "most %u are allowed",
                                         PEFT_CONFIG, n, CONFIG_MAX / 2);
}

int peft_config_read(const char *folder, json_t **root, struct peft_config *config)
{
  json_error_t error;
  char *text = NULL;
  int rc = safetensors_text_read(folder, PEFT_CONFIG, CONFIG_MAX, &text);
  if (rc)
    return rc;
  if (!text)
    return qtk_error(QTK_EINPUT, "%s: there is no %s", folder, PEFT_CONFIG);
  *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  rc = *root ? peft_config_check(*root, config)
             : qtk_error(QTK_EINPUT, "%s: line %d: %s", PEFT_CONFIG, error.line, error.text);
  if (rc == QTK_OK)
    rc = config_measure(*root);
  if (rc == QTK_OK)
    config_warn(*root);
  free(text);
  return rc;
}
