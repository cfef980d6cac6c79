/* SPDX-License-Identifier: BSD-3-Clause
 * Tokenizers against Hugging Face's (tests/data/tokenizer, by make-cases.py), and
 * what a file must not be able to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/str.h"
#include "core/tokenizer.h"
#include "core/tokenizer/utf8.h"

static json_t *load(const char *name)
{
  const char *srcdir = getenv("QTK_SRCDIR");
  char *path = qtk_str_format("%s/tests/data/%s", srcdir != NULL ? srcdir : ".", name);
  json_error_t error;
  json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
  if (root == NULL)
    fail_msg("%s: %s", path, error.text);
  free(path);
  return root;
}

static struct qtk_tokenizer *open_json(const json_t *root)
{
  struct qtk_tokenizer *t = NULL;
  char *text = json_dumps(root, JSON_COMPACT);
  if (qtk_tokenizer_open(text, &t) != QTK_OK)
    fail_msg("%s", qtk_error_message());
  free(text);
  return t;
}

static struct qtk_tokenizer *open_nano(void)
{
  json_t *root = load("nano/llama/tokenizer.json");
  struct qtk_tokenizer *t = open_json(root);
  json_decref(root);
  return t;
}

static void encode(const struct qtk_tokenizer *t, const char *text, size_t n, int special,
                   struct qtk_ids *ids)
{
  if (qtk_tokenizer_encode(t, text, n, special, ids) != QTK_OK)
    fail_msg("%s", qtk_error_message());
}

/* ---- the cases -------------------------------------------------------------------- */

/* The tokenizer of nano/llama changed as the case says. */
static json_t *case_json(const json_t *base, const json_t *models, const json_t *one)
{
  json_t *root = json_deep_copy(base), *patch = json_deep_copy(json_object_get(one, "patch"));
  const char *from = json_string_value(json_object_get(patch, "from"));
  json_t *model = json_object_get(root, "model");
  if (from != NULL)
    json_object_update(model, json_object_get(models, from));
  json_object_update(model, json_object_get(patch, "model"));
  json_object_del(patch, "model");
  json_object_del(patch, "from");
  json_object_update(root, patch);
  json_decref(patch);
  return root;
}

/* Bytes of text that the character U+FFFD takes the place of. */
static size_t bad_bytes(const char *text, size_t n)
{
  for (size_t size = n < 3 ? n : 3; size > 1; size--)
    if (qtk_utf8_unfinished(text, size) == size)
      return size;
  return 1;
}

static void check_text(const json_t *want, const char *text, size_t n, const char *name)
{
  struct qtk_str lossy = {0};
  qtk_str_add(&lossy, "");
  for (size_t i = 0; i < n;) {
    size_t good = qtk_utf8_valid(text + i, n - i);
    qtk_str_add_bytes(&lossy, text + i, good);
    i += good;
    if (i < n) {
      i += bad_bytes(text + i, n - i);
      qtk_str_add(&lossy, "\xef\xbf\xbd");
    }
  }
  if (lossy.length != json_string_length(want) ||
      memcmp(lossy.data, json_string_value(want), lossy.length) != 0)
    fail_msg("%s: \"%s\" instead of \"%s\"", name, lossy.data, json_string_value(want));
  qtk_str_free(&lossy);
}

static void check_decode(const struct qtk_tokenizer *t, const struct qtk_ids *ids,
                         const json_t *row, const char *name)
{
  for (int skip = 0; skip < 2; skip++) {
    char *text;
    size_t n;
    assert_int_equal(qtk_tokenizer_decode(t, ids->ids, ids->n, skip, &text, &n), QTK_OK);
    check_text(json_array_get(row, 2 + (size_t)skip), text, n, name);
    free(text);
  }
}

static void check_ids(const json_t *want, const struct qtk_ids *ids, const char *name,
                      const char *text)
{
  struct qtk_str found = {0};
  int same = json_array_size(want) == ids->n;
  for (size_t i = 0; i < ids->n; i++) {
    qtk_str_printf(&found, " %d", ids->ids[i]);
    same = same && json_integer_value(json_array_get(want, i)) == ids->ids[i];
  }
  if (!same) {
    char *expected = json_dumps(want, JSON_COMPACT);
    fail_msg("%s: \"%s\" gives%s, not %s", name, text, found.data, expected);
  }
  qtk_str_free(&found);
}

