/* SPDX-License-Identifier: BSD-3-Clause
 * The tokenizer, from the layout of a tokenizer.json, as metadata: byte-level BPE
 * as model "gpt2", SentencePiece pieces as model "llama". What the metadata cannot say
 * is refused. */
#include "write.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values of tokenizer.ggml.token_type. */
enum {
  VOCABULARY_PLAIN = 1,
  VOCABULARY_UNKNOWN = 2,
  VOCABULARY_CONTROL = 3,
  VOCABULARY_USER = 4,
  VOCABULARY_UNUSED = 5
};

struct vocabulary {
  struct gguf_bytes *out;
  const struct qtk_export *model;
  json_t *json;
  int64_t n;           /* tokens */
  const char **tokens; /* [n]; NULL: none of that id */
  int32_t *types;      /* [n] */
  float *scores;       /* [n], or NULL */
  int32_t bos, eos, pad, unknown; /* ids, or -1 */
  int add_bos, add_eos;
};

static const json_t *vocabulary_at(const struct vocabulary *v, const char *part, const char *key)
{
  return json_object_get(json_object_get(v->json, part), key);
}

static const char *vocabulary_text(const struct vocabulary *v, const char *part, const char *key)
{
  const char *text = json_string_value(vocabulary_at(v, part, key));
  return text ? text : "";
}

/* ---- tokens ----------------------------------------------------------------------------- */

static int vocabulary_set(struct vocabulary *v, json_int_t id, const char *text, int type)
{
  if (!text || id < 0 || id >= v->n)
    return qtk_error(QTK_EJOB,
                     "tokenizer: the token '%.40s' has the id %lld, but the embedding has %lld rows",
                     text ? text : "", (long long)id, (long long)v->n);
  v->tokens[id] = text;
  v->types[id] = type;
  return QTK_OK;
}

/* Unknown, control and user-defined pieces are added tokens already. */
static int vocabulary_is_added(const struct vocabulary *v, json_int_t id)
{
  return id >= 0 && id < v->n && v->tokens[id] && v->types[id] >= VOCABULARY_UNKNOWN &&
         v->types[id] <= VOCABULARY_USER;
}

static int vocabulary_added(struct vocabulary *v)
{
  const json_t *list = json_object_get(v->json, "added_tokens");
  int rc = QTK_OK;
  for (size_t i = 0; i < json_array_size(list) && rc == QTK_OK; i++) {
    const json_t *token = json_array_get(list, i);
    json_int_t id = json_integer_value(json_object_get(token, "id"));
    int special = json_is_true(json_object_get(token, "special"));
    if (!vocabulary_is_added(v, id))
      rc = vocabulary_set(v, id, json_string_value(json_object_get(token, "content")),
                          special ? VOCABULARY_CONTROL : VOCABULARY_USER);
  }
  return rc;
}

static void vocabulary_put_tokens(const struct vocabulary *v)
{
  char unused[32];
  gguf_bytes_key_array(v->out, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)v->n);
  for (int64_t i = 0; i < v->n; i++) {
    snprintf(unused, sizeof unused, "[PAD%lld]", (long long)i);
    gguf_bytes_string(v->out, v->tokens[i] ? v->tokens[i] : unused);
  }
  if (v->scores) {
    gguf_bytes_key_array(v->out, "tokenizer.ggml.scores", GGUF_F32, (uint64_t)v->n);
    gguf_bytes_put(v->out, v->scores, (size_t)v->n * sizeof *v->scores);
  }
  gguf_bytes_key_array(v->out, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)v->n);
  gguf_bytes_put(v->out, v->types, (size_t)v->n * sizeof *v->types);
}

/* ---- byte-level BPE ------------------------------------------------------------------------ */

static int vocabulary_words(struct vocabulary *v)
{
  const char *text;
  json_t *id;
  int rc = QTK_OK;
  json_object_foreach((json_t *)vocabulary_at(v, "model", "vocab"), text, id)
    if (rc == QTK_OK)
      rc = vocabulary_set(v, json_integer_value(id), text, VOCABULARY_PLAIN);
  return rc;
}

/* A merge is "LEFT RIGHT", or both as a list. */
static int vocabulary_merge(const struct vocabulary *v, const json_t *merge, size_t i)
{
  const char *left = json_string_value(json_array_get(merge, 0));
  const char *right = json_string_value(json_array_get(merge, 1));
  if (json_is_string(merge)) {
    gguf_bytes_string(v->out, json_string_value(merge));
    return QTK_OK;
  }
  if (!left || !right || strchr(left, ' ') || strchr(right, ' '))
    return qtk_error(QTK_EJOB, "tokenizer: merge %zu is no pair of parts without blanks", i);
  gguf_bytes_u64(v->out, strlen(left) + 1 + strlen(right));
  gguf_bytes_put(v->out, left, strlen(left));
  gguf_bytes_put(v->out, " ", 1);
  gguf_bytes_put(v->out, right, strlen(right));
  return QTK_OK;
}

