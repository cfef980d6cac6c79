/* SPDX-License-Identifier: BSD-3-Clause
 * Adapters in bundles: what is written is what is read, what cannot be is refused, and the file
 * is not much larger than its parameters. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/adapter.h"
#include "core/bundle.h"
#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "tests/unit/bundle-make.h"

static char folder[] = "/tmp/qtk-t-bundle-adapter-XXXXXX";
static struct qtk_context *ctx;

static int start(void **state)
{
  struct qtk_context_options options = {.threads = 2};
  (void)state;
  if (qtk_context_open(&options, &ctx) != QTK_OK)
    return -1;
  return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int end(void **state)
{
  (void)state;
  qtk_context_close(ctx);
  return chdir("/") == 0 && qtk_remove_tree(folder) == QTK_OK ? 0 : -1;
}

/* ---- adapters ------------------------------------------------------------------------ */

static void must(int rc)
{
  if (rc != QTK_OK)
    print_error("%s\n", qtk_error_message());
  assert_int_equal(rc, QTK_OK);
}

static void put(struct qtk_tuned *t, const char *name, enum qtk_dtype type, int64_t rows,
                int64_t cols)
{
  struct qtk_param p = {.ndim = rows ? 2 : 1, .shape = {rows ? rows : cols, cols},
                        .disk_dtype = type};
  void *values;
  snprintf(p.name, sizeof p.name, "%s", name);
  must(qtk_tuned_add(t, &p, &values));
  for (int64_t i = 0; i < (rows ? rows : 1) * cols; i++)
    if (type == QTK_F32)
      ((float *)values)[i] = (float)make_byte() / 7;
    else
      ((uint16_t *)values)[i] = (uint16_t)(make_byte() << 6);
}

static struct qtk_tuned *empty(void)
{
  const struct qtk_loaded *plugin;
  struct qtk_tuned *t;
  must(qtk_registry_get(QTK_ADAPTER, "peqa", &plugin));
  must(qtk_tuned_new(ctx, "a \"task\"", plugin, "relative = false\n", "up_proj|\\.q$", &t));
  memset(t->base, 'a', 64);
  memset(t->tokenizer, 'b', 64);
  memset(t->recipe, 'c', 64);
  t->base_name = strdup("base.gguf");
  return t;
}

static struct qtk_tuned *some(void)
{
  struct qtk_tuned *t = empty();
  put(t, "z.a", QTK_F32, 3, 5);
  put(t, "b.scales", QTK_F16, 7, 9);
  put(t, "c", QTK_F16, 0, 1);
  put(t, "m", QTK_F32, 0, 33);
  return t;
}

static struct qtk_bundle_contents contents(struct qtk_tuned *const *list, int n)
{
  return (struct qtk_bundle_contents){.kind = "adapter", .job = "[job]\n",
                                      .adapters = (const struct qtk_tuned *const *)list,
                                      .n_adapters = n};
}

static void write_adapter(const char *path, struct qtk_tuned *t, struct qtk_bundle_result *result)
{
  struct qtk_bundle_contents c = contents(&t, 1);
  uint64_t planned, bytes;
  must(qtk_bundle_write(ctx, path, &c, result));
  must(qtk_path_size(path, &bytes));
  must(qtk_bundle_size(&c, &planned));
  assert_int_equal(bytes, result->bytes);
  assert_true(planned >= bytes && planned <= bytes + 2048);
}

static void same(const struct qtk_tuned *a, const struct qtk_tuned *b)
{
  char one[QTK_DIGEST_HEX], two[QTK_DIGEST_HEX];
  assert_string_equal(a->name, b->name);
  assert_string_equal(a->plugin->plugin.name, b->plugin->plugin.name);
  assert_string_equal(a->text, b->text);
  assert_string_equal(a->targets, b->targets);
  assert_string_equal(a->base, b->base);
  assert_string_equal(a->base_name, b->base_name);
  assert_string_equal(a->tokenizer, b->tokenizer);
  assert_string_equal(a->recipe, b->recipe);
  assert_int_equal(a->forced, b->forced);
  assert_int_equal(a->n_params, b->n_params);
  for (int i = 0; i < a->n_params; i++) {
    const struct qtk_stored *p = &a->params[i], *q = &b->params[i];
    assert_string_equal(p->name, q->name);
    assert_int_equal(p->ndim, q->ndim);
    assert_memory_equal(p->shape, q->shape, (size_t)p->ndim * sizeof *p->shape);
    assert_true(make_equal(&p->view, &q->view));
    assert_int_equal((uintptr_t)q->view.codes % 64, 0);
  }
  must(qtk_tuned_digest(a, one));
  must(qtk_tuned_digest(b, two));
  assert_string_equal(one, two);
}

