/* SPDX-License-Identifier: BSD-3-Clause
 * Looks at a plugin from a child process, so that a broken one takes nothing
 * else down. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/log.h"
#include "core/registry.h"

#define PROBE_SECONDS 20

static void probe_copy(char *to, size_t size, const char *from)
{
  snprintf(to, size, "%s", from);
}

/* The child: what it finds goes through the pipe; what the plugin prints goes
 * nowhere. */
static void probe_child(const char *path, int fd)
{
  struct qtk_probe p = {0};
  const struct qtk_loaded *loaded;
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; null >= 0 && i < 3; i++)
    dup2(null, i);
  if (qtk_registry_load(path, &loaded) == QTK_OK) {
    p.ok = 1;
    probe_copy(p.name, sizeof p.name, loaded->plugin.name);
    probe_copy(p.version, sizeof p.version, loaded->plugin.version);
    probe_copy(p.summary, sizeof p.summary, loaded->plugin.summary);
  } else {
    probe_copy(p.problem, sizeof p.problem, qtk_error_message());
  }
  ssize_t n = write(fd, &p, sizeof p);
  _exit(n == (ssize_t)sizeof p ? 0 : 1);
}

/* 1 if the whole answer came in time, 0 if the child ended before, -1 on time. */
static int probe_receive(int fd, struct qtk_probe *probe)
{
  double end = qtk_seconds() + PROBE_SECONDS;
  size_t got = 0;
  while (got < sizeof *probe) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    double left = end - qtk_seconds();
    int ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
    if (ready == 0)
      return -1;
    if (ready < 0 && errno == EINTR)
      continue;
    ssize_t n = read(fd, (char *)probe + got, sizeof *probe - got);
    if (n <= 0 && !(n < 0 && errno == EINTR))
      return 0;
    if (n > 0)
      got += (size_t)n;
  }
  return 1;
}

static void probe_end(pid_t pid, int received, struct qtk_probe *probe)
{
  int status = 0;
  if (received < 0)
    kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  if (received > 0)
    return;
  memset(probe, 0, sizeof *probe);
  if (received < 0)
    snprintf(probe->problem, sizeof probe->problem, "gives no answer in %d seconds",
             PROBE_SECONDS);
  else if (WIFSIGNALED(status))
    snprintf(probe->problem, sizeof probe->problem, "crashes: signal %d (%s)", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
  else
    snprintf(probe->problem, sizeof probe->problem, "ends the process: exit status %d",
             WEXITSTATUS(status));
}

int qtk_registry_probe(const char *path, struct qtk_probe *probe)
{
  int fd[2];
  if (pipe2(fd, O_CLOEXEC) != 0)
    return qtk_error_errno(QTK_EINTERNAL, errno, "%s: no pipe for a child process", path);
  pid_t pid = fork();
  if (pid == 0)
    probe_child(path, fd[1]);
  int err = errno;
  close(fd[1]);
  if (pid < 0) {
    close(fd[0]);
    return qtk_error_errno(QTK_ENOMEM, err, "%s: no child process", path);
  }
  int received = probe_receive(fd[0], probe);
  close(fd[0]);
  probe_end(pid, received, probe);
  return QTK_OK;
}
