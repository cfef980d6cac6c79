/* SPDX-License-Identifier: BSD-3-Clause
 * The tokenizer of a folder: the text of its tokenizer.json, or one that is made from
 * the files that older folders have. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#define TOKENIZER_MAX (256u << 20)
#define TOKENIZER_PIECES_MAX (64u << 20)

int safetensors_json_read(const char *folder, const char *name, size_t max, json_t **object)
{
  char *text;
  json_error_t error;
  *object = NULL;
  int rc = safetensors_text_read(folder, name, max, &text);
  if (rc || !text)
    return rc;
  /* model_max_length is often 1e30 written out, which is no integer of C. */
  int flags = strcmp(name, "tokenizer_config.json") == 0 ? JSON_DECODE_INT_AS_REAL : 0;
  json_t *root = json_loads(text, flags, &error);
  free(text);
  if (!root)
    return qtk_error(QTK_EINPUT, "%s/%s: line %d: %s", folder, name, error.line, error.text);
  if (!json_is_object(root)) {
    json_decref(root);
    return qtk_error(QTK_EINPUT, "%s/%s: no JSON object", folder, name);
  }
  *object = root;
  return QTK_OK;
}

/* ---- the files beside a vocabulary ------------------------------------------------ */

static int beside_read_one(const char *folder, const char *name, json_t **object)
{
  int rc = safetensors_json_read(folder, name, 16u << 20, object);
  if (rc || *object)
    return rc;
  *object = json_object();
  return *object ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
}

static int beside_read(const char *folder, struct safetensors_beside *beside)
{
  int rc = beside_read_one(folder, "tokenizer_config.json", &beside->config);
  if (rc == QTK_OK)
    rc = beside_read_one(folder, "special_tokens_map.json", &beside->special);
  return rc ? rc : beside_read_one(folder, "added_tokens.json", &beside->added);
}

static void beside_free(struct safetensors_beside *beside)
{
  json_decref(beside->config);
  json_decref(beside->special);
  json_decref(beside->added);
}

/* ---- a SentencePiece model ----------------------------------------------------------- */

static char *tokenizer_base64(const unsigned char *bytes, size_t n)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char *text = malloc((n + 2) / 3 * 4 + 1), *out = text;
  for (size_t i = 0; text && i < n; i += 3) {
    uint32_t three = (uint32_t)bytes[i] << 16;
    three |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
    three |= i + 2 < n ? bytes[i + 2] : 0;
    *out++ = digits[three >> 18];
    *out++ = digits[three >> 12 & 63];
    *out++ = i + 1 < n ? digits[three >> 6 & 63] : '=';
    *out++ = i + 2 < n ? digits[three & 63] : '=';
  }
  if (text)
    *out = '\0';
  return text;
}

/* Files without a word about it are of the kind that puts one BOS in front. "legacy"
 * ones put a space in front of each text between special tokens. */
static json_t *tokenizer_pieces_make(const struct safetensors_beside *beside, const char *data)
{
  int bos = safetensors_token_flag(beside, "add_bos_token", 1);
  int eos = safetensors_token_flag(beside, "add_eos_token", 0);
  int legacy = safetensors_token_flag(beside, "legacy", 1);
  json_t *added = safetensors_added_tokens(beside, NULL);
  if (!added)
    return NULL;
  return json_pack("{s:o, s:{s:s, s:b, s:b, s:s, s:s}}", "added_tokens", added, "model", "type",
                   "SentencePiece", "add_bos_token", bos, "add_eos_token", eos, "prepend_scheme",
                   legacy ? "always" : "first", "data", data);
}

static int tokenizer_pieces(const char *folder, const struct safetensors_beside *beside,
                            json_t **tokenizer)
{
  char *bytes;
  size_t n;
  int rc = safetensors_bytes_read(folder, "tokenizer.model", TOKENIZER_PIECES_MAX, &bytes, &n);
  if (rc || !bytes)
    return rc;
  char *data = tokenizer_base64((const unsigned char *)bytes, n);
  *tokenizer = data ? tokenizer_pieces_make(beside, data) : NULL;
  free(data);
  free(bytes);
  return *tokenizer ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
}

/* ---- the first that is there ----------------------------------------------------------- */

static int tokenizer_make(const char *folder, json_t **tokenizer)
{
  struct safetensors_beside beside = {0};
  int rc = beside_read(folder, &beside);
  if (rc == QTK_OK)
    rc = tokenizer_pieces(folder, &beside, tokenizer);
  if (rc == QTK_OK && !*tokenizer)
    rc = safetensors_words_read(folder, &beside, tokenizer);
  beside_free(&beside);
  return rc;
}

int safetensors_tokenizer_read(const char *folder, char **json)
{
  json_t *tokenizer = NULL;
  int rc = safetensors_text_read(folder, "tokenizer.json", TOKENIZER_MAX, json);
  if (rc || *json)
    return rc;
  rc = tokenizer_make(folder, &tokenizer);
  if (rc == QTK_OK && tokenizer && !(*json = json_dumps(tokenizer, JSON_COMPACT)))
    rc = qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
  json_decref(tokenizer);
  return rc;
}
