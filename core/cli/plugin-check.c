/* SPDX-License-Identifier: BSD-3-Clause
 * qtk plugin check: the conformance suite of a plugin's kind. */
#include <string.h>

#include "core/check.h"
#include "core/cli/cli.h"

/* Reasons stand below their promise, a line each. */
static void check_print_why(const char *why)
{
  while (*why != '\0') {
    size_t n = strcspn(why, "\n");
    printf("        %.*s\n", (int)n, why);
    why += n + (why[n] == '\n');
  }
}

static void check_say(void *arg, const struct qtk_promise *p)
{
  int *quiet = arg;
  if (p->broken > 0) {
    printf("BROKEN  %s (%d of %d trials)\n", p->text, p->broken, p->broken + p->held);
    check_print_why(p->why);
  } else if (!*quiet && p->held > 0) {
    printf("ok      %s (%d)\n", p->text, p->held);
  } else if (!*quiet) {
    printf("-       %s: %s\n", p->text, p->why);
  }
}

int cli_plugin_check(int argc, char **argv)
{
  int quiet = 0;
  const char *sample = NULL;
  const struct cli_option options[] = {
      {"sample", CLI_TEXT, &sample, "PATH", "for a format: a file or folder that it reads"},
      {"quiet", CLI_FLAG, &quiet, NULL, "print broken promises and the sum alone"},
      {0}};
  const struct cli_usage usage = {
      "plugin check",
      "FILE.so",
      1,
      1,
      options,
      "Tries what a plugin of this kind promises, in processes of their own, and prints a\n"
      "line for each promise: ok, BROKEN with the first reasons, or - where it could not be\n"
      "tried. The exit status is 7 if one is broken."};
  struct qtk_check_result result;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  struct qtk_check_options check = {sample, check_say, &quiet};
  rc = qtk_check_plugin(argv[0], &check, &result);
  if (result.promises > 0)
    printf("%d promises: %d held, %d broken, %d not tried\n", result.promises,
           result.promises - result.broken - result.skipped, result.broken, result.skipped);
  int printed = cli_flush();
  return rc == QTK_OK ? printed : rc;
}
