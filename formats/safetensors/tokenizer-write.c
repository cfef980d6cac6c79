/* SPDX-License-Identifier: BSD-3-Clause
 * The files of an export's tokenizer: tokenizer.json, or tokenizer.model with what
 * stands beside it in tokenizer_config.json. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

static int written_memory(void)
{
  return qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
}

/* ---- tokens with a role ------------------------------------------------------------------ */

static const json_t *written_added(const json_t *tokenizer, int64_t id)
{
  const json_t *list = json_object_get(tokenizer, "added_tokens");
  for (size_t i = 0; i < json_array_size(list); i++)
    if (json_integer_value(json_object_get(json_array_get(list, i), "id")) == id)
      return json_array_get(list, i);
  return NULL;
}

static void written_set(const json_t *tokenizer, int64_t id, struct safetensors_role *role)
{
  const char *text =
      json_string_value(json_object_get(written_added(tokenizer, id), "content"));
  if (text && !role->text)
    *role = (struct safetensors_role){id, text};
}

/* What the template of one text puts around it: at most one token on either side. */
static int written_template(const json_t *tokenizer, struct safetensors_roles *roles)
{
  const json_t *post = json_object_get(tokenizer, "post_processor");
  const json_t *list = json_object_get(post, "single");
  int seen = 0;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *part = json_object_get(json_array_get(list, i), "SpecialToken");
    const char *name = json_string_value(json_object_get(part, "id"));
    const json_t *entry = json_object_get(json_object_get(post, "special_tokens"), name);
    int *add = seen ? &roles->add_eos : &roles->add_bos;
    if (!name) {
      seen = 1;
      continue;
    }
    if (*add || json_array_size(json_object_get(entry, "ids")) != 1)
      return qtk_error(QTK_EJOB, "tokenizer: more than one token before or after a text cannot be "
                                 "said in a tokenizer_config.json");
    *add = 1;
    written_set(tokenizer, json_integer_value(json_array_get(json_object_get(entry, "ids"), 0)),
                seen ? &roles->eos : &roles->bos);
  }
  return QTK_OK;
}

/* Roles that the template left open go by what the model ends a text with, and by name. */
static void written_rest(const json_t *tokenizer, const struct qtk_export *model,
                         struct safetensors_roles *roles)
{
  static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
  static const char *const names[] = {"<s>", "</s>", "<pad>"};
  struct safetensors_role *const role[] = {&roles->bos, &roles->eos, &roles->pad};
  const char *text = model->text ? model->text(model, "generation_config") : NULL;
  json_t *config = text ? json_loads(text, 0, NULL) : NULL;
  const json_t *list = json_object_get(tokenizer, "added_tokens");
  json_int_t unknown =
      json_integer_value(json_object_get(json_object_get(tokenizer, "model"), "unk_id"));
  for (int k = 0; k < 3; k++) {
    const json_t *id = json_object_get(config, keys[k]);
    id = json_is_array(id) ? json_array_get(id, 0) : id;
    if (json_is_integer(id) && json_integer_value(id) != unknown)
      written_set(tokenizer, json_integer_value(id), role[k]);
    for (size_t i = 0; i < json_array_size(list); i++) {
      const json_t *token = json_array_get(list, i);
      if (strcmp(json_string_value(json_object_get(token, "content")), names[k]) == 0)
        written_set(tokenizer, json_integer_value(json_object_get(token, "id")), role[k]);
    }
  }
  json_decref(config);
}

/* ---- tokenizer_config.json ---------------------------------------------------------------- */

/* {ID: {"content": TEXT, flags}} of all added tokens. */
static json_t *written_decoder(const json_t *tokenizer)
{
  const json_t *list = json_object_get(tokenizer, "added_tokens");
  json_t *out = json_object();
  int failed = !out;
  for (size_t i = 0; i < json_array_size(list) && !failed; i++) {
    char id[24];
    json_t *token = json_copy(json_array_get(list, i));
    snprintf(id, sizeof id, "%lld", (long long)json_integer_value(json_object_get(token, "id")));
    json_object_del(token, "id");
    failed = json_object_set_new(out, id, token);
  }
  return failed ? (json_decref(out), NULL) : out;
}

