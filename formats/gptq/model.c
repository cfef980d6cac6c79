/* SPDX-License-Identifier: BSD-3-Clause
 * A folder as a model: its tensors, four of which may be one linear. */
#include "gptq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- names -------------------------------------------------------------------------- */

/* The tensors of the files, by name. */
struct model_names {
  const struct safetensors_tensor **by_name;
  size_t n;
};

static int model_compare(const void *a, const void *b)
{
  const struct safetensors_tensor *const *x = a, *const *y = b;
  return strcmp((*x)->name, (*y)->name);
}

static int model_sort(struct model_names *names, const struct safetensors_list *list)
{
  names->n = list->n;
  names->by_name = calloc(list->n + 1, sizeof *names->by_name);
  if (!names->by_name)
    return qtk_error(QTK_ENOMEM, "out of memory for the names of %zu tensors", list->n);
  for (size_t i = 0; i < list->n; i++)
    names->by_name[i] = &list->items[i];
  qsort(names->by_name, names->n, sizeof *names->by_name, model_compare);
  return QTK_OK;
}

/* The length of a name before the suffix of a part; 0 if it has none. */
static size_t model_stem(const char *name, int part)
{
  size_t n = strlen(name), suffix = strlen(gptq_suffixes[part]);
  return n > suffix && strcmp(name + n - suffix, gptq_suffixes[part]) == 0 ? n - suffix : 0;
}

