/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
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

static char folder[64];

static int enter(void **state)
{
  (void)state;
  strcpy(folder, "/tmp/qtk-t-fs-XXXXXX");
  return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int leave(void **state)
{
  (void)state;
  return chdir("/") != 0 || qtk_remove_tree(folder) != QTK_OK;
}

static void spill(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");

  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void has(const char *path, const char *text)
{
  char *data;
  size_t n;

  assert_int_equal(qtk_read_file(path, 1 << 20, &data, &n), QTK_OK);
  assert_string_equal(data, text);
  assert_int_equal(n, strlen(text));
  free(data);
}

/* Names in the present folder, joined by blanks. */
static const char *here(void)
{
  static char joined[1024];
  char **names;
  size_t n;

  assert_int_equal(qtk_list_dir(".", &names, &n), QTK_OK);
  joined[0] = '\0';
  for (size_t i = 0; i < n; i++) {
    strcat(joined, i > 0 ? " " : "");
    strcat(joined, names[i]);
  }
  assert_null(names[n]);
  free(names);
  return joined;
}

/* ---- reading ------------------------------------------------------------------------ */

static void reads_within_bounds(void **state)
{
  char *data;
  size_t n;

  (void)state;
  spill("a", "0123456789");
  has("a", "0123456789");
  assert_int_equal(qtk_read_file("a", 10, &data, &n), QTK_OK);
  free(data);
  assert_int_equal(qtk_read_file("a", 9, &data, &n), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "a: larger than the 9 bytes allowed");
  assert_null(data);
  spill("b", "");
  has("b", "");
  assert_int_equal(qtk_read_file("c", 10, &data, &n), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "c: No such file or directory");
  assert_int_equal(qtk_read_file(".", 10, &data, &n), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), ".: Is a directory");
  /* a file whose size is not known beforehand */
  assert_int_equal(qtk_read_file("/proc/self/status", 1 << 20, &data, &n), QTK_OK);
  assert_true(n > 100);
  free(data);
  assert_int_equal(qtk_read_file("/dev/zero", 100000, &data, &n), QTK_EINPUT);
}

static void maps(void **state)
{
  struct qtk_map map;
  char *text = malloc(20001);

  (void)state;
  assert_non_null(text);
  for (int i = 0; i < 20000; i++)
    text[i] = (char)('a' + i % 26);
  text[20000] = '\0';
  spill("a", text);
  assert_int_equal(qtk_map_open("a", &map), QTK_OK);
  assert_int_equal(map.size, 20000);
  assert_memory_equal(map.data, text, 20000);
  assert_ptr_equal(qtk_map_at(&map, 19990, 10), map.data + 19990);
  assert_non_null(qtk_map_at(&map, 20000, 0));
  assert_null(qtk_map_at(&map, 19990, 11));
  assert_non_null(strstr(qtk_error_message(), "a: ends after 20000 bytes"));
  assert_null(qtk_map_at(&map, 20001, 0));
  assert_null(qtk_map_at(&map, UINT64_MAX, 2));
  assert_null(qtk_map_at(&map, 2, UINT64_MAX));
  qtk_map_want(&map, 0, 20000);
  qtk_map_drop(&map, 0, 20000);
  qtk_map_drop(&map, 5, 10);
  qtk_map_drop(&map, 30000, 10);
  assert_memory_equal(map.data, text, 20000);
  qtk_map_close(&map);
  qtk_map_close(&map);
  spill("b", "");
  assert_int_equal(qtk_map_open("b", &map), QTK_OK);
  assert_null(map.data);
  assert_non_null(qtk_map_at(&map, 0, 0));
  assert_null(qtk_map_at(&map, 0, 1));
  qtk_map_drop(&map, 0, 0);
  qtk_map_close(&map);
  assert_int_equal(qtk_map_open("c", &map), QTK_EINPUT);
  assert_int_equal(qtk_map_open(".", &map), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), ".: not a regular file");
  free(text);
}

/* ---- writing ------------------------------------------------------------------------- */

