/* SPDX-License-Identifier: BSD-3-Clause
 * The program: finds the verb, hands over to it, shows what went wrong. */
#include <string.h>
#include <unistd.h>

#include "core/cli/cli.h"
#include "core/error.h"
#include "core/log.h"

static const struct cli_verb main_verbs[] = {
  {"run", "run a job file: quantize, evaluate, export", cli_run},
  {"inspect", "say what a model, a bundle or a plugin is", cli_inspect},
  {"eval", "perplexity of a model on a text", cli_eval},
  {"generate", "continue a prompt, or chat", cli_generate},
  {"bench", "measure how fast a model runs on this machine", cli_bench},
  {"bundle", "list, verify or sign what a bundle holds", cli_bundle},
  {"key", "make or show keys for signatures", cli_key},
  {"plugin", "list, describe and find plugins", cli_plugin},
  {0},
};

static int main_help(void)
{
  printf("usage: qtk VERB ...\n\nQuantizes, fine-tunes and measures language models.\n\nverbs:\n");
  cli_print_verbs(main_verbs, stdout);
  printf("\nqtk VERB --help says more; so do the manual pages qtk(1) and qtk-VERB(1).\n");
  return cli_flush();
}

static int main_version(void)
{
  printf("qtk %s\n", qtk_version());
  return cli_flush();
}

/* "qtk help VERB" is "qtk VERB --help". */
static int main_dispatch(int argc, char **argv)
{
  static char help[] = "--help";
  char *words[] = {argc > 1 ? argv[1] : NULL, help};
  if (argc == 0)
    return qtk_error(QTK_EUSAGE, "a verb is missing: see qtk --help");
  if (strcmp(argv[0], "--version") == 0)
    return main_version();
  if (strcmp(argv[0], "--help") == 0 || (strcmp(argv[0], "help") == 0 && argc == 1))
    return main_help();
  if (strcmp(argv[0], "help") == 0)
    return cli_dispatch(main_verbs, "", 2, words);
  return cli_dispatch(main_verbs, "", argc, argv);
}

int main(int argc, char **argv)
{
  struct qtk_log_options log = {.level = QTK_LOG_INFO, .fd = STDERR_FILENO};
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
  qtk_log_open(&log);
  int rc = main_dispatch(argc - 1, argv + 1);
  if (rc < 0)
    qtk_log_error("%s", qtk_error_message());
  qtk_log_close();
  return rc < 0 ? -rc : 0;
}
