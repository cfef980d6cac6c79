/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate --chat: turns by a template. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cli/generate.h"
#include "core/context.h"
#include "core/error.h"

/* ---- the template ------------------------------------------------------------------------- */

/* Stops that are tokens end a text by their id; the others are texts to look for. */
static int chat_stops(struct generate *g)
{
  const char *const *stops = qtk_chat_stops(g->chat);
  int rc = QTK_OK;
  for (size_t i = 0; rc == QTK_OK && stops[i] != NULL; i++) {
    int32_t id = qtk_tokenizer_find(g->tokenizer, stops[i]);
    rc = id >= 0 ? qtk_ends_add(&g->ends, id) : cli_list_add(&g->stops, stops[i]);
  }
  return rc;
}

int cli_generate_chat_open(struct generate *g)
{
  struct qtk_chat_source source = {.name = *g->chat_name ? g->chat_name : NULL,
                                   .own = qtk_model_text(g->model, "chat_template"),
                                   .file = g->model_path};
  char *bos = qtk_tokenizer_text(g->tokenizer, qtk_tokenizer_first(g->tokenizer));
  char *eos = qtk_tokenizer_text(g->tokenizer, g->ends.n > 0 ? g->ends.ids[0] : -1);
  source.bos = bos;
  source.eos = eos;
  int rc = bos && eos ? qtk_chat_open(&source, &g->chat) : QTK_ENOMEM;
  if (rc == QTK_EUSAGE)
    rc = qtk_error_at(rc, "--chat%s%s", *g->chat_name ? "=" : "", g->chat_name);
  free(bos);
  free(eos);
  return rc == QTK_OK ? chat_stops(g) : rc;
}

/* ---- turns ----------------------------------------------------------------------------------- */

int cli_generate_turn(struct generate *g, int first, enum qtk_finish before, const char *user)
{
  struct qtk_chat_turn turn = {.first = first, .user = user, .system = first ? g->system : NULL};
  struct qtk_str text = {0};
  /* An answer that was cut off is ended for the model to know. */
  if (!first)
    qtk_str_printf(&text, "%s%s", before == QTK_FINISH_END ? "" : qtk_chat_end(g->chat),
                   qtk_chat_after(g->chat));
  int rc = qtk_chat_prompt(g->chat, &turn, &text);
  g->ids.n = 0;
  if (rc == QTK_OK)
    rc = qtk_tokenizer_encode(g->tokenizer, text.data, text.length, 0, &g->ids);
  qtk_str_free(&text);
  return rc;
}

/* A line without its end; 0 at the end of the input. */
static int chat_line(struct generate *g, char **line, size_t *room)
{
  int rc = QTK_OK;
  if (isatty(STDIN_FILENO)) {
    fputs("> ", stderr);
    fflush(stderr);
  }
  errno = 0;
  ssize_t n = getline(line, room, stdin);
  if (n < 0) {
    if ((rc = qtk_check_stop(g->ctx)) == QTK_OK && ferror(stdin))
      rc = qtk_error_errno(QTK_EINPUT, errno, "standard input");
    return rc;
  }
  if (n > 0 && (*line)[n - 1] == '\n')
    (*line)[--n] = '\0';
  rc = cli_generate_check("standard input", *line, (size_t)n);
  return rc == QTK_OK ? 1 : rc;
}

/* "/adapter NAME": from now on that one answers, and has heard all of the talk. A name that there
 * is not ends no talk. */
static int chat_command(struct generate *g, const char *line)
{
  static const char command[] = "/adapter ";
  if (g->adapters.n == 0 || strncmp(line, command, sizeof command - 1) != 0)
    return 0;
  int rc = cli_generate_use(g, line + sizeof command - 1);
  if (rc == QTK_EUSAGE)
    qtk_warn("%s", qtk_error_message());
  return rc == QTK_OK || rc == QTK_EUSAGE ? 1 : rc;
}

int cli_generate_chat(struct generate *g)
{
  struct qtk_generated one = {0};
  char *line = NULL;
  size_t room = 0;
  int first = 1, rc = cli_generate_open(g, g->context);
  while (rc == QTK_OK && (rc = chat_line(g, &line, &room)) > 0) {
    rc = *line == '\0' ? 1 : chat_command(g, line);
    if (rc > 0) {
      rc = QTK_OK;
      continue;
    }
    if (rc == QTK_OK)
      rc = cli_generate_turn(g, first, one.finish, line);
    if (rc == QTK_OK)
      rc = cli_generate_run(g, &one);
    first = 0;
  }
  free(line);
  return rc;
}