static void appears_whole(void **state)
{
  struct qtk_writer w;
  char big[100000], zeros[10] = {0}, *data;
  struct stat st;
  size_t n;

  (void)state;
  umask(022);
  memset(big, 'x', sizeof big);
  spill("out", "old");
  assert_int_equal(qtk_writer_open(&w, "out"), QTK_OK);
  assert_int_equal(qtk_writer_put(&w, "head", 4), QTK_OK);
  for (int i = 0; i < 8; i++)
    assert_int_equal(qtk_writer_put(&w, big, i == 7 ? 99997 : sizeof big), QTK_OK);
  assert_int_equal(qtk_writer_align(&w, 64), QTK_OK);
  assert_int_equal(w.offset, 800064);
  assert_int_equal(qtk_writer_drop(&w), QTK_OK);
  assert_int_equal(qtk_writer_put(&w, "end", 3), QTK_OK);
  assert_int_equal(qtk_writer_put_at(&w, 1, "EA", 2), QTK_OK);
  assert_int_equal(qtk_writer_put_at(&w, 800060, "tail", 4), QTK_OK);
  assert_int_equal(qtk_writer_put_at(&w, 800066, "no", 2), QTK_EINTERNAL);
  has("out", "old");
  assert_string_equal(here(), ".out.tmp out");
  assert_int_equal(qtk_writer_commit(&w), QTK_OK);
  assert_string_equal(here(), "out");
  assert_int_equal(qtk_read_file("out", 1 << 20, &data, &n), QTK_OK);
  assert_int_equal(n, 800067);
  assert_memory_equal(data, "hEAdxxxx", 8);
  assert_memory_equal(data + 800001, zeros, 10);
  assert_memory_equal(data + 800059, "\0tailend", 8);
  free(data);
  assert_int_equal(stat("out", &st), 0);
  assert_int_equal(st.st_mode & 0777, 0644);
  qtk_writer_abort(&w);
  assert_int_equal(qtk_writer_commit(&w), QTK_EINTERNAL);
}

static void abort_leaves_nothing(void **state)
{
  struct qtk_writer w, none = {0};

  (void)state;
  spill("out", "old");
  assert_int_equal(qtk_writer_open(&w, "./out"), QTK_OK);
  assert_int_equal(qtk_writer_put(&w, "new", 3), QTK_OK);
  qtk_writer_abort(&w);
  qtk_writer_abort(&w);
  qtk_writer_abort(&none);
  has("out", "old");
  assert_string_equal(here(), "out");
}

