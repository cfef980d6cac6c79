/* SPDX-License-Identifier: BSD-3-Clause
 * A bundle as a model: the built-in format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/context.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/registry.h"
#include "tests/unit/bundle-make.h"

static struct make_tensors made;
static char folder[] = "/tmp/qtk-t-bundle-format-XXXXXX";

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

static void write_bundle(const char *path, const struct qtk_bundle_contents *c)
{
  struct qtk_context_options options = {.threads = 1};
  struct qtk_bundle_result result;
  struct qtk_context *ctx;
  assert_int_equal(qtk_context_open(&options, &ctx), QTK_OK);
  assert_int_equal(qtk_bundle_write(ctx, path, c, &result), QTK_OK);
  qtk_context_close(ctx);
}

static void check_rows(const struct qtk_format_ops *ops, void *h, int i,
                       const struct qtk_stored *want)
{
  int64_t rows = want->view.layout.rows, cols = want->view.layout.cols;
  float *a = calloc((size_t)(rows * cols), sizeof *a),
        *b = calloc((size_t)(rows * cols), sizeof *b);
  assert_int_equal(qtk_dequantize_rows(&want->view, NULL, 0, rows, a, cols), QTK_OK);
  assert_int_equal(ops->read(h, i, 0, rows, b, cols), QTK_OK);
  assert_memory_equal(a, b, (size_t)(rows * cols) * sizeof *a);
  free(a);
  free(b);
}

static void check_info(const struct qtk_format_ops *ops, void *h, int i)
{
  struct qtk_tensor_info info;
  struct qtk_qlayout layout;
  struct qtk_qtensor view;
  const void *data;
  uint64_t bytes;
  const struct qtk_stored *want = NULL;
  assert_int_equal(ops->tensor(h, i, &info), 1);
  for (int k = 0; k < made.n; k++)
    if (strcmp(made.list[k].name, info.name) == 0)
      want = &made.list[k];
  assert_non_null(want);
  assert_int_equal(info.bytes, qtk_qlayout_bytes(&want->view.layout));
  assert_true(strlen(info.type) > 0);
  assert_int_equal(ops->quantized(h, i, &layout), !info.dense);
  assert_true(make_same_layout(&layout, &want->view.layout));
  if (info.dense) {
    assert_int_equal(ops->map(h, i, &data, &bytes), QTK_OK);
    assert_memory_equal(data, want->view.codes, bytes);
  } else if (layout.encoding == QTK_OPAQUE) {
    assert_int_equal(ops->map_quantized(h, i, &view), QTK_EPLUGIN);
    assert_non_null(strstr(qtk_error_message(), "needs plugin not-installed"));
    return;
  } else {
    assert_int_equal(ops->map_quantized(h, i, &view), QTK_OK);
    assert_true(make_equal(&view, &want->view));
  }
  check_rows(ops, h, i, want);
  ops->drop(h, i);
  check_rows(ops, h, i, want);
}

static void as_a_model(void **state)
{
  const struct qtk_plugin *plugin = qtk_bundle_format();
  const struct qtk_format_ops *ops = plugin->format;
  struct qtk_bundle_contents c = make_contents(&made);
  struct qtk_tensor_info info;
  char head[4096];
  void *h;
  FILE *f;
  (void)state;
  assert_string_equal(ops->schema, "qtk");
  write_bundle("model.qtk", &c);
  f = fopen("model.qtk", "rb");
  assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
  fclose(f);
  assert_int_equal(ops->probe("x", head, sizeof head), 100);
  head[260] = 0;
  assert_int_equal(ops->probe("x", head, sizeof head), 0);
  assert_int_equal(ops->probe("x.qtk", head, sizeof head), 50);
  assert_int_equal(ops->probe("x.qtk", NULL, 0), 0);
  assert_int_equal(ops->open(NULL, "model.qtk", &h), QTK_OK);
  for (int i = 0; i < made.n; i++)
    check_info(ops, h, i);
  assert_int_equal(ops->tensor(h, made.n, &info), 0);
  assert_string_equal(ops->config(h), "{\"a\": 1}\n");
  assert_int_equal(strlen(ops->tokenizer(h)), 1024);
  assert_string_equal(ops->text(h, "arch"), "family = \"x\"\n");
  assert_string_equal(ops->text(h, "chat_template"), "");
  assert_string_equal(ops->text(h, "licence"), "apache-2.0");
  assert_null(ops->text(h, "conf"));
  assert_null(ops->text(h, "tensors/norm"));
  ops->close(h);
}

/* What an opaque tensor holds is for its plugin to say. */
static int spread(const struct qtk_qtensor *t, int64_t row, int64_t n, float *out, int64_t stride)
{
  const uint8_t *codes = t->codes;
  for (int64_t r = 0; r < n; r++)
    for (int64_t c = 0; c < t->layout.cols; c++)
      out[r * stride + c] = codes[(row + r) * t->layout.cols + c];
  return QTK_OK;
}

