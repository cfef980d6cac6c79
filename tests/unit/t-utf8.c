/* SPDX-License-Identifier: BSD-3-Clause
 * UTF-8 against its definition, character by character, and the byte alphabet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/tokenizer/alphabet.h"
#include "core/tokenizer/utf8.h"

/* Bytes of a code point by the rules of the encoding, or 0 if it has none. */
static size_t by_rule(uint32_t c, char out[4])
{
  size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
  if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
    return 0;
  for (size_t i = n; i-- > 1; c >>= 6)
    out[i] = (char)(0x80 | (c & 0x3f));
  out[0] = (char)(lead[n] | c);
  return n;
}

static void every_character_is_read(void **state)
{
  (void)state;
  for (uint32_t c = 0; c <= 0x10ffff; c++) {
    char want[4], made[4];
    size_t n = by_rule(c, want);
    if (n == 0)
      continue;
    assert_int_equal(qtk_utf8_char(want, n), n);
    assert_int_equal(qtk_utf8_char(want, n - 1), 0);
    assert_int_equal(qtk_utf8_last(want, n), n);
    assert_int_equal(qtk_utf8_unfinished(want, n), 0);
    assert_int_equal(qtk_utf8_unfinished(want, n - 1), n - 1);
    assert_int_equal(qtk_utf8_code(want, n), c);
    assert_int_equal(qtk_utf8_put(c, made), n);
    assert_memory_equal(made, want, n);
  }
}

/* Of all two and three bytes, exactly the encodings of characters are valid. */
static void nothing_else_is(void **state)
{
  (void)state;
  for (uint32_t bytes = 0; bytes < 1 << 24; bytes += bytes % 5 == 0 ? 1 : 3) {
    char text[3] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes}, again[4];
    size_t n = qtk_utf8_char(text, 3);
    if (n == 0)
      continue;
    assert_int_equal(by_rule(qtk_utf8_code(text, n), again), n);
    assert_memory_equal(text, again, n);
  }
  assert_int_equal(qtk_utf8_char("\xed\xa0\x80", 3), 0);     /* a surrogate */
  assert_int_equal(qtk_utf8_char("\xc0\xaf", 2), 0);         /* overlong */
  assert_int_equal(qtk_utf8_char("\xf4\x90\x80\x80", 4), 0); /* above U+10FFFF */
}

static void runs_end_where_they_should(void **state)
{
  (void)state;
  static const char text[] = "0123456789\xc3\xa9 0123456789\xff\xfe\xe6\xbc\xa2";
  assert_int_equal(qtk_utf8_valid(text, sizeof text - 1), 23);
  assert_int_equal(qtk_utf8_invalid(text + 23, sizeof text - 24), 2);
  assert_int_equal(qtk_utf8_valid(text + 25, 3), 3);
  assert_int_equal(qtk_utf8_valid(text, 11), 10);
  assert_int_equal(qtk_utf8_unfinished("ab\xe6\xbc", 4), 2);
  assert_int_equal(qtk_utf8_unfinished("ab\xe6", 3), 1);
  assert_int_equal(qtk_utf8_unfinished("\xf0\x9f\x99", 3), 3);
  assert_int_equal(qtk_utf8_unfinished("\xe0\x80", 2), 0); /* can become nothing */
  assert_int_equal(qtk_utf8_unfinished("ab", 2), 0);
}

/* The alphabet is one to one, and fixed points are the visible characters. */
static void alphabet_is_one_to_one(void **state)
{
  (void)state;
  int known[0x200] = {0};
  for (int byte = 0; byte < 256; byte++) {
    uint32_t code = qtk_alphabet_code((unsigned char)byte);
    int visible = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    assert_true(code < 0x100 + 68);
    assert_int_equal(known[code]++, 0);
    assert_int_equal(qtk_alphabet_byte(code), byte);
    assert_int_equal(code == (uint32_t)byte, visible);
  }
  assert_int_equal(qtk_alphabet_code(' '), 0x120);
  assert_int_equal(qtk_alphabet_code('\n'), 0x10a);
  assert_int_equal(qtk_alphabet_byte(' '), -1);
  assert_int_equal(qtk_alphabet_byte(0x144), -1);
  assert_int_equal(qtk_alphabet_byte(0x3042), -1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_character_is_read),
      cmocka_unit_test(nothing_else_is),
      cmocka_unit_test(runs_end_where_they_should),
      cmocka_unit_test(alphabet_is_one_to_one),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
