/* SPDX-License-Identifier: BSD-3-Clause
 * Keys and signatures: against RFC 8032, and what files may look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/sign.h"

static char folder[] = "/tmp/qtk-t-sign-XXXXXX";

static int start(void **state)
{
  (void)state;
  return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  return chdir("/") == 0 && qtk_remove_tree(folder) == QTK_OK ? 0 : -1;
}

static void from_hex(const char *hex, uint8_t *bytes, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    unsigned value;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
    bytes[i] = (uint8_t)value;
  }
}

static void put(const char *name, const char *text, size_t n)
{
  FILE *f = fopen(name, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, n, f), n);
  fclose(f);
  chmod(name, 0600);
}

/* The file of the secret key of RFC 8032, 7.1, test 2. */
#define RFC_SECRET "qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="

/* ---- signatures ------------------------------------------------------------------------ */

static void rfc(void **state)
{
  static const char key_hex[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
  static const char bytes_hex[] =
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
  uint8_t want[QTK_SIGNATURE_BYTES], half[QTK_KEY_BYTES];
  struct qtk_signature s;
  struct qtk_key key;

  (void)state;
  put("rfc.key", RFC_SECRET " a test\n", strlen(RFC_SECRET) + 8);
  assert_int_equal(qtk_key_read("rfc.key", &key), QTK_OK);
  assert_true(key.secret);
  assert_string_equal(key.comment, "a test");
  from_hex(key_hex, half, sizeof half);
  assert_memory_equal(key.public_half, half, sizeof half);
  assert_int_equal(qtk_sign(&key, "\x72", 1, &s), QTK_OK);
  from_hex(bytes_hex, want, sizeof want);
  assert_memory_equal(s.bytes, want, sizeof want);
  assert_memory_equal(s.key, half, sizeof half);
  assert_true(qtk_signature_holds(&s, "\x72", 1));
  assert_false(qtk_signature_holds(&s, "\x73", 1));
  assert_false(qtk_signature_holds(&s, "\x72", 0));
}

/* Whatever bit is another one, it is not read, or is not a signature of that text. */
static void texts(void **state)
{
  char text[QTK_SIGNATURE_TEXT + 1];
  struct qtk_signature s, again;
  struct qtk_key key;

  (void)state;
  put("rfc.key", RFC_SECRET, strlen(RFC_SECRET));
  assert_int_equal(qtk_key_read("rfc.key", &key), QTK_OK);
  assert_int_equal(qtk_sign(&key, "abc", 3, &s), QTK_OK);
  qtk_signature_write(&s, text);
  assert_int_equal(strlen(text), QTK_SIGNATURE_TEXT);
  assert_int_equal(qtk_signature_read(text, QTK_SIGNATURE_TEXT, &again), QTK_OK);
  assert_memory_equal(&s, &again, sizeof s);
  for (size_t i = 0; i < QTK_SIGNATURE_TEXT; i++)
    for (int bit = 0; bit < 8; bit++) {
      text[i] = (char)(text[i] ^ 1 << bit);
      int rc = qtk_signature_read(text, QTK_SIGNATURE_TEXT, &again);
      assert_true(rc == QTK_EINPUT || !qtk_signature_holds(&again, "abc", 3));
      text[i] = (char)(text[i] ^ 1 << bit);
    }
  for (size_t n = 0; n < QTK_SIGNATURE_TEXT; n++)
    assert_int_equal(qtk_signature_read(text, n, &again), QTK_EINPUT);
}

/* ---- files ------------------------------------------------------------------------------- */

static void new_pair(void **state)
{
  struct qtk_key made, secret, half;
  char line[QTK_KEY_LINE], hex[QTK_DIGEST_HEX], other[QTK_DIGEST_HEX], *text;
  uint8_t digest[QTK_DIGEST_BYTES];
  struct qtk_signature s;
  struct stat st;
  size_t n;

  (void)state;
  assert_int_equal(qtk_key_new("a.key", "a.pub", "Ä. Person", &made), QTK_OK);
  assert_true(stat("a.key", &st) == 0 && (st.st_mode & 0777) == 0600);
  assert_int_equal(qtk_key_read("a.key", &secret), QTK_OK);
  assert_int_equal(qtk_key_read("a.pub", &half), QTK_OK);
  assert_memory_equal(&made, &secret, sizeof made);
  assert_false(half.secret);
  assert_memory_equal(half.public_half, made.public_half, QTK_KEY_BYTES);
  assert_string_equal(half.comment, "Ä. Person");
  qtk_key_public_line(&secret, line);
  assert_int_equal(qtk_read_file("a.pub", 1024, &text, &n), QTK_OK);
  assert_int_equal(n, strlen(line) + 1);
  assert_memory_equal(text, line, n - 1);
  free(text);
  qtk_key_fingerprint(half.public_half, hex);
  qtk_digest_of(made.public_half, QTK_KEY_BYTES, digest);
  qtk_digest_hex(digest, other);
  assert_string_equal(hex, other);
  assert_int_equal(qtk_sign(&half, "a", 1, &s), QTK_EINPUT);
  assert_int_equal(qtk_key_new("b.key", "b.pub", "", &half), QTK_OK);
  assert_memory_not_equal(half.seed, made.seed, QTK_KEY_BYTES);
  qtk_key_wipe(&made);
  assert_false(made.secret);
  assert_memory_equal(made.seed, (uint8_t[QTK_KEY_BYTES]){0}, QTK_KEY_BYTES);
}

/* Neither file is written over, and neither is left alone behind. */
static void never_over(void **state)
{
  struct qtk_key key;

  (void)state;
  put("c.pub", "mine", 4);
  assert_int_equal(qtk_key_new("c.key", "c.pub", "", &key), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "c.pub: exists"));
  assert_false(qtk_path_exists("c.key"));
  put("d.key", "mine", 4);
  assert_int_equal(qtk_key_new("d.key", "d.pub", "", &key), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "d.key: exists"));
  assert_false(qtk_path_exists("d.pub"));
  assert_int_equal(symlink("elsewhere", "e.key"), 0);
  assert_int_equal(qtk_key_new("e.key", "e.pub", "", &key), QTK_EINPUT);
  assert_false(qtk_path_exists("elsewhere"));
  assert_int_equal(qtk_key_new("no/f.key", "f.pub", "", &key), QTK_EINPUT);
  assert_int_equal(qtk_key_new("f.key", "no/f.pub", "", &key), QTK_EINPUT);
  assert_false(qtk_path_exists("f.key"));
  assert_int_equal(qtk_key_new("g.key", "g.pub", "two\nlines", &key), QTK_EINPUT);
  assert_false(qtk_path_exists("g.key") || qtk_path_exists("g.pub"));
}

