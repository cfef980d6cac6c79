/* SPDX-License-Identifier: BSD-3-Clause
 * The report and what is made of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "core/report.h"

static double windows[] = {2.5, 3.25, 3.0};
static struct qtk_text text = {.name = (char *)"wiki <&> \xff.txt"};

static void add_evaluate(json_t *report, double value)
{
  const struct qtk_protocol protocol = {.name = "paper", .context = 2048};
  struct qtk_perplexity p = {.protocol = &protocol,
                             .context = 2048,
                             .windows = 3,
                             .tokens = 6141,
                             .value = value,
                             .standard_error = 0.5,
                             .nll_per_window = windows};
  struct qtk_divergence d = {.context = 512,
                             .windows = 3,
                             .tokens = 1533,
                             .mean_kl = 0.125,
                             .same_top = 0.75,
                             .p99 = NAN,
                             .kl_per_window = windows};
  json_t *stage = qtk_report_stage(report, "evaluate", NULL);
  assert_non_null(stage);
  assert_int_equal(qtk_report_perplexity(stage, "paper", &p, &text), QTK_OK);
  assert_int_equal(qtk_report_divergence(stage, &d, &text), QTK_OK);
  assert_int_equal(qtk_report_end_stage(stage, 12.5, 800000000), QTK_OK);
}

static void add_quantize(json_t *report)
{
  struct qtk_report_sizes sizes = {1000, 2000, 93000000, 134515008};
  json_t *stage = qtk_report_stage(report, "quantize", "nearest");
  for (int i = 0; i < 3; i++) {
    struct qtk_report_layer layer = {.name = i == 1 ? "blocks.1.up" : "blocks.0.up",
                                     .bits = 4,
                                     .group = 64,
                                     .relative_error = i == 1 ? 0.02 : 0.01,
                                     .seconds = 0.5,
                                     .note = i == 2 ? "damped" : ""};
    assert_int_equal(qtk_report_add_layer(stage, qtk_report_layer(&layer)), QTK_OK);
  }
  assert_int_equal(qtk_report_sizes(stage, &sizes), QTK_OK);
  assert_int_equal(qtk_report_end_stage(stage, 1.25, 216000000), QTK_OK);
}

/* Fills a curve with a point for each value: step 5, 10, ... */
static json_t *curve(const double *values, size_t n, const char *more)
{
  json_t *list = json_array();
  for (size_t i = 0; i < n; i++) {
    json_t *point = json_pack("{s:i, s:f}", "step", (int)(5 * i + 5), "loss", values[i]);
    if (more)
      json_object_set_new(point, more, json_real(0.001 * (double)(n - i)));
    json_array_append_new(list, point);
  }
  return list;
}

static void add_adapt(json_t *report)
{
  const double losses[] = {4.0, 3.0, 2.5, 2.0}, others[] = {3.5, 2.75};
  const struct qtk_arena memory = {.peak = 1000,
                                   .n_categories = 3,
                                   .categories = {{.what = "weights", .part = 500},
                                                  {.what = "tape", .part = 300},
                                                  {.what = "activations", .part = 200}}};
  struct qtk_report_adapt a = {.trainable = 2944,
                               .bytes = 5900,
                               .model_bytes = 59000,
                               .steps = 20,
                               .tokens = 4000,
                               .tokens_per_second = 357.6,
                               .memory = &memory,
                               .loss = curve(losses, 4, "learning_rate"),
                               .validation = curve(others, 2, NULL),
                               .best = 10,
                               .stopped = 1};
  json_t *stage = qtk_report_stage(report, "adapt", "scales");
  assert_int_equal(qtk_report_adapt(stage, &a), QTK_OK);
  assert_int_equal(qtk_report_end_stage(stage, 3, 300000000), QTK_OK);
  const json_t *kinds = json_object_get(stage, "memory_bytes");
  assert_int_equal(json_integer_value(json_object_get(stage, "counted_bytes")), 1000);
  assert_int_equal(json_integer_value(json_object_get(kinds, "activations")), 500);
  assert_int_equal(json_object_size(kinds), 2);
  json_decref(a.loss);
  json_decref(a.validation);
}

