/* SPDX-License-Identifier: BSD-3-Clause
 * Bundles: what is written is what is read, and what is damaged is found. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/bundle.h"
#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "tests/unit/bundle-make.h"

static struct make_tensors made;
static char folder[] = "/tmp/qtk-t-bundle-XXXXXX";

static int start(void **state)
{
  (void)state;
  make_all(&made);
  return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  make_free(&made);
  return chdir("/") == 0 && qtk_remove_tree(folder) == QTK_OK ? 0 : -1;
}

static struct qtk_context *context(int threads)
{
  struct qtk_context_options options = {.threads = threads};
  struct qtk_context *ctx;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  return ctx;
}

/* ---- files --------------------------------------------------------------------------- */

static struct qtk_bundle_contents contents(void)
{
  return make_contents(&made);
}

static struct qtk_bundle_result write_bundle(const char *path, int threads,
                                             const struct qtk_bundle_contents *c)
{
  struct qtk_context *ctx = context(threads);
  struct qtk_bundle_result result;
  int rc = qtk_bundle_write(ctx, path, c, &result);
  if (rc != QTK_OK)
    print_error("%s\n", qtk_error_message());
  assert_int_equal(rc, QTK_OK);
  qtk_context_close(ctx);
  return result;
}

/* A bundle of a few members, to be damaged in every place. */
static char *small_bundle(size_t *n)
{
  struct qtk_bundle_contents c = contents();
  char *data;
  c.tensors = made.list + made.n - 4;
  c.n_tensors = 4;
  write_bundle("small.qtk", 2, &c);
  assert_int_equal(qtk_read_file("small.qtk", 1 << 20, &data, n), QTK_OK);
  return data;
}

