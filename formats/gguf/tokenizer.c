/* SPDX-License-Identifier: BSD-3-Clause
 * The tokenizer of the metadata in the layout of a tokenizer.json: byte-level BPE
 * from model "gpt2", SentencePiece pieces from model "llama". */
#include "gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values of tokenizer.ggml.token_type that make an added token. */
#define TOKENIZER_UNKNOWN 2
#define TOKENIZER_CONTROL 3
#define TOKENIZER_USER 4
#define TOKENIZER_MOST (1u << 24)

struct tokenizer {
  const struct gguf_meta *meta;
  struct gguf_text out;
  const struct gguf_kv *tokens;
  const struct gguf_kv *types;  /* or NULL: all are plain */
  const struct gguf_kv *scores; /* or NULL: all are 0 */
  const struct gguf_kv *merges; /* or NULL: none */
};

static int tokenizer_type(const struct tokenizer *t, uint64_t id)
{
  return t->types ? (int)gguf_value_int(GGUF_I32, t->types->value + 4 * id) : 1;
}

static int tokenizer_put(struct tokenizer *t, struct gguf_string text, const char *what,
                         uint64_t id)
{
  if (gguf_put_string(&t->out, text) == 0)
    return QTK_OK;
  return qtk_error(QTK_EINPUT, "tokenizer.ggml: %s %llu is not UTF-8", what,
                   (unsigned long long)id);
}

/* ---- added tokens ------------------------------------------------------------------ */

static int tokenizer_added_one(struct tokenizer *t, uint64_t id, struct gguf_string text,
                               int special)
{
  gguf_put_int(&t->out, (int64_t)id);
  gguf_put(&t->out, ",\"content\":");
  int rc = tokenizer_put(t, text, "token", id);
  gguf_put(&t->out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                    "\"normalized\":false,\"special\":");
  gguf_put(&t->out, special ? "true}" : "false}");
  return rc;
}

static int tokenizer_added(struct tokenizer *t)
{
  const unsigned char *at = t->tokens->value;
  int rc = QTK_OK, n = 0;
  gguf_put(&t->out, "\"added_tokens\":[");
  for (uint64_t id = 0; id < t->tokens->count && rc == QTK_OK; id++) {
    struct gguf_string text = gguf_value_string(&at);
    int type = tokenizer_type(t, id);
    if (type < TOKENIZER_UNKNOWN || type > TOKENIZER_USER)
      continue;
    gguf_put(&t->out, n++ ? ",\n{\"id\":" : "\n{\"id\":");
    rc = tokenizer_added_one(t, id, text, type != TOKENIZER_USER);
  }
  gguf_put(&t->out, "],\n");
  return rc;
}

/* ---- what is put around a text -------------------------------------------------------- */

struct tokenizer_end {
  int add;
  uint64_t id;
  struct gguf_string text;
};

/* Whether the token under `id_key` is put there, and which it is. */
static int tokenizer_end(const struct tokenizer *t, const char *add_key, int add_default,
                         const char *id_key, struct tokenizer_end *end)
{
  end->add = add_default;
  int rc = gguf_meta_bool(t->meta, add_key, &end->add);
  if (rc < 0 || !end->add)
    return rc < 0 ? rc : QTK_OK;
  int given = rc;
  rc = gguf_meta_uint(t->meta, id_key, &end->id);
  if (rc == 0 && !given) { /* a default without its token means nothing */
    end->add = 0;
    return QTK_OK;
  }
  if (rc < 0)
    return rc;
  if (rc == 0 || end->id >= t->tokens->count)
    return qtk_error(QTK_EINPUT, "%s is set, but %s names none of the %llu tokens", add_key, id_key,
                     (unsigned long long)t->tokens->count);
  const unsigned char *at = t->tokens->value;
  for (uint64_t i = 0; i <= end->id; i++)
    end->text = gguf_value_string(&at);
  return QTK_OK;
}

static int tokenizer_special(struct tokenizer *t, const struct tokenizer_end *end)
{
  gguf_put(&t->out, "{\"SpecialToken\":{\"id\":");
  int rc = tokenizer_put(t, end->text, "token", end->id);
  gguf_put(&t->out, ",\"type_id\":0}}");
  return rc;
}

static int tokenizer_entry(struct tokenizer *t, const struct tokenizer_end *end)
{
  int rc = tokenizer_put(t, end->text, "token", end->id);
  gguf_put(&t->out, ":{\"id\":");
  tokenizer_put(t, end->text, "token", end->id);
  gguf_put(&t->out, ",\"ids\":[");
  gguf_put_int(&t->out, (int64_t)end->id);
  gguf_put(&t->out, "],\"tokens\":[");
  tokenizer_put(t, end->text, "token", end->id);
  gguf_put(&t->out, "]}");
  return rc;
}

