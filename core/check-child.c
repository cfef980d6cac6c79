/* SPDX-License-Identifier: BSD-3-Clause
 * Runs a piece of a suite in a child process: a crash, a hang, an exit and a printed
 * line are broken promises. */
#include "core/check-child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/fs.h"
#include "core/log.h"
#include "core/str.h"

#define CHILD_SECONDS 120 /* without a word: it hangs */

/* None of them is what a plugin would end the process with. */
enum child_exit { CHILD_MORE = 201, CHILD_LAST = 202, CHILD_FAILED = 203 };

/* ---- in the child ----------------------------------------------------------------- */

static int child_run(const struct qtk_check_job *job, const struct qtk_check_section *section,
                     int i, struct qtk_check *c)
{
  int status = qtk_registry_load(job->path, &c->plugin);
  if (status == QTK_OK)
    status = qtk_check_context_open(1, 0, &c->ctx);
  if (status != QTK_OK)
    return status;
  status = section->run(c, i);
  qtk_check_context_end(c, c->ctx);
  return status;
}

/* What the plugin prints goes to `printed`. */
static void child_start(const struct qtk_check_job *job, const struct qtk_check_section *section,
                        int i, int fd, int printed)
{
  struct qtk_check c = {.options = job->options, .folder = job->folder, .fd = fd};
  struct qtk_check_record r = {QTK_CHECK_ERROR, "", ""};
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  qtk_log_close();
  dup2(null, 0);
  dup2(printed, 1);
  dup2(printed, 2);
  int status = child_run(job, section, i, &c);
  fflush(NULL);
  if (status < 0) {
    snprintf(r.why, sizeof r.why, "%s", qtk_error_message());
    if (write(fd, &r, sizeof r) < 0)
      _exit(1);
  }
  _exit(status > 0 ? CHILD_MORE : status == 0 ? CHILD_LAST : CHILD_FAILED);
}

/* ---- in the parent ------------------------------------------------------------------ */

/* While a child runs. */
struct child {
  pid_t pid;
  int fd, printed;
  int silent; /* it was ended because it said nothing for too long */
  char doing[QTK_CHECK_WHY], error[QTK_CHECK_WHY];
  int (*add)(void *arg, const struct qtk_check_record *r);
  void *arg;
};

static int child_take(struct child *c, const struct qtk_check_record *r)
{
  if (r->verdict == QTK_CHECK_DOING)
    memcpy(c->doing, r->why, sizeof c->doing);
  else if (r->verdict == QTK_CHECK_ERROR)
    memcpy(c->error, r->why, sizeof c->error);
  else
    return c->add(c->arg, r);
  return QTK_OK;
}

/* Reads until the child ends. */
static int child_listen(struct child *c)
{
  struct qtk_check_record r;
  for (;;) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    int ready = poll(&p, 1, CHILD_SECONDS * 1000);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0) {
      c->silent = 1;
      kill(c->pid, SIGKILL);
      return QTK_OK;
    }
    ssize_t n = read(c->fd, &r, sizeof r);
    if (n < 0 && errno == EINTR)
      continue;
    if (n != (ssize_t)sizeof r)
      return QTK_OK;
    int status = child_take(c, &r);
    if (status != QTK_OK)
      return status;
  }
}

/* The first line of what was printed, without what a terminal could obey. */
static void child_printed(const struct child *c, char line[160])
{
  ssize_t n = pread(c->printed, line, 159, 0);
  line[n > 0 ? n : 0] = '\0';
  line[strcspn(line, "\n")] = '\0';
  for (char *p = line; *p != '\0'; p++)
    if ((unsigned char)*p < ' ' || *p == 127)
      *p = '?';
}

static int child_verdict(struct child *c, int held, const char *text, const char *why)
{
  struct qtk_check_record r = {held ? QTK_CHECK_HELD : QTK_CHECK_BROKEN, "", ""};
  snprintf(r.text, sizeof r.text, "%s", text);
  if (!held)
    snprintf(r.why, sizeof r.why, "%.250s%s%.140s", why, c->doing[0] ? ", at: " : "", c->doing);
  return c->add(c->arg, &r);
}

