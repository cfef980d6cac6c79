/* SPDX-License-Identifier: BSD-3-Clause
 * The other way round: the name of a pre-tokenizer whose expressions are written out. */
#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/fs.h"
#include "core/json.h"
#include "core/toml.h"
#include "core/tokenizer.h"
#include "core/tokenizer/named.h"
#include "core/tokenizer/pretokenize.h"
#include "core/vec.h"

#define NAME_DEPTH 16

/* The expressions that cut a text, in turn, each leaving matches and what is between. */
struct name_cuts {
  QTK_VEC(const char *) list;
  const char *name; /* that the tokenizer says itself */
  int bytes;        /* byte-level at the end */
  int other;        /* or something that no list of expressions says */
};

static int name_is(const json_t *node, const char *key, const char *value)
{
  const char *text = json_string_value(json_object_get(node, key));
  return text != NULL && strcmp(text, value) == 0;
}

/* Defaults of the file's layout count. */
static int name_flag(const json_t *node, const char *key, int usual)
{
  const json_t *flag = json_object_get(node, key);
  return flag != NULL ? json_is_true(flag) : usual;
}

static int name_split(struct name_cuts *cuts, const json_t *node)
{
  const char *expression =
      json_string_value(json_object_get(json_object_get(node, "pattern"), "Regex"));
  if (expression == NULL || !name_is(node, "behavior", "Isolated") ||
      name_flag(node, "invert", 0)) {
    cuts->other = 1;
    return QTK_OK;
  }
  return qtk_vec_push(&cuts->list, expression);
}

static int name_bytes(struct name_cuts *cuts, const json_t *node)
{
  cuts->other |= cuts->bytes || name_flag(node, "add_prefix_space", 1);
  cuts->bytes = 1;
  return name_flag(node, "use_regex", 1) ? qtk_vec_push(&cuts->list, qtk_pretokenizer_words)
                                         : QTK_OK;
}

static int name_collect(struct name_cuts *cuts, const json_t *node, int depth)
{
  const json_t *list = json_object_get(node, "pretokenizers");
  int rc = QTK_OK;
  if (name_is(node, "type", "Named"))
    cuts->name = json_string_value(json_object_get(node, "name"));
  else if (name_is(node, "type", "Split") && !cuts->bytes)
    rc = name_split(cuts, node);
  else if (name_is(node, "type", "Digits") && name_flag(node, "individual_digits", 0))
    rc = qtk_vec_push(&cuts->list, "\\p{N}");
  else if (name_is(node, "type", "ByteLevel"))
    rc = name_bytes(cuts, node);
  else if (!name_is(node, "type", "Sequence") || depth >= NAME_DEPTH)
    cuts->other = 1;
  for (size_t i = 0; i < json_array_size(list) && rc == QTK_OK; i++)
    rc = name_collect(cuts, json_array_get(list, i), depth + 1);
  return rc;
}

/* "(?:'s|'t|...)| ?" and "'s|'t|...| ?" say the same. */
static int name_same(const char *a, const char *b)
{
  static const char grouped[] = "(?:'s|'t|'re|'ve|'m|'ll|'d)", plain[] = "'s|'t|'re|'ve|'m|'ll|'d";
  a += strncmp(a, grouped, strlen(grouped)) == 0 ? strlen(grouped)
       : strncmp(a, plain, strlen(plain)) == 0   ? strlen(plain)
                                                 : 0;
  b += strncmp(b, grouped, strlen(grouped)) == 0 ? strlen(grouped)
       : strncmp(b, plain, strlen(plain)) == 0   ? strlen(plain)
                                                 : 0;
  return strcmp(a, b) == 0;
}

static int name_fits(const struct qtk_toml *entry, const struct name_cuts *cuts, int ignore)
{
  const struct qtk_toml *split = qtk_toml_get(entry, "split");
  int own = 0;
  if (qtk_toml_get_bool(entry, "ignore_merges", &own) != QTK_OK || own != ignore ||
      qtk_toml_length(split) != cuts->list.length)
    return 0;
  for (size_t i = 0; i < cuts->list.length; i++)
    if (!name_same(qtk_toml_text(qtk_toml_item(split, i)), cuts->list.data[i]))
      return 0;
  return 1;
}

/* The first name of the first entry that fits, a copy in *name. */
static int name_search(const char *folder, const struct name_cuts *cuts, int ignore, char **name)
{
  struct qtk_toml *root = NULL;
  char *path = qtk_path_join(folder, QTK_NAMED_FILE);
  int rc = path == NULL ? QTK_ENOMEM : QTK_OK;
  if (rc == QTK_OK && qtk_path_exists(path))
    rc = qtk_toml_read(path, &root);
  const struct qtk_toml *list = qtk_toml_get(root, "pretokenizer");
  for (size_t i = 0; rc == QTK_OK && *name == NULL && i < qtk_toml_length(list); i++) {
    const struct qtk_toml *entry = qtk_toml_item(list, i);
    const char *first = qtk_toml_text(qtk_toml_item(qtk_toml_get(entry, "names"), 0));
    if (first != NULL && name_fits(entry, cuts, ignore) && (*name = strdup(first)) == NULL)
      rc = qtk_error(QTK_ENOMEM, "out of memory");
  }
  qtk_toml_free(root);
  free(path);
  return rc;
}

static int name_look(const struct name_cuts *cuts, int ignore, char **name)
{
  char **folders = NULL;
  int rc = QTK_OK;
  if (cuts->name != NULL)
    return (*name = strdup(cuts->name)) ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory");
  if (cuts->other || !cuts->bytes)
    return QTK_OK;
  rc = qtk_arch_folders(&folders);
  for (size_t i = 0; rc == QTK_OK && *name == NULL && folders[i] != NULL; i++)
    rc = name_search(folders[i], cuts, ignore, name);
  free(folders);
  return rc;
}

int qtk_tokenizer_name(const char *json, char **name)
{
  json_t *root;
  struct name_cuts cuts = {0};
  *name = NULL;
  int rc = qtk_json_parse(json, strlen(json), "tokenizer", &root);
  if (rc != QTK_OK)
    return rc;
  int ignore = json_is_true(json_object_get(json_object_get(root, "model"), "ignore_merges"));
  rc = name_collect(&cuts, json_object_get(root, "pre_tokenizer"), 0);
  if (rc == QTK_OK)
    rc = name_look(&cuts, ignore, name);
  qtk_vec_free(&cuts.list);
  json_decref(root);
  return rc;
}