static void bad_files(void **state)
{
  static const struct {
    const char *text;
    size_t n;
  } bad[] = {
#define BAD(text) {text, sizeof text - 1}
      BAD(""),
      BAD("\n"),
      BAD("qtk-ed25519-secret"),
      BAD("qtk-ed25519-secret "),
      BAD("qtk-ed25519-secret  TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="),
      BAD("qtk-ed25519-secrets TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pv=="),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs"),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvt="),
      BAD("qtk-ed25519-secret TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs="),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=\n\n"),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=\nmore"),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs= a\0b"),
      BAD("qtk-ed25519-secret TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs= \033[31m"),
      BAD("-----BEGIN PUBLIC KEY-----\n"),
  };
  char large[2000];
  struct qtk_key key;

  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    put("bad.key", bad[i].text, bad[i].n);
    assert_int_equal(qtk_key_read("bad.key", &key), QTK_EINPUT);
    assert_non_null(strstr(qtk_error_message(), "bad.key: "));
    assert_memory_equal(key.seed, (uint8_t[QTK_KEY_BYTES]){0}, QTK_KEY_BYTES);
  }
  memset(large, 'a', sizeof large);
  put("bad.key", large, sizeof large);
  assert_int_equal(qtk_key_read("bad.key", &key), QTK_EINPUT);
  memcpy(large, RFC_SECRET " ", strlen(RFC_SECRET) + 1);
  put("bad.key", large, strlen(RFC_SECRET) + 1 + QTK_KEY_COMMENT + 1);
  assert_int_equal(qtk_key_read("bad.key", &key), QTK_EINPUT);
  put("bad.key", large, strlen(RFC_SECRET) + 1 + QTK_KEY_COMMENT);
  assert_int_equal(qtk_key_read("bad.key", &key), QTK_OK);
  assert_int_equal(qtk_key_read("none.key", &key), QTK_EINPUT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rfc),        cmocka_unit_test(texts),     cmocka_unit_test(new_pair),
      cmocka_unit_test(never_over), cmocka_unit_test(bad_files),
  };

  return cmocka_run_group_tests(tests, start, end);
}