/* Why the child came to a bad end; "" if it did not. */
static void child_bad_end(const struct child *c, int how, char why[512])
{
  char line[160];
  child_printed(c, line);
  why[0] = '\0';
  if (c->silent)
    snprintf(why, 512, "nothing heard for %d seconds", CHILD_SECONDS);
  else if (WIFSIGNALED(how))
    snprintf(why, 512, "signal %d (%s)", WTERMSIG(how), strsignal(WTERMSIG(how)));
  else if (WEXITSTATUS(how) < CHILD_MORE || WEXITSTATUS(how) > CHILD_FAILED)
    snprintf(why, 512, "ended the process with exit status %d", WEXITSTATUS(how));
  if (why[0] != '\0' && line[0] != '\0')
    snprintf(why + strlen(why), 512 - strlen(why), ": %s", line);
}

/* What the way it ended says about the plugin; *more as qtk_check_child returns it. */
static int child_ended(struct child *c, int how, int *more)
{
  char why[512], line[160];
  child_bad_end(c, how, why);
  *more = why[0] != '\0' ? 2 : WEXITSTATUS(how) == CHILD_MORE;
  if (*more == 0 && WEXITSTATUS(how) == CHILD_LAST)
    return QTK_OK;
  int status = child_verdict(c, why[0] == '\0', "neither crashes, hangs nor ends the process", why);
  if (status != QTK_OK || why[0] != '\0')
    return status;
  if (WEXITSTATUS(how) == CHILD_FAILED) {
    *more = 2;
    return child_verdict(c, 0, "can be tried to the end", c->error);
  }
  child_printed(c, line);
  snprintf(why, sizeof why, "'%s'", line);
  return child_verdict(c, line[0] == '\0', "prints nothing", why);
}

static int child_fork(struct child *c, const struct qtk_check_job *job,
                      const struct qtk_check_section *section, int i)
{
  int fd[2];
  if (pipe2(fd, O_CLOEXEC) != 0)
    return qtk_error_errno(QTK_EINTERNAL, errno, "no pipe for a child process");
  fflush(NULL);
  c->pid = fork();
  if (c->pid == 0)
    child_start(job, section, i, fd[1], c->printed);
  int err = errno;
  close(fd[1]);
  if (c->pid < 0) {
    close(fd[0]);
    return qtk_error_errno(QTK_ENOMEM, err, "no child process");
  }
  c->fd = fd[0];
  return QTK_OK;
}

static int child_work(struct child *c, const struct qtk_check_job *job,
                      const struct qtk_check_section *section, int i)
{
  int how = 0, more = 1, status = child_fork(c, job, section, i);
  if (status != QTK_OK)
    return status;
  status = child_listen(c);
  close(c->fd);
  while (waitpid(c->pid, &how, 0) < 0 && errno == EINTR)
    continue;
  if (status == QTK_OK)
    status = child_ended(c, how, &more);
  return status == QTK_OK ? more : status;
}

int qtk_check_child(const struct qtk_check_job *job, const struct qtk_check_section *section, int i,
                    int (*add)(void *arg, const struct qtk_check_record *r), void *arg)
{
  struct child c = {.add = add, .arg = arg};
  c.printed = memfd_create("printed", MFD_CLOEXEC);
  if (c.printed < 0)
    return qtk_error_errno(QTK_EINTERNAL, errno, "no file for what a plugin prints");
  int status = child_work(&c, job, section, i);
  close(c.printed);
  return status;
}

/* ---- a folder -------------------------------------------------------------------------- */

int qtk_check_folder_make(char **folder)
{
  const char *tmp = getenv("TMPDIR");
  char *path = qtk_path_join(tmp && *tmp ? tmp : "/tmp", "qtk-check-XXXXXX");
  if (path == NULL)
    return QTK_ENOMEM;
  if (mkdtemp(path) == NULL) {
    int status = qtk_error_errno(QTK_EINPUT, errno, "%s: no folder to work in", path);
    free(path);
    return status;
  }
  *folder = path;
  return QTK_OK;
}

void qtk_check_folder_remove(char *folder)
{
  qtk_remove_tree(folder);
  free(folder);
}
