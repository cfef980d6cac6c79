/* SPDX-License-Identifier: BSD-3-Clause
 * Small text files that lie beside the weights. */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX (16u << 20)

char *safetensors_path(const char *folder, const char *name)
{
  size_t n = strlen(folder) + strlen(name) + 2;
  char *path = malloc(n);
  if (!path) {
    qtk_error(QTK_ENOMEM, "out of memory for a path");
    return NULL;
  }
  size_t used = strlen(folder);
  int slash = used > 0 && folder[used - 1] == '/';
  memcpy(path, folder, used);
  if (!slash)
    path[used++] = '/';
  strcpy(path + used, name);
  return path;
}

/* The size of an open regular file that is at most `max` long. */
static int text_size(int fd, const char *path, size_t max, size_t *size)
{
  struct stat st;
  if (fstat(fd, &st) != 0)
    return qtk_error(QTK_EINPUT, "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return qtk_error(QTK_EINPUT, "%s: not a regular file", path);
  if (st.st_size < 0 || (uint64_t)st.st_size > max)
    return qtk_error(QTK_EINPUT, "%s: %lld bytes: at most %zu are read", path,
                     (long long)st.st_size, max);
  *size = (size_t)st.st_size;
  return QTK_OK;
}

static int text_fill(int fd, const char *path, char *text, size_t size)
{
  size_t done = 0;
  while (done < size) {
    ssize_t n = read(fd, text + done, size - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return qtk_error(QTK_EINPUT, "%s: %s", path, strerror(errno));
    if (n == 0)
      return qtk_error(QTK_EINPUT, "%s: ended after %zu of %zu bytes", path, done, size);
    done += (size_t)n;
  }
  text[size] = 0;
  return QTK_OK;
}

static int text_load(int fd, const char *path, size_t max, char **text, size_t *size)
{
  int rc = text_size(fd, path, max, size);
  if (rc)
    return rc;
  *text = malloc(*size + 1);
  if (!*text)
    return qtk_error(QTK_ENOMEM, "%s: out of memory for %zu bytes", path, *size);
  rc = text_fill(fd, path, *text, *size);
  if (rc) {
    free(*text);
    *text = NULL;
  }
  return rc;
}

int safetensors_bytes_read(const char *folder, const char *name, size_t max, char **bytes,
                           size_t *n)
{
  *bytes = NULL;
  *n = 0;
  char *path = safetensors_path(folder, name);
  if (!path)
    return QTK_ENOMEM;
  int rc = QTK_OK;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) {
    rc = text_load(fd, path, max, bytes, n);
    close(fd);
  } else if (errno != ENOENT && errno != ENOTDIR) {
    rc = qtk_error(QTK_EINPUT, "%s: %s", path, strerror(errno));
  }
  free(path);
  return rc;
}

int safetensors_text_read(const char *folder, const char *name, size_t max, char **text)
{
  size_t n;
  int rc = safetensors_bytes_read(folder, name, max, text, &n);
  if (rc || !*text || strlen(*text) == n)
    return rc;
  rc = qtk_error(QTK_EINPUT, "%s/%s: byte %zu is zero: not a text", folder, name, strlen(*text));
  free(*text);
  *text = NULL;
  return rc;
}

/* The template of a tokenizer_config.json: a text, or a list of named ones. */
static const char *text_pick(const json_t *root)
{
  const json_t *template = json_object_get(root, "chat_template");
  if (json_is_string(template))
    return json_string_value(template);
  for (size_t i = 0; i < json_array_size(template); i++) {
    const json_t *item = json_array_get(template, i);
    const char *name = json_string_value(json_object_get(item, "name"));
    if (name && strcmp(name, "default") == 0)
      return json_string_value(json_object_get(item, "template"));
  }
  return NULL;
}

int safetensors_text_template(const char *folder, char **text)
{
  int rc = safetensors_text_read(folder, "chat_template.jinja", TEXT_MAX, text);
  if (rc || *text)
    return rc;
  char *config;
  rc = safetensors_text_read(folder, "tokenizer_config.json", TEXT_MAX, &config);
  if (rc || !config)
    return rc;
  /* model_max_length is often 1e30 written out, which is no integer of C. */
  json_error_t error;
  json_t *root = json_loads(config, JSON_DECODE_INT_AS_REAL, &error);
  const char *found = text_pick(root);
  if (!root)
    rc = qtk_error(QTK_EINPUT, "%s/tokenizer_config.json: line %d: %s", folder, error.line,
                   error.text);
  else if (found && !(*text = strdup(found)))
    rc = qtk_error(QTK_ENOMEM, "out of memory for a chat template");
  json_decref(root);
  free(config);
  return rc;
}

/* Where a model has no generation_config.json, its config.json may name the tokens. */
static int text_generation(const char *config, char **text)
{
  json_t *root = json_loads(config, 0, NULL), *end = json_object_get(root, "eos_token_id");
  int rc = QTK_OK;
  if (json_is_integer(end) || json_is_array(end)) {
    json_t *out = json_pack("{s:O}", "eos_token_id", end);
    *text = out ? json_dumps(out, JSON_COMPACT) : NULL;
    rc = *text ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a text");
    json_decref(out);
  }
  json_decref(root);
  return rc;
}

int safetensors_text_generation(const char *folder, char **text)
{
  char *config = NULL;
  int rc = safetensors_text_read(folder, "generation_config.json", TEXT_MAX, text);
  if (rc || *text)
    return rc;
  rc = safetensors_text_read(folder, "config.json", TEXT_MAX, &config);
  if (rc == QTK_OK && config)
    rc = text_generation(config, text);
  free(config);
  return rc;
}

/* The value of a "license: VALUE" line in the YAML head of a README.md. */
static char *text_licence(const char *card)
{
  static const char key[] = "license:";
  for (const char *line = strchr(card, '\n'); line; line = strchr(line, '\n')) {
    line++;
    if (strncmp(line, "---", 3) == 0)
      return NULL;
    if (strncmp(line, key, strlen(key)) != 0)
      continue;
    const char *value = line + strlen(key) + strspn(line + strlen(key), " \"'");
    size_t n = strcspn(value, "\"'\r\n #");
    return n ? strndup(value, n) : NULL;
  }
  return NULL;
}

int safetensors_text_licence(const char *folder, char **text)
{
  char *card;
  *text = NULL;
  int rc = safetensors_text_read(folder, "README.md", TEXT_MAX, &card);
  if (rc == QTK_OK && card && strncmp(card, "---", 3) == 0)
    *text = text_licence(card);
  free(card);
  return rc;
}