static void check_case(const struct qtk_tokenizer *t, const json_t *one)
{
  const char *name = json_string_value(json_object_get(one, "name"));
  size_t i;
  json_t *row;
  json_array_foreach(json_object_get(one, "rows"), i, row)
  {
    const json_t *text = json_array_get(row, 0);
    struct qtk_ids ids = {0};
    encode(t, json_string_value(text), json_string_length(text), 1, &ids);
    check_ids(json_array_get(row, 1), &ids, name, json_string_value(text));
    if (json_array_size(row) > 2)
      check_decode(t, &ids, row, name);
    qtk_ids_free(&ids);
  }
}

static void ids_are_those_of_hugging_face(void **state)
{
  (void)state;
  json_t *base = load("nano/llama/tokenizer.json"), *file = load("tokenizer/cases.json");
  size_t i;
  json_t *one;
  json_array_foreach(json_object_get(file, "cases"), i, one)
  {
    json_t *root = case_json(base, json_object_get(file, "models"), one);
    struct qtk_tokenizer *t = open_json(root), *again;
    check_case(t, one);
    /* What is written is the same tokenizer, and is written the same again. */
    assert_int_equal(qtk_tokenizer_open(qtk_tokenizer_json(t), &again), QTK_OK);
    check_case(again, one);
    assert_string_equal(qtk_tokenizer_json(again), qtk_tokenizer_json(t));
    assert_null(strstr(qtk_tokenizer_json(t), "\"Named\""));
    qtk_tokenizer_close(again);
    qtk_tokenizer_close(t);
    json_decref(root);
  }
  json_decref(file);
  json_decref(base);
}

/* ---- one canonical text --------------------------------------------------------------- */

/* "a b" in the place of ["a", "b"], other flags spelled out or left out. */
static void canonical_text_is_the_tokenizer_s(void **state)
{
  (void)state;
  json_t *root = load("nano/llama/tokenizer.json"), *merge;
  json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
  struct qtk_tokenizer *a = open_json(root), *b;
  size_t i;
  json_array_foreach(merges, i, merge)
  {
    char *both = qtk_str_format("%s %s", json_string_value(json_array_get(merge, 0)),
                                json_string_value(json_array_get(merge, 1)));
    json_array_set_new(merges, i, json_string(both));
    free(both);
  }
  json_object_del(json_object_get(root, "model"), "fuse_unk");
  json_object_del(json_object_get(root, "model"), "type");
  json_object_del(json_array_get(json_object_get(root, "added_tokens"), 0), "lstrip");
  json_object_del(root, "padding");
  b = open_json(root);
  assert_string_equal(qtk_tokenizer_json(a), qtk_tokenizer_json(b));
  qtk_tokenizer_close(a);
  qtk_tokenizer_close(b);
  json_decref(root);
}

/* ---- bytes ------------------------------------------------------------------------------ */

static void check_round_trip(const struct qtk_tokenizer *t, const char *text, size_t n)
{
  struct qtk_ids ids = {0};
  char *back;
  size_t bytes;
  encode(t, text, n, 0, &ids);
  assert_int_equal(qtk_tokenizer_decode(t, ids.ids, ids.n, 0, &back, &bytes), QTK_OK);
  assert_int_equal(bytes, n);
  assert_memory_equal(back, text, n);
  free(back);
  qtk_ids_free(&ids);
}

static void any_bytes_come_back(void **state)
{
  (void)state;
  struct qtk_tokenizer *t = open_nano();
  char text[4096];
  uint32_t x = 1;
  for (size_t i = 0; i < sizeof text; i++) {
    x = x * 1664525u + 1013904223u;
    text[i] = (char)(x >> 24);
  }
  check_round_trip(t, text, sizeof text);
  for (size_t n = 0; n < 300; n++)
    check_round_trip(t, text + n, n);
  check_round_trip(t, "a\0b\xff\xc3", 5);
  check_round_trip(t, "\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf", 11); /* not UTF-8 either */
  qtk_tokenizer_close(t);
}

/* Bytes that are no character are words: "\xc3" does not join the "\xa9" behind the
 * letter that is put between. */
static void a_bad_byte_is_a_word(void **state)
{
  (void)state;
  struct qtk_tokenizer *t = open_nano();
  struct qtk_ids whole = {0}, parts = {0};
  encode(t, "the \xff the", 9, 0, &whole);
  encode(t, "the ", 4, 0, &parts);
  encode(t, "\xff", 1, 0, &parts);
  encode(t, " the", 4, 0, &parts);
  assert_int_equal(whole.n, parts.n);
  assert_memory_equal(whole.ids, parts.ids, whole.n * sizeof *whole.ids);
  qtk_ids_free(&whole);
  qtk_ids_free(&parts);
  qtk_tokenizer_close(t);
}

