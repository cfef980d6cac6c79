/* SPDX-License-Identifier: BSD-3-Clause
 * The JSON header of a weight file: read, and every number of it checked. */
#include "safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int safetensors_plain(const char *text)
{
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      return 0;
  return *text != 0;
}

void safetensors_list_free(struct safetensors_list *list)
{
  for (size_t i = 0; i < list->n; i++)
    free(list->items[i].name);
  free(list->items);
  *list = (struct safetensors_list){0};
}

static int header_append(struct safetensors_list *list, struct safetensors_tensor *tensor,
                         const char *name)
{
  if (list->n == list->room) {
    size_t room = list->room ? 2 * list->room : 64;
    void *items = reallocarray(list->items, room, sizeof *list->items);
    if (!items)
      return qtk_error(QTK_ENOMEM, "out of memory for a list of %zu tensors", room);
    list->items = items;
    list->room = room;
  }
  tensor->name = strdup(name);
  if (!tensor->name)
    return qtk_error(QTK_ENOMEM, "out of memory for a tensor's name");
  list->items[list->n++] = *tensor;
  return QTK_OK;
}

/* The shape, and from it rows, columns and bytes. */
static int header_shape(struct safetensors_tensor *t, const char *name, const json_t *shape)
{
  if (!json_is_array(shape) || json_array_size(shape) > QTK_MAX_DIMS)
    return qtk_error(QTK_EINPUT, "tensor '%s': its shape is not a list of at most %d numbers", name,
                     QTK_MAX_DIMS);
  t->ndim = (int)json_array_size(shape);
  int64_t elements = 1, bits;
  for (int i = 0; i < t->ndim; i++) {
    const json_t *item = json_array_get(shape, (size_t)i);
    t->shape[i] = json_integer_value(item);
    if (!json_is_integer(item) || t->shape[i] < 0)
      return qtk_error(QTK_EINPUT, "tensor '%s': dimension %d is not a number from 0 up", name, i);
    if (__builtin_mul_overflow(elements, t->shape[i], &elements))
      return qtk_error(QTK_EINPUT, "tensor '%s': its shape has more than 2^63 elements", name);
  }
  if (__builtin_mul_overflow(elements, (int64_t)t->type->bits, &bits) || bits % 8 != 0)
    return qtk_error(QTK_EINPUT, "tensor '%s': %lld elements of %s are no whole number of bytes",
                     name, (long long)elements, t->type->name);
  t->bytes = (uint64_t)bits / 8;
  t->cols = t->ndim ? t->shape[t->ndim - 1] : 1;
  t->rows = t->cols ? elements / t->cols : 0;
  return QTK_OK;
}

/* The place, inside `room` bytes of data. */
static int header_place(struct safetensors_tensor *t, const char *name, const json_t *offsets,
                        uint64_t room)
{
  const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
    return qtk_error(QTK_EINPUT, "tensor '%s': its data_offsets are not two numbers", name);
  json_int_t begin = json_integer_value(first), end = json_integer_value(last);
  if (begin < 0 || end < begin || (uint64_t)end > room)
    return qtk_error(QTK_EINPUT,
                     "tensor '%s': its data_offsets %lld .. %lld are not inside the file's %llu "
                     "bytes of data (cut off?)",
                     name, (long long)begin, (long long)end, (unsigned long long)room);
  if ((uint64_t)(end - begin) != t->bytes)
    return qtk_error(QTK_EINPUT,
                     "tensor '%s': its data_offsets span %lld bytes, but its shape in %s takes "
                     "%llu",
                     name, (long long)(end - begin), t->type->name, (unsigned long long)t->bytes);
  t->offset = (uint64_t)begin;
  return QTK_OK;
}

static int header_tensor(struct safetensors_tensor *t, const char *name, const json_t *entry,
                         uint64_t room)
{
  if (!safetensors_plain(name))
    return qtk_error(QTK_EINPUT, "a tensor's name is empty or holds control characters");
  const char *type = json_string_value(json_object_get(entry, "dtype"));
  if (!type)
    return qtk_error(QTK_EINPUT, "tensor '%s': no dtype in the header", name);
  t->type = safetensors_type_find(type);
  if (!t->type)
    return qtk_error(QTK_EINPUT, "tensor '%s': unknown dtype '%.32s'", name,
                     safetensors_plain(type) ? type : "?");
  int rc = header_shape(t, name, json_object_get(entry, "shape"));
  return rc ? rc : header_place(t, name, json_object_get(entry, "data_offsets"), room);
}

static int header_by_place(const void *a, const void *b)
{
  const struct safetensors_tensor *x = a, *y = b;
  if (x->offset != y->offset)
    return x->offset < y->offset ? -1 : 1;
  if (x->bytes != y->bytes)
    return x->bytes < y->bytes ? -1 : 1;
  return strcmp(x->name, y->name);
}

/* Sorts tensors [first, n) by place. They must fill the data without overlap or
 * hole, as the format demands. */
static int header_fit(struct safetensors_list *list, size_t first, uint64_t room)
{
  size_t n = list->n - first;
  struct safetensors_tensor *t = n ? list->items + first : NULL;
  if (n)
    qsort(t, n, sizeof *t, header_by_place);
  uint64_t end = 0;
  for (size_t i = 0; i < n; i++) {
    if (t[i].offset != end)
      return qtk_error(QTK_EINPUT,
                       "tensor '%s': its data begin at %llu, but those before it end at %llu",
                       t[i].name, (unsigned long long)t[i].offset, (unsigned long long)end);
    end += t[i].bytes;
  }
  if (end != room)
    return qtk_error(QTK_EINPUT, "the tensors take %llu bytes, but the file has %llu of data",
                     (unsigned long long)end, (unsigned long long)room);
  return QTK_OK;
}

static int header_tensors(const json_t *root, struct safetensors_list *list,
                          const unsigned char *data, uint64_t room)
{
  const char *name;
  json_t *entry;
  size_t first = list->n;
  json_object_foreach((json_t *)root, name, entry)
  {
    struct safetensors_tensor t = {0};
    if (strcmp(name, "__metadata__") == 0)
      continue;
    int rc = header_tensor(&t, name, entry, room);
    if (rc == QTK_OK)
      rc = header_append(list, &t, name);
    if (rc)
      return rc;
  }
  int rc = header_fit(list, first, room);
  for (size_t i = first; i < list->n; i++)
    list->items[i].data = data + list->items[i].offset;
  return rc;
}

int safetensors_header_read(const struct safetensors_file *file, struct safetensors_list *list)
{
  uint64_t length, rest = file->size - 8;
  memcpy(&length, file->map, sizeof length);
  if (length > SAFETENSORS_HEADER_MAX)
    return qtk_error(QTK_EINPUT, "the header's length is %llu: at most %d is allowed",
                     (unsigned long long)length, SAFETENSORS_HEADER_MAX);
  if (length > rest)
    return qtk_error(QTK_EINPUT, "the header's length is %llu, but only %llu bytes follow",
                     (unsigned long long)length, (unsigned long long)rest);
  json_error_t error;
  const char *text = (const char *)file->map + 8;
  json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
  if (!root)
    return qtk_error(QTK_EINPUT, "the header is no JSON: byte %d: %s", 8 + error.position,
                     error.text);
  int rc = json_is_object(root) ? header_tensors(root, list, file->map + 8 + length, rest - length)
                                : qtk_error(QTK_EINPUT, "the header is no JSON object");
  json_decref(root);
  return rc;
}
