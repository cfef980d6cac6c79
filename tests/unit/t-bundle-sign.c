/* SPDX-License-Identifier: BSD-3-Clause
 * Signed bundles: what a signature adds to a file, and what it makes of one that was
 * changed. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/bundle.h"
#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "tests/unit/bundle-make.h"

static struct make_tensors made;
static struct qtk_context *ctx;
static struct qtk_key key, other_key;
static char folder[] = "/tmp/qtk-t-bundle-sign-XXXXXX";

static int start(void **state)
{
  struct qtk_context_options options = {.threads = 2};

  (void)state;
  make_all(&made);
  if (!mkdtemp(folder) || chdir(folder) != 0)
    return -1;
  if (qtk_key_new("one.key", "one.pub", "", &key) != QTK_OK ||
      qtk_key_new("two.key", "two.pub", "", &other_key) != QTK_OK)
    return -1;
  return qtk_context_open(&options, &ctx);
}

static int end(void **state)
{
  (void)state;
  make_free(&made);
  qtk_context_close(ctx);
  return chdir("/") == 0 && qtk_remove_tree(folder) == QTK_OK ? 0 : -1;
}

/* ---- files --------------------------------------------------------------------------- */

static char *read_all(const char *path, size_t *n)
{
  char *data;
  assert_int_equal(qtk_read_file(path, 1 << 20, &data, n), QTK_OK);
  return data;
}

/* A bundle of a few members at `path`; its bytes. */
static char *plain(const char *path, size_t *n)
{
  struct qtk_bundle_contents c = make_contents(&made);
  struct qtk_bundle_result result;
  c.tensors = made.list + made.n - 4;
  c.n_tensors = 4;
  assert_int_equal(qtk_bundle_write(ctx, path, &c, &result), QTK_OK);
  return read_all(path, n);
}

static int sign(const char *path, const struct qtk_key *with)
{
  struct qtk_bundle *b;
  assert_int_equal(qtk_bundle_open(path, &b), QTK_OK);
  int rc = qtk_bundle_sign(ctx, b, with);
  qtk_bundle_close(b);
  return rc;
}

static char *signed_bundle(const char *path, size_t *n)
{
  free(plain(path, n));
  assert_int_equal(sign(path, &key), QTK_OK);
  return read_all(path, n);
}

static void put(const char *path, const char *data, size_t n)
{
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
}

/* What opening says, or verifying. */
static int look_at(const char *path)
{
  struct qtk_bundle *b;
  int rc = qtk_bundle_open(path, &b);
  if (rc != QTK_OK)
    return rc;
  rc = qtk_bundle_verify(ctx, b);
  qtk_bundle_close(b);
  return rc;
}

static int look(const char *data, size_t n)
{
  put("looked-at.qtk", data, n);
  return look_at("looked-at.qtk");
}

static void expect(const char *data, size_t n, const char *text)
{
  struct qtk_bundle *b;
  put("damaged.qtk", data, n);
  assert_int_equal(qtk_bundle_open("damaged.qtk", &b), QTK_EINPUT);
  if (!strstr(qtk_error_message(), text))
    print_error("got %s, not %s\n", qtk_error_message(), text);
  assert_non_null(strstr(qtk_error_message(), text));
}

/* ---- signing --------------------------------------------------------------------------- */

/* All that was there stays where it was; the member is the last one. */
static void one_member_more(void **state)
{
  size_t n, m, again;
  char *before = plain("a.qtk", &n), *after, *twice;
  struct qtk_bundle *b;
  struct stat st;

  (void)state;
  assert_int_equal(qtk_bundle_open("a.qtk", &b), QTK_OK);
  assert_null(qtk_bundle_signature(b));
  int members = qtk_bundle_member_count(b);
  qtk_bundle_close(b);
  assert_int_equal(chmod("a.qtk", 0640), 0);
  assert_int_equal(sign("a.qtk", &key), QTK_OK);
  assert_true(stat("a.qtk", &st) == 0 && (st.st_mode & 0777) == 0640);
  after = read_all("a.qtk", &m);
  assert_int_equal(m, n + 1024);
  assert_memory_equal(before, after, n - 1024);
  assert_string_equal(after + n - 1024, "signature");
  assert_memory_equal(after + m - 1024, before + n - 1024, 1024);
  assert_int_equal(qtk_bundle_open("a.qtk", &b), QTK_OK);
  assert_memory_equal(qtk_bundle_signature(b)->key, key.public_half, QTK_KEY_BYTES);
  assert_int_equal(qtk_bundle_member_count(b), members);
  assert_int_equal(qtk_bundle_verify(ctx, b), QTK_OK);
  qtk_bundle_close(b);
  /* The same again, and one by another key in its place. */
  assert_int_equal(sign("a.qtk", &key), QTK_OK);
  twice = read_all("a.qtk", &again);
  assert_int_equal(again, m);
  assert_memory_equal(after, twice, m);
  free(twice);
  assert_int_equal(sign("a.qtk", &other_key), QTK_OK);
  twice = read_all("a.qtk", &again);
  assert_int_equal(again, m);
  assert_memory_equal(after, twice, n - 512);
  assert_int_equal(look(twice, again), QTK_OK);
  free(twice);
  free(after);
  free(before);
}

/* Through a link the file itself is signed, and the link stays. */
static void links(void **state)
{
  size_t n;
  struct stat st;
  struct qtk_bundle *b;

  (void)state;
  free(plain("target.qtk", &n));
  assert_int_equal(symlink("target.qtk", "link.qtk"), 0);
  assert_int_equal(sign("link.qtk", &key), QTK_OK);
  assert_true(lstat("link.qtk", &st) == 0 && S_ISLNK(st.st_mode));
  assert_int_equal(qtk_bundle_open("target.qtk", &b), QTK_OK);
  assert_non_null(qtk_bundle_signature(b));
  qtk_bundle_close(b);
}

