/* SPDX-License-Identifier: BSD-3-Clause
 * What a suite's name means: an entry of a data file. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/fs.h"
#include "core/suite-inner.h"

#define SUITE_DATA "data/suites.toml"

static const char *const suite_keys[] = {"name",  "layout", "questions", "examples",
                                         "shots", "letter", "text",      NULL};
static const char *const suite_text_keys[] = {"header", "question", "choice",
                                              "answer", "between",  NULL};
static const char *const suite_words[] = {"group",  "context", "question", "choices",
                                          "letter", "choice",  NULL};

/* ---- texts with words in braces ---------------------------------------------------- */

/* A brace that opens no known word would stand in prompts. */
static int suite_check_words(const struct qtk_toml *node)
{
  for (const char *at = strchr(qtk_toml_text(node), '{'); at != NULL; at = strchr(at + 1, '{')) {
    size_t n = strcspn(at + 1, "}");
    int known = 0;
    for (int i = 0; suite_words[i] != NULL; i++)
      known |= strlen(suite_words[i]) == n && memcmp(at + 1, suite_words[i], n) == 0;
    if (!known)
      return qtk_toml_error(node, "{%.*s}: known are {group}, {context}, {question}, {choices}, "
                                  "{letter} and {choice}",
                            (int)n, at + 1);
  }
  return QTK_OK;
}

static int suite_text(const struct qtk_toml *table, const char *key, const char **text)
{
  const struct qtk_toml *node;
  int rc = qtk_toml_need(table, key, QTK_TOML_TEXT, &node);
  if (rc != QTK_OK)
    return rc;
  *text = qtk_toml_text(node);
  return suite_check_words(node);
}

static int suite_texts(struct suite_reader *r)
{
  struct qtk_suite *s = r->suite;
  const struct qtk_toml *table;
  const char *key = s->score == QTK_SCORE_LETTER ? "letter" : "text";
  int rc = qtk_toml_need(r->entry, key, QTK_TOML_TABLE, &table);
  if (rc != QTK_OK || (rc = qtk_toml_only(table, suite_text_keys)) != QTK_OK ||
      (rc = suite_text(table, "header", &s->header)) != QTK_OK ||
      (rc = suite_text(table, "question", &s->question)) != QTK_OK ||
      (rc = suite_text(table, "choice", &s->choice)) != QTK_OK ||
      (rc = suite_text(table, "answer", &s->answer)) != QTK_OK)
    return rc;
  if (strstr(s->choice, "{choices}") != NULL)
    return qtk_toml_error(qtk_toml_get(table, "choice"), "{choices} inside a choice");
  return suite_text(table, "between", &s->between);
}

/* ---- entries -------------------------------------------------------------------------- */

/* Names seen, for a message; they are copies. */
struct suite_names {
  QTK_VEC(char *) seen;
};

static int suite_look(struct suite_reader *r, struct qtk_toml *root, struct suite_names *names)
{
  const struct qtk_toml *list = NULL, *name;
  int rc = qtk_toml_need(root, "suite", QTK_TOML_ARRAY, &list);
  for (size_t i = 0; rc == QTK_OK && r->entry == NULL && i < qtk_toml_length(list); i++) {
    const struct qtk_toml *item = qtk_toml_item(list, i);
    if ((rc = qtk_toml_only(item, suite_keys)) != QTK_OK ||
        (rc = qtk_toml_need(item, "name", QTK_TOML_TEXT, &name)) != QTK_OK)
      return rc;
    if (strcmp(qtk_toml_text(name), r->request->name) == 0)
      r->entry = item;
    char *copy = qtk_str_copy(qtk_toml_text(name));
    rc = copy ? qtk_vec_push(&names->seen, copy) : QTK_ENOMEM;
  }
  return rc;
}

static int suite_look_in(struct suite_reader *r, const char *folder, struct suite_names *names)
{
  struct qtk_toml *root = NULL;
  char *path = qtk_path_join(folder, SUITE_DATA);
  int rc = path ? QTK_OK : QTK_ENOMEM;
  if (rc == QTK_OK && qtk_path_exists(path) && (rc = qtk_toml_read(path, &root)) == QTK_OK)
    rc = suite_look(r, root, names);
  if (r->entry != NULL)
    r->suite->root = root;
  else
    qtk_toml_free(root);
  free(path);
  return rc;
}

static int suite_unknown(const struct suite_reader *r, struct suite_names *names)
{
  struct qtk_str list = {0};
  for (size_t i = 0; i < names->seen.length; i++)
    qtk_str_printf(&list, "%s\"%s\"", i > 0 ? ", " : "", names->seen.data[i]);
  int rc = qtk_error(QTK_EJOB, "suite = \"%s\": there are %s (" SUITE_DATA
                               " of the architecture folders)",
                     r->request->name, list.data ? list.data : "none");
  qtk_str_free(&list);
  return rc;
}

int suite_define(struct suite_reader *r)
{
  struct suite_names names = {0};
  char **folders = NULL;
  int rc = qtk_arch_folders(&folders);
  for (size_t i = 0; rc == QTK_OK && r->entry == NULL && folders[i] != NULL; i++)
    rc = suite_look_in(r, folders[i], &names);
  if (rc == QTK_OK && r->entry == NULL)
    rc = suite_unknown(r, &names);
  for (size_t i = 0; i < names.seen.length; i++)
    free(names.seen.data[i]);
  qtk_vec_free(&names.seen);
  free(folders);
  if (rc != QTK_OK || (rc = suite_texts(r)) != QTK_OK ||
      (rc = qtk_toml_get_int(r->entry, "shots", &r->suite->shots)) != QTK_OK)
    return rc;
  if (r->request->shots >= 0)
    r->suite->shots = r->request->shots;
  return qtk_toml_get_text(r->entry, "name", &r->suite->name);
}