/* ---- written and read ------------------------------------------------------------------ */

static void round_trip(void **state)
{
  struct qtk_tuned *t = some(), *back;
  struct qtk_bundle_result result;
  struct qtk_bundle *b;
  (void)state;
  t->forced = 1;
  must(qtk_tuned_note(t, "some \"format\"", "{\"r\": 4,\n \"x\": \"\\u00e9\"}\n"));
  write_adapter("a.qtk", t, &result);
  assert_string_equal(result.model_digest, "");
  must(qtk_adapter_load(ctx, "a.qtk", &back));
  same(t, back);
  assert_string_equal(back->origin, t->origin);
  assert_string_equal(back->note, t->note);
  must(qtk_bundle_open("a.qtk", &b));
  must(qtk_bundle_verify(ctx, b));
  assert_string_equal(qtk_bundle_kind(b), "adapter");
  assert_null(qtk_bundle_model_digest(b));
  assert_int_equal(qtk_bundle_adapter_count(b), 1);
  assert_int_equal(qtk_bundle_adapter(b, 0)->bytes, qtk_tuned_bytes(t));
  assert_null(qtk_bundle_text(b, "adapters/0/parameters", NULL));
  assert_string_equal(qtk_bundle_text(b, "job.toml", NULL), "[job]\n");
  qtk_bundle_close(b);
  qtk_tuned_free(back);
  qtk_tuned_free(t);
}

/* Everything that need not be known is left out, and read back as not known. */
static void little(void **state)
{
  const struct qtk_loaded *plugin;
  struct qtk_tuned *t, *back;
  struct qtk_bundle_result result;
  (void)state;
  must(qtk_registry_get(QTK_ADAPTER, "peqa", &plugin));
  must(qtk_tuned_new(ctx, "x", plugin, "", NULL, &t));
  write_adapter("x.qtk", t, &result);
  must(qtk_adapter_load(ctx, "x.qtk", &back));
  assert_true(back->n_params == 0 && !back->targets && !back->base_name && !*back->base &&
              !*back->tokenizer && !*back->recipe && !back->forced && !back->origin && !back->note);
  qtk_tuned_free(back);
  qtk_tuned_free(t);
}

/* Longer than what is written at once: cut within a parameter. */
static void large(void **state)
{
  struct qtk_tuned *t = empty(), *back;
  struct qtk_bundle_result result;
  struct qtk_bundle *b;
  (void)state;
  put(t, "first", QTK_F16, 1000, 4099);
  put(t, "second", QTK_F32, 1500, 1001);
  put(t, "third", QTK_F32, 1000, 1000);
  write_adapter("large.qtk", t, &result);
  must(qtk_adapter_load(ctx, "large.qtk", &back));
  same(t, back);
  must(qtk_bundle_open("large.qtk", &b));
  must(qtk_bundle_verify(ctx, b));
  qtk_bundle_close(b);
  qtk_tuned_free(back);
  qtk_tuned_free(t);
}

/* As many and as small as one scale a row makes them on a model of 30 blocks. */
static void small_file(void **state)
{
  static const struct {
    const char *name;
    int rows;
  } linears[] = {{"self_attn.q_proj", 576}, {"self_attn.k_proj", 192}, {"self_attn.v_proj", 192},
                 {"self_attn.o_proj", 576}, {"mlp.gate_proj", 1536},   {"mlp.up_proj", 1536},
                 {"mlp.down_proj", 576}};
  struct qtk_tuned *t = empty();
  struct qtk_bundle_result result;
  (void)state;
  for (int layer = 0; layer < 30; layer++)
    for (int i = 0; i < 7; i++) {
      char name[96];
      snprintf(name, sizeof name, "model.layers.%d.%s.weight.change", layer, linears[i].name);
      put(t, name, QTK_F16, linears[i].rows, 1);
    }
  assert_int_equal(qtk_tuned_bytes(t), 30 * 5184 * 2);
  write_adapter("rows.qtk", t, &result);
  print_message("%llu bytes of scales, a file of %llu\n", (unsigned long long)qtk_tuned_bytes(t),
                (unsigned long long)result.bytes);
  assert_true(result.bytes * 100 < qtk_tuned_bytes(t) * 107);
  qtk_tuned_free(t);
}