static int open_bytes(const char *data, size_t n, struct qtk_bundle **b)
{
  FILE *f = fopen("damaged.qtk", "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
  return qtk_bundle_open("damaged.qtk", b);
}

static const struct qtk_stored *find(const struct qtk_bundle *b, const char *name)
{
  for (int i = 0; i < qtk_bundle_tensor_count(b); i++)
    if (strcmp(qtk_bundle_tensor(b, i)->name, name) == 0)
      return qtk_bundle_tensor(b, i);
  return NULL;
}

/* ---- writing and reading ----------------------------------------------------------- */

static void check_tensor(const struct qtk_bundle *b, const struct qtk_stored *want)
{
  const struct qtk_stored *t = find(b, want->name);
  assert_non_null(t);
  assert_int_equal(t->ndim, want->ndim);
  assert_memory_equal(t->shape, want->shape, (size_t)t->ndim * sizeof *t->shape);
  assert_true(make_equal(&t->view, &want->view));
  assert_true(!want->plugin == !t->plugin && (!t->plugin || !strcmp(t->plugin, want->plugin)));
  assert_true(!want->options == !t->options && (!t->options || !strcmp(t->options, want->options)));
  for (int part = 0; part < QTK_PARTS; part++)
    assert_int_equal((uintptr_t)qtk_part_data(&t->view, part) % 64, 0);
  if (t->view.layout.encoding == QTK_CODEBOOK && t->view.layout.scale_dtype == QTK_U8) {
    assert_true(t->view.scale_mean == want->view.scale_mean);
    assert_true(qtk_get_scale(&t->view, 8, 2) == qtk_get_scale(&want->view, 8, 2));
  }
}

static void round_trip(void **state)
{
  struct qtk_bundle_contents c = contents();
  struct qtk_bundle_result result = write_bundle("a.qtk", 2, &c);
  struct qtk_context *ctx = context(2);
  struct qtk_bundle *b;
  uint64_t bytes, planned;
  (void)state;
  assert_int_equal(qtk_path_size("a.qtk", &bytes), QTK_OK);
  assert_int_equal(bytes, result.bytes);
  assert_int_equal(qtk_bundle_size(&c, &planned), QTK_OK);
  assert_true(planned >= bytes && planned <= bytes + 2048);
  assert_int_equal(qtk_bundle_open("a.qtk", &b), QTK_OK);
  assert_int_equal(qtk_bundle_verify(ctx, b), QTK_OK);
  assert_string_equal(qtk_bundle_kind(b), "model");
  assert_string_equal(qtk_bundle_model_digest(b), result.model_digest);
  assert_int_equal(qtk_bundle_adapter_count(b), 0);
  assert_int_equal(qtk_bundle_tensor_count(b), made.n);
  for (int i = 0; i < made.n; i++)
    check_tensor(b, &made.list[i]);
  for (int i = 0; i < 4; i++) {
    const char *text = qtk_bundle_text(b, make_texts[i].name, &bytes);
    assert_non_null(text);
    assert_int_equal(bytes, make_texts[i].bytes);
    assert_memory_equal(text, make_texts[i].data, bytes);
    assert_int_equal(text[bytes], 0);
  }
  assert_string_equal(qtk_bundle_text(b, "job.toml", NULL), c.job);
  assert_null(qtk_bundle_text(b, "tensors/norm.codes", NULL));
  assert_int_equal(qtk_toml_int(qtk_toml_find(qtk_bundle_manifest(b), "provenance.year")), 2026);
  qtk_bundle_close(b);
  qtk_context_close(ctx);
}

static void same_bytes(void **state)
{
  struct qtk_bundle_contents c = contents();
  struct qtk_stored backwards[MAKE_MAX];
  char *first, *other;
  size_t n, m;
  (void)state;
  write_bundle("1.qtk", 1, &c);
  assert_int_equal(qtk_read_file("1.qtk", 1 << 24, &first, &n), QTK_OK);
  for (int i = 0; i < made.n; i++)
    backwards[i] = made.list[made.n - 1 - i];
  for (int threads = 1; threads <= 3; threads++) {
    c.tensors = threads == 3 ? backwards : made.list;
    write_bundle("n.qtk", threads, &c);
    assert_int_equal(qtk_read_file("n.qtk", 1 << 24, &other, &m), QTK_OK);
    assert_int_equal(n, m);
    assert_memory_equal(first, other, n);
    free(other);
  }
  free(first);
}

/* The digest as qtk-bundle(5) says it is made, of a bundle with one tensor. */
static void model_digest(void **state)
{
  struct qtk_qlayout layout = {.encoding = QTK_AFFINE,
                               .rows = 2,
                               .cols = 40,
                               .bits = 4,
                               .group = 32,
                               .zero = QTK_ZERO_INT,
                               .scale_dtype = QTK_F16};
  struct make_tensors one = {.n = 0};
  struct qtk_bundle_contents c = contents();
  char text[512], hex[3][QTK_DIGEST_HEX];
  uint8_t digest[QTK_DIGEST_BYTES];
  struct qtk_qtensor *t;
  int n;
  (void)state;
  c.tensors = make_add(&one, "a.weight", layout);
  c.n_tensors = 1;
  t = &one.list[0].view;
  for (int part = 0; part < 3; part++) {
    qtk_digest_of(qtk_part_data(t, part), qtk_part_bytes(&t->layout, part), digest);
    qtk_digest_hex(digest, hex[part]);
  }
  n = snprintf(text, sizeof text,
               "a.weight\nshape 2 40\naffine bits 4 group 32 zero int 4 scale f16 index 0\n"
               "codes %s\nscales %s\nzeros %s\n",
               hex[0], hex[1], hex[2]);
  qtk_digest_of(text, (size_t)n, digest);
  qtk_digest_of(digest, sizeof digest, digest);
  qtk_digest_hex(digest, hex[0]);
  assert_string_equal(write_bundle("one.qtk", 1, &c).model_digest, hex[0]);
  make_free(&one);
}

static char *output_of(const char *command)
{
  static char text[1 << 16];
  FILE *f = popen(command, "r");
  assert_non_null(f);
  size_t n = fread(text, 1, sizeof text - 1, f);
  text[n] = 0;
  assert_int_equal(pclose(f), 0);
  return text;
}

/* Another program reads our file: GNU tar. */
static void gnu_tar(void **state)
{
  struct qtk_bundle_contents c = contents();
  char *data, path[256];
  const char *list;
  size_t n;
  (void)state;
  if (system("tar --version >/dev/null 2>&1") != 0)
    skip();
  write_bundle("t.qtk", 2, &c);
  list = output_of("tar tvf t.qtk 2>&1");
  assert_non_null(strstr(list, "-rw-r--r-- 0/0"));
  assert_non_null(strstr(list, "1970-01-01"));
  list = output_of("tar tf t.qtk 2>&1");
  assert_int_equal(strncmp(list, "manifest.toml\narch.toml\n", 24), 0);
  output_of("mkdir x && tar xf t.qtk -C x && tar tf t.qtk | tail -n +2 | LC_ALL=C sort -c");
  for (int i = 0; i < made.n; i++)
    for (int part = 0; part < QTK_PARTS; part++) {
      const struct qtk_qtensor *t = &made.list[i].view;
      if (qtk_part_bytes(&t->layout, part) == 0)
        continue;
      snprintf(path, sizeof path, "x/tensors/%s.%s", made.list[i].name, qtk_part_name(part));
      assert_int_equal(qtk_read_file(path, 1 << 20, &data, &n), QTK_OK);
      assert_int_equal(n, qtk_part_bytes(&t->layout, part));
      assert_memory_equal(data, qtk_part_data(t, part), n);
      free(data);
    }
  /* Each digest of the manifest is that of the file. */
  list = output_of("cd x && sed -n '/^name = /{s/.*= //;s/\"//g;h};/^sha256/{s/.*= //;s/\"//g;G;"
                   "s/\\n/  /p}' manifest.toml | sha256sum -c --quiet && "
                   "grep -c '^sha256' manifest.toml");
  assert_true(atoi(list) > made.n);
}

/* ---- held one by one ----------------------------------------------------------------- */

struct holder {
  int held, most, calls, fail_at;
};

static int hold(void *arg, int i, struct qtk_qtensor *view)
{
  struct holder *h = arg;
  if (++h->calls == h->fail_at)
    return qtk_error(QTK_ENOMEM, "no room");
  *view = made.list[i].view;
  h->held++;
  h->most = h->held > h->most ? h->held : h->most;
  return QTK_OK;
}

static void release(void *arg, int i)
{
  (void)i;
  ((struct holder *)arg)->held--;
}

static void holding(void **state)
{
  struct qtk_context *ctx = context(2);
  struct holder h = {0};
  struct qtk_bundle_contents c = contents();
  struct qtk_stored bare[MAKE_MAX];
  struct qtk_bundle_result result;
  struct qtk_bundle *b;
  (void)state;
  for (int i = 0; i < made.n; i++) {
    bare[i] = made.list[i];
    bare[i].view = (struct qtk_qtensor){.layout = made.list[i].view.layout};
  }
  c.tensors = bare;
  c.hold = hold;
  c.release = release;
  c.arg = &h;
  assert_int_equal(qtk_bundle_write(ctx, "held.qtk", &c, &result), QTK_OK);
  assert_int_equal(h.held, 0);
  assert_int_equal(h.calls, made.n);
  assert_int_equal(qtk_bundle_open("held.qtk", &b), QTK_OK);
  assert_int_equal(qtk_bundle_verify(ctx, b), QTK_OK);
  check_tensor(b, &made.list[3]);
  qtk_bundle_close(b);
  assert_int_equal(unlink("held.qtk"), 0);
  h = (struct holder){.fail_at = 5};
  assert_int_equal(qtk_bundle_write(ctx, "held.qtk", &c, &result), QTK_ENOMEM);
  assert_int_equal(h.held, 0);
  assert_string_equal(output_of("ls -A | grep held; true"), "");
  qtk_context_close(ctx);
}

/* Several batches, members cut into pieces, tensors given back on the way. */
static void large(void **state)
{
  struct qtk_qlayout layout = {.encoding = QTK_DENSE, .rows = 1000, .cols = 2500, .dtype = QTK_F32};
  struct make_tensors big = {.n = 0};
  struct qtk_context *ctx = context(2);
  struct qtk_bundle_contents c = contents();
  struct qtk_bundle *b;
  char name[16];
  (void)state;
  for (int i = 0; i < 5; i++) {
    snprintf(name, sizeof name, "t%d", i);
    layout.cols = i == 2 ? 4194304 : 2500 + i;
    layout.rows = i == 2 ? 2 : 1000;
    make_add(&big, name, layout);
  }
  c.tensors = big.list;
  c.n_tensors = big.n;
  write_bundle("large.qtk", 2, &c);
  assert_int_equal(qtk_bundle_open("large.qtk", &b), QTK_OK);
  assert_int_equal(qtk_bundle_verify(ctx, b), QTK_OK);
  for (int i = 0; i < big.n; i++)
    check_tensor(b, &big.list[i]);
  qtk_bundle_close(b);
  unlink("large.qtk");
  make_free(&big);
  qtk_context_close(ctx);
}

/* ---- what cannot be written ------------------------------------------------------------ */

static void refuse(const struct qtk_bundle_contents *c, int code, const char *text)
{
  struct qtk_context *ctx = context(1);
  struct qtk_bundle_result result;
  assert_int_equal(qtk_bundle_write(ctx, "refused.qtk", c, &result), code);
  if (!strstr(qtk_error_message(), text))
    print_error("%s\n", qtk_error_message());
  assert_non_null(strstr(qtk_error_message(), text));
  assert_string_equal(output_of("ls -A | grep refused; true"), "");
  qtk_context_close(ctx);
}

static void bad_contents(void **state)
{
  struct qtk_bundle_contents c = contents();
  struct qtk_stored one = made.list[0];
  struct qtk_bundle_text text = {"manifest.toml", "x", 1};
  (void)state;
  c.tensors = &one;
  c.n_tensors = 1;
  one.name = "a/../b";
  refuse(&c, QTK_EINPUT, "\"..\"");
  one.name = "a b";
  refuse(&c, QTK_EINPUT, "0x20");
  one = made.list[0];
  one.shape[1]++;
  refuse(&c, QTK_EINPUT, "do not fit");
  one = made.list[0];
  c.texts = &text;
  c.n_texts = 1;
  refuse(&c, QTK_EINPUT, "manifest");
  text.name = "tensors/x.codes";
  refuse(&c, QTK_EINPUT, "among the tensors");
  text.name = "job.toml";
  refuse(&c, QTK_EINPUT, "two members");
  text.name = "ok.txt";
  c.kind = "other";
  refuse(&c, QTK_EINTERNAL, "kind");
  c.kind = "adapter";
  refuse(&c, QTK_EINTERNAL, "0 adapters");
}

/* A disk that is full, played by a limit on the size of files. */
static void no_room(void **state)
{
  struct rlimit old, limit;
  struct qtk_bundle_contents c = contents();
  (void)state;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  limit = old;
  limit.rlim_cur = 30000;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  refuse(&c, QTK_EINPUT, "refused.qtk: cannot write");
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
}

/* ---- damage ------------------------------------------------------------------------- */

/* Whether all that can be read is as it was. */
static int same_reading(const struct qtk_bundle *b, const struct qtk_bundle *good)
{
  if (qtk_bundle_member_count(b) != qtk_bundle_member_count(good) ||
      !qtk_toml_equal(qtk_bundle_manifest(b), qtk_bundle_manifest(good)))
    return 0;
  for (int i = 0; i < qtk_bundle_member_count(b); i++) {
    const struct qtk_bundle_member *m = qtk_bundle_member(b, i), *g = qtk_bundle_member(good, i);
    if (m->bytes != g->bytes || strcmp(m->name, g->name) != 0 ||
        memcmp(m->data, g->data, m->bytes) != 0)
      return 0;
  }
  return 1;
}

/* A flipped bit in every third byte of the file: an error, or the same reading. */
static void flipped_bits(void **state)
{
  struct qtk_context *ctx = context(1);
  struct qtk_bundle *good, *b;
  int found_open = 0, found_verify = 0, harmless = 0;
  size_t n;
  char *data = small_bundle(&n);
  (void)state;
  assert_int_equal(qtk_bundle_open("small.qtk", &good), QTK_OK);
  for (size_t i = 0; i < n; i += 3) {
    data[i] = (char)(data[i] ^ 1 << i % 8);
    if (open_bytes(data, n, &b) != QTK_OK) {
      found_open++;
    } else {
      if (qtk_bundle_verify(ctx, b) == QTK_EINPUT) {
        found_verify++;
      } else {
        harmless++;
        assert_true(same_reading(b, good));
      }
      qtk_bundle_close(b);
    }
    data[i] = (char)(data[i] ^ 1 << i % 8);
  }
  print_message("%zu bytes: %d found when opened, %d when verified, %d harmless\n", n, found_open,
                found_verify, harmless);
  assert_true(found_open > 1000 && found_verify > 500 && harmless == 0);
  qtk_bundle_close(good);
  qtk_context_close(ctx);
  free(data);
}

static void truncated(void **state)
{
  struct qtk_bundle *b;
  size_t n;
  char *data = small_bundle(&n);
  (void)state;
  for (size_t i = 0; i < n; i += i % 512 == 1 ? 15 : i % 512 == 500 ? 12 : 1 + i % 61)
    assert_int_equal(open_bytes(data, i, &b), QTK_EINPUT);
  assert_int_equal(open_bytes(data, n - 1, &b), QTK_EINPUT);
  assert_int_equal(open_bytes(data, n, &b), QTK_OK);
  qtk_bundle_close(b);
  free(data);
}

static void verify_names(void **state)
{
  struct qtk_context *ctx = context(3);
  struct qtk_bundle *good, *b;
  size_t n;
  char *data = small_bundle(&n), want[256];
  (void)state;
  assert_int_equal(qtk_bundle_open("small.qtk", &good), QTK_OK);
  const char *map = (const char *)qtk_bundle_member(good, 0)->data - 512;
  for (; memcmp(map, "manifest.toml", 14) != 0; map -= 512)
    ;
  for (int last = qtk_bundle_member_count(good) - 1, i = last; i >= 0; i--) {
    const struct qtk_bundle_member *m = qtk_bundle_member(good, i);
    if (m->bytes == 0)
      continue;
    data[(const char *)m->data - map + (ptrdiff_t)m->bytes - 1] ^= 4;
    assert_int_equal(open_bytes(data, n, &b), QTK_OK);
    assert_int_equal(qtk_bundle_verify(ctx, b), QTK_EINPUT);
    snprintf(want, sizeof want, "member \"%s\" is damaged", m->name);
    assert_non_null(strstr(qtk_error_message(), want));
    qtk_bundle_close(b);
  }
  qtk_bundle_close(good);
  qtk_context_close(ctx);
  free(data);
}

/* ---- hostile archives ------------------------------------------------------------------ */

static size_t blocks(uint64_t bytes)
{
  return (size_t)((bytes + 511) / 512 * 512);
}

static void set_sum(char *header)
{
  unsigned sum = 0;
  memset(header + 148, ' ', 8);
  for (int i = 0; i < 512; i++)
    sum += (unsigned char)header[i];
  snprintf(header + 148, 8, "%06o", sum);
  header[155] = ' ';
}

/* The header of the member called `name`. */
static char *header_of(char *data, size_t n, const char *name)
{
  for (char *h = data; h < data + n && *h; h += 512 + blocks(strtoul(h + 124, NULL, 8)))
    if (strcmp(h, name) == 0)
      return h;
  return NULL;
}

static void expect(const char *data, size_t n, const char *text)
{
  struct qtk_bundle *b;
  assert_int_equal(open_bytes(data, n, &b), QTK_EINPUT);
  if (!strstr(qtk_error_message(), text))
    print_error("got %s, not %s\n", qtk_error_message(), text);
  assert_non_null(strstr(qtk_error_message(), text));
  assert_non_null(strstr(qtk_error_message(), "damaged.qtk: "));
}

static void hostile_headers(void **state)
{
  static const struct {
    const char *name;
    char type;
    const char *text;
  } bad[] = {{"/etc/passwd", '0', "absolute"},
             {"../up", '0', "\"..\""},
             {"a/../../b", '0', "\"..\""},
             {"a//b", '0', "empty part"},
             {"./a", '0', "\".\""},
             {"a\001b", '0', "0x01"},
             {"config.json", '1', "a link"},
             {"config.json", '2', "a link"},
             {"config.json", '3', "a device"},
             {"config.json", '4', "a device"},
             {"config.json", '5', "a folder"},
             {"config.json", '6', "type 0x36"},
             {"config.json", 'g', "type 0x67"},
             {"config.json", 'L', "type 0x4c"},
             {"config.json", 'S', "type 0x53"},
             {"arch.toml", '0', "there twice"},
             {"surprise", '0', "not in the manifest"}};
  size_t n;
  char *data = small_bundle(&n), *header = header_of(data, n, "config.json"), keep[512];
  (void)state;
  assert_non_null(header);
  memcpy(keep, header, 512);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    memset(header, 0, 100);
    memcpy(header, bad[i].name, strlen(bad[i].name));
    header[156] = bad[i].type;
    set_sum(header);
    expect(data, n, bad[i].text);
    memcpy(header, keep, 512);
  }
  memcpy(header + 124, "77777777777", 11);
  set_sum(header);
  expect(data, n, "within a member");
  memcpy(header + 124, "00000000010", 11);
  set_sum(header);
  expect(data, n, "the filling");
  memcpy(header + 124, "00000000020", 11);
  set_sum(header);
  expect(data, n, "the manifest says");
  memcpy(header + 124, "\200\0\0\0\0\0\0\0\0\1\0", 11);
  set_sum(header);
  expect(data, n, "octal");
  memcpy(header, keep, 512);
  memcpy(header + 257, "ustar  ", 8);
  set_sum(header);
  expect(data, n, "not one of a pax tar");
  memcpy(header, keep, 512);
  strcpy(header + 157, "target");
  set_sum(header);
  expect(data, n, "link");
  free(data);
}

