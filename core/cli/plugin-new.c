/* SPDX-License-Identifier: BSD-3-Clause
 * qtk plugin new: the beginning of a plugin, from a template. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cli/cli.h"
#include "core/data.h"
#include "core/fs.h"

#define NEW_NAME 40            /* letters of a name */
#define NEW_BYTES (256u << 10) /* of a template's file */

/* ---- templates ----------------------------------------------------------------------- */

/* The folder of templates, or of one kind; freed with free. */
static char *new_templates(const char *kind)
{
  char name[64];
  snprintf(name, sizeof name, "templates%s%s", kind ? "/" : "", kind ? kind : "");
  return qtk_data_path(name);
}

static int new_list(void)
{
  char **names, *folder = new_templates(NULL);
  size_t n;
  int rc = folder ? qtk_list_dir(folder, &names, &n) : QTK_ENOMEM;
  for (size_t i = 0; rc == QTK_OK && i < n; i++) {
    char *path = qtk_path_join(folder, names[i]);
    if (path != NULL && qtk_path_is_dir(path))
      printf("%s\n", names[i]);
    free(path);
  }
  if (rc == QTK_OK)
    free(names);
  free(folder);
  return rc == QTK_OK ? cli_flush() : rc;
}

static int new_check_name(const char *name)
{
  size_t n = strlen(name);
  if (name[0] >= 'a' && name[0] <= 'z' && n <= NEW_NAME &&
      strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n)
    return QTK_OK;
  return qtk_error(QTK_EUSAGE,
                   "'%s' cannot be a plugin's name: it begins with a to z and goes on with at "
                   "most %d of a to z, 0 to 9 and _",
                   name, NEW_NAME - 1);
}

/* ---- files ------------------------------------------------------------------------------ */

/* `text` with NAME in the place of each `mark`; freed with free. */
static char *new_replace(const char *text, const char *mark, const char *name)
{
  struct qtk_str out = {0};
  const char *at;
  while ((at = strstr(text, mark)) != NULL) {
    qtk_str_add_bytes(&out, text, (size_t)(at - text));
    qtk_str_add(&out, name);
    text = at + strlen(mark);
  }
  qtk_str_add(&out, text);
  return qtk_str_take(&out);
}

static int new_file(const char *folder, const char *file, const char *name, const char *dir)
{
  char *from = qtk_path_join(folder, file), *base = new_replace(file, "NAME", name);
  char *to = base ? qtk_path_join(dir, base) : NULL, *text = NULL, *made = NULL;
  size_t size;
  int rc = from && to ? qtk_read_file(from, NEW_BYTES, &text, &size) : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = (made = new_replace(text, "@NAME@", name)) != NULL ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK)
    rc = qtk_write_file(to, made, strlen(made));
  if (rc == QTK_OK)
    printf("%s\n", to);
  free(from);
  free(base);
  free(to);
  free(text);
  free(made);
  return rc;
}

/* It was empty before: what is in it now is ours. */
static void new_undo(const char *dir)
{
  char **names;
  size_t n;
  if (qtk_list_dir(dir, &names, &n) != QTK_OK)
    return;
  for (size_t i = 0; i < n; i++) {
    char *path = qtk_path_join(dir, names[i]);
    if (path != NULL)
      unlink(path);
    free(path);
  }
  free(names);
}

/* The folder, made if it is not there; it must be empty. */
static int new_folder(const char *dir)
{
  char **names;
  size_t n;
  int rc = qtk_make_dirs(dir);
  if (rc == QTK_OK)
    rc = qtk_list_dir(dir, &names, &n);
  if (rc != QTK_OK)
    return rc;
  free(names);
  return n == 0 ? QTK_OK : qtk_error(QTK_EUSAGE, "%s: is not empty", dir);
}

static int new_plugin(const char *kind, const char *name, const char *dir)
{
  char **names, *folder = new_templates(kind);
  size_t n;
  if (folder == NULL)
    return QTK_ENOMEM;
  if (!qtk_path_is_dir(folder)) {
    int rc = qtk_error(QTK_EUSAGE,
                       "there is no template of kind '%s' in %s: qtk plugin new "
                       "alone lists those there are",
                       kind, folder);
    free(folder);
    return rc;
  }
  int rc = new_folder(dir);
  if (rc == QTK_OK && (rc = qtk_list_dir(folder, &names, &n)) == QTK_OK) {
    for (size_t i = 0; i < n && rc == QTK_OK; i++)
      rc = new_file(folder, names[i], name, dir);
    free(names);
    if (rc != QTK_OK)
      new_undo(dir);
  }
  free(folder);
  return rc == QTK_OK ? cli_flush() : rc;
}

int cli_plugin_new(int argc, char **argv)
{
  const char *dir = NULL;
  enum qtk_kind kind;
  const struct cli_option options[] = {
      {"dir", CLI_TEXT, &dir, "FOLDER", "where to, instead of qtk-KIND-NAME"}, {0}};
  const struct cli_usage usage = {
      "plugin new",
      "[KIND NAME]",
      0,
      2,
      options,
      "Writes a plugin that works, with a Makefile, a manual page and a test, into an empty\n"
      "folder, and prints the names of its files. Alone it lists the kinds there are\n"
      "templates of."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  if (argc == 0)
    return new_list();
  if (argc == 1)
    return qtk_error(QTK_EUSAGE, "qtk plugin new %s: a name is missing", argv[0]);
  if ((rc = qtk_kind_parse(argv[0], &kind)) != QTK_OK || (rc = new_check_name(argv[1])) != QTK_OK)
    return rc;
  char *own = dir ? NULL : qtk_str_format("qtk-%s-%s", argv[0], argv[1]);
  rc = dir || own ? new_plugin(argv[0], argv[1], dir ? dir : own) : QTK_ENOMEM;
  free(own);
  return rc;
}
