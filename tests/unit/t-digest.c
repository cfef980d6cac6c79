/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "core/digest-x86.h"
#include "core/digest.h"
#include "core/error.h"

/* FIPS 180-4 examples. */
static void known_answers(void **state)
{
  static const struct {
    const char *text, *hex;
  } cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
  };
  char hex[QTK_DIGEST_HEX], *million = malloc(1000000);
  uint8_t digest[QTK_DIGEST_BYTES];

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    qtk_digest_of(cases[i].text, strlen(cases[i].text), digest);
    qtk_digest_hex(digest, hex);
    assert_string_equal(hex, cases[i].hex);
  }
  assert_non_null(million);
  memset(million, 'a', 1000000);
  qtk_digest_of(million, 1000000, digest);
  qtk_digest_hex(digest, hex);
  assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  free(million);
}

/* The same without the processor's help: must be first, what is used is found once. */
static void generic_gives_the_same(void **state)
{
  uint8_t data[300], mine[QTK_DIGEST_BYTES], theirs[QTK_DIGEST_BYTES];
  pid_t child = fork();
  int status;

  (void)state;
  if (child == 0) {
    setenv("QTK_CPU", "generic", 1);
    for (size_t n = 0; n <= sizeof data; n++) {
      memset(data, (int)n, n);
      qtk_digest_of(data, n, mine);
      crypto_hash_sha256(theirs, data, n);
      if (qtk_digest_x86_supported() || memcmp(mine, theirs, sizeof mine) != 0)
        _exit(1);
    }
    _exit(0);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

/* Every length around the block's, in two pieces cut anywhere, against libsodium. */
static void pieces(void **state)
{
  uint8_t data[300], mine[QTK_DIGEST_BYTES], theirs[QTK_DIGEST_BYTES];

  (void)state;
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)(i * 167 + 13);
  for (size_t n = 0; n <= sizeof data; n++) {
    crypto_hash_sha256(theirs, data, n);
    for (size_t cut = 0; cut <= n; cut += 1 + n / 40) {
      struct qtk_digest d;
      qtk_digest_begin(&d);
      qtk_digest_add(&d, data, cut);
      qtk_digest_add(&d, data + cut, n - cut);
      qtk_digest_end(&d, mine);
      assert_memory_equal(mine, theirs, sizeof mine);
    }
  }
}

static void of_a_file(void **state)
{
  char path[] = "/tmp/qtk-t-digest-XXXXXX", *data = calloc(1, 700001);
  uint8_t a[QTK_DIGEST_BYTES], b[QTK_DIGEST_BYTES];
  int fd = mkstemp(path);

  (void)state;
  assert_true(fd >= 0);
  assert_non_null(data);
  for (int i = 0; i < 700001; i += 3)
    data[i] = (char)i;
  assert_int_equal(write(fd, data, 700001), 700001);
  close(fd);
  assert_int_equal(qtk_digest_file(path, a), QTK_OK);
  qtk_digest_of(data, 700001, b);
  assert_memory_equal(a, b, sizeof a);
  unlink(path);
  assert_int_equal(qtk_digest_file(path, a), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "No such file"));
  assert_int_equal(qtk_digest_file("/tmp", a), QTK_EINPUT);
  free(data);
}

static void hexadecimal(void **state)
{
  static const char good[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  char hex[QTK_DIGEST_HEX], bad[80];
  uint8_t digest[QTK_DIGEST_BYTES];

  (void)state;
  assert_int_equal(qtk_digest_from_hex(good, digest), QTK_OK);
  qtk_digest_hex(digest, hex);
  assert_string_equal(hex, good);
  assert_int_equal(qtk_digest_from_hex("", digest), QTK_EINPUT);
  snprintf(bad, sizeof bad, "%s0", good);
  assert_int_equal(qtk_digest_from_hex(bad, digest), QTK_EINPUT);
  snprintf(bad, sizeof bad, "%s", good);
  bad[63] = 'g';
  assert_int_equal(qtk_digest_from_hex(bad, digest), QTK_EINPUT);
  bad[63] = 'B';
  assert_int_equal(qtk_digest_from_hex(bad, digest), QTK_EINPUT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(generic_gives_the_same),
      cmocka_unit_test(known_answers),
      cmocka_unit_test(pieces),
      cmocka_unit_test(of_a_file),
      cmocka_unit_test(hexadecimal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