static void hostile_pax(void **state)
{
  static const char *const records[] = {"19 linkpath=/x/y/z\n",
                                        "11 size=-12\n",
                                        "999 path=x\n",
                                        "0 path=x\n",
                                        "12 path=abc",
                                        "20 GNU.sparse.map=1\n",
                                        "x",
                                        "15 path=a\nb\ncd\n"};
  char pax[1024] = {0}, *whole;
  size_t n;
  char *data = small_bundle(&n), *header = header_of(data, n, "config.json");
  size_t at = (size_t)(header - data);
  (void)state;
  whole = malloc(n + sizeof pax);
  assert_non_null(whole);
  for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
    memset(pax, 0, sizeof pax);
    memcpy(pax, header, 512);
    pax[156] = 'x';
    snprintf(pax + 124, 12, "%011o", (unsigned)strlen(records[i]));
    set_sum(pax);
    memcpy(pax + 512, records[i], strlen(records[i]));
    memcpy(whole, data, at);
    memcpy(whole + at, pax, sizeof pax);
    memcpy(whole + at + sizeof pax, data + at, n - at);
    expect(whole, n + sizeof pax, i == 7 ? "0x0a" : "pax header");
  }
  memcpy(whole + n, pax, sizeof pax);
  memset(whole + n + 512, 0, 512);
  free(whole);
  free(data);
}