/* A run that is stopped, or cannot write, leaves the file as it was and nothing else. */
static void stopped(void **state)
{
  static const volatile sig_atomic_t stop = 1;
  size_t n, m, names;
  char *before = plain("b.qtk", &n), *after, **list;
  struct qtk_key half = key;

  (void)state;
  ctx->stop = &stop;
  assert_int_equal(sign("b.qtk", &key), QTK_EINTERRUPTED);
  ctx->stop = NULL;
  qtk_key_wipe(&half);
  assert_int_equal(sign("b.qtk", &half), QTK_EINPUT);
  after = read_all("b.qtk", &m);
  assert_true(m == n && memcmp(before, after, n) == 0);
  assert_int_equal(qtk_list_dir(".", &list, &names), QTK_OK);
  for (size_t i = 0; i < names; i++)
    assert_null(strstr(list[i], "tmp"));
  free(list);
  free(after);
  free(before);
}

/* ---- what was changed -------------------------------------------------------------------- */

/* No byte of a signed file can be another one: two bits of each are tried. */
static void every_byte(void **state)
{
  size_t n;
  char *data = signed_bundle("c.qtk", &n), path[64];
  int fd = memfd_create("bundle", MFD_CLOEXEC);

  (void)state;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  assert_int_equal(pwrite(fd, data, n, 0), n);
  assert_int_equal(look_at(path), QTK_OK);
  for (size_t i = 0; i < n; i++) {
    for (int flip = 0; flip < 2; flip++) {
      char byte = (char)(data[i] ^ (flip ? 0x20 : 1 << i / 3 % 5));
      assert_int_equal(pwrite(fd, &byte, 1, (off_t)i), 1);
      int rc = look_at(path);
      if (rc != QTK_EINPUT && rc != QTK_EMISMATCH)
        print_error("byte %zu of %zu, 0x%02x: %d\n", i, n, (unsigned char)byte, rc);
      assert_true(rc == QTK_EINPUT || rc == QTK_EMISMATCH);
    }
    assert_int_equal(pwrite(fd, data + i, 1, (off_t)i), 1);
  }
  close(fd);
  free(data);
}

/* A signature of another manifest, or under another's name, is wrong. */
static void others(void **state)
{
  size_t n, m;
  char *data = signed_bundle("d.qtk", &n), *other, text[QTK_SIGNATURE_TEXT + 1];
  struct qtk_bundle_contents c = make_contents(&made);
  struct qtk_bundle_result result;
  struct qtk_signature s;

  (void)state;
  c.tensors = made.list;
  c.n_tensors = 1;
  assert_int_equal(qtk_bundle_write(ctx, "e.qtk", &c, &result), QTK_OK);
  assert_int_equal(sign("e.qtk", &key), QTK_OK);
  other = read_all("e.qtk", &m);
  memcpy(text, data + n - 1536, QTK_SIGNATURE_TEXT);
  memcpy(data + n - 1536, other + m - 1536, QTK_SIGNATURE_TEXT);
  assert_int_equal(look(data, n), QTK_EMISMATCH);
  assert_non_null(strstr(qtk_error_message(), "looked-at.qtk: the signature is not one"));
  assert_int_equal(qtk_signature_read(text, QTK_SIGNATURE_TEXT, &s), QTK_OK);
  memcpy(s.key, other_key.public_half, sizeof s.key);
  qtk_signature_write(&s, text);
  memcpy(data + n - 1536, text, QTK_SIGNATURE_TEXT);
  assert_int_equal(look(data, n), QTK_EMISMATCH);
  free(other);
  free(data);
}

static void malformed(void **state)
{
  size_t n;
  char *data = signed_bundle("f.qtk", &n), *longer = calloc(1, n + 4096);

  (void)state;
  char *header = data + n - 2048;
  /* Two of them. */
  memcpy(longer, data, n);
  memcpy(longer + n - 1024, header, 1024);
  expect(longer, n + 1024, "member \"signature\" stands behind the signature");
  /* Another text. */
  data[n - 1536] = 'E';
  expect(data, n, "signature: wanted is \"ed25519 KEY SIGNATURE\"");
  data[n - 1536] = 'e';
  memset(data + n - 1536 + 100, '=', 10);
  expect(data, n, "signature: wanted is \"ed25519 KEY SIGNATURE\"");
  /* Before other members. */
  assert_int_equal(sign("f.qtk", &key), QTK_OK);
  size_t manifest = 512 + (strtoul(data + 124, NULL, 8) + 511) / 512 * 512;
  char *whole = read_all("f.qtk", &n);
  memcpy(longer, whole, manifest);
  memcpy(longer + manifest, whole + n - 2048, 1024);
  memcpy(longer + manifest + 1024, whole + manifest, n - manifest);
  expect(longer, n + 1024, "stands behind the signature");
  free(whole);
  free(longer);
  free(data);
}

static void reserved(void **state)
{
  const struct qtk_bundle_text text = {"signature", "abc", 3};
  struct qtk_bundle_contents c = make_contents(&made);
  struct qtk_bundle_result result;

  (void)state;
  c.texts = &text;
  c.n_texts = 1;
  assert_int_equal(qtk_bundle_write(ctx, "g.qtk", &c, &result), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "that is the name of the signature"));
  assert_false(qtk_path_exists("g.qtk"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_member_more), cmocka_unit_test(links),
      cmocka_unit_test(stopped),         cmocka_unit_test(every_byte),
      cmocka_unit_test(others),          cmocka_unit_test(malformed),
      cmocka_unit_test(reserved),
  };

  return cmocka_run_group_tests(tests, start, end);
}
