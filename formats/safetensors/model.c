/* SPDX-License-Identifier: BSD-3-Clause
 * A model: one weight file, or a folder with one or with shards and an index. */
#include "safetensors.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MODEL_CONFIG_MAX (16u << 20)

/* Maps FOLDER/NAME and appends its tensors. */
static int model_add_file(struct safetensors_model *m, const char *name)
{
  char *path = safetensors_path(m->folder, name);
  if (!path)
    return QTK_ENOMEM;
  struct safetensors_file *file = &m->files[m->n_files];
  int rc = safetensors_file_open(file, path);
  if (rc == QTK_OK) {
    m->n_files++;
    rc = safetensors_header_read(file, &m->tensors);
    if (rc)
      rc = qtk_error_at(rc, "%s", path);
  }
  free(path);
  return rc;
}

static int model_one_file(struct safetensors_model *m, const char *name)
{
  m->files = calloc(1, sizeof *m->files);
  if (!m->files)
    return qtk_error(QTK_ENOMEM, "out of memory for a file");
  return model_add_file(m, name);
}

/* ---- shards ------------------------------------------------------------------ */

/* A shard lies beside its index: a path could lead anywhere. */
static int model_check_shard(const char *tensor, const char *shard)
{
  if (!shard || !safetensors_plain(shard) || strlen(shard) > 255 || strchr(shard, '/') ||
      strcmp(shard, ".") == 0 || strcmp(shard, "..") == 0)
    return qtk_error(QTK_EINPUT,
                     "weight_map: the file of '%s' is not a plain file name in the same folder",
                     safetensors_plain(tensor) ? tensor : "?");
  return QTK_OK;
}

static int model_by_text(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct files of a weight map, sorted; names belong to the map. */
static int model_list_shards(const json_t *map, const char ***names, size_t *n)
{
  const char *tensor;
  json_t *shard;
  size_t count = 0;
  const char **list = calloc(json_object_size(map) + 1, sizeof *list);
  if (!list)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of shards");
  json_object_foreach((json_t *)map, tensor, shard)
  {
    list[count] = json_string_value(shard);
    int rc = model_check_shard(tensor, list[count++]);
    if (rc) {
      free(list);
      return rc;
    }
  }
  if (count)
    qsort(list, count, sizeof *list, model_by_text);
  *n = 0;
  for (size_t i = 0; i < count; i++)
    if (i == 0 || strcmp(list[i], list[*n - 1]) != 0)
      list[(*n)++] = list[i];
  *names = list;
  return QTK_OK;
}

/* Of the tensors from `first` on, which lie in `shard`, keeps those that the map
 * puts there, and takes them off the map. */
static void model_keep(struct safetensors_list *list, size_t first, json_t *map, const char *shard)
{
  size_t kept = first;
  for (size_t i = first; i < list->n; i++) {
    struct safetensors_tensor *t = &list->items[i];
    const char *place = json_string_value(json_object_get(map, t->name));
    if (place && strcmp(place, shard) == 0) {
      json_object_del(map, t->name);
      list->items[kept++] = *t;
    } else {
      free(t->name);
    }
  }
  list->n = kept;
}

static int model_add_shards(struct safetensors_model *m, json_t *map, const char **names, size_t n)
{
  m->files = calloc(n ? n : 1, sizeof *m->files);
  if (!m->files)
    return qtk_error(QTK_ENOMEM, "out of memory for %zu shards", n);
  for (size_t i = 0; i < n; i++) {
    size_t first = m->tensors.n;
    int rc = model_add_file(m, names[i]);
    if (rc)
      return qtk_error_at(rc, "shard %zu of %zu", i + 1, n);
    model_keep(&m->tensors, first, map, names[i]);
  }
  const char *left;
  json_t *shard;
  json_object_foreach(map, left, shard) return qtk_error(
      QTK_EINPUT, "weight_map puts '%s' into '%s', which does not hold it",
      safetensors_plain(left) ? left : "?", json_string_value(shard));
  return QTK_OK;
}

/* A copy of each name: taking entries off the map frees them. */
static int model_own(const char **names, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    names[i] = strdup(names[i]);
    if (names[i])
      continue;
    while (i > 0)
      free((char *)names[--i]);
    return qtk_error(QTK_ENOMEM, "out of memory for the names of shards");
  }
  return QTK_OK;
}

static int model_index(struct safetensors_model *m, const char *text)
{
  json_error_t error;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  json_t *map = json_object_get(root, "weight_map");
  const char **names = NULL;
  size_t n = 0;
  int rc = QTK_OK;
  if (!root)
    rc = qtk_error(QTK_EINPUT, "line %d: %s", error.line, error.text);
  else if (!json_is_object(map))
    rc = qtk_error(QTK_EINPUT, "no weight_map, or it is no JSON object");
  if (rc == QTK_OK)
    rc = model_list_shards(map, &names, &n);
  if (rc == QTK_OK && (rc = model_own(names, n)))
    n = 0;
  if (rc == QTK_OK)
    rc = model_add_shards(m, map, names, n);
  for (size_t i = 0; i < n; i++)
    free((char *)names[i]);
  free(names);
  json_decref(root);
  return rc;
}

