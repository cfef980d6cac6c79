/* SPDX-License-Identifier: BSD-3-Clause
 * The durable state of a run: what was put is there again, or is not there at all. */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/state.h"
#include "tests/unit/bundle-make.h"

static struct make_tensors made;
static char folder[] = "/tmp/qtk-t-state-XXXXXX";

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

static const struct qtk_state_input inputs[] = {{"the job", "[job]\nbits = 4\ngroup = 64\n"},
                                                {"model", "abcdef"}};

static struct qtk_state *begin(int resume)
{
  struct qtk_state *s = NULL;
  int rc = qtk_state_begin("w", inputs, 2, resume, &s);
  if (rc != QTK_OK)
    print_error("%s\n", qtk_error_message());
  assert_int_equal(rc, QTK_OK);
  return s;
}

static void refused(const struct qtk_state_input *in, int n, int resume, int code, const char *text)
{
  struct qtk_state *s = NULL;
  assert_int_equal(qtk_state_begin("w", in, n, resume, &s), code);
  if (!strstr(qtk_error_message(), text))
    print_error("got %s, not %s\n", qtk_error_message(), text);
  assert_non_null(strstr(qtk_error_message(), text));
}

static void check_unit(const struct qtk_state_unit *unit, const char *text)
{
  assert_string_equal(qtk_unit_text(unit), text);
  assert_int_equal(qtk_unit_count(unit), made.n);
  for (int i = 0; i < made.n; i++) {
    const struct qtk_stored *t = qtk_unit_tensor(unit, i), *want = &made.list[i];
    assert_string_equal(t->name, want->name);
    assert_int_equal(t->ndim, want->ndim);
    assert_memory_equal(t->shape, want->shape, (size_t)t->ndim * sizeof *t->shape);
    assert_true(make_equal(&t->view, &want->view));
    assert_true(!want->options == !t->options &&
                (!t->options || !strcmp(t->options, want->options)));
    for (int part = 0; part < QTK_PARTS; part++)
      assert_int_equal((uintptr_t)qtk_part_data(&t->view, part) % 64, 0);
  }
}

/* ---- units ------------------------------------------------------------------------- */

static void units(void **state)
{
  struct qtk_state *s = begin(0);
  struct qtk_state_unit *unit, *again;
  (void)state;
  assert_false(qtk_state_resumed(s));
  assert_int_equal(qtk_state_get(s, "block.0", &unit), QTK_OK);
  assert_null(unit);
  assert_int_equal(qtk_state_put(s, "block.0", "{\"a\": \"\n\\\"\"}", made.list, made.n, &unit),
                   QTK_OK);
  check_unit(unit, "{\"a\": \"\n\\\"\"}");
  assert_int_equal(qtk_state_put(s, "empty", NULL, NULL, 0, NULL), QTK_OK);
  assert_int_equal(qtk_state_get(s, "empty", &again), QTK_OK);
  assert_string_equal(qtk_unit_text(again), "");
  assert_int_equal(qtk_unit_count(again), 0);
  qtk_unit_close(again);
  qtk_state_close(s);
  check_unit(unit, "{\"a\": \"\n\\\"\"}"); /* outlives the state */
  qtk_unit_drop(unit, 3);
  qtk_unit_drop(unit, -1);
  check_unit(unit, "{\"a\": \"\n\\\"\"}");
  qtk_unit_close(unit);

  s = begin(1);
  assert_true(qtk_state_resumed(s));
  assert_int_equal(qtk_state_get(s, "block.0", &unit), QTK_OK);
  check_unit(unit, "{\"a\": \"\n\\\"\"}");
  qtk_unit_close(unit);
  assert_int_equal(qtk_state_put(s, "block.0", "second", NULL, 0, NULL), QTK_OK);
  assert_int_equal(qtk_state_get(s, "block.0", &unit), QTK_OK);
  assert_string_equal(qtk_unit_text(unit), "second");
  qtk_unit_close(unit);
  assert_int_equal(qtk_state_remove(s, "block.0"), QTK_OK);
  assert_int_equal(qtk_state_remove(s, "block.0"), QTK_OK);
  assert_int_equal(qtk_state_get(s, "block.0", &unit), QTK_OK);
  assert_null(unit);
  assert_int_equal(qtk_state_put(s, "a/b", "", NULL, 0, NULL), QTK_EINTERNAL);
  assert_int_equal(qtk_state_finish(s), QTK_OK);
  assert_false(qtk_path_exists("w"));
}

/* ---- begin ------------------------------------------------------------------------- */

static void both_choices(void **state)
{
  struct qtk_state *s = begin(0);
  (void)state;
  qtk_state_close(s);
  assert_false(qtk_path_exists("w")); /* nothing was worth keeping */
  s = begin(1);
  assert_false(qtk_state_resumed(s));
  assert_int_equal(qtk_state_put(s, "u", "x", NULL, 0, NULL), QTK_OK);
  qtk_state_close(s);
  refused(inputs, 2, 0, QTK_EUSAGE, "--resume");
  refused(inputs, 2, 0, QTK_EUSAGE, "remove the folder");
  s = begin(1);
  assert_int_equal(qtk_state_finish(s), QTK_OK);
}