static int tokenizer_post(struct tokenizer *t, int bos_default)
{
  struct tokenizer_end bos = {0}, eos = {0};
  int rc = tokenizer_end(t, "tokenizer.ggml.add_bos_token", bos_default,
                         "tokenizer.ggml.bos_token_id", &bos);
  if (rc == QTK_OK)
    rc = tokenizer_end(t, "tokenizer.ggml.add_eos_token", 0, "tokenizer.ggml.eos_token_id", &eos);
  gguf_put(&t->out, "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[");
  if (rc == QTK_OK && bos.add) {
    rc = tokenizer_special(t, &bos);
    gguf_put(&t->out, ",");
  }
  gguf_put(&t->out, "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
  if (rc == QTK_OK && eos.add) {
    gguf_put(&t->out, ",");
    rc = tokenizer_special(t, &eos);
  }
  gguf_put(&t->out, "],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
                    "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{");
  if (rc == QTK_OK && bos.add)
    rc = tokenizer_entry(t, &bos);
  int both = bos.add && eos.add;
  gguf_put(&t->out, both && bos.id != eos.id ? "," : "");
  if (rc == QTK_OK && eos.add && !(both && bos.id == eos.id))
    rc = tokenizer_entry(t, &eos);
  gguf_put(&t->out, "}},\n");
  return rc;
}

/* ---- byte-level BPE --------------------------------------------------------------------- */

static int tokenizer_vocab(struct tokenizer *t)
{
  const unsigned char *at = t->tokens->value;
  int rc = QTK_OK;
  gguf_put(&t->out, "\"vocab\":{");
  for (uint64_t id = 0; id < t->tokens->count && rc == QTK_OK; id++) {
    gguf_put(&t->out, id ? ",\n" : "\n");
    rc = tokenizer_put(t, gguf_value_string(&at), "token", id);
    gguf_put(&t->out, ":");
    gguf_put_int(&t->out, (int64_t)id);
  }
  gguf_put(&t->out, "},\n");
  return rc;
}

/* "LEFT RIGHT" as a pair. The blank between is the first that is not the first
 * character. */
static int tokenizer_merge(struct tokenizer *t, uint64_t i, struct gguf_string merge)
{
  const char *blank = merge.length > 1 ? memchr(merge.text + 1, ' ', merge.length - 1) : NULL;
  if (!blank)
    return qtk_error(QTK_EINPUT, "tokenizer.ggml.merges: item %llu has no blank between two parts",
                     (unsigned long long)i);
  struct gguf_string left = {merge.text, (uint64_t)(blank - merge.text)};
  struct gguf_string right = {blank + 1, merge.length - left.length - 1};
  gguf_put(&t->out, i ? ",\n[" : "\n[");
  int rc = tokenizer_put(t, left, "merge", i);
  gguf_put(&t->out, ",");
  if (rc == QTK_OK)
    rc = tokenizer_put(t, right, "merge", i);
  gguf_put(&t->out, "]");
  return rc;
}

static int tokenizer_merges(struct tokenizer *t)
{
  const unsigned char *at = t->merges ? t->merges->value : NULL;
  uint64_t n = t->merges ? t->merges->count : 0;
  int rc = QTK_OK;
  gguf_put(&t->out, "\"merges\":[");
  for (uint64_t i = 0; i < n && rc == QTK_OK; i++)
    rc = tokenizer_merge(t, i, gguf_value_string(&at));
  gguf_put(&t->out, "]}\n");
  return rc;
}

/* Files made before add_bos_token was written: these put BOS first. */
static int tokenizer_bos_default(struct gguf_string pre)
{
  static const char *const names[] = {"llama3", "llama-v3", "llama-bpe"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (pre.length == strlen(names[i]) && memcmp(pre.text, names[i], pre.length) == 0)
      return 1;
  return 0;
}

static int tokenizer_bpe(struct tokenizer *t)
{
  struct gguf_string pre = {"default", 7};
  int rc = gguf_meta_string(t->meta, "tokenizer.ggml.pre", &pre);
  if (rc >= 0)
    rc = gguf_meta_array(t->meta, "tokenizer.ggml.merges", GGUF_STRING, &t->merges);
  if (rc < 0)
    return rc;
  rc = tokenizer_added(t);
  gguf_put(&t->out, "\"normalizer\":null,\n\"pre_tokenizer\":{\"type\":\"Named\",\"name\":");
  if (rc == QTK_OK && gguf_put_string(&t->out, pre) != 0)
    rc = qtk_error(QTK_EINPUT, "tokenizer.ggml.pre is not UTF-8");
  gguf_put(&t->out, "},\n");
  if (rc == QTK_OK)
    rc = tokenizer_post(t, tokenizer_bos_default(pre));
  gguf_put(&t->out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                    "\"trim_offsets\":true,\"use_regex\":true},\n"
                    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
                    "\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
                    "\"fuse_unk\":false,\"byte_fallback\":false,\n");
  if (rc == QTK_OK)
    rc = tokenizer_vocab(t);
  return rc ? rc : tokenizer_merges(t);
}

/* ---- SentencePiece -------------------------------------------------------------------------- */

static int tokenizer_pieces(struct tokenizer *t)
{
  const unsigned char *at = t->tokens->value;
  int rc = QTK_OK;
  for (uint64_t id = 0; id < t->tokens->count && rc == QTK_OK; id++) {
    double score = t->scores ? gguf_value_float(GGUF_F32, t->scores->value + 4 * id) : 0;
    gguf_put(&t->out, id ? ",\n[" : "\n[");
    rc = tokenizer_put(t, gguf_value_string(&at), "token", id);
    if (rc == QTK_OK && !isfinite(score))
      rc = qtk_error(QTK_EINPUT, "tokenizer.ggml.scores: item %llu is not finite",
                     (unsigned long long)id);
    gguf_put(&t->out, ",");
    gguf_put_real(&t->out, 9, score);
    gguf_put(&t->out, ",");
    gguf_put_int(&t->out, tokenizer_type(t, id));
    gguf_put(&t->out, "]");
  }
  gguf_put(&t->out, "]}\n");
  return rc;
}

static int tokenizer_sentencepiece(struct tokenizer *t)
{
  uint64_t unknown = 0;
  int prefix = 1;
  int rc = gguf_meta_array(t->meta, "tokenizer.ggml.scores", GGUF_F32, &t->scores);
  if (rc >= 0)
    rc = gguf_meta_uint(t->meta, "tokenizer.ggml.unknown_token_id", &unknown);
  if (rc >= 0)
    rc = gguf_meta_bool(t->meta, "tokenizer.ggml.add_space_prefix", &prefix);
  if (rc < 0)
    return rc;
  if (t->scores && t->scores->count != t->tokens->count)
    return qtk_error(QTK_EINPUT, "tokenizer.ggml: %llu tokens, but %llu scores",
                     (unsigned long long)t->tokens->count, (unsigned long long)t->scores->count);
  rc = tokenizer_added(t);
  gguf_put(&t->out, "\"normalizer\":null,\n\"pre_tokenizer\":null,\n");
  if (rc == QTK_OK)
    rc = tokenizer_post(t, 1);
  gguf_put(&t->out, "\"decoder\":null,\n\"model\":{\"type\":\"SentencePiece\",\"unk_id\":");
  gguf_put_int(&t->out, (int64_t)unknown);
  gguf_put(&t->out, ",\n\"algorithm\":\"BPE\",\"prepend_scheme\":");
  gguf_put(&t->out, prefix ? "\"always\",\n\"vocab\":[" : "\"never\",\n\"vocab\":[");
  return rc ? rc : tokenizer_pieces(t);
}

/* ---- both --------------------------------------------------------------------------- */

/* Tokens and their types; 0 if the file has none. */
static int tokenizer_tables(struct tokenizer *t)
{
  int rc = gguf_meta_array(t->meta, "tokenizer.ggml.tokens", GGUF_STRING, &t->tokens);
  if (rc <= 0)
    return rc;
  if (t->tokens->count > TOKENIZER_MOST)
    return qtk_error(QTK_EINPUT, "tokenizer.ggml: %llu tokens: at most %u are allowed",
                     (unsigned long long)t->tokens->count, TOKENIZER_MOST);
  rc = gguf_meta_array(t->meta, "tokenizer.ggml.token_type", GGUF_I32, &t->types);
  if (rc < 0)
    return rc;
  if (t->types && t->types->count != t->tokens->count)
    return qtk_error(QTK_EINPUT, "tokenizer.ggml: %llu tokens, but %llu types",
                     (unsigned long long)t->tokens->count, (unsigned long long)t->types->count);
  return 1;
}

static int tokenizer_is(struct gguf_string model, const char *name)
{
  return model.length == strlen(name) && memcmp(model.text, name, model.length) == 0;
}

int gguf_tokenizer_make(const struct gguf_meta *meta, char **json)
{
  struct gguf_string model;
  struct tokenizer t = {.meta = meta};
  *json = NULL;
  int rc = gguf_meta_string(meta, "tokenizer.ggml.model", &model);
  if (rc <= 0 || tokenizer_is(model, "none") || tokenizer_is(model, "no_vocab"))
    return rc < 0 ? rc : QTK_OK;
  rc = tokenizer_tables(&t);
  if (rc <= 0)
    return rc;
  gguf_put(&t.out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\n");
  if (tokenizer_is(model, "gpt2"))
    rc = tokenizer_bpe(&t);
  else if (tokenizer_is(model, "llama"))
    rc = tokenizer_sentencepiece(&t);
  else
    rc = qtk_error(QTK_EINPUT, "tokenizer.ggml.model is \"%.*s\": understood are gpt2 and llama",
                   GGUF_SHOW(model));
  gguf_put(&t.out, "}\n");
  char *text = gguf_text_end(&t.out);
  if (rc || !text) {
    free(text);
    return rc ? rc : QTK_ENOMEM;
  }
  *json = text;
  return QTK_OK;
}
