/* SPDX-License-Identifier: BSD-3-Clause
 * The list of tensors in a file's header, and the check that each lies in the
 * file, aligned and apart from the others. */
#include "gguf.h"

#include <stdlib.h>
#include <string.h>

#define TENSORS_NAME_MAX 255

/* Dimensions stand fastest first in the file. */
static int tensors_shape(struct gguf_cursor *c, struct gguf_tensor *t)
{
  uint32_t ndim = 0;
  int64_t elements = 1;
  int rc = gguf_take_u32(c, &ndim, "the number of dimensions");
  if (rc)
    return rc;
  if (ndim > QTK_MAX_DIMS)
    return qtk_error(QTK_EINPUT, "%u dimensions: at most %d are allowed", ndim, QTK_MAX_DIMS);
  t->ndim = (int)ndim;
  for (int i = t->ndim - 1; i >= 0 && rc == QTK_OK; i--) {
    uint64_t size = 0;
    rc = gguf_take_u64(c, &size, "a dimension");
    t->shape[i] = (int64_t)size;
    if (rc == QTK_OK &&
        (t->shape[i] < 1 || __builtin_mul_overflow(elements, t->shape[i], &elements)))
      rc = qtk_error(QTK_EINPUT, "dimension %d is %llu: from 1 up, 2^63 elements in all", i,
                     (unsigned long long)size);
  }
  if (rc)
    return rc;
  t->cols = t->ndim ? t->shape[t->ndim - 1] : 1;
  t->rows = elements / t->cols;
  return QTK_OK;
}

static int tensors_type(struct gguf_cursor *c, struct gguf_tensor *t)
{
  uint32_t id = 0;
  int rc = gguf_take_u32(c, &id, "the type");
  if (rc)
    return rc;
  t->type = gguf_type_find(id);
  if (!t->type)
    return qtk_error(QTK_EINPUT, "type %u is not known", id);
  if (t->cols % t->type->block != 0)
    return qtk_error(QTK_EINPUT, "%lld columns of %s: a multiple of %d is allowed",
                     (long long)t->cols, t->type->name, t->type->block);
  uint64_t blocks = (uint64_t)(t->cols / t->type->block) * (uint64_t)t->rows;
  if (__builtin_mul_overflow(blocks, (uint64_t)t->type->bytes, &t->bytes))
    return qtk_error(QTK_EINPUT, "more than 2^64 bytes");
  return gguf_take_u64(c, &t->offset, "the offset");
}

static int tensors_append(struct gguf_tensors *list, const struct gguf_tensor *t)
{
  if (list->n == list->room) {
    size_t room = list->room ? 2 * list->room : 128;
    void *items = reallocarray(list->items, room, sizeof *list->items);
    if (!items)
      return qtk_error(QTK_ENOMEM, "out of memory for %zu tensors", room);
    list->items = items;
    list->room = room;
  }
  list->items[list->n++] = *t;
  return QTK_OK;
}

static int tensors_one(struct gguf_cursor *c, struct gguf_tensors *list)
{
  struct gguf_string name;
  struct gguf_tensor t = {0};
  int rc = gguf_take_name(c, &name, TENSORS_NAME_MAX, "a tensor's name");
  if (rc)
    return rc;
  rc = tensors_shape(c, &t);
  if (rc == QTK_OK)
    rc = tensors_type(c, &t);
  if (rc)
    return qtk_error_at(rc, "tensor '%.*s'", GGUF_SHOW(name));
  t.name = strndup(name.text, name.length);
  rc = t.name ? tensors_append(list, &t) : qtk_error(QTK_ENOMEM, "out of memory for a name");
  if (rc)
    free(t.name);
  return rc;
}

int gguf_tensors_read(struct gguf_cursor *c, uint64_t n, struct gguf_tensors *list)
{
  int rc = QTK_OK;
  for (uint64_t i = 0; i < n && rc == QTK_OK; i++)
    rc = tensors_one(c, list);
  return rc;
}

/* ---- places and names ----------------------------------------------------------- */

static int tensors_by_offset(const void *a, const void *b)
{
  const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
  const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

static int tensors_by_name(const void *a, const void *b)
{
  const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
  const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
  return strcmp(x->name, y->name);
}

/* Pointers to the tensors from `first` on, sorted; for free. */
static const struct gguf_tensor **tensors_sort(const struct gguf_tensors *list, size_t first,
                                               int (*order)(const void *, const void *))
{
  size_t n = list->n - first;
  const struct gguf_tensor **sorted = calloc(n + 1, sizeof *sorted);
  if (!sorted) {
    qtk_error(QTK_ENOMEM, "out of memory for %zu tensors", n);
    return NULL;
  }
  for (size_t i = 0; i < n; i++)
    sorted[i] = &list->items[first + i];
  qsort(sorted, n, sizeof *sorted, order);
  return sorted;
}

static int tensors_apart(const struct gguf_tensors *list, size_t first)
{
  const struct gguf_tensor **sorted = tensors_sort(list, first, tensors_by_offset);
  if (!sorted)
    return QTK_ENOMEM;
  int rc = QTK_OK;
  for (size_t i = 1; i < list->n - first && rc == QTK_OK; i++)
    if (sorted[i]->offset - sorted[i - 1]->offset < sorted[i - 1]->bytes)
      rc = qtk_error(QTK_EINPUT, "the data of tensors '%s' and '%s' overlap", sorted[i - 1]->name,
                     sorted[i]->name);
  free(sorted);
  return rc;
}

int gguf_tensors_place(struct gguf_tensors *list, size_t first, const unsigned char *data,
                       uint64_t room, uint64_t align)
{
  for (size_t i = first; i < list->n; i++) {
    struct gguf_tensor *t = &list->items[i];
    if (t->offset % align != 0)
      return qtk_error(QTK_EINPUT, "tensor '%s': its offset %llu is not a multiple of %llu",
                       t->name, (unsigned long long)t->offset, (unsigned long long)align);
    if (t->offset > room || t->bytes > room - t->offset)
      return qtk_error(QTK_EINPUT,
                       "tensor '%s': %llu bytes at offset %llu, but the file has %llu bytes of "
                       "data (cut off?)",
                       t->name, (unsigned long long)t->bytes, (unsigned long long)t->offset,
                       (unsigned long long)room);
    t->data = data + t->offset;
  }
  return tensors_apart(list, first);
}

int gguf_tensors_distinct(const struct gguf_tensors *list)
{
  const struct gguf_tensor **sorted = tensors_sort(list, 0, tensors_by_name);
  if (!sorted)
    return QTK_ENOMEM;
  int rc = QTK_OK;
  for (size_t i = 1; i < list->n && rc == QTK_OK; i++)
    if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
      rc = qtk_error(QTK_EINPUT, "tensor '%s' is there twice", sorted[i]->name);
  free(sorted);
  return rc;
}

void gguf_tensors_free(struct gguf_tensors *list)
{
  for (size_t i = 0; i < list->n; i++)
    free(list->items[i].name);
  free(list->items);
  *list = (struct gguf_tensors){0};
}