static void hostile_wholes(void **state)
{
  struct qtk_bundle *b;
  size_t n, size;
  char *data = small_bundle(&n), *longer = calloc(1, n + 20480), *header;
  (void)state;
  /* Zeros that fill a record of tar are fine, anything else is not. */
  memcpy(longer, data, n);
  assert_int_equal(open_bytes(longer, n + 9216, &b), QTK_OK);
  qtk_bundle_close(b);
  longer[n + 600] = 1;
  expect(longer, n + 9216, "behind the end");
  /* A member taken out; a member twice; another first. */
  header = header_of(data, n, "config.json");
  size = 512 + blocks(strtoul(header + 124, NULL, 8));
  memcpy(longer, data, (size_t)(header - data));
  memcpy(longer + (header - data), header + size, n - size - (size_t)(header - data));
  expect(longer, n - size, "\"config.json\" is missing");
  memcpy(longer, data, (size_t)(header - data));
  memcpy(longer + (header - data), header, size);
  memcpy(longer + (header - data) + size, header, n - (size_t)(header - data));
  expect(longer, n + size, "\"config.json\" is there twice");
  expect(header, n - (size_t)(header - data), "first member");
  expect("\x1f\x8b\x08", 3, "gzip");
  expect("\xfd"
         "7zXZ\0",
         6, "xz");
  expect("\x28\xb5\x2f\xfd", 4, "zstd");
  expect("", 0, "without the end");
  expect("hello", 5, "without the end");
  free(longer);
  free(data);
}

