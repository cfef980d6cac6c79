/* SPDX-License-Identifier: BSD-3-Clause
 * SentencePiece models against the sentencepiece package (tests/data/tokenizer, by
 * make-pieces.py), texts cut into stretches against texts as a whole, and models that
 * must not get through to the library. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

#include "core/str.h"
#include "core/tokenizer.h"
#include "core/tokenizer/charsmap.h"
#include "core/tokenizer/wire.h"

static char *data_path(const char *name, const char *suffix)
{
  const char *srcdir = getenv("QTK_SRCDIR");
  return qtk_str_format("%s/tests/data/tokenizer/%s%s", srcdir != NULL ? srcdir : ".", name,
                        suffix);
}

static size_t read_model(const char *name, unsigned char *bytes, size_t room)
{
  char *path = data_path(name, ".model");
  FILE *f = fopen(path, "rb");
  size_t n = f != NULL ? fread(bytes, 1, room, f) : 0;
  if (n == 0 || n == room)
    fail_msg("%s cannot be read", path);
  fclose(f);
  free(path);
  return n;
}

/* The tokenizer of a file's bytes; `more` goes into the model's object. */
static int open_bytes(const unsigned char *bytes, size_t n, const char *more,
                      struct qtk_tokenizer **t)
{
  size_t room = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL);
  char *text = malloc(room);
  sodium_bin2base64(text, room, bytes, n, sodium_base64_VARIANT_ORIGINAL);
  char *json = qtk_str_format("{\"model\":{\"type\":\"SentencePiece\",%s\"data\":\"%s\"}}", more,
                              text);
  int rc = qtk_tokenizer_open(json, t);
  free(text);
  free(json);
  return rc;
}

static struct qtk_tokenizer *open_model(const char *name, const char *more)
{
  unsigned char bytes[32768];
  struct qtk_tokenizer *t = NULL;
  size_t n = read_model(name, bytes, sizeof bytes);
  if (open_bytes(bytes, n, more, &t) != QTK_OK)
    fail_msg("%s: %s", name, qtk_error_message());
  return t;
}

static struct qtk_ids encode(const struct qtk_tokenizer *t, const char *text, size_t n, int special)
{
  struct qtk_ids ids = {0};
  if (qtk_tokenizer_encode(t, text, n, special, &ids) != QTK_OK)
    fail_msg("%s", qtk_error_message());
  return ids;
}

/* ---- the package's cases ------------------------------------------------------------ */

static void check_decode(const struct qtk_tokenizer *t, const struct qtk_ids *ids,
                         const json_t *want, const char *name)
{
  struct qtk_decoder d = {.tokenizer = t};
  struct qtk_str stream = {0};
  char *text;
  size_t n;
  assert_int_equal(qtk_tokenizer_decode(t, ids->ids, ids->n, 0, &text, &n), QTK_OK);
  if (n != json_string_length(want) || memcmp(text, json_string_value(want), n) != 0)
    fail_msg("%s: \"%s\" instead of \"%s\"", name, text, json_string_value(want));
  for (size_t i = 0; i < ids->n; i++)
    assert_int_equal(qtk_decoder_add(&d, ids->ids[i], &stream), QTK_OK);
  assert_int_equal(qtk_decoder_end(&d, &stream), QTK_OK);
  assert_int_equal(stream.length, n);
  assert_true(n == 0 || memcmp(stream.data, text, n) == 0);
  qtk_str_free(&stream);
  free(text);
}

static void check_case(const struct qtk_tokenizer *t, const json_t *row, const char *name)
{
  const json_t *text = json_array_get(row, 0), *want = json_array_get(row, 1);
  int32_t unknown = qtk_tokenizer_find(t, "<unk>");
  struct qtk_ids ids = encode(t, json_string_value(text), json_string_length(text), 0);
  int same = ids.n == json_array_size(want), known = 1;
  for (size_t i = 0; i < ids.n; i++) {
    same = same && ids.ids[i] == json_integer_value(json_array_get(want, i));
    known = known && ids.ids[i] != unknown;
  }
  if (!same) {
    char *wanted = json_dumps(want, JSON_COMPACT);
    fail_msg("%s: \"%s\": %zu ids instead of %s", name, json_string_value(text), ids.n, wanted);
  }
  if (known) /* unknown ones are "<unk>" here, " \u2047 " there */
    check_decode(t, &ids, json_array_get(row, 2), name);
  qtk_ids_free(&ids);
}