/* A stream gives whole characters only, and in all the same bytes. */
static void stream_is_the_whole(void **state)
{
  (void)state;
  static const char text[] = "na\xc3\xafve \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x99\x82 end\xf0\x9f";
  struct qtk_tokenizer *t = open_nano();
  struct qtk_ids ids = {0};
  struct qtk_decoder d = {.tokenizer = t};
  struct qtk_str out = {0};
  encode(t, text, sizeof text - 1, 0, &ids);
  for (size_t i = 0; i < ids.n; i++) {
    assert_int_equal(qtk_decoder_add(&d, ids.ids[i], &out), QTK_OK);
    assert_int_equal(qtk_utf8_valid(out.data, out.length), out.length);
  }
  assert_int_equal(out.length, sizeof text - 3);
  assert_int_equal(qtk_decoder_end(&d, &out), QTK_OK);
  assert_string_equal(out.data, text);
  assert_int_equal(qtk_decoder_add(&d, qtk_tokenizer_size(t), &out), QTK_EINPUT);
  assert_int_equal(qtk_decoder_add(&d, -1, &out), QTK_EINPUT);
  qtk_str_free(&out);
  qtk_ids_free(&ids);
  qtk_tokenizer_close(t);
}

/* ---- long words ----------------------------------------------------------------------------- */

/* Work that grew with the square of a word would take hours here. */
static void long_words_are_no_trouble(void **state)
{
  (void)state;
  struct qtk_tokenizer *t = open_nano();
  size_t n = 1 << 20;
  char *text = malloc(n);
  memset(text, 'e', n);
  check_round_trip(t, text, n);
  memset(text, ' ', n - 1);
  check_round_trip(t, text, n);
  for (size_t i = 0; i < n; i++)
    text[i] = (char)('a' + (i * i + i / 7) % 26);
  check_round_trip(t, text, n);
  free(text);
  qtk_tokenizer_close(t);
}

/* ---- what is looked up ------------------------------------------------------------------------
 */

static void tokens_are_found(void **state)
{
  (void)state;
  struct qtk_tokenizer *t = open_nano();
  assert_int_equal(qtk_tokenizer_size(t), 384);
  assert_int_equal(qtk_tokenizer_find(t, "<|endoftext|>"), 0);
  assert_int_equal(qtk_tokenizer_find(t, "!"), 1);
  assert_int_equal(qtk_tokenizer_find(t, "no such token"), -1);
  assert_int_equal(qtk_tokenizer_first(t), -1);
  qtk_tokenizer_close(t);
}

/* ---- files that are wrong ----------------------------------------------------------------------
 */

