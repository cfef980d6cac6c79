/* SPDX-License-Identifier: BSD-3-Clause
 * Some files say only the name of their pre-tokenizer. What a name means is data:
 * a list of expressions, each cutting the pieces that the one before it left. */
#include "core/tokenizer/named.h"

#include <stdlib.h>
#include <string.h>

#include "core/arch.h"
#include "core/fs.h"
#include "core/json.h"
#include "core/toml.h"
#include "core/vec.h"

#define NAMED_DEPTH 16

/* ---- the data file ------------------------------------------------------------------ */

/* The texts of an array of texts, or QTK_EJOB. */
static int named_texts(const struct qtk_toml *entry, const char *key, const struct qtk_toml **array)
{
  int rc = qtk_toml_need(entry, key, QTK_TOML_ARRAY, array);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(*array); i++)
    if (qtk_toml_kind(qtk_toml_item(*array, i)) != QTK_TOML_TEXT)
      rc = qtk_toml_error(*array, "%s must hold texts only", key);
  return rc;
}

/* Names seen, for a message. They live as long as the files. */
struct named_search {
  const char *name;
  QTK_VEC(const char *) known;
};

/* 1 and the entry of the name, 0, or an error. */
static int named_look(const struct qtk_toml *root, struct named_search *search,
                      const struct qtk_toml **entry)
{
  static const char *const keys[] = {"names", "split", "ignore_merges", NULL};
  const struct qtk_toml *list = NULL, *names;
  int rc = qtk_toml_need(root, "pretokenizer", QTK_TOML_ARRAY, &list);
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(list); i++) {
    const struct qtk_toml *item = qtk_toml_item(list, i);
    rc = qtk_toml_only(item, keys);
    if (rc == QTK_OK)
      rc = named_texts(item, "names", &names);
    for (size_t k = 0; rc == QTK_OK && k < qtk_toml_length(names); k++) {
      const char *name = qtk_toml_text(qtk_toml_item(names, k));
      if (strcmp(name, search->name) == 0) {
        *entry = item;
        return 1;
      }
      rc = qtk_vec_push(&search->known, name);
    }
  }
  return rc;
}

static int named_unknown(struct named_search *search)
{
  int rc = qtk_vec_push(&search->known, (const char *)NULL);
  if (rc != QTK_OK)
    return rc;
  const char *nearest = qtk_nearest(search->name, search->known.data);
  return qtk_error(QTK_EINPUT,
                   "tokenizer: pre-tokenizer \"%s\" is not in " QTK_NAMED_FILE
                   " of the architecture folders%s%s%s",
                   search->name, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                   nearest ? "\"?" : "");
}

/* ---- its entry as JSON ----------------------------------------------------------------- */

static json_t *named_split(const char *expression)
{
  return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", expression,
                   "behavior", "Isolated", "invert", 0);
}

static json_t *named_bytes(void)
{
  return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                   "trim_offsets", 1, "use_regex", 0);
}

static int named_sequence(const struct qtk_toml *entry, json_t **out)
{
  const struct qtk_toml *split;
  int rc = named_texts(entry, "split", &split);
  if (rc != QTK_OK)
    return rc;
  json_t *list = json_array();
  for (size_t i = 0; rc == QTK_OK && i < qtk_toml_length(split); i++)
    rc = qtk_json_append(list, named_split(qtk_toml_text(qtk_toml_item(split, i))));
  if (rc == QTK_OK)
    rc = qtk_json_append(list, named_bytes());
  *out = rc == QTK_OK ? json_pack("{s:s, s:O}", "type", "Sequence", "pretokenizers", list) : NULL;
  json_decref(list);
  return rc == QTK_OK && *out == NULL ? qtk_error(QTK_ENOMEM, "out of memory") : rc;
}

/* What else the name says about the model, where the file does not say it. */
static int named_model(const struct qtk_toml *entry, json_t *tokenizer)
{
  int ignore = -1;
  int rc = qtk_toml_get_bool(entry, "ignore_merges", &ignore);
  json_t *model = json_object_get(tokenizer, "model");
  if (rc != QTK_OK || ignore < 0 || !json_is_object(model) ||
      json_object_get(model, "ignore_merges") != NULL)
    return rc;
  return qtk_json_set(model, "ignore_merges", json_boolean(ignore));
}

static int named_make(const char *name, json_t *tokenizer, json_t **out)
{
  struct named_search search = {.name = name};
  QTK_VEC(struct qtk_toml *) files = {0};
  const struct qtk_toml *entry = NULL;
  char **folders = NULL;
  int rc = qtk_arch_folders(&folders);
  for (size_t i = 0; rc == QTK_OK && folders[i] != NULL; i++) {
    struct qtk_toml *root = NULL;
    char *path = qtk_path_join(folders[i], QTK_NAMED_FILE);
    if (path == NULL)
      rc = QTK_ENOMEM;
    else if (qtk_path_exists(path) && (rc = qtk_toml_read(path, &root)) == QTK_OK)
      if ((rc = qtk_vec_push(&files, root)) == QTK_OK)
        rc = named_look(root, &search, &entry);
    free(path);
  }
  if (rc == QTK_OK)
    rc = named_unknown(&search);
  else if (rc > 0 && (rc = named_sequence(entry, out)) == QTK_OK)
    rc = named_model(entry, tokenizer);
  for (size_t i = 0; i < files.length; i++)
    qtk_toml_free(files.data[i]);
  qtk_vec_free(&files);
  qtk_vec_free(&search.known);
  free(folders);
  return rc;
}

/* ---- putting it in ------------------------------------------------------------------------ */

/* *out is what takes the node's place, a new reference, or NULL if it stays. */
static int named_expand(json_t *tokenizer, json_t *node, int depth, json_t **out)
{
  const char *type = json_string_value(json_object_get(node, "type"));
  const char *name = json_string_value(json_object_get(node, "name"));
  json_t *list = json_object_get(node, "pretokenizers");
  *out = NULL;
  if (type != NULL && name != NULL && strcmp(type, "Named") == 0)
    return named_make(name, tokenizer, out);
  int rc = QTK_OK;
  for (size_t i = 0; rc == QTK_OK && depth < NAMED_DEPTH && i < json_array_size(list); i++) {
    json_t *made;
    rc = named_expand(tokenizer, json_array_get(list, i), depth + 1, &made);
    if (made != NULL && json_array_set_new(list, i, made) != 0)
      rc = qtk_error(QTK_ENOMEM, "out of memory");
  }
  return rc;
}

int qtk_named_expand(json_t *tokenizer)
{
  json_t *made;
  int rc = named_expand(tokenizer, json_object_get(tokenizer, "pre_tokenizer"), 0, &made);
  return made != NULL ? qtk_json_set(tokenizer, "pre_tokenizer", made) : rc;
}