static json_t *written_config(const json_t *tokenizer, const struct safetensors_roles *roles)
{
  const json_t *model = json_object_get(tokenizer, "model");
  const char *scheme = json_string_value(json_object_get(model, "prepend_scheme"));
  const json_t *unknown = json_array_get(
      json_array_get(json_object_get(model, "vocab"),
                     (size_t)json_integer_value(json_object_get(model, "unk_id"))), 0);
  if (!scheme)
    scheme = "always";
  return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:s*, s:s*, s:s*, s:O*, s:o}", "tokenizer_class",
                   "LlamaTokenizer", "add_bos_token", roles->add_bos, "add_eos_token",
                   roles->add_eos, "add_prefix_space", strcmp(scheme, "never") != 0, "legacy",
                   strcmp(scheme, "first") != 0, "clean_up_tokenization_spaces", 0, "bos_token",
                   roles->bos.text, "eos_token", roles->eos.text, "pad_token", roles->pad.text,
                   "unk_token", unknown, "added_tokens_decoder", written_decoder(tokenizer));
}

/* ---- the files ----------------------------------------------------------------------------- */

static int written_keep(struct safetensors_written *files, const char *name, char *bytes, size_t n)
{
  if (!bytes)
    return written_memory();
  files->items[files->n++] = (struct safetensors_beside_file){name, bytes, n};
  return QTK_OK;
}

static int written_pieces(const json_t *tokenizer, const struct qtk_export *model,
                          struct safetensors_written *files)
{
  struct safetensors_roles roles = {0};
  char *bytes;
  size_t n;
  int rc = written_template(tokenizer, &roles);
  if (rc)
    return rc;
  written_rest(tokenizer, model, &roles);
  rc = safetensors_pieces_make(json_object_get(tokenizer, "model"), &roles, &bytes, &n);
  if (rc == QTK_OK)
    rc = written_keep(files, "tokenizer.model", bytes, n);
  json_t *config = rc == QTK_OK ? written_config(tokenizer, &roles) : NULL;
  char *text = config ? json_dumps(config, JSON_INDENT(2)) : NULL;
  json_decref(config);
  return rc ? rc : written_keep(files, "tokenizer_config.json", text, text ? strlen(text) : 0);
}

static int written_tokenizer(const struct qtk_export *model, struct safetensors_written *files)
{
  json_t *tokenizer = json_loads(model->tokenizer, JSON_ALLOW_NUL, NULL);
  const json_t *json = json_object_get(tokenizer, "model");
  const char *type = json_string_value(json_object_get(json, "type"));
  int pieces = type && strcmp(type, "SentencePiece") == 0 &&
               json_is_array(json_object_get(json, "vocab"));
  int rc = pieces ? written_pieces(tokenizer, model, files)
                  : written_keep(files, "tokenizer.json", strdup(model->tokenizer),
                                 strlen(model->tokenizer));
  json_decref(tokenizer);
  return rc;
}

/* Under the names that transformers reads. */
static int written_texts(const struct qtk_export *model, struct safetensors_written *files)
{
  static const char *const names[][2] = {{"chat_template", "chat_template.jinja"},
                                         {"generation_config", "generation_config.json"}};
  int rc = QTK_OK;
  for (int i = 0; i < 2 && rc == QTK_OK && model->text; i++) {
    const char *text = model->text(model, names[i][0]);
    if (text)
      rc = written_keep(files, names[i][1], strdup(text), strlen(text));
  }
  return rc;
}

int safetensors_written_make(const struct qtk_export *model, struct safetensors_written *files)
{
  files->n = 0;
  int rc = model->tokenizer ? written_tokenizer(model, files) : QTK_OK;
  if (rc == QTK_OK)
    rc = written_texts(model, files);
  if (rc)
    safetensors_written_free(files);
  return rc;
}

void safetensors_written_free(struct safetensors_written *files)
{
  for (int i = 0; i < files->n; i++)
    free(files->items[i].bytes);
  files->n = 0;
}
