/* SPDX-License-Identifier: BSD-3-Clause
 * Job files: what is read from them, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/job.h"

#define HEAD "[model]\npath = \"m.gguf\"\n"
#define QUANTIZE "[[stage]]\nrun = \"quantize\"\nmethod = \"x\"\n"

static int parse(const char *text, const char *const *set, struct qtk_job **job)
{
  return qtk_job_parse(text, strlen(text), "dir/tiny.toml", set, job);
}

/* The text is refused with a message that has `words` in it. */
static void refused(const char *text, const char *words)
{
  struct qtk_job *job;
  assert_int_equal(parse(text, NULL, &job), QTK_EJOB);
  if (strstr(qtk_error_message(), words) == NULL)
    fail_msg("no '%s' in '%s'", words, qtk_error_message());
}

static void test_defaults(void **state)
{
  struct qtk_job *job;
  (void)state;
  assert_int_equal(parse(HEAD QUANTIZE, NULL, &job), QTK_OK);
  assert_string_equal(job->name, "tiny");
  assert_int_equal(job->seed, 1);
  assert_string_equal(job->backend, "auto");
  assert_int_equal(job->threads, 0);
  assert_int_equal(job->memory_limit, 0);
  assert_string_equal(job->model, "dir/m.gguf");
  assert_null(job->source);
  assert_string_equal(job->bundle, "dir/tiny.qtk");
  assert_string_equal(job->report, "dir/tiny.json");
  assert_int_equal(job->n_stages, 1);
  assert_string_equal(job->stages[0].method, "x");
  assert_null(job->stages[0].targets);
  qtk_job_free(job);
}

static void test_values(void **state)
{
  struct qtk_job *job;
  (void)state;
  assert_int_equal(parse("[job]\nname = \"n\"\nseed = 7\nthreads = 3\nmemory_limit = \"1.5GiB\"\n"
                         "[model]\npath = \"/abs/m\"\nsource = \"fp\"\n"
                         "[[stage]]\nrun = \"evaluate\"\n"
                         "perplexity = { data = \"t.txt\", protocol = \"llama.cpp\", windows = 3 }\n"
                         "divergence = { data = \"u.txt\", context = 64 }\n" QUANTIZE
                         "targets = \"q_proj\"\n"
                         "[[stage.override]]\nmatch = \"a\"\nskip = true\n"
                         "[[stage.override]]\nmatch = \"b\"\nbits = 3\n"
                         "[[stage]]\nrun = \"export\"\nformat = \"f\"\npath = \"out\"\n"
                         "[output]\nbundle = \"\"\nreport = \"r.json\"\n",
                         NULL, &job),
                   QTK_OK);
  assert_int_equal(job->memory_limit, 1610612736);
  assert_string_equal(job->model, "/abs/m");
  assert_string_equal(job->source, "dir/fp");
  assert_int_equal(job->n_stages, 3);
  assert_string_equal(job->stages[0].perplexity.data, "dir/t.txt");
  assert_string_equal(job->stages[0].perplexity.protocol, "llama.cpp");
  assert_int_equal(job->stages[0].perplexity.windows, 3);
  assert_int_equal(job->stages[0].divergence.context, 64);
  assert_int_equal(job->stages[1].n_overrides, 2);
  assert_true(job->stages[1].overrides[0].skip);
  assert_string_equal(job->stages[1].overrides[1].match, "b");
  assert_string_equal(job->stages[2].path, "dir/out");
  assert_null(job->bundle);
  assert_string_equal(job->report, "dir/r.json");
  qtk_job_free(job);
}

/* A job that changes nothing leaves no bundle unless it asks for one. */
static void test_no_bundle(void **state)
{
  struct qtk_job *job;
  (void)state;
  assert_int_equal(parse(HEAD "[[stage]]\nrun = \"evaluate\"\nperplexity = { data = \"t\" }\n",
                         NULL, &job),
                   QTK_OK);
  assert_null(job->bundle);
  qtk_job_free(job);
}