/* The tensor STEM + SUFFIX, or NULL. */
static const struct safetensors_tensor *model_find(const struct model_names *names,
                                                   const char *stem, size_t length,
                                                   const char *suffix)
{
  size_t low = 0, high = names->n;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const char *name = names->by_name[middle]->name;
    int order = strncmp(name, stem, length);
    if (order == 0)
      order = strcmp(name + length, suffix);
    if (order == 0)
      return names->by_name[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

/* ---- linears -------------------------------------------------------------------------- */

static int model_parts(struct gptq_linear *l, const struct model_names *names, const char *stem,
                       size_t length)
{
  for (int part = 0; part < GPTQ_PARTS; part++)
    l->parts[part] = model_find(names, stem, length, gptq_suffixes[part]);
  for (int part = 0; part < GPTQ_G_IDX; part++)
    if (!l->parts[part])
      return qtk_error(QTK_EINPUT, "tensor '%.*s%s' is missing", (int)length, stem,
                       gptq_suffixes[part]);
  if (model_find(names, stem, length, ".weight"))
    return qtk_error(QTK_EINPUT, "there are both '%.*s.weight' and '%.*s.qweight'", (int)length,
                     stem, (int)length, stem);
  return QTK_OK;
}

/* One allocation: the linear, its name, and the name of its weight. */
static int model_linear(struct gptq_model *m, const struct model_names *names, int tensor,
                        size_t length)
{
  const char *stem = m->files->tensors.items[tensor].name;
  struct gptq_item *item = &m->items[m->n];
  item->tensor = tensor;
  item->linear = calloc(1, sizeof *item->linear + length + 1);
  item->name = calloc(1, length + sizeof ".weight");
  m->n++;
  if (!item->linear || !item->name)
    return qtk_error(QTK_ENOMEM, "out of memory for a linear");
  memcpy(item->linear + 1, stem, length);
  item->linear->name = (const char *)(item->linear + 1);
  memcpy(item->name, stem, length);
  strcpy(item->name + length, ".weight");
  int rc = model_parts(item->linear, names, stem, length);
  return rc ? rc : gptq_linear_check(item->linear, &m->config);
}

/* A tensor that is a part of a linear has no item of its own. */
static int model_tensor(struct gptq_model *m, const struct model_names *names, int tensor)
{
  const char *name = m->files->tensors.items[tensor].name;
  for (int part = 0; part < GPTQ_PARTS; part++) {
    size_t length = model_stem(name, part);
    if (length && part == GPTQ_QWEIGHT)
      return model_linear(m, names, tensor, length);
    if (length && !model_find(names, name, length, gptq_suffixes[GPTQ_QWEIGHT]))
      return qtk_error(QTK_EINPUT, "tensor '%.*s.qweight' is missing, but '%s' is there",
                       (int)length, name, name);
    if (length)
      return QTK_OK;
  }
  m->items[m->n++] = (struct gptq_item){.tensor = tensor};
  return QTK_OK;
}

/* Where the configuration says that zeros are the middle, and all of them lie one beside
 * it, the file is of the other version. */
static int model_check_version(const struct gptq_model *m)
{
  int linears = 0, off = m->config.is_v2 ? -1 : 1;
  for (int i = 0; i < m->n; i++) {
    const struct gptq_linear *l = m->items[i].linear;
    if (!l)
      continue;
    int zero = (1 << (l->layout.bits - 1)) + off;
    if (l->zero_min != zero || l->zero_max != zero)
      return QTK_OK;
    linears++;
  }
  if (linears == 0 || !m->config.sym)
    return QTK_OK;
  return qtk_error(QTK_EINPUT,
                   "%s: every zero is one %s the middle, though sym is true: the file is %s, but "
                   "checkpoint_format %s; correct it there",
                   m->files->folder, off > 0 ? "above" : "below", off > 0 ? "gptq_v2" : "gptq",
                   off > 0 ? "says gptq, or nothing" : "says gptq_v2");
}

static int model_linears(struct gptq_model *m)
{
  struct model_names names = {0};
  int linears = 0, rc = model_sort(&names, &m->files->tensors);
  m->items = calloc(names.n + 1, sizeof *m->items);
  if (rc == QTK_OK && !m->items)
    rc = qtk_error(QTK_ENOMEM, "out of memory for %zu tensors", names.n);
  for (size_t i = 0; i < names.n && rc == QTK_OK; i++)
    rc = model_tensor(m, &names, (int)i);
  for (int i = 0; i < m->n; i++)
    linears += m->items[i].linear != NULL;
  if (rc == QTK_OK && names.n > 0 && linears == 0)
    rc = qtk_error(QTK_EINPUT, "no tensor is named NAME.qweight, though the configuration says "
                               "that weights are packed");
  free(names.by_name);
  return rc ? qtk_error_at(rc, "%s", m->files->folder) : model_check_version(m);
}

/* ---- opening ----------------------------------------------------------------------------- */

/* The configuration says what the weights of a folder are called. */
static int model_open_folder(struct gptq_model *m, const char *path)
{
  char name[64];
  int rc = gptq_config_read(path, &m->config);
  if (rc)
    return rc;
  gptq_config_weights(path, &m->config, name);
  return safetensors_model_open(path, name, &m->files);
}

static int model_open(struct gptq_model *m, const char *path)
{
  struct stat st;
  int rc;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    rc = model_open_folder(m, path);
  } else {
    rc = safetensors_model_open(path, "model", &m->files);
    if (rc == QTK_OK && (rc = gptq_config_read(m->files->folder, &m->config)))
      rc = qtk_error_at(rc, "%s", path);
  }
  return rc ? rc : model_linears(m);
}

int gptq_model_open(const char *path, struct gptq_model **model)
{
  struct gptq_model *m = calloc(1, sizeof *m);
  if (!m)
    return qtk_error(QTK_ENOMEM, "out of memory for a model");
  int rc = model_open(m, path);
  if (rc) {
    gptq_model_close(m);
    m = NULL;
  }
  *model = m;
  return rc;
}

void gptq_model_close(struct gptq_model *m)
{
  if (!m)
    return;
  for (int i = 0; i < m->n; i++) {
    free(m->items[i].name);
    free(m->items[i].linear);
  }
  free(m->items);
  gptq_config_free(&m->config);
  safetensors_model_close(m->files);
  free(m);
}
