/* SPDX-License-Identifier: BSD-3-Clause
 * Token ids of awkward texts that lie beside the project (QTK_TEST_DATA), by the
 * tokenizer of the fixtures and by a SentencePiece model. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "../tap.h"
#include "core/str.h"
#include "core/tokenizer.h"

static int same_ids(const struct qtk_ids *ids, const json_t *want)
{
  int same = ids->n == json_array_size(want);
  for (size_t i = 0; i < ids->n; i++)
    same = same && ids->ids[i] == json_integer_value(json_array_get(want, i));
  return same;
}

/* Token by token it is the same text. */
static int same_stream(const struct qtk_tokenizer *t, const struct qtk_ids *ids, const char *text,
                       size_t n)
{
  struct qtk_decoder d = {.tokenizer = t};
  struct qtk_str out = {0};
  int same = 1;
  for (size_t i = 0; i < ids->n && same; i++)
    same = qtk_decoder_add(&d, ids->ids[i], &out) == QTK_OK;
  same = same && qtk_decoder_end(&d, &out) == QTK_OK;
  same = same && out.length == n && (n == 0 || memcmp(out.data, text, n) == 0);
  qtk_str_free(&out);
  return same;
}

/* Their bytes are this text. */
static int same_text(const struct qtk_tokenizer *t, const struct qtk_ids *ids, const json_t *text)
{
  char *back;
  size_t n;
  if (qtk_tokenizer_decode(t, ids->ids, ids->n, 0, &back, &n) != QTK_OK)
    return 0;
  int same = n == json_string_length(text) && memcmp(back, json_string_value(text), n) == 0;
  same = same && same_stream(t, ids, back, n);
  free(back);
  return same;
}

/* The texts of tokenizers.json against one of its columns, and what they decode to. */
static void check_column(const struct qtk_tokenizer *t, const json_t *all, const char *column,
                         const char *decoded)
{
  const json_t *back = json_object_get(all, decoded);
  const json_t *want = json_object_get(all, column);
  size_t i;
  json_t *text;
  tap_ok(json_array_size(want) > 0, "%s: there is something to compare with", column);
  json_array_foreach(json_object_get(all, "texts"), i, text)
  {
    struct qtk_ids ids = {0};
    int rc = qtk_tokenizer_encode(t, json_string_value(text), json_string_length(text), 0, &ids);
    tap_ok(rc == QTK_OK && same_ids(&ids, json_array_get(want, i)), "%s: ids of text %zu", column,
           i);
    tap_ok(rc == QTK_OK && same_text(t, &ids, json_array_get(back, i)), "%s: text %zu comes back", column, i);
    qtk_ids_free(&ids);
  }
}

/* NULL, with a failed test, if it cannot be read. */
static json_t *load(const char *folder, const char *name)
{
  json_error_t error = {0};
  char *path = qtk_str_format("%s/%s", folder, name);
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
  if (root == NULL)
    tap_ok(0, "%s: %s", path, error.text);
  free(path);
  return root;
}

static void check_fixture(const char *data, const json_t *all)
{
  struct qtk_tokenizer *t;
  json_t *root = load(data, "fixtures/llama/tokenizer.json");
  char *text = json_dumps(root, JSON_COMPACT);
  if (tap_ok(qtk_tokenizer_open(text, &t) == QTK_OK, "the fixtures' tokenizer opens")) {
    check_column(t, all, "tiny", "texts");
    qtk_tokenizer_close(t);
  }
  free(text);
  json_decref(root);
}

/* ---- SentencePiece ------------------------------------------------------------------ */

static char *read_bytes(const char *folder, const char *name, size_t *n)
{
  char *path = qtk_str_format("%s/%s", folder, name);
  FILE *f = fopen(path, "rb");
  char *bytes = malloc(4 << 20);
  *n = f != NULL ? fread(bytes, 1, 4 << 20, f) : 0;
  tap_ok(*n > 0 && *n < 4 << 20, "%s: %zu bytes", path, *n);
  if (f != NULL)
    fclose(f);
  free(path);
  return bytes;
}

static struct qtk_tokenizer *open_pieces(const char *bytes, size_t n)
{
  struct qtk_tokenizer *t = NULL;
  size_t room = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL);
  char *text = malloc(room);
  sodium_bin2base64(text, room, (const unsigned char *)bytes, n, sodium_base64_VARIANT_ORIGINAL);
  char *json = qtk_str_format("{\"model\":{\"type\":\"SentencePiece\",\"add_bos_token\":true,"
                              "\"data\":\"%s\"}}",
                              text);
  tap_ok(qtk_tokenizer_open(json, &t) == QTK_OK, "the SentencePiece model opens");
  free(text);
  free(json);
  return t;
}

/* The number of tokens of WikiText-2 is in many papers' code. */
static void check_corpus(const struct qtk_tokenizer *t, const char *text, size_t n)
{
  struct qtk_ids ids = {0};
  tap_ok(qtk_tokenizer_encode(t, text, n, 1, &ids) == QTK_OK && ids.n == 341469 &&
             ids.ids[0] == 1 && qtk_tokenizer_first(t) == 1,
         "WikiText-2 has %zu tokens, one BOS with them", ids.n);
  char *back = NULL;
  size_t bytes = 0;
  int rc = qtk_tokenizer_decode(t, ids.ids, ids.n, 1, &back, &bytes);
  tap_ok(rc == QTK_OK && bytes == n && memcmp(back, text, n) == 0, "and comes back");
  free(back);
  qtk_ids_free(&ids);
}

static void check_pieces(const char *data, const json_t *all)
{
  size_t n, n_wiki;
  char *model = read_bytes(data, "data/llama2-tokenizer.model", &n);
  char *wiki = read_bytes(data, "data/wikitext2-raw-test.txt", &n_wiki);
  struct qtk_tokenizer *t = open_pieces(model, n), *again = NULL;
  if (t != NULL) {
    check_column(t, all, "llama2_sentencepiece", "llama2_decode");
    check_corpus(t, wiki, n_wiki);
    tap_ok(qtk_tokenizer_open(qtk_tokenizer_json(t), &again) == QTK_OK &&
               strcmp(qtk_tokenizer_json(t), qtk_tokenizer_json(again)) == 0,
           "its own text is the same tokenizer");
    check_column(again, all, "llama2_sentencepiece", "llama2_decode");
    check_corpus(again, wiki, n_wiki);
  }
  qtk_tokenizer_close(t);
  qtk_tokenizer_close(again);
  free(model);
  free(wiki);
}

int main(void)
{
  const char *data = getenv("QTK_TEST_DATA");
  if (data == NULL) {
    printf("1..0 # SKIP QTK_TEST_DATA is not set\n");
    return 0;
  }
  json_t *all = load(data, "reference/tokenizers.json");
  if (all != NULL) {
    check_fixture(data, all);
    check_pieces(data, all);
  }
  json_decref(all);
  return tap_end();
}
