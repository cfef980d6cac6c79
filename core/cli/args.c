/* SPDX-License-Identifier: BSD-3-Clause
 * Arguments by tables: options, words, help, and what was probably meant. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/cli/cli.h"
#include "core/error.h"

/* ---- help ------------------------------------------------------------------------ */

static void args_print_usage(const struct cli_usage *u, FILE *to)
{
  fprintf(to, "usage: qtk %s%s%s%s\n", u->verb, u->options[0].name ? " [OPTION ...]" : "",
          u->words[0] ? " " : "", u->words);
}

static void args_print_option(const struct cli_option *o)
{
  char head[64];
  const char *value = o->value ? o->value : "";
  const char *between = o->type == CLI_MAYBE ? "" : o->value ? " " : "";
  snprintf(head, sizeof head, "--%s%s%s", o->name, between, value);
  printf("  %-22s %s\n", head, o->help);
}

static int args_help(const struct cli_usage *u)
{
  args_print_usage(u, stdout);
  printf("\n%s\n\noptions:\n", u->text);
  for (const struct cli_option *o = u->options; o->name != NULL; o++)
    args_print_option(o);
  printf("  %-22s %s\n", "--help", "this text");
  int rc = cli_flush();
  return rc == QTK_OK ? 1 : rc;
}

/* ---- options ------------------------------------------------------------------------ */

static int args_unknown(const struct cli_usage *u, const char *name)
{
  const char *names[33] = {"help"};
  int n = 1;
  for (const struct cli_option *o = u->options; o->name != NULL && n < 32; o++)
    names[n++] = o->name;
  const char *near = qtk_nearest(name, names);
  if (near != NULL)
    return qtk_error(QTK_EUSAGE, "qtk %s: unknown option --%s: did you mean --%s?", u->verb, name,
                     near);
  return qtk_error(QTK_EUSAGE, "qtk %s: unknown option --%s: see qtk %s --help", u->verb, name,
                   u->verb);
}

int cli_list_add(struct cli_list *list, const char *text)
{
  const char **items = realloc(list->items, (list->n + 2) * sizeof *items);
  if (items == NULL)
    return qtk_error_memory((list->n + 2) * sizeof *items, "arguments");
  list->items = items;
  items[list->n++] = text;
  items[list->n] = NULL;
  return QTK_OK;
}

static int args_int(const struct cli_usage *u, const struct cli_option *o, const char *text)
{
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < 0)
    return qtk_error(QTK_EUSAGE, "qtk %s: --%s %s: a whole number, 0 or more, is wanted", u->verb,
                     o->name, text);
  *(int64_t *)o->to = value;
  return QTK_OK;
}

static int args_real(const struct cli_usage *u, const struct cli_option *o, const char *text)
{
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(value))
    return qtk_error(QTK_EUSAGE, "qtk %s: --%s %s: a number is wanted", u->verb, o->name, text);
  *(double *)o->to = value;
  return QTK_OK;
}

static int args_value(const struct cli_usage *u, const struct cli_option *o, const char *text)
{
  switch (o->type) {
  case CLI_TEXT:
  case CLI_MAYBE:
    *(const char **)o->to = text;
    return QTK_OK;
  case CLI_INT:
    return args_int(u, o, text);
  case CLI_REAL:
    return args_real(u, o, text);
  case CLI_LIST:
    return cli_list_add(o->to, text);
  case CLI_FLAG:
    break;
  }
  return qtk_error(QTK_EUSAGE, "qtk %s: --%s takes no value", u->verb, o->name);
}