static int vocabulary_merges(const struct vocabulary *v)
{
  const json_t *list = vocabulary_at(v, "model", "merges");
  int rc = QTK_OK;
  gguf_bytes_key_array(v->out, "tokenizer.ggml.merges", GGUF_STRING, json_array_size(list));
  for (size_t i = 0; i < json_array_size(list) && rc == QTK_OK; i++)
    rc = vocabulary_merge(v, json_array_get(list, i), i);
  return rc;
}

static int vocabulary_name(const struct vocabulary *v, const struct gguf_options *options,
                           const char **name)
{
  *name = *options->pretokenizer ? options->pretokenizer : v->model->text(v->model, "pretokenizer");
  if (*name)
    return QTK_OK;
  return qtk_error(QTK_EJOB, "tokenizer: its pre-tokenizer is none that has a name in "
                             "data/pretokenizers.toml; pretokenizer = \"NAME\" names one");
}

static int vocabulary_bpe(struct vocabulary *v, const struct gguf_options *options)
{
  const char *name;
  if (json_is_true(vocabulary_at(v, "model", "byte_fallback")))
    return qtk_error(QTK_EJOB, "tokenizer: BPE with byte_fallback has no scores, which the format "
                               "wants for it");
  int rc = vocabulary_name(v, options, &name);
  if (rc)
    return rc;
  gguf_bytes_key_string(v->out, "tokenizer.ggml.model", "gpt2");
  gguf_bytes_key_string(v->out, "tokenizer.ggml.pre", name);
  rc = vocabulary_words(v);
  if (rc == QTK_OK)
    rc = vocabulary_added(v);
  if (rc == QTK_OK)
    vocabulary_put_tokens(v);
  return rc ? rc : vocabulary_merges(v);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* [piece, score, type] by id. */
static int vocabulary_piece(struct vocabulary *v, const json_t *piece, int64_t id)
{
  v->scores[id] = (float)json_number_value(json_array_get(piece, 1));
  return vocabulary_set(v, id, json_string_value(json_array_get(piece, 0)),
                        (int)json_integer_value(json_array_get(piece, 2)));
}

static int vocabulary_pieces(struct vocabulary *v)
{
  const json_t *list = vocabulary_at(v, "model", "vocab");
  int64_t n = (int64_t)json_array_size(list);
  int rc = QTK_OK;
  const char *algorithm = vocabulary_text(v, "model", "algorithm");
  const char *scheme = vocabulary_text(v, "model", "prepend_scheme");
  if (!json_is_array(list) || n > v->n || strcmp(algorithm, "BPE") != 0)
    return qtk_error(QTK_EJOB, "tokenizer: %s pieces (%lld, rows of the embedding %lld) cannot be "
                               "written: only those of a BPE can",
                     *algorithm ? algorithm : "such", (long long)n, (long long)v->n);
  v->scores = calloc((size_t)v->n, sizeof *v->scores);
  if (!v->scores)
    return qtk_error(QTK_ENOMEM, "out of memory for the scores of %lld tokens", (long long)v->n);
  for (int64_t i = 0; i < n && rc == QTK_OK; i++)
    rc = vocabulary_piece(v, json_array_get(list, (size_t)i), i);
  gguf_bytes_key_string(v->out, "tokenizer.ggml.model", "llama");
  gguf_bytes_key_string(v->out, "tokenizer.ggml.pre", "default");
  gguf_bytes_key_bool(v->out, "tokenizer.ggml.add_space_prefix", strcmp(scheme, "never") != 0);
  if (rc == QTK_OK)
    rc = vocabulary_added(v);
  if (rc == QTK_OK)
    vocabulary_put_tokens(v);
  v->unknown = (int32_t)json_integer_value(vocabulary_at(v, "model", "unk_id"));
  return rc;
}

/* ---- what stands around a text ------------------------------------------------------------------ */

/* The template of one text: at most one special token on either side. */
static int vocabulary_template(struct vocabulary *v, const json_t *post)
{
  const json_t *list = json_object_get(post, "single"), *ids;
  int seen = 0;
  for (size_t i = 0; i < json_array_size(list); i++) {
    const json_t *part = json_object_get(json_array_get(list, i), "SpecialToken");
    const char *name = json_string_value(json_object_get(part, "id"));
    if (!name) {
      seen = 1;
      continue;
    }
    ids = json_object_get(json_object_get(json_object_get(post, "special_tokens"), name), "ids");
    if (json_array_size(ids) != 1 || (seen ? v->add_eos : v->add_bos))
      return qtk_error(QTK_EJOB, "tokenizer: more than one token before or after a text cannot be "
                                 "said in the file");
    *(seen ? &v->add_eos : &v->add_bos) = 1;
    *(seen ? &v->eos : &v->bos) = (int32_t)json_integer_value(json_array_get(ids, 0));
  }
  return QTK_OK;
}

static int vocabulary_post(struct vocabulary *v, const json_t *post)
{
  const char *type = json_string_value(json_object_get(post, "type"));
  const json_t *list = json_object_get(post, "processors");
  int rc = QTK_OK;
  if (!type || strcmp(type, "ByteLevel") == 0)
    return QTK_OK;
  if (strcmp(type, "TemplateProcessing") == 0)
    return vocabulary_template(v, post);
  if (strcmp(type, "Sequence") != 0)
    return qtk_error(QTK_EJOB, "tokenizer: the post-processor %s cannot be said in the file", type);
  for (size_t i = 0; i < json_array_size(list) && rc == QTK_OK; i++)
    rc = vocabulary_post(v, json_array_get(list, i));
  return rc;
}

/* Ids that the model's texts name, where the template did not. */
static void vocabulary_ids(struct vocabulary *v)
{
  const char *text = v->model->text(v->model, "generation_config");
  json_t *json = text ? json_loads(text, 0, NULL) : NULL;
  const struct {
    const char *key;
    int32_t *id;
  } ids[] = {{"bos_token_id", &v->bos}, {"eos_token_id", &v->eos}, {"pad_token_id", &v->pad}};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    const json_t *value = json_object_get(json, ids[i].key);
    value = json_is_array(value) ? json_array_get(value, 0) : value;
    if (*ids[i].id < 0 && json_is_integer(value) && json_integer_value(value) >= 0 &&
        json_integer_value(value) < v->n)
      *ids[i].id = (int32_t)json_integer_value(value);
  }
  json_decref(json);
}

