/* SPDX-License-Identifier: BSD-3-Clause
 * What a folder says about how its weights are packed. Programs write it beside the
 * model's configuration, into it, or both. */
#include "gptq.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_MAX (16u << 20)
#define CONFIG_SOURCES 3

/* In the order in which they are asked. */
struct config_sources {
  const char *folder;
  json_t *objects[CONFIG_SOURCES]; /* NULL: there is none */
};

static const char *const config_names[CONFIG_SOURCES] = {"quantize_config.json",
                                                         "quant_config.json", "config.json"};

static int config_parse(const char *folder, const char *name, json_t **root)
{
  char *text;
  json_error_t error;
  int rc = safetensors_text_read(folder, name, CONFIG_MAX, &text);
  *root = NULL;
  if (rc || !text)
    return rc;
  *root = json_loads(text, 0, &error);
  if (!json_is_object(*root)) {
    rc = qtk_error(QTK_EINPUT, "%s/%s: line %d: %s", folder, name, error.line,
                   *root ? "no JSON object" : error.text);
    json_decref(*root);
    *root = NULL;
  }
  free(text);
  return rc;
}

/* The last source is a part of config.json. */
static int config_load(struct config_sources *s, const char *folder)
{
  *s = (struct config_sources){.folder = folder};
  int rc = QTK_OK;
  for (int i = 0; i < CONFIG_SOURCES && rc == QTK_OK; i++)
    rc = config_parse(folder, config_names[i], &s->objects[i]);
  json_t *config = s->objects[CONFIG_SOURCES - 1];
  s->objects[CONFIG_SOURCES - 1] = json_incref(json_object_get(config, "quantization_config"));
  json_decref(config);
  return rc;
}

static void config_unload(struct config_sources *s)
{
  for (int i = 0; i < CONFIG_SOURCES; i++)
    json_decref(s->objects[i]);
}

/* ---- values ------------------------------------------------------------------------ */

/* The value of `key`, or of its other name; NULL is like none. */
static const json_t *config_value(const json_t *object, const char *key, const char *other)
{
  const json_t *value = json_object_get(object, key);
  if (!value || json_is_null(value))
    value = other ? json_object_get(object, other) : NULL;
  return value && !json_is_null(value) ? value : NULL;
}

/* The first source's value; the others must say the same or nothing. *at is the source. */
static int config_find(const struct config_sources *s, const char *key, const char *other,
                       const json_t **value, int *at)
{
  *value = NULL;
  for (int i = 0; i < CONFIG_SOURCES; i++) {
    const json_t *found = config_value(s->objects[i], key, other);
    if (found && *value && !json_equal(*value, found))
      return qtk_error(QTK_EINPUT, "%s: %s and %s differ in %s", s->folder, config_names[*at],
                       config_names[i], key);
    if (found && !*value) {
      *value = found;
      *at = i;
    }
  }
  return QTK_OK;
}

/* A whole number; -1e18 stands for none. */
static int config_number(const struct config_sources *s, const char *key, const char *allowed,
                         int64_t *number)
{
  const json_t *value;
  int at = 0, rc = config_find(s, key, NULL, &value, &at);
  if (rc)
    return rc;
  if (!json_is_integer(value))
    return qtk_error(QTK_EINPUT, "%s/%s: %s is %s: allowed are %s", s->folder,
                     value ? config_names[at] : config_names[0], key,
                     value ? "no whole number" : "missing", allowed);
  *number = json_integer_value(value);
  return QTK_OK;
}

/* A text that must be one of two; *which is 0, 1, or -1 if there is none. */
static int config_choice(const struct config_sources *s, const char *key, const char *other,
                         const char *first, const char *second, int *which)
{
  const json_t *value;
  int at = 0, rc = config_find(s, key, other, &value, &at);
  const char *text = json_string_value(value);
  *which = -1;
  if (rc || !value)
    return rc;
  if (text && strcmp(text, first) == 0)
    *which = 0;
  else if (text && second && strcmp(text, second) == 0)
    *which = 1;
  else
    return qtk_error(QTK_EINPUT, "%s/%s: %s is '%.40s': allowed are %s%s%s", s->folder,
                     config_names[at], key, text && safetensors_plain(text) ? text : "?", first,
                     second ? ", " : "", second ? second : "");
  return QTK_OK;
}

static int config_is_true(const struct config_sources *s, const char *key, int *is_true)
{
  const json_t *value;
  int at = 0, rc = config_find(s, key, NULL, &value, &at);
  *is_true = json_is_true(value);
  return rc;
}