static void test_set(void **state)
{
  const char *const set[] = {"stage.0.method=y", "stage.four.targets=k_proj",
                             "job.name=other",   "stage.0.name=\"two\"",
                             NULL};
  const char *const wrong[] = {"stage.0.run=quantise", NULL};
  const char *const none[] = {"stage.0.run", NULL};
  struct qtk_job *job;
  (void)state;
  assert_int_equal(parse(HEAD QUANTIZE "name = \"one\"\n" QUANTIZE "name = \"four\"\n", set, &job),
                   QTK_OK);
  assert_string_equal(job->stages[0].method, "y");
  assert_string_equal(job->stages[0].name, "two");
  assert_string_equal(job->stages[1].targets, "k_proj");
  assert_string_equal(job->name, "other");
  assert_string_equal(job->bundle, "dir/other.qtk");
  qtk_job_free(job);
  assert_int_equal(parse(HEAD QUANTIZE, wrong, &job), QTK_EJOB);
  assert_non_null(strstr(qtk_error_message(), "--set stage.0.run=quantise"));
  assert_non_null(strstr(qtk_error_message(), "did you mean \"quantize\""));
  assert_int_equal(parse(HEAD QUANTIZE, none, &job), QTK_EUSAGE);
}

static void test_refused(void **state)
{
  (void)state;
  refused("[model]\npath = 3\n" QUANTIZE, "dir/tiny.toml:2:");
  refused("[modle]\npath = \"m\"\n" QUANTIZE, "model");
  refused(QUANTIZE, "model");
  refused(HEAD, "at least one");
  refused(HEAD "stage = 3\n", "stage");
  refused(HEAD "[[stage]]\nrun = \"adopt\"\n", "there are evaluate, quantize, export, adapt");
  refused(HEAD "[[stage]]\nrun = \"quantise\"\n", "did you mean \"quantize\"");
  refused(HEAD "[[stage]]\nrun = \"quantize\"\n", "method");
  refused(HEAD "[[stage]]\nrun = \"evaluate\"\n", "nothing to evaluate");
  refused(HEAD "[[stage]]\nrun = \"evaluate\"\nperplexity = { dta = \"t\" }\n", "data");
  refused(HEAD "[[stage]]\nrun = \"evaluate\"\nperplexity = { data = \"t\", windows = -1 }\n",
          "windows = -1");
  refused(HEAD "[[stage]]\nrun = \"evaluate\"\n"
               "perplexity = { data = \"t\", protocol = \"papr\" }\n",
          "did you mean \"paper\"");
  refused(HEAD QUANTIZE "[[stage.override]]\nbits = 3\n", "match");
  refused("[job]\nsede = 3\n" HEAD QUANTIZE, "seed");
  refused("[job]\nmemory_limit = \"2 bytes\"\n" HEAD QUANTIZE, "dir/tiny.toml:2:");
  refused("[job]\nname = \"a/b\"\n" HEAD QUANTIZE, "without slashes");
  refused("[job]\nthreads = 5000\n" HEAD QUANTIZE, "0 .. 1024");
  refused(HEAD QUANTIZE "[output]\nbundel = \"x\"\n", "bundle");
  refused(HEAD QUANTIZE "name = \"1st\"\n", "digit");
  refused(HEAD QUANTIZE "name = \"a\"\n" QUANTIZE "name = \"a\"\n", "stage 0 has that name");
}

static void test_sizes(void **state)
{
  static const struct {
    const char *text;
    uint64_t bytes;
  } good[] = {{"0", 0},          {"4096", 4096},       {"500MB", 500000000}, {"2GiB", 1ull << 31},
              {"1.5kB", 1500},   {"64 KiB", 64 << 10}, {"1TB", 1000000000000}, {"7B", 7}};
  static const char *const bad[] = {"", "GiB", "-1", "2gib", "2GiB!", "nan", "1e30TB", " 1"};
  uint64_t bytes;
  char text[QTK_SIZE_TEXT];
  (void)state;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(qtk_size_parse(good[i].text, &bytes), QTK_OK);
    assert_int_equal(bytes, good[i].bytes);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(qtk_size_parse(bad[i], &bytes), QTK_EUSAGE);
  assert_string_equal(qtk_size_text(999, text), "999 bytes");
  assert_string_equal(qtk_size_text(98400000, text), "98.4 MB");
  assert_string_equal(qtk_size_text(999990, text), "1.0 MB");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_defaults), cmocka_unit_test(test_values),
    cmocka_unit_test(test_no_bundle), cmocka_unit_test(test_set),
    cmocka_unit_test(test_refused), cmocka_unit_test(test_sizes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
