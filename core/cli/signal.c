/* SPDX-License-Identifier: BSD-3-Clause
 * Stopping on request, and where the log goes. */
#include <string.h>
#include <unistd.h>

#include "core/cli/cli.h"
#include "core/log.h"

static volatile sig_atomic_t signal_stop;

/* The first signal asks, the second ends the program. */
static void signal_handle(int number)
{
  (void)number;
  signal_stop = 1;
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
}

volatile sig_atomic_t *cli_stop_flag(void)
{
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = signal_handle;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  return &signal_stop;
}

int cli_log_open(const char *how, int quiet, int verbose)
{
  struct qtk_log_options log = {.fd = STDERR_FILENO, .level = QTK_LOG_INFO};
  if (quiet)
    log.level = QTK_LOG_SILENT;
  else if (verbose)
    log.level = QTK_LOG_DEBUG;
  if (strcmp(how, "json") == 0)
    log.json = 1;
  else if (strcmp(how, "text") != 0)
    return qtk_error(QTK_EUSAGE, "--log %s: allowed are text and json", how);
  qtk_log_open(&log);
  return QTK_OK;
}