/* A model that was tuned, merged, and measured with two adapters. */
static json_t *tuned(void)
{
  const struct qtk_logits_change change = {.maximum = 0.25, .mean = 0.01, .mean_kl = 0.002};
  const struct qtk_report_merge merge = {
      .adapters = "scales", .exact = 1, .tensors = 14, .probe = "p.txt", .tokens = 127,
      .change = &change};
  json_t *report = qtk_report_new(), *stage;
  add_adapt(report);
  stage = qtk_report_stage(report, "merge", NULL);
  assert_int_equal(qtk_report_merge(stage, &merge), QTK_OK);
  add_evaluate(report, 12.5);
  stage = json_array_get(json_object_get(report, "stages"), 2);
  assert_int_equal(
      qtk_json_set(stage, "adapters",
                   json_pack("[{s:s, s:O}, {s:s, s:O}]", "name", "poet", "perplexity",
                             json_object_get(stage, "perplexity"), "name", "<sums>", "perplexity",
                             json_object_get(stage, "perplexity"))),
      QTK_OK);
  assert_int_equal(qtk_report_end(report, 30.25, 900000000), QTK_OK);
  return report;
}

static json_t *example(void)
{
  static char files[2][256] = {"config.json", "model.safetensors"};
  struct qtk_export_result result = {.bytes = 12345, .n_files = 2, .files = files, .rounded = 3};
  json_t *report = qtk_report_new(), *stage;
  assert_non_null(report);
  memset(text.sha256, 'e', 64);
  assert_int_equal(qtk_report_set_job(report, "[job]\npath = \"/home/me\"\n"), QTK_OK);
  assert_int_equal(qtk_report_set_model(report, "family", 134515008, "abc"), QTK_OK);
  assert_int_equal(qtk_report_set_machine(report, "cpu", "avx2", 2), QTK_OK);
  add_evaluate(report, 19.92);
  add_quantize(report);
  add_evaluate(report, 26.35);
  stage = qtk_report_stage(report, "export", "folder");
  assert_int_equal(qtk_report_export(stage, "/home/me/out", &result), QTK_OK);
  assert_int_equal(qtk_report_end_stage(stage, 0.5, 1000), QTK_OK);
  qtk_log_forget();
  qtk_warn("a unit was damaged");
  assert_int_equal(qtk_report_end(report, 30.25, 900000000), QTK_OK);
  return report;
}

static json_t *parsed(const struct qtk_str *s)
{
  json_t *root;
  assert_int_equal(qtk_json_parse(s->data, s->length, "report", &root), QTK_OK);
  return root;
}

static double real_at(const json_t *root, const char *path)
{
  double value = NAN;
  assert_int_equal(qtk_json_get_real(root, path, &value), QTK_OK);
  return value;
}

/* What a reader finds, and the order of the keys. */
static void report_text(void **state)
{
  json_t *report = example(), *read;
  struct qtk_str s = {0};
  const char *value, *key;
  (void)state;
  assert_int_equal(qtk_report_write(report, &s), QTK_OK);
  assert_int_equal(s.data[s.length - 1], '\n');
  read = parsed(&s);
  assert_true(json_equal(read, report));
  assert_true(real_at(read, "stages.0.perplexity.value") == 19.92);
  assert_true(real_at(read, "stages.0.perplexity.nll_per_window.1") == 3.25);
  assert_true(real_at(read, "stages.1.layers.1.relative_error") == 0.02);
  assert_true(real_at(read, "stages.1.bits_per_weight") == 4.0);
  assert_true(real_at(read, "seconds") == 30.25);
  assert_true(real_at(read, "machine.threads") == 2);
  assert_true(real_at(read, "warnings.count") == 1);
  assert_true(json_is_null(json_object_get(qtk_json_find(read, "stages.0.divergence"), "p99")));
  assert_int_equal(qtk_json_get_text(read, "stages.0.perplexity.data", &value), QTK_OK);
  assert_string_equal(value, "wiki <&> ?.txt");
  assert_int_equal(qtk_json_get_text(read, "warnings.texts.0", &value), QTK_OK);
  assert_string_equal(value, "a unit was damaged");
  assert_null(json_object_get(qtk_json_find(read, "stages.0"), "method"));
  assert_null(json_object_get(qtk_json_find(read, "stages.1.layers.0"), "note"));
  assert_non_null(json_object_get(qtk_json_find(read, "stages.1.layers.2"), "note"));
  key = json_object_iter_key(json_object_iter(report));
  assert_string_equal(key, "qtk");
  assert_true(strstr(s.data, "\"machine\"") < strstr(s.data, "\"stages\""));
  json_decref(read);
  json_decref(report);
  qtk_str_free(&s);
}