/* Of kind "model": several, lowest first, beside the tensors. */
static void on_a_model(void **state)
{
  struct qtk_tuned *list[] = {some(), empty(), some()};
  struct make_tensors made;
  struct qtk_bundle_result with, without;
  struct qtk_bundle *b;
  (void)state;
  make_all(&made);
  struct qtk_bundle_contents c = make_contents(&made);
  must(qtk_bundle_write(ctx, "plain.qtk", &c, &without));
  c.adapters = (const struct qtk_tuned *const *)list;
  c.n_adapters = 3;
  must(qtk_bundle_write(ctx, "tuned.qtk", &c, &with));
  assert_string_equal(with.model_digest, without.model_digest);
  must(qtk_bundle_open("tuned.qtk", &b));
  must(qtk_bundle_verify(ctx, b));
  assert_int_equal(qtk_bundle_adapter_count(b), 3);
  assert_int_equal(qtk_bundle_tensor_count(b), made.n);
  for (int i = 0; i < 3; i++) {
    struct qtk_tuned *back;
    must(qtk_bundle_tuned(ctx, b, i, &back));
    same(list[i], back);
    qtk_tuned_free(back);
    qtk_tuned_free(list[i]);
  }
  qtk_bundle_close(b);
  make_free(&made);
}

/* ---- what cannot be ---------------------------------------------------------------------- */

static void refuse(const struct qtk_bundle_contents *c, int status, const char *text)
{
  struct qtk_bundle_result result;
  assert_int_equal(qtk_bundle_write(ctx, "refused.qtk", c, &result), status);
  if (!strstr(qtk_error_message(), text))
    fail_msg("\"%s\" has no \"%s\"", qtk_error_message(), text);
  assert_false(qtk_path_exists("refused.qtk"));
}

static void bad_contents(void **state)
{
  struct qtk_tuned *t = some(), *two[] = {t, t};
  struct qtk_bundle_contents c = contents(two, 2);
  struct make_tensors made;
  struct qtk_bundle_text text = {"adapters/0/parameters", "x", 1};
  (void)state;
  refuse(&c, QTK_EINTERNAL, "2 adapters");
  make_all(&made);
  c = contents(&t, 1);
  c.tensors = made.list;
  c.n_tensors = 1;
  refuse(&c, QTK_EINTERNAL, "1 tensors");
  c = contents(&t, 1);
  c.texts = &text;
  c.n_texts = 1;
  refuse(&c, QTK_EINPUT, "among the adapters");
  c = contents(&t, 1);
  t->params[0].shape[0]++;
  refuse(&c, QTK_EINPUT, "do not fit");
  t->params[0].shape[0]--;
  t->params[1].view.layout.dtype = QTK_BF16;
  refuse(&c, QTK_EINPUT, "f16 or f32");
  t->params[1].view.layout.dtype = QTK_F16;
  make_free(&made);
  qtk_tuned_free(t);
}

/* The manifest changed by hand, its digest line and the header made to fit again. */
static uint64_t change(char *data, uint64_t n, const char *from, const char *to)
{
  uint64_t length = strtoul(data + 124, NULL, 8), blocks = (length + 511) / 512 * 512;
  char *at = memmem(data + 512, length, from, strlen(from)), hex[QTK_DIGEST_HEX], *body;
  uint8_t digest[QTK_DIGEST_BYTES];
  unsigned sum = 0;
  assert_non_null(at);
  uint64_t changed = length - strlen(from) + strlen(to), wide = (changed + 511) / 512 * 512;
  char *rest = malloc(n);
  memcpy(rest, data + 512 + blocks, n - 512 - blocks);
  memmove(at + strlen(to), at + strlen(from),
          length - (uint64_t)(at - data - 512) - strlen(from));
  memcpy(at, to, strlen(to));
  memset(data + 512 + changed, 0, wide - changed);
  memcpy(data + 512 + wide, rest, n - 512 - blocks);
  free(rest);
  body = memchr(data + 512, '\n', changed);
  qtk_digest_of(body + 1, changed - (uint64_t)(body + 1 - (data + 512)), digest);
  qtk_digest_hex(digest, hex);
  memcpy(data + 512 + 10, hex, 64);
  snprintf(data + 124, 12, "%011o", (unsigned)changed);
  memset(data + 148, ' ', 8);
  for (int i = 0; i < 512; i++)
    sum += (unsigned char)data[i];
  snprintf(data + 148, 8, "%06o", sum);
  data[155] = ' ';
  return n - blocks + wide;
}

static void expect_file(const char *data, uint64_t n, const char *text)
{
  struct qtk_tuned *t;
  must(qtk_write_file("bad.qtk", data, n));
  int rc = qtk_adapter_load(ctx, "bad.qtk", &t);
  if (rc == QTK_OK)
    fail_msg("taken, in spite of \"%s\"", text);
  if (!strstr(qtk_error_message(), text) || !strstr(qtk_error_message(), "bad.qtk"))
    fail_msg("\"%s\" has no \"%s\"", qtk_error_message(), text);
  assert_int_equal(rc, strstr(text, "no adapter '") ? QTK_EPLUGIN : QTK_EINPUT);
}

