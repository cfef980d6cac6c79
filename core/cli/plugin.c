/* SPDX-License-Identifier: BSD-3-Clause
 * qtk plugin: which plugins there are, and what they declare. */
#include <stdlib.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/fs.h"

static const struct cli_option plugin_no_options[] = {{0}};

/* ---- list -------------------------------------------------------------------------- */

/* One row; a plugin that cannot be used is a row too. */
static int plugin_row(struct cli_table *table, const struct qtk_candidate *c)
{
  struct qtk_probe probe;
  int rc = qtk_registry_probe(c->path, &probe);
  if (rc != QTK_OK)
    return rc;
  cli_table_add(table, "%s", qtk_kind_name(c->kind));
  cli_table_add(table, "%s", c->name);
  cli_table_add(table, "%s", probe.ok ? probe.version : "-");
  if (probe.ok)
    cli_table_add(table, "%s", probe.summary);
  else
    cli_table_add(table, "BROKEN: %s", probe.problem);
  return QTK_OK;
}

static int plugin_list(int argc, char **argv)
{
  static const struct cli_usage usage = {
    "plugin list", "", 0, 0, plugin_no_options,
    "Prints kind, name, version and summary of every plugin found. Each is looked at from\n"
    "a process of its own, so that a broken one is a line that says what is wrong."};
  struct qtk_candidate *list;
  struct cli_table table;
  size_t n;
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  if ((rc = qtk_registry_scan(&list, &n)) != QTK_OK)
    return rc;
  cli_table_begin(&table, 4, 0);
  for (size_t i = 0; i < n && rc == QTK_OK; i++)
    rc = plugin_row(&table, &list[i]);
  int printed = cli_table_print(&table);
  qtk_registry_candidates_free(list, n);
  return rc == QTK_OK ? printed : rc;
}

/* ---- describe ------------------------------------------------------------------------ */

/* The file of a plugin by NAME, among all kinds or the one that is given. */
static int plugin_find(const char *name, const char *kind, char **path)
{
  struct qtk_candidate *list;
  enum qtk_kind wanted = QTK_QUANTIZER;
  const struct qtk_candidate *found = NULL;
  size_t n, matches = 0;
  int rc = kind ? qtk_kind_parse(kind, &wanted) : QTK_OK;
  if (rc != QTK_OK || (rc = qtk_registry_scan(&list, &n)) != QTK_OK)
    return rc;
  for (size_t i = 0; i < n; i++)
    if (strcmp(list[i].name, name) == 0 && (kind == NULL || list[i].kind == wanted)) {
      found = &list[i];
      matches++;
    }
  if (matches == 1)
    rc = (*path = qtk_str_copy(found->path)) != NULL ? QTK_OK : QTK_ENOMEM;
  else if (matches > 1)
    rc = qtk_error(QTK_EUSAGE, "there are %zu plugins '%s': say which with --kind", matches, name);
  else
    rc = qtk_error(QTK_EPLUGIN, "no plugin '%s': see qtk plugin list", name);
  qtk_registry_candidates_free(list, n);
  return rc;
}

int cli_plugin_open(const char *word, const char *kind, const struct qtk_loaded **loaded)
{
  struct qtk_probe probe;
  char *path = NULL;
  int is_file = strchr(word, '/') != NULL || qtk_path_ends(word, ".so");
  int rc = is_file ? ((path = qtk_str_copy(word)) != NULL ? QTK_OK : QTK_ENOMEM)
                   : plugin_find(word, kind, &path);
  if (rc == QTK_OK)
    rc = qtk_registry_probe(path, &probe);
  if (rc == QTK_OK && !probe.ok)
    rc = strncmp(probe.problem, path, strlen(path)) == 0
           ? qtk_error(QTK_EPLUGIN, "%s", probe.problem)
           : qtk_error(QTK_EPLUGIN, "%s: %s", path, probe.problem);
  if (rc == QTK_OK)
    rc = qtk_registry_load(path, loaded);
  free(path);
  return rc;
}

static int plugin_describe(int argc, char **argv)
{
  int toml = 0;
  const char *kind = NULL;
  const struct qtk_loaded *loaded;
  const struct cli_option options[] = {
    {"kind", CLI_TEXT, &kind, "KIND", "quantizer, adapter, backend or format"},
    {"toml", CLI_FLAG, &toml, NULL, "a section of a job file with every option's default"},
    {0}};
  const struct cli_usage usage = {
    "plugin describe", "NAME|FILE", 1, 1, options,
    "Prints everything that a plugin declares, as lines of KEY=VALUE."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK || (rc = cli_plugin_open(argv[0], kind, &loaded)) != QTK_OK)
    return rc;
  return cli_describe(loaded, toml);
}

/* ---- path -------------------------------------------------------------------------------- */

static int plugin_path(int argc, char **argv)
{
  static const struct cli_usage usage = {
    "plugin path", "", 0, 0, plugin_no_options,
    "Prints the folders where plugins are looked for, one a line. QTK_PLUGIN_PATH, with\n"
    "colons between folders, replaces the one that is built in."};
  int rc = cli_parse(&usage, &argc, argv);
  if (rc != QTK_OK)
    return rc;
  for (const char *const *dir = qtk_registry_path(); *dir != NULL; dir++)
    printf("%s\n", *dir);
  return cli_flush();
}

static const struct cli_verb plugin_verbs[] = {
  {"list", "every plugin found, in a line each", plugin_list},
  {"describe", "everything that one declares", plugin_describe},
  {"path", "the folders searched", plugin_path},
  {"check", "try what one promises", cli_plugin_check},
  {"new", "begin one from a template", cli_plugin_new},
  {0},
};

int cli_plugin(int argc, char **argv)
{
  return cli_dispatch(plugin_verbs, "plugin", argc, argv);
}