/* Nothing of the machine, of times, memory and paths: the same for every run. */
static void results(void **state)
{
  static const char *const gone[] = {"seconds",  "peak_bytes", "machine",          "/home/me",
                                     "warnings", "processor",  "tokens_per_second"};
  json_t *report = example(), *read;
  struct qtk_str s = {0}, before = {0}, after = {0};
  (void)state;
  qtk_report_write(report, &before);
  assert_int_equal(qtk_report_results(report, "[job]\n", &s), QTK_OK);
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
    assert_null(strstr(s.data, gone[i]));
  read = parsed(&s);
  assert_true(real_at(read, "stages.2.perplexity.value") == 26.35);
  assert_true(real_at(read, "stages.1.bytes") == 93000000);
  assert_string_equal(json_string_value(json_object_get(read, "job")), "[job]\n");
  qtk_report_write(report, &after);
  assert_string_equal(before.data, after.data); /* left as it was */
  json_decref(read);
  json_decref(report);
  qtk_str_free(&s);
  qtk_str_free(&before);
  qtk_str_free(&after);
}

/* A bundle keeps of long curves the ends, what stands between them evenly, and the best. */
static void thinned(void **state)
{
  double values[1000];
  json_t *report = tuned(), *stage = json_array_get(json_object_get(report, "stages"), 0), *read;
  struct qtk_str s = {0};
  (void)state;
  for (int i = 0; i < 1000; i++)
    values[i] = i;
  json_object_set_new(stage, "loss", curve(values, 1000, "learning_rate"));
  json_object_set_new(stage, "validation", curve(values, 129, NULL));
  json_object_set_new(stage, "best_step", json_integer(5 * 128));
  assert_int_equal(qtk_report_results(report, "[job]\n", &s), QTK_OK);
  read = parsed(&s);
  stage = json_array_get(json_object_get(read, "stages"), 0);
  const json_t *loss = json_object_get(stage, "loss"), *others = json_object_get(stage, "validation");
  assert_int_equal(json_array_size(loss), 128);
  for (size_t i = 0; i < 128; i++)
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(loss, i), "step")), 5 * (i * 999 / 127) + 5);
  assert_int_equal(json_array_size(others), 129); /* one too many, and that is the best one */
  assert_true(real_at(read, "stages.0.validation.128.loss") == 128.0);
  assert_true(s.length < 30000);
  assert_int_equal(json_array_size(qtk_json_find(report, "stages.0.loss")), 1000);
  json_decref(read);
  json_decref(report);
  qtk_str_free(&s);
}

static void table(void **state)
{
  static const char *const there[] = {"family, 134515008 parameters",
                                      "avx2",
                                      "0 evaluate",
                                      "1 quantize nearest",
                                      "perplexity 19.9200 +- 0.5000 (paper, 3 x 2048, wiki",
                                      "26.3500",
                                      "4.0000 bits a weight",
                                      "93.0 MB",
                                      "3 layers",
                                      "0.02 in blocks.1.up",
                                      "12.5 s",
                                      "216 MB",
                                      "same top token 75.00 %",
                                      "12.3 kB in /home/me/out",
                                      "all",
                                      "1 warning\n"};
  json_t *report = example(), *empty = json_object();
  struct qtk_str s = {0}, none = {0};
  (void)state;
  assert_int_equal(qtk_report_table(report, &s), QTK_OK);
  for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
    if (!strstr(s.data, there[i]))
      print_error("no \"%s\" in\n%s", there[i], s.data);
    assert_non_null(strstr(s.data, there[i]));
  }
  assert_int_equal(qtk_report_table(empty, &none), QTK_OK);
  json_decref(report);
  json_decref(empty);
  qtk_str_free(&s);
  qtk_str_free(&none);
}

static size_t count(const char *in, const char *what)
{
  size_t n = 0;
  for (; (in = strstr(in, what)); in++)
    n++;
  return n;
}

