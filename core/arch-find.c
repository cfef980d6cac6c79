/* SPDX-License-Identifier: BSD-3-Clause
 * Which description fits a model: the folders, the files in them, the match. */
#include <stdlib.h>
#include <string.h>

#include "core/arch-inner.h"
#include "core/fs.h"
#include "core/json.h"
#include "core/str.h"
#include "core/vec.h"

#define FIND_MAX_BYTES (1u << 20) /* of a description */

/* ---- folders ---------------------------------------------------------------------- */

int qtk_arch_folders(char ***folders)
{
  static const char builtin[] = QTK_DATA_DIR "/arch";
  const char *path = secure_getenv("QTK_ARCH_PATH");
  size_t bytes = (path != NULL ? strlen(path) + 1 : 0) + sizeof builtin, n = 2;

  for (const char *p = path; p != NULL && *p != '\0'; p++)
    n += *p == ':';
  char **list = calloc(1, (n + 1) * sizeof *list + bytes);
  if (list == NULL)
    return qtk_error(QTK_ENOMEM, "out of memory");
  char *text = (char *)(list + n + 1), *rest = text;
  snprintf(text, bytes, "%s%s%s", path != NULL ? path : "", path != NULL ? ":" : "", builtin);
  n = 0;
  for (char *folder; (folder = strsep(&rest, ":")) != NULL;)
    if (*folder != '\0')
      list[n++] = folder;
  *folders = list;
  return QTK_OK;
}

char *qtk_arch_find(const char *name)
{
  char **folders, *path = NULL;

  if (qtk_arch_folders(&folders) != QTK_OK)
    return NULL;
  for (size_t i = 0; path == NULL && folders[i] != NULL; i++) {
    path = qtk_path_join(folders[i], name);
    if (path == NULL)
      break;
    if (!qtk_path_exists(path)) {
      free(path);
      path = NULL;
      qtk_error(QTK_EINPUT, "%s is in none of the folders of QTK_ARCH_PATH, nor in %s/arch", name,
                QTK_DATA_DIR);
    }
  }
  free(folders);
  return path;
}

/* ---- files ------------------------------------------------------------------------ */

/* A description as far as finding reads it. */
struct find_file {
  char *path, *text;
  struct qtk_toml *root;
  const char *family;
};

struct find {
  const struct qtk_arch_source *source;
  json_t *config;
  QTK_VEC(struct find_file) files;
};

static void find_file_free(struct find_file *file)
{
  qtk_toml_free(file->root);
  free(file->text);
  free(file->path);
}

static void find_free(struct find *find)
{
  for (size_t i = 0; i < find->files.length; i++)
    find_file_free(&find->files.data[i]);
  qtk_vec_free(&find->files);
}

static const struct find_file *find_family(const struct find *find, const char *family)
{
  for (size_t i = 0; i < find->files.length; i++)
    if (strcmp(find->files.data[i].family, family) == 0)
      return &find->files.data[i];
  return NULL;
}

/* Takes path and text over. */
static int find_add(struct find *find, char *path, char *text, size_t n)
{
  struct find_file file = {.path = path, .text = text};
  int rc = path == NULL || text == NULL ? QTK_ENOMEM
                                        : qtk_toml_parse(text, n, path, &file.root);

  if (rc == QTK_OK)
    rc = qtk_toml_get_text(file.root, "family", &file.family);
  /* Other data files have no family; what an earlier folder describes stands. */
  if (rc == QTK_OK && file.family != NULL && find_family(find, file.family) == NULL) {
    rc = qtk_vec_push(&find->files, file);
    if (rc == QTK_OK)
      return QTK_OK;
  }
  find_file_free(&file);
  return rc;
}

static int find_read(struct find *find, const char *folder, const char *name)
{
  char *path = qtk_path_join(folder, name), *text = NULL;
  size_t n = 0;
  int rc = path == NULL ? QTK_ENOMEM : qtk_read_file(path, FIND_MAX_BYTES, &text, &n);

  if (rc == QTK_OK)
    return find_add(find, path, text, n);
  free(path);
  return rc;
}

/* A file that is no TOML is another family's trouble, unless no other fits. */
static int find_in_folder(struct find *find, const char *folder)
{
  char **names;
  size_t n;
  int rc;

  if (!qtk_path_is_dir(folder))
    return QTK_OK;
  rc = qtk_list_dir(folder, &names, &n);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; rc == QTK_OK && i < n; i++) {
    if (names[i][0] == '.' || !qtk_path_ends(names[i], ".toml"))
      continue;
    rc = find_read(find, folder, names[i]);
    if (rc == QTK_EJOB || rc == QTK_EINPUT) {
      qtk_warn("%s", qtk_error_message());
      rc = QTK_OK;
    }
  }
  free(names);
  return rc;
}

/* The one description that may be: any mistake in it counts. */
static int find_text(struct find *find)
{
  const struct qtk_arch_source *s = find->source;
  char *path = s->text_file != NULL ? qtk_str_copy(s->text_file)
                                    : qtk_str_format("%s: arch.toml", s->file);
  int rc = find_add(find, path, qtk_str_copy(s->text), strlen(s->text));

  if (rc == QTK_OK && find->files.length == 0)
    return qtk_error(QTK_EJOB, "%s: 'family' is missing", s->text_file ? s->text_file : s->file);
  return rc == QTK_OK ? qtk_arch_check_keys(find->files.data[0].root) : rc;
}