/* One option at argv[*i]; its value may be the next word. */
static int args_option(const struct cli_usage *u, int argc, char **argv, int *i)
{
  const char *word = argv[*i] + 2, *equals = strchr(word, '=');
  size_t n = equals ? (size_t)(equals - word) : strlen(word);
  const struct cli_option *o = u->options;
  while (o->name != NULL && (strlen(o->name) != n || strncmp(o->name, word, n) != 0))
    o++;
  if (o->name == NULL) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), word);
    return args_unknown(u, name);
  }
  if (equals != NULL)
    return args_value(u, o, equals + 1);
  if (o->type == CLI_FLAG) {
    *(int *)o->to = 1;
    return QTK_OK;
  }
  if (o->type == CLI_MAYBE)
    return args_value(u, o, "");
  if (++*i >= argc)
    return qtk_error(QTK_EUSAGE, "qtk %s: --%s needs a value: %s", u->verb, o->name, o->value);
  return args_value(u, o, argv[*i]);
}

static int args_check_words(const struct cli_usage *u, int n, char **argv)
{
  if (n < u->least)
    return qtk_error(QTK_EUSAGE, "qtk %s: something is missing: qtk %s %s", u->verb, u->verb,
                     u->words);
  if (u->most >= 0 && n > u->most)
    return qtk_error(QTK_EUSAGE, "qtk %s: '%s' is one word too many: qtk %s %s", u->verb,
                     argv[u->most], u->verb, u->words);
  return QTK_OK;
}

int cli_parse(const struct cli_usage *u, int *argc, char **argv)
{
  int words = 0, options = 1;
  for (int i = 0; i < *argc; i++) {
    if (options && strcmp(argv[i], "--help") == 0)
      return args_help(u);
    if (options && strcmp(argv[i], "--") == 0) {
      options = 0;
    } else if (options && strncmp(argv[i], "--", 2) == 0) {
      int rc = args_option(u, *argc, argv, &i);
      if (rc != QTK_OK)
        return rc;
    } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
      return qtk_error(QTK_EUSAGE, "qtk %s: unknown option %s: options begin with two dashes",
                       u->verb, argv[i]);
    } else {
      argv[words++] = argv[i];
    }
  }
  *argc = words;
  return args_check_words(u, words, argv);
}

void cli_list_free(struct cli_list *list)
{
  free(list->items);
  list->items = NULL;
  list->n = 0;
}

/* ---- verbs ---------------------------------------------------------------------------- */

void cli_print_verbs(const struct cli_verb *verbs, FILE *to)
{
  for (const struct cli_verb *v = verbs; v->name != NULL; v++)
    fprintf(to, "  %-10s %s\n", v->name, v->summary);
}

static int args_unknown_verb(const struct cli_verb *verbs, const char *of, const char *name)
{
  const char *names[33] = {0};
  for (int n = 0; n < 32 && verbs[n].name != NULL; n++)
    names[n] = verbs[n].name;
  const char *near = qtk_nearest(name, names);
  if (near != NULL)
    return qtk_error(QTK_EUSAGE, "%s%sunknown verb '%s': did you mean '%s'?", of, *of ? ": " : "",
                     name, near);
  return qtk_error(QTK_EUSAGE, "%s%sunknown verb '%s': see qtk %s%s--help", of, *of ? ": " : "",
                   name, of, *of ? " " : "");
}

int cli_dispatch(const struct cli_verb *verbs, const char *of, int argc, char **argv)
{
  if (argc < 1)
    return qtk_error(QTK_EUSAGE, "%s%sa verb is missing: see qtk %s%s--help", of, *of ? ": " : "",
                     of, *of ? " " : "");
  if (strcmp(argv[0], "--help") == 0) {
    printf("usage: qtk %s%sVERB ...\n\nverbs:\n", of, *of ? " " : "");
    cli_print_verbs(verbs, stdout);
    printf("\nqtk %s%sVERB --help says more.\n", of, *of ? " " : "");
    return cli_flush();
  }
  for (const struct cli_verb *v = verbs; v->name != NULL; v++)
    if (strcmp(v->name, argv[0]) == 0)
      return v->run(argc - 1, argv + 1);
  return args_unknown_verb(verbs, of, argv[0]);
}
