/* SPDX-License-Identifier: BSD-3-Clause
 * Where each tensor of an export will lie: files, headers, index; and the
 * configuration beside them. */
#include "safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- shards --------------------------------------------------------------------- */

static int layout_check(const struct safetensors_entry *t)
{
  for (int k = 0; k < t->ndim; k++)
    if (t->shape[k] < 1)
      return qtk_error(QTK_EINPUT, "tensor '%s': dimension %d is %lld: at least 1 is allowed",
                       t->name, k, (long long)t->shape[k]);
  return QTK_OK;
}

uint64_t safetensors_entry_bytes(const struct safetensors_entry *t)
{
  uint64_t bytes = (uint64_t)t->type->bits / 8;
  for (int k = 0; k < t->ndim; k++)
    bytes *= (uint64_t)t->shape[k];
  return bytes;
}

/* Fills files one after the other; a tensor above the limit has its own. With
 * `shards` NULL it only counts. */
static int layout_cut(const struct safetensors_layout *layout, uint64_t limit,
                      struct safetensors_shard *shards)
{
  int n = 1;
  uint64_t used = 0;
  for (int i = 0; i < layout->n; i++) {
    uint64_t bytes = safetensors_entry_bytes(&layout->entries[i]);
    if (limit > 0 && used > 0 && used + bytes > limit) {
      n++;
      used = 0;
    }
    used += bytes;
    if (!shards)
      continue;
    if (shards[n - 1].n++ == 0)
      shards[n - 1].first = i;
    shards[n - 1].bytes = used;
  }
  return n;
}

static void layout_name(struct safetensors_shard *shard, int i, int n)
{
  if (n == 1)
    strcpy(shard->name, "model.safetensors");
  else
    snprintf(shard->name, sizeof shard->name, "model-%05d-of-%05d.safetensors", i + 1, n);
}

/* ---- headers ----------------------------------------------------------------------- */

static json_t *layout_entry(const struct safetensors_entry *t, uint64_t offset)
{
  json_t *shape = json_array();
  for (int k = 0; k < t->ndim; k++)
    json_array_append_new(shape, json_integer(t->shape[k]));
  json_int_t begin = (json_int_t)offset;
  return json_pack("{s:s, s:o, s:[I,I]}", "dtype", t->type->name, "shape", shape, "data_offsets",
                   begin, begin + (json_int_t)safetensors_entry_bytes(t));
}

/* Blanks behind the JSON put the data at a multiple of 64, so that they can be
 * used from a map. */
static int layout_pad(struct safetensors_shard *shard, const char *text)
{
  size_t length = strlen(text);
  uint64_t padded = (8 + length + 63) / 64 * 64 - 8;
  shard->header = malloc(8 + padded);
  if (!shard->header)
    return qtk_error(QTK_ENOMEM, "out of memory for a header of %zu bytes", length);
  if (padded > SAFETENSORS_HEADER_MAX)
    return qtk_error(QTK_EINPUT, "a header of %zu bytes: at most %d is allowed", length,
                     SAFETENSORS_HEADER_MAX);
  memcpy(shard->header, &padded, 8);
  memset(shard->header + 8, ' ', padded);
  memcpy(shard->header + 8, text, length);
  shard->header_bytes = 8 + padded;
  return QTK_OK;
}

static int layout_header(const struct safetensors_layout *layout, struct safetensors_shard *shard)
{
  uint64_t offset = 0;
  json_t *root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
  int failed = !root;
  for (int i = shard->first; i < shard->first + shard->n; i++) {
    const struct safetensors_entry *t = &layout->entries[i];
    failed |= json_object_set_new(root, t->name, layout_entry(t, offset)) != 0;
    offset += safetensors_entry_bytes(t);
  }
  char *text = failed ? NULL : json_dumps(root, JSON_COMPACT);
  int rc = QTK_OK;
  if (!text)
    rc = qtk_error(QTK_EINPUT, "a tensor's name is not UTF-8, or out of memory for a header");
  else if (json_object_size(root) != (size_t)shard->n + 1)
    rc = qtk_error(QTK_EINPUT, "two tensors of an export have the same name");
  else
    rc = layout_pad(shard, text);
  json_decref(root);
  free(text);
  return rc;
}

static int layout_shards(struct safetensors_layout *layout, uint64_t limit)
{
  int rc = QTK_OK, n = layout_cut(layout, limit, NULL);
  layout->shards = calloc((size_t)n, sizeof *layout->shards);
  if (!layout->shards)
    return qtk_error(QTK_ENOMEM, "out of memory for %d files", n);
  layout->n_shards = n;
  layout_cut(layout, limit, layout->shards);
  for (int i = 0; i < n && rc == QTK_OK; i++) {
    layout_name(&layout->shards[i], i, n);
    layout->bytes += layout->shards[i].bytes;
    rc = layout_header(layout, &layout->shards[i]);
  }
  return rc;
}

int safetensors_layout_make(struct safetensors_layout *layout,
                            const struct safetensors_entry *entries, int n, uint64_t limit)
{
  int rc = QTK_OK;
  *layout = (struct safetensors_layout){.entries = entries, .n = n};
  for (int i = 0; i < n && rc == QTK_OK; i++)
    rc = layout_check(&entries[i]);
  return rc ? rc : layout_shards(layout, limit);
}

void safetensors_layout_free(struct safetensors_layout *layout)
{
  for (int i = 0; i < layout->n_shards; i++)
    free(layout->shards[i].header);
  free(layout->shards);
  *layout = (struct safetensors_layout){0};
}

/* ---- texts ---------------------------------------------------------------------------- */

static char *layout_dump(json_t *root)
{
  char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
  if (!text)
    qtk_error(QTK_ENOMEM, "out of memory for a JSON text");
  json_decref(root);
  return text;
}

char *safetensors_layout_index(const struct safetensors_layout *layout)
{
  json_t *map = json_object();
  for (int k = 0; k < layout->n_shards; k++)
    for (int i = 0; i < layout->shards[k].n; i++)
      json_object_set_new(map, layout->entries[layout->shards[k].first + i].name,
                          json_string(layout->shards[k].name));
  return layout_dump(json_pack("{s:{s:I}, s:o}", "metadata", "total_size",
                               (json_int_t)layout->bytes, "weight_map", map));
}

char *safetensors_layout_config(const char *config, enum qtk_dtype dtype, const char *key,
                                const char *value)
{
  json_error_t error;
  json_t *root = json_loads(config, JSON_REJECT_DUPLICATES, &error);
  const char *type = dtype == QTK_F32 ? "float32" : dtype == QTK_F16 ? "float16" : "bfloat16";
  if (!json_is_object(root)) {
    qtk_error(QTK_EINPUT, "the configuration is no JSON object: line %d: %s", error.line,
              root ? "no object" : error.text);
    json_decref(root);
    return NULL;
  }
  /* transformers 5 says "dtype", older ones "torch_dtype"; both read the latter. */
  int is_new = json_object_get(root, "dtype") != NULL;
  if (is_new)
    json_object_set_new(root, "dtype", json_string(type));
  if (!is_new || json_object_get(root, "torch_dtype"))
    json_object_set_new(root, "torch_dtype", json_string(type));
  if (key)
    json_object_set_new(root, key, json_loads(value, 0, NULL));
  return layout_dump(root);
}