static void one_writer_at_a_time(void **state)
{
  struct qtk_writer a, b;

  (void)state;
  assert_int_equal(qtk_writer_open(&a, "out"), QTK_OK);
  assert_int_equal(qtk_writer_open(&b, "out"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "out: another process is writing it");
  assert_int_equal(qtk_writer_put(&a, "a", 1), QTK_OK);
  assert_int_equal(qtk_writer_commit(&a), QTK_OK);
  has("out", "a");
  assert_int_equal(qtk_writer_open(&b, "out"), QTK_OK);
  assert_int_equal(qtk_writer_commit(&b), QTK_OK);
  has("out", "");
}

/* A killed writer's file is taken over. */
static void what_a_killed_run_left(void **state)
{
  struct qtk_writer w;
  pid_t child = fork();
  int status;

  (void)state;
  if (child == 0) {
    if (qtk_writer_open(&w, "out") == QTK_OK && qtk_writer_put(&w, "long text", 9) == QTK_OK &&
        qtk_writer_put_at(&w, 0, "x", 1) == QTK_OK)
      raise(SIGKILL);
    _exit(1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  assert_string_equal(here(), ".out.tmp");
  assert_int_equal(qtk_write_file("out", "new", 3), QTK_OK);
  has("out", "new");
  assert_string_equal(here(), "out");
}

static void cannot_write(void **state)
{
  struct qtk_writer w;

  (void)state;
  assert_int_equal(qtk_writer_open(&w, "none/out"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "none/out: cannot write: No such file or directory");
  assert_int_equal(qtk_writer_open(&w, "/dev/null"), QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "/dev/null: exists and is not a regular file");
  assert_int_equal(qtk_writer_open(&w, "."), QTK_EINPUT);
  assert_int_equal(qtk_writer_open(&w, "none/"), QTK_EINPUT);
  assert_int_equal(symlink("/nowhere", ".out.tmp"), 0);
  assert_int_equal(qtk_writer_open(&w, "out"), QTK_EINPUT); /* no writing through a link */
  unlink(".out.tmp");
  assert_string_equal(here(), "");
}

/* A file size limit stands for a full disk: the write comes back short, then fails. */
static void full_disk(void **state)
{
  struct rlimit old, small;
  struct qtk_writer w;
  char big[60000];
  int rc = QTK_OK;

  (void)state;
  memset(big, 'x', sizeof big);
  spill("out", "old");
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = 500001;
  assert_int_equal(qtk_writer_open(&w, "out"), QTK_OK);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int i = 0; i < 20 && rc == QTK_OK; i++)
    rc = qtk_writer_put(&w, big, sizeof big);
  assert_int_equal(rc, QTK_EINPUT);
  assert_string_equal(qtk_error_message(), "out: cannot write: File too large");
  assert_int_equal(qtk_writer_put(&w, big, 1), QTK_EINPUT);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(qtk_writer_commit(&w), QTK_EINPUT); /* room again, but a part is missing */
  has("out", "old");
  assert_string_equal(here(), "out");
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  rc = qtk_writer_open(&w, "out"); /* now it shows only when the buffer is flushed */
  for (int i = 0; i < 9 && rc == QTK_OK; i++)
    rc = qtk_writer_put(&w, big, sizeof big);
  assert_int_equal(rc, QTK_OK);
  rc = qtk_writer_commit(&w);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
  assert_int_equal(rc, QTK_EINPUT);
  has("out", "old");
  assert_string_equal(here(), "out");
}

/* ---- folders and paths -------------------------------------------------------------------- */

static void is_text(char *text, const char *expected)
{
  assert_string_equal(text, expected);
  free(text);
}

static void paths(void **state)
{
  (void)state;
  is_text(qtk_path_join("a/b", "c"), "a/b/c");
  is_text(qtk_path_join("a/", "c/d"), "a/c/d");
  is_text(qtk_path_join("a", "/c"), "/c");
  is_text(qtk_path_join(NULL, "c"), "c");
  is_text(qtk_path_join("", "c"), "c");
  is_text(qtk_path_dir("a/b/c"), "a/b");
  is_text(qtk_path_dir("c"), ".");
  is_text(qtk_path_dir("/c"), "/");
  is_text(qtk_path_dir("/"), "/");
  is_text(qtk_path_dir("a//b"), "a");
  assert_string_equal(qtk_path_base("a/b"), "b");
  assert_string_equal(qtk_path_base("b"), "b");
  assert_string_equal(qtk_path_base("a/"), "");
  assert_true(qtk_path_ends("a.json", ".json"));
  assert_false(qtk_path_ends("json", ".json"));
}

static void folders(void **state)
{
  char **names;
  uint64_t bytes;
  size_t n;

  (void)state;
  assert_int_equal(qtk_make_dirs("a/b//c/"), QTK_OK);
  assert_int_equal(qtk_make_dirs("a/b/c"), QTK_OK);
  assert_true(qtk_path_is_dir("a/b/c"));
  spill("a/f", "123");
  assert_int_equal(qtk_make_dirs("a/f/g"), QTK_EINPUT);
  assert_int_equal(qtk_make_dirs("a/f"), QTK_EINPUT);
  assert_int_equal(qtk_path_size("a/f", &bytes), QTK_OK);
  assert_int_equal(bytes, 3);
  assert_int_equal(qtk_path_size("a/x", &bytes), QTK_EINPUT);
  assert_true(qtk_path_exists("a/f") && !qtk_path_is_dir("a/f") && !qtk_path_exists("a/x"));
  spill("a/b/c/d", "");
  spill("kept", "text");
  assert_int_equal(symlink("../kept", "a/link"), 0);
  assert_int_equal(symlink(".", "a/b/loop"), 0);
  assert_int_equal(qtk_list_dir("a", &names, &n), QTK_OK);
  assert_int_equal(n, 3);
  assert_string_equal(names[0], "b");
  assert_string_equal(names[1], "f");
  assert_string_equal(names[2], "link");
  free(names);
  assert_int_equal(qtk_remove_tree("a"), QTK_OK);
  assert_int_equal(qtk_remove_tree("a"), QTK_OK);
  assert_string_equal(here(), "kept");
  has("kept", "text");
  assert_int_equal(qtk_list_dir("a", &names, &n), QTK_EINPUT);
}

static void disk(void **state)
{
  uint64_t here_free, later_free;

  (void)state;
  assert_int_equal(qtk_disk_free(".", &here_free), QTK_OK);
  assert_int_equal(qtk_disk_free("not/yet/there", &later_free), QTK_OK);
  assert_true(here_free > 0 && later_free > 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(reads_within_bounds, enter, leave),
      cmocka_unit_test_setup_teardown(maps, enter, leave),
      cmocka_unit_test_setup_teardown(appears_whole, enter, leave),
      cmocka_unit_test_setup_teardown(abort_leaves_nothing, enter, leave),
      cmocka_unit_test_setup_teardown(one_writer_at_a_time, enter, leave),
      cmocka_unit_test_setup_teardown(what_a_killed_run_left, enter, leave),
      cmocka_unit_test_setup_teardown(cannot_write, enter, leave),
      cmocka_unit_test_setup_teardown(full_disk, enter, leave),
      cmocka_unit_test_setup_teardown(folders, enter, leave),
      cmocka_unit_test_setup_teardown(disk, enter, leave),
      cmocka_unit_test(paths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
