/* SPDX-License-Identifier: BSD-3-Clause
 * qtk generate: the prompt, from a word, a file or standard input. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/generate.h"
#include "core/error.h"
#include "core/fs.h"
#include "core/tokenizer/utf8.h"

#define PROMPT_BYTES (64u << 20)

int cli_generate_check(const char *what, const char *text, size_t n)
{
  size_t valid = qtk_utf8_valid(text, n), zero = strnlen(text, n);
  if (zero < valid)
    return qtk_error(QTK_EINPUT, "%s: byte %zu is zero", what, zero);
  if (valid < n)
    return qtk_error(QTK_EINPUT, "%s: byte %zu is 0x%02x, which is no UTF-8 there", what, valid,
                     (unsigned char)text[valid]);
  return QTK_OK;
}

static int prompt_read_stdin(struct qtk_str *text)
{
  char piece[4096];
  size_t n;
  while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
    if (text->length > PROMPT_BYTES - n)
      return qtk_error(QTK_EINPUT, "standard input: more than %u bytes of prompt", PROMPT_BYTES);
    if (qtk_str_add_bytes(text, piece, n) != QTK_OK)
      return QTK_ENOMEM;
  }
  return ferror(stdin) ? qtk_error_errno(QTK_EINPUT, errno, "standard input") : QTK_OK;
}

static int prompt_read(const char *file, struct qtk_str *text)
{
  char *data = NULL;
  size_t n = 0;
  if (strcmp(file, "-") == 0)
    return prompt_read_stdin(text);
  int rc = qtk_read_file(file, PROMPT_BYTES, &data, &n);
  if (rc == QTK_OK)
    rc = qtk_str_add_bytes(text, data, n);
  free(data);
  return rc;
}

int cli_generate_prompt(const struct generate *g, char **prompt)
{
  struct qtk_str text = {0};
  const char *what = g->file == NULL              ? "the prompt"
                     : strcmp(g->file, "-") == 0 ? "standard input"
                                                 : g->file;
  *prompt = NULL;
  if (g->prompt == NULL && g->file == NULL)
    return QTK_OK;
  int rc = g->file != NULL ? prompt_read(g->file, &text) : qtk_str_add(&text, g->prompt);
  if (rc == QTK_OK && text.length == 0)
    rc = g->file ? qtk_error(QTK_EINPUT, "%s: the prompt is empty", what)
                 : qtk_error(QTK_EUSAGE, "the prompt is empty");
  if (rc == QTK_OK)
    rc = cli_generate_check(what, text.data, text.length);
  if (rc == QTK_OK && (*prompt = qtk_str_take(&text)) == NULL)
    rc = QTK_ENOMEM;
  qtk_str_free(&text);
  return rc;
}
