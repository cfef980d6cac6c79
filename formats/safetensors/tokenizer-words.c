/* SPDX-License-Identifier: BSD-3-Clause
 * Byte-level BPE from vocab.json and merges.txt. How words are cut stands in neither: it
 * goes with the class that tokenizer_config.json names. */
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX (256u << 20)

/* ---- merges ------------------------------------------------------------------------ */

/* A line "LEFT RIGHT" each; the first may give a version. */
static json_t *words_merges(char *text)
{
  json_t *list = json_array();
  int failed = !list;
  for (char *line = text, *next; line && !failed; line = next) {
    next = strchr(line, '\n');
    if (next)
      *next++ = '\0';
    line[strcspn(line, "\r")] = '\0';
    if (*line && !(line == text && strncmp(line, "#version", 8) == 0))
      failed = json_array_append_new(list, json_string(line));
  }
  if (!failed)
    return list;
  json_decref(list);
  return NULL;
}

static int words_read_merges(const char *folder, json_t **merges)
{
  char *text;
  *merges = NULL;
  int rc = safetensors_text_read(folder, "merges.txt", WORDS_MAX, &text);
  if (rc == QTK_OK && !text)
    rc = qtk_error(QTK_EINPUT, "%s: vocab.json is there, but merges.txt is missing", folder);
  if (rc)
    return rc;
  *merges = words_merges(text);
  free(text);
  return *merges ? QTK_OK : qtk_error(QTK_EINPUT, "%s/merges.txt: is not UTF-8", folder);
}

/* ---- what goes with the class --------------------------------------------------------- */

struct words_class {
  const char *name;
  const char *pretokenizer; /* a name of arch/data/pretokenizers.toml, or NULL: GPT-2's */
  const char *normalizer;   /* or NULL */
};

static const struct words_class words_classes[] = {
    {"GPT2Tokenizer", NULL, NULL},    {"GPT2TokenizerFast", NULL, NULL},
    {"CodeGenTokenizer", NULL, NULL}, {"CodeGenTokenizerFast", NULL, NULL},
    {"GPTNeoXTokenizer", NULL, NULL}, {"GPTNeoXTokenizerFast", NULL, NULL},
    {"Qwen2Tokenizer", "qwen2", "NFC"}, {"Qwen2TokenizerFast", "qwen2", "NFC"},
};

/* No class at all is the first. */
static int words_class(const char *folder, const struct safetensors_beside *beside,
                       const struct words_class **class)
{
  const char *name = json_string_value(json_object_get(beside->config, "tokenizer_class"));
  *class = words_classes;
  for (size_t i = 0; name && i < sizeof words_classes / sizeof *words_classes; i++) {
    *class = &words_classes[i];
    if (strcmp((*class)->name, name) == 0)
      return QTK_OK;
  }
  return !name ? QTK_OK
               : qtk_error(QTK_EINPUT,
                           "%s/tokenizer_config.json: vocab.json and merges.txt of the class %s: "
                           "understood are GPT2Tokenizer, CodeGenTokenizer, GPTNeoXTokenizer, "
                           "Qwen2Tokenizer; a tokenizer.json would be read in their place",
                           folder, name);
}

static json_t *words_pretokenizer(const struct safetensors_beside *beside,
                                  const struct words_class *class)
{
  int prefix = safetensors_token_flag(beside, "add_prefix_space", 0);
  if (class->pretokenizer)
    return json_pack("{s:s, s:s}", "type", "Named", "name", class->pretokenizer);
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix,
                   "trim_offsets", 1, "use_regex", 1);
}

/* ---- what is put around a text ---------------------------------------------------------- */

/* Adds the token of a role if the configuration wants it. 0, or -1 out of memory. */
static int words_around(const struct safetensors_beside *beside, const json_t *vocab,
                        const char *flag, const char *role, json_t *single, json_t *tokens)
{
  const char *text = safetensors_token_text(beside, role);
  const json_t *id = text ? json_object_get(vocab, text) : NULL;
  if (!json_is_integer(id) || !safetensors_token_flag(beside, flag, 0))
    return 0;
  json_t *item = json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", text, "type_id", 0);
  json_t *entry = json_pack("{s:s, s:[I], s:[s]}", "id", text, "ids", json_integer_value(id),
                            "tokens", text);
  int failed = json_array_append_new(single, item);
  return json_object_set_new(tokens, text, entry) || failed;
}

static json_t *words_post(const struct safetensors_beside *beside, const json_t *vocab)
{
  json_t *single = json_array(), *tokens = json_object(), *post = NULL;
  json_t *text = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0);
  int failed = words_around(beside, vocab, "add_bos_token", "bos_token", single, tokens);
  failed |= json_array_append_new(single, text);
  failed |= words_around(beside, vocab, "add_eos_token", "eos_token", single, tokens);
  if (!failed)
    post = json_pack("{s:s, s:O, s:[], s:O}", "type", "TemplateProcessing", "single", single, "pair",
                     "special_tokens", tokens);
  json_decref(single);
  json_decref(tokens);
  return post;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Where nothing says which tokens are special, GPT-2's one is. */
static int words_default(struct safetensors_beside *beside)
{
  if (safetensors_token_text(beside, "bos_token") || safetensors_token_text(beside, "eos_token"))
    return 0;
  return json_object_set_new(beside->special, "eos_token", json_string("<|endoftext|>"));
}

static json_t *words_make(struct safetensors_beside *beside, const struct words_class *class,
                          json_t *vocab, json_t *merges)
{
  json_t *added = words_default(beside) ? NULL : safetensors_added_tokens(beside, vocab);
  json_t *normalizer =
      class->normalizer ? json_pack("{s:s}", "type", class->normalizer) : json_null();
  if (!added) {
    json_decref(normalizer);
    return NULL;
  }
  return json_pack("{s:o, s:o, s:o, s:o, s:{s:s, s:b, s:b, s:b}, s:{s:s, s:O, s:O}}",
                   "added_tokens", added, "normalizer", normalizer, "pre_tokenizer",
                   words_pretokenizer(beside, class), "post_processor", words_post(beside, vocab),
                   "decoder", "type", "ByteLevel", "add_prefix_space", 1, "trim_offsets", 1,
                   "use_regex", 1, "model", "type", "BPE", "vocab", vocab, "merges", merges);
}

int safetensors_words_read(const char *folder, const struct safetensors_beside *beside,
                           json_t **tokenizer)
{
  struct safetensors_beside mine = *beside;
  const struct words_class *class = NULL;
  json_t *vocab, *merges = NULL;
  int rc = safetensors_json_read(folder, "vocab.json", WORDS_MAX, &vocab);
  if (rc || !vocab)
    return rc;
  rc = words_class(folder, beside, &class);
  if (rc == QTK_OK)
    rc = words_read_merges(folder, &merges);
  if (rc == QTK_OK && !(*tokenizer = words_make(&mine, class, vocab, merges)))
    rc = qtk_error(QTK_ENOMEM, "out of memory for a tokenizer");
  json_decref(vocab);
  json_decref(merges);
  return rc;
}