static void the_package_gives_the_same(void **state)
{
  (void)state;
  json_error_t error;
  char *path = data_path("pieces", ".json");
  json_t *all = json_load_file(path, JSON_ALLOW_NUL, &error), *rows;
  const char *name;
  size_t n = 0;
  assert_non_null(all);
  json_object_foreach(all, name, rows)
  {
    struct qtk_tokenizer *t = open_model(name, ""), *again;
    assert_int_equal(qtk_tokenizer_open(qtk_tokenizer_json(t), &again), QTK_OK);
    assert_string_equal(qtk_tokenizer_json(t), qtk_tokenizer_json(again));
    for (size_t i = 0; i < json_array_size(rows); i++, n++) {
      check_case(t, json_array_get(rows, i), name);
      check_case(again, json_array_get(rows, i), name);
    }
    qtk_tokenizer_close(t);
    qtk_tokenizer_close(again);
  }
  assert_true(n > 200);
  json_decref(all);
  free(path);
}

/* ---- what is put around -------------------------------------------------------------- */

static void bos_and_eos_are_put_around(void **state)
{
  (void)state;
  struct qtk_tokenizer *t =
      open_model("bpe", "\"add_bos_token\":true,\"add_eos_token\":true,");
  struct qtk_ids ids = encode(t, "", 0, 1);
  assert_int_equal(ids.n, 2);
  assert_int_equal(ids.ids[0], qtk_tokenizer_find(t, "<s>"));
  assert_int_equal(ids.ids[1], qtk_tokenizer_find(t, "</s>"));
  assert_int_equal(qtk_tokenizer_first(t), ids.ids[0]);
  qtk_ids_free(&ids);
  qtk_tokenizer_close(t);
}

/* Control pieces in a text are tokens. Behind them the prefix comes again, or not. */
static void prefixes_go_by_the_scheme(void **state)
{
  (void)state;
  struct qtk_tokenizer *always = open_model("bpe", "");
  struct qtk_tokenizer *first = open_model("bpe", "\"prepend_scheme\":\"first\",");
  struct qtk_ids a = encode(always, "a<turn>a", 8, 0), b = encode(first, "a<turn>a", 8, 0);
  assert_int_equal(a.n, 3);
  assert_int_equal(a.ids[0], a.ids[2]);
  assert_int_equal(a.ids[1], qtk_tokenizer_find(always, "<turn>"));
  assert_int_equal(b.ids[0], a.ids[0]);
  assert_int_equal(b.ids[2], qtk_tokenizer_find(first, "a"));
  qtk_ids_free(&a);
  qtk_ids_free(&b);
  qtk_tokenizer_close(always);
  qtk_tokenizer_close(first);
}

static void bytes_come_back(void **state)
{
  (void)state;
  static const char text[] = "\xff\xfe  a \xc3( \xed\xa0\x80\0 \xf0\x9f\x99";
  static const char *const names[] = {"bpe", "unigram-bytes"};
  for (int k = 0; k < 2; k++) {
    struct qtk_tokenizer *t = open_model(names[k], "");
    struct qtk_ids ids = encode(t, text, sizeof text - 1, 0);
    char *back;
    size_t n;
    assert_int_equal(qtk_tokenizer_decode(t, ids.ids, ids.n, 0, &back, &n), QTK_OK);
    assert_int_equal(n, sizeof text - 1);
    assert_memory_equal(back, text, n);
    free(back);
    qtk_ids_free(&ids);
    qtk_tokenizer_close(t);
  }
}

/* ---- stretches ------------------------------------------------------------------------- */

/* A long text has the ids of its words, however it was cut: here words side by side that
 * each give the same ids as alone. */
static void long_texts_are_their_words(void **state)
{
  (void)state;
  static const char *const names[] = {"bpe", "bpe-plain", "unigram", "unigram-bytes"};
  static const char words[] = " thou art the king  of all\n this,  and 123 more ";
  for (int k = 0; k < 4; k++) {
    struct qtk_tokenizer *t = open_model(names[k], "");
    struct qtk_str text = {0};
    for (int i = 0; i < 4000; i++)
      qtk_str_add(&text, words);
    struct qtk_ids two = encode(t, text.data, 2 * (sizeof words - 1), 0);
    struct qtk_ids three = encode(t, text.data, 3 * (sizeof words - 1), 0);
    struct qtk_ids all = encode(t, text.data, text.length, 0);
    size_t period = three.n - two.n, first = two.n - period;
    assert_int_equal(all.n, two.n + 3998 * period);
    /* Past the first word all goes round, up to the end of the last. */
    for (size_t i = first; i + period + 4 < all.n; i++)
      assert_int_equal(all.ids[i], all.ids[i + period]);
    assert_memory_equal(all.ids, three.ids, (three.n - 4) * sizeof *all.ids);
    qtk_ids_free(&two);
    qtk_ids_free(&three);
    qtk_ids_free(&all);
    qtk_str_free(&text);
    qtk_tokenizer_close(t);
  }
}