/* Group sizes that rules of single linears name. */
static int config_dynamic(const struct config_sources *s, struct gptq_config *c)
{
  const json_t *value;
  const char *pattern;
  json_t *rule;
  int at = 0, rc = config_find(s, "dynamic", NULL, &value, &at);
  if (rc || !json_is_object(value) || json_object_size(value) == 0)
    return rc;
  c->dynamic = 1;
  c->groups = calloc(json_object_size(value), sizeof *c->groups);
  if (!c->groups)
    return qtk_error(QTK_ENOMEM, "out of memory for rules");
  json_object_foreach((json_t *)value, pattern, rule)
  {
    const json_t *group = json_object_get(rule, "group_size");
    if (json_is_integer(group))
      c->groups[c->n_groups++] = json_integer_value(group);
  }
  return QTK_OK;
}

static int config_layout(const struct config_sources *s, struct gptq_config *c)
{
  int none, marlin, rc = config_choice(s, "quant_method", NULL, "gptq", NULL, &none);
  if (rc == QTK_OK)
    rc = config_choice(s, "checkpoint_format", "format", "gptq", "gptq_v2", &c->is_v2);
  if (rc == QTK_OK)
    rc = config_choice(s, "pack_dtype", NULL, "int32", NULL, &none);
  if (rc == QTK_OK)
    rc = config_is_true(s, "is_marlin_format", &marlin);
  if (rc == QTK_OK && marlin)
    rc = qtk_error(QTK_EINPUT, "%s: is_marlin_format is true: allowed is false", s->folder);
  c->is_v2 = c->is_v2 == 1;
  return rc;
}

static int config_sizes(const struct config_sources *s, struct gptq_config *c)
{
  int64_t bits = 0;
  int rc = config_number(s, "bits", "2, 3, 4, 8", &bits);
  if (rc == QTK_OK && bits != 2 && bits != 3 && bits != 4 && bits != 8)
    rc = qtk_error(QTK_EINPUT, "%s: bits is %lld: allowed are 2, 3, 4, 8", s->folder,
                   (long long)bits);
  c->bits = (int)bits;
  if (rc == QTK_OK)
    rc = config_number(s, "group_size", "-1 (one a row) and 1 or more", &c->group);
  if (rc == QTK_OK && c->group != -1 && c->group < 1)
    rc = qtk_error(QTK_EINPUT, "%s: group_size is %lld: allowed are -1 (one a row) and 1 or more",
                   s->folder, (long long)c->group);
  return rc;
}

int gptq_config_read(const char *folder, struct gptq_config *c)
{
  struct config_sources s;
  *c = (struct gptq_config){0};
  int rc = config_load(&s, folder);
  if (rc == QTK_OK)
    rc = config_layout(&s, c);
  if (rc == QTK_OK)
    rc = config_sizes(&s, c);
  if (rc == QTK_OK)
    rc = config_is_true(&s, "sym", &c->sym);
  if (rc == QTK_OK)
    rc = config_is_true(&s, "desc_act", &c->desc_act);
  if (rc == QTK_OK)
    rc = config_dynamic(&s, c);
  config_unload(&s);
  return rc;
}

void gptq_config_free(struct gptq_config *c)
{
  free(c->groups);
  c->groups = NULL;
}

/* ---- what a folder is ------------------------------------------------------------------ */

int gptq_config_probe(const char *folder)
{
  struct config_sources s;
  int answer = 0;
  if (config_load(&s, folder) == QTK_OK)
    for (int i = 0; i < CONFIG_SOURCES && answer == 0; i++) {
      const char *method = json_string_value(json_object_get(s.objects[i], "quant_method"));
      if (method)
        answer = strcmp(method, "gptq") == 0 ? 1 : -1;
      else if (json_object_get(s.objects[i], "bits") && json_object_get(s.objects[i], "group_size"))
        answer = 1; /* older files do not name the method */
    }
  config_unload(&s);
  return answer;
}

static int config_exists(const char *folder, const char *name, const char *suffix)
{
  struct stat st;
  char file[128];
  snprintf(file, sizeof file, "%s%s", name, suffix);
  char *path = safetensors_path(folder, file);
  int exists = path && stat(path, &st) == 0;
  free(path);
  return exists;
}

void gptq_config_weights(const char *folder, const struct gptq_config *c, char name[64])
{
  snprintf(name, 64, "gptq_model-%dbit-%lldg", c->bits, (long long)c->group);
  int own = config_exists(folder, name, ".safetensors") ||
            config_exists(folder, name, ".safetensors.index.json");
  if (!own || config_exists(folder, "model", ".safetensors") ||
      config_exists(folder, "model", ".safetensors.index.json"))
    strcpy(name, "model");
}