static void html(void **state)
{
  json_t *report = example(), *odd;
  struct qtk_str s = {0}, other = {0};
  (void)state;
  assert_int_equal(qtk_report_html(report, &s), QTK_OK);
  assert_int_equal(count(s.data, "<svg"), 3);
  assert_int_equal(count(s.data, "</svg>"), 3);
  assert_int_equal(count(s.data, "<polyline"), 4);
  assert_int_equal(count(s.data, "<rect"), 3);
  assert_non_null(strstr(s.data, "wiki &lt;&amp;&gt;"));
  assert_null(strstr(s.data, "<&>"));
  assert_null(strstr(s.data, "http"));
  assert_null(strstr(s.data, "nan"));
  /* Reports that were made elsewhere may have anything in them. */
  odd = json_pack("{s:[{s:{s:[s,n,f]}}, i, {s:[]}, {s:s, s:[{s:s}], s:[n], s:{}}]}", "stages",
                  "perplexity", "nll_per_window", "x", 1.5, 3, "layers", "run", "<b>", "loss",
                  "loss", "y", "validation", "adapters");
  assert_non_null(odd);
  assert_int_equal(qtk_report_html(odd, &other), QTK_OK);
  assert_null(strstr(other.data, "<b>"));
  assert_null(strstr(other.data, "inf"));
  assert_null(strstr(other.data, "nan"));
  json_decref(odd);
  json_decref(report);
  qtk_str_free(&s);
  qtk_str_free(&other);
}

/* The text between two marks, the first of which stands behind `after`. */
static char *between(const char *in, const char *after, const char *from, const char *to)
{
  const char *at = strstr(in, after), *end;
  assert_non_null(at);
  assert_non_null(at = strstr(at, from));
  at += strlen(from);
  assert_non_null(end = strstr(at, to));
  return strndup(at, (size_t)(end - at));
}

/* Training, its proof, and adapters by name: in the table, and on the page, where the curve of
 * validation data stands on the steps of the other. */
static void tuning(void **state)
{
  static const char *const there[] = {
      "2944 parameters trained on 4000 tokens, loss 4.0000 to 2.0000",
      "20 steps, 358 tokens/s\n",
      "the adapter adds 5.9 kB (5900 bytes) to the model's 59.0 kB: 1.1000 times its size",
      "validation loss 3.5000 to 2.7500, the least 2.7500 at step 10; stopped early",
      "scales merged into 14 tensors, nothing rounded",
      "logits differ by 0.25 at most, 0.01 on average, KL 0.002 (127 tokens of p.txt)",
      "poet: perplexity 12.5"};
  json_t *report = tuned();
  struct qtk_str s = {0}, page = {0};
  char *part;
  (void)state;
  assert_int_equal(qtk_report_table(report, &s), QTK_OK);
  assert_int_equal(qtk_report_html(report, &page), QTK_OK);
  for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
    if (!strstr(s.data, there[i]))
      print_error("no \"%s\" in\n%s", there[i], s.data);
    assert_non_null(strstr(s.data, there[i]));
    assert_non_null(strstr(page.data, there[i]));
  }
  assert_int_equal(count(page.data, "<svg"), 4);
  assert_non_null(strstr(page.data, "2 evaluate, poet"));
  assert_non_null(strstr(page.data, "2 evaluate, &lt;sums&gt;"));
  /* 640 wide from 48 on, 200 high from 24 on; steps 5 to 20, losses 2 to 4. */
  part = between(page.data, "Loss while training", "points=\"", "\"");
  assert_string_equal(part, "48.0,24.0 261.3,124.0 474.7,174.0 688.0,224.0 ");
  free(part);
  part = between(page.data, "0 adapt scales", "0 adapt scales, ", "&ensp;");
  assert_string_equal(part, "validation");
  free(part);
  part = between(strstr(page.data, "Loss while training"), "<polyline", "<circle cx=\"688", "<svg");
  assert_non_null(strstr(part, "points=\"48.0,74.0 261.3,149.0 \""));
  assert_non_null(strstr(part, "<title>step 10: 2.75</title>"));
  free(part);
  part = between(page.data, "Learning rate", "points=\"", "\"");
  assert_string_equal(part, "48.0,24.0 261.3,90.7 474.7,157.3 688.0,224.0 ");
  free(part);
  json_decref(report);
  qtk_str_free(&s);
  qtk_str_free(&page);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(tuning),
                                     cmocka_unit_test(report_text), cmocka_unit_test(results),
                                     cmocka_unit_test(table), cmocka_unit_test(html),
                                     cmocka_unit_test(thinned)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