/* ---- bad models ---------------------------------------------------------------------------- */

/* Each byte wrong in turn: opens or is refused, and what opens can encode. */
static void broken_files_are_refused_or_work(void **state)
{
  (void)state;
  unsigned char bytes[32768];
  size_t n = read_model("unigram", bytes, sizeof bytes);
  int opened = 0, refused = 0;
  for (size_t i = 0; i < n; i += i < n - 1200 ? 97 : 7) {
    struct qtk_tokenizer *t = NULL;
    bytes[i] ^= 0x55;
    if (open_bytes(bytes, n, "", &t) == QTK_OK) {
      struct qtk_ids ids = encode(t, "The e\xcc\x81 \xef\xac\x81 AB\xe3\x80\x80 king\0", 20, 1);
      qtk_ids_free(&ids);
      qtk_tokenizer_close(t);
      opened++;
    } else {
      assert_string_not_equal(qtk_error_message(), "");
      refused++;
    }
    bytes[i] ^= 0x55;
  }
  assert_true(opened > 0 && refused > 0);
  for (size_t size = 0; size < n; size += 211) {
    struct qtk_tokenizer *t = NULL;
    if (open_bytes(bytes, size, "", &t) == QTK_OK)
      qtk_tokenizer_close(t);
  }
}

static void maps_that_lead_astray_are_refused(void **state)
{
  (void)state;
  unsigned char blob[4 + 2048 + 2] = {0, 8};
  struct qtk_charsmap map = {0};
  assert_int_equal(qtk_charsmap_read(blob, 4, &map), QTK_EINPUT);
  assert_int_equal(qtk_charsmap_read(blob, sizeof blob, &map), QTK_OK);
  qtk_charsmap_free(&map);
  blob[4 + 3] = 0x7f; /* the root's offset */
  assert_int_equal(qtk_charsmap_read(blob, sizeof blob, &map), QTK_EINPUT);
  blob[4 + 3] = 0;
  blob[4 + 4 * 'a'] = 'a'; /* a key "aaa...", never ending */
  blob[4 + 4 * 'a' + 1] = 1;
  assert_int_equal(qtk_charsmap_read(blob, sizeof blob, &map), QTK_EINPUT);
  assert_null(map.units);
}

static void wires_are_read_to_their_ends(void **state)
{
  (void)state;
  static const unsigned char good[] = {0x08, 0x96, 0x01, 0x12, 1, 'x', 0x1d, 0, 0, 0x80, 0x3f};
  struct qtk_wire_field f;
  struct qtk_wire w = {good, good + sizeof good};
  assert_int_equal(qtk_wire_next(&w, &f), 1);
  assert_int_equal(f.value, 150);
  assert_int_equal(qtk_wire_next(&w, &f), 1);
  assert_int_equal(f.bytes.end - f.bytes.at, 1);
  assert_int_equal(qtk_wire_next(&w, &f), 1);
  assert_int_equal(f.value, 0x3f800000);
  assert_int_equal(qtk_wire_next(&w, &f), 0);
  for (size_t n = 1; n < sizeof good; n++) {
    w = (struct qtk_wire){good, good + n};
    int rc;
    while ((rc = qtk_wire_next(&w, &f)) > 0)
      ;
    assert_int_equal(rc, n == 3 || n == 6 ? 0 : QTK_EINPUT);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_package_gives_the_same),
      cmocka_unit_test(bos_and_eos_are_put_around),
      cmocka_unit_test(prefixes_go_by_the_scheme),
      cmocka_unit_test(bytes_come_back),
      cmocka_unit_test(long_texts_are_their_words),
      cmocka_unit_test(broken_files_are_refused_or_work),
      cmocka_unit_test(maps_that_lead_astray_are_refused),
      cmocka_unit_test(wires_are_read_to_their_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