/* ---- opening ------------------------------------------------------------------- */

static int model_has(const char *folder, const char *name)
{
  struct stat st;
  char *path = safetensors_path(folder, name);
  int has = path && stat(path, &st) == 0;
  free(path);
  return has;
}

/* FOLDER's weight file or index of the name `name`. */
static void model_names(const char *name, char file[280], char index[280])
{
  snprintf(file, 280, "%.250s.safetensors", name);
  snprintf(index, 280, "%.250s.safetensors.index.json", name);
}

static int model_shards(struct safetensors_model *m, const char *file, const char *name)
{
  char *index;
  int rc = safetensors_text_read(m->folder, name, SAFETENSORS_HEADER_MAX, &index);
  if (rc == QTK_OK && index) {
    rc = model_index(m, index);
    if (rc)
      rc = qtk_error_at(rc, "%s/%s", m->folder, name);
  } else if (rc == QTK_OK && !model_has(m->folder, "config.json")) {
    rc = qtk_error(QTK_EINPUT, "%s: neither config.json nor %s nor %s is in this folder",
                   m->folder, file, name);
  }
  free(index);
  return rc;
}

/* One file goes before shards, as in transformers. No weights are fine too. */
static int model_open_folder(struct safetensors_model *m, const char *name)
{
  char file[280], index[280];
  model_names(name, file, index);
  if (model_has(m->folder, file))
    return model_one_file(m, file);
  return model_shards(m, file, index);
}

static int model_read_config(struct safetensors_model *m)
{
  int rc = safetensors_text_read(m->folder, "config.json", MODEL_CONFIG_MAX, &m->config);
  if (rc || !m->config)
    return rc;
  json_error_t error;
  json_t *root = json_loads(m->config, JSON_DECODE_INT_AS_REAL, &error);
  if (!root)
    rc = qtk_error(QTK_EINPUT, "%s/config.json: line %d: %s", m->folder, error.line, error.text);
  else if (!json_is_object(root))
    rc = qtk_error(QTK_EINPUT, "%s/config.json: no JSON object", m->folder);
  json_decref(root);
  return rc;
}

/* `path` is a folder, or a weight file in one. */
static int model_load(struct safetensors_model *m, const char *path, const char *name)
{
  struct stat st;
  int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
  const char *slash = strrchr(path, '/');
  if (is_folder)
    m->folder = strdup(path);
  else if (slash)
    m->folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
  else
    m->folder = strdup(".");
  if (!m->folder)
    return qtk_error(QTK_ENOMEM, "out of memory for a path");
  int rc = is_folder ? model_open_folder(m, name) : model_one_file(m, slash ? slash + 1 : path);
  return rc ? rc : model_read_config(m);
}

int safetensors_model_open(const char *path, const char *name, struct safetensors_model **model)
{
  struct safetensors_model *m = calloc(1, sizeof *m);
  if (!m)
    return qtk_error(QTK_ENOMEM, "out of memory for a model");
  pthread_mutex_init(&m->lock, NULL);
  int rc = model_load(m, path, name);
  if (rc) {
    safetensors_model_close(m);
    m = NULL;
  }
  *model = m;
  return rc;
}

void safetensors_model_close(struct safetensors_model *m)
{
  if (!m)
    return;
  for (int i = 0; i < m->n_files; i++)
    safetensors_file_close(&m->files[i]);
  for (int i = 0; i < SAFETENSORS_TEXTS; i++)
    free(m->texts[i]);
  safetensors_list_free(&m->tensors);
  pthread_mutex_destroy(&m->lock);
  free(m->files);
  free(m->folder);
  free(m->config);
  free(m);
}

/* ---- texts ------------------------------------------------------------------------ */

static int model_load_text(struct safetensors_model *m, enum safetensors_text which)
{
  switch (which) {
  case SAFETENSORS_TOKENIZER:
    return safetensors_tokenizer_read(m->folder, &m->texts[which]);
  case SAFETENSORS_GENERATION:
    return safetensors_text_generation(m->folder, &m->texts[which]);
  case SAFETENSORS_TEMPLATE:
    return safetensors_text_template(m->folder, &m->texts[which]);
  default:
    return safetensors_text_licence(m->folder, &m->texts[which]);
  }
}

const char *safetensors_model_text(struct safetensors_model *m, enum safetensors_text which)
{
  pthread_mutex_lock(&m->lock);
  if (!m->known[which])
    m->known[which] = model_load_text(m, which) == QTK_OK;
  const char *text = m->texts[which];
  pthread_mutex_unlock(&m->lock);
  return text;
}