static void expect(const char *from, const char *to, const char *text)
{
  struct qtk_tuned *t = some();
  struct qtk_bundle_result result;
  char *data;
  size_t n;
  write_adapter("good.qtk", t, &result);
  must(qtk_read_file("good.qtk", 1 << 20, &data, &n));
  data = realloc(data, n + 8192);
  expect_file(data, change(data, n, from, to), text);
  free(data);
  qtk_tuned_free(t);
}

static void hostile_manifests(void **state)
{
  (void)state;
  expect("kind = \"adapter\"", "kind = \"model\"", "model_digest");
  expect("[[adapter]]", "[[adaptor]]", "adaptor");
  expect("[[adapter]]", "[[tensor]]\nname = \"x\"\n[[adapter]]", "no tensors");
  expect("[[adapter]]", "[[adapter]]\nname = \"x\"\nplugin = \"y\"\nparameters = []\n[[adapter]]",
         "has 2 of them");
  expect("plugin = \"peqa\"", "plugin = \"paqe\"", "no adapter 'paqe'");
  expect("plugin = \"peqa\"\n", "", "plugin");
  expect("relative = false", "relativ = false", "relativ");
  expect("relative = false", "relative = 17.5", "relative");
  expect("targets = ", "target = ", "target");
  expect("targets = ", "note = \"x\"\ntargets = ", "without \"origin\"");
  expect("aaaaaaaa", "aaaagaaa", "");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\"]", "parameter 1 is not");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", 1, 1, 1, 1, 1]", "parameter 1 is not");
  expect("[\"c\", \"f16\", 1]", "[3, \"f16\", 1]", "parameter 1 is not");
  expect("[\"c\", \"f16\", 1]", "\"c f16 1\"", "parameter 1 is not");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f15\", 1]", "\"f15\"");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"bf16\", 1]", "f16 and f32");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", 0]", "above 0");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", -1]", "above 0");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", 1.0]", "above 0");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", 4294967296, 4294967296, 2]", "too large");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f16\", 9223372036854775807]", "");
  expect("[\"c\", \"f16\", 1]", "[\"c\", \"f32\", 100]", "its parameters need");
  expect("[\"c\", \"f16\", 1]", "[\"b\", \"f16\", 1]", "not in its place");
  expect("[\"c\", \"f16\", 1]", "[\"b.scales\", \"f16\", 1]", "listed twice");
  expect("[\"c\", \"f16\", 1]", "[\"\", \"f16\", 1]", "has 0 bytes");
  expect("adapters/0/parameters", "adapters/1/parameters", "no member");
}

/* The file cut short, and values that are none. */
static void damaged(void **state)
{
  static const uint32_t bad[] = {0x7fc00000, 0x7f800000, 0xff800000};
  struct qtk_tuned *t = some();
  struct qtk_bundle_result result;
  char *data;
  size_t n;
  (void)state;
  for (int i = 0; i < 3; i++) {
    memcpy((uint32_t *)t->params[3].view.codes + 4, &bad[i], 4);
    write_adapter("nan.qtk", t, &result);
    must(qtk_read_file("nan.qtk", 1 << 20, &data, &n));
    expect_file(data, n, "\"z.a\": value 4 is ");
    free(data);
  }
  must(qtk_read_file("nan.qtk", 1 << 20, &data, &n));
  for (size_t cut = 0; cut < n; cut += 512)
    expect_file(data, cut, "");
  free(data);
  qtk_tuned_free(t);
}

static void not_an_adapter(void **state)
{
  struct qtk_tuned *t;
  struct make_tensors made;
  struct qtk_bundle_result result;
  (void)state;
  make_all(&made);
  struct qtk_bundle_contents c = make_contents(&made);
  must(qtk_bundle_write(ctx, "model.qtk", &c, &result));
  assert_int_equal(qtk_adapter_load(ctx, "model.qtk", &t), QTK_EINPUT);
  assert_string_equal(qtk_error_message(),
                      "model.qtk: a bundle with a model, not with an adapter");
  assert_int_equal(qtk_adapter_load(ctx, "absent.qtk", &t), QTK_EINPUT);
  make_free(&made);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(round_trip),        cmocka_unit_test(little),
      cmocka_unit_test(large),             cmocka_unit_test(small_file),
      cmocka_unit_test(on_a_model),        cmocka_unit_test(bad_contents),
      cmocka_unit_test(hostile_manifests), cmocka_unit_test(damaged),
      cmocka_unit_test(not_an_adapter),
  };
  return cmocka_run_group_tests(tests, start, end);
}