#define MODEL \
  "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static const struct {
  const char *json, *message;
} wrong[] = {
    {"", "tokenizer:1:0"},
    {"[]", "is not an object"},
    {"{}", "model: an object is missing"},
    {"{\"model\":{\"type\":\"WordPiece\"}}",
     "model.type: \"WordPiece\" is not understood; known are BPE, Unigram, SentencePiece"},
    {"{\"model\":{\"type\":\"SentencePiece\"}}", "model.vocab: an array is missing"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"data\":\"*\"}}", "is not base64"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"data\":\"\"}}", "holds no pieces"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"data\":\"CgU=\"}}", "ends within a field"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,1]]}}",
     "no piece is the unknown one"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,2],[\"\",0,1]]}}",
     "item 1: a text of 0 bytes"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,2],[\"b\",0,7]]}}",
     "item 1: the type 7"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,2],[\"<0x00>\",0,6]]}}",
     "both must be 256, or 0"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,2]],\"precompiled_charsmap\":"
     "\"AAAA\"}}",
     "precompiled_charsmap: bytes"},
    {"{\"model\":{\"type\":\"SentencePiece\",\"vocab\":[[\"a\",0,2]],\"algorithm\":\"WORD\"}}",
     "\"WORD\" is not understood"},
    {"{\"model\":{\"vocab\":[]}}", "model.vocab: is not an object"},
    {"{\"model\":{\"vocab\":{},\"merges\":[]}}", "model: the vocabulary is empty"},
    {"{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges: an array is missing"},
    {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "model.vocab: the id of \"a\""},
    {"{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", "in 0 .. 4194303"},
    {"{\"model\":{\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", "the id 1 has two texts"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "model.merges.0: is neither"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"a\"]]}}",
     "model.merges.0: \"aa\" is not in the vocabulary"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}", "model.dropout"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
     "model.end_of_word_suffix"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"?\"}}",
     "model.unk_token: \"?\""},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":1}}",
     "model.byte_fallback: is neither true nor false"},
    {"{\"pre_tokenizer\":{\"type\":\"Magic\"}," MODEL "}",
     "pre_tokenizer: type \"Magic\" is not understood; known are ByteLevel"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},"
     "{\"type\":\"Digits\"}]}," MODEL "}",
     "pre_tokenizer.pretokenizers.1: type \"Digits\" behind"},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
     "\"Isolated\"}"
     "," MODEL "}",
     "pre_tokenizer.pattern: expression \"(\""},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},"
     "\"behavior\":\"Isolated\"}," MODEL "}",
     "&& are not understood"},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"x\"}"
     "," MODEL "}",
     "behavior \"x\": known are Isolated"},
    {"{\"pre_tokenizer\":{\"type\":\"Named\",\"name\":\"smolm\"}," MODEL "}",
     "pre-tokenizer \"smolm\" is not in"},
    {"{\"pre_tokenizer\":{\"type\":\"Named\",\"name\":\"smolm\"}," MODEL "}",
     "did you mean \"smollm\"?"},
    {"{\"normalizer\":{\"type\":\"BertNormalizer\"}," MODEL "}",
     "normalizer: type \"BertNormalizer\""},
    {"{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}," MODEL "}",
     "normalizer.precompiled_charsmap: precompiled_charsmap: bytes"},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", "item 0 is not [text, score]"},
    {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}",
     "model.unk_id: 1: allowed are 0 .. 0"},
    {"{\"decoder\":{\"type\":\"WordPiece\"}," MODEL "}", "decoder: type \"WordPiece\""},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
     "\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[7]}}}," MODEL "}",
     "post_processor.special_tokens.x.ids: an id is not an integer in 0 .. 2"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL "}",
     "post_processor.single: holds the text 0 times"},
    {"{\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]," MODEL "}",
     "added_tokens.0: the id 1 has two texts, \"b\" and \"x\""},
    {"{\"added_tokens\":[{\"id\":9,\"content\":\"b\"}]," MODEL "}",
     "added_tokens.0: \"b\" has two ids, 1 and 9"},
    {"{\"added_tokens\":[{\"content\":\"b\"}]," MODEL "}", "added_tokens.0: an added token needs"},
};

static void wrong_files_are_refused_by_place(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct qtk_tokenizer *t = NULL;
    assert_int_equal(qtk_tokenizer_open(wrong[i].json, &t), QTK_EINPUT);
    assert_null(t);
    if (strstr(qtk_error_message(), wrong[i].message) == NULL)
      fail_msg("%s: \"%s\" has no \"%s\"", wrong[i].json, qtk_error_message(), wrong[i].message);
  }
}

/* An expression that would take for ever ends in an error, not in a wait. */
static void explosive_expressions_end(void **state)
{
  (void)state;
  struct qtk_tokenizer *t;
  struct qtk_ids ids = {0};
  char text[64];
  memset(text, 'a', sizeof text);
  assert_int_equal(
      qtk_tokenizer_open("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                         "\"(a|aa)+[bc]\"},\"behavior\":\"Isolated\"}," MODEL "}",
                         &t),
      QTK_OK);
  assert_int_equal(qtk_tokenizer_encode(t, text, sizeof text, 0, &ids), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "(a|aa)+[bc]"));
  assert_int_equal(ids.n, 0);
  qtk_ids_free(&ids);
  qtk_tokenizer_close(t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ids_are_those_of_hugging_face),
        cmocka_unit_test(canonical_text_is_the_tokenizer_s),
      cmocka_unit_test(any_bytes_come_back),
      cmocka_unit_test(a_bad_byte_is_a_word),
      cmocka_unit_test(stream_is_the_whole),
      cmocka_unit_test(long_words_are_no_trouble),
      cmocka_unit_test(tokens_are_found),
      cmocka_unit_test(wrong_files_are_refused_by_place),
      cmocka_unit_test(explosive_expressions_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