static void other_inputs(void **state)
{
  struct qtk_state_input other[3] = {inputs[0], inputs[1], {"data x.txt", "12"}};
  struct qtk_state *s = begin(0);
  (void)state;
  assert_int_equal(qtk_state_put(s, "u", "x", NULL, 0, NULL), QTK_OK);
  qtk_state_close(s);
  refused(other, 3, 1, QTK_EJOB, "data x.txt is new");
  refused(other, 1, 1, QTK_EJOB, "had 2 inputs");
  other[0].text = "[job]\nbits = 3\ngroup = 64\n";
  refused(other, 2, 1, QTK_EJOB,
          "the job has changed: job.bits was 4, is 3; undo that");
  other[0].text = "[job]\nbits = 4\n";
  refused(other, 2, 1, QTK_EJOB, "job.group was 64, is not given;");
  other[0].text = "[job]\nbits = 4\ngroup = 64\n[[stage]]\nrun = \"export\"\n";
  refused(other, 2, 1, QTK_EJOB, "stage was not given, is given;");
  other[0] = inputs[0];
  other[1].text = "abcdeg";
  refused(other, 2, 1, QTK_EJOB, "model has changed: was \"abcdef\", is \"abcdeg\"");
  assert_true(qtk_path_exists("w/u.unit"));
  assert_int_equal(qtk_write_file("w/key.toml", "nonsense", 8), QTK_OK);
  refused(inputs, 2, 1, QTK_EJOB, "key.toml");
  assert_int_equal(qtk_remove_tree("w"), QTK_OK);
}

static void not_ours(void **state)
{
  (void)state;
  assert_int_equal(mkdir("w", 0777), 0);
  assert_int_equal(qtk_write_file("w/thesis.txt", "years", 5), QTK_OK);
  refused(inputs, 2, 0, QTK_EUSAGE, "thesis.txt");
  refused(inputs, 2, 1, QTK_EUSAGE, "thesis.txt");
  assert_true(qtk_path_exists("w/thesis.txt"));
  assert_int_equal(qtk_remove_tree("w"), QTK_OK);
  assert_int_equal(qtk_write_file("w", "file", 4), QTK_OK);
  refused(inputs, 2, 0, QTK_EINPUT, "w");
  assert_int_equal(unlink("w"), 0);
}

static void one_at_a_time(void **state)
{
  struct qtk_state *s = begin(0);
  int status;
  (void)state;
  refused(inputs, 2, 0, QTK_EUSAGE, "another run");
  refused(inputs, 2, 1, QTK_EUSAGE, "another run");
  assert_true(qtk_path_exists("w/key.toml"));
  assert_int_equal(qtk_state_put(s, "u", "x", NULL, 0, NULL), QTK_OK);
  assert_int_equal(qtk_state_finish(s), QTK_OK);
  /* A run that was killed leaves no lock. */
  if (fork() == 0) {
    static struct qtk_state *volatile left; /* reachable to the end */
    left = begin(0);
    qtk_state_put(left, "u", "x", NULL, 0, NULL);
    raise(SIGKILL);
  }
  wait(&status);
  s = begin(1);
  assert_true(qtk_state_resumed(s));
  assert_int_equal(qtk_state_finish(s), QTK_OK);
}

/* ---- damage ------------------------------------------------------------------------- */

static void put_bytes(const char *path, const char *data, size_t n)
{
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, n, f), n);
  fclose(f);
}

/* Flipped bits and missing ends: absent, with a warning. */
static void damaged(void **state)
{
  struct qtk_state *s = begin(0);
  struct qtk_state_unit *unit;
  char *data;
  size_t n, tries = 0;
  (void)state;
  assert_int_equal(qtk_state_put(s, "u", "text", made.list + made.n - 4, 4, NULL), QTK_OK);
  assert_int_equal(qtk_read_file("w/u.unit", 1 << 20, &data, &n), QTK_OK);
  qtk_log_forget();
  for (size_t i = 0; i < n; i++, tries++) {
    data[i] = (char)(data[i] ^ 1 << i % 8);
    put_bytes("w/u.unit", data, n);
    assert_int_equal(qtk_state_get(s, "u", &unit), QTK_OK);
    assert_null(unit);
    data[i] = (char)(data[i] ^ 1 << i % 8);
  }
  for (size_t i = 0; i < n; i += 1 + i % 37, tries++) {
    put_bytes("w/u.unit", data, i);
    assert_int_equal(qtk_state_get(s, "u", &unit), QTK_OK);
    assert_null(unit);
  }
  assert_int_equal(qtk_log_warnings(), tries);
  put_bytes("w/u.unit", data, n);
  assert_int_equal(qtk_state_get(s, "u", &unit), QTK_OK);
  assert_non_null(unit);
  qtk_unit_close(unit);
  free(data);
  assert_int_equal(qtk_state_finish(s), QTK_OK);
}

/* A unit that cannot be written leaves the one before, and no file of its own. */
static void no_room(void **state)
{
  struct qtk_state *s = begin(0);
  struct qtk_state_unit *unit;
  struct rlimit old, limit;
  (void)state;
  assert_int_equal(qtk_state_put(s, "u", "first", NULL, 0, NULL), QTK_OK);
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  limit = old;
  limit.rlim_cur = 5000;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  assert_int_equal(qtk_state_put(s, "u", "second", made.list, made.n, NULL), QTK_EINPUT);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(qtk_state_get(s, "u", &unit), QTK_OK);
  assert_string_equal(qtk_unit_text(unit), "first");
  qtk_unit_close(unit);
  assert_false(qtk_path_exists("w/.u.unit.tmp"));
  assert_int_equal(qtk_state_finish(s), QTK_OK);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(units),    cmocka_unit_test(both_choices),  cmocka_unit_test(other_inputs),
      cmocka_unit_test(not_ours), cmocka_unit_test(one_at_a_time), cmocka_unit_test(damaged),
      cmocka_unit_test(no_room),
  };
  return cmocka_run_group_tests(tests, start, end);
}
