/* SPDX-License-Identifier: BSD-3-Clause
 * Added tokens where no tokenizer.json lists them: in added_tokens_decoder of
 * tokenizer_config.json, else in added_tokens.json; which of them are special, and
 * which others of the vocabulary are, in special_tokens_map.json. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

static const char *const added_roles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

static const char *added_content(const json_t *token)
{
  return json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
}

const char *safetensors_token_text(const struct safetensors_beside *beside, const char *key)
{
  const char *text = added_content(json_object_get(beside->config, key));
  return text ? text : added_content(json_object_get(beside->special, key));
}

int safetensors_token_flag(const struct safetensors_beside *beside, const char *key, int absent)
{
  const json_t *value = json_object_get(beside->config, key);
  return json_is_boolean(value) ? json_is_true(value) : absent;
}

/* 0, or -1 out of memory. */
static int added_put(json_t *list, json_int_t id, const char *text, const json_t *flags)
{
  static const char *const names[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
  json_t *token = json_pack("{s:I, s:s}", "id", id, "content", text);
  int failed = !token;
  for (int i = 0; i < 5 && !failed; i++)
    failed = json_object_set_new(token, names[i],
                                 json_boolean(json_is_true(json_object_get(flags, names[i]))));
  return failed ? (json_decref(token), -1) : json_array_append_new(list, token);
}

static int added_from_files(const struct safetensors_beside *beside, json_t *list)
{
  json_t *decoder = json_object_get(beside->config, "added_tokens_decoder"), *value;
  const char *key;
  int failed = 0;
  json_object_foreach(decoder, key, value)
  {
    const char *text = added_content(value);
    if (text && !failed)
      failed = added_put(list, strtoll(key, NULL, 10), text, value);
  }
  if (json_object_size(decoder) > 0)
    return failed;
  json_object_foreach(beside->added, key, value)
  {
    if (json_is_integer(value) && !failed)
      failed = added_put(list, json_integer_value(value), key, NULL);
  }
  return failed;
}

static int added_special(json_t *list, const char *text, const json_t *vocab)
{
  for (size_t i = 0; text && i < json_array_size(list); i++) {
    json_t *token = json_array_get(list, i);
    if (strcmp(json_string_value(json_object_get(token, "content")), text) == 0)
      return json_object_set_new(token, "special", json_true());
  }
  const json_t *id = text ? json_object_get(vocab, text) : NULL;
  if (!json_is_integer(id))
    return 0;
  json_t *special = json_pack("{s:b}", "special", 1);
  int failed = added_put(list, json_integer_value(id), text, special);
  json_decref(special);
  return failed;
}

json_t *safetensors_added_tokens(const struct safetensors_beside *beside, const json_t *vocab)
{
  const json_t *more = json_object_get(beside->special, "additional_special_tokens");
  json_t *list = json_array();
  if (!json_is_array(more))
    more = json_object_get(beside->config, "additional_special_tokens");
  int failed = !list || added_from_files(beside, list);
  for (size_t i = 0; i < sizeof added_roles / sizeof *added_roles && !failed; i++)
    failed = added_special(list, safetensors_token_text(beside, added_roles[i]), vocab);
  for (size_t i = 0; i < json_array_size(more) && !failed; i++)
    failed = added_special(list, added_content(json_array_get(more, i)), vocab);
  if (!failed)
    return list;
  json_decref(list);
  qtk_error(QTK_ENOMEM, "out of memory for added tokens");
  return NULL;
}
