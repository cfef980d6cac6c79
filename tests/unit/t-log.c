/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "core/log.h"

static char text[1 << 20];
static int pipe_fd;

static void open_log(enum qtk_log_level level, int json)
{
  struct qtk_log_options options = {level, json, -1};
  FILE *file = tmpfile();

  assert_non_null(file);
  pipe_fd = dup(fileno(file));
  fclose(file);
  options.fd = pipe_fd;
  qtk_log_open(&options);
}

/* What was logged since open_log. */
static const char *logged(void)
{
  ssize_t n = pread(pipe_fd, text, sizeof text - 1, 0);

  assert_true(n >= 0);
  text[n] = '\0';
  return text;
}

static int close_log(void **state)
{
  (void)state;
  qtk_log_close();
  if (pipe_fd > 0)
    close(pipe_fd);
  pipe_fd = 0;
  return 0;
}

static void levels(void **state)
{
  (void)state;
  open_log(QTK_LOG_INFO, 0);
  qtk_warn("a %d", 1);
  qtk_info("b");
  qtk_debug("c");
  qtk_log_error("d");
  assert_string_equal(logged(), "warning: a 1\nb\nqtk: d\n");
}

static void silent_still_counts(void **state)
{
  char *first;

  (void)state;
  open_log(QTK_LOG_SILENT, 0);
  for (int i = 0; i < 150; i++)
    qtk_warn("w%d", i);
  assert_string_equal(logged(), "");
  assert_int_equal(qtk_log_warnings(), 150);
  first = qtk_log_warning(99);
  assert_string_equal(first, "w99");
  free(first);
  assert_null(qtk_log_warning(100));
  qtk_log_forget();
  assert_int_equal(qtk_log_warnings(), 0);
  assert_null(qtk_log_warning(0));
}

static void json_lines(void **state)
{
  json_t *json;

  (void)state;
  open_log(QTK_LOG_DEBUG, 1);
  qtk_debug("a \"quoted\"\n\x01 text \xff");
  json = json_loads(logged(), 0, NULL);
  assert_non_null(json);
  assert_string_equal(json_string_value(json_object_get(json, "event")), "debug");
  assert_string_equal(json_string_value(json_object_get(json, "text")),
                      "a \"quoted\"\n\x01 text \xef\xbf\xbd");
  json_decref(json);
}

static void progress_plain(void **state)
{
  struct qtk_progress p;

  (void)state;
  open_log(QTK_LOG_WARN, 0);
  qtk_progress_begin(&p, "quantize", 30, "blocks");
  for (int i = 1; i <= 30; i++)
    qtk_progress_step(&p, (uint64_t)i);
  assert_string_equal(logged(), ""); /* too fast for a line */
  p.shown -= 100;
  p.started -= 100;
  qtk_progress_step(&p, 10);
  assert_string_equal(logged(), "quantize  10/30 blocks  0.1/s  3:20 left\n");
  qtk_progress_step(&p, 30);
  qtk_progress_end(&p);
  assert_non_null(strstr(logged(), "left\nquantize  30/30 blocks  0.3/s  in 1:40\n"));
}

static void progress_json(void **state)
{
  struct qtk_progress p;
  json_t *json;

  (void)state;
  open_log(QTK_LOG_WARN, 1);
  qtk_progress_begin(&p, "train", 8, "steps");
  p.started -= 2;
  p.shown -= 2;
  qtk_progress_step(&p, 2);
  json = json_loads(logged(), 0, NULL);
  assert_non_null(json);
  assert_string_equal(json_string_value(json_object_get(json, "event")), "progress");
  assert_string_equal(json_string_value(json_object_get(json, "label")), "train");
  assert_int_equal(json_integer_value(json_object_get(json, "done")), 2);
  assert_int_equal(json_integer_value(json_object_get(json, "total")), 8);
  assert_true(json_real_value(json_object_get(json, "rate")) > 0.9);
  assert_true(json_real_value(json_object_get(json, "rate")) <= 1.0);
  assert_true(json_real_value(json_object_get(json, "remaining")) >= 6.0);
  json_decref(json);
}

static void progress_on_a_terminal(void **state)
{
  char seen[4096];
  struct qtk_log_options options = {QTK_LOG_WARN, 0, -1};
  struct qtk_progress p;
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  ssize_t n;

  (void)state;
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
    print_message("# no pseudo terminal: not tested\n");
    return;
  }
  options.fd = open(ptsname(master), O_RDWR | O_NOCTTY);
  assert_true(options.fd >= 0);
  setenv("TERM", "xterm", 1);
  setenv("NO_COLOR", "1", 1);
  qtk_log_open(&options);
  qtk_progress_begin(&p, "quantize", 30, "blocks");
  p.shown -= 1;
  qtk_progress_step(&p, 3);
  qtk_warn("careful");
  n = read(master, seen, sizeof seen - 1);
  assert_true(n > 0);
  seen[n] = '\0';
  assert_memory_equal(seen, "\r\033[Kquantize  3/30 blocks", 24);
  if (strstr(seen, "careful") == NULL) {
    n = read(master, seen, sizeof seen - 1);
    assert_true(n > 0);
    seen[n] = '\0';
  }
  /* the progress line is wiped before the warning, which has no colour */
  assert_non_null(strstr(seen, "\r\033[Kwarning: careful\r\n"));
  close(options.fd);
  close(master);
}

static void *many_lines(void *arg)
{
  for (int i = 0; i < 200; i++)
    qtk_info("thread %d says line %d", *(int *)arg, i);
  return NULL;
}

static void threads_do_not_mix_lines(void **state)
{
  pthread_t threads[4];
  int names[4];
  int lines = 0;

  (void)state;
  open_log(QTK_LOG_INFO, 0);
  for (int i = 0; i < 4; i++) {
    names[i] = i;
    assert_int_equal(pthread_create(&threads[i], NULL, many_lines, &names[i]), 0);
  }
  for (int i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  logged();
  for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    int thread, n, end = 0;
    assert_int_equal(sscanf(line, "thread %d says line %d%n", &thread, &n, &end), 2);
    assert_int_equal(line[end], '\0');
    lines++;
  }
  assert_int_equal(lines, 800);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(levels, close_log),
      cmocka_unit_test_teardown(silent_still_counts, close_log),
      cmocka_unit_test_teardown(json_lines, close_log),
      cmocka_unit_test_teardown(progress_plain, close_log),
      cmocka_unit_test_teardown(progress_json, close_log),
      cmocka_unit_test_teardown(progress_on_a_terminal, close_log),
      cmocka_unit_test_teardown(threads_do_not_mix_lines, close_log),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