static int no_layout(const void *options, const struct qtk_linear *linear,
                     struct qtk_qlayout *layout)
{
  (void)options;
  (void)linear;
  (void)layout;
  return QTK_EJOB;
}

static int no_work(struct qtk_context *ctx, const void *options, const struct qtk_linear *linear,
                   float *w, const struct qtk_calibration *calibration, struct qtk_qtensor *out,
                   struct qtk_quantize_result *result)
{
  (void)ctx;
  (void)options;
  (void)linear;
  (void)w;
  (void)calibration;
  (void)out;
  (void)result;
  return QTK_EJOB;
}

static void opaque(void **state)
{
  static const struct qtk_quantizer_ops ops = {
      .size = sizeof ops, .describe = no_layout, .quantize = no_work, .dequantize = spread};
  static const struct qtk_plugin plugin = {.size = sizeof plugin,
                                           .api = QTK_API_NEWEST,
                                           .name = "not-installed",
                                           .version = "1",
                                           .summary = "is now",
                                           .quantizer = &ops};
  const struct qtk_format_ops *format = qtk_bundle_format()->format;
  struct qtk_bundle_contents c = make_contents(&made);
  struct qtk_tensor_info info = {0};
  struct qtk_qtensor view;
  float row[8];
  void *h;
  int i = 0;
  (void)state;
  assert_int_equal(qtk_registry_add(&plugin), QTK_OK);
  write_bundle("opaque.qtk", &c);
  assert_int_equal(format->open(NULL, "opaque.qtk", &h), QTK_OK);
  while (format->tensor(h, i, &info) && strcmp(info.name, "odd") != 0)
    i++;
  for (int again = 0; again < 2; again++) {
    assert_int_equal(format->read(h, i, 3, 1, row, 8), QTK_OK);
    assert_int_equal(format->map_quantized(h, i, &view), QTK_OK);
    for (int k = 0; k < 8; k++)
      assert_true(row[k] == ((const uint8_t *)view.codes)[24 + k]);
  }
  format->close(h);
}

static void not_an_adapter(void **state)
{
  const struct qtk_loaded plugin = {.plugin = {.name = "p"}};
  const struct qtk_tuned tuned = {.name = (char *)"a", .plugin = &plugin}, *list = &tuned;
  struct qtk_bundle_contents c = {.kind = "adapter", .adapters = &list, .n_adapters = 1};
  const struct qtk_format_ops *ops = qtk_bundle_format()->format;
  void *h;
  (void)state;
  write_bundle("adapter.qtk", &c);
  assert_int_equal(ops->open(NULL, "adapter.qtk", &h), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "adapter"));
  assert_int_equal(ops->open(NULL, "absent.qtk", &h), QTK_EINPUT);
  assert_non_null(strstr(qtk_error_message(), "absent.qtk"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(as_a_model), cmocka_unit_test(not_an_adapter),
                                     cmocka_unit_test(opaque)};
  return cmocka_run_group_tests(tests, start, end);
}