/* The text that came with the model, or all files of the folders. */
static int find_all(struct find *find)
{
  char **folders;
  int rc;

  if (find->source->text != NULL)
    return find_text(find);
  rc = qtk_arch_folders(&folders);
  if (rc != QTK_OK)
    return rc;
  for (size_t i = 0; rc == QTK_OK && folders[i] != NULL; i++)
    rc = find_in_folder(find, folders[i]);
  free(folders);
  return rc;
}

/* ---- the match ------------------------------------------------------------------------ */

/* How many keys of the schema's `match` the configuration has as wanted; 0: not all. */
static size_t find_score(const struct find *find, const struct find_file *file)
{
  const struct qtk_toml *schema = qtk_toml_get(qtk_toml_get(file->root, "schema"),
                                               find->source->schema);
  const struct qtk_toml *match = qtk_toml_get(schema, "match");
  const struct qtk_toml *read = qtk_toml_get(schema, "read");
  const char *family = json_string_value(json_object_get(find->config, "family"));

  if (strcmp(find->source->schema, QTK_ARCH_SCHEMA) == 0)
    return family != NULL && strcmp(family, file->family) == 0;
  /* Its files are read as another family's. */
  if (read != NULL && qtk_toml_kind(read) == QTK_TOML_BOOL && !qtk_toml_bool(read))
    return 0;
  for (size_t i = 0; i < qtk_toml_length(match); i++) {
    const struct qtk_toml *values = qtk_toml_item(match, i);
    const json_t *value = qtk_arch_config_get(find->config, qtk_toml_key(values));
    if (value == NULL || !qtk_arch_is_among(value, values))
      return 0;
  }
  return qtk_toml_length(match);
}

/* The keys that descriptions look at and what the configuration says there. */
static char *find_seen(const struct find *find)
{
  struct qtk_str seen = {0};

  for (size_t i = 0; i < find->files.length; i++) {
    const struct qtk_toml *match = qtk_toml_find(find->files.data[i].root, "schema");
    match = qtk_toml_get(qtk_toml_get(match, find->source->schema), "match");
    for (size_t k = 0; seen.length == 0 && k < qtk_toml_length(match); k++) {
      const char *key = qtk_toml_key(qtk_toml_item(match, k));
      const json_t *value = qtk_arch_config_get(find->config, key);
      if (json_is_string(value))
        qtk_str_printf(&seen, "%s is '%s'", key, json_string_value(value));
      else
        qtk_str_printf(&seen, "%s is missing", key);
    }
  }
  if (seen.length == 0)
    qtk_str_printf(&seen, "no description has a [schema.%s]", find->source->schema);
  return qtk_str_take(&seen);
}

static int find_none(const struct find *find)
{
  struct qtk_str known = {0};
  char *seen = find_seen(find), *names;

  if (seen != NULL && find->source->text_file != NULL) {
    int rc = qtk_error(QTK_EINPUT, "%s does not match its [schema.%s]: %s: %s",
                       find->source->text_file, find->source->schema, find->source->file, seen);
    free(seen);
    return rc;
  }
  for (size_t i = 0; i < find->files.length; i++)
    qtk_str_printf(&known, "%s%s", i > 0 ? ", " : "", find->files.data[i].family);
  names = qtk_str_take(&known);
  int rc = seen == NULL ? QTK_ENOMEM
                        : qtk_error(QTK_EINPUT,
                                    "%s: no description of its architecture: %s; described are: "
                                    "%s (QTK_ARCH_PATH names folders with more)",
                                    find->source->file, seen,
                                    names != NULL && *names != '\0' ? names : "none");
  free(seen);
  free(names);
  return rc;
}

static int find_best(struct find *find, struct find_file **best)
{
  size_t most = 0, ties = 0;
  struct find_file *other = NULL;

  for (size_t i = 0; i < find->files.length; i++) {
    size_t score = find_score(find, &find->files.data[i]);
    if (score == 0 || score < most)
      continue;
    ties = score == most ? ties + 1 : 1;
    most = score;
    other = *best;
    *best = &find->files.data[i];
  }
  if (ties > 1)
    return qtk_error(QTK_EINPUT, "%s: fits two descriptions, %s and %s", find->source->file,
                     other->path, (*best)->path);
  return *best != NULL ? QTK_OK : find_none(find);
}

int qtk_arch_find_match(const struct qtk_arch_source *source, json_t *config,
                        struct qtk_arch *arch)
{
  struct find find = {.source = source, .config = config};
  struct find_file *best = NULL;
  int rc = find_all(&find);

  if (rc == QTK_OK)
    rc = find_best(&find, &best);
  if (rc == QTK_OK) {
    arch->file = best->path;
    arch->text = best->text;
    arch->root = best->root;
    arch->family = best->family;
    *best = (struct find_file){0};
  }
  find_free(&find);
  return rc;
}