/* The manifest changed by hand, its digest line and its header made to fit again. */
static void expect_manifest(const char *from, const char *to, const char *text)
{
  size_t n, length, changed;
  char *data = small_bundle(&n), *whole, *at, *body, hex[QTK_DIGEST_HEX];
  uint8_t digest[QTK_DIGEST_BYTES];
  length = strtoul(data + 124, NULL, 8);
  whole = calloc(1, n + 4096);
  at = memmem(data + 512, length, from, strlen(from));
  assert_non_null(at);
  changed = length - strlen(from) + strlen(to);
  memcpy(whole, data, (size_t)(at - data));
  memcpy(whole + (at - data), to, strlen(to));
  memcpy(whole + (at - data) + strlen(to), at + strlen(from),
         length - (size_t)(at - data - 512) - strlen(from));
  body = memchr(whole + 512, '\n', changed);
  if (strstr(text, "first line") == NULL) {
    qtk_digest_of(body + 1, changed - (size_t)(body + 1 - (whole + 512)), digest);
    qtk_digest_hex(digest, hex);
    memcpy(whole + 512 + 10, hex, 64);
  }
  snprintf(whole + 124, 12, "%011o", (unsigned)changed);
  set_sum(whole);
  memcpy(whole + 512 + blocks(changed), data + 512 + blocks(length), n - 512 - blocks(length));
  expect(whole, n - blocks(length) + blocks(changed), text);
  free(whole);
  free(data);
}

