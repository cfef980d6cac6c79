/* SPDX-License-Identifier: BSD-3-Clause
 * A model: one file, or all parts of a split one, found from the first. */
#include "gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_TAIL 20 /* "-00001-of-00003.gguf" */

/* ---- split files ---------------------------------------------------------------- */

/* Whether `path` ends as part 1 of n does; where the number starts. */
static char *model_tail(char *path, uint64_t n)
{
  char tail[64];
  size_t length = strlen(path);
  snprintf(tail, sizeof tail, "-%05d-of-%05llu.gguf", 1, (unsigned long long)n);
  int fits = length > MODEL_TAIL && strcmp(path + length - MODEL_TAIL, tail) == 0;
  return fits ? path + length - MODEL_TAIL : NULL;
}

/* The part's own keys must say which one it is. */
static int model_check_part(const struct gguf_meta *meta, uint64_t k, uint64_t n)
{
  uint64_t number = 0, count = 0;
  int rc = gguf_meta_uint(meta, "split.no", &number);
  if (rc >= 0)
    rc = gguf_meta_uint(meta, "split.count", &count);
  if (rc < 0)
    return rc;
  if (rc == 0 || number != k || count != n)
    return qtk_error(QTK_EINPUT,
                     "says that it is part %llu of %llu, but its name says %llu of %llu",
                     (unsigned long long)number + 1, (unsigned long long)count,
                     (unsigned long long)k + 1, (unsigned long long)n);
  return QTK_OK;
}

static int model_add_part(struct gguf_model *m, const char *path, uint64_t k, uint64_t n)
{
  struct gguf_part *part = &m->parts[m->n_parts];
  int rc = gguf_part_open(part, path, &m->tensors);
  m->n_parts++;
  if (rc == QTK_OK) {
    rc = model_check_part(&part->meta, k, n);
    if (rc)
      rc = qtk_error_at(rc, "%s", path);
  }
  return rc ? qtk_error_at(rc, "part %llu of %llu", (unsigned long long)k + 1,
                           (unsigned long long)n)
            : QTK_OK;
}

static int model_add_parts(struct gguf_model *m, char *path, uint64_t n)
{
  char *tail = model_tail(path, n);
  if (!tail)
    return qtk_error(QTK_EINPUT,
                     "%s: the first of %llu parts: its name must end in -00001-of-%05llu.gguf, so "
                     "that the others are found",
                     path, (unsigned long long)n, (unsigned long long)n);
  struct gguf_part *parts = reallocarray(m->parts, n, sizeof *parts);
  if (!parts)
    return qtk_error(QTK_ENOMEM, "out of memory for %llu parts", (unsigned long long)n);
  m->parts = parts;
  int rc = QTK_OK;
  for (uint64_t k = 1; k < n && rc == QTK_OK; k++) {
    snprintf(tail, MODEL_TAIL + 1, "-%05llu-of-%05llu.gguf", (unsigned long long)k + 1,
             (unsigned long long)n);
    rc = model_add_part(m, path, k, n);
  }
  return rc;
}

/* Looks for the other parts if the first says that there are any. */
static int model_split(struct gguf_model *m, const char *path)
{
  uint64_t n = 1, number = 0, total = 0;
  const struct gguf_meta *meta = &m->parts[0].meta;
  int rc = gguf_meta_uint(meta, "split.count", &n);
  if (rc >= 0)
    rc = gguf_meta_uint(meta, "split.no", &number);
  int has_total = rc < 0 ? rc : gguf_meta_uint(meta, "split.tensors.count", &total);
  if (has_total < 0)
    return qtk_error_at(has_total, "%s", path);
  if (n <= 1)
    return QTK_OK;
  if (n > 99999)
    return qtk_error(QTK_EINPUT, "%s: split.count is %llu: at most 99999 is allowed", path,
                     (unsigned long long)n);
  if (number != 0)
    return qtk_error(QTK_EINPUT, "%s: part %llu of %llu: name the first one", path,
                     (unsigned long long)number + 1, (unsigned long long)n);
  char *copy = strdup(path);
  rc = copy ? model_add_parts(m, copy, n) : qtk_error(QTK_ENOMEM, "out of memory for a path");
  free(copy);
  if (rc == QTK_OK && has_total && total != m->tensors.n)
    rc = qtk_error(QTK_EINPUT, "%s: split.tensors.count is %llu, but the %llu parts hold %zu", path,
                   (unsigned long long)total, (unsigned long long)n, m->tensors.n);
  return rc;
}

/* ---- opening ------------------------------------------------------------------------ */

/* The string under `key`, for free, or NULL if there is none. */
static int model_text(const struct gguf_meta *meta, const char *key, char **text)
{
  struct gguf_string s;
  int rc = gguf_meta_string(meta, key, &s);
  if (rc <= 0)
    return rc;
  if (memchr(s.text, 0, s.length))
    return qtk_error(QTK_EINPUT, "key '%s' holds a zero byte", key);
  *text = strndup(s.text, s.length);
  return *text ? QTK_OK : qtk_error(QTK_ENOMEM, "out of memory for a text");
}

static int model_texts(struct gguf_model *m)
{
  const struct gguf_meta *meta = &m->parts[0].meta;
  int rc = gguf_config_make(meta, &m->config);
  if (rc == QTK_OK)
    rc = model_text(meta, "tokenizer.chat_template", &m->template);
  if (rc == QTK_OK)
    rc = model_text(meta, "general.license", &m->licence);
  if (rc == QTK_OK)
    rc = gguf_generation_make(meta, &m->generation);
  return rc;
}

static int model_load(struct gguf_model *m, const char *path)
{
  m->parts = calloc(1, sizeof *m->parts);
  if (!m->parts)
    return qtk_error(QTK_ENOMEM, "out of memory for a file");
  m->n_parts = 1;
  int rc = gguf_part_open(&m->parts[0], path, &m->tensors);
  if (rc == QTK_OK)
    rc = model_split(m, path);
  if (rc)
    return rc;
  rc = gguf_tensors_distinct(&m->tensors);
  if (rc == QTK_OK)
    rc = model_texts(m);
  return rc ? qtk_error_at(rc, "%s", path) : QTK_OK;
}

int gguf_model_open(const char *path, struct gguf_model **model)
{
  struct gguf_model *m = calloc(1, sizeof *m);
  if (!m)
    return qtk_error(QTK_ENOMEM, "out of memory for a model");
  pthread_mutex_init(&m->lock, NULL);
  int rc = model_load(m, path);
  if (rc) {
    gguf_model_close(m);
    m = NULL;
  }
  *model = m;
  return rc;
}

void gguf_model_close(struct gguf_model *m)
{
  if (!m)
    return;
  for (int i = 0; i < m->n_parts; i++)
    gguf_part_close(&m->parts[i]);
  gguf_tensors_free(&m->tensors);
  pthread_mutex_destroy(&m->lock);
  free(m->parts);
  free(m->config);
  free(m->template);
  free(m->licence);
  free(m->generation);
  free(m->tokenizer);
  free(m);
}