static void vocabulary_put_ids(const struct vocabulary *v)
{
  const struct {
    const char *key;
    int32_t id;
  } ids[] = {{"tokenizer.ggml.bos_token_id", v->bos},
             {"tokenizer.ggml.eos_token_id", v->eos},
             {"tokenizer.ggml.padding_token_id", v->pad},
             {"tokenizer.ggml.unknown_token_id", v->unknown}};
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
    if (ids[i].id >= 0)
      gguf_bytes_key_u32(v->out, ids[i].key, (uint32_t)ids[i].id);
  gguf_bytes_key_bool(v->out, "tokenizer.ggml.add_bos_token", v->add_bos);
  gguf_bytes_key_bool(v->out, "tokenizer.ggml.add_eos_token", v->add_eos);
}

/* ---- all --------------------------------------------------------------------------------------------- */

static int vocabulary_open(struct vocabulary *v)
{
  v->json = json_loads(v->model->tokenizer, JSON_ALLOW_NUL, NULL);
  v->tokens = calloc((size_t)v->n + 1, sizeof *v->tokens);
  v->types = calloc((size_t)v->n + 1, sizeof *v->types);
  if (!v->tokens || !v->types)
    return qtk_error(QTK_ENOMEM, "out of memory for %lld tokens", (long long)v->n);
  for (int64_t i = 0; i < v->n; i++)
    v->types[i] = VOCABULARY_UNUSED;
  return json_is_object(v->json) ? QTK_OK : qtk_error(QTK_EJOB, "the tokenizer is no JSON object");
}

static int vocabulary_fill(struct vocabulary *v, const struct gguf_options *options)
{
  const char *type = vocabulary_text(v, "model", "type");
  int rc = strcmp(type, "BPE") == 0             ? vocabulary_bpe(v, options)
           : strcmp(type, "SentencePiece") == 0 ? vocabulary_pieces(v)
                                                : qtk_error(QTK_EJOB,
                                                            "tokenizer: the model '%s' cannot be "
                                                            "written: BPE and SentencePiece can",
                                                            type);
  if (rc == QTK_OK)
    rc = vocabulary_post(v, json_object_get(v->json, "post_processor"));
  if (rc == QTK_OK) {
    vocabulary_ids(v);
    vocabulary_put_ids(v);
  }
  return rc;
}

int gguf_put_tokenizer(struct gguf_bytes *b, const struct gguf_options *options,
                       const struct qtk_export *model, int64_t rows)
{
  struct vocabulary v = {.out = b, .model = model, .n = rows, .bos = -1, .eos = -1, .pad = -1,
                         .unknown = -1};
  const char *template = model->text(model, "chat_template");
  int rc = QTK_OK;
  if (model->tokenizer) {
    rc = vocabulary_open(&v);
    if (rc == QTK_OK)
      rc = vocabulary_fill(&v, options);
    json_decref(v.json);
    free(v.tokens);
    free(v.types);
    free(v.scores);
  }
  if (template)
    gguf_bytes_key_string(b, "tokenizer.chat_template", template);
  return rc;
}

void gguf_warn_tokenizer(const struct qtk_export *model)
{
  struct vocabulary v = {0};
  if (!model->tokenizer)
    return;
  v.json = json_loads(model->tokenizer, JSON_ALLOW_NUL, NULL);
  if (strcmp(vocabulary_text(&v, "model", "prepend_scheme"), "first") == 0)
    qtk_warn("the tokenizer puts a space in front of a text only (legacy = false); readers of the "
             "file put one behind each special token too");
  if (*vocabulary_text(&v, "normalizer", "type") ||
      *vocabulary_text(&v, "model", "precompiled_charsmap") ||
      json_is_true(vocabulary_at(&v, "model", "remove_extra_whitespaces")))
    qtk_warn("the tokenizer's normalizer cannot be said in the file: texts that it changes get "
             "other tokens");
  json_decref(v.json);
}