static void hostile_manifests(void **state)
{
  (void)state;
  expect_manifest("kind = \"model\"", "kind = \"modal\"", "kind = \"modal\"");
  expect_manifest("kind = \"model\"", "kind = 3", "kind");
  expect_manifest("kind = \"model\"", "kind = \"adapter\"", "no tensors");
  expect_manifest("format = 1", "format = 2", "format = 2");
  expect_manifest("layout = 1", "layout = 7", "layout = 7");
  expect_manifest("licence", "license", "licence");
  expect_manifest("digest = \"", "digets = \"", "first line");
  expect_manifest("kind = ", "kind : ", "manifest:4");
  expect_manifest("name = \"config.json\"", "name = \"/onfig.json\"", "absolute");
  expect_manifest("name = \"config.json\"", "name = \"chat_template.txt\"", "listed twice");
  expect_manifest("name = \"config.json\"", "name = \"aaaaa.json\"", "not in its place");
  expect_manifest("name = \"config.json\"", "name = \"config.jsom\"", "not in the manifest");
  expect_manifest("bytes = 9\n", "bytes = -9\n", "bytes = -9");
  expect_manifest("bytes = 9\n", "bytes = 10\n", "has 9 bytes");
  expect_manifest("name = \"norm\"", "name = \"nurm\"", "no member");
  expect_manifest("dtype = \"f32\"", "dtype = \"f64\"", "its tensor needs");
  expect_manifest("dtype = \"f32\"", "dtype = \"f33\"", "f33");
  expect_manifest("encoding = \"dense\"", "encoding = \"dents\"", "dents");
  expect_manifest("encoding = \"opaque\"\nbytes = 1000\n", "encoding = \"opaque\"\nbytes = -1\n",
                  "its tensor needs 0");
  expect_manifest("plugin = \"not-installed\"\n", "", "no plugin");
  expect_manifest("shape = [77]", "shape = []", "dimensions");
  expect_manifest("shape = [77]", "shape = [-77]", "above 0");
  expect_manifest("shape = [77]", "shape = [9223372036854775807]", "");
  expect_manifest("shape = [2, 3, 4]", "shape = [4294967296, 4294967296, 4]", "too large");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),      cmocka_unit_test(same_bytes),
      cmocka_unit_test(model_digest),    cmocka_unit_test(gnu_tar),
      cmocka_unit_test(holding),         cmocka_unit_test(large),
      cmocka_unit_test(bad_contents),    cmocka_unit_test(no_room),
      cmocka_unit_test(flipped_bits),    cmocka_unit_test(truncated),
      cmocka_unit_test(verify_names),    cmocka_unit_test(hostile_headers),
      cmocka_unit_test(hostile_pax),     cmocka_unit_test(hostile_wholes),
      cmocka_unit_test(hostile_manifests),
  };
  return cmocka_run_group_tests(tests, start, end);
}
